//! C4, C6. An index once committed never changes anywhere, also after restart, truncation and
//! snapshot; at its commit it is of the leader's own term and durable on a quorum of disks (Raft,
//! figure 3, §5.4.2; Raft thesis §10.2.1).

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, Index, Membership, Payload, Role, SharedEntry, Term};

use super::membership::is_quorum;
use super::{Verdict, must};
use crate::world::disk::{Disk, Log};

/// The log as it was committed first.
#[derive(Debug, Default)]
pub struct Committed {
    entries: Vec<SharedEntry<Txn>>,
    /// The terms of the leaders that committed them, which are not those of the entries.
    terms: Vec<Term>,
}

/// What one server says of its progress.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Who.
    pub server: ServerId,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// What it said before.
    pub before: Index,
    /// Its commit index now.
    pub commit: Index,
    /// A term that it led before, perhaps until a moment ago.
    pub led: Option<Term>,
}

impl Committed {
    /// A history begins with this entry, which is in every server's snapshot.
    pub fn begin(&mut self, entry: SharedEntry<Txn>) {
        assert!(self.entries.is_empty(), "a history begins once");
        self.terms.push(entry.id.term);
        self.entries.push(entry);
    }

    /// The last index committed anywhere.
    pub fn last(&self) -> Index {
        Index(self.entries.len() as u64)
    }

