//! V7. `removeWatches` and the end of a session end delivery, and watches are found exactly where
//! they are (ZOOKEEPER-442; ZooKeeper: `WatchManager.removeWatcher`).

use std::collections::BTreeSet;

use zokor_core::id::ConnId;
use zokor_core::proto::{ErrorCode, Event, Read, Response, WatcherType, Zxid};

use crate::check::{Verdict, must};

/// `checkWatches` or `removeWatches` was answered with `result`; `had`: there is such a watch.
///
/// # Errors
/// If the answer says otherwise.
pub fn answered(read: &Read, result: &Result<Response, ErrorCode>, had: bool) -> Verdict {
    let expected = if had { Ok(Response::Empty) } else { Err(ErrorCode::NoWatcher) };
    must("watches are found where they are (V7)", *result == expected, || {
        format!("{read:?} is answered {result:?}, should be {expected:?}")
    })
}

/// The name of the probe for a successful removal of this type.
pub fn probe(kind: WatcherType) -> &'static str {
    match kind {
        WatcherType::Children => "watches for children removed",
        WatcherType::Data => "watches for data removed",
        WatcherType::Any => "watches of any kind removed",
        WatcherType::Persistent => "persistent watches removed",
        WatcherType::Recursive => "recursive watches removed",
    }
}

/// `event`, which is not owed, goes out to a client that took its watches on these paths away.
///
/// # Errors
/// If it is of one of them.
pub fn not_removed(zxid: Zxid, event: &Event, removed: &BTreeSet<String>) -> Verdict {
    must("removed watches tell nothing (V7)", !removed.contains(&*event.path), || {
        format!("{event:?} at {zxid} is of a watch that was taken away")
    })
}

/// `event` goes out to `conn`; `ended`: its session was closed, and the client was told.
///
/// # Errors
/// If so.
pub fn none_after_the_end(conn: ConnId, ended: bool, event: &Event) -> Verdict {
    must("a closed session hears nothing (V7)", !ended, || {
        format!("{conn:?} hears {event:?} after its session was closed")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::proto::EventKind;

    use super::*;

    #[test]
    fn a_wrong_answer_is_found() {
        let read = Read::RemoveWatches { path: "/a".into(), kind: WatcherType::Any };
        let (done, none) = (Ok(Response::Empty), Err(ErrorCode::NoWatcher));
        assert!(answered(&read, &done, true).is_ok());
        assert!(answered(&read, &none, false).is_ok());
        assert!(answered(&read, &done, false).is_err());
        assert!(answered(&read, &none, true).is_err());
    }

    #[test]
    fn an_event_of_a_removed_watch_or_after_the_end_is_found() {
        let event = Event { kind: EventKind::Created, path: "/a".into() };
        let removed = |path: &str| BTreeSet::from([path.to_owned()]);
        assert!(not_removed(Zxid(5), &event, &removed("/b")).is_ok());
        assert!(not_removed(Zxid(5), &event, &removed("/a")).is_err());
        assert!(none_after_the_end(ConnId(1), false, &event).is_ok());
        assert!(none_after_the_end(ConnId(1), true, &event).is_err());
    }
}
