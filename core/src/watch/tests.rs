//! The tables of ZooKeeper's rules for watches, row by row.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::proto::{Acl, Id, Permissions, Rewatch};

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);
const C: ConnId = ConnId(3);

const CREATED: EventKind = EventKind::Created;
const DELETED: EventKind = EventKind::Deleted;
const DATA_CHANGED: EventKind = EventKind::DataChanged;
const CHILDREN_CHANGED: EventKind = EventKind::ChildrenChanged;

fn acl(name: &str) -> AclList {
    Arc::new([Acl { permissions: Permissions::READ, id: Id::new("digest", name) }])
}

fn change(path: &str, kind: ChangeKind) -> Change {
    let parent_acl = (kind != ChangeKind::DataChanged).then(|| acl("parent"));
    Change { path: path.into(), kind, n_bytes: 0, acl: acl("own"), parent_acl }
}

type Told = Vec<(ConnId, EventKind, String)>;

fn fire(watches: &mut Watches, path: &str, kind: ChangeKind) -> Told {
    let mut told = Vec::new();
    watches.fire(
        &change(path, kind),
        |_, _| true,
        |conn, event| told.push((conn, event.kind, event.path.to_string())),
    );
    assert_consistent(watches);
    told
}

fn events(rows: &[(ConnId, EventKind, &str)]) -> Told {
    rows.iter().map(|&(conn, kind, path)| (conn, kind, path.to_owned())).collect()
}

/// Recounts everything that is kept incrementally.
pub(super) fn assert_consistent(watches: &Watches) {
    let mut pairs = BTreeMap::new();
    for place in watches.paths.iter() {
        assert_eq!(watches.paths.find(watches.paths.text(place)), Some(place));
        let watchers = watches.watchers(place);
        assert_eq!(watchers.len() > 1, matches!(watches.paths.who(place), Who::Crowd(_)));
        assert!(!watchers.is_empty(), "a path is kept as long as it is watched");
        for &watcher in watchers {
            let (conn, position) = (watches.conns.id(watcher.slot()), watcher.position);
            assert_eq!(watches.conns.places(watcher.slot())[position as usize], place);
            assert_ne!(watcher.modes(), Modes::NONE);
            pairs.insert((conn, place), watcher.modes());
        }
        assert!(watchers.is_sorted_by_key(|watcher| watches.conns.id(watcher.slot())));
    }
    let mut mirror = Vec::new();
    for (conn, slot) in watches.conns.iter() {
        assert_eq!(watches.conns.id(slot), conn);
        assert!(!watches.conns.places(slot).is_empty());
        mirror.extend(watches.conns.places(slot).iter().map(|&place| (conn, place)));
    }
    mirror.sort_unstable();
    assert!(mirror.iter().eq(pairs.keys()));
    let count = |is_in: fn(Modes) -> bool| pairs.values().filter(|&&m| is_in(m)).count() as u64;
    assert_eq!(watches.n_data, count(Modes::is_in_data_table));
    assert_eq!(watches.n_child, count(Modes::is_in_child_table));
    assert_eq!(watches.n_recursive, count(|modes| modes.has_any(Modes::RECURSIVE)));
}

/// A watch on `/a/b`, a change somewhere, what is told, and whether the watch is there afterwards.
type Row = (WatchKind, &'static str, ChangeKind, Option<(EventKind, &'static str)>, bool);

#[test]
fn each_kind_of_watch_sees_its_changes() {
    use ChangeKind::{Created, DataChanged, Deleted};
    use WatchKind::{Child, Data, Persistent, Recursive};
    let b = "/a/b";
    let c = "/a/b/c";
    let d = "/a/b/c/d";
    let table: [Row; 28] = [
        (Data, b, Created, Some((CREATED, b)), false),
        (Data, b, DataChanged, Some((DATA_CHANGED, b)), false),
        (Data, b, Deleted, Some((DELETED, b)), false),
        (Data, c, Created, None, true),
        (Data, c, DataChanged, None, true),
        (Data, c, Deleted, None, true),
        (Data, "/a", DataChanged, None, true),
        (Child, b, Created, None, true),
        (Child, b, DataChanged, None, true),
        (Child, b, Deleted, Some((DELETED, b)), false),
        (Child, c, Created, Some((CHILDREN_CHANGED, b)), false),
        (Child, c, DataChanged, None, true),
        (Child, c, Deleted, Some((CHILDREN_CHANGED, b)), false),
        (Child, d, Created, None, true),
        (Persistent, b, Created, Some((CREATED, b)), true),
        (Persistent, b, DataChanged, Some((DATA_CHANGED, b)), true),
        (Persistent, b, Deleted, Some((DELETED, b)), true),
        (Persistent, c, Created, Some((CHILDREN_CHANGED, b)), true),
        (Persistent, c, DataChanged, None, true),
        (Persistent, c, Deleted, Some((CHILDREN_CHANGED, b)), true),
        (Persistent, d, Deleted, None, true),
        (Recursive, b, Created, Some((CREATED, b)), true),
        (Recursive, b, DataChanged, Some((DATA_CHANGED, b)), true),
        (Recursive, b, Deleted, Some((DELETED, b)), true),
        (Recursive, c, Created, Some((CREATED, c)), true),
        (Recursive, d, DataChanged, Some((DATA_CHANGED, d)), true),
        (Recursive, d, Deleted, Some((DELETED, d)), true),
        (Recursive, "/a/bc", Created, None, true),
    ];
    for (watch, path, kind, expected, stays) in table {
        let mut watches = Watches::new();
        watches.set(A, b, watch);
        let told = fire(&mut watches, path, kind);
        let expected = expected.map(|(kind, path)| (A, kind, path.to_owned()));
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{watch:?} {path} {kind:?}");
        assert_eq!(watches.count() > 0, stays, "{watch:?} {path} {kind:?}");
    }
}

