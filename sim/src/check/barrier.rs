//! A leader answers for a read barrier only after a quorum has answered a heartbeat round that
//! began when it had been asked (Raft thesis §6.4). R4.
//!
//! That a sync shows too little is seen only where another leader has committed in the meantime;
//! this shows every barrier that was not confirmed.

use std::collections::BTreeMap;

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{Body, Membership, Message, ReadToken, Term};

use super::membership::is_quorum;
use super::{Verdict, must};

/// Heartbeat rounds of all leaders, and what they were asked.
#[derive(Debug, Default)]
pub struct Barriers {
    /// The last round of each server.
    rounds: BTreeMap<ServerId, (Term, u64)>,
    /// The last round that each follower has answered, by leader and term.
    answered: BTreeMap<(ServerId, Term), BTreeMap<ServerId, u64>>,
    /// The last round of a server when a token came to it first.
    asked: BTreeMap<(ServerId, ReadToken), (Term, u64)>,
}

impl Barriers {
    /// `message` comes to `server`.
    pub fn came(&mut self, server: ServerId, message: &Message<Txn>) {
        if let Body::ReadIndex { token } = message.body {
            let last = self.rounds.get(&server).copied().unwrap_or_default();
            self.asked.entry((server, token)).or_insert(last);
        }
    }

    /// `server` sends `message` to `to`.
    ///
    /// # Errors
    /// If it gives a barrier that no quorum has confirmed, itself counted: of one of `memberships`,
    /// by which it went since it was looked at last.
    pub fn said(
        &mut self,
        server: ServerId,
        to: ServerId,
        message: &Message<Txn>,
        memberships: &[&Membership],
    ) -> Verdict {
        let term = message.term;
        match message.body {
            Body::Heartbeat { round, .. } => {
                let last = self.rounds.entry(server).or_default();
                *last = (*last).max((term, round));
            }
            Body::HeartbeatReply { round, .. } => {
                let answered = self.answered.entry((to, term)).or_default();
                let last = answered.entry(server).or_default();
                *last = (*last).max(round);
            }
            Body::ReadIndexReply { token, index: Some(_) } => {
                let asked = self.asked.get(&(server, token)).copied().unwrap_or_default();
                let after = if asked.0 == term { asked.1 } else { 0 };
                let answered = self.answered.get(&(server, term));
                let confirms = |voter: ServerId| {
                    let round = answered.and_then(|answered| answered.get(&voter));
                    voter == server || round.is_some_and(|&round| round > after)
                };
                let is_confirmed = memberships.iter().any(|it| is_quorum(it, confirms));
                must("barriers are confirmed (R4)", is_confirmed, || {
                    format!(
                        "server {server} gives {to} a barrier in term {term} after round {after}, \
                         and was answered {answered:?}"
                    )
                })?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::raft::Index;

    use super::*;

    const TOKEN: ReadToken = ReadToken { life: 1, number: 1 };

    fn message(body: Body<Txn>) -> Message<Txn> {
        Message { term: Term(2), body }
    }

    fn of(voters: u64) -> Membership {
        Membership::of_voters((1..=voters).map(ServerId))
    }

    fn beat(round: u64) -> Message<Txn> {
        message(Body::Heartbeat { commit: Index::ZERO, round })
    }

    fn reply(round: u64) -> Message<Txn> {
        let (received, persisted) = (Index::ZERO, Index::ZERO);
        message(Body::HeartbeatReply { round, received, persisted })
    }

    #[test]
    fn only_a_round_that_began_after_the_question_confirms() {
        let [leader, other, third] = [1, 2, 3].map(ServerId);
        let (three, five) = (of(3), of(5));
        let mut barriers = Barriers::default();
        let barrier = message(Body::ReadIndexReply { token: TOKEN, index: Some(Index(5)) });
        barriers.said(leader, other, &beat(7), &[&three]).unwrap();
        barriers.came(leader, &message(Body::ReadIndex { token: TOKEN }));
        assert!(barriers.said(leader, third, &barrier, &[&three]).is_err());
        barriers.said(other, leader, &reply(7), &[&three]).unwrap();
        assert!(barriers.said(leader, third, &barrier, &[&three]).is_err());
        barriers.said(leader, other, &beat(8), &[&three]).unwrap();
        assert!(barriers.said(leader, third, &barrier, &[&three]).is_err());
        barriers.said(other, leader, &reply(8), &[&three]).unwrap();
        assert!(barriers.said(leader, third, &barrier, &[&three]).is_ok());
        assert!(barriers.said(leader, third, &barrier, &[&five]).is_err());
        assert!(barriers.said(leader, third, &barrier, &[&five, &three]).is_ok());
    }
}
