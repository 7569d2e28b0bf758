//! Many seeds of the stepped world. `SIM_SEEDS` says how many, from `SIM_BASE` on, on `SIM_JOBS`
//! cores; `SIM_SEED` names one and shows it.

use zokor_sim::probe::quotas;
use zokor_sim::run::{Worlds, run_scenario};
use zokor_sim::scenario::Scenario;
use zokor_sim::sweep::{Sweep, knob};
use zokor_sim::trace::Trace;

const SEEDS: u64 = 2_000;

#[test]
fn every_property_holds_in_many_runs() {
    if let Some(seed) = knob(&["SIM_SEED"]) {
        let scenario = Scenario::of_seed(seed);
        let servers = scenario.plan.servers;
        let (report, trace) = run_scenario(scenario, Trace::full());
        let failure = report.failure().unwrap_or_default();
        assert!(report.violation.is_none(), "{}{failure}", trace.chart(servers, 200));
        return;
    }
    let summary = Sweep::from_env(Worlds::Stepped, SEEDS).run(|report| {
        if let Some(failure) = report.failure() {
            eprintln!("{failure}");
        }
        true
    });
    println!("{summary}");
    let failures: Vec<String> =
        summary.failures.iter().filter_map(|report| report.failure()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let missed = summary.missed(quotas(Worlds::Stepped));
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
