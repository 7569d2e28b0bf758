//! S4. Session ids are never given twice, and a session is given to nobody who does not show its
//! password (ZooKeeper: `SessionTrackerImpl.initializeNextSessionId`, `ZooKeeperServer.
//! checkPasswd`).

use std::collections::BTreeSet;

use zokor_core::id::SessionId;

use crate::check::{Verdict, must};

/// Every id that was ever given.
#[derive(Debug, Default)]
pub struct Ids(BTreeSet<SessionId>);

impl Ids {
    /// The log opens `session`.
    ///
    /// # Errors
    /// If it did so before.
    pub fn opened(&mut self, session: SessionId) -> Verdict {
        let is_real = session != SessionId(0);
        must("session ids are given once (S4)", is_real && self.0.insert(session), || {
            format!("session {session} is opened, not for the first time")
        })
    }
}

/// A client goes on with `session`, for which it showed `shown`; the log has `kept`.
///
/// # Errors
/// If that is another, or nothing.
pub fn resumed(session: SessionId, shown: &[u8], kept: Option<&[u8; 16]>) -> Verdict {
    let holds = kept.is_some_and(|kept| kept == shown);
    must("passwords are checked (S4)", holds, || {
        format!("session {session} is resumed with the password {shown:?}, it is {kept:?}")
    })
}

/// A client is given `session` and `password`; the log has `kept`.
///
/// # Errors
/// If that is another: the client could never come back.
pub fn given(session: SessionId, password: &[u8; 16], kept: Option<&[u8; 16]>) -> Verdict {
    must("passwords are those of the log (S4)", kept == Some(password), || {
        format!("session {session} is given with the password {password:?}, it is {kept:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_given_twice_is_found() {
        let mut ids = Ids::default();
        assert!(ids.opened(SessionId(1)).is_ok());
        assert!(ids.opened(SessionId(2)).is_ok());
        assert!(ids.opened(SessionId(1)).is_err());
        assert!(ids.opened(SessionId(0)).is_err());
    }

    #[test]
    fn a_wrong_password_that_is_taken_is_found() {
        let session = SessionId(1);
        assert!(resumed(session, &[7; 16], Some(&[7; 16])).is_ok());
        assert!(resumed(session, &[8; 16], Some(&[7; 16])).is_err());
        assert!(resumed(session, &[7; 15], Some(&[7; 16])).is_err());
        assert!(resumed(session, &[7; 16], None).is_err());
    }

    #[test]
    fn a_password_that_will_not_do_is_found() {
        assert!(given(SessionId(1), &[7; 16], Some(&[7; 16])).is_ok());
        assert!(given(SessionId(1), &[8; 16], Some(&[7; 16])).is_err());
        assert!(given(SessionId(1), &[8; 16], None).is_err());
    }
}
