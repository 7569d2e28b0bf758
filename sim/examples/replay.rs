//! Runs one seed or one scenario file and shows what happened.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;
use zokor_mutants::{Mutant, with};
use zokor_sim::failure;
use zokor_sim::run::{self, Report, run_scenario};
use zokor_sim::scenario::Scenario;
use zokor_sim::sweep::number;
use zokor_sim::trace::Trace;
use zokor_sim::whole::{self, Scene};

/// Replays one seed, or one scenario file, and shows what happened.
///
/// Time runs downwards, with one column a server.
#[derive(Parser)]
struct Options {
    /// The seed, as `0x...` or decimal.
    #[arg(long, value_parser = number, required_unless_present = "file")]
    seed: Option<u64>,
    /// A scenario file instead.
    #[arg(long, conflicts_with = "seed")]
    file: Option<PathBuf>,
    /// Run whole servers, in this scene, instead of replicas alone.
    #[arg(long, value_name = "SCENE", num_args = 0..=1, default_missing_value = "Storm")]
    whole: Option<Scene>,
    /// With a deliberate defect: its number (`M07`) or its name.
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
    /// How many of the last lines to show.
    #[arg(long, default_value_t = 200)]
    lines: usize,
    /// Show the scenario as a text, which `--file` reads again, and run nothing.
    #[arg(long)]
    scenario: bool,
    /// Keep the scenario and what happened in files of this folder.
    #[arg(long, conflicts_with = "whole")]
    keep: Option<PathBuf>,
    /// Make the failure small first, with at most so many runs.
    #[arg(long, value_name = "RUNS", num_args = 0..=1, default_missing_value = "3000")]
    #[arg(requires = "keep")]
    shrink: Option<usize>,
    /// Print what servers log, too, at this level and above, as it is said.
    #[arg(long, value_name = "LEVEL")]
    log: Option<LevelFilter>,
}

fn mutant(text: &str) -> Result<Mutant, String> {
    match Mutant::named(text)[..] {
        [mutant] => Ok(mutant),
        [] => Err("there is no such mutant; the example `mutants` lists them".to_owned()),
        ref several => Err(format!("one of {several:?}")),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(level) = options.log {
        // Without times: those of the machine say nothing about a simulated world.
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .without_time()
            .init();
    }
    match with(options.mutant, || replay(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all was well.
fn replay(options: &Options) -> Result<bool, String> {
    let scenario = scenario(options)?;
    if options.scenario {
        println!("{}", scenario.text());
        return Ok(true);
    }
    if let Some(scene) = options.whole {
        let report = match options.seed {
            Some(seed) => whole::play(scene, seed, options.lines),
            None if scene == Scene::Storm => whole::play_scenario(&scenario, options.lines),
            None => return Err(format!("a file is played as a storm, not as {scene}")),
        };
        print!("{}", report.chart);
        let report = Report::from(report);
        return Ok(tell(&report, &command(options, &report)));
    }
    if let Some(folder) = &options.keep {
        return keep(folder, &scenario, options.shrink).map_err(|error| error.to_string());
    }
    let servers = scenario.plan.servers;
    let (report, trace) = run_scenario(scenario, Trace::full());
    print!("{}", trace.chart(servers, options.lines));
    Ok(tell(&report, &command(options, &report)))
}

/// The command that runs the same again.
fn command(options: &Options, report: &Report) -> String {
    let whole = if options.whole.is_some() { "--whole " } else { "" };
    match &options.file {
        Some(file) => format!("{} {whole}--file {}", run::replay(), file.display()),
        None => report.command(),
    }
}

fn scenario(options: &Options) -> Result<Scenario, String> {
    let Some(file) = &options.file else {
        let seed = options.seed.expect("clap asks for one of the two");
        return Ok(options
            .whole
            .map_or_else(|| Scenario::of_seed(seed), |scene| whole::scenario(scene, seed)));
    };
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    Scenario::read(&text).map_err(|error| format!("{name}: {error}"))
}

fn keep(folder: &Path, scenario: &Scenario, runs: Option<usize>) -> std::io::Result<bool> {
    let small = match runs {
        Some(runs) => failure::keep_small(folder, scenario, runs)?.map(|(shrunk, _)| shrunk),
        None => None,
    };
    if let Some(shrunk) = &small {
        let (faults, steps) = (shrunk.faults(), shrunk.steps());
        println!("{faults} faults and {steps} steps are left after {} runs", shrunk.runs);
    }
    let scenario = small.map_or_else(|| scenario.clone(), |shrunk| shrunk.scenario);
    let (report, files) = failure::keep(folder, &scenario)?;
    files.iter().for_each(|file| println!("{}", file.display()));
    Ok(tell(&report, &failure::command(folder)))
}

fn tell(report: &Report, command: &str) -> bool {
    println!(
        "{} events, {} faults, {} elections, {} entries, {:.3} s, hash {:016x}",
        report.events,
        report.faults,
        report.elections,
        report.committed,
        report.time as f64 / 1e6,
        report.hash
    );
    match &report.violation {
        Some(violation) => println!("{violation}\n  {command}"),
        None => println!("all is well"),
    }
    report.violation.is_none()
}
