//! Folders of servers that begin with a state: what an import and a restore have in common.
//!
//! Invariant: the servers of one run have a number in common that nobody else has, so that they
//! form an ensemble with each other alone; no folder that holds anything is touched.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::replica::Snapshot;
use zokor_core::time::WallTime;
use zokor_net::storage::{Options, RealDisk, begin_with, join_ensemble};

use crate::launch::random;

/// Where a state goes to, and for which servers.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The folder that becomes dataDir; it is made, or must be empty but for myid
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// The folder that becomes dataLogDir, if that is another one
    #[arg(long, value_name = "DIR", conflicts_with = "servers")]
    pub to_log: Option<PathBuf>,
    /// The id of the server [default: DIR/myid, or 1 without one]
    #[arg(long, value_name = "ID")]
    pub id: Option<u64>,
    /// The ids of all servers of an ensemble, with commas: DIR/ID is made for each
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with = "id")]
    pub servers: Vec<u64>,
}

/// The arguments of `zokor join`.
#[derive(Args, Clone, Debug)]
#[command(after_help = JOIN_WORDS)]
pub struct JoinArguments {
    /// The number of the ensemble, as `zokor inspect` shows it
    #[arg(long, value_name = "NUMBER")]
    pub ensemble: String,
    /// The folder that becomes dataDir; it is made, or must be empty but for myid
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Prepares a folder for a server that has nothing yet. An `Err` is one sentence for stderr.
pub fn join(arguments: &JoinArguments) -> Result<ExitCode, String> {
    let number = u64::from_str_radix(&arguments.ensemble, 16).ok().filter(|number| *number != 0);
    let number = number.ok_or_else(|| {
        format!(
            "{:?} is no ensemble's number; `zokor inspect` shows that of a member's folder, and \
             where it is 0 an empty folder will do",
            arguments.ensemble
        )
    })?;
    let disk = RealDisk::new(&arguments.to)
        .map_err(|error| format!("cannot open {}: {error}", arguments.to.display()))?;
    join_ensemble(&disk, number).map_err(|error| error.to_string())?;
    println!("ensemble     {number:016x}");
    println!("{:<12} {}", "folder", arguments.to.display());
    Ok(ExitCode::SUCCESS)
}

/// What was made.
#[derive(Debug)]
pub struct Begun {
    /// The number that the servers have in common.
    pub number: u64,
    /// Each server and its folder.
    pub folders: Vec<(ServerId, PathBuf)>,
}

impl Target {
    /// Makes the folders. An `Err` is one sentence.
    pub fn begin(&self, snapshot: &Snapshot) -> Result<Begun, String> {
        // The membership is that of each server's zoo.cfg, not that of a former ensemble.
        let mut snapshot = snapshot.clone();
        snapshot.meta.membership = None;
        let number = loop {
            match u64::from_le_bytes(random()?) {
                0 | u64::MAX => {}
                number => break number,
            }
        };
        let folders = self.folders()?;
        for (id, folder) in &folders {
            begin(*id, folder, self.to_log.as_deref(), number, &snapshot)?;
        }
        Ok(Begun { number, folders })
    }

    /// Fails early, before a long read, if there is no place for what is read.
    pub fn check(&self) -> Result<(), String> {
        let folders = self.folders()?;
        let folders = folders.iter().map(|(_, folder)| folder).chain(&self.to_log);
        for folder in folders {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_data = name == "version-2" || name.ends_with(".zk");
                if is_data || name.starts_with("zokor-") || name.starts_with("watermark") {
                    return Err(format!(
                        "{} holds {name}: name a folder that is empty, nothing is ever written \
                         over",
                        folder.display()
                    ));
                }
            }
        }
        Ok(())
    }

    fn folders(&self) -> Result<Vec<(ServerId, PathBuf)>, String> {
        let ids: BTreeSet<u64> = self.servers.iter().copied().collect();
        if ids.len() < self.servers.len() {
            return Err("--servers names one id twice".to_owned());
        }
        if ids.is_empty() {
            let id = match self.id {
                Some(id) => id,
                None => read_myid(&self.to)?.unwrap_or(1),
            };
            return Ok(vec![(ServerId(id), self.to.clone())]);
        }
        Ok(ids.into_iter().map(|id| (ServerId(id), self.to.join(id.to_string()))).collect())
    }
}

fn begin(
    id: ServerId,
    folder: &Path,
    log: Option<&Path>,
    number: u64,
    snapshot: &Snapshot,
) -> Result<(), String> {
    if let Some(found) = read_myid(folder)?
        && ServerId(found) != id
    {
        return Err(format!("{} holds the myid of server {found}, not {id}", folder.display()));
    }
    let open = |path: &Path| {
        RealDisk::new(path).map_err(|error| format!("cannot open {}: {error}", path.display()))
    };
    let options = Options::new(id, random()?, now());
    let (data, log) = (open(folder)?, log.map(open).transpose()?);
    begin_with(data, log, &options, number, snapshot).map_err(|error| error.to_string())?;
    let myid = folder.join("myid");
    if !myid.exists() {
        fs::write(&myid, format!("{id}\n"))
            .map_err(|error| format!("cannot write {}: {error}", myid.display()))?;
    }
    Ok(())
}

impl Begun {
    /// Says what was made and what is to be done with it.
    pub fn print(&self, zxid: Zxid) {
        println!("ensemble     {:016x}", self.number);
        println!("next epoch   {} or above", zxid.epoch() + 1);
        for (id, folder) in &self.folders {
            println!("{:<12} {}", format!("server {id}"), folder.display());
        }
        if self.folders.len() > 1 {
            println!(
                "Give each server its own folder, and no other; all of them before any starts."
            );
        }
    }
}

/// The id in `folder/myid`, if there is such a file.
fn read_myid(folder: &Path) -> Result<Option<u64>, String> {
    let file = folder.join("myid");
    match fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse() {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(format!("{} holds no server id", file.display())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", file.display())),
    }
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

const JOIN_WORDS: &str = "\
An ensemble that began with an import or a restore takes in no server that does not know its number,
so that nobody mixes with it who should not. A server with an empty folder asks the others for the
number when it starts, unless servers have to prove who they are or zokor.firstStart=quorum is set;
then it begins with this folder, and receives everything from the leader.

Example:
  zokor join --ensemble c8f14c9e05390a2e --to /var/lib/zokor";
