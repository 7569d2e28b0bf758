//! A disk of sectors that fails in every way that disks do: what the storage code of `net` is tried
//! on in both worlds.
//!
//! Invariant: what was synced stays, unless a fault was asked for that damages it; of what was not,
//! each sector is kept, lost or torn, and each change of a name kept or lost, by the seed alone.

pub mod atlas;
mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard};

use zokor_net::storage::{Disk, DiskFile, Move, Names};

use crate::rng::Stream;
use file::{Aim, Dice, FileNode, Reading};

/// One folder. Clones share it.
#[derive(Clone, Debug)]
pub struct SectorDisk {
    shared: Arc<Mutex<Shared>>,
}

/// What goes wrong at a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops at the n-th change of anything: it may have happened or not, and every
    /// later call fails.
    Stop,
    /// The n-th write fails; any part of it may have happened.
    Write,
    /// The n-th sync of a file fails. All counts as clean, and any of it may be lost in a power cut
    /// (Rebello et al., ATC 2020).
    Sync,
    /// The n-th write is acknowledged and never stored.
    LostWrite,
    /// The n-th write is acknowledged and goes to another aligned place of its file.
    Misdirected,
}

impl Fault {
    /// What a sweep calls it when the storage code has met it.
    pub fn probe(self) -> &'static str {
        match self {
            Fault::Stop => "disk: machine stopped at a change",
            Fault::Write => "disk: write failed",
            Fault::Sync => "disk: sync failed",
            Fault::LostWrite => "disk: write lost",
            Fault::Misdirected => "disk: write misdirected",
        }
    }

    fn strikes(self, call: Call) -> bool {
        match self {
            Fault::Stop => true,
            Fault::Write | Fault::LostWrite | Fault::Misdirected => call == Call::Write,
            Fault::Sync => call == Call::Sync,
        }
    }
}

/// A call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Write,
    Sync,
    Name,
}

#[derive(Debug)]
struct Shared {
    stream: Stream,
    sector_bytes: usize,
    nodes: BTreeMap<u64, FileNode>,
    names: Names,
    /// Counts lives: files and locks of an earlier one are dead.
    life: u64,
    locked: bool,
    stopped: bool,
    /// How many calls of its kind each fault still waits for.
    armed: Vec<(Fault, u64)>,
    /// Bytes that all files may have together.
    capacity: Option<u64>,
    /// Where the batch begins that holds the log's last term and vote: in which file, and where.
    vote: Option<(String, usize)>,
    /// A watermark has rotted, and none was written since.
    has_lost_a_mark: bool,
    met: BTreeSet<&'static str>,
}