#[test]
fn tables_fire_in_order_and_connections_ascending() {
    let mut watches = Watches::new();
    for conn in [C, A, B] {
        watches.set(conn, "/a", WatchKind::Child);
        watches.set(conn, "/a/b", WatchKind::Child);
    }
    watches.set(B, "/a/b", WatchKind::Data);
    watches.set(A, "/", WatchKind::Recursive);
    let told = fire(&mut watches, "/a/b", ChangeKind::Deleted);
    let expected = [
        (A, DELETED, "/a/b"),
        (B, DELETED, "/a/b"),
        (C, DELETED, "/a/b"),
        (A, CHILDREN_CHANGED, "/a"),
        (B, CHILDREN_CHANGED, "/a"),
        (C, CHILDREN_CHANGED, "/a"),
    ];
    assert_eq!(told, events(&expected));
    assert_eq!(watches.count(), 1, "only the recursive one is left");
}

#[test]
fn a_connection_hears_once_of_a_table_however_many_modes_match() {
    let mut watches = Watches::new();
    let kinds = [WatchKind::Data, WatchKind::Child, WatchKind::Persistent, WatchKind::Recursive];
    for kind in kinds {
        watches.set(A, "/a", kind);
        watches.set(A, "/", kind);
    }
    assert_eq!(
        fire(&mut watches, "/a", ChangeKind::DataChanged),
        events(&[(A, DATA_CHANGED, "/a")])
    );
    assert_eq!(
        fire(&mut watches, "/a", ChangeKind::Deleted),
        events(&[(A, DELETED, "/a"), (A, CHILDREN_CHANGED, "/")])
    );
    assert_eq!(
        fire(&mut watches, "/a", ChangeKind::Created),
        events(&[(A, CREATED, "/a"), (A, CHILDREN_CHANGED, "/")])
    );
    assert!(watches.check(A, "/", WatcherType::Data), "standard ones of ancestors stay");
}

#[test]
fn the_root_is_the_parent_of_what_is_at_the_top() {
    let mut watches = Watches::new();
    watches.set(A, "/", WatchKind::Child);
    watches.set(B, "/", WatchKind::Recursive);
    let told = fire(&mut watches, "/x", ChangeKind::Created);
    assert_eq!(told, events(&[(B, CREATED, "/x"), (A, CHILDREN_CHANGED, "/")]));
    watches.set(A, "/", WatchKind::Data);
    let told = fire(&mut watches, "/", ChangeKind::DataChanged);
    assert_eq!(told, events(&[(A, DATA_CHANGED, "/"), (B, DATA_CHANGED, "/")]));
}

#[test]
fn an_event_that_may_not_be_read_is_dropped_and_uses_up_its_watch() {
    let mut watches = Watches::new();
    for conn in [A, B] {
        watches.set(conn, "/a/b", WatchKind::Data);
        watches.set(conn, "/a", WatchKind::Child);
        watches.set(conn, "/", WatchKind::Recursive);
    }
    let mut told = Vec::new();
    // A may read the znode only, B its parent only.
    let may_read = |conn, list: &AclList| list[0].id.id == if conn == A { "own" } else { "parent" };
    let change = change("/a/b", ChangeKind::Created);
    watches.fire(&change, may_read, |conn, event| told.push((conn, event.kind)));
    assert_eq!(told, [(A, CREATED), (B, CHILDREN_CHANGED)]);
    assert_eq!(watches.count(), 2, "the recursive ones");
}

#[test]
fn check_and_remove_mean_the_modes_of_their_type() {
    use WatcherType::{Any, Children, Data, Persistent, Recursive};
    let table = [
        (WatchKind::Data, [false, true, true, false, false]),
        (WatchKind::Child, [true, false, true, false, false]),
        (WatchKind::Persistent, [false, false, true, true, false]),
        (WatchKind::Recursive, [false, false, true, false, true]),
    ];
    let types = [Children, Data, Any, Persistent, Recursive];
    for (kind, expected) in table {
        for (wanted, expected) in types.into_iter().zip(expected) {
            let mut watches = Watches::new();
            watches.set(A, "/a", kind);
            assert_eq!(watches.check(A, "/a", wanted), expected, "{kind:?} {wanted:?}");
            assert!(!watches.check(B, "/a", wanted));
            assert!(!watches.check(A, "/b", wanted));
            assert!(!watches.remove(B, "/a", wanted));
            assert_eq!(watches.remove(A, "/a", wanted), expected, "{kind:?} {wanted:?}");
            assert_eq!(watches.count() == 0, expected);
            assert_consistent(&watches);
        }
    }
}

