//! Pre-vote, vote, win and lose (Raft §5.2, §5.4.1; thesis §4.2.3, §9.6).
//!
//! Invariant: a server votes for at most one candidate in a term, and only for one whose log is not
//! behind its own. A pre-vote changes nothing at either end.

use std::collections::BTreeMap;

use super::entry::Command;
use super::message::{Body, Message};
use super::position::{EntryId, Term};
use super::quorum::{self, Verdict};
use super::state::{Campaign, Stage, Standing, State};
use crate::id::ServerId;
use crate::time::Instant;

/// Starts an election. `transfer`: the leader asked for it.
pub(super) fn campaign<C: Command>(
    state: &mut State<C>,
    now: Instant,
    stage: Stage,
    transfer: bool,
) {
    assert!(state.may_campaign(), "only who may lead, or might until just now, asks for votes");
    state.hurry = state.hurry.map(|attempts| attempts.saturating_add(1));
    let last = state.last();
    let (term, body) = match stage {
        Stage::PreVote => {
            let term = if mutated!(PreVoteRaisesTerm) { state.term.next() } else { state.term };
            state.follow(now, term, None);
            (term.next(), Body::PreVote { last })
        }
        Stage::Vote => {
            let term = state.term.next();
            state.follow(now, term, None);
            state.vote = Some(state.id());
            (term, Body::Vote { last, transfer })
        }
    };
    state.redraw_election(now);
    let mut votes = BTreeMap::new();
    if stage == Stage::PreVote {
        votes.insert(state.id(), true);
    }
    let gate = state.outbox.hard_gate();
    state.standing = Standing::Candidate(Campaign { stage, votes, gate });
    for peer in state.membership().servers() {
        if peer != state.id() && state.membership().may_lead(peer) {
            state.outbox.send(peer, Message { term, body: body.clone() });
        }
    }
}

/// A candidate wants to know whether it would get a vote in `term`.
pub(super) fn pre_vote<C: Command>(
    state: &mut State<C>,
    now: Instant,
    from: ServerId,
    term: Term,
    last: EntryId,
) {
    let granted = term > state.term && !state.stands_by_leader(now) && is_not_behind(state, last);
    // A grant names the term that it is for; a refusal tells a candidate that is behind our term.
    let term = if granted { term } else { state.term };
    state.outbox.send(from, Message { term, body: Body::PreVoteReply { granted } });
}

/// A candidate of the present term wants the vote.
pub(super) fn vote<C: Command>(state: &mut State<C>, now: Instant, from: ServerId, last: EntryId) {
    let is_free = match state.vote {
        Some(holder) => holder == from,
        None => state.leader.is_none(),
    };
    let granted = (is_free || mutated!(VoteGivenTwice)) && is_not_behind(state, last);
    if granted && state.vote.is_none() {
        state.vote = Some(from);
        state.outbox.hard_state_changed();
        state.redraw_election(now);
    }
    state.send(from, Body::VoteReply { granted });
}

/// Whether a log that ends with `last` has all that this server's own has (Raft §5.4.1).
fn is_not_behind<C: Command>(state: &State<C>, last: EntryId) -> bool {
    if mutated!(LogComparedByIndex) {
        return last.index >= state.last().index;
    }
    last >= state.last() || mutated!(LogNotCompared)
}

/// An answer to the election of `stage` has come.
pub(super) fn answered<C: Command>(
    state: &mut State<C>,
    stage: Stage,
    from: ServerId,
    granted: bool,
) {
    if let Standing::Candidate(campaign) = &mut state.standing
        && campaign.stage == stage
    {
        // The first answer stands: a copy says the same, and an answer to an earlier pre-vote for
        // the same term is as good.
        campaign.votes.entry(from).or_insert(granted);
    }
}

/// Counts this server's own vote if it is durable by now.
pub(super) fn count_own_vote<C: Command>(state: &mut State<C>) {
    let own = state.config.id;
    if let Standing::Candidate(campaign) = &mut state.standing
        && state.outbox.is_completed(campaign.gate)
    {
        campaign.votes.insert(own, true);
    }
}

/// How the election stands, if there is one.
pub(super) fn verdict<C: Command>(state: &State<C>) -> Option<(Stage, Verdict)> {
    match &state.standing {
        Standing::Candidate(campaign) => {
            Some((campaign.stage, quorum::verdict(state.membership(), &campaign.votes)))
        }
        Standing::Follower | Standing::Leader(_) => None,
    }
}

/// The connection to the leader broke: its process may be dead, so do not wait long.
pub(super) fn lost_leader<C: Command>(state: &mut State<C>, now: Instant) {
    state.hurry = Some(0);
    state.heard_leader_at = None;
    let soon = now + state.draw_below(state.config.broken_link_timeout);
    state.election_deadline = state.election_deadline.min(soon);
}
