//! Waiting for a condition, never for a while: every wait has a bound and says what it waited for.

use std::time::{Duration, Instant};

/// How long anything may take before a test calls it lost. Generous: machines are slow at times,
/// and no passing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `condition` again and again until it gives a value. Panics after [`PATIENCE`] with `what`.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, condition)
}

/// As [`eventually`], with a bound of its own.
pub fn within<T>(bound: Duration, what: &str, condition: impl FnMut() -> Option<T>) -> T {
    try_within(bound, condition).unwrap_or_else(|| panic!("not within {bound:?}: {what}"))
}

/// As [`within`], but `None` when the time is up.
pub fn try_within<T>(bound: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if start.elapsed() > bound {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);
