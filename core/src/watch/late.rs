//! Watches that are set too late, for a mutant: the first change after the read goes unnoticed.
//!
//! Invariant: this file is part of the twin alone.

use super::{WatchKind, Watches};
use crate::id::ConnId;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Late {
    fresh: Vec<(ConnId, String, WatchKind)>,
    /// One change has passed.
    ripe: Vec<(ConnId, String, WatchKind)>,
    setting: bool,
}

impl Watches {
    /// Puts a watch off; whether it was.
    pub(super) fn is_put_off(&mut self, conn: ConnId, path: &str, kind: WatchKind) -> bool {
        if !self.late.setting {
            self.late.fresh.push((conn, path.to_owned(), kind));
        }
        !self.late.setting
    }

    /// A change comes: those that have missed one are set.
    pub(super) fn set_put_off(&mut self) {
        self.late.setting = true;
        for (conn, path, kind) in std::mem::take(&mut self.late.ripe) {
            self.set(conn, &path, kind);
        }
        self.late.setting = false;
        self.late.ripe = std::mem::take(&mut self.late.fresh);
    }
}
