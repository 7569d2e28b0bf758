//! S10. A session that one server knows is given to its client by that server alone, in one life of
//! it, under its password; it ends only when its client ends it or was silent for its timeout, and
//! then nothing of it takes effect any more (ZooKeeper: `LocalSessionTracker`,
//! `ReadOnlyZooKeeperServer`). A session that costs the log nothing is not in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use zokor_core::id::{ServerId, SessionId};
use zokor_core::proto::Zxid;
use zokor_core::time::Instant;

use crate::check::{Verdict, must};
use crate::model::Model;

const CHECK: &str = "local sessions are their server's (S10)";

/// Where and when something is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The server.
    pub server: ServerId,
    /// Which of its lives.
    pub life: u64,
    /// By its own clock.
    pub now: Instant,
    /// What it does may be seen this much later than it is done.
    pub slack: Duration,
    /// Whether its new sessions are to be known to it alone.
    pub is_local: bool,
}

/// Every session that was given by one server alone.
#[derive(Debug, Default)]
pub struct Locals(BTreeMap<SessionId, Given>);

#[derive(Clone, Copy, Debug)]
struct Given {
    server: ServerId,
    life: u64,
    password: [u8; 16],
    read_only: bool,
    /// In milliseconds.
    timeout: u64,
    /// When its server last heard of it, by that server's clock.
    heard: Instant,
    /// Its client has asked for its end, and perhaps never heard of it.
    is_closing: bool,
    ended: bool,
}

/// What a client was given.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// The session.
    pub session: SessionId,
    /// Its password.
    pub password: [u8; 16],
    /// In milliseconds.
    pub timeout_ms: i32,
    /// Whether the server is in read-only mode.
    pub read_only: bool,
}

impl Locals {
    /// Whether `session` was given by one server alone, and is not known to all.
    pub fn has(&self, session: SessionId, model: &Model) -> bool {
        self.0.contains_key(&session) && model.password(session).is_none()
    }

    /// Whether `session` was given by this server in this life.
    pub fn is_of(&self, session: SessionId, place: Place) -> bool {
        let known = self.0.get(&session);
        known.is_some_and(|known| known.server == place.server && known.life == place.life)
    }

    /// A client that wanted `wanted` and showed `shown` is given a session that is in no log.
    ///
    /// # Errors
    /// If it is not one of this server and life, the password was wrong, or it has ended.
    pub fn given(
        &mut self,
        (wanted, shown): (SessionId, &[u8]),
        grant: Grant,
        place: Place,
    ) -> Verdict {
        let Grant { session, password, timeout_ms, read_only } = grant;
        let known = self.0.get(&session);
        let holds = match known {
            Some(known) if wanted == session => {
                let same = known.server == place.server && known.life == place.life;
                // One of a server that wrote may go on when it only reads; never the other way.
                same && shown == known.password
                    && password == known.password
                    && (read_only || !known.read_only)
                    && !known.ended
            }
            // Ids that a former life gave and that nobody else heard of may come again.
            Some(known) => {
                wanted == SessionId(0) && known.server == place.server && known.life != place.life
            }
            None => wanted == SessionId(0),
        };
        must(CHECK, holds, || {
            format!("{place:?} gives {grant:?} for {wanted} and {shown:?}, known is {known:?}")
        })?;
        let goes_on = known.filter(|_| wanted == session);
        let given = Given {
            server: place.server,
            life: place.life,
            password,
            read_only: goes_on.map_or(read_only, |known| known.read_only),
            timeout: u64::from(timeout_ms.unsigned_abs()),
            heard: place.now,
            is_closing: false,
            ended: false,
        };
        self.0.insert(session, given);
        Ok(())
    }

    /// A client of a session that one server knows, or knew, is refused.
    ///
    /// # Errors
    /// If it is that server, the password is right, and the client was not silent.
    pub fn refused(&mut self, session: SessionId, shown: &[u8], place: Place) -> Verdict {
        let Some(known) = self.0.get_mut(&session) else { return Ok(()) };
        let is_of = known.server == place.server && known.life == place.life;
        if !is_of || shown != known.password {
            return Ok(());
        }
        // With read-only mode its sessions go.
        let was_silent = known.is_overdue(place) || known.read_only;
        let (copy, excused) = (*known, known.ended || known.is_closing || was_silent);
        known.ended = true;
        must("expired means ended (S9)", excused, || {
            format!("{session} of {copy:?} is refused by {place:?}")
        })
    }

    /// Something of it comes in at its server, at `now` by that server's clock.
    pub fn heard(&mut self, session: SessionId, now: Instant) {
        if let Some(known) = self.0.get_mut(&session) {
            known.heard = known.heard.max(now);
        }
    }

