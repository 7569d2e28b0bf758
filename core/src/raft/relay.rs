//! Learners that are fed by a follower in the place of the leader (`zookeeper: ObserverMaster`).
//!
//! Invariant: a follower passes on nothing that the leader of its term could not have sent itself:
//! entries up to where its log is shown to match the leader's, a commit index that it was told, or
//! a state that is agreed on. So a relayed append is one of the leader's that comes late, and a
//! learner takes it as that, in that term alone; never as a sign of life of the leader.
//!
//! The learner drives it all, with each heartbeat of the leader: it asks a follower, tells the
//! leader that it is fed, and goes elsewhere when the follower is silent, refuses, or lags. It goes
//! back to the leader when that sends entries all the same, as to a learner that is to vote. Both
//! words are leases: who hears no more of them forgets the learner, or feeds it again.

use std::collections::BTreeMap;

use super::entry::Command;
use super::feed::{Source, feed_all};
use super::message::Body;
use super::position::{EntryId, Index, Term};
use super::progress::{Flow, PeerProgress, Progress};
use super::replication::{has_come, progress_of};
use super::state::{Ack, Standing, State};
use crate::id::ServerId;
use crate::time::Instant;

/// The learners that a follower feeds.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays {
    pub(super) peers: BTreeMap<ServerId, Progress>,
    leases: BTreeMap<ServerId, Lease>,
}

#[derive(Clone, Debug)]
struct Lease {
    until: Instant,
    /// The last round: one an answer, as a leader has one a heartbeat.
    round: u64,
}

impl Relays {
    pub(super) fn clear(&mut self) {
        self.peers.clear();
        self.leases.clear();
    }

    pub(super) fn remove(&mut self, peer: ServerId) {
        self.peers.remove(&peer);
        self.leases.remove(&peer);
    }
}

/// Who feeds this learner.
#[derive(Clone, Debug, Default)]
pub(super) struct Feed {
    /// Who was asked, unless it is the leader that feeds it.
    by: Option<Feeder>,
    /// How many were left, so that each is asked in its turn.
    n_left: u64,
    /// Nobody is asked before.
    rest_until: Instant,
}

#[derive(Clone, Debug)]
struct Feeder {
    id: ServerId,
    /// It has agreed.
    feeds: bool,
    /// When it was asked first.
    since: Instant,
    heard_at: Instant,
    round: u64,
    /// What the leader had committed, and when it said so: this much is to be had by now.
    goal: (Index, Instant),
    /// How far this learner's log was known to match, and since when.
    matched: (Index, Instant),
}

// ---- The learner's side.

/// Whether `from` feeds this learner in `term`.
fn is_feeder<C: Command>(state: &State<C>, from: ServerId, term: Term) -> bool {
    let is_asked = state.feed.by.as_ref().is_some_and(|feeder| feeder.id == from);
    is_asked && term == state.term && state.leader != Some(from) && is_learner(state)
}

/// Whom this server tells what it has: who feeds it.
pub(super) fn upstream<C: Command>(state: &State<C>) -> Option<ServerId> {
    let feeder = state.feed.by.as_ref().filter(|feeder| feeder.feeds && is_learner(state));
    feeder.map(|feeder| feeder.id).or(state.leader)
}

/// Whether `from` leads in `term`, which this server then follows, or feeds this learner in the
/// leader's place.
pub(super) fn hear_source<C: Command>(
    state: &mut State<C>,
    now: Instant,
    from: ServerId,
    term: Term,
) -> bool {
    if !is_feeder(state, from, term) {
        return state.hear_leader(now, from, term);
    }
    if let Some(feeder) = &mut state.feed.by {
        feeder.heard_at = now;
    }
    true
}

/// The connection to `peer` broke.
pub(super) fn lost_peer<C: Command>(state: &mut State<C>, peer: ServerId) {
    state.relays.remove(peer);
    if is_feeder(state, peer, state.term) {
        state.installing_until = None;
        leave(state);
    }
}

