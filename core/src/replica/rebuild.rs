//! The state that a log leads to, without a replica around it: for those who look at a server's
//! folder from outside.
//!
//! Invariant: after the same entries it is the state that every replica has.

use crate::db::{Database, Txn};
use crate::proto::Zxid;
use crate::raft::{Entry, Payload, SnapshotMeta};

use super::message::Snapshot;

/// A state, and the entry that led to it.
#[derive(Debug)]
pub struct Rebuilt {
    db: Database,
    meta: SnapshotMeta,
}

impl Rebuilt {
    /// Begins with a snapshot, or with the state before the first entry.
    pub fn new(snapshot: Option<Snapshot>) -> Self {
        match snapshot {
            Some(snapshot) => Rebuilt { db: Database::thaw(snapshot.image), meta: snapshot.meta },
            None => Rebuilt { db: Database::new(), meta: SnapshotMeta::default() },
        }
    }

    /// Applies the next entry.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn apply(&mut self, entry: &Entry<Txn>) {
        assert_eq!(entry.id.index, self.meta.last.index.next(), "entries are applied one by one");
        let zxid = zxid_after(self.db.zxid(), entry);
        match &entry.payload {
            Payload::Blank => self.db.skip(zxid),
            Payload::Membership(membership) => {
                self.db.skip(zxid);
                self.meta.membership = Some((entry.id.index, membership.clone()));
            }
            Payload::Command(txn) => {
                self.db.apply(zxid, txn);
                // Nobody watches.
                self.db.take_replaced();
            }
        }
        self.meta.last = entry.id;
    }

    /// The znodes and sessions.
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// The last entry in it, and the membership then.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Both.
    pub(super) fn into_parts(self) -> (Database, SnapshotMeta) {
        (self.db, self.meta)
    }

    /// The state as a snapshot.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { meta: self.meta.clone(), zxid: self.db.zxid(), image: self.db.freeze() }
    }
}

/// The zxid of the entry that follows the one with the zxid `before`.
pub fn zxid_after(before: Zxid, entry: &Entry<Txn>) -> Zxid {
    match entry.payload {
        Payload::Blank => before.open_epoch(entry.id.term.0),
        Payload::Command(_) | Payload::Membership(_) => before.next(),
    }
}
