//! What a client hears.

use super::{Acl, ErrorCode, Id, Names, SaslToken, SharedData, Stat, Text};
use crate::id::SessionId;

/// The answer to a [`ConnectRequest`](super::ConnectRequest).
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The negotiated session timeout in milliseconds; 0 says that the session is refused.
    pub timeout_ms: i32,
    /// The session, 0 if refused.
    pub session: SessionId,
    /// Its password, zeroes if refused.
    pub password: [u8; 16],
    /// `Some` if the request had the byte: whether this server is in read-only mode.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The session does not exist (any more), or the password is wrong: the client hears "expired".
    pub fn refused(read_only: Option<bool>) -> Self {
        ConnectResponse { timeout_ms: 0, session: SessionId(0), password: [0; 16], read_only }
    }
}

impl std::fmt::Debug for ConnectResponse {
    /// Never shows the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectResponse")
            .field("timeout_ms", &self.timeout_ms)
            .field("session", &self.session)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// The body of a reply that has no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The header alone: delete, ping, auth, setWatches, closeSession, check and removeWatches.
    Empty,
    /// create.
    Path(Text),
    /// create2 and its kin.
    PathStat(Text, Stat),
    /// exists, setData and setACL.
    Stat(Stat),
    /// getData.
    Data(Option<SharedData>, Stat),
    /// getACL.
    Acl(Vec<Acl>, Stat),
    /// getChildren and getEphemerals.
    Names(Names),
    /// getChildren2.
    NamesStat(Names, Stat),
    /// sync: the path, unchanged.
    Sync(Text),
    /// getAllChildrenNumber.
    Count(i32),
    /// multi and multiRead; the header says no error even if operations failed.
    Multi(Vec<OpResult>),
    /// addWatch: a record with error 0.
    WatchAdded,
    /// whoAmI: scheme and user of each identity.
    Identities(Vec<Id>),
    /// sasl: what the server says; null if nobody logs in here, or a failure is overlooked.
    Sasl(Option<SaslToken>),
    /// sasl that failed: unlike any other error, a null token follows the header that tells it.
    SaslRefused(ErrorCode),
}

/// What became of one operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// create.
    Create(Text),
    /// create2, createContainer, createTTL.
    Create2(Text, Stat),
    /// delete.
    Delete,
    /// setData.
    SetData(Stat),
    /// check.
    Check,
    /// multiRead: getChildren.
    Names(Names),
    /// multiRead: getData.
    Data(Option<SharedData>, Stat),
    /// It failed; `None` (code 0) stands for an operation before the one that failed.
    Error(Option<ErrorCode>),
}
