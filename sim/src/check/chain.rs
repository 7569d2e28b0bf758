//! C8. On every server: purged <= snapshot <= applied <= commit <= last, and nothing is applied
//! that its own disk would lose (Raft thesis §5.1, §10.2.1; design: a server applies what it
//! persisted).

use zokor_core::id::ServerId;
use zokor_core::raft::Index;

use super::{Verdict, must};
use crate::world::disk::Disk;

/// How far a server is, link by link.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// The entries up to here are gone from its log.
    pub purged: Index,
    /// Its durable snapshot ends here.
    pub snapshot: Index,
    /// Done.
    pub applied: Index,
    /// Agreed.
    pub commit: Index,
    /// The end of its log.
    pub last: Index,
    /// What would survive a power cut.
    pub durable: Index,
}

impl Chain {
    /// The chain of a server with this disk.
    pub fn of(disk: &Disk, applied: Index, commit: Index) -> Self {
        Chain {
            purged: disk.asked().log.base().index,
            snapshot: disk.snapshot().map(|snapshot| snapshot.meta.last.index).unwrap_or_default(),
            applied,
            commit,
            last: disk.asked().log.last().index,
            durable: disk.durable_last(),
        }
    }

    /// It is the one of `server`.
    ///
    /// # Errors
    /// If a link is out of place.
    pub fn holds(&self, server: ServerId) -> Verdict {
        let Chain { purged, snapshot, applied, commit, last, durable } = *self;
        for (what, less, more) in [
            ("purged is in a snapshot", purged, snapshot),
            ("a snapshot is of what is applied", snapshot, applied),
            ("applied is committed", applied, commit),
            ("committed is in the log", commit, last),
            ("applied is durable", applied, durable),
        ] {
            self.link(server, what, less <= more)?;
        }
        Ok(())
    }

    /// The same while the log of `server` is not whole: nothing is taken for agreed on until it
    /// is, and nothing is applied but what a snapshot holds that has come from another server.
    ///
    /// # Errors
    /// If a link is out of place.
    pub fn holds_in_repair(&self, server: ServerId) -> Verdict {
        let Chain { purged, snapshot, applied, commit, durable, .. } = *self;
        self.link(server, "purged is in a snapshot", purged <= snapshot)?;
        self.link(server, "what is applied is a snapshot", applied == snapshot)?;
        self.link(server, "committed is applied", commit <= applied)?;
        self.link(server, "applied is durable", applied <= durable)
    }

    fn link(&self, server: ServerId, what: &str, holds: bool) -> Verdict {
        must("the chain of indices (C8)", holds, || {
            format!("{what}: not so on server {server}: {self:?}")
        })
    }
}

/// `server` lets entries up to `through` go while its durable snapshot ends at `snapshot`.
///
/// # Errors
/// If they are not all in it.
pub fn purges(server: ServerId, through: Index, snapshot: Index) -> Verdict {
    must("purged is in a snapshot (C8)", through <= snapshot, || {
        format!("server {server} purges up to {through}, its snapshot ends at {snapshot}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(indices: [u64; 6]) -> Verdict {
        let [purged, snapshot, applied, commit, last, durable] = indices.map(Index);
        Chain { purged, snapshot, applied, commit, last, durable }.holds(ServerId(1))
    }

    #[test]
    fn a_chain_in_order_is_right_and_each_broken_link_is_found() {
        assert!(chain([1, 2, 3, 4, 5, 3]).is_ok());
        assert!(chain([2, 2, 2, 2, 2, 2]).is_ok());
        for broken in [
            [3, 2, 3, 4, 5, 3],
            [1, 4, 3, 4, 5, 3],
            [1, 2, 5, 4, 5, 5],
            [1, 2, 3, 6, 5, 3],
            [1, 2, 3, 4, 5, 2],
        ] {
            assert!(chain(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn in_repair_only_a_snapshot_is_applied_whatever_is_agreed() {
        let chain = |[purged, snapshot, applied, commit, last, durable]: [u64; 6]| {
            let [purged, snapshot, applied, commit, last, durable] =
                [purged, snapshot, applied, commit, last, durable].map(Index);
            Chain { purged, snapshot, applied, commit, last, durable }.holds_in_repair(ServerId(1))
        };
        assert!(chain([2, 7, 7, 2, 2, 7]).is_ok());
        for broken in
            [[8, 7, 7, 2, 2, 7], [2, 7, 8, 2, 2, 8], [2, 7, 7, 8, 8, 8], [2, 7, 7, 2, 2, 6]]
        {
            assert!(chain(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn purging_beyond_the_snapshot_is_found() {
        assert!(purges(ServerId(1), Index(4), Index(4)).is_ok());
        assert!(purges(ServerId(1), Index(5), Index(4)).is_err());
    }
}
