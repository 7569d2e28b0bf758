//! What storage asks of a disk: one folder of files, small and synchronous.
//!
//! Contract: a write or a change of names may be lost, kept or half kept in a power cut until the
//! matching `sync` or `sync_folder` has returned `Ok`; then it is there. A name moves by `rename`
//! as a whole or not at all. An error of any call but `list`, `open` and `read_at` leaves the state
//! of the file unknown for good: storage never tries again (Rebello et al., ATC 2020).

mod direct;
mod memory;
mod names;
mod reading;
mod real;

use std::io;

pub use memory::{Fault, MemoryDisk, MemoryFile, MemoryLock};
pub use names::{Move, Names};
pub use reading::ReadingDisk;
pub use real::{Measured, RealDisk, RealFile};

/// The file that a folder's lock may leave in it.
pub(super) const LOCK_NAME: &str = "zokor.lock";

/// One folder. Clones are handles of the same folder and may be used from different threads.
pub trait Disk: Clone + Send + 'static {
    /// An open file of it.
    type File: DiskFile;
    /// Held while a process owns the folder; let go when dropped, and by the end of the process.
    type Lock: Send + 'static;

    /// What the folder is called in messages.
    fn place(&self) -> String;

    /// The names of everything in it, ascending.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a new, empty file; fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file that is there, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Moves a file to a name, over what had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creations, renames and removals so far durable.
    fn sync_folder(&self) -> io::Result<()>;

    /// Takes the folder for this process alone; `None` if another holds it.
    fn lock(&self) -> io::Result<Option<Self::Lock>>;

    /// How many bytes are free for this process.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// One open file.
pub trait DiskFile: Send + 'static {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `into` from `offset` on; fails if the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// As `read_at`, but what the disk has, where a disk can tell that from what its cache has; and
    /// nothing of it stays in the cache. It may be asked beside writes to other places of the file.
    fn read_cold(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, into)
    }

    /// Writes all of `bytes` at `offset`; the file grows if it must.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync(&mut self) -> io::Result<()>;

    /// `write_at`, then `sync`, as one call where a disk can do that faster.
    ///
    /// The caller promises that the file reaches 4 KiB beyond the end of `bytes` or ends at a
    /// multiple of 4 KiB, and that what lies behind `bytes` up to the next such multiple counts for
    /// nothing: it may be zero afterwards.
    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(offset, bytes)?;
        self.sync()
    }
}
