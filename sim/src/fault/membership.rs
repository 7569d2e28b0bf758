//! What operators ask of the membership.
//!
//! Invariant: it is told relative to the members at the moment when it is asked, so that what it
//! means does not depend on whether earlier changes came about.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use zokor_core::groups::Groups;
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
    /// By server, from the first: its group and its weight from now on. None of them for a
    /// majority; if it is not said, whoever is in a group stays there.
    pub groups: Option<Vec<(u64, u64)>>,
}

impl Reform {
    /// The membership after it, asked of `leader` while `present` is in force.
    pub fn of(&self, present: &Membership, leader: ServerId) -> Membership {
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
        let groups = match &self.groups {
            Some(places) if places.is_empty() => Groups::none(),
            Some(places) => groups_of(&voters, |voter| places.get(voter.0 as usize - 1).copied()),
            None if present.groups.is_empty() => Groups::none(),
            None => groups_of(&voters, |voter| {
                let place = |(group, members): (u64, &BTreeMap<ServerId, u64>)| {
                    members.get(&voter).map(|weight| (group, *weight))
                };
                present.groups.iter().find_map(place)
            }),
        };
        Membership { learners, ..Membership::of_groups(voters, groups) }
    }
}

/// The groups of these voters, each in its place; whose place is not known weighs 1 in the first.
pub(crate) fn groups_of(
    voters: &BTreeSet<ServerId>,
    place: impl Fn(ServerId) -> Option<(u64, u64)>,
) -> Groups {
    let mut groups = Groups::none();
    for &voter in voters {
        let (group, weight) = place(voter).unwrap_or((1, 1));
        assert!(groups.put(group, voter, weight), "each is put once, and weights are small");
    }
    groups
}

/// So many places in up to three groups, in which somebody weighs something.
pub(crate) fn draw_groups(servers: u64, s: &mut Stream) -> Vec<(u64, u64)> {
    let n_groups = s.between(1, servers.min(3));
    let places = (0..servers).map(|_| (s.between(1, n_groups), *s.pick(&[0, 1, 1, 1, 2, 3])));
    let mut places: Vec<(u64, u64)> = places.collect();
    if places.iter().all(|(_, weight)| *weight == 0) {
        places[0].1 = 1;
    }
    places
}

/// One that makes sense with the servers of `plan`, or nearly.
pub(super) fn draw(plan: &Plan, s: &mut Stream) -> Reform {
    let reform = draw_places(plan, s);
    if plan.members.groups.is_empty() {
        return reform;
    }
    let groups = match s.below(3) {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(draw_groups(plan.servers, s)),
    };
    Reform { groups, ..reform }
}

fn draw_places(plan: &Plan, s: &mut Stream) -> Reform {
    let any = |s: &mut Stream| s.between(1, plan.servers);
    let voter = |s: &mut Stream| (s.between(1, plan.servers), Place::Voter);
    match s.below(9) {
        0..3 => Reform { servers: vec![voter(s)], leader: None, groups: None },
        3 => Reform { servers: vec![(any(s), Place::Outside)], leader: None, groups: None },
        4 => Reform { servers: vec![(any(s), Place::Observer)], leader: None, groups: None },
        5 => Reform { servers: vec![voter(s)], leader: Some(Place::Outside), groups: None },
        6 => Reform { servers: Vec::new(), leader: Some(Place::Observer), groups: None },
        // Some go and as many come.
        7 => {
            let count = s.between(1, plan.servers.div_ceil(3));
            let pairs = (0..count).flat_map(|_| [(any(s), Place::Outside), voter(s)]);
            Reform { servers: pairs.collect(), leader: None, groups: None }
        }
        _ => {
            let place = |s: &mut Stream| *s.pick(&[Place::Voter, Place::Observer, Place::Outside]);
            let servers = (1..=plan.servers).map(|server| (server, place(s))).collect();
            Reform { servers, leader: Some(Place::Voter), groups: None }
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
        let reform = Reform { servers, leader: Some(Place::Observer), groups: None };
        let after = reform.of(&present, ServerId(1));
        assert_eq!((after.voters, after.learners), (set(&[3, 4]), set(&[1, 5])));
        assert_eq!(Reform::default().of(&present, ServerId(1)), present);
    }

    #[test]
    fn whoever_is_in_a_group_stays_there_unless_it_is_said() {
        let set = |ids: &[u64]| ids.iter().map(|&id| ServerId(id)).collect::<BTreeSet<_>>();
        let groups = Groups::from_lines("group.2=1\ngroup.3=2:3\nweight.2=0");
        let present = Membership::of_groups(set(&[1, 2, 3]), groups);
        let servers = vec![(4, Place::Voter), (3, Place::Outside)];
        let lines = |groups: Option<Vec<(u64, u64)>>| {
            let reform = Reform { servers: servers.clone(), leader: None, groups };
            reform.of(&present, ServerId(1)).groups
        };
        let kept = "group.1=4\ngroup.2=1\ngroup.3=2\nweight.2=0";
        assert_eq!(lines(None), Groups::from_lines(kept));
        assert_eq!(lines(Some(Vec::new())), Groups::none());
        let other = "group.1=1:4\ngroup.2=2\nweight.1=3\nweight.2=1";
        assert_eq!(lines(Some(vec![(1, 3), (2, 1)])), Groups::from_lines(other));
    }
}
