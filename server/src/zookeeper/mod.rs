//! What Apache ZooKeeper 3.4 to 3.9 keeps on its disk: snapshots and transaction logs, read and,
//! for the way back, written.
//!
//! Invariant: nothing here panics, whatever the files hold, and nothing is allocated that the bytes
//! of a file have not paid for. What is not right is told by file and offset.
//! Sources: `FileSnap`, `FileTxnLog`, `SnapStream`, `SerializeUtils`, `DataTree`.

mod checksum;
mod folder;
mod input;
mod log;
mod password;
mod snapshot;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod txn;
mod write;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use folder::{Contents, Files, Progress, Strictness, load};
pub use input::Input;
pub use log::{Entry, LogReader};
pub use password::password_of;
pub use snapshot::{SnapshotContents, SnapshotDigest, read_snapshot};
pub use stream::{Packing, unpack};
pub use tree::{Node, Tree};
pub use txn::{Header, Made, Txn, TxnDigest, decode};
pub use write::{sessions_of, write_snapshot};

/// Bytes that are not what ZooKeeper writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where, from the beginning of what was read; of a packed file, of what is in it.
    pub offset: u64,
    /// What is wrong, in a few words.
    pub what: String,
}

impl Wrong {
    pub(crate) fn new(offset: u64, what: impl Into<String>) -> Self {
        Wrong { offset, what: what.into() }
    }

    pub(crate) fn within(self, file: &Path) -> Damage {
        Damage { file: file.to_owned(), offset: self.offset, what: self.what }
    }
}

/// A file that is not what ZooKeeper writes, or lacks what belongs there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} is damaged at offset {offset}: {what}", .file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it; of a packed file, in what is packed.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}
