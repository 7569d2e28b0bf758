//! A disk whose errors say what was asked, of which file, and where.

use std::io;

use super::disk::{Disk, DiskFile};
use super::error::Error;

/// Makes an [`Error`] of what the disk said about `file`.
pub(super) fn failed<D: Disk>(
    disk: &D,
    doing: &'static str,
    file: &str,
) -> impl FnOnce(io::Error) -> Error {
    let (place, file) = (disk.place(), file.to_owned());
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::Full { place, file, doing }
        }
        _ => Error::Io { place, file, doing, source },
    }
}

pub(super) fn list<D: Disk>(disk: &D) -> Result<Vec<String>, Error> {
    disk.list().map_err(failed(disk, "list", "the folder"))
}

pub(super) fn create<D: Disk>(disk: &D, name: &str) -> Result<D::File, Error> {
    disk.create(name).map_err(failed(disk, "create", name))
}

pub(super) fn open<D: Disk>(disk: &D, name: &str) -> Result<D::File, Error> {
    disk.open(name).map_err(failed(disk, "open", name))
}

/// Renames, durably.
pub(super) fn rename<D: Disk>(disk: &D, from: &str, to: &str) -> Result<(), Error> {
    disk.rename(from, to).map_err(failed(disk, "rename", from))?;
    sync_folder(disk)
}

/// Removes, durably: when several files go, no later one goes before an earlier one.
pub(super) fn remove<D: Disk>(disk: &D, name: &str) -> Result<(), Error> {
    disk.remove(name).map_err(failed(disk, "remove", name))?;
    sync_folder(disk)
}

/// The same of what may be gone already.
pub(super) fn remove_if_there<D: Disk>(disk: &D, name: &str) -> Result<(), Error> {
    if list(disk)?.iter().any(|other| other == name) { remove(disk, name) } else { Ok(()) }
}

pub(super) fn sync_folder<D: Disk>(disk: &D) -> Result<(), Error> {
    disk.sync_folder().map_err(failed(disk, "sync", "the folder"))
}

/// The whole of a file that is at most `limit` bytes long; `None` if it is longer.
pub(super) fn read_whole<D: Disk>(
    disk: &D,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, Error> {
    let file = open(disk, name)?;
    let size = file.size().map_err(failed(disk, "measure", name))?;
    if size > limit {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(size).expect("a limit fits the memory")];
    file.read_at(0, &mut bytes).map_err(failed(disk, "read", name))?;
    Ok(Some(bytes))
}

/// Makes `to` hold `bytes`, durably and as a whole: under `temporary` first, then renamed.
pub(super) fn replace<D: Disk>(
    disk: &D,
    temporary: &str,
    to: &str,
    bytes: &[u8],
) -> Result<(), Error> {
    let mut file = create(disk, temporary)?;
    file.write_at(0, bytes).map_err(failed(disk, "write", temporary))?;
    file.sync().map_err(failed(disk, "sync", temporary))?;
    drop(file);
    rename(disk, temporary, to)
}
