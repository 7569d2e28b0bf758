//! Append, acknowledge, commit (Raft §5.3, §5.4.2).
//!
//! Invariant: only entries of the leader's own term are committed by counting, and only durable
//! copies count, the leader's own like any other. A follower acknowledges what matches the leader's
//! log, never more; what it cannot make sense of it ignores.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::effect::ChangeError;
use super::entry::{Command, Entry, Payload, SharedEntry};
use super::feed::{Source, feed_all};
use super::membership::Membership;
use super::message::{Body, Message};
use super::position::{EntryId, Index, Term};
use super::progress::{Flow, PeerProgress, Progress};
use super::quorum;
use super::relay::upstream;
use super::state::{Leadership, Standing, State, Transfer};
use crate::id::ServerId;
use crate::time::Instant;

// ---- The leader's side.

/// Begins to lead: opens the term with a blank entry (Raft §8).
pub(super) fn lead<C: Command>(state: &mut State<C>, now: Instant) {
    assert!(matches!(state.standing, Standing::Candidate(_)), "only a candidate wins");
    assert!(state.vote == Some(state.id()), "it voted for itself");
    let opened = state.last().index.next();
    state.standing = Standing::Leader(Leadership {
        opened,
        peers: BTreeMap::new(),
        round: 0,
        next_beat: now + state.config.heartbeat_interval,
        quorum_until: now,
        transfer: None,
    });
    state.leader = Some(state.id());
    state.hurry = None;
    state.elections_won += 1;
    state.reads.put_again();
    meet_peers(state, now);
    append_own(state, Payload::Blank);
    assert!(state.last().index == opened, "the blank entry opens the term");
    let heard = heard_quorum_until(state);
    assert!(heard > now, "every peer has a whole timeout to speak");
}

/// Begins to follow the progress of servers that are new in the membership.
pub(super) fn meet_peers<C: Command>(state: &mut State<C>, now: Instant) {
    let next = state.last().index.next();
    let servers = state.membership().servers();
    let Standing::Leader(leadership) = &mut state.standing else { return };
    for server in servers {
        if server != state.config.id {
            leadership.peers.entry(server).or_insert_with(|| Progress::new(next, now));
        }
    }
}

/// Stops to follow the progress of servers that the committed membership does not name, with a last
/// word by which they learn of it.
pub(super) fn part_with_removed<C: Command>(state: &mut State<C>) {
    let servers = state.membership().servers();
    let Standing::Leader(leadership) = &mut state.standing else { return };
    let (round, commit) = (leadership.round, state.commit);
    let (outbox, term) = (&mut state.outbox, state.term);
    leadership.peers.retain(|peer, _| {
        let stays = servers.contains(peer);
        if !stays {
            // The append on which it is on its way may be unanswered; the peer commits no more
            // than it has.
            let body = Body::Heartbeat { commit, round };
            outbox.send(*peer, Message { term, body });
        }
        stays
    });
}

/// Adds an entry of the leader's own term.
pub(super) fn append_own<C: Command>(state: &mut State<C>, payload: Payload<C>) -> EntryId {
    assert!(matches!(state.standing, Standing::Leader(_)), "only a leader makes entries");
    let id = EntryId { term: state.term, index: state.last().index.next() };
    if let Payload::Membership(membership) = &payload {
        state.memberships.set(id.index, membership.clone());
        // Others may be a quorum now: who has been heard from is looked at anew. A lone voter,
        // above all, has heard from a quorum for ever.
        if let Standing::Leader(leadership) = &mut state.standing {
            leadership.quorum_until = Instant::ZERO;
        }
    }
    state.log.append(Arc::new(Entry { id, payload }));
    id
}

