//! Quorums, also of joint memberships: what a quorum has reached, and how a vote stands.
//!
//! A membership decides by majority, or by groups and weights (`zookeeper: QuorumHierarchical`).
//!
//! Invariant: any two quorums of one membership share a voter, and so do quorums of two memberships
//! of which one follows the other. Learners are never looked at. (Raft §6.)

use std::collections::{BTreeMap, BTreeSet};

use super::membership::Membership;
use crate::groups::Groups;
use crate::id::ServerId;

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A quorum said yes.
    Won,
    /// So many said no that no quorum can say yes any more.
    Lost,
    /// Neither yet.
    Open,
}

/// The greatest value that a quorum has reached, where `reached` gives each voter's own.
///
/// `None` if the membership has no voters, or none that could decide: nothing is decided then.
pub(super) fn agreed<T: Ord + Copy>(
    membership: &Membership,
    reached: impl Fn(ServerId) -> T,
) -> Option<T> {
    let voters = if mutated!(LearnersCount) { &membership.servers() } else { &membership.voters };
    let incoming = agreed_by(voters, &membership.groups, &reached)?;
    if !membership.is_joint() || mutated!(NewMajorityDecides) {
        return Some(incoming);
    }
    let outgoing = agreed_by(&membership.outgoing, &membership.outgoing_groups, &reached)?;
    Some(incoming.min(outgoing))
}

/// Whether the voters for which `says_yes` holds are a quorum.
pub(super) fn is_quorum(membership: &Membership, says_yes: impl Fn(ServerId) -> bool) -> bool {
    agreed(membership, says_yes).unwrap_or(false)
}

/// How the vote stands after `votes`; votes of servers that are no voters do not count.
pub(super) fn verdict(membership: &Membership, votes: &BTreeMap<ServerId, bool>) -> Verdict {
    if is_quorum(membership, |voter| votes.get(&voter) == Some(&true)) {
        Verdict::Won
    } else if is_quorum(membership, |voter| votes.get(&voter) != Some(&false)) {
        Verdict::Open
    } else {
        Verdict::Lost
    }
}

fn agreed_by<T: Ord + Copy>(
    voters: &BTreeSet<ServerId>,
    groups: &Groups,
    reached: &impl Fn(ServerId) -> T,
) -> Option<T> {
    if groups.is_empty() || mutated!(HeadsForWeights) {
        agreed_by_majority(voters, reached)
    } else {
        agreed_by_groups(voters, groups, reached)
    }
}

/// Asked at every acknowledgement: the values of all but the largest ensembles lie on the stack.
fn agreed_by_majority<T: Ord + Copy>(
    voters: &BTreeSet<ServerId>,
    reached: &impl Fn(ServerId) -> T,
) -> Option<T> {
    const FEW: usize = 16;
    let first = reached(*voters.first()?);
    if voters.len() > FEW {
        let mut values: Vec<T> = voters.iter().map(|voter| reached(*voter)).collect();
        return of_majority(&mut values);
    }
    let mut values = [first; FEW];
    for (value, voter) in values.iter_mut().zip(voters).skip(1) {
        *value = reached(*voter);
    }
    of_majority(&mut values[..voters.len()])
}

fn of_majority<T: Ord + Copy>(values: &mut [T]) -> Option<T> {
    values.sort_unstable_by(|one, other| other.cmp(one));
    // A majority of n is n/2 + 1, so the value at n/2 is reached by exactly a majority or more.
    let n_voters = values.len().saturating_sub(usize::from(mutated!(HalfIsAQuorum)));
    values.get(n_voters / 2).copied()
}