#[test]
fn removing_one_mode_leaves_the_others_and_other_connections() {
    let mut watches = Watches::new();
    for conn in [A, B] {
        for kind in [WatchKind::Data, WatchKind::Child, WatchKind::Persistent] {
            watches.set(conn, "/a", kind);
        }
    }
    assert!(watches.remove(A, "/a", WatcherType::Persistent));
    assert!(watches.check(A, "/a", WatcherType::Data));
    assert!(watches.check(A, "/a", WatcherType::Children));
    assert!(watches.check(B, "/a", WatcherType::Persistent));
    assert!(watches.remove(A, "/a", WatcherType::Any));
    assert!(!watches.check(A, "/a", WatcherType::Any));
    assert!(watches.check(B, "/a", WatcherType::Any));
    assert_consistent(&watches);
}

#[test]
fn counts_are_pairs_of_both_tables() {
    let mut watches = Watches::new();
    watches.set(A, "/a", WatchKind::Data);
    watches.set(A, "/a", WatchKind::Data);
    watches.set(A, "/a", WatchKind::Recursive);
    assert_eq!(watches.count(), 1);
    watches.set(A, "/b", WatchKind::Persistent);
    assert_eq!(watches.count(), 3);
    watches.set(B, "/a", WatchKind::Child);
    assert_eq!(watches.count(), 4);
    let summary = WatchSummary { n_connections: 1, n_paths: 2, n_watches: 2 };
    assert_eq!(watches.summary(), summary);
    assert_eq!(watches.by_path().collect::<Vec<_>>(), [("/a", vec![A]), ("/b", vec![A])]);
    assert_eq!(watches.by_connection().collect::<Vec<_>>(), [(A, vec!["/a", "/b"])]);
}

#[test]
fn a_connection_s_end_takes_its_watches_and_no_others() {
    let mut watches = Watches::new();
    for n in 0..100 {
        watches.set(ConnId(n % 7), &format!("/{}", n % 31), WatchKind::Persistent);
        watches.set(ConnId(n % 5), &format!("/{}", n % 31), WatchKind::Data);
    }
    watches.forget(ConnId(3));
    watches.forget(ConnId(99));
    assert_consistent(&watches);
    assert!(watches.by_connection().all(|(conn, _)| conn != ConnId(3)));
    for conn in 0..7 {
        watches.forget(ConnId(conn));
    }
    assert_consistent(&watches);
    let n_left = (watches.count(), watches.paths.len(), watches.conns.iter().count());
    assert_eq!(n_left, (0, 0, 0));
}

/// A znode `/m` with mzxid 10 and pzxid 20, against every list and the zxids around.
#[test]
fn what_changed_since_fires_and_the_rest_is_set_again() {
    enum List {
        Data,
        Exist,
        Child,
    }
    use List::{Child, Data, Exist};
    let table = [
        (Data, "/m", 9, Some(DATA_CHANGED)),
        (Data, "/m", 10, None),
        (Data, "/gone", 99, Some(DELETED)),
        (Exist, "/m", 99, Some(CREATED)),
        (Exist, "/gone", 0, None),
        (Child, "/m", 19, Some(CHILDREN_CHANGED)),
        (Child, "/m", 20, None),
        (Child, "/gone", 99, Some(DELETED)),
    ];
    for (list, path, relative_zxid, fires) in table {
        let mut rewatch = Rewatch { relative_zxid, ..Rewatch::default() };
        let (list, kind) = match list {
            Data => (&mut rewatch.data, WatcherType::Data),
            Exist => (&mut rewatch.exist, WatcherType::Data),
            Child => (&mut rewatch.child, WatcherType::Children),
        };
        list.push(path.into());
        let mut watches = Watches::new();
        let mut told = Vec::new();
        let facts = |path: &str| (path == "/m").then_some((10, 20));
        rearm(&mut watches, A, &rewatch, facts, |event| told.push(event));
        let expected = fires.map(|kind| Event { kind, path: path.into() });
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(watches.check(A, path, kind), fires.is_none());
    }
}

#[test]
fn persistent_watches_are_set_again_without_an_event() {
    let rewatch = Rewatch {
        persistent: vec!["/m".into(), "/gone".into()],
        recursive: vec!["/m".into()],
        ..Rewatch::default()
    };
    let mut watches = Watches::new();
    let none = |event| panic!("{event:?}");
    rearm(&mut watches, A, &rewatch, |_| Some((9, 9)), none);
    assert!(watches.check(A, "/m", WatcherType::Persistent));
    assert!(watches.check(A, "/m", WatcherType::Recursive));
    assert!(watches.check(A, "/gone", WatcherType::Persistent));
    assert_eq!(watches.count(), 4);
}