/// Moves the commit index to what a quorum has made durable. Whether it moved.
pub(super) fn advance_commit<C: Command>(state: &mut State<C>) -> bool {
    let Standing::Leader(leadership) = &state.standing else { return false };
    let durable = quorum::agreed(state.membership(), |server| {
        if server == state.config.id {
            if mutated!(OwnEntryBeforeDurable) { state.last().index } else { state.log.persisted() }
        } else {
            leadership.peers.get(&server).map_or(Index::ZERO, Progress::persisted)
        }
    });
    let Some(durable) = durable else { return false };
    // Raft §5.4.2: what an earlier term left is committed with the first entry of this one.
    let is_old = durable < leadership.opened && !mutated!(OldTermByCounting);
    if durable <= state.commit || is_old {
        return false;
    }
    let is_own = state.log.term_at(durable) == Some(state.term);
    assert!(is_own || mutated!(OldTermByCounting), "only own entries are counted");
    state.commit_up_to(durable);
    true
}

/// Whether an entry of this leader's own term is committed.
pub(super) fn has_own_commit<C: Command>(state: &State<C>) -> bool {
    match &state.standing {
        Standing::Leader(leadership) => state.commit >= leadership.opened,
        Standing::Follower | Standing::Candidate(_) => false,
    }
}

/// Until when a quorum counts as heard from.
pub(super) fn heard_quorum_until<C: Command>(state: &mut State<C>) -> Instant {
    let far = Instant::from_micros(u64::MAX);
    let Standing::Leader(leadership) = &state.standing else { return far };
    let heard_at = quorum::agreed(state.membership(), |server| {
        if server == state.config.id {
            far
        } else {
            leadership.peers.get(&server).map_or(Instant::ZERO, Progress::heard_at)
        }
    });
    let heard_at = if mutated!(NoCheckQuorum | LeaderForLife) { Some(far) } else { heard_at };
    let until = heard_at.unwrap_or(Instant::ZERO) + state.config.election_timeout;
    if let Standing::Leader(leadership) = &mut state.standing {
        leadership.quorum_until = until;
    }
    until
}

/// A follower says how far its log matches.
pub(super) fn acknowledged<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    received: Index,
    persisted: Index,
) {
    let (first, last) = (state.log.first(), state.last().index);
    let Some(progress) = sensible(state, from, received, persisted) else { return };
    progress.acknowledged(received, persisted);
    has_come(progress, received, first, last);
}

/// A follower has answered a heartbeat round.
pub(super) fn round_answered<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    round: u64,
    (received, persisted): (Index, Index),
) {
    let (first, last) = (state.log.first(), state.last().index);
    let Standing::Leader(leadership) = &state.standing else { return };
    if round > leadership.round {
        return;
    }
    let Some(progress) = sensible(state, from, received, persisted) else { return };
    progress.round_answered(round, received, persisted);
    has_come(progress, received, first, last);
}

/// A follower lacks the entry at `previous`. Whether its disk has lost what it had acknowledged.
pub(super) fn rejected<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    previous: Index,
    hint: EntryId,
) -> bool {
    // Skip the terms that the follower does not have: it says where its own entries of no later
    // term end, and ours of no later term end here.
    let retry = state.log.last_not_above(hint).index.min(hint.index);
    let Some(progress) = progress_of(state, from) else { return false };
    // That mutant is without the second lock, too: it would hide behind this one.
    if !progress.denied(previous) || mutated!(WipedVotesAtOnce) {
        progress.rejected(previous, retry);
        return false;
    }
    state.forgetful = Some((from, previous));
    true
}

/// What this leader knows of `peer`.
pub(super) fn progress_of<C>(state: &mut State<C>, peer: ServerId) -> Option<&mut Progress> {
    match &mut state.standing {
        Standing::Leader(leadership) => leadership.peers.get_mut(&peer),
        Standing::Follower | Standing::Candidate(_) => None,
    }
}

/// `peer`, which has no vote, has lost what it had.
pub(super) fn forget_progress<C: Command>(state: &mut State<C>, now: Instant, peer: ServerId) {
    let next = state.last().index.next();
    if let Some(progress) = progress_of(state, peer).filter(|it| it.persisted() > Index::ZERO) {
        *progress = Progress::new(next, now);
    }
}

/// The progress of `peer` if what it says can be.
fn sensible<C: Command>(
    state: &mut State<C>,
    peer: ServerId,
    received: Index,
    persisted: Index,
) -> Option<&mut Progress> {
    let can_be = persisted <= received && received <= state.last().index;
    if can_be { progress_of(state, peer) } else { None }
}

