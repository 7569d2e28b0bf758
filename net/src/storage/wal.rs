//! The log: what raft appends, in order, with its hard state.
//!
//! Invariant: what `persist` returned `Ok` for is found by recovery, and of a `persist` that did
//! not return, all is found or nothing. The log is only ever appended to: taking entries away is a
//! record like any other. One call is one batch, one write and one sync (group commit); batch `n +
//! 1` is not written before batch `n` is durable, by which recovery tells a torn tail from damage.
//!
//! A new log begins with a small segment, so that its server starts at once; each next one is
//! twice as large, up to the full size. A full-sized one that is purged becomes a later one. Where
//! there is none, the next segment is zeroed ahead: by [`Wal::idle`] while nothing is waiting, and
//! by `persist` itself, one bounded step a call, if it is less than twice as far as the segment in
//! use; beside a full-sized one not before its second half, since until then one may be purged. A
//! disk without room for it stops nobody while the segment in use has room; after that a smaller
//! one will do, and if there is no room for that either, what is to be persisted waits.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use zokor_core::db::Txn;
use zokor_core::raft::{EntryId, HardState, Index, Persist, Term};
use zokor_core::{maybe, mutated};

use super::at_rest::Shared;
use super::body::{self, Written};
use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::place::{failed, remove};
use super::record::{BatchWriter, Kind};
use super::segment::{
    HEAD_BYTES, Head, MAX_SEGMENT_BYTES, Position, SPARE_NAME, Spare, Used, remove_leftovers, salt,
};
use super::watermark::{Mark, Watermark};

mod mend;

/// How much is zeroed in one step.
const STEP_BYTES: u64 = 1 << 20;
/// The first segment of a log, unless all are to be smaller.
const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
/// A buffer that grew beyond this is given back.
const BUFFER_BYTES: usize = 8 << 20;

/// The log on disk. Used by one thread, beside [`Snapshots`](super::Snapshots).
pub struct Wal<D: Disk> {
    shared: Arc<Shared<D>>,
    disk: D,
    segment_bytes: u64,
    /// Oldest first; the last is the one that is written.
    segments: VecDeque<Segment>,
    file: D::File,
    /// Where the next record goes in the last segment.
    offset: u64,
    size_bytes: u64,
    /// Of what is durable.
    position: Position,
    /// The seed of the checksums in the last segment.
    salt: u32,
    spare: Option<Spare<D::File>>,
    /// Purged segments that wait to be used again.
    used: Vec<Used>,
    /// There was no room for a spare; it is tried again when the log has come this far.
    blocked_until: u64,
    buffer: BytesMut,
    watermark: Watermark<D>,
    /// The term of the last entry, if it is known.
    last_term: Option<Term>,
    /// The files are damaged: nothing is written before the log is begun anew.
    is_damaged: bool,
    is_poisoned: bool,
}

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) number: u64,
    /// The index of the entry to come when it was begun.
    pub(super) next: Index,
    pub(super) size_bytes: u64,
    /// Its head; `None` if that is damaged.
    pub(super) head: Option<Head>,
}

impl Segment {
    pub(super) fn of(head: &Head) -> Self {
        let (number, size_bytes) = (head.number, head.size_bytes);
        let next = head.position.next;
        Segment { name: head.name(), number, next, size_bytes, head: Some(*head) }
    }
}

/// Where a log goes on that was found on the disk.
pub(super) struct Tail<F> {
    pub(super) segments: VecDeque<Segment>,
    pub(super) file: F,
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
    pub(super) position: Position,
    /// The seed of the checksums in the last segment.
    pub(super) salt: u32,
    /// The term of the last entry, if it is known.
    pub(super) last_term: Option<Term>,
    /// It goes on only by beginning anew.
    pub(super) is_damaged: bool,
}

