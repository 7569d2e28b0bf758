//! What the clients of a whole run did and heard, and its judgement by the committed log.
//!
//! Invariant: deeds stand in the order of simulated time, each as its client saw it, so that
//! whatever was heard before something was asked had happened before it. Judging needs nothing of
//! a server but the log that it stored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use zokor_core::db::Txn;
use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{ConnectRequest, Request};
use zokor_core::raft::SharedEntry;

use super::client::address_of;
use crate::check::judge::Judge;
use crate::check::session::local::Place;
use crate::check::testimony::Testimony;
use crate::check::{Verdict, linearizability, zxid};
use crate::client::Heard;
use crate::model::Model;
use crate::probe::Probes;
use crate::world::queue::Micros;

/// One thing that a client did or heard, or that the world did.
#[derive(Clone, Debug)]
pub enum Deed {
    /// It opens a connection to a server.
    Connects(ConnId, u64, ConnectRequest),
    /// It asks for something.
    Asks(ConnId, Xid, Arc<Request>),
    /// It leaves a connection.
    Leaves(ConnId),
    /// It hears something.
    Hears(ConnId, Heard),
    /// The world interferes, or notes something.
    World(String),
}

/// A deed and its moment.
#[derive(Clone, Debug)]
pub struct Moment {
    /// When, in microseconds of simulated time.
    pub time: Micros,
    /// What.
    pub deed: Deed,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>11.6} ", self.time as f64 / 1e6)?;
        let name = |conn: &ConnId| format!("client {}.{}", conn.0 >> 32, conn.0 & 0xffff_ffff);
        match &self.deed {
            Deed::Connects(conn, server, request) => {
                write!(f, "{} connects to server {server}: {request:?}", name(conn))
            }
            Deed::Asks(conn, xid, request) => {
                write!(f, "{} asks {} {}", name(conn), xid.0, Brief(request))
            }
            Deed::Leaves(conn) => write!(f, "{} leaves", name(conn)),
            Deed::Hears(conn, heard) => write!(f, "{} hears {}", name(conn), Brief(heard)),
            Deed::World(what) => write!(f, "-- {what}"),
        }
    }
}

/// The beginning of what a thing shows of itself.
struct Brief<'a, T>(&'a T);

impl<T: fmt::Debug> fmt::Display for Brief<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut short = Short { f, n_left: BRIEF };
        // It ends early by an error, which is none.
        let _ = write!(short, "{:?}", self.0);
        Ok(())
    }
}

struct Short<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    n_left: usize,
}

impl Write for Short<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() > self.n_left {
            self.n_left = 0;
            self.f.write_str("...")?;
            return Err(fmt::Error);
        }
        self.n_left -= text.len();
        self.f.write_str(text)
    }
}

/// Everything in order. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Vec<Moment>>>);

impl History {
    /// Notes a deed.
    pub fn note(&self, time: Micros, deed: Deed) {
        self.lock().push(Moment { time, deed });
    }

    /// All of it so far.
    pub fn moments(&self) -> Vec<Moment> {
        self.lock().clone()
    }

    /// A number that depends on all of it.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for moment in self.lock().iter() {
            hasher.write(format!("{moment}").as_bytes());
        }
        hasher.finish()
    }

    /// Its last `n` lines.
    pub fn chart(&self, n: usize) -> String {
        let moments = self.lock();
        let from = moments.len().saturating_sub(n);
        moments[from..].iter().map(|moment| format!("{moment}\n")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Moment>> {
        self.0.lock().expect("nobody panics with the history")
    }
}

/// The state after every entry of `log`, from the fresh one in `model`.
///
/// # Errors
/// If zxids do not grow.
pub fn model(mut model: Model, log: &[SharedEntry<Txn>]) -> Result<Model, crate::check::Violation> {
    for entry in log {
        model.append(entry);
        zxid::grows(&model)?;
    }
    Ok(model)
}

/// Judges all that clients saw by what the `log` says, of which `model` is the states.
///
/// # Errors
/// If they saw anything else.
pub fn judge(
    moments: &[Moment],
    (log, model): (&[SharedEntry<Txn>], &Model),
    probes: &mut Probes,
) -> Verdict {
    let judge = effects(moments, log, model)?;
    let mut court = Court { model, judge, conns: BTreeMap::new(), probes };
    for moment in moments {
        court.see(moment)?;
    }
    court.cross_check()
}

/// Every write in the log was asked for, at its place.
fn effects(
    moments: &[Moment],
    log: &[SharedEntry<Txn>],
    model: &Model,
) -> Result<Judge, crate::check::Violation> {
    let mut judge = Judge::default();
    judge.writes.close_outlives();
    for moment in moments {
        match &moment.deed {
            Deed::Hears(conn, Heard::Connected(response)) if response.session != SessionId(0) => {
                judge.writes.attached(response.session, *conn);
            }
            Deed::Asks(conn, _, request) if matches!(**request, Request::Write(_)) => {
                judge.writes.asked(*conn, request.clone());
            }
            _ => {}
        }
    }
    for (entry, index) in log.iter().zip(1..) {
        judge.committed(entry, index, model)?;
    }
    Ok(judge)
}

/// Where every connection testifies, as its client saw it.
struct Court<'a> {
    model: &'a Model,
    judge: Judge,
    conns: BTreeMap<ConnId, Testimony>,
    probes: &'a mut Probes,
}

