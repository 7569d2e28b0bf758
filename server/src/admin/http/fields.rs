//! The commands whose answers are a few fields.
//!
//! Invariant: the names are those that ZooKeeper's servers print, which are those of its documents
//! but for two that its library spells in its own way (`non_mtlsremote_conn_count`).

use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::replica::{Mode, Sizes};
use zokor_net::runtime::{Detail, PeerFacts, Reset, ServerFacts};

use super::command::Command;
use super::desk::Desk;
use super::json::Json;
use crate::admin::four_letter::folder_bytes;
use crate::admin::{environment, report};
use crate::config::{PeerRole, ServerLine, WILDCARD};
use crate::version::ZOOKEEPER_VERSION;

/// Carries a command out and puts what it tells; returns what went wrong, if something did.
pub(super) fn put(
    desk: &Desk,
    command: Command,
    json: &mut Json,
    argument: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let facts = |detail| desk.handle.facts(detail);
    let settings = desk.words.settings();
    match command {
        Command::Configuration => put_configuration(desk, json),
        Command::ConnectionStatReset => desk.handle.reset(Reset::Connections),
        Command::Dirs => {
            json.put("datadir_size", folder_bytes(&settings.data_dir));
            json.put("logdir_size", folder_bytes(&settings.log_dir));
        }
        Command::Environment => {
            environment::values().iter().for_each(|(key, value)| json.put_text(key, value));
        }
        Command::GetTraceMask => json.put("tracemask", desk.words.trace_mask()),
        Command::Hash => put_digests(json, &facts(Detail::Digests)),
        Command::InitialConfiguration => {
            json.put_text("initial_configuration", &desk.plans.file_text);
        }
        Command::IsReadOnly => {
            json.put("read_only", facts(Detail::Plain).stats.mode == Mode::ReadOnly);
        }
        Command::LastSnapshot => {
            let last = desk.words.last_snapshot(&facts(Detail::Plain));
            let (zxid, seconds) = last.map_or((-1, -1), |(zxid, at)| (zxid.0, at.0 / 1_000));
            // Without "0x", unlike all other zxids in hex.
            json.put_text("zxid", &format!("{zxid:x}"));
            json.put("timestamp", seconds);
        }
        Command::Leader => return put_leader(desk, json),
        Command::Monitor => put_monitor(desk, json),
        Command::ObserverStatReset => desk.handle.reset_observers(),
        Command::Observers => put_observers(json, &facts(Detail::Observers)),
        Command::Ruok => {}
        Command::ServerStats => put_stats(desk, json, &facts(Detail::Plain)),
        Command::SetTraceMask => return set_trace_mask(desk, json, argument("traceMask")),
        Command::StatReset => {
            desk.words.reset();
            desk.handle.reset(Reset::Server);
        }
        Command::SystemProperties => {
            desk.plans.properties.iter().for_each(|(key, value)| json.put_text(key, value));
        }
        Command::VotingView => put_voting_view(desk, json),
        Command::WatchSummary => {
            let summary = facts(Detail::WatchSummary).watch_summary;
            json.put("num_connections", summary.n_connections);
            json.put("num_paths", summary.n_paths);
            json.put("num_total_watches", summary.n_watches);
        }
        Command::ZabState => put_zab_state(desk, json),
        Command::Connections
        | Command::Dump
        | Command::Restore
        | Command::ShedConnections
        | Command::Snapshot
        | Command::Stats
        | Command::Watches
        | Command::WatchesByPath => unreachable!("{command:?} is answered elsewhere"),
    }
    None
}

fn put_configuration(desk: &Desk, json: &mut Json) {
    let settings = desk.words.settings();
    json.put("client_port", desk.handle.addresses().clients[0].port());
    json.put_text("data_dir", &settings.data_dir.display().to_string());
    json.put_text("data_log_dir", &settings.log_dir.display().to_string());
    json.put("tick_time", settings.tick_time_ms);
    json.put("max_client_cnxns", settings.max_connections_per_address);
    json.put("min_session_timeout", settings.min_session_timeout_ms);
    json.put("max_session_timeout", settings.max_session_timeout_ms);
    // ZooKeeper's standalone server calls itself 0.
    json.put("server_id", settings.member.as_ref().map_or(0, |member| member.id.0));
    json.put("client_port_listen_backlog", settings.client_backlog.map_or(-1, i64::from));
}