/// A follower that has the entry before the tail needs no snapshot any more; one that has all that
/// it was to be brought is in step.
pub(super) fn has_come(progress: &mut Progress, received: Index, first: Index, last: Index) {
    progress.came(received, last);
    if progress.flow() == Flow::Snapshot && received.next() >= first {
        progress.probe_from(received.next());
    }
}

/// Sends every follower what it may have now.
pub(super) fn send_appends<C: Command>(state: &mut State<C>, now: Instant) {
    let Standing::Leader(leadership) = &mut state.standing else { return };
    let source = Source {
        config: &state.config,
        log: &state.log,
        membership: &state.memberships.current().1,
        connected: &state.connected,
        term: state.term,
        upto: state.log.last().index,
        commit: state.commit,
    };
    feed_all(&source, &mut leadership.peers, now, &mut state.outbox);
}

/// Sends a heartbeat to everyone, in a new round.
pub(super) fn begin_round<C: Command>(state: &mut State<C>, now: Instant) -> u64 {
    let Standing::Leader(leadership) = &mut state.standing else {
        unreachable!("only a leader has rounds");
    };
    leadership.round += 1;
    let round = leadership.round;
    let learners = &state.memberships.current().1.learners;
    for (&to, progress) in &mut leadership.peers {
        // A learner that another feeds takes no more than it has, and sees how far it lags.
        let is_fed = learners.contains(&to) && progress.is_fed_by_other(now);
        let limit = if is_fed { state.commit } else { progress.received() };
        let commit = state.commit.min(limit);
        progress.round_sent(round, commit);
        let body = Body::Heartbeat { commit, round };
        state.outbox.send(to, Message { term: state.term, body });
    }
    round
}

/// The last round that a quorum has answered, or a later one.
pub(super) fn confirmed_round<C: Command>(state: &State<C>) -> u64 {
    let Standing::Leader(leadership) = &state.standing else { return 0 };
    if mutated!(SyncWithoutQuorum) {
        return leadership.round;
    }
    let answered = quorum::agreed(state.membership(), |server| {
        if server == state.config.id {
            leadership.round
        } else {
            leadership.peers.get(&server).map_or(0, Progress::answered_round)
        }
    });
    answered.unwrap_or(0)
}

/// Does what a leader does by the clock.
pub(super) fn beat_if_due<C: Command>(state: &mut State<C>, now: Instant) {
    let Standing::Leader(leadership) = &mut state.standing else { return };
    leadership.transfer.take_if(|transfer| transfer.until <= now);
    if leadership.next_beat <= now {
        beat(state, now);
    }
}

/// The heartbeat interval has passed: speaks to everyone, and tries again what may have been lost.
fn beat<C: Command>(state: &mut State<C>, now: Instant) {
    let Standing::Leader(leadership) = &mut state.standing else { return };
    leadership.next_beat = now + state.config.heartbeat_interval;
    // Legal: the interval is the longest that a leader may be silent.
    if maybe!(EarlyBeat) {
        leadership.next_beat = now + state.config.heartbeat_interval / 4;
    }
    for progress in leadership.peers.values_mut() {
        progress.retry();
        // Legal: a leader that knows nothing of its follower does the same.
        if maybe!(ProbeAgain if progress.flow() == Flow::Pipeline) {
            progress.probe_from(progress.received().next());
        }
        let is_over = progress.snapshot_until().is_some_and(|until| until <= now);
        if is_over && !mutated!(SnapshotWaitedForEver) {
            progress.disconnected();
        }
    }
    if let Some(transfer) = &mut leadership.transfer {
        transfer.is_said = false;
    }
    let is_stalled = state
        .outbox
        .oldest_ticket_at()
        .is_some_and(|at| at + state.config.disk_stall_timeout <= now);
    let is_free = leadership.transfer.is_none();
    if let Some(to) = best_successor(state).filter(|_| is_stalled && is_free) {
        transfer_to(state, now, to);
    }
    begin_round(state, now);
}

