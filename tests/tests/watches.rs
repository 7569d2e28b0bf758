//! What a watch tells, once or for ever, and that it tells before anyone can see.

use zokor_tests::client::Message;
use zokor_tests::jute::Writer;
use zokor_tests::records::{mode, op};
use zokor_tests::{Client, ErrorCode, Event, EventKind, Program, Shared};

use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};

fn event(kind: EventKind, path: &str) -> Event {
    Event::new(kind, path)
}

#[test]
fn a_data_watch_fires_once() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(0), shared.at("/a"));
    client.create(&path, b"", 0).expect("create");
    client.get_data(&path, true).expect("it is there");
    client.set_data(&path, b"1", -1).expect("set");
    assert_eq!(client.events(), [event(DataChanged, &path)]);
    client.set_data(&path, b"2", -1).expect("set");
    assert_eq!(client.events(), []);
    client.get_data(&path, true).expect("it is there");
    client.exists(&path, true).expect("it is there");
    client.delete(&path, -1).expect("delete");
    assert_eq!(client.events(), [event(Deleted, &path)], "two calls, one watch");
}

#[test]
fn an_exists_watch_waits_for_a_missing_znode() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(1), shared.at("/a"));
    assert_eq!(client.exists(&path, true), Err(ErrorCode::NO_NODE));
    client.create(&path, b"", 0).expect("create");
    assert_eq!(client.events(), [event(Created, &path)]);
    client.delete(&path, -1).expect("delete");
    assert_eq!(client.events(), []);
}

#[test]
fn a_child_watch_fires_for_children_and_for_the_end() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(2), shared.at("/a"));
    let child = shared.at("/a/b");
    client.create(&path, b"", 0).expect("create");
    client.children(&path, true).expect("it is there");
    client.set_data(&path, b"", -1).expect("set");
    assert_eq!(client.events(), [], "data is not children");
    client.create(&child, b"", 0).expect("create");
    assert_eq!(client.events(), [event(ChildrenChanged, &path)]);
    client.children2(&path, true).expect("it is there");
    client.set_data(&child, b"", -1).expect("set");
    assert_eq!(client.events(), [], "a child's data is not children");
    client.delete(&child, -1).expect("delete");
    assert_eq!(client.events(), [event(ChildrenChanged, &path)]);
    client.children(&path, true).expect("it is there");
    client.get_data(&path, true).expect("it is there");
    client.delete(&path, -1).expect("delete");
    assert_eq!(client.events(), [event(Deleted, &path)], "both tables, one event");
}

#[test]
fn a_failed_read_sets_no_watch_and_an_acl_fires_none() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(0), shared.at("/a"));
    assert_eq!(client.get_data(&path, true), Err(ErrorCode::NO_NODE));
    assert_eq!(client.children(&path, true), Err(ErrorCode::NO_NODE));
    client.create(&path, b"", 0).expect("create");
    assert_eq!(client.events(), []);
    client.get_data(&path, true).expect("it is there");
    client.set_acl(&path, &zokor_tests::Acl::open(), -1).expect("set");
    assert_eq!(client.set_data(&path, b"", 9), Err(ErrorCode::BAD_VERSION));
    assert_eq!(client.events(), []);
}

#[test]
fn an_event_comes_before_the_writers_own_reply() {
    let shared = Shared::join();
    for index in 0..3 {
        let (mut client, path) = (shared.client(index), shared.at(&format!("/{index}")));
        client.create(&path, b"", 0).expect("create");
        client.get_data(&path, true).expect("it is there");
        let body = Writer::new().string(&path).buffer(b"x").int(-1);
        let xid = client.send(op::SET_DATA, body).expect("sent");
        let Ok(Message::Event { zxid, event: got }) = client.receive() else {
            panic!("the event comes first")
        };
        assert_eq!(got, event(DataChanged, &path));
        let Ok(Message::Reply(reply)) = client.receive() else { panic!("then the reply") };
        assert_eq!(reply.xid, xid);
        if Program::promises("an event carries the zxid of its change") {
            let stat = client.exists(&path, false).expect("it is there");
            assert_eq!(zxid, stat.mzxid);
        }
    }
}

