//! Snapshots: when the log gives way to one, on either side of a transfer.
//!
//! Invariant: a snapshot replaces the log only when the log does not reach its last entry; whatever
//! the log has beyond it stays (Raft §7). What is committed never falls.

use super::effect::SnapshotMeta;
use super::entry::Command;
use super::membership::Memberships;
use super::message::Body;
use super::position::{EntryId, Index};
use super::progress::Flow;
use super::relay::upstream;
use super::state::{Standing, State};
use crate::id::ServerId;
use crate::time::Instant;

/// A durable snapshot of this server's own holds everything up to `meta.last`: drops most of the
/// tail behind it.
///
/// `keep_entries` stay for followers that are a little behind; a connected follower that is being
/// fed holds back up to four times as many.
pub(super) fn compact<C: Command>(state: &mut State<C>, meta: &SnapshotMeta) {
    assert!(meta.last.index <= state.delivered, "a snapshot holds what was given out");
    let known = state.log.term_at(meta.last.index);
    assert!(known.is_none_or(|term| term == meta.last.term), "it is of this log");
    let last = meta.last.index;
    // By count and by weight: whichever keeps less.
    let keeping = |factor: u64| {
        let by_count = last.0.saturating_sub(state.config.keep_entries.saturating_mul(factor));
        let bytes = state.config.keep_bytes.saturating_mul(factor as usize);
        by_count.max(state.log.weighing_at_most(last, bytes).0)
    };
    // Legal: who needs what is gone gets the snapshot.
    if maybe!(TailForgotten) {
        forget_before(state, last);
        return;
    }
    let (mut upto, floor) = (keeping(1), keeping(4));
    if let Standing::Leader(leadership) = &state.standing {
        for (peer, progress) in &leadership.peers {
            if state.connected.contains(peer) && progress.flow() != Flow::Snapshot {
                upto = upto.min(progress.received().0.max(floor));
            }
        }
    }
    for progress in state.relays.peers.values().filter(|it| it.flow() != Flow::Snapshot) {
        upto = upto.min(progress.received().0.max(floor));
    }
    forget_before(state, Index(upto));
}

/// What a snapshot of the state after `index` has to say of the log.
pub(super) fn meta<C: Command>(state: &State<C>, index: Index) -> Option<SnapshotMeta> {
    let last = EntryId { term: state.log.term_at(index)?, index };
    let (set_at, membership) = state.memberships.at(index);
    let membership = (*set_at > Index::ZERO).then(|| (*set_at, membership.clone()));
    Some(SnapshotMeta { last, membership })
}

/// Drops the tail up to `upto`, as far as storage has it.
fn forget_before<C: Command>(state: &mut State<C>, upto: Index) {
    state.log.compact(upto.min(state.delivered));
    state.memberships.compact(state.log.base().index);
}

/// The leader offers a snapshot up to `last`. Whether it is wanted; if not, the leader is told why.
pub(super) fn offered<C: Command>(
    state: &mut State<C>,
    now: Instant,
    from: ServerId,
    last: EntryId,
) -> bool {
    // A log that has the snapshot's last entry matches the leader's up to there.
    if last.index > state.commit && state.log.term_at(last.index) == Some(last.term) {
        state.matched = state.matched.max(last.index);
        state.commit_up_to(last.index);
    }
    if last.index <= state.commit && !mutated!(SnapshotOverNewer) {
        state.installing_until = None;
        answer(state, from);
        return false;
    }
    state.installing_until = Some(now + state.config.snapshot_timeout);
    true
}

/// The snapshot up to `meta.last` is durable and in force.
pub(super) fn installed<C: Command>(state: &mut State<C>, meta: SnapshotMeta) {
    state.installing_until = None;
    let last = meta.last;
    let has_last = state.commit >= last.index || state.log.term_at(last.index) == Some(last.term);
    if has_last {
        assert!(last.index <= state.last().index, "the log reaches it");
        state.log.covered_by_snapshot(last.index.max(state.log.base().index));
    } else {
        let (set_at, membership) = meta
            .membership
            .clone()
            .unwrap_or_else(|| (Index::ZERO, state.config.membership.clone()));
        state.memberships = Memberships::new(set_at, membership);
        state.log.reset(meta);
        state.matched = last.index;
    }
    state.commit_up_to(state.commit.max(last.index));
    state.delivered = state.delivered.max(last.index);
    forget_before(state, last.index);
    assert!(state.delivered <= state.commit, "a snapshot holds committed entries only");
    if let Some(from) = upstream(state).filter(|from| *from != state.id()) {
        answer(state, from);
    }
}

/// Tells the leader where to go on.
fn answer<C: Command>(state: &mut State<C>, leader: ServerId) {
    let (received, persisted) = state.matching();
    let body = if persisted == received {
        Body::SnapshotReply { index: persisted }
    } else {
        Body::AppendReply { received, persisted }
    };
    state.send(leader, body);
}

/// The replica has sent, or goes on sending, a snapshot to `to`.
pub(super) fn sent<C: Command>(state: &mut State<C>, now: Instant, to: ServerId) {
    let until = now + state.config.snapshot_timeout;
    let peers = match &mut state.standing {
        Standing::Leader(leadership) => &mut leadership.peers,
        Standing::Follower | Standing::Candidate(_) => &mut state.relays.peers,
    };
    if let Some(progress) = peers.get_mut(&to) {
        // A follower that has caught up by other means meanwhile goes on.
        if progress.flow() == Flow::Snapshot {
            progress.await_snapshot(until);
        }
    }
}