/// One of the three words about feeding.
pub(super) fn step<C: Command>(state: &mut State<C>, now: Instant, from: ServerId, body: Body<C>) {
    match body {
        Body::FeedMe { round, received, persisted } => {
            asked(state, now, from, round, (received, persisted));
        }
        Body::Feeding { round, is_snapshot } => answered(state, now, from, round, is_snapshot),
        Body::FedByOther { is_fed } => fed_by_other(state, now, from, is_fed),
        _ => unreachable!("branched off by whoever calls"),
    }
}

/// The leader itself has sent entries. Some may have been under way when it heard of the other, but
/// not for so long: it does not leave it to the other, since it wants to know how far this server
/// is, or has not heard of it.
pub(super) fn leader_feeds<C: Command>(state: &mut State<C>, now: Instant, from: ServerId) {
    let patience = state.config.election_timeout;
    let feeder = state.feed.by.as_ref().filter(|feeder| feeder.id != from);
    if feeder.is_some_and(|feeder| feeder.feeds && now >= feeder.since + patience) {
        leave(state);
        rest(state, now);
    }
}

/// The leader has said that it leads, and has committed so much.
pub(super) fn look_after<C: Command>(state: &mut State<C>, now: Instant, commit: Index) {
    if !state.config.relays || !is_learner(state) {
        leave(state);
        return;
    }
    if state.feed.by.is_some() && !is_fed_well(state, now, commit) {
        leave(state);
        rest(state, now);
    }
    if state.feed.by.is_none() && state.feed.rest_until <= now {
        choose(state, now, commit);
    }
    let (received, persisted) = state.matching();
    let Some(Feeder { id, feeds, round, .. }) = state.feed.by.clone() else { return };
    state.send(id, Body::FeedMe { round, received, persisted });
    if let Some(leader) = state.leader.filter(|_| feeds) {
        state.send(leader, Body::FedByOther { is_fed: true });
    }
}

/// The server asked for a feed has answered: in a round, if it agrees.
fn answered<C: Command>(
    state: &mut State<C>,
    now: Instant,
    from: ServerId,
    round: Option<u64>,
    is_snapshot: bool,
) {
    let Some(feeder) = state.feed.by.as_mut().filter(|feeder| feeder.id == from) else { return };
    let Some(round) = round else {
        leave(state);
        rest(state, now);
        return;
    };
    feeder.heard_at = now;
    feeder.round = feeder.round.max(round);
    if is_snapshot {
        feeder.matched.1 = now;
    }
    if !std::mem::replace(&mut feeder.feeds, true) {
        tell_upstream(state);
        if let Some(leader) = state.leader {
            state.send(leader, Body::FedByOther { is_fed: true });
        }
    }
}

/// From now on it is the leader that feeds this server.
pub(super) fn leave<C: Command>(state: &mut State<C>) {
    let Some(feeder) = state.feed.by.take() else { return };
    state.feed.n_left += 1;
    if feeder.feeds {
        tell_upstream(state);
        if let Some(leader) = state.leader {
            state.send(leader, Body::FedByOther { is_fed: false });
        }
    }
}

/// Whoever feeds this server from now on is to know what it has.
fn tell_upstream<C: Command>(state: &mut State<C>) {
    let is_matched = state.ack.is_matched;
    state.ack = Ack { is_due: is_matched, is_matched, persisted: Index::ZERO };
}

/// The leader alone feeds this learner for a while.
fn rest<C: Command>(state: &mut State<C>, now: Instant) {
    state.feed.rest_until = now + state.config.election_timeout;
}

fn is_learner<C: Command>(state: &State<C>) -> bool {
    state.membership().learners.contains(&state.config.id)
}

