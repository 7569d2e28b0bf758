//! Sessions: a refused one has ended, an accepted one has not, and none expires that its leader
//! heard of within its timeout (ZooKeeper: `SessionTrackerImpl`; S4, S5, S9).

use std::time::Duration;

use zokor_core::id::{ServerId, SessionId};

use super::{Verdict, must};
use crate::model::Model;

/// A client is told that `session` is gone.
///
/// # Errors
/// If it is not, and the password was right.
pub fn refused(session: SessionId, right_password: bool, model: &Model) -> Verdict {
    let ended = model.ended(session).is_some();
    must("expired means ended (S9)", ended || !right_password, || {
        format!("session {session} is refused, but nothing in the log ends it")
    })
}

/// A client is told that it goes on with `session`; `ended_before`: it had ended when it asked.
///
/// # Errors
/// If the session never was, or had ended.
pub fn accepted(session: SessionId, ended_before: bool, model: &Model) -> Verdict {
    let known = model.newest().state.sessions.contains_key(&session);
    must("connected means open (S9)", known || model.ended(session).is_some(), || {
        format!("session {session} is accepted, but nothing in the log opens it")
    })?;
    must("connected means open (S9)", !ended_before, || {
        format!("session {session} is accepted, but it ended before its client asked")
    })
}

/// Whether `password` is that of `session`; of one that never was, any is.
pub fn has_password(session: SessionId, password: &[u8], model: &Model) -> bool {
    model.password(session).is_none_or(|right| right == password)
}

/// A client that shows `password` may go on with `session`.
///
/// # Errors
/// If it is the wrong one.
pub fn opened_by(session: SessionId, password: &[u8], model: &Model) -> Verdict {
    must("passwords are checked (S4)", has_password(session, password, model), || {
        format!("session {session} goes on for a client that does not know its password")
    })
}

/// `server`, as leader, proposes to end `session`, of which it heard `ago`.
///
/// # Errors
/// If that is less than its timeout.
pub fn expires(server: ServerId, session: SessionId, ago: Duration, timeout: Duration) -> Verdict {
    must("no early expiry (S5)", ago >= timeout, || {
        format!("server {server} expires {session} {ago:?} after it was heard of, of {timeout:?}")
    })
}

/// A session of a client that was connected all the time expires in a run without faults.
///
/// # Errors
/// Always: the caller has seen it.
pub fn expires_in_calm(session: SessionId) -> Verdict {
    must("no expiry without faults (S6)", false, || {
        format!("session {session} expires although its client is connected and pings")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_needs_an_end_or_a_wrong_password() {
        assert!(refused(SessionId(1), true, &Model::new()).is_err());
        assert!(refused(SessionId(1), false, &Model::new()).is_ok());
    }

    #[test]
    fn an_unknown_session_cannot_be_accepted() {
        assert!(accepted(SessionId(1), false, &Model::new()).is_err());
    }

    #[test]
    fn an_early_expiry_is_found() {
        let second = Duration::from_secs(1);
        assert!(expires(ServerId(1), SessionId(1), second, second).is_ok());
        assert!(expires(ServerId(1), SessionId(1), second / 2, second).is_err());
    }
}
