//! What a client hears when a request fails, with ZooKeeper's numbers (`KeeperException.Code`).

use serde::{Deserialize, Serialize};

/// An error of the protocol. It is an answer like any other; a failed write has a zxid as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i32)]
pub enum ErrorCode {
    /// In a multi: an operation after the one that failed.
    RuntimeInconsistency = -2,
    /// The request could not be decoded.
    MarshallingError = -5,
    /// This server does not know, or does not yet offer, the operation.
    Unimplemented = -6,
    /// An argument is not valid, a path above all.
    BadArguments = -8,
    /// No quorum of the membership asked for is in step with the leader.
    NewConfigNoQuorum = -13,
    /// An earlier change of the membership is not finished.
    ReconfigInProgress = -14,
    /// The znode, or the parent of the one to be made, does not exist.
    NoNode = -101,
    /// The connection holds no identity that may do this.
    NoAuth = -102,
    /// The version asked for is not the version there.
    BadVersion = -103,
    /// Ephemeral znodes have no children.
    NoChildrenForEphemerals = -108,
    /// The znode is there already.
    NodeExists = -110,
    /// The znode has children.
    NotEmpty = -111,
    /// The session has ended.
    SessionExpired = -112,
    /// The list of permissions is empty or names an identity that is not valid.
    InvalidAcl = -114,
    /// The scheme is unknown or does not accept the credentials.
    AuthFailed = -115,
    /// The session is attached elsewhere. Never sent: the connection is closed instead.
    SessionMoved = -118,
    /// A write on a server in read-only mode.
    NotReadOnly = -119,
    /// An ephemeral znode was asked for in a session that only its server knows.
    EphemeralOnLocalSession = -120,
    /// There is no watch of this kind to check or remove.
    NoWatcher = -121,
    /// The ensemble's membership may not be changed by clients.
    ReconfigDisabled = -123,
    /// The connection lacks an identity of the schemes that this server asks for.
    SessionClosedRequireSaslAuth = -124,
    /// A hard quota would be exceeded.
    QuotaExceeded = -125,
    /// The request waited for too long before it could be begun, and was not.
    ThrottledOp = -127,
}

impl ErrorCode {
    /// Every code, in the order of their numbers from high to low.
    pub const ALL: [ErrorCode; 23] = [
        ErrorCode::RuntimeInconsistency,
        ErrorCode::MarshallingError,
        ErrorCode::Unimplemented,
        ErrorCode::BadArguments,
        ErrorCode::NewConfigNoQuorum,
        ErrorCode::ReconfigInProgress,
        ErrorCode::NoNode,
        ErrorCode::NoAuth,
        ErrorCode::BadVersion,
        ErrorCode::NoChildrenForEphemerals,
        ErrorCode::NodeExists,
        ErrorCode::NotEmpty,
        ErrorCode::SessionExpired,
        ErrorCode::InvalidAcl,
        ErrorCode::AuthFailed,
        ErrorCode::SessionMoved,
        ErrorCode::NotReadOnly,
        ErrorCode::EphemeralOnLocalSession,
        ErrorCode::NoWatcher,
        ErrorCode::ReconfigDisabled,
        ErrorCode::SessionClosedRequireSaslAuth,
        ErrorCode::QuotaExceeded,
        ErrorCode::ThrottledOp,
    ];

    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }
}
