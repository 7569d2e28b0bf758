//! One server: its memory, what its disk was asked for, and what its disk holds.
//!
//! Invariant: the disk holds an earlier state of the memory, to which `pending` leads, in order, up
//! to `asked`.

use std::collections::{BTreeMap, VecDeque};

use crate::log::{Entry, Id, Log, Term};

/// What a server is to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Follows, or has no leader.
    #[default]
    Follower,
    /// Has voted for itself.
    Candidate,
    /// Leads.
    Leader,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Whether it runs. If not, nothing in memory counts.
    pub up: bool,
    /// In memory: the term.
    pub term: Term,
    /// In memory: who got the vote in it.
    pub vote: Option<usize>,
    /// In memory: the role.
    pub role: Role,
    /// In memory: the log.
    pub log: Log,
    /// In memory: agreed on up to here.
    pub commit: usize,
    /// In memory: acknowledgements that were formed in terms that it has left, and may still leave.
    pub formed: BTreeMap<Term, usize>,
    /// The state that all writes asked for lead to.
    pub asked: Tip,
    /// Writes that are asked for and not done, in order.
    pub pending: VecDeque<Write>,
    /// The snapshot that is being written.
    pub checkpoint: Option<Log>,
    /// What would survive a power cut.
    pub disk: Disk,
}

/// What a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Disk {
    /// The term.
    pub term: Term,
    /// The vote.
    pub vote: Option<usize>,
    /// The log.
    pub log: Log,
    /// The entries that went into the newest snapshot.
    pub snapshot: Log,
}

/// A short form of hard state and log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tip {
    /// The term.
    pub term: Term,
    /// The vote.
    pub vote: Option<usize>,
    /// The last entry.
    pub last: Id,
}

/// The least that a disk does at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Write {
    /// Term and vote.
    Hard(Term, Option<usize>),
    /// The log begins anew with the first entries of the snapshot, so many.
    Reset(usize),
    /// Entries above this index go.
    Cut(usize),
    /// One more entry.
    Append(Entry),
}

impl Server {
    /// The short form of what is in memory.
    pub fn tip(&self) -> Tip {
        Tip { term: self.term, vote: self.vote, last: self.log.last() }
    }
}

impl Disk {
    /// Whether the entry that `log` has at `index` would survive a power cut.
    pub fn holds(&self, log: &Log, index: usize) -> bool {
        self.snapshot.agrees(log, index) || self.log.agrees(log, index)
    }

    /// Up to which index it holds what `log` has, the longest it can be.
    pub fn match_with(&self, log: &Log) -> usize {
        self.log.common(log).max(self.snapshot.common(log))
    }

    /// Does one write.
    pub fn make(&mut self, write: Write) {
        match write {
            Write::Hard(term, vote) => (self.term, self.vote) = (term, vote),
            Write::Reset(len) => self.log = self.snapshot.prefix(len.min(self.snapshot.len())),
            Write::Cut(index) => self.log.cut(index),
            Write::Append(entry) => self.log.push(entry),
        }
    }
}
