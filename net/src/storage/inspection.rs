//! A look at a server's folders from outside, also while the server is at work in them.
//!
//! Invariant: nothing is changed and nothing is claimed. Whether the folders are sound is judged by
//! recovery's own code; this only lists, and gives away what recovery would hand over.

use std::sync::Arc;

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::{Entry, EntryId, HardState, Index, SharedEntry, SnapshotMeta};
use zokor_core::replica::Snapshot;
use zokor_core::time::WallTime;

use super::copy::refusal;
use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::identity::Identity;
use super::place::{failed, list, open};
use super::record::{HEADER_BYTES, Kind};
use super::recover::join;
use super::replay::{Run, read_head, replay};
use super::segment::{Head, MAX_SEGMENT_BYTES, number_of};
use super::snapshot;
use super::snapshots::Found;
use super::watermark::Watermark;
use super::{body, distrust, ensemble};

/// What is in a server's folders.
#[derive(Debug)]
pub struct Inspection {
    /// Whose they are.
    pub server: ServerId,
    /// When they were new.
    pub created: WallTime,
    /// The number of the ensemble; 0 if it began empty.
    pub ensemble: u64,
    /// The last batch of the log that is noted as durable; 0 if none is.
    pub durable_batch: u64,
    /// The log's files, oldest first.
    pub segments: Vec<SegmentFacts>,
    /// What stands in them, in order, as far as it is whole, if that is wanted.
    pub records: Vec<Record>,
    /// The entries that recovery would find, ascending without a gap; those up to the newest
    /// snapshot too, if they are wanted. Empty if the log is damaged.
    pub entries: Vec<SharedEntry<Txn>>,
    /// Bytes behind the log's end that were never finished. Of a server at work, they are what it
    /// was writing.
    pub torn_bytes: usize,
    /// The snapshots that are whole, oldest first.
    pub snapshots: Vec<SnapshotFacts>,
    /// All that is wrong.
    pub damage: Vec<Error>,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its name.
    pub name: String,
    /// Its length.
    pub n_bytes: u64,
    /// The index of the entry that was to come when it was begun.
    pub next: Index,
    /// Term and vote at that time.
    pub hard_state: HardState,
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// In which file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// The batch that made it durable.
    pub batch: u64,
    /// What it says.
    pub kind: RecordKind,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// This entry is appended.
    Entry(SharedEntry<Txn>),
    /// The entries above go.
    Truncate(Index),
    /// The log begins anew after this one.
    Reset(EntryId),
    /// Term and vote from now on.
    HardState(HardState),
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Its file's name.
    pub name: String,
    /// Its length.
    pub n_bytes: u64,
    /// The last entry in it, and the membership then.
    pub meta: SnapshotMeta,
    /// The zxid of that entry.
    pub zxid: Zxid,
    /// How many znodes there are.
    pub n_znodes: usize,
    /// How many sessions there are.
    pub n_sessions: usize,
    /// The digest of the state.
    pub digest: u64,
}

/// Looks at a server's folder, and at that of its log if that lies apart.
///
/// # Errors
/// If the folder is no server's, or cannot be read at all. What is wrong with its files is in
/// [`Inspection::damage`].
pub fn inspect<D: Disk>(data: &D, log: Option<&D>) -> Result<Inspection, Error> {
    look(data, log, Wanted::All)
}

/// The same for whoever is to build a state that goes no further than `through`, if that is given:
/// without the records, and without the entries that the snapshot holds which is to be begun with.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_state<D: Disk>(
    data: &D,
    log: Option<&D>,
    through: Option<Zxid>,
) -> Result<Inspection, Error> {
    look(data, log, Wanted::State(through))
}

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Everything.
    All,
    /// A state, up to this if that is given.
    State(Option<Zxid>),
}

fn look<D: Disk>(data: &D, log: Option<&D>, wanted: Wanted) -> Result<Inspection, Error> {
    let Some(identity) = Identity::find(data)? else {
        let what = "it has no zokor-identity, so it is no folder of a zokor server";
        return Err(Error::Mismatch { place: data.place(), what });
    };
    let log = log.unwrap_or(data);
    let mut found = Inspection {
        server: identity.server,
        created: identity.created,
        ensemble: 0,
        durable_batch: 0,
        segments: Vec::new(),
        records: Vec::new(),
        entries: Vec::new(),
        torn_bytes: 0,
        snapshots: Vec::new(),
        damage: Vec::new(),
    };
    match ensemble::read(data) {
        Ok(number) => found.ensemble = number,
        Err(error) => found.damage.push(error),
    }
    // First what was durable, then the log: the log of a server at work only grows.
    let mark = Watermark::find(log, identity.id)?;
    found.durable_batch = mark.watermark.batch();
    let snapshots = found.snapshots(data, identity.id)?;
    if snapshots.is_distrusted {
        let what = "its state was found to be another than that of a quorum (zokor-distrust)";
        found.damage.push(Error::Mismatch { place: data.place(), what });
    }
    let covered = match wanted {
        Wanted::All => Index::ZERO,
        Wanted::State(through) => found.newest_within(through),
    };
    match replay(log, identity.id, covered, &mark) {
        Ok(Some(replayed)) => {
            let newest = found.snapshots.last().map(|facts| facts.meta.clone()).unwrap_or_default();
            if let Err(error) = join(data, log, &replayed.log, &snapshots, &newest) {
                found.damage.push(error);
            }
            let slots = replayed.log.slots.into_iter();
            found.entries = slots.filter_map(|(_, entry)| entry).collect();
            found.torn_bytes = replayed.torn_bytes;
        }
        Ok(None) => {
            let what = "its log segments are gone";
            found.damage.push(Error::Mismatch { place: log.place(), what });
        }
        Err(error) => found.damage.push(error),
    }
    found.list_log(log, wanted == Wanted::All)?;
    Ok(found)
}