impl SectorDisk {
    /// An empty folder on sectors of `sector_bytes`, which fails as `stream` has it.
    pub fn new(stream: Stream, sector_bytes: usize) -> Self {
        assert!(sector_bytes.is_power_of_two() && sector_bytes <= 4096);
        let shared = Shared {
            stream,
            sector_bytes,
            nodes: BTreeMap::new(),
            names: Names::default(),
            life: 0,
            locked: false,
            stopped: false,
            armed: Vec::new(),
            capacity: None,
            vote: None,
            has_lost_a_mark: false,
            met: BTreeSet::new(),
        };
        SectorDisk { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Cuts the power: open files and locks are dead, and what was not synced is kept, lost or
    /// torn. The disk works again afterwards. No fault is armed any more; damage stays.
    pub fn cut_power(&self) {
        let mut shared = self.shared();
        let shared = &mut *shared;
        if shared.names.has_unsynced_rename() {
            shared.met.insert("disk: power cut before a rename was synced");
        }
        if shared.nodes.values().any(|node| node.dirty_sectors() > 1) {
            shared.met.insert("disk: power cut over several sectors");
        }
        shared.names.cut_power(|limit| shared.stream.below(limit));
        shared.forget_unnamed();
        let Shared { nodes, names, stream, sector_bytes, .. } = shared;
        let witnesses: BTreeSet<u64> =
            names.iter().filter(|(name, _)| is_witness(name)).map(|(_, id)| id).collect();
        for (id, node) in nodes {
            let mut dice = Dice { stream, sector: *sector_bytes };
            node.cut_power(witnesses.contains(id), &mut dice);
        }
        shared.begin_life();
    }

    /// Ends the process but not the machine: open files and locks are dead, nothing is lost yet.
    pub fn kill(&self) {
        self.shared().begin_life();
    }

    /// Lets `fault` happen at the `n`th call from now that it can strike (0: the next).
    pub fn arm(&self, n: u64, fault: Fault) {
        self.shared().armed.push((fault, n));
    }

    /// Takes back every fault that has not struck yet.
    pub fn disarm(&self) {
        self.shared().armed.clear();
    }

    /// Lets one durable sector rot, or become unreadable, in a file whose name begins with
    /// `prefix`; whether there was one.
    ///
    /// What is the only witness is spared by rot, as it is by lost writes: a log's last batch until
    /// a watermark vouches for it, for its damage cannot be told from a torn tail; and the
    /// watermarks if that batch is damaged. A watermark that rots vouches for nothing any more.
    pub fn spoil(&self, unreadable: bool, prefix: &str) -> bool {
        let mut shared = self.shared();
        let shared = &mut *shared;
        let named = shared.names.iter().filter(|(name, _)| name.starts_with(prefix));
        let mut names: Vec<(String, u64)> = named.map(|(name, id)| (name.to_owned(), id)).collect();
        while !names.is_empty() {
            let at = shared.stream.below(names.len() as u64) as usize;
            let (name, id) = names.swap_remove(at);
            let is_mark = is_watermark(&name);
            if is_mark && !shared.may_lose_a_mark() {
                continue;
            }
            let node = shared.nodes.get_mut(&id).expect("names lead to files");
            let mut dice = Dice { stream: &mut shared.stream, sector: shared.sector_bytes };
            let is_spared = is_log(&name) && !unreadable;
            if node.spoil(unreadable, is_spared, &mut dice) {
                if is_mark {
                    shared.loses_a_mark();
                }
                return true;
            }
        }
        false
    }

    /// Lets what lies at `permille` of the newest file whose name begins with `prefix` rot, among
    /// what is in use; whether there was anything. `to_the_end`: all from there on is zeros.
    pub fn spoil_newest(&self, prefix: &str, permille: u64, to_the_end: bool) -> bool {
        let mut shared = self.shared();
        let shared = &mut *shared;
        let named = shared.names.iter().filter(|(name, _)| name.starts_with(prefix));
        let Some(id) = named.max().map(|(_, id)| id) else { return false };
        let node = shared.nodes.get_mut(&id).expect("names lead to files");
        let mut dice = Dice { stream: &mut shared.stream, sector: shared.sector_bytes };
        node.spoil_at(permille, to_the_end, &mut dice)
    }

    /// What the log has synced last holds its last term and vote.
    pub fn note_vote(&self) {
        let mut shared = self.shared();
        let logs = shared.names.iter().filter(|(name, _)| name.starts_with("log-0"));
        let newest = logs.max().map(|(name, id)| (name.to_owned(), id));
        shared.vote = newest.map(|(name, id)| (name, shared.nodes[&id].last_begins()));
    }

    /// Lets the sector rot where the batch begins that holds the log's last term and vote; whether
    /// it is there. Nothing else is spared: the watermarks vouch for that batch, and for all before
    /// it, from the moment on at which the vote counts. If one of them has rotted since, it is.
    pub fn spoil_vote(&self) -> bool {
        let mut shared = self.shared();
        let shared = &mut *shared;
        let Some((name, at)) = &shared.vote else { return false };
        if shared.has_lost_a_mark {
            return false;
        }
        let Ok(id) = shared.names.find(name) else { return false };
        let node = shared.nodes.get_mut(&id).expect("names lead to files");
        node.spoil_around(*at, shared.sector_bytes)
    }

    /// Whether anything on the platter is, or may turn out to be, other than what was stored.
    pub fn is_spoilt(&self) -> bool {
        self.shared().nodes.values().any(FileNode::is_spoilt)
    }

    /// Takes everything away: another disk, empty, stands in its place.
    pub fn lose(&self) {
        let mut shared = self.shared();
        shared.nodes.clear();
        shared.names = Names::default();
        (shared.vote, shared.has_lost_a_mark) = (None, false);
        shared.begin_life();
    }

    /// Leaves room for `n_bytes` more, or (`None`) without end.
    pub fn leave(&self, n_bytes: Option<u64>) {
        let mut shared = self.shared();
        shared.capacity = n_bytes.map(|n_bytes| shared.used_bytes() + n_bytes);
    }

    /// Which faults the storage code has met since this was last asked.
    pub fn take_met(&self) -> BTreeSet<&'static str> {
        std::mem::take(&mut self.shared().met)
    }

    /// Everything that is there, by name.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let shared = self.shared();
        let one = |(name, id): (&str, u64)| (name.to_owned(), shared.nodes[&id].shown().to_vec());
        shared.names.iter().map(one).collect()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no call panics while it holds the lock")
    }
}

