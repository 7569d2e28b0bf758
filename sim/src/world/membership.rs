//! Who the members are: what operators ask for, and who counts.
//!
//! Invariant: what is asked for is relative to the members at the moment, so that taking one change
//! out of a run leaves the meaning of the others.

use std::collections::BTreeSet;

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{Membership, Payload, Persist, SharedEntry};

use super::stepped::World;
use crate::check::Verdict;
use crate::check::membership::is_quorum;

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
        if !next.is_joint() {
            self.probes.hit("membership changed");
            if before.outgoing.contains(&ServerId(server)) && !next.is_voter(ServerId(server)) {
                self.probes.hit("leader removed itself");
            }
        }
        self.checks.members.took_effect(entry);
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
