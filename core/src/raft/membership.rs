//! Voters and learners, and the two steps of a change (Raft §6, joint consensus).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::entry::{Payload, SharedEntry};
use super::position::Index;
use super::quorum;
use crate::groups::Groups;
use crate::id::ServerId;

/// Who votes and who merely receives the log.
///
/// While `outgoing` is not empty the membership is joint: every decision needs a quorum of `voters`
/// and a quorum of `outgoing`.
///
/// What a quorum is, is up to the groups: without any it is a majority. A voter without weight
/// follows, acknowledges and serves like any other; its word does not count, and it never leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The voters, or in a joint membership the voters to come.
    pub voters: BTreeSet<ServerId>,
    /// The voters to go by, in a joint membership; else empty.
    pub outgoing: BTreeSet<ServerId>,
    /// Servers that receive the log and have no vote (ZooKeeper's observers).
    pub learners: BTreeSet<ServerId>,
    /// The groups by which `voters` decide; none for a majority. Who is in them and does not vote
    /// counts in the weight of its group, and never agrees.
    pub groups: Groups,
    /// The groups by which `outgoing` decide.
    pub outgoing_groups: Groups,
}

impl Membership {
    /// A membership of these voters and nobody else.
    pub fn of_voters(voters: impl IntoIterator<Item = ServerId>) -> Self {
        Membership { voters: voters.into_iter().collect(), ..Membership::default() }
    }

    /// A membership of these voters, who decide by `groups`.
    pub fn of_groups(voters: impl IntoIterator<Item = ServerId>, groups: Groups) -> Self {
        Membership { groups, ..Membership::of_voters(voters) }
    }

    /// Whether those that `says_yes` names are a quorum: of both sets while there are two.
    pub fn is_quorum(&self, says_yes: impl Fn(ServerId) -> bool) -> bool {
        quorum::is_quorum(self, says_yes)
    }

    /// Whether it is between two sets of voters.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether its voters could decide anything if all of them agreed: there are some, every one
    /// has its place in a group if there are groups, and together they are a quorum.
    pub fn can_decide(&self) -> bool {
        let is_placed = |voters: &BTreeSet<ServerId>, groups: &Groups| {
            groups.is_empty() || voters.iter().all(|voter| groups.weight(*voter).is_some())
        };
        is_placed(&self.voters, &self.groups)
            && is_placed(&self.outgoing, &self.outgoing_groups)
            && self.is_quorum(|_| true)
    }

    /// Whether `server` may lead: it is a voter, and has weight.
    pub fn may_lead(&self, server: ServerId) -> bool {
        if mutated!(WeightlessLeads) {
            return self.is_voter(server);
        }
        (self.voters.contains(&server) && self.groups.weighs(server))
            || (self.outgoing.contains(&server) && self.outgoing_groups.weighs(server))
    }

    /// Whether `server` may lead when it is no longer joint.
    pub(super) fn may_lead_on(&self, server: ServerId) -> bool {
        self.voters.contains(&server) && self.groups.weighs(server)
    }

    /// The one that follows a joint one: what was outgoing has gone.
    pub(super) fn settled(&self) -> Self {
        Membership { outgoing: BTreeSet::new(), outgoing_groups: Groups::none(), ..self.clone() }
    }

    /// Whether `server` is a voter, with or without weight.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.voters.contains(&server) || self.outgoing.contains(&server)
    }

    /// Every server named, each once, ascending.
    pub fn servers(&self) -> BTreeSet<ServerId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }
}

/// The memberships that the log sets, each in force from its entry on until the next.
///
/// Invariant: never empty, and the indices ascend. The first stands for everything up to the entry
/// before the tail.
#[derive(Clone, Debug)]
pub(super) struct Memberships {
    /// What holds at the start of the tail; index 0 if it comes from the configuration.
    oldest: (Index, Membership),
    /// What entries of the tail have set since.
    later: Vec<(Index, Membership)>,
}

impl Memberships {
    /// Nothing is known but `membership`, which the entry at `index` has set (0: none has).
    pub(super) fn new(index: Index, membership: Membership) -> Self {
        Memberships { oldest: (index, membership), later: Vec::new() }
    }

    /// The one in force, and the index that set it.
    pub(super) fn current(&self) -> &(Index, Membership) {
        self.later.last().unwrap_or(&self.oldest)
    }

    /// The one that was in force at `index`.
    pub(super) fn at(&self, index: Index) -> &(Index, Membership) {
        self.later.iter().rev().find(|(set_at, _)| *set_at <= index).unwrap_or(&self.oldest)
    }

    /// The entry at `index` sets `membership`.
    pub(super) fn set(&mut self, index: Index, membership: Membership) {
        assert!(index > self.current().0, "memberships are set in log order");
        self.later.push((index, membership));
    }

    /// Takes note of all memberships that `entries` set.
    pub(super) fn note_all<C>(&mut self, entries: &[SharedEntry<C>]) {
        for entry in entries {
            if let Payload::Membership(membership) = &entry.payload {
                self.set(entry.id.index, membership.clone());
            }
        }
    }

    /// Entries above `index` are gone, and what they set with them.
    pub(super) fn truncate_after(&mut self, index: Index) {
        assert!(index >= self.oldest.0, "what the tail begins with cannot be undone");
        self.later.retain(|(set_at, _)| *set_at <= index);
    }

    /// The tail now begins after `index`.
    pub(super) fn compact(&mut self, index: Index) {
        self.oldest = self.at(index).clone();
        let oldest = self.oldest.0;
        self.later.retain(|(set_at, _)| *set_at > oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[u64]) -> Membership {
        Membership::of_voters(ids.iter().map(|id| ServerId(*id)))
    }

    #[test]
    fn truncation_brings_back_the_membership_before() {
        let mut memberships = Memberships::new(Index::ZERO, of(&[1]));
        memberships.set(Index(3), of(&[1, 2]));
        memberships.set(Index(5), of(&[1, 2, 3]));
        assert_eq!(memberships.current().0, Index(5));
        memberships.truncate_after(Index(4));
        assert_eq!(memberships.current(), &(Index(3), of(&[1, 2])));
        memberships.truncate_after(Index(2));
        assert_eq!(memberships.current(), &(Index::ZERO, of(&[1])));
    }

    #[test]
    fn compaction_keeps_what_is_in_force_at_the_start_of_the_tail() {
        let mut memberships = Memberships::new(Index::ZERO, of(&[1]));
        memberships.set(Index(3), of(&[1, 2]));
        memberships.set(Index(5), of(&[1, 2, 3]));
        assert_eq!(memberships.at(Index(2)), &(Index::ZERO, of(&[1])));
        memberships.compact(Index(4));
        assert_eq!(memberships.at(Index(4)), &(Index(3), of(&[1, 2])));
        assert_eq!(memberships.current().0, Index(5));
    }
}