/// Whether a file is a segment of a log, whose last batch may be torn.
fn is_log(name: &str) -> bool {
    name.starts_with("log-")
}

/// Whether the last that was synced of a file may be all that tells of it.
fn is_witness(name: &str) -> bool {
    is_log(name) || is_watermark(name)
}

/// Whether a file says how far the log was durable.
fn is_watermark(name: &str) -> bool {
    name.starts_with("watermark-")
}

impl Shared {
    fn begin_life(&mut self) {
        self.life += 1;
        self.locked = false;
        self.stopped = false;
        self.armed.clear();
    }

    /// Drops the files that no name leads to, now that names and durable names agree.
    fn forget_unnamed(&mut self) {
        let named = self.names.files();
        self.nodes.retain(|id, _| named.contains(id));
    }

    /// A watermark is durable: it vouches for what the logs have synced.
    fn vouch(&mut self) {
        self.has_lost_a_mark = false;
        for (name, id) in self.names.iter() {
            if is_log(name) {
                self.nodes.get_mut(&id).expect("names lead to files").has_witness(true);
            }
        }
    }

    /// Whether the ends of all logs are there, so that they need no other witness.
    fn may_lose_a_mark(&self) -> bool {
        let mut logs = self.names.iter().filter(|(name, _)| is_log(name));
        logs.all(|(_, id)| self.nodes[&id].ends_whole(self.sector_bytes))
    }

    /// A watermark has rotted: what was synced last needs to be spared again.
    fn loses_a_mark(&mut self) {
        self.has_lost_a_mark = true;
        for (name, id) in self.names.iter() {
            if is_log(name) {
                self.nodes.get_mut(&id).expect("names lead to files").has_witness(false);
            }
        }
    }

    fn used_bytes(&self) -> u64 {
        self.nodes.values().map(|node| node.len() as u64).sum()
    }

    /// Whether a call may go on, and what strikes it.
    fn enter(&mut self, call: Call) -> Result<Option<Fault>> {
        if self.stopped {
            return Err(Error::other("the machine has stopped"));
        }
        let mut struck = None;
        self.armed.retain_mut(|(fault, left)| {
            if !fault.strikes(call) {
                return true;
            }
            if *left > 0 || struck.is_some() {
                *left = left.saturating_sub(1);
                return true;
            }
            struck = Some(*fault);
            false
        });
        if let Some(fault) = struck {
            self.met.insert(fault.probe());
            self.stopped = fault == Fault::Stop;
        }
        Ok(struck)
    }

    /// Does `change` unless the machine stops here, and half of the time all the same.
    fn change(&mut self, change: Move) -> Result<()> {
        let fault = self.enter(Call::Name)?;
        if fault.is_none() || self.stream.coin() {
            self.names.change(change);
        }
        if fault.is_some() { Err(io_error()) } else { Ok(()) }
    }

    fn alive(&self, life: u64, id: u64) -> Result<&FileNode> {
        if self.life != life || self.stopped {
            return Err(Error::other("the file belongs to a process that has ended"));
        }
        self.nodes.get(&id).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// How many of `n_bytes` find room at `offset` of a file.
    fn room(&self, id: u64, offset: usize, n_bytes: usize) -> usize {
        let Some(capacity) = self.capacity else { return n_bytes };
        let growth = (offset + n_bytes).saturating_sub(self.nodes[&id].len()) as u64;
        let free = capacity.saturating_sub(self.used_bytes());
        n_bytes.saturating_sub(growth.saturating_sub(free) as usize)
    }

    fn write(&mut self, id: u64, offset: usize, bytes: &[u8], aim: Aim) {
        let is_witness = self.names.iter().any(|(name, file)| file == id && is_witness(name));
        let Shared { nodes, stream, sector_bytes, .. } = self;
        let node = nodes.get_mut(&id).expect("it is alive");
        let mut dice = Dice { stream, sector: *sector_bytes };
        node.write(offset, bytes, aim, is_witness, &mut dice);
    }
}

/// `EIO`.
fn io_error() -> Error {
    Error::other("input/output error")
}

impl Disk for SectorDisk {
    type File = SectorFile;
    type Lock = SectorLock;

    fn place(&self) -> String {
        "the simulated disk".to_owned()
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.shared().names.list())
    }

