//! C3. Log matching: entries of the same term and index are the same, and so are all before them
//! (Raft, figure 3). By induction it is enough that each has one predecessor.

use std::collections::BTreeMap;
use std::sync::Arc;

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, SharedEntry};

use super::{Verdict, must};

/// Every entry that ever was in a log, and the one before it.
#[derive(Debug, Default)]
pub struct LogMatching(BTreeMap<EntryId, (EntryId, SharedEntry<Txn>)>);

impl LogMatching {
    /// `server` appends `entry` after `previous`.
    ///
    /// # Errors
    /// If the same entry looked different, or followed another, elsewhere.
    pub fn appended(
        &mut self,
        server: ServerId,
        previous: EntryId,
        entry: &SharedEntry<Txn>,
    ) -> Verdict {
        let first = self.0.entry(entry.id).or_insert_with(|| (previous, entry.clone()));
        must("log matching (C3)", first.0 == previous, || {
            format!("server {server} has {:?} after {previous:?}, others {:?}", entry.id, first.0)
        })?;
        let same = Arc::ptr_eq(&first.1, entry) || first.1 == *entry;
        must("log matching (C3)", same, || {
            format!("server {server} has {entry:?}, others {:?}", first.1)
        })
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::raft::{Entry, Index, Membership, Payload, Term};

    use super::*;

    fn id(term: u64, index: u64) -> EntryId {
        EntryId { term: Term(term), index: Index(index) }
    }

    fn entry(id: EntryId) -> SharedEntry<Txn> {
        Arc::new(Entry { id, payload: Payload::Blank })
    }

    #[test]
    fn logs_that_agree_are_right() {
        let mut logs = LogMatching::default();
        for server in [1, 2] {
            assert!(logs.appended(ServerId(server), id(0, 0), &entry(id(1, 1))).is_ok());
            assert!(logs.appended(ServerId(server), id(1, 1), &entry(id(3, 2))).is_ok());
        }
        assert!(logs.appended(ServerId(3), id(1, 1), &entry(id(2, 2))).is_ok());
    }

    #[test]
    fn another_predecessor_or_payload_is_found() {
        let mut logs = LogMatching::default();
        logs.appended(ServerId(1), id(1, 1), &entry(id(3, 2))).unwrap();
        assert!(logs.appended(ServerId(2), id(2, 1), &entry(id(3, 2))).is_err());
        let other = Entry { id: id(3, 2), payload: Payload::Membership(Membership::default()) };
        assert!(logs.appended(ServerId(2), id(1, 1), &Arc::new(other)).is_err());
    }
}
