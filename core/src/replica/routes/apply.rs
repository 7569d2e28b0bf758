//! What is committed: the state machine takes it up, watches fire, and whoever waits for it hears.
//!
//! Invariant: entries are applied one by one, and every event of an entry is queued before any
//! reply that could show its changes.

use crate::db::{Action, Applied, Author, Change, Outcome, Refusal, Txn};
use crate::id::{ConnId, Sequence, SessionId};
use crate::proto::{ConnectResponse, ErrorCode, Permissions, Response, Write, Zxid};
use crate::raft::{Entry, Payload, Role};
use crate::replica::connection::{Attachment, Scope};
use crate::replica::counts::Told;
use crate::replica::{CloseReason, Output, Replica, zxid_after};
use crate::time::Instant;
use crate::tree::permits;

impl Replica {
    pub(in crate::replica) fn apply(&mut self, entry: &Entry<Txn>) {
        let is_next = entry.id.index == self.applied.index.next();
        assert!(is_next, "entries are applied one by one");
        if mutated!(EntryRepeated | EntrySkipped if self.is_done_by_mistake(entry)) {
            return;
        }
        let zxid = zxid_after(self.db.zxid(), entry);
        self.applied = entry.id;
        match &entry.payload {
            Payload::Blank => {
                self.db.skip(zxid);
                if self.raft.role() == Role::Leader && entry.id.term == self.raft.term() {
                    self.describe();
                }
            }
            Payload::Membership(membership) => {
                self.db.skip(zxid);
                self.membership_applied(entry, membership);
            }
            Payload::Command(txn) => {
                self.checkpoints.applied(txn.size_bytes());
                self.admission.applied(&txn.action);
                let local = mutated!(LocalTime).then(|| Txn { time: self.now.wall, ..txn.clone() });
                let applied = self.db.apply(zxid, local.as_ref().unwrap_or(txn));
                self.quota_events += self.db.take_quota_events();
                self.counts.namespaces.refused(txn, &applied.outcome);
                self.note_deed(txn, &applied);
                for change in &applied.changes {
                    self.counts.namespaces.written(change);
                    self.fire(zxid, change);
                }
                self.note_digest(zxid);
                self.db.take_back(applied.changes);
                self.settle(zxid, &txn.action, applied.outcome);
            }
        }
        self.change_applied(entry, zxid);
        self.tell_digest();
    }

    /// For an audit. What the log held when this process began was told by the one before.
    fn note_deed(&mut self, txn: &Txn, applied: &Applied) {
        // What is made of it in doubt is not what was done.
        if self.deeds.is_on() && self.applied.index > self.known_at_start && !self.is_in_doubt() {
            let own = |action: &Action| match action {
                Action::Local { lane, .. } => self.locals.holds(lane.token),
                _ => false,
            };
            let is_own_lane = own(&txn.action);
            self.deeds.applied(txn, applied, is_own_lane);
        }
    }

    /// Tells whoever watches of a change. Those for whom there is no room are closed, before they
    /// could miss this event and hear of a later one.
    pub(in crate::replica) fn fire(&mut self, zxid: Zxid, change: &Change) {
        let (connections, outputs) = (&self.connections, &mut self.outputs);
        let skip_acl = self.config.rules.skip_acl;
        let (mut told, mut too_many) = (Told::default(), Vec::new());
        self.watches.fire(
            change,
            |conn, acl| {
                let connection = connections.get(conn);
                skip_acl
                    || connection.is_some_and(|it| permits(acl, Permissions::READ, &it.identities))
            },
            |conn, event| {
                let kind = event.kind;
                if outputs.notify(conn, zxid, event) {
                    told.note(kind);
                } else {
                    too_many.push(conn);
                }
            },
        );
        self.counts.told(&told);
        for conn in too_many {
            self.close_overtold(conn);
        }
    }

    /// Closes a connection that was to hear more than there is room for, if it is not closed yet.
    pub(in crate::replica) fn close_overtold(&mut self, conn: ConnId) {
        if self.connections.get(conn).is_some() {
            self.close(conn, CloseReason::TooManyEvents);
        }
    }