    fn create(&self, name: &str) -> Result<SectorFile> {
        let mut shared = self.shared();
        if shared.names.find(name).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = shared.names.new_file();
        shared.nodes.insert(node, FileNode::default());
        shared.change(Move::Bind { name: name.to_owned(), file: node })?;
        Ok(SectorFile { disk: self.clone(), node, life: shared.life })
    }

    fn open(&self, name: &str) -> Result<SectorFile> {
        let shared = self.shared();
        Ok(SectorFile { disk: self.clone(), node: shared.names.find(name)?, life: shared.life })
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut shared = self.shared();
        let file = shared.names.find(from)?;
        shared.change(Move::Rename { from: from.to_owned(), to: to.to_owned(), file })
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut shared = self.shared();
        let file = shared.names.find(name)?;
        shared.change(Move::Unbind { name: name.to_owned(), file })
    }

    fn sync_folder(&self) -> Result<()> {
        let mut shared = self.shared();
        if shared.enter(Call::Name)?.is_some() {
            return Err(io_error());
        }
        shared.names.sync();
        shared.forget_unnamed();
        Ok(())
    }

    fn lock(&self) -> Result<Option<SectorLock>> {
        let mut shared = self.shared();
        if std::mem::replace(&mut shared.locked, true) {
            return Ok(None);
        }
        Ok(Some(SectorLock { disk: self.clone(), life: shared.life }))
    }

    fn free_bytes(&self) -> Result<u64> {
        let shared = self.shared();
        let free = |capacity: u64| capacity.saturating_sub(shared.used_bytes());
        Ok(shared.capacity.map_or(u64::MAX, free))
    }
}

/// A file of a [`SectorDisk`].
#[derive(Debug)]
pub struct SectorFile {
    disk: SectorDisk,
    node: u64,
    life: u64,
}

impl DiskFile for SectorFile {
    fn size(&self) -> Result<u64> {
        Ok(self.disk.shared().alive(self.life, self.node)?.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let mut shared = self.disk.shared();
        let sector_bytes = shared.sector_bytes;
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let node = shared.alive(self.life, self.node)?;
        match node.read(start, into, sector_bytes).ok_or(ErrorKind::UnexpectedEof)? {
            Reading::Good => Ok(()),
            Reading::Rotten => {
                shared.met.insert("disk: damaged sector read");
                Ok(())
            }
            Reading::Unreadable => {
                shared.met.insert("disk: unreadable sector met");
                Err(io_error())
            }
        }
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut shared = self.disk.shared();
        let shared = &mut *shared;
        let offset = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        shared.alive(self.life, self.node)?;
        let fault = shared.enter(Call::Write)?;
        let room = shared.room(self.node, offset, bytes.len());
        if room < bytes.len() {
            shared.met.insert("disk: no room");
            shared.write(self.node, offset, &bytes[..room], Aim::True);
            return Err(ErrorKind::StorageFull.into());
        }
        match fault {
            None => shared.write(self.node, offset, bytes, Aim::True),
            Some(Fault::LostWrite) => shared.write(self.node, offset, bytes, Aim::Nowhere),
            Some(Fault::Misdirected) => shared.write(self.node, offset, bytes, Aim::Astray),
            Some(Fault::Stop | Fault::Write | Fault::Sync) => {
                let n_bytes = shared.stream.below(bytes.len() as u64 + 1) as usize;
                shared.write(self.node, offset, &bytes[..n_bytes], Aim::True);
                return Err(io_error());
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let mut shared = self.disk.shared();
        let shared = &mut *shared;
        shared.alive(self.life, self.node)?;
        let fault = shared.enter(Call::Sync)?;
        let Shared { nodes, stream, sector_bytes, .. } = shared;
        let node = nodes.get_mut(&self.node).expect("it is alive");
        match fault {
            None => {
                node.sync();
                let is_mark = |(name, id): (&str, u64)| id == self.node && is_watermark(name);
                if shared.names.iter().any(is_mark) {
                    shared.vouch();
                }
                Ok(())
            }
            Some(Fault::Sync) => {
                node.fail_sync(&mut Dice { stream, sector: *sector_bytes });
                Err(io_error())
            }
            // All of it may have got there, or anything less: the power cut to come decides.
            Some(_) => Err(io_error()),
        }
    }
}

/// The lock of a [`SectorDisk`].
#[derive(Debug)]
pub struct SectorLock {
    disk: SectorDisk,
    life: u64,
}

impl Drop for SectorLock {
    fn drop(&mut self) {
        let mut shared = self.disk.shared();
        if shared.life == self.life {
            shared.locked = false;
        }
    }
}
