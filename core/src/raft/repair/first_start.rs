//! A server on whose disk nothing was ever written: new, or one that has lost its disk?
//!
//! Invariant: it is taken for new only if there was a moment, in its present life, at which no
//! voter had an entry. For that all other voters are asked twice, the second time when all have
//! answered the first; who says both times, in one life, that nothing was ever written there, had
//! nothing that was agreed on in between (`docs/repair.md`).

use std::collections::{BTreeMap, BTreeSet};

use super::{hear_term, send};
use crate::id::ServerId;
use crate::raft::entry::Command;
use crate::raft::message::Body;
use crate::raft::position::{EntryId, Term};
use crate::raft::quorum;
use crate::raft::state::State;
use crate::time::Instant;

/// What is to be known of a server that does not know yet whether it is new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstStart {
    /// Voters that have not said whether anything was ever written at theirs, or that do not know
    /// their own term.
    pub waits_for: Vec<ServerId>,
    /// Servers that hold something: the ensemble is not new.
    pub holders: Vec<ServerId>,
}

/// What others have said so far.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    /// Names the present question: the first of the two, or the second.
    round: u64,
    is_second: bool,
    /// Who answered the first that nothing was ever written there, and in which life.
    blank: BTreeMap<ServerId, u64>,
    /// Who answered the second as it did the first.
    again: BTreeSet<ServerId>,
    /// Who holds something.
    holders: BTreeSet<ServerId>,
    /// The highest term heard.
    highest: Term,
}

impl Asking {
    /// `round` is of this life alone.
    pub(super) fn new(round: u64) -> Self {
        Asking {
            round,
            is_second: false,
            blank: BTreeMap::new(),
            again: BTreeSet::new(),
            holders: BTreeSet::new(),
            highest: Term(0),
        }
    }

    /// Begins anew with the first question.
    fn begin_again(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.is_second = false;
        self.blank.clear();
        self.again.clear();
    }

    /// What is heard of `from` does not count any more.
    pub(super) fn lost(&mut self, from: ServerId) {
        self.holders.remove(&from);
        if self.blank.remove(&from).is_some() && self.is_second {
            self.begin_again();
        }
    }

    /// Takes an answer. Whether another question is to be put to all.
    fn take(&mut self, from: ServerId, blank: Option<u64>, asked: &BTreeSet<ServerId>) -> bool {
        let Some(life) = blank else {
            self.holders.insert(from);
            let was_blank = self.blank.remove(&from).is_some();
            if was_blank && self.is_second {
                self.begin_again();
                return true;
            }
            return false;
        };
        self.holders.remove(&from);
        if !self.is_second {
            self.blank.insert(from, life);
            self.is_second = asked.iter().all(|server| self.blank.contains_key(server));
            self.round = self.round.wrapping_add(u64::from(self.is_second));
            return self.is_second;
        }
        if self.blank.get(&from) == Some(&life) {
            self.again.insert(from);
        } else {
            // It has started in between.
            self.begin_again();
            return true;
        }
        false
    }

    /// Whether none of those asked had anything when the second question was put.
    fn is_new(&self, asked: &BTreeSet<ServerId>) -> bool {
        self.is_second && self.holders.is_empty() && asked.is_subset(&self.again)
    }
}

/// Asks `peer`, if this server does not know whether it is new.
pub(super) fn ask<C: Command>(state: &mut State<C>, peer: ServerId) {
    let Some(repair) = &state.repair else { return };
    if repair.is_writing || peer == state.id() || repair.pieces.base() != EntryId::default() {
        return;
    }
    if let Some(asking) = &repair.asking {
        let round = asking.round;
        send(state, peer, Body::AskIfNew { round });
    }
}

/// `from` asks.
pub(in crate::raft) fn asked<C: Command>(state: &mut State<C>, from: ServerId, round: u64) {
    let blank = is_blank(state).then_some(state.life);
    send(state, from, Body::IfNew { round, blank });
}

/// Whether there is no entry here, nor a state, and nothing says that there was one.
fn is_blank<C: Command>(state: &State<C>) -> bool {
    let none = EntryId::default();
    let is_whole = state.repair.as_ref().is_none_or(|repair| {
        repair.asking.is_some() && (repair.is_writing || repair.pieces.base() == none)
    });
    is_whole && state.log.base() == none && state.log.last() == none
}

