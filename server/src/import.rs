//! `zokor import`: from the folder of an Apache ZooKeeper server to those of zokor servers.
//!
//! Invariant: ZooKeeper's files are only read. What is made is made whole or, after an error, is
//! opened by no server.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use zokor_core::db::{Image, ImageBuilder, ImageError, ImageNode, SessionRecord};
use zokor_core::id::{Nonce, Sequence, SessionId, Token};
use zokor_core::raft::{EntryId, Index, SnapshotMeta, Term};
use zokor_core::replica::Snapshot;

use crate::begin::Target;
use crate::zookeeper::{Contents, Files, Progress, Strictness, load, password_of};

/// The arguments of `zokor import`.
#[derive(Args, Clone, Debug)]
#[command(after_help = WORDS)]
pub struct ImportArguments {
    /// The dataDir of a ZooKeeper server that is stopped
    #[arg(long, value_name = "DATADIR")]
    pub from: PathBuf,
    /// Its dataLogDir, if that is another folder
    #[arg(long, value_name = "DATALOGDIR")]
    pub log: Option<PathBuf>,
    /// Where it goes to.
    #[command(flatten)]
    pub target: Target,
    /// Import what can be had in spite of damage: up to the first damaged entry
    #[arg(long)]
    pub despite_damage: bool,
    /// Znodes with a TTL were written by 3.5.3 (zookeeper.emulate353TTLNodes)
    #[arg(long = "ttl-of-3.5.3")]
    pub ttl_of_353: bool,
}

/// Imports. An `Err` is one sentence for stderr.
pub fn run(arguments: &ImportArguments) -> Result<ExitCode, String> {
    arguments.target.check()?;
    let files = Files::find(&arguments.from, arguments.log.as_deref())?;
    let strictness =
        Strictness { despite_damage: arguments.despite_damage, ttl_of_353: arguments.ttl_of_353 };
    let mut ticker = Ticker::new();
    let contents = load(&files, strictness, |progress| ticker.tell(progress))?;
    ticker.end();
    let image = image_of(&contents).map_err(|error| {
        format!("what ZooKeeper's files hold makes no tree: {error}; this is damage")
    })?;
    let snapshot = snapshot_of(image);
    let begun = arguments.target.begin(&snapshot)?;
    print_summary(&contents, &snapshot);
    begun.print(snapshot.zxid);
    Ok(ExitCode::SUCCESS)
}

/// The state as zokor has it.
pub fn image_of(contents: &Contents) -> Result<Image, ImageError> {
    let mut builder = ImageBuilder::new();
    for (path, node) in contents.tree.iter() {
        builder.node(ImageNode {
            path: (**path).into(),
            data: node.data.clone(),
            acl: node.acl.clone(),
            stat: node.stat,
        })?;
    }
    for (&id, &timeout_ms) in &contents.sessions {
        let id = SessionId(id);
        builder.session(SessionRecord {
            id,
            // What the client has from its ZooKeeper server.
            password: password_of(id),
            timeout_ms,
            token: Token(contents.zxid.0),
            sequence: Sequence(0),
            nonce: Nonce(0),
        })?;
    }
    for (&prefix, &last) in &contents.last_sessions {
        builder.last_session_id(prefix, last);
    }
    builder.build(contents.zxid)
}

/// The state as that after the first entry of a new log.
pub fn snapshot_of(image: Image) -> Snapshot {
    let last = EntryId { term: Term(1), index: Index(1) };
    Snapshot { meta: SnapshotMeta { last, membership: None }, zxid: image.zxid(), image }
}

fn print_summary(contents: &Contents, snapshot: &Snapshot) {
    match &contents.snapshot {
        Some((_, file)) => println!("snapshot     {}", file.display()),
        None => println!("snapshot     none"),
    }
    println!("log          {} transactions after it", contents.n_txns);
    println!("zxid         {}", contents.zxid);
    let [n_ephemeral, n_container, n_ttl] = contents.kinds();
    println!(
        "znodes       {}, of which {n_ephemeral} ephemeral, {n_container} containers, {n_ttl} with \
         a TTL",
        contents.tree.len()
    );
    println!("sessions     {}", contents.sessions.len());
    if contents.n_orphans > 0 {
        println!("left out     {} ephemerals of ended sessions", contents.n_orphans);
    }
    println!("checked      {} digests of ZooKeeper's", contents.n_digests);
    println!("digest       {:016x}", snapshot.image.digest());
    contents.notes.iter().for_each(|note| println!("note         {note}"));
    contents.passed_over.iter().for_each(|what| println!("DAMAGE       {what}"));
}

/// Shows on stderr how far it is, now and then.
struct Ticker {
    next: Instant,
    is_shown: bool,
}

impl Ticker {
    fn new() -> Self {
        Ticker { next: Instant::now(), is_shown: false }
    }

    fn tell(&mut self, progress: Progress<'_>) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Duration::from_secs(1);
        let name = progress.file.file_name().map(Path::new).unwrap_or(progress.file).display();
        let n_mib = progress.n_bytes >> 20;
        // On a terminal one line is written over; in a log each stays.
        let end = if std::io::stderr().is_terminal() { "\x1b[K\r" } else { "\n" };
        eprint!("{n_mib} MiB read, now {name}{end}");
        self.is_shown = true;
        // Only for the eye.
        let _ = std::io::stderr().flush();
    }

    fn end(&self) {
        if self.is_shown && std::io::stderr().is_terminal() {
            eprint!("\x1b[K");
        }
    }
}

const WORDS: &str = "\
The ZooKeeper server must be stopped; of an ensemble, take the one whose last zxid is the largest,
after all are stopped. Its files are only read. Sessions go on: a client that reconnects within its
timeout keeps its session and its ephemeral znodes.

All servers of a zokor ensemble begin with one import: --servers 1,2,3 makes DIR/1, DIR/2 and DIR/3,
and each server gets its own. Never import twice for one ensemble.

Examples:
  zokor import --from /var/lib/zookeeper --to /var/lib/zokor
  zokor import --from /var/lib/zookeeper --servers 1,2,3 --to /tmp/imported";
