//! Limits and durations of one replica.

use std::time::Duration;

use crate::auth::AuthConfig;
use crate::db::Rules;
use crate::proto::Ensemble;
use crate::raft;

/// What one replica needs to know. Checked at the door by whoever builds it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The consensus protocol's part; its id is this server's id.
    pub raft: raft::Config,
    /// The servers whose addresses are known; `/zookeeper/config` shows those of them that are
    /// members. Empty for a standalone server.
    pub ensemble: Ensemble,
    /// ZooKeeper's `minSessionTimeout` in milliseconds. Default 4,000.
    pub min_session_timeout_ms: i32,
    /// ZooKeeper's `maxSessionTimeout` in milliseconds; not below the minimum. Default 40,000.
    pub max_session_timeout_ms: i32,
    /// How often sessions heard from are reported to the leader, and the leader looks for overdue
    /// ones. Well below the least session timeout. Default 500 ms.
    pub upkeep_interval: Duration,
    /// A server without a leader, or without a connection to it, or whose own disk keeps nothing of
    /// what is agreed, for this long lets its clients go, so that they find another. Longer than an
    /// election, well below the least session timeout. Default 3 s.
    pub orphan_timeout: Duration,
    /// A server that is to vote and has not caught up after this long is not taken up. Default 60
    /// s.
    pub catch_up_timeout: Duration,
    /// What was forwarded to the leader and is not applied after this long is sent again. Default 2
    /// s.
    pub resend_interval: Duration,
    /// Requests of one connection that wait for their answer, at most. The driver stops reading
    /// before; beyond it the connection is cut. Default 20,000.
    pub max_outstanding: usize,
    /// Events that wait to be fetched by the driver, one for each connection that is to hear it, at
    /// most; connections that are to hear more are closed. A large multi makes tens of thousands
    /// for each of its watchers, all before the driver can fetch the first. Default 4 Mi.
    pub max_events: usize,
    /// A snapshot is taken after this many entries. At least 1. Default 100,000.
    pub snapshot_entries: u64,
    /// ... or after this many bytes of entries. Default 64 MiB.
    pub snapshot_bytes: u64,
    /// How often the leader looks for empty containers and overdue TTL znodes. Default 60 s.
    pub reap_interval: Duration,
    /// How many of them it takes away a minute at most; at least 1. Default 10,000.
    pub reap_per_minute: u32,
    /// How long a container may stay that never had a child; zero for ever, which is the default.
    pub reap_unused_after: Duration,
    /// What this server stamps on what it takes up as leader. Its own reads go by `skip_acl`, too.
    /// By default, there are no TTL znodes, permissions are asked for and quotas not enforced.
    pub rules: Rules,
    /// ZooKeeper's `enableEagerACLCheck`: a write that its client has no permission for is refused
    /// by the client's own server, and never reaches the log. Default false.
    pub eager_acl: bool,
    /// How clients of this server prove who they are. It decides nothing of what an entry of the
    /// log does, so servers may differ in it.
    pub auth: AuthConfig,
    /// What clients may wish of the membership.
    pub reconfig: ReconfigRules,
    /// ZooKeeper's `localSessionsEnabled`: new sessions are known to this server alone, and cost
    /// the log nothing. Only for servers whose id has a [lane](crate::session::lane_of). Default
    /// false.
    pub local_sessions: bool,
    /// ZooKeeper's `localSessionsUpgradingEnabled`: a local session that makes an ephemeral znode
    /// becomes one that all servers know; else it may make none. Default false.
    pub local_upgrading: bool,
    /// ZooKeeper's `readonlymode.enabled`: without a leader for this long, and when the clients
    /// that may write are let go, this server answers the reads of clients that can do with that.
    /// Default none: never.
    pub read_only_after: Option<Duration>,
    /// ZooKeeper's `audit.enable`: what clients of this server do is noted, for
    /// [`take_deeds`](super::Replica::take_deeds). Default false.
    pub notes_deeds: bool,
    /// ZooKeeper's `digest.enabled`: whether this server lets its state be compared with those of
    /// the others, and compares them as leader. Default true.
    pub compares_states: bool,
}

/// Which wishes of clients for another membership are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconfigRules {
    /// ZooKeeper's `reconfigEnabled`. Default false.
    pub enabled: bool,
    /// The least voters that an ensemble may have: 1 with ZooKeeper's `standaloneEnabled=false`,
    /// else 2. Default 2.
    pub least_voters: usize,
    /// ZooKeeper's `multiAddress.enabled`: who joins may have several addresses. Default false.
    pub several_addresses: bool,
}

impl Default for ReconfigRules {
    fn default() -> Self {
        ReconfigRules { enabled: false, least_voters: 2, several_addresses: false }
    }
}

impl Config {
    /// The defaults around `raft`.
    pub fn new(raft: raft::Config) -> Self {
        Config {
            raft,
            ensemble: Ensemble::default(),
            min_session_timeout_ms: 4_000,
            max_session_timeout_ms: 40_000,
            upkeep_interval: Duration::from_millis(500),
            orphan_timeout: Duration::from_secs(3),
            catch_up_timeout: Duration::from_secs(60),
            resend_interval: Duration::from_secs(2),
            max_outstanding: 20_000,
            max_events: 4 << 20,
            snapshot_entries: 100_000,
            snapshot_bytes: 64 << 20,
            reap_interval: Duration::from_secs(60),
            reap_per_minute: 10_000,
            reap_unused_after: Duration::ZERO,
            rules: Rules::default(),
            eager_acl: false,
            auth: AuthConfig::default(),
            reconfig: ReconfigRules::default(),
            local_sessions: false,
            local_upgrading: false,
            read_only_after: None,
            notes_deeds: false,
            compares_states: true,
        }
    }
}
