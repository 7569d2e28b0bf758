//! Plain counters and facts about a replica, for people and monitoring.

use crate::db::QuotaEvents;
use crate::id::ServerId;
use crate::proto::Zxid;
use crate::raft::{Index, RepairStatus, Role, Term};
use crate::time::Instant;

/// What a replica can tell about itself at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// What it is to its ensemble.
    pub mode: Mode,
    /// Raft's role.
    pub role: Role,
    /// Raft's term.
    pub term: Term,
    /// The leader, if known; itself if it leads.
    pub leader: Option<ServerId>,
    /// Whether it serves clients: it follows or leads, and is not waiting for a leader for too
    /// long.
    pub serving: bool,
    /// Agreed up to here, as far as known here.
    pub commit: Index,
    /// Done up to here.
    pub applied: Index,
    /// The zxid of the last entry applied.
    pub zxid: Zxid,
    /// Znodes, counted as ZooKeeper does: the root twice.
    pub znodes: u64,
    /// Ephemeral znodes.
    pub ephemerals: u64,
    /// Bytes of data and paths, about.
    pub data_bytes: u64,
    /// Sessions of the whole ensemble.
    pub sessions: u64,
    /// Sessions that only this server knows.
    pub local_sessions: u64,
    /// Watches of this server's connections: pairs of path and connection.
    pub watches: u64,
    /// Requests that wait for their answer.
    pub outstanding: u64,
    /// On a leader: followers and learners that are connected.
    pub learners: u64,
    /// On a leader: followers that are in step.
    pub synced_followers: u64,
    /// Observers that are in step: on a leader all, on a follower those that it feeds.
    pub synced_observers: u64,
    /// On an observer: who feeds it, the leader or a follower.
    pub fed_by: Option<ServerId>,
    /// On a leader: `sync`s of its own clients, and other servers with such, that wait for a
    /// quorum.
    pub pending_syncs: u64,
    /// Voters of the ensemble.
    pub quorum_size: u64,
    /// How the repair of a damaged log stands; `None` if it is whole.
    pub repair: Option<RepairStatus>,
    /// Whether the log was repaired since this server started.
    pub was_repaired: bool,
    /// Whether this server's state is another than a quorum's, so that it serves nobody until it
    /// has a leader's.
    pub in_doubt: bool,
    /// Elections that this server has won since it started.
    pub elections_won: u64,
    /// On a leader: since when it leads.
    pub leads_since: Option<Instant>,
    /// Sizes of the txns that it has proposed as leader, since it started or since
    /// [`reset_stats`](super::Replica::reset_stats).
    pub proposal_bytes: Sizes,
    /// The version in the description of the ensemble that clients see; 0 if there is none.
    pub config_version: i64,
    /// Writes that it saw refused at a hard quota, and let pass beyond a soft one, since its start.
    /// Where quotas are not enforced, neither is counted, as in ZooKeeper.
    pub quota_events: QuotaEvents,
    /// Whether its disk is short of room.
    pub is_short_of_room: bool,
    /// On a leader: whether writes that store anything are refused, since no quorum has room.
    pub refuses_growth: bool,
    /// Snapshots that it took since it started.
    pub snapshots: u64,
    /// A digest of znodes and sessions: equal on all servers that have applied the same entries.
    pub digest: u64,
}

/// Sizes in bytes; `None` before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The latest.
    pub last: Option<u64>,
    /// The smallest.
    pub min: Option<u64>,
    /// The largest.
    pub max: Option<u64>,
}

impl Sizes {
    /// Takes one more into account.
    pub fn note(&mut self, n_bytes: usize) {
        let size = n_bytes as u64;
        self.last = Some(size);
        self.min = Some(self.min.map_or(size, |min| min.min(size)));
        self.max = Some(self.max.map_or(size, |max| max.max(size)));
    }
}

/// ZooKeeper's words for what a server is, as `srvr` and `mntr` show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The only server.
    Standalone,
    /// Leads.
    Leader,
    /// Follows a leader.
    Follower,
    /// Follows a leader without a vote.
    Observer,
    /// Has no leader, and serves those who only read.
    ReadOnly,
    /// Has no leader.
    #[default]
    Looking,
}

impl Mode {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
            Mode::Looking => "looking",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_know_the_latest_and_the_extremes() {
        let mut sizes = Sizes::default();
        for n_bytes in [48, 32, 210, 50] {
            sizes.note(n_bytes);
        }
        assert_eq!(sizes, Sizes { last: Some(50), min: Some(32), max: Some(210) });
    }
}
