//! What is sent of a log to those that are behind, and who of them is served first.
//!
//! Invariant: nothing is sent from beyond `upto`. Voters never wait; of learners that have to be
//! brought into step, only so many are at a time, the others in the order in which they came
//! (`zookeeper: LearnerSyncThrottler`, which closes the connections of those beyond instead).

use std::collections::{BTreeMap, BTreeSet};

use super::config::Config;
use super::effect::Effect;
use super::entry::Command;
use super::log::Log;
use super::membership::Membership;
use super::message::{Body, Message};
use super::position::{EntryId, Index, Term};
use super::progress::{Flow, Progress};
use super::state::Outbox;
use crate::id::ServerId;
use crate::time::Instant;

/// A log, as far as it may be passed on.
pub(super) struct Source<'a, C> {
    pub(super) config: &'a Config,
    pub(super) log: &'a Log<C>,
    pub(super) membership: &'a Membership,
    pub(super) connected: &'a BTreeSet<ServerId>,
    pub(super) term: Term,
    /// The last index that may be sent.
    pub(super) upto: Index,
    pub(super) commit: Index,
}

/// What a learner has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Nothing,
    Snapshot,
    Entries,
}

/// Sends each of `peers` what it may have now: for entries that came in since the last time, one
/// append each.
pub(super) fn feed_all<C: Command>(
    source: &Source<'_, C>,
    peers: &mut BTreeMap<ServerId, Progress>,
    now: Instant,
    outbox: &mut Outbox<C>,
) {
    let (mut for_snapshots, mut for_entries) = (Vec::new(), Vec::new());
    for (&to, progress) in peers.iter_mut() {
        match source.feed(to, progress, now, outbox) {
            Want::Nothing => {}
            Want::Snapshot => for_snapshots.push(to),
            Want::Entries => for_entries.push(to),
        }
    }
    if !for_snapshots.is_empty() {
        let n_busy = peers.values().filter(|progress| progress.flow() == Flow::Snapshot).count();
        let n_free = source.config.max_snapshots.saturating_sub(n_busy);
        for to in first_in_line(peers, for_snapshots, n_free) {
            if let Some(progress) = peers.get_mut(&to) {
                source.send_snapshot(to, progress, now, outbox);
            }
        }
    }
    if !for_entries.is_empty() {
        let patience = source.config.snapshot_timeout;
        let is_busy = |progress: &&Progress| progress.is_coming(now, patience);
        let n_busy = peers.values().filter(is_busy).count();
        let n_free = source.config.max_log_syncs.saturating_sub(n_busy);
        for to in first_in_line(peers, for_entries, n_free) {
            if let Some(progress) = peers.get_mut(&to) {
                progress.begin(source.upto);
                source.feed(to, progress, now, outbox);
            }
        }
    }
}

/// The `n_free` of `wanting` that have waited longest; the others have a place in the line.
fn first_in_line(
    peers: &mut BTreeMap<ServerId, Progress>,
    wanting: Vec<ServerId>,
    n_free: usize,
) -> Vec<ServerId> {
    let last = peers.values().filter_map(Progress::place).max();
    let mut next = last.map_or(0, |last| last + 1);
    let mut line = Vec::new();
    for server in wanting {
        if let Some(progress) = peers.get_mut(&server) {
            line.push((progress.queue(next), server));
            next += 1;
        }
    }
    line.sort_unstable();
    line.into_iter().take(n_free).map(|(_, server)| server).collect()
}

