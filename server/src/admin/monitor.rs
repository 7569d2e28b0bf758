//! `mntr`: one `zk_key<TAB>value` a line, for monitoring.
//!
//! Invariant: the version and the state come first, then the keys of ZooKeeper 3.4 in their order,
//! then those that came later. A key stands here only if its number is true.

use std::fmt::Display;

use zokor_core::replica::{Mode, Sizes};
use zokor_net::runtime::ServerFacts;

use super::report::{average_ms, size};
use crate::version::ZOOKEEPER_VERSION;

/// The whole answer. `file_descriptors` are those open and the most there may be, where the system
/// tells.
pub(super) fn report(facts: &ServerFacts, file_descriptors: Option<(u64, u64)>) -> String {
    let mut lines = Lines(String::new());
    put_always(&mut lines, facts, file_descriptors);
    if facts.stats.mode == Mode::Leader {
        put_leader(&mut lines, facts);
    }
    put_since_3_5(&mut lines, facts);
    lines.0
}

/// What 3.4 prints on every server, in its order.
fn put_always(lines: &mut Lines, facts: &ServerFacts, file_descriptors: Option<(u64, u64)>) {
    let (stats, latency) = (&facts.stats, &facts.traffic.latency);
    lines.put("version", ZOOKEEPER_VERSION);
    lines.put("server_state", stats.mode.as_str());
    lines.put("avg_latency", average_ms(latency));
    lines.put("max_latency", latency.longest.as_millis());
    lines.put("min_latency", latency.least.as_millis());
    lines.put("packets_received", facts.traffic.received);
    lines.put("packets_sent", facts.traffic.sent);
    lines.put("num_alive_connections", facts.n_connections);
    lines.put("outstanding_requests", stats.outstanding);
    lines.put("znode_count", stats.znodes);
    lines.put("watch_count", stats.watches);
    lines.put("ephemerals_count", stats.ephemerals);
    lines.put("approximate_data_size", stats.data_bytes);
    if let Some((open, most)) = file_descriptors {
        lines.put("open_file_descriptor_count", open);
        lines.put("max_file_descriptor_count", most);
    }
}

/// What only a leader prints. `followers` is the name up to 3.5, `learners` the one since 3.6.
fn put_leader(lines: &mut Lines, facts: &ServerFacts) {
    let stats = &facts.stats;
    lines.put("followers", stats.learners);
    lines.put("learners", stats.learners);
    lines.put("synced_followers", stats.synced_followers);
    lines.put("pending_syncs", 0);
    put_sizes(lines, "proposal", stats.proposal_bytes);
    if let Some(uptime) = facts.leader_uptime {
        lines.put("leader_uptime", uptime.as_millis());
    }
}

/// What later releases added.
fn put_since_3_5(lines: &mut Lines, facts: &ServerFacts) {
    let stats = &facts.stats;
    match stats.mode {
        Mode::Standalone => {}
        Mode::Leader => lines.put("peer_state", "leading - broadcast"),
        Mode::Follower => lines.put("peer_state", "following - broadcast"),
        Mode::Observer => lines.put("peer_state", "observing - broadcast"),
        Mode::ReadOnly | Mode::Looking => lines.put("peer_state", "looking"),
    }
    if stats.mode != Mode::Standalone {
        lines.put("quorum_size", stats.quorum_size);
    }
    lines.put("uptime", facts.uptime.as_millis());
    lines.put("global_sessions", stats.sessions);
    lines.put("local_sessions", stats.local_sessions);
    put_sizes(lines, "client_response", facts.response_bytes);
    lines.put("auth_failed_count", facts.auth_failures);
    lines.put("connection_rejected", facts.connections_rejected);
    lines.put("stale_sessions_expired", stats.sessions_expired);
}

fn put_sizes(lines: &mut Lines, what: &str, Sizes { last, min, max }: Sizes) {
    lines.put(&format!("last_{what}_size"), size(last));
    lines.put(&format!("max_{what}_size"), size(max));
    lines.put(&format!("min_{what}_size"), size(min));
}

struct Lines(String);

impl Lines {
    fn put(&mut self, key: &str, value: impl Display) {
        self.0.push_str(&format!("zk_{key}\t{value}\n"));
    }
}