impl<D: Disk> Wal<D> {
    /// A new log in an empty folder.
    pub(super) fn create(
        shared: Arc<Shared<D>>,
        disk: D,
        segment_bytes: u64,
    ) -> Result<Self, Error> {
        let position = Position::default();
        let size_bytes = segment_bytes.min(FIRST_SEGMENT_BYTES);
        let head = Head::new(shared.id, 1, size_bytes, position);
        let mut spare = Spare::begin(&disk, size_bytes)?;
        while !spare.is_ready() {
            spare.step(&disk, STEP_BYTES)?;
        }
        let (file, head) = spare.become_segment(&disk, head)?;
        let tail = Tail {
            segments: VecDeque::from([Segment::of(&head)]),
            file,
            offset: HEAD_BYTES,
            size_bytes,
            position,
            salt: head.salt(),
            last_term: Some(Term(0)),
            is_damaged: false,
        };
        Ok(Self::resume(shared, disk, segment_bytes, tail, Watermark::none()))
    }

    /// Goes on where recovery found the end.
    pub(super) fn resume(
        shared: Arc<Shared<D>>,
        disk: D,
        segment_bytes: u64,
        tail: Tail<D::File>,
        watermark: Watermark<D>,
    ) -> Self {
        assert!(!tail.segments.is_empty());
        // What is left of a damaged one may be shorter than its head, and is never written to.
        let is_within = tail.offset >= HEAD_BYTES && tail.offset <= tail.size_bytes;
        assert!(tail.is_damaged || is_within);
        let wal = Wal {
            shared,
            disk,
            segment_bytes,
            segments: tail.segments,
            file: tail.file,
            offset: tail.offset,
            size_bytes: tail.size_bytes,
            position: tail.position,
            salt: tail.salt,
            spare: None,
            used: Vec::new(),
            blocked_until: 0,
            buffer: BytesMut::new(),
            watermark,
            last_term: tail.last_term,
            is_damaged: tail.is_damaged,
            is_poisoned: false,
        };
        wal.publish();
        wal
    }

    /// Makes all changes of `batch` durable, in order, with one sync. After a crash before it
    /// returns either all of them are there or none.
    ///
    /// # Errors
    /// If the disk fails: it is not known then what is durable, and every later call fails too. If
    /// it has no room for a further segment nothing was written, and the same may be asked again
    /// ([`Wal::is_poisoned`] tells the two apart).
    ///
    /// # Panics
    /// If the changes do not continue the log without a gap.
    pub fn persist(&mut self, batch: &[Persist<Txn>]) -> Result<(), Error> {
        self.persist_written(batch, &[])
    }

    /// The same, where the entries of each change stand in parts already, as far as that is known:
    /// what has other entries than its parts say is encoded anew.
    ///
    /// # Errors
    /// As [`Wal::persist`].
    pub fn persist_written(
        &mut self,
        batch: &[Persist<Txn>],
        written: &[Vec<Written>],
    ) -> Result<(), Error> {
        let waits = self.guarded(|wal| {
            if wal.is_damaged {
                return wal.begin_anew(batch).map(|()| None);
            }
            let Some((mut after, mut last_term)) = wal.encode(batch, written) else {
                return Ok(None);
            };
            let n_bytes = wal.buffer.len() as u64;
            // Legal: how long a segment is is up to the log.
            let is_ended = maybe!(SegmentRolled if wal.offset > HEAD_BYTES);
            if wal.size_bytes - wal.offset < n_bytes || is_ended {
                match wal.zeroed(n_bytes) {
                    Ok(spare) => {
                        wal.roll(spare)?;
                        // Each segment's checksums have a seed of their own.
                        (after, last_term) = wal.encode(batch, written).expect("as before");
                    }
                    Err(full @ Error::Full { .. }) => {
                        wal.give_back()?;
                        return Ok(Some(full));
                    }
                    Err(error) => return Err(error),
                }
            }
            let write = wal.file.write_durable(wal.offset, &wal.buffer);
            let write = if mutated!(SyncErrorIgnored) { Ok(()) } else { write };
            write.map_err(failed(&wal.disk, "write and sync", wal.open_name()))?;
            wal.offset += n_bytes;
            let is_vote_new = after.hard_state != wal.position.hard_state;
            (wal.position, wal.last_term) = (after, last_term);
            wal.shared.at_rest().durable = after;
            if is_vote_new {
                wal.vouch()?;
            }
            if wal.buffer.capacity() > BUFFER_BYTES {
                wal.buffer = BytesMut::new();
            }
            let zeroed_bytes = wal.spare.as_ref().map_or(0, Spare::zeroed_bytes);
            if zeroed_bytes < 2 * wal.offset.saturating_sub(wal.prepared_from()) {
                wal.prepare()?;
            }
            Ok(None)
        })?;
        waits.map_or(Ok(()), Err)
    }

