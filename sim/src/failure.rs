//! What is kept of a failure: files in a folder of its own.
//!
//! Invariant: everything in the folder comes from one scenario, which stands beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagram::{self, Heading};
use crate::run::{Report, replay, run_scenario};
use crate::scenario::Scenario;
use crate::shrink::{Shrunk, shrink};
use crate::trace::Trace;

/// Lines of the chart before the violation.
const LINES: usize = 200;

/// Replays `scenario` and writes down what happened: the scenario, the end of the run as a text
/// chart, the whole of it as a page to look at, and all its events.
///
/// # Errors
/// If the folder cannot be made or written.
pub fn keep(folder: &Path, scenario: &Scenario) -> io::Result<(Report, Vec<PathBuf>)> {
    fs::create_dir_all(folder)?;
    let servers = scenario.plan.servers;
    let (report, trace) = run_scenario(scenario.clone(), Trace::full());
    let heading = Heading {
        title: format!("seed {:#x}", scenario.plan.seed),
        subtitle: report.violation.as_ref().map_or("all is well".to_owned(), |v| v.to_string()),
        command: command(folder),
        servers,
        clients: scenario.plan.clients.count,
    };
    let mut events = Vec::new();
    trace.write_lines(&mut events)?;
    let files = [
        ("scenario.ron", scenario.text().into_bytes()),
        ("chart.txt", trace.chart(servers, LINES).into_bytes()),
        ("trace.jsonl", events),
        ("diagram.html", diagram::page(&trace, &heading).into_bytes()),
    ];
    let mut written = Vec::new();
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::write(&path, bytes)?;
        written.push(path);
    }
    Ok((report, written))
}

/// The command that runs again what is kept in `folder`.
pub fn command(folder: &Path) -> String {
    format!("{} --file {}", replay(), folder.join("scenario.ron").display())
}

/// Makes `scenario` small with at most `runs` runs, and keeps what came of it in `folder`. `None`
/// if it breaks nothing.
///
/// # Errors
/// If the folder cannot be made or written.
pub fn keep_small(
    folder: &Path,
    scenario: &Scenario,
    runs: usize,
) -> io::Result<Option<(Shrunk, Vec<PathBuf>)>> {
    let Some(shrunk) = shrink(scenario, runs) else {
        return Ok(None);
    };
    let (_, written) = keep(folder, &shrunk.scenario)?;
    Ok(Some((shrunk, written)))
}
