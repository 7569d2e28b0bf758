//! What is done by the clock alone, and how this server knows that it is alone.
//!
//! Invariant: time that this process itself stood still is never held against a session.

use std::time::Duration;

use crate::raft::Index;
use crate::time::Instant;

const A_MINUTE: Duration = Duration::from_secs(60);
/// One znode, when what may be reaped is counted in microseconds times znodes a minute.
const A_ZNODE: u64 = A_MINUTE.as_micros() as u64;

/// The schedule of one server.
#[derive(Debug)]
pub(super) struct Upkeep {
    interval: Duration,
    last: Instant,
    next: Instant,
    next_reap: Instant,
    /// While znodes are being reaped: since when this sweep's last portion was given out, and what
    /// was left of it, in parts of a znode.
    sweep: Option<(Instant, u64)>,
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
            sweep: None,
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

    /// How many znodes may be reaped now, by the leader's clock: none between two sweeps, and
    /// within one as many as `per_minute` allows since the last time.
    pub(super) fn reapable(&mut self, now: Instant, per_minute: u32) -> usize {
        if now < self.next_reap {
            return 0;
        }
        // The first znode of a sweep goes at once.
        let (last, rest) = self.sweep.unwrap_or((now, A_ZNODE));
        let passed = (now - last).min(A_MINUTE).as_micros() as u64;
        let credit = rest + passed * u64::from(per_minute);
        self.sweep = Some((now, credit % A_ZNODE));
        usize::try_from(credit / A_ZNODE).unwrap_or(usize::MAX)
    }

    /// Nothing is left to reap: the next sweep begins an interval after this one did, or now if
    /// that is over.
    pub(super) fn swept(&mut self, now: Instant, interval: Duration) {
        self.sweep = None;
        self.next_reap = (self.next_reap + interval).max(now);
    }

    /// A new leadership of this server looks for znodes to reap one interval after it began.
    pub(super) fn leads(&mut self, now: Instant, reap_interval: Duration) {
        self.sweep = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    #[test]
    fn a_sweep_begins_an_interval_after_leadership_and_goes_at_its_pace() {
        let interval = Duration::from_secs(10);
        let mut upkeep = Upkeep::new(at(0), Duration::from_millis(500));
        upkeep.leads(at(1_000), interval);
        assert_eq!(upkeep.reapable(at(10_999), 60), 0, "not yet");
        assert_eq!(upkeep.reapable(at(11_000), 60), 1, "the first at once");
        assert_eq!(upkeep.reapable(at(11_500), 60), 0);
        assert_eq!(upkeep.reapable(at(12_000), 60), 1, "then one a second");
        assert_eq!(upkeep.reapable(at(14_000), 60), 2);
        upkeep.swept(at(14_000), interval);
        assert_eq!(upkeep.reapable(at(20_999), 60), 0);
        assert_eq!(upkeep.reapable(at(21_000), 60), 1);
        assert_eq!(upkeep.reapable(at(900_000), 60), 60, "at most what fits a minute");
        upkeep.leads(at(900_000), interval);
        assert_eq!(upkeep.reapable(at(900_001), 60), 0, "another leadership waits anew");
    }

    #[test]
    fn short_intervals_do_not_quicken_the_pace() {
        let interval = Duration::from_millis(1);
        let mut upkeep = Upkeep::new(at(0), Duration::from_millis(500));
        upkeep.leads(at(0), interval);
        let all = (1..=600).map(|n| upkeep.reapable(at(n * 100), 10_000)).sum::<usize>();
        assert!((9_950..=10_001).contains(&all), "{all} in a minute");
    }
}
