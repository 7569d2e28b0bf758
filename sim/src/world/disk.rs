//! One server's disk as the core sees it: a log that is a list of changes in order, and snapshots.
//!
//! Invariant: `durable` holds exactly what a power cut would leave, and changes become durable in
//! the order in which they were asked for.

use std::collections::VecDeque;

use zokor_core::db::{Image, ImageBuilder, RestoreFacts, Txn};
use zokor_core::raft::{EntryId, HardState, Index, Persist, SharedEntry, Term, Ticket};
use zokor_core::replica::{Recovered, Snapshot};

use super::queue::Micros;
use crate::rng::Stream;

/// A log that begins after some entry.
#[derive(Clone, Debug, Default)]
pub struct Log {
    base: EntryId,
    entries: VecDeque<SharedEntry<Txn>>,
}

impl Log {
    /// The last entry, or the one that the log begins after.
    pub fn last(&self) -> EntryId {
        self.entries.back().map_or(self.base, |entry| entry.id)
    }

    /// The entry that the log begins after.
    pub fn base(&self) -> EntryId {
        self.base
    }

    /// The entry at `index`, if it is here.
    pub fn entry(&self, index: Index) -> Option<&SharedEntry<Txn>> {
        let at = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// The term of the entry at `index`, if it is here or just before the first one here.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entry(index).map(|entry| entry.id.term)
    }

    /// The entries, ascending.
    pub fn entries(&self) -> impl Iterator<Item = &SharedEntry<Txn>> {
        self.entries.iter()
    }

    /// Forgets everything and begins after `base`.
    pub fn reset(&mut self, base: EntryId) {
        self.base = base;
        self.entries.clear();
    }

    /// Cuts off what is above `index`.
    pub fn truncate_after(&mut self, index: Index) {
        while self.entries.back().is_some_and(|entry| entry.id.index > index) {
            self.entries.pop_back();
        }
    }

    /// Appends one entry.
    pub fn append(&mut self, entry: SharedEntry<Txn>) {
        assert_eq!(entry.id.index, self.last().index.next(), "a log has no gap");
        self.entries.push_back(entry);
    }

    /// Lets entries up to `through` go.
    pub fn purge(&mut self, through: Index) {
        while self.entries.front().is_some_and(|entry| entry.id.index <= through) {
            self.base = self.entries.pop_front().expect("there is a front").id;
        }
    }
}

/// Hard state and log together: what `Persist` changes.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Term and vote.
    pub hard_state: HardState,
    /// The log.
    pub log: Log,
}

impl Records {
    /// Makes the first `steps` changes of `persist`: hard state, reset, truncation, entries.
    fn make(&mut self, persist: &Persist<Txn>, steps: usize) {
        let mut left = steps;
        let mut may = |wanted: bool| {
            let go = wanted && left > 0;
            left -= usize::from(go);
            go
        };
        if may(persist.hard_state.is_some()) {
            self.hard_state = persist.hard_state.expect("just seen");
        }
        if let Some(meta) = &persist.reset
            && may(true)
        {
            self.log.reset(meta.last);
        }
        if let Some(index) = persist.truncate_after
            && may(true)
        {
            self.log.truncate_after(index);
        }
        for entry in &persist.append {
            if may(true) {
                self.log.append(entry.clone());
            }
        }
    }
}

/// How many changes `persist` makes.
fn steps(persist: &Persist<Txn>) -> usize {
    usize::from(persist.hard_state.is_some())
        + usize::from(persist.reset.is_some())
        + usize::from(persist.truncate_after.is_some())
        + persist.append.len()
}

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// What would survive a power cut.
    durable: Records,
    /// What was asked for: the log as the running replica knows it.
    asked: Records,
    /// The newest snapshot that would survive.
    snapshot: Option<Snapshot>,
    /// Asked for and not durable yet, in order.
    pending: VecDeque<Persist<Txn>>,
    /// The snapshot being written.
    checkpoint: Option<(Ticket, Snapshot)>,
    /// What was durable before it was damaged, until the others have given it back.
    lost: Option<(Records, Index)>,
    /// All that it may have held when that was found, what was never said to be durable included:
    /// until everything is back it may be found again at each start.
    known_then: Vec<Records>,
    /// Entries that were asked for and taken away again. They stay in the files, and are found if
    /// the record that took them away is damaged.
    gone: Vec<SharedEntry<Txn>>,
    /// What is on it is of a state that was found to be wrong.
    pub is_distrusted: bool,
    /// When the last write that is under way will be done.
    pub busy_until: Micros,
}

impl Disk {
    /// What would survive a power cut.
    pub fn durable(&self) -> &Records {
        &self.durable
    }

    /// What was asked for, durable or not.
    pub fn asked(&self) -> &Records {
        &self.asked
    }

