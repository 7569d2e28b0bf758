//! Worlds: what stands in for disk, network, clock and clients.

pub mod clock;
pub mod disk;
mod faults;
pub mod madsim;
pub mod network;
pub mod queue;
pub mod server;
mod serving;
pub mod stepped;
