//! Reads the log back.
//!
//! Invariant: nothing is changed on the disk here, and nothing is skipped. A record that is not
//! whole ends the log only if it belongs to the last batch that was ever begun (a torn tail:
//! `persist` never returned); if anything of a later batch is there, it was durable once, and that
//! is damage (Alagappan et al., FAST 2018).

use std::collections::VecDeque;
use std::sync::Arc;

use zokor_core::db::Txn;
use zokor_core::mutated;
use zokor_core::raft::{EntryId, Index, SharedEntry};

use super::body;
use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::place::{failed, list, open};
use super::record::{ALIGNMENT, HEADER_BYTES, Header, Kind};
use super::segment::{HEAD_BYTES, Head, MAX_SEGMENT_BYTES, Position, Wrong, number_of};
use super::wal::{Segment, Tail};
use super::watermark::FoundMark;

/// What the log's files hold.
pub(super) struct Replayed<D: Disk> {
    /// The entries.
    pub(super) log: Log,
    /// Where it goes on.
    pub(super) tail: Tail<D::File>,
    /// The bytes of the last segment's last whole batch, which end where the log does.
    pub(super) last_batch: Vec<u8>,
    /// How many bytes behind the log's end must be zero before it goes on.
    pub(super) torn_bytes: usize,
    /// Segments that count for nothing any more, oldest first.
    pub(super) outdated: Vec<String>,
}

/// Entries one after the other.
#[derive(Debug)]
pub(super) struct Log {
    /// The index of the first slot, or of the entry to come.
    pub(super) first: Index,
    /// Each entry's name, and the entry itself if it is above what a snapshot covers.
    pub(super) slots: Vec<(EntryId, Option<SharedEntry<Txn>>)>,
}

impl Log {
    /// The index of the entry to come.
    pub(super) fn next(&self) -> Index {
        Index(self.first.0 + self.slots.len() as u64)
    }

    /// The slot at `index`.
    pub(super) fn at(&self, index: Index) -> Option<&EntryId> {
        let i = index.0.checked_sub(self.first.0)?;
        Some(&self.slots.get(usize::try_from(i).ok()?)?.0)
    }

    fn truncate_after(&mut self, last: Index) {
        if last.next() < self.first {
            // What was between is purged: a snapshot covers it.
            self.first = last.next();
            self.slots.clear();
        } else {
            let n = last.next().0 - self.first.0;
            self.slots.truncate(usize::try_from(n).unwrap_or(usize::MAX));
        }
    }
}

/// Replays all segments of the folder; `None` if there are none. Entries up to `covered` are
/// checked and not kept. `mark` says which batch was durable for certain.
pub(super) fn replay<D: Disk>(
    disk: &D,
    id: [u8; 16],
    covered: Index,
    mark: &FoundMark<D>,
) -> Result<Option<Replayed<D>>, Error> {
    let mut names = names(disk)?;
    let mut files = Vec::new();
    while let Some((number, name)) = names.pop() {
        let file = open(disk, &name)?;
        let head = read_head(disk, &name, &file)?;
        if head.id != id || head.number != number || head.name() != name {
            return Err(damaged(disk, &name, 16, None, "it is another file under this name"));
        }
        files.push((head, file));
        if head.is_anew {
            break;
        }
    }
    files.reverse();
    let outdated = names.into_iter().map(|(_, name)| name).collect();
    for pair in files.windows(2) {
        if pair[0].0.number + 1 != pair[1].0.number {
            let what = "the segment before it is missing";
            return Err(damaged(disk, &pair[1].0.name(), 32, None, what));
        }
    }
    let Some((first, _)) = files.first() else { return Ok(None) };
    let log = Log { first: first.position.next, slots: Vec::new() };
    let position = first.position;
    let durable = (mark.watermark.batch(), mark.name);
    let mut replay = Replay { disk, covered, durable, log, position, bytes: Vec::new() };
    let mut segments = VecDeque::new();
    let mut files = files.into_iter().peekable();
    while let Some((head, file)) = files.next() {
        segments.push_back(Segment::of(&head));
        let after = files.peek().map(|(head, _)| head.position);
        let End { offset, last_batch, torn_bytes } = replay.segment(&head, &file, after)?;
        if after.is_none() {
            let (position, size_bytes) = (replay.position, head.size_bytes);
            let last_term = replay.log.slots.last().map(|(id, _)| id.term);
            let (salt, is_damaged) = (head.salt(), false);
            let tail =
                Tail { segments, file, offset, size_bytes, position, salt, last_term, is_damaged };
            let log = replay.log;
            return Ok(Some(Replayed { log, tail, last_batch, torn_bytes, outdated }));
        }
    }
    unreachable!("the last segment has none after it")
}

