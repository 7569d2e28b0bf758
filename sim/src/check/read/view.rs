//! R2, R3. In a session zxids never go back, over connections and servers, and none is below what
//! it has seen in a reply or an event, its own writes among them (ZooKeeper, programmer's guide:
//! "single system image").

use zokor_core::id::SessionId;
use zokor_core::proto::Zxid;

use crate::check::{Verdict, must};

/// What one connection has shown.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The largest zxid of a reply so far; at first what the client had seen before.
    replied: Zxid,
    /// The largest zxid of an event so far.
    noticed: Zxid,
}

impl View {
    /// The view of a client that has seen `last`.
    pub fn new(last: Zxid) -> Self {
        View { replied: last, noticed: Zxid::ZERO }
    }

    /// A reply shows `zxid`.
    ///
    /// # Errors
    /// If that is earlier than what was shown before.
    pub fn shown(&mut self, session: SessionId, zxid: Zxid) -> Verdict {
        must("no session goes back (R2)", zxid >= self.replied, || {
            format!("session {session} is shown {zxid} after {}", self.replied)
        })?;
        must("no session goes back behind an event (R3)", zxid >= self.noticed, || {
            format!("session {session} is shown {zxid} after an event of {}", self.noticed)
        })?;
        self.replied = zxid;
        Ok(())
    }

    /// An event shows `zxid`; those that are set off by `setWatches` show none.
    pub fn noticed(&mut self, zxid: Zxid) {
        self.noticed = self.noticed.max(zxid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_is_found() {
        assert!(View::new(Zxid(0)).shown(SessionId(1), Zxid(0)).is_ok());
        assert!(View::new(Zxid(5)).shown(SessionId(1), Zxid(4)).is_err());
        let mut view = View::new(Zxid(0));
        view.shown(SessionId(1), Zxid(3)).unwrap();
        assert!(view.shown(SessionId(1), Zxid(2)).is_err());
    }

    #[test]
    fn going_back_behind_an_event_is_found() {
        let mut view = View::new(Zxid(0));
        view.noticed(Zxid(4));
        view.noticed(Zxid(-1));
        let behind = view.shown(SessionId(1), Zxid(3)).unwrap_err();
        assert!(behind.check.contains("(R3)"));
        assert!(view.shown(SessionId(1), Zxid(4)).is_ok());
    }
}
