//! W7. At the end every write that was acknowledged, before whatever crashes, is in the log of
//! every healed server, or in its snapshot, and in its state (durability: ZooKeeper, ATC 2010,
//! §2.3: "it will not be rolled back").

use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, Index};

use crate::check::{Verdict, must};
use crate::world::disk::Disk;

/// How far a server is at the end.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Which.
    pub server: ServerId,
    /// Its applied index.
    pub applied: Index,
    /// Its disk.
    pub disk: &'a Disk,
}

impl End<'_> {
    /// The committed entry `id` is one that was acknowledged to a client.
    ///
    /// # Errors
    /// If the server does not have it on its disk and in its state.
    pub fn has(&self, id: EntryId) -> Verdict {
        let End { server, applied, disk } = self;
        must("acknowledged writes stay (W7)", *applied >= id.index, || {
            format!("server {server} has applied {applied}, but {id:?} was acknowledged")
        })?;
        must("acknowledged writes stay (W7)", disk.holds(id), || {
            format!("server {server} does not hold {id:?}, which was acknowledged")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::raft::{Entry, Payload, Persist, Term, Ticket};

    use super::*;

    fn id(term: u64, index: u64) -> EntryId {
        EntryId { term: Term(term), index: Index(index) }
    }

    fn disk() -> Disk {
        let write = Persist {
            ticket: Ticket(1),
            hard_state: None,
            reset: None,
            truncate_after: None,
            append: vec![Arc::new(Entry { id: id(1, 1), payload: Payload::Blank })],
        };
        let mut disk = Disk::default();
        disk.note(&write);
        disk.persist(write);
        disk.complete();
        disk
    }

    #[test]
    fn what_is_kept_and_applied_is_right_and_what_is_missing_is_found() {
        let disk = disk();
        let end = |applied| End { server: ServerId(1), applied: Index(applied), disk: &disk };
        assert!(end(1).has(id(1, 1)).is_ok());
        assert!(end(0).has(id(1, 1)).is_err());
        assert!(end(2).has(id(2, 1)).is_err());
        assert!(end(2).has(id(1, 2)).is_err());
    }
}
