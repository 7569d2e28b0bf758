//! So many in a time, and no more. Source: `zookeeper: RateLimiter`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one through in each interval.
#[derive(Debug)]
pub(super) struct Limiter {
    interval: Duration,
    /// When the interval began, and whether one was let through in it.
    state: Mutex<(Option<Instant>, bool)>,
}

impl Limiter {
    pub(super) fn new(interval: Duration) -> Self {
        Limiter { interval, state: Mutex::default() }
    }

    /// Whether one more may pass at `now`.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, is_used) = &mut *state;
        if begun.is_none_or(|begun| now.duration_since(begun) > self.interval) {
            (*begun, *is_used) = (Some(now), false);
        }
        !std::mem::replace(is_used, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_in_each_interval() {
        let limiter = Limiter::new(Duration::from_millis(10));
        let start = Instant::now();
        let allowed = [0, 1, 10, 11, 12, 21, 22, 100].map(|ms| {
            let now = start + Duration::from_millis(ms);
            limiter.allows(now).then_some(ms)
        });
        let allowed: Vec<u64> = allowed.into_iter().flatten().collect();
        assert_eq!(allowed, [0, 11, 22, 100]);
    }
}
