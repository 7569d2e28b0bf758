//! W3. Every client's entry that takes effect was asked for, at its place among the writes of a
//! connection of its session (linearizability: Herlihy and Wing 1990; ZooKeeper, ATC 2010, §2.3).
//! S8. When a connection speaks for its session, nothing of a former one takes effect any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use zokor_core::db::Author;
use zokor_core::id::{ConnId, SessionId, Token};
use zokor_core::proto::{ErrorCode, OpResult, Request, Response, Write, Zxid};

use crate::check::{Verdict, must};

/// What was asked for, and which connection may be behind which attachment.
#[derive(Debug, Default)]
pub struct Invoked {
    asked: BTreeMap<ConnId, Vec<Arc<Request>>>,
    connections: BTreeMap<SessionId, Vec<ConnId>>,
    attachments: BTreeMap<(SessionId, Token), Vec<ConnId>>,
    /// Who speaks for a session, at this moment of the log.
    speaking: BTreeMap<SessionId, ConnId>,
    /// Servers drop what waits when its connection ends, but for the wish to end the session, which
    /// then takes the place of what was before it (ZooKeeper: `RequestThrottler`).
    close_outlives: bool,
}

const SPEAKS: &str = "no write from a former connection (S8)";

impl Invoked {
    /// In this world servers drop what waits when its connection ends.
    pub fn close_outlives(&mut self) {
        self.close_outlives = true;
    }

    /// `conn` serves `session`.
    pub fn attached(&mut self, session: SessionId, conn: ConnId) {
        self.connections.entry(session).or_default().push(conn);
    }

    /// `conn` speaks for `session` from now on, in a world in which the log goes on with the
    /// clients; or it cannot be said who does.
    pub fn speaks(&mut self, session: SessionId, conn: Option<ConnId>) {
        match conn {
            Some(conn) => self.speaking.insert(session, conn),
            None => self.speaking.remove(&session),
        };
    }

    /// A write goes in.
    pub fn asked(&mut self, conn: ConnId, request: Arc<Request>) {
        self.asked.entry(conn).or_default().push(request);
    }

    /// The connections that can be the one behind an attachment.
    pub fn candidates(&mut self, session: SessionId, token: Token) -> &mut Vec<ConnId> {
        self.attachments.entry((session, token)).or_default()
    }

    /// `write` of `author` takes effect at `zxid`.
    ///
    /// # Errors
    /// If no connection asked for it there.
    pub fn took_effect(
        &mut self,
        author: &Author,
        write: &Write,
        result: &Result<Response, ErrorCode>,
        zxid: Zxid,
    ) -> Verdict {
        let all = self.connections.get(&author.session).map_or(&[][..], |conns| conns);
        let key = (author.session, author.token);
        let candidates = self.attachments.entry(key).or_insert_with(|| all.to_vec());
        let place = (author.sequence.0 as usize).wrapping_sub(1);
        let asked = &self.asked;
        let n_places = match write {
            Write::CloseSession if self.close_outlives => usize::MAX,
            _ => 1,
        };
        candidates.retain(|conn| {
            let behind = asked.get(conn).into_iter().flatten().skip(place);
            behind.take(n_places).any(|request| match &**request {
                Request::Write(asked) => is_as_asked(asked, write, result),
                _ => false,
            })
        });
        must("every write was asked for (W3)", !candidates.is_empty(), || {
            format!("no connection asked for {write:?} of {author:?} at {zxid}")
        })?;
        let latest = self.speaking.get(&author.session);
        must(SPEAKS, latest.is_none_or(|it| candidates.contains(it)), || {
            format!("{write:?} of {author:?} at {zxid} is of {candidates:?}, now {latest:?} speaks")
        })
    }
}

/// Whether the log holds `found` for what was `asked`: the same, or, if it is refused for want of
/// room, the same without what it would have stored. A multi may fail of something else before it
/// comes to that.
pub fn is_as_asked(asked: &Write, found: &Write, result: &Result<Response, ErrorCode>) -> bool {
    let is_refused = match result {
        Err(code) => *code == ErrorCode::QuotaExceeded,
        Ok(Response::Multi(results)) => {
            results.iter().any(|result| matches!(result, OpResult::Error(_)))
        }
        Ok(_) => false,
    };
    let stripped = || {
        let mut asked = asked.clone();
        asked.strip();
        asked
    };
    asked == found || is_refused && stripped() == *found
}

#[cfg(test)]
pub(in crate::check) mod tests {
    use zokor_core::id::Sequence;

