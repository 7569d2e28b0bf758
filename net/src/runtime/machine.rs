//! What the driver needs of a replica, so that tests can put a script in its place.
//!
//! Invariant: the methods that cost more than a look at a few fields say so; they are for people
//! who ask, never for a request or a pump.

use std::collections::{BTreeMap, BTreeSet};

use zokor_core::db::{Image, Quota};
use zokor_core::id::{ConnId, ServerId, SessionId};
use zokor_core::proto::{AclList, Text, Zxid};
use zokor_core::raft::{Index, PeerProgress, RepairStatus, Role};
use zokor_core::replica::{Counts, Deed, Output, Stats};
use zokor_core::time::{Instant, Now, WallTime};
use zokor_core::watch::WatchSummary;
use zokor_core::{Input, Replica};

use super::facts::{SessionFacts, SessionTable};

/// A replica, or what behaves like one.
pub(super) trait Machine: Send {
    fn handle(&mut self, now: Now, input: Input);
    fn poll(&mut self) -> Option<Output>;
    fn deadline(&self) -> Option<Instant>;
    /// Whether it leads others.
    fn leads(&self) -> bool;
    /// Requests of `conn` that wait for their answer.
    fn outstanding(&self, conn: ConnId) -> usize;
    /// Requests of all connections that wait for their answer.
    fn outstanding_total(&self) -> u64;
    /// What it has applied.
    fn zxid(&self) -> Zxid;
    /// The server is about to stop: if this replica leads, another should.
    fn hand_over(&mut self, now: Now);
    /// Counts anew what people may set back.
    fn reset_stats(&mut self);
    /// How the repair of a damaged log stands.
    fn repair(&self) -> Option<RepairStatus>;
    /// Whom it has found, as leader, to have lost what it had acknowledged, and up to where.
    fn forgetful(&self) -> Option<(ServerId, Index)>;
    /// Whether its state is another than a quorum's.
    fn in_doubt(&self) -> bool;
    /// Looks into all corners.
    fn stats(&self) -> Stats;
    /// Copies all counters.
    fn counts(&self) -> Counts;
    /// Walks all quotas.
    fn quotas(&self) -> Vec<Quota>;
    /// Copies the description of the ensemble.
    fn membership(&self) -> String;
    /// Walks all digests that are kept.
    fn past_digests(&self) -> Vec<(Zxid, u64)>;
    /// Walks all sessions.
    fn sessions(&self, now: Now) -> SessionTable;
    /// The newest part of what an audit is to know; see `Replica::take_deeds`.
    fn take_deeds(&mut self) -> Vec<Deed>;
    /// Shares the whole state.
    fn freeze(&self) -> Image;
    /// What the root lets whom do.
    fn root_acl(&self) -> AclList;
    /// On a leader: the observers that are connected.
    fn observers(&self) -> Vec<ServerId>;
    /// At most so many sessions behind one.
    fn sessions_after(&self, now: Now, after: Option<SessionId>, most: usize) -> Vec<SessionFacts>;
    /// At most so many ephemeral znodes behind one.
    fn ephemerals_after(
        &self,
        after: Option<(SessionId, &str)>,
        most: usize,
    ) -> Vec<(SessionId, Text)>;
    /// The connection behind one that watches anything.
    fn next_watching(&self, after: Option<ConnId>) -> Option<ConnId>;
    /// A part of what a connection watches, and where the rest of it ends.
    fn watched_by(&self, conn: ConnId, end: usize, most: usize) -> (Vec<Text>, usize);
    /// A part of what is watched, by path, and where the next part begins.
    fn watches_by_path(&self, from: u32, most: usize) -> (Vec<(Text, Vec<ConnId>)>, Option<u32>);
    /// Walks all watches.
    fn watch_summary(&self) -> WatchSummary;
    /// Walks all watches.
    fn watches(&self) -> BTreeMap<ConnId, BTreeSet<Text>>;
}

impl Machine for Replica {
    fn handle(&mut self, now: Now, input: Input) {
        Replica::handle(self, now, input);
    }

    fn poll(&mut self) -> Option<Output> {
        Replica::poll(self)
    }

    fn deadline(&self) -> Option<Instant> {
        Replica::deadline(self)
    }

    fn leads(&self) -> bool {
        self.raft().role() == Role::Leader && self.raft().membership().servers().len() > 1
    }

    fn outstanding(&self, conn: ConnId) -> usize {
        Replica::outstanding(self, conn)
    }

    fn outstanding_total(&self) -> u64 {
        Replica::outstanding_total(self)
    }

    fn zxid(&self) -> Zxid {
        self.database().zxid()
    }

    fn hand_over(&mut self, now: Now) {
        Replica::hand_over(self, now);
    }

    fn reset_stats(&mut self) {
        Replica::reset_stats(self);
    }