/// What more than half of the groups have reached, each by more than half of its weight. A group
/// without weight is none; what does not vote has reached nothing, and weighs all the same.
fn agreed_by_groups<T: Ord + Copy>(
    voters: &BTreeSet<ServerId>,
    groups: &Groups,
    reached: &impl Fn(ServerId) -> T,
) -> Option<T> {
    let mut by_group: Vec<Option<T>> = Vec::with_capacity(groups.iter().len());
    let mut values: Vec<(T, u64)> = Vec::new();
    for (_, members) in groups.iter() {
        // Weights have 63 bits, so that no sum of them is too large.
        let total: u128 = members.values().map(|weight| u128::from(*weight)).sum();
        if total == 0 {
            continue;
        }
        values.clear();
        let voting = members.iter().filter(|(server, _)| voters.contains(server));
        values.extend(voting.map(|(server, weight)| (reached(*server), *weight)));
        values.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let mut sum = 0u128;
        let by_half = values.iter().find(|(_, weight)| {
            sum += u128::from(*weight);
            2 * sum > total
        });
        by_group.push(by_half.map(|(value, _)| *value));
    }
    // A group that has reached nothing comes last.
    by_group.sort_unstable_by(|one, other| other.cmp(one));
    by_group.get(by_group.len() / 2).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<ServerId> {
        ids.iter().map(|id| ServerId(*id)).collect()
    }

    fn membership(voters: &[u64], outgoing: &[u64], learners: &[u64]) -> Membership {
        let learners = set(learners);
        Membership { outgoing: set(outgoing), learners, ..Membership::of_voters(set(voters)) }
    }

    #[test]
    fn agreed_value_is_the_one_that_a_majority_reached() {
        // The values reached by servers 1, 2, 3, ... and what they agree on.
        let table: &[(&[u64], u64)] = &[
            (&[7], 7),
            (&[7, 9], 7),
            (&[7, 9, 8], 8),
            (&[0, 0, 9], 0),
            (&[1, 2, 3, 4], 2),
            (&[4, 4, 0, 4], 4),
            (&[4, 4, 0, 0], 0),
            (&[1, 2, 3, 4, 5], 3),
            (&[9, 9, 9, 1, 1, 1], 1),
            (&[9, 9, 9, 9, 1, 1], 9),
            (&[1, 2, 3, 4, 5, 6, 7], 4),
        ];
        for (values, expected) in table {
            let ids: Vec<u64> = (1..=values.len() as u64).collect();
            let got = agreed(&membership(&ids, &[], &[]), |id| values[id.0 as usize - 1]);
            assert_eq!(got, Some(*expected), "{values:?}");
        }
    }

    #[test]
    fn joint_membership_needs_both_quorums() {
        // Old voters 1 2 3, new voters 3 4 5.
        let joint = membership(&[3, 4, 5], &[1, 2, 3], &[6]);
        let table: &[(&[u64], bool)] = &[
            (&[1, 2], false),
            (&[4, 5], false),
            (&[3], false),
            (&[1, 3, 4], true),
            (&[1, 2, 4, 5], true),
            (&[3, 4], false),
            (&[2, 3, 6], false),
        ];
        for (yes, expected) in table {
            assert_eq!(is_quorum(&joint, |id| yes.contains(&id.0)), *expected, "{yes:?}");
        }
    }

    #[test]
    fn learners_never_count() {
        let m = membership(&[1, 2, 3], &[], &[4, 5]);
        assert!(!is_quorum(&m, |id| [1, 4, 5].contains(&id.0)));
        assert!(is_quorum(&m, |id| [1, 2].contains(&id.0)));
    }

    #[test]
    fn nobody_decides_without_voters() {
        assert_eq!(agreed(&Membership::default(), |_| 1), None);
        assert!(!is_quorum(&Membership::default(), |_| true));
    }

    #[test]
    fn vote_is_open_until_a_quorum_has_spoken() {
        let even = membership(&[1, 2, 3, 4], &[], &[]);
        let joint = membership(&[1, 2, 3], &[1, 4], &[]);
        type Row<'a> = (&'a Membership, &'a [(u64, bool)], Verdict);
        let table: &[Row] = &[
            (&even, &[(1, true), (2, true)], Verdict::Open),
            (&even, &[(1, true), (2, true), (3, true)], Verdict::Won),
            (&even, &[(1, true), (2, false)], Verdict::Open),
            (&even, &[(1, true), (2, false), (3, false)], Verdict::Lost),
            (&even, &[(1, true), (8, true), (9, true)], Verdict::Open),
            (&joint, &[(1, true), (2, true)], Verdict::Open),
            (&joint, &[(1, true), (2, true), (4, true)], Verdict::Won),
            (&joint, &[(1, true), (2, true), (4, false)], Verdict::Lost),
        ];
        for (membership, votes, expected) in table {
            let votes = votes.iter().map(|(id, yes)| (ServerId(*id), *yes)).collect();
            assert_eq!(verdict(membership, &votes), *expected, "{votes:?}");
        }
    }

    /// Groups of (server, weight).
    fn groups(of: &[&[(u64, u64)]]) -> Groups {
        let mut groups = Groups::none();
        for (number, members) in (1..).zip(of) {
            for (server, weight) in *members {
                assert!(groups.put(number, ServerId(*server), *weight));
            }
        }
        groups
    }

    #[test]
    fn more_than_half_of_the_groups_decide_each_by_more_than_half_of_its_weight() {
        let three: &[&[(u64, u64)]] =
            &[&[(1, 1), (2, 1), (3, 1)], &[(4, 1), (5, 1), (6, 1)], &[(7, 1), (8, 1), (9, 1)]];
        // ZooKeeper's own example with a group that weighs nothing.
        let one_counts: &[&[(u64, u64)]] = &[&[(1, 1), (2, 1), (3, 1)], &[(4, 0), (5, 0)]];
        let weighted: &[&[(u64, u64)]] = &[&[(1, 3), (2, 1)], &[(3, 1), (4, 1)]];
        type Row<'a> = (&'a [&'a [(u64, u64)]], &'a [u64], bool);
        let table: &[Row] = &[
            (three, &[1, 2, 4, 5], true),
            (three, &[1, 2, 3, 4, 7], false),
            (three, &[1, 2, 8, 9], true),
            (three, &[1, 4, 7], false),
            (one_counts, &[1, 2], true),
            (one_counts, &[1, 4, 5], false),
            (one_counts, &[4, 5], false),
            (weighted, &[1, 3, 4], true),
            (weighted, &[2, 3, 4], false),
            (weighted, &[1, 3], false),
            (weighted, &[1, 2], false),
        ];
        for (of, yes, expected) in table {
            let groups = groups(of);
            let voters: Vec<ServerId> = groups.weights().into_keys().collect();
            let membership = Membership::of_groups(voters, groups);
            assert!(membership.can_decide());
            assert_eq!(
                is_quorum(&membership, |id| yes.contains(&id.0)),
                *expected,
                "{of:?} {yes:?}"
            );
        }
    }

    #[test]
    fn who_weighs_nothing_neither_counts_nor_leads() {
        let heavy = groups(&[&[(1, 1), (2, 1), (3, 0)]]);
        let mut membership = Membership::of_groups([1, 2, 3].map(ServerId), heavy.clone());
        assert!(!is_quorum(&membership, |id| id.0 != 2));
        let may_lead = |membership: &Membership| {
            [1, 2, 3, 4].map(ServerId).map(|server| membership.may_lead(server))
        };
        assert_eq!(may_lead(&membership), [true, true, false, false]);
        assert!(membership.is_voter(ServerId(3)));
        // While the groups change, who weighs by either may lead, and both decide.
        membership.outgoing = membership.voters.clone();
        membership.outgoing_groups = groups(&[&[(3, 1)], &[(1, 0), (2, 0)]]);
        assert_eq!(may_lead(&membership), [true, true, true, false]);
        assert!(!is_quorum(&membership, |id| id.0 != 3) && is_quorum(&membership, |_| true));
        let settled = membership.settled();
        assert_eq!(settled, Membership::of_groups([1, 2, 3].map(ServerId), heavy));
        assert!(!settled.may_lead_on(ServerId(3)));
    }

    #[test]
    fn groups_that_could_decide_nothing_are_known() {
        let of = |voters: &[u64], members: &[&[(u64, u64)]]| {
            Membership::of_groups(voters.iter().copied().map(ServerId), groups(members))
        };
        assert!(of(&[1, 2], &[&[(1, 1)], &[(2, 0)]]).can_decide());
        for (voters, members) in [
            (&[1, 2][..], &[&[(1, 0), (2, 0)][..]][..]),
            // Server 2 is in no group.
            (&[1, 2], &[&[(1, 1)]]),
            // Server 3 does not vote, and has half of the weight.
            (&[1, 2], &[&[(1, 1), (2, 1), (3, 2)]]),
            (&[], &[&[(1, 1)]]),
        ] {
            let membership = of(voters, members);
            assert!(!membership.can_decide(), "{membership:?}");
        }
        assert!(!Membership::default().can_decide());
        let lost = Membership {
            outgoing: [ServerId(1)].into(),
            outgoing_groups: groups(&[&[(1, 0)]]),
            ..Membership::of_voters([ServerId(1)])
        };
        assert!(!lost.can_decide());
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let most = crate::groups::MAX_WEIGHT;
        let groups = groups(&[&[(1, most), (2, most), (3, most)]]);
        let membership = Membership::of_groups([1, 2, 3].map(ServerId), groups);
        assert!(is_quorum(&membership, |id| id.0 > 1) && !is_quorum(&membership, |id| id.0 > 2));
    }
}

