//! The scene in which disks are damaged one after the other, and what servers make of that.
//!
//! Invariant: at any time two of three servers are whole. The third comes back by them, with what
//! it had, and clients go on.

use std::time::Duration;

use tokio::time::sleep;

use super::Run;
use crate::check::{Verdict, must};
use crate::fault::Damage;
use crate::world::queue::Micros;

/// What happens to one disk after the other. Writes go on all the time, and a snapshot is taken
/// every few hundred entries, so that the end of a log is what only a log has.
const BLOWS: [Damage; 6] = [
    Damage::CutLog,
    Damage::RotVote,
    Damage::RotLog(700),
    Damage::LostDisk,
    Damage::RotSnapshot,
    Damage::Unreadable,
];

/// What a server may need to come back.
const PATIENCE: Micros = 20_000_000;

/// What the scene has to come to.
const SEEN: [&str; 3] = [
    "storage: a damaged server starts",
    "storage: a wiped server starts",
    "storage: a damaged server is whole again",
];

impl Run {
    /// Each server in turn loses power and finds its disk damaged.
    pub(super) async fn disks_in_turn(&mut self) -> Verdict {
        for (server, damage) in (1..=self.scenario.plan.servers).cycle().zip(BLOWS) {
            self.comes_back(server, damage).await?;
        }
        let missed = SEEN.into_iter().find(|name| self.probes.count(name) == 0);
        must("the scene is set", missed.is_none(), || format!("never seen: {missed:?}"))
    }

    /// One disk is damaged, its server comes back, and writing goes on.
    async fn comes_back(&mut self, server: u64, damage: Damage) -> Verdict {
        let struck = self.ensemble.damage(server, damage);
        let may_miss = damage == Damage::RotVote;
        must("the scene is set", struck.is_some() || may_miss, || {
            format!("{damage:?} misses {server}")
        })?;
        let Some(name) = struck else { return Ok(()) };
        self.probes.hit(name);
        self.note(format!("the disk of server {server} is damaged: {damage:?}"));
        sleep(Duration::from_millis(300)).await;
        self.ensemble.start(server);
        let deadline = self.watch.micros() + PATIENCE;
        loop {
            sleep(Duration::from_millis(20)).await;
            self.reap()?;
            let stats = self.ensemble.stats(server);
            let serves = stats.as_ref().is_some_and(|stats| stats.serving);
            if serves && !self.ensemble.is_repairing(server) {
                break;
            }
            must("a damaged server comes back", self.watch.micros() < deadline, || {
                format!("server {server} after {damage:?}: {stats:?}")
            })?;
        }
        self.ensemble.counts_as_whole(server);
        let written = self.acknowledged();
        sleep(Duration::from_secs(1)).await;
        let now = self.acknowledged();
        must("writing goes on", now > written + 20, || format!("{written} writes, then {now}"))
    }
}
