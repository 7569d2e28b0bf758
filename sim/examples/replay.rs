//! Runs one seed and shows what happened: one column a server, time downwards.

use clap::Parser;
use zokor_sim::plan::Plan;
use zokor_sim::run::run;

/// Replays one seed of the stepped world.
#[derive(Parser)]
struct Options {
    /// The seed, as `0x...` or decimal.
    #[arg(long, value_parser = number)]
    seed: u64,
    /// How many of the last lines to show.
    #[arg(long, default_value_t = 200)]
    lines: usize,
}

fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
}

fn main() {
    let options = Options::parse();
    println!("{:#?}", Plan::new(options.seed));
    let report = run(options.seed, options.lines);
    print!("{}", report.chart);
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
