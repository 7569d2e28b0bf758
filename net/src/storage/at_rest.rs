//! What the log, the snapshots and the scrub of one server know of each other: what lies at rest,
//! and what of it is damaged.
//!
//! Invariant: a file is listed here exactly while it counts. What is to go is taken off the list
//! before it is touched, so that whoever reads a file, and finds it listed afterwards, has read
//! nothing but that file.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zokor_core::raft::{HardState, Index};
use zokor_core::time::Instant;

use super::disk::Disk;
use super::segment::Position;
use super::snapshot::name_of;
use super::wal::Segment;

/// What the parts of one server's storage share.
pub(super) struct Shared<D: Disk> {
    /// The folders' id.
    pub(super) id: [u8; 16],
    at_rest: Mutex<AtRest>,
    /// Counts the beginnings and the ends of writes to the watermark: odd during one.
    marks_written: AtomicU64,
    /// Held until all parts are dropped.
    _locks: Mutex<Vec<D::Lock>>,
}

impl<D: Disk> Shared<D> {
    pub(super) fn new(id: [u8; 16], locks: Vec<D::Lock>) -> Self {
        let (at_rest, marks_written) = (Mutex::default(), AtomicU64::new(0));
        Shared { id, at_rest, marks_written, _locks: Mutex::new(locks) }
    }

    /// The list. Nobody holds it over a call to the disk.
    pub(super) fn at_rest(&self) -> MutexGuard<'_, AtRest> {
        self.at_rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write to the watermark begins, or has ended.
    pub(super) fn touch_marks(&self) {
        self.marks_written.fetch_add(1, Ordering::AcqRel);
    }

    /// How often [`Shared::touch_marks`] was called.
    pub(super) fn mark_touches(&self) -> u64 {
        self.marks_written.load(Ordering::Acquire)
    }
}

/// What counts, and what is wrong with it.
#[derive(Default)]
pub(super) struct AtRest {
    /// The log's files, oldest first; the last is the one that is written.
    pub(super) segments: Vec<Segment>,
    /// Where the log stands.
    pub(super) durable: Position,
    /// The log waits to be begun anew; until then nothing of it is looked at.
    pub(super) is_log_damaged: bool,
    /// What the watermark says, and which of its files were written.
    pub(super) mark: (HardState, [bool; 2]),
    /// How many snapshots are kept; at least 1.
    pub(super) n_kept: usize,
    /// All snapshots that are there and are not known to be damaged.
    pub(super) present: BTreeSet<Index>,
    /// Those that are; they go when a newer one was verified.
    pub(super) damaged: BTreeSet<Index>,
    /// Those that were read back whole since the start.
    pub(super) verified: BTreeSet<Index>,
    /// Those of a state that turned out to be wrong: however whole, they are never verified.
    distrusted: BTreeSet<Index>,
    /// The numbers of segments that are damaged; they go when a verified snapshot covers them.
    pub(super) sick: BTreeSet<u64>,
    /// The watermark is to be written anew.
    pub(super) is_mark_sick: bool,
    /// How many snapshots are still to be taken in the place of damaged ones.
    n_to_replace: u64,
    /// Since a damaged segment went the log begins behind this entry: an older snapshot is no way
    /// out if the newest rots.
    log_from: Index,
    /// What was counted.
    pub(super) counts: ScrubCounts,
    /// What was put right, for people.
    pub(super) repairs: Vec<String>,
}

/// What a scrub has counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubCounts {
    /// Rounds that have ended: all that is at rest was read once.
    pub rounds: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Files that were read again, since they seemed to be damaged.
    pub read_again: u64,
    /// Files that were found to be damaged.
    pub found: u64,
    /// Files in whose place there is a good one, or that count no longer.
    pub repaired: u64,
    /// Files that are damaged at the moment.
    pub left: u64,
    /// How long the last round took.
    pub last_round: Duration,
    /// When it ended.
    pub last_round_ended: Option<Instant>,
}

impl AtRest {
    /// The log is kept from the entry after this index on: the older of the two newest verified
    /// snapshots covers the rest, so that recovery has a way out if the newest rots.
    pub(super) fn covered(&self) -> Index {
        let fallback = self.n_kept.min(2) - 1;
        self.verified.iter().rev().nth(fallback).copied().unwrap_or_default()
    }

    /// The index with which the newest verified snapshot ends.
    pub(super) fn newest(&self) -> Option<Index> {
        self.verified.last().copied()
    }

    /// A snapshot was written and read back.
    pub(super) fn saved(&mut self, index: Index) {
        self.damaged.remove(&index);
        self.distrusted.remove(&index);
        self.present.insert(index);
        self.verified.insert(index);
        if self.n_to_replace > 0 {
            self.n_to_replace -= 1;
            self.repaired(format!("{} was written in the place of a damaged one", name_of(index)));
        }
    }

    /// A snapshot was read, and is whole.
    pub(super) fn read_whole(&mut self, index: Index) {
        if self.present.contains(&index) && !self.distrusted.contains(&index) {
            self.verified.insert(index);
        }
    }

