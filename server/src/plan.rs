//! Everything that one server needs to be started, from its configuration.
//!
//! Invariant: a plan is complete and consistent; whoever starts it decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zokor_core::auth::PeerAuth;
use zokor_core::id::ServerId;
use zokor_core::raft::{self, Membership};
use zokor_core::replica;
use zokor_net::transport::PEER_GONE_AFTER;

use crate::admin::{MemberSettings, Settings, Whitelist};
use crate::config::{
    AdminConfig, ClientLimits, HostPort, LogWrites, PeerRole, ServerLine, WILDCARD, ZooConfig,
};
use crate::first_start::FirstStart;

/// What one server is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The replica's limits and durations, and the membership at the first start.
    pub replica: replica::Config,
    /// Where clients are served; port 0 lets the system choose.
    pub client: HostPort,
    /// The listen backlog of the client port; `None` leaves it to the system.
    pub client_backlog: Option<u32>,
    /// Connections from one address, at most; 0 is without limit.
    pub max_connections_per_address: u32,
    /// Connections in all, at most; 0 is without limit.
    pub max_connections: u32,
    /// ZooKeeper's `globalOutstandingLimit`: while more requests wait for their answer, nothing is
    /// read from connections that have any. `None` leaves it to the event loop.
    pub outstanding_limit: Option<usize>,
    /// What else clients may do.
    pub limits: ClientLimits,
    /// Bytes queued to one peer before its connection is given up.
    pub peer_queue_bytes: usize,
    /// Where peers are listened for; empty if standalone.
    pub peer_listen: Vec<HostPort>,
    /// Where the other servers are reached, each at one of its addresses.
    pub peers: BTreeMap<ServerId, Vec<HostPort>>,
    /// How servers prove to each other who they are; `None` if they do not.
    pub peer_auth: Option<PeerAuth>,
    /// How long one of several addresses of a peer may take to answer.
    pub address_timeout: Duration,
    /// After how long the way to a peer is given up on which nothing comes back.
    pub gone_after: Duration,
    /// So many bytes of snapshots a second go to a peer at most; 0 sets no limit.
    pub snapshot_rate: u64,
    /// Names the ensemble to its peers, so that servers of two ensembles never mix. 0 if its
    /// servers have no number in common: ZooKeeper's files hold none, and whatever could be derived
    /// from the `server` lines would part the servers whose file is edited already from the others
    /// while an operator changes the membership server by server.
    pub ensemble: u64,
    /// How long a leader that stops waits for another to take over; zero if it is not to ask.
    pub hand_over_timeout: Duration,
    /// How long a server that stops waits for its clients to take their last words.
    pub farewell_timeout: Duration,
    /// The folder for snapshots, and for the log if that has none of its own.
    pub data_dir: PathBuf,
    /// The folder for the log, if it is another one.
    pub log_dir: Option<PathBuf>,
    /// How the log is written.
    pub log_writes: LogWrites,
    /// Whether they, and a database, are made if they are not there.
    pub first_start: FirstStart,
    /// Snapshots to keep, at least 3. Older ones are deleted after each new one.
    pub snapshots_kept: u32,
    /// What `conf` shows. The client port is the one in `client` until a socket is bound.
    pub settings: Settings,
    /// The four-letter words that may be asked.
    pub whitelist: Whitelist,
    /// What operators are offered beside them.
    pub admin: AdminConfig,
    /// The configuration's text, without its secrets.
    pub file_text: String,
    /// What a Java server would have as properties of its machine, without secrets.
    pub machine_properties: BTreeMap<String, String>,
}

impl Plan {
    /// The plan that `config` asks for.
    pub fn new(config: &ZooConfig) -> Self {
        Plan {
            replica: replica_config(config),
            client: config.client.clone(),
            client_backlog: config.client_backlog,
            max_connections_per_address: config.max_connections_per_address,
            max_connections: config.max_connections,
            outstanding_limit: config.outstanding_limit,
            limits: config.limits.clone(),
            peer_queue_bytes: peer_queue_bytes(config),
            peer_listen: config.own_line().map_or_else(Vec::new, |line| peer_listen(config, line)),
            peers: config
                .servers
                .iter()
                .filter(|line| line.id != config.id)
                .map(|line| (line.id, peer_addresses(line)))
                .collect(),
            peer_auth: config.peer_auth.clone(),
            address_timeout: config.peers.reach_timeout,
            gone_after: gone_after(config),
            snapshot_rate: config.peers.snapshot_rate,
            ensemble: 0,
            hand_over_timeout: Duration::from_millis(500),
            farewell_timeout: config.limits.shutdown_timeout.unwrap_or(Duration::from_secs(2)),
            settings: settings(config),
            data_dir: config.data_dir.clone(),
            log_dir: (!is_same_folder(&config.data_dir, &config.data_log_dir))
                .then(|| config.data_log_dir.clone()),
            log_writes: config.log_writes,
            first_start: config.first_start,
            snapshots_kept: config.snapshots_kept,
            whitelist: Whitelist::new(config.four_letter_words.as_deref()),
            admin: config.admin.clone(),
            file_text: config.file_text.clone(),
            machine_properties: config.machine_properties.clone(),
        }
    }
}

