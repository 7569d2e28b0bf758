//! Whether this server's state is the one that the others have: what is known of it here.
//!
//! Invariant: two digests are compared only if they were taken after the same entry of the log, by
//! the same rule; so states that differ have been made from the same entries, and one is wrong. Who
//! is in doubt about its own state serves nobody with it and gives it to nobody.
//!
//! The leader names its last entry. No follower can have applied more at that moment, since what
//! the leader appends later comes later on the same connection; so everybody takes its digest right
//! after that entry, under any load, and remembers nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::id::ServerId;
use crate::raft::{EntryId, Index, Membership};
use crate::time::Instant;

/// By which rule a digest is taken: another number wherever the same state gets another digest.
/// Digests of different rules are never compared, so that servers of two releases raise no alarm.
pub(super) const RULE: u32 = 1;

/// A comparison waits for answers so many upkeep intervals.
pub(super) const PATIENCE_INTERVALS: u32 = 4;
/// While no quorum has the same state, it is compared, and told, no more often than this.
pub(super) const DISPUTE_PAUSE: Duration = Duration::from_secs(10);
/// A leader in doubt offers its place no more often than this.
pub(super) const OFFER_INTERVAL: Duration = Duration::from_secs(2);
/// Who asks for a state in vain waits twice as long each time, so often.
const MOST_DOUBLINGS: u32 = 5;

/// What servers say to each other about their states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// The leader: "Tell me your digest after this entry."
    Ask {
        /// By which rule.
        rule: u32,
        /// The entry.
        at: EntryId,
    },
    /// The answer.
    Told {
        /// By which rule.
        rule: u32,
        /// The entry.
        at: EntryId,
        /// The digest of the whole state after it, the membership included.
        digest: u64,
    },
    /// The leader, to one whose answer was another than that of a quorum, or to all if no quorum
    /// has the same.
    Differs {
        /// By which rule.
        rule: u32,
        /// The entry.
        at: EntryId,
        /// What a quorum has, if one has the same.
        agreed: Option<u64>,
    },
    /// To the leader: "I am in doubt about my state. Send me yours."
    WantState,
}

/// What a comparison has shown, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Told by the leader: a server's state is another than a quorum's.
    Odd {
        /// Which server; the leader itself, perhaps.
        server: ServerId,
        /// After which entry.
        at: EntryId,
        /// Its digest.
        digest: u64,
        /// The quorum's.
        agreed: u64,
    },
    /// States differ, and none of them is that of a quorum: nobody can tell which is wrong.
    Disputed {
        /// After which entry.
        at: EntryId,
        /// The digests: on the leader of all that have answered, elsewhere one's own.
        digests: BTreeMap<ServerId, u64>,
    },
    /// This server's state is right again, and it serves.
    Mended {
        /// The last entry of the state that was taken over.
        from: EntryId,
        /// What is applied here.
        applied: Index,
    },
}

/// What one server knows of the matter.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    /// As leader: what is being compared.
    pub(super) round: Option<Round>,
    /// As leader: no other comparison begins before this.
    pub(super) next: Option<Instant>,
    /// Somebody has come within reach since the comparison began, and was not asked.
    pub(super) has_joined: bool,
    /// Who asked last, and after which entry it wants the digest.
    pub(super) asked: Option<(ServerId, EntryId)>,
    /// The last answer that was given.
    pub(super) told: Option<(EntryId, u64)>,
    /// Whether, and since when, this server's own state is in doubt.
    pub(super) doubt: Option<Doubt>,
}

/// One comparison.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) at: EntryId,
    until: Instant,
    pub(super) answers: BTreeMap<ServerId, u64>,
    /// Who has been named odd.
    named: BTreeSet<ServerId>,
}

impl Round {
    pub(super) fn new(at: EntryId, until: Instant) -> Self {
        Round { at, until, answers: BTreeMap::new(), named: BTreeSet::new() }
    }

    /// Whether nothing more is to be expected of it.
    pub(super) fn is_over(
        &self,
        now: Instant,
        mut expected: impl Iterator<Item = ServerId>,
    ) -> bool {
        now >= self.until || expected.all(|server| self.answers.contains_key(&server))
    }

