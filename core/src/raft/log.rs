//! The tail of the log in memory, and how much of it is durable.
//!
//! Invariant: the entries ascend without a gap from the one after `base`, their terms never fall,
//! and `base <= written <= last`, `base <= persisted <= last`. Truncation lowers `persisted` before
//! anything new is appended, so that a completion that comes late cannot make new entries durable
//! (Keeper #102629).

use std::collections::VecDeque;

use super::effect::{Persist, SnapshotMeta, Ticket};
use super::entry::{Command, Payload, SharedEntry};
use super::position::{EntryId, Index, Term};

#[derive(Clone, Debug)]
pub(super) struct Log<C> {
    /// The entry before the first of `entries`; its successors are all here.
    base: EntryId,
    entries: VecDeque<SharedEntry<C>>,
    /// Everything up to here was handed to storage.
    written: Index,
    /// Everything up to here would survive a power cut.
    persisted: Index,
    /// To be handed to storage before the next entries.
    reset: Option<SnapshotMeta>,
    /// To be handed to storage before the next entries, after `reset`.
    truncate_after: Option<Index>,
    /// What storage is busy with: the last index that counts as durable when the ticket completes.
    under_way: VecDeque<(Ticket, Index)>,
}

impl<C: Command> Log<C> {
    /// The log that storage found: durable `entries` that follow `base`.
    pub(super) fn new(base: EntryId, entries: Vec<SharedEntry<C>>) -> Self {
        let mut log = Log {
            base,
            entries: VecDeque::new(),
            written: base.index,
            persisted: base.index,
            reset: None,
            truncate_after: None,
            under_way: VecDeque::new(),
        };
        for entry in entries {
            log.append(entry);
        }
        log.written = log.last().index;
        log.persisted = log.last().index;
        log
    }

    /// A log that is to be written anew, as a whole: `entries` behind the durable snapshot of
    /// `meta`.
    pub(super) fn rewritten(meta: SnapshotMeta, entries: Vec<SharedEntry<C>>) -> Self {
        let base = meta.last;
        let mut log = Log::new(base, entries);
        (log.written, log.persisted) = (base.index, base.index);
        log.reset = Some(meta);
        log
    }

    /// The entry before the tail.
    pub(super) fn base(&self) -> EntryId {
        self.base
    }

    /// The first index that the tail has, or would have.
    pub(super) fn first(&self) -> Index {
        self.base.index.next()
    }

    /// The last entry.
    pub(super) fn last(&self) -> EntryId {
        self.entries.back().map_or(self.base, |entry| entry.id)
    }

    /// Everything up to here would survive a power cut.
    pub(super) fn persisted(&self) -> Index {
        self.persisted
    }

    /// The entry at `index`, if it is in the tail.
    pub(super) fn entry(&self, index: Index) -> Option<&SharedEntry<C>> {
        let offset = index.0.checked_sub(self.first().0)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// The term of the entry at `index`, if that is in the tail or just before it.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entry(index).map(|entry| entry.id.term)
    }

    /// The last entry with an index and a term not above these; `base` if there is none.
    pub(super) fn last_not_above(&self, limit: EntryId) -> EntryId {
        // Terms never fall along the log, so that a search by halves finds the border.
        let by_term = self.entries.partition_point(|entry| entry.id.term <= limit.term);
        let by_index = limit.index.0.saturating_sub(self.base.index.0);
        let count = by_term.min(usize::try_from(by_index).unwrap_or(usize::MAX));
        count.checked_sub(1).and_then(|at| self.entries.get(at)).map_or(self.base, |e| e.id)
    }

    /// Clones of the entries above `after`, up to and with `upto`.
    pub(super) fn range(&self, after: Index, upto: Index) -> Vec<SharedEntry<C>> {
        assert!(after >= self.base.index, "entries before the tail are gone");
        assert!(upto <= self.last().index, "entries after the tail do not exist");
        let from = (after.0 - self.base.index.0) as usize;
        let count = upto.0.saturating_sub(after.0) as usize;
        self.entries.range(from..from + count).cloned().collect()
    }

    /// Clones of the entries from `from` on that weigh at most `max_bytes`, but at least one.
    pub(super) fn batch(&self, from: Index, max_bytes: usize) -> Vec<SharedEntry<C>> {
        assert!(from >= self.first(), "entries before the tail are gone");
        let mut batch = Vec::new();
        let mut bytes = 0usize;
        let skipped = (from.0 - self.first().0) as usize;
        for entry in self.entries.iter().skip(skipped) {
            bytes = bytes.saturating_add(weight(entry));
            if !batch.is_empty() && bytes > max_bytes {
                break;
            }
            batch.push(entry.clone());
        }
        batch
    }