/// Asks one of the followers: another one each time, and not the same one for all learners.
fn choose<C: Command>(state: &mut State<C>, now: Instant, commit: Index) {
    let voters = state.membership().voters.iter().copied();
    let others = voters.filter(|voter| Some(*voter) != state.leader);
    let there: Vec<ServerId> = others.filter(|voter| state.connected.contains(voter)).collect();
    if there.is_empty() {
        return;
    }
    let turn = state.config.id.0.wrapping_add(state.feed.n_left) % there.len() as u64;
    state.feed.by = Some(Feeder {
        id: there[turn as usize],
        feeds: false,
        since: now,
        heard_at: now,
        round: 0,
        goal: (commit, now),
        matched: (state.matched, now),
    });
}

/// Whether its feeder speaks, and keeps this learner in step or brings it there.
fn is_fed_well<C: Command>(state: &mut State<C>, now: Instant, commit: Index) -> bool {
    let patience = state.config.election_timeout;
    let (matched, leader) = (state.matched, state.leader);
    let is_installing = state.installing_until.is_some_and(|until| now < until);
    let Some(feeder) = &mut state.feed.by else { return false };
    if matched > feeder.matched.0 || is_installing {
        feeder.matched = (matched.max(feeder.matched.0), now);
    }
    if matched >= feeder.goal.0 {
        feeder.goal = (commit, now);
        feeder.matched.1 = now;
    }
    let moves = now < feeder.matched.1 + patience;
    let arrives = now < feeder.goal.1 + state.config.snapshot_timeout;
    let speaks = now < feeder.heard_at + patience;
    let id = feeder.id;
    let is_there = state.connected.contains(&id) && state.membership().voters.contains(&id);
    moves && arrives && speaks && is_there && leader != Some(id)
}

// ---- The follower's side.

/// A learner asks to be fed, or to be fed on. It has answered `round`.
fn asked<C: Command>(
    state: &mut State<C>,
    now: Instant,
    from: ServerId,
    round: u64,
    (received, persisted): (Index, Index),
) {
    if !may_feed(state, now, from) {
        state.relays.remove(from);
        state.send(from, Body::Feeding { round: None, is_snapshot: false });
        return;
    }
    let (first, last, until) =
        (state.log.first(), state.matched, now + state.config.election_timeout);
    let received = received.min(last);
    let progress = state.relays.peers.entry(from);
    let progress = progress.or_insert_with(|| Progress::new(last.next(), now));
    let lease = state.relays.leases.entry(from).or_insert(Lease { until, round: 0 });
    lease.until = until;
    progress.heard(now);
    if round <= lease.round {
        progress.round_answered(round, received, persisted.min(received));
        has_come(progress, received, first, last);
    }
    progress.retry();
    if progress.snapshot_until().is_some_and(|until| until <= now) {
        progress.disconnected();
    }
    lease.round += 1;
    let round = lease.round;
    progress.round_sent(round, Index::ZERO);
    let is_snapshot = progress.flow() == Flow::Snapshot;
    state.send(from, Body::Feeding { round: Some(round), is_snapshot });
}

/// Whether this server follows a leader that it has just heard, and is to feed learners.
fn may_feed<C: Command>(state: &State<C>, now: Instant, learner: ServerId) -> bool {
    let membership = state.membership();
    let follows = matches!(state.standing, Standing::Follower)
        && state.leader.is_some_and(|leader| leader != learner)
        && state.stands_by_leader(now);
    state.config.relays
        && follows
        && membership.is_voter(state.config.id)
        && membership.learners.contains(&learner)
}

/// A learner says how far its log matches.
pub(super) fn acknowledged<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    received: Index,
    persisted: Index,
) {
    let (first, last) = (state.log.first(), state.matched);
    let Some(progress) = state.relays.peers.get_mut(&from) else { return };
    let received = received.min(last);
    progress.acknowledged(received, persisted.min(received));
    has_come(progress, received, first, last);
}

/// A learner lacks the entry at `previous`.
pub(super) fn rejected<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    previous: Index,
    hint: EntryId,
) {
    let retry = state.log.last_not_above(hint).index.min(hint.index).min(state.matched);
    if let Some(progress) = state.relays.peers.get_mut(&from) {
        progress.rejected(previous, retry);
    }
}

