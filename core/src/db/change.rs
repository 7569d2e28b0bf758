//! What a txn did: the answer, and every path it touched.

use super::restore::RestoreError;
use crate::id::{SessionId, Token};
use crate::proto::{AclList, ErrorCode, Response, Text};

/// What came of one txn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What its author hears.
    pub outcome: Outcome,
    /// What it did to the tree, in the order in which watches are to fire.
    pub changes: Vec<Change>,
}

/// What became of a txn as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A write was taken up, and succeeded or failed: the answer. A failed multi is an `Ok` that
    /// holds errors, as on the wire.
    Answered(Result<Response, ErrorCode>),
    /// A write that was applied before; it has been answered then.
    Copy,
    /// A write with one missing before it; it will come again, in order.
    Gap,
    /// A write of an attachment that is no longer the session's; the connection is to be closed.
    Moved,
    /// A write of a session that has ended; the connection is to be closed.
    Ended,
    /// A session was opened or attached, or a restore begun.
    Attached {
        /// The attachment now in force: the zxid of this txn.
        token: Token,
    },
    /// A session could not be opened or attached, or a restore not begun.
    Refused(Refusal),
    /// A session has ended by the leader's word; its ephemeral znodes are among the changes.
    Expired(SessionId),
    /// The leader's wish was out of date or is done, or a piece of a restore has come; nobody waits
    /// for an answer.
    Settled,
    /// A restore is at its end: another state has taken the place of the former one, which the
    /// database gives away for comparison.
    Restored,
    /// A restore has come to nothing.
    RestoreFailed(RestoreError),
}

/// Why a session could not be opened or attached, or a restore begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such session: it has ended, or never was.
    Unknown,
    /// The password is wrong.
    WrongPassword,
    /// Another attach came first; the asking server may try again with the token now in force.
    Overtaken {
        /// The attachment in force.
        token: Token,
    },
    /// The id of a session to be opened is not larger than the last one of its server.
    IdTaken,
    /// Another restore is under way.
    Restoring,
}

/// What happened to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: Text,
    /// What.
    pub kind: ChangeKind,
    /// Bytes of the data that the znode was given; 0 for a deletion.
    pub n_bytes: u64,
    /// The ACL by which events about the path itself are filtered: as created, as it is, or, for a
    /// deletion, as it was (ZOOKEEPER-4799).
    pub acl: AclList,
    /// The parent's ACL, by which `ChildrenChanged` is filtered; `None` for `DataChanged`, of which
    /// no parent tells.
    pub parent_acl: Option<AclList>,
}

/// The three things that can happen to a path and that a watch can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// It was deleted.
    Deleted,
    /// Its data was set.
    DataChanged,
}
