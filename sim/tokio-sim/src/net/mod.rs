//! A network of hosts under one control: what TCP promises, and everything that it does not.
//!
//! madsim's own sockets take any number of bytes at once, never break while both processes live,
//! tell an end at once through any partition, and refuse what a clogged link should leave hanging.
//! These here are sockets as an operating system has them: bounded buffers, reads and writes of a
//! part, latency and bandwidth by link and direction, half-open connections, resets, attempts that
//! nobody answers. [`Net`] is the hand above them.
//!
//! Bytes of an old connection never show up in a new one: TCP does not do that. Worlds that
//! exchange messages instead of bytes play it.
//!
//! Invariants: everything is drawn from the seed of the simulation; ends learn of each other by
//! packets only; no waker is called, and nothing foreign run, under the lock.

mod control;
mod dice;
mod listener;
mod pipe;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod weather;

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use madsim::plugin::Simulator;
use madsim::rand::{GlobalRng, RngCore};
use madsim::task::NodeId;
use madsim::time::TimeHandle;

pub use control::{Break, Facts};
pub use listener::TcpListener;
pub use madsim::net::{ToSocketAddrs, lookup_host};
pub use state::{Door, Sockets};
pub use stream::TcpStream;
pub use weather::Weather;

use state::State;

/// Simulated time since the start.
type Time = Duration;

/// The network of one simulation. It has to be added to the runtime before anything uses sockets:
/// `runtime.add_simulator::<Net>()`.
pub struct Net {
    state: Mutex<State>,
    time: TimeHandle,
}

impl Simulator for Net {
    fn new(rand: &GlobalRng, time: &TimeHandle, _: &madsim::Config) -> Self {
        let state = State { seed: rand.clone().next_u64(), ..State::default() };
        Net { state: Mutex::new(state), time: time.clone() }
    }

    /// A node was killed: its process is gone.
    fn reset_node(&self, node: NodeId) {
        self.with(|state, now| state.end_process(node, now));
    }
}

impl Net {
    /// The network of the present simulation.
    ///
    /// # Panics
    /// Outside a simulation, or if its runtime was not given one.
    pub fn current() -> Arc<Self> {
        madsim::plugin::simulator()
    }

    /// Does something under the lock, and then wakes whom it concerns.
    fn with<T>(&self, act: impl FnOnce(&mut State, Time) -> T) -> T {
        let now = self.time.elapsed();
        let mut state = self.state.lock().expect("nothing foreign runs under the lock");
        let result = act(&mut state, now);
        let (wakes, alarms) = (std::mem::take(&mut state.wakes), std::mem::take(&mut state.alarms));
        drop(state);
        wakes.into_iter().for_each(Waker::wake);
        for (at, waker) in alarms {
            self.wake_at(at, waker);
        }
        result
    }

    /// Wakes somebody at a time. The timer stays when the future that has set it is gone.
    fn wake_at(&self, at: Time, waker: Waker) {
        let deadline = self.time.now_instant() + at.saturating_sub(self.time.elapsed());
        let alarm = std::pin::pin!(self.time.sleep_until(deadline));
        if alarm.poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
    }
}