/// Sends the learners of this follower what they may have now.
pub(super) fn send_appends<C: Command>(state: &mut State<C>, now: Instant) {
    if state.relays.peers.is_empty() {
        return;
    }
    let leases = &mut state.relays.leases;
    leases.retain(|_, lease| now < lease.until);
    state.relays.peers.retain(|peer, _| leases.contains_key(peer));
    if !matches!(state.standing, Standing::Follower) || state.leader.is_none() {
        state.relays.clear();
        return;
    }
    let beyond = mutated!(RelayedBeyondMatch);
    let source = Source {
        config: &state.config,
        log: &state.log,
        membership: &state.memberships.current().1,
        connected: &state.connected,
        term: state.term,
        upto: if beyond { state.log.last().index } else { state.matched },
        commit: state.commit,
    };
    feed_all(&source, &mut state.relays.peers, now, &mut state.outbox);
}

/// What this follower knows of the learners that it feeds.
pub(super) fn progress<C: Command>(state: &State<C>) -> Vec<PeerProgress> {
    let row = |(peer, progress): (&ServerId, &Progress)| PeerProgress {
        peer: *peer,
        flow: progress.flow(),
        received: progress.received(),
        persisted: progress.persisted(),
        is_connected: state.connected.contains(peer),
        is_waiting: progress.place().is_some(),
    };
    state.relays.peers.iter().map(row).collect()
}

// ---- The leader's side.

