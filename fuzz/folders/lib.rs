//! The door that a server's own files come through when it starts: a good folder with arbitrary
//! edits, with and without right checksums. It panics if recovery breaks a promise: that it is
//! total, that it believes no length, and that it hands over nothing but what was written.
//!
//! A module of the target for it, and of `net/tests/folders.rs`, where plain tests run the saved
//! corpus and some thousand edits of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use zokor_core::db::{Action, Image, ImageBuilder, ImageError, ImageNode, Rules, StoredStat, Txn};
use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::{
    Entry, EntryId, HardState, Index, Membership, Payload, Persist, SharedEntry, SnapshotMeta,
    Term, Ticket,
};
use zokor_core::replica::{Recovered, Snapshot};
use zokor_core::time::{Instant, WallTime};
use zokor_net::storage::{MemoryDisk, Options, begin_with, inspect, open};

type Files = BTreeMap<String, Vec<u8>>;

/// What was ever written, and what lies there.
struct Folder {
    files: Files,
    entries: Vec<SharedEntry<Txn>>,
    snapshots: BTreeSet<Index>,
    hard_states: Vec<HardState>,
}

/// A folder, and edits of its files: see [`Edits`]. The first byte says whether there are peers
/// (1), whether checksums are set right after the edits, which a fuzzer would not find (2), and
/// which of the good folders is edited (4).
pub fn folder(bytes: &[u8]) {
    static FOLDERS: OnceLock<[Folder; 2]> = OnceLock::new();
    let folders = FOLDERS.get_or_init(|| [grown(), begun()]);
    let Some((&flags, edits)) = bytes.split_first() else { return };
    let folder = &folders[usize::from(flags & 4 != 0)];
    let mut files = folder.files.clone();
    Edits(edits).make(&mut files);
    let is_sealed = flags & 2 != 0;
    if is_sealed {
        files.iter_mut().for_each(|(name, content)| seal(name, content));
    }
    let disk = MemoryDisk::new();
    files.iter().for_each(|(name, content)| disk.put(name, content));
    let _ = inspect(&disk, None);
    let options = Options { has_peers: flags & 1 != 0, ..options() };
    let Ok(mut opened) = open(disk.clone(), &options) else {
        if flags & 1 == 0 {
            let after: Vec<String> = disk.contents().into_keys().collect();
            let is_there = |name: &String| after.contains(name) || name.ends_with(".tmp");
            assert!(files.keys().all(is_there), "what is refused stays as it is");
        }
        return;
    };
    if !is_sealed {
        was_written(&opened.recovered, folder);
    }
    for step in 0..8 {
        let told = opened.scrub.step(Instant::from_micros(step), 1 << 20);
        if told.mends_log && opened.wal.mend().is_err() {
            return;
        }
    }
}

/// Nothing is handed over that was not written once.
fn was_written(recovered: &Recovered, folder: &Folder) {
    let behind = recovered.damage.iter().flat_map(|damage| &damage.behind);
    for entry in recovered.entries.iter().chain(behind) {
        assert!(folder.entries.contains(entry), "{:?} was never written", entry.id);
    }
    if let Some(snapshot) = &recovered.snapshot {
        let last = snapshot.meta.last;
        assert!(folder.snapshots.contains(&last.index), "{last:?} was never saved");
        assert_eq!(snapshot.image.digest(), image(snapshot.zxid).digest());
    }
    let hard_state = recovered.hard_state;
    assert!(folder.hard_states.contains(&hard_state), "{hard_state:?} was never written");
}

/// Edits one after the other, each a byte that says what and bytes that say where.
struct Edits<'a>(&'a [u8]);

