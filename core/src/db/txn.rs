//! A request as the log keeps it: stamped by the leader with the time, and with the author behind
//! it.
//!
//! Invariant: a txn is validated once, when it is applied, on every server alike. Nothing in it is
//! trusted but the stamp.

use serde::{Deserialize, Serialize};

use super::restore::RestoreStep;
use super::rules::Rules;
use crate::id::{Nonce, Sequence, ServerId, SessionId, Token};
use crate::proto::{Ensemble, Identities, Text, Write};
use crate::time::WallTime;

/// An action with the leader's stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// The leader's wall clock when it took the action up. Every server sees the same time.
    pub time: WallTime,
    /// The leader's rules at that time. Every server goes by them, whatever its own settings are.
    #[serde(default)]
    pub rules: Rules,
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

/// A place among everything that one server puts into the log for its local sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Which server.
    pub server: ServerId,
    /// The zxid at which the process that runs there now took up the lane.
    pub token: Token,
    /// 1, 2, 3, ... under the token: a copy is skipped, a gap is refused.
    pub sequence: Sequence,
}

/// How many session ids a process takes with its lane: a quarter of a second of the clock in them.
pub const LANE_IDS: i64 = 1 << 24;

/// What a server puts into the log for one of its local sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalWork {
    /// A client's write.
    Write(Write),
    /// The session is to be one that every server knows, since its next write is to make an
    /// ephemeral znode. The author's sequence is that of its last write before.
    Upgrade {
        /// The password that a later attach must show.
        password: [u8; 16],
        /// The negotiated timeout.
        timeout_ms: i32,
    },
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
        /// The leader's `znode.container.maxNeverUsedIntervalMs`: how long a container may stay
        /// that never had a child; 0 for ever.
        #[serde(default)]
        unused_ms: i64,
    },
    /// The ensemble's own description, shown at `/zookeeper/config`.
    Describe {
        /// All servers.
        ensemble: Ensemble,
    },
    /// A server that begins to serve local sessions takes up its lane; a compare-and-swap on the
    /// token, like an attach. It takes the next [`LANE_IDS`] session ids as well, so that none is
    /// ever given to two local sessions.
    Enroll {
        /// Which server.
        server: ServerId,
        /// The first of the ids: above every id that was ever opened or taken here.
        first: SessionId,
        /// The token of its lane so far; 0 if it had none.
        replaces: Token,
        /// By which the server knows this attempt.
        nonce: Nonce,
    },
    /// Something of a session that only its server knows.
    Local {
        /// Its place, by which it is known whether it is this one's turn.
        lane: Lane,
        /// On whose behalf. Token and sequence count what the session did at its server: they are
        /// a record, the turn follows from the lane.
        author: Author,
        /// What.
        work: LocalWork,
    },
    /// A snapshot that a server holds is to take the place of the state: a compare-and-swap on the
    /// last restore that was begun, like an attach.
    BeginRestore {
        /// The restore that was begun last, known by its zxid; 0 if none ever was.
        replaces: Token,
        /// By which the server knows this attempt.
        nonce: Nonce,
    },
    /// The next step of that.
    Restore {
        /// Which restore: the zxid at which it began.
        token: Token,
        /// 1, 2, 3, ... under the token: a copy is skipped, a gap is refused.
        number: Sequence,
        /// What.
        step: RestoreStep,
    },
    /// The leader has seen nothing more of a restore for too long.
    AbandonRestore {
        /// Which restore.
        token: Token,
        /// The last step that was applied: a restore that has gone on since is left alone.
        number: Sequence,
    },
}

impl Txn {
    /// What it weighs in the log and in messages: never less than its bytes, since batches are cut
    /// by it, and a frame between servers has a limit.
    pub fn size_bytes(&self) -> usize {
        // Rules that are not the default ones take a byte of their own.
        usize::from(self.rules != Rules::default()) + self.action.size_bytes()
    }
}

impl Action {
    /// Whether it would make anything larger, if it succeeded: a znode, its data, its ACL.
    pub fn stores(&self) -> bool {
        match self {
            Action::Write { write, .. } | Action::Local { work: LocalWork::Write(write), .. } => {
                write.stores()
            }
            Action::BeginRestore { .. } | Action::Restore { .. } => true,
            _ => false,
        }
    }

    /// Takes out what it would store. It is still the same request, to be refused.
    pub fn strip(&mut self) {
        if let Action::Write { write, .. } | Action::Local { work: LocalWork::Write(write), .. } =
            self
        {
            write.strip();
        }
        if let Action::Restore { step: RestoreStep::Piece { sessions, znodes }, .. } = self {
            sessions.clear();
            znodes.clear();
        }
    }

    /// What it weighs when it is passed on or put into the log; see [`Txn::size_bytes`].
    pub fn size_bytes(&self) -> usize {
        const OVERHEAD: usize = 80;
        const LANE: usize = 32;
        OVERHEAD
            + match self {
                Action::Write { author, write } => author.size_bytes() + write.size_bytes(),
                Action::Local { author, work, .. } => {
                    let work = match work {
                        LocalWork::Write(write) => write.size_bytes(),
                        LocalWork::Upgrade { .. } => 0,
                    };
                    LANE + author.size_bytes() + work
                }
                Action::Open { .. }
                | Action::Attach { .. }
                | Action::Expire { .. }
                | Action::Enroll { .. }
                | Action::BeginRestore { .. }
                | Action::AbandonRestore { .. } => 0,
                Action::Restore { step, .. } => step.size_bytes(),
                Action::Reap { path, .. } => path.len(),
                Action::Describe { ensemble } => {
                    let lines = ensemble.members.iter().map(|member| member.line.len() + 16);
                    let groups = ensemble.groups.iter().map(|(_, servers)| servers.len() * 20 + 16);
                    lines.chain(groups).sum()
                }
            }
    }
}

impl Author {
    fn size_bytes(&self) -> usize {
        const LENGTHS: usize = 8;
        self.identities.iter().map(|id| LENGTHS + id.scheme.len() + id.id.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proto::{Acl, Id, Permissions};

    fn weight(write: Write) -> usize {
        let author = Author {
            session: SessionId(1),
            token: Token(1),
            sequence: Sequence(1),
            identities: Arc::from([]),
        };
        let action = Action::Write { author, write };
        Txn { time: WallTime(0), rules: Rules::default(), action }.size_bytes()
    }

    #[test]
    fn long_texts_of_an_acl_weigh_what_they_are_long() {
        let id = Id::new("digest", &"x".repeat(1_000_000));
        let acl = vec![Acl { permissions: Permissions::ALL, id }];
        assert!(
            weight(Write::SetAcl { path: "/a".into(), acl: acl.into(), version: -1 }) > 1_000_000
        );
    }

    #[test]
    fn a_multi_of_small_operations_weighs_them_all() {
        let check = Write::Check { path: "".into(), version: i32::MIN };
        // Operation, length of the path, version: seven bytes each.
        assert!(weight(Write::multi(vec![check; 100_000])) > 700_000);
    }
}