/// These are digests of our own kind: the version says that they are not ZooKeeper's.
fn put_digests(json: &mut Json, facts: &ServerFacts) {
    json.key("digests");
    json.begin_list();
    for (zxid, digest) in &facts.digests {
        json.begin_object();
        json.put("zxid", zxid.0);
        json.put("digest", digest.cast_signed());
        json.put("digest_version", OWN_DIGEST_VERSION);
        json.end();
    }
    json.end();
}

fn put_leader(desk: &Desk, json: &mut Json) -> Option<String> {
    let facts = desk.handle.facts(Detail::Membership);
    if desk.words.settings().member.is_none() {
        return Some("server is not initialized".to_owned());
    }
    let leader = facts.stats.leader;
    let lines = members(desk, &facts);
    let line = lines.iter().find(|line| Some(line.id) == leader);
    json.put("is_leader", facts.stats.mode == Mode::Leader);
    json.put("leader_id", leader.map_or(-1, |ServerId(id)| id.cast_signed()));
    json.put_text("leader_ip", line.map_or("", |line| &line.addresses[0].host));
    None
}

/// The lines of `mntr`, with numbers as numbers.
fn put_monitor(desk: &Desk, json: &mut Json) {
    let text = desk.words.monitor(&desk.handle.facts(Detail::Counts));
    for (key, value) in text.lines().filter_map(|line| line.split_once('\t')) {
        let key = key.strip_prefix("zk_").unwrap_or(key);
        if value.parse::<f64>().is_ok_and(f64::is_finite) {
            json.put(key, value);
        } else {
            json.put_text(key, value);
        }
    }
}

fn put_observers(json: &mut Json, facts: &ServerFacts) {
    json.put("synced_observers", facts.stats.synced_observers);
    json.key("observers");
    json.begin_list();
    for PeerFacts { id, met, queued, received, sent, requests, last_zxid } in &facts.observers {
        let (address, since) = match met {
            Some((address, since)) => (report::address(address), since.0),
            None => (String::new(), 0),
        };
        json.begin_object();
        json.put_text("remote_socket_address", &address);
        json.put("sid", id.0);
        json.put("established", since);
        json.put("queued_packets", queued.0);
        json.put("queued_packets_size", queued.1);
        json.put("packets_received", received);
        json.put("packets_sent", sent);
        json.put("requests", requests);
        json.put("last_zxid", last_zxid.unwrap_or(Zxid(-1)).0);
        json.end();
    }
    json.end();
}

fn put_stats(desk: &Desk, json: &mut Json, facts: &ServerFacts) {
    let (stats, latency, settings) = (&facts.stats, &facts.traffic.latency, desk.words.settings());
    json.put_text("version", ZOOKEEPER_VERSION);
    json.put("read_only", stats.mode == Mode::ReadOnly);
    json.key("server_stats");
    json.begin_object();
    json.put("packets_sent", facts.traffic.sent);
    json.put("packets_received", facts.traffic.received);
    // Nothing counts slow syncs: see `fsynctime`.
    json.put("fsync_threshold_exceed_count", 0);
    put_sizes(json, "client_response_stats", facts.service.sent.sizes);
    json.put("provider_null", false);
    json.put_text("server_state", stats.mode.as_str());
    json.put("outstanding_requests", stats.outstanding);
    json.put("min_latency", latency.least.as_millis());
    json.put("avg_latency", report::average_ms(latency));
    json.put("max_latency", latency.longest.as_millis());
    json.put("data_dir_size", folder_bytes(&settings.data_dir));
    json.put("log_dir_size", folder_bytes(&settings.log_dir));
    json.put("last_processed_zxid", stats.zxid.0);
    json.put("num_alive_client_connections", facts.n_connections);
    json.put("uptime", facts.uptime.as_millis());
    json.put("auth_failed_count", facts.auth_failures);
    // Of TLS, which is not spoken here.
    json.put("non_mtlsremote_conn_count", 0);
    json.put("non_mtlslocal_conn_count", 0);
    json.end();
    put_sizes(json, "client_response", facts.service.sent.sizes);
    if stats.mode == Mode::Leader {
        put_sizes(json, "proposal_stats", stats.proposal_bytes);
    }
    json.put("node_count", stats.znodes);
}

fn put_sizes(json: &mut Json, key: &str, Sizes { last, min, max }: Sizes) {
    json.key(key);
    json.begin_object();
    json.put("last_buffer_size", report::size(last));
    json.put("min_buffer_size", report::size(min));
    json.put("max_buffer_size", report::size(max));
    json.end();
}

