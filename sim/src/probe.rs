//! Counts rare and important states, so that a sweep can tell whether it ever saw them.

use std::collections::BTreeMap;

use serde::Serialize;
use zokor_chance::{Chance, Chances};

use crate::run::Worlds;
use crate::whole::Scene;

/// How often each named state was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probes(BTreeMap<&'static str, u64>);

impl Probes {
    /// The state `name` was seen.
    pub fn hit(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    /// Adds what another run saw.
    pub fn add(&mut self, other: &Probes) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// Adds the chances that a run has taken.
    pub fn add_chances(&mut self, chances: &Chances) {
        for (chance, count) in chances.taken() {
            *self.0.entry(chance.deviation()).or_default() += count;
        }
    }

    /// How often `name` was seen.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(&name, &count)| (name, count))
    }
}

/// A state that so many runs must come to at least once.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Its name.
    pub probe: &'static str,
    /// How many runs may miss it.
    pub seeds: u64,
}

impl Quota {
    /// Whether enough runs have all missed it.
    pub fn is_missed(&self, runs: u64, probes: &Probes) -> bool {
        runs >= self.seeds && probes.count(self.probe) == 0
    }
}

/// What sweeps of a world must come to.
pub fn quotas(world: Worlds) -> &'static [Quota] {
    match world {
        Worlds::Stepped => STEPPED,
        Worlds::Whole(Scene::Storm) => STORMS,
        Worlds::Whole(_) => &[],
    }
}

const fn chance(chance: Chance) -> Quota {
    quota(chance.deviation(), 200)
}

const fn quota(probe: &'static str, seeds: u64) -> Quota {
    Quota { probe, seeds }
}

/// Each was met by far more than one in so many seeds when it was written down.
const STEPPED: &[Quota] = &[
    quota("alarm: the leader itself is odd", 1_000),
    quota("a server stays cut off while the others get on", 100),
    quota("a server stays down while the others get on", 100),
    chance(Chance::ApplyLater),
    chance(Chance::BarrierLater),
    chance(Chance::CheckpointNow),
    chance(Chance::EarlyBeat),
    chance(Chance::EarlyElection),
    chance(Chance::ForwardTwice),
    chance(Chance::HeardUnreported),
    chance(Chance::HeartbeatUnanswered),
    chance(Chance::OneEntryAppend),
    chance(Chance::ProbeAgain),
    chance(Chance::SegmentRolled),
    chance(Chance::SmallChunk),
    chance(Chance::SnapshotInstead),
    chance(Chance::TailForgotten),
    quota("client cut off from its server", 100),
    quota("disk: rot where the vote is", 300),
    quota("closed: client ahead", 200),
    quota("closed: no leader", 100),
    quota("closed: resynchronized", 500),
    quota("closed: session ended", 200),
    quota("closed: session moved", 100),
    quota("connection lost with writes in flight", 100),
    quota("crash at an effect", 100),
    quota("crash with a checkpoint under way", 200),
    quota("crash with a write under way", 100),
    quota("closed: writable again", 200),
    quota("ephemeral asked for in a local session", 200),
    quota("fault while only a quorum has healed", 100),
    quota("groups changed", 1000),
    quota("groups decide", 200),
    quota("half-open connection", 100),
    quota("leader crashed with writes in flight", 100),
    quota("local session closed", 200),
    quota("local session expired", 500),
    quota("local session given", 100),
    quota("local session refused", 200),
    quota("local session resumed", 200),
    quota("local session upgraded", 200),
    quota("log truncated", 200),
    quota("observer fed by a follower", 200),
    quota("observer left by, or leaving, its feeder", 200),
    quota("read-only session given", 200),
    quota("read-only session resumed", 500),
    quota("session expired", 100),
    quota("session moved with writes in flight", 100),
    quota("session refused", 200),
    quota("snapshot installed", 100),
    quota("sync during an election", 200),
    quota("storage: crash soon after a torn tail", 500),
    quota("two leaders at once", 200),
    quota("watch fired on reconnect", 200),
    quota("ACL closed between a watch and its event", 1_000),
    quota("event of a creation withheld by an ACL", 200),
    quota("event of a lasting watch withheld by an ACL", 200),
    quota("persistent watches removed", 200),
    quota("recursive watches removed", 200),
    quota("several kinds of watches on one path set again", 200),
    quota("watches for children removed", 200),
    quota("watches for data removed", 200),
    quota("watches of any kind removed", 200),
    quota("write answered over an election", 100),
    quota("write refused for want of room", 1_000),
    quota("wrong password refused", 200),
    quota("wrong state found", 500),
    quota("wrong state mended", 500),
];

/// The same of storms over whole servers.
const STORMS: &[Quota] = &[
    quota("answer cut in the middle of a frame", 60),
    quota("bytes in flight lost with their connection", 60),
    quota("client broke off in the middle of a frame", 60),
    quota("client that does not read", 60),
    quota("closed with bytes unread", 60),
    quota("connect hung", 60),
    quota("connect refused", 60),
    quota("connection lost with writes in flight", 60),
    quota("connection reset in the middle of a write", 60),
    quota("crash in the middle of a write", 60),
    quota("crash right after bytes were sent", 60),
    quota("disk: power cut over several sectors", 60),
    quota("disk: sync failed", 60),
    quota("disk: write failed", 60),
    quota("half-open connection", 60),
    quota("leader crashes", 60),
    quota("leader cut off", 60),
    quota("orderly stop", 60),
    quota("sent bytes were not acknowledged in time", 60),
    quota("session refused", 60),
    quota("session resumed", 60),
    quota("slow link", 60),
    quota("slow reader", 60),
    quota("snapshot in the place of a log", 60),
    quota("storage: a damaged server is whole again", 60),
    quota("storage: a damaged server starts", 60),
    quota("storage: a wiped server starts", 60),
    quota("storage: damaged server refused to start", 100),
    quota("storage: server ended by a failed write", 60),
    quota("storage: waited for room", 60),
    quota("two connections for one session", 60),
    quota("watches set again", 60),
    quota("writer blocked by a full buffer", 60),
    // The chances that only whole servers come to.
    chance(Chance::QueueFull),
    chance(Chance::ShortRead),
];
