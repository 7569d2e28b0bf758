//! V8. At the end of a run, after each live session has synced, no event is missing (ZooKeeper:
//! programmer's guide: watches are "ordered, and delivered").

use zokor_core::id::ConnId;

use super::Owed;
use crate::check::{Verdict, must};

/// At the end `conn` is still `owed` these events.
///
/// # Errors
/// If there are any.
pub fn none_missing(conn: ConnId, owed: &[Owed]) -> Verdict {
    must("no event is missing at the end (V8)", owed.is_empty(), || {
        format!("{conn:?} never hears {owed:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::watch::tests::owed;

    #[test]
    fn an_event_that_never_came_is_found() {
        assert!(none_missing(ConnId(1), &[]).is_ok());
        assert!(none_missing(ConnId(1), &[owed(5, "/a")]).is_err());
    }
}
