//! The clocks of one server.
//!
//! Invariant: the instants of one clock never run backwards, and every part of a server goes by the
//! same clock, so that a simulated server may have one that runs fast, slow or from another origin.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zokor_core::time::{Instant, Now, WallTime};

/// Reads both clocks, and says how long to sleep.
pub trait Clock: Send + Sync {
    /// Both clocks.
    fn now(&self) -> Now;

    /// How long the timers of the runtime must sleep until `deadline`; zero if it has come.
    fn until(&self, deadline: Instant) -> Duration {
        deadline.since(self.now().instant)
    }
}

/// The machine's own clocks. Not for simulations.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
}

impl SystemClock {
    /// A clock that begins now, one second after its origin: so nothing is mistaken for "never".
    pub fn new() -> Self {
        SystemClock { origin: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        let instant = Instant::ZERO + Duration::from_secs(1) + self.origin.elapsed();
        Now { instant, wall: WallTime(millis) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_until_a_deadline_that_has_come_is_zero() {
        let clock = SystemClock::new();
        let now = clock.now().instant;
        assert_eq!(clock.until(Instant::ZERO), Duration::ZERO);
        assert!(clock.until(now + Duration::from_secs(9)) > Duration::from_secs(8));
        assert!(clock.now().instant >= now);
    }
}
