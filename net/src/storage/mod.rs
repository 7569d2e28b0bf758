//! Stand-in for the storage room, replaced at merge.
use std::marker::PhantomData;

use thiserror::Error;
use zokor_core::db::Txn;
use zokor_core::raft::{Index, Persist};
use zokor_core::replica::Snapshot;

/// A disk.
pub trait Disk: Clone + Send + 'static {}

/// What the disk did.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Error(pub String);

/// The log's files.
#[derive(Debug)]
pub struct Wal<D>(PhantomData<D>);

impl<D: Disk> Wal<D> {
    /// Durable on return.
    pub fn persist(&mut self, _batches: &[Persist<Txn>]) -> Result<(), Error> {
        Ok(())
    }

    /// Prepares; whether there is more to do.
    pub fn idle(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Entries up to here may go.
    pub fn purge(&mut self, _through: Index) -> Result<(), Error> {
        Ok(())
    }
}

/// The snapshots' files.
#[derive(Debug)]
pub struct Snapshots<D>(PhantomData<D>);

impl<D: Disk> Snapshots<D> {
    /// Durable on return.
    pub fn save(&mut self, _snapshot: &Snapshot) -> Result<(), Error> {
        Ok(())
    }
}
