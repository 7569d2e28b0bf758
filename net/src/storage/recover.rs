//! From files to a server's state: which snapshot, which entries, and whether they belong together.
//!
//! Invariant: everything is read and judged before anything is changed, so that an error leaves the
//! folder as it was. What is handed over is durable: a process that ended without a power cut may
//! have left bytes that only the cache holds.

use std::sync::Arc;

use zokor_core::db::Txn;
use zokor_core::mutated;
use zokor_core::raft::{HardState, Index, Persist, SharedEntry, SnapshotMeta};
use zokor_core::replica::{Recovered, Snapshot};

use super::at_rest::Shared;
use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::identity::{Claimed, Identity, claim};
use super::place::{failed, list, remove};
use super::replay::{Log, Replayed, replay};
use super::scrub::Scrub;
use super::segment::{self, number_of};
use super::snapshot::name_of;
use super::snapshots::{Found, Snapshots, TEMPORARY_NAME, find};
use super::wal::{Tail, Wal};
use super::watermark::{FoundMark, Watermark};
use super::{Cut, Opened, Options, Report, distrust, ensemble};

mod damaged;

/// Opens the folders; see [`super::open`].
pub(super) fn open<D: Disk>(
    data: D,
    log: Option<D>,
    options: &Options,
) -> Result<Opened<D>, Error> {
    let number = ensemble::read(&data)?;
    let mut opened = open_unfinished(data, log, options)?;
    opened.report.ensemble = number;
    opened.scrub.belongs_to(number);
    Ok(opened)
}

/// As [`open`], whether the folder is whole or in the making.
pub(super) fn open_unfinished<D: Disk>(
    data: D,
    log: Option<D>,
    options: &Options,
) -> Result<Opened<D>, Error> {
    options.check()?;
    let Claimed { mut identity, locks } = claim(&data, log.as_ref(), options)?;
    let is_apart = log.is_some();
    let log = log.unwrap_or_else(|| data.clone());
    let shared = Arc::new(Shared::new(identity.id, locks));
    let found = find(&data, identity.id)?;
    let newest = found.newest.as_ref().map(|snapshot| snapshot.meta.clone()).unwrap_or_default();
    if !identity.is_complete() {
        remove_leftovers(&data, &log)?;
        remove_unborn(&log)?;
        let wal = Wal::create(shared.clone(), log.clone(), options.segment_bytes)?;
        identity.complete(&data)?;
        let report = Report { is_new: true, segment_count: 1, ..Report::default() };
        let folders = Folders { shared, data, log, is_apart, identity, options };
        let (snapshots, scrub) = folders.rest(&found);
        return Ok(Opened { wal, snapshots, scrub, recovered: Recovered::default(), report });
    }
    let mark = Watermark::find(&log, identity.id)?;
    let judged = judge(&data, &log, identity.id, &found, &newest, &mark);
    let folders = Folders { shared, data, log, is_apart, identity, options };
    let (replayed, joined) = match judged {
        Err(error) if options.has_peers && is_damage(&error) => {
            return damaged::open(folders, found, newest, mark, error);
        }
        judged => judged?,
    };
    go_on(folders, found, newest, mark, replayed, joined)
}

/// Reads the log and judges whether it goes with the snapshot.
fn judge<D: Disk>(
    data: &D,
    log: &D,
    id: [u8; 16],
    found: &Found,
    newest: &SnapshotMeta,
    mark: &FoundMark<D>,
) -> Result<(Replayed<D>, Joined), Error> {
    let replayed = replay(log, id, newest.last.index, mark)?.ok_or_else(|| {
        let what = "its log segments are gone";
        Error::Mismatch { place: log.place(), what }
    })?;
    let joined = join(data, log, &replayed.log, found, newest)?;
    Ok((replayed, joined))
}

/// Goes on with a log that is whole.
fn go_on<D: Disk>(
    folders: Folders<'_, D>,
    found: Found,
    newest: SnapshotMeta,
    mark: FoundMark<D>,
    replayed: Replayed<D>,
    joined: Joined,
) -> Result<Opened<D>, Error> {
    let Folders { shared, data, log, options, .. } = folders.clone();
    // All is judged: from here on the disk is changed.
    remove_leftovers(&data, &log)?;
    let Replayed { log: read, mut tail, last_batch, torn_bytes, outdated } = replayed;
    outdated.iter().try_for_each(|name| remove(&log, name))?;
    let file = tail.segments.back().expect("one is open").name.clone();
    settle(&log, &file, &mut tail, last_batch, torn_bytes)?;
    let cut = Cut { file, offset: tail.offset, n_bytes: torn_bytes as u64 };
    let report = Report {
        is_new: false,
        ensemble: 0,
        snapshot: newest.last.index,
        first: read.first,
        last: read.next().previous(),
        segment_count: tail.segments.len(),
        damaged_snapshots: found.damaged.iter().map(|(index, _)| name_of(*index)).collect(),
        damaged_watermarks: mark.damaged,
        cut: (torn_bytes > 0).then_some(cut),
        has_dropped_log: joined == Joined::LogGoes,
        is_distrusted: found.is_distrusted,
        ..Report::default()
    };
    let hard_state = tail.position.hard_state;
    let is_vouched = mark.agrees && mark.watermark.mark().hard_state == hard_state;
    let mut wal = Wal::resume(shared.clone(), log, options.segment_bytes, tail, mark.watermark);
    if !is_vouched && hard_state != HardState::default() {
        wal.vouch()?;
    }
    let (snapshots, scrub) = folders.rest(&found);
    let entries = match joined {
        Joined::LogGoesOn => entries_after(read, newest.last.index),
        Joined::LogGoes => {
            wal.persist(&[reset(newest)])?;
            Vec::new()
        }
    };
    let is_distrusted = found.is_distrusted;
    let snapshot = found.newest;
    let recovered = Recovered { hard_state, snapshot, entries, damage: None, is_distrusted };
    check(&recovered);
    Ok(Opened { wal, snapshots, scrub, recovered, report })
}

