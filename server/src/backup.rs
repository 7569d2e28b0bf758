//! `zokor backup` and `zokor restore`: the whole state as one file, and back.
//!
//! Invariant: a backup holds what was committed and nothing else, and has its name only when it was
//! read back whole. A server in the folder is not disturbed: nothing is written there.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use zokor_core::proto::Zxid;
use zokor_core::replica::{Rebuilt, Snapshot, zxid_after};
use zokor_net::storage::{Inspection, ReadingDisk, RealDisk, inspect_state, read_copy, write_copy};

use crate::begin::Target;
use crate::launch::random;
use crate::status;

/// The arguments of `zokor backup`.
#[derive(Args, Clone, Debug)]
#[command(after_help = BACKUP_WORDS)]
#[command(group(ArgGroup::new("extent").required(true)))]
pub struct BackupArguments {
    /// The server's dataDir
    #[arg(long, value_name = "DATADIR")]
    pub from: PathBuf,
    /// Its dataLogDir, if that is another folder
    #[arg(long, value_name = "DATALOGDIR")]
    pub log: Option<PathBuf>,
    /// Where the running server of this folder serves clients; it is asked how far it is
    #[arg(long, value_name = "HOST:PORT", group = "extent")]
    pub server: Option<String>,
    /// The server is stopped: take all that is in its log
    #[arg(long, group = "extent")]
    pub stopped: bool,
    /// The file to be made
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

/// The arguments of `zokor restore`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RESTORE_WORDS)]
pub struct RestoreArguments {
    /// A backup that `zokor backup` made
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Where it goes to.
    #[command(flatten)]
    pub target: Target,
}

/// Makes a backup. An `Err` is one sentence for stderr.
pub fn back_up(arguments: &BackupArguments) -> Result<ExitCode, String> {
    let (folder, name) = parts(&arguments.to)?;
    if arguments.to.exists() {
        return Err(format!("{} is there already", arguments.to.display()));
    }
    let server = arguments.server.as_deref();
    let snapshot = state(&arguments.from, arguments.log.as_deref(), server)?;
    let disk = RealDisk::new(&folder)
        .map_err(|error| format!("cannot open {}: {error}", folder.display()))?;
    write_copy(&disk, &name, random()?, &snapshot).map_err(|error| error.to_string())?;
    let digest = snapshot.image.digest();
    // One state in memory is enough.
    drop(snapshot);
    let read_back = read_copy(&disk, &name).map_err(|error| error.to_string())?;
    if read_back.image.digest() != digest {
        return Err(format!("{} does not read back as what was written", arguments.to.display()));
    }
    print_state(&arguments.to, &read_back);
    Ok(ExitCode::SUCCESS)
}

/// Restores a backup. An `Err` is one sentence for stderr.
pub fn restore(arguments: &RestoreArguments) -> Result<ExitCode, String> {
    arguments.target.check()?;
    let snapshot = read_backup(&arguments.from)?;
    let begun = arguments.target.begin(&snapshot)?;
    print_state(&arguments.from, &snapshot);
    begun.print(snapshot.zxid);
    Ok(ExitCode::SUCCESS)
}

/// Reads a backup and checks all of it.
pub fn read_backup(file: &Path) -> Result<Snapshot, String> {
    let (folder, name) = parts(file)?;
    let disk = ReadingDisk::new(&folder)
        .map_err(|error| format!("cannot open {}: {error}", folder.display()))?;
    read_copy(&disk, &name).map_err(|error| error.to_string())
}

/// The state in a server's folder: what the server has applied, or all that is in its log.
fn state(data: &Path, log: Option<&Path>, server: Option<&str>) -> Result<Snapshot, String> {
    let open = |path: &Path| {
        ReadingDisk::new(path).map_err(|error| format!("cannot open {}: {error}", path.display()))
    };
    let data = open(data)?;
    let log = log.map(open).transpose()?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        // Asked before anything is read: what is applied by now is in the files.
        let through = server.map(applied).transpose()?;
        let found = inspect_state(&data, log.as_ref(), through).map_err(|error| error.to_string());
        match found.and_then(|found| take(&found, &data, through)) {
            // A server at work may remove a file that was just listed, or write where it is read:
            // real damage stays.
            Err(_) if server.is_some() && attempts < ATTEMPTS => {}
            taken => return taken,
        }
    }
}

fn take(found: &Inspection, data: &ReadingDisk, through: Option<Zxid>) -> Result<Snapshot, String> {
    if let Some(damage) = found.damage.first() {
        return Err(damage.to_string());
    }
    let from = found.newest_within(through);
    let snapshot = found.snapshot_before(data, from).map_err(|error| error.to_string())?;
    let mut rebuilt = Rebuilt::new(snapshot);
    for entry in found.entries.iter().filter(|entry| entry.id.index > from) {
        if entry.id.index != rebuilt.meta().last.index.next() {
            return Err(format!("entries are missing before index {}", entry.id.index));
        }
        let zxid = zxid_after(rebuilt.database().zxid(), entry);
        if through.is_some_and(|through| zxid > through) {
            break;
        }
        rebuilt.apply(entry);
    }
    let reached = rebuilt.database().zxid();
    match through {
        Some(through) if reached != through => Err(format!(
            "the server has applied zxid {through}, and its folder leads to {reached} only: is \
             this the folder of that server?"
        )),
        _ => Ok(rebuilt.snapshot()),
    }
}

/// The zxid up to which a running server has applied its log.
fn applied(server: &str) -> Result<Zxid, String> {
    let answer = status::ask(server, "srvr").map_err(|why| format!("{server}: {why}"))?;
    let zxid = answer.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
    let zxid = zxid.and_then(|hex| i64::from_str_radix(hex.trim(), 16).ok());
    zxid.map(Zxid).ok_or_else(|| format!("{server} does not say how far it is: {}", answer.trim()))
}

fn parts(file: &Path) -> Result<(PathBuf, String), String> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| format!("{} is no name of a file", file.display()))?;
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")).to_owned(), name))
}

fn print_state(file: &Path, snapshot: &Snapshot) {
    println!("backup       {}", file.display());
    println!("index        {} of term {}", snapshot.meta.last.index, snapshot.meta.last.term);
    println!("zxid         {}", snapshot.zxid);
    println!("znodes       {}", snapshot.image.node_count());
    println!("sessions     {}", snapshot.image.sessions().count());
    println!("digest       {:016x}", snapshot.image.digest());
}

/// Times that a folder is read in which a server is at work.
const ATTEMPTS: u32 = 10;

const BACKUP_WORDS: &str = "\
The folder is only read, also while its server runs: run this where the folder is. The server is
asked first (srvr) up to which zxid it has applied its log, which is then committed; the backup
holds the state after exactly that. Of a stopped server of an ensemble, --stopped may take up the
last writes that no quorum had yet.

Example:
  zokor backup --from /var/lib/zokor --server 127.0.0.1:2181 --to /backup/zokor-monday";

const RESTORE_WORDS: &str = "\
Nothing is written over. What is restored begins a new ensemble: its servers have a number in
common, and members of the old one are refused. Who is a member is taken from each server's zoo.cfg.

Examples:
  zokor restore --from /backup/zokor-monday --to /var/lib/zokor
  zokor restore --from /backup/zokor-monday --servers 1,2,3 --to /tmp/restored";
