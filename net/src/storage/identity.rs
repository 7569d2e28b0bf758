//! Whose a folder is: the check at the door, and the file that answers it.
//!
//! Invariant: nothing is written to a folder that is not empty, unless its identity file says that
//! it belongs to this server. A folder is complete only when its first log segment is there, so
//! that a complete folder without a log has lost it, and says so.

use zokor_core::id::ServerId;
use zokor_core::time::WallTime;

use super::Options;
use super::disk::{Disk, LOCK_NAME};
use super::ensemble;
use super::error::Error;
use super::place::{failed, list, read_whole, remove, replace, sync_folder};

/// The file.
pub(super) const NAME: &str = "zokor-identity";
const TEMPORARY_NAME: &str = "zokor-identity.tmp";
const MAGIC: [u8; 8] = *b"ZOKORIDN";
const VERSION: u32 = 1;
const SIZE_BYTES: usize = 64;

const HOLDS_SNAPSHOTS: u32 = 1;
const HOLDS_LOG: u32 = 2;
const COMPLETE: u32 = 4;

/// What the identity file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Drawn at random when the folder was new; every other file repeats it.
    pub(super) id: [u8; 16],
    /// Whose it is.
    pub(super) server: ServerId,
    /// When it was new.
    pub(super) created: WallTime,
    flags: u32,
}

/// Folders that are this process's own.
pub(super) struct Claimed<D: Disk> {
    /// Of the data folder, and of the log's if that is another.
    pub(super) identity: Identity,
    /// Held as long as anything uses the folders.
    pub(super) locks: Vec<D::Lock>,
}

impl Identity {
    /// Whether the first log segment was made once.
    pub(super) fn is_complete(&self) -> bool {
        self.flags & COMPLETE != 0
    }

    /// Notes durably that it was.
    pub(super) fn complete<D: Disk>(&mut self, data: &D) -> Result<(), Error> {
        self.flags |= COMPLETE;
        self.write(data)
    }

    /// What the log's folder says, if that is another than this.
    pub(super) fn of_log(self) -> Self {
        Identity { flags: HOLDS_LOG | COMPLETE, ..self }
    }

    /// Writes it, durably.
    pub(super) fn write<D: Disk>(&self, disk: &D) -> Result<(), Error> {
        if list(disk)?.iter().any(|name| name == TEMPORARY_NAME) {
            remove(disk, TEMPORARY_NAME)?;
        }
        replace(disk, TEMPORARY_NAME, NAME, &self.to_bytes())
    }

