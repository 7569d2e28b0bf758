//! What a replica has counted since it started, or since it was told to begin anew: the ground of
//! ZooKeeper's metrics.
//!
//! Invariant: nothing is ever decided by these numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::db::Txn;
use crate::id::ServerId;
use crate::proto::EventKind;
use crate::raft::{Payload, SharedEntry};
use crate::time::{Instant, WallTime};

use super::namespaces::Namespaces;
use super::summary::Spread;

/// Counters and sums of one replica. Durations are in milliseconds; those between two servers
/// compare their wall clocks, and what would be negative is left out, as in ZooKeeper.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// How often this server began to look for a leader.
    pub searches: u64,
    /// From the loss of a leader to knowing one.
    pub search_ms: Spread,
    /// From the loss of a leader to one that hears this server.
    pub leaderless_ms: Spread,
    /// The same, where the next leader was this server.
    pub leaderless_before_leading_ms: Spread,
    /// As leader: txns proposed.
    pub proposals: u64,
    /// As leader: entries committed.
    pub commits: u64,
    /// As follower or observer: entries received.
    pub proposals_received: u64,
    /// As follower or observer: entries that were learnt to be committed.
    pub commits_received: u64,
    /// As leader: servers that came into step by entries of the log alone.
    pub syncs_by_log: u64,
    /// As leader: snapshots sent.
    pub syncs_by_snapshot: u64,
    /// As leader: servers that are being brought into step by the log, at each that begins.
    pub inflight_by_log: Spread,
    /// As leader: snapshots under way, at each that begins.
    pub inflight_by_snapshot: Spread,
    /// Connect requests that asked for a session to go on.
    pub resumptions: u64,
    /// As leader: such requests of other servers' clients.
    pub resumptions_elsewhere: u64,
    /// Sessions expired as leader.
    pub sessions_expired: u64,
    /// Connections told by one change: of a creation.
    pub told_created: Spread,
    /// Of a deletion.
    pub told_deleted: Spread,
    /// Of new data.
    pub told_data: Spread,
    /// Of a change of children.
    pub told_children: Spread,
    /// From a txn's stamp to its being applied here.
    pub propagation_ms: Spread,
    /// As leader: from a txn's stamp to its being agreed.
    pub agreement_ms: Spread,
    /// As follower or observer: from a txn's stamp to its coming in.
    pub proposal_ms: Spread,
    /// As follower or observer: from a txn's stamp to its being known as agreed.
    pub commit_ms: Spread,

    /// As leader: comparisons of states in which a quorum had the same.
    pub digests_agreed: u64,
    /// Digests that were another than a quorum's: of this server, and as leader of any; and
    /// comparisons in which no quorum had the same.
    pub digest_mismatches: u64,

    /// What is read and written below each znode of the first level.
    pub namespaces: Namespaces,

    /// Since when this server knows no leader, and since when none that hears it.
    searching_since: Option<Instant>,
    leaderless_since: Option<Instant>,
    /// As leader: servers that are not in step, and whether they were sent a snapshot.
    syncing: BTreeMap<ServerId, bool>,
}

impl Counts {
    /// A server that has just started, and knows nobody.
    pub(super) fn new(now: Instant) -> Self {
        Counts {
            searches: 1,
            searching_since: Some(now),
            leaderless_since: Some(now),
            ..Counts::default()
        }
    }

    /// Begins anew, except for what is under way.
    pub(super) fn reset(&mut self) {
        *self = Counts {
            searching_since: self.searching_since,
            leaderless_since: self.leaderless_since,
            syncing: std::mem::take(&mut self.syncing),
            ..Counts::default()
        };
    }

    /// Raft knows a leader, or knows none.
    pub(super) fn leader_known(&mut self, now: Instant, is_known: bool) {
        match self.searching_since {
            Some(since) if is_known => {
                self.search_ms.note(ms(now - since));
                self.searching_since = None;
            }
            None if !is_known => {
                self.searches += 1;
                self.searching_since = Some(now);
            }
            Some(_) | None => {}
        }
    }

    /// There is a leader that hears this server, or is not.
    pub(super) fn leader_hears(&mut self, now: Instant, hears: bool, leads: bool) {
        match self.leaderless_since {
            Some(since) if hears => {
                self.leaderless_ms.note(ms(now - since));
                if leads {
                    self.leaderless_before_leading_ms.note(ms(now - since));
                }
                self.leaderless_since = None;
            }
            None if !hears => self.leaderless_since = Some(now),
            Some(_) | None => {}
        }
    }

    /// Entries of another leader have come in.
    pub(super) fn received(&mut self, now: WallTime, entries: &[SharedEntry<Txn>]) {
        self.proposals_received += entries.len() as u64;
        for (age, times) in ages_ms(now, entries) {
            self.proposal_ms.note_times(age, times);
        }
    }

    /// Entries are agreed, and applied at once.
    pub(super) fn committed(&mut self, now: WallTime, leads: bool, entries: &[SharedEntry<Txn>]) {
        let (n, spread) = match leads {
            true => (&mut self.commits, &mut self.agreement_ms),
            false => (&mut self.commits_received, &mut self.commit_ms),
        };
        *n += entries.len() as u64;
        for (age, times) in ages_ms(now, entries) {
            spread.note_times(age, times);
            self.propagation_ms.note_times(age, times);
        }
    }

