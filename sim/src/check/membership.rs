//! The membership changes so that any two leaders of it share a voter (Raft §6; Raft thesis §4.1
//! to §4.3; for the barrier, Ongaro's note of 2015 on single-server changes). C10.
//!
//! A membership is in force on a server from the moment that its log holds it, committed or not,
//! and as long as its log does.

use std::collections::{BTreeMap, BTreeSet};

use zokor_core::db::Txn;
use zokor_core::groups::Groups;
use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::{
    EntryId, HardState, Index, Membership, Payload, Persist, SharedEntry, SnapshotMeta, Term,
};

use super::commit::Committed;
use super::{Verdict, must};

const CHECK: &str = "membership (C10)";

/// The memberships that each server's log holds, and what was committed of them.
#[derive(Clone, Debug)]
pub struct Memberships {
    initial: Membership,
    logs: BTreeMap<ServerId, Vec<(Index, Membership)>>,
    /// Those that were in force on a server since it was looked at last, but for the present one.
    lately: BTreeMap<ServerId, Vec<Membership>>,
    /// Entries that were judged when they came into the world, in the log of their maker.
    judged: BTreeSet<EntryId>,
    /// Every one that was committed.
    committed: Vec<(Index, Membership)>,
}

impl Memberships {
    /// All servers begin with this one.
    pub fn new(initial: Membership) -> Self {
        Memberships {
            initial,
            logs: BTreeMap::new(),
            lately: BTreeMap::new(),
            judged: BTreeSet::new(),
            committed: Vec::new(),
        }
    }

    /// The one that `server` goes by.
    pub fn of(&self, server: ServerId) -> &Membership {
        self.last_of(server).map_or(&self.initial, |(_, membership)| membership)
    }

    /// The one that `server` goes by, and those that it went by since it was looked at last.
    pub fn since_last_look(&self, server: ServerId) -> Vec<&Membership> {
        let lately = self.lately.get(&server).into_iter().flatten();
        lately.chain([self.of(server)]).collect()
    }

    /// `server` has been looked at.
    pub fn looked_at(&mut self, server: ServerId) {
        self.lately.remove(&server);
    }

    /// The last one that is committed.
    pub fn committed(&self) -> &Membership {
        self.committed.last().map_or(&self.initial, |(_, membership)| membership)
    }

    /// Every membership that some server may go by, and that which is committed.
    pub fn all(&self) -> impl Iterator<Item = &Membership> {
        let own = self.logs.keys().map(|&server| self.of(server));
        own.chain([self.committed()])
    }

