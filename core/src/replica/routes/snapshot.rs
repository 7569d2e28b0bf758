//! Snapshots: taking, sending and installing the whole state.
//!
//! Invariant: an installed snapshot is durable before the applied index moves (ZOOKEEPER-3104,
//! 3642).

use crate::db::Database;
use crate::id::ServerId;
use crate::raft::{Flow, PeerProgress, Role, SnapshotMeta};
use crate::replica::{Message, Output, Replica, Snapshot};

impl Replica {
    /// Hands the next snapshot to storage, if one is due or waits. Whether there was one.
    pub(in crate::replica) fn begin_checkpoint(&mut self) -> bool {
        if let Some((ticket, snapshot)) = self.checkpoints.next() {
            self.outputs.push_back(Output::Checkpoint { ticket, snapshot });
            return true;
        }
        let (entries, bytes) = (self.config.snapshot_entries, self.config.snapshot_bytes);
        let is_due = |entries| self.checkpoints.is_due(self.applied.index, entries, bytes);
        // Legal: a snapshot may be taken after any entry.
        let is_now = maybe!(CheckpointNow if is_due(1));
        // One whose log is not whole has nothing that a snapshot of its own could put right, and in
        // doubt the next snapshot is a leader's.
        let is_away =
            self.checkpoints.is_installing() || self.raft.repair().is_some() || self.is_in_doubt();
        if is_away || !(is_now || is_due(entries)) {
            return false;
        }
        let (ticket, snapshot) = self.checkpoints.take(self.snapshot());
        self.outputs.push_back(Output::Checkpoint { ticket, snapshot });
        if mutated!(PurgedEarly) {
            self.outputs.push_back(Output::Purge { through: self.applied.index });
        }
        true
    }

    pub(in crate::replica) fn snapshot(&self) -> Snapshot {
        Snapshot {
            meta: SnapshotMeta { last: self.applied, membership: self.membership.clone() },
            zxid: self.db.zxid(),
            image: self.db.freeze(),
        }
    }

    pub(in crate::replica) fn send_snapshot(&mut self, to: ServerId) {
        let snapshot = self.snapshot();
        let (term, last) = (self.raft.term(), snapshot.meta.last.index);
        let message = Message::Snapshot { term, snapshot };
        self.outputs.push_back(Output::Send { to, message });
        // A follower sends snapshots too, to the learners that it feeds; the counts are a leader's.
        if self.raft.role() == Role::Leader {
            let is_under_way =
                |peer: &&PeerProgress| peer.is_connected && peer.flow == Flow::Snapshot;
            let n_under_way = self.raft.progress().iter().filter(is_under_way).count();
            self.counts.snapshot_sent(to, n_under_way);
        }
        self.raft.snapshot_sent(self.now.instant, to, last);
    }

    /// A leader's snapshot is durable here: it is the state now, unless the log has come farther.
    pub(in crate::replica) fn install(&mut self, snapshot: Snapshot) {
        let last = snapshot.meta.last;
        if last.index > self.applied.index || mutated!(SnapshotOverNewer) {
            let db = Database::thaw(snapshot.image);
            assert_eq!(db.zxid(), snapshot.zxid, "a snapshot is of one zxid");
            self.jump_to(db, snapshot.meta.clone());
            self.is_mended(last);
        } else if self.mend(&snapshot) {
            self.is_mended(last);
        }
        self.raft.installed(self.now.instant, snapshot.meta);
    }
}