/// Where all of it is.
#[derive(Clone)]
pub(super) struct Folders<'a, D: Disk> {
    pub(super) shared: Arc<Shared<D>>,
    pub(super) data: D,
    pub(super) log: D,
    /// Whether they are two.
    is_apart: bool,
    identity: Identity,
    pub(super) options: &'a Options,
}

impl<D: Disk> Folders<'_, D> {
    /// The snapshots, of which this was found, and who reads them and the log.
    pub(super) fn rest(self, found: &Found) -> (Snapshots<D>, Scrub<D>) {
        let Folders { shared, data, log, is_apart, identity, options } = self;
        let snapshots = Snapshots::new(shared.clone(), data.clone(), options, found);
        let scrub = Scrub::new(shared, (data, log, is_apart), identity, options.scrub_interval);
        (snapshots, scrub)
    }
}

/// Whether other servers may have what is lost.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } | Error::Gap { .. } | Error::SnapshotLost { .. } => true,
        Error::Io { doing, .. } => *doing == "read",
        _ => false,
    }
}

/// Makes the end of the log durable as it was read: the last batch, and zeros behind it.
///
/// The batch is written again, since reading may have shown what the disk does not hold: after a
/// failed sync a file system counts what it could not write as clean (Rebello et al., ATC 2020).
/// Only the last batch can be in doubt, and writing the same bytes in place harms nothing if it is
/// cut short.
fn settle<D: Disk>(
    log: &D,
    name: &str,
    tail: &mut Tail<D::File>,
    last_batch: Vec<u8>,
    torn_bytes: usize,
) -> Result<(), Error> {
    let start = tail.offset - last_batch.len() as u64;
    let mut bytes = last_batch;
    let n_zeros = if mutated!(TornTailKept | TornTailRead) { 0 } else { torn_bytes };
    bytes.resize(bytes.len() + n_zeros, 0);
    if !bytes.is_empty() {
        tail.file.write_at(start, &bytes).map_err(failed(log, "write", name))?;
    }
    tail.file.sync().map_err(failed(log, "sync", name))
}

/// What becomes of the log beside the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// It continues the snapshot.
    LogGoesOn,
    /// The snapshot was installed over it, and the crash came before the log was reset.
    LogGoes,
}

/// Judges whether log and snapshot belong together.
pub(super) fn join<D: Disk>(
    data: &D,
    place: &D,
    log: &Log,
    found: &Found,
    newest: &SnapshotMeta,
) -> Result<Joined, Error> {
    let snapshot = newest.last.index;
    let last = log.next().previous();
    if log.first > snapshot.next() {
        return Err(Error::Gap { place: place.place(), first: log.first, snapshot });
    }
    if let Some((index, what)) = found.damaged.first()
        && last < *index
    {
        let (place, file, what) = (data.place(), name_of(*index), what.clone());
        return Err(Error::SnapshotLost { place, file, what, last });
    }
    let is_other = log.at(snapshot).is_some_and(|id| id.term != newest.last.term);
    if last < snapshot || is_other { Ok(Joined::LogGoes) } else { Ok(Joined::LogGoesOn) }
}

fn entries_after(log: Log, snapshot: Index) -> Vec<SharedEntry<Txn>> {
    let above = log.slots.into_iter().filter(|(id, _)| id.index > snapshot);
    above.map(|(_, entry)| entry.expect("those above the snapshot were kept")).collect()
}

pub(super) fn reset(meta: SnapshotMeta) -> Persist<Txn> {
    Persist {
        ticket: Default::default(),
        hard_state: None,
        reset: Some(meta),
        truncate_after: None,
        append: Vec::new(),
    }
}

/// Removes what a crash left half made.
pub(super) fn remove_leftovers<D: Disk>(data: &D, log: &D) -> Result<(), Error> {
    segment::remove_leftovers(log)?;
    if list(data)?.iter().any(|name| name == TEMPORARY_NAME) {
        remove(data, TEMPORARY_NAME)?;
    }
    distrust::remove_leftover(data)
}

/// Removes a first segment that a crash left before the folder was complete: nothing was ever in
/// it.
fn remove_unborn<D: Disk>(log: &D) -> Result<(), Error> {
    for name in list(log)? {
        if number_of(&name).is_some() {
            remove(log, &name)?;
        }
    }
    Ok(())
}

/// What is handed over is what the core may rely on.
pub(super) fn check(recovered: &Recovered) {
    let snapshot = recovered.snapshot.as_ref().map(|s: &Snapshot| s.meta.last).unwrap_or_default();
    let mut last = snapshot;
    for entry in &recovered.entries {
        assert_eq!(entry.id.index, last.index.next(), "entries follow without a gap");
        last = entry.id;
    }
}
