//! All that a replica can wish for.

use super::doubt::Alarm;
use super::message::{Message, Snapshot};
use super::restoring::RestoreEnd;
use crate::db::Txn;
use crate::id::{ChangeId, ConnId, RestoreId, ServerId, Xid};
use crate::proto::{ConnectResponse, ErrorCode, Event, Response, Zxid};
use crate::raft::{EntryId, Index, Persist, Ticket};

/// One thing to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// To storage: make these changes of the log durable, then say `Persisted`. In the order
    /// polled.
    Persist(Persist<Txn>),
    /// To storage: make this snapshot durable, beside everything else, then say `Checkpointed`. One
    /// at a time.
    Checkpoint {
        /// To be named when it is done.
        ticket: Ticket,
        /// What to keep.
        snapshot: Snapshot,
    },
    /// To storage: entries up to this index are covered by a durable snapshot and may go. No hurry.
    Purge {
        /// The last index that may go.
        through: Index,
    },
    /// To storage, in the order of checkpoints: this server's state is another than a quorum's.
    /// What it is, is to be kept for people to look at, if there is room. That no snapshot on this
    /// disk is to be trusted is to be remembered, so that it is known after the next start.
    Distrust {
        /// After which entry the states were compared.
        at: EntryId,
        /// The digest of this server's.
        digest: u64,
        /// That of the quorum's.
        agreed: u64,
        /// This server's state, as it is now.
        evidence: Snapshot,
    },
    /// To storage, in the order of checkpoints: a snapshot up to this index is durable that is
    /// right. Those of before are not to be used any more; what was remembered is to be forgotten.
    Trust {
        /// The last index of the right snapshot.
        from: Index,
    },
    /// To people: what a comparison of states has shown.
    Alarm(Alarm),
    /// To a peer. Order per peer is kept; a message may be lost when the connection breaks.
    Send {
        /// Which peer.
        to: ServerId,
        /// What.
        message: Message,
    },
    /// To a connection: the answer to its connect request. If it is refused, a `Close` follows.
    Connected {
        /// Which connection.
        conn: ConnId,
        /// The answer.
        response: ConnectResponse,
    },
    /// To a connection: the answer to a request.
    Reply {
        /// Which connection.
        conn: ConnId,
        /// The client's number for the request.
        xid: Xid,
        /// For the header: what this server has applied, or the write's own zxid.
        zxid: Zxid,
        /// The body, or the error.
        result: Result<Response, ErrorCode>,
    },
    /// To a connection: a watch has fired.
    Notify {
        /// Which connection.
        conn: ConnId,
        /// The change's zxid; -1 for what a `setWatches` finds already changed.
        zxid: Zxid,
        /// What happened.
        event: Event,
    },
    /// To a connection: end it after what was said before. There will be no `Disconnect` for it.
    Close {
        /// Which connection.
        conn: ConnId,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// To an operator: what became of a change of the membership.
    Change {
        /// The operator's name for it.
        id: ChangeId,
        /// What became of it.
        progress: ChangeProgress,
    },
    /// To an operator: how a restore has ended.
    Restored {
        /// The operator's name for it.
        id: RestoreId,
        /// How.
        end: RestoreEnd,
    },
}

/// What becomes of a change of the membership: it is refused, or begun, and once begun it is
/// finished, refused after all or lost, unless this server ends before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeProgress {
    /// It is under way: its first entry is in the log, or an observer that is to vote catches up.
    Begun,
    /// The new membership is committed, by the entry of this zxid.
    Finished {
        /// The zxid.
        zxid: Zxid,
    },
    /// Who votes is unchanged. If it was begun, servers that were to vote may be learners now.
    Refused(ChangeRefusal),
    /// This server does not lead any more: a later leader may finish it or not.
    Lost,
}

/// Why a change of the membership is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefusal {
    /// This server does not lead, or is handing over.
    NotLeader {
        /// Who leads, if known.
        leader: Option<ServerId>,
    },
    /// An earlier change is not finished.
    Pending,
    /// This leader has not committed an entry of its own term. Ask again.
    TooEarly,
    /// Its voters could decide nothing, or it has a server twice.
    Invalid,
    /// This server was to vote and did not catch up in time.
    Behind(ServerId),
    /// No quorum of the new voters is in step with this leader.
    NoQuorum,
    /// The address of this server is not known.
    Unaddressed(ServerId),
}

/// Why the replica ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed its session.
    SessionClosed,
    /// The session has expired, or was refused.
    SessionEnded,
    /// The session is attached elsewhere now.
    SessionMoved,
    /// The client has seen a later zxid than this server: another server will do.
    ClientAhead,
    /// This server has no leader, or its own disk stands still: another server will do.
    NoLeader,
    /// This server's state is another than a quorum's: another server will do.
    StateInDoubt,
    /// This server was in read-only mode, and has a leader again.
    WritableAgain,
    /// This server is no member of the ensemble, or no longer: another server will do.
    NoMember,
    /// This server was far behind and has taken over a leader's snapshot: the client's watches are
    /// to be set again.
    Resynchronized,
    /// Credentials were not accepted.
    AuthFailed,
    /// It has no identity of the schemes that this server asks for.
    AuthRequired,
    /// The client means to be with another ensemble: another server will do.
    OtherEnsemble,
    /// An opcode that clients may not send.
    UnknownRequest,
    /// More requests are waiting than a connection may have.
    TooManyRequests,
    /// More events wait for all connections than may, and this one was to hear another.
    TooManyEvents,
}
