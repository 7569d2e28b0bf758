//! What a server answers one whose disk has lost something: in any role, and while it repairs its
//! own.
//!
//! Invariant: what is given out as entries is of the log in which the named entry is; what is given
//! as a state was agreed on.

use super::{has_own_applied, send};
use crate::id::ServerId;
use crate::raft::effect::Effect;
use crate::raft::entry::Command;
use crate::raft::message::Body;
use crate::raft::position::{EntryId, Index, Term};
use crate::raft::replication;
use crate::raft::state::{Standing, State};
use crate::time::Instant;

/// `from` lacks what comes after `after`, and its log has `names` beyond it.
pub(in crate::raft) fn asked<C: Command>(
    state: &mut State<C>,
    now: Instant,
    from: ServerId,
    after: EntryId,
    names: &[EntryId],
) {
    if has_no_vote(state, from) {
        replication::forget_progress(state, now, from);
    }
    let max_bytes = state.config.max_append_bytes;
    let body = match &state.repair {
        Some(repair) if !repair.is_writing => repair.pieces.answer(after, names, max_bytes),
        Some(_) | None => whole_answer(state, after, names, max_bytes),
    };
    let body = body.unwrap_or_else(|| Body::NotFound {
        has_snapshot: agreed(state) > after.index,
        leads: matches!(state.standing, Standing::Leader(_)),
    });
    send(state, from, body);
}

/// Whether the membership in force gives `server` no vote, and a state that this server sends says
/// so: one that stands in the configuration alone is read by everyone from an own file.
fn has_no_vote<C: Command>(state: &State<C>, server: ServerId) -> bool {
    let (set_at, membership) = state.memberships.current();
    let is_said = *set_at > Index::ZERO || membership.learners.contains(&server);
    is_said && !membership.is_voter(server)
}

/// Up to where this server's state is.
fn agreed<C: Command>(state: &State<C>) -> Index {
    match &state.repair {
        Some(repair) if !repair.is_writing => repair.pieces.base().index,
        Some(_) | None => state.delivered,
    }
}

/// The answer of a server that has its log from some index on.
fn whole_answer<C: Command>(
    state: &State<C>,
    after: EntryId,
    names: &[EntryId],
    max_bytes: usize,
) -> Option<Body<C>> {
    let (log, base) = (&state.log, state.log.base());
    if after.index < base.index {
        return None;
    }
    let is_here =
        |name: &&EntryId| name.index > after.index && log.term_at(name.index) == Some(name.term);
    let name = *names.iter().find(is_here)?;
    let matched = log.last_not_above(after);
    let mut entries = log.batch(matched.index.next(), max_bytes);
    entries.retain(|entry| entry.id.index <= name.index);
    Some(Body::Found { after, name, matched: Some(matched), entries })
}

/// `from` wants the state itself. `term` is the one beyond which it believes a leader, 0 if it does
/// not know that yet; who has no vote believes the leader that says so. Whether this leader is to
/// open a new term for it.
#[must_use]
pub(in crate::raft) fn state_asked<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    term: Term,
    after: EntryId,
    wants_leader: bool,
) -> bool {
    let leads = matches!(state.standing, Standing::Leader(_));
    if !wants_leader {
        if agreed(state) > after.index {
            let term = if leads { state.term } else { Term(0) };
            state.outbox.effects.push_back(Effect::SendState { to: from, term });
        }
        return false;
    }
    if !leads {
        return false;
    }
    if !has_no_vote(state, from) {
        if state.term <= term {
            return true;
        }
        if term == Term(0) {
            // It does not know yet whom to believe.
            return false;
        }
    }
    if has_own_applied(state) {
        state.outbox.effects.push_back(Effect::SendState { to: from, term: state.term });
    }
    false
}
