//! What people ask a driver: its facts, and to count anew.
//!
//! Invariant: what costs more the more there is of it is looked at only if asked for.

use std::collections::{BTreeMap, BTreeSet};

use zokor_core::id::{ConnId, SessionId};
use zokor_core::proto::Text;
use zokor_core::time::Now;

use super::connection::{Connection, Phase};
use super::counts::ServiceCounts;
use super::driver::Driver;
use super::facts::{ConnectionFacts, Detail, Reset, ServerFacts, Throttling, Traffic};

impl Driver {
    /// The facts at this moment, in this detail.
    pub(super) fn facts(&self, now: Now, detail: Detail) -> ServerFacts {
        let mut stats = self.machine.stats();
        stats.outstanding += self.queue.len() as u64;
        let mut facts = ServerFacts {
            id: self.id,
            leader_uptime: stats.leads_since.map(|since| now.instant.since(since)),
            stats,
            n_connections: self.connections.len(),
            traffic: self.traffic.clone(),
            service: ServiceCounts { sent: self.counts.sent, ..ServiceCounts::default() },
            uptime: now.instant.since(self.started.instant),
            connections_rejected: self.n_rejected,
            connections_cut: self.n_cut,
            auth_failures: self.n_auth_failed,
            throttling: self.throttling(),
            room: self.room,
            scrub: self.scrub_facts(now),
            last_snapshot: self.last_snapshot,
            ..ServerFacts::default()
        };
        match detail {
            Detail::Plain => {}
            Detail::Connections => facts.connections = self.connection_facts(now),
            Detail::Sessions => {
                facts.connections = self.connection_facts(now);
                facts.sessions = self.machine.sessions(now);
            }
            Detail::WatchSummary => facts.watch_summary = self.machine.watch_summary(),
            Detail::Watches => facts.watches = self.watches_by_session(),
            Detail::Membership => facts.membership = self.machine.membership(),
            Detail::Digests => facts.digests = self.machine.past_digests(),
            Detail::Observers => {
                let observers = self.machine.observers().into_iter();
                facts.observers = observers.filter_map(|id| self.peers.facts(id)).collect();
            }
            Detail::Counts => {
                facts.counts = self.machine.counts();
                facts.quotas = self.machine.quotas();
                facts.service = ServiceCounts {
                    sync_ms: self.step_times.log.spread(),
                    snapshot_ms: self.step_times.snapshots.spread(),
                    ..self.counts.clone()
                };
            }
        }
        facts
    }

    /// Sets counters back.
    pub(super) fn reset(&mut self, which: Reset) {
        match which {
            Reset::Nothing => {}
            Reset::Connections => {
                for connection in self.connections.values_mut() {
                    connection.traffic = Traffic::default();
                }
            }
            Reset::Server => {
                self.traffic = Traffic::default();
                self.counts = ServiceCounts::default();
                self.step_times.log.reset();
                self.step_times.snapshots.reset();
                // Refused credentials go on being counted.
                // zookeeper: ServerStats.reset
                (self.n_rejected, self.n_cut) = (0, 0);
                self.throttled = Throttling::default();
                self.machine.reset_stats();
            }
        }
    }

    /// Ends the connections on which the dice fall; how many.
    pub(super) fn shed_share(&mut self, percent: u32, seed: u64) -> usize {
        let falls = |conn: ConnId| throw(seed, conn.0) % 100 < u64::from(percent);
        let is_there = |it: &Connection| !matches!(it.phase, Phase::Finishing | Phase::Cut);
        let shed = self.connections.iter().filter(|(conn, it)| is_there(it) && falls(**conn));
        let shed: Vec<ConnId> = shed.map(|(conn, _)| *conn).collect();
        for conn in &shed {
            self.end_without_a_word(*conn);
        }
        shed.len()
    }

    fn connection_facts(&self, now: Now) -> Vec<ConnectionFacts> {
        let facts = self.connections.iter().map(|(conn, connection)| {
            connection.facts(now, self.n_outstanding(*conn), &self.limits)
        });
        facts.collect()
    }

    fn watches_by_session(&self) -> BTreeMap<SessionId, BTreeSet<Text>> {
        let watches = self.machine.watches().into_iter();
        let of_session = |(conn, paths)| Some((self.connections.get(&conn)?.session?, paths));
        watches.filter_map(of_session).collect()
    }
}

/// A number that looks like chance; by Sebastiano Vigna's splitmix64.
fn throw(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
