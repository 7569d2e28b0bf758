//! Many seeds of the stepped world. `SIM_SEEDS` says how many, `SIM_SEED` names one.

use zokor_sim::run::run_scenario;
use zokor_sim::scenario::Scenario;
use zokor_sim::sweep::sweep;
use zokor_sim::trace::Trace;

const DEFAULT_SEEDS: u64 = 300;

#[test]
fn every_property_holds_in_many_runs() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        let seed = match seed.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => seed.parse(),
        };
        let scenario = Scenario::of_seed(seed.expect("SIM_SEED is a number"));
        let servers = scenario.plan.servers;
        let (report, trace) = run_scenario(scenario, Trace::full());
        let failure = report.failure().unwrap_or_default();
        assert!(report.violation.is_none(), "{}{failure}", trace.chart(servers, 200));
        return;
    }
    let seeds = std::env::var("SIM_SEEDS").map_or(DEFAULT_SEEDS, |n| n.parse().expect("a number"));
    let summary = sweep(0, seeds, |_| {});
    println!("{summary}");
    let failures: Vec<String> =
        summary.failures.iter().filter_map(|report| report.failure()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
