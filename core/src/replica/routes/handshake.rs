//! A connection's beginning and end.
//!
//! Invariant: a session is opened and attached by the log alone, so every server agrees on which
//! connection may speak for it; but for those that are one server's own (see `local`).

use std::net::IpAddr;
use std::sync::Arc;

use rand_core::RngCore;

use crate::db::{Action, Refusal};
use crate::id::{ConnId, Nonce, SessionId, Token};
use crate::proto::{ConnectRequest, ConnectResponse, Id};
use crate::replica::connection::{Attempt, Connection, Phase, Scope};
use crate::replica::{CloseReason, Output, Replica};

/// How often one connect request is tried anew before its client is sent to try for itself.
const MAX_ATTEMPTS: u32 = 16;

impl Replica {
    pub(in crate::replica) fn connect(
        &mut self,
        conn: ConnId,
        address: IpAddr,
        request: ConnectRequest,
    ) {
        if let Some(reason) = self.refusal(&request)
            && !mutated!(ReadOnlyGoesBack if self.read_only && reason == CloseReason::ClientAhead)
        {
            self.outputs.push_back(Output::Close { conn, reason });
            return;
        }
        self.counts.resumptions += u64::from(request.session.0 != 0);
        let identities = Arc::from([Id::new("ip", &java_address(address))]);
        let has_byte = request.read_only.is_some();
        let phase = Phase::Waiting(request.clone());
        self.connections.insert(conn, Connection::new(identities, has_byte, phase));
        if self.read_only {
            self.connect_read_only(conn, &request);
        } else if self.is_local(&request) {
            self.connect_locally(conn, &request);
        } else {
            self.begin_attempt(conn, &request);
        }
    }

    /// Why a client is turned away without a word, if it is.
    fn refusal(&self, request: &ConnectRequest) -> Option<CloseReason> {
        let may_write = request.read_only != Some(true);
        if !self.upkeep.is_serving() && (!self.read_only || may_write) {
            Some(CloseReason::NoLeader)
        } else if !self.is_member() {
            Some(CloseReason::NoMember)
        } else if self.is_in_doubt() {
            Some(CloseReason::StateInDoubt)
        } else if request.last_zxid_seen > self.db.zxid().0
            && !mutated!(NewerClientAccepted | AttachedAtOnce)
        {
            Some(CloseReason::ClientAhead)
        } else {
            None
        }
    }

    /// Asks the log for what a client that is here asks for, or refuses it.
    pub(in crate::replica) fn begin_attempt(&mut self, conn: ConnId, request: &ConnectRequest) {
        let Some((action, nonce)) = self.first_action(request) else {
            self.refuse_session(conn);
            return;
        };
        let attempt = Attempt { action: action.clone(), nonce, sent: self.now.instant, tries: 1 };
        self.connections.try_again(conn, attempt);
        if !mutated!(AttachedAtOnce if self.attaches_at_once(&action, request)) {
            self.dispatch(action);
        }
    }

    /// Tells a client that its session is no more, or that its password is wrong.
    pub(in crate::replica) fn refuse_session(&mut self, conn: ConnId) {
        let has_byte = self.connections.get(conn).is_some_and(|it| it.has_read_only);
        let response = ConnectResponse::refused(has_byte.then_some(self.read_only));
        self.outputs.push_back(Output::Connected { conn, response });
        self.close(conn, CloseReason::SessionEnded);
    }

    /// The timeout that a client gets who asks for `timeout_ms`.
    pub(in crate::replica) fn granted(&self, timeout_ms: i32) -> i32 {
        let (min, max) = (self.config.min_session_timeout_ms, self.config.max_session_timeout_ms);
        timeout_ms.clamp(min, max)
    }

    /// What a connect request asks of the log; `None` if it can be refused at once.
    pub(in crate::replica) fn first_action(
        &mut self,
        request: &ConnectRequest,
    ) -> Option<(Action, Nonce)> {
        let timeout_ms = self.granted(request.timeout_ms);
        let nonce = Nonce(self.random.next_u64());
        if request.session.0 == 0 {
            let mut password = [0; 16];
            self.random.fill_bytes(&mut password);
            let session = self.next_session_id();
            return Some((Action::Open { session, password, timeout_ms, nonce }, nonce));
        }
        let password: [u8; 16] = request.password.as_ref().try_into().ok()?;
        // Unknown here does not mean unknown: this server may be behind. The log decides.
        let replaces = self.db.session(request.session).map_or(Token(0), |session| session.token);
        let session = request.session;
        Some((Action::Attach { session, password, timeout_ms, replaces, nonce }, nonce))
    }

    /// A session id that no session ever had, as far as is known here; see `Refusal::IdTaken`.
    pub(in crate::replica) fn next_session_id(&mut self) -> SessionId {
        let prefix = self.config.raft.id.0 as u8;
        // ZooKeeper's formula, so that ids of ensembles made anew do not meet those of old ones.
        let fresh = ((self.now.wall.0 << 24) as u64 >> 8) as i64 | (i64::from(prefix) << 56);
        let known = self.db.last_session_id(prefix).0.max(self.last_session_id.0);
        let same_prefix = known != 0 && (known >> 56) as u8 == prefix;
        self.last_session_id =
            SessionId(if same_prefix { fresh.max(known.wrapping_add(1)) } else { fresh });
        self.last_session_id
    }

    /// An attempt was overtaken, or its id was taken: makes it anew with what is known now.
    pub(in crate::replica) fn attempt_again(&mut self, conn: ConnId, refusal: Refusal) -> bool {
        let nonce = Nonce(self.random.next_u64());
        let id = self.next_session_id();
        let now = self.now.instant;
        let Some(connection) = self.connections.get_mut(conn) else { return false };
        let Phase::Attaching(attempt) = &connection.phase else { return false };
        if attempt.tries >= MAX_ATTEMPTS {
            return false;
        }
        let action = match (&attempt.action, refusal) {
            (
                &Action::Attach { session, password, timeout_ms, .. },
                Refusal::Overtaken { token: replaces },
            ) => Action::Attach { session, password, timeout_ms, replaces, nonce },
            (&Action::Open { password, timeout_ms, .. }, Refusal::IdTaken) => {
                Action::Open { session: id, password, timeout_ms, nonce }
            }
            _ => return false,
        };
        let tries = attempt.tries + 1;
        let attempt = Attempt { action: action.clone(), nonce, sent: now, tries };
        self.connections.try_again(conn, attempt);
        self.dispatch(action);
        true
    }

    /// The client is gone, or is to go.
    pub(in crate::replica) fn forget(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.remove(conn) else { return };
        self.watches.forget(conn);
        self.locals.wait_no_longer(conn);
        // What it said last counts for its session, which may go on elsewhere.
        if let (Some(attachment), Some(at)) = (connection.attachment(), connection.heard) {
            if attachment.scope == Scope::Global {
                self.touch(attachment.session, at);
                self.departed.push(attachment.session);
            } else {
                self.locals.touch(attachment.session, at);
            }
        }
    }

    /// Ends a connection after what was said to it.
    pub(in crate::replica) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.forget(conn);
        self.outputs.push_back(Output::Close { conn, reason });
    }

    pub(in crate::replica) fn close_all(&mut self, reason: CloseReason) {
        for conn in self.connections.ids() {
            self.close(conn, reason);
        }
    }
}

/// A numeric address as Java prints it: IPv6 without abbreviations.
fn java_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let groups = address.segments().map(|group| format!("{group:x}"));
            groups.join(":")
        }
    }
}