    /// The committed entry at `index`.
    pub fn entry(&self, index: Index) -> Option<&SharedEntry<Txn>> {
        self.entries.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The term of the committed entry at `index`.
    pub fn id(&self, index: Index) -> Option<EntryId> {
        self.entry(index).map(|entry| entry.id)
    }

    /// The term whose leader committed the entry at `index`.
    pub fn committed_in(&self, index: Index) -> Option<Term> {
        self.terms.get(usize::try_from(index.0.checked_sub(1)?).ok()?).copied()
    }

    /// A server's commit index has moved; `log` is its log. Returns how many entries are new.
    ///
    /// # Errors
    /// If the entries are not those committed before, or not durable on `disks` of a quorum: of one
    /// of the memberships that were `in_force` at the server, or of the one that they set.
    pub fn advanced(
        &mut self,
        claim: Claim,
        log: &Log,
        disks: &[(ServerId, &Disk)],
        in_force: &[&Membership],
    ) -> Result<usize, super::Violation> {
        let known = self.last();
        let mut index = claim.before.next();
        while index <= claim.commit.min(known) {
            self.unchanged(claim.server, log, index)?;
            index = index.next();
        }
        let first_new = self.entries.len();
        while index <= claim.commit {
            self.take(claim, log, index)?;
            index = index.next();
        }
        if self.entries.len() > first_new {
            self.of_own_term(claim)?;
            // Raft §5.4.2: a leader commits what it was left together with an entry of its own.
            let committed_in = self.entries.last().map_or(claim.term, |entry| entry.id.term);
            self.terms.resize(self.entries.len(), committed_in);
            // Raft §6: a membership is in force with its own entry already, whatever follows.
            let mut in_force = in_force;
            let mut own;
            for entry in self.entries[first_new..].iter().rev() {
                if let Payload::Membership(membership) = &entry.payload {
                    own = [membership];
                    in_force = &own;
                }
                durable(entry.id, disks, in_force)?;
            }
        }
        Ok(self.entries.len() - first_new)
    }

    /// Whether an entry of `term` is committed.
    pub fn has_of_term(&self, term: Term) -> bool {
        let last = self.entries.iter().rev().find(|entry| entry.id.term <= term);
        last.is_some_and(|entry| entry.id.term == term)
    }

    /// `server` holds a snapshot whose last entry is `last`.
    ///
    /// # Errors
    /// If that entry is not committed.
    pub fn snapshot(&self, server: ServerId, last: EntryId) -> Verdict {
        let known = self.id(last.index);
        must("committed entries (C4)", last == EntryId::default() || known == Some(last), || {
            format!("server {server} has a snapshot of {last:?}, committed there is {known:?}")
        })
    }

    /// `server` cuts everything above `after` off its `log`.
    ///
    /// # Errors
    /// If a committed entry goes: no leader ever has another in its place.
    pub fn truncated(&self, server: ServerId, log: &Log, after: Index) -> Verdict {
        let mut index = after.next();
        while index <= log.last().index.min(self.last()) {
            let known = self.id(index).map(|id| id.term);
            must("committed entries (C4)", log.term_at(index) != known, || {
                format!("server {server} cuts off {index} of {known:?}, which is committed")
            })?;
            index = index.next();
        }
        Ok(())
    }

    fn unchanged(&self, server: ServerId, log: &Log, index: Index) -> Verdict {
        let known = self.id(index).map(|id| id.term);
        let own = log.term_at(index);
        // What is in a snapshot is no longer in the log.
        must("committed entries (C4)", own.is_none() || own == known, || {
            format!("server {server} commits {own:?} at {index}, committed before was {known:?}")
        })
    }

    fn take(&mut self, claim: Claim, log: &Log, index: Index) -> Verdict {
        let server = claim.server;
        let Some(entry) = log.entry(index) else {
            return must("committed entries (C4)", false, || {
                format!("server {server} commits {index}, which it does not have")
            });
        };
        self.entries.push(entry.clone());
        Ok(())
    }

    fn of_own_term(&self, claim: Claim) -> Verdict {
        let last = self.entries.last().map(|entry| entry.id.term);
        let leads = claim.role == Role::Leader && last == Some(claim.term);
        let holds = leads || (claim.led.is_some() && last == claim.led);
        must("commits by the leader's own term (C6)", holds, || {
            format!("{claim:?} commits first, up to an entry of {last:?}")
        })
    }
}

fn durable(id: EntryId, disks: &[(ServerId, &Disk)], in_force: &[&Membership]) -> Verdict {
    let holds = |server| disks.iter().any(|(of, disk)| *of == server && disk.holds(id));
    let decides = in_force.iter().any(|membership| is_quorum(membership, holds));
    must("durable at commit (C6)", decides, || {
        let holding: Vec<u64> =
            disks.iter().map(|(of, _)| *of).filter(|it| holds(*it)).map(|it| it.0).collect();
        format!("{id:?} is committed by {in_force:?} and on the disks of {holding:?}")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::raft::{Entry, Persist, Ticket};

    use super::*;

    fn entry(term: u64, index: u64) -> SharedEntry<Txn> {
        let id = EntryId { term: Term(term), index: Index(index) };
        Arc::new(Entry { id, payload: Payload::Blank })
    }

    fn disk(entries: &[SharedEntry<Txn>]) -> Disk {
        let mut disk = Disk::default();
        let append = entries.to_vec();
        let write = Persist {
            ticket: Ticket(1),
            hard_state: None,
            reset: None,
            truncate_after: None,
            append,
        };
        disk.note(&write);
        disk.persist(write);
        disk.complete();
        disk
    }

    fn claim(term: u64, before: u64, commit: u64) -> Claim {
        let (before, commit) = (Index(before), Index(commit));
        Claim {
            server: ServerId(1),
            role: Role::Leader,
            term: Term(term),
            before,
            commit,
            led: None,
        }
    }

    fn one() -> Membership {
        Membership::of_voters([ServerId(1)])
    }

    fn three() -> Membership {
        Membership::of_voters((1..=3).map(ServerId))
    }

    fn named(disks: &[Disk]) -> Vec<(ServerId, &Disk)> {
        (1..).map(ServerId).zip(disks).collect()
    }

    #[test]
    fn a_durable_entry_of_the_own_term_may_be_committed() {
        let disks = [disk(&[entry(1, 1)]), disk(&[entry(1, 1)]), disk(&[])];
        let mut committed = Committed::default();
        let log = &disks[0].asked().log;
        assert_eq!(committed.advanced(claim(1, 0, 1), log, &named(&disks), &[&three()]), Ok(1));
        assert_eq!(committed.advanced(claim(1, 0, 1), log, &named(&disks), &[&three()]), Ok(0));
        assert!(committed.has_of_term(Term(1)));
        assert!(!committed.has_of_term(Term(2)));
    }

    #[test]
    fn too_few_disks_are_found() {
        let disks = [disk(&[entry(1, 1)]), disk(&[]), disk(&[])];
        let log = &disks[0].asked().log;
        let mut committed = Committed::default();
        assert!(committed.advanced(claim(1, 0, 1), log, &named(&disks), &[&three()]).is_err());
    }

    #[test]
    fn an_observer_and_a_stranger_do_not_count() {
        let disks = [disk(&[entry(1, 1)]), disk(&[]), disk(&[]), disk(&[entry(1, 1)])];
        let log = &disks[0].asked().log;
        let mut observed = three();
        observed.learners.insert(ServerId(4));
        for membership in [observed, three()] {
            let mut committed = Committed::default();
            assert!(
                committed.advanced(claim(1, 0, 1), log, &named(&disks), &[&membership]).is_err()
            );
        }
    }

    #[test]
    fn a_joint_membership_needs_both_from_its_own_entry_on() {
        let joint = Membership {
            outgoing: (1..=3).map(ServerId).collect(),
            ..Membership::of_voters([4, 5, 6].map(ServerId))
        };
        let id = EntryId { term: Term(1), index: Index(1) };
        let change: SharedEntry<Txn> =
            Arc::new(Entry { id, payload: Payload::Membership(joint.clone()) });
        let disks = |holding: &[usize]| -> Vec<Disk> {
            let held = |n| if holding.contains(&n) { vec![change.clone()] } else { Vec::new() };
            (1..=6).map(|n| disk(&held(n))).collect()
        };
        for (holding, holds) in
            [(&[1usize, 2, 3][..], false), (&[1, 4, 5, 6], false), (&[1, 2, 4, 5], true)]
        {
            let disks = disks(holding);
            let log = &disks[0].asked().log;
            // Whatever has come into force since: the entry itself tells.
            let after = Membership::of_voters([1, 2].map(ServerId));
            let mut committed = Committed::default();
            let verdict = committed.advanced(claim(1, 0, 1), log, &named(&disks), &[&after]);
            assert_eq!(verdict.is_ok(), holds, "{holding:?}");
        }
    }

    #[test]
    fn an_old_term_and_a_changed_entry_are_found() {
        let disks = [disk(&[entry(1, 1)]), disk(&[entry(1, 1)]), disk(&[entry(2, 1)])];
        let mut committed = Committed::default();
        let log = &disks[0].asked().log;
        let (disks_of, three) = (named(&disks), three());
        assert!(Committed::default().advanced(claim(2, 0, 1), log, &disks_of, &[&three]).is_err());
        committed.advanced(claim(1, 0, 1), log, &disks_of, &[&three]).unwrap();
        let other = &disks[2].asked().log;
        assert!(committed.advanced(claim(2, 0, 1), other, &disks_of, &[&three]).is_err());
    }

    #[test]
    fn a_committed_entry_that_is_cut_off_or_left_out_of_a_snapshot_is_found() {
        let disks = [disk(&[entry(1, 1), entry(1, 2)]), disk(&[entry(1, 1), entry(2, 2)])];
        let log = &disks[0].asked().log;
        let mut committed = Committed::default();
        committed.advanced(claim(1, 0, 2), log, &named(&disks), &[&one()]).unwrap();
        assert!(committed.truncated(ServerId(1), log, Index(2)).is_ok());
        assert!(committed.truncated(ServerId(1), log, Index(1)).is_err());
        assert!(committed.truncated(ServerId(2), &disks[1].asked().log, Index(1)).is_ok());
        let id = |term, index| EntryId { term: Term(term), index: Index(index) };
        assert!(committed.snapshot(ServerId(1), id(1, 2)).is_ok());
        assert!(committed.snapshot(ServerId(1), id(2, 2)).is_err());
        assert!(committed.snapshot(ServerId(1), id(1, 3)).is_err());
    }

    #[test]
    fn a_server_that_commits_what_it_does_not_have_is_found() {
        let disks = [disk(&[entry(1, 1)])];
        let log = &disks[0].asked().log;
        let disks = named(&disks);
        assert!(Committed::default().advanced(claim(1, 0, 2), log, &disks, &[&one()]).is_err());
    }
}