impl<C: Command> Source<'_, C> {
    /// Sends `to` what it may have now; says what it has to wait for.
    fn feed(
        &self,
        to: ServerId,
        progress: &mut Progress,
        now: Instant,
        outbox: &mut Outbox<C>,
    ) -> Want {
        let is_connected = self.connected.contains(&to);
        let is_voter = self.membership.is_voter(to);
        if progress.is_fed_by_other(now) && self.membership.learners.contains(&to) {
            return Want::Nothing;
        }
        // Legal: how much an append holds is up to the sender.
        let is_short = maybe!(OneEntryAppend);
        let max_append_bytes = if is_short { 0 } else { self.config.max_append_bytes };
        let mut want = Want::Nothing;
        while progress.may_send(self.config.max_appends_in_flight) {
            let next = progress.next();
            if next.previous() > self.upto {
                break;
            }
            // Legal: a snapshot says what the entries before it say.
            let is_instead =
                maybe!(SnapshotInstead if is_connected && progress.flow() == Flow::Probe);
            let Some(term) = self.log.term_at(next.previous()).filter(|_| !is_instead) else {
                if is_connected && is_voter {
                    self.send_snapshot(to, progress, now, outbox);
                } else if is_connected {
                    want = Want::Snapshot;
                }
                break;
            };
            if is_connected && next <= self.upto && !progress.has_turn() {
                if is_voter {
                    progress.begin(self.upto);
                } else {
                    want = Want::Entries;
                }
            }
            // A peer without a connection, or without a turn, is asked, but not fed.
            let mut entries = match is_connected && want == Want::Nothing {
                true => self.log.batch(next, max_append_bytes),
                false => Vec::new(),
            };
            entries.truncate((self.upto.0 + 1).saturating_sub(next.0) as usize);
            let is_probe = progress.flow() == Flow::Probe;
            if entries.is_empty() && !is_probe && progress.commit_told() >= self.commit {
                break;
            }
            let is_last = entries.is_empty() || is_probe;
            let last = entries.last().map_or(next.previous(), |entry| entry.id.index);
            let previous = EntryId { term, index: next.previous() };
            progress.sent(last, self.commit);
            let body = Body::Append { previous, commit: self.commit, entries };
            outbox.send(to, Message { term: self.term, body });
            if is_last {
                break;
            }
        }
        want
    }

    /// Nothing else goes to it until the snapshot has arrived.
    fn send_snapshot(
        &self,
        to: ServerId,
        progress: &mut Progress,
        now: Instant,
        outbox: &mut Outbox<C>,
    ) {
        progress.await_snapshot(now + self.config.snapshot_timeout);
        outbox.effects.push_back(Effect::SendSnapshot { to });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::entry::{Entry, Payload};
    use super::*;

    const FIRST: u64 = 10;
    const LAST: u64 = 20;
    const VOTER: u64 = 2;

    struct Leader {
        config: Config,
        log: Log<u64>,
        membership: Membership,
        connected: BTreeSet<ServerId>,
        peers: BTreeMap<ServerId, Progress>,
        outbox: Outbox<u64>,
    }

    impl Leader {
        /// Leads voter 2 and learners 3 to 6, of which each has the log up to `received`.
        fn new(received: u64) -> Leader {
            let mut membership = Membership::of_voters([1, VOTER].map(ServerId));
            membership.learners = (3..=6).map(ServerId).collect();
            let mut config = Config::new(ServerId(1), membership.clone());
            (config.max_snapshots, config.max_log_syncs) = (2, 2);
            config.max_append_bytes = 0;
            let id = |index| EntryId { term: Term(1), index: Index(index) };
            let entries = (FIRST..=LAST)
                .map(|index| Arc::new(Entry { id: id(index), payload: Payload::Command(index) }));
            let log = Log::new(id(FIRST - 1), entries.collect());
            let progress = || {
                let mut progress = Progress::new(Index(received + 1), Instant::ZERO);
                progress.acknowledged(Index(received), Index(received));
                progress
            };
            let peers = (VOTER..=6).map(|id| (ServerId(id), progress())).collect();
            let connected = (3..=6).map(ServerId).collect();
            let role = super::super::Role::Leader;
            let outbox = Outbox::new((role, Term(1), None));
            Leader { config, log, membership, connected, peers, outbox }
        }

        /// Who is sent entries, or a snapshot.
        fn feed(&mut self, now: Instant) -> Vec<u64> {
            let source = Source {
                config: &self.config,
                log: &self.log,
                membership: &self.membership,
                connected: &self.connected,
                term: Term(1),
                upto: Index(LAST),
                commit: Index::ZERO,
            };
            feed_all(&source, &mut self.peers, now, &mut self.outbox);
            let mut fed = Vec::new();
            for effect in self.outbox.effects.drain(..) {
                match effect {
                    Effect::SendSnapshot { to } => fed.push(to.0),
                    Effect::Send { to, message } => match message.body {
                        Body::Append { entries, .. } if entries.is_empty() => {}
                        Body::Append { .. } => fed.push(to.0),
                        body => panic!("{body:?}"),
                    },
                    effect => panic!("{effect:?}"),
                }
            }
            fed.dedup();
            fed
        }

        fn progress(&mut self, id: u64) -> &mut Progress {
            self.peers.get_mut(&ServerId(id)).unwrap()
        }

        fn waiting(&self) -> Vec<u64> {
            let waiting = self.peers.iter().filter(|(_, progress)| progress.place().is_some());
            waiting.map(|(id, _)| id.0).collect()
        }
    }

    #[test]
    fn learners_are_sent_snapshots_in_their_turn_and_voters_at_once() {
        let mut leader = Leader::new(1);
        let now = Instant::ZERO;
        assert_eq!(leader.feed(now), [3, 4]);
        assert_eq!(leader.waiting(), [5, 6]);
        assert_eq!(leader.feed(now), [0; 0]);
        leader.connected.insert(ServerId(VOTER));
        assert_eq!(leader.feed(now), [VOTER], "it waits for nobody");
        // Server 3 is there, and comes again: it stands behind all who wait.
        leader.progress(3).disconnected();
        assert_eq!(leader.feed(now), [0; 0], "the voter's counts as well");
        assert_eq!(leader.waiting(), [3, 5, 6]);
        leader.progress(VOTER).probe_from(Index(LAST + 1));
        assert_eq!(leader.feed(now), [5]);
        leader.progress(4).disconnected();
        leader.connected.remove(&ServerId(4));
        assert_eq!(leader.feed(now), [6]);
        leader.progress(5).probe_from(Index(LAST + 1));
        assert_eq!(leader.feed(now), [3]);
        assert_eq!(leader.waiting(), [0; 0]);
    }

    #[test]
    fn learners_are_fed_from_the_log_in_their_turn_and_keep_it_when_they_are_in_step() {
        let mut leader = Leader::new(15);
        leader.connected.insert(ServerId(VOTER));
        let now = Instant::ZERO;
        assert_eq!(leader.feed(now), [VOTER, 3], "the voter counts, and waits for nobody");
        assert_eq!(leader.waiting(), [4, 5, 6]);
        for (id, then) in [(3, 4), (4, 5)] {
            let (received, last) = (Index(LAST), Index(LAST));
            leader.progress(id).acknowledged(received, received);
            leader.progress(id).came(received, last);
            assert_eq!(leader.feed(now), [then]);
        }
        leader.log.append(Arc::new(Entry {
            id: EntryId { term: Term(1), index: Index(LAST + 1) },
            payload: Payload::Blank,
        }));
        assert!(leader.progress(3).has_turn() && !leader.progress(6).has_turn());
        // Those who hang hold nobody up.
        let late = now + leader.config.snapshot_timeout + Duration::from_millis(1);
        leader.progress(VOTER).heard(late);
        assert_eq!(leader.feed(late), [6]);
    }
}
