//! What the service should be: a naive model of tree and sessions, fed with the committed log.
//!
//! Invariant: it shares no code with the state machine that it judges, only the nouns of `proto`.
//! It keeps the state after every entry, so that a read at any zxid can be judged.

pub mod acl;
mod quota;
mod restore;
mod state;
mod writes;

pub use restore::{Restores, Staged};
pub use state::{Change, ChangeKind, Kind, Node, Session, State, parent};
pub use writes::Moment;

use std::collections::BTreeMap;
use std::sync::Arc;

use zokor_core::db::{Action, Author, Lane, LocalWork, Txn};
use zokor_core::id::{ServerId, SessionId, Token};
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
    /// A session was opened; its token is the zxid.
    Opened(SessionId),
    /// A session that one server knew is known to all; its token is the zxid.
    Upgraded(SessionId),
    /// A session was attached anew; its token is the zxid.
    Attached(SessionId),
    /// A session was ended by the leader.
    Expired(SessionId),
    /// The leader wished a container or TTL znode to go; it did, or it was not due. Containers that
    /// never had a child may stay for so many milliseconds; 0 for ever.
    Reaped(String, i64),
    /// Another state took the place of this one.
    Restored {
        /// Sessions that are not in it.
        ended: Vec<SessionId>,
        /// Sessions that had ended, or never were, and came to life; their tokens are the zxid.
        revived: Vec<SessionId>,
    },
    /// Nothing a client could see.
    Nothing,
}

/// The state after each entry of the log.
#[derive(Debug)]
pub struct Model {
    /// By index; the first is the fresh state.
    steps: Vec<Step>,
    /// By session: the zxid at which it ended.
    ended: BTreeMap<SessionId, Zxid>,
    /// By session: the zxid at which a restore brought it to life last.
    revived: BTreeMap<SessionId, Zxid>,
    /// By session: the password of every one that ever was.
    passwords: BTreeMap<SessionId, [u8; 16]>,
    /// The counter in a zxid is below this.
    counters: i64,
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
    /// The fresh state.
    pub fn new() -> Self {
        let step = Step {
            zxid: Zxid::ZERO,
            outcome: Outcome::Nothing,
            changes: Vec::new(),
            state: Arc::new(State::fresh()),
        };
        let (ended, revived, passwords) = Default::default();
        Model { steps: vec![step], ended, revived, passwords, counters: 1 << 32 }
    }

