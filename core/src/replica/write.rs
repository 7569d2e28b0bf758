//! What the leader lets into its log.
//!
//! Invariant: within one leadership each client write enters the log once and in the order of its
//! sequence, whatever the network does to the servers that forward it. The database checks the same
//! once more when it applies ([`Outcome`](crate::db::Outcome)), since other leaders wrote there
//! too.

use std::collections::{BTreeMap, BTreeSet};

use crate::db::{Action, Database, LocalWork, Txn};
use crate::id::{Nonce, Sequence, SessionId, Token};
use crate::proto::Text;
use crate::raft::{Command, Entry, Payload, Term};
use crate::session::lane_of;

/// The leader's memory of what it has in its log and has not applied.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The leadership that this is about.
    term: Term,
    /// The last write of each session, or lane, in the log.
    writes: BTreeMap<SessionId, (Token, Sequence)>,
    /// Local sessions to be upgraded, in the log, with the sequence that goes on under the new
    /// token. Their server may apply that before the leader does, whose disk may be slower.
    upgrades: BTreeMap<SessionId, Sequence>,
    /// Attempts in the log.
    attempts: BTreeSet<Nonce>,
    /// Sessions to be expired, with the attachment that is overdue, in the log.
    expiries: BTreeSet<(SessionId, Token)>,
    /// Znodes to be reaped, in the log.
    reaps: BTreeSet<Text>,
    /// Beginnings of restores in the log, and how often each is there: several leaders may have let
    /// one in.
    begins: BTreeMap<Nonce, usize>,
    /// The last step of a restore in the log.
    step: Option<(Token, Sequence)>,
    /// A restore to be given up, with its last step, in the log.
    abandon: Option<(Token, Sequence)>,
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
            Action::Write { .. } | Action::Local { .. } => {
                let Some((id, token, sequence)) = turn(action) else { return false };
                self.expected(db, id, token) == Some(sequence)
            }
            Action::Open { nonce, .. }
            | Action::Attach { nonce, .. }
            | Action::Enroll { nonce, .. }
            | Action::BeginRestore { nonce, .. } => {
                self.attempts.len() < MAX_ATTEMPTS && !self.attempts.contains(nonce)
            }
            // Asked for again and again while nothing is committed.
            Action::Expire { session, token } => !self.expiries.contains(&(*session, *token)),
            Action::Reap { path, .. } => !self.reaps.contains(path),
            Action::Describe { .. } => true,
            Action::Restore { token, number, .. } => {
                self.expected_step(db, *token) == Some(*number)
            }
            Action::AbandonRestore { token, number } => self.abandon != Some((*token, *number)),
        }
    }

    /// Whether `action` waits for the end of a restore: what it would do would be gone then, though
    /// it was acknowledged. It comes again, as whatever is not let in.
    pub(super) fn holds_back(&self, db: &Database, action: &Action) -> bool {
        let is_restoring = !self.begins.is_empty() || db.is_restoring();
        is_restoring
            && matches!(action, Action::Write { .. } | Action::Local { .. } | Action::Open { .. })
    }

    /// Notes what has just gone into the log.
    pub(super) fn note(&mut self, action: &Action) {
        match action {
            Action::Write { .. } | Action::Local { .. } => {
                if let Some((id, token, sequence)) = turn(action) {
                    self.writes.insert(id, (token, sequence));
                }
                if let Some((session, sequence)) = upgraded(action) {
                    self.upgrades.insert(session, sequence);
                }
            }
            Action::Open { nonce, .. }
            | Action::Attach { nonce, .. }
            | Action::Enroll { nonce, .. } => {
                self.attempts.insert(*nonce);
            }
            Action::BeginRestore { nonce, .. } => {
                self.attempts.insert(*nonce);
                *self.begins.entry(*nonce).or_default() += 1;
            }
            Action::Expire { session, token } => {
                self.expiries.insert((*session, *token));
            }
            Action::Reap { path, .. } => {
                self.reaps.insert(path.clone());
            }
            Action::Describe { .. } => {}
            Action::Restore { token, number, .. } => self.step = Some((*token, *number)),
            Action::AbandonRestore { token, number } => self.abandon = Some((*token, *number)),
        }
    }

    /// Forgets what has been applied: the database remembers it from now on.
    pub(super) fn applied(&mut self, action: &Action) {
        match action {
            Action::Write { .. } | Action::Local { .. } => {
                if let Some((id, token, sequence)) = turn(action)
                    && self.writes.get(&id) == Some(&(token, sequence))
                {
                    self.writes.remove(&id);
                }
                if let Some((session, _)) = upgraded(action) {
                    self.upgrades.remove(&session);
                }
            }
            Action::Open { nonce, .. }
            | Action::Attach { nonce, .. }
            | Action::Enroll { nonce, .. } => {
                self.attempts.remove(nonce);
            }
            Action::BeginRestore { nonce, .. } => {
                self.attempts.remove(nonce);
                // Only what was noted: a server that does not lead applies as well.
                if let Some(copies) = self.begins.get_mut(nonce) {
                    *copies -= 1;
                    if *copies == 0 {
                        self.begins.remove(nonce);
                    }
                }
            }
            Action::Expire { session, token } => {
                self.expiries.remove(&(*session, *token));
            }
            Action::Reap { path, .. } => {
                self.reaps.remove(path);
            }
            Action::Describe { .. } => {}
            Action::Restore { token, number, .. } => {
                self.step.take_if(|step| *step == (*token, *number));
            }
            Action::AbandonRestore { token, number } => {
                self.abandon.take_if(|abandon| *abandon == (*token, *number));
            }
        }
    }

    /// The next step of the restore `token`, or `None` if it is not the one under way.
    fn expected_step(&self, db: &Database, token: Token) -> Option<Sequence> {
        let facts = db.restores();
        let applied = facts.staged.map(|(number, _)| (facts.begun, number));
        match self.step.max(applied) {
            Some((newest, number)) if newest == token => Some(Sequence(number.0 + 1)),
            Some(_) | None => None,
        }
    }

    /// The next sequence under the token, or `None` if a later one is known.
    fn expected(&self, db: &Database, id: SessionId, token: Token) -> Option<Sequence> {
        let logged = self.writes.get(&id).copied();
        let applied = db.turn(id);
        let newest = logged.max(applied);
        match newest {
            Some((newest, sequence)) if newest == token => Some(Sequence(sequence.0 + 1)),
            Some((newest, _)) if newest > token => None,
            Some(_) | None => {
                let before = self.upgrades.get(&id).map_or(0, |sequence| sequence.0);
                Some(Sequence(before + 1))
            }
        }
    }
}

