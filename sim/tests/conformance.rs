//! What happens in the stepped world is allowed by the model of the protocol (`zokor-spec`), action
//! by action. `SIM_SEEDS` says how many seeds.

use zokor_sim::scenario::Scenario;
use zokor_sim::sweep::seed;
use zokor_sim::trace::Trace;
use zokor_sim::world::stepped::World;

#[test]
fn every_action_of_many_runs_is_allowed_by_the_model() {
    let seeds = std::env::var("SIM_SEEDS").map_or(300, |n| n.parse().expect("a number"));
    let (mut actions, mut refused) = (0, Vec::new());
    for seed in (0..seeds).map(|n| seed(1, n)) {
        let mut world = World::new(Scenario::of_seed(seed), Trace::off());
        let verdict = world.run();
        actions += world.modelled();
        if let Err(violation) = verdict {
            refused.push(format!("{seed:#x}: {violation}"));
        }
    }
    println!("{seeds} runs, {actions} actions");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(actions > seeds * 100, "hardly anything happened");
}
