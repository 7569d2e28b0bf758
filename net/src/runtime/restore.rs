//! Operators that wait for the end of a restore.
//!
//! Invariant: each is told once how it ended, or that nobody here will know.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use zokor_core::Input;
use zokor_core::db::Prepared;
use zokor_core::id::RestoreId;
use zokor_core::replica::RestoreEnd;
use zokor_core::time::Now;

use super::driver::Driver;

/// Those who wait, by the name of their restore.
#[derive(Default)]
pub(super) struct Restores {
    last: u64,
    waiting: BTreeMap<RestoreId, oneshot::Sender<RestoreEnd>>,
}

impl Restores {
    /// A restore has ended.
    pub(super) fn ended(&mut self, id: RestoreId, end: RestoreEnd) {
        tracing::info!(restore = id.0, ?end, "a restore");
        if let Some(waits) = self.waiting.remove(&id) {
            // Whoever asked may have lost interest.
            let _ = waits.send(end);
        }
    }

    /// Nobody will know any more.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }
}

impl Driver {
    /// Has `prepared` take the place of the state; how it ends comes over what is returned, and an
    /// error there says that this server ended before.
    pub(super) fn restore(
        &mut self,
        now: Now,
        prepared: Prepared,
    ) -> oneshot::Receiver<RestoreEnd> {
        self.restores.last += 1;
        let id = RestoreId(self.restores.last);
        let (znodes, sessions) = (prepared.n_znodes(), prepared.n_sessions());
        tracing::info!(restore = id.0, znodes, sessions, "a restore is asked for");
        let (end, ends) = oneshot::channel();
        if self.failure.is_none() && !self.draining {
            self.restores.waiting.insert(id, end);
            self.machine.handle(now, Input::Restore { id, prepared });
        }
        ends
    }
}
