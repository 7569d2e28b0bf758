//! What the service should be: a naive model of tree and sessions, fed with the committed log.
//!
//! Invariant: it shares no code with the state machine that it judges, only the nouns of `proto`.
//! It keeps the state after every entry, so that a read at any zxid can be judged.

mod state;

pub use state::{Change, ChangeKind, Node, Session, State};

use std::sync::Arc;

use zokor_core::db::{Action, Author, Txn};
use zokor_core::id::{SessionId, Token};
use zokor_core::proto::{ErrorCode, Response, Write, Zxid};
use zokor_core::raft::{Entry, Payload};

/// What one entry did.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A write was taken up.
    Answered {
        /// By whom.
        author: Box<Author>,
        /// What it asked for.
        write: Box<Write>,
        /// What the author hears.
        result: Result<Response, ErrorCode>,
    },
    /// A session was opened, or attached anew; its token is the zxid.
    Attached(SessionId),
    /// A session was ended by the leader.
    Expired(SessionId),
    /// Nothing a client could see.
    Nothing,
}

/// The state after each entry of the log.
#[derive(Debug)]
pub struct Model {
    /// By index; the first is the fresh state.
    steps: Vec<Step>,
    /// By session: the zxid at which it ended.
    ended: std::collections::BTreeMap<SessionId, Zxid>,
}

/// One entry, and what it left.
#[derive(Debug)]
pub struct Step {
    /// Its zxid.
    pub zxid: Zxid,
    /// What came of it.
    pub outcome: Outcome,
    /// What it did to the tree, in order.
    pub changes: Vec<Change>,
    /// The state after it.
    pub state: Arc<State>,
}

impl Model {
    /// The password of an open session.
    pub fn password(&self, session: SessionId) -> Option<[u8; 16]> {
        self.newest().state.sessions.get(&session).map(|session| session.password)
    }

    /// The fresh state.
    pub fn new() -> Self {
        let step = Step {
            zxid: Zxid::ZERO,
            outcome: Outcome::Nothing,
            changes: Vec::new(),
            state: Arc::new(State::fresh()),
        };
        Model { steps: vec![step], ended: std::collections::BTreeMap::new() }
    }

    /// The first entry left the fresh state as it is, and has this zxid.
    pub fn begin(&mut self, zxid: Zxid) {
        assert_eq!(self.last(), 0, "a history begins once");
        let state = self.newest().state.clone();
        self.steps.push(Step { zxid, outcome: Outcome::Nothing, changes: Vec::new(), state });
    }

    /// The number of entries.
    pub fn last(&self) -> usize {
        self.steps.len() - 1
    }

    /// The entry at `index`, or the fresh state for 0.
    pub fn step(&self, index: usize) -> &Step {
        &self.steps[index]
    }

    /// The newest state.
    pub fn newest(&self) -> &Step {
        self.steps.last().expect("the fresh state is always there")
    }

    /// The index of the entry with this zxid.
    pub fn index_of(&self, zxid: Zxid) -> Option<usize> {
        self.steps.binary_search_by_key(&zxid, |step| step.zxid).ok()
    }

    /// The entry with this zxid.
    pub fn at(&self, zxid: Zxid) -> Option<&Step> {
        self.index_of(zxid).map(|index| &self.steps[index])
    }

    /// The zxid at which `session` ended, if it did.
    pub fn ended(&self, session: SessionId) -> Option<Zxid> {
        self.ended.get(&session).copied()
    }

    /// Takes the next committed entry.
    pub fn append(&mut self, entry: &Entry<Txn>) {
        let before = self.newest();
        let (zxid, outcome, changes, state) = match &entry.payload {
            Payload::Blank => {
                let zxid = before.zxid.open_epoch(entry.id.term.0);
                (zxid, Outcome::Nothing, Vec::new(), before.state.clone())
            }
            Payload::Membership(_) => {
                (before.zxid.next(), Outcome::Nothing, Vec::new(), before.state.clone())
            }
            Payload::Command(txn) => {
                let zxid = before.zxid.next();
                let mut state = State::clone(&before.state);
                let mut changes = Vec::new();
                let outcome = apply(&mut state, zxid, txn, &mut changes);
                (zxid, outcome, changes, Arc::new(state))
            }
        };
        match &outcome {
            Outcome::Expired(session) => drop(self.ended.insert(*session, zxid)),
            Outcome::Answered { author, write, .. } if **write == Write::CloseSession => {
                self.ended.insert(author.session, zxid);
            }
            Outcome::Answered { .. } | Outcome::Attached(_) | Outcome::Nothing => {}
        }
        self.steps.push(Step { zxid, outcome, changes, state });
    }
}

impl Default for Model {
    fn default() -> Self {
        Model::new()
    }
}

fn apply(state: &mut State, zxid: Zxid, txn: &Txn, changes: &mut Vec<Change>) -> Outcome {
    match &txn.action {
        Action::Write { author, write } => {
            let Some(session) = state.sessions.get_mut(&author.session) else {
                return Outcome::Nothing;
            };
            if session.token != author.token || session.sequence + 1 != author.sequence.0 {
                return Outcome::Nothing;
            }
            session.sequence += 1;
            let result = state.write(zxid, txn.time, author.session, write, changes);
            let (author, write) = (Box::new(author.clone()), Box::new(write.clone()));
            Outcome::Answered { author, write, result }
        }
        Action::Open { session, password, timeout_ms, .. } => {
            let prefix = (session.0 >> 56) as u8;
            if state.last_ids.get(&prefix).is_some_and(|last| *last >= *session) {
                return Outcome::Nothing;
            }
            state.last_ids.insert(prefix, *session);
            let record = Session {
                password: *password,
                timeout_ms: *timeout_ms,
                token: Token(zxid.0),
                sequence: 0,
            };
            state.sessions.insert(*session, record);
            Outcome::Attached(*session)
        }
        Action::Attach { session, password, timeout_ms, replaces, .. } => {
            match state.sessions.get_mut(session) {
                Some(record) if record.password == *password && record.token == *replaces => {
                    record.timeout_ms = *timeout_ms;
                    record.token = Token(zxid.0);
                    record.sequence = 0;
                    Outcome::Attached(*session)
                }
                Some(_) | None => Outcome::Nothing,
            }
        }
        Action::Expire { session, token } => match state.sessions.get(session) {
            Some(record) if record.token == *token => {
                state.end(zxid, *session, changes);
                Outcome::Expired(*session)
            }
            Some(_) | None => Outcome::Nothing,
        },
        // The workload makes no containers, and looks at nothing below /zookeeper.
        Action::Reap { .. } | Action::Describe { .. } => Outcome::Nothing,
    }
}

#[cfg(test)]
mod tests;
