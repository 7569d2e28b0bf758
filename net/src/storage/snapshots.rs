//! The snapshots that a server keeps.
//!
//! Invariant: a file has a snapshot's name only when it is durable and was read back whole. An
//! older one goes only after a newer one was verified, and never the newest that was
//! (ZOOKEEPER-3231).

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;

use zokor_core::raft::Index;
use zokor_core::replica::Snapshot;

use super::Options;
use super::at_rest::Shared;
use super::disk::{Disk, DiskFile};
use super::distrust;
use super::error::Error;
use super::place::{create, failed, list, open, remove_if_there, rename};
use super::snapshot::{self, Wrong, index_of, name_of};

/// A snapshot in the making.
pub(super) const TEMPORARY_NAME: &str = "snapshot.tmp";

/// The snapshots on disk. Used by one thread, beside [`Wal`](super::Wal).
pub struct Snapshots<D: Disk> {
    shared: Arc<Shared<D>>,
    disk: D,
    /// As [`Options`] say.
    retained_bytes: u64,
    is_poisoned: bool,
}

/// What was found in the folder.
pub(super) struct Found {
    /// The newest snapshot that is whole.
    pub(super) newest: Option<Snapshot>,
    /// Newer ones that are not, and why; the newest first.
    pub(super) damaged: Vec<(Index, String)>,
    /// All others: `newest`, and what is older and was not read.
    pub(super) present: BTreeSet<Index>,
    /// None of them is to be trusted.
    pub(super) is_distrusted: bool,
}

/// Looks for the newest whole snapshot.
pub(super) fn find<D: Disk>(disk: &D, id: [u8; 16]) -> Result<Found, Error> {
    let mut present: BTreeSet<Index> =
        list(disk)?.iter().filter_map(|name| index_of(name)).collect();
    let mut damaged = Vec::new();
    let is_distrusted = distrust::is_marked(disk)?;
    while let Some(index) = present.last().copied() {
        let name = name_of(index);
        match snapshot::read(&open(disk, &name)?, id) {
            Ok(snapshot) if snapshot.meta.last.index == index => {
                return Ok(Found { newest: Some(snapshot), damaged, present, is_distrusted });
            }
            Ok(_) => damaged.push((index, "it is another snapshot under this name".to_owned())),
            Err(Wrong::Damaged(what)) => damaged.push((index, what)),
            Err(Wrong::Newer(found)) => {
                let (place, known) = (disk.place(), snapshot::version());
                return Err(Error::Newer { place, file: name, found, known });
            }
        }
        present.remove(&index);
    }
    Ok(Found { newest: None, damaged, present, is_distrusted })
}

impl<D: Disk> Snapshots<D> {
    /// Goes on with what recovery found.
    pub(super) fn new(shared: Arc<Shared<D>>, disk: D, options: &Options, found: &Found) -> Self {
        let n_kept = options.snapshots_kept;
        assert!(n_kept >= 1);
        let mut at_rest = shared.at_rest();
        at_rest.n_kept = n_kept;
        at_rest.present = found.present.clone();
        at_rest.damaged = found.damaged.iter().map(|(index, _)| *index).collect();
        at_rest.replace(found.damaged.len());
        at_rest.verified = found.newest.iter().map(|it| it.meta.last.index).collect();
        if found.is_distrusted {
            at_rest.distrust_all();
        }
        drop(at_rest);
        Snapshots { shared, disk, retained_bytes: options.retained_bytes, is_poisoned: false }
    }

    /// Makes `snapshot` durable: written under another name, synced, read back, and only then
    /// named. Older ones beyond the number to keep go. If a newer one was verified before, there is
    /// nothing to do.
    ///
    /// # Errors
    /// If the disk fails or what is read back is not what was written; every later call fails too.
    /// If it has no room, what was written of the snapshot is gone again, and the same may be asked
    /// again ([`Snapshots::is_poisoned`] tells the two apart).
    pub fn save(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.guarded(|snapshots| {
            let index = snapshot.meta.last.index;
            if snapshots.newest().is_some_and(|newest| newest >= index) {
                return Ok(());
            }
            if let Err(error) = snapshots.write(snapshot) {
                if matches!(error, Error::Full { .. }) {
                    // Nobody depends on it yet.
                    snapshots.remove_leftover()?;
                    snapshots.is_as_before();
                }
                return Err(error);
            }
            rename(&snapshots.disk, TEMPORARY_NAME, &name_of(index))?;
            snapshots.shared.at_rest().saved(index);
            let n_fitting = snapshots.n_fitting()?;
            let old = snapshots.shared.at_rest().take_old(n_fitting);
            old.iter().try_for_each(|index| remove_if_there(&snapshots.disk, &name_of(*index)))
        })
    }

    /// How many of the newest snapshots there is room for beside the log, within the budget.
    fn n_fitting(&self) -> Result<usize, Error> {
        if self.retained_bytes == 0 {
            return Ok(usize::MAX);
        }
        let at_rest = self.shared.at_rest();
        let mut bytes: u64 = at_rest.segments.iter().map(|segment| segment.size_bytes).sum();
        let present: Vec<Index> = at_rest.present.iter().rev().copied().collect();
        drop(at_rest);
        for (n, index) in present.iter().enumerate() {
            let name = name_of(*index);
            bytes += match self.disk.open(&name).and_then(|file| file.size()) {
                Ok(size) => size,
                // The scrub has removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => 0,
                Err(error) => return Err(failed(&self.disk, "measure", &name)(error)),
            };
            if bytes > self.retained_bytes {
                return Ok(n);
            }
        }
        Ok(usize::MAX)
    }

    /// Changes the folder: after an error nothing is known of it, unless the change says by
    /// [`Snapshots::is_as_before`] that it had no room and has taken back what it wrote.
    pub(super) fn guarded<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.is_poisoned {
            return Err(Error::Poisoned);
        }
        self.is_poisoned = true;
        let done = change(self);
        self.is_poisoned &= done.is_err();
        done
    }

    pub(super) fn is_as_before(&mut self) {
        self.is_poisoned = false;
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    /// None of those that are there counts as verified any more.
    pub(super) fn forget_verified(&mut self) {
        self.shared.at_rest().distrust_all();
    }

    /// Those before `index`, ascending, which count as present no more: the caller takes the files
    /// away.
    pub(super) fn forget_before(&mut self, index: Index) -> Vec<Index> {
        self.shared.at_rest().take_before(index)
    }

    /// Whether a call has failed in a way after which nothing is known, so that all others will.
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// The index with which the newest verified snapshot ends.
    pub fn newest(&self) -> Option<Index> {
        self.shared.at_rest().newest()
    }

    /// Under a name of its own, and read back.
    pub(super) fn write(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let (disk, id) = (&self.disk, self.shared.id);
        let mut file = create(disk, TEMPORARY_NAME)?;
        snapshot::write(&mut file, id, snapshot).map_err(failed(
            disk,
            "write and sync",
            TEMPORARY_NAME,
        ))?;
        drop(file);
        let read_back = snapshot::verify(&open(disk, TEMPORARY_NAME)?, id, snapshot);
        if let Err(wrong) = read_back {
            let what = match wrong {
                Wrong::Damaged(what) => what,
                Wrong::Newer(found) => format!("what was written reads as format {found}"),
            };
            let (place, file) = (disk.place(), TEMPORARY_NAME.to_owned());
            return Err(Error::Damaged { place, file, offset: 0, index: None, what });
        }
        Ok(())
    }

    pub(super) fn remove_leftover(&self) -> Result<(), Error> {
        remove_if_there(&self.disk, TEMPORARY_NAME)
    }
}