    /// None of those that are there is to be trusted.
    pub(super) fn distrust_all(&mut self) {
        self.distrusted = self.present.clone();
        self.verified.clear();
    }

    /// So many snapshots were found to be damaged at the start.
    pub(super) fn replace(&mut self, n_damaged: usize) {
        self.n_to_replace += n_damaged as u64;
    }

    /// A snapshot is damaged. Whether it counted.
    pub(super) fn lose_snapshot(&mut self, index: Index) -> bool {
        let has_counted = self.present.remove(&index);
        if has_counted {
            self.verified.remove(&index);
            self.damaged.insert(index);
            self.n_to_replace += 1;
        }
        has_counted
    }

    /// The snapshots that may go: damaged ones below the newest, and the oldest beyond the number
    /// to keep, or to fit in; but neither the newest nor the one to fall back to. They count no
    /// longer.
    pub(super) fn take_old(&mut self, n_fitting: usize) -> Vec<Index> {
        let n_kept = self.n_kept.min(n_fitting.max(2));
        let Some(newest) = self.newest() else { return Vec::new() };
        let rest = self.damaged.split_off(&newest);
        let mut old: Vec<Index> = std::mem::replace(&mut self.damaged, rest).into_iter().collect();
        // In doubt, those that are not to be trusted may be above the newest that is.
        while self.present.len() > n_kept
            && let Some(oldest) = self.present.first().copied()
            && oldest < newest
        {
            self.present.remove(&oldest);
            self.verified.remove(&oldest);
            old.push(oldest);
        }
        old
    }

    /// The snapshots before this one, ascending, which count no longer.
    pub(super) fn take_before(&mut self, index: Index) -> Vec<Index> {
        let later = self.present.split_off(&index);
        let before = std::mem::replace(&mut self.present, later);
        self.verified = self.verified.split_off(&index);
        self.distrusted = self.distrusted.split_off(&index);
        before.into_iter().collect()
    }

    /// The last entry of the log when the segment at `place` ended; `None` if it has not.
    pub(super) fn through(&self, place: usize) -> Option<Index> {
        self.segments.get(place + 1).map(|next| next.next.previous())
    }

    /// The place of the last damaged segment that a verified snapshot covers: as far as that the
    /// log is of no use.
    pub(super) fn useless(&self) -> Option<usize> {
        let newest = self.newest()?;
        let is_useless = |place: &usize| {
            self.sick.contains(&self.segments[*place].number)
                && self.through(*place).is_some_and(|through| through <= newest)
        };
        (0..self.segments.len()).rev().find(is_useless)
    }

    /// The oldest segment, which has this number, counts no longer. Whether it is damaged.
    pub(super) fn take_oldest(&mut self, number: u64) -> bool {
        let through = self.through(0).expect("the last one stays");
        let oldest = self.segments.remove(0);
        assert_eq!(oldest.number, number, "the log and its list agree");
        let is_sick = self.sick.contains(&number);
        if is_sick {
            self.log_from = self.log_from.max(through);
        }
        is_sick
    }

    /// A damaged segment is gone.
    pub(super) fn retired(&mut self, segment: &Segment) {
        if self.sick.remove(&segment.number) {
            self.repaired(format!("{} is gone: a snapshot covers all of it", segment.name));
        }
    }

    /// Something was put right.
    pub(super) fn repaired(&mut self, what: String) {
        self.counts.repaired += 1;
        self.repairs.push(what);
    }

    /// A snapshot that ends above this index is needed; `None` if none is.
    pub(super) fn wanted(&self) -> Option<Index> {
        let newest = self.newest().unwrap_or_default();
        let sick = (0..self.segments.len()).filter(|at| self.is_sick(*at));
        // One that is still written ends when it is mended.
        let through = sick.filter_map(|place| self.through(place)).max();
        match through {
            Some(through) if through > newest => Some(through.previous()),
            _ => self.lacks_snapshots().then_some(newest),
        }
    }

    fn is_sick(&self, place: usize) -> bool {
        self.sick.contains(&self.segments[place].number)
    }

    /// Whether there are fewer whole snapshots than there were.
    fn lacks_snapshots(&self) -> bool {
        self.n_to_replace > 0 || self.covered() < self.log_from
    }

    /// How many files are damaged at the moment.
    pub(super) fn n_left(&self) -> u64 {
        self.sick.len() as u64 + self.n_to_replace + u64::from(self.is_mark_sick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_a_wrong_state_is_not_verified_by_being_whole() {
        let [one, two] = [1, 2].map(Index);
        let mut at_rest = AtRest { n_kept: 2, ..AtRest::default() };
        at_rest.saved(one);
        at_rest.saved(two);
        at_rest.distrust_all();
        at_rest.read_whole(one);
        at_rest.read_whole(two);
        assert_eq!(at_rest.newest(), None, "the next that is saved takes their place");
        at_rest.saved(two);
        at_rest.read_whole(one);
        assert_eq!((at_rest.newest(), at_rest.verified.len()), (Some(two), 1));
        assert_eq!(at_rest.take_before(two), [one]);
        at_rest.read_whole(one);
        assert_eq!(at_rest.verified.len(), 1, "it is gone");
    }
}
