//! Watches that a client brings along to a new connection, and what is left of the old one's.

use zokor_tests::client::{Answer, Message};
use zokor_tests::jute::Writer;
use zokor_tests::records::op;
use zokor_tests::{
    Acl, Client, Ensemble, ErrorCode, Event, EventKind, Program, Shared, eventually,
};

use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};

const NONE: &[&str] = &[];
const NO_LISTS: [&[&str]; 5] = [NONE; 5];

/// The lists of setWatches2: data, exists, child, persistent and recursive watches.
fn lists(paths: [&[&str]; 5], zxid: i64) -> Writer {
    paths.into_iter().fold(Writer::new().long(zxid), |body, list| body.strings(list))
}

/// What happened while the client was away, to a znode with a child that was there, or to a znode
/// that was not, and what each list is told of it. Who is told nothing is set again.
const TABLE: [(&str, [Option<EventKind>; 5]); 10] = [
    ("nothing", [None, Some(Created), None, None, None]),
    ("data set", [Some(DataChanged), Some(Created), None, None, None]),
    ("ACL set", [None, Some(Created), None, None, None]),
    ("child created", [None, Some(Created), Some(ChildrenChanged), None, None]),
    ("child deleted", [None, Some(Created), Some(ChildrenChanged), None, None]),
    ("child's data set", [None, Some(Created), None, None, None]),
    ("deleted", [Some(Deleted), None, Some(Deleted), None, None]),
    ("made anew", [Some(DataChanged), Some(Created), Some(ChildrenChanged), None, None]),
    ("created", [Some(DataChanged), Some(Created), Some(ChildrenChanged), None, None]),
    ("created and deleted", [Some(Deleted), None, Some(Deleted), None, None]),
];

fn happen(what: &str, path: &str, client: &mut Client) -> Answer<()> {
    let child = format!("{path}/c");
    match what {
        "nothing" => Ok(()),
        "data set" => client.set_data(path, b"", -1).map(drop),
        "ACL set" => client.set_acl(path, &Acl::open(), -1).map(drop),
        "child created" => client.create(&format!("{path}/d"), b"", 0).map(drop),
        "child deleted" => client.delete(&child, -1),
        "child's data set" => client.set_data(&child, b"", -1).map(drop),
        "created" => client.create(path, b"", 0).map(drop),
        "created and deleted" => {
            client.create(path, b"", 0)?;
            client.delete(path, -1)
        }
        "deleted" => {
            client.delete(&child, -1)?;
            client.delete(path, -1)
        }
        "made anew" => {
            client.delete(&child, -1)?;
            client.delete(path, -1)?;
            client.create(path, b"", 0).map(drop)
        }
        other => panic!("{other} cannot happen"),
    }
}

#[test]
fn each_list_is_told_of_what_happened_or_set_again() {
    let shared = Shared::join();
    for (n, (what, told)) in TABLE.into_iter().enumerate() {
        for (list, told) in told.into_iter().enumerate() {
            let path = shared.at(&format!("/{n}-{list}"));
            let mut client = shared.client(list % 3);
            client.sync("/").expect("sync");
            if !what.starts_with("created") {
                client.create(&path, b"", 0).expect("create");
                client.create(&format!("{path}/c"), b"", 0).expect("create");
            }
            client.sync("/").expect("sync");
            let seen = client.last_zxid;
            happen(what, &path, &mut shared.client((list + 1) % 3)).expect(what);
            let mut client = client.resume(shared.address((list + 2) % 3)).expect("it goes on");
            client.sync("/").expect("sync");
            let mut paths = NO_LISTS;
            let one = [path.as_str()];
            paths[list] = &one;
            client.send(op::SET_WATCHES2, lists(paths, seen)).expect("sent");
            if let Some(kind) = told {
                let event = Event::new(kind, &path);
                assert_eq!(
                    client.receive(),
                    Ok(Message::Event { zxid: -1, event }),
                    "{what}, list {list}"
                );
            }
            let reply = client.receive();
            let Ok(Message::Reply(reply)) = reply else { panic!("{what}, {list}: {reply:?}") };
            assert_eq!((reply.xid, reply.error, reply.body), (-8, ErrorCode(0), vec![]));
            if list > 2 && !Program::promises("watches are checked by mode (3.9)") {
                continue;
            }
            let kind = [2, 2, 1, 4, 5][list];
            let is_set = if told.is_none() { Ok(()) } else { Err(ErrorCode::NO_WATCHER) };
            assert_eq!(client.check_watches(&path, kind), is_set, "{what}, list {list}");
            assert_eq!(client.check_watches(&path, 3), is_set, "{what}, list {list}: nothing else");
            client.close();
        }
    }
}

