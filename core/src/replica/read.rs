//! The two ways of reading: from what is applied here, and behind a barrier.

use std::collections::BTreeMap;

use crate::db::{Database, Reader};
use crate::id::ConnId;
use crate::proto::{ErrorCode, Read, Response, WatchMode};
use crate::raft::{Index, ReadToken};
use crate::watch::{WatchKind, Watches};

/// Answers `read` and sets its watch in the same step, so that no change slips through between.
pub(super) fn answer(
    db: &Database,
    watches: &mut Watches,
    conn: ConnId,
    reader: &Reader<'_>,
    read: &Read,
) -> Result<Response, ErrorCode> {
    match read {
        Read::AddWatch { path, mode } => {
            let kind = match mode {
                WatchMode::Persistent => WatchKind::Persistent,
                WatchMode::Recursive => WatchKind::Recursive,
            };
            watches.set(conn, path, kind);
            Ok(Response::WatchAdded)
        }
        Read::CheckWatches { path, kind } => found(watches.check(conn, path, *kind)),
        Read::RemoveWatches { path, kind } => found(watches.remove(conn, path, *kind)),
        Read::Exists { path, watch } => {
            let result = db.query(reader, read);
            // A watch on a missing znode waits for its creation.
            if *watch && matches!(result, Ok(_) | Err(ErrorCode::NoNode)) {
                watches.set(conn, path, WatchKind::Data);
            }
            result
        }
        Read::GetData { path, watch } => {
            let result = db.query(reader, read);
            if *watch && result.is_ok() {
                watches.set(conn, path, WatchKind::Data);
            }
            result
        }
        Read::GetChildren { path, watch, .. } => {
            let result = db.query(reader, read);
            if *watch && result.is_ok() {
                watches.set(conn, path, WatchKind::Child);
            }
            result
        }
        Read::GetAcl { .. }
        | Read::GetEphemerals { .. }
        | Read::CountDescendants { .. }
        | Read::Multi(_)
        | Read::WhoAmI => db.query(reader, read),
    }
}

fn found(found: bool) -> Result<Response, ErrorCode> {
    if found { Ok(Response::Empty) } else { Err(ErrorCode::NoWatcher) }
}

/// A place in a connection's line that waits for a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) conn: ConnId,
    pub(super) ordinal: u64,
}

/// Barriers under way: first for their index, then for that index to be applied.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    asked: BTreeMap<ReadToken, Place>,
    waiting: BTreeMap<Index, Vec<Place>>,
    /// Could not be had; to be asked again when there is a leader.
    failed: Vec<Place>,
}

impl Barriers {
    pub(super) fn asked(&mut self, token: ReadToken, place: Place) {
        self.asked.insert(token, place);
    }

    /// The index is known. Returns the place if it is applied already.
    pub(super) fn readable(
        &mut self,
        token: ReadToken,
        index: Index,
        applied: Index,
    ) -> Option<Place> {
        let place = self.asked.remove(&token)?;
        if index <= applied {
            return Some(place);
        }
        self.waiting.entry(index).or_default().push(place);
        None
    }

    /// Places that wait, for whatever reason.
    pub(super) fn n_waiting(&self) -> usize {
        let applying: usize = self.waiting.values().map(Vec::len).sum();
        self.asked.len() + applying + self.failed.len()
    }

    pub(super) fn unreadable(&mut self, token: ReadToken) {
        self.failed.extend(self.asked.remove(&token));
    }

    /// Takes the places whose index is applied.
    pub(super) fn applied(&mut self, applied: Index) -> Vec<Place> {
        let mut passed = Vec::new();
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() <= applied
        {
            passed.extend(entry.remove());
        }
        passed
    }

    /// Takes the places that must ask again.
    pub(super) fn take_failed(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.failed)
    }
}