    /// `server` starts with what its disk has: a snapshot, and these entries.
    pub fn starts<'a>(
        &mut self,
        server: ServerId,
        snapshot: &SnapshotMeta,
        entries: impl Iterator<Item = &'a SharedEntry<Txn>>,
    ) {
        let later = entries.filter(|entry| entry.id.index > snapshot.last.index);
        let log = snapshot.membership.clone().into_iter().chain(later.filter_map(set_by)).collect();
        self.logs.insert(server, log);
        self.lately.remove(&server);
    }

    /// `server` asks for its log to be changed.
    pub fn noted(&mut self, server: ServerId, persist: &Persist<Txn>) {
        if persist.append.iter().any(|entry| set_by(entry).is_some()) {
            let before = self.of(server).clone();
            self.lately.entry(server).or_default().push(before);
        }
        let log = self.logs.entry(server).or_default();
        if let Some(meta) = &persist.reset {
            *log = meta.membership.clone().into_iter().collect();
        }
        if let Some(last) = persist.truncate_after {
            log.retain(|(index, _)| *index <= last);
        }
        log.extend(persist.append.iter().filter_map(set_by));
    }

    /// `server` has asked for `entry` to be kept; what is `committed` is known up to this moment.
    /// Says whether a change has come into the world with it.
    ///
    /// # Errors
    /// If it is a change of the membership, is new in the world, and was not to be made now.
    pub fn appended(
        &mut self,
        server: ServerId,
        entry: &SharedEntry<Txn>,
        committed: &Committed,
    ) -> Result<bool, super::Violation> {
        let Some((index, next)) = set_by(entry) else { return Ok(false) };
        if !self.judged.insert(entry.id) {
            return Ok(false);
        }
        let before = self.logs.get(&server).and_then(|log| {
            let mut before = log.iter().rev();
            before.find(|(set_at, _)| *set_at < index)
        });
        let (set_at, present) = match before {
            Some((set_at, present)) => (*set_at, present),
            None => (Index::ZERO, &self.initial),
        };
        must(CHECK, overlap(present, &next), || {
            format!("server {server} goes from {present:?} to {next:?}: quorums need not meet")
        })?;
        must(CHECK, set_at <= committed.last(), || {
            format!(
                "server {server} changes the membership at {index} while that at {set_at} is \
                     not committed"
            )
        })?;
        must(CHECK, committed.has_of_term(entry.id.term), || {
            format!(
                "server {server} changes the membership at {index} in {}, of which nothing is \
                     committed",
                entry.id.term
            )
        })?;
        Ok(true)
    }

    /// `entry` is committed.
    pub fn took_effect(&mut self, entry: &SharedEntry<Txn>) {
        self.committed.extend(set_by(entry));
    }

    /// An operator is told that its change of `wanted` is finished with the entry that has `zxid`;
    /// `zxid_of` knows what each committed entry has.
    ///
    /// # Errors
    /// If that entry is not committed, or sets something else.
    pub fn finished(
        &self,
        wanted: &Membership,
        zxid: Zxid,
        zxid_of: impl Fn(Index) -> Zxid,
    ) -> Verdict {
        let found = self.committed.iter().rev().find(|(index, _)| zxid_of(*index) == zxid);
        let is_it = found.is_some_and(|(_, set)| set == wanted);
        must(CHECK, is_it, || {
            format!("a change to {wanted:?} is called finished at {zxid}, where {found:?} is")
        })
    }

    /// `server` has won an election, with votes of which `disks` still have those that were not
    /// followed by a later term.
    ///
    /// # Errors
    /// If they are no quorum of the membership that it goes by, or it never had weight in any that
    /// its log tells of.
    pub fn elected(
        &self,
        server: ServerId,
        term: Term,
        disks: impl Fn(ServerId) -> HardState,
    ) -> Verdict {
        let voted = |voter| {
            let disk = disks(voter);
            disk.term > term || (disk.term == term && disk.vote == Some(server))
        };
        let membership = self.of(server);
        let told = self.logs.get(&server).into_iter().flatten().map(|(_, membership)| membership);
        let has_weight = told.chain([&self.initial]).any(|it| weighs(it, server));
        must(CHECK, has_weight, || format!("server {server} leads in {term} and weighs nothing"))?;
        must(CHECK, is_quorum(membership, voted), || {
            let voters: Vec<u64> =
                membership.servers().into_iter().filter(|it| voted(*it)).map(|it| it.0).collect();
            format!("server {server} leads {membership:?} in {term} by the votes of {voters:?}")
        })
    }

    fn last_of(&self, server: ServerId) -> Option<&(Index, Membership)> {
        self.logs.get(&server)?.last()
    }
}

/// Whether those who `agree` can decide: more than half of the voters, and in a joint membership
/// more than half of either set. Where there are groups, those of more than half of them that
/// weigh anything have to, each by more than half of its weight.
pub fn is_quorum(membership: &Membership, agree: impl Fn(ServerId) -> bool) -> bool {
    let decides = |voters: &BTreeSet<ServerId>, groups: &Groups| {
        if groups.is_empty() {
            let n_agreeing = voters.iter().filter(|voter| agree(**voter)).count();
            return 2 * n_agreeing > voters.len();
        }
        let (mut n_groups, mut n_won) = (0, 0);
        for (_, members) in groups.iter() {
            let weight_of = |is_meant: &dyn Fn(ServerId) -> bool| -> u64 {
                members.iter().filter(|(id, _)| is_meant(**id)).map(|(_, weight)| weight).sum()
            };
            let total = weight_of(&|_| true);
            n_groups += u64::from(total > 0);
            n_won += u64::from(2 * weight_of(&|id| voters.contains(&id) && agree(id)) > total);
        }
        2 * n_won > n_groups
    };
    decides(&membership.voters, &membership.groups)
        && (!membership.is_joint() || decides(&membership.outgoing, &membership.outgoing_groups))
}

