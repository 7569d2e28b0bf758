//! When to take a snapshot, and when to install one.
//!
//! Invariant: one snapshot at a time is on its way to storage. The log is purged only behind the
//! snapshot before the last, so that a damaged last one does not leave a gap (ZOOKEEPER-3231).

use std::collections::BTreeSet;

use super::message::Snapshot;
use crate::raft::{Index, SnapshotMeta, Ticket};

/// What storage was asked to keep.
#[derive(Debug)]
enum Under {
    /// A snapshot of this server's own state.
    Own(SnapshotMeta),
    /// A leader's, to be put in force when it is durable.
    Install(Snapshot),
}

/// What is to be done now that a snapshot is durable.
#[derive(Debug)]
pub(super) enum Durable {
    /// The log may go up to `purge`.
    Own { meta: SnapshotMeta, purge: Index },
    /// Put it in force; the log may go up to `purge`.
    Install { snapshot: Snapshot, purge: Index },
}

/// The snapshots of this server.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    tickets: u64,
    under_way: Option<(Ticket, Under)>,
    /// A leader's snapshot that waits for storage to be free; a newer one replaces it.
    next_install: Option<Snapshot>,
    last: Index,
    bytes_since: u64,
    taken: u64,
    /// Storage wants a snapshot that ends above each of these.
    wanted: BTreeSet<Index>,
}

impl Checkpoints {
    /// Begins with the snapshot that was found on disk.
    pub(super) fn new(last: Index) -> Self {
        Checkpoints { last, ..Checkpoints::default() }
    }

    /// Notes an entry applied.
    pub(super) fn applied(&mut self, size_bytes: usize) {
        self.bytes_since += size_bytes as u64;
    }

    /// Whether enough has been applied since the last snapshot.
    pub(super) fn is_due(&self, applied: Index, max_entries: u64, max_bytes: u64) -> bool {
        let idle = self.under_way.is_none() && self.next_install.is_none();
        let entries = applied.0 - self.last.0.min(applied.0);
        let is_wanted = self.wanted.first().is_some_and(|above| *above < applied);
        let is_grown = entries >= max_entries || self.bytes_since >= max_bytes;
        idle && (is_wanted || (entries > 0 && is_grown))
    }

    /// Storage wants a snapshot that ends above this index, since it has found damage.
    pub(super) fn want(&mut self, above: Index) {
        self.wanted.insert(above);
    }

    /// Takes a snapshot of this server's own state; to be handed to storage under the ticket.
    pub(super) fn take(&mut self, snapshot: Snapshot) -> (Ticket, Snapshot) {
        assert!(self.under_way.is_none(), "one snapshot at a time");
        self.bytes_since = 0;
        self.taken += 1;
        self.wanted.retain(|above| *above >= snapshot.meta.last.index);
        self.begin(Under::Own(snapshot.meta.clone()), snapshot)
    }

    /// Takes a leader's snapshot. Handed to storage now, or by `next` when storage is free.
    pub(super) fn install(&mut self, snapshot: Snapshot) {
        self.next_install = Some(snapshot);
    }

    /// Whether a leader's snapshot is on its way.
    pub(super) fn is_installing(&self) -> bool {
        let under_way = matches!(self.under_way, Some((_, Under::Install(_))));
        under_way || self.next_install.is_some()
    }

    /// What to hand to storage now, if it is free and something waits.
    pub(super) fn next(&mut self) -> Option<(Ticket, Snapshot)> {
        if self.under_way.is_some() {
            return None;
        }
        let snapshot = self.next_install.take()?;
        Some(self.begin(Under::Install(snapshot.clone()), snapshot))
    }

    /// Storage says that the snapshot is durable.
    pub(super) fn durable(&mut self, ticket: Ticket) -> Durable {
        let (expected, under) = self.under_way.take().expect("storage answers what it was asked");
        assert_eq!(ticket, expected, "storage answers what it was asked");
        let purge = self.last;
        match under {
            Under::Own(meta) => {
                self.last = meta.last.index;
                Durable::Own { meta, purge }
            }
            Under::Install(snapshot) => {
                self.last = snapshot.meta.last.index;
                self.bytes_since = 0;
                // One that waited, of another leader, may be older: the newest on disk is this.
                self.next_install.take_if(|next| next.meta.last.index <= self.last);
                Durable::Install { snapshot, purge }
            }
        }
    }

    /// Snapshots of this server's own state taken since it started.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    fn begin(&mut self, under: Under, snapshot: Snapshot) -> (Ticket, Snapshot) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.under_way = Some((ticket, under));
        (ticket, snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;
    use crate::proto::Zxid;
    use crate::raft::{EntryId, Term};

    #[test]
    fn a_snapshot_that_storage_wants_is_due_once_enough_was_applied_and_once_only() {
        let mut checkpoints = Checkpoints::new(Index(10));
        let is_due = |it: &Checkpoints, applied| it.is_due(Index(applied), 1_000, 1_000);
        assert!(!is_due(&checkpoints, 10));
        checkpoints.want(Index(9));
        checkpoints.want(Index(14));
        assert!(is_due(&checkpoints, 10), "though it was taken before");
        let (ticket, _) = checkpoints.take(snapshot(10));
        assert!(!is_due(&checkpoints, 15), "one at a time");
        checkpoints.durable(ticket);
        assert!(!is_due(&checkpoints, 14) && is_due(&checkpoints, 15));
        let (ticket, _) = checkpoints.take(snapshot(15));
        checkpoints.durable(ticket);
        assert!(!is_due(&checkpoints, 900));
    }

    fn snapshot(last: u64) -> Snapshot {
        let last = EntryId { term: Term(1), index: Index(last) };
        let image = Database::new().freeze();
        Snapshot { meta: SnapshotMeta { last, membership: None }, zxid: Zxid::ZERO, image }
    }

    #[test]
    fn a_waiting_snapshot_is_put_on_disk_only_if_it_is_newer_than_what_is_there() {
        for (waiting, expected) in [(120, None), (150, None), (180, Some(Index(180)))] {
            let mut checkpoints = Checkpoints::new(Index(10));
            checkpoints.install(snapshot(150));
            let (ticket, _) = checkpoints.next().expect("storage is free");
            checkpoints.install(snapshot(waiting));
            assert!(checkpoints.next().is_none(), "one at a time");
            checkpoints.durable(ticket);
            let next = checkpoints.next().map(|(_, snapshot)| snapshot.meta.last.index);
            assert_eq!(next, expected);
        }
    }
}
