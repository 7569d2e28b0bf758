//! Whole servers under faults: the real sources of `net` on a simulated network, the real wire,
//! and the same judges as in the stepped world.
//!
//! Invariant: a run is a function of its scenario and scene. Each has a thread of its own,
//! since the
//! order of a hash map inside the simulated network is fixed only for the first run of a thread.

pub mod audit;
pub mod bulk;
pub mod caller;
pub mod client;
pub mod history;
pub mod ledger;
pub mod odd;
mod rough;
mod run;
mod scene;
pub mod storm;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use ::madsim::runtime::Runtime;
use serde::Serialize;
use tokio::net::Net;

use crate::check::Violation;
use crate::probe::Probes;
use crate::scenario::Scenario;
use crate::world::queue::Micros;
use history::History;
use run::Run;

/// What happens in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Scene {
    /// Faults as the scenario has them, and some that only this world has.
    Storm,
    /// The leader dies under load and stays dead for a while; nothing else happens.
    LeaderDies,
    /// The leader is cut off from its peers in both directions.
    LeaderCutOff,
    /// Nobody hears the leader any more, while it hears everybody.
    LeaderUnheard,
    /// All machines lose power at once.
    PowerCut,
    /// Two halves see each other only through one server.
    Bridge,
    /// The logs of a majority are damaged: what is left must refuse to serve.
    Ruin,
    /// All connections between the leader and its peers swallow what is sent; new ones would not.
    LinksSwallowed,
    /// Servers have two networks, of which one fails after the other.
    NetworksInTurn,
    /// One server after the other finds its disk damaged, or empty.
    DisksInTurn,
}

impl Scene {
    /// All of them.
    pub const ALL: [Scene; 10] = [
        Scene::Storm,
        Scene::LeaderDies,
        Scene::LeaderCutOff,
        Scene::LeaderUnheard,
        Scene::PowerCut,
        Scene::Bridge,
        Scene::Ruin,
        Scene::LinksSwallowed,
        Scene::NetworksInTurn,
        Scene::DisksInTurn,
    ];
}

impl FromStr for Scene {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Scene::ALL.into_iter().find(|scene| scene.to_string() == name);
        found.ok_or_else(|| {
            let names: Vec<String> = Scene::ALL.iter().map(Scene::to_string).collect();
            format!("there are the scenes {}", names.join(", "))
        })
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What happened.
    pub scene: Scene,
    /// All that clients did and heard, as a number.
    pub hash: u64,
    /// What was wrong, if anything.
    pub violation: Option<Violation>,
    /// Rare states.
    pub probes: Probes,
    /// Simulated time.
    pub time: Micros,
    /// Faults.
    pub faults: u64,
    /// Entries of the log.
    pub entries: u64,
    /// The end of the history, if it was asked for.
    pub chart: String,
}

impl Report {
    /// What a person needs to know of a failure: check, sentence, and the command that replays it.
    pub fn failure(&self) -> Option<String> {
        let violation = self.violation.as_ref()?;
        let Report { seed, scene, .. } = self;
        Some(format!(
            "{violation}\n  cargo run --profile sim -p zokor-sim --example replay -- \
             --whole {scene} --seed {seed:#x}"
        ))
    }
}

/// The scenario of `scene` by `seed`. A storm's is of the same kind as the stepped world's, and
/// either world can play it.
pub fn scenario(scene: Scene, seed: u64) -> Scenario {
    Scenario::of_plan(scene::plan(scene, seed))
}

/// Plays `scene` by `seed`, and keeps the last `lines` lines of what happened.
pub fn play(scene: Scene, seed: u64, lines: usize) -> Report {
    play_in(scene, &scenario(scene, seed), lines)
}

/// Plays any scenario as a storm. What whole servers cannot do yet is left out: changes of the
/// membership, servers that are no members, faults that wait for a point of a server
/// (`Fault::When`), disks with a history; and all heals at once.
pub fn play_scenario(scenario: &Scenario, lines: usize) -> Report {
    play_in(Scene::Storm, scenario, lines)
}

fn play_in(scene: Scene, scenario: &Scenario, lines: usize) -> Report {
    let mutant = zokor_mutants::active();
    std::thread::scope(|scope| {
        let playing = || zokor_mutants::with(mutant, || play_here(scene, scenario, lines));
        let thread = scope.spawn(playing);
        thread.join().expect("a panic of the run is part of its report")
    })
}

fn play_here(scene: Scene, scenario: &Scenario, lines: usize) -> Report {
    let seed = scenario.plan.seed;
    let history = History::default();
    let mut runtime = Runtime::with_seed_and_config(seed, ::madsim::Config::default());
    runtime.add_simulator::<Net>();
    runtime.set_time_limit(TIME_LIMIT);
    let shared = history.clone();
    let mut chances = scenario.plan.chances();
    let played = catch_unwind(AssertUnwindSafe(|| {
        let playing =
            || runtime.block_on(async { Run::new(scene, scenario.clone(), shared).play().await });
        zokor_chance::with(&mut chances, playing)
    }));
    let mut report = Report {
        seed,
        scene,
        hash: history.hash(),
        violation: None,
        probes: Probes::default(),
        time: 0,
        faults: 0,
        entries: 0,
        chart: history.chart(lines),
    };
    match played {
        Ok(outcome) => {
            report.violation = outcome.verdict.err();
            report.probes = outcome.probes;
            report.probes.add_chances(&chances);
            report.time = outcome.time;
            report.faults = outcome.faults;
            report.entries = outcome.entries;
        }
        Err(payload) => {
            // Its tasks want a simulation around them when dropped; there is none any more.
            std::mem::forget(runtime);
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let sentence = text.unwrap_or_else(|| "something without words".to_owned());
            report.violation = Some(Violation { check: "panic", sentence });
        }
    }
    report
}

/// No run comes near it.
const TIME_LIMIT: std::time::Duration = std::time::Duration::from_secs(1_000);
