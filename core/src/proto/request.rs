//! What a client asks, once its bytes are typed. Records and opcodes: `zookeeper.jute`, `ZooDefs`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Acl, AclList, Text, Writes};
use crate::id::SessionId;

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Sent as 0 and ignored.
    pub protocol_version: i32,
    /// The largest zxid that the client has seen in a reply; 0 for a fresh client.
    pub last_zxid_seen: i64,
    /// The session timeout asked for, in milliseconds; any value.
    pub timeout_ms: i32,
    /// The session to go on with, or 0 for a new one.
    pub session: SessionId,
    /// Its password; 16 bytes, or anything from a stranger.
    pub password: Bytes,
    /// Whether a server in read-only mode will do. `None` if the client is too old to say; the
    /// response then leaves its own byte out.
    pub read_only: Option<bool>,
}

/// A request on an established connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Changes the tree, so it goes through the log. Ops 1, 2, 5, 7, 14, 15, 19, 21 and -11.
    Write(Write),
    /// Answered from what this server has applied.
    Read(Read),
    /// A barrier: what follows sees all that was acknowledged before. Op 9; the path is echoed.
    Sync(Text),
    /// Keeps the session alive. Op 11.
    Ping,
    /// Adds an identity to the connection. Op 100.
    Auth(AuthPacket),
    /// Goes on with a login by SASL. Op 102.
    Sasl(SaslToken),
    /// Sets watches again after a reconnect. Ops 101 and 105.
    SetWatches(Rewatch),
    /// Wants another membership. Op 16.
    Reconfig(Reconfig),
    /// An opcode that clients may not send or that nobody knows; `Unimplemented`, then the
    /// connection is closed.
    Unknown(i32),
    /// It waited for longer than it may (ZooKeeper's `throttled_op_wait_time`), so it is not
    /// carried out; answered with `ThrottledOp` in its turn. Never comes off the wire.
    Throttled,
    /// The header was whole, the record was not; answered with `MarshallingError`.
    Malformed,
}

/// A request that changes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Ops 1, 15, 19, 21.
    Create(Create),
    /// Op 2.
    Delete {
        /// The znode.
        path: Text,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Op 5.
    SetData {
        /// The znode.
        path: Text,
        /// Its new data; null and empty are different.
        data: Option<Bytes>,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Op 7.
    SetAcl {
        /// The znode.
        path: Text,
        /// Its new ACL, as the client sent it; empty stands for null too.
        acl: AclList,
        /// The ACL version it must have; -1 for any.
        version: i32,
    },
    /// Op 13. Only inside a multi.
    Check {
        /// The znode.
        path: Text,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Op 14. All or nothing; never nested, never holding a `SetAcl` or `CloseSession`.
    Multi(Writes),
    /// Op -11: ends the session and deletes its ephemeral znodes.
    CloseSession,
}

impl Write {
    /// A multi of these.
    pub fn multi(writes: impl Into<Writes>) -> Self {
        Write::Multi(writes.into())
    }

    /// Whether it would make anything larger, if it succeeded: a znode, its data, its ACL.
    pub fn stores(&self) -> bool {
        match self {
            Write::Create(_) | Write::SetData { .. } | Write::SetAcl { .. } => true,
            Write::Delete { .. } | Write::Check { .. } | Write::CloseSession => false,
            Write::Multi(writes) => writes.iter().any(Write::stores),
        }
    }

    /// Takes out data and ACLs.
    pub fn strip(&mut self) {
        match self {
            Write::Create(create) => {
                create.data = None;
                create.acl = AclList::default();
            }
            Write::SetData { data, .. } => *data = None,
            Write::SetAcl { acl, .. } => *acl = AclList::default(),
            Write::Multi(writes) => writes.change(Write::strip),
            Write::Delete { .. } | Write::Check { .. } | Write::CloseSession => {}
        }
    }

    /// What it weighs in the log and in messages: never less than its bytes there.
    pub fn size_bytes(&self) -> usize {
        // Operation, flags or version, time to live, and the lengths of what follows.
        const OVERHEAD: usize = 32;
        let data_size = |data: &Option<Bytes>| data.as_ref().map_or(0, Bytes::len);
        OVERHEAD
            + match self {
                Write::Create(create) => {
                    create.path.len() + data_size(&create.data) + acl_size(&create.acl)
                }
                Write::SetData { path, data, .. } => path.len() + data_size(data),
                Write::SetAcl { path, acl, .. } => path.len() + acl_size(acl),
                Write::Delete { path, .. } | Write::Check { path, .. } => path.len(),
                Write::Multi(writes) => writes.size_bytes(),
                Write::CloseSession => 0,
            }
    }
}

/// The texts of an ACL are the client's own: each may be as long as its frame.
fn acl_size(acl: &[Acl]) -> usize {
    const OVERHEAD: usize = 16;
    acl.iter().map(|entry| OVERHEAD + entry.id.scheme.len() + entry.id.id.len()).sum()
}

/// A znode to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Where; for a sequential znode without its suffix.
    pub path: Text,
    /// Its data; null and empty are different.
    pub data: Option<Bytes>,
    /// Its ACL, as the client sent it; empty stands for null too.
    pub acl: AclList,
    /// The flags as sent, valid or not; see [`CreateMode::from_flags`].
    pub flags: i32,
    /// Milliseconds to live, as sent by op 21; -1 from all others.
    pub ttl_ms: i64,
    /// Which of the four operations it was; it decides the shape of the answer.
    pub kind: CreateKind,
}

/// The four operations that make a znode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreateKind {
    /// Op 1: answered with the path.
    Create,
    /// Op 15: answered with path and stat, as the two that follow.
    Create2,
    /// Op 19.
    Container,
    /// Op 21.
    Ttl,
}

