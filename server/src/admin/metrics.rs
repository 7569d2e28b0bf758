//! The counters and summaries of `mntr`: ZooKeeper 3.9's names, in the order of its
//! documentation.
//!
//! Invariant: every metric of 3.9 with a fixed name stands here once, and those by znode of the
//! first level stand here once there is something to tell. What has no counterpart in
//! this server is printed as what has never happened.
//! Source: `zookeeper: ServerMetrics`, `DefaultMetricsProvider`.

use std::sync::atomic::{AtomicU64, Ordering};

use zokor_core::proto::Zxid;
use zokor_core::replica::{Counts, Mode, Spread, Summary};
use zokor_core::time::WallTime;
use zokor_net::runtime::ServerFacts;

use super::sink::Sink;

/// How long the start took, and what it found; until it is set back with everything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Opening and reading the folders, in milliseconds.
    pub load_ms: u64,
    /// Entries of the log behind the snapshot.
    pub n_entries: u64,
}

/// What the admin server counts.
#[derive(Debug, Default)]
pub(super) struct AdminCounts {
    pub(super) snapshot_errors: AtomicU64,
    pub(super) snapshots_limited: AtomicU64,
    pub(super) restore_errors: AtomicU64,
    pub(super) restores_limited: AtomicU64,
}

impl AdminCounts {
    fn all(&self) -> [(&'static str, &AtomicU64); 4] {
        [
            ("snapshot_error_count", &self.snapshot_errors),
            ("snapshot_rate_limited_count", &self.snapshots_limited),
            ("restore_error_count", &self.restore_errors),
            ("restore_rate_limited_count", &self.restores_limited),
        ]
    }

    /// Begins anew.
    pub(super) fn reset(&self) {
        self.all().into_iter().for_each(|(_, count)| count.store(0, Ordering::Relaxed));
    }
}

/// The snapshot with which the start began: its zxid, and when it was written.
pub type StartSnapshot = Option<(Zxid, WallTime)>;

/// Puts all of them.
pub(super) fn put(
    sink: &mut dyn Sink,
    facts: &ServerFacts,
    start: Option<Start>,
    admin: &AdminCounts,
) {
    let nothing = Counts::default();
    // A standalone server of ZooKeeper proposes nothing to anybody, and never looks for a leader.
    let is_alone = facts.stats.mode == Mode::Standalone;
    let ensemble = if is_alone { &nothing } else { &facts.counts };
    for (name, count) in counters(facts, ensemble) {
        sink.counter(name, count);
    }
    for (name, count) in admin.all() {
        sink.counter(name, count.load(Ordering::Relaxed));
    }
    for name in NEVER_COUNTED {
        sink.counter(name, 0);
    }
    let namespaces = || facts.counts.namespaces.iter();
    let refused = namespaces().map(|(top, it)| (top, it.refused)).filter(|(_, n)| *n > 0);
    sink.counters("quota_exceeded_error_per_namespace", &refused.collect::<Vec<_>>());
    for (name, spread) in summaries(facts, ensemble) {
        sink.summary(name, spread);
    }
    for (name, spread) in of_start(start) {
        sink.summary(name, &spread);
    }
    for name in NEVER_SUMMED {
        sink.summary(name, &Spread::default());
    }
    for (name, spread) in spreads(facts, ensemble) {
        sink.spread(name, spread);
    }
    for name in NEVER_SPREAD {
        sink.spread(name, &Spread::default());
    }
    let read = namespaces().map(|(top, it)| (top, it.reads));
    let written = namespaces().map(|(top, it)| (top, it.writes));
    let of_some = |(_, summary): &(&str, Summary)| summary.count > 0;
    sink.summaries("read_per_namespace", &read.filter(of_some).collect::<Vec<_>>());
    sink.summaries("write_per_namespace", &written.filter(of_some).collect::<Vec<_>>());
}

fn counters(facts: &ServerFacts, ensemble: &Counts) -> [(&'static str, u64); 25] {
    let (service, counts, throttling) = (&facts.service, &facts.counts, &facts.throttling);
    [
        ("looking_count", ensemble.searches),
        ("diff_count", ensemble.syncs_by_log),
        ("snap_count", ensemble.syncs_by_snapshot),
        ("commit_count", ensemble.commits),
        ("proposal_count", ensemble.proposals),
        ("connection_request_count", throttling.connect_requests),
        ("connection_rejected", facts.connections_rejected),
        ("connection_drop_count", service.connections_dropped),
        ("connection_revalidate_count", counts.resumptions),
        ("revalidate_count", ensemble.resumptions_elsewhere),
        ("sessionless_connections_expired", service.greetings_expired),
        ("stale_sessions_expired", counts.sessions_expired),
        ("bytes_received_count", service.bytes_received),
        ("response_bytes", service.sent.response_bytes),
        ("watch_bytes", service.sent.event_bytes),
        ("learner_proposal_received_count", ensemble.proposals_received),
        ("learner_commit_received_count", ensemble.commits_received),
        ("sync_processor_request_queued", service.log_jobs),
        ("throttled_ops", throttling.throttled_ops),
        ("request_throttle_wait_count", throttling.waits),
        ("stale_requests", throttling.stale_requests),
        ("stale_requests_dropped", throttling.stale_requests_dropped),
        ("stale_replies", throttling.stale_replies),
        ("large_requests_rejected", throttling.large_requests_rejected),
        ("digest_mismatches_count", facts.counts.digest_mismatches),
    ]
}

fn summaries<'a>(facts: &'a ServerFacts, ensemble: &'a Counts) -> [(&'static str, &'a Spread); 12] {
    let (service, counts) = (&facts.service, &facts.counts);
    [
        ("fsynctime", &service.sync_ms),
        ("snapshottime", &service.snapshot_ms),
        ("election_time", &ensemble.search_ms),
        ("unavailable_time", &ensemble.leaderless_ms),
        ("leader_unavailable_time", &ensemble.leaderless_before_leading_ms),
        ("node_created_watch_count", &counts.told_created),
        ("node_deleted_watch_count", &counts.told_deleted),
        ("node_changed_watch_count", &counts.told_data),
        ("node_children_watch_count", &counts.told_children),
        ("sync_processor_batch_size", &service.log_batches),
        ("inflight_diff_count", &ensemble.inflight_by_log),
        ("inflight_snap_count", &ensemble.inflight_by_snapshot),
    ]
}

/// What happened once, at the start.
fn of_start(start: Option<Start>) -> [(&'static str, Spread); 2] {
    let once = |number: Option<u64>| {
        let mut spread = Spread::default();
        number.into_iter().for_each(|number| spread.note(number));
        spread
    };
    [
        ("dbinittime", once(start.map(|start| start.load_ms))),
        ("startup_txns_loaded", once(start.map(|start| start.n_entries))),
    ]
}

fn spreads<'a>(facts: &'a ServerFacts, ensemble: &'a Counts) -> [(&'static str, &'a Spread); 8] {
    [
        ("readlatency", &facts.service.read_ms),
        ("updatelatency", &facts.service.update_ms),
        ("request_throttle_queue_time_ms", &facts.service.queued_ms),
        ("propagation_latency", &facts.counts.propagation_ms),
        ("quorum_ack_latency", &ensemble.agreement_ms),
        ("proposal_latency", &ensemble.proposal_ms),
        ("commit_propagation_latency", &ensemble.commit_ms),
        ("sync_processor_queue_and_flush_time_ms", &facts.service.log_ms),
    ]
}

/// Of stages, caches and queues that this server does not have, and of a door (TLS) that is not
/// built.
const NEVER_COUNTED: &[&str] = &[
    "unrecoverable_error_count",
    "add_dead_watcher_stall_time",
    "dead_watchers_queued",
    "dead_watchers_cleared",
    "response_packet_cache_hits",
    "response_packet_cache_misses",
    "response_packet_get_children_cache_hits",
    "response_packet_get_children_cache_misses",
    "ensemble_auth_success",
    "ensemble_auth_fail",
    "ensemble_auth_skip",
    "prep_processor_request_queued",
    "outstanding_changes_queued",
    "outstanding_changes_removed",
    "request_commit_queued",
    "quit_leading_due_to_disloyal_voter",
    "unsuccessful_handshake",
    "insecure_admin_count",
    "tls_handshake_exceeded",
    "cnxn_closed_without_zk_server_running",
    "skip_learner_request_to_next_processor_count",
    "requests_not_forwarded_to_commit_processor",
];

const NEVER_SUMMED: &[&str] = &[
    "restore_time",
    "follower_sync_time",
    "observer_sync_time",
    "connection_token_deficit",
    "prep_processor_queue_size",
    "prep_process_time",
    "proposal_process_time",
    "requests_in_session_queue",
    "pending_session_queue_size",
    "reads_after_write_in_session_queue",
    "reads_issued_from_session_queue",
    "session_queues_drained",
    "time_waiting_empty_pool_in_commit_processor_read_ms",
    "write_batch_time_in_commit_processor",
    "concurrent_request_processing_in_commit_processor",
    "read_commit_proc_req_queued",
    "write_commit_proc_req_queued",
    "commit_commit_proc_req_queued",
    "read_commit_proc_issued",
    "write_commit_proc_issued",
    "commit_process_time",
    "startup_txns_load_time",
    "startup_snap_load_time",
    "sync_processor_queue_size",
    "sync_process_time",
    "netty_queued_buffer_capacity",
    "learner_request_processor_queue_size",
    "socket_closing_time",
];

const NEVER_SPREAD: &[&str] = &[
    "dead_watchers_cleaner_latency",
    "prep_processor_queue_time_ms",
    "close_session_prep_time",
    "read_commitproc_time_ms",
    "write_commitproc_time_ms",
    "local_write_committed_time_ms",
    "server_write_committed_time_ms",
    "read_final_proc_time_ms",
    "write_final_proc_time_ms",
    "om_proposal_process_time_ms",
    "om_commit_process_time_ms",
    "proposal_ack_creation_latency",
    "sync_processor_queue_time_ms",
    "sync_processor_queue_flush_time_ms",
    "jvm_pause_time_ms",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::admin::sink::Lines;

    fn text(facts: &ServerFacts, start: Option<Start>) -> String {
        let mut lines = Lines::default();
        put(&mut lines, facts, start, &AdminCounts::default());
        lines.0
    }

    #[test]
    fn every_metric_stands_there_once() {
        let text = text(&ServerFacts::default(), None);
        let keys: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        let distinct: BTreeSet<&str> = keys.iter().copied().collect();
        assert_eq!(keys.len(), distinct.len());
        // 3.9's list: 51 counters, 42 basic and 23 advanced summaries.
        assert_eq!(keys.len(), 51 + 42 * 5 + 23 * 9);
    }

    #[test]
    fn a_summary_has_five_lines_and_a_spread_four_more() {
        let mut facts = ServerFacts::default();
        [1, 1, 2].into_iter().for_each(|ms| facts.service.sync_ms.note(ms));
        [1, 2, 2, 9].into_iter().for_each(|ms| facts.service.read_ms.note(ms));
        let text = text(&facts, Some(Start { load_ms: 7, n_entries: 5 }));
        for lines in [
            "zk_avg_fsynctime\t1.3333\nzk_min_fsynctime\t1\nzk_max_fsynctime\t2\n\
             zk_cnt_fsynctime\t3\nzk_sum_fsynctime\t4\n",
            "zk_avg_readlatency\t3.5\nzk_min_readlatency\t1\nzk_max_readlatency\t9\n\
             zk_cnt_readlatency\t4\nzk_sum_readlatency\t14\nzk_p50_readlatency\t2\n\
             zk_p95_readlatency\t9\nzk_p99_readlatency\t9\nzk_p999_readlatency\t9\n",
            "zk_avg_dbinittime\t7.0\nzk_min_dbinittime\t7\n",
            "zk_cnt_startup_txns_loaded\t1\nzk_sum_startup_txns_loaded\t5\n",
        ] {
            assert!(text.contains(lines), "{lines} in\n{text}");
        }
    }

    #[test]
    fn a_standalone_server_has_no_part_in_elections_and_proposals() {
        let mut facts = ServerFacts::default();
        (facts.counts.searches, facts.counts.proposals, facts.counts.resumptions) = (3, 4, 5);
        facts.stats.mode = Mode::Leader;
        let of_leader = text(&facts, None);
        facts.stats.mode = Mode::Standalone;
        let alone = text(&facts, None);
        for (line, there) in [
            ("zk_looking_count\t3\n", false),
            ("zk_proposal_count\t4\n", false),
            ("zk_connection_revalidate_count\t5\n", true),
        ] {
            assert!(of_leader.contains(line));
            assert_eq!(alone.contains(line), there, "{line}");
        }
    }
}
