//! S9. A client that is told "expired" has an end in the log, or showed a wrong password; one whose
//! session has ended is never told "connected" (ZooKeeper, programmer's guide: sessions). A session
//! that a restore brings to life while its client waits was both: either answer is true.

use zokor_core::id::SessionId;
use zokor_core::proto::Zxid;

use crate::check::{Verdict, must};
use crate::model::Model;

/// A client that showed the password `shown` is told that `session` is gone, or that it gets none
/// if that is 0. What was in the log up to `asked_at` was there when it asked.
///
/// # Errors
/// If it was open all the time, and the password was right.
pub fn refused((session, shown): (SessionId, &[u8]), asked_at: Zxid, model: &Model) -> Verdict {
    let ended = model.ended(session).is_some() || model.revived_since(session, asked_at);
    // A stranger's id is no session's, as a stranger's password is.
    let wrong = session != SessionId(0) && model.password(session).is_none_or(|kept| kept != shown);
    must("expired means ended (S9)", ended || wrong, || {
        format!("session {session} is refused, but nothing in the log ends it")
    })
}

/// A client is told that it goes on with `session`; `ended_before`: it had ended when it asked, and
/// what was in the log up to here was there then.
///
/// # Errors
/// If the session never was, or had ended and no restore has brought it back since.
pub fn accepted(session: SessionId, ended_before: Option<Zxid>, model: &Model) -> Verdict {
    must("connected means open (S9)", model.password(session).is_some(), || {
        format!("session {session} is accepted, but nothing in the log opens it")
    })?;
    let is_open = ended_before.is_none_or(|asked_at| model.revived_since(session, asked_at));
    must("connected means open (S9)", is_open, || {
        format!("session {session} is accepted, but it ended before its client asked")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::db::{Action, ImageNode, RestoreStep, RestoredSession, Rules, StoredStat, Txn};
    use zokor_core::id::{Nonce, Sequence, Token};
    use zokor_core::raft::{Entry, EntryId, Index, Payload, Term};
    use zokor_core::time::WallTime;

    use super::*;
    use crate::model::State;

    const SESSION: SessionId = SessionId(1 << 56);
    const PASSWORD: [u8; 16] = [7; 16];
    const RIGHT: (SessionId, &[u8]) = (SESSION, &PASSWORD);

    fn of_log(actions: impl IntoIterator<Item = Action>) -> Model {
        let mut model = Model::new();
        for (action, n) in actions.into_iter().zip(1..) {
            let id = EntryId { term: Term(1), index: Index(n) };
            let payload =
                Payload::Command(Txn { time: WallTime(0), rules: Rules::default(), action });
            model.append(&Entry { id, payload });
        }
        model
    }

    fn open() -> Action {
        Action::Open { session: SESSION, password: PASSWORD, timeout_ms: 1, nonce: Nonce(0) }
    }

    fn expire() -> Action {
        Action::Expire { session: SESSION, token: Token(1) }
    }

    fn model(ends: bool) -> Model {
        of_log([Some(open()), ends.then(expire)].into_iter().flatten())
    }

    /// It is opened at 1, ends at 2, and is restored at 5.
    fn restored() -> Model {
        let nodes = State::fresh().nodes;
        let znodes = nodes.iter().map(|(path, node)| ImageNode {
            path: (**path).into(),
            data: node.data.clone(),
            acl: node.acl.clone(),
            stat: StoredStat::default(),
        });
        let znodes: Vec<ImageNode> = znodes.collect();
        let (n_sessions, n_znodes, digest) = (1, znodes.len() as u64, 0);
        let sessions = vec![RestoredSession { id: SESSION, password: PASSWORD, timeout_ms: 1 }];
        let steps = [
            RestoreStep::Piece { sessions, znodes },
            RestoreStep::End { n_sessions, n_znodes, digest },
        ];
        let begin = Action::BeginRestore { replaces: Token(0), nonce: Nonce(0) };
        let steps = steps.into_iter().zip(1..).map(|(step, number)| Action::Restore {
            token: Token(3),
            number: Sequence(number),
            step,
        });
        of_log([open(), expire(), begin].into_iter().chain(steps))
    }

    #[test]
    fn a_refusal_needs_an_end_or_a_wrong_password() {
        let wrong: (SessionId, &[u8]) = (SESSION, &[8; 16]);
        assert!(refused(RIGHT, Zxid(1), &model(false)).is_err());
        assert!(refused(wrong, Zxid(1), &model(false)).is_ok());
        assert!(refused(RIGHT, Zxid(1), &model(true)).is_ok());
        assert!(refused(RIGHT, Zxid(0), &Model::new()).is_ok());
        assert!(refused((SessionId(0), &[0; 16]), Zxid(0), &Model::new()).is_err());
    }

    #[test]
    fn an_unknown_or_ended_session_cannot_be_accepted() {
        assert!(accepted(SESSION, None, &model(false)).is_ok());
        assert!(accepted(SESSION, None, &Model::new()).is_err());
        assert!(accepted(SESSION, Some(Zxid(2)), &model(true)).is_err());
    }

    #[test]
    fn a_session_that_is_restored_while_its_client_waits_is_refused_or_accepted() {
        let model = restored();
        assert_eq!((model.newest().zxid, model.ended(SESSION)), (Zxid(5), None));
        for asked_at in [Zxid(2), Zxid(4)] {
            assert!(accepted(SESSION, Some(asked_at), &model).is_ok());
            assert!(refused(RIGHT, asked_at, &model).is_ok());
        }
        assert!(accepted(SESSION, None, &model).is_ok());
        assert!(refused(RIGHT, Zxid(5), &model).is_err(), "it is open again");
        assert!(accepted(SESSION, Some(Zxid(5)), &model).is_err(), "it ended after its restore");
    }
}
