//! Addresses and limits of one server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use zokor_core::id::ServerId;

use super::queue::RequestThrottle;
use super::throttle::ConnectThrottle;
use crate::transport::{Credentials, DialLimits, ReceiveLimits};

/// Where a server listens, whom it knows, and what it withstands.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub id: ServerId,
    /// Where clients come in; port 0 takes any free one.
    pub client_addresses: Vec<SocketAddr>,
    /// How many clients that are not taken in yet may wait at each of them; `None` leaves it to the
    /// system.
    pub client_backlog: Option<u32>,
    /// Where peers come in; none for a standalone server. Of several, those that cannot be had at
    /// the start are tried again.
    pub peer_addresses: Vec<SocketAddr>,
    /// Hosts and ports of others, which could not be found yet: looked up again until they are.
    pub late_peer_addresses: Vec<String>,
    /// The other servers: host and port of each one's `peer_addresses`, looked up at each attempt.
    pub peers: BTreeMap<ServerId, Vec<String>>,
    /// Names the ensemble: a server with another number here is a stranger. It must be the same on
    /// all servers at all times, also while an operator changes one server's configuration after
    /// the other. Default 0.
    pub ensemble: u64,
    /// Threads that serve clients' sockets beside the event loop; with 0 the event loop does.
    /// Simulated worlds have none. Default 0.
    pub io_threads: usize,
    /// Limits of clients.
    pub limits: Limits,
    /// Limits of connections to peers.
    pub dial: DialLimits,
    /// Limits of connections from peers.
    pub receive: ReceiveLimits,
    /// What it can show its peers and wants to be shown, on every connection between servers;
    /// `None` if they are not authenticated. Default `None`.
    pub credentials: Option<Arc<Credentials>>,
    /// Bytes queued to one peer before its connection is given up. At least 1 MiB. Default 64 MiB.
    pub peer_queue_bytes: usize,
    /// Connections from peers that have not said who they are, or not shown it, at most; the oldest
    /// from the address with most of them gives way to the newest. Default 64.
    pub max_strangers: usize,
    /// How long a leader that stops waits for another to take over; zero if it is not to ask.
    /// Default 500 ms.
    pub hand_over_timeout: Duration,
    /// How long a server that stops waits for its clients to take their last words. Default 2 s.
    pub farewell_timeout: Duration,
}

impl Config {
    /// The defaults for a standalone server at `client_address`.
    pub fn new(id: ServerId, client_address: SocketAddr) -> Self {
        Config {
            id,
            client_addresses: vec![client_address],
            client_backlog: None,
            peer_addresses: Vec::new(),
            late_peer_addresses: Vec::new(),
            peers: BTreeMap::new(),
            ensemble: 0,
            io_threads: 0,
            limits: Limits::default(),
            dial: DialLimits::default(),
            receive: ReceiveLimits::default(),
            credentials: None,
            peer_queue_bytes: 64 << 20,
            max_strangers: 64,
            hand_over_timeout: Duration::from_millis(500),
            farewell_timeout: Duration::from_secs(2),
        }
    }
}

/// What clients may do to a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// ZooKeeper's `jute.maxbuffer`: the longest frame in bytes. Default 1,048,575.
    pub max_frame_bytes: usize,
    /// ZooKeeper's `maxCnxns`: connections in all; 0 for no limit. Default 0.
    pub max_connections: usize,
    /// ZooKeeper's `maxClientCnxns`: connections of one address; 0 for no limit. Default 60.
    pub max_connections_per_address: usize,
    /// To a whole connect request. Default 10 s.
    pub handshake_timeout: Duration,
    /// ZooKeeper's `globalOutstandingLimit`: while more requests wait for their answer, nothing is
    /// read from connections that have any. Default 1,000.
    pub global_outstanding: usize,
    /// Requests of one connection that wait for their answer before nothing more is read from it.
    /// Well below the replica's own limit, at which it cuts. Default 2,000.
    pub connection_outstanding: usize,
    /// Bytes of requests of one connection that wait for their answer before nothing more is read
    /// from it. Default 8 MiB.
    pub connection_outstanding_bytes: usize,
    /// How many lists the requests of one connection that wait for their answer may bring before
    /// nothing more is read from it: a list of children counts once, a multiRead and a setWatches
    /// as many times as may be. Default 16.
    pub outstanding_lists: usize,
    /// Bytes that wait to be written to a connection before nothing more is read from it, and its
    /// further answers wait unencoded. Default 1 MiB.
    pub unsent_bytes: usize,
    /// What events may weigh that wait beyond that; then the connection is cut. Default 64 MiB.
    pub unsent_event_bytes: usize,
    /// What may wait for all connections together, answers and events, encoded or not; beyond it
    /// the one for which most waits is cut. Default 256 MiB.
    pub unsent_total_bytes: usize,
    /// A connection that for this long takes neither all that waits for it nor
    /// `least_progress_bytes` of that is cut. Default 30 s.
    pub write_timeout: Duration,
    /// See `write_timeout`. Default 16 KiB.
    pub least_progress_bytes: usize,
    /// ZooKeeper's `largeRequestThreshold`: frames of more bytes are large; `None` if none is.
    /// Default `None`.
    pub large_request_threshold: Option<usize>,
    /// ZooKeeper's `largeRequestMaxBytes`: what large requests that wait for their answer may weigh
    /// together; the connection of one that would be too much is cut. Default 100 MiB.
    pub large_request_max_bytes: usize,
    /// How fast clients may connect.
    pub connect_throttle: ConnectThrottle,
    /// How many requests may be with the replica, and how long others may wait.
    pub request_throttle: RequestThrottle,
    /// With fewer bytes free where the log is, this server is short of room: another leads if one
    /// has room, and if no quorum has, the leader refuses writes that store anything. 0 for never.
    /// Default 128 MiB.
    pub disk_reserve_bytes: u64,
    /// How much is read in a second of what lies at rest on the disk, to find damage while there is
    /// a good copy in memory. 0 for nothing. Default 1 MiB.
    pub scrub_bytes_per_second: u64,
    /// How long a connection that is finished waits for its client to close it. Default 500 ms;
    /// zero closes at once.
    pub linger: Duration,
    /// How often idle connections are looked for. Default 250 ms.
    pub sweep_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_frame_bytes: 0xf_ffff,
            max_connections: 0,
            max_connections_per_address: 60,
            handshake_timeout: Duration::from_secs(10),
            global_outstanding: 1_000,
            connection_outstanding: 2_000,
            connection_outstanding_bytes: 8 << 20,
            outstanding_lists: 16,
            unsent_bytes: 1 << 20,
            unsent_event_bytes: 64 << 20,
            unsent_total_bytes: 256 << 20,
            write_timeout: Duration::from_secs(30),
            least_progress_bytes: 16 << 10,
            large_request_threshold: None,
            large_request_max_bytes: 100 << 20,
            connect_throttle: ConnectThrottle::default(),
            request_throttle: RequestThrottle::default(),
            disk_reserve_bytes: 128 << 20,
            scrub_bytes_per_second: 1 << 20,
            linger: Duration::from_millis(500),
            sweep_interval: Duration::from_millis(250),
        }
    }
}