/// The kind of znode that valid flags ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// Stays until deleted. Flags 0; sequential 2.
    Persistent {
        /// Whether ten digits are appended to the name.
        sequential: bool,
    },
    /// Goes with its session. Flags 1; sequential 3.
    Ephemeral {
        /// Whether ten digits are appended to the name.
        sequential: bool,
    },
    /// Goes when its last child has gone. Flags 4.
    Container,
    /// Goes when it has no children and was not set for its time to live. Flags 5; sequential 6.
    Ttl {
        /// Whether ten digits are appended to the name.
        sequential: bool,
    },
}

impl CreateMode {
    /// The mode for `flags`, or `None` if they are not one of 0 to 6.
    pub fn from_flags(flags: i32) -> Option<CreateMode> {
        match flags {
            0 => Some(CreateMode::Persistent { sequential: false }),
            1 => Some(CreateMode::Ephemeral { sequential: false }),
            2 => Some(CreateMode::Persistent { sequential: true }),
            3 => Some(CreateMode::Ephemeral { sequential: true }),
            4 => Some(CreateMode::Container),
            5 => Some(CreateMode::Ttl { sequential: false }),
            6 => Some(CreateMode::Ttl { sequential: true }),
            _ => None,
        }
    }

    /// Whether ten digits are appended to the name.
    pub fn is_sequential(self) -> bool {
        match self {
            CreateMode::Persistent { sequential }
            | CreateMode::Ephemeral { sequential }
            | CreateMode::Ttl { sequential } => sequential,
            CreateMode::Container => false,
        }
    }
}

/// A request that is answered from what this server has applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Op 3.
    Exists {
        /// The znode, there or not.
        path: Text,
        /// Whether to set a one-shot data watch, also on a missing znode.
        watch: bool,
    },
    /// Op 4.
    GetData {
        /// The znode.
        path: Text,
        /// Whether to set a one-shot data watch.
        watch: bool,
    },
    /// Op 6.
    GetAcl {
        /// The znode.
        path: Text,
    },
    /// Ops 8 and 12.
    GetChildren {
        /// The znode.
        path: Text,
        /// Whether to set a one-shot child watch.
        watch: bool,
        /// Op 12: answer with the stat too.
        with_stat: bool,
    },
    /// Op 103: the session's own ephemeral znodes below a prefix.
    GetEphemerals {
        /// Plain text that the paths must start with.
        prefix: Text,
    },
    /// Op 104: how many znodes are below this one, at all depths.
    CountDescendants {
        /// The znode.
        path: Text,
    },
    /// Op 22: only `GetData` and `GetChildren`, each succeeding or failing by itself; no watches.
    Multi(Vec<Read>),
    /// Op 106: a watch that stays.
    AddWatch {
        /// Any text; not validated, as in ZooKeeper.
        path: Text,
        /// Which of the two kinds.
        mode: WatchMode,
    },
    /// Op 17: whether this connection has such a watch.
    CheckWatches {
        /// The watched path.
        path: Text,
        /// Which kinds.
        kind: WatcherType,
    },
    /// Op 18: take such watches away.
    RemoveWatches {
        /// The watched path.
        path: Text,
        /// Which kinds.
        kind: WatcherType,
    },
    /// Op 107: the identities of this connection.
    WhoAmI,
}

/// The modes of a watch on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchMode {
    /// Stays, on exactly this path.
    Persistent,
    /// Stays, on this path and all below it; no `ChildrenChanged`.
    Recursive,
}

/// Which watches op 17 and 18 speak of (`Watcher.WatcherType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatcherType {
    /// 1: one-shot child watches.
    Children,
    /// 2: one-shot data watches.
    Data,
    /// 3: all of them.
    Any,
    /// 4: persistent ones.
    Persistent,
    /// 5: persistent recursive ones.
    Recursive,
}

/// The watches that a client had on its former connection. Ops 101 and 105.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewatch {
    /// The last zxid that the client has seen: what changed after it fires at once.
    pub relative_zxid: i64,
    /// Data watches on znodes that were there.
    pub data: Vec<Text>,
    /// Data watches on znodes that were missing.
    pub exist: Vec<Text>,
    /// Child watches.
    pub child: Vec<Text>,
    /// Persistent watches; op 105 only.
    pub persistent: Vec<Text>,
    /// Persistent recursive watches; op 105 only.
    pub recursive: Vec<Text>,
}

/// A wish for another membership. Op 16.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconfig {
    /// Servers to join or to change, as `server.N=...` between commas; null for none.
    pub joining: Option<Text>,
    /// Ids of servers to leave, between commas; null for none.
    pub leaving: Option<Text>,
    /// The whole new list, between commas or line ends; the other two do not count then.
    pub members: Option<Text>,
    /// The version that the present list must have; -1 for any.
    pub version: i64,
}

/// Credentials for one scheme.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthPacket {
    /// `digest`, `ip`, ...
    pub scheme: Text,
    /// What the scheme wants; null is not the same as empty.
    pub auth: Option<Bytes>,
}

impl std::fmt::Debug for AuthPacket {
    /// Never shows the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthPacket").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// What one side of a login by SASL says.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslToken(pub Bytes);

impl std::fmt::Debug for SaslToken {
    /// Never shows the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SaslToken({} bytes)", self.0.len())
    }
}
