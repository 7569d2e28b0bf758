//! The two clocks of one server.
//!
//! Invariant: the monotonic clock never runs backwards, and `when` is the first moment at which it
//! shows at least the instant asked for.

use zokor_core::time::{Instant, Now, WallTime};

use super::queue::Micros;

/// A server's view of time: an offset and a rate of its own.
#[derive(Clone, Debug)]
pub struct Clock {
    offset: u64,
    /// Millionths of the true rate: 900,000 to 1,100,000.
    rate_ppm: u64,
    wall_offset_ms: i64,
    /// The true time that the clock did not see, because it stood still with its process.
    frozen: Micros,
}

impl Clock {
    /// A clock that shows `offset` microseconds at the start and then runs at `rate_ppm`.
    pub fn new(offset: u64, rate_ppm: u64, wall_offset_ms: i64) -> Self {
        assert!(rate_ppm > 0);
        Clock { offset, rate_ppm, wall_offset_ms, frozen: 0 }
    }

    /// What both clocks show at the true time `time`.
    pub fn now(&self, time: Micros) -> Now {
        let wall = (time / 1000) as i64 + self.wall_offset_ms;
        Now { instant: self.instant(time), wall: WallTime(wall) }
    }

    /// What the monotonic clock shows at the true time `time`.
    pub fn instant(&self, time: Micros) -> Instant {
        let seen = u128::from(time.saturating_sub(self.frozen));
        let micros = seen * u128::from(self.rate_ppm) / 1_000_000;
        Instant::from_micros(self.offset + micros as u64)
    }

    /// The first true time at which the monotonic clock shows `instant` or later.
    pub fn when(&self, instant: Instant) -> Micros {
        let micros = u128::from(instant.as_micros().saturating_sub(self.offset));
        let seen = (micros * 1_000_000).div_ceil(u128::from(self.rate_ppm));
        u64::try_from(seen).unwrap_or(u64::MAX).saturating_add(self.frozen)
    }

    /// Lets the wall clock jump.
    pub fn jump_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }

    /// The process was stopped for `duration`, and the monotonic clock with it.
    pub fn freeze(&mut self, duration: Micros) {
        self.frozen += duration;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_first_moment_that_shows_the_instant() {
        for rate in [900_000, 999_983, 1_000_000, 1_100_000] {
            let clock = Clock::new(77, rate, 0);
            for micros in [77, 78, 1_000, 999_999, 123_456_789] {
                let instant = Instant::from_micros(micros);
                let when = clock.when(instant);
                assert!(clock.instant(when) >= instant);
                assert!(when == 0 || clock.instant(when - 1) < instant);
            }
        }
    }

    #[test]
    fn a_frozen_clock_does_not_see_the_time() {
        let mut clock = Clock::new(0, 1_000_000, 0);
        clock.freeze(500);
        assert_eq!(clock.instant(1_500), Instant::from_micros(1_000));
    }
}
