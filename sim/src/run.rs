//! One run from seed to report.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::check::Violation;
use crate::plan::Plan;
use crate::probe::Probes;
use crate::trace::Trace;
use crate::world::queue::Micros;
use crate::world::stepped::World;

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Everything that happened, as a number.
    pub hash: u64,
    /// What was wrong, if anything.
    pub violation: Option<Violation>,
    /// Rare states.
    pub probes: Probes,
    /// Events.
    pub events: u64,
    /// Simulated time.
    pub time: Micros,
    /// Faults.
    pub faults: u64,
    /// Elections won.
    pub elections: usize,
    /// Entries committed.
    pub committed: u64,
    /// The end of the run as a chart, if it was asked for.
    pub chart: String,
}

impl Report {
    /// What a person needs to know of a failure: check, sentence, and the command that replays it.
    pub fn failure(&self) -> Option<String> {
        let violation = self.violation.as_ref()?;
        let seed = self.seed;
        Some(format!(
            "{violation}\n  cargo run --profile sim -p zokor-sim --example replay -- \
             --seed {seed:#x}"
        ))
    }
}

/// Runs `seed` and keeps the last `lines` lines of what happened.
pub fn run(seed: u64, lines: usize) -> Report {
    let plan = Plan::new(seed);
    let servers = plan.servers;
    let mut world = World::new(plan, Trace::new(lines));
    let verdict = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match verdict {
        Ok(verdict) => verdict.err(),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let sentence = text.unwrap_or_else(|| "something without words".to_owned());
            Some(Violation { check: "panic", sentence })
        }
    };
    Report {
        seed,
        hash: world.hash,
        violation,
        probes: world.probes.clone(),
        events: world.events,
        time: world.time(),
        faults: world.faults,
        elections: world.elections(),
        committed: world.committed(),
        chart: if lines > 0 { world.trace.chart(servers) } else { String::new() },
    }
}
