//! Storage keeps what it acknowledged: what is found after a power cut lies between what was
//! reported durable and what was asked for (Pillai et al., OSDI 2014; Alagappan et al., FAST 2018).
//!
//! The oracle is the list of changes of [`crate::world::disk`], which never saw a byte.

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, HardState, SharedEntry};
use zokor_core::replica::{Recovered, Snapshot};

use super::{Verdict, must};
use crate::world::disk::{Disk, Records};

/// What it is called.
pub const CHECK: &str = "storage keeps what it acknowledged";

/// `server` finds `recovered` on a disk of which `model` says what it was asked and what it
/// reported. A damaged server may fall back to an older snapshot, if its log covers the rest.
///
/// # Errors
/// If anything reported is missing, or anything is there that nobody asked for.
pub fn found(server: ServerId, recovered: &Recovered, model: &Disk, is_damaged: bool) -> Verdict {
    let snapshots = [model.snapshot(), model.unfinished_checkpoint()];
    let snapshots = &snapshots[..if snapshots[1].is_some() { 2 } else { 1 }];
    let outcomes = model.outcomes();
    let is_one = outcomes.iter().any(|records| {
        snapshots.iter().any(|snapshot| is_outcome(recovered, records, *snapshot, is_damaged))
    });
    must(CHECK, is_one, || {
        let describe = |records: &Records| {
            let log = &records.log;
            format!("{} after {:?} up to {:?}", term(records.hard_state), log.base(), log.last())
        };
        let possible: Vec<String> = outcomes.iter().map(describe).collect();
        let ends: Vec<EntryId> = snapshots.iter().map(|snapshot| end(*snapshot)).collect();
        format!(
            "server {server} finds {}, a snapshot up to {:?} and entries up to {:?}; possible are \
             {possible:?} with a snapshot up to one of {ends:?}",
            term(recovered.hard_state),
            end(recovered.snapshot.as_ref()),
            recovered.entries.last().map(|entry| entry.id),
        )
    })
}

/// `server`, which was damaged, finds what is left: nothing but what it was asked to keep. As long
/// as its log is not whole, that may be what it was asked to forget later: where something is lost,
/// entries before may have been cut.
///
/// # Errors
/// If it is not damaged, or if anything is there that nobody asked for.
pub fn left(server: ServerId, recovered: &Recovered, model: &Disk, is_damaged: bool) -> Verdict {
    must(CHECK, is_damaged, || format!("server {server} is not damaged and has lost something"))?;
    let behind = recovered.damage.iter().flat_map(|damage| &damage.behind);
    let known = model.known();
    let is_known = |entry: &SharedEntry<Txn>| {
        let index = entry.id.index;
        // What a snapshot covers is gone from the model's log, and is judged when it is committed.
        known.iter().any(|it| it.log.base().index >= index || it.log.entry(index) == Some(entry))
            || (recovered.damage.is_some() && model.was_asked_to_forget(entry))
    };
    let stranger = recovered.entries.iter().chain(behind).find(|entry| !is_known(entry));
    must(CHECK, stranger.is_none(), || {
        format!("server {server} finds {:?}, which nobody asked for", stranger.map(|it| it.id))
    })
}

/// `server` cannot open its storage, and says `why`.
///
/// # Errors
/// If nothing has damaged it.
pub fn refused(server: u64, why: &str, is_damaged: bool) -> Verdict {
    must(CHECK, is_damaged, || format!("server {server} is not damaged and does not start: {why}"))
}

fn term(hard_state: HardState) -> String {
    format!("term {} vote {:?}", hard_state.term, hard_state.vote)
}

fn end(snapshot: Option<&Snapshot>) -> EntryId {
    snapshot.map(|snapshot| snapshot.meta.last).unwrap_or_default()
}