    /// Its client's wish to close it comes in at its server.
    pub fn closing(&mut self, session: SessionId) {
        if let Some(known) = self.0.get_mut(&session) {
            known.is_closing = true;
        }
    }

    /// Its client was told that it has closed it.
    pub fn closed(&mut self, session: SessionId) {
        if let Some(known) = self.0.get_mut(&session) {
            known.ended = true;
        }
    }

    /// Its connection is ended by its server, since it was silent for too long.
    ///
    /// # Errors
    /// If it was not.
    pub fn expired(&mut self, session: SessionId, place: Place) -> Verdict {
        let Some(known) = self.0.get_mut(&session) else { return Ok(()) };
        known.ended = true;
        let copy = *known;
        must("no early expiry (S5)", copy.is_overdue(place), || {
            format!("{session} of {copy:?} is ended by its server at {place:?}")
        })
    }

    /// A write of it takes effect at `zxid`.
    ///
    /// # Errors
    /// If it had ended, or was read-only.
    pub fn acted(&self, session: SessionId, zxid: Zxid) -> Verdict {
        let known = self.0.get(&session);
        let holds = known.is_some_and(|known| !known.ended && !known.read_only);
        must("nothing after a session's end (S3)", holds, || {
            format!("{zxid} is of {session}, of which is known {known:?}")
        })
    }
}

impl Given {
    fn is_overdue(&self, place: Place) -> bool {
        place.now.since(self.heard) + place.slack >= Duration::from_millis(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(5);
    const NEW: (SessionId, &[u8]) = (SessionId(0), &[]);

    fn at(life: u64, ms: u64) -> Place {
        let now = Instant::from_micros(ms * 1_000);
        Place { server: ServerId(1), life, now, is_local: true, ..Place::default() }
    }

    fn grant(read_only: bool) -> Grant {
        Grant { session: SESSION, password: [7; 16], timeout_ms: 100, read_only }
    }

    fn locals(read_only: bool) -> Locals {
        let mut locals = Locals::default();
        locals.given(NEW, grant(read_only), at(1, 0)).unwrap();
        locals
    }

    #[test]
    fn a_session_goes_on_at_its_server_in_the_same_life_with_its_password() {
        let right = (SESSION, &[7; 16][..]);
        assert!(locals(false).given(right, grant(false), at(1, 50)).is_ok());
        assert!(locals(false).given((SESSION, &[8; 16]), grant(false), at(1, 50)).is_err());
        assert!(locals(false).given(right, grant(true), at(1, 50)).is_ok());
        assert!(locals(true).given(right, grant(false), at(1, 50)).is_err());
        assert!(locals(false).given(right, grant(false), at(2, 50)).is_err());
        let elsewhere = Place { server: ServerId(2), ..at(1, 50) };
        assert!(locals(false).given(right, grant(false), elsewhere).is_err());
        assert!(locals(false).given(NEW, grant(false), at(1, 50)).is_err());
        assert!(locals(false).given(NEW, grant(false), at(2, 50)).is_ok());
        let mut closed = locals(false);
        closed.closed(SESSION);
        assert!(closed.given(right, grant(false), at(1, 50)).is_err());
    }

    #[test]
    fn an_end_needs_silence_or_the_client_s_word() {
        for (ms, silent) in [(99, false), (100, true)] {
            assert_eq!(locals(false).expired(SESSION, at(1, ms)).is_ok(), silent);
            assert_eq!(locals(false).refused(SESSION, &[7; 16], at(1, ms)).is_ok(), silent);
            assert!(locals(true).refused(SESSION, &[7; 16], at(1, ms)).is_ok());
            assert!(locals(false).refused(SESSION, &[8; 16], at(1, ms)).is_ok());
            assert!(locals(false).refused(SESSION, &[7; 16], at(2, ms)).is_ok());
        }
        let mut heard = locals(false);
        heard.heard(SESSION, at(1, 30).now);
        assert!(heard.expired(SESSION, at(1, 129)).is_err());
        let slack = Duration::from_millis(1);
        heard.heard(SESSION, at(1, 30).now);
        assert!(heard.expired(SESSION, Place { slack, ..at(1, 129) }).is_ok());
    }

    #[test]
    fn a_write_after_the_end_or_of_a_reader_is_found() {
        let mut kept = locals(false);
        assert!(kept.acted(SESSION, Zxid(1)).is_ok());
        kept.closed(SESSION);
        assert!(kept.acted(SESSION, Zxid(1)).is_err());
        assert!(locals(true).acted(SESSION, Zxid(1)).is_err());
        assert!(kept.acted(SessionId(6), Zxid(1)).is_err());
    }
}