    /// The digest that a quorum has, if one has the same.
    pub(super) fn agreed(&self, membership: &Membership) -> Option<u64> {
        let different: BTreeSet<u64> = self.answers.values().copied().collect();
        let has = |digest| move |server| self.answers.get(&server) == Some(&digest);
        different.into_iter().find(|digest| membership.is_quorum(has(*digest)))
    }

    /// Those with another digest that have not been named before.
    pub(super) fn name_odd(&mut self, agreed: u64) -> Vec<(ServerId, u64)> {
        let odd = self.answers.iter().filter(|(_, digest)| **digest != agreed);
        let odd = odd.map(|(server, digest)| (*server, *digest));
        let new: Vec<_> = odd.filter(|(server, _)| !self.named.contains(server)).collect();
        self.named.extend(new.iter().map(|(server, _)| *server));
        new
    }

    /// Those that have this one.
    pub(super) fn those_with(&self, digest: u64) -> BTreeSet<ServerId> {
        let with = self.answers.iter().filter(|(_, told)| **told == digest);
        with.map(|(server, _)| *server).collect()
    }

    /// Whether not all that have answered have the same.
    pub(super) fn differs(&self) -> bool {
        let mut digests = self.answers.values();
        let first = digests.next();
        digests.any(|digest| Some(digest) != first)
    }
}

/// This server's own state may be wrong.
#[derive(Debug)]
pub(super) struct Doubt {
    /// What was applied when it came up: no state of before is taken, for its own snapshots may be
    /// as new as that.
    pub(super) applied: Index,
    /// Whom it has asked for a state, and when.
    asked: Option<(ServerId, Instant)>,
    /// How often.
    n_asked: u32,
    /// Servers that are known to have the right one.
    pub(super) sure: BTreeSet<ServerId>,
    /// Servers that are in doubt as well, and have said so to this one as leader.
    pub(super) unsure: BTreeSet<ServerId>,
    /// As leader: when it offered its place last.
    pub(super) offered: Option<Instant>,
}

impl Doubt {
    pub(super) fn new(applied: Index, sure: BTreeSet<ServerId>) -> Self {
        let unsure = BTreeSet::new();
        Doubt { applied, asked: None, n_asked: 0, sure, unsure, offered: None }
    }

    /// Whether `leader` is to be asked for its state now; `patience` is what a state may take at
    /// first.
    pub(super) fn asks(&mut self, leader: ServerId, now: Instant, patience: Duration) -> bool {
        let doublings = self.n_asked.saturating_sub(1).min(MOST_DOUBLINGS);
        let patience = patience * (1 << doublings);
        if self.asked.is_some_and(|(whom, at)| whom == leader && now < at + patience) {
            return false;
        }
        self.asked = Some((leader, now));
        self.n_asked = self.n_asked.saturating_add(1);
        true
    }

    /// What was asked of this peer is lost with the connection, or was of no use.
    pub(super) fn asks_again(&mut self, peer: ServerId) {
        self.asked.take_if(|(whom, _)| *whom == peer);
    }
}

