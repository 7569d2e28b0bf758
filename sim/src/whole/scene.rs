//! The scenarios of the scenes, and what of any other scenario this world can play.
//!
//! Invariant: in a scene that is about one thing nothing varies but what the seed draws inside the
//! ordinary: latencies, who connects where, what is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Scene;
use crate::fault::Timed;
use crate::plan::{ClientPlan, CorePlan, DiskPlan, NetworkPlan, Plan, ProcessPlan, SectorPlan};
use crate::scenario::Scenario;

/// `scenario` without what whole servers cannot do yet: servers that are no members do not run, and
/// nobody changes the membership; a majority decides; disks are empty at the beginning. Faults that
/// wait for a point of a server (`Fault::When`) do not strike, and of the recovery only the dead
/// clients count: everything heals at once.
pub(super) fn playable(mut scenario: Scenario) -> Scenario {
    let plan = &mut scenario.plan;
    plan.servers -= plan.members.spares;
    plan.members.spares = 0;
    plan.members.changes = false;
    plan.members.groups.clear();
    plan.origin = None;
    let members: BTreeSet<u64> = (1..=plan.servers).collect();
    let faults = std::mem::take(&mut scenario.faults).into_iter();
    let faults = faults.filter_map(|Timed { at, fault }| {
        // Whoever leads is a member.
        Some(Timed { at, fault: fault.only(&members, Some(1))? })
    });
    scenario.faults = faults.collect();
    scenario.faults.sort_by_key(|timed| timed.at);
    scenario
}

/// The plan of `scene` by `seed`.
pub(super) fn plan(scene: Scene, seed: u64) -> Plan {
    let servers = match scene {
        Scene::Storm => return storm(seed),
        Scene::LeaderDies
        | Scene::LeaderCutOff
        | Scene::LeaderUnheard
        | Scene::PowerCut
        | Scene::Ruin
        | Scene::LinksSwallowed
        | Scene::NetworksInTurn
        | Scene::DisksInTurn => 3,
        Scene::Bridge => 5,
    };
    Plan {
        servers,
        calm: true,
        // Clients have things to do for as long as any scene lasts.
        fault_time: 60_000_000,
        buggify: false,
        core: core(),
        network: NetworkPlan { latency_min: 200, latency_spread: 1_000, ..NetworkPlan::default() },
        disk: DiskPlan {
            latency_min: 500,
            latency_spread: 3_000,
            sectors: (scene == Scene::DisksInTurn).then(|| SectorPlan::mending(4 << 20)),
            ..DiskPlan::default()
        },
        process: ProcessPlan::default(),
        clients: ClientPlan {
            count: 8,
            interval: 20_000,
            window: 4,
            watches: true,
            syncs: true,
            multis: true,
            paths: 6,
            ..ClientPlan::default()
        },
        ..Plan::new(seed).voters_only()
    }
}

/// The stepped world's plan. Half of the storms come over busy clients, so that leaders die with
/// writes under way.
fn storm(seed: u64) -> Plan {
    let mut plan = Plan::new(seed).voters_only();
    plan.disk.sectors = Some(SectorPlan::new(seed, plan.calm, false));
    plan.throttles = true;
    if seed.is_multiple_of(2) {
        plan.clients.count = 6;
        plan.clients.interval /= 5;
        plan.clients.window = 8;
    }
    plan
}

fn core() -> CorePlan {
    CorePlan {
        heartbeat_interval: Duration::from_millis(50),
        election_timeout: Duration::from_millis(300),
        disk_stall_timeout: Duration::from_secs(2),
        max_append_bytes: 64 << 10,
        max_appends_in_flight: 64,
        keep_entries: 500,
        snapshot_entries: 300,
        min_session_timeout_ms: 4_000,
        max_session_timeout_ms: 8_000,
        upkeep_interval: Duration::from_millis(300),
        orphan_timeout: Duration::from_secs(2),
        resend_interval: Duration::from_secs(1),
        slowness: Vec::new(),
        counter_bits: None,
        rules: Vec::new(),
        reap_interval_ms: None,
        reap_unused_ms: 0,
    }
}
