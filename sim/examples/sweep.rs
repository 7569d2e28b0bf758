//! Runs many seeds and says what came of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use zokor_sim::sweep::sweep;

/// Runs many seeds of the stepped world.
#[derive(Parser)]
struct Options {
    /// How many.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// Where to begin; another base gives other seeds.
    #[arg(long, default_value_t = 0)]
    base: u64,
    /// Failures to print at most.
    #[arg(long, default_value_t = 10)]
    failures: usize,
}

fn main() {
    let options = Options::parse();
    let begun = Instant::now();
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let summary = sweep(options.base, options.seeds, |report| {
        if let Some(failure) = report.failure()
            && failed.fetch_add(1, Ordering::Relaxed) < options.failures as u64
        {
            println!("{failure}");
        }
        let n = done.fetch_add(1, Ordering::Relaxed) + 1;
        if n % (options.seeds / 10).max(100) == 0 {
            let rate = n as f64 / begun.elapsed().as_secs_f64();
            println!("{n} of {}, {rate:.1} a second", options.seeds);
        }
    });
    print!("{summary}");
    let seconds = begun.elapsed().as_secs_f64();
    println!("{:.1} seeds a second, {seconds:.1} s", summary.runs as f64 / seconds);
    if !summary.failures.is_empty() {
        std::process::exit(1);
    }
}