#[test]
fn an_event_comes_before_any_read_that_shows_the_change() {
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut writer = shared.client(0);
    writer.create(&path, b"0", 0).expect("create");
    for round in 1..=30 {
        let mut reader = shared.client(round % 3);
        reader.sync("/").expect("sync");
        let old = reader.get_data(&path, true).expect("it is there").1.version;
        let body = Writer::new().string(&path).buffer(b"x").int(-1);
        writer.send(op::SET_DATA, body).expect("sent");
        let mut told = false;
        loop {
            let body = Writer::new().string(&path).bool(false);
            reader.send(op::GET_DATA, body).expect("sent");
            let reply = loop {
                match reader.receive().expect("a message") {
                    Message::Event { .. } => told = true,
                    Message::Reply(reply) => break reply,
                }
            };
            // The version is the first number after four zxids and times.
            let mut r = zokor_tests::jute::Reader::new(reply.body);
            r.buffer();
            r.take(32);
            if r.int() > old {
                assert!(told, "round {round}: new data before the event");
                break;
            }
        }
        assert!(matches!(writer.receive(), Ok(Message::Reply(_))));
    }
}

#[test]
fn events_come_in_the_order_of_the_changes() {
    let shared = Shared::join();
    let (mut watcher, mut writer) = (shared.client(1), shared.client(2));
    let paths: Vec<String> = (0..50).map(|n| shared.at(&format!("/{n:02}"))).collect();
    for path in &paths {
        assert_eq!(watcher.exists(path, true), Err(ErrorCode::NO_NODE));
    }
    for path in paths.iter().rev() {
        writer.create(path, b"", 0).expect("create");
    }
    for path in paths.iter().rev() {
        assert_eq!(watcher.next_event(), Ok(event(Created, path)));
    }
}

#[test]
fn a_persistent_watch_stays() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(0), shared.at("/a"));
    let child = shared.at("/a/b");
    client.add_watch(&path, 0).expect("a missing znode will do");
    for _ in 0..2 {
        client.create(&path, b"", 0).expect("create");
        client.set_data(&path, b"", -1).expect("set");
        client.create(&child, b"", 0).expect("create");
        client.set_data(&child, b"", -1).expect("set");
        client.delete(&child, -1).expect("delete");
        client.delete(&path, -1).expect("delete");
        let kinds = [Created, DataChanged, ChildrenChanged, ChildrenChanged, Deleted];
        assert_eq!(client.events(), kinds.map(|kind| event(kind, &path)));
    }
}

#[test]
fn a_recursive_watch_sees_all_below_and_no_lists_of_children() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(1), shared.at("/a"));
    let (b, c) = (shared.at("/a/b"), shared.at("/a/b/c"));
    client.add_watch(&path, 1).expect("a missing znode will do");
    for _ in 0..2 {
        client.create(&path, b"", 0).expect("create");
        client.create(&shared.at("/ab"), b"", 0).expect("create");
        client.create(&b, b"", 0).expect("create");
        client.create(&c, b"", 0).expect("create");
        client.set_data(&c, b"", -1).expect("set");
        client.delete(&c, -1).expect("delete");
        client.delete(&b, -1).expect("delete");
        client.delete(&path, -1).expect("delete");
        client.delete(&shared.at("/ab"), -1).expect("delete");
        let expected = [
            event(Created, &path),
            event(Created, &b),
            event(Created, &c),
            event(DataChanged, &c),
            event(Deleted, &c),
            event(Deleted, &b),
            event(Deleted, &path),
        ];
        assert_eq!(client.events(), expected);
    }
}

#[test]
fn an_unknown_watch_mode_is_a_marshalling_error() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    for mode in [2, -1] {
        assert_eq!(client.add_watch("/a", mode), Err(ErrorCode::MARSHALLING_ERROR));
    }
}

#[test]
fn watches_are_checked_and_removed_by_kind() {
    const CHILDREN: i32 = 1;
    const DATA: i32 = 2;
    const ANY: i32 = 3;
    let shared = Shared::join();
    let (mut client, mut other) = (shared.client(0), shared.client(0));
    let path = shared.at("/a");
    client.create(&path, b"", 0).expect("create");
    for kind in [CHILDREN, DATA, ANY] {
        assert_eq!(client.check_watches(&path, kind), Err(ErrorCode::NO_WATCHER));
        assert_eq!(client.remove_watches(&path, kind), Err(ErrorCode::NO_WATCHER));
    }
    for kind in [0, 9] {
        assert_eq!(client.check_watches(&path, kind), Err(ErrorCode::MARSHALLING_ERROR));
        assert_eq!(client.remove_watches(&path, kind), Err(ErrorCode::MARSHALLING_ERROR));
    }
    for who in [&mut client, &mut other] {
        who.get_data(&path, true).expect("it is there");
        who.children(&path, true).expect("it is there");
    }
    assert_eq!(client.check_watches(&path, DATA), Ok(()));
    assert_eq!(client.remove_watches(&path, DATA), Ok(()));
    assert_eq!(client.remove_watches(&path, DATA), Err(ErrorCode::NO_WATCHER));
    assert_eq!(client.check_watches(&path, CHILDREN), Ok(()));
    client.set_data(&path, b"", -1).expect("set");
    assert_eq!(client.events(), []);
    assert_eq!(other.events(), [event(DataChanged, &path)], "others keep theirs");
    client.get_data(&path, true).expect("it is there");
    assert_eq!(client.remove_watches(&path, ANY), Ok(()));
    client.delete(&path, -1).expect("delete");
    assert_eq!(client.events(), []);
}

