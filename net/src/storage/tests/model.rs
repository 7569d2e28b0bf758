//! Storage against a vector.

use proptest::prelude::*;
use zokor_core::db::Txn;
use zokor_core::raft::{HardState, Index, Persist, SharedEntry, Term};

use super::*;

/// What a log is, without a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) hard_state: HardState,
    /// The index and term with which the newest snapshot ends.
    pub(super) snapshot: (u64, u64),
    /// The index of the first entry.
    pub(super) first: u64,
    pub(super) entries: Vec<SharedEntry<Txn>>,
}

impl Model {
    pub(super) fn new() -> Self {
        Model { first: 1, ..Model::default() }
    }

    pub(super) fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    pub(super) fn apply(&mut self, persist: &Persist<Txn>) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(meta) = &persist.reset {
            self.first = meta.last.index.0 + 1;
            self.entries.clear();
        }
        if let Some(Index(last)) = persist.truncate_after
            && last < self.last()
        {
            self.entries.truncate(usize::try_from(last + 1 - self.first).unwrap());
        }
        self.entries.extend(persist.append.iter().cloned());
    }

    /// What the core would be handed.
    pub(super) fn entries_after_snapshot(&self) -> Vec<SharedEntry<Txn>> {
        let above = |entry: &&SharedEntry<Txn>| entry.id.index.0 > self.snapshot.0;
        self.entries.iter().filter(above).cloned().collect()
    }

    pub(super) fn assert_found(&self, opened: &Opened<MemoryDisk>) {
        assert_eq!(opened.recovered.hard_state, self.hard_state);
        assert_eq!(snapshot_index(opened), self.snapshot.0);
        assert_eq!(opened.recovered.entries, self.entries_after_snapshot());
    }
}

/// What a server does to its storage.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Appends so many entries of such a size, in one call of so many parts.
    Append { n: u64, size: usize, n_parts: u64 },
    /// Votes in a new term.
    Vote(u64),
    /// A new leader overwrites the last so many entries.
    Conflict(u64),
    /// Takes a snapshot so many entries before the last.
    Checkpoint(u64),
    /// Is sent a snapshot so many entries beyond the last.
    Install(u64),
    /// Lets go of what a snapshot covers.
    Purge,
    /// Has nothing to do.
    Idle,
    /// Notes how far the log is durable.
    Mark,
    /// Stops and starts.
    Restart,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..6, 0usize..1500, 1u64..4)
            .prop_map(|(n, size, n_parts)| Step::Append { n, size, n_parts }),
        2 => (1u64..4).prop_map(Step::Vote),
        2 => (0u64..8).prop_map(Step::Conflict),
        2 => (0u64..5).prop_map(Step::Checkpoint),
        1 => (1u64..9).prop_map(Step::Install),
        2 => Just(Step::Purge),
        2 => Just(Step::Idle),
        2 => Just(Step::Mark),
        1 => Just(Step::Restart),
    ]
}

impl Step {
    /// The calls of `persist` that the step makes: each is a batch.
    pub(super) fn batches(&self, model: &Model) -> Vec<Vec<Persist<Txn>>> {
        let term = model.hard_state.term.0.max(1);
        let last = model.last();
        match *self {
            Step::Append { n, size, n_parts } => {
                let part = |i| {
                    let from = last + i * n + 1;
                    let entries = (from..from + n).map(|index| entry(term, index, size));
                    Persist { append: entries.collect(), ..nothing() }
                };
                vec![(0..n_parts).map(part).collect()]
            }
            Step::Vote(vote) => {
                let hard_state = Some(hard_state(term + 1, Some(vote)));
                vec![vec![Persist { hard_state, ..nothing() }]]
            }
            Step::Conflict(n) => {
                let floor = model.snapshot.0.max(model.first - 1);
                let kept = last.saturating_sub(n).max(floor);
                let append = (kept + 1..=kept + 2).map(|index| entry(term + 1, index, 50));
                vec![vec![Persist {
                    hard_state: Some(hard_state(term + 1, None)),
                    truncate_after: Some(Index(kept)),
                    append: append.collect(),
                    ..nothing()
                }]]
            }
            Step::Install(n) => vec![vec![reset(term, last + n)]],
            Step::Checkpoint(_) | Step::Purge | Step::Idle | Step::Mark | Step::Restart => {
                Vec::new()
            }
        }
    }

    /// The snapshot that the step saves, before anything else.
    pub(super) fn saves(&self, model: &Model) -> Option<Snapshot> {
        let term = model.hard_state.term.0.max(1);
        match *self {
            Step::Checkpoint(n) => {
                let index = model.last().saturating_sub(n);
                let is_new = index > model.snapshot.0 && index >= model.first;
                let at = |index: u64| model.entries[(index - model.first) as usize].id.term.0;
                is_new.then(|| snapshot(at(index), index))
            }
            Step::Install(n) => Some(snapshot(term, model.last() + n)),
            Step::Append { .. }
            | Step::Vote(_)
            | Step::Conflict(_)
            | Step::Purge
            | Step::Idle
            | Step::Mark
            | Step::Restart => None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn storage_is_a_vector_that_survives(steps in prop::collection::vec(step(), 1..60)) {
        let disk = MemoryDisk::new();
        let mut opened = reopen(&disk);
        let mut model = Model::new();
        for step in steps {
            if let Some(snapshot) = step.saves(&model) {
                opened.snapshots.save(&snapshot).unwrap();
                let last = snapshot.meta.last;
                model.snapshot = (last.index.0, last.term.0);
            }
            for batch in step.batches(&model) {
                opened.wal.persist(&batch).unwrap();
                batch.iter().for_each(|persist| model.apply(persist));
            }
            match step {
                Step::Purge => opened.wal.purge(Index(model.snapshot.0)).unwrap(),
                Step::Idle => { opened.wal.idle().unwrap(); }
                Step::Mark => opened.wal.mark().unwrap(),
                Step::Restart => {
                    drop(opened);
                    opened = reopen(&disk);
                    model.assert_found(&opened);
                }
                Step::Append { .. } | Step::Vote(_) | Step::Conflict(_) | Step::Checkpoint(_)
                | Step::Install(_) => {}
            }
            prop_assert_eq!(opened.wal.last_index(), Index(model.last()));
        }
        drop(opened);
        let opened = reopen(&disk);
        model.assert_found(&opened);
        prop_assert!(opened.recovered.hard_state.term >= Term(0));
    }
}
