//! What a server remembers of a state that turned out to be wrong, and what it keeps of it.
//!
//! Invariant: while the mark is in the folder no snapshot in it counts as verified, so that the
//! next one that is saved takes their place whatever its index; the mark goes only when all that
//! was there before has gone.

use zokor_core::raft::Index;
use zokor_core::replica::Snapshot;

use super::disk::Disk;
use super::error::Error;
use super::place::{list, remove, rename, replace};
use super::snapshot::name_of;
use super::snapshots::{Snapshots, TEMPORARY_NAME};

/// Its being there says that the snapshots beside it are not to be trusted. What is in it is for
/// people.
pub(super) const MARK_NAME: &str = "zokor-distrust";
/// The mark in the making.
pub(super) const MARK_TEMPORARY_NAME: &str = "zokor-distrust.tmp";

/// So many wrong states are kept: those of two occasions, each as it was in memory and on disk.
const EVIDENCE_KEPT: usize = 4;

/// Whether the snapshots of a folder are not to be trusted.
pub(super) fn is_marked<D: Disk>(data: &D) -> Result<bool, Error> {
    Ok(list(data)?.iter().any(|name| name == MARK_NAME))
}

/// Removes what a crash left half made.
pub(super) fn remove_leftover<D: Disk>(data: &D) -> Result<(), Error> {
    if list(data)?.iter().any(|name| name == MARK_TEMPORARY_NAME) {
        remove(data, MARK_TEMPORARY_NAME)?;
    }
    Ok(())
}

fn evidence_name(index: Index) -> String {
    format!("evidence-{:016x}.zk", index.0)
}

fn evidence_index(name: &str) -> Option<Index> {
    let hex = name.strip_prefix("evidence-")?.strip_suffix(".zk")?;
    let index = Index(u64::from_str_radix(hex, 16).ok()?);
    (evidence_name(index) == name).then_some(index)
}

impl<D: Disk> Snapshots<D> {
    /// Remembers, durably, that neither this server's state nor any snapshot here is to be trusted,
    /// for the reason `why`. Then keeps `evidence`, the state as it is, if there is room for it:
    /// the name of its file, or none.
    ///
    /// # Errors
    /// As [`Snapshots::save`]. If there is no room to remember it, the same may be asked again.
    pub fn distrust(&mut self, why: &str, evidence: &Snapshot) -> Result<Option<String>, Error> {
        self.guarded(|snapshots| {
            let disk = snapshots.disk().clone();
            remove_leftover(&disk)?;
            if let Err(error) = replace(&disk, MARK_TEMPORARY_NAME, MARK_NAME, why.as_bytes()) {
                if matches!(error, Error::Full { .. }) {
                    remove_leftover(&disk)?;
                    snapshots.is_as_before();
                }
                return Err(error);
            }
            snapshots.forget_verified();
            let name = evidence_name(evidence.meta.last.index);
            match snapshots.write(evidence) {
                Ok(()) => rename(&disk, TEMPORARY_NAME, &name)?,
                Err(Error::Full { .. }) => {
                    snapshots.remove_leftover()?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
            forget_old_evidence(&disk)?;
            Ok(Some(name))
        })
    }

    /// A snapshot up to `from` is saved that is right: those of before go, but for the newest of
    /// them, which is kept as evidence; and what was remembered is forgotten.
    ///
    /// # Errors
    /// As [`Snapshots::save`].
    pub fn trust(&mut self, from: Index) -> Result<(), Error> {
        self.guarded(|snapshots| {
            let disk = snapshots.disk().clone();
            assert!(snapshots.newest() >= Some(from), "what is right is on the disk");
            let mut wrong = snapshots.forget_before(from);
            if let Some(newest) = wrong.pop() {
                rename(&disk, &name_of(newest), &evidence_name(newest))?;
            }
            for index in wrong {
                remove(&disk, &name_of(index))?;
            }
            forget_old_evidence(&disk)?;
            if is_marked(&disk)? {
                remove(&disk, MARK_NAME)?;
            }
            Ok(())
        })
    }
}

fn forget_old_evidence<D: Disk>(disk: &D) -> Result<(), Error> {
    let names = list(disk)?;
    let mut kept: Vec<Index> = names.iter().filter_map(|name| evidence_index(name)).collect();
    kept.sort_unstable();
    let n_old = kept.len().saturating_sub(EVIDENCE_KEPT);
    kept[..n_old].iter().try_for_each(|index| remove(disk, &evidence_name(*index)))
}
