//! One run from seed to report.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use crate::check::Violation;
use crate::probe::Probes;
use crate::scenario::Scenario;
use crate::trace::{Kind, Lane, Trace};
use crate::whole::{self, Scene};
use crate::world::queue::Micros;
use crate::world::stepped::World;

/// The worlds that a seed can run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Worlds {
    /// Replicas alone, driven by a heap of events.
    Stepped,
    /// Whole servers on simulated sockets.
    Whole(Scene),
}

/// What came of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In which world.
    pub world: Worlds,
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
}

const REPLAY: &str = "cargo run --profile sim -p zokor-sim --example replay --";

impl Report {
    /// What a person needs to know of a failure: check, sentence, and the command that replays it.
    pub fn failure(&self) -> Option<String> {
        let violation = self.violation.as_ref()?;
        Some(format!("{violation}\n  {}", self.command()))
    }

    /// The command that runs the same again.
    pub fn command(&self) -> String {
        let world = match self.world {
            Worlds::Stepped => String::new(),
            Worlds::Whole(scene) => format!("--whole {scene} "),
        };
        format!("{} {world}--seed {:#x}", replay(), self.seed)
    }
}

/// The program that runs one seed or one scenario again, with the mutant that is active here.
pub fn replay() -> String {
    let mutant = zokor_mutants::active().map(|mutant| format!(" --mutant {}", mutant.number()));
    format!("{REPLAY}{}", mutant.unwrap_or_default())
}

/// Runs `seed` in `world`.
pub fn run_in(world: Worlds, seed: u64) -> Report {
    match world {
        Worlds::Stepped => run(seed),
        Worlds::Whole(scene) => whole::play(scene, seed, 0).into(),
    }
}

/// Runs the scenario of `seed`.
pub fn run(seed: u64) -> Report {
    run_scenario(Scenario::of_seed(seed), Trace::off()).0
}

/// Runs `scenario`; what happened is in `trace` if that is on.
pub fn run_scenario(scenario: Scenario, trace: Trace) -> (Report, Trace) {
    let seed = scenario.plan.seed;
    let mut world = World::new(scenario, trace);
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
    if let Some(violation) = &violation {
        // A check speaks up within the step that broke it: the last event is of that step.
        let (time, step) = (world.time(), world.trace.last());
        world.trace.caused(time, Lane::World, Kind::Violation, step, || violation.to_string());
    }
    let report = Report {
        world: Worlds::Stepped,
        seed,
        hash: world.hash,
        violation,
        probes: world.probes(),
        events: world.events,
        time: world.time(),
        faults: world.faults,
        elections: world.elections(),
        committed: world.committed(),
    };
    (report, world.trace)
}

impl From<whole::Report> for Report {
    fn from(report: whole::Report) -> Self {
        let whole::Report { seed, scene, hash, violation, probes, time, faults, entries, .. } =
            report;
        Report {
            world: Worlds::Whole(scene),
            seed,
            hash,
            violation,
            probes,
            events: 0,
            time,
            faults,
            elections: 0,
            committed: entries,
        }
    }
}
