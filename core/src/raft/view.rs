//! What can be seen of a [`Raft`] from outside.
//!
//! Invariant: looking changes nothing.

use super::effect::{HardState, Role};
use super::entry::{Command, SharedEntry};
use super::membership::Membership;
use super::position::{EntryId, Index, Term};
use super::progress::PeerProgress;
use super::{Raft, RepairStatus, relay, repair, replication};
use crate::id::ServerId;

impl<C: Command> Raft<C> {
    /// This server.
    pub fn id(&self) -> ServerId {
        self.state.config.id
    }

    /// The highest term seen.
    pub fn term(&self) -> Term {
        self.state.term
    }

    /// Term and vote, durable or not.
    pub fn hard_state(&self) -> HardState {
        HardState { term: self.state.term, vote: self.state.vote }
    }

    /// The role in this term.
    pub fn role(&self) -> Role {
        self.state.role()
    }

    /// The leader of this term, if known.
    pub fn leader(&self) -> Option<ServerId> {
        self.state.leader
    }

    /// Agreed up to here.
    pub fn commit(&self) -> Index {
        self.state.commit
    }

    /// Entries up to here would survive a power cut of this server.
    pub fn persisted_index(&self) -> Index {
        self.state.log.persisted()
    }

    /// The last entry of the log.
    pub fn last(&self) -> EntryId {
        self.state.last()
    }

    /// The first index that is in memory, or will be.
    pub fn first_index(&self) -> Index {
        self.state.log.first()
    }

    /// The entry at `index`, if it is in memory.
    pub fn entry(&self, index: Index) -> Option<&SharedEntry<C>> {
        self.state.log.entry(index)
    }

    /// The term of the entry at `index`, if that is in memory or just before it.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.state.log.term_at(index)
    }

    /// The membership in force: the last in the log, committed or not.
    pub fn membership(&self) -> &Membership {
        self.state.membership()
    }

    /// What this server knows of its peers as leader, ascending by peer; empty if it does not lead.
    pub fn progress(&self) -> Vec<PeerProgress> {
        replication::progress(&self.state)
    }

    /// What this server knows of the learners that it feeds as follower, ascending by peer.
    pub fn relayed(&self) -> Vec<PeerProgress> {
        relay::progress(&self.state)
    }

    /// Who feeds this server, as far as it knows: a follower, or the leader.
    pub fn fed_by(&self) -> Option<ServerId> {
        relay::upstream(&self.state)
    }

    /// As leader: other servers that wait for a read barrier, one as often as it waits.
    pub fn n_waiting_readers(&self) -> usize {
        let own = self.id();
        self.state.reads.readers().filter(|reader| *reader != own).count()
    }

    /// How the repair of the log stands, if it is not whole. This server takes no part until then.
    pub fn repair(&self) -> Option<RepairStatus> {
        repair::status(&self.state)
    }

    /// Whether the log was repaired since this value was made.
    pub fn was_repaired(&self) -> bool {
        self.state.repairs_done > 0
    }

    /// The server that this one, leading, has last found to have lost entries that it had
    /// acknowledged as durable, and the last of these. It got them anew; but its disk, or whatever
    /// is between, does not keep what it was given.
    pub fn forgetful(&self) -> Option<(ServerId, Index)> {
        self.state.forgetful
    }

    /// Elections won since this value was made.
    pub fn elections_won(&self) -> u64 {
        self.state.elections_won
    }
}