impl Edits<'_> {
    fn byte(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    fn number(&mut self) -> usize {
        self.byte() | self.byte() << 8
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    fn name(&mut self, files: &Files) -> Option<String> {
        let at = self.byte() % files.len().max(1);
        files.keys().nth(at).cloned()
    }

    /// A file, and a place in it: near its beginning, or anywhere.
    fn place(&mut self, files: &Files) -> Option<(String, usize)> {
        let name = self.name(files)?;
        let at = self.number();
        let at = if self.byte().is_multiple_of(2) { at % 256 } else { at };
        let n_bytes = files[&name].len();
        Some((name, at % (n_bytes + 1)))
    }

    fn make(mut self, files: &mut Files) {
        while !self.0.is_empty() && !files.is_empty() {
            if self.one(files).is_none() {
                return;
            }
        }
    }

    fn one(&mut self, files: &mut Files) -> Option<()> {
        match self.byte() % 10 {
            0 | 1 => {
                let (name, at) = self.place(files)?;
                let n = self.byte() % 16 + 1;
                let new = self.take(n);
                over(files.get_mut(&name)?, at, &new);
            }
            2 => {
                let (name, at) = self.place(files)?;
                let mask = self.byte() as u8 | 1;
                if let Some(byte) = files.get_mut(&name)?.get_mut(at) {
                    *byte ^= mask;
                }
            }
            3 => {
                let (name, at) = self.place(files)?;
                files.get_mut(&name)?[at..].fill(0);
            }
            4 => {
                let (name, at) = self.place(files)?;
                files.get_mut(&name)?.truncate(at);
            }
            5 => {
                let name = self.name(files)?;
                let n = self.number();
                let content = files.get_mut(&name)?;
                content.resize(content.len() + n, 0);
            }
            6 => {
                let name = self.name(files)?;
                files.remove(&name);
            }
            7 => {
                let (from, at) = self.place(files)?;
                let n = self.number();
                let piece: Vec<u8> = files[&from][at..].iter().take(n).copied().collect();
                let (to, at) = self.place(files)?;
                over(files.get_mut(&to)?, at, &piece);
            }
            8 => {
                let from = self.name(files)?;
                let content = files.get(&from)?.clone();
                let (number, index) = (self.byte(), self.byte());
                let name = match self.byte() % 4 {
                    0 => format!("snapshot-{index:016x}.zk"),
                    1 => format!("log-{number:08x}-{index:016x}.zk"),
                    2 => format!("log-{number:08x}-{index:016x}.used.tmp"),
                    _ => self.name(files)?,
                };
                files.insert(name, content);
            }
            _ => {
                let name = self.name(files)?;
                let n = self.number();
                files.insert(name, self.take(n));
            }
        }
        Some(())
    }
}

/// Writes over a part of `content`, which does not grow.
fn over(content: &mut [u8], at: usize, new: &[u8]) {
    let n = new.len().min(content.len() - at.min(content.len()));
    content[at..at + n].copy_from_slice(&new[..n]);
}

/// Sets the checksums of a file right, as far as it looks like one of ours.
fn seal(name: &str, content: &mut [u8]) {
    if name == "zokor-identity" {
        put_crc(content, 60);
    } else if name == "zokor-ensemble" {
        put_crc(content, 28);
    } else if name.starts_with("watermark-") {
        put_crc(content, 84);
    } else if name.starts_with("log-") {
        seal_segment(content);
    } else if name.starts_with("snapshot-") {
        seal_snapshot(content);
    }
}

/// The checksum of what comes before `at`, put there.
fn put_crc(content: &mut [u8], at: usize) {
    if content.len() >= at + 4 {
        let crc = crc32c::crc32c(&content[..at]);
        content[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

fn word(content: &[u8], at: usize) -> usize {
    let bytes = content.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
}

/// The head, and every record that follows from it; the lengths in them lead to the next.
fn seal_segment(content: &mut [u8]) {
    put_crc(content, 4092);
    if content.len() < 4096 {
        return;
    }
    let salt = crc32c::crc32c(&content[16..40]);
    let mut at = 4096;
    while let Some(record) = content.get_mut(at..).filter(|record| record.len() >= 48) {
        let n_bytes = word(record, 0);
        let Some(body) = record.get(48..).and_then(|rest| rest.get(..n_bytes)) else { return };
        let crc = crc32c::crc32c_append(salt, body);
        record[32..36].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &record[..44]);
        record[44..48].copy_from_slice(&crc.to_le_bytes());
        at += 48 + n_bytes.next_multiple_of(8);
        if let Some(next) = content.get_mut(at + 36..at + 40).filter(|next| **next != [0; 4]) {
            next.copy_from_slice(&crc.to_le_bytes());
        }
    }
}

fn seal_snapshot(content: &mut [u8]) {
    let end = word(content, 12);
    if end < 64 || end > content.len() {
        return;
    }
    put_crc(&mut content[..end], end - 4);
    let mut crc = word(content, end - 4) as u32;
    let mut at = end;
    while at + 8 <= content.len() {
        let n_bytes = word(content, at);
        let length = if n_bytes == 0 { 24 } else { n_bytes };
        let Some(chunk) = content.get(at + 8..).and_then(|rest| rest.get(..length)) else { return };
        crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &content[at..at + 4]), chunk);
        content[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        at += 8 + length;
    }
}

fn options() -> Options {
    Options { segment_bytes: 8 << 10, ..Options::new(ServerId(7), [0xa5; 16], WallTime(1_000)) }
}

/// A folder that has grown: several segments, one of them used before, snapshots, votes, and
/// entries that were cut.
fn grown() -> Folder {
    let disk = MemoryDisk::new();
    let mut opened = open(disk.clone(), &options()).expect("an empty folder");
    let mut folder = Folder::new();
    for round in 1..=6 {
        let term = Term(round);
        let hard_state = HardState { term, vote: (round % 2 == 0).then_some(ServerId(round)) };
        folder.hard_states.push(hard_state);
        let from = opened.wal.last_index().0 + 1;
        let append: Vec<_> = (from..from + 12).map(|index| entry(term, index)).collect();
        folder.entries.extend(append.iter().cloned());
        let batch = Persist { hard_state: Some(hard_state), append, ..nothing() };
        opened.wal.persist(&[batch]).expect("there is room");
        if round == 3 {
            let truncate_after = Some(Index(from + 5));
            opened.wal.persist(&[Persist { truncate_after, ..nothing() }]).expect("as before");
        }
        if round > 1 && round < 6 {
            let last = EntryId { term, index: opened.wal.last_index() };
            opened.snapshots.save(&snapshot(last)).expect("there is room");
            folder.snapshots.insert(last.index);
            let older = folder.snapshots.iter().rev().nth(1).copied();
            opened.wal.purge(older.unwrap_or_default()).expect("as before");
        }
    }
    opened.wal.mark().expect("there is room");
    drop(opened);
    folder.files = disk.contents();
    folder
}

/// A folder that began with a backup, and was sent a snapshot.
fn begun() -> Folder {
    let disk = MemoryDisk::new();
    let first = EntryId { term: Term(2), index: Index(40) };
    begin_with(disk.clone(), None, &options(), 77, &snapshot(first)).expect("an empty folder");
    let mut opened = open(disk.clone(), &options()).expect("it was begun");
    let mut folder = Folder::new();
    folder.snapshots.insert(first.index);
    folder.hard_states.push(HardState { term: Term(2), vote: None });
    let append: Vec<_> = (41..50).map(|index| entry(Term(2), index)).collect();
    folder.entries.extend(append.iter().cloned());
    opened.wal.persist(&[Persist { append, ..nothing() }]).expect("there is room");
    let sent = EntryId { term: Term(3), index: Index(60) };
    opened.snapshots.save(&snapshot(sent)).expect("there is room");
    folder.snapshots.insert(sent.index);
    let hard_state = HardState { term: Term(3), vote: Some(ServerId(1)) };
    folder.hard_states.push(hard_state);
    let append: Vec<_> = (61..65).map(|index| entry(Term(3), index)).collect();
    folder.entries.extend(append.iter().cloned());
    let reset = Some(snapshot(sent).meta);
    let batch = Persist { hard_state: Some(hard_state), reset, append, ..nothing() };
    opened.wal.persist(&[batch]).expect("there is room");
    drop(opened);
    folder.files = disk.contents();
    folder
}

impl Folder {
    fn new() -> Self {
        let hard_states = vec![HardState::default()];
        let (files, snapshots) = (Files::new(), BTreeSet::new());
        Folder { files, entries: Vec::new(), snapshots, hard_states }
    }
}

fn nothing() -> Persist<Txn> {
    Persist {
        ticket: Ticket(0),
        hard_state: None,
        reset: None,
        truncate_after: None,
        append: Vec::new(),
    }
}

fn entry(term: Term, index: u64) -> SharedEntry<Txn> {
    let path = format!("/{}", "x".repeat(40 + index as usize % 50));
    let action = Action::Reap { path: path.into(), unused_ms: 0 };
    let txn = Txn { time: WallTime(index as i64), rules: Rules::default(), action };
    Arc::new(Entry { id: EntryId { term, index: Index(index) }, payload: Payload::Command(txn) })
}

fn snapshot(last: EntryId) -> Snapshot {
    let membership = Membership::of_voters([ServerId(1), ServerId(7)]);
    let zxid = Zxid(last.index.0 as i64);
    let meta = SnapshotMeta { last, membership: Some((Index(1), membership)) };
    Snapshot { meta, zxid, image: image(zxid) }
}

fn image(zxid: Zxid) -> Image {
    let build = |digest| {
        let mut image = ImageBuilder::new();
        for (path, size) in [("/", 0), ("/a", 300)] {
            let data = Some(Bytes::from(vec![7; size]));
            let (acl, stat) = (Arc::new([]), StoredStat::default());
            image.node(ImageNode { path: path.into(), data, acl, stat }).expect("in order");
        }
        image.finish(zxid, digest)
    };
    match build(0) {
        Err(ImageError::Digest { found, .. }) => build(found).expect("only the digest was wrong"),
        built => built.expect("only the digest can be wrong"),
    }
}
