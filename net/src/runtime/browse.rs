//! What can be had of a running server part by part, from another thread: each part holds the loop
//! up for a moment that does not grow with what the server holds.
//!
//! Invariant: the parts are of different moments. What is there from the first to the last is
//! shown; what comes or goes meanwhile may be, or be shown twice.

use std::sync::MutexGuard;

use zokor_core::db::Image;
use zokor_core::id::{ConnId, SessionId};
use zokor_core::proto::{AclList, Text};

use super::driver::Driver;
use super::facts::{ConnectionFacts, Reset, SessionFacts};
use super::server::Handle;

/// How far a walk over all watches, connection by connection, has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct WatchWalk {
    conn: Option<ConnId>,
    /// Where in the connection's list the rest ends; 0 if there is none.
    left: usize,
}

impl Handle {
    /// Connections behind `after`, ascending by age; empty at the end.
    pub fn connections_after(&self, after: Option<ConnId>) -> Vec<(ConnId, ConnectionFacts)> {
        let (driver, now) = self.shared.of_any();
        let from = after.map_or(ConnId(0), |last| ConnId(last.0 + 1));
        let part = driver.connections.range(from..).take(PART);
        let facts = part.map(|(conn, connection)| {
            (*conn, connection.facts(now, driver.n_outstanding(*conn), &driver.limits))
        });
        facts.collect()
    }

    /// Sessions that all servers know, behind `after`, ascending; empty at the end.
    pub fn sessions_after(&self, after: Option<SessionId>) -> Vec<SessionFacts> {
        let (driver, now) = self.shared.of_any();
        driver.machine.sessions_after(now, after, PART)
    }

    /// Ephemeral znodes behind `after`, ascending by session and path; empty at the end.
    pub fn ephemerals_after(&self, after: Option<(SessionId, &str)>) -> Vec<(SessionId, Text)> {
        self.driver().machine.ephemerals_after(after, PART)
    }

    /// The next part of the paths that each session watches for data here, which may be empty;
    /// `None` at the end. The parts of one session follow each other.
    pub fn watches(&self, walk: &mut WatchWalk) -> Option<(SessionId, Vec<Text>)> {
        let driver = self.driver();
        if walk.left == 0 {
            walk.conn = Some(driver.machine.next_watching(walk.conn)?);
            walk.left = usize::MAX;
        }
        let conn = walk.conn?;
        let (paths, left) = driver.machine.watched_by(conn, walk.left, PART);
        walk.left = left;
        match driver.connections.get(&conn).and_then(|connection| connection.session) {
            Some(session) => Some((session, paths)),
            None => Some((SessionId(0), Vec::new())),
        }
    }

    /// Paths with the sessions that watch them for data here, from the place `from` on, and the
    /// place of the next part; `None` at the end. Begin with 0.
    pub fn watches_by_path(&self, from: u32) -> (Vec<(Text, Vec<SessionId>)>, Option<u32>) {
        let driver = self.driver();
        let (part, next) = driver.machine.watches_by_path(from, PART);
        let session = |conn| driver.connections.get(&conn).and_then(|it| it.session);
        let of_sessions = |(path, conns): (Text, Vec<ConnId>)| {
            (path, conns.into_iter().filter_map(session).collect())
        };
        (part.into_iter().map(of_sessions).collect(), next)
    }

    /// The whole state as it is now. Costs a pointer for every 64 znodes.
    pub fn freeze(&self) -> Image {
        self.driver().machine.freeze()
    }

    /// What the root lets whom do.
    pub fn root_acl(&self) -> AclList {
        self.driver().machine.root_acl()
    }

    /// Sets counters back.
    pub fn reset(&self, which: Reset) {
        self.driver().reset(which);
    }

    /// Sets back what is counted of the connections to observers.
    pub fn reset_observers(&self) {
        self.driver().peers.reset();
    }

    /// Ends client connections by chance, so that they find other servers: of a hundred about
    /// `percent`. `seed` throws the dice. Returns how many.
    pub fn shed(&self, percent: u32, seed: u64) -> usize {
        self.driver().shed_share(percent, seed)
    }

    /// The driver, even of a server that is broken.
    fn driver(&self) -> MutexGuard<'_, Driver> {
        self.shared.of_any().0
    }
}

/// What one part holds, about.
const PART: usize = 512;