    /// Tells whoever waits for it here what became of a txn.
    pub(in crate::replica) fn settle(&mut self, zxid: Zxid, action: &Action, outcome: Outcome) {
        match (action, outcome) {
            (Action::Write { author, write }, Outcome::Answered(result)) => {
                let ended = *write == Write::CloseSession && result.is_ok();
                self.answer_write(zxid, author, result);
                if ended {
                    self.session_ended(author.session, CloseReason::SessionClosed);
                }
            }
            (
                &Action::Open { session, timeout_ms, password, nonce }
                | &Action::Attach { session, timeout_ms, password, nonce, .. },
                Outcome::Attached { token },
            ) => {
                if let Some((former, _)) = self.connections.of_session(session) {
                    self.close(former, CloseReason::SessionMoved);
                }
                self.touch(session, self.now.instant);
                self.deeds.attached_elsewhere(session);
                if let Some(conn) = self.connections.take_attempt(nonce) {
                    let scope = Scope::Global;
                    let attachment = Attachment { session, token, timeout_ms, scope };
                    self.attached(conn, attachment, password);
                }
            }
            (
                Action::Open { nonce, .. } | Action::Attach { nonce, .. },
                Outcome::Refused(refusal),
            ) => {
                if let Some(conn) = self.connections.take_attempt(*nonce) {
                    self.refused(conn, refusal);
                }
            }
            (Action::Expire { .. }, Outcome::Expired(session)) => {
                if self.raft.role() == Role::Leader {
                    self.counts.sessions_expired += 1;
                }
                self.session_ended(session, CloseReason::SessionEnded);
            }
            (Action::Local { lane, author, work }, outcome) => {
                self.settle_local(zxid, (*lane, author, work), outcome);
            }
            (Action::Enroll { server, nonce, .. }, outcome) => {
                if *server == self.config.raft.id {
                    self.settle_enrolled(*nonce, &outcome);
                }
            }
            (Action::BeginRestore { nonce, .. }, outcome) => {
                self.settle_restore_begun(*nonce, outcome);
            }
            (Action::Restore { .. } | Action::AbandonRestore { .. }, outcome) => {
                self.settle_restore(zxid, action, outcome);
            }
            // Of a copy, a gap, or a connection that is no more: nobody waits for it here. The
            // connection was closed when the attach or the end that made it stale was applied.
            (_, Outcome::Copy | Outcome::Gap | Outcome::Moved | Outcome::Ended) => {}
            (_, Outcome::Settled) => {}
            (action, outcome) => unreachable!("{outcome:?} is no outcome of {action:?}"),
        }
    }

    pub(in crate::replica) fn answer_write(
        &mut self,
        zxid: Zxid,
        author: &Author,
        result: Result<Response, ErrorCode>,
    ) {
        let Some((conn, attachment)) = self.connections.of_session(author.session) else { return };
        let is_answered = mutated!(FormerWriteAnswered | FormerWriteDone);
        if attachment.token != author.token && !is_answered {
            return;
        }
        self.tell_written(conn, author.sequence, zxid, result);
    }

    /// The first in a connection's line is done: it hears what became of it, if it is still there.
    pub(in crate::replica) fn tell_written(
        &mut self,
        conn: ConnId,
        sequence: Sequence,
        zxid: Zxid,
        result: Result<Response, ErrorCode>,
    ) {
        let finished = self.connections.line(conn, |line| line.finish_write(sequence));
        let Some(xid) = finished else { return };
        self.outputs.push_back(Output::Reply { conn, xid, zxid, result });
        if mutated!(ReplyOvertakesEvent) {
            self.outputs.hurry_last();
        }
        self.advance(conn);
    }

    pub(in crate::replica) fn attached(
        &mut self,
        conn: ConnId,
        attachment: Attachment,
        password: [u8; 16],
    ) {
        let Some(connection) = self.connections.get(conn) else { return };
        let response = ConnectResponse {
            timeout_ms: attachment.timeout_ms,
            session: attachment.session,
            password,
            read_only: connection.has_read_only.then_some(attachment.scope == Scope::ReadOnly),
        };
        if attachment.scope == Scope::Global {
            self.deeds.attached_here(attachment.session, attachment.token);
        }
        self.connections.attach(conn, attachment);
        self.outputs.push_back(Output::Connected { conn, response });
    }

    pub(in crate::replica) fn refused(&mut self, conn: ConnId, refusal: Refusal) {
        match refusal {
            Refusal::Overtaken { .. } | Refusal::IdTaken | Refusal::Restoring => {
                if !self.attempt_again(conn, refusal) {
                    self.close(conn, CloseReason::SessionMoved);
                }
            }
            Refusal::Unknown | Refusal::WrongPassword => {
                self.refuse_session(conn);
            }
        }
    }

    pub(in crate::replica) fn session_ended(&mut self, session: SessionId, reason: CloseReason) {
        self.expiry.remove(session);
        if let Some((conn, _)) = self.connections.of_session(session) {
            self.close(conn, reason);
        }
    }

    /// On the leader: the session was heard from at `heard`.
    pub(in crate::replica) fn touch(&mut self, session: SessionId, heard: Instant) {
        if self.raft.role() == Role::Leader
            && let Some(session) = self.db.session(session)
        {
            self.expiry.touch(session.id, session.timeout_ms, heard);
        }
    }
}
