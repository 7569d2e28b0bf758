//! S9. A client that is told "expired" has an end in the log, or showed a wrong password; one whose
//! session has ended is never told "connected" (ZooKeeper, programmer's guide: sessions).

use zokor_core::id::SessionId;

use crate::check::{Verdict, must};
use crate::model::Model;

/// A client that showed the password `shown` is told that `session` is gone, or that it gets none
/// if that is 0.
///
/// # Errors
/// If it is not, and the password was right.
pub fn refused(session: SessionId, shown: &[u8], model: &Model) -> Verdict {
    let ended = model.ended(session).is_some();
    // A stranger's id is no session's, as a stranger's password is.
    let wrong = session != SessionId(0) && model.password(session).is_none_or(|kept| kept != shown);
    must("expired means ended (S9)", ended || wrong, || {
        format!("session {session} is refused, but nothing in the log ends it")
    })
}

/// A client is told that it goes on with `session`; `ended_before`: it had ended when it asked.
///
/// # Errors
/// If the session never was, or had ended.
pub fn accepted(session: SessionId, ended_before: bool, model: &Model) -> Verdict {
    must("connected means open (S9)", model.password(session).is_some(), || {
        format!("session {session} is accepted, but nothing in the log opens it")
    })?;
    must("connected means open (S9)", !ended_before, || {
        format!("session {session} is accepted, but it ended before its client asked")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::db::{Action, Rules, Txn};
    use zokor_core::id::{Nonce, Token};
    use zokor_core::raft::{Entry, EntryId, Index, Payload, Term};
    use zokor_core::time::WallTime;

    use super::*;

    const SESSION: SessionId = SessionId(1 << 56);

    fn model(ends: bool) -> Model {
        let mut model = Model::new();
        let open =
            Action::Open { session: SESSION, password: [7; 16], timeout_ms: 1, nonce: Nonce(0) };
        let expire = Action::Expire { session: SESSION, token: Token(1) };
        for (n, action) in [Some(open), ends.then_some(expire)].into_iter().flatten().enumerate() {
            let id = EntryId { term: Term(1), index: Index(n as u64 + 1) };
            let payload =
                Payload::Command(Txn { time: WallTime(0), rules: Rules::default(), action });
            model.append(&Entry { id, payload });
        }
        model
    }

    #[test]
    fn a_refusal_needs_an_end_or_a_wrong_password() {
        assert!(refused(SESSION, &[7; 16], &model(false)).is_err());
        assert!(refused(SESSION, &[8; 16], &model(false)).is_ok());
        assert!(refused(SESSION, &[7; 16], &model(true)).is_ok());
        assert!(refused(SESSION, &[7; 16], &Model::new()).is_ok());
        assert!(refused(SessionId(0), &[0; 16], &Model::new()).is_err());
    }

    #[test]
    fn an_unknown_or_ended_session_cannot_be_accepted() {
        assert!(accepted(SESSION, false, &model(false)).is_ok());
        assert!(accepted(SESSION, false, &Model::new()).is_err());
        assert!(accepted(SESSION, true, &model(true)).is_err());
    }
}
