//! What is kept of a failure: files in a folder of its own.
//!
//! Invariant: everything in the folder comes from one scenario, which stands beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::run::{Report, run_scenario};
use crate::scenario::Scenario;
use crate::shrink::{Shrunk, shrink};
use crate::trace::Trace;

/// Lines of the chart before the violation.
const LINES: usize = 200;

/// Replays `scenario` and writes down what happened: `scenario.ron` and `chart.txt`.
///
/// # Errors
/// If the folder cannot be made or written.
pub fn keep(folder: &Path, scenario: &Scenario) -> io::Result<(Report, Vec<PathBuf>)> {
    fs::create_dir_all(folder)?;
    let servers = scenario.plan.servers;
    let (report, trace) = run_scenario(scenario.clone(), Trace::full());
    let files = [("scenario.ron", scenario.text()), ("chart.txt", trace.chart(servers, LINES))];
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text)?;
        written.push(path);
    }
    Ok((report, written))
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