#[test]
fn one_path_in_all_lists_is_told_list_by_list_and_then_mode_by_mode() {
    if !Program::promises("modes on one path are independent (3.9)") {
        return;
    }
    let shared = Shared::join();
    let (mut client, path) = (shared.client(0), shared.at("/a"));
    client.create(&path, b"", 0).expect("create");
    let (one, seen) = ([path.as_str()], client.last_zxid);
    client.set_data(&path, b"", -1).expect("set");
    client.create(&shared.at("/a/b"), b"", 0).expect("create");
    client.set_watches2(seen, [&one; 5]).expect("set watches");
    let event = |kind| Event::new(kind, &path);
    let told = [DataChanged, Created, ChildrenChanged];
    assert_eq!(client.events(), told.map(event), "in the order of the lists");
    for (kind, is_set) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
        assert_eq!(client.check_watches(&path, kind).is_ok(), is_set, "type {kind}");
    }
    // Nothing has changed since: now they are all set, and hear of each change once.
    client.set_watches2(client.last_zxid, [&one, NONE, &one, &one, &one]).expect("set watches");
    client.set_data(&path, b"", -1).expect("set");
    client.create(&shared.at("/a/c"), b"", 0).expect("create");
    let expected = [event(DataChanged), Event::new(Created, &shared.at("/a/c"))];
    let expected = [&expected[..], &[event(ChildrenChanged)]].concat();
    assert_eq!(client.events(), expected);
    for kind in [4, 5] {
        assert_eq!(client.check_watches(&path, kind), Ok(()));
    }
    for kind in [1, 2] {
        assert_eq!(client.check_watches(&path, kind), Err(ErrorCode::NO_WATCHER), "used up");
    }
}

#[test]
fn a_null_list_is_a_marshalling_error_and_sets_nothing() {
    if !Program::promises("what comes before a null list is not done either") {
        return;
    }
    let shared = Shared::join();
    let mut client = shared.client(1);
    for null in 0..5 {
        let mut body = Writer::new().long(0);
        for list in 0..5 {
            body = if list == null { body.null() } else { body.strings(&["/never/there"]) };
        }
        let reply = client.ask(op::SET_WATCHES2, body).expect("a reply");
        assert_eq!((reply.xid, reply.error), (-8, ErrorCode::MARSHALLING_ERROR), "list {null}");
        assert_eq!(client.events(), [], "list {null}");
        let set = client.check_watches("/never/there", 3);
        assert_eq!(set, Err(ErrorCode::NO_WATCHER), "list {null}");
    }
    // The older request has three lists, and whatever comes after them is not looked at.
    let body = Writer::new().long(0).strings(NONE).strings(&["/never/there"]).strings(NONE).int(-7);
    assert_eq!(client.ask(op::SET_WATCHES, body).map(|reply| reply.error), Ok(ErrorCode(0)));
    assert_eq!(client.check_watches("/never/there", 2), Ok(()));
}

