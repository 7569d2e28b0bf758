//! What a story about a run may ask in the middle of it.
//!
//! Invariant: asking changes nothing.

use std::collections::BTreeMap;

use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::EntryId;
use zokor_core::replica::Stats;

use super::stepped::World;
use crate::model::{Outcome, State};

impl World {
    /// The server that leads, if there is exactly one that says so.
    pub fn leader(&self) -> Option<u64> {
        match self.leaders()[..] {
            [ServerId(leader)] => Some(leader),
            _ => None,
        }
    }

    /// All that say that they lead.
    pub fn leading(&self) -> Vec<u64> {
        self.leaders().iter().map(|leader| leader.0).collect()
    }

    /// What a server tells of itself, while it runs.
    pub fn stats(&self, server: u64) -> Option<Stats> {
        self.servers.get(server as usize - 1)?.replica.as_ref().map(|replica| replica.stats())
    }

    /// The last entry of a server's log that would survive a power cut.
    pub fn durable_last(&self, server: u64) -> EntryId {
        self.servers[server as usize - 1].disk.durable().log.last()
    }

    /// How many writes were answered, to anyone.
    pub fn n_answered(&self) -> usize {
        self.checks.judge.writes.acknowledged().count()
    }

    /// Znodes and sessions after all that is committed.
    pub fn tree(&self) -> &State {
        &self.checks.model.newest().state
    }

    /// The zxid of all that is committed.
    pub fn zxid(&self) -> Zxid {
        self.checks.model.newest().zxid
    }

    /// How many sessions have expired.
    pub fn n_expired(&self) -> usize {
        let steps = 1..=self.checks.model.last();
        let outcomes = steps.map(|index| &self.checks.model.step(index).outcome);
        outcomes.filter(|outcome| matches!(outcome, Outcome::Expired(_))).count()
    }

    /// How many clients have a connection that serves them, by server.
    pub fn served(&self) -> BTreeMap<u64, usize> {
        let mut served = BTreeMap::new();
        for conn in self.conns.values().filter(|conn| conn.open) {
            *served.entry(conn.server).or_default() += 1;
        }
        served
    }

    /// What is still awaited: faults whose point nobody has reached.
    pub fn awaited(&self) -> impl Iterator<Item = String> + '_ {
        self.awaited.iter().map(|(who, point, _)| format!("{who:?} at {point:?}"))
    }
}
