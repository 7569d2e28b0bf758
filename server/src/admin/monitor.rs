//! `mntr`: one `zk_key<TAB>value` a line, for monitoring.
//!
//! Invariant: the version and the state come first, then every gauge, those of ZooKeeper 3.4 before
//! all others and in their order, and only then what 3.6 brought with its metrics: a reader with a
//! short buffer (collectd's takes 4 KiB) finds what it looks for at the beginning.

use std::collections::BTreeMap;

use zokor_core::db::Quota;
use zokor_core::replica::{Mode, Sizes};
use zokor_net::runtime::ServerFacts;

use super::metrics::{self, AdminCounts, Start};
use super::report::{average_ms, size};
use super::sink::Sink;
use crate::version::ZOOKEEPER_VERSION;

/// Puts all of it. `file_descriptors` are those open and the most there may be, where the system
/// tells.
pub(super) fn put(
    sink: &mut dyn Sink,
    facts: &ServerFacts,
    file_descriptors: Option<(u64, u64)>,
    start: Option<Start>,
    admin: &AdminCounts,
) {
    put_always(sink, facts, file_descriptors);
    if facts.stats.mode == Mode::Leader {
        put_leader(sink, facts);
    }
    put_since_3_5(sink, facts);
    put_quotas(sink, &facts.quotas);
    // Ours: ZooKeeper counts refusals by znode of the first level alone, as metrics do, and what is
    // let pass not at all.
    sink.gauge("quota_refused_count", &facts.stats.quota_events.refused);
    sink.gauge("quota_soft_limit_exceeded_count", &facts.stats.quota_events.exceeded);
    put_room(sink, facts);
    // Ours: a log that is not whole, and what is missing of it.
    let repair = facts.stats.repair.as_ref();
    sink.gauge("log_repairing", &u8::from(repair.is_some()));
    sink.gauge("log_entries_lost", &repair.map_or(0, |repair| repair.n_lost));
    sink.gauge("log_repaired", &u8::from(facts.stats.was_repaired));
    put_scrub(sink, facts);
    // Ours: a state that is another than a quorum's, and how often a leader saw one agree.
    sink.gauge("state_in_doubt", &u8::from(facts.stats.in_doubt));
    sink.gauge("digest_agreements_count", &facts.counts.digests_agreed);
    // Ours: voters of which a server without anything does not know yet whether they are new.
    let first_start = repair.and_then(|repair| repair.first_start.as_ref());
    sink.gauge("first_start_waits_for", &first_start.map_or(0, |it| it.waits_for.len()));
    metrics::put(sink, facts, start, admin);
}

/// What becomes of a disk that fills up. Ours: ZooKeeper's servers end.
fn put_room(sink: &mut dyn Sink, facts: &ServerFacts) {
    if let Some(free_bytes) = facts.room.free_bytes {
        sink.gauge("disk_free_bytes", &free_bytes);
    }
    sink.gauge("disk_short_of_room", &u8::from(facts.room.is_short));
    sink.gauge("disk_room_waits", &facts.room.n_waits);
    sink.gauge("growth_refused", &u8::from(facts.stats.refuses_growth));
}

/// What becomes of what is at rest. Ours: ZooKeeper's servers look at it when they start.
fn put_scrub(sink: &mut dyn Sink, facts: &ServerFacts) {
    let counts = &facts.scrub.counts;
    sink.gauge("scrub_rounds", &counts.rounds);
    sink.gauge("scrub_read_bytes", &counts.read_bytes);
    sink.gauge("scrub_damage_found", &counts.found);
    sink.gauge("scrub_damage_repaired", &counts.repaired);
    sink.gauge("scrub_damage_left", &counts.left);
    sink.gauge("scrub_last_round_ms", &counts.last_round.as_millis());
    let since = facts.scrub.since_last_round.map_or(-1, |since| since.as_millis() as i64);
    sink.gauge("scrub_since_last_round_ms", &since);
}

