//! V2. In a session's stream an event comes before any reply with its change's zxid or a later one
//! (ZooKeeper, programmer's guide: "a client will see the watch event before the new data").

use zokor_core::proto::Zxid;

use super::Owed;
use crate::check::{Verdict, must};

/// A reply shows `zxid` while these events are `owed`.
///
/// # Errors
/// If there are any.
pub fn none_missing(zxid: Zxid, owed: &[Owed]) -> Verdict {
    must("events before replies (V2)", owed.is_empty(), || {
        format!("a reply shows {zxid} before the events {owed:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::watch::tests::owed;

    #[test]
    fn a_reply_before_its_event_is_found() {
        assert!(none_missing(Zxid(5), &[]).is_ok());
        assert!(none_missing(Zxid(5), &[owed(5, "/a")]).is_err());
    }
}
