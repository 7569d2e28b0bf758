//! A client's connection: from the handshake, over the attachment to a session, to its end.
//!
//! Invariant: at most one connection of this server is attached to a session, and it holds the
//! token that was in force when it was attached, by the log or, of a local session, by this server.
//! The count of requests that wait is the sum over
//! all lines, since lines grow and shrink through [`Connections::line`] alone.

use std::collections::BTreeMap;

use crate::auth::Exchange;
use crate::db::Action;
use crate::id::{ConnId, Nonce, Sequence, SessionId, Token};
use crate::proto::{ConnectRequest, Identities};
use crate::time::Instant;

use super::pipeline::Pipeline;

/// One client connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// `ip:...` first, then what `auth` packets added.
    pub(super) identities: Identities,
    /// Whether the connect request had the `readOnly` byte: the response then has it too.
    pub(super) has_read_only: bool,
    pub(super) phase: Phase,
    pipeline: Pipeline,
    /// Its login by SASL.
    pub(super) exchange: Exchange,
    /// The last write entered.
    pub(super) sequence: Sequence,
    /// When the client was last heard from, unless the leader knows already.
    pub(super) heard: Option<Instant>,
    /// `closeSession` was asked for: whatever comes after it is not answered.
    pub(super) closing: bool,
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Waits for this server's lane, or for what is in it: the session is to be a local one.
    Waiting(ConnectRequest),
    /// Waits for its session to be opened or attached by the log.
    Attaching(Attempt),
    /// Speaks for a session.
    Attached(Attachment),
}

/// One attempt to open or attach a session.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What was asked of the log; holds the nonce.
    pub(super) action: Action,
    pub(super) nonce: Nonce,
    pub(super) sent: Instant,
    /// How often the attempt was overtaken and made anew.
    pub(super) tries: u32,
}

/// The right of a connection to speak for a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attachment {
    pub(super) session: SessionId,
    pub(super) token: Token,
    pub(super) timeout_ms: i32,
    pub(super) scope: Scope,
}

/// Who knows a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All servers, by the log.
    Global,
    /// This server alone.
    Local,
    /// The same, while it is in read-only mode.
    ReadOnly,
}

/// The client connections of this server.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_id: BTreeMap<ConnId, Connection>,
    by_session: BTreeMap<SessionId, ConnId>,
    by_nonce: BTreeMap<Nonce, ConnId>,
    /// Requests in all lines.
    n_outstanding: u64,
}

impl Connections {
    pub(super) fn get(&self, conn: ConnId) -> Option<&Connection> {
        self.by_id.get(&conn)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.by_id.get_mut(&conn)
    }

    /// Requests of all connections that wait for their answer.
    pub(super) fn n_outstanding(&self) -> u64 {
        self.n_outstanding
    }

    /// Changes a connection's line; `None` if there is no such connection.
    pub(super) fn line<T>(
        &mut self,
        conn: ConnId,
        change: impl FnOnce(&mut Pipeline) -> T,
    ) -> Option<T> {
        let line = &mut self.by_id.get_mut(&conn)?.pipeline;
        let n_before = line.len() as u64;
        let result = change(line);
        self.n_outstanding = self.n_outstanding + line.len() as u64 - n_before;
        Some(result)
    }

    /// All connections, ascending.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Connection)> {
        self.by_id.iter_mut().map(|(&conn, connection)| (conn, connection))
    }

    pub(super) fn ids(&self) -> Vec<ConnId> {
        self.by_id.keys().copied().collect()
    }

    /// Notes a connection that begins.
    pub(super) fn insert(&mut self, conn: ConnId, connection: Connection) {
        if let Phase::Attaching(attempt) = &connection.phase {
            self.by_nonce.insert(attempt.nonce, conn);
        }
        let former = self.by_id.insert(conn, connection);
        assert!(former.is_none(), "the driver used {conn:?} twice");
    }

    /// Makes the attempt of a connection, its first or anew.
    pub(super) fn try_again(&mut self, conn: ConnId, attempt: Attempt) {
        if let Some(connection) = self.by_id.get_mut(&conn) {
            self.by_nonce.insert(attempt.nonce, conn);
            connection.phase = Phase::Attaching(attempt);
        }
    }

    /// The connection that made this attempt, if it is still there; the attempt is over.
    pub(super) fn take_attempt(&mut self, nonce: Nonce) -> Option<ConnId> {
        self.by_nonce.remove(&nonce)
    }

    /// The connection speaks for a session from now on.
    pub(super) fn attach(&mut self, conn: ConnId, attachment: Attachment) {
        let connection = self.by_id.get_mut(&conn).expect("the caller holds its attempt");
        connection.phase = Phase::Attached(attachment);
        let former = self.by_session.insert(attachment.session, conn);
        assert!(former.is_none(), "the former connection of the session was closed first");
    }

    /// A local session has become one that all know, under this token.
    pub(super) fn upgraded(&mut self, conn: ConnId, token: Token) {
        if let Some(connection) = self.by_id.get_mut(&conn)
            && let Phase::Attached(attachment) = &mut connection.phase
        {
            attachment.token = token;
            attachment.scope = Scope::Global;
        }
    }

    /// The connection that speaks for `session`, and its attachment.
    pub(super) fn of_session(&self, session: SessionId) -> Option<(ConnId, Attachment)> {
        let conn = *self.by_session.get(&session)?;
        match &self.by_id.get(&conn)?.phase {
            Phase::Attached(attachment) => Some((conn, *attachment)),
            Phase::Waiting(_) | Phase::Attaching(_) => None,
        }
    }

    /// Forgets a connection; its requests are dropped unanswered.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Connection> {
        let connection = self.by_id.remove(&conn)?;
        self.n_outstanding -= connection.pipeline.len() as u64;
        match &connection.phase {
            Phase::Attaching(attempt) => {
                self.by_nonce.remove(&attempt.nonce);
            }
            Phase::Waiting(_) => {}
            Phase::Attached(attachment) => {
                if self.by_session.get(&attachment.session) == Some(&conn) {
                    self.by_session.remove(&attachment.session);
                }
            }
        }
        Some(connection)
    }
}

impl Connection {
    /// A connection that begins in this phase.
    pub(super) fn new(identities: Identities, has_read_only: bool, phase: Phase) -> Self {
        Connection {
            identities,
            has_read_only,
            phase,
            pipeline: Pipeline::default(),
            exchange: Exchange::default(),
            sequence: Sequence(0),
            heard: None,
            closing: false,
        }
    }

    /// Its requests that wait.
    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// See [`Pipeline::resend`]: the line stays as long as it is.
    pub(super) fn resend(
        &mut self,
        before: Instant,
        now: Instant,
        room: &mut usize,
    ) -> Vec<Action> {
        self.pipeline.resend(before, now, room)
    }

    pub(super) fn attachment(&self) -> Option<Attachment> {
        match &self.phase {
            Phase::Attached(attachment) => Some(*attachment),
            Phase::Waiting(_) | Phase::Attaching(_) => None,
        }
    }

    /// Its attachment, if the log knows it.
    pub(super) fn global_attachment(&self) -> Option<Attachment> {
        self.attachment().filter(|attachment| attachment.scope == Scope::Global)
    }
}
