//! Writes are linearizable in the order of their zxids, take effect at most once, and keep the
//! order of their connection (ZooKeeper, ATC 2010, §2.3: A-linearizability). W1-W7, a file each.

pub mod acknowledged;
pub mod invoked;
pub mod kept;
pub mod order;
pub mod real_time;
pub mod result;
pub mod twice;

use std::collections::BTreeMap;
use std::sync::Arc;

use zokor_core::id::{ConnId, SessionId, Token};
use zokor_core::proto::{ErrorCode, Request, Response, Write, Zxid};

use self::invoked::Invoked;
use self::order::Asked;
use self::twice::Sequences;
use super::session::moved;
use super::tree::{multi, permission, stat};
use super::{Verdict, must};
use crate::model::{Model, Outcome};

/// All writes of all connections.
#[derive(Debug, Default)]
pub struct Writes {
    invoked: Invoked,
    sequences: Sequences,
    answered: BTreeMap<Zxid, ConnId>,
}

impl Writes {
    /// In this world servers drop what waits when its connection ends.
    pub fn close_outlives(&mut self) {
        self.invoked.close_outlives();
    }

    /// `conn` serves `session`.
    pub fn attached(&mut self, session: SessionId, conn: ConnId) {
        self.invoked.attached(session, conn);
    }

    /// `conn` speaks for `session` from now on; see [`Invoked::speaks`].
    pub fn speaks(&mut self, session: SessionId, conn: Option<ConnId>) {
        self.invoked.speaks(session, conn);
    }

    /// A write goes in.
    pub fn asked(&mut self, conn: ConnId, request: Arc<Request>) {
        self.invoked.asked(conn, request);
    }

    /// The largest zxid of a write that was answered.
    pub fn answered(&self) -> Zxid {
        self.answered.last_key_value().map_or(Zxid::ZERO, |(&zxid, _)| zxid)
    }

    /// The zxids of all writes that were answered, ascending.
    pub fn acknowledged(&self) -> impl Iterator<Item = Zxid> {
        self.answered.keys().copied()
    }

    /// A session is known to all from `token` on; its writes count on from `last`.
    pub fn upgraded(&mut self, session: SessionId, token: Token, last: u64) {
        self.sequences.goes_on(session, token, last);
    }

    /// A committed write takes effect.
    ///
    /// # Errors
    /// If nobody asked for it, or not at this place.
    pub fn took_effect(&mut self, outcome: &Outcome, zxid: Zxid) -> Verdict {
        let Outcome::Answered { author, write, result } = outcome else {
            return Ok(());
        };
        self.invoked.took_effect(author, write, result, zxid)?;
        self.sequences.took_effect(author, zxid)
    }

    /// A write is answered; anything else is none of this room's business.
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
        acknowledged::names_its_entry(session, wanted, zxid, outcome)?;
        let Some(Outcome::Answered { author, write, result: expected }) = outcome else {
            return must(acknowledged::CHECK, false, || format!("{zxid} holds {outcome:?}"));
        };
        order::in_its_place(conn, asked.write, author.sequence)?;
        permission::same_identities(author, &asked.identities)?;
        permission::decided(write, result, expected)?;
        multi::shape(write, result)?;
        stat::as_the_model(write, result, expected)?;
        stat::consistent(result, zxid)?;
        result::as_the_model(write, zxid, result, expected)?;
        real_time::after(write, zxid, asked.answered)?;
        let candidates = self.invoked.candidates(session, author.token);
        moved::one_connection(conn, author.token, candidates)?;
        *candidates = vec![conn];
        acknowledged::once(zxid, conn, self.answered.insert(zxid, conn))
    }

    /// Whether `request` ends its session.
    pub fn closes(request: &Request) -> bool {
        matches!(request, Request::Write(Write::CloseSession))
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::id::Xid;

    use super::*;

    #[test]
    fn a_reply_to_a_write_is_judged_and_another_is_not() {
        let write = Write::Delete { path: "/a".into(), version: -1 };
        let mut asked = Asked::new(Xid(1), Arc::new(Request::Write(write)));
        let answer = Ok(Response::Empty);
        let replied = |asked: &Asked| {
            let who = (ConnId(1), SessionId(5));
            Writes::default().replied(who, asked, (Zxid(0), &answer), &Model::new())
        };
        assert_eq!(replied(&asked).unwrap_err().check, acknowledged::CHECK);
        asked.request = Arc::new(Request::Ping);
        assert!(replied(&asked).is_ok());
    }
}