#[test]
fn removing_one_kind_leaves_the_persistent_ones() {
    if !Program::promises("removal tells the kinds of watches apart (3.9)") {
        return;
    }
    let shared = Shared::join();
    let (mut client, path) = (shared.client(1), shared.at("/a"));
    client.create(&path, b"", 0).expect("create");
    client.get_data(&path, true).expect("it is there");
    client.add_watch(&path, 0).expect("add");
    client.add_watch(&path, 1).expect("add");
    assert_eq!(client.remove_watches(&path, 2), Ok(()));
    assert_eq!(client.remove_watches(&path, 5), Ok(()));
    assert_eq!(client.check_watches(&path, 4), Ok(()));
    assert_eq!(client.check_watches(&path, 5), Err(ErrorCode::NO_WATCHER));
    client.set_data(&path, b"", -1).expect("set");
    assert_eq!(client.events(), [event(DataChanged, &path)]);
    assert_eq!(client.remove_watches(&path, 4), Ok(()));
    client.set_data(&path, b"", -1).expect("set");
    assert_eq!(client.events(), []);
}

#[test]
fn watches_do_not_follow_the_session_by_themselves() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(0), shared.at("/a"));
    client.create(&path, b"", 0).expect("create");
    client.get_data(&path, true).expect("it is there");
    let mut again = client.resume(shared.address(0)).expect("the session goes on");
    again.set_data(&path, b"", -1).expect("set");
    assert_eq!(again.events(), []);
}

/// A client that saw znodes `data`, `kids`, `gone` and no `new`, and what it had seen last.
fn before_the_cut(shared: &Shared) -> (Client, i64) {
    let mut client = shared.client(0);
    for name in ["/data", "/kids", "/gone", "/same"] {
        client.create(&shared.at(name), b"", mode::PERSISTENT).expect("create");
    }
    let zxid = client.last_zxid;
    (client, zxid)
}

#[test]
fn set_watches_tells_what_changed_and_sets_the_rest() {
    let shared = Shared::join();
    let (client, zxid) = before_the_cut(&shared);
    let at = |name: &str| shared.at(name);
    let mut other = shared.client(1);
    other.set_data(&at("/data"), b"x", -1).expect("set");
    other.create(&at("/kids/k"), b"", 0).expect("create");
    other.delete(&at("/gone"), -1).expect("delete");
    other.create(&at("/new"), b"", 0).expect("create");
    other.close();
    let mut again = client.resume(shared.address(2)).expect("the session goes on");
    again.sync("/").expect("sync");
    let (data, kids, gone, same) = (at("/data"), at("/kids"), at("/gone"), at("/same"));
    let (new, never) = (at("/new"), at("/never"));
    let lists: [&[&str]; 3] = [&[&data, &gone, &same], &[&new, &never], &[&kids, &same]];
    again.set_watches(zxid, lists).expect("set watches");
    let mut told = again.events();
    told.sort_by(|a, b| a.path.cmp(&b.path));
    let expected = [
        event(DataChanged, &data),
        event(Deleted, &gone),
        event(ChildrenChanged, &kids),
        event(Created, &new),
    ];
    assert_eq!(told, expected);
    // What was told is not set again; what was not told is.
    again.set_data(&data, b"", -1).expect("set");
    again.set_data(&new, b"", -1).expect("set");
    again.create(&at("/kids/l"), b"", 0).expect("create");
    assert_eq!(again.events(), []);
    again.set_data(&same, b"", -1).expect("set");
    again.create(&at("/same/k"), b"", 0).expect("create");
    again.create(&never, b"", 0).expect("create");
    let expected =
        [event(DataChanged, &same), event(ChildrenChanged, &same), event(Created, &never)];
    assert_eq!(again.events(), expected);
}