    fn repair(&self) -> Option<RepairStatus> {
        self.raft().repair()
    }

    fn forgetful(&self) -> Option<(ServerId, Index)> {
        self.raft().forgetful()
    }

    fn in_doubt(&self) -> bool {
        Replica::in_doubt(self)
    }

    fn stats(&self) -> Stats {
        Replica::stats(self)
    }

    fn counts(&self) -> Counts {
        Replica::counts(self).clone()
    }

    fn quotas(&self) -> Vec<Quota> {
        self.database().quotas()
    }

    fn membership(&self) -> String {
        self.database().config_text()
    }

    fn past_digests(&self) -> Vec<(Zxid, u64)> {
        Replica::past_digests(self).collect()
    }

    fn sessions(&self, now: Now) -> SessionTable {
        let facts = |session: &zokor_core::session::Session| SessionFacts {
            id: session.id,
            timeout_ms: session.timeout_ms,
            expires: self.session_deadline(session.id).map(|deadline| wall_of(deadline, now)),
        };
        let local = self.local_sessions().map(|(id, timeout_ms)| SessionFacts {
            id,
            timeout_ms,
            expires: self.local_session_deadline(id).map(|deadline| wall_of(deadline, now)),
        });
        let text = |path: &str| Text::from(path);
        let ephemerals = self.database().ephemerals();
        SessionTable {
            sessions: self.database().sessions().map(facts).collect(),
            local: self.may_have_local_sessions().then(|| local.collect()),
            ephemerals: ephemerals.map(|(id, paths)| (id, paths.map(text).collect())).collect(),
        }
    }

    fn take_deeds(&mut self) -> Vec<Deed> {
        Replica::take_deeds(self)
    }

    fn freeze(&self) -> Image {
        self.database().freeze()
    }

    fn root_acl(&self) -> AclList {
        self.database().root_acl()
    }

    fn observers(&self) -> Vec<ServerId> {
        let voters = &self.raft().membership().voters;
        let progress = self.raft().progress().into_iter();
        let observes = |it: &PeerProgress| it.is_connected && !voters.contains(&it.peer);
        progress.filter(observes).map(|it| it.peer).collect()
    }

    fn sessions_after(&self, now: Now, after: Option<SessionId>, most: usize) -> Vec<SessionFacts> {
        let part = self.database().sessions_after(after).take(most);
        let facts = part.map(|session| SessionFacts {
            id: session.id,
            timeout_ms: session.timeout_ms,
            expires: self.session_deadline(session.id).map(|deadline| wall_of(deadline, now)),
        });
        facts.collect()
    }

    fn ephemerals_after(
        &self,
        after: Option<(SessionId, &str)>,
        most: usize,
    ) -> Vec<(SessionId, Text)> {
        let part = self.database().ephemerals_after(after).take(most);
        part.map(|(owner, path)| (owner, Text::from(path))).collect()
    }

    fn next_watching(&self, after: Option<ConnId>) -> Option<ConnId> {
        Replica::watches(self).next_connection(after)
    }

    fn watched_by(&self, conn: ConnId, end: usize, most: usize) -> (Vec<Text>, usize) {
        let (paths, end) = Replica::watches(self).part_of_connection(conn, end, most);
        (paths.into_iter().map(Text::from).collect(), end)
    }

    fn watches_by_path(&self, from: u32, most: usize) -> (Vec<(Text, Vec<ConnId>)>, Option<u32>) {
        let (part, next) = Replica::watches(self).part_by_path(from, most);
        (part.into_iter().map(|(path, conns)| (Text::from(path), conns)).collect(), next)
    }

    fn watch_summary(&self) -> WatchSummary {
        self.watches().summary()
    }

    fn watches(&self) -> BTreeMap<ConnId, BTreeSet<Text>> {
        let by_connection = Replica::watches(self).by_connection();
        by_connection
            .map(|(conn, paths)| (conn, paths.into_iter().map(Text::from).collect()))
            .collect()
    }
}

/// When `instant` is by the clock on the wall.
pub(super) fn wall_of(instant: Instant, now: Now) -> WallTime {
    let ms = |from: Instant, to: Instant| i64::try_from(to.since(from).as_millis());
    let ahead = ms(now.instant, instant).unwrap_or(i64::MAX);
    let behind = ms(instant, now.instant).unwrap_or(i64::MAX);
    WallTime(now.wall.0.saturating_add(ahead).saturating_sub(behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_s_time_of_an_instant_lies_as_far_from_now() {
        let now = Now { instant: Instant::from_micros(5_000_000), wall: WallTime(1_000) };
        assert_eq!(wall_of(Instant::from_micros(5_250_000), now), WallTime(1_250));
        assert_eq!(wall_of(Instant::from_micros(4_500_000), now), WallTime(500));
    }
}
