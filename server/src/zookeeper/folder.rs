//! From a ZooKeeper server's folders to the state that the server would start with.
//!
//! Invariant: the steps are ZooKeeper's (`FileTxnSnapLog.restore`): the newest snapshot that is
//! whole, then every transaction after it. What ZooKeeper passes over in silence (a missing part of
//! the log, a damaged entry that looks like its end) stops here, unless it is told not to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zokor_core::id::SessionId;
use zokor_core::proto::Zxid;
use zokor_core::session::prefix_of;
use zokor_core::tree::Kind;

use super::input::Input;
use super::log::{Entry, LogReader};
use super::snapshot::{SnapshotContents, SnapshotDigest, read_snapshot};
use super::stream::{Packing, unpack};
use super::tree::{Tree, is_ttl_of_353};
use super::txn::{Header, Txn};
use super::{Damage, Wrong};

/// A server's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Where snapshots lie.
    pub snapshot_folder: PathBuf,
    /// Where logs lie.
    pub log_folder: PathBuf,
    /// By the zxid after which each was begun, ascending.
    pub snapshots: Vec<(i64, PathBuf)>,
    /// By the zxid of the first transaction in each, ascending.
    pub logs: Vec<(i64, PathBuf)>,
    /// The larger of `currentEpoch` and `acceptedEpoch`; 0 without them.
    pub epoch: i64,
}

/// What is to be done where ZooKeeper's files are not what they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strictness {
    /// Take what is there up to the first damage, and a tree whose digest is another than the
    /// server's.
    pub despite_damage: bool,
    /// Read owners as 3.5.3 wrote them: see [`Tree::mark_ttl_of_353`].
    pub ttl_of_353: bool,
}

/// How far loading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file that is being read.
    pub file: &'a Path,
    /// Bytes read so far, of all files.
    pub n_bytes: u64,
}

/// The state, and how it was come by.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// All znodes.
    pub tree: Tree,
    /// Sessions and their timeouts in milliseconds.
    pub sessions: BTreeMap<i64, i32>,
    /// By the upper byte of session ids: the largest seen.
    pub last_sessions: BTreeMap<u8, SessionId>,
    /// Of the last transaction.
    pub zxid: Zxid,
    /// The snapshot that was read, and its zxid.
    pub snapshot: Option<(i64, PathBuf)>,
    /// Transactions after it.
    pub n_txns: u64,
    /// Digests of ZooKeeper's that were compared and found right.
    pub n_digests: u64,
    /// Ephemeral znodes whose sessions had ended.
    pub n_orphans: u64,
    /// What an operator should know and need not act on.
    pub notes: Vec<String>,
    /// What was passed over for `despite_damage`.
    pub passed_over: Vec<String>,
}

impl Files {
    /// Looks for them. `folder` may be `dataDir` or the `version-2` in it; so may `log_folder`,
    /// which is the same unless given.
    pub fn find(folder: &Path, log_folder: Option<&Path>) -> Result<Self, String> {
        let snapshot_folder = version_folder(folder);
        let log_folder = log_folder.map_or_else(|| snapshot_folder.clone(), version_folder);
        let snapshots = list(&snapshot_folder, "snapshot.", &[".gz", ".snappy", ""])?;
        let logs = list(&log_folder, "log.", &[""])?;
        if snapshots.is_empty() && logs.is_empty() {
            return Err(format!(
                "{} holds neither snapshots nor logs of ZooKeeper; name the folder that is dataDir \
                 in its zoo.cfg",
                snapshot_folder.display()
            ));
        }
        let mut epoch = 0;
        for name in ["currentEpoch", "acceptedEpoch"] {
            epoch = epoch.max(read_epoch(&snapshot_folder.join(name))?);
        }
        Ok(Files { snapshot_folder, log_folder, snapshots, logs, epoch })
    }
}