#[cfg(test)]
mod properties {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    /// By the words of the definition, without sorting anything.
    fn decide(voters: &BTreeSet<ServerId>, groups: &Groups, yes: &BTreeSet<ServerId>) -> bool {
        let agree: BTreeSet<ServerId> = voters.intersection(yes).copied().collect();
        if groups.is_empty() {
            return agree.len() > voters.len() / 2;
        }
        let (mut n_groups, mut n_won) = (0, 0);
        for (_, members) in groups.iter() {
            let total: u64 = members.values().sum();
            let won: u64 =
                members.iter().filter(|(id, _)| agree.contains(id)).map(|(_, weight)| weight).sum();
            n_groups += u64::from(total > 0);
            n_won += u64::from(won > total / 2);
        }
        n_won > n_groups / 2
    }

    fn naive(membership: &Membership, yes: &BTreeSet<ServerId>) -> bool {
        let Membership { voters, outgoing, groups, outgoing_groups, .. } = membership;
        decide(voters, groups, yes)
            && (!membership.is_joint() || decide(outgoing, outgoing_groups, yes))
    }

    fn servers() -> impl Strategy<Value = BTreeSet<ServerId>> {
        btree_set((1..9u64).prop_map(ServerId), 0..9)
    }

    /// Groups of servers 1 to 8, or none.
    fn groups() -> impl Strategy<Value = Groups> {
        let places = vec((1..5u64, 0..4u64), 8);
        (any::<bool>(), places, servers()).prop_map(|(is_any, places, left_out)| {
            let mut groups = Groups::none();
            for (server, (group, weight)) in (1..).map(ServerId).zip(places) {
                if is_any && !left_out.contains(&server) {
                    assert!(groups.put(group, server, weight));
                }
            }
            groups
        })
    }

