//! The facts that four-letter words show: plain values, gathered by whoever runs the server.
//!
//! Invariant: nothing here is computed or formatted; `report`, `dump` and `monitor` do that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use zokor_core::id::SessionId;
use zokor_core::proto::{Text, Zxid};
use zokor_core::replica::Stats;
use zokor_core::time::WallTime;

/// What a server knows about itself at one moment.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    /// The replica's own numbers.
    pub stats: Stats,
    /// Whether it serves reads without a quorum.
    pub read_only: bool,
    /// The time of the question.
    pub now: WallTime,
    /// How long the process has served.
    pub uptime: Duration,
    /// How long it has led; `None` unless it leads.
    pub leader_uptime: Option<Duration>,
    /// From a request's arrival to its answer, since the start or the last `srst`.
    pub latency: Latency,
    /// Frames from clients since the start or the last `srst`.
    pub packets_received: u64,
    /// Frames to clients since the start or the last `srst`.
    pub packets_sent: u64,
    /// Sizes of proposed txns on a leader, if they are counted.
    pub proposal_bytes: Option<Sizes>,
    /// Sizes of answers to clients, if they are counted.
    pub response_bytes: Option<Sizes>,
    /// Attempts to authenticate that failed, if they are counted.
    pub auth_failures: Option<u64>,
    /// The version of the configuration that `/zookeeper/config` shows.
    pub config_version: i64,
    /// All client connections, the asking one included, in the order in which they came.
    pub connections: Vec<ConnectionFacts>,
    /// All sessions, if they are at hand.
    pub sessions: Option<Vec<SessionFacts>>,
    /// The ephemeral znodes of each session that has any, if they are at hand.
    pub ephemerals: Option<BTreeMap<SessionId, BTreeSet<Text>>>,
    /// The paths that each session watches for data here, if they are at hand.
    pub watches: Option<BTreeMap<SessionId, BTreeSet<Text>>>,
    /// Open file descriptors of the process and the most it may have, where the system tells:
    /// [`file_descriptors`](super::file_descriptors).
    pub file_descriptors: Option<(u64, u64)>,
}

/// One client connection.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Whether the server reads from it at present.
    pub reading: bool,
    /// Whether bytes wait to be written to it.
    pub writing: bool,
    /// Requests that wait for their answer.
    pub queued: u64,
    /// Frames that came.
    pub received: u64,
    /// Frames that went.
    pub sent: u64,
    /// When it was accepted.
    pub established: WallTime,
    /// When it is cut unless something comes first, if that is at hand.
    pub expires: Option<WallTime>,
    /// Its session; `None` before the handshake and for four-letter words.
    pub session: Option<ConnectionSession>,
}

/// What is known of a connection that has a session.
#[derive(Clone, Debug)]
pub struct ConnectionSession {
    /// The session.
    pub id: SessionId,
    /// ZooKeeper's short name for the last request, such as `GETD`; `NA` before the first.
    pub last_operation: &'static str,
    /// The session timeout in force, in milliseconds.
    pub timeout_ms: i32,
    /// The last request's xid; negative before the first and after a ping.
    pub last_xid: i32,
    /// The zxid of the last answer; -1 if it had none.
    pub last_zxid: Zxid,
    /// When the last answer went, in milliseconds of the monotonic clock.
    pub last_response_ms: u64,
    /// How long the last request took, in microseconds.
    pub last_latency_us: u64,
    /// Since the connection was accepted or the last `crst`.
    pub latency: Latency,
}

/// One session of the ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// The session.
    pub id: SessionId,
    /// Its timeout, in milliseconds.
    pub timeout_ms: i32,
    /// When it ends unless something is heard from it; known on a leader only.
    pub expires: Option<WallTime>,
}

/// Durations, counted in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// All together.
    pub total_us: u64,
    /// The shortest; 0 if there is none.
    pub min_us: u64,
    /// The longest; 0 if there is none.
    pub max_us: u64,
}

/// Sizes in bytes; `None` before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The latest.
    pub last: Option<u64>,
    /// The smallest.
    pub min: Option<u64>,
    /// The largest.
    pub max: Option<u64>,
}
