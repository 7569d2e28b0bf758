//! `zokor export`: the way back, a snapshot that an Apache ZooKeeper server starts from.
//!
//! Invariant: what is written was read back by the reader of `zookeeper` before it has its name.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::backup::read_backup;
use crate::zookeeper::{Input, read_snapshot, sessions_of, write_snapshot};

/// The arguments of `zokor export`.
#[derive(Args, Clone, Debug)]
#[command(after_help = WORDS)]
pub struct ExportArguments {
    /// A backup that `zokor backup` made
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// The folder that becomes the dataDir of a ZooKeeper server; version-2 is made in it
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Exports. An `Err` is one sentence for stderr.
pub fn run(arguments: &ExportArguments) -> Result<ExitCode, String> {
    let snapshot = read_backup(&arguments.from)?;
    let folder = arguments.to.join("version-2");
    if folder.exists() {
        return Err(format!("{} is there already; name an empty folder", folder.display()));
    }
    let temporary = arguments.to.join("version-2.tmp");
    let cannot =
        |path: &Path, error: std::io::Error| format!("cannot write {}: {error}", path.display());
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(|error| cannot(&temporary, error))?;
    }
    fs::create_dir_all(&temporary).map_err(|error| cannot(&temporary, error))?;
    let file = temporary.join(format!("snapshot.{:x}", snapshot.zxid.0));
    let written = File::create(&file).and_then(|opened| {
        let mut out = BufWriter::new(opened);
        write_snapshot(&snapshot.image, &mut out)?;
        out.into_inner()?.sync_all()
    });
    written.map_err(|error| cannot(&file, error))?;
    let epoch = snapshot.zxid.epoch();
    for name in ["currentEpoch", "acceptedEpoch"] {
        let path = temporary.join(name);
        fs::write(&path, epoch.to_string()).map_err(|error| cannot(&path, error))?;
    }
    let (n_znodes, n_sessions) = read_back(&file)?;
    if n_znodes != snapshot.image.node_count() || n_sessions != sessions_of(&snapshot.image).count()
    {
        return Err(format!("{} does not read back as what was written", file.display()));
    }
    File::open(&temporary)
        .and_then(|opened| opened.sync_all())
        .and_then(|()| fs::rename(&temporary, &folder))
        .and_then(|()| File::open(&arguments.to)?.sync_all())
        .map_err(|error| cannot(&folder, error))?;
    println!("snapshot     {}", folder.join(file.file_name().unwrap_or_default()).display());
    println!("zxid         {}", snapshot.zxid);
    println!("znodes       {n_znodes}");
    println!("sessions     {n_sessions}");
    Ok(ExitCode::SUCCESS)
}

/// How many znodes and sessions there are in a snapshot, all of which is checked, its digest too.
fn read_back(file: &Path) -> Result<(usize, usize), String> {
    let opened =
        File::open(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut input = Input::new(BufReader::new(opened));
    let contents = read_snapshot(&mut input)
        .map_err(|wrong| format!("{}: {} at {}", file.display(), wrong.what, wrong.offset))?;
    if contents.digest.is_some_and(|digest| digest.value != contents.tree.digest()) {
        return Err(format!("the digest of {} is not that of its tree", file.display()));
    }
    Ok((contents.tree.len(), contents.sessions.len()))
}

const WORDS: &str = "\
Every ZooKeeper server of an ensemble gets a copy of the folder, and its own myid. Sessions go with
it, but not the passwords of those that began at a zokor server: ZooKeeper derives them from the id,
so these clients begin new sessions, and the old ones expire.

Examples:
  zokor backup --from /var/lib/zokor --server 127.0.0.1:2181 --to /tmp/zokor.backup
  zokor export --from /tmp/zokor.backup --to /var/lib/zookeeper";
