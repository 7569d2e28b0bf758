//! A request as the log keeps it: stamped by the leader with the time, and with the author behind
//! it.
//!
//! Invariant: a txn is validated once, when it is applied, on every server alike. Nothing in it is
//! trusted but the stamp.

use serde::{Deserialize, Serialize};

use crate::id::{Nonce, Sequence, SessionId, Token};
use crate::proto::{Ensemble, Identities, Text, Write};
use crate::time::WallTime;

/// An action with the leader's stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// The leader's wall clock when it took the action up. Every server sees the same time.
    pub time: WallTime,
    /// What to do.
    pub action: Action,
}

/// Who asked for a write, and the write's place among all writes of that connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The session.
    pub session: SessionId,
    /// The attachment under which it was sent; stale if the session has moved since.
    pub token: Token,
    /// 1, 2, 3, ... within the attachment: a copy is skipped, a gap is refused.
    pub sequence: Sequence,
    /// The identities of the connection when the request was read.
    pub identities: Identities,
}

/// What the log can ask of the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A client's write.
    Write {
        /// On whose behalf.
        author: Author,
        /// What.
        write: Write,
    },
    /// A new session, asked for by the server where the client connected.
    Open {
        /// Its id, which no session ever had.
        session: SessionId,
        /// The password that a later attach must show.
        password: [u8; 16],
        /// The negotiated timeout.
        timeout_ms: i32,
        /// By which the asking server knows this attempt.
        nonce: Nonce,
    },
    /// A session goes on over another connection.
    Attach {
        /// Which.
        session: SessionId,
        /// What the client claims the password to be.
        password: [u8; 16],
        /// The timeout negotiated for this connection.
        timeout_ms: i32,
        /// The attachment that this one replaces: if another came in between, it is refused, so
        /// that a late copy of an attach can never take a session back.
        replaces: Token,
        /// By which the asking server knows this attempt.
        nonce: Nonce,
    },
    /// The leader has not heard of the session for its timeout.
    Expire {
        /// Which.
        session: SessionId,
        /// The attachment that was overdue: a session attached anew since is left alone.
        token: Token,
    },
    /// The leader found an empty container or a TTL znode that is due. Checked again when applied.
    Reap {
        /// Which.
        path: Text,
    },
    /// The ensemble's own description, shown at `/zookeeper/config`.
    Describe {
        /// All servers.
        ensemble: Ensemble,
    },
}

impl Txn {
    /// What it weighs in the log and in messages, about.
    pub fn size_bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        OVERHEAD
            + match &self.action {
                Action::Write { author, write } => {
                    let ids = author.identities.iter();
                    ids.map(|id| id.scheme.len() + id.id.len() + 8).sum::<usize>()
                        + write_size(write)
                }
                Action::Open { .. } | Action::Attach { .. } | Action::Expire { .. } => 0,
                Action::Reap { path } => path.len(),
                Action::Describe { ensemble } => {
                    ensemble.members.iter().map(|member| member.line.len() + 16).sum()
                }
            }
    }
}

fn write_size(write: &Write) -> usize {
    match write {
        Write::Create(create) => {
            create.path.len()
                + create.data.as_ref().map_or(0, |data| data.len())
                + create.acl.len() * 32
        }
        Write::SetData { path, data, .. } => {
            path.len() + data.as_ref().map_or(0, |data| data.len())
        }
        Write::SetAcl { path, acl, .. } => path.len() + acl.len() * 32,
        Write::Delete { path, .. } | Write::Check { path, .. } => path.len(),
        Write::Multi(writes) => writes.iter().map(write_size).sum(),
        Write::CloseSession => 0,
    }
}
