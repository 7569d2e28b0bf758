//! What people build on such a service, under faults.

use std::collections::BTreeSet;

use zokor_sim::fault::{CrashPoint, Fault, Word};
use zokor_sim::script::{Script, at_path, create, micros, persistent};
use zokor_sim::workload::{Op, ZnodeKind};

use crate::tell_some;

const SERVICES: u64 = 170;

/// 170 services register below one parent, watch it, and come and go, also over a crash of the
/// leader. If it were broken, an event would be missed or come twice (V1, V2, V6), a registration
/// would outlive its service or be lost (S1, S3), or a session expire though its service is well.
#[test]
fn services_that_register_and_watch_each_other_lose_nothing_over_a_crash_of_the_leader() {
    let register = || create("/services/s-", ZnodeKind::EphemeralSequential);
    let watch = || Op::List(at_path("/services"), true, false);
    let mut script = Script::calm(5)
        .led()
        .heals_at(7.0)
        .with(|plan| plan.clients.window = 4)
        .client(SERVICES + 1, 0.9, persistent("/services"))
        .at(3.0, Fault::CrashLeader(CrashPoint::Say(Word::Append, 5), micros(0.5)));
    for number in 1..=SERVICES {
        let late = number as f64 / 300.0;
        script = script
            .client(number, 1.2 + late, register())
            .client(number, 1.25 + late, watch())
            .client(number, 2.2 + late / 4.0, watch())
            .client(number, 4.2 + late, watch())
            .client(number, 5.5 + late, watch());
        if number % 3 == 0 {
            script =
                script.client(number, 1.9 + late, Op::Close).client(number, 4.6 + late, register());
        }
    }
    tell_some(2, &script, |story| {
        story.until(2.95);
        story.saw("watch fired");
        story.until(5.2);
        story.saw("crash at an effect");
        story.until(6.9);
        let state = story.world.tree();
        let below = state.nodes.iter().filter(|(path, _)| path.starts_with("/services/s-"));
        let owners: Vec<_> = below.map(|(_, node)| node.owner().expect("ephemeral")).collect();
        let distinct: BTreeSet<_> = owners.iter().copied().collect();
        assert_eq!(distinct.len(), owners.len(), "each service is there once");
        assert!(distinct.iter().all(|owner| state.sessions.contains_key(owner)));
        assert!(owners.len() as u64 >= SERVICES - 10, "{} are there", owners.len());
        assert_eq!(story.world.n_expired(), 0);
        assert!(story.count("watch fired") > 400);
    });
}

/// A lock: who has the lowest number holds it; its holder dies with its server, and goes on at
/// another one, or closes. If it were broken, two would own one number, or the dead would keep it.
#[test]
fn a_lock_passes_on_when_its_holder_leaves_and_not_when_its_server_dies() {
    let queue = || create("/lock-", ZnodeKind::EphemeralSequential);
    let script = Script::calm(3)
        .led()
        .heals_at(9.0)
        .home(1, 3)
        .client(1, 1.6, queue())
        .client(2, 2.2, queue())
        .client(3, 2.2, queue())
        .at(2.6, zokor_sim::script::crash(&[3], 1.0))
        .client(1, 8.0, Op::Close);
    tell_some(20, &script, |story| {
        let holder = |story: &crate::Story| {
            let nodes = &story.world.tree().nodes;
            nodes.iter().find(|(path, _)| path.starts_with("/lock-")).map(|(path, _)| path.clone())
        };
        story.until(2.55);
        let first = holder(story).expect("somebody holds it");
        story.until(7.9);
        assert_eq!(holder(story), Some(first.clone()), "its session goes on elsewhere");
        story.until(8.8);
        let next = holder(story).expect("the next holds it");
        assert!(next > first);
    });
}
