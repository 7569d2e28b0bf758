//! Who the members are: what operators ask for, and who counts.
//!
//! Invariant: what is asked for is relative to the members at the moment, so that taking one change
//! out of a run leaves the meaning of the others.

use std::collections::BTreeSet;

use zokor_core::Input;
use zokor_core::db::Txn;
use zokor_core::id::{ChangeId, ServerId};
use zokor_core::raft::{Index, Membership, Payload, Persist, SharedEntry};
use zokor_core::replica::{ChangeProgress, ChangeRefusal};

use super::stepped::World;
use crate::check::Verdict;
use crate::check::membership::is_quorum;
use crate::fault::Reform;
use crate::rng::mix;

impl World {
    /// A server has asked for a write: the changes of the membership in it are judged.
    pub(super) fn changes(&mut self, server: u64, persist: &Persist<Txn>) -> Verdict {
        for entry in &persist.append {
            let checks = &mut self.checks;
            if checks.members.appended(ServerId(server), entry, &checks.committed)? {
                self.probes.hit("membership change begun");
            }
        }
        Ok(())
    }

    /// An entry is committed, by what `server` says.
    pub(super) fn members_changed(&mut self, server: u64, entry: &SharedEntry<Txn>) {
        let Payload::Membership(next) = &entry.payload else { return };
        let before = self.checks.members.committed();
        if next.voters.iter().any(|voter| before.learners.contains(voter)) && next.is_joint() {
            self.probes.hit("learner caught up and promoted");
        }
        if next.is_joint() && next.groups != next.outgoing_groups {
            self.probes.hit("groups changed");
        }
        if !next.is_joint() {
            self.probes.hit("membership changed");
            if before.outgoing.contains(&ServerId(server)) && !next.is_voter(ServerId(server)) {
                self.probes.hit("leader removed itself");
            }
        }
        self.checks.members.took_effect(entry);
    }

    /// Operators ask everyone who says that it leads, and does not stand still.
    pub(super) fn reform(&mut self, reform: &Reform) -> Verdict {
        for leader in self.leaders() {
            let server = &self.servers[leader.0 as usize - 1];
            let Some(replica) = &server.replica else { continue };
            if server.paused_until > self.time {
                continue;
            }
            let wanted = reform.of(replica.raft().membership(), leader);
            let id = ChangeId(self.wanted.len() as u64);
            self.wanted.push(wanted.clone());
            self.input(leader.0, Input::ChangeMembership { id, wanted })?;
        }
        Ok(())
    }

    /// An operator hears of its change.
    pub(super) fn reformed(&mut self, id: ChangeId, progress: ChangeProgress) -> Verdict {
        self.hash = mix(&[self.hash, id.0]);
        match progress {
            ChangeProgress::Begun => {}
            ChangeProgress::Finished { zxid } => {
                let model = &self.checks.model;
                let zxid_of = |index: Index| model.step(index.0 as usize).zxid;
                self.checks.members.finished(&self.wanted[id.0 as usize], zxid, zxid_of)?;
                self.probes.hit("change finished");
            }
            ChangeProgress::Lost => self.probes.hit("change lost with the leadership"),
            ChangeProgress::Refused(refusal) => self.probes.hit(match refusal {
                ChangeRefusal::Behind(_) => "change refused: behind",
                ChangeRefusal::NoQuorum => "change refused: no quorum",
                ChangeRefusal::Pending => "change refused: pending",
                ChangeRefusal::TooEarly => "change refused: too early",
                ChangeRefusal::Invalid
                | ChangeRefusal::NotLeader { .. }
                | ChangeRefusal::Unaddressed(_) => "change refused: other",
            }),
        }
        Ok(())
    }

    /// The first servers of `order` with which every server can decide, whatever membership its
    /// log says that there is.
    pub(super) fn core_of(&self, order: &[u64]) -> Vec<u64> {
        let decides = |core: &[u64]| {
            let is_in = |server: ServerId| core.contains(&server.0);
            self.checks.members.all().all(|membership| is_quorum(membership, is_in))
        };
        let most = order.len();
        let count = (1..=most).find(|&count| decides(&order[..count])).unwrap_or(most);
        order[..count].to_vec()
    }

    /// Whether the membership has come to need one of those who stay broken: a change that was
    /// under way when the others had healed. It is the only excuse for standing still.
    pub(super) fn needs_outsiders(&mut self) -> bool {
        let is_healthy = |server: ServerId| !self.outsiders.contains(&server.0);
        let needs = !self.checks.members.all().all(|it| is_quorum(it, is_healthy));
        if needs {
            self.probes.hit("membership came to need an outsider");
        }
        needs
    }

    /// The servers that are to get well: voters and observers.
    pub(super) fn members(&self) -> BTreeSet<ServerId> {
        self.checks.members.committed().servers()
    }

    /// Whether `server` goes by a joint membership.
    pub(super) fn is_joint(&self, server: u64) -> bool {
        self.checks.members.of(ServerId(server)).is_joint()
    }

    /// Whether `server` observes.
    pub(super) fn observes(&self, server: u64) -> bool {
        let members: &Membership = self.checks.members.committed();
        members.learners.contains(&ServerId(server))
    }
}