    /// The file's bytes.
    pub(super) fn to_bytes(self) -> [u8; SIZE_BYTES] {
        let mut bytes = [0; SIZE_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(SIZE_BYTES as u32).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id);
        bytes[32..40].copy_from_slice(&self.server.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.created.0.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.flags.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn read<D: Disk>(disk: &D, server: ServerId) -> Result<Option<Identity>, Error> {
        let Some(identity) = Identity::find(disk)? else { return Ok(None) };
        if identity.server != server {
            let (place, found) = (disk.place(), identity.server);
            return Err(Error::WrongServer { place, found, expected: server });
        }
        Ok(Some(identity))
    }

    /// The identity of a folder, whosever it is; `None` if there is none.
    pub(super) fn find<D: Disk>(disk: &D) -> Result<Option<Identity>, Error> {
        if !list(disk)?.iter().any(|name| name == NAME) {
            return Ok(None);
        }
        let damaged = |offset, what: &str| Error::Damaged {
            place: disk.place(),
            file: NAME.to_owned(),
            offset,
            index: None,
            what: what.to_owned(),
        };
        let bytes = read_whole(disk, NAME, 4096)?.unwrap_or_default();
        let word = |at: usize| -> [u8; 4] { bytes[at..at + 4].try_into().expect("four bytes") };
        let long = |at: usize| -> [u8; 8] { bytes[at..at + 8].try_into().expect("eight bytes") };
        if bytes.len() < SIZE_BYTES || bytes[0..8] != MAGIC {
            return Err(damaged(0, "it does not begin like an identity file"));
        }
        let version = u32::from_le_bytes(word(8));
        if version > VERSION {
            let (place, file) = (disk.place(), NAME.to_owned());
            return Err(Error::Newer { place, file, found: version, known: VERSION });
        }
        if bytes.len() != SIZE_BYTES || u32::from_le_bytes(word(12)) != SIZE_BYTES as u32 {
            return Err(damaged(12, "its length is wrong"));
        }
        if crc32c::crc32c(&bytes[..60]) != u32::from_le_bytes(word(60)) || version == 0 {
            return Err(damaged(60, "its checksum is wrong"));
        }
        Ok(Some(Identity {
            id: bytes[16..32].try_into().expect("sixteen bytes"),
            server: ServerId(u64::from_le_bytes(long(32))),
            created: WallTime(i64::from_le_bytes(long(40))),
            flags: u32::from_le_bytes(word(48)),
        }))
    }
}

/// Takes the data folder, and the log's if it is another, for this process; makes them ours if they
/// are empty.
pub(super) fn claim<D: Disk>(
    data: &D,
    log: Option<&D>,
    options: &Options,
) -> Result<Claimed<D>, Error> {
    for disk in [Some(data), log].into_iter().flatten() {
        refuse_foreign(disk)?;
    }
    let mut locks = Vec::new();
    for disk in [Some(data), log].into_iter().flatten() {
        let lock = disk.lock().map_err(failed(disk, "lock", LOCK_NAME))?;
        locks.push(lock.ok_or_else(|| Error::Locked { place: disk.place() })?);
    }
    // A process that ended without a power cut may have left names that are not durable yet.
    for disk in [Some(data), log].into_iter().flatten() {
        sync_folder(disk)?;
    }
    let server = options.server;
    let data_flags = if log.is_some() { HOLDS_SNAPSHOTS } else { HOLDS_SNAPSHOTS | HOLDS_LOG };
    let found = Identity::read(data, server)?;
    let log_found = log.map(|log| Identity::read(log, server)).transpose()?.flatten();
    let identity = match found {
        Some(identity) => identity,
        None if log_found.is_some() => {
            return Err(mismatch(data, "it is empty, and the log folder is not"));
        }
        None => {
            let (id, created) = (options.fresh_id, options.now);
            let identity = Identity { id, server, created, flags: data_flags };
            identity.write(data)?;
            identity
        }
    };
    if identity.flags & (HOLDS_SNAPSHOTS | HOLDS_LOG) != data_flags {
        let what = "snapshots and log were in one folder before and are in two now, or the reverse";
        return Err(mismatch(data, what));
    }
    if let Some(log) = log {
        let expected = identity.of_log();
        match log_found {
            Some(found) if found == expected => {}
            Some(_) => return Err(mismatch(log, "it is the log folder of another data folder")),
            None if identity.is_complete() => {
                return Err(mismatch(log, "it is empty, and the data folder is not"));
            }
            None => expected.write(log)?,
        }
    }
    Ok(Claimed { identity, locks })
}

fn mismatch<D: Disk>(disk: &D, what: &'static str) -> Error {
    Error::Mismatch { place: disk.place(), what }
}

/// Whether the folder has an identity file: it is, or is becoming, a server's.
pub(super) fn is_in_use<D: Disk>(disk: &D) -> Result<bool, Error> {
    Ok(list(disk)?.iter().any(|name| name == NAME))
}

/// Fails if the folder has no identity file and holds anything that an administrator would miss.
pub(super) fn refuse_foreign<D: Disk>(disk: &D) -> Result<(), Error> {
    let names = list(disk)?;
    if names.iter().any(|name| name == NAME) {
        return Ok(());
    }
    if names.iter().any(|name| name == "version-2") {
        return Err(Error::ZooKeeper { place: disk.place() });
    }
    let harmless = |name: &str| {
        matches!(name, "myid" | "initialize" | "lost+found" | LOCK_NAME | TEMPORARY_NAME)
            || ensemble::is_own(name)
            || name.starts_with("zoo.cfg")
            || name.starts_with('.')
    };
    match names.into_iter().find(|name| !harmless(name)) {
        Some(file) => Err(Error::Foreign { place: disk.place(), file }),
        None => Ok(()),
    }
}
