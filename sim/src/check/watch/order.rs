//! V3. Events come in the order of their zxids (ZooKeeper, programmer's guide: "the order of watch
//! events corresponds to the order of the updates").

use zokor_core::proto::{Event, Zxid};

use super::Owed;
use crate::check::{Verdict, must};

/// `event` at `zxid` goes out while these earlier ones are `owed`.
///
/// # Errors
/// If there are any.
pub fn none_missing(zxid: Zxid, event: &Event, owed: &[Owed]) -> Verdict {
    must("events in order (V3)", owed.is_empty(), || {
        format!("{event:?} at {zxid} comes before {owed:?}")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::proto::EventKind;

    use super::*;
    use crate::check::watch::tests::owed;

    #[test]
    fn an_event_before_an_earlier_one_is_found() {
        let event = Event { kind: EventKind::Created, path: "/b".into() };
        assert!(none_missing(Zxid(5), &event, &[]).is_ok());
        assert!(none_missing(Zxid(5), &event, &[owed(4, "/a")]).is_err());
    }
}
