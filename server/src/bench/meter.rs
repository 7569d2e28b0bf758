//! When to warm up, to measure and to end, and what is counted.
//!
//! Invariant: whether an operation counts is decided by when it began, so that each that was begun
//! while measuring is answered for: as done, or as failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::cost::Cost;
use super::mix::{Kind, Mix};
use super::options::BenchArguments;
use super::tally::Tally;

/// The phases of a run and its counts.
#[derive(Debug)]
pub(super) struct Meter {
    mix: Mix,
    warm_up_ns: u64,
    /// `None`: until `left` is 0.
    duration_ns: Option<u64>,
    /// How many operations may still begin.
    left: u64,
    phase: Phase,
    from_ns: u64,
    end_ns: u64,
    over_ns: u64,
    next_second_ns: u64,
    n_seconds: u64,
    quiet: bool,
    stop: Arc<AtomicBool>,
    pids: Vec<u32>,
    costs_before: Vec<Cost>,
    /// Why the run never started.
    vain: Option<String>,
    /// What was counted.
    pub(super) tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connections come up.
    Waiting,
    /// The same work, not counted.
    WarmingUp,
    /// Counted.
    Measuring,
    /// Nothing begins any more, answers are awaited.
    Draining,
}

/// Whether an operation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// No more of them.
    No,
    /// It begins and is not counted.
    Uncounted,
    /// It begins and is counted.
    Counted,
}

/// What the measured time brought.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) tally: Tally,
    /// From the beginning to the last answer.
    pub(super) elapsed: Duration,
    /// What each process asked for has cost, this one first.
    pub(super) costs: Vec<Cost>,
}

impl Meter {
    /// Waits for [`Meter::start`]. `stop` ends the run early.
    pub(super) fn new(arguments: &BenchArguments, stop: Arc<AtomicBool>) -> Self {
        let pids = [std::process::id()].into_iter().chain(arguments.pid.iter().copied());
        Meter {
            mix: arguments.mix.clone(),
            warm_up_ns: arguments.warm_up.as_nanos() as u64,
            duration_ns: arguments.count.is_none().then_some(arguments.duration.as_nanos() as u64),
            left: arguments.count.unwrap_or(u64::MAX),
            phase: Phase::Waiting,
            from_ns: u64::MAX,
            end_ns: u64::MAX,
            over_ns: 0,
            next_second_ns: u64::MAX,
            n_seconds: 0,
            quiet: arguments.quiet,
            stop,
            pids: pids.collect(),
            costs_before: Vec::new(),
            vain: None,
            tally: Tally::new(0),
        }
    }

    /// Everything is connected.
    pub(super) fn start(&mut self, now_ns: u64) {
        self.phase = Phase::WarmingUp;
        self.from_ns = now_ns + self.warm_up_ns;
        self.end_ns = self.duration_ns.map_or(u64::MAX, |duration| self.from_ns + duration);
    }

    /// Whether the start is still waited for: not if it is `hopeless`, nor once the run is to end.
    pub(super) fn awaits_start(&mut self, hopeless: Option<String>) -> bool {
        let is_stopped = self.stop.load(Ordering::Relaxed);
        let stopped = is_stopped.then(|| "ended before all connections were up".to_owned());
        self.vain = hopeless.or(stopped);
        self.vain.is_none()
    }

    /// Whether the run has started.
    pub(super) fn has_started(&self) -> bool {
        self.phase != Phase::Waiting
    }

    /// Goes on to the next phase if it is time, and tells of the last second.
    pub(super) fn turn(&mut self, now_ns: u64) {
        if self.phase == Phase::WarmingUp && now_ns >= self.from_ns {
            self.phase = Phase::Measuring;
            self.costs_before = Cost::of_all(&self.pids);
            self.tally.begin(now_ns);
            self.next_second_ns = now_ns + SECOND_NS;
        }
        if self.stop.load(Ordering::Relaxed) {
            self.end_ns = self.end_ns.min(now_ns);
        }
        let may_begin = now_ns < self.end_ns && self.left > 0;
        if self.phase == Phase::Measuring && !may_begin {
            self.phase = Phase::Draining;
            self.over_ns = now_ns;
        }
        if now_ns >= self.next_second_ns {
            self.next_second_ns += SECOND_NS;
            self.n_seconds += 1;
            self.tell();
        }
    }

    /// When [`Meter::turn`] is due.
    pub(super) fn wake_ns(&self) -> u64 {
        match self.phase {
            Phase::Waiting => u64::MAX,
            Phase::WarmingUp => self.from_ns,
            Phase::Measuring => self.end_ns.min(self.next_second_ns),
            Phase::Draining => self.next_second_ns.min(self.over_ns + DRAIN_NS),
        }
    }

    /// Whether an operation that is due or sent at `begun_ns` begins; it is taken as begun.
    pub(super) fn begin(&mut self, begun_ns: u64) -> Begin {
        if begun_ns >= self.end_ns || self.left == 0 {
            return Begin::No;
        }
        match self.phase {
            Phase::Waiting => Begin::No,
            Phase::WarmingUp => Begin::Uncounted,
            Phase::Measuring | Phase::Draining if begun_ns < self.from_ns => Begin::Uncounted,
            Phase::Measuring | Phase::Draining => {
                if self.duration_ns.is_none() {
                    self.left -= 1;
                }
                Begin::Counted
            }
        }
    }

    /// Whether no operation will begin that is due at `due_ns` or later.
    pub(super) fn is_over(&self, due_ns: u64) -> bool {
        self.left == 0 || due_ns >= self.end_ns
    }

    /// Whether what is not answered by now has failed.
    pub(super) fn gives_up(&self, now_ns: u64) -> bool {
        self.phase == Phase::Draining && now_ns >= self.over_ns + DRAIN_NS
    }

    /// All is answered, or given up. An `Err` says why nothing was measured.
    pub(super) fn finish(mut self, now_ns: u64) -> Result<Measured, String> {
        if let Some(why) = self.vain {
            return Err(why);
        }
        self.tally.pause.heard(now_ns);
        self.tally.write_pause.heard(now_ns);
        self.tell();
        let after = Cost::of_all(&self.pids);
        let costs = self.costs_before.iter().zip(after).map(|(before, after)| after.since(before));
        let elapsed = Duration::from_nanos(now_ns.saturating_sub(self.from_ns));
        Ok(Measured { costs: costs.collect(), elapsed, tally: self.tally })
    }

    fn tell(&mut self) {
        let mix = &self.mix;
        let recent = self.tally.turn_over(|kind: Kind| kind.is_counted_with(mix));
        if self.quiet || self.n_seconds == 0 {
            return;
        }
        eprintln!(
            "{:4} s {:9} done   p50 {:9.3} ms   p99 {:9.3} ms   max {:9.3} ms   {} errors",
            self.n_seconds,
            recent.n_done,
            recent.p50_ns as f64 / 1e6,
            recent.p99_ns as f64 / 1e6,
            recent.max_ns as f64 / 1e6,
            self.tally.n_errors(),
        );
    }
}

const SECOND_NS: u64 = 1_000_000_000;

/// How long answers are awaited after the end.
const DRAIN_NS: u64 = 10 * SECOND_NS;
