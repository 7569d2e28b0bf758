//! Leader completeness: a leader's log holds every entry that was committed before (Raft, figure 3).
//! C5.

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
        // A leader of a later term may have committed beyond this one's knowledge.
        if wanted.is_some_and(|id| id.term > term) {
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
    use zokor_core::raft::{Entry, EntryId, Payload, Role, SharedEntry};

    use super::super::commit::Claim;
    use super::*;

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
        let claim = Claim {
            server: ServerId(1),
            role: Role::Leader,
            term: Term(*terms.last().unwrap()),
            before: Index::ZERO,
            commit: Index(terms.len() as u64),
            led: None,
        };
        committed.advanced(claim, &log(terms), [].iter(), 0).unwrap();
        committed
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
}