    /// One change was told to so many connections, by kind of event.
    pub(super) fn told(&mut self, n_told: &Told) {
        let sums = [
            (&mut self.told_created, n_told.created),
            (&mut self.told_deleted, n_told.deleted),
            (&mut self.told_data, n_told.data),
            (&mut self.told_children, n_told.children),
        ];
        for (sum, n) in sums {
            if n > 0 {
                sum.note(n);
            }
        }
    }

    /// As leader: `peer` is to be brought into step.
    pub(super) fn sync_begins(&mut self, peer: ServerId) {
        self.syncing.entry(peer).or_insert(false);
        let n_by_log = self.syncing.values().filter(|by_snapshot| !**by_snapshot).count();
        self.inflight_by_log.note(n_by_log as u64);
    }

    /// As leader: `peer` was sent a snapshot, and so many are under way.
    pub(super) fn snapshot_sent(&mut self, peer: ServerId, n_under_way: usize) {
        self.syncs_by_snapshot += 1;
        self.inflight_by_snapshot.note(n_under_way as u64);
        self.syncing.insert(peer, true);
    }

    /// As leader: `peer` is gone.
    pub(super) fn sync_broken(&mut self, peer: ServerId) {
        self.syncing.remove(&peer);
    }

    /// Whether `peer` was not in step when last looked at.
    pub(super) fn is_syncing(&self, peer: ServerId) -> bool {
        self.syncing.contains_key(&peer)
    }

    /// `peer` is in step.
    pub(super) fn sync_ends(&mut self, peer: ServerId) {
        if self.syncing.remove(&peer) == Some(false) {
            self.syncs_by_log += 1;
        }
    }

    /// This server leads no longer.
    pub(super) fn forget_syncs(&mut self) {
        self.syncing.clear();
    }
}

/// How many connections one change was told to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    created: u64,
    deleted: u64,
    data: u64,
    children: u64,
}

impl Told {
    /// One more was told.
    pub(super) fn note(&mut self, kind: EventKind) {
        match kind {
            EventKind::Created => self.created += 1,
            EventKind::Deleted => self.deleted += 1,
            EventKind::DataChanged => self.data += 1,
            EventKind::ChildrenChanged => self.children += 1,
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How old these are, and how many in a row are as old: those of one wake-up of their leader are.
fn ages_ms(now: WallTime, entries: &[SharedEntry<Txn>]) -> impl Iterator<Item = (u64, u32)> {
    let ages = entries.iter().filter_map(move |entry| age_ms(now, &entry.payload));
    let mut ages = ages.peekable();
    std::iter::from_fn(move || {
        let age = ages.next()?;
        let mut times = 1;
        while ages.next_if_eq(&age).is_some() {
            times += 1;
        }
        Some((age, times))
    })
}

/// How long ago a txn was stamped by its leader's clock.
fn age_ms(now: WallTime, payload: &Payload<Txn>) -> Option<u64> {
    match payload {
        Payload::Command(txn) => u64::try_from(now.0.saturating_sub(txn.time.0)).ok(),
        Payload::Blank | Payload::Membership(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    #[test]
    fn a_search_lasts_until_a_leader_is_known_and_heard() {
        let mut counts = Counts::new(at(10));
        counts.leader_known(at(20), false);
        counts.leader_known(at(40), true);
        counts.leader_known(at(45), true);
        counts.leader_hears(at(60), true, false);
        assert_eq!(
            (counts.searches, counts.search_ms.summary().sum, counts.leaderless_ms.summary().sum),
            (1, 30, 50)
        );
        counts.leader_known(at(100), false);
        counts.leader_hears(at(100), false, false);
        counts.leader_hears(at(101), false, false);
        counts.reset();
        counts.leader_known(at(170), true);
        counts.leader_hears(at(170), true, true);
        assert_eq!(
            (counts.searches, counts.search_ms.summary().sum),
            (0, 70),
            "a reset ends no search"
        );
        assert_eq!(counts.leaderless_before_leading_ms.summary().sum, 70);
    }

    #[test]
    fn a_server_comes_into_step_by_the_log_or_by_a_snapshot() {
        let mut counts = Counts::default();
        (1..=3).for_each(|peer| counts.sync_begins(ServerId(peer)));
        counts.snapshot_sent(ServerId(2), 1);
        counts.sync_begins(ServerId(2));
        counts.sync_begins(ServerId(4));
        counts.sync_broken(ServerId(4));
        for peer in [1, 2, 2, 4, 9] {
            counts.sync_ends(ServerId(peer));
        }
        assert_eq!((counts.syncs_by_log, counts.syncs_by_snapshot), (1, 1));
        assert!(counts.is_syncing(ServerId(3)) && !counts.is_syncing(ServerId(2)));
        let by_log = counts.inflight_by_log.summary();
        assert_eq!((by_log.count, by_log.min, by_log.max), (5, 1, 3));
        let by_snapshot = counts.inflight_by_snapshot.summary();
        assert_eq!((by_snapshot.count, by_snapshot.max), (1, 1));
    }

    #[test]
    fn a_change_that_nobody_was_told_counts_nothing() {
        let mut counts = Counts::default();
        let mut told = Told::default();
        counts.told(&told);
        assert_eq!(counts, Counts::default());
        told.note(EventKind::Created);
        told.note(EventKind::ChildrenChanged);
        told.note(EventKind::ChildrenChanged);
        counts.told(&told);
        assert_eq!((counts.told_created.summary().max, counts.told_children.summary().max), (1, 2));
        assert_eq!((counts.told_deleted.summary().count, counts.told_data.summary().count), (0, 0));
    }
}
