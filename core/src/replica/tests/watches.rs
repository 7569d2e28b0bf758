//! Watches where time or a cut has a part: what clients alone cannot bring about.

use std::time::Duration;

use super::*;
use crate::proto::{Create, CreateKind, Event, Read, Rewatch, WatchMode, WatcherType, open_acl};

/// How a connection watches a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Data,
    Children,
    Persistent,
    Recursive,
}

fn watch(by: By, path: &str) -> Request {
    let path = path.into();
    Request::Read(match by {
        By::Data => Read::Exists { path, watch: true },
        By::Children => Read::GetChildren { path, watch: true, with_stat: false },
        By::Persistent => Read::AddWatch { path, mode: WatchMode::Persistent },
        By::Recursive => Read::AddWatch { path, mode: WatchMode::Recursive },
    })
}

/// What goes by itself: a container that is empty, or a znode that nobody changes.
fn going(path: &str, kind: CreateKind, flags: i32, ttl_ms: i64) -> Request {
    Request::Write(Write::Create(Create {
        path: path.into(),
        data: None,
        acl: open_acl(),
        flags,
        ttl_ms,
        kind,
    }))
}

fn delete(path: &str) -> Request {
    Request::Write(Write::Delete { path: path.into(), version: -1 })
}

fn told(heard: &[Output]) -> Vec<(EventKind, String)> {
    let event = |output: &Output| match output {
        Output::Notify { event: Event { kind, path }, .. } => Some((*kind, path.to_string())),
        _ => None,
    };
    heard.iter().filter_map(event).collect()
}

#[test]
fn what_is_reaped_fires_the_watches_of_a_deletion_on_every_server() {
    use EventKind::{ChildrenChanged, Deleted};
    let table = [
        (By::Data, "/q/p", Some((Deleted, "/q/p"))),
        (By::Children, "/q/p", Some((Deleted, "/q/p"))),
        (By::Persistent, "/q/p", Some((Deleted, "/q/p"))),
        (By::Recursive, "/q/p", Some((Deleted, "/q/p"))),
        (By::Data, "/q", None),
        (By::Children, "/q", Some((ChildrenChanged, "/q"))),
        (By::Persistent, "/q", Some((ChildrenChanged, "/q"))),
        (By::Recursive, "/q", Some((Deleted, "/q/p"))),
        (By::Recursive, "/", Some((Deleted, "/q/p"))),
        (By::Children, "/", None),
    ];
    let ways = [
        ("an empty container", going("/q/p", CreateKind::Container, 4, -1)),
        ("a znode whose time is over", going("/q/p", CreateKind::Ttl, 5, 1)),
    ];
    for (what, make) in ways {
        let mut e = Ensemble::with(3, |config| {
            config.rules.extended_types = true;
            config.reap_interval = Duration::from_secs(7);
        });
        let servers: Vec<ServerId> = e.running.keys().copied().collect();
        let owner = e.open(servers[0]);
        e.call(owner.conn, create("/q", 0)).expect("created");
        e.call(owner.conn, make).expect("created");
        if what == "an empty container" {
            // One that never had a child stays.
            e.call(owner.conn, create("/q/p/c", 0)).expect("created");
            e.call(owner.conn, delete("/q/p/c")).expect("deleted");
        }
        e.run(Duration::from_millis(100));
        let mut watchers = Vec::new();
        for (by, path, expected) in table {
            for &server in &servers {
                let conn = e.open(server).conn;
                e.call(conn, watch(by, path)).expect("set");
                watchers.push((conn, by, path, expected));
            }
        }
        e.run(Duration::from_secs(8));
        assert_eq!(e.call(owner.conn, exists("/q/p")), Err(ErrorCode::NoNode), "{what}");
        let mut zxids = BTreeSet::new();
        for (conn, by, path, expected) in watchers {
            let heard = e.heard(conn);
            let expected = expected.map(|(kind, path)| (kind, path.to_owned()));
            assert_eq!(told(&heard), Vec::from_iter(expected), "{what}: {by:?} {path}");
            zxids.extend(heard.iter().filter_map(|output| match output {
                Output::Notify { zxid, .. } => Some(*zxid),
                _ => None,
            }));
            let stays = matches!(by, By::Persistent | By::Recursive) || told(&heard).is_empty();
            let kind = WatcherType::Any;
            let check = Read::CheckWatches { path: path.into(), kind };
            let found = e.call(conn, Request::Read(check)).is_ok();
            assert_eq!(found, stays, "{what}: {by:?} {path}");
        }
        assert_eq!(zxids.len(), 1, "{what}: one change, one zxid");
    }
}

