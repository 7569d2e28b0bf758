//! Whole servers under faults: one test a scene, and a sweep of storms. `SIM_WHOLE_SEEDS` or
//! `MADSIM_TEST_NUM` says how many storms, from `SIM_BASE` or `MADSIM_TEST_SEED` on, on `SIM_JOBS`
//! cores; `SIM_SCENE_SEEDS` how many of each other scene. A failure names the command that
//! shows it.

use zokor_sim::fault::{CrashPoint, Fault, Timed};
use zokor_sim::probe::quotas;
use zokor_sim::run::Worlds;
use zokor_sim::scenario::Scenario;
use zokor_sim::sweep::{Summary, Sweep, knob};
use zokor_sim::whole::{Scene, play, play_scenario, scenario};

const STORMS: u64 = 60;

const SCENES: u64 = 2;

/// Runs them all, and wants none to fail.
fn sweep(sweep: Sweep) -> Summary {
    let summary = sweep.run(|report| {
        if let Some(failure) = report.failure() {
            eprintln!("{failure}");
        }
        true
    });
    println!("{:?}\n{summary}", sweep.world);
    let failures: Vec<String> =
        summary.failures.iter().filter_map(|report| report.failure()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    summary
}

fn few(scene: Scene) {
    let seeds = knob(&["SIM_SCENE_SEEDS"]).unwrap_or(SCENES);
    sweep(Sweep { seeds, ..Sweep::from_env(Worlds::Whole(scene), seeds) });
}

#[test]
fn clients_of_other_servers_keep_their_connections_when_the_leader_dies() {
    few(Scene::LeaderDies);
}

#[test]
fn a_leader_that_is_cut_off_steps_down_and_another_leads() {
    few(Scene::LeaderCutOff);
}

#[test]
fn a_leader_that_nobody_hears_steps_down_and_another_leads() {
    few(Scene::LeaderUnheard);
}

#[test]
fn nothing_acknowledged_is_lost_when_all_servers_lose_power() {
    few(Scene::PowerCut);
}

#[test]
fn a_bridge_between_two_halves_keeps_one_leader() {
    few(Scene::Bridge);
}

#[test]
fn with_a_majority_damaged_nobody_serves_and_nothing_false_is_said() {
    few(Scene::Ruin);
}

#[test]
fn links_that_swallow_everything_are_made_anew() {
    few(Scene::LinksSwallowed);
}

#[test]
fn one_of_two_networks_fails_after_the_other_and_all_goes_on() {
    few(Scene::NetworksInTurn);
}

#[test]
fn servers_with_damaged_and_with_empty_disks_get_back_what_they_lost() {
    few(Scene::DisksInTurn);
}

/// Storms that failed once. Plans change, and a seed then leads elsewhere: what it found has a test
/// of its own as well.
const SEEDS: &[(u64, &str)] = &[
    (0xd83d_1b02_a86d_beb8, "no leader: a link swallowed everything for a quarter of an hour"),
    (0x55dd_8cd4_2ae4_a546, "the same kept one server behind"),
    (0x28ae_5ce5_fd9d_f7e9, "the same kept one server from ever hearing anything"),
    (0x75ea_b8b5_d011_d590, "a client that rested lost its connection after all was well"),
    (0xb9e2_04a9_eb95_36a9, "a snapshot that broke off was gone on with before all else had gone"),
    (0x7e8e_21a7_f0e3_0fbf, "chance turned everybody away for long after the storm"),
    (0x35cf_2542_8f55_072a, "a close overtook what was dropped with its connection"),
    (0x597c_cd76_2da1_47b4, "a server with a leader served nobody: it was lost and found at once"),
    (0x1a36_1dab_f525_9ed3, "a batch that went astray made those behind it be forgotten"),
];

#[test]
fn storms_that_failed_once_fail_no_more() {
    for (seed, story) in SEEDS {
        if let Some(failure) = play(Scene::Storm, *seed, 0).failure() {
            panic!("{story}: {failure}");
        }
    }
}

#[test]
fn every_property_holds_in_every_storm() {
    let storms = Worlds::Whole(Scene::Storm);
    let missed = sweep(Sweep::from_env(storms, STORMS)).missed(quotas(storms));
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A scenario of the stepped world, with faults, members and points that whole servers do not know.
#[test]
fn a_scenario_is_played_by_whole_servers_as_far_as_they_can() {
    let seed = (0..).find(|&seed| scenario_has_all(&Scenario::of_seed(seed)));
    let mut stepped = Scenario::of_seed(seed.expect("one in a few has"));
    let point = CrashPoint::Lead;
    let fault = Fault::When(None, point, Box::new(Fault::CrashLeader(CrashPoint::Now, 1)));
    stepped.faults.push(Timed { at: 0, fault });
    let read = Scenario::read(&stepped.text()).expect("it was written so");
    let [report, again] = [&stepped, &read].map(|scenario| play_scenario(scenario, 0));
    assert_eq!(report.failure(), None);
    assert!(report.faults > 0 && report.entries > 0);
    assert_eq!((report.hash, report.faults), (again.hash, again.faults));
}

fn scenario_has_all(scenario: &Scenario) -> bool {
    let members = &scenario.plan.members;
    members.observers > 0 && members.spares > 0 && members.changes
}

#[test]
fn what_is_taken_from_a_scenario_is_not_played() {
    let seed = (0..).find(|&seed| !scenario(Scene::Storm, seed).plan.calm).expect("most are not");
    let mut scenario = scenario(Scene::Storm, seed);
    let all = play_scenario(&scenario, 0);
    assert_eq!(all.hash, play(Scene::Storm, seed, 0).hash);
    let n_faults = scenario.faults.len() as u64;
    scenario.faults.clear();
    scenario.clients.iter_mut().for_each(Vec::clear);
    let fewer = play_scenario(&scenario, 0);
    assert_eq!(fewer.failure(), None);
    assert_eq!(fewer.faults + n_faults, all.faults);
    assert!(fewer.entries < all.entries);
}
