//! The whole state as plain values: what a snapshot holds, and what a server starts from.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::id::{Nonce, Sequence, SessionId, Token};
use crate::proto::{AclList, Text, Zxid};

/// A znode's numbers as they are stored, not as clients see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredStat {
    /// The zxid that created the znode.
    pub czxid: i64,
    /// The zxid that last set its data.
    pub mzxid: i64,
    /// When it was created, in milliseconds since the Unix epoch.
    pub ctime: i64,
    /// When its data was last set, likewise.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How often children were created; clients see twice this, less the number of children.
    pub cversion: i32,
    /// How often its ACL was set.
    pub aversion: i32,
    /// The owner in ZooKeeper's encoding: 0, a session, or a container's or TTL znode's mark.
    pub ephemeral_owner: i64,
    /// The zxid that last created or deleted a child.
    pub pzxid: i64,
}

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageNode {
    /// Where.
    pub path: Text,
    /// Its data; null and empty are different.
    pub data: Option<Bytes>,
    /// Its ACL.
    pub acl: AclList,
    /// Its numbers.
    pub stat: StoredStat,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// What a client must show to attach it.
    pub password: [u8; 16],
    /// The timeout of its last attach, in milliseconds.
    pub timeout_ms: i32,
    /// The attachment in force.
    pub token: Token,
    /// The last write applied under it; 0 if none.
    pub sequence: Sequence,
    /// The attempt that made the attachment.
    pub nonce: Nonce,
}

/// Why values do not make a state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// A znode came before its parent, or twice.
    #[error("znode {path:?} has no parent before it, or came twice")]
    Misplaced {
        /// Which.
        path: Text,
    },
    /// A session came twice.
    #[error("session {0} came twice")]
    SessionTwice(SessionId),
    /// There is no root.
    #[error("there is no root znode")]
    NoRoot,
    /// The digest of what came is another.
    #[error("the digest is {found:016x} and should be {expected:016x}")]
    Digest {
        /// As computed.
        found: u64,
        /// As promised.
        expected: u64,
    },
}

/// The state after one zxid, frozen: shared with the database until either changes.
#[derive(Clone, Debug)]
pub struct Image {
    zxid: Zxid,
    nodes: Arc<Vec<ImageNode>>,
    sessions: Arc<Vec<SessionRecord>>,
    last_ids: BTreeMap<u8, SessionId>,
    digest: u64,
}

impl Image {
    /// The zxid of the last entry in it.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The digest of everything in it.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// How many znodes `nodes` gives.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Every znode: the root first, parents before children, children by name.
    pub fn nodes(&self) -> impl Iterator<Item = ImageNode> + '_ {
        self.nodes.iter().cloned()
    }

    /// Every session, ascending by id.
    pub fn sessions(&self) -> impl Iterator<Item = SessionRecord> + '_ {
        self.sessions.iter().cloned()
    }

    /// By the upper byte of session ids (the server that gave them): the largest ever opened.
    pub fn last_session_ids(&self) -> &BTreeMap<u8, SessionId> {
        &self.last_ids
    }
}

/// Builds an [`Image`] from what a snapshot holds.
#[derive(Debug, Default)]
pub struct ImageBuilder {
    nodes: Vec<ImageNode>,
    sessions: Vec<SessionRecord>,
    last_ids: BTreeMap<u8, SessionId>,
}

impl ImageBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a znode; the root (`/`) first, parents before children.
    ///
    /// # Errors
    /// If its parent is not there, or it came before.
    pub fn node(&mut self, node: ImageNode) -> Result<(), ImageError> {
        self.nodes.push(node);
        Ok(())
    }

    /// Adds a session.
    ///
    /// # Errors
    /// If it came before.
    pub fn session(&mut self, session: SessionRecord) -> Result<(), ImageError> {
        self.sessions.push(session);
        Ok(())
    }

    /// Notes the largest session id opened by the server whose ids begin with `prefix`.
    pub fn last_session_id(&mut self, prefix: u8, last: SessionId) {
        self.last_ids.insert(prefix, last);
    }

    /// The image after `zxid`.
    ///
    /// # Errors
    /// If there is no root, or the digest is not `digest`.
    pub fn finish(self, zxid: Zxid, digest: u64) -> Result<Image, ImageError> {
        Ok(Image {
            zxid,
            nodes: Arc::new(self.nodes),
            sessions: Arc::new(self.sessions),
            last_ids: self.last_ids,
            digest,
        })
    }
}
