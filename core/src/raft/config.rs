//! Timeouts and limits of the consensus protocol.

use std::time::Duration;

use super::membership::Membership;
use crate::id::ServerId;

/// What one member needs to know to take part.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub id: ServerId,
    /// The membership in force while the log and the snapshot say nothing else.
    pub membership: Membership,
    /// A leader that has nothing to say says so this often. At least 1 ms. Default 100 ms.
    pub heartbeat_interval: Duration,
    /// A follower that hears nothing for this long, and up to twice this (drawn anew each time),
    /// starts an election; a leader that hears from no quorum for this long steps down. At least
    /// three heartbeat intervals. Default 1 s.
    pub election_timeout: Duration,
    /// A follower whose connection to the leader broke waits only up to this long, since a broken
    /// connection is the sign of a dead process. Default 30 ms.
    pub broken_link_timeout: Duration,
    /// A leader whose own disk has kept one write for this long hands over to the best follower.
    /// Default 2 s.
    pub disk_stall_timeout: Duration,
    /// A snapshot transfer that shows no sign of life for this long has failed, and is begun anew.
    /// Default 20 s.
    pub snapshot_timeout: Duration,
    /// The entries of one append weigh about this many bytes at most. Default 256 KiB.
    pub max_append_bytes: usize,
    /// Appends under way to one follower, at most. Default 64.
    pub max_appends_in_flight: usize,
    /// Snapshots under way at a time, beyond which learners wait for their turn; voters never do.
    /// At least 1. Default 10.
    pub max_snapshots: usize,
    /// Servers that are brought into step by entries of the log at a time, likewise. At least 1.
    /// Default 100.
    pub max_log_syncs: usize,
    /// As learner, be fed by a follower in the place of the leader, if one agrees; as follower,
    /// agree. Default false.
    pub relays: bool,
    /// A learner becomes a voter only if it lacks this many entries at most. Default 1,000.
    pub max_promotion_lag: u64,
    /// Entries kept in memory behind the last snapshot for followers that are a little behind;
    /// farther ones get the snapshot. Default 10,000.
    pub keep_entries: u64,
    /// ... and not more than this many bytes of them. Default 16 MiB.
    pub keep_bytes: usize,
}

impl Config {
    /// The defaults, for server `id` of `membership`.
    pub fn new(id: ServerId, membership: Membership) -> Self {
        Config {
            id,
            membership,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            broken_link_timeout: Duration::from_millis(30),
            disk_stall_timeout: Duration::from_secs(2),
            snapshot_timeout: Duration::from_secs(20),
            max_append_bytes: 256 << 10,
            max_appends_in_flight: 64,
            max_snapshots: 10,
            max_log_syncs: 100,
            relays: false,
            max_promotion_lag: 1_000,
            keep_entries: 10_000,
            keep_bytes: 16 << 20,
        }
    }
}
