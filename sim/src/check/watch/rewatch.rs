//! V6. When watches are set again after a reconnect with last seen zxid r, each whose znode changed
//! in (r, now] fires at once with the right type, and no other does (ZooKeeper:
//! `DataTree.setWatches`). A restore in (r, now] may have changed every one.

use std::collections::BTreeSet;

use zokor_core::proto::{EventKind, Rewatch, Stat, WatchMode};

use super::table::Table;
use crate::check::{Verdict, must};
use crate::model::State;

/// `rewatch` was answered in this `state`, after the events `found`; the others are set in `table`.
///
/// # Errors
/// If other events should have come.
pub fn told(
    rewatch: &Rewatch,
    found: BTreeSet<(EventKind, String)>,
    state: &State,
    table: &mut Table,
) -> Verdict {
    let mut expected = BTreeSet::new();
    let mut tell = |kind, path: &str| {
        expected.insert((kind, path.to_owned()));
    };
    let changed = |path: &str, by: fn(&Stat) -> i64| {
        let restored = state.restores.done.0;
        state.stat(path).map(|stat| by(&stat).max(restored) > rewatch.relative_zxid)
    };
    for path in &rewatch.data {
        match changed(path, |stat| stat.mzxid) {
            None => tell(EventKind::Deleted, path),
            Some(true) => tell(EventKind::DataChanged, path),
            Some(false) => table.watch_data(path),
        }
    }
    for path in &rewatch.exist {
        match state.stat(path) {
            Some(_) => tell(EventKind::Created, path),
            None => table.watch_data(path),
        }
    }
    for path in &rewatch.child {
        match changed(path, |stat| stat.pzxid) {
            None => tell(EventKind::Deleted, path),
            Some(true) => tell(EventKind::ChildrenChanged, path),
            Some(false) => table.watch_children(path),
        }
    }
    for path in &rewatch.persistent {
        table.add(path, WatchMode::Persistent);
    }
    for path in &rewatch.recursive {
        table.add(path, WatchMode::Recursive);
    }
    must("watches set again fire at once (V6)", found == expected, || {
        format!("{rewatch:?} makes {found:?}, should make {expected:?}")
    })
}

/// Whether a path stands in more than one list.
pub fn has_path_of_several_kinds(rewatch: &Rewatch) -> bool {
    let Rewatch { data, exist, child, persistent, recursive, .. } = rewatch;
    let mut seen = BTreeSet::new();
    let lists = [data, exist, child, persistent, recursive];
    lists.into_iter().flat_map(|list| list.iter().collect::<BTreeSet<_>>()).any(|p| !seen.insert(p))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::proto::WatcherType;

    use super::*;

    /// `/a`, whose data was set at 7 and whose children changed at 9.
    fn state() -> State {
        let mut state = State::fresh();
        let mut node = (*state.nodes["/zookeeper/quota"]).clone();
        (node.stat.mzxid, node.stat.pzxid) = (7, 9);
        state.nodes.insert("/a".into(), Arc::new(node));
        state
    }

    fn judge(rewatch: &Rewatch, found: &[(EventKind, &str)]) -> (Verdict, Table) {
        let found = found.iter().map(|&(kind, path)| (kind, path.to_owned())).collect();
        let mut table = Table::default();
        (told(rewatch, found, &state(), &mut table), table)
    }

    #[test]
    fn what_changed_fires_and_what_did_not_is_set() {
        let rewatch = Rewatch {
            relative_zxid: 7,
            data: vec!["/a".into(), "/gone".into()],
            exist: vec!["/a".into(), "/missing".into()],
            child: vec!["/a".into()],
            persistent: vec!["/p".into()],
            recursive: vec!["/r".into()],
        };
        let right = [
            (EventKind::Deleted, "/gone"),
            (EventKind::Created, "/a"),
            (EventKind::ChildrenChanged, "/a"),
        ];
        let (verdict, table) = judge(&rewatch, &right);
        assert_eq!(verdict, Ok(()));
        assert!(table.has("/a", WatcherType::Data) && !table.has("/a", WatcherType::Children));
        assert!(table.has("/missing", WatcherType::Data) && !table.has("/gone", WatcherType::Any));
        assert!(table.has("/p", WatcherType::Persistent));
        assert!(table.has("/r", WatcherType::Recursive));
        assert!(judge(&rewatch, &right[1..]).0.is_err());
        assert!(judge(&rewatch, &[]).0.is_err());
        let more = [&right[..], &[(EventKind::DataChanged, "/a")]].concat();
        assert!(judge(&rewatch, &more).0.is_err());
    }

    #[test]
    fn a_path_in_two_lists_is_of_several_kinds_and_one_twice_in_a_list_is_not() {
        let twice = Rewatch { data: vec!["/a".into(), "/a".into()], ..Rewatch::default() };
        assert!(!has_path_of_several_kinds(&twice));
        assert!(has_path_of_several_kinds(&Rewatch { recursive: vec!["/a".into()], ..twice }));
    }

    #[test]
    fn the_wrong_type_is_found() {
        let rewatch = Rewatch { relative_zxid: 6, data: vec!["/a".into()], ..Rewatch::default() };
        assert!(judge(&rewatch, &[(EventKind::DataChanged, "/a")]).0.is_ok());
        assert!(judge(&rewatch, &[(EventKind::Created, "/a")]).0.is_err());
    }
}
