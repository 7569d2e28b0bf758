//! What survives a crash: the log with raft's hard state, and the snapshots.
//!
//! Invariant: what was reported durable is found again after any crash, exactly and in order; what
//! cannot be found again is an error that says so, and never a smaller state. `FORMAT.md` beside
//! this file describes every byte.
//!
//! [`open`] takes a [`Disk`] and gives a [`Wal`], [`Snapshots`] and a [`Scrub`], to be used from
//! three threads at the same time, and what they held. An error of one of the first two is final:
//! the process must stop. The third has none.

mod at_rest;
mod begin;
mod body;
mod copy;
mod disk;
mod distrust;
mod ensemble;
mod error;
mod identity;
mod inspection;
mod place;
mod record;
mod recover;
mod replay;
mod salvage;
mod scrub;
mod segment;
mod snapshot;
mod snapshots;
#[cfg(test)]
mod tests;
mod wal;
mod watermark;

use std::fmt;
use std::time::Duration;

use zokor_core::id::ServerId;
use zokor_core::raft::Index;
use zokor_core::replica::Recovered;
use zokor_core::time::WallTime;

pub use at_rest::ScrubCounts;
pub use begin::{begin_with, join_ensemble};
pub use body::Written;
pub use copy::{read_copy, write_copy};
pub use disk::{
    Disk, DiskFile, Fault, Measured, MemoryDisk, MemoryFile, MemoryLock, Move, Names, ReadingDisk,
    RealDisk, RealFile,
};
pub use error::Error;
pub use inspection::{
    Inspection, Record, RecordKind, SegmentFacts, SnapshotFacts, inspect, inspect_state,
};
pub use scrub::{Scrub, Scrubbed};
pub use snapshots::Snapshots;
pub use wal::Wal;

/// What storage needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose folder it must be.
    pub server: ServerId,
    /// Random bytes, which become the id of a folder that is new. Clients must not know them.
    pub fresh_id: [u8; 16],
    /// The time that a new folder notes as its own.
    pub now: WallTime,
    /// Bytes of a log segment: a multiple of 4 KiB, from 8 KiB to 1 GiB. Default 64 MiB. The first
    /// segments of a new log are smaller.
    pub segment_bytes: u64,
    /// Whether there are other servers that may give back what this one has lost: a damaged log is
    /// then handed over with its damage, in the place of an error. Default false.
    pub has_peers: bool,
    /// How many snapshots are kept. At least 1; with 1 there is none to fall back to. Default 3.
    pub snapshots_kept: usize,
    /// If snapshots and log are larger together than so many bytes, fewer snapshots are kept, but
    /// always the newest and one to fall back to. Default 0: they may be as large as they are.
    pub retained_bytes: u64,
    /// The scrub begins a round no sooner than this after the one before it began. Default one
    /// hour.
    pub scrub_interval: Duration,
}

