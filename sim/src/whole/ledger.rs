//! The log of the whole ensemble, read off what each server's storage was given.
//!
//! Invariant: an entry has one predecessor and one content, whoever stores it (Raft §5.3, log
//! matching), so that any committed entry names the whole log up to it, even after every server has
//! replaced its beginning by a snapshot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::Net;
use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, HardState, Index, Persist, SharedEntry, Term};
use zokor_core::replica::Recovered;
use zokor_net::runtime::{LogStore, Refusal};
use zokor_net::storage::{Opened, Wal, Written};

use crate::check::{Verdict, Violation, must, storage};
use crate::disk::SectorDisk;

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

/// How what a server found differs from what it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Its disk is empty, and was not.
    pub is_wiped: bool,
    /// Others have to give back what is lost.
    pub has_lost: bool,
    /// A snapshot holds all that is lost of the log.
    pub is_rewritten: bool,
    /// A newer snapshot is damaged.
    pub is_older: bool,
}

impl Finding {
    /// Whether the log is not what it was.
    pub fn lacks_something(self) -> bool {
        self.is_wiped || self.has_lost || self.is_rewritten
    }
}

#[derive(Debug)]
struct Link {
    previous: EntryId,
    entry: SharedEntry<Txn>,
}

/// The log of one server.
#[derive(Clone, Debug, Default)]
struct Tail {
    /// Where it begins: the end of the snapshot before it.
    base: EntryId,
    terms: BTreeMap<Index, Term>,
    hard_state: HardState,
    /// Asked for, with no word yet that it is durable.
    doubt: Vec<Persist<Txn>>,
}

impl Ledger {
    /// What `server` found on its disk. A damaged one may fall back to an older snapshot, if its
    /// log covers the rest; or it has lost something, and starts to get that back.
    pub fn recovered(
        &self,
        server: ServerId,
        opened: &Opened<SectorDisk>,
        is_damaged: bool,
    ) -> Finding {
        let Opened { recovered, report, .. } = opened;
        let mut entries = self.lock();
        let tail = entries.servers.remove(&server).unwrap_or_default();
        let finding = Finding {
            is_wiped: report.is_new && tail.hard_state != HardState::default(),
            has_lost: recovered.damage.is_some(),
            is_rewritten: report.replaced.is_some(),
            is_older: !report.damaged_snapshots.is_empty(),
        };
        let verdict = if finding.lacks_something() {
            let is_vote_kept = !finding.is_wiped
                && !recovered.damage.as_ref().is_some_and(|damage| damage.is_vote_lost);
            entries.leaves(&tail, server, recovered, (is_damaged, is_vote_kept))
        } else {
            tail.allows(server, recovered, is_damaged)
        };
        entries.violation = entries.violation.take().or(verdict.err());
        let base = end(recovered);
        let hard_state = recovered.hard_state;
        entries.servers.insert(server, Tail { base, hard_state, ..Tail::default() });
        for entry in &recovered.entries {
            entries.append(server, entry);
        }
        finding
    }

    /// Whether term and vote of `server` were ever durable: an empty disk is no new one then.
    pub fn has_begun(&self, server: ServerId) -> bool {
        let entries = self.lock();
        let tail = entries.servers.get(&server);
        tail.is_some_and(|tail| tail.hard_state != HardState::default())
    }

    /// `batches` are about to be written at `server`, all of them or none.
    fn asked(&self, server: ServerId, batches: &[Persist<Txn>]) {
        self.lock().servers.entry(server).or_default().doubt = batches.to_vec();
    }

