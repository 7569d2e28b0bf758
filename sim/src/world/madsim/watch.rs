//! The true time of a simulated world.

use ::madsim::time::{Instant, TimeHandle};

use crate::world::queue::Micros;

/// True time, readable from anywhere.
#[derive(Clone)]
pub struct Watch {
    time: TimeHandle,
    origin: Instant,
}

impl Watch {
    /// Begins now. Inside a simulation only.
    pub fn start() -> Self {
        let time = TimeHandle::current();
        let origin = time.now_instant();
        Watch { time, origin }
    }

    /// Microseconds since the start.
    pub fn micros(&self) -> Micros {
        (self.time.now_instant() - self.origin).as_micros() as Micros
    }
}
