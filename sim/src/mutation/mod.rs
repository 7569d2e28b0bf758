//! The simulator measured: every mutant has to be found within its budget of seeds.
//!
//! Invariant: the first hit of a hunt does not depend on the number of workers. A run with a mutant
//! is a run like any other, so that what is found here is found by the same checks as a real
//! defect; a hit by another check than the expected counts, and is told apart.

mod catalogue;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use zokor_mutants::{Mutant, with};

pub use catalogue::{CATALOGUE, case};

use crate::check::Violation;
use crate::run;
use crate::scenario::Scenario;
use crate::shrink::{Shrunk, shrink};
use crate::sweep;
use crate::whole::{self, Scene};

/// Where a mutant is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In the stepped world.
    Stepped,
    /// The same, each seed run twice, whose hashes must agree.
    SteppedTwice,
    /// Among whole servers: storms and the other scenes in turn.
    Whole,
}

/// What is known of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has to be found.
    Sought,
    /// Nobody can see it from outside, and this is why. A variant without the mask is sought.
    Masked(&'static str),
    /// The worlds cannot show it yet, and this is what they lack.
    Waits(&'static str),
}

/// A row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is wrong.
    pub mutant: Mutant,
    /// What ought to find it: parts of checks' names.
    pub expected: &'static [&'static str],
    /// Where to look.
    pub place: Where,
    /// Within how many seeds it has to be found.
    pub budget: u64,
    /// Whether it can be.
    pub standing: Standing,
}

/// What came of looking for a mutant.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// How many seeds were tried, up to and with the first that shows it.
    pub tried: u64,
    /// The first that shows it.
    pub hit: Option<Hit>,
}

/// A run that shows a mutant.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The seed of the run.
    pub seed: u64,
    /// What happened, among whole servers.
    pub scene: Option<Scene>,
    /// What is wrong.
    pub violation: Violation,
}

impl Case {
    /// Whether the check that fired is one of those that ought to.
    pub fn expects(&self, check: &str) -> bool {
        self.expected.iter().any(|part| check.contains(part))
    }
}

/// Looks for `case` in `budget` seeds on all cores, always the same ones.
pub fn hunt(case: &Case, budget: u64) -> Hunt {
    let (next, found) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let hits = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= budget.min(found.load(Ordering::Relaxed)) {
                        break;
                    }
                    if let Some(hit) = try_one(case, n) {
                        found.fetch_min(n, Ordering::Relaxed);
                        hits.lock().expect("no worker panics with it").push((n, hit));
                    }
                }
            });
        }
    });
    let hits = hits.into_inner().expect("no worker panics with it");
    match hits.into_iter().min_by_key(|(n, _)| *n) {
        Some((n, hit)) => Hunt { tried: n + 1, hit: Some(hit) },
        None => Hunt { tried: budget, hit: None },
    }
}

/// Makes the run that shows a mutant of the stepped world small, with at most `runs` runs.
pub fn small(case: &Case, hit: &Hit, runs: usize) -> Option<Shrunk> {
    let is_stepped = case.place == Where::Stepped;
    let scenario = || Scenario::of_seed(hit.seed);
    is_stepped.then(|| with(Some(case.mutant), || shrink(&scenario(), runs))).flatten()
}

/// Runs the `n`-th seed of a hunt. A seed that fails without the mutant as well shows nothing of
/// it.
fn try_one(case: &Case, n: u64) -> Option<Hit> {
    let hit = try_with(case, Some(case.mutant), n)?;
    try_with(case, None, n).is_none().then_some(hit)
}

fn try_with(case: &Case, mutant: Option<Mutant>, n: u64) -> Option<Hit> {
    let seed = sweep::seed(BASE, n);
    let stepped = || with(mutant, || run::run(seed));
    let (scene, violation) = match case.place {
        Where::Stepped => (None, stepped().violation),
        Where::SteppedTwice => {
            let (one, other) = (stepped(), stepped());
            let sentence = format!("hashes {:x} and {:x}", one.hash, other.hash);
            let repeats = one.hash == other.hash;
            let differs = (!repeats).then_some(Violation { check: "a run repeats", sentence });
            (None, one.violation.or(differs))
        }
        Where::Whole => {
            let scene = scene(n);
            let report = with(mutant, || whole::play(scene, seed, 0));
            (Some(scene), report.violation)
        }
    };
    Some(Hit { seed, scene, violation: violation? })
}

/// Every other run is a storm.
fn scene(n: u64) -> Scene {
    if n.is_multiple_of(2) {
        return Scene::Storm;
    }
    let others = &Scene::ALL[1..];
    others[(n / 2) as usize % others.len()]
}

/// Where hunts begin: not where the sweeps do, so that their seeds are others.
const BASE: u64 = 0x6d75_7461_6e74;
