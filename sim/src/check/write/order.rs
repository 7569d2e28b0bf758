//! W5. Replies come in the order of the requests, and the zxids of a connection's writes grow in
//! it (ZooKeeper, ATC 2010, §2.3: FIFO client order). Only `auth` is answered out of turn.

use std::collections::VecDeque;
use std::sync::Arc;

use zokor_core::id::{ConnId, Sequence, Xid};
use zokor_core::proto::{Identities, Request, Zxid};

use super::Writes;
use crate::check::{Verdict, Violation, must};
use crate::world::queue::Micros;

/// A request that a server has taken in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The client's number.
    pub xid: Xid,
    /// What it asks for.
    pub request: Arc<Request>,
    /// As whom.
    pub identities: Identities,
    /// When, by the true time.
    pub time: Micros,
    /// The largest zxid of a write that was answered to anyone before.
    pub answered: Zxid,
    /// Its number among the writes of the connection, from 1; 0 if it is none.
    pub write: u64,
}

impl Asked {
    /// A request at the beginning of time, of nobody.
    pub fn new(xid: Xid, request: Arc<Request>) -> Self {
        let identities = Identities::from([]);
        Asked { xid, request, identities, time: 0, answered: Zxid::ZERO, write: 0 }
    }
}

/// What one connection waits for.
#[derive(Debug, Default)]
pub struct Order {
    waiting: VecDeque<Asked>,
    /// Credentials shown, and not answered yet.
    auths: VecDeque<Asked>,
    writes: u64,
    /// The zxid of the last write answered.
    last: Zxid,
}

impl Order {
    /// A request is handed in. Its number among the writes is found here.
    pub fn asked(&mut self, mut asked: Asked) {
        let is_write = matches!(&*asked.request, Request::Write(_));
        self.writes += u64::from(is_write);
        asked.write = if is_write { self.writes } else { 0 };
        match &*asked.request {
            Request::Auth(_) | Request::Sasl(_) => self.auths.push_back(asked),
            _ => self.waiting.push_back(asked),
        }
    }

    /// What waits, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Asked> {
        self.waiting.iter()
    }

    /// Whether a write waits.
    pub fn has_write(&self) -> bool {
        self.waiting.iter().any(|asked| asked.write > 0)
    }

    /// Whether the end of the session is asked for: what follows is not answered.
    pub fn is_closing(&self) -> bool {
        self.waiting.iter().any(|asked| Writes::closes(&asked.request))
    }

    /// A reply comes out; returns what it answers.
    ///
    /// # Errors
    /// If it answers anything but the oldest request.
    pub fn replied(&mut self, xid: Xid) -> Result<Asked, Violation> {
        if self.auths.front().is_some_and(|asked| asked.xid == xid) {
            return Ok(self.auths.pop_front().expect("just seen"));
        }
        let oldest = self.waiting.pop_front();
        must("replies in order (W5)", oldest.as_ref().is_some_and(|a| a.xid == xid), || {
            format!("a reply to {xid:?} comes when {:?} is due", oldest.as_ref().map(|a| a.xid))
        })?;
        Ok(oldest.expect("just seen"))
    }

    /// What was just replied to is in the log at `zxid`, if it is a write.
    ///
    /// # Errors
    /// If a write asked for before has a later zxid, or the same.
    pub fn logged(&mut self, asked: &Asked, zxid: Zxid) -> Verdict {
        if asked.write == 0 {
            return Ok(());
        }
        must("writes keep their order (W5)", zxid > self.last, || {
            format!("write {} of a connection has {zxid}, after {}", asked.write, self.last)
        })?;
        self.last = zxid;
        Ok(())
    }
}

/// Write `number` of `conn` is answered by an entry of this `sequence`.
///
/// # Errors
/// If that is another place.
pub fn in_its_place(conn: ConnId, number: u64, sequence: Sequence) -> Verdict {
    must("writes keep their order (W5)", sequence.0 == number, || {
        format!("write {number} of {conn:?} was taken as {sequence:?}")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::proto::{AuthPacket, Write};

    use super::*;

    fn asked(xid: i32, request: Request) -> Asked {
        Asked::new(Xid(xid), Arc::new(request))
    }

    #[test]
    fn order_is_kept_or_its_breach_found() {
        let mut order = Order::default();
        for n in 1..=3 {
            order.asked(asked(n, Request::Ping));
        }
        assert!(order.replied(Xid(1)).is_ok());
        assert!(order.replied(Xid(3)).is_err());
        assert!(Order::default().replied(Xid(1)).is_err());
    }

    #[test]
    fn credentials_are_answered_out_of_turn_and_nothing_else() {
        let mut order = Order::default();
        let auth = Request::Auth(AuthPacket { scheme: "ip".into(), auth: None });
        order.asked(asked(1, Request::Ping));
        order.asked(asked(-4, auth));
        assert!(order.replied(Xid(-4)).is_ok());
        assert!(order.replied(Xid(-4)).is_err());
    }

    #[test]
    fn writes_with_falling_zxids_are_found() {
        let mut order = Order::default();
        for n in 1..=3 {
            order.asked(asked(n, Request::Write(Write::CloseSession)));
        }
        for (number, zxid, right) in [(1, 5, true), (2, 6, true), (3, 6, false)] {
            let asked = order.replied(Xid(number)).unwrap();
            assert_eq!(asked.write, number as u64);
            assert_eq!(order.logged(&asked, Zxid(zxid)).is_ok(), right);
        }
    }

    #[test]
    fn a_write_taken_for_another_is_found() {
        assert!(in_its_place(ConnId(1), 2, Sequence(2)).is_ok());
        assert!(in_its_place(ConnId(1), 2, Sequence(1)).is_err());
    }
}
