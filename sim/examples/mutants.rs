//! Looks for every mutant of the catalogue, and fails if one is not found within its budget.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use clap::Parser;
use zokor_mutants::Mutant;
use zokor_sim::mutation::{CATALOGUE, Case, Hunt, Standing, Where, case, hunt, small};

/// Measures the simulator by the mutants that it finds.
#[derive(Parser)]
struct Options {
    /// Only these: a row (`M05`), a number (`M05a`) or a name; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Multiplies every budget.
    #[arg(long, default_value_t = 1.0)]
    budget_factor: f64,
    /// Looks for those too that are masked or wait for something, which may be in vain.
    #[arg(long)]
    all: bool,
    /// Prints one object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Says in a sentence what was found.
    #[arg(long)]
    sentences: bool,
    /// Makes the runs that were found in the stepped world small and keeps them in this folder, one
    /// file a mutant.
    #[arg(long, value_name = "DIR")]
    shrink: Option<PathBuf>,
    /// Runs for each of them, at most.
    #[arg(long, default_value_t = 1_500)]
    runs: usize,
}

/// A file that is longer is not kept.
const MAX_BYTES: usize = 20 << 10;

fn main() {
    let options = Options::parse();
    // A mutant may well run into an assertion: that is a hit, and no news.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let (mut firsts, mut missed, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for case in chosen(&options.only) {
        let is_sought = case.standing == Standing::Sought;
        if !is_sought && !options.all && options.only.is_empty() {
            tell_unsought(case, options.json);
            continue;
        }
        let budget = ((case.budget as f64 * options.budget_factor) as u64).max(1);
        let hunt = hunt(case, budget);
        tell(case, &hunt, &options);
        match &hunt.hit {
            Some(_) => {
                firsts.push(hunt.tried);
                found.push((case, hunt));
            }
            None if is_sought => missed.push(case.mutant),
            None => {}
        }
    }
    if !options.json {
        firsts.sort_unstable();
        let median = firsts.get(firsts.len() / 2).copied().unwrap_or_default();
        let (n, seconds) = (firsts.len(), begun.elapsed().as_secs());
        println!("{n} found, the median at seed {median}; {} missed; {seconds} s", missed.len());
    }
    if let Some(folder) = &options.shrink {
        shrink_all(folder, found, options.runs);
    }
    if !missed.is_empty() {
        let names: Vec<String> = missed.iter().map(Mutant::to_string).collect();
        eprintln!("not found within the budget: {}", names.join(", "));
        std::process::exit(1);
    }
}

/// Shrinks what was found, one after the other on each core.
fn shrink_all(folder: &Path, mut found: Vec<(&Case, Hunt)>, runs: usize) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    found.retain(|(case, _)| case.place == Where::Stepped);
    found.reverse();
    let left = Mutex::new(found);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no worker panics with it").pop();
                    let Some((case, hunt)) = next else { break };
                    shrink_one(folder, case, &hunt, runs);
                }
            });
        }
    });
}

fn shrink_one(folder: &Path, case: &Case, hunt: &Hunt, runs: usize) {
    let begun = Instant::now();
    let shrunk = hunt.hit.as_ref().and_then(|hit| small(case, hit, runs));
    let Some(shrunk) = shrunk else { return };
    let text = shrunk.scenario.text();
    let is_kept = text.len() <= MAX_BYTES;
    if is_kept {
        let name = format!("{}-{:?}.ron", case.mutant.number(), case.mutant);
        std::fs::write(folder.join(name), &text).expect("the folder can be written to");
    }
    let plan = &shrunk.scenario.plan;
    println!(
        "{:<36} {:>3} faults {:>3} steps {:>2} servers {:>5} runs {:>5.1} s {:>6} bytes{} {}",
        case.mutant.to_string(),
        shrunk.faults(),
        shrunk.steps(),
        plan.servers,
        shrunk.runs,
        begun.elapsed().as_secs_f64(),
        text.len(),
        if is_kept { "" } else { " (too many)" },
        shrunk.check
    );
}

fn chosen(only: &[String]) -> Vec<&'static Case> {
    if only.is_empty() {
        return CATALOGUE.iter().collect();
    }
    let mut cases = Vec::new();
    for name in only {
        let mutants = Mutant::named(name);
        if mutants.is_empty() {
            eprintln!("there is no mutant {name}");
            std::process::exit(2);
        }
        cases.extend(mutants.into_iter().map(case));
    }
    cases
}

fn tell(case: &Case, hunt: &Hunt, options: &Options) {
    let found = hunt.hit.as_ref();
    let check = found.map_or("", |hit| hit.violation.check);
    let is_other = found.is_some() && !case.expects(check);
    if options.json {
        let seed = found.map_or("null".to_owned(), |hit| format!("\"{:#x}\"", hit.seed));
        let sentence = found.map_or("", |hit| &hit.violation.sentence);
        println!(
            "{{\"mutant\":{},\"name\":{},\"place\":{},\"budget\":{},\"tried\":{},\"found\":{},\
             \"seed\":{seed},\"check\":{},\"expected\":{},\"sentence\":{}}}",
            quoted(case.mutant.number()),
            quoted(&format!("{:?}", case.mutant)),
            quoted(&format!("{:?}", case.place)),
            case.budget,
            hunt.tried,
            found.is_some(),
            quoted(check),
            !is_other,
            quoted(sentence),
        );
        return;
    }
    let Case { mutant, place, expected, budget, .. } = case;
    let tried = if found.is_some() { hunt.tried.to_string() } else { "none".to_owned() };
    println!(
        "{:<36} {:<12} {:>5} of {:<5} {:<16} {check}{}",
        mutant.to_string(),
        format!("{place:?}"),
        tried,
        budget,
        expected.join(" "),
        if is_other { " (another)" } else { "" }
    );
    if let Some(hit) = found.filter(|_| options.sentences) {
        let scene = hit.scene.map(|scene| format!("{scene} ")).unwrap_or_default();
        let sentence: String = hit.violation.sentence.chars().take(300).collect();
        println!("    {scene}{:#x}: {sentence}", hit.seed);
    }
}

fn tell_unsought(case: &Case, json: bool) {
    let (why, reason) = match case.standing {
        Standing::Sought => return,
        Standing::Masked(reason) => ("masked", reason),
        Standing::Waits(reason) => ("waits for", reason),
    };
    if json {
        let (number, name) = (case.mutant.number(), format!("{:?}", case.mutant));
        println!(
            "{{\"mutant\":{},\"name\":{},\"standing\":{},\"reason\":{}}}",
            quoted(number),
            quoted(&name),
            quoted(why),
            quoted(reason)
        );
    } else {
        println!("{:<36} {why}: {reason}", case.mutant.to_string());
    }
}

/// A text of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
