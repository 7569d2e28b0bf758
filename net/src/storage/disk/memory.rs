//! A disk in memory that forgets like a real one: for tests and simulations.
//!
//! Invariant: what was synced stays, whatever [`MemoryDisk::crash`] is asked. Of what was not, each
//! 512-byte sector is kept, lost or kept up to some byte, and each change of a name is kept or
//! lost, all of it by the seed alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile, Move, Names};

/// What is kept, lost or torn by itself.
const SECTOR_BYTES: usize = 512;

/// One folder in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Shared>>,
}

/// What goes wrong at a chosen call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: this call may have happened or not, and every later call fails.
    Stop,
    /// The call fails; after a failed sync all counts as clean, and any of it may be lost in a
    /// crash.
    Fail,
    /// The call fails for want of space.
    Full,
}

#[derive(Debug, Default)]
struct Shared {
    nodes: BTreeMap<u64, Node>,
    names: Names,
    /// Counts crashes: files and locks of an earlier life are dead.
    life: u64,
    locked: bool,
    /// Counts the calls that change something.
    calls: u64,
    fault: Option<(u64, Fault)>,
    stopped: bool,
    /// How many bytes all files may have together.
    capacity: Option<u64>,
    /// So many calls to read fail from now on, and how.
    read_faults: (u64, Option<ErrorKind>),
}

#[derive(Debug, Default)]
struct Node {
    current: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// What lies from here on cannot be read.
    unreadable_from: Option<usize>,
}

impl MemoryDisk {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: open files and locks are dead, and what was not synced is kept, lost or torn
    /// as `seed` has it. The disk works again afterwards, and no fault is set.
    pub fn crash(&self, seed: u64) {
        let mut dice = Dice(seed);
        let mut shared = self.shared();
        let shared = &mut *shared;
        shared.names.cut_power(|limit| dice.below(limit));
        shared.forget_unnamed();
        for node in shared.nodes.values_mut() {
            node.crash(&mut dice);
        }
        shared.life += 1;
        shared.locked = false;
        shared.stopped = false;
        shared.fault = None;
    }

    /// Ends the process but not the machine: open files and locks are dead, nothing is lost yet.
    pub fn kill(&self) {
        let mut shared = self.shared();
        shared.life += 1;
        shared.locked = false;
        shared.stopped = false;
        shared.fault = None;
    }

    /// Lets `fault` happen at the call that is the `n`th from now to change something (0: the
    /// next).
    pub fn fault_at(&self, n: u64, fault: Fault) {
        let mut shared = self.shared();
        shared.fault = Some((shared.calls + n, fault));
    }

    /// From now on the files may grow by `n_bytes` together and no more; `None` takes the limit
    /// away.
    pub fn leave(&self, n_bytes: Option<u64>) {
        let mut shared = self.shared();
        shared.capacity = n_bytes.map(|n_bytes| shared.used_bytes() + n_bytes);
    }

    /// How many calls have changed something so far.
    pub fn calls(&self) -> u64 {
        self.shared().calls
    }

    /// The content of a file, for tests; `None` if there is none of that name.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let shared = self.shared();
        let node = shared.names.find(name).ok()?;
        Some(shared.nodes[&node].current.clone())
    }

    /// Puts a file there, durably, over what had the name: rot, or something foreign.
    pub fn put(&self, name: &str, content: &[u8]) {
        let mut shared = self.shared();
        let id = shared.names.new_file();
        let content = content.to_vec();
        let node = Node { current: content.clone(), durable: content, ..Node::default() };
        shared.nodes.insert(id, node);
        shared.names.put(name, id);
    }

    /// Changes a byte of a file where it lies, cached or not: whoever has the file open sees it.
    pub fn rot(&self, name: &str, at: usize, mask: u8) {
        let mut shared = self.shared();
        let node = shared.names.find(name).expect("it is there");
        let node = shared.nodes.get_mut(&node).expect("names lead to files");
        node.current[at] ^= mask;
        if let Some(byte) = node.durable.get_mut(at) {
            *byte ^= mask;
        }
    }

    /// From now on nothing of a file can be read that lies at `from` or behind.
    pub fn lose_from(&self, name: &str, from: usize) {
        let mut shared = self.shared();
        let node = shared.names.find(name).expect("it is there");
        let node = shared.nodes.get_mut(&node).expect("names lead to files");
        node.unreadable_from = Some(from);
    }

    /// Lets the next `n` calls to read fail.
    pub fn refuse_reads(&self, n: u64, kind: ErrorKind) {
        self.shared().read_faults = (n, Some(kind));
    }

    /// Everything that is there, by name, for comparing.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let shared = self.shared();
        let one = |(name, id): (&str, u64)| (name.to_owned(), shared.nodes[&id].current.clone());
        shared.names.iter().map(one).collect()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no call panics while it holds the lock")
    }
}

impl Shared {
    /// Drops the nodes that no name leads to, now that names and durable names agree.
    fn forget_unnamed(&mut self) {
        let named = self.names.files();
        self.nodes.retain(|id, _| named.contains(id));
    }