/// Whether `server` is a voter whose vote counts.
fn weighs(membership: &Membership, server: ServerId) -> bool {
    let Membership { voters, outgoing, groups, outgoing_groups, .. } = membership;
    let counts = |voters: &BTreeSet<ServerId>, groups: &Groups| {
        let weight = groups.weights().get(&server).copied();
        voters.contains(&server) && (groups.is_empty() || weight.is_some_and(|it| it > 0))
    };
    counts(voters, groups) || counts(outgoing, outgoing_groups)
}

/// Whether every quorum of one has a server in common with every quorum of the other.
fn overlap(one: &Membership, other: &Membership) -> bool {
    let servers: Vec<ServerId> = one.servers().union(&other.servers()).copied().collect();
    assert!(servers.len() <= 16, "there are few servers in a simulation");
    (0u32..1 << servers.len()).all(|split| {
        let is_in = |server: ServerId| {
            let place = servers.iter().position(|it| *it == server);
            place.is_some_and(|place| split >> place & 1 == 1)
        };
        !(is_quorum(one, is_in) && is_quorum(other, |server| !is_in(server)))
    })
}

fn set_by(entry: &SharedEntry<Txn>) -> Option<(Index, Membership)> {
    match &entry.payload {
        Payload::Membership(membership) => Some((entry.id.index, membership.clone())),
        Payload::Blank | Payload::Command(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::raft::{Entry, Role, Ticket};

    use super::*;
    use crate::check::commit::Claim;
    use crate::world::disk::Disk;

    fn set(ids: &[u64]) -> BTreeSet<ServerId> {
        ids.iter().map(|&id| ServerId(id)).collect()
    }

    fn of(voters: &[u64], outgoing: &[u64]) -> Membership {
        Membership { outgoing: set(outgoing), ..Membership::of_voters(set(voters)) }
    }

    fn entry(term: u64, index: u64, payload: Payload<Txn>) -> SharedEntry<Txn> {
        Arc::new(Entry { id: EntryId { term: Term(term), index: Index(index) }, payload })
    }

    fn change(term: u64, index: u64, membership: &Membership) -> SharedEntry<Txn> {
        entry(term, index, Payload::Membership(membership.clone()))
    }

    fn keep(append: &[SharedEntry<Txn>]) -> Persist<Txn> {
        Persist {
            ticket: Ticket(1),
            hard_state: None,
            reset: None,
            truncate_after: None,
            append: append.to_vec(),
        }
    }

    /// These entries, committed by a server that is alone.
    fn committed(entries: &[SharedEntry<Txn>]) -> Committed {
        let mut disk = Disk::default();
        disk.persist(keep(entries));
        disk.complete();
        let mut committed = Committed::default();
        for entry in entries {
            let claim = Claim {
                server: ServerId(1),
                role: Role::Leader,
                term: entry.id.term,
                before: committed.last(),
                commit: entry.id.index,
                led: None,
            };
            let one = of(&[1], &[]);
            // Whose quorum is not what these tests are about.
            let disks: Vec<_> = (1..=9).map(|id| (ServerId(id), &disk)).collect();
            committed.advanced(claim, &disk.durable().log, &disks, &[&one]).unwrap();
        }
        committed
    }

    /// The verdicts on what server 1 appends, while of it the first `n_committed` are committed.
    fn appends(entries: &[SharedEntry<Txn>], n_committed: usize) -> Verdict {
        let mut memberships = Memberships::new(of(&[1, 2, 3], &[]));
        memberships.noted(ServerId(1), &keep(entries));
        let committed = committed(&entries[..n_committed]);
        for entry in entries {
            memberships.appended(ServerId(1), entry, &committed)?;
        }
        Ok(())
    }

    fn blank(term: u64, index: u64) -> SharedEntry<Txn> {
        entry(term, index, Payload::Blank)
    }

    #[test]
    fn a_joint_change_in_its_two_steps_is_right() {
        let joint = change(1, 2, &of(&[3, 4, 5], &[1, 2, 3]));
        let last = change(1, 3, &of(&[3, 4, 5], &[]));
        assert_eq!(appends(&[blank(1, 1), joint, last], 2), Ok(()));
    }

    #[test]
    fn a_single_server_more_or_less_is_right_and_two_are_not() {
        for (voters, is_right) in [
            (&[1, 2, 3, 4][..], true),
            (&[1, 2], true),
            (&[1, 2, 4], false),
            (&[1, 2, 3, 4, 5], false),
            (&[4, 5, 6], false),
        ] {
            let verdict = appends(&[blank(1, 1), change(1, 2, &of(voters, &[]))], 1);
            assert_eq!(verdict.is_ok(), is_right, "{voters:?}");
        }
    }

    #[test]
    fn leaving_the_joint_membership_for_other_voters_is_found() {
        let joint = change(1, 2, &of(&[3, 4, 5], &[1, 2, 3]));
        let last = change(1, 3, &of(&[4, 5, 6], &[]));
        assert!(appends(&[blank(1, 1), joint, last], 2).is_err());
    }

    #[test]
    fn a_second_change_before_the_first_is_committed_is_found() {
        let joint = change(1, 2, &of(&[3, 4, 5], &[1, 2, 3]));
        let last = change(1, 3, &of(&[3, 4, 5], &[]));
        assert!(appends(&[blank(1, 1), joint, last], 1).is_err());
    }

    #[test]
    fn a_change_before_an_own_entry_is_committed_is_found() {
        let more = of(&[1, 2, 3, 4], &[]);
        assert!(appends(&[blank(1, 1), blank(2, 2), change(2, 3, &more)], 1).is_err());
        assert!(appends(&[blank(1, 1), blank(2, 2), change(2, 3, &more)], 2).is_ok());
    }

    #[test]
    fn a_follower_that_repeats_a_change_is_not_judged_again() {
        let mut memberships = Memberships::new(of(&[1, 2, 3], &[]));
        let more = change(1, 2, &of(&[1, 2, 3, 4], &[]));
        let known = committed(&[blank(1, 1)]);
        memberships.noted(ServerId(1), &keep(std::slice::from_ref(&more)));
        assert_eq!(memberships.appended(ServerId(1), &more, &known), Ok(true));
        assert_eq!(memberships.appended(ServerId(2), &more, &Committed::default()), Ok(false));
    }

    #[test]
    fn a_server_goes_by_what_its_log_holds_and_reverts_with_it() {
        let (first, joint) = (of(&[1, 2, 3], &[]), of(&[1, 2, 4], &[1, 2, 3]));
        let mut memberships = Memberships::new(first.clone());
        memberships.noted(ServerId(1), &keep(&[blank(1, 1), change(1, 2, &joint)]));
        assert_eq!(memberships.of(ServerId(1)), &joint);
        let cut = Persist { truncate_after: Some(Index(1)), ..keep(&[]) };
        memberships.noted(ServerId(1), &cut);
        assert_eq!(memberships.of(ServerId(1)), &first);
        let meta = SnapshotMeta {
            last: EntryId { term: Term(1), index: Index(2) },
            membership: Some((Index(2), joint.clone())),
        };
        let old = [change(1, 1, &first), change(2, 3, &first)];
        memberships.starts(ServerId(1), &meta, old[..1].iter());
        assert_eq!(memberships.of(ServerId(1)), &joint);
        memberships.starts(ServerId(1), &meta, old.iter());
        assert_eq!(memberships.of(ServerId(1)), &first);
    }

    #[test]
    fn a_change_is_finished_when_its_own_entry_is_committed() {
        let mut memberships = Memberships::new(of(&[1, 2, 3], &[]));
        let zxid_of = |index: Index| Zxid(index.0 as i64 + 10);
        let (joint, last) = (of(&[1, 2], &[1, 2, 3]), of(&[1, 2], &[]));
        memberships.took_effect(&change(1, 2, &joint));
        assert!(memberships.finished(&last, Zxid(12), zxid_of).is_err());
        assert!(memberships.finished(&last, Zxid(13), zxid_of).is_err());
        memberships.took_effect(&change(1, 3, &last));
        assert!(memberships.finished(&last, Zxid(13), zxid_of).is_ok());
        assert!(memberships.finished(&last, Zxid(14), zxid_of).is_err());
        assert!(memberships.finished(&of(&[1, 3], &[]), Zxid(13), zxid_of).is_err());
    }

    #[test]
    fn an_election_needs_a_quorum_of_what_the_winner_goes_by() {
        let mut memberships = Memberships::new(of(&[1, 2, 3], &[]));
        memberships.noted(ServerId(1), &keep(&[change(1, 1, &of(&[1, 4, 5], &[1, 2, 3]))]));
        let elected = |votes: &[u64]| {
            memberships.elected(ServerId(1), Term(2), |id| HardState {
                term: Term(2),
                vote: votes.contains(&id.0).then_some(ServerId(1)),
            })
        };
        assert!(elected(&[1, 4, 5]).is_err(), "the new majority alone");
        assert!(elected(&[1, 2, 3]).is_err(), "the old majority alone");
        assert!(elected(&[1, 2, 4]).is_ok());
        // A vote that a later term has overwritten was perhaps there.
        let later = HardState { term: Term(3), vote: None };
        assert!(memberships.elected(ServerId(1), Term(2), |_| later).is_ok());
        let observed = |id: ServerId| HardState {
            term: Term(2),
            vote: [1, 6].contains(&id.0).then_some(ServerId(1)),
        };
        let mut learners = of(&[1, 2, 3], &[]);
        learners.learners = set(&[6]);
        memberships.noted(ServerId(1), &keep(&[change(1, 1, &learners)]));
        assert!(memberships.elected(ServerId(1), Term(2), observed).is_err());
    }

    #[test]
    fn weight_is_what_counts_where_there_are_groups() {
        let lines = "group.1=1\ngroup.2=2:3\ngroup.3=4:5\nweight.2=3\nweight.5=0";
        let grouped = Membership { groups: Groups::from_lines(lines), ..of(&[1, 2, 3, 4, 5], &[]) };
        let decide = |agreeing: &[u64]| is_quorum(&grouped, |id| agreeing.contains(&id.0));
        assert!(decide(&[1, 2]) && decide(&[2, 4]) && decide(&[1, 4]));
        assert!(!decide(&[1, 3, 5]) && !decide(&[2, 3, 5]) && !decide(&[3, 4, 5]));
        assert!(!overlap(&grouped, &of(&[1, 2, 3, 4, 5], &[])), "1 and 2 against 3, 4 and 5");
        let joint = Membership {
            outgoing: set(&[1, 2, 3, 4, 5]),
            outgoing_groups: grouped.groups.clone(),
            ..of(&[1, 2, 3, 4, 5], &[])
        };
        assert!(overlap(&grouped, &joint) && overlap(&joint, &of(&[1, 2, 3, 4, 5], &[])));

        let voted = |_| HardState { term: Term(3), vote: Some(ServerId(5)) };
        let members = Memberships::new(grouped.clone());
        let leads = |server: u64| members.elected(ServerId(server), Term(2), voted);
        assert!(leads(4).is_ok());
        assert!(leads(5).is_err(), "all have voted for it, and it weighs nothing");
    }
}