/// The connected voter that has weight and whose log is most advanced.
pub(super) fn best_successor<C: Command>(state: &State<C>) -> Option<ServerId> {
    let Standing::Leader(leadership) = &state.standing else { return None };
    leadership
        .peers
        .iter()
        .filter(|(peer, _)| state.membership().may_lead_on(**peer))
        .filter(|(peer, _)| state.connected.contains(peer))
        // Of equals the one with the lowest id, so that the choice is the same each time.
        .max_by_key(|(peer, progress)| {
            (progress.persisted(), progress.received(), std::cmp::Reverse(**peer))
        })
        .map(|(peer, _)| *peer)
}

/// Begins to hand over to `to`: no new entries until it leads or an election timeout has passed.
pub(super) fn transfer_to<C: Command>(state: &mut State<C>, now: Instant, to: ServerId) {
    let until = now + state.config.election_timeout;
    if let Standing::Leader(leadership) = &mut state.standing {
        leadership.transfer = Some(Transfer { to, until, is_said: false });
    }
}

/// Gives the word to the server that is to lead, once it has the whole log (Raft thesis §3.10).
pub(super) fn say_transfer<C: Command>(state: &mut State<C>) {
    let last = state.last().index;
    let Standing::Leader(leadership) = &mut state.standing else { return };
    let Some(transfer) = &mut leadership.transfer else { return };
    let has_all = leadership.peers.get(&transfer.to).is_some_and(|peer| peer.received() == last);
    if has_all && !transfer.is_said {
        transfer.is_said = true;
        let to = transfer.to;
        state.send(to, Body::TimeoutNow);
    }
}

/// Begins a change to `next` (Raft §6): in two steps if the voters differ, or how they decide.
pub(super) fn change<C: Command>(
    state: &mut State<C>,
    next: Membership,
) -> Result<Index, ChangeError> {
    if next.is_joint() || !next.can_decide() || !next.voters.is_disjoint(&next.learners) {
        return Err(ChangeError::Invalid);
    }
    // Without this, two leaders could change the same membership in ways that share no quorum
    // (Ongaro 2015).
    if !has_own_commit(state) {
        return Err(ChangeError::TooEarly);
    }
    let (set_at, present) = state.memberships.current();
    if *set_at > state.commit || present.is_joint() {
        return Err(ChangeError::Pending);
    }
    let newcomer = next.voters.difference(&present.voters).find(|it| !is_in_step(state, **it));
    if let Some(newcomer) = newcomer.copied() {
        if let Some(progress) = progress_of(state, newcomer) {
            progress.want();
        }
        return Err(ChangeError::Behind(newcomer));
    }
    if !quorum::is_quorum(&next, |voter| is_in_step(state, voter)) {
        return Err(ChangeError::NoQuorum);
    }
    let is_same = next.voters == present.voters && next.groups == present.groups;
    let membership = if is_same {
        next
    } else {
        let (outgoing, outgoing_groups) = (present.voters.clone(), present.groups.clone());
        Membership { outgoing, outgoing_groups, ..next }
    };
    Ok(append_own(state, Payload::Membership(membership)).index)
}

/// Whether `server` is this leader, or follows it closely: what is committed with its vote is
/// committed soon.
fn is_in_step<C: Command>(state: &State<C>, server: ServerId) -> bool {
    let Standing::Leader(leadership) = &state.standing else { return false };
    let lag = |progress: &Progress| state.last().index.0.saturating_sub(progress.received().0);
    let follows = leadership.peers.get(&server).is_some_and(|progress| {
        progress.flow() == Flow::Pipeline && lag(progress) <= state.config.max_promotion_lag
    });
    server == state.config.id || (follows && state.connected.contains(&server))
}

/// What the leader knows of its peers.
pub(super) fn progress<C: Command>(state: &State<C>) -> Vec<PeerProgress> {
    let Standing::Leader(leadership) = &state.standing else { return Vec::new() };
    let row = |(peer, progress): (&ServerId, &Progress)| PeerProgress {
        peer: *peer,
        flow: progress.flow(),
        received: progress.received(),
        persisted: progress.persisted(),
        is_connected: state.connected.contains(peer),
        is_waiting: progress.place().is_some(),
    };
    leadership.peers.iter().map(row).collect()
}

// ---- The follower's side.

