//! What was ever said, and what an onlooker knows.
//!
//! Invariant: it only grows. What is here may be heard by anyone, at any later time.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::{Entry, Id, Log, Term};

/// Everything that was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Said {
    /// Who asked for votes in which term, and the last entry of its log.
    pub requests: BTreeMap<(Term, usize), Id>,
    /// Votes told: term, voter, candidate.
    pub votes: BTreeSet<(Term, usize, usize)>,
    /// What the leader of each term has to offer.
    pub ledgers: BTreeMap<Term, Ledger>,
    /// How far each server has acknowledged the log of a term's leader as durable.
    pub acks: BTreeMap<(Term, usize), usize>,
    /// The last round of a term's leader that each server has answered.
    pub answers: BTreeMap<(Term, usize), u64>,
    /// Reads: for each, how much was agreed on when it was asked for.
    pub asks: Vec<usize>,
    /// For the onlooker: what is agreed on, and the term whose leader committed it.
    pub agreed: Vec<(Entry, Term)>,
    /// For the onlooker: the first property that turned out not to hold.
    pub violation: Option<&'static str>,
}

/// What the leader of one term says: its log, how far it is committed, and its rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ledger {
    /// Who leads.
    pub leader: usize,
    /// Its log, which within the term only grows.
    pub log: Log,
    /// Committed up to here.
    pub commit: usize,
    /// The heartbeat rounds it has begun, by number.
    pub rounds: BTreeMap<u64, Round>,
}

/// One heartbeat round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round {
    /// The commit index when it began.
    pub commit: usize,
    /// Whether an entry of the leader's own term was committed by then.
    pub has_own: bool,
    /// How many reads had been asked for when it began.
    pub asks: usize,
}

impl Said {
    /// Notes that `property` does not hold, unless another one did not before.
    pub(crate) fn violates(&mut self, property: &'static str) {
        self.violation.get_or_insert(property);
    }

    /// Somebody holds that `log` up to `upto` is agreed on, by the word of `term`'s leader.
    pub(crate) fn agree(&mut self, log: &Log, from: usize, upto: usize, term: Term) {
        for index in from + 1..=upto {
            let entry = log.entry(index).unwrap_or_default();
            match self.agreed.get(index - 1) {
                Some((agreed, _)) if *agreed != entry => self.violates("state machine safety"),
                Some(_) => {}
                None => self.agreed.push((entry, term)),
            }
        }
    }
}