/// Timers follow the operator's estimate of the network. With ZooKeeper's sample (a tick of
/// 2,000 ms and a `syncLimit` of 5) they come out at the core's defaults.
fn replica_config(config: &ZooConfig) -> replica::Config {
    let membership = if config.is_standalone() {
        Membership::of_voters([config.id])
    } else {
        let of_role = |role: PeerRole| {
            config.servers.iter().filter(move |line| line.role == role).map(|line| line.id)
        };
        Membership {
            voters: of_role(PeerRole::Participant).collect(),
            learners: of_role(PeerRole::Observer).collect(),
            groups: config.groups.clone(),
            ..Membership::default()
        }
    };
    let mut raft = raft::Config::new(config.id, membership);
    raft.max_appends_in_flight = appends_in_flight(config);
    raft.max_snapshots = config.peers.max_snapshots;
    raft.max_log_syncs = config.peers.max_log_syncs;
    raft.may_be_wiped = config.first_start_waits_for_all && !config.is_standalone();
    raft.relays = config.peers.relays;
    if !config.is_standalone() {
        raft.election_timeout = election_timeout(config);
        let election_ms = u64::try_from(raft.election_timeout.as_millis()).unwrap_or(u64::MAX);
        raft.heartbeat_interval = Duration::from_millis(election_ms / 10);
        // ZooKeeper's time for a follower to connect and to catch up.
        let init_ms = u64::from(config.tick_time_ms) * u64::from(config.init_limit_ticks);
        raft.snapshot_timeout = Duration::from_millis(init_ms).max(raft.election_timeout);
    }
    let election_timeout = raft.election_timeout;
    let mut replica = replica::Config::new(raft);
    replica.ensemble = config.ensemble();
    replica.min_session_timeout_ms = config.min_session_timeout_ms;
    replica.max_session_timeout_ms = config.max_session_timeout_ms;
    // Sessions live by what is reported of them, so several reports must fit the least timeout.
    let least = Duration::from_millis(config.min_session_timeout_ms.unsigned_abs().into());
    replica.upkeep_interval = replica.upkeep_interval.min(least / 8).max(Duration::from_millis(10));
    replica.orphan_timeout = election_timeout * 3;
    replica.resend_interval = election_timeout * 2;
    replica.snapshot_entries = config.snapshot_entries;
    if let Some(bytes) = config.snapshot_bytes {
        replica.snapshot_bytes = bytes;
    }
    replica.rules = config.tree.rules;
    replica.eager_acl = config.tree.eager_acl;
    replica.reap_interval = config.tree.reap_interval;
    replica.reap_per_minute = config.tree.reap_per_minute;
    replica.reap_unused_after = config.tree.reap_unused_after;
    replica.compares_states = config.tree.compares_states;
    replica.auth = config.auth.clone();
    replica.notes_deeds = config.admin.audit.is_some();
    replica.reconfig = replica::ReconfigRules {
        enabled: config.reconfig_enabled,
        least_voters: if config.standalone_enabled { 2 } else { 1 },
        several_addresses: config.peers.several_addresses,
    };
    if !config.is_standalone() {
        replica.local_sessions = config.local_sessions;
        replica.local_upgrading = config.local_upgrading;
        // zookeeper: QuorumPeer.run, how long a server looks for a leader before.
        let after = Duration::from_millis(config.tick_time_ms.max(2_000).into());
        replica.read_only_after = config.read_only_mode.then_some(after);
    }
    replica
}

/// ZooKeeper gives up on a peer after `syncLimit` ticks, a tenth of which is enough here.
fn election_timeout(config: &ZooConfig) -> Duration {
    let sync_ms = u64::from(config.tick_time_ms) * u64::from(config.sync_limit_ticks);
    Duration::from_millis((sync_ms / 10).clamp(MIN_ELECTION_MS, MAX_ELECTION_MS))
}

