//! Writes the scenarios of the first seeds as bytes: where the fuzz target `scenario` begins.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Parser;
use zokor_sim::bytes;

/// Writes the scenarios of the first seeds as a fuzzer's corpus.
#[derive(Parser)]
struct Options {
    /// The folder.
    folder: PathBuf,
    /// How many.
    #[arg(default_value_t = 100)]
    seeds: u64,
}

fn main() -> io::Result<()> {
    let Options { folder, seeds } = Options::parse();
    fs::create_dir_all(&folder)?;
    for seed in 0..seeds {
        fs::write(folder.join(format!("seed-{seed}")), bytes::of_seed(seed))?;
    }
    Ok(())
}
