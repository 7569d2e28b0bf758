//! V1. A one-shot watch set by a read at z is told of the first later change that matches, exactly
//! once (ZooKeeper, programmer's guide: "one-time trigger"). That it is told at all is V2 and V8.

use zokor_core::proto::{Event, Zxid};

use super::Owed;
use crate::check::{Verdict, must};

/// `event` at `zxid` is owed no more; `told` was told of that change.
///
/// # Errors
/// If it is among that.
pub fn not_told_before(zxid: Zxid, event: &Event, told: &[Owed]) -> Verdict {
    let before = told.iter().find(|told| told.is(zxid, event));
    let check = match before {
        Some(told) if told.stays => "a persistent watch tells a change once (V5)",
        _ => "a watch tells once (V1)",
    };
    must(check, before.is_none(), || format!("{event:?} at {zxid} comes twice"))
}

#[cfg(test)]
mod tests {
    use zokor_core::proto::EventKind;

    use super::*;

    #[test]
    fn an_event_that_comes_twice_is_found() {
        let event = |path: &str| Event { kind: EventKind::Created, path: path.into() };
        let told = |stays| Owed {
            zxid: Zxid(5),
            kind: EventKind::Created,
            path: "/a".to_owned(),
            stays,
            certain: true,
        };
        assert!(not_told_before(Zxid(5), &event("/b"), &[told(false)]).is_ok());
        assert!(not_told_before(Zxid(6), &event("/a"), &[told(false)]).is_ok());
        let twice = |stays| not_told_before(Zxid(5), &event("/a"), &[told(stays)]).unwrap_err();
        assert!(twice(false).check.contains("(V1)"));
        assert!(twice(true).check.contains("(V5)"));
    }
}
