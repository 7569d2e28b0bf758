//! A look at a replica from outside.

use crate::raft::{Flow, Role};
use crate::replica::{Mode, Replica, Stats};

impl Replica {
    /// Facts and counters, taken now.
    pub fn stats(&self) -> Stats {
        let progress = self.raft.progress();
        let connected = progress.iter().filter(|peer| peer.is_connected);
        let in_step = progress.iter().filter(|peer| {
            peer.is_connected
                && peer.flow == Flow::Pipeline
                && self.raft.membership().is_voter(peer.peer)
        });
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
            serving: (upkeep.is_serving() || self.read_only) && self.is_member(),
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
            synced_followers: in_step.count() as u64,
            quorum_size: raft.membership().voters.len() as u64,
            elections_won: raft.elections_won(),
            leads_since: self.leads_since,
            proposal_bytes: self.proposal_bytes,
            config_version: self.db.config_version(),
            sessions_expired: self.sessions_expired,
            snapshots: self.checkpoints.taken(),
            digest: self.db.digest(),
        }
    }
}
