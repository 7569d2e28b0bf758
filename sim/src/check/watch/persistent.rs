//! V5. A persistent watch is told of each change that matches, once, and a recursive one of those
//! of every descendant (ZOOKEEPER-1416; ZooKeeper: `WatcherMode`). That nothing comes twice is
//! judged with V1.

use zokor_core::proto::{ErrorCode, Read, Response, Zxid};

use super::Owed;
use crate::check::{Verdict, must};

/// A reply shows `zxid` while these events are `owed`.
///
/// # Errors
/// If one of them is owed to a watch that stays.
pub fn none_missing(zxid: Zxid, owed: &[Owed]) -> Verdict {
    let missing = owed.iter().find(|owed| owed.stays);
    must("persistent watches tell each change (V5)", missing.is_none(), || {
        format!("a reply shows {zxid} before {missing:?}")
    })
}

/// `addWatch` was answered with `result`.
///
/// # Errors
/// If it was refused: any path will do.
pub fn added(read: &Read, result: &Result<Response, ErrorCode>) -> Verdict {
    must("watches can be added (V5)", *result == Ok(Response::WatchAdded), || {
        format!("{read:?} is answered {result:?}")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::proto::WatchMode;

    use super::*;
    use crate::check::watch::tests::owed;

    #[test]
    fn an_event_missing_for_a_watch_that_stays_is_found() {
        let stays = Owed { stays: true, ..owed(5, "/a") };
        assert!(none_missing(Zxid(5), &[owed(5, "/a")]).is_ok());
        assert!(none_missing(Zxid(5), &[owed(5, "/a"), stays]).is_err());
    }

    #[test]
    fn a_watch_refused_is_found() {
        let read = Read::AddWatch { path: "/a".into(), mode: WatchMode::Recursive };
        assert!(added(&read, &Ok(Response::WatchAdded)).is_ok());
        assert!(added(&read, &Err(ErrorCode::NoNode)).is_err());
    }
}