/// Loads what the server would.
///
/// # Errors
/// One sentence: damage, by file and offset, or what is missing.
pub fn load(
    files: &Files,
    strictness: Strictness,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Contents, String> {
    let mut loading = Loading {
        strictness,
        contents: Contents::default(),
        promised: None,
        is_in_step: false,
        last_miss: None,
        n_bytes: 0,
        progress: &mut progress,
    };
    loading.snapshot(files)?;
    if !loading.logs(files)? {
        loading
            .contents
            .notes
            .push(format!("what follows zxid {} was left out", loading.contents.zxid));
    }
    loading.finish(files)?;
    Ok(loading.contents)
}

struct Loading<'a> {
    strictness: Strictness,
    contents: Contents,
    /// The snapshot's own digest, until its zxid has come.
    promised: Option<SnapshotDigest>,
    /// The snapshot was fuzzy up to some transaction; from the first digest that is right on, all
    /// must be.
    is_in_step: bool,
    /// The last digest that was another, if none was right after it.
    last_miss: Option<String>,
    n_bytes: u64,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Loading<'_> {
    /// Reads the newest snapshot that is whole.
    fn snapshot(&mut self, files: &Files) -> Result<(), String> {
        let mut damages = Vec::new();
        for (zxid, file) in files.snapshots.iter().rev() {
            let watched = Watched { file, progress: &mut *self.progress, n_bytes: 0, n_told: 0 };
            let (read, n_bytes) = read_file(watched);
            self.n_bytes += n_bytes;
            match read {
                Ok(SnapshotContents { tree, sessions, digest, .. }) => {
                    sessions.keys().for_each(|&session| self.note_session(session));
                    self.promised = digest;
                    self.contents.tree = tree;
                    self.contents.sessions = sessions;
                    self.contents.zxid = Zxid(*zxid);
                    self.contents.snapshot = Some((*zxid, file.clone()));
                    self.compare_promised();
                    let passed = damages.iter().map(|damage: &Damage| {
                        format!("{damage}; an older snapshot was taken, as ZooKeeper does")
                    });
                    self.contents.notes.extend(passed);
                    return Ok(());
                }
                Err(damage) => damages.push(damage),
            }
        }
        if let Some(damage) = damages.first() {
            // ZooKeeper does not start either.
            return Err(format!("no snapshot is whole: {damage}"));
        }
        self.contents.tree = Tree::fresh();
        self.permit(format!(
            "{} holds no snapshot: if there never was one, all is in the log",
            files.snapshot_folder.display()
        ))
    }

    /// Replays the logs; whether to their end.
    fn logs(&mut self, files: &Files) -> Result<bool, String> {
        if files.logs.is_empty() {
            let sentence = format!(
                "{} holds no log; if dataLogDir is another folder, name it with --log",
                files.log_folder.display()
            );
            return self.permit(sentence).map(|()| true);
        }
        let start = self.contents.zxid.0;
        let first = files.logs.iter().rposition(|(zxid, _)| *zxid <= start).unwrap_or_default();
        for (i, (_, file)) in files.logs.iter().enumerate().skip(first) {
            let is_last = i + 1 == files.logs.len();
            match self.log(file, is_last) {
                Ok(()) => {}
                Err(Stop::Damage(damage)) => {
                    self.permit(damage.to_string())?;
                    return Ok(false);
                }
                Err(Stop::Sentence(sentence)) => return Err(sentence),
            }
        }
        Ok(true)
    }

    fn log(&mut self, file: &Path, is_last: bool) -> Result<(), Stop> {
        let cannot = |error| Stop::Sentence(format!("cannot read {}: {error}", file.display()));
        let opened = File::open(file).map_err(cannot)?;
        if is_last && opened.metadata().map_err(cannot)?.len() == 0 {
            self.contents.notes.push(format!("{} is empty", file.display()));
            return Ok(());
        }
        let damaged = |wrong: Wrong| Stop::Damage(wrong.within(file));
        let mut reader = LogReader::begin(BufReader::new(opened)).map_err(damaged)?;
        let mut shown = 0;
        while let Some(entry) = reader.next_entry().map_err(damaged)? {
            if reader.offset() - shown >= SHOW_BYTES {
                shown = reader.offset();
                (self.progress)(Progress { file, n_bytes: self.n_bytes + shown });
            }
            self.entry(file, &entry).map_err(damaged)?;
        }
        self.n_bytes += reader.offset();
        if let Some(offset) = reader.torn_at() {
            self.contents.notes.push(format!(
                "{} ends at offset {offset} with an entry that was never finished",
                file.display()
            ));
        }
        Ok(())
    }

    fn entry(&mut self, file: &Path, entry: &Entry) -> Result<(), Wrong> {
        let zxid = Zxid(entry.header.zxid);
        let known = self.contents.zxid;
        if self.contents.n_txns == 0 && zxid <= known {
            return Ok(());
        }
        if zxid < known {
            self.contents.notes.push(format!(
                "{} goes back from zxid {known} to {zxid} at offset {}; applied, as ZooKeeper does",
                file.display(),
                entry.offset
            ));
        } else if !follows(known, zxid) {
            let what = format!("zxid {zxid} follows {known}: what was between is missing");
            return Err(Wrong::new(entry.offset, what));
        }
        self.apply(&entry.header, &entry.txn);
        self.compare_promised();
        self.compare(file, entry)
    }

    fn apply(&mut self, header: &Header, txn: &Txn) {
        let session = header.session;
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.note_session(session);
                self.contents.sessions.insert(session, *timeout_ms);
            }
            Txn::CloseSession(_) => {
                self.contents.sessions.remove(&session);
            }
            _ => {}
        }
        self.contents.tree.apply(header, txn);
        self.contents.zxid = self.contents.zxid.max(Zxid(header.zxid));
        self.contents.n_txns += 1;
    }

    /// Ids are given out ascending, so the largest that was seen keeps them apart from new ones.
    fn note_session(&mut self, session: i64) {
        let session = SessionId(session);
        let last = self.contents.last_sessions.entry(prefix_of(session)).or_insert(session);
        *last = (*last).max(session);
    }

    /// Compares the snapshot's digest with the tree's when its zxid has come.
    fn compare_promised(&mut self) {
        let Some(promised) = self.promised else { return };
        if self.contents.zxid.0 < promised.zxid {
            return;
        }
        self.promised = None;
        let found = self.contents.tree.digest();
        if self.contents.zxid.0 == promised.zxid && found == promised.value {
            self.is_in_step = true;
            self.last_miss = None;
            self.contents.n_digests += 1;
        } else {
            let zxid = Zxid(promised.zxid);
            self.last_miss = Some(mismatch("the snapshot", zxid, found, promised.value));
        }
    }

    fn compare(&mut self, file: &Path, entry: &Entry) -> Result<(), Wrong> {
        let Some(expected) = entry.digest else { return Ok(()) };
        let found = self.contents.tree.digest();
        if found == expected {
            self.contents.n_digests += 1;
            self.is_in_step = true;
            self.last_miss = None;
            return Ok(());
        }
        let zxid = Zxid(entry.header.zxid);
        let sentence = mismatch(&file.display().to_string(), zxid, found, expected);
        if self.is_in_step && !self.strictness.despite_damage {
            return Err(Wrong::new(entry.offset, sentence));
        }
        self.last_miss = Some(sentence);
        Ok(())
    }

    /// What ZooKeeper does between the last transaction and serving.
    fn finish(&mut self, files: &Files) -> Result<(), String> {
        if let Some(sentence) = self.last_miss.take() {
            self.permit(sentence)?;
        }
        let contents = &mut self.contents;
        if self.strictness.ttl_of_353 {
            let n_marked = contents.tree.mark_ttl_of_353();
            contents.notes.push(format!("{n_marked} TTL znodes of 3.5.3 got the present mark"));
        }
        let has_ended = |owner: &SessionId| !contents.sessions.contains_key(&owner.0);
        let ended: Vec<SessionId> = contents.tree.owners().filter(has_ended).collect();
        let doubtful = ended.iter().filter(|owner| is_ttl_of_353(**owner)).count();
        if doubtful > 0 {
            self.permit(format!(
                "znodes of {doubtful} owners would go, for want of a session: if ZooKeeper 3.5.3 \
                 made them as TTL znodes (zookeeper.emulate353TTLNodes), say --ttl-of-3.5.3"
            ))?;
        }
        let contents = &mut self.contents;
        for owner in ended {
            contents.n_orphans += contents.tree.ephemerals(owner).count() as u64;
            contents.tree.end_session(owner, contents.zxid.0);
        }
        contents.tree.add_reserved();
        contents.tree.count_quotas();
        // A leader shows the first number of its epoch to clients before it has logged anything.
        contents.zxid = contents.zxid.max(Zxid(files.epoch.min(MAX_EPOCH) << 32));
        Ok(())
    }

    /// Goes on after damage, if that is wanted.
    fn permit(&mut self, sentence: String) -> Result<(), String> {
        if !self.strictness.despite_damage {
            return Err(format!(
                "{sentence}. With --despite-damage, what can be had without it is imported"
            ));
        }
        self.contents.passed_over.push(sentence);
        Ok(())
    }
}

