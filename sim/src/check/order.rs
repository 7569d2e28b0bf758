//! Replies come in the order of the requests (ZooKeeper, ATC 2010: FIFO client order).

use std::collections::VecDeque;
use std::sync::Arc;

use zokor_core::id::Xid;
use zokor_core::proto::{Request, Zxid};

use super::{Violation, must};

/// A request that a server has taken in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The client's number.
    pub xid: Xid,
    /// What it asks for.
    pub request: Arc<Request>,
    /// The largest zxid of a write that was answered to anyone before; where the world sees it, of
    /// an entry that was committed before.
    pub answered: Zxid,
    /// Its number among the writes of the connection, from 1; 0 if it is none.
    pub write: u64,
}

/// What one connection waits for.
#[derive(Debug, Default)]
pub struct Order {
    waiting: VecDeque<Asked>,
    writes: u64,
}

impl Order {
    /// A request is handed in.
    pub fn asked(&mut self, xid: Xid, request: Arc<Request>, answered: Zxid) {
        let is_write = matches!(&*request, Request::Write(_));
        self.writes += u64::from(is_write);
        let write = if is_write { self.writes } else { 0 };
        self.waiting.push_back(Asked { xid, request, answered, write });
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a write waits.
    pub fn has_write(&self) -> bool {
        self.waiting.iter().any(|asked| asked.write > 0)
    }

    /// Whether the end of the session is asked for: what follows is not answered.
    pub fn is_closing(&self) -> bool {
        self.waiting.iter().any(|asked| super::write::Writes::closes(&asked.request))
    }

    /// A reply comes out; returns what it answers.
    ///
    /// # Errors
    /// If it answers anything but the oldest request.
    pub fn replied(&mut self, xid: Xid) -> Result<Asked, Violation> {
        let oldest = self.waiting.pop_front();
        must("replies in order (W5)", oldest.as_ref().is_some_and(|a| a.xid == xid), || {
            format!("a reply to {xid:?} comes when {:?} is due", oldest.as_ref().map(|a| a.xid))
        })?;
        Ok(oldest.expect("just seen"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_or_its_breach_found() {
        let mut order = Order::default();
        for n in 1..=3 {
            order.asked(Xid(n), Arc::new(Request::Ping), Zxid(0));
        }
        assert!(order.replied(Xid(1)).is_ok());
        assert!(order.replied(Xid(3)).is_err());
        assert!(Order::default().replied(Xid(1)).is_err());
    }
}
