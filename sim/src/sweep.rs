//! Many runs on all cores.
//!
//! Invariant: which seeds run does not depend on the number of workers, and neither do their
//! results.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::check::Violation;
use crate::probe::{Probes, Quota};
use crate::rng::mix;
use crate::run::{Report, Worlds, run_in};

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// In which world.
    pub world: Worlds,
    /// Another base gives other seeds.
    pub base: u64,
    /// How many.
    pub seeds: u64,
    /// On how many cores.
    pub jobs: usize,
}

/// What came of many runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// How many.
    pub runs: u64,
    /// Events of all.
    pub events: u64,
    /// Simulated microseconds of all.
    pub time: u64,
    /// Faults of all.
    pub faults: u64,
    /// Elections of all.
    pub elections: u64,
    /// Entries committed in all.
    pub committed: u64,
    /// Seeds that were run twice, and were the same both times.
    pub repeated: u64,
    /// All hashes, as one number that does not depend on their order.
    pub hash: u64,
    /// Rare states of all.
    pub probes: Probes,
    /// Those that failed, ascending by seed.
    pub failures: Vec<Report>,
}

/// The `n`-th seed of a sweep from `base`.
pub fn seed(base: u64, n: u64) -> u64 {
    mix(&[base, n])
}

/// One seed in so many is run twice.
const REPEAT: u64 = 50;

impl Sweep {
    /// `seeds` seeds of `world` from the first base, on all cores.
    pub fn new(world: Worlds, seeds: u64) -> Self {
        let jobs = std::thread::available_parallelism().map_or(1, |n| n.get());
        Sweep { world, base: 0, seeds, jobs }
    }

    /// What the environment wants of a test: `SIM_SEEDS` or `MADSIM_TEST_NUM` seeds, from
    /// `SIM_BASE` or `MADSIM_TEST_SEED`, on `SIM_JOBS` or `MADSIM_TEST_JOBS` cores.
    ///
    /// # Panics
    /// If a variable is no number.
    pub fn from_env(world: Worlds, seeds: u64) -> Self {
        let mut sweep = Sweep::new(world, seeds);
        let own = match world {
            Worlds::Stepped => "SIM_SEEDS",
            Worlds::Whole(_) => "SIM_WHOLE_SEEDS",
        };
        sweep.seeds = knob(&[own, "MADSIM_TEST_NUM"]).unwrap_or(seeds);
        sweep.base = knob(&["SIM_BASE", "MADSIM_TEST_SEED"]).unwrap_or(0);
        let jobs = knob(&["SIM_JOBS", "MADSIM_TEST_JOBS"]).map(|jobs| jobs.max(1) as usize);
        sweep.jobs = jobs.unwrap_or(sweep.jobs);
        sweep
    }

    /// Runs them all; every fiftieth twice, to see that it repeats. `done` hears of each, and says
    /// whether to go on.
    pub fn run(&self, done: impl Fn(&Report) -> bool + Sync) -> Summary {
        let next = AtomicU64::new(0);
        let summary = Mutex::new(Summary::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= self.seeds {
                            break;
                        }
                        let report = self.one(n);
                        if !done(&report) {
                            next.store(self.seeds, Ordering::Relaxed);
                        }
                        let twice = n.is_multiple_of(REPEAT) && report.violation.is_none();
                        summary.lock().expect("no worker panics with it").add(report, twice);
                    }
                });
            }
        });
        let mut summary = summary.into_inner().expect("no worker panics with it");
        summary.failures.sort_by_key(|report| report.seed);
        summary
    }

    fn one(&self, n: u64) -> Report {
        let seed = seed(self.base, n);
        let mut report = run_in(self.world, seed);
        if n.is_multiple_of(REPEAT) && report.violation.is_none() {
            let again = run_in(self.world, seed);
            if again.hash != report.hash {
                let sentence = format!("hashes {:x} and {:x}", report.hash, again.hash);
                report.violation = Some(Violation { check: "a run repeats", sentence });
            }
        }
        report
    }
}

/// The first of these variables that is there, as a number, `0x...` or decimal.
///
/// # Panics
/// If it is no number.
pub fn knob(names: &[&str]) -> Option<u64> {
    let (name, text) = names.iter().find_map(|name| Some((name, std::env::var(name).ok()?)))?;
    Some(number(&text).unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// A number as people write seeds: `0x...` or decimal.
///
/// # Errors
/// If it is none.
pub fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
}

impl Summary {
    fn add(&mut self, report: Report, twice: bool) {
        self.runs += 1;
        self.events += report.events;
        self.time += report.time;
        self.faults += report.faults;
        self.elections += report.elections as u64;
        self.committed += report.committed;
        self.repeated += u64::from(twice);
        self.hash ^= mix(&[report.seed, report.hash]);
        self.probes.add(&report.probes);
        if report.violation.is_some() {
            self.failures.push(report);
        }
    }

    /// The states that a sweep of this size should have seen and has not.
    pub fn missed(&self, quotas: &[Quota]) -> Vec<String> {
        let missed = quotas.iter().filter(|quota| quota.is_missed(self.runs, &self.probes));
        let sentence =
            |quota: &Quota| format!("none of {} runs came to \"{}\"", self.runs, quota.probe);
        missed.map(sentence).collect()
    }

    /// How often each check fired.
    pub fn by_check(&self) -> BTreeMap<&'static str, usize> {
        let mut checks = BTreeMap::new();
        for violation in self.failures.iter().filter_map(|report| report.violation.as_ref()) {
            *checks.entry(violation.check).or_default() += 1;
        }
        checks
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_run = |total: u64| total as f64 / self.runs.max(1) as f64;
        let row = |f: &mut std::fmt::Formatter<'_>, what: &str, total: u64| {
            writeln!(f, "  {total:>12}  {:>10.1}  {what}", per_run(total))
        };
        writeln!(f, "  {:>12}  {:>10}", "all", "each")?;
        row(f, "runs", self.runs)?;
        row(f, "simulated seconds", self.time / 1_000_000)?;
        row(f, "events", self.events)?;
        row(f, "faults", self.faults)?;
        row(f, "elections", self.elections)?;
        row(f, "entries committed", self.committed)?;
        row(f, "run twice and the same", self.repeated)?;
        row(f, "failed", self.failures.len() as u64)?;
        writeln!(f, "  rare states:")?;
        for (name, count) in self.probes.iter() {
            row(f, name, count)?;
        }
        for (check, count) in self.by_check() {
            writeln!(f, "  FAILED {count:>5} x  {check}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_workers_changes_nothing() {
        let mut sweep = Sweep { jobs: 1, ..Sweep::new(Worlds::Stepped, 6) };
        let one = sweep.run(|_| true);
        sweep.jobs = 3;
        let three = sweep.run(|_| true);
        assert_eq!((one.hash, one.runs, one.events), (three.hash, three.runs, three.events));
        assert_eq!(one.repeated, 1);
    }

    #[test]
    fn a_state_that_never_came_is_told_once_there_were_enough_runs() {
        let quotas = [Quota { probe: "a", seeds: 10 }, Quota { probe: "b", seeds: 100 }];
        let summary = Summary { runs: 50, ..Summary::default() };
        assert_eq!(summary.missed(&quotas), ["none of 50 runs came to \"a\""]);
    }
}
