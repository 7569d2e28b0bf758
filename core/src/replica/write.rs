//! What the leader lets into its log.
//!
//! Invariant: within one leadership each client write enters the log once and in the order of its
//! sequence, whatever the network does to the servers that forward it. The database checks the same
//! once more when it applies ([`Outcome`](crate::db::Outcome)), since other leaders wrote there
//! too.

use std::collections::{BTreeMap, BTreeSet};

use crate::db::{Action, Author, Database, Txn};
use crate::id::{Nonce, Sequence, SessionId, Token};
use crate::raft::{Command, Entry, Payload};

/// The leader's memory of what it has in its log and has not applied.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The last write of each session in the log.
    writes: BTreeMap<SessionId, (Token, Sequence)>,
    /// Attempts in the log.
    attempts: BTreeSet<Nonce>,
}

impl Admission {
    /// Begins a leadership: `tail` is what the log holds beyond what is applied.
    pub(super) fn begin<'a>(&mut self, tail: impl Iterator<Item = &'a Entry<Txn>>) {
        self.writes.clear();
        self.attempts.clear();
        for entry in tail {
            if let Payload::Command(txn) = &entry.payload {
                self.note(&txn.action);
            }
        }
    }

    /// Whether `action` is to be proposed now. Whatever is not will come again or is there already.
    pub(super) fn admits(&self, db: &Database, action: &Action) -> bool {
        match action {
            Action::Write { author, .. } => self.expected(db, author) == Some(author.sequence),
            Action::Open { nonce, .. } | Action::Attach { nonce, .. } => {
                !self.attempts.contains(nonce)
            }
            Action::Expire { .. } | Action::Reap { .. } | Action::Describe { .. } => true,
        }
    }

    /// Notes what has just gone into the log.
    pub(super) fn note(&mut self, action: &Action) {
        match action {
            Action::Write { author, .. } => {
                self.writes.insert(author.session, (author.token, author.sequence));
            }
            Action::Open { nonce, .. } | Action::Attach { nonce, .. } => {
                self.attempts.insert(*nonce);
            }
            Action::Expire { .. } | Action::Reap { .. } | Action::Describe { .. } => {}
        }
    }

    /// Forgets what has been applied: the database remembers it from now on.
    pub(super) fn applied(&mut self, action: &Action) {
        match action {
            Action::Write { author, .. } => {
                if self.writes.get(&author.session) == Some(&(author.token, author.sequence)) {
                    self.writes.remove(&author.session);
                }
            }
            Action::Open { nonce, .. } | Action::Attach { nonce, .. } => {
                self.attempts.remove(nonce);
            }
            Action::Expire { .. } | Action::Reap { .. } | Action::Describe { .. } => {}
        }
    }

    /// The next sequence of the attachment, or `None` if a later attachment is known.
    fn expected(&self, db: &Database, author: &Author) -> Option<Sequence> {
        let logged = self.writes.get(&author.session).copied();
        let applied = db.session(author.session).map(|session| (session.token, session.sequence));
        let newest = logged.max(applied);
        match newest {
            Some((token, sequence)) if token == author.token => Some(Sequence(sequence.0 + 1)),
            Some((token, _)) if token > author.token => None,
            Some(_) | None => Some(Sequence(1)),
        }
    }
}

impl Command for Txn {
    fn size_bytes(&self) -> usize {
        Txn::size_bytes(self)
    }
}