/// The leader sends entries that follow `previous`, or `from` sends them in its place.
pub(super) fn append<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    previous: EntryId,
    commit: Index,
    entries: Vec<SharedEntry<C>>,
) {
    if !is_sequence(previous, &entries, state.term) {
        return;
    }
    let has_entries = !entries.is_empty();
    // Entries before the tail are committed here, and leaders have what is committed.
    let (previous, entries) = skip_before_tail(state.log.base(), previous, entries);
    if previous.index >= state.log.base().index
        && state.log.term_at(previous.index) != Some(previous.term)
    {
        reject(state, from, previous);
        return;
    }
    let last = entries.last().map_or(previous.index, |entry| entry.id.index);
    let known = entries.iter().take_while(|e| state.log.term_at(e.id.index) == Some(e.id.term));
    let n_known = if mutated!(MatchingEntriesCut | MatchedEntriesCut) { 0 } else { known.count() };
    let is_news = n_known < entries.len();
    if let Some(first_new) = entries.get(n_known) {
        let before = first_new.id.index.previous();
        if before < state.matched && !mutated!(MatchedEntriesCut) {
            return; // No leader of this term takes back what it sent or what is committed.
        }
        if before < state.last().index {
            state.memberships.truncate_after(before);
            state.log.truncate_after(before);
        }
    }
    for entry in entries.into_iter().skip(n_known) {
        if let Payload::Membership(membership) = &entry.payload {
            state.memberships.set(entry.id.index, membership.clone());
        }
        state.log.append(entry);
    }
    state.matched = state.matched.max(last);
    let commit = commit.min(state.shown_to_match());
    let is_commit_news = !has_entries && commit > state.commit;
    state.commit_up_to(commit);
    // New entries are acknowledged when they are durable, and a mere commit index not at all.
    if !state.ack.is_matched || !(is_news || is_commit_news) {
        state.ack.is_due = true;
    }
    state.ack.is_matched = true;
}

/// Whether `entries` follow `previous` without a gap, in terms that never fall and do not exceed
/// `term`.
fn is_sequence<C>(previous: EntryId, entries: &[SharedEntry<C>], term: Term) -> bool {
    let mut last = previous;
    for entry in entries {
        if entry.id.index != last.index.next() || entry.id.term < last.term {
            return false;
        }
        last = entry.id;
    }
    last.term <= term
}

/// Leaves out the entries up to `base`.
fn skip_before_tail<C>(
    base: EntryId,
    previous: EntryId,
    mut entries: Vec<SharedEntry<C>>,
) -> (EntryId, Vec<SharedEntry<C>>) {
    if previous.index >= base.index {
        return (previous, entries);
    }
    entries.retain(|entry| entry.id.index > base.index);
    if entries.is_empty() { (previous, entries) } else { (base, entries) }
}

fn reject<C: Command>(state: &mut State<C>, from: ServerId, previous: EntryId) {
    let limit = EntryId { index: previous.index.previous(), ..previous };
    let hint = state.log.last_not_above(limit);
    state.send(from, Body::AppendReject { previous: previous.index, hint });
}

/// The leader says that it leads.
pub(super) fn heartbeat<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    commit: Index,
    round: u64,
) {
    state.commit_up_to(commit.min(state.shown_to_match()));
    let end = (state.last().index, state.log.persisted());
    let (received, persisted) = if mutated!(MatchIsTheEnd) { end } else { state.matching() };
    // Legal: the network may lose it.
    if !maybe!(HeartbeatUnanswered) {
        state.send(from, Body::HeartbeatReply { round, received, persisted });
    }
}

/// Tells whoever feeds this server how far the log matches and is durable, if it has to know.
pub(super) fn send_ack<C: Command>(state: &mut State<C>) {
    let Some(leader) = upstream(state).filter(|leader| *leader != state.id()) else { return };
    let (received, persisted) = state.matching();
    if persisted > state.ack.persisted && state.ack.is_matched {
        state.ack.is_due = true;
    }
    if std::mem::take(&mut state.ack.is_due) {
        state.ack.persisted = state.ack.persisted.max(persisted);
        state.send(leader, Body::AppendReply { received, persisted });
    }
}