enum Stop {
    Damage(Damage),
    Sentence(String),
}

fn mismatch(place: &str, zxid: Zxid, found: u64, expected: u64) -> String {
    format!("by {place} the tree's digest after zxid {zxid} is {expected:x}, and it is {found:x}")
}

/// Whether nothing can be missing between two transactions: numbers go up by one within an epoch,
/// and begin with 1 in each. One may come twice (a request that did not decode).
fn follows(known: Zxid, next: Zxid) -> bool {
    next == known
        || next.0 == known.0.wrapping_add(1)
        || (next.epoch() > known.epoch() && next.counter() <= 1)
}

/// Reads a snapshot, and says how many bytes the file has up to where it was read.
fn read_file(mut watched: Watched<'_>) -> (Result<SnapshotContents, Damage>, u64) {
    let file = watched.file;
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) => return (Err(Wrong::new(0, error.to_string()).within(file)), 0),
    };
    let stream = Stream { opened, watched: &mut watched };
    let packed = BufReader::with_capacity(256 << 10, stream);
    let read = read_snapshot(&mut Input::new(unpack(packed, Packing::of(file))));
    (read.map_err(|wrong| wrong.within(file)), watched.n_bytes)
}

/// A file that is read, and who is told of it.
struct Watched<'a> {
    file: &'a Path,
    progress: &'a mut dyn FnMut(Progress<'_>),
    n_bytes: u64,
    n_told: u64,
}

