//! `mntr`: one `zk_key<TAB>value` a line, for monitoring.
//!
//! Invariant: the version and the state come first, then every gauge, those of ZooKeeper 3.4 before
//! all others and in their order, and only then what 3.6 brought with its metrics: a reader with a
//! short buffer (collectd's takes 4 KiB) finds what it looks for at the beginning.

use std::collections::BTreeMap;
use std::fmt::Display;

use zokor_core::db::Quota;
use zokor_core::replica::{Mode, Sizes};
use zokor_net::runtime::ServerFacts;

use super::metrics::{self, Start};
use super::report::{average_ms, size};
use crate::version::ZOOKEEPER_VERSION;

/// The whole answer. `file_descriptors` are those open and the most there may be, where the system
/// tells.
pub(super) fn report(
    facts: &ServerFacts,
    file_descriptors: Option<(u64, u64)>,
    start: Option<Start>,
) -> String {
    let mut lines = Lines::default();
    put_always(&mut lines, facts, file_descriptors);
    if facts.stats.mode == Mode::Leader {
        put_leader(&mut lines, facts);
    }
    put_since_3_5(&mut lines, facts);
    put_quotas(&mut lines, &facts.quotas);
    // Ours: ZooKeeper counts refusals by znode of the first level alone, as metrics do, and what is
    // let pass not at all.
    lines.put("quota_refused_count", facts.stats.quota_events.refused);
    lines.put("quota_soft_limit_exceeded_count", facts.stats.quota_events.exceeded);
    put_room(&mut lines, facts);
    // Ours: a log that is not whole, and what is missing of it.
    let repair = facts.stats.repair.as_ref();
    lines.put("log_repairing", u8::from(repair.is_some()));
    lines.put("log_entries_lost", repair.map_or(0, |repair| repair.n_lost));
    lines.put("log_repaired", u8::from(facts.stats.was_repaired));
    metrics::put(&mut lines, facts, start);
    lines.0
}

/// What becomes of a disk that fills up. Ours: ZooKeeper's servers end.
fn put_room(lines: &mut Lines, facts: &ServerFacts) {
    if let Some(free_bytes) = facts.room.free_bytes {
        lines.put("disk_free_bytes", free_bytes);
    }
    lines.put("disk_short_of_room", u8::from(facts.room.is_short));
    lines.put("disk_room_waits", facts.room.n_waits);
    lines.put("growth_refused", u8::from(facts.stats.refuses_growth));
}

/// What 3.4 prints on every server, in its order; the state of the peer stands where 3.6 has it.
fn put_always(lines: &mut Lines, facts: &ServerFacts, file_descriptors: Option<(u64, u64)>) {
    let (stats, latency) = (&facts.stats, &facts.traffic.latency);
    lines.put("version", ZOOKEEPER_VERSION);
    lines.put("server_state", stats.mode.as_str());
    match stats.mode {
        Mode::Standalone => {}
        Mode::Leader => lines.put("peer_state", "leading - broadcast"),
        Mode::Follower => lines.put("peer_state", "following - broadcast"),
        Mode::Observer => lines.put("peer_state", "observing - broadcast"),
        Mode::ReadOnly | Mode::Looking => lines.put("peer_state", "looking"),
    }
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
    // A server that follows without being in the configuration is told to go here.
    lines.put("synced_non_voting_followers", 0);
    lines.put("synced_observers", stats.synced_observers);
    lines.put("pending_syncs", stats.pending_syncs);
    put_sizes(lines, "proposal", stats.proposal_bytes);
    if let Some(uptime) = facts.leader_uptime {
        lines.put("leader_uptime", uptime.as_millis());
    }
}

