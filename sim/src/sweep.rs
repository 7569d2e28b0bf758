//! Many runs on all cores.
//!
//! Invariant: which seeds run does not depend on the number of workers, and neither do their
//! results.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::check::Violation;
use crate::probe::Probes;
use crate::rng::mix;
use crate::run::{Report, run};

/// What came of many runs.
#[derive(Clone, Debug, Default)]
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
    /// Rare states of all.
    pub probes: Probes,
    /// Those that failed, ascending by seed.
    pub failures: Vec<Report>,
}

/// The `n`-th seed of a sweep from `base`.
pub fn seed(base: u64, n: u64) -> u64 {
    mix(&[base, n])
}

/// Runs `count` seeds from `base`; every fiftieth twice, to see that it repeats. `done` hears of
/// each.
pub fn sweep(base: u64, count: u64, done: impl Fn(&Report) + Sync) -> Summary {
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    let report = one(base, n);
                    done(&report);
                    summary.lock().expect("no worker panics with it").add(report);
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("no worker panics with it");
    summary.failures.sort_by_key(|report| report.seed);
    summary
}

fn one(base: u64, n: u64) -> Report {
    let seed = seed(base, n);
    let mut report = run(seed);
    if n.is_multiple_of(50) && report.violation.is_none() {
        let again = run(seed);
        if again.hash != report.hash {
            let sentence = format!("hashes {:x} and {:x}", report.hash, again.hash);
            report.violation = Some(Violation { check: "a run repeats", sentence });
        }
    }
    report
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.events += report.events;
        self.time += report.time;
        self.faults += report.faults;
        self.elections += report.elections as u64;
        self.committed += report.committed;
        self.probes.add(&report.probes);
        if report.violation.is_some() {
            self.failures.push(report);
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} runs, {} simulated seconds, {} events, {} faults, {} elections, {} entries, \
             {} failed",
            self.runs,
            self.time / 1_000_000,
            self.events,
            self.faults,
            self.elections,
            self.committed,
            self.failures.len()
        )?;
        for (name, count) in self.probes.iter() {
            writeln!(f, "  {count:>9}  {name}")?;
        }
        Ok(())
    }
}
