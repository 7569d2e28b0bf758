//! A folder that begins with a state: an import, or a backup that is restored.
//!
//! Invariant: a folder on which this did not finish is opened by nobody.

use zokor_core::raft::{HardState, Persist};
use zokor_core::replica::Snapshot;

use super::disk::Disk;
use super::error::Error;
use super::identity::{Identity, refuse_foreign};
use super::place::list;
use super::{Opened, Options, ensemble, recover};

/// Makes an empty folder, and one for the log if that is to lie apart, those of a server that has
/// come to `snapshot` and has nothing after it. All servers that begin with the same state have the
/// same `ensemble`, a random number that is not 0.
///
/// # Errors
/// If the folder holds a server's data already, or anything else that is not ours; it is as it was
/// then. If the disk fails.
pub fn begin_with<D: Disk>(
    data: D,
    log: Option<D>,
    options: &Options,
    number: u64,
    snapshot: &Snapshot,
) -> Result<(), Error> {
    assert!(number != 0, "0 is the number of those that begin empty");
    for disk in [Some(&data), log.as_ref()].into_iter().flatten() {
        refuse_taken(disk)?;
    }
    ensemble::write(&data, number, false)?;
    let opened = recover::open_unfinished(data.clone(), log, options)?;
    let Opened { mut wal, mut snapshots, .. } = opened;
    snapshots.save(snapshot)?;
    wal.persist(&[Persist {
        ticket: Default::default(),
        hard_state: Some(HardState { term: snapshot.meta.last.term, vote: None }),
        reset: Some(snapshot.meta.clone()),
        truncate_after: None,
        append: Vec::new(),
    }])?;
    wal.mark()?;
    drop((wal, snapshots));
    ensemble::write(&data, number, true)
}

/// Makes an empty folder that of a server which has nothing yet, and is to receive everything from
/// the others of this ensemble.
///
/// # Errors
/// As [`begin_with`].
pub fn join_ensemble<D: Disk>(data: &D, number: u64) -> Result<(), Error> {
    assert!(number != 0, "0 is the number of those that begin empty");
    refuse_taken(data)?;
    ensemble::write(data, number, true)
}

fn refuse_taken<D: Disk>(disk: &D) -> Result<(), Error> {
    let has_begun = list(disk)?.iter().any(|name| ensemble::is_own(name));
    if has_begun || Identity::find(disk)?.is_some() {
        return Err(Error::Taken { place: disk.place() });
    }
    refuse_foreign(disk)
}
