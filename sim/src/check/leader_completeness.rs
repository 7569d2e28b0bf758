//! C5. Leader completeness: a leader's log holds every entry that was committed before (Raft,
//! figure 3).

use zokor_core::id::ServerId;
use zokor_core::raft::{Index, Term};

use super::commit::Committed;
use super::{Verdict, must};
use crate::world::disk::Log;

/// `server` was elected in `term` with this `log`.
///
/// # Errors
/// If a committed entry is missing.
pub fn elected(server: ServerId, term: Term, log: &Log, committed: &Committed) -> Verdict {
    let mut index = log.base().index.max(Index(1));
    while index <= committed.last() {
        let wanted = committed.id(index);
        // A leader of a later term may have committed beyond this one's knowledge, entries of
        // earlier terms too: a server that stood still learns late that it had won.
        if committed.committed_in(index).is_some_and(|by| by > term) {
            break;
        }
        let own = log.term_at(index);
        must("leader completeness (C5)", own == wanted.map(|id| id.term), || {
            format!("server {server} leads in term {term} with {own:?} at {index}, not {wanted:?}")
        })?;
        index = index.next();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::db::Txn;
    use zokor_core::raft::{
        Entry, EntryId, Membership, Payload, Persist, Role, SharedEntry, Ticket,
    };

    use super::super::commit::Claim;
    use super::*;
    use crate::world::disk::Disk;

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::default();
        for (n, &term) in terms.iter().enumerate() {
            let id = EntryId { term: Term(term), index: Index(n as u64 + 1) };
            let entry: SharedEntry<Txn> = Arc::new(Entry { id, payload: Payload::Blank });
            log.append(entry);
        }
        log
    }

    fn committed(terms: &[u64]) -> Committed {
        let mut committed = Committed::default();
        commit(&mut committed, Index::ZERO, terms);
        committed
    }

    fn commit(committed: &mut Committed, before: Index, terms: &[u64]) {
        let claim = Claim {
            server: ServerId(1),
            role: Role::Leader,
            term: Term(*terms.last().unwrap()),
            before,
            commit: Index(terms.len() as u64),
            led: None,
        };
        let log = log(terms);
        let mut disk = Disk::default();
        disk.persist(Persist {
            ticket: Ticket(1),
            hard_state: None,
            reset: None,
            truncate_after: None,
            append: log.entries().cloned().collect(),
        });
        disk.complete();
        let alone = Membership::of_voters([ServerId(1)]);
        committed.advanced(claim, &log, &[(ServerId(1), &disk)], &[&alone]).unwrap();
    }

    #[test]
    fn a_leader_with_all_entries_is_right() {
        assert!(elected(ServerId(1), Term(3), &log(&[1, 2, 2]), &committed(&[1, 2])).is_ok());
    }

    #[test]
    fn a_missing_or_other_entry_is_found() {
        assert!(elected(ServerId(1), Term(3), &log(&[1]), &committed(&[1, 2])).is_err());
        assert!(elected(ServerId(1), Term(3), &log(&[1, 1]), &committed(&[1, 2])).is_err());
    }

    #[test]
    fn what_a_later_leader_committed_may_be_missing_whatever_its_term() {
        let mut committed = committed(&[1]);
        commit(&mut committed, Index(1), &[1, 1, 3]);
        assert!(elected(ServerId(1), Term(2), &log(&[1, 2]), &committed).is_ok());
        assert!(elected(ServerId(1), Term(4), &log(&[1, 4]), &committed).is_err());
    }
}