/// What 3.4 prints on every server, in its order; the state of the peer stands where 3.6 has it.
fn put_always(sink: &mut dyn Sink, facts: &ServerFacts, file_descriptors: Option<(u64, u64)>) {
    let (stats, latency) = (&facts.stats, &facts.traffic.latency);
    sink.word("version", ZOOKEEPER_VERSION);
    sink.word("server_state", stats.mode.as_str());
    match stats.mode {
        Mode::Standalone => {}
        Mode::Leader => sink.word("peer_state", "leading - broadcast"),
        Mode::Follower => sink.word("peer_state", "following - broadcast"),
        Mode::Observer => sink.word("peer_state", "observing - broadcast"),
        Mode::ReadOnly | Mode::Looking => sink.word("peer_state", "looking"),
    }
    sink.gauge("avg_latency", &average_ms(latency));
    sink.gauge("max_latency", &latency.longest.as_millis());
    sink.gauge("min_latency", &latency.least.as_millis());
    sink.gauge("packets_received", &facts.traffic.received);
    sink.gauge("packets_sent", &facts.traffic.sent);
    sink.gauge("num_alive_connections", &facts.n_connections);
    sink.gauge("outstanding_requests", &stats.outstanding);
    sink.gauge("znode_count", &stats.znodes);
    sink.gauge("watch_count", &stats.watches);
    sink.gauge("ephemerals_count", &stats.ephemerals);
    sink.gauge("approximate_data_size", &stats.data_bytes);
    if let Some((open, most)) = file_descriptors {
        sink.gauge("open_file_descriptor_count", &open);
        sink.gauge("max_file_descriptor_count", &most);
    }
}

/// What only a leader prints. `followers` is the name up to 3.5, `learners` the one since 3.6.
fn put_leader(sink: &mut dyn Sink, facts: &ServerFacts) {
    let stats = &facts.stats;
    sink.gauge("followers", &stats.learners);
    sink.gauge("learners", &stats.learners);
    sink.gauge("synced_followers", &stats.synced_followers);
    // A server that follows without being in the configuration is told to go here.
    sink.gauge("synced_non_voting_followers", &0);
    sink.gauge("synced_observers", &stats.synced_observers);
    sink.gauge("pending_syncs", &stats.pending_syncs);
    put_sizes(sink, "proposal", stats.proposal_bytes);
    if let Some(uptime) = facts.leader_uptime {
        sink.gauge("leader_uptime", &uptime.as_millis());
    }
}

/// What later releases added.
fn put_since_3_5(sink: &mut dyn Sink, facts: &ServerFacts) {
    let stats = &facts.stats;
    match stats.mode {
        Mode::Follower => sink.gauge("synced_observers", &stats.synced_observers),
        Mode::Observer => {
            sink.gauge("observer_master_id", &stats.fed_by.map_or(-1, |feeder| feeder.0 as i64));
        }
        Mode::Standalone | Mode::Leader | Mode::ReadOnly | Mode::Looking => {}
    }
    if stats.mode != Mode::Standalone {
        sink.gauge("quorum_size", &stats.quorum_size);
    }
    sink.gauge("uptime", &facts.uptime.as_millis());
    sink.gauge("global_sessions", &stats.sessions);
    sink.gauge("local_sessions", &stats.local_sessions);
    sink.gauge("connection_drop_probability", &facts.throttling.drop_probability);
    put_sizes(sink, "client_response", facts.service.sent.sizes);
    sink.gauge("auth_failed_count", &facts.auth_failures);
    // Of TLS, which is not spoken here.
    sink.gauge("outstanding_tls_handshake", &0);
    sink.gauge("non_mtls_remote_conn_count", &0);
    sink.gauge("non_mtls_local_conn_count", &0);
}

/// What quotas allow and what is there, all those below one znode of the first level together: a
/// hard limit before a soft one, and -1 for none, which is added up like any other number.
/// zookeeper: QuotaMetricsUtils
fn put_quotas(sink: &mut dyn Sink, quotas: &[Quota]) {
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
    let names = ["count_limit", "bytes_limit", "count_usage", "bytes_usage"];
    for (column, name) in names.into_iter().enumerate() {
        let values: Vec<(&str, i64)> = sums.iter().map(|(top, it)| (*top, it[column])).collect();
        sink.gauges(&format!("quota_{name}_per_namespace"), &values);
    }
}

fn put_sizes(sink: &mut dyn Sink, what: &str, Sizes { last, min, max }: Sizes) {
    sink.gauge(&format!("last_{what}_size"), &size(last));
    sink.gauge(&format!("max_{what}_size"), &size(max));
    sink.gauge(&format!("min_{what}_size"), &size(min));
}

#[cfg(test)]
mod tests {
    use zokor_core::db::{Limits, Usage};

    use super::*;
    use crate::admin::sink::Lines;

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
                        zk_z_quota_count_limit_per_namespace\t5\n\
                        zk_a_quota_bytes_limit_per_namespace\t6\n\
                        zk_z_quota_bytes_limit_per_namespace\t7\n\
                        zk_a_quota_count_usage_per_namespace\t4\n\
                        zk_z_quota_count_usage_per_namespace\t0\n\
                        zk_a_quota_bytes_usage_per_namespace\t18\n\
                        zk_z_quota_bytes_usage_per_namespace\t0\n";
        assert_eq!(lines.0, expected);
    }
}
