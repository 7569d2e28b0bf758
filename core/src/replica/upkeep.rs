//! What is done by the clock alone, and how this server knows that it is alone.
//!
//! Invariant: time that this process itself stood still is never held against a session.

use std::time::Duration;

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
    /// Whether clients are served: a leader was known not too long ago.
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
        self.serving = true;
    }

    /// No such leader is known.
    pub(super) fn has_no_leader(&mut self, now: Instant) {
        self.leaderless_since.get_or_insert(now);
    }

    /// Whether this server has just been without a leader for too long: it serves no longer.
    pub(super) fn is_orphaned(&mut self, now: Instant, timeout: Duration) -> bool {
        let too_long = self.leaderless_since.is_some_and(|since| now - since >= timeout);
        let orphaned = self.serving && too_long;
        if orphaned {
            self.serving = false;
        }
        orphaned
    }
}