#[test]
fn neither_paths_nor_permissions_are_asked_for() {
    if !Program::promises("events are filtered by ACLs (3.8.4, 3.9.2)") {
        return;
    }
    let shared = Shared::join();
    let (mut client, mut owner) = (shared.client(0), shared.client(0));
    owner.authenticate("digest", b"alice:secret").expect("known");
    let path = shared.at("/closed");
    owner.create_with_acl(&path, &[Acl::new(31, "auth", "")]).expect("create");
    let seen = owner.last_zxid;
    assert_eq!(client.exists(&path, true), Err(ErrorCode::NO_AUTH));
    assert_eq!(client.get_data(&path, true), Err(ErrorCode::NO_AUTH));
    assert_eq!(client.children(&path, true), Err(ErrorCode::NO_AUTH));
    assert_eq!(client.check_watches(&path, 3), Err(ErrorCode::NO_WATCHER), "refused: not set");
    client.set_watches2(seen, [&[&path], NONE, &[&path], NONE, NONE]).expect("set watches");
    owner.set_data(&path, b"", -1).expect("set");
    assert_eq!(client.events(), [], "what may not be read is not told");
    assert_eq!(client.check_watches(&path, 2), Err(ErrorCode::NO_WATCHER), "but used up");
    client.set_watches2(seen, [&[&path], NONE, NONE, NONE, NONE]).expect("set watches");
    assert_eq!(client.events(), [Event::new(DataChanged, &path)], "setWatches does not filter");
    let odd = ["", "/", "//", "no slash", "/ends/", "/a/../b", "/nul\0", "/\u{ffff}"];
    client.set_watches2(i64::MAX, [NONE, NONE, NONE, &odd, &odd]).expect("set watches");
    for path in odd {
        assert_eq!(client.check_watches(path, 4), Ok(()), "{path:?}");
        assert_eq!(client.remove_watches(path, 3), Ok(()), "{path:?}");
    }
}

fn count(ensemble: &Ensemble, index: usize) -> u64 {
    let text = zokor_tests::raw::four_letter(ensemble.address(index), "mntr").expect("mntr");
    let line = text.lines().find_map(|line| line.strip_prefix("zk_watch_count\t"));
    line.expect("the line is there").parse().expect("a number")
}

/// Each request is a little below `jute.maxbuffer`; together they are several times that. (Clients
/// send at most 128 KiB of paths in one; a server has to take whatever a frame holds.)
#[test]
fn a_hundred_thousand_watches_come_back_over_several_frames() {
    const N: usize = 100_000;
    const LIMIT: usize = 0xf_ffff;
    let ensemble = Ensemble::of(3).start();
    let mut owner = ensemble.client(0);
    owner.create("/services", b"", 0).expect("create");
    for n in (0..N).step_by(N / 10) {
        owner.create(&format!("/services/{n:060}"), b"", 0).expect("create");
    }
    let seen = owner.last_zxid;
    for n in (0..N).step_by(N / 5) {
        owner.set_data(&format!("/services/{n:060}"), b"", -1).expect("set");
    }
    let client = ensemble.client(1);
    let mut client = client.resume(ensemble.address(2)).expect("the session goes on");
    client.sync("/").expect("sync");
    let paths: Vec<String> = (0..N).map(|n| format!("/services/{n:060}")).collect();
    let mut frames = Vec::new();
    for part in paths.chunks(14_000) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        let body = lists([NONE, NONE, NONE, &part, NONE], seen);
        assert!((LIMIT * 9 / 10..LIMIT).contains(&(body.0.len() + 8)) || part.len() < 14_000);
        frames.push(body);
    }
    assert!(frames.len() > 5);
    let all: Vec<&str> = paths.iter().map(String::as_str).collect();
    for part in all.chunks(10_000) {
        frames.push(lists([part, NONE, NONE, NONE, NONE], seen));
    }
    let n_frames = frames.len();
    for frame in frames {
        client.send(op::SET_WATCHES2, frame).expect("sent");
    }
    let (mut n_replies, mut kinds) = (0, [0; 2]);
    while n_replies < n_frames {
        match client.receive().expect("a message") {
            Message::Event { zxid, event } => {
                assert_eq!(zxid, -1);
                kinds[usize::from(event.kind == Deleted)] += 1;
                assert!(matches!(event.kind, Deleted | DataChanged));
            }
            Message::Reply(reply) => {
                assert_eq!((reply.xid, reply.error), (-8, ErrorCode(0)));
                n_replies += 1;
            }
        }
    }
    assert_eq!(kinds, [5, N - 10], "data was set, and of all others there is no znode");
    // Both tables of the persistent ones; five data watches are on paths of theirs.
    assert_eq!(count(&ensemble, 2), 2 * N as u64);
    owner.set_data(&paths[N / 10], b"", -1).expect("set");
    owner.create(&paths[1], b"", 0).expect("create");
    client.sync("/").expect("sync");
    let expected = [Event::new(DataChanged, &paths[N / 10]), Event::new(Created, &paths[1])];
    assert_eq!(client.events(), expected);
    assert_eq!(client.remove_watches(&paths[2], 3), Ok(()));
    if Program::promises("modes are counted apart (3.9)") {
        assert_eq!(count(&ensemble, 2), 2 * N as u64 - 2);
    }
    drop(client);
    eventually("the watches are gone", || (count(&ensemble, 2) == 0).then_some(()));
}

