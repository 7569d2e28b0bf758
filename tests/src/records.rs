//! The records, numbers and names of the protocol that tests speak of.

use std::fmt;

use crate::jute::{Reader, Writer};

/// Opcodes.
pub mod op {
    #![allow(missing_docs, reason = "the names are ZooKeeper's own")]
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_ACL: i32 = 6;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CHECK_WATCHES: i32 = 17;
    pub const REMOVE_WATCHES: i32 = 18;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const MULTI_READ: i32 = 22;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const SASL: i32 = 102;
    pub const GET_EPHEMERALS: i32 = 103;
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub const SET_WATCHES2: i32 = 105;
    pub const ADD_WATCH: i32 = 106;
    pub const WHO_AM_I: i32 = 107;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
}

/// Flags of a create.
pub mod mode {
    #![allow(missing_docs, reason = "the names are ZooKeeper's own")]
    pub const PERSISTENT: i32 = 0;
    pub const EPHEMERAL: i32 = 1;
    pub const SEQUENTIAL: i32 = 2;
    pub const EPHEMERAL_SEQUENTIAL: i32 = 3;
    pub const CONTAINER: i32 = 4;
    pub const TTL: i32 = 5;
    pub const TTL_SEQUENTIAL: i32 = 6;
}

/// Permissions of an ACL entry.
pub mod perms {
    #![allow(missing_docs, reason = "the names are ZooKeeper's own")]
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

/// Why a request failed, by ZooKeeper's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub i32);

macro_rules! error_codes {
    ($($name:ident = $code:literal),* $(,)?) => {
        #[allow(missing_docs, reason = "the names are ZooKeeper's own")]
        impl ErrorCode {
            $(pub const $name: ErrorCode = ErrorCode($code);)*
        }

        impl fmt::Debug for ErrorCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($code => f.write_str(stringify!($name)),)*
                    other => write!(f, "ErrorCode({other})"),
                }
            }
        }
    };
}

error_codes! {
    RUNTIME_INCONSISTENCY = -2,
    // The two that no server sends: the client's own words for a cut and for silence.
    CONNECTION_LOSS = -4,
    OPERATION_TIMEOUT = -7,
    MARSHALLING_ERROR = -5,
    UNIMPLEMENTED = -6,
    BAD_ARGUMENTS = -8,
    NO_NODE = -101,
    NO_AUTH = -102,
    BAD_VERSION = -103,
    NO_CHILDREN_FOR_EPHEMERALS = -108,
    NODE_EXISTS = -110,
    NOT_EMPTY = -111,
    SESSION_EXPIRED = -112,
    INVALID_ACL = -114,
    AUTH_FAILED = -115,
    NOT_READ_ONLY = -119,
    EPHEMERAL_ON_LOCAL_SESSION = -120,
    NO_WATCHER = -121,
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124,
    QUOTA_EXCEEDED = -125,
}

/// A znode's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are ZooKeeper's own")]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl Stat {
    /// The next 68 bytes.
    pub fn read(r: &mut Reader) -> Stat {
        Stat {
            czxid: r.long(),
            mzxid: r.long(),
            ctime: r.long(),
            mtime: r.long(),
            version: r.int(),
            cversion: r.int(),
            aversion: r.int(),
            ephemeral_owner: r.long(),
            data_length: r.int(),
            num_children: r.int(),
            pzxid: r.long(),
        }
    }
}

/// One entry of an ACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Bits of [`perms`].
    pub perms: i32,
    /// `world`, `digest`, ...
    pub scheme: String,
    /// Who, in the scheme's own spelling.
    pub id: String,
}

impl Acl {
    /// An entry.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: scheme.into(), id: id.into() }
    }

    /// Everything to everyone.
    pub fn open() -> Vec<Acl> {
        vec![Acl::new(perms::ALL, "world", "anyone")]
    }

    pub(crate) fn read(r: &mut Reader) -> Acl {
        Acl { perms: r.int(), scheme: r.string(), id: r.string() }
    }

    /// Appends a list of entries.
    pub fn write_all(list: &[Acl], mut w: Writer) -> Writer {
        w = w.int(list.len() as i32);
        for acl in list {
            w = w.int(acl.perms).string(&acl.scheme).string(&acl.id);
        }
        w
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which znode.
    pub path: String,
}

impl Event {
    /// An event.
    pub fn new(kind: EventKind, path: &str) -> Event {
        Event { kind, path: path.into() }
    }
}

/// What happened to a znode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are ZooKeeper's own")]
pub enum EventKind {
    Created,
    Deleted,
    DataChanged,
    ChildrenChanged,
}

impl EventKind {
    pub(crate) fn from_int(number: i32) -> EventKind {
        match number {
            1 => EventKind::Created,
            2 => EventKind::Deleted,
            3 => EventKind::DataChanged,
            4 => EventKind::ChildrenChanged,
            other => panic!("the server sent an event of type {other}"),
        }
    }
}