fn set_trace_mask(desk: &Desk, json: &mut Json, wanted: Option<String>) -> Option<String> {
    const NEEDED: &str = "setTraceMask requires long traceMask argument";
    let Some(wanted) = wanted else { return Some(NEEDED.to_owned()) };
    let Ok(mask) = wanted.parse() else { return Some(format!("{NEEDED}, got {wanted}")) };
    desk.words.set_trace_mask(mask);
    json.put("tracemask", mask);
    None
}

fn put_voting_view(desk: &Desk, json: &mut Json) {
    let facts = desk.handle.facts(Detail::Membership);
    json.key("current_config");
    json.begin_object();
    for line in members(desk, &facts).iter().filter(|line| line.role == PeerRole::Participant) {
        json.key(line.id);
        json.begin_object();
        json.put_texts("server_addresses", &quorum_addresses(line));
        json.put_texts("election_addresses", &election_addresses(line));
        let client = line.client.as_ref().map_or(String::new(), ToString::to_string);
        json.put_text("client_address", &client);
        json.put_text("learner_type", line.role.as_str());
        json.end();
    }
    json.end();
}

fn put_zab_state(desk: &Desk, json: &mut Json) {
    let facts = desk.handle.facts(Detail::Membership);
    let Some(member) = &desk.words.settings().member else {
        json.put("voting", false);
        json.put_text("zabstate", "");
        return;
    };
    let (stats, lines) = (&facts.stats, members(desk, &facts));
    let line = lines.iter().find(|line| line.id == member.id);
    let zxid = stats.zxid;
    json.put("myid", member.id);
    json.put("is_leader", stats.mode == Mode::Leader);
    let addresses = |of: fn(&ServerLine) -> Vec<String>| line.map(of).unwrap_or_default();
    put_addresses(json, "quorum_address", &addresses(quorum_addresses));
    put_addresses(json, "election_address", &addresses(election_addresses));
    json.put_text("client_address", &desk.handle.addresses().clients[0].to_string());
    json.put("voting", line.is_some_and(|line| line.role == PeerRole::Participant));
    json.put_text("last_zxid", &zxid.to_string());
    json.put("zab_epoch", zxid.epoch());
    json.put("zab_counter", zxid.0 & 0xffff_ffff);
    json.put_text(
        "zabstate",
        match stats.mode {
            Mode::Looking | Mode::ReadOnly => "election",
            _ if !stats.serving => "synchronization",
            _ => "broadcast",
        },
    );
}

/// Addresses as ZooKeeper's servers show them to the world: all that their class has a name for.
fn put_addresses(json: &mut Json, key: &str, addresses: &[String]) {
    let split: Vec<(&str, &str)> =
        addresses.iter().filter_map(|address| address.rsplit_once(':')).collect();
    let first = addresses.first().map_or("", String::as_str);
    let anywhere: Vec<String> =
        split.iter().map(|(_, port)| format!("{WILDCARD}:{port}")).collect();
    let hosts: Vec<String> = split.iter().map(|(host, _)| (*host).to_owned()).collect();
    json.key(key);
    json.begin_object();
    json.put("empty", addresses.is_empty());
    json.put_texts("all_addresses", addresses);
    json.put_texts("all_reachable_addresses", addresses);
    json.put_text("one", first);
    json.put_text("reachable_address", first);
    json.put_texts("wildcard_addresses", &anywhere);
    json.key("all_ports");
    json.begin_list();
    split.iter().for_each(|(_, port)| json.plain(port));
    json.end();
    json.put_texts("all_host_strings", &hosts);
    json.put_texts("all_reachable_addresses_or_all", addresses);
    json.put_text("reachable_or_one", first);
    json.end();
}

fn quorum_addresses(line: &ServerLine) -> Vec<String> {
    line.quorum_addresses().map(|address| address.to_string()).collect()
}

fn election_addresses(line: &ServerLine) -> Vec<String> {
    line.election_addresses().map(|address| address.to_string()).collect()
}

/// The ensemble as it describes itself, or as this server is configured with it before it does.
fn members(desk: &Desk, facts: &ServerFacts) -> Vec<ServerLine> {
    let Some(member) = &desk.words.settings().member else { return Vec::new() };
    let configured = member.ensemble.to_text(0);
    let text = if facts.membership.is_empty() { &configured } else { &facts.membership };
    let line = |line: &str| {
        let (id, text) = line.strip_prefix("server.")?.split_once('=')?;
        ServerLine::parse(ServerId(id.parse().ok()?), text).ok()
    };
    text.lines().filter_map(line).collect()
}

/// ZooKeeper's own digests have the version 2.
const OWN_DIGEST_VERSION: i32 = 0;
