//! What the leader lets into its log.
//!
//! Invariant: within one leadership each client write enters the log once and in the order of its
//! sequence, whatever the network does to the servers that forward it. The database checks the same
//! once more when it applies ([`Outcome`](crate::db::Outcome)), since other leaders wrote there
//! too.

use std::collections::{BTreeMap, BTreeSet};

use crate::db::{Action, Author, Database, Txn};
use crate::id::{Nonce, Sequence, SessionId, Token};
use crate::proto::Text;
use crate::raft::{Command, Entry, Payload, Term};

/// The leader's memory of what it has in its log and has not applied.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The leadership that this is about.
    term: Term,
    /// The last write of each session in the log.
    writes: BTreeMap<SessionId, (Token, Sequence)>,
    /// Attempts in the log.
    attempts: BTreeSet<Nonce>,
    /// Sessions to be expired, with the attachment that is overdue, in the log.
    expiries: BTreeSet<(SessionId, Token)>,
    /// Znodes to be reaped, in the log.
    reaps: BTreeSet<Text>,
}

/// Attempts in the log and not applied, at most. While nothing is committed, clients come and go,
/// and each leaves one; those beyond come again if their client is still there.
const MAX_ATTEMPTS: usize = 100_000;

impl Admission {
    /// Begins a leadership: `tail` is what the log holds beyond what is applied.
    pub(super) fn begin<'a>(&mut self, term: Term, tail: impl Iterator<Item = &'a Entry<Txn>>) {
        *self = Admission { term, ..Admission::default() };
        for entry in tail {
            if let Payload::Command(txn) = &entry.payload {
                self.note(&txn.action);
            }
        }
    }

    /// Whether this is about the leadership of `term`. An election may be won a little before
    /// `begin`: what is asked for in between comes again with it.
    pub(super) fn is_of(&self, term: Term) -> bool {
        self.term == term
    }

    /// Whether `action` is to be proposed now. Whatever is not will come again or is there already.
    pub(super) fn admits(&self, db: &Database, action: &Action) -> bool {
        match action {
            Action::Write { .. } if mutated!(CopyAdmittedAndApplied | GapsAdmittedAndApplied) => {
                true
            }
            Action::Write { author, .. } => self.expected(db, author) == Some(author.sequence),
            Action::Open { nonce, .. } | Action::Attach { nonce, .. } => {
                self.attempts.len() < MAX_ATTEMPTS && !self.attempts.contains(nonce)
            }
            // Asked for again and again while nothing is committed.
            Action::Expire { session, token } => !self.expiries.contains(&(*session, *token)),
            Action::Reap { path, .. } => !self.reaps.contains(path),
            Action::Describe { .. } => true,
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
            Action::Expire { session, token } => {
                self.expiries.insert((*session, *token));
            }
            Action::Reap { path, .. } => {
                self.reaps.insert(path.clone());
            }
            Action::Describe { .. } => {}
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
            Action::Expire { session, token } => {
                self.expiries.remove(&(*session, *token));
            }
            Action::Reap { path, .. } => {
                self.reaps.remove(path);
            }
            Action::Describe { .. } => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(nonce: u64) -> Action {
        let (session, password) = (SessionId(nonce as i64), [0; 16]);
        Action::Open { session, password, timeout_ms: 4_000, nonce: Nonce(nonce) }
    }

    #[test]
    fn what_the_leader_wishes_is_in_the_log_once() {
        let db = Database::new();
        let mut admission = Admission::default();
        let expire = |token| Action::Expire { session: SessionId(1), token: Token(token) };
        let reap = |path: &str| Action::Reap { path: path.into(), unused_ms: 0 };
        for (action, other) in [(expire(1), expire(2)), (reap("/a"), reap("/b"))] {
            assert!(admission.admits(&db, &action));
            admission.note(&action);
            assert!(!admission.admits(&db, &action), "{action:?} is in the log");
            assert!(admission.admits(&db, &other));
            admission.applied(&action);
            assert!(admission.admits(&db, &action), "it is applied, and may be due again");
        }
    }

    #[test]
    fn attempts_in_the_log_are_limited() {
        let db = Database::new();
        let mut admission = Admission::default();
        (0..MAX_ATTEMPTS as u64).for_each(|nonce| admission.note(&open(nonce)));
        let next = open(MAX_ATTEMPTS as u64);
        assert!(!admission.admits(&db, &next));
        admission.applied(&open(7));
        assert!(admission.admits(&db, &next));
    }
}
