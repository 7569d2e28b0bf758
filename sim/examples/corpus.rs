//! Writes what the first seeds say as bytes: where the fuzz targets `scenario` and `apply` begin.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Parser;
use zokor_sim::{applying, bytes};

/// Writes the scenarios of the first seeds, or logs, as a fuzzer's corpus.
#[derive(Parser)]
struct Options {
    /// The folder.
    folder: PathBuf,
    /// How many.
    #[arg(default_value_t = 100)]
    seeds: u64,
    /// Logs of so many transactions, for `apply`, in place of scenarios.
    #[arg(long)]
    transactions: Option<usize>,
}

fn main() -> io::Result<()> {
    let Options { folder, seeds, transactions } = Options::parse();
    fs::create_dir_all(&folder)?;
    for seed in 0..seeds {
        let bytes = match transactions {
            Some(steps) => applying::of_seed(seed, steps),
            None => bytes::of_seed(seed),
        };
        fs::write(folder.join(format!("seed-{seed}")), bytes)?;
    }
    Ok(())
}
