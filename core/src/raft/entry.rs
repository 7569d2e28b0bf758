//! One slot of the log.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::membership::Membership;

/// Raft's count of leaderships. At most one server leads in a term.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Term(pub u64);

impl Term {
    /// The term after this one.
    pub fn next(self) -> Term {
        Term(self.0 + 1)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A position in the log. The first entry has index 1; 0 stands before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Index(pub u64);

impl Index {
    /// Before the first entry.
    pub const ZERO: Index = Index(0);

    /// The position after this one.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The position before this one; 0 has none before it and stays 0.
    pub fn previous(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What makes an entry the same entry on every server: Raft's log matching property.
///
/// Ordered as Raft compares logs: by term first, then by index (Raft §5.4.1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId {
    /// The term of the leader that made the entry.
    pub term: Term,
    /// Its position.
    pub index: Index,
}

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