    /// The newest snapshot that would survive.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Whether the entry would survive a power cut, by itself or in a snapshot; or would have, and
    /// is to come back.
    pub fn holds(&self, id: EntryId) -> bool {
        let in_snapshot = self.snapshot.as_ref().is_some_and(|s| s.meta.last.index >= id.index);
        let is_here = in_snapshot || self.durable.log.term_at(id.index) == Some(id.term);
        is_here
            || self.lost.as_ref().is_some_and(|(records, snapshot)| {
                *snapshot >= id.index || records.log.term_at(id.index) == Some(id.term)
            })
    }

    /// What is durable turns out to be damaged.
    pub fn loses(&mut self) {
        if self.lost.is_none() {
            self.known_then = self.known();
        }
        let snapshot = self.snapshot.as_ref().map_or(Index::ZERO, |s| s.meta.last.index);
        self.lost.get_or_insert_with(|| (self.durable.clone(), snapshot));
    }

    /// Everything is back.
    pub fn has_back(&mut self) {
        self.lost = None;
        self.known_then.clear();
    }

    /// All that it may hold, or held before it was damaged.
    pub fn known(&self) -> Vec<Records> {
        let lost = self.lost.iter().map(|(records, _)| records.clone());
        let now = self.outcomes().into_iter().chain([self.asked.clone()]);
        now.chain(lost).chain(self.known_then.iter().cloned()).collect()
    }

    /// Whether it was asked to keep this entry, and then to forget it.
    pub fn was_asked_to_forget(&self, entry: &SharedEntry<Txn>) -> bool {
        self.gone.contains(entry)
    }

    /// The last index that would survive.
    pub fn durable_last(&self) -> Index {
        let snapshot = self.snapshot.as_ref().map_or(Index::ZERO, |s| s.meta.last.index);
        self.durable.log.last().index.max(snapshot)
    }

    /// Begins with a history: a snapshot, and the entries that follow it.
    pub fn begin(&mut self, snapshot: Snapshot, entries: &[SharedEntry<Txn>]) {
        let last = snapshot.meta.last;
        self.durable.hard_state = HardState { term: last.term, vote: None };
        self.durable.log.reset(last);
        entries.iter().for_each(|entry| self.durable.log.append(entry.clone()));
        self.asked = self.durable.clone();
        self.snapshot = Some(snapshot);
    }

    /// How many writes are under way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Writes that are under way, in order.
    pub fn unfinished(&self) -> Vec<Persist<Txn>> {
        self.pending.iter().cloned().collect()
    }

    /// The snapshot that is being written.
    pub fn unfinished_checkpoint(&self) -> Option<&Snapshot> {
        self.checkpoint.as_ref().map(|(_, snapshot)| snapshot)
    }

    /// What the log may be after a power cut if each write is there as a whole or not at all, and
    /// none before the one it follows: first without any of those under way.
    pub fn outcomes(&self) -> Vec<Records> {
        let mut all = vec![self.durable.clone()];
        for persist in &self.pending {
            let mut next = all.last().expect("there is a first").clone();
            next.make(persist, usize::MAX);
            all.push(next);
        }
        all
    }

    /// The process has ended, and whoever opens the disk will tell what is on it.
    pub fn stop(&mut self) {
        self.busy_until = 0;
    }

    /// Takes over what was found on the disk that this one only models.
    pub fn adopt(&mut self, found: &Recovered) {
        self.snapshot = found.snapshot.as_ref().map(copy);
        let base = self.snapshot.as_ref().map_or(EntryId::default(), |s| s.meta.last);
        let mut log = Log::default();
        log.reset(base);
        found.entries.iter().for_each(|entry| log.append(entry.clone()));
        self.durable = Records { hard_state: found.hard_state, log };
        self.is_distrusted = found.is_distrusted;
        self.asked = self.durable.clone();
        self.pending.clear();
        self.checkpoint = None;
    }

