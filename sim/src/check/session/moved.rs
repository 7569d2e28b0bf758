//! S8. After a session has moved, no write through its former connection takes effect, and each
//! attachment is one connection's (ZooKeeper: `SessionMovedException`; design: tokens).

use std::collections::BTreeMap;

use zokor_core::id::{ConnId, SessionId, Token};
use zokor_core::proto::Zxid;

use crate::check::{Verdict, must};

/// The attachment in force of every session, as the log made it.
#[derive(Debug, Default)]
pub struct Moves {
    global: BTreeMap<SessionId, Token>,
    /// Of sessions that one server knows: the last that showed in the log.
    local: BTreeMap<SessionId, Token>,
}

impl Moves {
    /// The log attaches `session` at `zxid`.
    pub fn attached(&mut self, session: SessionId, zxid: Zxid) {
        self.global.insert(session, Token(zxid.0));
    }

    /// A write under `token` takes effect.
    ///
    /// # Errors
    /// If another attachment is in force.
    pub fn wrote(&self, session: SessionId, token: Token, zxid: Zxid) -> Verdict {
        let current = self.global.get(&session);
        must("no write from a former connection (S8)", current == Some(&token), || {
            format!("{zxid} is of {session} under {token:?}, in force is {current:?}")
        })
    }
}

impl Moves {
    /// A write of a session that one server knows takes effect, of its attachment `token`.
    ///
    /// # Errors
    /// If a later attachment has written, or all know the session.
    pub fn wrote_locally(&mut self, session: SessionId, token: Token, zxid: Zxid) -> Verdict {
        const CHECK: &str = "no write from a former connection (S8)";
        let known = self.global.get(&session);
        must(CHECK, known.is_none(), || {
            format!("{zxid} is of {session} at its server, in force is {known:?}")
        })?;
        let last = self.local.insert(session, token);
        must(CHECK, last.is_none_or(|last| last <= token), || {
            format!("{zxid} is of {session} under {token:?}, after {last:?}")
        })
    }
}

/// `conn` is answered for a write under `token`, which `candidates` may be behind.
///
/// # Errors
/// If it is none of them.
pub fn one_connection(conn: ConnId, token: Token, candidates: &[ConnId]) -> Verdict {
    must("one connection an attachment (S8)", candidates.contains(&conn), || {
        format!("{conn:?} is answered for {token:?}, which is of {candidates:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_a_former_attachment_is_found() {
        let session = SessionId(5);
        let mut moves = Moves::default();
        assert!(moves.wrote(session, Token(1), Zxid(2)).is_err());
        moves.attached(session, Zxid(1));
        assert!(moves.wrote(session, Token(1), Zxid(2)).is_ok());
        moves.attached(session, Zxid(3));
        assert!(moves.wrote(session, Token(1), Zxid(4)).is_err());
        assert!(moves.wrote(session, Token(3), Zxid(4)).is_ok());
    }

    #[test]
    fn a_local_write_after_a_later_attachment_or_an_upgrade_is_found() {
        let session = SessionId(5);
        let mut moves = Moves::default();
        assert!(moves.wrote_locally(session, Token(1), Zxid(7)).is_ok());
        assert!(moves.wrote_locally(session, Token(2), Zxid(8)).is_ok());
        assert!(moves.wrote_locally(session, Token(1), Zxid(9)).is_err());
        moves.attached(session, Zxid(10));
        assert!(moves.wrote_locally(session, Token(2), Zxid(11)).is_err());
        assert!(moves.wrote(session, Token(10), Zxid(12)).is_ok());
    }

    #[test]
    fn an_answer_to_another_connection_is_found() {
        assert!(one_connection(ConnId(1), Token(1), &[ConnId(1), ConnId(2)]).is_ok());
        assert!(one_connection(ConnId(3), Token(1), &[ConnId(1), ConnId(2)]).is_err());
    }
}
