//! Plays the scenario that the bytes say in the stepped world, before all its judges.
#![no_main]

use zokor_sim::bytes;
use zokor_sim::run::run_scenario;
use zokor_sim::trace::Trace;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let scenario = bytes::scenario(input);
    let text = scenario.text();
    let (report, _) = run_scenario(scenario, Trace::off());
    if let Some(violation) = report.violation {
        panic!("{violation}\n{text}");
    }
});
