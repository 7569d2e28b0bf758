//! One slot of the log.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::membership::Membership;
use super::position::EntryId;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<C> {
    /// Term and index.
    pub id: EntryId,
    /// What it holds.
    pub payload: Payload<C>,
}

/// Entries are shared between the tail of the log, storage and the messages under way.
pub type SharedEntry<C> = Arc<Entry<C>>;

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload<C> {
    /// Nothing: the entry by which a leader opens its term.
    Blank,
    /// A command of the state machine.
    Command(C),
    /// A membership, in force from the moment it is in the log.
    Membership(Membership),
}

/// What Raft must know of a command: how many bytes it weighs in a message, about.
pub trait Command: Clone + fmt::Debug {
    /// Bytes, at least 1; used for flow control only.
    fn size_bytes(&self) -> usize;
}
