//! W3. Every client's entry that takes effect was asked for, at its place among the writes of a
//! connection of its session (linearizability: Herlihy and Wing 1990; ZooKeeper, ATC 2010, §2.3).
//! S8. When a connection speaks for its session, nothing of a former one takes effect any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use zokor_core::db::Author;
use zokor_core::id::{ConnId, SessionId, Token};
use zokor_core::proto::{Request, Write, Zxid};

use crate::check::{Verdict, must};

/// What was asked for, and which connection may be behind which attachment.
#[derive(Debug, Default)]
pub struct Invoked {
    asked: BTreeMap<ConnId, Vec<Arc<Request>>>,
    connections: BTreeMap<SessionId, Vec<ConnId>>,
    attachments: BTreeMap<(SessionId, Token), Vec<ConnId>>,
    /// Who speaks for a session, at this moment of the log.
    speaking: BTreeMap<SessionId, ConnId>,
}

const SPEAKS: &str = "no write from a former connection (S8)";

impl Invoked {
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
    pub fn took_effect(&mut self, author: &Author, write: &Write, zxid: Zxid) -> Verdict {
        let all = self.connections.get(&author.session).map_or(&[][..], |conns| conns);
        let key = (author.session, author.token);
        let candidates = self.attachments.entry(key).or_insert_with(|| all.to_vec());
        let place = (author.sequence.0 as usize).wrapping_sub(1);
        let asked = &self.asked;
        candidates.retain(|conn| {
            let request = asked.get(conn).and_then(|writes| writes.get(place));
            matches!(request.map(|request| &**request), Some(Request::Write(w)) if *w == *write)
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

#[cfg(test)]
pub(in crate::check) mod tests {
    use zokor_core::id::Sequence;

    use super::*;

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
        assert!(invoked.took_effect(&author(5, 1, 1), &delete("/a"), Zxid(1)).is_ok());
        assert!(invoked.took_effect(&author(5, 1, 2), &delete("/b"), Zxid(2)).is_ok());
        assert_eq!(*invoked.candidates(SessionId(5), Token(1)), [ConnId(1)]);
    }

    #[test]
    fn an_effect_of_a_connection_that_speaks_no_more_is_found() {
        let mut invoked = invoked();
        invoked.speaks(SessionId(5), Some(ConnId(1)));
        assert!(invoked.took_effect(&author(5, 1, 1), &delete("/a"), Zxid(1)).is_ok());
        invoked.speaks(SessionId(5), Some(ConnId(2)));
        let late = invoked.took_effect(&author(5, 1, 2), &delete("/b"), Zxid(2));
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
            assert!(invoked().took_effect(&author, &delete(path), Zxid(1)).is_err());
        }
    }
}
