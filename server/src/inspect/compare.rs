//! Where the folders of two servers differ.
//!
//! Invariant: what both have at one index is compared, whole; a server that is behind does not
//! differ. What only snapshots hold is compared by the digest of the state.

use serde_json::{Value, json};
use zokor_core::db::Txn;
use zokor_core::raft::{Index, SharedEntry};
use zokor_core::replica::Rebuilt;

use super::Looked;

/// What came of it.
pub(super) struct Compared {
    /// The first index at which the logs have different entries.
    first_difference: Option<Index>,
    /// How many entries were compared.
    n_compared: u64,
    /// The last index that both have come to, and the digests of their states there; `None` if a
    /// state cannot be had.
    digests: Option<(Index, u64, u64)>,
    /// The numbers of their ensembles.
    ensembles: (u64, u64),
}

/// Compares two folders. An `Err` is one sentence.
pub(super) fn compare(own: &Looked, other: &Looked) -> Result<Compared, String> {
    let (mine, theirs) = (&own.found.entries, &other.found.entries);
    let mut n_compared = 0;
    let mut first_difference = None;
    if let (Some(a), Some(b)) = (mine.first(), theirs.first()) {
        let start = a.id.index.max(b.id.index);
        for (a, b) in skip_to(mine, start).iter().zip(skip_to(theirs, start)) {
            if a != b {
                first_difference = Some(a.id.index);
                break;
            }
            n_compared += 1;
        }
    }
    let last = end(own).min(end(other));
    let through = first_difference.map_or(last, Index::previous).min(last);
    let digests = match (digest(own, through)?, digest(other, through)?) {
        (Some(a), Some(b)) => Some((through, a, b)),
        _ => None,
    };
    let ensembles = (own.found.ensemble, other.found.ensemble);
    Ok(Compared { first_difference, n_compared, digests, ensembles })
}

impl Compared {
    /// Whether nothing differs.
    pub(super) fn is_same(&self) -> bool {
        self.first_difference.is_none()
            && self.digests.is_none_or(|(_, a, b)| a == b)
            && self.ensembles.0 == self.ensembles.1
    }

    pub(super) fn to_json(&self) -> Value {
        let digests = self.digests.map(|(index, a, b)| {
            let digests = [format!("{a:016x}"), format!("{b:016x}")];
            json!({ "index": index.0, "digests": digests, "same": a == b })
        });
        json!({
            "same": self.is_same(),
            "same_ensemble": self.ensembles.0 == self.ensembles.1,
            "entries_compared": self.n_compared,
            "first_difference": self.first_difference.map(|index| index.0),
            "state": digests,
        })
    }

    pub(super) fn print(&self) {
        if self.ensembles.0 != self.ensembles.1 {
            println!("DIFFERENT    they belong to different ensembles");
        }
        match self.first_difference {
            Some(index) => println!("DIFFERENT    the logs differ from index {index} on"),
            None => println!("same         {} entries that both have", self.n_compared),
        }
        match self.digests {
            Some((index, a, b)) if a == b => {
                println!("same         digest {a:016x} of the states at index {index}");
            }
            Some((index, a, b)) => {
                println!("DIFFERENT    digests {a:016x} and {b:016x} at index {index}");
            }
            None => println!("unknown      no index is in the files of both with its state"),
        }
    }
}

/// The entries from `start` on.
fn skip_to(entries: &[SharedEntry<Txn>], start: Index) -> &[SharedEntry<Txn>] {
    let first = entries.first().map_or(start, |entry| entry.id.index);
    let n = usize::try_from(start.0.saturating_sub(first.0)).unwrap_or(usize::MAX);
    entries.get(n..).unwrap_or_default()
}

/// The last index in a folder.
fn end(looked: &Looked) -> Index {
    let found = &looked.found;
    let snapshot = found.snapshots.last().map(|facts| facts.meta.last.index).unwrap_or_default();
    found.entries.last().map_or(snapshot, |entry| entry.id.index.max(snapshot))
}

/// The digest of the state after the entry at `through`; `None` if the files do not lead there.
fn digest(looked: &Looked, through: Index) -> Result<Option<u64>, String> {
    let snapshot = looked.found.snapshot_before(&looked.disk, through);
    let mut rebuilt = Rebuilt::new(snapshot.map_err(|error| error.to_string())?);
    let from = rebuilt.meta().last.index;
    for entry in looked.found.entries.iter().filter(|entry| entry.id.index > from) {
        if entry.id.index > through {
            break;
        }
        if entry.id.index != rebuilt.meta().last.index.next() {
            return Ok(None);
        }
        rebuilt.apply(entry);
    }
    let is_there = rebuilt.meta().last.index == through;
    Ok(is_there.then(|| rebuilt.database().digest()))
}
