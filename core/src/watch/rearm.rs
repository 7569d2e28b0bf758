//! setWatches: a client comes back with the watches of its former connection.
//!
//! Invariant: what changed while it was away fires at once and is not set again; everything else is
//! set. As in ZooKeeper, a znode made and deleted in between is missed, nothing is filtered by
//! ACLs, and paths are not validated (`DataTree.setWatches`).

use super::{WatchKind, Watches};
use crate::id::ConnId;
use crate::proto::{Event, EventKind, Rewatch, Text};

/// Fires or sets each watch, list by list.
///
/// `facts` looks up (mzxid, pzxid) of a znode, `None` if it is not there. Events go to the header
/// with zxid -1, and before the reply.
pub fn rearm(
    watches: &mut Watches,
    conn: ConnId,
    rewatch: &Rewatch,
    mut facts: impl FnMut(&str) -> Option<(i64, i64)>,
    mut deliver: impl FnMut(Event),
) {
    let seen = rewatch.relative_zxid;
    let otherwise = mutated!(RewatchAlwaysFires).then_some(EventKind::DataChanged);
    let mut fire_or_set = |path: &Text, fires: Option<EventKind>, kind| match fires.or(otherwise) {
        Some(kind) => deliver(Event { kind, path: path.clone() }),
        None if mutated!(RewatchLost) => {}
        None => watches.set(conn, path, kind),
    };
    for path in &rewatch.data {
        let fires = match facts(path) {
            None => Some(EventKind::Deleted),
            Some((mzxid, _)) => (mzxid > seen).then_some(EventKind::DataChanged),
        };
        fire_or_set(path, fires, WatchKind::Data);
    }
    for path in &rewatch.exist {
        let fires = facts(path).map(|_| EventKind::Created);
        fire_or_set(path, fires, WatchKind::Data);
    }
    for path in &rewatch.child {
        let fires = match facts(path) {
            None => Some(EventKind::Deleted),
            Some((_, pzxid)) => (pzxid > seen).then_some(EventKind::ChildrenChanged),
        };
        fire_or_set(path, fires, WatchKind::Child);
    }
    for path in &rewatch.persistent {
        watches.set(conn, path, WatchKind::Persistent);
    }
    for path in &rewatch.recursive {
        watches.set(conn, path, WatchKind::Recursive);
    }
}