    /// The same with a counter of so many bits in zxids; of 32 if it is not said.
    pub fn counting(self, bits: Option<u8>) -> Self {
        Model { counters: 1 << bits.unwrap_or(32), ..self }
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

    /// The zxid at which `session` ended, if it did and no restore has brought it back.
    pub fn ended(&self, session: SessionId) -> Option<Zxid> {
        self.ended.get(&session).copied()
    }

    /// Whether a restore has brought `session` to life after `zxid`: it was not open until then.
    pub fn revived_since(&self, session: SessionId, zxid: Zxid) -> bool {
        self.revived.get(&session).is_some_and(|revived| *revived > zxid)
    }

    /// The password of `session`, whether it is open or has ended; `None` if it never was.
    pub fn password(&self, session: SessionId) -> Option<&[u8; 16]> {
        self.passwords.get(&session)
    }

    /// Takes the next committed entry.
    pub fn append(&mut self, entry: &Entry<Txn>) {
        let before = self.newest();
        let (zxid, outcome, changes, state) = match &entry.payload {
            Payload::Blank => {
                let epoch = (entry.id.term.0 as i64).max((before.zxid.0 >> 32) + 1);
                let zxid = Zxid(epoch << 32);
                (zxid, Outcome::Nothing, Vec::new(), before.state.clone())
            }
            Payload::Membership(_) => {
                (self.after(before.zxid), Outcome::Nothing, Vec::new(), before.state.clone())
            }
            Payload::Command(txn) => {
                let zxid = self.after(before.zxid);
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
            Outcome::Opened(session) | Outcome::Upgraded(session) => {
                self.passwords.insert(*session, state.sessions[session].password);
            }
            Outcome::Restored { ended, revived } => {
                self.ended.extend(ended.iter().map(|session| (*session, zxid)));
                for session in revived {
                    self.ended.remove(session);
                    self.revived.insert(*session, zxid);
                    self.passwords.insert(*session, state.sessions[session].password);
                }
            }
            Outcome::Answered { .. }
            | Outcome::Attached(_)
            | Outcome::Reaped(..)
            | Outcome::Nothing => {}
        }
        self.steps.push(Step { zxid, outcome, changes, state });
    }

    /// The zxid of an entry that opens no term, after an entry of `zxid`.
    fn after(&self, Zxid(zxid): Zxid) -> Zxid {
        let (epoch, counter) = (zxid >> 32, (zxid & 0xffff_ffff) + 1);
        Zxid(if counter < self.counters { zxid + 1 } else { (epoch + 1) << 32 })
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
            let (session, identities) = (author.session, &author.identities);
            let (rules, is_local) = (txn.rules, false);
            let at = Moment { zxid, time: txn.time, rules, session, identities, is_local };
            let result = state.write(at, write, changes);
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
            Outcome::Opened(*session)
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
        Action::Reap { path, unused_ms } => {
            state.reap(zxid, txn.time, (path, *unused_ms), changes);
            Outcome::Reaped(path.to_string(), *unused_ms)
        }
        Action::Describe { ensemble } => {
            state.describe(zxid, txn.time, ensemble, changes);
            Outcome::Nothing
        }
        Action::Enroll { server, first, replaces, .. } => {
            enroll(state, zxid, (*server, *first, *replaces));
            Outcome::Nothing
        }
        Action::Local { lane, author, work } => {
            local(state, zxid, txn, (*lane, author, work), changes)
        }
        Action::BeginRestore { .. } | Action::Restore { .. } | Action::AbandonRestore { .. } => {
            restore(state, zxid, txn, changes)
        }
    }
}

fn restore(state: &mut State, zxid: Zxid, txn: &Txn, changes: &mut Vec<Change>) -> Outcome {
    let has_room = !txn.rules.no_room;
    match &txn.action {
        Action::BeginRestore { replaces, .. } => state.begin_restore(zxid, *replaces, has_room),
        Action::Restore { token, number, step } => {
            return state.restore(zxid, (*token, *number), step, has_room, changes);
        }
        Action::AbandonRestore { token, number } => state.abandon_restore(*token, *number),
        _ => {}
    }
    Outcome::Nothing
}

/// A server takes up its lane, and ids with it.
fn enroll(state: &mut State, zxid: Zxid, (server, first, replaces): (ServerId, SessionId, Token)) {
    let known = state.lanes.get(&server).map_or(Token(0), |&(token, _)| token);
    let prefix = (first.0 >> 56) as u8;
    let is_new = state.last_ids.get(&prefix).is_none_or(|last| *last < first);
    if known == replaces && is_new {
        state.lanes.insert(server, (Token(zxid.0), 0));
        state.last_ids.insert(prefix, SessionId(first.0 + (1 << 24) - 1));
    }
}

fn local(
    state: &mut State,
    zxid: Zxid,
    txn: &Txn,
    (lane, author, work): (Lane, &Author, &LocalWork),
    changes: &mut Vec<Change>,
) -> Outcome {
    if !takes_its_turn(state, lane) {
        return Outcome::Nothing;
    }
    match work {
        LocalWork::Write(write) => {
            let (session, identities) = (author.session, &author.identities);
            let (time, rules, is_local) = (txn.time, txn.rules, true);
            let at = Moment { zxid, time, rules, session, identities, is_local };
            let result = state.write(at, write, changes);
            let (author, write) = (Box::new(author.clone()), Box::new(write.clone()));
            Outcome::Answered { author, write, result }
        }
        LocalWork::Upgrade { password, timeout_ms } => {
            upgrade(state, zxid, author, (*password, *timeout_ms))
        }
    }
}

/// Whether it is the turn of what stands at this place in its server's lane.
fn takes_its_turn(state: &mut State, lane: Lane) -> bool {
    let Some((token, last)) = state.lanes.get_mut(&lane.server) else { return false };
    let is_next = *token == lane.token && *last + 1 == lane.sequence.0;
    *last += u64::from(is_next);
    is_next
}

fn upgrade(
    state: &mut State,
    zxid: Zxid,
    author: &Author,
    (password, timeout_ms): ([u8; 16], i32),
) -> Outcome {
    let session = author.session;
    if state.sessions.contains_key(&session) {
        return Outcome::Nothing;
    }
    let last = state.last_ids.entry((session.0 >> 56) as u8).or_insert(session);
    *last = session.max(*last);
    let (token, sequence) = (Token(zxid.0), author.sequence.0);
    state.sessions.insert(session, Session { password, timeout_ms, token, sequence });
    Outcome::Upgraded(session)
}

#[cfg(test)]
mod tests;