/// The segments of a folder by their numbers, ascending.
pub(super) fn names<D: Disk>(disk: &D) -> Result<Vec<(u64, String)>, Error> {
    let names = list(disk)?.into_iter();
    let mut names: Vec<(u64, String)> =
        names.filter_map(|name| Some((number_of(&name)?, name))).collect();
    names.sort();
    Ok(names)
}

pub(super) fn read_head<D: Disk>(disk: &D, name: &str, file: &D::File) -> Result<Head, Error> {
    let size_bytes = file.size().map_err(failed(disk, "measure", name))?;
    if size_bytes < HEAD_BYTES {
        return Err(damaged(disk, name, size_bytes, None, "it ends within its head"));
    }
    let mut bytes = vec![0; HEAD_BYTES as usize];
    file.read_at(0, &mut bytes).map_err(failed(disk, "read", name))?;
    Head::from_bytes(&bytes, size_bytes).map_err(|wrong| match wrong {
        Wrong::Damaged(offset, what) => damaged(disk, name, offset, None, what),
        Wrong::Newer(found) => {
            let (place, file) = (disk.place(), name.to_owned());
            Error::Newer { place, file, found, known: Head::version() }
        }
    })
}

fn damaged<D: Disk>(
    disk: &D,
    file: &str,
    offset: u64,
    index: Option<Index>,
    what: impl Into<String>,
) -> Error {
    Error::Damaged { place: disk.place(), file: file.to_owned(), offset, index, what: what.into() }
}

/// How a segment ends.
struct End {
    /// Behind the last whole batch.
    offset: u64,
    /// The bytes of that batch.
    last_batch: Vec<u8>,
    /// How many bytes behind it must be zero before the log goes on.
    torn_bytes: usize,
}

struct Replay<'a, D: Disk> {
    disk: &'a D,
    covered: Index,
    /// The last batch that was durable for certain, and which file says so.
    durable: (u64, &'static str),
    log: Log,
    position: Position,
    /// Of the segment, in the memory of the one before: to touch new memory costs more than to read
    /// into it.
    bytes: Vec<u8>,
}

impl<D: Disk> Replay<'_, D> {
    /// Applies a segment, which is followed by one that begins at the position `after`, or is the
    /// last.
    fn segment(
        &mut self,
        head: &Head,
        file: &D::File,
        after: Option<Position>,
    ) -> Result<End, Error> {
        assert_eq!(head.position, self.position);
        let name = head.name();
        if head.size_bytes > MAX_SEGMENT_BYTES {
            return Err(damaged(self.disk, &name, 40, None, "it is too large for a segment"));
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(usize::try_from(head.size_bytes).expect("64 bits"), 0);
        file.read_at(0, &mut bytes).map_err(failed(self.disk, "read", &name))?;
        let salt = head.salt();
        let run = Run::read(salt, &bytes, self.position);
        for (at, header) in &run.records[..run.n_complete] {
            self.apply(&name, &bytes, *at, header)?;
        }
        self.position.batch = run.batch;
        self.position.previous = run.previous;
        let other = run.find_other(salt, &bytes);
        let what = match (other, after) {
            (Some((place, header)), _) if !mutated!(DamageCut) => {
                let is_later = header.batch > run.batch;
                let what = if is_later { "an intact record follows" } else { "the right one lies" };
                format!("{}, and {what} at {place}", run.why)
            }
            (None, Some(after)) if after != self.position => {
                format!("{}, and the next segment continues a later one", run.why)
            }
            (None, None) if run.batch <= self.durable.0 && !mutated!(DamageCut) => {
                let (batch, mark) = self.durable;
                format!(
                    "{}, {} whole batches come before it, and by {mark} there were {batch}",
                    run.why,
                    run.batch - 1
                )
            }
            _ => {
                let last_batch = bytes[run.last_start..run.end].to_vec();
                let torn_bytes = torn_bytes(head, &bytes[run.end..]);
                self.bytes = bytes;
                return Ok(End { offset: run.end as u64, last_batch, torn_bytes });
            }
        };
        let index = run.next_index(self.log.next());
        Err(damaged(self.disk, &name, run.stopped_at as u64, Some(index), what))
    }

    fn apply(&mut self, name: &str, bytes: &[u8], at: usize, header: &Header) -> Result<(), Error> {
        let wrong = |what: String| damaged(self.disk, name, at as u64, Some(self.log.next()), what);
        match header.kind {
            Kind::Entry(id) => {
                if id.index != self.log.next() {
                    return Err(wrong(format!("it holds the entry at index {}", id.index)));
                }
                let start = at + HEADER_BYTES;
                let body = &bytes[start..start + header.body_bytes as usize];
                let entry = if id.index > self.covered {
                    let entry = body::decode_entry(body).map_err(wrong)?;
                    if entry.id != id {
                        return Err(wrong("header and body name different entries".to_owned()));
                    }
                    Some(Arc::new(entry))
                } else {
                    None
                };
                self.log.slots.push((id, entry));
            }
            Kind::Truncate(last) => {
                if last.next() > self.log.next() {
                    return Err(wrong(format!("it cuts after index {last}, which is not there")));
                }
                self.log.truncate_after(last);
            }
            Kind::Reset(last) => {
                self.log.first = last.index.next();
                self.log.slots.clear();
            }
            Kind::HardState(hard_state) => {
                if hard_state.term < self.position.hard_state.term {
                    return Err(wrong("the term goes back".to_owned()));
                }
                self.position.hard_state = hard_state;
            }
        }
        self.position.next = self.log.next();
        Ok(())
    }
}

