//! One member of the ensemble; the face of the core.

mod config;
mod input;
mod message;
mod output;
mod stats;

pub use config::Config;
pub use input::{Input, Recovered};
pub use message::{Message, Snapshot};
pub use output::{CloseReason, Output};
pub use stats::{Mode, Stats};

use std::collections::VecDeque;

use crate::id::{ConnId, Seed};
use crate::time::{Instant, Now};

/// One member of the ensemble: takes an input, picks the route.
#[derive(Debug)]
pub struct Replica {
    stats: Stats,
    outputs: VecDeque<Output>,
}

impl Replica {
    /// A replica that starts from what was on its disk.
    pub fn new(now: Now, config: Config, seed: Seed, recovered: Recovered) -> Self {
        let _ = (now, config, seed, recovered);
        Replica { stats: Stats::default(), outputs: VecDeque::new() }
    }

    /// Takes one input. The driver polls after the inputs of one wake-up.
    pub fn handle(&mut self, now: Now, input: Input) {
        let _ = (now, input);
    }

    /// The next thing to be done, or `None` when all is said.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `Input::Wake` is due, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Facts and counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Requests of `conn` that wait for their answer: the driver stops reading above its limit.
    pub fn outstanding(&self, conn: ConnId) -> usize {
        let _ = conn;
        0
    }
}
