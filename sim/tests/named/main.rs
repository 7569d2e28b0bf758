//! The faults that hit ZooKeeper and Raft systems in production, each as a story that must end
//! well here. `docs/known-faults.md` lists them all, with the test that guards each.
//!
//! Invariant: a story is not over before every fault of its script has found the moment that it
//! waits for. A story that no longer reaches the state it is about fails.

mod disks;
mod doubt;
mod ensembles;
mod limits;
mod raft;
mod recipes;
mod repair;
mod synchronisation;
mod zookeeper;

use std::panic::{AssertUnwindSafe, catch_unwind};

use zokor_sim::check::Violation;
use zokor_sim::script::{Script, micros};
use zokor_sim::sweep;
use zokor_sim::trace::Trace;
use zokor_sim::world::stepped::World;

/// How many variations of a script are told.
const VARIATIONS: u64 = 20;

/// One variation while it runs.
pub struct Story {
    /// Where it plays.
    pub world: World,
}

impl Story {
    /// Goes on until so many seconds after the beginning.
    pub fn until(&mut self, seconds: f64) {
        right(self.world.run_until(micros(seconds)));
    }

    /// Nothing is awaited any more: every fault of the script has struck.
    pub fn all_struck(&self) {
        let awaited: Vec<String> = self.world.awaited().collect();
        assert!(awaited.is_empty(), "never reached: {awaited:?}");
    }

    /// A state that the story is about was reached.
    pub fn saw(&self, probe: &str) {
        assert!(self.world.probes().count(probe) > 0, "never seen: {probe}");
    }

    /// How often a state was reached.
    pub fn count(&self, probe: &str) -> u64 {
        self.world.probes().count(probe)
    }

    /// How far `server` has applied the log.
    pub fn applied(&self, server: u64) -> u64 {
        self.world.stats(server).map_or(0, |stats| stats.applied.0)
    }

    /// Whether a znode is there after all that is committed.
    pub fn has(&self, path: &str) -> bool {
        self.world.tree().nodes.contains_key(path)
    }

    fn end(&mut self) {
        right(self.world.run());
    }
}

fn right(verdict: Result<(), Violation>) {
    if let Err(violation) = verdict {
        panic!("{violation}");
    }
}

/// Tells the usual number of variations; see [`tell_some`].
pub fn tell<T>(script: &Script, story: impl Fn(&mut Story) -> T) -> Vec<T> {
    tell_some(VARIATIONS, script, story)
}

/// Tells so many variations of a script: the story goes on as `story` does, then to its end, when
/// all has healed. Returns what each came to.
pub fn tell_some<T>(n: u64, script: &Script, story: impl Fn(&mut Story) -> T) -> Vec<T> {
    (0..n).map(|number| one(number, script, &story)).collect()
}

fn one<T>(number: u64, script: &Script, story: &impl Fn(&mut Story) -> T) -> T {
    let scenario = script.variation(sweep::seed(0x006e_616d_6564, number));
    let servers = scenario.plan.servers;
    let mut told = Story { world: World::new(scenario.clone(), Trace::off()) };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let value = story(&mut told);
        told.end();
        value
    }));
    match outcome {
        Ok(value) => value,
        Err(_) => {
            let mut again = Story { world: World::new(scenario, Trace::full()) };
            let again_fails = catch_unwind(AssertUnwindSafe(|| {
                story(&mut again);
                again.end();
            }));
            let lines = std::env::var("SIM_LINES").map_or(60, |n| n.parse().expect("a number"));
            let chart = again.world.trace.chart(servers, lines);
            panic!("variation {number} (again: {}):\n{chart}", again_fails.is_err());
        }
    }
}
