//! What the world did to storage.

use std::io;

use thiserror::Error;
use zokor_core::id::ServerId;
use zokor_core::raft::Index;

/// What to do about damage that no other server can repair.
const DAMAGED: &str = "leave this server stopped and its folder as it is: the others serve without \
                       it while they are a majority. To replace it, stop the ensemble and put a \
                       server with a new id and an empty folder in its place. Never empty the \
                       folder, nor put an older copy in it, under this id: a server that has \
                       forgotten its votes can undo what was acknowledged";

/// What to do about a disk that refuses.
const REFUSED: &str = "nothing acknowledged is lost. See what the system's log says of this disk, \
                       then start the server again: it finds out what the disk holds";

/// Why storage cannot go on. None of these is ever tried again, but for a want of room that was
/// noticed before anything was written that matters.
#[derive(Debug, Error)]
pub enum Error {
    /// The disk has no room.
    #[error(
        "no space is left for {file} in {place} ({doing}). Nothing acknowledged is lost: make room \
         there; a server that has ended must then be started again"
    )]
    Full {
        /// The folder.
        place: String,
        /// The file.
        file: String,
        /// What was asked of the disk.
        doing: &'static str,
    },
    /// The disk refused.
    #[error("cannot {doing} {file} in {place}: {source}; {REFUSED}")]
    Io {
        /// The folder.
        place: String,
        /// The file.
        file: String,
        /// What was asked of the disk.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// An earlier call failed, so that nothing is known of the files any more.
    #[error("an earlier write, sync or rename failed; only a restart can tell what is on the disk")]
    Poisoned,
    /// Bytes that were durable once are not what they were.
    #[error("{file} in {place} is damaged at offset {offset}{}: {what}; {DAMAGED}", at(index))]
    Damaged {
        /// The folder.
        place: String,
        /// The file.
        file: String,
        /// Where in the file.
        offset: u64,
        /// Which entry is there, or would be next, if that is known.
        index: Option<Index>,
        /// What is wrong.
        what: String,
    },
    /// A snapshot by itself, or one that is looked at, is not what it was.
    #[error("{file} in {place} is damaged: {what}")]
    SnapshotDamaged {
        /// The folder.
        place: String,
        /// The file.
        file: String,
        /// What is wrong, and where in the file.
        what: String,
    },
    /// Entries are missing between the snapshot and the log.
    #[error(
        "the log in {place} begins at index {first} and the newest whole snapshot ends at \
         {snapshot}: entries between them are missing; {DAMAGED}"
    )]
    Gap {
        /// The log's folder.
        place: String,
        /// The log's first index.
        first: Index,
        /// The last index in the snapshot; 0 if there is none.
        snapshot: Index,
    },
    /// A snapshot is damaged, and the log does not reach as far as it did.
    #[error(
        "{file} in {place} is damaged ({what}), and the log ends at index {last}: a state that was \
         durable once cannot be had from here; {DAMAGED}"
    )]
    SnapshotLost {
        /// The folder.
        place: String,
        /// The snapshot's file.
        file: String,
        /// What is wrong with it.
        what: String,
        /// The last index of the log.
        last: Index,
    },
    /// The folder belongs to a file system's other user.
    #[error("{place} holds {file}, which is not ours, and nothing says that the folder is")]
    Foreign {
        /// The folder.
        place: String,
        /// One of the foreign files.
        file: String,
    },
    /// The folder is ZooKeeper's.
    #[error(
        "{place} holds version-2, the data of an Apache ZooKeeper server; import it into another \
         folder with `zokor import`, or give this server an empty one"
    )]
    ZooKeeper {
        /// The folder.
        place: String,
    },
    /// The folder holds a server's data already.
    #[error(
        "{place} holds a server's data already, or what is left of an attempt to make it so; name \
         a folder that is empty"
    )]
    Taken {
        /// The folder.
        place: String,
    },
    /// An import or a restore did not finish.
    #[error(
        "an import or a restore into {place} did not finish: empty the folder, and do it again"
    )]
    Unfinished {
        /// The folder.
        place: String,
    },
    /// The folder is another server's.
    #[error("{place} belongs to server {found}, and this is server {expected}")]
    WrongServer {
        /// The folder.
        place: String,
        /// Whose it is.
        found: ServerId,
        /// Who asked.
        expected: ServerId,
    },
    /// The folder was written by a later version.
    #[error(
        "{file} in {place} has format {found}, and this version knows formats up to {known}; if no \
         later version has ever used it, it is damaged: {DAMAGED}"
    )]
    Newer {
        /// The folder.
        place: String,
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// Another process has the folder.
    #[error("{place} is in use by another process")]
    Locked {
        /// The folder.
        place: String,
    },
    /// The data folder and the log folder are not the pair that they were.
    #[error("{place} does not hold what belongs there: {what}")]
    Mismatch {
        /// The folder.
        place: String,
        /// What is wrong.
        what: &'static str,
    },
    /// An option is out of its range.
    #[error("{0}")]
    Option(&'static str),
}

impl Error {
    /// What is wrong, without advice.
    pub(super) fn facts(&self) -> String {
        let text = self.to_string();
        let without = |advice| text.strip_suffix(advice)?.strip_suffix("; ").map(str::to_owned);
        without(DAMAGED).or_else(|| without(REFUSED)).unwrap_or(text.clone())
    }
}

fn at(index: &Option<Index>) -> String {
    index.map_or_else(String::new, |index| format!(" (index {index})"))
}