impl Court<'_> {
    fn see(&mut self, moment: &Moment) -> Verdict {
        let time = moment.time;
        let answered = self.judge.writes.answered();
        match &moment.deed {
            Deed::Connects(conn, _, request) => {
                let mut state = Testimony::new(*conn, address_of(*conn), request);
                let ended = self.model.ended(request.session);
                state.ended_before = ended.is_some_and(|zxid| zxid <= answered);
                state.asked_at = answered;
                self.conns.insert(*conn, state);
                Ok(())
            }
            Deed::Asks(conn, xid, request) => {
                self.conn(*conn).asked(time, *xid, request.clone(), answered);
                Ok(())
            }
            Deed::Hears(conn, heard) => self.heard(time, *conn, heard),
            Deed::Leaves(_) | Deed::World(_) => Ok(()),
        }
    }

    fn heard(&mut self, time: Micros, conn: ConnId, heard: &Heard) -> Verdict {
        let model = self.model;
        let state = self.conns.get_mut(&conn).expect("a connection is opened before it is heard");
        match heard {
            Heard::Connected(response) => {
                let refused = response.session == SessionId(0);
                if refused || state.wanted() != SessionId(0) {
                    let what = if refused { "session refused" } else { "session resumed" };
                    self.probes.hit(what);
                }
                state.connected(time, response, Place::default(), &mut self.judge, model)
            }
            Heard::Reply(xid, zxid, result) => {
                let answer = (*zxid, result);
                match &*state.replied(time, *xid, answer, &mut self.judge, model)? {
                    Request::Write(_) => self.probes.hit("write acknowledged"),
                    Request::SetWatches(_) => self.probes.hit("watches set again"),
                    _ => {}
                }
                Ok(())
            }
            Heard::Notify(zxid, event) => {
                self.probes.hit("watch fired");
                state.notified(*zxid, event, model)
            }
            Heard::Closed => {
                self.probes.hit("connection lost");
                if state.order().has_write() {
                    self.probes.hit("connection lost with writes in flight");
                }
                Ok(())
            }
        }
    }

    /// Judges the whole history without zxids.
    fn cross_check(&mut self) -> Verdict {
        let clients: BTreeSet<u64> = self.conns.keys().map(|conn| conn.0 >> 32).collect();
        // Those that only read at the end do not count.
        if clients.len() > 2 * linearizability::MOST_CLIENTS {
            return Ok(());
        }
        for state in self.conns.values() {
            state.finished(&mut self.judge);
        }
        let judged = self.judge.history.judge()?;
        (0..judged).for_each(|_| self.probes.hit("znode whose history one order explains"));
        Ok(())
    }

    fn conn(&mut self, conn: ConnId) -> &mut Testimony {
        self.conns.get_mut(&conn).expect("a connection is opened before anything else")
    }
}

/// Characters of a request or an answer in the history's text.
const BRIEF: usize = 600;

#[cfg(test)]
mod tests {
    use zokor_core::proto::{ConnectResponse, ErrorCode, Write, Zxid};

    use super::*;

    const CONN: ConnId = ConnId(1);

    fn judged(zxid: i64, session: i64) -> Verdict {
        let history = History::default();
        let connect = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 1,
            session: SessionId(0),
            password: Default::default(),
            read_only: None,
        };
        let request = Arc::new(Request::Write(Write::Delete { path: "/a".into(), version: -1 }));
        let (session, password) = (SessionId(session), [0; 16]);
        let response = ConnectResponse { timeout_ms: 1, session, password, read_only: None };
        for deed in [
            Deed::Connects(CONN, 1, connect),
            Deed::Hears(CONN, Heard::Connected(response)),
            Deed::Asks(CONN, Xid(1), request),
            Deed::Hears(CONN, Heard::Reply(Xid(1), Zxid(zxid), Err(ErrorCode::NoNode))),
        ] {
            history.note(0, deed);
        }
        judge(&history.moments(), (&[], &Model::new()), &mut Probes::default())
    }

    #[test]
    fn what_is_not_in_the_log_may_not_be_heard() {
        let check = |verdict: Verdict| verdict.expect_err("the log is empty").check;
        assert_eq!(check(judged(7, 0)), "expired means ended (S9)");
        assert_eq!(check(judged(7, 5)), "connected means open (S9)");
    }

    #[test]
    fn a_history_shows_the_beginning_of_what_is_long() {
        let path = "x".repeat(10_000);
        let request = Arc::new(Request::Sync(path.as_str().into()));
        let line = Moment { time: 0, deed: Deed::Asks(CONN, Xid(1), request) }.to_string();
        assert!(line.len() < 1_000 && line.ends_with("..."), "{line}");
    }
}
