//! Restores: how one that is asked for here comes into the log, how the leader gives up one of
//! which nothing more comes, and what a state that takes another's place means to the clients.
//!
//! Invariant: nobody hears of a state that a restore has replaced: whoever watches is told what
//! differs, before any reply that could show it, and a session that is not in it speaks no more.

use std::time::Duration;

use rand_core::RngCore;

use crate::db::{Action, Outcome, Prepared, Refusal};
use crate::id::{ConnId, Nonce, RestoreId};
use crate::proto::Zxid;
use crate::raft::Role;
use crate::replica::restoring::{PATIENCE, Restoring};
use crate::replica::{CloseReason, Output, Replica, RestoreEnd};

/// The leader gives a restore up that has not gone on for so long: its server is gone. Until then
/// clients wait.
const SILENCE: Duration = Duration::from_secs(10);

/// Asking.
impl Replica {
    /// An operator wants this state in the place of the present one.
    pub(in crate::replica) fn begin_restore(&mut self, id: RestoreId, prepared: Prepared) {
        if self.restoring.is_some() || self.db.is_restoring() {
            self.outputs.push_back(Output::Restored { id, end: RestoreEnd::Busy });
            return;
        }
        let nonce = Nonce(self.random.next_u64());
        let replaces = self.db.restores().begun;
        let restoring = Restoring::new(id, prepared, replaces, nonce, self.now.instant);
        let first = restoring.first_action();
        self.restoring = Some(restoring);
        if let Some(action) = first {
            self.dispatch(action);
        }
    }

    /// What became of a beginning.
    pub(in crate::replica) fn settle_restore_begun(&mut self, nonce: Nonce, outcome: Outcome) {
        let Some(restoring) = self.restoring.as_mut().filter(|it| it.is_asked(nonce)) else {
            return;
        };
        let now = self.now.instant;
        match outcome {
            Outcome::Attached { token } => {
                restoring.begun(token, now);
                self.go_on_restoring();
            }
            Outcome::Refused(Refusal::Overtaken { token }) => {
                let nonce = Nonce(self.random.next_u64());
                match restoring.try_again(token, nonce, now) {
                    Some(action) => self.dispatch(action),
                    None => self.end_restoring(RestoreEnd::Busy),
                }
            }
            Outcome::RestoreFailed(error) => self.end_restoring(RestoreEnd::Failed(error)),
            _ => self.end_restoring(RestoreEnd::Busy),
        }
    }

    /// What became of a step, or of the wish to give a restore up.
    pub(in crate::replica) fn settle_restore(
        &mut self,
        zxid: Zxid,
        action: &Action,
        outcome: Outcome,
    ) {
        let (&Action::Restore { token, number, .. } | &Action::AbandonRestore { token, number }) =
            action
        else {
            return;
        };
        let is_own = self.restoring.as_ref().is_some_and(|it| it.is_of(token));
        let is_awaited = self.restoring.as_ref().is_some_and(|it| it.waits_for(token, number));
        match outcome {
            Outcome::Restored => {
                self.state_replaced(zxid);
                if is_own {
                    self.end_restoring(RestoreEnd::Done { zxid });
                }
                self.resend_all();
            }
            Outcome::RestoreFailed(error) => {
                if is_own {
                    self.end_restoring(RestoreEnd::Failed(error));
                }
                // Clients' writes have waited.
                self.resend_all();
            }
            Outcome::Settled if is_awaited && matches!(action, Action::Restore { .. }) => {
                if let Some(restoring) = &mut self.restoring {
                    restoring.applied(number, self.now.instant);
                }
                self.go_on_restoring();
            }
            // A copy, a gap, or of a restore that is over: whoever asked has been told.
            _ => {}
        }
    }

    /// The state has jumped: what of the restore is in it waits no longer.
    pub(in crate::replica) fn restoring_jumped(&mut self) {
        let facts = self.db.restores();
        let Some(restoring) = &mut self.restoring else { return };
        if restoring.first_action().is_some() {
            // Whether it has begun is told by what becomes of its copy.
            return;
        }
        match facts.staged {
            Some((number, _)) if restoring.is_of(facts.begun) => {
                restoring.applied(number, self.now.instant);
                self.go_on_restoring();
            }
            None if restoring.is_of(facts.begun) && facts.done.0 > facts.begun.0 => {
                self.end_restoring(RestoreEnd::Done { zxid: facts.done });
            }
            _ => self.end_restoring(RestoreEnd::Unknown),
        }
    }

    fn go_on_restoring(&mut self) {
        let now = self.now.instant;
        let next = self.restoring.as_mut().map(|restoring| restoring.next(now));
        next.into_iter().flatten().for_each(|action| self.dispatch(action));
    }

    fn end_restoring(&mut self, end: RestoreEnd) {
        if let Some(Restoring { id, .. }) = self.restoring.take() {
            self.outputs.push_back(Output::Restored { id, end });
        }
    }

    /// Time has passed: a restore that does not go on is given up, by the leader for all, and by
    /// the server that was asked for whoever asked.
    pub(in crate::replica) fn look_after_restore(&mut self, stood_still: Duration) {
        let now = self.now.instant;
        let is_lost = |it: &Restoring| now.since(it.progressed) > PATIENCE + stood_still;
        if self.restoring.as_ref().is_some_and(is_lost) {
            self.end_restoring(RestoreEnd::Unknown);
        }
        let facts = self.db.restores();
        let under_way = facts.staged.map(|(number, _)| (facts.begun, number));
        let Some(place) = under_way.filter(|_| self.raft.role() == Role::Leader) else {
            self.silent_since = None;
            return;
        };
        match self.silent_since {
            Some((known, since)) if known == place => {
                let since = since + stood_still;
                self.silent_since = Some((place, since));
                if now.since(since) >= SILENCE {
                    let (token, number) = place;
                    self.admit(Action::AbandonRestore { token, number });
                }
            }
            _ => self.silent_since = Some((place, now)),
        }
    }
}

/// The new state.
impl Replica {
    fn state_replaced(&mut self, zxid: Zxid) {
        if let Some(replaced) = self.db.take_replaced()
            && self.watches.count() > 0
        {
            let differences = replaced.differences(&self.db);
            for n in 0..differences.len() {
                let change = replaced.change(&differences, n, &self.db);
                self.fire(zxid, &change);
            }
        }
        let db = &self.db;
        self.counts.namespaces.restored(|name| db.stat(&format!("/{name}")).is_some());
        for conn in self.connections.ids() {
            if self.has_lost_its_session(conn) {
                self.close(conn, CloseReason::SessionEnded);
            }
        }
        if self.raft.role() == Role::Leader {
            // Some have come to life, and all of them get their full timeout.
            let sessions = self.db.sessions().map(|session| (session.id, session.timeout_ms));
            self.expiry.start(self.now.instant, sessions);
        }
    }

    fn has_lost_its_session(&self, conn: ConnId) -> bool {
        let attachment = self.connections.get(conn).and_then(|it| it.global_attachment());
        attachment.is_some_and(|attachment| self.db.session(attachment.session).is_none())
    }
}
