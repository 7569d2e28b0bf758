//! A whole run, before it runs: settings, what goes wrong when, and what clients do.
//!
//! Invariant: everything that a run depends on is in its scenario. A seed becomes a scenario and is
//! not asked any more; taking a fault or a step away leaves all others as they were.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::{self, Fault, Timed};
use crate::plan::{NetworkPlan, Plan, SectorPlan};
use crate::rng::{Concern, Stream};
use crate::workload::{self, Step};
use crate::world::queue::Micros;

/// A run, before it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Settings.
    pub plan: Plan,
    /// What goes wrong, in the order of time, until `plan.fault_time`.
    #[serde(default)]
    pub faults: Vec<Timed>,
    /// What each client does until then.
    #[serde(default)]
    pub clients: Vec<Vec<Step>>,
    /// What comes after.
    #[serde(default)]
    pub recovery: Recovery,
}

/// The second half of a run: a quorum is healthy and has to get on, while everything outside it
/// stays broken; then all heals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recovery {
    /// All servers. The first of them that make a quorum heal first.
    pub order: Vec<u64>,
    /// How each of the others stays broken; those that are not named heal too.
    pub fates: Vec<(u64, Fate)>,
    /// What strikes the restless again and again, each with the time until the next.
    pub outside: Vec<(Fault, Micros)>,
    /// Clients that go without a word.
    pub dead: Vec<u64>,
}

/// How a server outside the healthy quorum stays broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is down.
    Down,
    /// It is cut off: it hears nobody, or nobody hears it, or both.
    Cut {
        /// It hears nobody.
        deaf: bool,
        /// Nobody hears it.
        mute: bool,
    },
    /// Faults go on.
    Restless,
}

/// Why a text is not a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a scenario: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

impl Scenario {
    /// The scenario of `seed`.
    pub fn of_seed(seed: u64) -> Self {
        Scenario::of_plan(Plan::new(seed))
    }

    /// What the plan's seed makes of a plan.
    pub fn of_plan(plan: Plan) -> Self {
        let seed = plan.seed;
        Scenario::draw(plan, |concern, draw| draw(&mut Stream::new(seed, concern)))
    }

    /// What other streams make of a plan: `with` is told of each concern, and has to call what it
    /// is given with the stream for it.
    pub(crate) fn draw(
        plan: Plan,
        mut with: impl FnMut(Concern, &mut dyn FnMut(&mut Stream)),
    ) -> Self {
        let (mut faults, mut recovery) = (Vec::new(), Recovery::default());
        let mut clients = vec![Vec::new(); plan.clients.count as usize];
        if !plan.calm {
            let draw = &mut |s: &mut Stream| {
                faults = fault::draw(&plan, 1_000_000, plan.fault_time, s);
            };
            with(Concern::Faults, draw);
        }
        if plan.rots {
            with(Concern::Rot, &mut |s| faults.extend(fault::rots(&plan, s)));
            faults.sort_by_key(|timed| timed.at);
        }
        if plan.disk.sectors.as_ref().is_some_and(SectorPlan::rots_votes) {
            with(Concern::Votes, &mut |s| faults.extend(fault::vote_rots(&plan, s)));
            faults.sort_by_key(|timed| timed.at);
        }
        for (number, steps) in (1..).zip(&mut clients) {
            let draw = &mut |s: &mut Stream| {
                *steps = workload::draw(&plan.clients, plan.fault_time, s);
            };
            with(Concern::Client(number), draw);
        }
        with(Concern::Recovery, &mut |s| recovery = Recovery::draw(&plan, s));
        Scenario { plan, faults, clients, recovery }
    }

