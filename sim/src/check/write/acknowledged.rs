//! W1. Every reply to a write names an entry of the log with the same session and operation, and
//! no entry is answered twice (ZooKeeper, ATC 2010, §2.3; its request number is judged by W5).

use super::invoked::is_as_asked;
use zokor_core::id::{ConnId, SessionId};
use zokor_core::proto::{Write, Zxid};

use crate::check::{Verdict, must};
use crate::model::Outcome;

pub(super) const CHECK: &str = "acknowledged writes are in the log (W1)";

/// `wanted` of `session` is answered at `zxid`, where the log holds `outcome`.
///
/// # Errors
/// If that is not this write.
pub fn names_its_entry(
    session: SessionId,
    wanted: &Write,
    zxid: Zxid,
    outcome: Option<&Outcome>,
) -> Verdict {
    let holds = match outcome {
        Some(Outcome::Answered { author, write, result }) => {
            author.session == session && is_as_asked(wanted, write, result)
        }
        _ => false,
    };
    must(CHECK, holds, || {
        format!("{wanted:?} of {session} is answered at {zxid}, which is {outcome:?}")
    })
}

/// The entry at `zxid` is answered to `conn`, and was answered to `other` before.
///
/// # Errors
/// If there is another.
pub fn once(zxid: Zxid, conn: ConnId, other: Option<ConnId>) -> Verdict {
    must("one answer a write (W1)", other.is_none(), || {
        format!("{zxid} is answered to {conn:?} and to {other:?}")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::proto::Response;

    use super::*;
    use crate::check::write::invoked::tests::author;

    #[test]
    fn a_reply_to_what_is_in_the_log_is_right_and_others_are_found() {
        let delete = |path: &str| Write::Delete { path: path.into(), version: -1 };
        let entry = Outcome::Answered {
            author: Box::new(author(5, 1, 1)),
            write: Box::new(delete("/a")),
            result: Ok(Response::Empty),
        };
        let named = |session, path, outcome| {
            names_its_entry(SessionId(session), &delete(path), Zxid(1), outcome)
        };
        assert!(named(5, "/a", Some(&entry)).is_ok());
        assert!(named(6, "/a", Some(&entry)).is_err());
        assert!(named(5, "/b", Some(&entry)).is_err());
        assert!(named(5, "/a", Some(&Outcome::Nothing)).is_err());
        assert!(named(5, "/a", None).is_err());
    }

    #[test]
    fn a_second_answer_is_found() {
        assert!(once(Zxid(1), ConnId(1), None).is_ok());
        assert!(once(Zxid(1), ConnId(1), Some(ConnId(2))).is_err());
    }
}
