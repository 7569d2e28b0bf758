//! How long a disk of the whole-server world takes.
//!
//! Invariant: what it draws depends on its own stream and on whether it is slow just now.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::queue::Micros;
use crate::rng::Stream;

/// How long a server's disk takes.
pub(super) struct Pace {
    pub(super) stream: Mutex<Stream>,
    pub(super) least: Micros,
    pub(super) spread: Micros,
    pub(super) heavy_tail: bool,
    pub(super) slow: AtomicBool,
}

impl Pace {
    /// The time of the next call.
    pub(super) fn draw(&self) -> Duration {
        let mut stream = self.stream.lock().expect("nobody panics with a pace");
        let mut micros = self.least + stream.below(self.spread);
        if self.heavy_tail && stream.below(100) == 0 {
            micros *= stream.between(2, 50);
        }
        if self.slow.load(Ordering::Relaxed) {
            micros += stream.between(100_000, 3_000_000);
        }
        Duration::from_micros(micros)
    }
}
