//! States that are made wrong on purpose, and what servers do about it.
//!
//! Invariant: what is made wrong is a znode that no client looks at, so that all other checks go on
//! for everybody; what may be seen of the wrong state is judged here.

use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::{EntryId, Index};
use zokor_core::replica::{Alarm, Snapshot};
use zokor_net::runtime::Refusal;

use super::disk_faults::Written;
use super::stepped::World;
use crate::check::{Verdict, Violation};
use crate::fault::CrashPoint;
use crate::trace::{Kind, Lane};

/// What is made wrong.
const PATH: &str = "/zookeeper/quota";
/// What its data are then.
const DATA: [&str; 3] = ["rot", "other rot", "third rot"];

/// To be done with a disk once the snapshot that is on its way to it is there.
#[derive(Debug)]
pub(super) enum Verdicts {
    Distrust(Snapshot),
    Trust(Index),
}

impl World {
    /// The state of a server is made wrong, if it runs; and if it is the only one unless that is
    /// said.
    pub(super) fn rot(&mut self, server: u64, variety: Option<u64>) {
        let time = self.time;
        if variety.is_none() && self.checks.doubts.any() {
            return;
        }
        let data = DATA[variety.unwrap_or(0) as usize % DATA.len()];
        let Some(replica) = &mut self.server(server).replica else { return };
        if replica.raft().repair().is_none() && replica.rot(PATH, data) {
            self.checks.doubts.struck(ServerId(server), time);
            self.probes.hit("state made wrong");
        }
    }

    /// A server says that its state is wrong. What its disk is to remember is done in the order of
    /// snapshots.
    pub(super) fn distrusts(
        &mut self,
        server: u64,
        at: EntryId,
        evidence: Snapshot,
    ) -> Result<CrashPoint, Violation> {
        let time = self.time;
        self.trace.note(time, Lane::Server(server), Kind::Note, || {
            format!("doubts its state after {at:?}")
        });
        let id = ServerId(server);
        self.checks.doubts.distrusts(id)?;
        self.probes.hit("a server doubts its state");
        if let Some(struck) = self.checks.doubts.struck_at(id) {
            let late = time - struck > DETECTED_WITHIN;
            self.probes.hit(if late { "wrong state found late" } else { "wrong state found" });
        }
        self.server(server).judged.push_back(Verdicts::Distrust(evidence));
        self.judge_disk(server);
        Ok(CrashPoint::Distrust)
    }

    /// A server says that its state is right from `from` on.
    pub(super) fn trusts(&mut self, server: u64, from: Index) -> CrashPoint {
        let time = self.time;
        self.trace.note(time, Lane::Server(server), Kind::Note, || {
            format!("trusts its state from {from} on")
        });
        self.checks.doubts.trusts(ServerId(server));
        self.probes.hit("wrong state mended");
        self.server(server).judged.push_back(Verdicts::Trust(from));
        self.judge_disk(server);
        CrashPoint::Trust
    }

    /// A server tells people of states that differ.
    pub(super) fn alarmed(&mut self, server: u64, alarm: &Alarm) -> Verdict {
        self.trace.note(self.time, Lane::Server(server), Kind::Note, || format!("{alarm:?}"));
        self.probes.hit(match alarm {
            Alarm::Odd { server: odd, .. } if odd.0 == server => "alarm: the leader itself is odd",
            Alarm::Odd { .. } => "alarm: a server is odd",
            Alarm::Disputed { .. } => "alarm: no quorum has the same state",
            Alarm::Mended { .. } => "alarm: mended",
        });
        self.checks.doubts.raises(ServerId(server), alarm)
    }

    /// Does what waits for a snapshot to be on the disk.
    pub(super) fn judge_disk(&mut self, server: u64) {
        while !self.server(server).disk.is_checkpointing()
            && let Some(verdict) = self.server(server).judged.pop_front()
        {
            let time = self.time;
            let state = self.server(server);
            let done = match (&mut state.sectors, &verdict) {
                (None, _) => Ok(()),
                (Some(sectors), Verdicts::Distrust(evidence)) => {
                    sectors.tick(time);
                    sectors.distrust(evidence)
                }
                (Some(sectors), Verdicts::Trust(from)) => {
                    sectors.tick(time);
                    sectors.trust(*from)
                }
            };
            let is_waiting = matches!(done, Err(Refusal::Full(_)));
            if is_waiting {
                // Tried again with the next snapshot.
                self.server(server).judged.push_front(verdict);
                return;
            }
            if !matches!(self.settle(server, done), Written::Done) {
                return;
            }
            let is_distrusted = matches!(verdict, Verdicts::Distrust(_));
            self.server(server).disk.is_distrusted = is_distrusted;
        }
    }

    /// A server tells the digest of its state, of which nothing is to be judged while it may be
    /// wrong.
    pub(super) fn tells_state(&mut self, server: ServerId, zxid: Zxid, digest: u64) -> Verdict {
        if self.checks.machines.known(zxid) == Some(digest) {
            self.checks.doubts.is_right(server);
        }
        if self.checks.doubts.is_rotten(server) {
            return Ok(());
        }
        self.checks.machines.seen(server, zxid, digest)
    }
}

/// A wrong state is usually found within this.
const DETECTED_WITHIN: u64 = 3_000_000;