    /// Whether a call has failed in a way after which nothing is known, so that all others will.
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Does one bounded step of what makes later calls fast: call it while nothing waits to be
    /// persisted. Returns whether there is more to do.
    ///
    /// # Errors
    /// As [`Wal::persist`].
    pub fn idle(&mut self) -> Result<bool, Error> {
        self.guarded(|wal| if wal.is_damaged { Ok(false) } else { wal.prepare() })
    }

    /// Notes in a second place how far the log is durable, if that is not noted yet: when this
    /// returns, damage to the last batch can be told from a torn tail. Call it now and then, and
    /// before the process ends; what follows in the log says the same.
    ///
    /// # Errors
    /// As [`Wal::persist`].
    pub fn mark(&mut self) -> Result<(), Error> {
        self.guarded(|wal| {
            let durable = wal.position.batch - 1;
            if wal.is_damaged || durable <= wal.watermark.batch() {
                return Ok(());
            }
            wal.shared.touch_marks();
            let noted = wal.watermark.note(&wal.disk, wal.shared.id, wal.durable());
            wal.tell_mark();
            noted
        })
    }

    /// Notes the hard state in a second and a third place, so that no single fault takes it. It
    /// changes with elections only.
    pub(super) fn vouch(&mut self) -> Result<(), Error> {
        self.shared.touch_marks();
        let vouched = self.watermark.vouch(&self.disk, self.shared.id, self.durable());
        self.tell_mark();
        vouched
    }

    /// A write to the watermark has ended.
    fn tell_mark(&self) {
        let mark = (self.watermark.mark().hard_state, self.watermark.are_there());
        self.shared.at_rest().mark = mark;
        self.shared.touch_marks();
    }

    /// What is durable.
    fn durable(&self) -> Mark {
        let (hard_state, index) = (self.position.hard_state, self.last_index());
        let last = self.last_term.map(|term| EntryId { term, index });
        Mark { batch: self.position.batch - 1, hard_state, last }
    }

