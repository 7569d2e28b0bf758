//! A history before the run: what all disks hold before any server starts.
//!
//! Invariant: disks, the committed log and the model begin with the same entries.

use std::sync::Arc;

use zokor_core::db::{Action, Database, Rules, Txn};
use zokor_core::id::{Nonce, SessionId};
use zokor_core::proto::Zxid;
use zokor_core::raft::{Entry, EntryId, Index, Payload, SharedEntry, SnapshotMeta, Term};
use zokor_core::replica::Snapshot;
use zokor_core::time::WallTime;

use super::disk;
use super::stepped::World;
use crate::plan::Origin;

/// The entry in the snapshot.
const FIRST: EntryId = EntryId { term: Term(1), index: Index(1) };

impl World {
    /// Lays the plan's history down, if it has one.
    pub(super) fn begin_from_origin(&mut self) {
        let Some(Origin { zxid, sessions }) = self.plan.origin else {
            return;
        };
        let zxid = Zxid(zxid);
        let mut database = Database::new();
        database.skip(zxid);
        let meta = SnapshotMeta { last: FIRST, membership: None };
        let snapshot = Snapshot { meta, zxid, image: database.freeze() };
        let timeout_ms = self.plan.core.max_session_timeout_ms;
        let entries: Vec<SharedEntry<Txn>> =
            (1..=sessions).map(|number| opened(number, timeout_ms)).collect();
        for server in &mut self.servers {
            server.disk.begin(disk::copy(&snapshot), &entries);
        }
        self.checks.committed.begin(Arc::new(Entry { id: FIRST, payload: Payload::Blank }));
        self.checks.model.begin(zxid);
        self.conformance.begin(FIRST, sessions);
        for (number, client) in (1..=sessions).zip(&mut self.clients) {
            client.resume(session(number), password(number), zxid);
        }
    }
}

/// Of ids that belong to no server.
fn session(number: u64) -> SessionId {
    SessionId((0x70 << 56) | number as i64)
}

fn password(number: u64) -> [u8; 16] {
    u128::from(number).to_le_bytes()
}

fn opened(number: u64, timeout_ms: i32) -> SharedEntry<Txn> {
    let id = EntryId { term: FIRST.term, index: Index(FIRST.index.0 + number) };
    let (session, password) = (session(number), password(number));
    let action = Action::Open { session, password, timeout_ms, nonce: Nonce(number) };
    Arc::new(Entry {
        id,
        payload: Payload::Command(Txn { time: WallTime(0), rules: Rules::default(), action }),
    })
}
