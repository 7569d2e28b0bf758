//! Committed entries never change, are of the leader's own term when counted, and are durable on a
//! quorum of disks (Raft, figure 3, §5.4.2; Raft thesis §10.2.1). C4, C6.

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, Index, Role, SharedEntry, Term};

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
    /// If the entries are not those committed before, or not durable on `quorum` of `disks`.
    pub fn advanced<'a>(
        &mut self,
        claim: Claim,
        log: &Log,
        disks: impl Iterator<Item = &'a Disk> + Clone,
        quorum: usize,
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
            for entry in &self.entries[first_new..] {
                durable(entry.id, disks.clone(), quorum)?;
            }
        }
        Ok(self.entries.len() - first_new)
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

fn durable<'a>(id: EntryId, disks: impl Iterator<Item = &'a Disk>, quorum: usize) -> Verdict {
    let holding = disks.filter(|disk| disk.holds(id)).count();
    must("durable at commit (C6)", holding >= quorum, || {
        format!("{id:?} is committed and on {holding} disks, a quorum is {quorum}")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::raft::{Entry, Payload, Persist, Ticket};

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

    #[test]
    fn a_durable_entry_of_the_own_term_may_be_committed() {
        let disks = [disk(&[entry(1, 1)]), disk(&[entry(1, 1)]), disk(&[])];
        let mut committed = Committed::default();
        let log = &disks[0].asked().log;
        assert_eq!(committed.advanced(claim(1, 0, 1), log, disks.iter(), 2), Ok(1));
        assert_eq!(committed.advanced(claim(1, 0, 1), log, disks.iter(), 2), Ok(0));
    }

    #[test]
    fn too_few_disks_are_found() {
        let disks = [disk(&[entry(1, 1)]), disk(&[]), disk(&[])];
        let log = &disks[0].asked().log;
        let mut committed = Committed::default();
        assert!(committed.advanced(claim(1, 0, 1), log, disks.iter(), 2).is_err());
    }

    #[test]
    fn an_old_term_and_a_changed_entry_are_found() {
        let disks = [disk(&[entry(1, 1)]), disk(&[entry(1, 1)]), disk(&[entry(2, 1)])];
        let mut committed = Committed::default();
        let log = &disks[0].asked().log;
        assert!(Committed::default().advanced(claim(2, 0, 1), log, disks.iter(), 2).is_err());
        committed.advanced(claim(1, 0, 1), log, disks.iter(), 2).unwrap();
        let other = &disks[2].asked().log;
        assert!(committed.advanced(claim(2, 0, 1), other, disks.iter(), 2).is_err());
    }
}