    fn membership() -> impl Strategy<Value = Membership> {
        (servers(), servers(), servers(), groups(), groups()).prop_map(
            |(voters, outgoing, learners, groups, outgoing_groups)| {
                let outgoing_groups =
                    if outgoing.is_empty() { Groups::none() } else { outgoing_groups };
                Membership { voters, outgoing, learners, groups, outgoing_groups }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn a_quorum_is_what_the_definition_says(membership in membership(), yes in servers()) {
            let found = is_quorum(&membership, |server| yes.contains(&server));
            prop_assert_eq!(found, naive(&membership, &yes));
        }

        #[test]
        fn two_quorums_share_a_voter_that_may_lead(
            membership in membership(),
            one in servers(),
            other in servers(),
        ) {
            let has = |set: &BTreeSet<ServerId>| is_quorum(&membership, |it| set.contains(&it));
            if has(&one) && has(&other) {
                prop_assert!(one.intersection(&other).any(|it| membership.may_lead(*it)));
            }
        }

        #[test]
        fn quorums_before_and_after_a_step_of_a_change_share_a_voter(
            joint in membership(),
            one in servers(),
            other in servers(),
        ) {
            let (voters, groups) = (joint.outgoing.clone(), joint.outgoing_groups.clone());
            let before = Membership::of_groups(voters, groups);
            let has = |membership: &Membership, set: &BTreeSet<ServerId>| {
                is_quorum(membership, |it| set.contains(&it))
            };
            for neighbour in [before, joint.settled()] {
                if joint.is_joint() && has(&joint, &one) && has(&neighbour, &other) {
                    prop_assert!(!one.is_disjoint(&other), "{:?}", neighbour);
                }
            }
        }

        #[test]
        fn the_agreed_value_is_the_highest_that_a_quorum_has_reached(
            membership in membership(),
            values in vec(0..6u64, 9),
        ) {
            let reached = |server: ServerId| values[server.0 as usize];
            let by_quorum = |least: &u64| {
                let those = (1..9).map(ServerId).filter(|server| reached(*server) >= *least);
                naive(&membership, &those.collect())
            };
            let highest = (0..6).rev().find(by_quorum);
            prop_assert_eq!(agreed(&membership, reached), highest);
        }

        #[test]
        fn a_majority_of_many_is_counted_like_one_of_few(values in vec(any::<u32>(), 1..40)) {
            let voters = (0..values.len() as u64).map(ServerId);
            let membership = Membership::of_voters(voters);
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let expected = sorted[(values.len() - 1) / 2];
            let found = agreed(&membership, |server| values[server.0 as usize]);
            prop_assert_eq!(found, Some(expected));
        }
    }
}