    use super::*;

    const DONE: Result<Response, ErrorCode> = Ok(Response::Empty);

    #[test]
    fn a_close_may_overtake_what_was_dropped_with_its_connection_where_servers_do_that() {
        for outlives in [false, true] {
            let mut invoked = Invoked::default();
            if outlives {
                invoked.close_outlives();
            }
            invoked.attached(SessionId(1), ConnId(1));
            for write in [Write::Check { path: "/a".into(), version: 1 }, Write::CloseSession] {
                invoked.asked(ConnId(1), Arc::new(Request::Write(write)));
            }
            let (close, zxid) = (Write::CloseSession, Zxid(9));
            let done = invoked.took_effect(&author(1, 1, 1), &close, &Ok(Response::Empty), zxid);
            assert_eq!(done.is_ok(), outlives);
            let late = invoked.took_effect(&author(1, 1, 3), &close, &Ok(Response::Empty), zxid);
            assert!(late.is_err(), "none was asked for behind it");
        }
    }

    #[test]
    fn only_what_is_refused_for_want_of_room_may_come_without_its_data() {
        let set = |data: Option<&'static [u8]>| Write::SetData {
            path: "/a".into(),
            data: data.map(Into::into),
            version: 3,
        };
        let (whole, stripped) = (set(Some(b"x")), set(None));
        let refused = Err(ErrorCode::QuotaExceeded);
        assert!(is_as_asked(&whole, &whole, &DONE));
        assert!(is_as_asked(&whole, &whole, &refused));
        assert!(is_as_asked(&whole, &stripped, &refused));
        assert!(!is_as_asked(&whole, &stripped, &DONE));
        assert!(!is_as_asked(&whole, &stripped, &Err(ErrorCode::NoNode)));
        assert!(!is_as_asked(&delete("/a"), &stripped, &refused));
        let multi = |write: &Write| Write::multi(vec![delete("/b"), write.clone()]);
        let results = |second: OpResult| Ok(Response::Multi(vec![OpResult::Delete, second]));
        let failed = results(OpResult::Error(Some(ErrorCode::NoNode)));
        assert!(is_as_asked(&multi(&whole), &multi(&stripped), &failed));
        let done = results(OpResult::Check);
        assert!(!is_as_asked(&multi(&whole), &multi(&stripped), &done));
    }

    pub(in crate::check) fn author(session: i64, token: i64, sequence: u64) -> Author {
        Author {
            session: SessionId(session),
            token: Token(token),
            sequence: Sequence(sequence),
            identities: Arc::from([]),
        }
    }

    fn delete(path: &str) -> Write {
        Write::Delete { path: path.into(), version: -1 }
    }

    fn invoked() -> Invoked {
        let mut invoked = Invoked::default();
        invoked.attached(SessionId(5), ConnId(1));
        invoked.asked(ConnId(1), Arc::new(Request::Write(delete("/a"))));
        invoked.asked(ConnId(1), Arc::new(Request::Write(delete("/b"))));
        invoked
    }

    #[test]
    fn effects_in_the_order_asked_are_right() {
        let mut invoked = invoked();
        assert!(invoked.took_effect(&author(5, 1, 1), &delete("/a"), &DONE, Zxid(1)).is_ok());
        assert!(invoked.took_effect(&author(5, 1, 2), &delete("/b"), &DONE, Zxid(2)).is_ok());
        assert_eq!(*invoked.candidates(SessionId(5), Token(1)), [ConnId(1)]);
    }

    #[test]
    fn an_effect_of_a_connection_that_speaks_no_more_is_found() {
        let mut invoked = invoked();
        invoked.speaks(SessionId(5), Some(ConnId(1)));
        assert!(invoked.took_effect(&author(5, 1, 1), &delete("/a"), &DONE, Zxid(1)).is_ok());
        invoked.speaks(SessionId(5), Some(ConnId(2)));
        let late = invoked.took_effect(&author(5, 1, 2), &delete("/b"), &DONE, Zxid(2));
        let found = late.unwrap_err();
        assert!(found.check.contains("(S8)"));
    }

    #[test]
    fn an_effect_that_nobody_asked_for_is_found() {
        for (author, path) in [
            (author(5, 1, 1), "/c"),
            (author(5, 1, 1), "/b"),
            (author(5, 1, 3), "/a"),
            (author(6, 1, 1), "/a"),
        ] {
            assert!(invoked().took_effect(&author, &delete(path), &DONE, Zxid(1)).is_err());
        }
    }
}