    /// Bytes of the log's files; those that are to become segments are not counted.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size_bytes).sum()
    }

    /// How many files the log has.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The index of the last entry.
    pub fn last_index(&self) -> Index {
        self.position.next.previous()
    }

    /// The hard state that is durable.
    pub fn hard_state(&self) -> HardState {
        self.position.hard_state
    }

    /// How many bytes are free where the log is. If that is less than a few segments, those that
    /// wait to be used again are given back first.
    ///
    /// # Errors
    /// If the disk does not say, or as [`Wal::persist`] if it fails.
    pub fn free_bytes(&mut self) -> Result<u64, Error> {
        let free_bytes = self.measure()?;
        if free_bytes >= 4 * self.segment_bytes || self.used.is_empty() {
            return Ok(free_bytes);
        }
        self.guarded(|wal| wal.used.drain(..).try_for_each(|used| used.discard(&wal.disk)))?;
        self.measure()
    }

    fn measure(&self) -> Result<u64, Error> {
        self.disk.free_bytes().map_err(failed(&self.disk, "measure", "the free space"))
    }

    fn guarded<T>(&mut self, call: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.is_poisoned {
            return Err(Error::Poisoned);
        }
        // Set before the call: a panic half way leaves no less doubt than an error.
        self.is_poisoned = true;
        let done = call(self)?;
        self.is_poisoned = false;
        Ok(done)
    }

    /// Writes a whole log in the place of the damaged one: `batch` begins with a reset. The new one
    /// counts when its first segment gets its name; a crash before leaves the damaged one as it is.
    fn begin_anew(&mut self, batch: &[Persist<Txn>]) -> Result<(), Error> {
        let meta = batch.first().and_then(|first| first.reset.as_ref());
        let meta = meta.expect("a damaged log is begun anew before all else");
        let hard_state = batch[0].hard_state.unwrap_or(self.position.hard_state);
        let next = meta.last.index.next();
        self.position = Position { next, previous: 0, hard_state, ..self.position };
        let number = self.segments.iter().map(|segment| segment.number).max().unwrap_or(0) + 1;
        self.salt = salt(self.shared.id, number);
        let Some((after, last_term)) = self.encode(batch, &[]) else {
            unreachable!("a reset is a record");
        };
        let n_bytes = self.buffer.len() as u64;
        let needed = (HEAD_BYTES + n_bytes).next_multiple_of(HEAD_BYTES);
        let size_bytes = needed.max(self.segment_bytes.min(FIRST_SEGMENT_BYTES));
        assert!(size_bytes <= MAX_SEGMENT_BYTES, "a log of {n_bytes} bytes is no log");
        let mut spare = Spare::begin(&self.disk, size_bytes)?;
        while !spare.is_ready() {
            spare.step(&self.disk, STEP_BYTES)?;
        }
        spare.fill(&self.disk, &self.buffer)?;
        let (id, position) = (self.shared.id, self.position);
        let head = Head { is_anew: true, ..Head::new(id, number, size_bytes, position) };
        let (file, head) = spare.become_segment(&self.disk, head)?;
        self.file = file;
        let outdated = std::mem::take(&mut self.segments);
        self.segments.push_back(Segment::of(&head));
        for old in outdated {
            remove(&self.disk, &old.name)?;
        }
        (self.size_bytes, self.offset) = (size_bytes, HEAD_BYTES + n_bytes);
        (self.position, self.last_term) = (after, last_term);
        (self.is_damaged, self.blocked_until) = (false, 0);
        self.buffer = BytesMut::new();
        self.publish();
        self.vouch()
    }

    /// Fills the buffer; where the log will stand, and the term of its last entry if that is known,
    /// or `None` if nothing changes.
    fn encode(
        &mut self,
        batch: &[Persist<Txn>],
        written: &[Vec<Written>],
    ) -> Option<(Position, Option<Term>)> {
        let mut after = self.position;
        let mut last_term = self.last_term;
        let mut out = BatchWriter::new(self.salt, after.batch, after.previous, &mut self.buffer);
        for (n, persist) in batch.iter().enumerate() {
            if let Some(hard_state) = persist.hard_state
                && hard_state != after.hard_state
            {
                assert!(hard_state.term >= after.hard_state.term, "a term never goes back");
                out.push(Kind::HardState(hard_state), |_| ());
                after.hard_state = hard_state;
            }
            if let Some(meta) = &persist.reset {
                out.push(Kind::Reset(meta.last), |_| ());
                after.next = meta.last.index.next();
                last_term = Some(meta.last.term);
            }
            if let Some(last) = persist.truncate_after
                && last.next() < after.next
            {
                out.push(Kind::Truncate(last), |_| ());
                after.next = last.next();
                last_term = None;
            }
            let parts = written.get(n).map_or(&[][..], |parts| &parts[..]);
            let mut bytes = body::entries(parts, &persist.append);
            for entry in &persist.append {
                assert_eq!(entry.id.index, after.next, "entries come without a gap");
                let bytes = bytes.next();
                out.push(Kind::Entry(entry.id), |out| body::put_entry(entry, bytes, out));
                after.next = after.next.next();
                last_term = Some(entry.id.term);
            }
        }
        after.previous = out.finish()?;
        after.batch += 1;
        Some((after, last_term))
    }

    /// A zeroed file with room for `n_bytes`: of the size that is due, or, if the disk has no room
    /// for that, of the least that will do. It writes nothing that it can tell will not fit, since
    /// it is asked again and again until there is room.
    fn zeroed(&mut self, n_bytes: u64) -> Result<Spare<D::File>, Error> {
        let needed = (HEAD_BYTES + n_bytes).next_multiple_of(HEAD_BYTES);
        let size_bytes = needed.max(self.next_bytes());
        assert!(size_bytes <= MAX_SEGMENT_BYTES, "a batch of {n_bytes} bytes is no batch");
        match self.zero(size_bytes) {
            Err(Error::Full { .. }) => {
                self.give_back()?;
                self.zero(needed.max(FIRST_SEGMENT_BYTES.min(size_bytes)))
            }
            done => done,
        }
    }

    fn zero(&mut self, size_bytes: u64) -> Result<Spare<D::File>, Error> {
        let mut spare = match self.spare.take() {
            Some(spare) if spare.size_bytes() >= size_bytes && !self.may_reuse(&spare) => spare,
            Some(spare) => {
                spare.discard(&self.disk)?;
                self.begin_spare(size_bytes)?
            }
            None => self.begin_spare(size_bytes)?,
        };
        while !spare.is_ready() {
            spare.step(&self.disk, STEP_BYTES)?;
        }
        Ok(spare)
    }

    /// Leaves no file that is to become a segment. No spare is held.
    fn give_back(&mut self) -> Result<(), Error> {
        self.used.clear();
        remove_leftovers(&self.disk)
    }

    /// Whether a former segment saves what is left to zero of `spare`.
    fn may_reuse(&self, spare: &Spare<D::File>) -> bool {
        !spare.is_ready() && !self.used.is_empty()
    }

    fn begin_spare(&mut self, size_bytes: u64) -> Result<Spare<D::File>, Error> {
        if let Some(used) = self.used.pop_if(|used| used.size_bytes() >= size_bytes) {
            return Spare::reuse(&self.disk, used);
        }
        match self.disk.free_bytes() {
            Ok(free_bytes) if free_bytes < size_bytes => Err(Error::Full {
                place: self.disk.place(),
                file: SPARE_NAME.to_owned(),
                doing: "make",
            }),
            // A disk that does not say how much is free says so when it is written to.
            _ => Spare::begin(&self.disk, size_bytes),
        }
    }

    /// Goes on in a new segment.
    fn roll(&mut self, spare: Spare<D::File>) -> Result<(), Error> {
        let number = self.segments.back().expect("one is open").number + 1;
        let size_bytes = spare.size_bytes();
        let (id, position) = (self.shared.id, self.position);
        let head = Head::new(id, number, size_bytes, position);
        let (file, head) = spare.become_segment(&self.disk, head)?;
        self.file = file;
        self.segments.push_back(Segment::of(&head));
        self.salt = head.salt();
        self.size_bytes = size_bytes;
        self.offset = HEAD_BYTES;
        self.blocked_until = 0;
        self.publish();
        Ok(())
    }

    /// One step towards the next segment; whether there are more. If the disk has no room for it,
    /// what was made of it goes, and it is tried again a little later: by then a purge may have
    /// made room. Nobody depends on the spare, so its failed write leaves no doubt about the log.
    fn prepare(&mut self) -> Result<bool, Error> {
        if self.offset < self.blocked_until {
            return Ok(false);
        }
        match self.step() {
            Err(Error::Full { .. }) => {
                self.blocked_until = self.offset + self.size_bytes / 8;
                match self.spare.take() {
                    Some(spare) => spare.discard(&self.disk)?,
                    None => self.give_back()?,
                }
                Ok(false)
            }
            done => done,
        }
    }

    fn step(&mut self) -> Result<bool, Error> {
        let mut spare = match self.spare.take() {
            Some(spare) if !self.may_reuse(&spare) => spare,
            Some(spare) => {
                spare.discard(&self.disk)?;
                self.begin_spare(self.next_bytes())?
            }
            None if self.offset < self.prepared_from() => return Ok(false),
            None => self.begin_spare(self.next_bytes())?,
        };
        let stepped = spare.step(&self.disk, STEP_BYTES);
        let is_ready = spare.is_ready();
        self.spare = Some(spare);
        stepped.map(|()| !is_ready)
    }

    /// How far the segment in use is filled before the next one is prepared.
    fn prepared_from(&self) -> u64 {
        if self.size_bytes == self.segment_bytes { self.size_bytes / 2 } else { 0 }
    }

    /// The size of the next segment, unless one batch needs more. It is zeroed ahead at twice the
    /// pace at which this one fills, so it is never larger than twice this one.
    fn next_bytes(&self) -> u64 {
        (self.size_bytes * 2).min(self.segment_bytes)
    }

    fn open_name(&self) -> &str {
        &self.segments.back().expect("one is open").name
    }
}