/// `from` has answered.
pub(in crate::raft) fn answered<C: Command>(
    state: &mut State<C>,
    now: Instant,
    (from, term): (ServerId, Term),
    round: u64,
    blank: Option<u64>,
) {
    // Who has no vote is not waited for, but may hold the last copy of something.
    let mut others = other_voters(state);
    others.extend(&state.connected);
    let Some(repair) = &mut state.repair else { return };
    let is_base = repair.pieces.base() == EntryId::default();
    let Some(asking) = &mut repair.asking else { return };
    if repair.is_writing || repair.is_installing || !is_base || asking.round != round {
        return;
    }
    asking.highest = asking.highest.max(term);
    let asks_again = asking.take(from, blank, &others);
    let is_new = asking.is_new(&others);
    hear_term(state, from, term);
    if is_new {
        begin(state, now);
    } else if asks_again {
        let peers: Vec<ServerId> = state.connected.iter().copied().collect();
        peers.into_iter().for_each(|peer| ask(state, peer));
    }
}

/// The ensemble is new, or has lost everything. This server begins, durably, in the highest term
/// that it has heard of, in which nobody gets its vote, since someone may have it: whoever got one
/// has stood in that term, and has said so. Where nobody knows of any term, there was no vote.
fn begin<C: Command>(state: &mut State<C>, now: Instant) {
    let Some(repair) = &mut state.repair else { return };
    let Some(asking) = &repair.asking else { return };
    let highest = asking.highest;
    repair.is_writing = true;
    let is_known = highest > Term(0);
    // As if it had stood itself, and not won.
    (state.term, state.vote) = (highest.max(Term(1)), is_known.then_some(state.config.id));
    state.outbox.hard_state_changed();
    state.redraw_election(now);
}

/// The voters but this server, as far as it knows.
fn other_voters<C: Command>(state: &State<C>) -> BTreeSet<ServerId> {
    let memberships = [&state.config.membership, state.membership()];
    let voters = memberships.into_iter().flat_map(|it| it.voters.iter().chain(&it.outgoing));
    voters.filter(|voter| **voter != state.id()).copied().collect()
}

/// Whether a state that a leader of `term` has sent shows that this server has no vote, so that
/// nothing counts that it may have said before its disk lost it: no quorum has gone beyond that
/// term since, so that nobody has given it one.
pub(super) fn shows_no_vote<C: Command>(
    state: &State<C>,
    term: Term,
    membership: Option<&crate::raft::Membership>,
) -> bool {
    let Some(repair) = &state.repair else { return false };
    let membership = membership.unwrap_or(&state.config.membership);
    let is_not_beyond =
        |server| repair.terms.get(&server).is_some_and(|heard| *heard > Term(0) && *heard <= term);
    !membership.is_voter(state.id()) && quorum::is_quorum(membership, is_not_beyond)
}

/// What is to be known of it.
pub(super) fn status<C: Command>(state: &State<C>) -> Option<FirstStart> {
    let repair = state.repair.as_ref()?;
    let asking = repair.asking.as_ref()?;
    let is_silent = |voter: &ServerId| match asking.holders.is_empty() {
        true => !asking.blank.contains_key(voter),
        false => !repair.terms.contains_key(voter),
    };
    let waits_for = other_voters(state).into_iter().filter(is_silent).collect();
    Some(FirstStart { waits_for, holders: asking.holders.iter().copied().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters() -> BTreeSet<ServerId> {
        [2, 3].map(ServerId).into()
    }

    #[test]
    fn only_two_equal_answers_of_every_voter_make_an_ensemble_new() {
        let mut asking = Asking::new(7);
        assert!(!asking.take(ServerId(2), Some(20), &voters()));
        assert!(!asking.is_new(&voters()));
        assert!(asking.take(ServerId(3), Some(30), &voters()), "the second question is due");
        assert_eq!(asking.round, 8);
        assert!(!asking.take(ServerId(2), Some(20), &voters()));
        assert!(!asking.is_new(&voters()));
        assert!(!asking.take(ServerId(3), Some(30), &voters()));
        assert!(asking.is_new(&voters()));
        // An observer that has something is enough to say no.
        asking.take(ServerId(9), None, &voters());
        assert!(!asking.is_new(&voters()));
    }

    #[test]
    fn a_voter_that_starts_anew_or_breaks_off_in_between_has_to_be_asked_twice_again() {
        for is_break in [false, true] {
            let mut asking = Asking::new(7);
            asking.take(ServerId(2), Some(20), &voters());
            asking.take(ServerId(3), Some(30), &voters());
            asking.take(ServerId(2), Some(20), &voters());
            if is_break {
                asking.lost(ServerId(2));
            } else {
                assert!(asking.take(ServerId(2), Some(21), &voters()));
            }
            assert_eq!((asking.round, asking.is_second), (9, false));
            assert!(asking.blank.is_empty() && asking.again.is_empty());
        }
    }

    #[test]
    fn a_voter_that_holds_something_in_between_makes_the_ensemble_old() {
        let mut asking = Asking::new(7);
        asking.take(ServerId(2), Some(20), &voters());
        asking.take(ServerId(3), Some(30), &voters());
        assert!(asking.take(ServerId(2), None, &voters()));
        assert!(!asking.is_second && asking.holders.contains(&ServerId(2)));
    }
}
