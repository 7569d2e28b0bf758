//! Runs one scenario and shows what happened: one column a server, time downwards.

use std::path::PathBuf;

use clap::Parser;
use zokor_sim::run::run_scenario;
use zokor_sim::scenario::Scenario;
use zokor_sim::trace::Trace;

/// Replays one seed, or one scenario file, in the stepped world.
#[derive(Parser)]
struct Options {
    /// The seed, as `0x...` or decimal.
    #[arg(long, value_parser = number, required_unless_present = "file")]
    seed: Option<u64>,
    /// A scenario file instead.
    #[arg(long, conflicts_with = "seed")]
    file: Option<PathBuf>,
    /// How many of the last lines to show.
    #[arg(long, default_value_t = 200)]
    lines: usize,
    /// Show the scenario as a text, which `--file` reads again.
    #[arg(long)]
    scenario: bool,
}

fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
}

fn scenario(options: &Options) -> Result<Scenario, String> {
    let Some(file) = &options.file else {
        return Ok(Scenario::of_seed(options.seed.expect("clap asks for one of the two")));
    };
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    Scenario::read(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn main() {
    let options = Options::parse();
    let scenario = scenario(&options).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    if options.scenario {
        println!("{}", scenario.text());
        return;
    }
    let servers = scenario.plan.servers;
    println!("{:#?}", scenario.plan);
    let (report, trace) = run_scenario(scenario, Trace::full());
    print!("{}", trace.chart(servers, options.lines));
    println!(
        "{} events, {} faults, {} elections, {} entries, {:.3} s, hash {:016x}",
        report.events,
        report.faults,
        report.elections,
        report.committed,
        report.time as f64 / 1e6,
        report.hash
    );
    match report.failure() {
        Some(failure) => {
            println!("{failure}");
            std::process::exit(1);
        }
        None => println!("all is well"),
    }
}
