//! All that can happen to a replica.

use std::net::IpAddr;

use super::message::{Message, Snapshot};
use crate::db::{Prepared, Txn};
use crate::id::{ChangeId, ConnId, RestoreId, ServerId, Xid};
use crate::proto::{ConnectRequest, Request};
use crate::raft::{Damage, HardState, Index, Membership, SharedEntry, Ticket};

/// One thing that happened. The driver hands inputs over in the order in which they came about.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client's first frame.
    Connect {
        /// The driver's name for the connection, never used before.
        conn: ConnId,
        /// Where the client is.
        address: IpAddr,
        /// What it asks for.
        request: ConnectRequest,
    },
    /// A client's further frames, in order, after the connection was accepted.
    Request {
        /// Which connection.
        conn: ConnId,
        /// The client's number for the request.
        xid: Xid,
        /// What it asks for.
        request: Request,
    },
    /// A client's connection has ended. Not said of one that the replica closed itself.
    Disconnect {
        /// Which connection.
        conn: ConnId,
    },
    /// A connection to a peer stands: what is sent from now on may arrive.
    PeerUp {
        /// Which peer.
        peer: ServerId,
    },
    /// It has broken: what was under way may be lost.
    PeerDown {
        /// Which peer.
        peer: ServerId,
    },
    /// A peer says something.
    Message {
        /// Which peer.
        from: ServerId,
        /// What.
        message: Message,
    },
    /// Everything up to and including this `Persist` would survive a power cut.
    Persisted {
        /// Which.
        ticket: Ticket,
    },
    /// This `Checkpoint` would survive a power cut.
    Checkpointed {
        /// Which.
        ticket: Ticket,
    },
    /// The disk has come to be short of room, or is so no longer.
    Room {
        /// Whether it is.
        is_short: bool,
    },
    /// Storage has found damage at rest, and wants a snapshot of this server's own state that ends
    /// above this index, as soon as there can be one.
    SnapshotWanted {
        /// The index; a snapshot that ends with it would not do.
        above: Index,
    },
    /// An operator wants another membership from now on. Only the leader takes it; what becomes of
    /// it is told by [`Output::Change`](super::Output::Change). Servers that it does not name are
    /// members no longer.
    ChangeMembership {
        /// The operator's name for it.
        id: ChangeId,
        /// Who votes and by which groups, and who observes; not joint. A voter that is none yet
        /// first receives the log until it has caught up.
        wanted: Membership,
    },
    /// An operator wants this state in the place of the present one, on all servers. What becomes
    /// of it is told by [`Output::Restored`](super::Output::Restored).
    Restore {
        /// The operator's name for it.
        id: RestoreId,
        /// The state.
        prepared: Prepared,
    },
    /// The deadline has come.
    Wake,
}

/// What a server finds on its disk when it starts.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The last hard state.
    pub hard_state: HardState,
    /// The newest whole snapshot, if there is one.
    pub snapshot: Option<Snapshot>,
    /// The entries after it, ascending without a gap; from index 1 if there is no snapshot. With
    /// damage, up to that.
    pub entries: Vec<SharedEntry<Txn>>,
    /// What of the log is not whole, if anything is: the server takes no part until it is.
    pub damage: Option<Damage<Txn>>,
    /// The state on this disk is not to be trusted: [`Output::Distrust`](super::Output::Distrust)
    /// was carried out, and no [`Output::Trust`](super::Output::Trust) after it.
    pub is_distrusted: bool,
}
