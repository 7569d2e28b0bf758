//! The one loop that drives a replica over sockets, storage and clocks.
//!
//! All of one server runs on one thread: the tasks of its connections and links put inputs into the
//! replica, and one task, the pump, carries out what the replica then wishes for, once for all
//! tasks that were woken in the same turn. So a request crosses no thread between two sockets, one
//! wake-up costs one write to storage, one to each peer and one to each connection, and the time
//! that a disk or a socket takes is the window in which the next batch gathers. Only storage has
//! threads of its own ([`storage_workers`]), and clients' sockets have if [`Config::io_threads`]
//! says so.
//!
//! Invariant: nothing here decides anything of the protocol; it moves values.

mod browse;
mod client;
mod clock;
mod config;
mod connection;
mod counts;
mod doubt_told;
mod driver;
mod error;
mod facts;
mod keeping;
mod log_writer;
mod machine;
mod part;
mod peers;
mod queue;
mod repair_told;
mod restore;
mod scrubber;
mod server;
mod shared;
mod snapshot_writer;
mod sockets;
mod submit;
mod survey;
#[cfg(test)]
mod tests;
mod thread;
mod throttle;
mod written;

pub use browse::WatchWalk;
pub use clock::{Clock, SystemClock};
pub use config::{Config, Limits};
pub use counts::{Sent, ServiceCounts};
pub use error::Error;
pub use facts::{
    Admin, Answer, Auditor, ConnectionFacts, Detail, DiskRoom, Latency, PeerFacts, Reset,
    ScrubFacts, ServerFacts, SessionFacts, SessionTable, Throttling, Traffic,
};
pub use log_writer::{
    Done, LogJob, LogSteps, LogStore, Refusal, Steps, StoragePort, Worker, Workers, storage_workers,
};
pub use queue::RequestThrottle;
pub use scrubber::{ScrubJob, ScrubSteps, ScrubStore};
pub use server::{Addresses, Handle, Listeners, Parts, Server};
pub use snapshot_writer::{SnapshotJob, SnapshotSteps, SnapshotStore};
pub use thread::{Prepared, RunningServer, start};
pub use throttle::{ConnectThrottle, Share, Weights};
