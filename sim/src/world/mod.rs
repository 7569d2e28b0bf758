//! Worlds: what stands in for disk, network, clock and clients.

mod carrying;
pub mod clock;
pub mod disk;
mod disk_faults;
mod event;
mod faults;
mod glance;
mod healing;
mod inspection;
mod limits;
pub mod madsim;
mod membership;
pub mod network;
mod origin;
mod pace;
mod proofs;
pub mod queue;
mod restores;
mod rot;
mod scrubbing;
pub mod sectors;
pub mod server;
mod serving;
pub mod stepped;
