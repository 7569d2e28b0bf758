//! Makes a failing scenario small: fewer faults, steps, clients and servers, a quieter world.
//!
//! Invariant: what comes out still breaks the same check. The order of attempts is fixed and their
//! number is bounded, so that a scenario always shrinks to the same one.

mod ddmin;
mod smaller;

use crate::fault::Fault;
use crate::run::{Report, run_scenario};
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::world::queue::Micros;
use ddmin::ddmin;

/// A scenario made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The scenario.
    pub scenario: Scenario,
    /// The check that it still breaks.
    pub check: String,
    /// How many runs it took.
    pub runs: usize,
}

impl Shrunk {
    /// How many faults are left.
    pub fn faults(&self) -> usize {
        self.scenario.faults.len() + self.scenario.recovery.outside.len()
    }

    /// How many steps of clients are left.
    pub fn steps(&self) -> usize {
        self.scenario.clients.iter().map(Vec::len).sum()
    }
}

/// Makes `scenario` small with at most `runs` runs. `None` if it breaks nothing.
pub fn shrink(scenario: &Scenario, runs: usize) -> Option<Shrunk> {
    shrink_by(scenario, runs, |scenario| {
        let (report, _) = run_scenario(scenario.clone(), Trace::off());
        let Report { violation, time, .. } = report;
        Some((violation?.check.to_owned(), time))
    })
}

/// The same with another way to run: `run` names the check that a scenario breaks, and when.
pub fn shrink_by(
    scenario: &Scenario,
    runs: usize,
    run: impl FnMut(&Scenario) -> Option<(String, Micros)>,
) -> Option<Shrunk> {
    let mut search = Search { run, left: runs, check: String::new() };
    let (check, time) = (search.run)(scenario)?;
    search.check = check;
    let mut best = scenario.clone();
    search.cut_end(&mut best, time);
    search.faults(&mut best);
    search.steps(&mut best);
    search.servers(&mut best);
    search.quieten(&mut best);
    search.simplify(&mut best);
    search.end_early(&mut best);
    // With less going on, some of what was needed may not be any more.
    search.faults(&mut best);
    search.steps(&mut best);
    search.servers(&mut best);
    Some(Shrunk { scenario: best, check: search.check, runs: runs - search.left })
}

struct Search<R> {
    run: R,
    left: usize,
    check: String,
}