#[test]
fn reads_and_watches_of_others_do_not_wait_for_a_write_that_is_held_up() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let (a, b) = (e.open(follower), e.open(follower));
    e.call(a.conn, create("/a", 0)).expect("created");
    e.cut.insert(follower);
    let write = e.ask(a.conn, set("/a", "y", -1));
    let read = e.ask(a.conn, get("/a", true));
    e.ask(a.conn, Request::Ping);
    assert!(e.heard(a.conn).is_empty(), "its own reads and pings wait behind the write");
    assert_eq!(data_of(e.call(b.conn, get("/a", true))), "x");
    e.ask(b.conn, Request::Ping);
    assert_eq!(replies(&e.heard(b.conn)), [(Xid(-2), true)]);
    e.cut.clear();
    e.run(Duration::from_secs(5));
    let heard = e.heard(a.conn);
    assert_eq!(replies(&heard), [(write, true), (read, true), (Xid(-2), true)]);
    assert_eq!(told(&heard), [], "a watch set behind the write does not see it");
    let changed = (EventKind::DataChanged, "/a".to_owned());
    assert_eq!(told(&e.heard(b.conn)), [changed], "one set before it does");
}

#[test]
fn a_set_watches_that_waits_sets_nothing_once_its_connection_has_ended() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    e.cut.insert(follower);
    e.ask(a.conn, set("/a", "y", -1));
    let exist = vec!["/missing".into()];
    let persistent = vec!["/a".into()];
    let rewatch = Rewatch { exist, persistent, ..Rewatch::default() };
    e.ask(a.conn, Request::SetWatches(rewatch));
    assert!(e.heard(a.conn).is_empty(), "it waits behind the write");
    e.input(follower, Input::Disconnect { conn: a.conn });
    e.clients.remove(&a.conn);
    e.cut.clear();
    e.run(Duration::from_secs(5));
    assert_eq!(e.running[&follower].stats().watches, 0);
}

#[test]
fn who_is_to_hear_more_than_there_is_room_for_hears_all_up_to_there_and_is_closed() {
    let mut e = Ensemble::with(1, |config| config.max_events = 25);
    let writer = e.open(ServerId(1)).conn;
    e.call(writer, create("/a", 0)).expect("created");
    e.call(writer, create("/b", 0)).expect("created");
    let watchers: Vec<ConnId> = (0..4).map(|_| e.open(ServerId(1)).conn).collect();
    for &conn in &watchers {
        e.call(conn, watch(By::Persistent, "/a")).expect("set");
    }
    let late = e.open(ServerId(1)).conn;
    e.call(late, watch(By::Data, "/b")).expect("set");
    let part = |path: &str| Write::SetData { path: path.into(), data: None, version: -1 };
    let mut parts: Vec<Write> = (0..10).map(|_| part("/a")).collect();
    parts.push(part("/b"));
    e.call(writer, Request::Write(Write::multi(parts))).expect("done");
    // Six events for each of four, one more for the first; then there is no room for three of them,
    // nor for anybody else: the queue is only read afterwards.
    for (n, &conn) in watchers.iter().chain([&late]).enumerate() {
        let heard = e.heard(conn);
        let n_expected = [7, 6, 6, 6, 0][n];
        assert_eq!(told(&heard).len(), n_expected, "connection {n}");
        assert_eq!(close_reason(&heard), Some(CloseReason::TooManyEvents), "connection {n}");
    }
    assert_eq!(e.running[&ServerId(1)].stats().watches, 0);
    // There is room again.
    let conn = e.open(ServerId(1)).conn;
    e.call(conn, watch(By::Persistent, "/a")).expect("set");
    for _ in 0..30 {
        e.call(writer, set("/a", "x", -1)).expect("set");
    }
    assert_eq!(told(&e.heard(conn)).len(), 30);
    // Watches that are set again make events as well.
    let paths: Vec<_> = (0..40).map(|n| format!("/none-{n}").into()).collect();
    let rewatch = Rewatch { relative_zxid: 1, data: paths, ..Rewatch::default() };
    e.ask(conn, Request::SetWatches(rewatch));
    let heard = e.heard(conn);
    assert_eq!(told(&heard).len(), 25);
    assert_eq!(close_reason(&heard), Some(CloseReason::TooManyEvents));
}