/// What later releases added.
fn put_since_3_5(lines: &mut Lines, facts: &ServerFacts) {
    let stats = &facts.stats;
    match stats.mode {
        Mode::Follower => lines.put("synced_observers", stats.synced_observers),
        Mode::Observer => {
            lines.put("observer_master_id", stats.fed_by.map_or(-1, |feeder| feeder.0 as i64));
        }
        Mode::Standalone | Mode::Leader | Mode::ReadOnly | Mode::Looking => {}
    }
    if stats.mode != Mode::Standalone {
        lines.put("quorum_size", stats.quorum_size);
    }
    lines.put("uptime", facts.uptime.as_millis());
    lines.put("global_sessions", stats.sessions);
    lines.put("local_sessions", stats.local_sessions);
    lines.put("connection_drop_probability", facts.throttling.drop_probability);
    put_sizes(lines, "client_response", facts.service.sent.sizes);
    lines.put("auth_failed_count", facts.auth_failures);
    // Of TLS, which is not spoken here.
    lines.put("outstanding_tls_handshake", 0);
    lines.put("non_mtls_remote_conn_count", 0);
    lines.put("non_mtls_local_conn_count", 0);
}

/// What quotas allow and what is there, all those below one znode of the first level together: a
/// hard limit before a soft one, and -1 for none, which is added up like any other number.
/// zookeeper: QuotaMetricsUtils
fn put_quotas(lines: &mut Lines, quotas: &[Quota]) {
    let mut sums: BTreeMap<&str, [i64; 4]> = BTreeMap::new();
    for Quota { path, limits, usage } in quotas {
        let top = path.split('/').nth(1).unwrap_or_default();
        let [znodes, bytes, n_znodes, n_bytes] = sums.entry(top).or_default();
        let limit = |hard: Option<i64>, soft: Option<i64>| hard.or(soft).unwrap_or(-1);
        *znodes = znodes.saturating_add(limit(limits.hard_znodes, limits.soft_znodes));
        *bytes = bytes.saturating_add(limit(limits.hard_bytes, limits.soft_bytes));
        let usage = usage.unwrap_or_default();
        *n_znodes = n_znodes.saturating_add(usage.n_znodes);
        *n_bytes = n_bytes.saturating_add(usage.n_bytes);
    }
    for (top, numbers) in sums {
        let names = ["count_limit", "bytes_limit", "count_usage", "bytes_usage"];
        for (name, number) in names.into_iter().zip(numbers) {
            lines.put(&format!("{top}_quota_{name}_per_namespace"), number);
        }
    }
}

fn put_sizes(lines: &mut Lines, what: &str, Sizes { last, min, max }: Sizes) {
    lines.put(&format!("last_{what}_size"), size(last));
    lines.put(&format!("max_{what}_size"), size(max));
    lines.put(&format!("min_{what}_size"), size(min));
}

#[derive(Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn put(&mut self, key: &str, value: impl Display) {
        self.0.push_str(&format!("zk_{key}\t{value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::db::{Limits, Usage};

    use super::*;

    #[test]
    fn quotas_below_one_znode_of_the_first_level_are_added_up() {
        let quota = |path: &str, limits, usage| Quota { path: path.into(), limits, usage };
        let soft = Limits { soft_znodes: Some(5), soft_bytes: Some(7), ..Limits::default() };
        let both = Limits { hard_znodes: Some(3), ..soft };
        let used = Some(Usage { n_znodes: 2, n_bytes: 9 });
        let quotas = [
            quota("/a/b", both, used),
            quota("/a/c", Limits::default(), used),
            quota("/z", soft, None),
        ];
        let mut lines = Lines::default();
        put_quotas(&mut lines, &quotas);
        let expected = "zk_a_quota_count_limit_per_namespace\t2\n\
                        zk_a_quota_bytes_limit_per_namespace\t6\n\
                        zk_a_quota_count_usage_per_namespace\t4\n\
                        zk_a_quota_bytes_usage_per_namespace\t18\n\
                        zk_z_quota_count_limit_per_namespace\t5\n\
                        zk_z_quota_bytes_limit_per_namespace\t7\n\
                        zk_z_quota_count_usage_per_namespace\t0\n\
                        zk_z_quota_bytes_usage_per_namespace\t0\n";
        assert_eq!(lines.0, expected);
    }
}
