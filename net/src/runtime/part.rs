//! Parts of a server: what it cannot be without, and the pump among them.

use std::sync::Arc;

use tokio::sync::Notify;

use super::shared::Shared;

/// Something without which a server cannot be: when it ends, the server does.
pub(super) struct Part {
    pub(super) shared: Arc<Shared>,
    pub(super) name: &'static str,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.shared.fail(self.name);
    }
}

/// Carries out what the replica wishes for, whenever `bell` says that something was put into it.
/// Each thread that does so has its own: it runs after the tasks that were woken in the same turn
/// of that thread.
pub(super) async fn pump(part: Part, bell: Arc<Notify>) {
    let shared = &part.shared;
    loop {
        bell.notified().await;
        let (mut driver, now) = shared.lock_now();
        driver.pump(now);
        if driver.failure.is_some() {
            shared.ending.notify_one();
        }
        let deadline = driver.machine.deadline();
        if deadline.is_some_and(|deadline| driver.armed.is_none_or(|armed| deadline < armed)) {
            shared.rearm.notify_one();
        }
    }
}