/// Whether this is what a server must find that left `records` and `snapshot`.
fn is_outcome(
    found: &Recovered,
    records: &Records,
    snapshot: Option<&Snapshot>,
    is_damaged: bool,
) -> bool {
    if found.hard_state != records.hard_state {
        return false;
    }
    let (expected, last) = (end(snapshot), end(found.snapshot.as_ref()));
    let entries = after(records, expected);
    if last == expected {
        return same(found.snapshot.as_ref(), snapshot) && found.entries.iter().eq(entries);
    }
    // The older snapshot and the log up to the newer one tell the same story.
    let covered = (expected.index.0.saturating_sub(last.index.0)) as usize;
    let rest = found.entries.get(covered..);
    let joins = match found.entries.get(covered.wrapping_sub(1)) {
        Some(entry) => entry.id == expected,
        None => false,
    };
    is_damaged
        && last.index < expected.index
        && joins
        && rest.is_some_and(|it| it.iter().eq(entries))
}

/// The entries that go on after a snapshot that ends with `last`; none if the log is another's.
fn after(records: &Records, last: EntryId) -> Vec<&SharedEntry<Txn>> {
    let goes_on = records.log.term_at(last.index) == Some(last.term);
    let above = |entry: &&SharedEntry<Txn>| entry.id.index > last.index;
    if goes_on { records.log.entries().filter(above).collect() } else { Vec::new() }
}

fn same(found: Option<&Snapshot>, expected: Option<&Snapshot>) -> bool {
    let key = |snapshot: &Snapshot| {
        (snapshot.meta.clone(), snapshot.zxid, snapshot.image.zxid(), snapshot.image.digest())
    };
    found.map(key) == expected.map(key)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::raft::{Entry, Index, Payload, Persist, Term, Ticket};

    use super::*;

    fn entry(term: u64, index: u64) -> SharedEntry<Txn> {
        let id = EntryId { term: Term(term), index: Index(index) };
        Arc::new(Entry { id, payload: Payload::Blank })
    }

    fn hard_state(term: u64) -> HardState {
        HardState { term: Term(term), vote: Some(ServerId(2)) }
    }

    fn write(term: u64, truncate_after: Option<u64>, indexes: &[u64]) -> Persist<Txn> {
        Persist {
            ticket: Ticket(1),
            hard_state: Some(hard_state(term)),
            reset: None,
            truncate_after: truncate_after.map(Index),
            append: indexes.iter().map(|&index| entry(term, index)).collect(),
        }
    }

    /// Two writes done, two under way.
    fn disk() -> Disk {
        let mut disk = Disk::default();
        let writes = [
            write(1, None, &[1, 2]),
            write(1, None, &[3]),
            write(1, None, &[4]),
            write(2, Some(2), &[3]),
        ];
        for write in writes {
            disk.note(&write);
            disk.persist(write);
        }
        disk.complete();
        disk.complete();
        disk
    }

    fn check(term: u64, entries: &[(u64, u64)]) -> Verdict {
        let entries = entries.iter().map(|&(term, index)| entry(term, index)).collect();
        let hard_state = hard_state(term);
        let recovered = Recovered { hard_state, entries, ..Recovered::default() };
        found(ServerId(1), &recovered, &disk(), false)
    }

    #[test]
    fn what_was_reported_and_any_of_the_writes_after_it_may_be_found() {
        check(1, &[(1, 1), (1, 2), (1, 3)]).unwrap();
        check(1, &[(1, 1), (1, 2), (1, 3), (1, 4)]).unwrap();
        check(2, &[(1, 1), (1, 2), (2, 3)]).unwrap();
    }

    #[test]
    fn a_lost_entry_is_found_out() {
        assert!(check(1, &[(1, 1), (1, 2)]).is_err());
        assert!(check(1, &[]).is_err());
    }

    #[test]
    fn half_a_write_is_found_out() {
        assert!(check(2, &[(1, 1), (1, 2)]).is_err(), "cut, and not gone on");
        assert!(check(1, &[(1, 1), (1, 2), (2, 3)]).is_err(), "its term is missing");
        assert!(check(2, &[(1, 1), (1, 2), (1, 3), (1, 4)]).is_err(), "its entries are missing");
    }

    #[test]
    fn what_nobody_asked_for_is_found_out() {
        assert!(check(1, &[(1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]).is_err());
        assert!(check(9, &[(1, 1), (1, 2), (1, 3)]).is_err());
    }

    #[test]
    fn only_the_damaged_may_refuse() {
        assert!(refused(1, "it is damaged", true).is_ok());
        assert!(refused(1, "it is damaged", false).is_err());
    }
}
