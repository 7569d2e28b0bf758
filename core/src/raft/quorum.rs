//! Majorities, also of joint memberships: what a quorum has reached, and how a vote stands.
//!
//! Invariant: any two quorums of one membership share a voter, and so do quorums of two memberships
//! of which one follows the other. Learners are never looked at. (Raft §6.)

use std::collections::{BTreeMap, BTreeSet};

use super::membership::Membership;
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
/// `None` if the membership has no voters: nothing can be decided then.
pub(super) fn agreed<T: Ord + Copy>(
    membership: &Membership,
    reached: impl Fn(ServerId) -> T,
) -> Option<T> {
    let voters = if mutated!(LearnersCount) { &membership.servers() } else { &membership.voters };
    let incoming = agreed_by_majority(voters, &reached)?;
    if !membership.is_joint() || mutated!(NewMajorityDecides) {
        return Some(incoming);
    }
    let outgoing = agreed_by_majority(&membership.outgoing, &reached)?;
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

fn agreed_by_majority<T: Ord + Copy>(
    voters: &BTreeSet<ServerId>,
    reached: &impl Fn(ServerId) -> T,
) -> Option<T> {
    let mut values: Vec<T> = voters.iter().map(|voter| reached(*voter)).collect();
    values.sort_unstable();
    values.reverse();
    // A majority of n is n/2 + 1, so the value at n/2 is reached by exactly a majority or more.
    let n_voters = values.len().saturating_sub(usize::from(mutated!(HalfIsAQuorum)));
    values.get(n_voters / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<ServerId> {
        ids.iter().map(|id| ServerId(*id)).collect()
    }

    fn membership(voters: &[u64], outgoing: &[u64], learners: &[u64]) -> Membership {
        Membership { voters: set(voters), outgoing: set(outgoing), learners: set(learners) }
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
}
