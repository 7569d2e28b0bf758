//! What operators ask of the membership.
//!
//! Invariant: it is told relative to the members at the moment when it is asked, so that what it
//! means does not depend on whether earlier changes came about.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use zokor_core::id::ServerId;
use zokor_core::raft::Membership;

use crate::plan::Plan;
use crate::rng::Stream;

/// What a server is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// It votes.
    Voter,
    /// It observes.
    Observer,
    /// It is no member.
    Outside,
}

/// Another membership: everyone stays what it is but for these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reform {
    /// Servers and what they are to be.
    pub servers: Vec<(u64, Place)>,
    /// What becomes of whoever leads.
    pub leader: Option<Place>,
}

impl Reform {
    /// Who votes and who observes after it, asked of `leader` while `present` is in force.
    pub fn of(&self, present: &Membership, leader: ServerId) -> [BTreeSet<ServerId>; 2] {
        let (mut voters, mut learners) = (present.voters.clone(), present.learners.clone());
        let named = self.servers.iter().map(|&(server, place)| (ServerId(server), place));
        for (server, place) in named.chain(self.leader.map(|place| (leader, place))) {
            voters.remove(&server);
            learners.remove(&server);
            match place {
                Place::Voter => drop(voters.insert(server)),
                Place::Observer => drop(learners.insert(server)),
                Place::Outside => {}
            }
        }
        [voters, learners]
    }
}

/// One that makes sense with the servers of `plan`, or nearly.
pub(super) fn draw(plan: &Plan, s: &mut Stream) -> Reform {
    let any = |s: &mut Stream| s.between(1, plan.servers);
    let voter = |s: &mut Stream| (s.between(1, plan.servers), Place::Voter);
    match s.below(9) {
        0..3 => Reform { servers: vec![voter(s)], leader: None },
        3 => Reform { servers: vec![(any(s), Place::Outside)], leader: None },
        4 => Reform { servers: vec![(any(s), Place::Observer)], leader: None },
        5 => Reform { servers: vec![voter(s)], leader: Some(Place::Outside) },
        6 => Reform { servers: Vec::new(), leader: Some(Place::Observer) },
        // Some go and as many come.
        7 => {
            let count = s.between(1, plan.servers.div_ceil(3));
            let pairs = (0..count).flat_map(|_| [(any(s), Place::Outside), voter(s)]);
            Reform { servers: pairs.collect(), leader: None }
        }
        _ => {
            let place = |s: &mut Stream| *s.pick(&[Place::Voter, Place::Observer, Place::Outside]);
            let servers = (1..=plan.servers).map(|server| (server, place(s))).collect();
            Reform { servers, leader: Some(Place::Voter) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reform_moves_those_whom_it_names_and_nobody_else() {
        let set =
            |ids: &[u64]| -> BTreeSet<ServerId> { ids.iter().map(|&id| ServerId(id)).collect() };
        let mut present = Membership::of_voters(set(&[1, 2, 3]));
        present.learners = set(&[4]);
        let servers = vec![(4, Place::Voter), (5, Place::Observer), (2, Place::Outside)];
        let reform = Reform { servers, leader: Some(Place::Observer) };
        assert_eq!(reform.of(&present, ServerId(1)), [set(&[3, 4]), set(&[1, 5])]);
        let nothing = Reform::default().of(&present, ServerId(1));
        assert_eq!(nothing, [present.voters, present.learners]);
    }
}
