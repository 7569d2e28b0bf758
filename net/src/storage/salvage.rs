//! Reads what is left of a damaged log: its whole pieces, and what is known of the rest.
//!
//! Invariant: nothing is guessed. What is handed over as whole bears the right checksums; where
//! something unknown was lost there is a seam; and a hard state that may have been followed by
//! another is said to be lost. A torn tail is told from damage as in [`super::replay`].

mod scattered;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use zokor_core::db::Txn;
use zokor_core::mutated;
use zokor_core::raft::{Damage, EntryId, HardState, Index, SharedEntry, Term};

use super::body;
use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::place::{failed, open};
use super::record::{HEADER_BYTES, Header, Kind};
use super::replay::{names, read_head};
use super::segment::{HEAD_BYTES, Head, MAX_SEGMENT_BYTES, Position, salt};
use super::wal::{Segment, Tail};
use super::watermark::Mark;
use scattered::Scattered;

/// What a damaged log still holds.
pub(super) struct Salvaged<D: Disk> {
    /// The whole entries above what a snapshot covers.
    pub(super) whole: BTreeMap<Index, SharedEntry<Txn>>,
    /// The terms of all entries that are known, whole or not, covered or not.
    pub(super) terms: BTreeMap<Index, Term>,
    /// Before each of these something unknown was lost.
    pub(super) seams: BTreeSet<Index>,
    /// The last entry that is known.
    pub(super) last: EntryId,
    /// The last hard state that is known.
    pub(super) hard_state: HardState,
    /// There may have been a later one.
    pub(super) is_vote_lost: bool,
    /// There may have been later entries.
    pub(super) is_end_lost: bool,
    /// By which the log is begun anew.
    pub(super) tail: Tail<D::File>,
    /// Segments that count for nothing any more.
    pub(super) outdated: Vec<String>,
}

/// Reads all segments of the folder; `None` if there are none.
pub(super) fn salvage<D: Disk>(
    disk: &D,
    id: [u8; 16],
    covered: Index,
    mark: Mark,
) -> Result<Option<Salvaged<D>>, Error> {
    let mut all = names(disk)?;
    let mut files = VecDeque::new();
    while let Some((number, name)) = all.pop() {
        let file = open(disk, &name)?;
        let head = match read_head(disk, &name, &file) {
            Ok(head) => Some(head).filter(|it| it.id == id && it.number == number),
            Err(Error::Damaged { .. } | Error::Io { .. }) => None,
            Err(error) => return Err(error),
        };
        files.push_front((number, name, head, file));
        if head.is_some_and(|head| head.is_anew) {
            break;
        }
    }
    let outdated = all.into_iter().map(|(_, name)| name).collect();
    let mut walk = Walk::new(covered);
    let mut segments = VecDeque::new();
    let mut last_number = None;
    while let Some((number, name, head, file)) = files.pop_front() {
        let size_bytes = file.size().map_err(failed(disk, "measure", &name))?;
        let next = head.map(|head| head.position.next).unwrap_or_default();
        segments.push_back(Segment { name: name.clone(), number, next, size_bytes, head });
        if last_number.is_some_and(|last| number != last + 1) {
            walk.gap(None);
        }
        last_number = Some(number);
        walk.salt = head.map_or_else(|| salt(id, number), |head| head.salt());
        walk.head(head);
        let (bytes, unread) = read_leniently(disk, &name, &file, size_bytes)?;
        walk.segment(&bytes, unread, !files.is_empty(), mark.batch);
        if files.is_empty() {
            let tail = walk.finish(mark, segments, file, size_bytes);
            let Walk { whole, terms, seams, last, hard_state, .. } = walk;
            let (is_vote_lost, is_end_lost) = (walk.is_vote_lost, walk.is_end_lost);
            return Ok(Some(Salvaged {
                whole,
                terms,
                seams,
                last,
                hard_state,
                is_vote_lost,
                is_end_lost,
                tail,
                outdated,
            }));
        }
    }
    Ok(None)
}

/// The bytes of a file; what cannot be read is zero, and where the last of that ends is told.
fn read_leniently<D: Disk>(
    disk: &D,
    name: &str,
    file: &D::File,
    size_bytes: u64,
) -> Result<(Vec<u8>, usize), Error> {
    const STEP: usize = 4096;
    if size_bytes > MAX_SEGMENT_BYTES {
        let what = "it is too large for a segment".to_owned();
        let (place, file) = (disk.place(), name.to_owned());
        return Err(Error::Damaged { place, file, offset: 0, index: None, what });
    }
    let mut bytes = vec![0; usize::try_from(size_bytes).expect("64 bits")];
    if file.read_at(0, &mut bytes).is_ok() {
        return Ok((bytes, 0));
    }
    let mut unread = 0;
    for (step, chunk) in bytes.chunks_mut(STEP).enumerate() {
        if file.read_at((step * STEP) as u64, chunk).is_err() {
            chunk.fill(0);
            unread = step * STEP + chunk.len();
        }
    }
    Ok((bytes, unread))
}

/// A record, and its entry if the body is whole.
type Record = (Header, Option<SharedEntry<Txn>>);

