//! A term begins with a candidate that votes for itself, and a leader has the votes of a quorum
//! (Raft §5.2; a pre-vote changes nothing at either end: Raft thesis §9.6). C1.
//!
//! Election safety shows itself only where two servers win; this shows each win that was not due.

use std::collections::{BTreeMap, BTreeSet};

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{Body, HardState, Membership, Message, Term};

use super::membership::is_quorum;
use super::{Verdict, must};

/// Which terms were begun, and who was told of which votes.
#[derive(Debug, Default)]
pub struct Campaigns {
    begun: BTreeSet<Term>,
    votes: BTreeMap<(Term, ServerId), BTreeSet<ServerId>>,
}

impl Campaigns {
    /// `server` asks for a hard state to be kept.
    ///
    /// # Errors
    /// If its term has no candidate.
    pub fn kept(&mut self, server: ServerId, hard_state: HardState) -> Verdict {
        let HardState { term, vote } = hard_state;
        if vote == Some(server) {
            self.begun.insert(term);
        }
        must("terms begin with a candidate (C1)", self.begun.contains(&term), || {
            format!("server {server} is in term {term}, for which nobody ever asked for votes")
        })
    }

    /// A server that was wiped and finds nothing anywhere begins in a term that nobody has opened.
    pub fn skipped(&mut self, term: Term) {
        self.begun.insert(term);
    }

    /// `server` sends `message` to `to`.
    pub fn said(&mut self, server: ServerId, to: ServerId, message: &Message<Txn>) {
        match message.body {
            // Its own vote need not be kept, if it heard of a later term in the same moment.
            Body::Vote { .. } => drop(self.begun.insert(message.term)),
            Body::VoteReply { granted: true } => {
                self.votes.entry((message.term, to)).or_default().insert(server);
            }
            _ => {}
        }
    }

    /// `server`, whose disk holds `hard_state`, leads in `term` by this membership.
    ///
    /// # Errors
    /// If the servers that have told it of a vote in that term are no quorum, itself counted.
    pub fn won(
        &self,
        server: ServerId,
        term: Term,
        hard_state: HardState,
        membership: &Membership,
    ) -> Verdict {
        let own = hard_state == HardState { term, vote: Some(server) };
        let told = self.votes.get(&(term, server));
        let voted = |voter: ServerId| {
            (own && voter == server) || told.is_some_and(|told| told.contains(&voter))
        };
        must("a leader has the votes of a quorum (C1)", is_quorum(membership, voted), || {
            format!("server {server} leads {membership:?} in term {term} by the votes of {told:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hard_state(term: u64, vote: Option<u64>) -> HardState {
        HardState { term: Term(term), vote: vote.map(ServerId) }
    }

    #[test]
    fn a_term_without_a_candidate_is_found() {
        let mut campaigns = Campaigns::default();
        assert!(campaigns.kept(ServerId(1), hard_state(1, Some(1))).is_ok());
        assert!(campaigns.kept(ServerId(2), hard_state(1, Some(1))).is_ok());
        assert!(campaigns.kept(ServerId(3), hard_state(1, None)).is_ok());
        assert!(campaigns.kept(ServerId(3), hard_state(2, None)).is_err());
    }

    #[test]
    fn votes_of_another_term_make_no_leader() {
        let mut campaigns = Campaigns::default();
        let yes = |term| Message { term: Term(term), body: Body::VoteReply { granted: true } };
        campaigns.said(ServerId(2), ServerId(1), &yes(1));
        campaigns.said(ServerId(2), ServerId(1), &yes(1));
        let own = hard_state(2, Some(1));
        let three = &Membership::of_voters((1..=3).map(ServerId));
        assert!(campaigns.won(ServerId(1), Term(2), own, three).is_err());
        campaigns.said(ServerId(3), ServerId(1), &yes(2));
        assert!(campaigns.won(ServerId(1), Term(2), own, three).is_ok());
        assert!(campaigns.won(ServerId(1), Term(2), hard_state(1, Some(1)), three).is_err());
    }
}
