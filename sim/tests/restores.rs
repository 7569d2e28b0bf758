//! Restores in the stepped world, under everything else that goes wrong there.
//!
//! All checks are on. The one that knows no model, that one order explains all that clients were
//! told, is left out of what comes after a restore: it cannot know what was taken back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use zokor_chance::Chance;
use zokor_sim::fault::{Fault, Timed};
use zokor_sim::probe::Probes;
use zokor_sim::rng::{Concern, Stream};
use zokor_sim::scenario::Scenario;
use zokor_sim::sweep;
use zokor_sim::trace::Trace;
use zokor_sim::world::stepped::World;

/// How many runs.
const SEEDS: u64 = 600;

/// A drawn run in which operators restore some states, too.
fn scenario(n: u64) -> Scenario {
    let seed = sweep::seed(0x7265_7374_6f72, n);
    let mut scenario = Scenario::of_seed(seed);
    let s = &mut Stream::new(seed, Concern::Extra);
    let until = scenario.plan.fault_time;
    for _ in 0..s.between(1, 5) {
        let at = s.between(1_500_000, until - 1);
        let server = s.between(1, scenario.plan.servers);
        let fault = Fault::Restore(server, s.log_between(1, 200));
        scenario.faults.push(Timed { at, fault });
    }
    scenario.faults.sort_by_key(|timed| timed.at);
    scenario
}

/// The state of server 3 is made wrong, a snapshot is made of it, a restore makes the state right,
/// and the server starts anew from that snapshot: the check is not to be surprised.
#[test]
fn a_restore_makes_right_what_is_wrong_in_a_snapshot_still() {
    assert_eq!(World::new(scenario(1366), Trace::off()).run(), Ok(()));
}

/// What was under way when the power went lies behind damage, and is found at two starts.
#[test]
fn what_was_asked_for_is_known_until_the_repair_is_over() {
    assert_eq!(World::new(scenario(1147), Trace::off()).run(), Ok(()));
}

#[test]
fn restores_among_crashes_and_partitions_leave_what_was_asked_for_or_what_was() {
    let mut probes = Probes::default();
    let mut failures = Vec::new();
    for n in 0..SEEDS {
        let mut world = World::new(scenario(n), Trace::off());
        match catch_unwind(AssertUnwindSafe(|| world.run())) {
            Ok(Ok(())) => {}
            Ok(Err(violation)) => failures.push(format!("run {n}: {violation}")),
            Err(_) => failures.push(format!("run {n}: an assertion fails, see above")),
        }
        probes.add(&world.probes());
    }
    assert!(failures.is_empty(), "{} of {SEEDS}:\n{}", failures.len(), failures.join("\n"));
    for (probe, least) in [
        ("restore done", SEEDS / 2),
        ("restore refused beside another", 1),
        ("restore with an unknown end", 1),
        ("closed: session ended", 1),
        (Chance::SmallPiece.deviation(), 1),
    ] {
        assert!(probes.count(probe) >= least, "{probe}: {}", probes.count(probe));
    }
}
