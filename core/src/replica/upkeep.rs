//! What is done by the clock alone, and how this server knows that it is alone.
//!
//! Invariant: time that this process itself stood still is never held against a session.

use std::time::Duration;

use crate::raft::Index;
use crate::time::Instant;

/// The schedule of one server.
#[derive(Debug)]
pub(super) struct Upkeep {
    interval: Duration,
    last: Instant,
    next: Instant,
    next_reap: Instant,
    /// Since when no leader is known that hears this server.
    leaderless_since: Option<Instant>,
    /// Since when what is agreed waits for this server's own disk, and the last index applied then.
    stuck_since: Option<(Instant, Index)>,
    /// Whether clients are served: there was a leader, and a disk, not too long ago.
    serving: bool,
}

impl Upkeep {
    /// Begins without a leader.
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Upkeep {
            interval,
            last: now,
            next: now + interval,
            next_reap: now,
            leaderless_since: Some(now),
            stuck_since: None,
            serving: false,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving
    }

    /// If it is time: for how long this process stood still beyond the interval, which is zero
    /// unless it was paused or starved.
    pub(super) fn due(&mut self, now: Instant) -> Option<Duration> {
        if now < self.next {
            return None;
        }
        let gap = now - self.last;
        self.last = now;
        self.next = now + self.interval;
        Some(if gap > self.interval * 2 { gap - self.interval } else { Duration::ZERO })
    }

    /// If it is time to look for znodes to reap, by the leader's clock.
    pub(super) fn reap_due(&mut self, now: Instant, interval: Duration) -> bool {
        let due = now >= self.next_reap;
        if due {
            self.next_reap = now + interval;
        }
        due
    }

    /// A new leadership of this server looks for znodes to reap one interval after it began.
    pub(super) fn leads(&mut self, now: Instant, reap_interval: Duration) {
        self.next_reap = now + reap_interval;
    }

    /// A leader is known, and hears this server.
    pub(super) fn has_leader(&mut self) {
        self.leaderless_since = None;
        self.serving = self.stuck_since.is_none() || self.serving;
    }

    /// No such leader is known.
    pub(super) fn has_no_leader(&mut self, now: Instant) {
        self.leaderless_since.get_or_insert(now);
    }

    /// How far this server has come, and how far it could have; it stood still for as long as is
    /// told, which is not its disk's fault.
    pub(super) fn progressed(
        &mut self,
        now: Instant,
        stood_still: Duration,
        applied: Index,
        commit: Index,
    ) {
        self.stuck_since = match self.stuck_since {
            _ if applied >= commit => None,
            Some((since, then)) if then == applied => Some((since + stood_still, then)),
            Some(_) | None => Some((now, applied)),
        };
        if self.leaderless_since.is_none() && self.stuck_since.is_none() {
            self.serving = true;
        }
    }

    /// Whether there has been no leader for `timeout`.
    pub(super) fn is_leaderless(&self, now: Instant, timeout: Duration) -> bool {
        self.leaderless_since.is_some_and(|since| now - since >= timeout)
    }

    /// Whether this server has just been without a leader, or without its disk, for too long: it
    /// serves no longer.
    pub(super) fn is_orphaned(&mut self, now: Instant, timeout: Duration) -> bool {
        let stuck_since = self.stuck_since.map(|(since, _)| since);
        let mut since = self.leaderless_since.into_iter().chain(stuck_since);
        let orphaned = self.serving && since.any(|since| now - since >= timeout);
        if orphaned {
            self.serving = false;
        }
        orphaned
    }
}
