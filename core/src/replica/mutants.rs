//! What some mutants do wrong, where a line is not enough.
//!
//! Invariant: this file is part of the twin alone.

use super::Replica;
use crate::db::{Action, Outcome, Txn};
use crate::proto::ConnectRequest;
use crate::raft::{Entry, Index, Payload};

impl Replica {
    /// Serves a client that has seen more as if its session, known here, were attached; whether it
    /// did.
    pub(super) fn attaches_at_once(&mut self, action: &Action, request: &ConnectRequest) -> bool {
        let Action::Attach { session, password, .. } = action else { return false };
        let known = self.db.session(*session).filter(|known| known.password == *password);
        let (Some(known), zxid) = (known, self.db.zxid()) else { return false };
        let (token, sequence) = (known.token, known.sequence);
        if request.last_zxid_seen <= zxid.0 {
            return false;
        }
        self.settle(zxid, action, Outcome::Attached { token });
        if let Some((conn, _)) = self.connections.of_session(*session)
            && let Some(connection) = self.connections.get_mut(conn)
        {
            connection.sequence = sequence;
        }
        true
    }

    /// The first entry after a start from a snapshot is done once too often, or counts as done;
    /// whether it does.
    pub(super) fn is_done_by_mistake(&mut self, entry: &Entry<Txn>) -> bool {
        let applied = self.applied.index;
        let has_more = self.checkpoints.is_due(applied, 1, u64::MAX);
        let is_first = applied > Index::ZERO && self.checkpoints.taken() == 0 && !has_more;
        if !is_first || self.checkpoints.is_installing() {
            return false;
        }
        if mutated!(EntrySkipped) {
            self.applied = entry.id;
        } else if let Payload::Command(txn) = &entry.payload {
            self.db.apply(self.db.zxid().next(), txn);
        }
        mutated!(EntrySkipped)
    }
}
