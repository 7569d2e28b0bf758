//! What survives a power cut of one server, and the words that its log is about.

use zokor_core::raft::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Command for Word {
    fn size_bytes(&self) -> usize {
        8
    }
}

/// What would survive a power cut of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: SnapshotMeta,
    /// Ascending without a gap, from anywhere at or below the snapshot.
    pub(crate) entries: Vec<SharedEntry<Word>>,
}

impl Disk {
    pub(crate) fn apply(&mut self, persist: &Persist<Word>) {
        if let Some(hard_state) = persist.hard_state {
            assert!(hard_state.term >= self.hard_state.term, "C2: the term fell");
            if hard_state.term == self.hard_state.term && self.hard_state.vote.is_some() {
                assert_eq!(hard_state.vote, self.hard_state.vote, "C2: the vote changed");
            }
            self.hard_state = hard_state;
        }
        if let Some(meta) = &persist.reset {
            assert!(self.snapshot.last.index >= meta.last.index, "reset to what is not durable");
            self.entries.clear();
        }
        if let Some(index) = persist.truncate_after {
            self.entries.retain(|entry| entry.id.index <= index);
        }
        for entry in &persist.append {
            let last = self.entries.last().map(|entry| entry.id.index);
            let fits = match last {
                Some(last) => entry.id.index == last.next(),
                None => entry.id.index <= self.snapshot.last.index.next(),
            };
            assert!(fits, "gap in the durable log: {last:?} then {:?}", entry.id);
            self.entries.push(entry.clone());
        }
    }

    pub(crate) fn recover(&self) -> Recovered<Word> {
        let last = self.snapshot.last;
        let in_log = self.entries.iter().find(|entry| entry.id.index == last.index);
        let first = self.entries.first().map(|entry| entry.id.index);
        let joins =
            in_log.is_some_and(|entry| entry.id == last) || first == Some(last.index.next());
        let mut entries = self.entries.clone();
        entries.retain(|entry| joins && entry.id.index > last.index);
        let (hard_state, snapshot) = (self.hard_state, self.snapshot.clone());
        Recovered { hard_state, snapshot, entries, damage: None }
    }

    pub(crate) fn has(&self, id: EntryId) -> bool {
        self.snapshot.last.index >= id.index || self.entries.iter().any(|entry| entry.id == id)
    }

    pub(crate) fn last(&self) -> Index {
        let last = self.entries.last().map_or(Index::ZERO, |entry| entry.id.index);
        last.max(self.snapshot.last.index)
    }
}
