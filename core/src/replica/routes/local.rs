//! Sessions that this server alone knows: their connections, their writes, their end; and
//! read-only mode, in which there are no others.
//!
//! Invariants: a local session speaks when nothing of its former connection is on its way any more;
//! it ends only when nothing of it is. Nothing is served in read-only mode but what is applied.

use std::sync::Arc;
use std::time::Duration;

use rand_core::RngCore;

use crate::db::{Action, Author, Lane, LocalWork, Outcome};
use crate::id::{ConnId, Nonce, Sequence, SessionId, Token, Xid};
use crate::proto::{
    ConnectRequest, Create, CreateKind, CreateMode, Identities, Request, Write, Zxid,
};
use crate::replica::connection::{Attachment, Phase, Scope};
use crate::replica::local::LocalSession;
use crate::replica::pipeline::{Local, PendingWrite};
use crate::replica::{CloseReason, Replica};

/// Local sessions ended by one upkeep at most; the rest follows with the next.
const MAX_ENDED_AT_ONCE: usize = 1_000;

/// The beginning of a connection.
impl Replica {
    /// Whether a client that asks for this is served by this server alone.
    pub(in crate::replica) fn is_local(&self, request: &ConnectRequest) -> bool {
        match request.session {
            SessionId(0) => self.config.local_sessions,
            session => self.locals.get(session).is_some(),
        }
    }

    /// A client of a local session; its connection waits, and goes on when it can.
    pub(in crate::replica) fn connect_locally(&mut self, conn: ConnId, request: &ConnectRequest) {
        if let Some(session) = self.locals.get(request.session) {
            if session.password[..] != request.password[..] {
                self.refuse_session(conn);
                return;
            }
            // It says no more; what it has said before is done first.
            if let Some((former, _)) = self.connections.of_session(request.session) {
                self.close(former, CloseReason::SessionMoved);
            }
        }
        self.locals.wait(conn);
        self.admit_waiting();
    }

    /// Lets those in that need not wait any longer.
    pub(in crate::replica) fn admit_waiting(&mut self) {
        for conn in self.locals.waiting() {
            let Some(connection) = self.connections.get(conn) else { continue };
            let Phase::Waiting(request) = &connection.phase else { continue };
            let (session, timeout_ms) = (request.session, self.granted(request.timeout_ms));
            if session == SessionId(0) {
                if self.locals.is_open() {
                    self.begin_local(conn, timeout_ms, Scope::Local);
                } else {
                    self.enroll();
                }
            } else if self.locals.carries(session) && !mutated!(LocalSpeaksEarly) {
                // What its former connection said is on its way.
            } else if let Some(known) = self.locals.get(session) {
                let known = LocalSession { timeout_ms, ..known.clone() };
                self.go_on_locally(conn, session, known, Scope::Local);
            } else {
                // Meanwhile it has ended, or all servers know it.
                let request = request.clone();
                self.locals.wait_no_longer(conn);
                self.begin_attempt(conn, &request);
            }
        }
    }

    /// A new local session.
    pub(in crate::replica) fn begin_local(&mut self, conn: ConnId, timeout_ms: i32, scope: Scope) {
        let mut password = [0; 16];
        self.random.fill_bytes(&mut password);
        let read_only = scope == Scope::ReadOnly;
        let of_lane = if read_only { None } else { self.locals.next_id() };
        let session = of_lane.unwrap_or_else(|| self.next_session_id());
        let known = LocalSession { password, timeout_ms, read_only };
        self.go_on_locally(conn, session, known, scope);
    }

    /// The connection speaks for the session from now on.
    pub(in crate::replica) fn go_on_locally(
        &mut self,
        conn: ConnId,
        session: SessionId,
        known: LocalSession,
        scope: Scope,
    ) {
        self.locals.wait_no_longer(conn);
        if let Some((former, _)) = self.connections.of_session(session) {
            self.close(former, CloseReason::SessionMoved);
        }
        let LocalSession { password, timeout_ms, .. } = known;
        self.locals.put(session, known, self.now.instant);
        let token = self.locals.next_token();
        self.attached(conn, Attachment { session, token, timeout_ms, scope }, password);
    }

    fn enroll(&mut self) {
        if !self.locals.is_closed() {
            return;
        }
        let nonce = Nonce(self.random.next_u64());
        let first = self.next_session_id();
        let replaces = self.db.lane(self.config.raft.id).map_or(Token(0), |lane| lane.token);
        let action = self.locals.enroll(first, replaces, nonce, self.now.instant);
        self.dispatch(action);
    }
}

