//! What the clock brings: reports to the leader, expiry, reaping, sending again, giving up.

use std::time::Duration;

use crate::db::Action;
use crate::id::{ServerId, SessionId};
use crate::proto::Text;
use crate::raft::Role;
use crate::replica::{CloseReason, Message, Output, Replica};
use crate::time::Instant;

/// Sessions expired by one upkeep at most; the rest follows with the next.
const MAX_EXPIRED_AT_ONCE: usize = 1_000;

impl Replica {
    pub(in crate::replica) fn do_upkeep(&mut self, stood_still: Duration) {
        let now = self.now.instant;
        let departed = std::mem::take(&mut self.departed);
        self.expire_locals(stood_still);
        if mutated!(DeposedLeaderExpires if self.raft.role() != Role::Leader) {
            self.expire_overdue();
        }
        if self.raft.role() == Role::Leader {
            self.expiry.shift(stood_still);
            self.touch_own();
            self.expire_overdue();
            self.reap();
        } else if let Some(leader) = self.raft.leader() {
            self.report_heard(leader, departed);
        }
        self.look_after_room();
        self.compare_states();
        self.look_after_doubt();
        self.look_after_restore(stood_still);
        self.go_on_with_change();
        let (applied, commit) = (self.applied.index, self.raft.commit());
        let served = self.upkeep.is_serving();
        self.upkeep.progressed(now, stood_still, applied, commit);
        self.note_serving(served);
        let orphan_timeout = self.config.orphan_timeout;
        if self.upkeep.is_orphaned(now, orphan_timeout) {
            self.locals.pause(now);
            self.close_all(CloseReason::NoLeader);
        }
        self.begin_read_only();
        if self.raft.leader().is_some() {
            self.ask_barriers_again();
            if now.as_micros() > self.config.resend_interval.as_micros() as u64 {
                let interval = self.config.resend_interval.as_micros() as u64;
                self.resend(Some(Instant::from_micros(now.as_micros() - interval)));
            }
        }
    }

    pub(in crate::replica) fn touch_own(&mut self) {
        let mut heard = Vec::new();
        for (_, connection) in self.connections.iter_mut() {
            if let (Some(attachment), Some(at)) = (connection.attachment(), connection.heard.take())
            {
                heard.push((attachment.session, at));
            }
        }
        heard.into_iter().for_each(|(session, at)| self.touch(session, at));
    }

    pub(in crate::replica) fn expire_overdue(&mut self) {
        let by_wall = || Instant::from_micros(self.now.wall.0.unsigned_abs() * 1000);
        let now = if mutated!(ExpiryByWallClock) { by_wall() } else { self.now.instant };
        for session in self.expiry.overdue(now, MAX_EXPIRED_AT_ONCE) {
            if let Some(token) = self.db.session(session).map(|it| it.token) {
                self.admit(Action::Expire { session, token });
            }
        }
    }

    pub(in crate::replica) fn reap(&mut self) {
        let config = &self.config;
        let limit = self.upkeep.reapable(self.now.instant, config.reap_per_minute);
        if limit == 0 {
            return;
        }
        let unused_ms = i64::try_from(config.reap_unused_after.as_millis()).unwrap_or(i64::MAX);
        let due: Vec<Text> = self.db.reapable(self.now.wall, unused_ms, limit);
        if due.len() < limit {
            self.upkeep.swept(self.now.instant, config.reap_interval);
        }
        due.into_iter().for_each(|path| self.admit(Action::Reap { path, unused_ms }));
    }

    pub(in crate::replica) fn report_heard(&mut self, leader: ServerId, mut heard: Vec<SessionId>) {
        for (_, connection) in self.connections.iter_mut() {
            if connection.heard.take().is_some()
                && let Some(attachment) = connection.attachment()
            {
                heard.push(attachment.session);
            }
        }
        // Legal: the network may lose it; the next ping of the session is reported again.
        if !heard.is_empty() && !maybe!(HeardUnreported) {
            let message = Message::Heard(heard);
            self.outputs.push_back(Output::Send { to: leader, message });
        }
    }
}
