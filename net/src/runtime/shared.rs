//! What all tasks of one server share: the driver behind its lock, and the bells.
//!
//! Invariants: the lock is never held across an await, and all tasks run on one thread, so it is
//! waited for only when an operator asks from another thread, or where clients' sockets have
//! threads of their own. Whoever goes by the time reads it under the lock: what was read before may
//! be over when the lock is had. Every input is followed
//! by a pump, which runs after the tasks that were woken in the same turn, and so gathers their
//! inputs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use zokor_core::id::ServerId;
use zokor_core::replica::Stats;
use zokor_core::time::{Instant, Now};

use super::clock::Clock;
use super::driver::Driver;
use super::error::Error;
use super::facts::{Detail, ServerFacts};
use crate::transport::TurnedAway;

/// What all tasks of one server share.
pub(super) struct Shared {
    driver: Mutex<Driver>,
    clock: Arc<dyn Clock>,
    /// Something was put into the replica.
    pub(super) pump: Arc<Notify>,
    /// The replica's deadline has come nearer.
    pub(super) rearm: Notify,
    /// The server is to end, or has to.
    pub(super) ending: Notify,
    /// Whether the server was asked to stop.
    stopping: AtomicBool,
    /// Which part has failed, if one has.
    broken: OnceLock<&'static str>,
}

impl Shared {
    pub(super) fn new(driver: Driver, clock: Arc<dyn Clock>) -> Self {
        Shared {
            driver: Mutex::new(driver),
            clock,
            pump: Arc::default(),
            rearm: Notify::new(),
            ending: Notify::new(),
            stopping: AtomicBool::new(false),
            broken: OnceLock::new(),
        }
    }

    /// The driver.
    ///
    /// # Panics
    /// After an assertion has failed while it was held: every task that comes near it ends, and the
    /// server with them.
    pub(super) fn lock(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().expect("no assertion has failed under this lock")
    }

    /// The driver, and the time; nobody who had it before read a later one.
    ///
    /// # Panics
    /// As [`Self::lock`].
    pub(super) fn lock_now(&self) -> (MutexGuard<'_, Driver>, Now) {
        let driver = self.lock();
        (driver, self.clock.now())
    }

    /// How long the timers of the runtime must sleep until `deadline`.
    pub(super) fn until(&self, deadline: Instant) -> Duration {
        self.clock.until(deadline)
    }

    /// The same, for an operator's question from another thread, also of a server that is broken.
    pub(super) fn of_any(&self) -> (MutexGuard<'_, Driver>, Now) {
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        (driver, self.clock.now())
    }

    /// Has the driver do something that leaves nothing to be carried out.
    pub(super) fn with<T>(&self, what: impl FnOnce(&mut Driver, Now) -> T) -> T {
        let (mut driver, now) = self.lock_now();
        what(&mut driver, now)
    }

    /// Gives the driver something new, and has it carried out.
    pub(super) fn input<T>(&self, give: impl FnOnce(&mut Driver, Now) -> T) -> T {
        let answer = self.with(give);
        self.pump.notify_one();
        answer
    }

    /// The facts, even of a server that is broken.
    pub(super) fn facts(&self, detail: Detail) -> ServerFacts {
        let (driver, now) = self.of_any();
        driver.facts(now, detail)
    }

    /// What the replica says, even of a server that is broken.
    pub(super) fn stats(&self) -> Stats {
        self.of_any().0.machine.stats()
    }

    /// Whether this server leads others.
    pub(super) fn leads(&self) -> bool {
        self.lock().machine.leads()
    }

    /// One line about who was turned away at the peers' port, unless there were too many.
    pub(super) fn turned_away(&self, address: SocketAddr, why: &TurnedAway) {
        self.with(|driver, now| driver.turned_away(now, address, why));
    }

    /// A peer has come in from `address`.
    pub(super) fn met(&self, peer: ServerId, address: SocketAddr) {
        self.with(|driver, now| driver.peers.met(peer, address, now.wall));
    }

    /// Whether somebody has the driver.
    #[cfg(test)]
    pub(super) fn is_held(&self) -> bool {
        self.driver.try_lock().is_err()
    }

    /// Asks the server to stop in good order.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.ending.notify_one();
    }

    /// The server has ended: whoever still is connected is cut, and storage's workers may go.
    pub(super) fn end(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.driver.lock().unwrap_or_else(PoisonError::into_inner).end();
    }

    /// Whether an assertion has failed under the lock.
    pub(super) fn is_poisoned(&self) -> bool {
        self.driver.is_poisoned()
    }

    /// Ends the server, since `part` of it has failed; while it stops, parts end anyway.
    pub(super) fn fail(&self, part: &'static str) {
        if self.stopping.load(Ordering::Relaxed) {
            return;
        }
        // The first is the cause of those that follow it.
        let _ = self.broken.set(part);
        self.ending.notify_one();
    }

    /// Why the server has to end, in a form that can be passed on, if it has.
    pub(super) fn failure(&self) -> Option<Error> {
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        let storage = driver.failure.clone().map(Error::Storage);
        storage.or_else(|| self.broken.get().copied().map(Error::Broken))
    }
}
