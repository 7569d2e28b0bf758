//! Runs many seeds and says what came of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use zokor_sim::failure;
use zokor_sim::probe::quotas;
use zokor_sim::run::{Report, Worlds};
use zokor_sim::scenario::Scenario;
use zokor_sim::sweep::{Summary, Sweep, number};
use zokor_sim::whole::Scene;

/// Runs many seeds, and shows rare states and failures.
///
/// Each failure comes with the command that replays it; the first one is also made small and kept.
#[derive(Parser)]
struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// Stop after so many seconds instead.
    #[arg(long, conflicts_with = "seeds")]
    seconds: Option<u64>,
    /// Where to begin, as `0x...` or decimal; another base gives other seeds. By default a fresh
    /// one, from the clock.
    #[arg(long, value_parser = number)]
    base: Option<u64>,
    /// Run whole servers, in this scene, instead of replicas alone.
    #[arg(long, value_name = "SCENE", num_args = 0..=1, default_missing_value = "Storm")]
    whole: Option<Scene>,
    /// On how many cores; by default all.
    #[arg(long)]
    jobs: Option<usize>,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 10)]
    failures: u64,
    /// Runs that making a failure small may take.
    #[arg(long, default_value_t = 3_000)]
    shrink: usize,
    /// Where to keep the files of a failure.
    #[arg(long, default_value = "target/sim-failures")]
    keep: PathBuf,
    /// Fail if a listed rare state was never seen in as many seeds as its quota allows.
    #[arg(long)]
    quotas: bool,
    /// One JSON object in place of the table, for programs.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome<'a> {
    base: u64,
    wall_seconds: f64,
    cpu_seconds: f64,
    seeds_per_cpu_second: f64,
    missed: &'a [String],
    #[serde(flatten)]
    summary: &'a Summary,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let world = options.whole.map_or(Worlds::Stepped, Worlds::Whole);
    let seeds = if options.seconds.is_some() { u64::MAX } else { options.seeds };
    let mut sweep = Sweep::new(world, seeds);
    sweep.base = options.base.unwrap_or_else(fresh_base);
    sweep.jobs = options.jobs.unwrap_or(sweep.jobs);
    let begun = Instant::now();
    let bar = bar(&options, sweep.base);
    let seen = Seen::default();
    let until = options.seconds.map(|seconds| begun + Duration::from_secs(seconds));
    let summary = sweep.run(|report| {
        seen.add(report);
        if let Some(failure) = report.failure() {
            bar.suspend(|| eprintln!("{failure}"));
        }
        bar.inc(1);
        bar.set_message(seen.message());
        let enough = seen.failures.load(Ordering::Relaxed) >= options.failures;
        !enough && until.is_none_or(|until| Instant::now() < until)
    });
    bar.finish_and_clear();
    let missed = if options.quotas { summary.missed(quotas(world)) } else { Vec::new() };
    print(&options, sweep.base, begun, &summary, &missed);
    keep_first(&options, &summary);
    if summary.failures.is_empty() && missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Other seeds each time, printed so that anybody can have the same.
fn fresh_base() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64)
}

fn bar(options: &Options, base: u64) -> ProgressBar {
    eprintln!("base {base:#x}");
    if options.json {
        return ProgressBar::hidden();
    }
    let style = match options.seconds {
        None => "{bar:24} {pos}/{len} seeds, {per_sec}, {eta} left, {msg}",
        Some(_) => "{spinner} {pos} seeds, {per_sec}, {elapsed}, {msg}",
    };
    let style = ProgressStyle::with_template(style).expect("the template is right");
    let bar = match options.seconds {
        None => ProgressBar::new(options.seeds),
        Some(_) => ProgressBar::new_spinner(),
    };
    bar.with_style(style)
}

/// What the progress bar tells.
#[derive(Default)]
struct Seen {
    micros: AtomicU64,
    faults: AtomicU64,
    probes: std::sync::Mutex<zokor_sim::probe::Probes>,
    failures: AtomicU64,
}

impl Seen {
    fn add(&self, report: &Report) {
        self.micros.fetch_add(report.time, Ordering::Relaxed);
        self.faults.fetch_add(report.faults, Ordering::Relaxed);
        self.failures.fetch_add(u64::from(report.violation.is_some()), Ordering::Relaxed);
        self.probes.lock().expect("nobody panics with it").add(&report.probes);
    }

    fn message(&self) -> String {
        let minutes = self.micros.load(Ordering::Relaxed) / 60_000_000;
        let probes = self.probes.lock().expect("nobody panics with it").iter().count();
        format!(
            "{minutes} simulated minutes, {} faults, {probes} rare states, {} failed",
            self.faults.load(Ordering::Relaxed),
            self.failures.load(Ordering::Relaxed)
        )
    }
}

fn print(options: &Options, base: u64, begun: Instant, summary: &Summary, missed: &[String]) {
    let wall_seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds();
    let seeds_per_cpu_second = summary.runs as f64 / cpu_seconds.max(1e-9);
    if options.json {
        let outcome =
            Outcome { base, wall_seconds, cpu_seconds, seeds_per_cpu_second, missed, summary };
        println!("{}", serde_json::to_string(&outcome).expect("an outcome is plain data"));
        return;
    }
    print!("{summary}");
    missed.iter().for_each(|sentence| println!("  MISSED  {sentence}"));
    println!(
        "{wall_seconds:.1} s, {cpu_seconds:.1} s of processor time, {seeds_per_cpu_second:.1} \
         seeds in each of them; hash {:016x}",
        summary.hash
    );
}

/// Processor time of this process, from `/proc`; 0 where there is none.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in brackets; fields 14 and 15 of `proc(5)`, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn keep_first(options: &Options, summary: &Summary) {
    let Some(first) = summary.failures.first().filter(|first| first.world == Worlds::Stepped)
    else {
        return;
    };
    let folder = options.keep.join(format!("{:#x}", first.seed));
    eprintln!("making {:#x} small ...", first.seed);
    match failure::keep_small(&folder, &Scenario::of_seed(first.seed), options.shrink) {
        Ok(Some((shrunk, files))) => {
            eprintln!(
                "{} faults and {} steps are left after {} runs:",
                shrunk.faults(),
                shrunk.steps(),
                shrunk.runs
            );
            files.iter().for_each(|file| eprintln!("  {}", file.display()));
        }
        Ok(None) => eprintln!("it does not fail a second time: the run does not repeat"),
        Err(error) => eprintln!("{}: {error}", folder.display()),
    }
}