impl<R: FnMut(&Scenario) -> Option<(String, Micros)>> Search<R> {
    /// Whether `scenario` breaks the check too. False when no runs are left.
    fn fails(&mut self, scenario: &Scenario) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        (self.run)(scenario).is_some_and(|(check, _)| check == self.check)
    }

    /// Keeps the change if the scenario still fails with it.
    fn attempt(&mut self, best: &mut Scenario, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = best.clone();
        change(&mut candidate);
        let keeps = candidate != *best && self.fails(&candidate);
        if keeps {
            *best = candidate;
        }
        keeps
    }

    /// What comes after the violation plays no part in it.
    fn cut_end(&mut self, best: &mut Scenario, time: Micros) {
        self.attempt(best, |scenario| {
            scenario.faults.retain(|timed| timed.at <= time);
            for steps in &mut scenario.clients {
                steps.retain(|step| step.at <= time);
            }
        });
        self.attempt(best, |scenario| {
            scenario.plan.fault_time = scenario.plan.fault_time.min(time + 1);
        });
    }

    fn faults(&mut self, best: &mut Scenario) {
        self.attempt(best, |scenario| {
            scenario.recovery.fates.clear();
            scenario.recovery.outside.clear();
            scenario.recovery.dead.clear();
        });
        let base = best.clone();
        best.faults = ddmin(base.faults.clone(), |faults| {
            self.fails(&Scenario { faults: faults.to_vec(), ..base.clone() })
        });
        let base = best.clone();
        best.recovery.outside = ddmin(base.recovery.outside.clone(), |outside| {
            let mut candidate = base.clone();
            candidate.recovery.outside = outside.to_vec();
            self.fails(&candidate)
        });
        let base = best.clone();
        best.recovery.fates = ddmin(base.recovery.fates.clone(), |fates| {
            let mut candidate = base.clone();
            candidate.recovery.fates = fates.to_vec();
            self.fails(&candidate)
        });
        self.simpler_crashes(best);
    }

    /// Of several servers that crash at once some may do.
    fn simpler_crashes(&mut self, best: &mut Scenario) {
        for place in 0..best.faults.len() {
            let Fault::Crash(crashes) = best.faults[place].fault.clone() else { continue };
            for (server, ..) in crashes {
                self.attempt(best, |scenario| {
                    if let Fault::Crash(crashes) = &mut scenario.faults[place].fault
                        && crashes.len() > 1
                    {
                        crashes.retain(|crash| crash.0 != server);
                    }
                });
            }
        }
    }

    fn steps(&mut self, best: &mut Scenario) {
        for client in 0..best.clients.len() {
            self.attempt(best, |scenario| scenario.clients[client].clear());
        }
        for client in 0..best.clients.len() {
            let base = best.clone();
            best.clients[client] = ddmin(base.clients[client].clone(), |steps| {
                let mut candidate = base.clone();
                candidate.clients[client] = steps.to_vec();
                self.fails(&candidate)
            });
        }
        while best.clients.last().is_some_and(Vec::is_empty)
            && self.attempt(best, |scenario| {
                scenario.clients.pop();
                scenario.plan.clients.count = scenario.clients.len() as u64;
                let count = scenario.plan.clients.count;
                scenario.recovery.dead.retain(|&client| client <= count);
            })
        {}
    }

    /// An even network, even disks, even clocks.
    fn quieten(&mut self, best: &mut Scenario) {
        let changes: [fn(&mut Scenario); 18] = [
            |s| s.plan.disk.sectors = None,
            |s| s.plan.members.changes = false,
            |s| s.plan.members.groups.clear(),
            |s| s.plan.network.loss_ppm = 0,
            |s| s.plan.network.duplicate_ppm = 0,
            |s| s.plan.network.heavy_tail = false,
            |s| s.plan.network.reorder = false,
            |s| s.plan.network.late = false,
            |s| s.plan.network.latency_spread = 1,
            |s| s.plan.disk.heavy_tail = false,
            |s| s.plan.disk.merge = false,
            |s| s.plan.disk.latency_spread = 1,
            |s| s.plan.process.skew = false,
            |s| s.plan.process.poll_delay = 0,
            |s| s.plan.clients.window = 1,
            |s| s.plan.buggify = false,
            |s| s.plan.throttles = false,
            |s| s.plan.core.counter_bits = None,
        ];
        for change in changes {
            self.attempt(best, change);
        }
    }

    /// Fewer servers: from the last on, which are those that do not vote.
    fn servers(&mut self, best: &mut Scenario) {
        while best.plan.servers > 1 && self.attempt(best, smaller::without_last_server) {}
    }

    /// Shorter faults, of simpler kinds.
    fn simplify(&mut self, best: &mut Scenario) {
        for place in 0..best.faults.len() {
            self.attempt(best, |scenario| smaller::at_once(&mut scenario.faults[place].fault));
            for _ in 0..8 {
                let halved = |scenario: &mut Scenario| {
                    smaller::halve(&mut scenario.faults[place].fault);
                };
                if !self.attempt(best, halved) {
                    break;
                }
            }
        }
    }

    /// All heals sooner after the last that goes wrong.
    fn end_early(&mut self, best: &mut Scenario) {
        let faults = best.faults.iter().map(|timed| timed.at);
        let steps = best.clients.iter().flatten().map(|step| step.at);
        let last = faults.chain(steps).max().unwrap_or(0);
        for after in [1, 1_000_000, 3_000_000] {
            let ends = |scenario: &mut Scenario| {
                let end = &mut scenario.plan.fault_time;
                *end = (last + after).min(*end);
            };
            if self.attempt(best, ends) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Op;

    /// A pretended defect: it takes a crash of server 1, a pause, and a `sync` of client 2.
    fn breaks(scenario: &Scenario) -> Option<(String, Micros)> {
        let has = |wanted: fn(&Fault) -> bool| {
            scenario.faults.iter().find(|timed| wanted(&timed.fault)).map(|timed| timed.at)
        };
        let crash = has(|fault| fault.names().any(|server| server == 1))?;
        let pause = has(|fault| matches!(fault, Fault::Pause(..)))?;
        let steps = scenario.clients.get(1)?;
        let sync = steps.iter().find(|step| matches!(step.op, Op::Sync(_)))?.at;
        Some(("it".to_owned(), crash.max(pause).max(sync)))
    }

    fn failing() -> Scenario {
        (0..).map(Scenario::of_seed).find(|scenario| breaks(scenario).is_some()).unwrap()
    }

    #[test]
    fn what_plays_no_part_goes() {
        let scenario = failing();
        let shrunk = shrink_by(&scenario, 5_000, breaks).unwrap();
        assert!(shrunk.faults() <= 2, "{:?}", shrunk.scenario.faults);
        assert_eq!(shrunk.steps(), 1);
        assert_eq!(breaks(&shrunk.scenario).unwrap().0, shrunk.check);
        assert_eq!(Scenario::read(&shrunk.scenario.text()), Ok(shrunk.scenario));
    }

    #[test]
    fn no_more_runs_than_allowed() {
        let mut runs = 0;
        let shrunk = shrink_by(&failing(), 7, |scenario| {
            runs += 1;
            breaks(scenario)
        });
        assert_eq!(shrunk.unwrap().runs, 7);
        // The first one finds out which check it is.
        assert_eq!(runs, 8);
    }

    #[test]
    fn what_breaks_nothing_cannot_shrink() {
        assert!(shrink_by(&Scenario::of_seed(1), 10, |_| None).is_none());
    }
}