    /// Whether a snapshot is being written.
    pub fn is_checkpointing(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Notes what the replica's log looks like from now on.
    pub fn note(&mut self, persist: &Persist<Txn>) {
        let is_reset = persist.reset.is_some();
        let kept = persist.truncate_after.filter(|_| !is_reset);
        if is_reset || kept.is_some() {
            let kept = kept.unwrap_or(Index::ZERO);
            let gone = self.asked.log.entries().filter(|entry| entry.id.index > kept);
            self.gone.extend(gone.cloned());
        }
        self.asked.make(persist, usize::MAX);
    }

    /// Takes a write that was noted.
    pub fn persist(&mut self, persist: Persist<Txn>) {
        self.pending.push_back(persist);
    }

    /// The oldest write is done.
    pub fn complete(&mut self) -> Option<Ticket> {
        let persist = self.pending.pop_front()?;
        self.durable.make(&persist, usize::MAX);
        Some(persist.ticket)
    }

    /// Takes a snapshot to write.
    pub fn checkpoint(&mut self, ticket: Ticket, snapshot: Snapshot) {
        assert!(self.checkpoint.is_none(), "one checkpoint at a time");
        self.checkpoint = Some((ticket, snapshot));
    }

    /// The snapshot is written.
    pub fn complete_checkpoint(&mut self) -> Option<Ticket> {
        let (ticket, snapshot) = self.checkpoint.take()?;
        self.keep(snapshot);
        Some(ticket)
    }

    /// Lets entries go. On the disk this waits for what was asked before, at the latest for the
    /// next purge: a truncation under way must find its place.
    pub fn purge(&mut self, through: Index) {
        self.gone.retain(|entry| entry.id.index > through);
        self.asked.log.purge(through);
        if self.pending.is_empty() {
            self.durable.log.purge(through);
        }
    }

    /// The power is cut: of what was not durable a prefix may be there, the rest is lost.
    pub fn crash(&mut self, stream: &mut Stream) {
        for persist in std::mem::take(&mut self.pending) {
            let all = steps(&persist);
            let kept = if stream.coin() { all } else { stream.below(all as u64 + 1) as usize };
            self.durable.make(&persist, kept);
            if kept < all || stream.coin() {
                break;
            }
        }
        if let Some((_, snapshot)) = self.checkpoint.take()
            && stream.coin()
        {
            self.keep(snapshot);
        }
        self.asked = self.durable.clone();
        self.busy_until = 0;
    }

    /// What a server finds when it starts. The log goes on after the snapshot if it holds the
    /// snapshot's last entry, else it is older or another's and must go.
    pub fn recover(&mut self) -> Recovered {
        let snapshot = self.snapshot.as_ref().map(copy);
        if let Some(snapshot) = &snapshot {
            let last = snapshot.meta.last;
            if self.durable.log.base().index < last.index {
                match self.durable.log.term_at(last.index) {
                    Some(term) if term == last.term => self.durable.log.purge(last.index),
                    Some(_) | None => self.durable.log.reset(last),
                }
            }
        }
        self.asked = self.durable.clone();
        let hard_state = self.durable.hard_state;
        let entries = self.durable.log.entries().cloned().collect();
        let is_distrusted = self.is_distrusted;
        Recovered { hard_state, snapshot, entries, damage: None, is_distrusted }
    }

    fn keep(&mut self, snapshot: Snapshot) {
        let newest = self.snapshot.as_ref().map_or(Index::ZERO, |s| s.meta.last.index);
        if snapshot.meta.last.index >= newest {
            self.snapshot = Some(snapshot);
        }
    }
}

/// The snapshot as if it had been written and read again: nothing shared with its maker.
pub fn copy(snapshot: &Snapshot) -> Snapshot {
    let image = copy_image(&snapshot.image);
    Snapshot { meta: snapshot.meta.clone(), zxid: snapshot.zxid, image }
}

fn copy_image(image: &Image) -> Image {
    let mut builder = ImageBuilder::new();
    for node in image.nodes() {
        builder.node(node).expect("an image's own znodes are in order");
    }
    for session in image.sessions() {
        builder.session(session).expect("an image's own sessions come once");
    }
    for (&prefix, &last) in image.last_session_ids() {
        builder.last_session_id(prefix, last);
    }
    if image.restores() != RestoreFacts::default() {
        builder.restores(image.restores()).expect("one was begun");
    }
    for node in image.staged_nodes() {
        builder.staged_node(node).expect("what is staged is in order, too");
    }
    for session in image.staged_sessions() {
        builder.staged_session(session).expect("sessions that are staged come once");
    }
    builder.finish(image.zxid(), image.digest()).expect("an image's copy has its digest")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::raft::{Entry, Payload};

    use super::*;
    use crate::rng::Concern;

    fn entry(term: u64, index: u64) -> SharedEntry<Txn> {
        let id = EntryId { term: Term(term), index: Index(index) };
        Arc::new(Entry { id, payload: Payload::Blank })
    }

    fn write(ticket: u64, entries: Vec<SharedEntry<Txn>>) -> Persist<Txn> {
        Persist {
            ticket: Ticket(ticket),
            hard_state: None,
            reset: None,
            truncate_after: None,
            append: entries,
        }
    }

    #[test]
    fn what_is_not_complete_is_not_durable() {
        let mut disk = Disk::default();
        for write in [write(1, vec![entry(1, 1)]), write(2, vec![entry(1, 2)])] {
            disk.note(&write);
            disk.persist(write);
        }
        assert_eq!(disk.asked().log.last().index, Index(2));
        assert_eq!(disk.durable_last(), Index(0));
        assert_eq!(disk.complete(), Some(Ticket(1)));
        assert_eq!(disk.durable_last(), Index(1));
    }

    #[test]
    fn a_crash_leaves_a_prefix() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut disk = Disk::default();
            disk.persist(write(1, vec![entry(1, 1), entry(1, 2)]));
            disk.persist(write(2, vec![entry(1, 3)]));
            disk.crash(&mut Stream::new(seed, Concern::Disk(1)));
            lengths.insert(disk.durable_last().0);
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