/// Writes.
impl Replica {
    /// A write of a session that only this server knows, so far.
    pub(in crate::replica) fn enter_local_write(
        &mut self,
        conn: ConnId,
        xid: Xid,
        write: Write,
        attachment: Attachment,
    ) {
        let now = self.now.instant;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let is_upgrading = connection.pipeline().is_upgrading();
        if write == Write::CloseSession && !is_upgrading {
            connection.closing = true;
            self.enter_local(conn, xid, Local::End);
            return;
        }
        if self.locals.is_full() {
            self.close(conn, CloseReason::TooManyRequests);
            return;
        }
        connection.closing = write == Write::CloseSession;
        let after = connection.sequence;
        connection.sequence = Sequence(after.0 + 1);
        let sequence = connection.sequence;
        let identities = Arc::clone(&connection.identities);
        if !is_upgrading && self.config.local_upgrading && makes_ephemeral(&write) {
            let begins = self.connections.line(conn, |line| line.enter_upgrade(after));
            if begins == Some(true) {
                self.upgrade(conn, attachment, after);
            }
        }
        let Some(connection) = self.connections.get(conn) else { return };
        let leaves = !connection.pipeline().holds_writes();
        let Attachment { session, token, .. } = attachment;
        let author = Author { session, token, sequence, identities };
        let action = Action::Write { author, write };
        let sent = leaves.then_some(now);
        let pending = PendingWrite { xid, sequence, action: action.clone(), sent };
        self.connections.line(conn, |line| line.enter_write(pending));
        if leaves {
            self.carry(conn, action);
        }
    }

    /// Sends what nothing holds back any more.
    pub(in crate::replica) fn release(&mut self, conn: ConnId) {
        let now = self.now.instant;
        let Some(attachment) = self.connections.get(conn).and_then(|it| it.attachment()) else {
            return;
        };
        let Some(released) = self.connections.line(conn, |line| line.release(now)) else { return };
        for action in released.writes {
            match attachment.scope {
                Scope::Global => self.dispatch(action),
                Scope::Local | Scope::ReadOnly => self.carry(conn, action),
            }
        }
        if let Some(after) = released.upgrade {
            self.upgrade(conn, attachment, after);
        }
    }

    fn carry(&mut self, conn: ConnId, action: Action) {
        let Action::Write { author, write } = action else {
            unreachable!("a connection's line holds writes")
        };
        let action = self.locals.carry(conn, author, LocalWork::Write(write), self.now.instant);
        self.dispatch(action);
    }

    fn upgrade(&mut self, conn: ConnId, attachment: Attachment, after: Sequence) {
        let Attachment { session, token, timeout_ms, .. } = attachment;
        let Some(known) = self.locals.get(session) else { return };
        let identities = Identities::from([]);
        let author = Author { session, token, sequence: after, identities };
        let work = LocalWork::Upgrade { password: known.password, timeout_ms };
        let action = self.locals.carry(conn, author, work, self.now.instant);
        self.dispatch(action);
    }

    /// What became of something in a lane.
    pub(in crate::replica) fn settle_local(
        &mut self,
        zxid: Zxid,
        (lane, author, work): (Lane, &Author, &LocalWork),
        outcome: Outcome,
    ) {
        let session = author.session;
        match (work, outcome) {
            (LocalWork::Write(_), Outcome::Answered(result)) => {
                let Some(delivered) = self.locals.deliver(lane) else { return };
                self.tell_written(delivered.conn, delivered.sequence, zxid, result);
            }
            (LocalWork::Upgrade { .. }, Outcome::Attached { token }) => {
                self.touch(session, self.now.instant);
                let Some(delivered) = self.locals.deliver(lane) else { return };
                self.locals.remove(session);
                let conn = delivered.conn;
                self.connections.upgraded(conn, token);
                self.deeds.attached_here(session, token);
                let forgotten = mutated!(UpgradeForgetsWrite);
                let upgraded = self.connections.line(conn, |line| line.finish_upgrade(token));
                if upgraded.is_some() && !forgotten {
                    self.release(conn);
                    self.advance(conn);
                }
            }
            // The id is taken, which cannot be: the session can own no ephemeral.
            (LocalWork::Upgrade { .. }, Outcome::Refused(_)) => {
                let Some(delivered) = self.locals.deliver(lane) else { return };
                self.locals.remove(session);
                self.close(delivered.conn, CloseReason::SessionEnded);
            }
            // A copy, a gap, or of a former process.
            (_, _) => return,
        }
        self.admit_waiting();
    }

    /// A lane was taken up, or not.
    pub(in crate::replica) fn settle_enrolled(&mut self, nonce: Nonce, outcome: &Outcome) {
        match *outcome {
            Outcome::Attached { token } => {
                if self.locals.enrolled(nonce, token) {
                    self.lose_lane();
                }
                self.admit_waiting();
            }
            Outcome::Refused(_) if self.locals.overtaken(nonce) => self.admit_waiting(),
            _ => {}
        }
    }

    /// The state has jumped: what of the lane is in it waits no longer.
    pub(in crate::replica) fn locals_jumped(&mut self) {
        let lane = self.db.lane(self.config.raft.id);
        let (token, sequence) = lane.map_or_else(Default::default, |it| (it.token, it.sequence));
        if !self.locals.is_of(token) {
            self.lose_lane();
            return;
        }
        for (session, is_upgrade) in self.locals.jump(token, sequence) {
            if is_upgrade {
                self.locals.remove(session);
            }
        }
    }