fn settings(config: &ZooConfig) -> Settings {
    let member = config.own_line().map(|line| MemberSettings {
        id: config.id,
        init_limit_ticks: config.init_limit_ticks,
        sync_limit_ticks: config.sync_limit_ticks,
        election_port: line.addresses[0].election_port,
        quorum_port: line.addresses[0].quorum_port,
        is_observer: line.role == PeerRole::Observer,
        ensemble: config.ensemble(),
    });
    Settings {
        client_port: config.client.port,
        data_dir: config.data_dir.clone(),
        log_dir: config.data_log_dir.clone(),
        tick_time_ms: config.tick_time_ms,
        max_connections_per_address: config.max_connections_per_address,
        min_session_timeout_ms: config.min_session_timeout_ms,
        max_session_timeout_ms: config.max_session_timeout_ms,
        client_backlog: config.client_backlog,
        member,
    }
}

/// Appends under way to one follower: as many of the longest as weigh 64 MiB.
fn appends_in_flight(config: &ZooConfig) -> usize {
    (MAX_FLIGHT_BYTES / config.limits.max_frame_bytes).clamp(LEAST_APPENDS, MOST_APPENDS)
}

/// All that may be under way to a peer at once fits, with what else there is to say.
fn peer_queue_bytes(config: &ZooConfig) -> usize {
    let longest = config.limits.max_frame_bytes + ENTRY_OVERHEAD;
    MAX_FLIGHT_BYTES.max((appends_in_flight(config) + 2) * longest)
}

fn peer_addresses(line: &ServerLine) -> Vec<HostPort> {
    let addresses = line.addresses.iter();
    addresses.map(|a| HostPort { host: a.host.clone(), port: a.quorum_port }).collect()
}

/// Where there is another way, it is taken soon; but a peer has an election timeout to speak.
fn gone_after(config: &ZooConfig) -> Duration {
    let has_ways = config.servers.iter().any(|line| line.addresses.len() > 1);
    if !has_ways || !config.peers.reach_check {
        return PEER_GONE_AFTER;
    }
    (config.peers.reach_timeout * 2).max(election_timeout(config))
}

/// A server listens at the addresses of its own line, or at their ports on all addresses.
fn peer_listen(config: &ZooConfig, line: &ServerLine) -> Vec<HostPort> {
    let mut listen = peer_addresses(line);
    if config.quorum_listen_on_all_ips {
        for address in &mut listen {
            address.host = WILDCARD.to_owned();
        }
    }
    listen.sort();
    listen.dedup();
    listen
}