    /// Adds one entry at the end.
    pub(super) fn append(&mut self, entry: SharedEntry<C>) {
        let last = self.last();
        assert!(entry.id.index == last.index.next(), "the log has no gaps");
        assert!(entry.id.term >= last.term, "terms never fall along the log");
        self.entries.push_back(entry);
    }

    /// Drops the entries above `index`.
    pub(super) fn truncate_after(&mut self, index: Index) {
        assert!(index >= self.base.index, "only the tail can be cut");
        self.persisted = self.persisted.min(index);
        for (_, upto) in &mut self.under_way {
            *upto = (*upto).min(index);
        }
        if self.written > index {
            self.written = index;
            let earlier = self.truncate_after.unwrap_or(index);
            self.truncate_after = Some(earlier.min(index));
        }
        self.entries.truncate((index.0 - self.base.index.0) as usize);
        assert!(self.last().index <= index, "nothing above the cut is left");
    }

    /// Begins anew after a snapshot, which is durable.
    pub(super) fn reset(&mut self, meta: SnapshotMeta) {
        for (_, upto) in &mut self.under_way {
            *upto = (*upto).min(meta.last.index);
        }
        self.base = meta.last;
        self.entries.clear();
        self.written = meta.last.index;
        self.persisted = meta.last.index;
        self.truncate_after = None;
        self.reset = Some(meta);
    }

    /// A durable snapshot holds everything up to `index`.
    pub(super) fn covered_by_snapshot(&mut self, index: Index) {
        assert!(index <= self.last().index, "it holds what this log holds");
        self.persisted = self.persisted.max(index);
    }

    /// Drops the entries up to and with `index` from memory, but none that storage has not been
    /// given yet.
    pub(super) fn compact(&mut self, index: Index) {
        let upto = index.min(self.written).min(self.persisted);
        if upto <= self.base.index {
            return;
        }
        let term = self.term_at(upto).expect("written entries are in the tail");
        self.entries.drain(..(upto.0 - self.base.index.0) as usize);
        self.base = EntryId { term, index: upto };
        assert!(self.base.index <= self.written, "what storage lacks stays");
    }

    /// The least index behind which the entries up to and with `last` weigh `max_bytes` at most.
    pub(super) fn weighing_at_most(&self, last: Index, max_bytes: usize) -> Index {
        let mut at = last.min(self.last().index);
        let mut left = max_bytes;
        while let Some(entry) = self.entry(at)
            && let Some(less) = left.checked_sub(weight(entry))
        {
            left = less;
            at = at.previous();
        }
        at
    }

    /// Whether storage has not been given everything yet.
    pub(super) fn is_unwritten(&self) -> bool {
        self.reset.is_some() || self.truncate_after.is_some() || self.written < self.last().index
    }

    /// Moves what storage has not been given yet into `persist`.
    pub(super) fn write_to(&mut self, persist: &mut Persist<C>) {
        persist.reset = self.reset.take();
        persist.truncate_after = self.truncate_after.take();
        let last = self.last().index;
        persist.append = self.range(self.written, last);
        self.written = last;
        self.under_way.push_back((persist.ticket, last));
    }

    /// All that was written up to and with `ticket` is durable.
    pub(super) fn completed(&mut self, ticket: Ticket) {
        while let Some((_, upto)) = self.under_way.pop_front_if(|(first, _)| *first <= ticket) {
            self.persisted = self.persisted.max(upto);
        }
        assert!(self.persisted <= self.last().index, "only what exists is durable");
    }
}

