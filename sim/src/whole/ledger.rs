//! The log of the whole ensemble, read off what each server's storage was given.
//!
//! Invariant: an entry has one predecessor and one content, whoever stores it (Raft §5.3, log
//! matching), so that any committed entry names the whole log up to it, even after every server has
//! replaced its beginning by a snapshot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, Index, Persist, SharedEntry, Term};
use zokor_core::replica::Recovered;
use zokor_net::runtime::LogStore;
use zokor_net::storage::{MemoryDisk, Wal};

use crate::check::{Verdict, Violation, must};

/// All entries that were ever durable somewhere.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    known: BTreeMap<EntryId, Link>,
    servers: BTreeMap<ServerId, Tail>,
    violation: Option<Violation>,
    resets: u64,
}

#[derive(Debug)]
struct Link {
    previous: EntryId,
    entry: SharedEntry<Txn>,
}

/// The log of one server.
#[derive(Debug, Default)]
struct Tail {
    /// Where it begins: the end of the snapshot before it.
    base: EntryId,
    terms: BTreeMap<Index, Term>,
}

impl Ledger {
    /// What `server` found on its disk.
    pub fn recovered(&self, server: ServerId, recovered: &Recovered) {
        let mut entries = self.lock();
        let base = recovered.snapshot.as_ref().map(|snapshot| snapshot.meta.last);
        entries.servers.insert(server, Tail { base: base.unwrap_or_default(), ..Tail::default() });
        for entry in &recovered.entries {
            entries.append(server, entry);
        }
    }

    /// `batch` is durable at `server`.
    fn persisted(&self, server: ServerId, batch: &Persist<Txn>) {
        let mut entries = self.lock();
        entries.resets += u64::from(batch.reset.is_some());
        let tail = entries.servers.entry(server).or_default();
        if let Some(meta) = &batch.reset {
            *tail = Tail { base: meta.last, ..Tail::default() };
        }
        if let Some(index) = batch.truncate_after {
            tail.terms.split_off(&index.next());
        }
        for entry in &batch.append {
            entries.append(server, entry);
        }
    }

    /// How often a server got a snapshot in the place of its log.
    pub fn resets(&self) -> u64 {
        self.lock().resets
    }

    /// The log up to `last`, as `server` has it.
    ///
    /// # Errors
    /// If two servers ever stored different logs under one name, or `server` lacks `last`.
    pub fn log(&self, server: ServerId, last: Index) -> Result<Vec<SharedEntry<Txn>>, Violation> {
        let entries = self.lock();
        if let Some(violation) = &entries.violation {
            return Err(violation.clone());
        }
        let tail = entries.servers.get(&server);
        let mut id = tail.and_then(|tail| tail.id(last)).unwrap_or_default();
        must(CHECK, id.index == last, || format!("server {server} never stored entry {last}"))?;
        let mut log = Vec::new();
        while id != EntryId::default() {
            let Some(link) = entries.known.get(&id) else {
                must(CHECK, false, || format!("nobody ever stored {id:?}"))?;
                break;
            };
            log.push(link.entry.clone());
            id = link.previous;
        }
        log.reverse();
        Ok(log)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("nobody panics with the ledger")
    }
}

impl Entries {
    fn append(&mut self, server: ServerId, entry: &SharedEntry<Txn>) {
        let verdict = self.take(server, entry);
        self.violation = self.violation.take().or(verdict.err());
    }

    fn take(&mut self, server: ServerId, entry: &SharedEntry<Txn>) -> Verdict {
        let id = entry.id;
        let tail = self.servers.entry(server).or_default();
        let previous = tail.id(id.index.previous());
        must(CHECK, previous.is_some(), || format!("server {server} leaves a gap before {id:?}"))?;
        let previous = previous.expect("just seen");
        tail.terms.insert(id.index, id.term);
        let link = self.known.entry(id).or_insert_with(|| Link { previous, entry: entry.clone() });
        let same = link.previous == previous && link.entry == *entry;
        must(CHECK, same, || {
            format!("{id:?} after {previous:?} at server {server} is another one elsewhere")
        })
    }
}

impl Tail {
    fn id(&self, index: Index) -> Option<EntryId> {
        if index == self.base.index {
            return Some(self.base);
        }
        self.terms.get(&index).map(|&term| EntryId { term, index })
    }
}

/// A server's log, and the ledger that reads along.
pub struct Noted {
    /// Whose.
    pub server: ServerId,
    /// The log itself.
    pub wal: Wal<MemoryDisk>,
    /// Who reads along.
    pub ledger: Ledger,
}

impl LogStore for Noted {
    fn persist(&mut self, batches: &[Persist<Txn>]) -> Result<(), String> {
        LogStore::persist(&mut self.wal, batches)?;
        for batch in batches {
            self.ledger.persisted(self.server, batch);
        }
        Ok(())
    }

    fn purge(&mut self, through: Index) -> Result<(), String> {
        LogStore::purge(&mut self.wal, through)
    }

    fn idle(&mut self) -> Result<bool, String> {
        LogStore::idle(&mut self.wal)
    }
}

const CHECK: &str = "equal names mean equal logs (C3)";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::raft::{Entry, Payload, Ticket};

    use super::*;

    fn blank(term: u64, index: u64) -> SharedEntry<Txn> {
        let id = EntryId { term: Term(term), index: Index(index) };
        Arc::new(Entry { id, payload: Payload::Blank })
    }

    fn batch(truncate_after: Option<u64>, append: Vec<SharedEntry<Txn>>) -> Persist<Txn> {
        let truncate_after = truncate_after.map(Index);
        Persist { ticket: Ticket(1), hard_state: None, reset: None, truncate_after, append }
    }

    #[test]
    fn a_log_is_what_was_stored_after_the_last_cut() {
        let ledger = Ledger::default();
        ledger.persisted(ServerId(1), &batch(None, vec![blank(1, 1), blank(1, 2)]));
        ledger.persisted(ServerId(1), &batch(Some(1), vec![blank(2, 2)]));
        let log = ledger.log(ServerId(1), Index(2)).unwrap();
        assert_eq!(log, [blank(1, 1), blank(2, 2)]);
        assert!(ledger.log(ServerId(1), Index(3)).is_err());
        assert!(ledger.log(ServerId(2), Index(1)).is_err());
    }

    #[test]
    fn one_name_for_two_logs_is_found() {
        let ledger = Ledger::default();
        ledger.persisted(ServerId(1), &batch(None, vec![blank(1, 1), blank(3, 2)]));
        ledger.persisted(ServerId(2), &batch(None, vec![blank(2, 1), blank(3, 2)]));
        assert!(ledger.log(ServerId(1), Index(2)).is_err());
    }
}