/// A learner says whether another server feeds it. The leader feeds it again when it has not heard
/// so for an election timeout.
fn fed_by_other<C: Command>(state: &mut State<C>, now: Instant, from: ServerId, is_fed: bool) {
    let until = if is_fed { now + state.config.election_timeout } else { now };
    if let Some(progress) = progress_of(state, from) {
        progress.fed_by_other(now, until);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{
        Config, Effect, Entry, HardState, Membership, Message, Payload, Raft, Recovered,
    };
    use super::*;
    use crate::id::Seed;

    const LEADER: ServerId = ServerId(1);
    const FOLLOWER: ServerId = ServerId(2);

    /// Learner 3, to which everybody is connected.
    struct Learner {
        raft: Raft<u64>,
        now: Instant,
    }

    impl Learner {
        fn new() -> Learner {
            let mut membership = Membership::of_voters([LEADER, FOLLOWER]);
            membership.learners = [ServerId(3)].into();
            let mut config = Config::new(ServerId(3), membership);
            config.relays = true;
            let hard_state = HardState { term: Term(1), vote: None };
            let recovered = Recovered { hard_state, ..Recovered::default() };
            let mut raft = Raft::new(Instant::ZERO, config, Seed([0; 32]), recovered);
            raft.peer_up(Instant::ZERO, LEADER);
            raft.peer_up(Instant::ZERO, FOLLOWER);
            Learner { raft, now: Instant::ZERO }
        }

        /// What it says about feeding when it hears this.
        fn hear(&mut self, from: ServerId, body: Body<u64>) -> Vec<(ServerId, Body<u64>)> {
            self.raft.step(self.now, from, Message { term: Term(1), body });
            let mut said = Vec::new();
            while let Some(effect) = self.raft.poll(self.now) {
                match effect {
                    Effect::Persist(persist) => self.raft.persisted(self.now, persist.ticket),
                    Effect::Send { to, message } => match message.body {
                        Body::HeartbeatReply { .. } | Body::AppendReply { .. } => {}
                        body => said.push((to, body)),
                    },
                    _ => {}
                }
            }
            said
        }

        fn beat(&mut self, commit: u64) -> Vec<(ServerId, Body<u64>)> {
            self.now += Duration::from_millis(100);
            self.hear(LEADER, Body::Heartbeat { commit: Index(commit), round: 1 })
        }

        /// Fed by the follower, for so many heartbeats.
        fn fed(n_beats: u64) -> Learner {
            let mut learner = Learner::new();
            for round in 1..=n_beats {
                assert_eq!(learner.beat(0)[0].0, FOLLOWER);
                let agreed = Body::Feeding { round: Some(round), is_snapshot: false };
                learner.hear(FOLLOWER, agreed);
            }
            learner
        }
    }

    fn append(index: u64) -> Body<u64> {
        let id = |index| EntryId { term: Term(u64::from(index > 0)), index: Index(index) };
        let entry = Arc::new(Entry { id: id(index), payload: Payload::Command(index) });
        Body::Append { previous: id(index - 1), commit: Index::ZERO, entries: vec![entry] }
    }

    const ASKS: Body<u64> = Body::FedByOther { is_fed: true };
    const LEAVES: Body<u64> = Body::FedByOther { is_fed: false };

    #[test]
    fn a_learner_tells_the_leader_that_it_is_fed_when_the_follower_has_agreed() {
        let mut learner = Learner::new();
        let (received, persisted) = (Index::ZERO, Index::ZERO);
        let asks = |round| (FOLLOWER, Body::FeedMe { round, received, persisted });
        assert_eq!(learner.beat(0), [asks(0)]);
        let agreed = Body::Feeding { round: Some(1), is_snapshot: false };
        assert_eq!(learner.hear(FOLLOWER, agreed), [(LEADER, ASKS)]);
        assert_eq!(learner.beat(0), [asks(1), (LEADER, ASKS)]);
        assert_eq!(learner.raft.fed_by(), Some(FOLLOWER));
        assert_eq!(learner.hear(FOLLOWER, append(1)), []);
        assert_eq!(learner.raft.last().index, Index(1));
        assert_eq!(learner.raft.commit(), Index::ZERO);
        assert!(learner.beat(1).len() == 2);
        assert_eq!(learner.raft.commit(), Index(1), "the leader's word for what the other brought");
    }

    #[test]
    fn entries_of_a_server_that_was_not_asked_are_nothing() {
        let mut learner = Learner::new();
        learner.hear(LEADER, Body::Heartbeat { commit: Index::ZERO, round: 1 });
        learner.hear(ServerId(9), append(1));
        assert_eq!(learner.raft.last().index, Index::ZERO);
        let refused = Body::Feeding { round: None, is_snapshot: false };
        assert_eq!(learner.hear(FOLLOWER, refused), []);
        learner.hear(FOLLOWER, append(1));
        assert_eq!(learner.raft.last().index, Index::ZERO);
        assert_eq!(learner.beat(0), [], "it does not ask again at once");
    }

    #[test]
    fn a_follower_that_is_silent_or_lags_is_left() {
        let mut silent = Learner::fed(3);
        let said: Vec<_> = (0..12).map(|_| silent.beat(0)).collect();
        assert_eq!(said.iter().filter(|said| said.contains(&(LEADER, LEAVES))).count(), 1);
        assert!(said[..9].iter().all(|said| !said.contains(&(LEADER, LEAVES))));
        let mut lagging = Learner::fed(3);
        let mut n_left = 0;
        for round in 4..20 {
            n_left += usize::from(lagging.beat(7).contains(&(LEADER, LEAVES)));
            lagging.hear(FOLLOWER, Body::Feeding { round: Some(round), is_snapshot: false });
        }
        assert_eq!(n_left, 1, "it says that it feeds, and what is committed does not come");
    }

    #[test]
    fn a_learner_that_the_leader_feeds_all_the_same_leaves_the_follower() {
        let mut learner = Learner::fed(2);
        assert_eq!(learner.hear(LEADER, append(1)), [], "it was under way");
        let mut learner = Learner::fed(12);
        assert_eq!(learner.hear(LEADER, append(1)), [(LEADER, LEAVES)]);
        assert_eq!(learner.raft.fed_by(), Some(LEADER));
    }

    #[test]
    fn a_connection_that_breaks_ends_the_feed_at_once() {
        let mut learner = Learner::fed(2);
        learner.raft.peer_down(learner.now, FOLLOWER);
        let said = learner.hear(LEADER, Body::Heartbeat { commit: Index::ZERO, round: 2 });
        assert_eq!(said, [(LEADER, LEAVES)]);
    }
}