/// About how many bytes an entry has in a message.
pub(super) fn weight<C: Command>(entry: &SharedEntry<C>) -> usize {
    const HEADER: usize = 16;
    let payload = match &entry.payload {
        Payload::Blank => 1,
        Payload::Command(command) => command.size_bytes(),
        Payload::Membership(membership) => 8 * membership.servers().len(),
    };
    HEADER.saturating_add(payload)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::entry::Entry;
    use super::*;

    impl Command for u64 {
        fn size_bytes(&self) -> usize {
            8
        }
    }

    fn entry(term: u64, index: u64) -> SharedEntry<u64> {
        let id = EntryId { term: Term(term), index: Index(index) };
        Arc::new(Entry { id, payload: Payload::Command(index) })
    }

    /// A log whose entries 1, 2, 3, ... have these terms, all durable.
    fn log(terms: &[u64]) -> Log<u64> {
        let entries = terms.iter().zip(1..).map(|(term, index)| entry(*term, index)).collect();
        Log::new(EntryId::default(), entries)
    }

    fn write(log: &mut Log<u64>, ticket: u64) -> Persist<u64> {
        let mut persist = Persist {
            ticket: Ticket(ticket),
            hard_state: None,
            reset: None,
            truncate_after: None,
            append: Vec::new(),
        };
        log.write_to(&mut persist);
        persist
    }

    fn id(term: u64, index: u64) -> EntryId {
        EntryId { term: Term(term), index: Index(index) }
    }

    #[test]
    fn late_completion_of_a_truncated_write_makes_nothing_durable() {
        let mut log = log(&[1, 1]);
        log.append(entry(1, 3));
        log.append(entry(1, 4));
        write(&mut log, 1);
        log.truncate_after(Index(2));
        log.append(entry(2, 3));
        let second = write(&mut log, 2);
        assert_eq!(second.truncate_after, Some(Index(2)));
        assert_eq!(second.append, vec![entry(2, 3)]);
        log.completed(Ticket(1));
        assert_eq!(log.persisted(), Index(2));
        log.completed(Ticket(2));
        assert_eq!(log.persisted(), Index(3));
    }

    #[test]
    fn truncation_of_what_was_never_written_is_no_business_of_storage() {
        let mut log = log(&[1]);
        log.append(entry(1, 2));
        log.truncate_after(Index(1));
        log.append(entry(3, 2));
        let persist = write(&mut log, 1);
        assert_eq!(persist.truncate_after, None);
        assert_eq!(persist.append, vec![entry(3, 2)]);
    }

    #[test]
    fn two_truncations_before_one_write_become_the_deeper_one() {
        let mut log = log(&[1, 1, 1, 1]);
        log.truncate_after(Index(3));
        log.truncate_after(Index(1));
        log.append(entry(2, 2));
        let persist = write(&mut log, 1);
        assert_eq!(persist.truncate_after, Some(Index(1)));
        assert_eq!(persist.append, vec![entry(2, 2)]);
    }

    #[test]
    fn search_skips_whole_terms() {
        let log = log(&[1, 1, 2, 2, 5]);
        assert_eq!(log.last_not_above(id(4, 9)), id(2, 4));
        assert_eq!(log.last_not_above(id(9, 9)), id(5, 5));
        assert_eq!(log.last_not_above(id(1, 9)), id(1, 2));
        assert_eq!(log.last_not_above(id(5, 3)), id(2, 3));
        assert_eq!(log.last_not_above(id(0, 9)), id(0, 0));
    }

    #[test]
    fn compaction_keeps_the_term_before_the_tail_and_what_is_unwritten() {
        let mut log = log(&[1, 2, 3]);
        log.append(entry(3, 4));
        log.compact(Index(2));
        assert_eq!(log.term_at(Index(2)), Some(Term(2)));
        assert_eq!(log.term_at(Index(1)), None);
        assert_eq!(log.first(), Index(3));
        log.covered_by_snapshot(Index(4));
        log.compact(Index(4));
        assert_eq!(log.first(), Index(4));
        assert_eq!(write(&mut log, 1).append, vec![entry(3, 4)]);
    }

    #[test]
    fn weight_says_how_much_is_kept() {
        let log = log(&[1, 1, 1]);
        let each = weight(log.entry(Index(1)).expect("it is there"));
        for (max_bytes, first_dropped) in [(0, 3), (each, 2), (3 * each - 1, 1), (9 * each, 0)] {
            assert_eq!(log.weighing_at_most(Index(3), max_bytes), Index(first_dropped));
        }
        assert_eq!(log.weighing_at_most(Index(2), each), Index(1));
    }

    #[test]
    fn reset_forgets_every_entry_and_writes_under_way() {
        let mut log = log(&[1, 1]);
        log.append(entry(1, 3));
        write(&mut log, 1);
        log.reset(SnapshotMeta { last: id(4, 2), membership: None });
        assert_eq!(log.last(), id(4, 2));
        log.completed(Ticket(1));
        assert_eq!(log.persisted(), Index(2));
        assert_eq!(write(&mut log, 2).reset.map(|meta| meta.last), Some(id(4, 2)));
    }

    #[test]
    fn batch_has_at_least_one_entry_and_then_keeps_to_the_limit() {
        let log = log(&[1, 1, 1]);
        assert_eq!(log.batch(Index(1), 0).len(), 1);
        assert_eq!(log.batch(Index(1), 48).len(), 2);
        assert_eq!(log.batch(Index(2), 1000).len(), 2);
        assert_eq!(log.batch(Index(4), 1000).len(), 0);
    }
}
