//! A snapshot by itself, as one file outside of any server's folder: a backup.
//!
//! Invariant: a file has its name only when it is durable and was read back whole. It has an id of
//! its own, so that nobody takes it for a snapshot of some folder.

use zokor_core::replica::Snapshot;

use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::place::{create, failed, list, open, remove, rename};
use super::snapshot::{self, Wrong};

/// Writes `snapshot` to the file `name`, which must not be there. `id` is random.
///
/// # Errors
/// If it is there, the disk fails, or what is read back is not what was written.
pub fn write_copy<D: Disk>(
    disk: &D,
    name: &str,
    id: [u8; 16],
    snapshot: &Snapshot,
) -> Result<(), Error> {
    if list(disk)?.iter().any(|other| other == name) {
        return Err(Error::Taken { place: format!("{}/{name}", disk.place()) });
    }
    let temporary = format!("{name}.tmp");
    if list(disk)?.contains(&temporary) {
        remove(disk, &temporary)?;
    }
    let mut file = create(disk, &temporary)?;
    let written = snapshot::write(&mut file, id, snapshot);
    written.map_err(failed(disk, "write and sync", &temporary))?;
    drop(file);
    let read_back = snapshot::verify(&open(disk, &temporary)?, id, snapshot);
    read_back.map_err(|wrong| refusal(disk, &temporary, wrong))?;
    rename(disk, &temporary, name)
}

/// Reads a snapshot, a server's own or one by itself, and checks all of it.
///
/// # Errors
/// If it is not whole, or of a newer format.
pub fn read_copy<D: Disk>(disk: &D, name: &str) -> Result<Snapshot, Error> {
    let file = open(disk, name)?;
    let mut id = [0; 16];
    // Without it the file is too short, which is found out below.
    let _ = file.read_at(16, &mut id);
    snapshot::read(&file, id).map_err(|wrong| refusal(disk, name, wrong))
}

/// The error of a file that is no snapshot.
pub(super) fn refusal<D: Disk>(disk: &D, name: &str, wrong: Wrong) -> Error {
    let (place, file) = (disk.place(), name.to_owned());
    match wrong {
        Wrong::Damaged(what) => Error::SnapshotDamaged { place, file, what },
        Wrong::Newer(found) => Error::Newer { place, file, found, known: snapshot::version() },
    }
}
