//! V4. No event without a change that matches and a watch for it (ZooKeeper: `WatchManager.
//! triggerWatch`).

use std::collections::BTreeSet;

use zokor_core::proto::{Event, EventKind, Zxid};

use super::Owed;
use crate::check::{Verdict, must};

const CHECK: &str = "no event without a cause (V4)";

/// `event` bears `zxid`, whose entry is at `index`.
///
/// # Errors
/// If there is no such entry.
pub fn committed(zxid: Zxid, event: &Event, index: Option<usize>) -> Verdict {
    must(CHECK, index.is_some(), || format!("{event:?} at {zxid}, which is not committed"))
}

/// `event` goes out while these are `owed`.
///
/// # Errors
/// If it is none of them.
pub fn is_owed(zxid: Zxid, event: &Event, owed: &[Owed]) -> Verdict {
    must(CHECK, owed.iter().any(|owed| owed.is(zxid, event)), || {
        format!("{event:?} at {zxid} is not owed; owed is {owed:?}")
    })
}

/// A reply goes out after these events without a zxid, which no `setWatches` accounts for.
///
/// # Errors
/// If there are any.
pub fn none_replayed(replayed: &BTreeSet<(EventKind, String)>) -> Verdict {
    must(CHECK, replayed.is_empty(), || format!("events without a zxid: {replayed:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::watch::tests::owed;

    #[test]
    fn an_event_out_of_nothing_is_found() {
        let event = Event { kind: EventKind::Created, path: "/a".into() };
        assert!(committed(Zxid(5), &event, Some(1)).is_ok());
        assert!(committed(Zxid(5), &event, None).is_err());
        assert!(is_owed(Zxid(5), &event, &[owed(5, "/a")]).is_ok());
        assert!(is_owed(Zxid(5), &event, &[owed(6, "/a"), owed(5, "/b")]).is_err());
    }

    #[test]
    fn an_event_set_off_by_no_request_is_found() {
        assert!(none_replayed(&BTreeSet::new()).is_ok());
        let replayed = BTreeSet::from([(EventKind::Created, "/a".to_owned())]);
        assert!(none_replayed(&replayed).is_err());
    }
}
