//! The end of a run: sessions are closed, so that no server has to wait for their timeouts.

use super::links::{Links, Load, Loss, Reply};

/// Closes what is up and waits for the answers, not for long.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    end_ns: Option<u64>,
    n_awaited: usize,
}

impl Load for Farewell {
    fn up(&mut self, links: &mut Links, link: usize, _now_ns: u64) {
        // It was lost, and is back: its session is still there.
        links.ask_to_close(link);
        self.n_awaited += 1;
    }

    fn reply(&mut self, links: &mut Links, link: usize, _reply: Reply, _now_ns: u64) {
        links.rest(link);
        self.n_awaited -= 1;
    }

    fn event(&mut self, _links: &mut Links, _link: usize, _now_ns: u64) {}

    fn lost(&mut self, links: &mut Links, link: usize, loss: Loss<'_>, _now_ns: u64) {
        links.rest(link);
        self.n_awaited -= usize::from(loss.was_up);
    }

    fn turn(&mut self, links: &mut Links, now_ns: u64) -> Option<u64> {
        let end_ns = *self.end_ns.get_or_insert_with(|| {
            for link in 0..links.len() {
                if links.is_up(link) {
                    links.ask_to_close(link);
                    self.n_awaited += 1;
                } else {
                    links.rest(link);
                }
            }
            now_ns + PATIENCE_NS
        });
        (self.n_awaited > 0 && now_ns < end_ns).then_some(end_ns)
    }
}

const PATIENCE_NS: u64 = 5_000_000_000;