impl Options {
    /// The defaults for `server`.
    pub fn new(server: ServerId, fresh_id: [u8; 16], now: WallTime) -> Self {
        Options {
            server,
            fresh_id,
            now,
            segment_bytes: 64 << 20,
            has_peers: false,
            snapshots_kept: 3,
            retained_bytes: 0,
            scrub_interval: Duration::from_secs(3_600),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let is_size = self.segment_bytes.is_multiple_of(4096)
            && (8 << 10..=1 << 30).contains(&self.segment_bytes);
        if !is_size {
            return Err(Error::Option("a log segment has 8 KiB to 1 GiB, in steps of 4 KiB"));
        }
        if self.snapshots_kept == 0 {
            return Err(Error::Option("at least one snapshot must be kept"));
        }
        Ok(())
    }
}

/// Storage, open.
pub struct Opened<D: Disk> {
    /// The log.
    pub wal: Wal<D>,
    /// The snapshots.
    pub snapshots: Snapshots<D>,
    /// Who reads both, again and again, while they are at rest.
    pub scrub: Scrub<D>,
    /// What they held.
    pub recovered: Recovered,
    /// What was found and done, for one line in the server's own log.
    pub report: Report,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the folder was new.
    pub is_new: bool,
    /// The number of the ensemble that was begun from an import or a backup; 0 if it began empty.
    pub ensemble: u64,
    /// The index with which the newest whole snapshot ends; 0 if there is none.
    pub snapshot: Index,
    /// The first index of the log.
    pub first: Index,
    /// The last index of the log.
    pub last: Index,
    /// How many segments the log has.
    pub segment_count: usize,
    /// Snapshots that are newer and damaged.
    pub damaged_snapshots: Vec<String>,
    /// Files of the watermark that are there and say nothing.
    pub damaged_watermarks: Vec<String>,
    /// A torn tail that was cut.
    pub cut: Option<Cut>,
    /// Whether the log was dropped because the snapshot replaces it.
    pub has_dropped_log: bool,
    /// What is wrong with the log, if the other servers are to give back what is lost.
    pub damage: Option<String>,
    /// Whether the snapshots are of a state that turned out to be wrong.
    pub is_distrusted: bool,
    /// What was wrong with the log: the snapshot holds all that was lost.
    pub replaced: Option<String>,
}

/// A torn tail: bytes of a batch that was never reported durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub file: String,
    /// Where the log ends.
    pub offset: u64,
    /// How many bytes behind it were zeroed.
    pub n_bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_new {
            return f.write_str("a new folder");
        }
        let Report { snapshot, first, last, segment_count, .. } = self;
        write!(f, "snapshot {snapshot}, log {first} to {last} in {segment_count} segments")?;
        let damaged = [&self.damaged_snapshots[..], &self.damaged_watermarks[..]].concat();
        if !damaged.is_empty() {
            write!(f, "; damaged: {}", damaged.join(", "))?;
        }
        if let Some(Cut { file, offset, n_bytes }) = &self.cut {
            write!(f, "; cut a torn tail of {n_bytes} bytes from {file} at {offset}")?;
        }
        if let Some(damage) = &self.damage {
            write!(f, "; what is lost is to come from the other servers: {damage}")?;
        }
        if let Some(damage) = &self.replaced {
            write!(f, "; written anew, since the snapshot holds all that is lost: {damage}")?;
        }
        if self.is_distrusted {
            f.write_str("; the state was found to be wrong, and is to come from a leader")?;
        }
        if self.has_dropped_log {
            f.write_str("; dropped the log, which the snapshot replaces")?;
        }
        Ok(())
    }
}

/// The number of the ensemble that a folder belongs to; 0 if it began empty, or has nothing yet.
///
/// # Errors
/// If the file that says so is damaged, or an import or a restore did not finish.
pub fn ensemble_of<D: Disk>(data: &D) -> Result<u64, Error> {
    ensemble::read(data)
}

/// Whether a folder is a server's already, or is becoming one, so that it is more than prepared.
///
/// # Errors
/// If the folder cannot be listed.
pub fn is_in_use<D: Disk>(data: &D) -> Result<bool, Error> {
    Ok(identity::is_in_use(data)? || ensemble::read(data)? != 0)
}

/// Opens a folder that holds both log and snapshots, or makes it ours if it is empty.
///
/// # Errors If the folder is not this server's, is in use, or cannot be read as what it should be.
/// It is then as it was before, unless the disk failed.
pub fn open<D: Disk>(disk: D, options: &Options) -> Result<Opened<D>, Error> {
    recover::open(disk, None, options)
}

/// As [`open`], with the log in a folder of its own (ZooKeeper's `dataLogDir`).
///
/// # Errors
/// As [`open`].
pub fn open_apart<D: Disk>(data: D, log: D, options: &Options) -> Result<Opened<D>, Error> {
    recover::open(data, Some(log), options)
}