/// Which local session it upgrades, and the sequence of its last write before.
fn upgraded(action: &Action) -> Option<(SessionId, Sequence)> {
    match action {
        Action::Local { author, work: LocalWork::Upgrade { .. }, .. } => {
            Some((author.session, author.sequence))
        }
        _ => None,
    }
}

/// By what it is known whether it is the turn of a write: the session's, or its server's lane.
fn turn(action: &Action) -> Option<(SessionId, Token, Sequence)> {
    match action {
        Action::Write { author, .. } => Some((author.session, author.token, author.sequence)),
        Action::Local { lane, .. } => Some((lane_of(lane.server)?, lane.token, lane.sequence)),
        _ => None,
    }
}

impl Command for Txn {
    fn size_bytes(&self) -> usize {
        Txn::size_bytes(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::db::{Author, Lane};
    use crate::id::ServerId;
    use crate::proto::Write;

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
    fn writes_wait_for_every_copy_of_a_beginning_that_leaders_have_left_and_no_longer() {
        let db = Database::new();
        let mut admission = Admission::default();
        let begin = |nonce| Action::BeginRestore { replaces: Token(0), nonce: Nonce(nonce) };
        for copy in [begin(1), begin(2), begin(1)] {
            admission.note(&copy);
        }
        for copy in [begin(1), begin(1), begin(2)] {
            assert!(admission.holds_back(&db, &open(5)), "{copy:?} is not applied");
            admission.applied(&copy);
        }
        assert!(!admission.holds_back(&db, &open(5)));
        admission.applied(&begin(2));
        assert!(!admission.holds_back(&db, &open(5)), "another leader's");
    }

    /// The server of the session may have applied the upgrade before the leader has.
    #[test]
    fn what_follows_an_upgrade_that_is_not_applied_yet_goes_on_where_the_session_was() {
        let db = Database::new();
        let mut admission = Admission::default();
        let author = |token, sequence| Author {
            session: SessionId(9),
            token: Token(token),
            sequence: Sequence(sequence),
            identities: Arc::new([]),
        };
        let write = |token, sequence| Action::Write {
            author: author(token, sequence),
            write: Write::Delete { path: "/a".into(), version: -1 },
        };
        let upgrade = Action::Local {
            lane: Lane { server: ServerId(1), token: Token(5), sequence: Sequence(1) },
            author: author(3, 17),
            work: LocalWork::Upgrade { password: [0; 16], timeout_ms: 4_000 },
        };
        assert!(!admission.admits(&db, &write(40, 18)));
        admission.note(&upgrade);
        assert!(admission.admits(&db, &write(40, 18)));
        assert!(!admission.admits(&db, &write(40, 1)) && !admission.admits(&db, &write(40, 19)));
        admission.note(&write(40, 18));
        assert!(admission.admits(&db, &write(40, 19)) && !admission.admits(&db, &write(40, 18)));
        admission.applied(&write(40, 18));
        admission.applied(&upgrade);
        assert!(admission.admits(&db, &write(41, 1)), "another that knows nothing of it");
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