/// Whether two names mean one folder, also through links, as far as they exist.
fn is_same_folder(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

const MIN_ELECTION_MS: u64 = 300;
const MAX_ELECTION_MS: u64 = 10_000;

/// What appends under way to one follower weigh at most, about.
const MAX_FLIGHT_BYTES: usize = 64 << 20;
/// Fewer would wait for every answer.
const LEAST_APPENDS: usize = 2;
/// The core's own limit.
const MOST_APPENDS: usize = 64;
/// What an entry adds to the client's frame: its author with his identities, above all.
const ENTRY_OVERHEAD: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerAddress;

    fn trio() -> ZooConfig {
        let line = |id: u64, role| ServerLine {
            id: ServerId(id),
            addresses: vec![PeerAddress {
                host: format!("h{id}"),
                quorum_port: 2888,
                election_port: 3888,
            }],
            role,
            client: None,
            secure_client: None,
        };
        let client = HostPort { host: WILDCARD.to_owned(), port: 2181 };
        let mut config = ZooConfig::minimal(ServerId(2), "/data".into(), client);
        config.data_log_dir = "/log".into();
        let (participant, observer) = (PeerRole::Participant, PeerRole::Observer);
        config.servers = vec![line(1, participant), line(2, participant), line(3, observer)];
        config
    }

    #[test]
    fn observers_are_learners_and_the_log_may_lie_apart() {
        let plan = Plan::new(&trio());
        let membership = &plan.replica.raft.membership;
        assert_eq!(membership.voters, [ServerId(1), ServerId(2)].into());
        assert_eq!(membership.learners, [ServerId(3)].into());
        assert_eq!(plan.peers.keys().copied().collect::<Vec<_>>(), [ServerId(1), ServerId(3)]);
        assert_eq!(plan.peer_listen, [HostPort { host: "h2".into(), port: 2888 }]);
        assert_eq!(plan.data_dir, PathBuf::from("/data"));
        assert_eq!(plan.log_dir, Some(PathBuf::from("/log")));
        assert_eq!(plan.replica.raft.snapshot_timeout, Duration::from_secs(20));
        assert_eq!(plan.ensemble, 0);
        assert!(!plan.settings.member.as_ref().is_some_and(|member| member.is_observer));
    }

    #[test]
    fn all_addresses_are_listened_at_if_asked_for() {
        let config = ZooConfig { quorum_listen_on_all_ips: true, ..trio() };
        let plan = Plan::new(&config);
        assert_eq!(plan.peer_listen, [HostPort { host: WILDCARD.into(), port: 2888 }]);
    }

    #[test]
    fn a_server_listens_at_each_of_its_addresses_and_peers_are_looked_for_at_each() {
        let address =
            |host: &str| PeerAddress { host: host.into(), quorum_port: 2888, election_port: 3888 };
        let mut config = trio();
        assert_eq!(Plan::new(&config).gone_after, PEER_GONE_AFTER);
        for (line, host) in config.servers.iter_mut().zip(["n1", "n2", "n3"]) {
            line.addresses.push(address(host));
        }
        config.peers.reach_timeout = Duration::from_millis(700);
        let at = |host: &str| HostPort { host: host.into(), port: 2888 };
        let plan = Plan::new(&config);
        assert_eq!(plan.peer_listen, [at("h2"), at("n2")]);
        assert_eq!(plan.peers[&ServerId(3)], [at("h3"), at("n3")]);
        assert_eq!(plan.address_timeout, Duration::from_millis(700));
        assert_eq!(plan.gone_after, Duration::from_millis(1_400));
        config.peers.reach_timeout = Duration::from_millis(1);
        assert_eq!(Plan::new(&config).gone_after, plan.replica.raft.election_timeout);
        config.peers.reach_check = false;
        assert_eq!(Plan::new(&config).gone_after, PEER_GONE_AFTER);
        config.quorum_listen_on_all_ips = true;
        assert_eq!(Plan::new(&config).peer_listen, [at(WILDCARD)]);
    }

    #[test]
    fn one_that_stands_alone_has_no_sessions_of_its_own_and_never_only_reads() {
        let wishes = |config: ZooConfig| ZooConfig {
            local_sessions: true,
            local_upgrading: true,
            read_only_mode: true,
            ..config
        };
        let member = Plan::new(&wishes(trio())).replica;
        assert!(member.local_sessions && member.local_upgrading);
        assert_eq!(member.read_only_after, Some(Duration::from_secs(2)));
        let slow = Plan::new(&wishes(ZooConfig { tick_time_ms: 3_000, ..trio() })).replica;
        assert_eq!(slow.read_only_after, Some(Duration::from_secs(3)));
        let alone = wishes(ZooConfig { servers: Vec::new(), ..trio() });
        let alone = Plan::new(&alone).replica;
        assert!(!alone.local_sessions && alone.read_only_after.is_none());
    }

    #[test]
    fn zookeepers_sample_gives_the_cores_default_timers() {
        let plan = Plan::new(&trio());
        let membership = plan.replica.raft.membership.clone();
        let raft = raft::Config::new(ServerId(2), membership);
        let default = replica::Config::new(raft.clone());
        assert_eq!(plan.replica.raft.election_timeout, raft.election_timeout);
        assert_eq!(plan.replica.raft.heartbeat_interval, raft.heartbeat_interval);
        assert_eq!(plan.replica.raft.snapshot_timeout, raft.snapshot_timeout);
        assert_eq!(plan.replica.upkeep_interval, default.upkeep_interval);
        assert_eq!(plan.replica.orphan_timeout, default.orphan_timeout);
        assert_eq!(plan.replica.resend_interval, default.resend_interval);
    }

    #[test]
    fn what_may_be_under_way_to_a_peer_fits_its_queue() {
        let plan = |max_frame_bytes| {
            let mut config = trio();
            config.limits.max_frame_bytes = max_frame_bytes;
            Plan::new(&config)
        };
        let usual = plan(0xf_ffff);
        assert_eq!(usual.replica.raft.max_appends_in_flight, MOST_APPENDS);
        for bytes in [64, 0xf_ffff, 4 << 20, 64 << 20] {
            let plan = plan(bytes);
            let most = plan.replica.raft.max_appends_in_flight;
            assert!((LEAST_APPENDS..=MOST_APPENDS).contains(&most), "{bytes}: {most}");
            assert!(plan.peer_queue_bytes > most * (bytes + 32 * 1024), "{bytes}");
        }
    }

    #[test]
    fn timers_keep_their_order_at_every_tick() {
        for (tick_time_ms, sync_limit_ticks) in [(1, 1), (100, 2), (2_000, 5), (60_000, 100)] {
            let config = ZooConfig {
                tick_time_ms,
                sync_limit_ticks,
                min_session_timeout_ms: (2 * tick_time_ms).try_into().unwrap(),
                ..trio()
            };
            let replica = Plan::new(&config).replica;
            let raft = &replica.raft;
            assert!(raft.heartbeat_interval >= Duration::from_millis(1));
            assert!(raft.election_timeout >= raft.heartbeat_interval * 3);
            assert!(replica.orphan_timeout > raft.election_timeout * 2);
            assert!(replica.upkeep_interval >= Duration::from_millis(10));
        }
    }
}
