//! A look at a replica from outside.

use crate::id::ServerId;
use crate::proto::Zxid;
use crate::raft::{Flow, PeerProgress, Role};
use crate::replica::{Mode, Replica, Stats};

impl Replica {
    /// Facts and counters, taken now.
    pub fn stats(&self) -> Stats {
        let progress = self.raft.progress();
        let connected = progress.iter().filter(|peer| peer.is_connected);
        let in_step =
            progress.iter().filter(|peer| peer.is_connected && peer.flow == Flow::Pipeline);
        let (followers, observers): (Vec<&PeerProgress>, Vec<&PeerProgress>) =
            in_step.partition(|peer| self.raft.membership().is_voter(peer.peer));
        let relayed = self.raft.relayed();
        let relayed =
            relayed.iter().filter(|peer| peer.is_connected && peer.flow == Flow::Pipeline).count();
        let (raft, upkeep) = (&self.raft, &self.upkeep);
        let mode = match (raft.role(), raft.leader()) {
            _ if self.read_only => Mode::ReadOnly,
            (Role::Leader, _) if raft.membership().servers().len() == 1 => Mode::Standalone,
            (Role::Leader, _) => Mode::Leader,
            (_, None) => Mode::Looking,
            (_, Some(_)) if raft.membership().is_voter(self.config.raft.id) => Mode::Follower,
            (_, Some(_)) => Mode::Observer,
        };
        Stats {
            mode,
            role: raft.role(),
            term: raft.term(),
            leader: raft.leader(),
            serving: (upkeep.is_serving() || self.read_only)
                && self.is_member()
                && !self.is_in_doubt(),
            commit: raft.commit(),
            applied: self.applied.index,
            zxid: self.db.zxid(),
            znodes: self.db.node_count(),
            ephemerals: self.db.ephemeral_count(),
            data_bytes: self.db.data_bytes(),
            sessions: self.db.session_count(),
            local_sessions: self.locals.len() as u64,
            watches: self.watches.count(),
            outstanding: self.connections.n_outstanding(),
            learners: connected.count() as u64,
            synced_followers: followers.len() as u64,
            synced_observers: (observers.len() + relayed) as u64,
            fed_by: if mode == Mode::Observer { raft.fed_by() } else { None },
            pending_syncs: (self.barriers.n_waiting() + raft.n_waiting_readers()) as u64,
            quorum_size: raft.membership().voters.len() as u64,
            repair: raft.repair(),
            was_repaired: raft.was_repaired(),
            in_doubt: self.comparing.doubt.is_some(),
            elections_won: raft.elections_won(),
            leads_since: self.leads_since,
            proposal_bytes: self.proposal_bytes,
            config_version: self.db.config_version(),
            quota_events: self.quota_events,
            is_short_of_room: self.room.is_short(),
            refuses_growth: self.raft.role() == Role::Leader && !self.has_room(),
            snapshots: self.checkpoints.taken(),
            digest: self.db.digest(),
        }
    }

    /// A peer that was not in step has been heard of: whether it is now.
    pub(in crate::replica) fn note_sync(&mut self, peer: ServerId) {
        let progress = self.raft.progress();
        let is_in_step = |it: &PeerProgress| it.peer == peer && it.flow == Flow::Pipeline;
        if progress.iter().any(is_in_step) {
            self.counts.sync_ends(peer);
        }
    }

    /// An entry is applied: its state's digest is kept if it is its turn.
    pub(in crate::replica) fn note_digest(&mut self, zxid: Zxid) {
        if zxid.0 % DIGEST_INTERVAL != 0 {
            return;
        }
        if self.digests.len() == MAX_DIGESTS {
            self.digests.pop_front();
        }
        self.digests.push_back((zxid, self.db.digest()));
    }
}

/// Every so many zxids a digest is kept, and so many of them (zookeeper: DataTree).
const DIGEST_INTERVAL: i64 = 128;
const MAX_DIGESTS: usize = 1_024;