#[test]
fn events_of_set_watches_come_before_its_reply() {
    let shared = Shared::join();
    let (mut client, zxid) = before_the_cut(&shared);
    client.set_data(&shared.at("/data"), b"x", -1).expect("set");
    let path = shared.at("/data");
    let none: [&str; 0] = [];
    let body = Writer::new().long(zxid).strings(&[path.as_str()]).strings(&none).strings(&none);
    client.send(op::SET_WATCHES, body).expect("sent");
    let first = client.receive().expect("a message");
    assert_eq!(first, Message::Event { zxid: -1, event: event(DataChanged, &path) });
    let Ok(Message::Reply(reply)) = client.receive() else { panic!("then the reply") };
    assert_eq!((reply.xid, reply.error, reply.body.len()), (-8, ErrorCode(0), 0));
}

#[test]
fn set_watches2_sets_persistent_ones_without_events() {
    let shared = Shared::join();
    let (client, zxid) = before_the_cut(&shared);
    let mut again = client.resume(shared.address(1)).expect("the session goes on");
    again.sync("/").expect("sync");
    let (data, kids) = (shared.at("/data"), shared.at("/kids"));
    again.set_data(&data, b"x", -1).expect("set");
    again.set_watches2(zxid, [&[], &[], &[], &[&data], &[&kids]]).expect("set watches");
    assert_eq!(again.events(), []);
    for _ in 0..2 {
        again.set_data(&data, b"", -1).expect("set");
        again.create(&shared.at("/kids/k"), b"", 0).expect("create");
        again.delete(&shared.at("/kids/k"), -1).expect("delete");
        let expected = [
            event(DataChanged, &data),
            event(Created, &shared.at("/kids/k")),
            event(Deleted, &shared.at("/kids/k")),
        ];
        assert_eq!(again.events(), expected);
    }
}

#[test]
fn many_watches_come_back_in_many_requests() {
    let shared = Shared::join();
    let client = shared.client(0);
    let paths: Vec<String> = (0..5_000).map(|n| shared.at(&format!("/missing-{n:05}"))).collect();
    let mut again = client.resume(shared.address(2)).expect("the session goes on");
    for part in paths.chunks(1_000) {
        let list: Vec<&str> = part.iter().map(String::as_str).collect();
        again.set_watches(0, [&[], &list, &[]]).expect("set watches");
    }
    for path in [&paths[4_999], &paths[0]] {
        again.create(path, b"", 0).expect("create");
        assert_eq!(again.events(), [event(Created, path)]);
    }
}

#[test]
fn each_of_many_connections_is_told_once_for_each_time_it_asked() {
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut writer = shared.client(0);
    writer.create(&path, b"", 0).expect("create");
    let mut clients: Vec<Client> = (0..500).map(|n| shared.client(n % 3)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.sync("/").expect("sync");
        client.get_data(&path, true).expect("it is there");
        if n % 5 == 0 {
            client.add_watch(&path, 0).expect("added");
        }
    }
    for round in 0..3 {
        writer.set_data(&path, b"", -1).expect("set");
        for (n, client) in clients.iter_mut().enumerate() {
            client.sync("/").expect("sync");
            let is_told = round == 0 || n % 5 == 0;
            let expected = Vec::from_iter(is_told.then(|| event(DataChanged, &path)));
            assert_eq!(client.events(), expected, "round {round}, connection {n}");
        }
    }
}

#[test]
fn the_root_is_watched_like_any_other() {
    let ensemble = zokor_tests::Ensemble::standalone();
    let mut clients: Vec<Client> = (0..4).map(|_| ensemble.client(0)).collect();
    clients[0].children("/", true).expect("it is there");
    clients[1].add_watch("/", 0).expect("added");
    clients[2].add_watch("/", 1).expect("added");
    clients[3].get_data("/", true).expect("it is there");
    let mut writer = ensemble.client(0);
    writer.create("/a", b"", 0).expect("create");
    writer.create("/a/b", b"", 0).expect("create");
    writer.set_data("/", b"x", -1).expect("set");
    writer.delete("/a/b", -1).expect("delete");
    writer.delete("/a", -1).expect("delete");
    let kids = || event(ChildrenChanged, "/");
    let expected = [
        vec![kids()],
        vec![kids(), event(DataChanged, "/"), kids()],
        vec![
            event(Created, "/a"),
            event(Created, "/a/b"),
            event(DataChanged, "/"),
            event(Deleted, "/a/b"),
            event(Deleted, "/a"),
        ],
        vec![event(DataChanged, "/")],
    ];
    for (client, expected) in clients.iter_mut().zip(expected) {
        assert_eq!(client.events(), expected);
    }
}
