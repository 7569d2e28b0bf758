//! All that a replica can wish for.

use super::message::{Message, Snapshot};
use crate::db::Txn;
use crate::id::{ConnId, ServerId, Xid};
use crate::proto::{ConnectResponse, ErrorCode, Event, Response, Zxid};
use crate::raft::{Index, Persist, Ticket};

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
    /// This server was far behind and has taken over a leader's snapshot: the client's watches are
    /// to be set again.
    Resynchronized,
    /// Credentials were not accepted.
    AuthFailed,
    /// An opcode that clients may not send.
    UnknownRequest,
    /// More requests are waiting than a connection may have.
    TooManyRequests,
}
