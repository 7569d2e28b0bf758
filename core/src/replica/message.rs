//! What replicas say to each other: Raft's words, and what travels beside them.

use crate::db::{Action, Image, Txn};
use crate::id::SessionId;
use crate::proto::Zxid;
use crate::raft::{self, SnapshotMeta, Term};

use super::doubt::Comparison;

/// One message between two replicas.
#[derive(Clone, Debug)]
pub enum Message {
    /// Raft's own.
    Raft(raft::Message<Txn>),
    /// The state of a leader, for a follower that is too far behind for the log; or anyone's, for
    /// a server that repairs its own.
    Snapshot {
        /// The leader's term; 0 if it is not sent as a leader.
        term: Term,
        /// The state.
        snapshot: Snapshot,
    },
    /// Actions that the leader is asked to stamp and propose, in order.
    Forward(Vec<Action>),
    /// Sessions that were heard from since the last such message.
    Heard(Vec<SessionId>),
    /// The sender's disk is short of room. Repeated at intervals while it is.
    ShortOfRoom,
    /// About the states that servers have made of the same entries.
    Compare(Comparison),
}

/// The whole state at one index.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last entry in it, and the membership then.
    pub meta: SnapshotMeta,
    /// The zxid of that entry.
    pub zxid: Zxid,
    /// Znodes and sessions.
    pub image: Image,
}