/// Tells of what is read, now and then.
struct Stream<'a, 'b> {
    opened: File,
    watched: &'a mut Watched<'b>,
}

impl Read for Stream<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.opened.read(into)?;
        let Watched { file, progress, n_bytes, n_told } = &mut *self.watched;
        *n_bytes += n as u64;
        if *n_told == 0 || *n_bytes - *n_told >= SHOW_BYTES {
            *n_told = *n_bytes;
            progress(Progress { file, n_bytes: *n_bytes });
        }
        Ok(n)
    }
}

/// `version-2` in it, if there is one.
fn version_folder(folder: &Path) -> PathBuf {
    let inner = folder.join("version-2");
    if inner.is_dir() { inner } else { folder.to_owned() }
}

/// Files by the hexadecimal number between `prefix` and one of `ends`, ascending.
fn list(folder: &Path, prefix: &str, ends: &[&str]) -> Result<Vec<(i64, PathBuf)>, String> {
    let cannot = |error| format!("cannot read the folder {}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let hex = ends.iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
        if let Ok(zxid) = u64::from_str_radix(hex, 16) {
            found.push((zxid as i64, path));
        }
    }
    found.sort();
    Ok(found)
}

fn read_epoch(file: &Path) -> Result<i64, String> {
    let cannot = |why: String| format!("cannot read {}: {why}", file.display());
    let mut text = String::new();
    match File::open(file).and_then(|opened| opened.take(64).read_to_string(&mut text)) {
        Ok(_) => text.trim().parse().map_err(|_| cannot(format!("{text:?} is no number"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(cannot(error.to_string())),
    }
}

impl Contents {
    /// How many znodes of each kind there are: ephemeral, container, with a time to live.
    pub fn kinds(&self) -> [u64; 3] {
        let mut kinds = [0; 3];
        for (_, node) in self.tree.iter() {
            match Kind::of(node.stat.ephemeral_owner) {
                Kind::Persistent => {}
                Kind::Ephemeral(_) => kinds[0] += 1,
                Kind::Container => kinds[1] += 1,
                Kind::Ttl { .. } => kinds[2] += 1,
            }
        }
        kinds
    }
}

/// The epoch is the upper half of a signed number, and the next one must fit.
const MAX_EPOCH: i64 = i32::MAX as i64 - 1;
/// Progress is told after so many bytes.
const SHOW_BYTES: u64 = 4 << 20;