/// The membership's part of a digest: who decides is as much a part of what was agreed on as the
/// znodes are.
pub(super) fn digest_of(membership: Option<&(Index, Membership)>) -> u64 {
    let Some((index, membership)) = membership else { return 0 };
    let mut hasher = Xxh3::new();
    hasher.update(&index.0.to_le_bytes());
    for servers in [&membership.voters, &membership.outgoing, &membership.learners] {
        hasher.update(&(servers.len() as u64).to_le_bytes());
        servers.iter().for_each(|server| hasher.update(&server.0.to_le_bytes()));
    }
    for groups in [&membership.groups, &membership.outgoing_groups] {
        hasher.update(&(groups.iter().len() as u64).to_le_bytes());
        for (group, members) in groups.iter() {
            hasher.update(&group.to_le_bytes());
            hasher.update(&(members.len() as u64).to_le_bytes());
            for (server, weight) in members {
                hasher.update(&server.0.to_le_bytes());
                hasher.update(&weight.to_le_bytes());
            }
        }
    }
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::Groups;
    use crate::raft::Term;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    fn round(answers: &[(u64, u64)]) -> Round {
        let mut round = Round::new(EntryId { term: Term(1), index: Index(5) }, at(100));
        round.answers = answers.iter().map(|(id, digest)| (ServerId(*id), *digest)).collect();
        round
    }

    #[test]
    fn what_a_quorum_has_is_right_and_who_differs_is_named_once() {
        let membership = Membership::of_voters([1, 2, 3].map(ServerId));
        let mut one = round(&[(1, 7), (2, 9), (3, 7), (4, 8)]);
        assert_eq!(one.agreed(&membership), Some(7), "server 4 observes");
        assert_eq!(one.name_odd(7), [(ServerId(2), 9), (ServerId(4), 8)]);
        assert!(one.name_odd(7).is_empty());
        for (answers, differs) in [
            (&[(1, 7), (2, 9)][..], true),
            (&[(1, 7), (2, 9), (3, 8)], true),
            (&[(1, 7), (4, 8), (5, 8)], true),
            (&[(1, 7)], false),
            (&[], false),
        ] {
            let one = round(answers);
            assert_eq!((one.agreed(&membership), one.differs()), (None, differs), "{answers:?}");
        }
    }

    #[test]
    fn groups_decide_what_is_right_where_there_are_groups() {
        let mut groups = Groups::none();
        for (group, server, weight) in [(1, 1, 3), (1, 2, 1), (1, 3, 1)] {
            assert!(groups.put(group, ServerId(server), weight));
        }
        let membership = Membership::of_groups([1, 2, 3].map(ServerId), groups);
        assert_eq!(round(&[(1, 7), (2, 9), (3, 9)]).agreed(&membership), Some(7));
    }

    #[test]
    fn a_comparison_waits_for_those_that_can_answer_and_not_for_ever() {
        let one = round(&[(1, 7), (2, 7)]);
        let all = |servers: &'static [u64]| servers.iter().map(|id| ServerId(*id));
        assert!(one.is_over(at(10), all(&[1, 2])));
        assert!(!one.is_over(at(10), all(&[1, 2, 3])));
        assert!(one.is_over(at(100), all(&[1, 2, 3])));
    }

    #[test]
    fn a_state_is_asked_for_again_of_another_leader_after_a_lost_connection_and_ever_later() {
        let second = Duration::from_secs(1);
        let mut doubt = Doubt::new(Index(5), BTreeSet::new());
        assert!(doubt.asks(ServerId(1), at(0), second));
        assert!(!doubt.asks(ServerId(1), at(999), second));
        assert!(doubt.asks(ServerId(2), at(999), second));
        doubt.asks_again(ServerId(1));
        assert!(!doubt.asks(ServerId(2), at(1_000), second));
        doubt.asks_again(ServerId(2));
        assert!(doubt.asks(ServerId(2), at(1_000), second));
        assert!(!doubt.asks(ServerId(2), at(4_999), second), "four seconds by now");
        assert!(doubt.asks(ServerId(2), at(5_000), second));
    }

    #[test]
    fn every_part_of_the_membership_counts() {
        let base = Membership::of_voters([1, 2].map(ServerId));
        let mut seen = BTreeSet::from([digest_of(None)]);
        let with = |change: fn(&mut Membership)| {
            let mut membership = base.clone();
            change(&mut membership);
            membership
        };
        let put = |groups: &mut Groups| assert!(groups.put(1, ServerId(1), 1));
        let mut grouped = base.clone();
        put(&mut grouped.groups);
        let mut outgoing = base.clone();
        put(&mut outgoing.outgoing_groups);
        let all = [
            base.clone(),
            with(|it| assert!(it.voters.insert(ServerId(3)))),
            with(|it| assert!(it.outgoing.insert(ServerId(3)))),
            with(|it| assert!(it.learners.insert(ServerId(3)))),
            grouped,
            outgoing,
        ];
        for membership in all {
            assert!(seen.insert(digest_of(Some(&(Index(1), membership)))));
        }
        assert!(seen.insert(digest_of(Some(&(Index(2), base)))));
    }
}