impl Inspection {
    /// The index with which the newest snapshot ends that goes no further than `through`; 0 if
    /// there is none.
    pub fn newest_within(&self, through: Option<Zxid>) -> Index {
        let newest = self.snapshots.iter().rev();
        let mut fitting =
            newest.filter(|facts| through.is_none_or(|through| facts.zxid <= through));
        fitting.next().map_or(Index::ZERO, |facts| facts.meta.last.index)
    }

    /// The newest snapshot that ends with `index` or before, read anew; `None` if there is none and
    /// the log begins with the first entry.
    ///
    /// # Errors
    /// If it has gone since, or is not what it was.
    pub fn snapshot_before<D: Disk>(
        &self,
        data: &D,
        index: Index,
    ) -> Result<Option<Snapshot>, Error> {
        let facts = self.snapshots.iter().rev().find(|facts| facts.meta.last.index <= index);
        facts.map(|facts| super::read_copy(data, &facts.name)).transpose()
    }

    fn snapshots<D: Disk>(&mut self, data: &D, id: [u8; 16]) -> Result<Found, Error> {
        let mut found = Found {
            newest: None,
            damaged: Vec::new(),
            present: std::collections::BTreeSet::new(),
            is_distrusted: distrust::is_marked(data)?,
        };
        for name in list(data)? {
            let Some(index) = snapshot::index_of(&name) else { continue };
            let file = open(data, &name)?;
            let n_bytes = file.size().map_err(failed(data, "measure", &name))?;
            match snapshot::read(&file, id) {
                Ok(Snapshot { meta, zxid, image }) if meta.last.index == index => {
                    let (n_znodes, digest) = (image.node_count(), image.digest());
                    let n_sessions = image.sessions().count();
                    let facts =
                        SnapshotFacts { name, n_bytes, meta, zxid, n_znodes, n_sessions, digest };
                    found.damaged.clear();
                    self.snapshots.push(facts);
                }
                Ok(_) => {
                    let what = "it is another snapshot under this name".to_owned();
                    found.damaged.insert(0, (index, what.clone()));
                    self.damage.push(refusal(data, &name, snapshot::Wrong::Damaged(what)));
                }
                Err(wrong) => {
                    let error = refusal(data, &name, wrong);
                    found.damaged.insert(0, (index, error.to_string()));
                    self.damage.push(error);
                }
            }
        }
        Ok(found)
    }

    /// The same entry, in memory once if it is one of those that recovery would find.
    fn shared(&self, entry: Entry<Txn>) -> SharedEntry<Txn> {
        let first = self.entries.first().map_or(Index::ZERO, |first| first.id.index);
        let place = entry.id.index.0.checked_sub(first.0);
        let place = place.and_then(|place| usize::try_from(place).ok());
        match place.and_then(|place| self.entries.get(place)) {
            Some(known) if **known == entry => known.clone(),
            _ => Arc::new(entry),
        }
    }

    /// Lists every segment by itself. What is wrong is judged elsewhere.
    fn list_log<D: Disk>(&mut self, log: &D, with_records: bool) -> Result<(), Error> {
        let mut names: Vec<(u64, String)> = Vec::new();
        for name in list(log)? {
            names.extend(number_of(&name).map(|number| (number, name)));
        }
        names.sort();
        for (_, name) in names {
            let file = open(log, &name)?;
            let Ok(head) = read_head(log, &name, &file) else { continue };
            let (salt, Head { size_bytes, position, .. }) = (head.salt(), head);
            if size_bytes > MAX_SEGMENT_BYTES {
                continue;
            }
            self.segments.push(SegmentFacts {
                name: name.clone(),
                n_bytes: size_bytes,
                next: position.next,
                hard_state: position.hard_state,
            });
            if !with_records {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(size_bytes).expect("64 bits")];
            file.read_at(0, &mut bytes).map_err(failed(log, "read", &name))?;
            let run = Run::read(salt, &bytes, position);
            for (at, header) in &run.records[..run.n_complete] {
                let kind = match header.kind {
                    Kind::Entry(_) => {
                        let start = at + HEADER_BYTES;
                        let body = &bytes[start..start + header.body_bytes as usize];
                        let Ok(entry) = body::decode_entry(body) else { break };
                        RecordKind::Entry(self.shared(entry))
                    }
                    Kind::Truncate(last) => RecordKind::Truncate(last),
                    Kind::Reset(last) => RecordKind::Reset(last),
                    Kind::HardState(hard_state) => RecordKind::HardState(hard_state),
                };
                let (file, offset, batch) = (name.clone(), *at as u64, header.batch);
                self.records.push(Record { file, offset, batch, kind });
            }
        }
        Ok(())
    }
}