#[test]
fn counts_follow_the_watches_of_each_server_for_itself() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    let mut other = ensemble.client(0);
    client.create("/a", b"", 0).expect("create");
    assert_eq!(count(&ensemble, 0), 0);
    client.get_data("/a", true).expect("it is there");
    client.exists("/a", true).expect("it is there");
    assert_eq!(count(&ensemble, 0), 1, "one path, one connection, one table");
    client.children("/a", true).expect("it is there");
    assert_eq!(count(&ensemble, 0), 2, "the other table");
    other.add_watch("/a", 0).expect("added");
    assert_eq!(count(&ensemble, 0), 4, "both tables of another connection");
    other.add_watch("/a", 1).expect("added");
    assert_eq!(count(&ensemble, 0), 4, "the same pair in the same table");
    client.set_data("/a", b"", -1).expect("set");
    assert_eq!(count(&ensemble, 0), 3);
    client.close();
    eventually("those of the closed session go", || (count(&ensemble, 0) == 2).then_some(()));
    let text = zokor_tests::raw::four_letter(ensemble.address(0), "wchs").expect("wchs");
    if Program::promises("wchs counts a persistent watch once") {
        assert!(text.contains("1 connections watching 1 paths\nTotal watches:1"), "{text}");
    }
    other.delete("/a", -1).expect("delete");
    assert_eq!(count(&ensemble, 0), 2, "these stay");
    drop(other);
    eventually("a cut takes them too", || (count(&ensemble, 0) == 0).then_some(()));
}

/// A setWatches that is still under way when its connection ends must leave nothing behind.
#[test]
fn no_watch_outlives_its_connection() {
    let ensemble = Ensemble::of(3).start();
    let many: Vec<String> = (0..2_000).map(|n| format!("/missing-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for round in 0..12 {
        let mut client = ensemble.client(round % 3);
        // A write holds the line up, so that what comes after it waits.
        let record = Writer::new().string("/w").buffer(b"").int(-1);
        client.send(op::SET_DATA, record).expect("sent");
        client.send(op::SET_WATCHES2, lists([NONE, &many, NONE, &many, NONE], 0)).expect("sent");
        match round % 3 {
            0 => drop(client),
            1 => client.send(op::CLOSE_SESSION, Writer::new()).map(drop).expect("sent"),
            _ => drop(client.resume(ensemble.address(round / 3 % 3)).expect("it goes on")),
        }
    }
    for index in 0..3 {
        eventually("no watches are left", || (count(&ensemble, index) == 0).then_some(()));
    }
}
