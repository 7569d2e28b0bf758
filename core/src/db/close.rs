//! What a session's end does to the tree.
//!
//! Invariant: afterwards the session owns nothing. The order is that of the paths, so that it is
//! the same on every server.

use super::delete;
use super::work::Work;
use crate::proto::Text;

/// Deletes the ephemeral znodes of the session at work.
pub(super) fn delete_ephemerals(work: &mut Work<'_>) {
    let own = work.tree().ephemerals(work.session, "");
    let mut paths: Vec<Text> = own.map(|path| Text::from(&**path)).collect();
    if mutated!(RandomOrder if zokor_mutants::coin()) {
        paths.reverse();
    }
    for path in &paths {
        delete::remove(work, path);
    }
    assert!(
        work.tree().ephemerals(work.session, "").next().is_none(),
        "the session {} still owns znodes",
        work.session
    );
}