    /// Whether a call that changes something may go on, and whether it fails after all.
    fn enter(&mut self) -> Result<Option<Fault>> {
        if self.stopped {
            return Err(Error::other("the machine has stopped"));
        }
        let call = self.calls;
        self.calls += 1;
        match self.fault {
            Some((at, fault)) if at == call => {
                self.stopped = fault == Fault::Stop;
                Ok(Some(fault))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Does `change` unless the call is one to fail, half of which have happened all the same.
    fn change(&mut self, change: Move) -> Result<()> {
        let fault = self.enter()?;
        if fault.is_none() || self.calls.is_multiple_of(2) {
            self.names.change(change);
        }
        outcome(fault)
    }

    fn used_bytes(&self) -> u64 {
        self.nodes.values().map(|node| node.current.len() as u64).sum()
    }

    /// `None` if there is no limit.
    fn free_bytes(&self) -> Option<u64> {
        self.capacity.map(|capacity| capacity.saturating_sub(self.used_bytes()))
    }

    fn alive(&mut self, life: u64, id: u64) -> Result<&mut Node> {
        if self.life != life || self.stopped {
            return Err(Error::other("the file belongs to a process that has ended"));
        }
        self.nodes.get_mut(&id).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

fn outcome(fault: Option<Fault>) -> Result<()> {
    match fault {
        None => Ok(()),
        Some(Fault::Stop | Fault::Fail) => Err(Error::other("the disk has failed")),
        Some(Fault::Full) => Err(ErrorKind::StorageFull.into()),
    }
}

impl Node {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        let old_end = self.current.len();
        if old_end < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
        let from = offset.min(old_end) / SECTOR_BYTES;
        self.dirty.extend(from..end.div_ceil(SECTOR_BYTES));
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector, SECTOR_BYTES);
        }
        self.durable.resize(self.current.len(), 0);
    }

    fn crash(&mut self, dice: &mut Dice) {
        self.lose_silently(dice);
        self.current = self.durable.clone();
    }

    /// Counts everything as clean, though any of it may not be on the platter: what ext4 and XFS do
    /// when a sync fails. Reading still shows all of it, until the power is cut.
    fn lose_silently(&mut self, dice: &mut Dice) {
        for sector in std::mem::take(&mut self.dirty) {
            match dice.below(3) {
                0 => {}
                1 => self.keep(sector, SECTOR_BYTES),
                _ => {
                    let n_bytes = dice.below(SECTOR_BYTES as u64) as usize;
                    self.keep(sector, n_bytes);
                }
            }
        }
    }

    /// Moves the first `n_bytes` of a sector to the platter.
    fn keep(&mut self, sector: usize, n_bytes: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + n_bytes).min(self.current.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.current[start..end]);
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.shared().names.list())
    }

    fn create(&self, name: &str) -> Result<MemoryFile> {
        let mut shared = self.shared();
        if shared.names.find(name).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = shared.names.new_file();
        shared.nodes.insert(node, Node::default());
        shared.change(Move::Bind { name: name.to_owned(), file: node })?;
        Ok(MemoryFile { disk: self.clone(), node, life: shared.life })
    }

    fn open(&self, name: &str) -> Result<MemoryFile> {
        let shared = self.shared();
        Ok(MemoryFile { disk: self.clone(), node: shared.names.find(name)?, life: shared.life })
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
        let fault = shared.enter()?;
        if fault.is_none() {
            shared.names.sync();
            shared.forget_unnamed();
        }
        outcome(fault)
    }

    fn lock(&self) -> Result<Option<MemoryLock>> {
        let mut shared = self.shared();
        if std::mem::replace(&mut shared.locked, true) {
            return Ok(None);
        }
        Ok(Some(MemoryLock { disk: self.clone(), life: shared.life }))
    }

    fn free_bytes(&self) -> Result<u64> {
        Ok(self.shared().free_bytes().unwrap_or(u64::MAX))
    }
}

/// A file of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    node: u64,
    life: u64,
}

impl DiskFile for MemoryFile {
    fn size(&self) -> Result<u64> {
        Ok(self.disk.shared().alive(self.life, self.node)?.current.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let mut shared = self.disk.shared();
        if let (left @ 1.., Some(kind)) = shared.read_faults {
            shared.read_faults.0 = left - 1;
            return Err(kind.into());
        }
        let node = shared.alive(self.life, self.node)?;
        let end = offset.saturating_add(into.len() as u64);
        if node.unreadable_from.is_some_and(|from| end > from as u64) {
            return Err(Error::other("input/output error"));
        }
        let content = &node.current;
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let found = start.checked_add(into.len()).and_then(|end| content.get(start..end));
        into.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut shared = self.disk.shared();
        let offset = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        shared.alive(self.life, self.node)?;
        let mut fault = shared.enter()?;
        let free_bytes = shared.free_bytes();
        let node = shared.nodes.get_mut(&self.node).expect("it is alive");
        let more = (offset + bytes.len()).saturating_sub(node.current.len()) as u64;
        if free_bytes.is_some_and(|free_bytes| free_bytes < more) {
            fault = fault.or(Some(Fault::Full));
        }
        if fault != Some(Fault::Full) {
            node.write(offset, bytes);
        }
        outcome(fault)
    }

    fn sync(&mut self) -> Result<()> {
        let mut shared = self.disk.shared();
        shared.alive(self.life, self.node)?;
        let fault = shared.enter()?;
        let calls = shared.calls;
        let node = shared.nodes.get_mut(&self.node).expect("it is alive");
        match fault {
            None => node.sync(),
            Some(Fault::Fail) => node.lose_silently(&mut Dice(calls)),
            // All of it may have got there, or anything less: the crash to come decides.
            Some(Fault::Stop | Fault::Full) => {}
        }
        outcome(fault)
    }
}

/// The lock of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryLock {
    disk: MemoryDisk,
    life: u64,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut shared = self.disk.shared();
        if shared.life == self.life {
            shared.locked = false;
        }
    }
}

/// SplitMix64: enough to choose what a power cut takes.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
