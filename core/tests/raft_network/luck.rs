//! What a client, an operator or fate does to the network.

use std::collections::BTreeSet;

use crate::disk::Word;
use crate::network::{MILLI, Network, drawn_groups};
use rand_core::RngCore;
use zokor_core::groups::Groups;
use zokor_core::id::ServerId;
use zokor_core::raft::Membership;

impl Network {
    /// Something that a client, an operator or fate does.
    pub(crate) fn stir(&mut self) {
        let id = self.any();
        let now = self.clock(id);
        let other = self.any();
        if self.servers[&id].paused_until <= self.now {
            let highest = self.committed.keys().next_back().copied().unwrap_or_default();
            let word = Word(self.next_word + 1);
            let server = self.servers.get_mut(&id).expect("known");
            if let Some(raft) = &mut server.raft {
                if raft.propose(now, word).is_ok() {
                    self.next_word += 1;
                }
                let token = raft.read_index(now);
                server.reads.insert(token, highest);
            }
            self.drain(id);
        }
        if self.rng.next_u64() % 1000 >= self.luck.faults_per_mille {
            return;
        }
        match self.rng.next_u64() % 12 {
            0 | 1 if self.servers[&id].raft.is_some() => self.crash(id),
            11 => {
                if self.servers[&id].raft.is_some() {
                    self.crash(id);
                }
                self.damage(id);
            }
            0..=2 => {
                if self.servers[&id].raft.is_none() {
                    self.start(id);
                }
            }
            3 => {
                self.cut.insert((id, other));
                if self.chance(50) {
                    self.cut.insert((other, id));
                }
            }
            4 => self.cut.clear(),
            5 => {
                let until = self.now + self.rng.next_u64() % (900 * MILLI);
                self.servers.get_mut(&id).expect("known").paused_until = until;
            }
            6 => self.snapshot(id),
            7 => self.isolate_leader(),
            _ => {
                let leader = self.ids().into_iter().find(|id| self.leads(*id));
                self.operate(leader.unwrap_or(id), other);
            }
        }
    }

    /// Nothing gets to the leader or from it any more. Its followers see their connections break,
    /// it does not: they elect another while it still believes that it leads.
    pub(crate) fn isolate_leader(&mut self) {
        let ids = self.ids();
        let Some(leader) = ids.iter().copied().find(|id| self.leads(*id)) else { return };
        for peer in ids.into_iter().filter(|id| *id != leader) {
            self.cut.insert((leader, peer));
            self.cut.insert((peer, leader));
            self.link_one(peer, leader, false);
        }
    }

    pub(crate) fn snapshot(&mut self, id: ServerId) {
        let server = self.servers.get_mut(&id).expect("known");
        let Some(raft) = &mut server.raft else { return };
        if server.installing.is_none() && server.delivered > server.disk.snapshot.last.index {
            let meta = raft.snapshot_meta(server.delivered).expect("it is in the tail");
            server.disk.snapshot = meta.clone();
            raft.compact(meta);
        }
    }

    pub(crate) fn operate(&mut self, id: ServerId, other: ServerId) {
        let bits = self.rng.next_u64();
        let changes = self.luck.changes;
        let (ids, is_grouped) = (self.ids(), self.luck.groups);
        let now = self.clock(id);
        let Some(raft) = self.raft(id) else { return };
        if bits & 1 == 0 || !changes {
            let _ = raft.transfer(now, other);
        } else {
            let (voters, learners): (BTreeSet<ServerId>, _) =
                ids.iter().partition(|id| bits >> (8 + id.0) & 3 != 0);
            // Some change to groups, or to other ones, and some back to a majority.
            let by_groups = is_grouped && bits >> 40 & 3 != 0;
            let groups = if by_groups { drawn_groups(&voters, bits) } else { Groups::none() };
            let next = Membership { voters, learners, groups, ..Membership::default() };
            let is_begun = raft.change(now, next).is_ok();
            self.n_changes += u64::from(is_begun);
        }
        self.drain(id);
    }
}