struct Walk {
    /// The seed of the checksums in the segment that is read.
    salt: u32,
    covered: Index,
    whole: BTreeMap<Index, SharedEntry<Txn>>,
    terms: BTreeMap<Index, Term>,
    seams: BTreeSet<Index>,
    last: EntryId,
    position: Position,
    hard_state: HardState,
    /// Something unknown was lost since the last entry.
    is_after_gap: bool,
    /// ... and this is the batch that came next; `None` if that is not known.
    batch_after_gap: Option<u64>,
    is_vote_lost: bool,
    is_end_lost: bool,
    greatest_batch: u64,
}

impl Walk {
    fn new(covered: Index) -> Self {
        Walk {
            salt: 0,
            covered,
            whole: BTreeMap::new(),
            terms: BTreeMap::new(),
            seams: BTreeSet::new(),
            last: EntryId::default(),
            position: Position { batch: 0, ..Position::default() },
            hard_state: HardState::default(),
            is_after_gap: false,
            batch_after_gap: None,
            is_vote_lost: false,
            is_end_lost: false,
            greatest_batch: 0,
        }
    }

    /// Something unknown was lost here, before the batch `next`.
    fn gap(&mut self, next: Option<u64>) {
        self.is_after_gap = true;
        self.is_vote_lost = true;
        self.batch_after_gap = next;
    }

    /// A segment begins.
    fn head(&mut self, head: Option<Head>) {
        let is_first = self.position.batch == 0;
        let Some(head) = head else {
            if is_first {
                self.position.batch = 1;
                self.gap(None);
            }
            return;
        };
        // A head repeats the hard state: one that was lost is no reason to doubt what it says.
        let was_lost = self.is_vote_lost;
        let hard_state = if was_lost { head.position.hard_state } else { self.hard_state };
        let own = Position { hard_state, ..self.position };
        if is_first {
            self.last.index = head.position.next.previous();
        } else if own != head.position {
            self.gap(Some(head.position.batch));
            self.end_at(head.position.next.previous());
        }
        self.position = head.position;
        self.hard_state = head.position.hard_state;
        self.is_vote_lost = false;
    }

    /// The records of a segment, of which what comes before `unread` could not all be read: what
    /// was durable last may have been there, and it cannot be told from a torn tail.
    fn segment(&mut self, bytes: &[u8], unread: usize, is_followed: bool, marked: u64) {
        let mut at = HEAD_BYTES as usize;
        let mut pending: Vec<Record> = Vec::new();
        // Where the batch begins, and whether it lies where no batch before it ends.
        let (mut begins_at, mut is_astray) = (at, false);
        let mut scattered = None;
        let mut pending_crcs = Vec::new();
        loop {
            if let Some((record, crc)) = self.record(bytes, at) {
                at += record.0.record_bytes();
                let header = record.0;
                pending.push(record);
                pending_crcs.push(crc);
                self.position.previous = crc;
                if header.is_last {
                    self.apply(&mut pending);
                    pending_crcs.clear();
                    self.position.batch += 1;
                    (begins_at, is_astray) = (at, false);
                }
                continue;
            }
            let scattered = scattered.get_or_insert_with(|| Scattered::of(self.salt, bytes));
            let Position { batch, previous, .. } = self.position;
            if let Some(astray) = scattered.following(batch, previous) {
                (at, is_astray) = (astray.place, true);
                continue;
            }
            let Some(next) = scattered.next(batch, at, &pending_crcs) else { break };
            // Whoever wrote what follows had made this durable.
            self.apply(&mut pending);
            pending_crcs.clear();
            self.gap(Some(next.batch));
            (self.position.batch, self.position.previous) = (next.batch, next.previous);
            (at, begins_at, is_astray) = (next.place, next.place, false);
        }
        // A batch that was never finished has at least begun in its place.
        let batch = self.position.batch;
        let is_elsewhere =
            is_astray || scattered.is_some_and(|it| it.is_elsewhere(batch, begins_at));
        if is_followed {
            self.apply(&mut pending);
        } else if batch <= marked || unread > at || is_elsewhere {
            self.is_end_lost = true;
            self.apply(&mut pending);
            self.gap(None);
        }
    }

    /// The record at `at` if it is the next one; its entry may be damaged.
    fn record(&self, bytes: &[u8], at: usize) -> Option<(Record, u32)> {
        let (header, crc) = Header::read(self.salt, bytes.get(at..)?)?;
        let follows = header.batch == self.position.batch
            && header.previous == self.position.previous
            && at + header.record_bytes() <= bytes.len();
        if !follows {
            return None;
        }
        let start = at + HEADER_BYTES;
        let body = &bytes[start..start + header.body_bytes as usize];
        let is_intact = crc32c::crc32c_append(self.salt, body) == header.body_crc;
        let entry = match header.kind {
            Kind::Entry(id) if is_intact => {
                body::decode_entry(body).ok().filter(|entry| entry.id == id).map(Arc::new)
            }
            _ => None,
        };
        Some(((header, entry), crc))
    }

