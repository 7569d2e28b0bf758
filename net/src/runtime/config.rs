//! Addresses and limits of one server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use zokor_core::id::ServerId;

use crate::transport::{DialLimits, ReceiveLimits};

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
    /// Where peers come in; `None` for a standalone server.
    pub peer_address: Option<SocketAddr>,
    /// The other servers: host and port of each one's `peer_address`, looked up at each attempt.
    pub peers: BTreeMap<ServerId, String>,
    /// Names the ensemble: a server with another number here is a stranger. It must be the same on
    /// all servers at all times, also while an operator changes one server's configuration after
    /// the other. Default 0.
    pub ensemble: u64,
    /// Limits of clients.
    pub limits: Limits,
    /// Limits of connections to peers.
    pub dial: DialLimits,
    /// Limits of connections from peers.
    pub receive: ReceiveLimits,
    /// Bytes queued to one peer before its connection is given up. At least 1 MiB. Default 64 MiB.
    pub peer_queue_bytes: usize,
    /// Connections from peers that have not said who they are, at most; the oldest gives way to the
    /// newest. Default 64.
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
            peer_address: None,
            peers: BTreeMap::new(),
            ensemble: 0,
            limits: Limits::default(),
            dial: DialLimits::default(),
            receive: ReceiveLimits::default(),
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
    /// Bytes that wait to be written to a connection before nothing more is read from it, and its
    /// further answers wait unencoded. Default 1 MiB.
    pub unsent_bytes: usize,
    /// Answers and events that may wait beyond that; then the connection is cut. Default 100,000.
    pub unsent_answers: usize,
    /// A connection that takes no byte of what waits for it for this long is cut. Default 30 s.
    pub write_timeout: Duration,
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
            unsent_bytes: 1 << 20,
            unsent_answers: 100_000,
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_millis(500),
            sweep_interval: Duration::from_millis(250),
        }
    }
}