    /// Reads what [`Scenario::text`] has written.
    ///
    /// # Errors
    /// If it is not a scenario; the place is named.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let scenario: Scenario =
            ron::from_str(text).map_err(|error| Unreadable(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// As a text that people can read and change (RON).
    pub fn text(&self) -> String {
        let pretty = ron::ser::PrettyConfig::new().depth_limit(3).indentor("  ");
        ron::ser::to_string_pretty(self, pretty).expect("a scenario is plain data")
    }

    /// Whether everything in it exists: servers, clients, times.
    pub(crate) fn check(&self) -> Result<(), Unreadable> {
        let plan = &self.plan;
        let must = |right: bool, what: &str| {
            if right { Ok(()) } else { Err(Unreadable(what.to_owned())) }
        };
        must((1..=13).contains(&plan.servers), "plan.servers is not in 1..=13")?;
        let others = plan.members.observers.checked_add(plan.members.spares);
        must(others.is_some_and(|others| others < plan.servers), "nobody votes")?;
        let places = &plan.members.groups;
        let is_small = places.iter().all(|(group, weight)| (1..=3).contains(group) && *weight <= 3);
        must(is_small, "plan.members.groups has a group that is not in 1..=3 or a weight above 3")?;
        must(plan.membership().can_decide(), "the voters of plan.members.groups weigh nothing")?;
        let bits = plan.core.counter_bits.unwrap_or(32);
        must((1..=32).contains(&bits), "plan.core.counter_bits is not in 1..=32")?;
        must(plan.clients.count <= 1_000, "plan.clients.count is above 1,000")?;
        must(plan.fault_time <= 3_600_000_000, "plan.fault_time is above an hour")?;
        must(self.clients.len() as u64 <= plan.clients.count, "more step lists than clients")?;
        let mut order = self.recovery.order.clone();
        order.sort_unstable();
        must(order.iter().copied().eq(1..=plan.servers), "recovery.order is not all servers")?;
        let known =
            |fault: &Fault| fault.names().all(|server| (1..=plan.servers).contains(&server));
        must(self.faults.iter().all(|timed| known(&timed.fault)), "a fault names no server")?;
        must(self.recovery.outside.iter().all(|(fault, _)| known(fault)), "a fault names no server")
    }
}

impl Recovery {
    /// Everything heals at once.
    pub fn at_once(servers: u64) -> Self {
        Recovery { order: (1..=servers).collect(), ..Recovery::default() }
    }

    fn draw(plan: &Plan, s: &mut Stream) -> Self {
        let mut order: Vec<u64> = (1..=plan.servers).collect();
        for place in 0..order.len() {
            let other = place + s.below((order.len() - place) as u64) as usize;
            order.swap(place, other);
        }
        let dies = |s: &mut Stream| plan.clients.deaths && s.coin();
        let dead = (1..=plan.clients.count).filter(|_| dies(s)).collect();
        if plan.calm {
            return Recovery { order, dead, ..Recovery::default() };
        }
        let fates = order.iter().map(|&server| (server, fate(&plan.network, s))).collect();
        let outside = (0..20).filter_map(|_| {
            let (fault, gap) = fault::next(plan, s);
            Some((fault?, gap))
        });
        Recovery { order, fates, outside: outside.collect(), dead }
    }
}

fn fate(network: &NetworkPlan, s: &mut Stream) -> Fate {
    match s.below(6) {
        0 if network.partitions => Fate::Cut { deaf: true, mute: true },
        1 if network.one_way => Fate::Cut { deaf: true, mute: false },
        2 | 3 if network.one_way => Fate::Cut { deaf: false, mute: true },
        4 => Fate::Down,
        _ => Fate::Restless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_what_its_text_says() {
        for seed in 0..30 {
            let scenario = Scenario::of_seed(seed);
            assert_eq!(Scenario::read(&scenario.text()), Ok(scenario));
        }
    }

    #[test]
    fn a_text_that_is_wrong_is_refused_with_a_reason() {
        let mut scenario = Scenario::of_seed(1);
        scenario.recovery.order.push(9);
        let refused = Scenario::read(&scenario.text()).unwrap_err().to_string();
        assert_eq!(refused, "not a scenario: recovery.order is not all servers");
        let mut scenario = Scenario::of_seed(1);
        scenario.faults.push(Timed { at: 1, fault: Fault::Stall(8, 1) });
        assert!(Scenario::read(&scenario.text()).is_err());
        assert!(Scenario::read("(plan: 3)").is_err());
    }

    #[test]
    fn taking_a_fault_kind_away_leaves_the_steps_as_they_are() {
        let mut plan = (0..).map(Plan::new).find(|plan| plan.process.crashes).unwrap();
        let with = Scenario::of_plan(plan.clone());
        plan.process.crashes = false;
        let without = Scenario::of_plan(plan);
        assert_eq!(with.clients, without.clients);
        assert_ne!(with.faults, without.faults);
    }
}