    fn apply(&mut self, records: &mut Vec<Record>) {
        for (header, entry) in records.drain(..) {
            self.greatest_batch = self.greatest_batch.max(header.batch);
            match header.kind {
                Kind::Entry(id) => self.entry(id, entry),
                Kind::Truncate(last) => self.end_at(last),
                Kind::Reset(last) => {
                    self.end_at(Index::ZERO);
                    (self.last, self.is_after_gap) = (last, false);
                }
                Kind::HardState(hard_state) => {
                    self.hard_state = hard_state;
                    self.is_vote_lost = false;
                }
            }
        }
        self.position.next = self.last.index.next();
    }

    fn entry(&mut self, id: EntryId, entry: Option<SharedEntry<Txn>>) {
        if id.index <= self.last.index {
            self.end_at(id.index.previous());
        }
        if std::mem::take(&mut self.is_after_gap) || id.index > self.last.index.next() {
            self.seams.insert(id.index);
        }
        self.terms.insert(id.index, id.term);
        if let Some(entry) = entry.filter(|_| id.index > self.covered) {
            self.whole.insert(id.index, entry);
        }
        self.last = id;
    }

    /// The log ends with `last` now. If that is beyond what is known, what is between is lost.
    fn end_at(&mut self, last: Index) {
        self.whole.split_off(&last.next());
        self.terms.split_off(&last.next());
        self.seams.split_off(&last.next().next());
        let term = self.terms.get(&last).copied().unwrap_or_default();
        self.last = EntryId { term, index: last };
    }

    /// What the watermark adds, and how the log is gone on with.
    fn finish<F>(
        &mut self,
        mark: Mark,
        segments: VecDeque<Segment>,
        file: F,
        size_bytes: u64,
    ) -> Tail<F> {
        // What was lost came before the mark was written.
        let is_marked = self.batch_after_gap.is_some_and(|batch| batch <= mark.batch);
        // Each hard state is in the watermark before anything is said under it.
        if mark.batch > 0 {
            let is_later = mark.hard_state.term > self.hard_state.term
                || (mark.hard_state.term == self.hard_state.term && self.hard_state.vote.is_none());
            if self.is_vote_lost && is_later && !mutated!(HardStateInOnePlace) {
                self.hard_state = mark.hard_state;
            }
            self.is_vote_lost = false;
        } else if self.is_end_lost {
            self.is_vote_lost = true;
        }
        if self.is_after_gap && !self.is_end_lost {
            // No entry follows that would name what was lost.
            match mark.last.filter(|_| is_marked) {
                Some(last) => self.name_last(last),
                None => self.is_end_lost = true,
            }
        }
        let hard_state = self.hard_state;
        let batch = self.greatest_batch.max(self.position.batch).max(mark.batch) + 1;
        let position = Position { next: self.last.index.next(), batch, previous: 0, hard_state };
        let (offset, last_term, is_damaged, salt) = (HEAD_BYTES, None, true, self.salt);
        Tail { segments, file, offset, size_bytes, position, salt, last_term, is_damaged }
    }

    /// The log ended with `last` when the watermark was written, and no entry came since.
    fn name_last(&mut self, last: EntryId) {
        if self.terms.get(&last.index) != Some(&last.term) {
            self.end_at(last.index.previous());
            self.terms.insert(last.index, last.term);
        } else {
            self.end_at(last.index);
        }
        self.last = last;
        self.is_after_gap = false;
    }
}

impl<D: Disk> Salvaged<D> {
    /// What the core must know of it beside the entries: those that follow `base` up to the first
    /// damage. `None` if nothing is lost but what a snapshot up to `base` holds.
    pub(super) fn damage(&mut self, base: EntryId) -> (Vec<SharedEntry<Txn>>, Option<Damage<Txn>>) {
        let is_end_known = !(self.is_end_lost || self.is_vote_lost);
        let is_other = self.terms.get(&base.index).is_some_and(|term| *term != base.term);
        if is_end_known && (self.last.index <= base.index || is_other) {
            // What was agreed on holds all of it, or is against it.
            return (Vec::new(), None);
        }
        let above = base.index.next();
        let whole = std::mem::take(&mut self.whole).split_off(&above);
        // What follows an entry that was agreed on was appended to that.
        self.seams = self.seams.split_off(&above.next());
        let (mut entries, mut behind) = (Vec::new(), Vec::new());
        let mut next = above;
        for (index, entry) in whole {
            if index == next && behind.is_empty() && !self.seams.contains(&index) {
                next = next.next();
                entries.push(entry);
            } else {
                behind.push(entry);
            }
        }
        let is_whole = behind.is_empty() && next > self.last.index;
        if is_whole && is_end_known {
            return (entries, None);
        }
        let is_there = |index: &Index| {
            *index < next || behind.binary_search_by_key(index, |entry| entry.id.index).is_ok()
        };
        let named = self.terms.range(above..).filter(|(index, _)| !is_there(index));
        let named = named.map(|(&index, &term)| EntryId { term, index }).collect();
        let damage = Damage {
            named,
            seams: self.seams.clone(),
            last: self.last,
            is_end_lost: self.is_end_lost,
            is_vote_lost: self.is_vote_lost,
            behind,
        };
        (entries, Some(damage))
    }
}
