//! S3. No operation of a session takes effect after the entry that ends it, and none is answered as
//! if it had (ZooKeeper: `SessionTracker.checkSession`; M35).

use zokor_core::id::SessionId;
use zokor_core::proto::Zxid;

use crate::check::{Verdict, must};

/// Something of `session` takes effect, or is answered, at `zxid`; it ended at `ended`.
///
/// # Errors
/// If that was before.
pub fn acted(session: SessionId, zxid: Zxid, ended: Option<Zxid>) -> Verdict {
    must("nothing after a session's end (S3)", ended.is_none_or(|ended| zxid <= ended), || {
        format!("{zxid} is of session {session}, which ended at {ended:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_the_end_is_found() {
        let session = SessionId(1);
        assert!(acted(session, Zxid(5), None).is_ok());
        assert!(acted(session, Zxid(5), Some(Zxid(5))).is_ok());
        assert!(acted(session, Zxid(6), Some(Zxid(5))).is_err());
    }
}