/// The records of one segment that follow from its head.
pub(super) struct Run {
    /// Offset and header of each.
    pub(super) records: Vec<(usize, Header)>,
    /// How many of them belong to whole batches.
    pub(super) n_complete: usize,
    /// Where the last whole batch begins, and where it ends.
    last_start: usize,
    end: usize,
    /// The checksum of its last header.
    previous: u32,
    /// The batch after it: if anything of that is there, it is torn.
    batch: u64,
    /// Where the first record would be that is none.
    stopped_at: usize,
    /// Why it is none.
    why: &'static str,
}

impl Run {
    pub(super) fn read(salt: u32, bytes: &[u8], position: Position) -> Run {
        let mut run = Run {
            records: Vec::new(),
            n_complete: 0,
            last_start: HEAD_BYTES as usize,
            end: HEAD_BYTES as usize,
            previous: position.previous,
            batch: position.batch,
            stopped_at: HEAD_BYTES as usize,
            why: "",
        };
        let mut previous = run.previous;
        loop {
            let (header, crc) = match check(salt, &bytes[run.stopped_at..], run.batch, previous) {
                Ok(found) => found,
                Err(why) => {
                    run.why = why;
                    return run;
                }
            };
            run.records.push((run.stopped_at, header));
            run.stopped_at += header.record_bytes();
            previous = crc;
            if header.is_last {
                run.n_complete = run.records.len();
                run.last_start = run.end;
                run.end = run.stopped_at;
                run.previous = previous;
                run.batch += 1;
            }
        }
    }

    /// A header behind the run's end that tells damage from a torn tail, and where it stands: of a
    /// later batch, or the one that should stand where the last whole batch ends, and was put
    /// elsewhere by the disk.
    fn find_other(&self, salt: u32, bytes: &[u8]) -> Option<(usize, Header)> {
        let places = (self.stopped_at..bytes.len()).step_by(ALIGNMENT);
        let mut headers = places.filter_map(|at| Some((at, Header::read(salt, &bytes[at..])?.0)));
        headers.find(|(at, header)| {
            let is_next = header.batch == self.batch && header.previous == self.previous;
            header.batch > self.batch || (is_next && *at != self.end)
        })
    }

    /// The index of the entry that is, or would be, where the run stopped.
    fn next_index(&self, next: Index) -> Index {
        let mut next = next;
        for (_, header) in &self.records[self.n_complete..] {
            next = match header.kind {
                Kind::Entry(id) | Kind::Reset(id) => id.index.next(),
                Kind::Truncate(last) => last.next(),
                Kind::HardState(_) => next,
            };
        }
        next
    }
}

/// The record that `bytes` begin with, if it is whole and in its place.
fn check(
    salt: u32,
    bytes: &[u8],
    batch: u64,
    previous: u32,
) -> Result<(Header, u32), &'static str> {
    let (header, crc) = Header::read(salt, bytes).ok_or("there is no record's header")?;
    let follows = header.batch == batch && header.previous == previous;
    if !(follows || mutated!(TornTailRead)) {
        return Err("the record does not follow the one before it");
    }
    let record = bytes.get(..header.record_bytes()).ok_or("the record is too long")?;
    let (body, padding) = record[HEADER_BYTES..].split_at(header.body_bytes as usize);
    let is_intact = crc32c::crc32c_append(salt, body) == header.body_crc;
    if !(is_intact || mutated!(ChecksumIgnored)) {
        return Err("the checksum of the record's body is wrong");
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Err("the record's padding is not zero");
    }
    Ok((header, crc))
}

/// How many of the bytes behind the last whole batch may belong to a batch that was never finished:
/// all up to the last that is not zero. In a file that was a segment before, all up to its last
/// header; what else there is of it cannot pass for a record.
fn torn_bytes(head: &Head, behind: &[u8]) -> usize {
    if !head.is_reused {
        return behind.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    }
    let salt = head.salt();
    let places = (0..behind.len()).step_by(ALIGNMENT);
    let last = places.rev().find(|at| Header::read(salt, &behind[*at..]).is_some());
    last.map_or(0, |at| at + HEADER_BYTES)
}