    /// `batch` is durable at `server`.
    fn persisted(&self, server: ServerId, batch: &Persist<Txn>) {
        let mut entries = self.lock();
        entries.resets += u64::from(batch.reset.is_some());
        let tail = entries.servers.entry(server).or_default();
        tail.doubt.clear();
        tail.cut(batch);
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

    /// Whether `recovered` is what may be left of what `server` had: what it was asked to keep
    /// once, and, if its votes are not lost, its last hard state.
    fn leaves(
        &self,
        tail: &Tail,
        server: ServerId,
        recovered: &Recovered,
        (is_damaged, is_vote_kept): (bool, bool),
    ) -> Verdict {
        must(storage::CHECK, is_damaged, || {
            format!("server {server} is not damaged and has lost something")
        })?;
        let last = tail.doubt.iter().filter_map(|batch| batch.hard_state).next_back();
        let is_last = [Some(tail.hard_state), last].contains(&Some(recovered.hard_state));
        must(storage::CHECK, is_last || !is_vote_kept, || {
            let (found, kept) = (recovered.hard_state, tail.hard_state);
            format!(
                "server {server} finds {found:?}; reported durable was {kept:?}, in doubt {last:?}"
            )
        })?;
        let behind = recovered.damage.iter().flat_map(|damage| &damage.behind);
        let asked = || tail.doubt.iter().flat_map(|batch| &batch.append);
        let is_known = |entry: &SharedEntry<Txn>| {
            self.known.get(&entry.id).is_some_and(|link| link.entry == *entry)
                || asked().any(|other| other == entry)
        };
        let stranger = recovered.entries.iter().chain(behind).find(|entry| !is_known(entry));
        must(storage::CHECK, stranger.is_none(), || {
            format!("server {server} finds {:?}, which nobody asked for", stranger.map(|it| it.id))
        })
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

/// Where the snapshot ends that was found.
fn end(recovered: &Recovered) -> EntryId {
    recovered.snapshot.as_ref().map(|snapshot| snapshot.meta.last).unwrap_or_default()
}

impl Tail {
    /// What a batch changes but for its entries.
    fn cut(&mut self, batch: &Persist<Txn>) {
        self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
        if let Some(meta) = &batch.reset {
            self.base = meta.last;
            self.terms.clear();
        }
        if let Some(index) = batch.truncate_after {
            self.terms.split_off(&index.next());
        }
    }

    /// Whether `recovered` is what `server` must find: all that was reported durable, and of what
    /// was in doubt all or nothing.
    fn allows(&self, server: ServerId, recovered: &Recovered, is_damaged: bool) -> Verdict {
        let mut after = self.clone();
        for batch in &self.doubt {
            after.cut(batch);
            after.terms.extend(batch.append.iter().map(|entry| (entry.id.index, entry.id.term)));
        }
        let is_one = [self, &after].iter().any(|tail| tail.is_found(recovered, is_damaged));
        must(storage::CHECK, is_one, || {
            let last = |tail: &Tail| {
                let last = tail.terms.last_key_value().map(|(index, term)| (*index, *term));
                (tail.hard_state, last)
            };
            format!(
                "server {server} finds {:?}, a snapshot up to {:?} and entries up to {:?}; \
                 reported durable was {:?}, in doubt {:?}",
                recovered.hard_state,
                end(recovered),
                recovered.entries.last().map(|entry| entry.id),
                last(self),
                last(&after),
            )
        })
    }

    fn is_found(&self, recovered: &Recovered, is_damaged: bool) -> bool {
        let snapshot = end(recovered);
        let falls_back = snapshot.index < self.base.index;
        let from = if falls_back { self.base } else { snapshot };
        // A log that does not hold the snapshot's last entry is older, or another's, and goes.
        let goes_on = self.id(from.index) == Some(from);
        let above = self.terms.range(from.index.next()..).map(|(index, term)| (*index, *term));
        let expected: Vec<(Index, Term)> = if goes_on { above.collect() } else { Vec::new() };
        let found = recovered.entries.iter().filter(|entry| entry.id.index > from.index);
        let covers = !falls_back
            || (is_damaged && recovered.entries.iter().any(|entry| entry.id == self.base));
        recovered.hard_state == self.hard_state
            && covers
            && found.map(|entry| (entry.id.index, entry.id.term)).eq(expected)
    }

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
    pub wal: Wal<SectorDisk>,
    /// The disk that it is on.
    pub disk: SectorDisk,
    /// Who reads along.
    pub ledger: Ledger,
}

impl LogStore for Noted {
    fn persist(
        &mut self,
        batches: &[Persist<Txn>],
        written: &[Vec<Written>],
    ) -> Result<(), Refusal> {
        self.ledger.asked(self.server, batches);
        let done = LogStore::persist(&mut self.wal, batches, written);
        if matches!(done, Err(Refusal::Full(_))) {
            Net::current().see("storage: waited for room");
        }
        done?;
        if batches.iter().any(|batch| batch.hard_state.is_some()) {
            self.disk.note_vote();
        }
        for batch in batches {
            self.ledger.persisted(self.server, batch);
        }
        Ok(())
    }

    fn free_bytes(&mut self) -> Option<u64> {
        LogStore::free_bytes(&mut self.wal)
    }

    fn purge(&mut self, through: Index) -> Result<(), String> {
        LogStore::purge(&mut self.wal, through)
    }

    fn mark(&mut self) -> Result<(), String> {
        LogStore::mark(&mut self.wal)
    }

    fn mend(&mut self) -> Result<(), String> {
        LogStore::mend(&mut self.wal)
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

    fn found(ledger: &Ledger, term: u64, entries: &[(u64, u64)]) -> bool {
        let hard_state = HardState { term: Term(term), vote: None };
        let entries = entries.iter().map(|&(term, index)| blank(term, index)).collect();
        let recovered = Recovered { hard_state, entries, ..Recovered::default() };
        ledger.lock().servers[&ServerId(1)].allows(ServerId(1), &recovered, false).is_ok()
    }

    #[test]
    fn what_was_reported_durable_must_be_found_again_and_doubt_is_all_or_nothing() {
        let ledger = Ledger::default();
        ledger.persisted(ServerId(1), &batch(None, vec![blank(1, 1), blank(1, 2)]));
        let hard_state = Some(HardState { term: Term(2), vote: None });
        let second = Persist { hard_state, ..batch(Some(1), vec![blank(2, 2)]) };
        ledger.asked(ServerId(1), &[second]);
        assert!(found(&ledger, 0, &[(1, 1), (1, 2)]));
        assert!(found(&ledger, 2, &[(1, 1), (2, 2)]));
        assert!(!found(&ledger, 0, &[(1, 1)]), "an entry is lost");
        assert!(!found(&ledger, 0, &[(1, 1), (2, 2)]), "the term is lost");
        assert!(!found(&ledger, 2, &[(1, 1), (1, 2)]), "the entries are lost");
        assert!(!found(&ledger, 0, &[(1, 1), (1, 2), (1, 3)]), "nobody asked for it");
    }

    #[test]
    fn one_name_for_two_logs_is_found() {
        let ledger = Ledger::default();
        ledger.persisted(ServerId(1), &batch(None, vec![blank(1, 1), blank(3, 2)]));
        ledger.persisted(ServerId(2), &batch(None, vec![blank(2, 1), blank(3, 2)]));
        assert!(ledger.log(ServerId(1), Index(2)).is_err());
    }
}
