//! `zokor inspect`: what is in a server's folders, whether it is sound, and where two differ.
//!
//! Invariant: nothing is changed. The exit code is 1 if anything is damaged, or two folders differ.

mod compare;
mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use zokor_net::storage::{Inspection, ReadingDisk, inspect};

use crate::backup::read_backup;
use compare::compare;
use show::{Shown, print_state, state_of};

/// The arguments of `zokor inspect`.
#[derive(Args, Clone, Debug)]
#[command(after_help = WORDS)]
pub struct InspectArguments {
    /// A server's dataDir, or one file: a snapshot or a backup
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Its dataLogDir, if that is another folder
    #[arg(long, value_name = "DATALOGDIR")]
    pub log: Option<PathBuf>,
    /// Another server's dataDir: tells the first index where the two differ
    #[arg(long, value_name = "DATADIR")]
    pub against: Option<PathBuf>,
    /// Its dataLogDir, if that is another folder
    #[arg(long, value_name = "DATALOGDIR", requires = "against")]
    pub against_log: Option<PathBuf>,
    /// List every record of the log
    #[arg(long)]
    pub entries: bool,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// A server's folders, looked at.
struct Looked {
    disk: ReadingDisk,
    found: Inspection,
}

/// Inspects. An `Err` is one sentence for stderr.
pub fn run(arguments: &InspectArguments) -> Result<ExitCode, String> {
    if arguments.path.is_file() {
        let snapshot = read_backup(&arguments.path)?;
        let state = state_of(&snapshot);
        if arguments.json {
            println!("{state}");
        } else {
            print_state(&state);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let own = look(&arguments.path, arguments.log.as_deref())?;
    let shown = Shown::new(&own.found);
    let mut is_sound = own.found.damage.is_empty();
    let mut whole = if arguments.json { shown.to_json(arguments.entries) } else { json!(null) };
    if !arguments.json {
        shown.print(arguments.entries);
    }
    if let Some(path) = &arguments.against {
        let other = look(path, arguments.against_log.as_deref())?;
        is_sound &= other.found.damage.is_empty();
        let compared = compare(&own, &other)?;
        is_sound &= compared.is_same();
        if arguments.json {
            whole["other"] = Shown::new(&other.found).to_json(arguments.entries);
            whole["comparison"] = compared.to_json();
        } else {
            println!();
            Shown::new(&other.found).print(false);
            println!();
            compared.print();
        }
    }
    if arguments.json {
        println!("{whole}");
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(data: &Path, log: Option<&Path>) -> Result<Looked, String> {
    let open = |path: &Path| {
        ReadingDisk::new(path).map_err(|error| format!("cannot open {}: {error}", path.display()))
    };
    let disk = open(data)?;
    let log = log.map(open).transpose()?;
    let found = inspect(&disk, log.as_ref()).map_err(|error| error.to_string())?;
    Ok(Looked { disk, found })
}

const WORDS: &str = "\
The exit code is 1 if anything is damaged; what, in which file and at which offset, stands at the
end. The folder of a server at work may be inspected: the end of its log then moves, and a look that
finds damage there may be wrong and is worth a second one.

Examples:
  zokor inspect /var/lib/zokor
  zokor inspect /var/lib/zokor --entries --json
  zokor inspect /var/lib/zokor --against /mnt/other/zokor";
