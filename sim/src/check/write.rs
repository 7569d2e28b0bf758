//! Writes are linearizable in the order of their zxids, take effect at most once, and keep the
//! order of their connection (ZooKeeper, ATC 2010, §2.3: A-linearizability; W1-W7).

use std::collections::BTreeMap;
use std::sync::Arc;

use zokor_core::id::{ConnId, SessionId, Token};
use zokor_core::proto::{ErrorCode, Request, Response, Write, Zxid};

use super::order::Asked;
use super::{Verdict, must};
use crate::model::{Model, Outcome};

/// All writes of all connections.
#[derive(Debug, Default)]
pub struct Writes {
    asked: BTreeMap<ConnId, Vec<Arc<Request>>>,
    connections: BTreeMap<SessionId, Vec<ConnId>>,
    /// Which connections may be the one behind an attachment.
    attachments: BTreeMap<(SessionId, Token), Vec<ConnId>>,
    answered: BTreeMap<Zxid, ConnId>,
}

impl Writes {
    /// `conn` serves `session`.
    pub fn attached(&mut self, session: SessionId, conn: ConnId) {
        self.connections.entry(session).or_default().push(conn);
    }

    /// A write goes in.
    pub fn asked(&mut self, conn: ConnId, request: Arc<Request>) {
        self.asked.entry(conn).or_default().push(request);
    }

    /// The largest zxid of a write that was answered.
    pub fn answered(&self) -> Zxid {
        self.answered.last_key_value().map_or(Zxid::ZERO, |(&zxid, _)| zxid)
    }

    /// How many writes were answered.
    pub fn n_answered(&self) -> usize {
        self.answered.len()
    }

    /// A committed write takes effect: some connection asked for it, at that place (W3, W5, W6).
    ///
    /// # Errors
    /// If none did.
    pub fn took_effect(&mut self, outcome: &Outcome, zxid: Zxid) -> Verdict {
        let Outcome::Answered { author, write, .. } = outcome else {
            return Ok(());
        };
        let all = self.connections.get(&author.session).map_or(&[][..], |conns| conns);
        let key = (author.session, author.token);
        let candidates = self.attachments.entry(key).or_insert_with(|| all.to_vec());
        let place = (author.sequence.0 as usize).wrapping_sub(1);
        let asked = &self.asked;
        candidates.retain(|conn| {
            let request = asked.get(conn).and_then(|writes| writes.get(place));
            matches!(request.map(|request| &**request), Some(Request::Write(w)) if *w == **write)
        });
        must("every write was asked for (W3)", !candidates.is_empty(), || {
            format!("no connection asked for {write:?} of {author:?} at {zxid}")
        })
    }

    /// A write is answered.
    ///
    /// # Errors
    /// If the log or the model says otherwise.
    pub fn replied(
        &mut self,
        (conn, session): (ConnId, SessionId),
        asked: &Asked,
        (zxid, result): (Zxid, &Result<Response, ErrorCode>),
        model: &Model,
    ) -> Verdict {
        let Request::Write(wanted) = &*asked.request else {
            return Ok(());
        };
        let outcome = model.at(zxid).map(|step| &step.outcome);
        let Some(Outcome::Answered { author, write, result: expected }) = outcome else {
            return must("acknowledged writes are in the log (W1)", false, || {
                format!("{wanted:?} of {session} is answered at {zxid}: {outcome:?}")
            });
        };
        let own = author.session == session && **write == *wanted;
        must("acknowledged writes are in the log (W1)", own, || {
            format!("{wanted:?} of {session} is answered at {zxid}, which is {write:?}")
        })?;
        must("writes answer as the model (W2)", result == expected, || {
            format!("{write:?} at {zxid} is answered {result:?}, should be {expected:?}")
        })?;
        must("writes keep real time (W4)", zxid > asked.answered, || {
            format!("{write:?} has {zxid}, but {} was answered before it began", asked.answered)
        })?;
        must("writes keep their order (W5)", author.sequence.0 == asked.write, || {
            format!("write {} of {conn:?} was taken as {:?}", asked.write, author.sequence)
        })?;
        let candidates = self.attachments.entry((session, author.token)).or_default();
        must("one connection an attachment (S8)", candidates.contains(&conn), || {
            format!("{conn:?} is answered for {:?}, which is of {candidates:?}", author.token)
        })?;
        *candidates = vec![conn];
        let other = self.answered.insert(zxid, conn);
        must("one answer a write (W1)", other.is_none(), || {
            format!("{zxid} is answered to {conn:?} and to {other:?}")
        })
    }

    /// Whether `request` ends its session.
    pub fn closes(request: &Request) -> bool {
        matches!(request, Request::Write(Write::CloseSession))
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::db::Author;
    use zokor_core::id::{Sequence, Xid};

    use super::*;

    const SESSION: SessionId = SessionId(5);

    fn write(path: &str) -> Arc<Request> {
        Arc::new(Request::Write(Write::Delete { path: path.into(), version: -1 }))
    }

    fn effect(path: &str, sequence: u64) -> Outcome {
        let author = Author {
            session: SESSION,
            token: Token(1),
            sequence: Sequence(sequence),
            identities: Arc::from([]),
        };
        let write = Write::Delete { path: path.into(), version: -1 };
        let (author, write) = (Box::new(author), Box::new(write));
        Outcome::Answered { author, write, result: Ok(Response::Empty) }
    }

    fn writes() -> Writes {
        let mut writes = Writes::default();
        writes.attached(SESSION, ConnId(1));
        writes.asked(ConnId(1), write("/a"));
        writes.asked(ConnId(1), write("/b"));
        writes
    }

    #[test]
    fn effects_in_the_order_asked_are_right() {
        let mut writes = writes();
        assert!(writes.took_effect(&effect("/a", 1), Zxid(1)).is_ok());
        assert!(writes.took_effect(&effect("/b", 2), Zxid(2)).is_ok());
    }

    #[test]
    fn an_effect_that_nobody_asked_for_is_found() {
        assert!(writes().took_effect(&effect("/c", 1), Zxid(1)).is_err());
        assert!(writes().took_effect(&effect("/b", 1), Zxid(1)).is_err());
        assert!(writes().took_effect(&effect("/a", 3), Zxid(1)).is_err());
    }

    #[test]
    fn an_answer_without_an_entry_is_found() {
        let asked = Asked { xid: Xid(1), request: write("/a"), answered: Zxid(0), write: 1 };
        let answer = Ok(Response::Empty);
        let who = (ConnId(1), SESSION);
        assert!(writes().replied(who, &asked, (Zxid(0), &answer), &Model::new()).is_err());
    }
}