    /// Another process took up this server's lane: here is nothing left to be served.
    fn lose_lane(&mut self) {
        for conn in self.connections.ids() {
            let attachment = self.connections.get(conn).and_then(|it| it.attachment());
            if attachment.is_some_and(|it| it.scope != Scope::Global) {
                self.close(conn, CloseReason::SessionMoved);
            }
        }
        self.locals.lose();
    }
}

/// Time, and read-only mode.
impl Replica {
    /// Looks for local sessions that are overdue, among those whose clients are served now.
    pub(in crate::replica) fn expire_locals(&mut self, stood_still: Duration) {
        self.locals.expiry.shift(stood_still);
        let mut heard = Vec::new();
        for (_, connection) in self.connections.iter_mut() {
            if let Some(attachment) = connection.attachment()
                && attachment.scope != Scope::Global
                && let Some(at) = connection.heard.take()
            {
                heard.push((attachment.session, at));
            }
        }
        heard.into_iter().for_each(|(session, at)| self.locals.touch(session, at));
        if (!self.read_only && !self.upkeep.is_serving()) || self.is_in_doubt() {
            return;
        }
        for session in self.locals.expiry.overdue(self.now.instant, MAX_ENDED_AT_ONCE) {
            let speaking = self.connections.of_session(session);
            // Whoever wants to write cannot come back while this server only reads.
            let is_served =
                |it: &LocalSession| speaking.is_some() || it.read_only == self.read_only;
            if self.locals.get(session).is_some_and(is_served) && !self.locals.carries(session) {
                self.locals.remove(session);
                if let Some((conn, _)) = speaking {
                    self.close(conn, CloseReason::SessionEnded);
                }
            }
        }
    }

    /// Whether clients were served before, and are now: what they could not help is forgiven.
    pub(in crate::replica) fn note_serving(&mut self, served: bool) {
        if !served && self.upkeep.is_serving() && !self.is_in_doubt() {
            self.locals.go_on(self.now.instant);
        }
    }

    /// Without a leader for long enough, and with nobody left who may write, reads are served.
    pub(in crate::replica) fn begin_read_only(&mut self) {
        let Some(after) = self.config.read_only_after else { return };
        let is_alone = self.upkeep.is_leaderless(self.now.instant, after);
        let is_let_go = !self.read_only && !self.upkeep.is_serving();
        let is_informed = self.applied.index >= self.known_at_start;
        let is_fit = self.is_member() && !self.is_in_doubt();
        self.read_only |= is_alone && is_let_go && is_informed && is_fit;
    }

    /// There is a leader: clients come back, and may write.
    pub(in crate::replica) fn end_read_only(&mut self) {
        if std::mem::take(&mut self.read_only) {
            self.close_all(CloseReason::WritableAgain);
            self.locals.end_read_only();
        }
    }

    /// A client of a server in read-only mode.
    pub(in crate::replica) fn connect_read_only(&mut self, conn: ConnId, request: &ConnectRequest) {
        let session = request.session;
        let timeout_ms = self.granted(request.timeout_ms);
        if session == SessionId(0) {
            self.begin_local(conn, timeout_ms, Scope::ReadOnly);
            return;
        }
        match self.locals.get(session) {
            Some(known) if known.password[..] != request.password[..] => self.refuse_session(conn),
            // Whatever it has written is done, so that it can be read.
            Some(known) if !self.locals.carries(session) => {
                let known = LocalSession { timeout_ms, ..known.clone() };
                self.go_on_locally(conn, session, known, Scope::ReadOnly);
            }
            None if self.locals.is_of_read_only(session) => self.refuse_session(conn),
            // It may well be alive, but nobody can attach it now.
            Some(_) | None => self.close(conn, CloseReason::NoLeader),
        }
    }

    /// In read-only mode, a request that would change something, or that needs the others.
    pub(in crate::replica) fn is_refused_read_only(&self, request: &Request) -> bool {
        match request {
            Request::Write(write) => *write != Write::CloseSession,
            Request::Sync(_) | Request::Reconfig(_) => true,
            Request::Read(_)
            | Request::Ping
            | Request::SetWatches(_)
            | Request::Auth(_)
            | Request::Sasl(_)
            | Request::Throttled
            | Request::Unknown(_)
            | Request::Malformed => false,
        }
    }
}

/// Whether a write is to make an ephemeral znode (zookeeper: QuorumZooKeeperServer.
/// checkUpgradeSession).
fn makes_ephemeral(write: &Write) -> bool {
    let is_ephemeral = |create: &Create| {
        matches!(create.kind, CreateKind::Create | CreateKind::Create2)
            && matches!(CreateMode::from_flags(create.flags), Some(CreateMode::Ephemeral { .. }))
    };
    match write {
        Write::Create(create) => is_ephemeral(create),
        Write::Multi(writes) => writes.iter().any(makes_ephemeral),
        Write::Delete { .. }
        | Write::SetData { .. }
        | Write::SetAcl { .. }
        | Write::Check { .. }
        | Write::CloseSession => false,
    }
}
