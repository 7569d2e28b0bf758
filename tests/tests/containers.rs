//! Containers and TTL znodes: made by clients, taken away by the leader, on one server and on
//! three.

use zokor_tests::client::Part;
use zokor_tests::client::{Message, create_record};
use zokor_tests::jute::{Reader, Writer};
use zokor_tests::records::{mode, op};
use zokor_tests::wait::eventually;
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, Event, EventKind, Program, Stat};

/// One server alone, and three, that look for what is due several times a second. ZooKeeper takes
/// these settings from its command line only.
fn ensembles(lines: &[&str]) -> impl Iterator<Item = Ensemble> {
    let lines = [lines, &["znode.container.checkIntervalMs=50", "extendedTypesEnabled=true"]];
    let lines = lines.concat();
    [1, 3].into_iter().map(move |n_servers| {
        let builder = Ensemble::of(n_servers);
        lines.iter().fold(builder, |builder, line| builder.line(line)).start()
    })
}

fn until_gone(client: &mut Client, path: &str) {
    eventually(path, || {
        client.sync("/").expect("sync");
        (client.exists(path, false) == Err(ErrorCode::NO_NODE)).then_some(())
    });
}

#[test]
fn a_container_goes_after_its_last_child_and_takes_empty_ones_above_along() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    for ensemble in ensembles(&[]) {
        let mut client = ensemble.client(ensemble.len() - 1);
        for path in ["/unused", "/a", "/a/b", "/a/b/c", "/full"] {
            let (_, stat) = client.create2(path, b"", mode::CONTAINER).expect("a container");
            assert_eq!(stat.ephemeral_owner, 0);
        }
        client.create("/full/child", b"", mode::PERSISTENT).expect("create");
        client.create("/a/b/c/d", b"", mode::EPHEMERAL).expect("create");
        client.exists("/a", true).expect("it is there");
        client.delete("/a/b/c/d", -1).expect("delete");
        until_gone(&mut client, "/a");
        assert_eq!(client.events(), [Event::new(EventKind::Deleted, "/a")]);
        assert!(client.exists("/unused", false).is_ok(), "it never had a child");
        assert!(client.exists("/full", false).is_ok());
        client.delete("/full/child", -1).expect("delete");
        until_gone(&mut client, "/full");
        assert!(client.exists("/unused", false).is_ok());
    }
}

#[test]
fn a_container_that_nobody_uses_goes_if_that_is_asked_for() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    for ensemble in ensembles(&["znode.container.maxNeverUsedIntervalMs=300"]) {
        let mut client = ensemble.client(0);
        client.create2("/unused", b"", mode::CONTAINER).expect("a container");
        client.create2("/used", b"", mode::CONTAINER).expect("a container");
        client.create("/used/child", b"", mode::PERSISTENT).expect("create");
        client.create("/plain", b"", mode::PERSISTENT).expect("create");
        until_gone(&mut client, "/unused");
        let mut names = client.children("/", false).expect("children");
        names.retain(|name| name != "zookeeper");
        assert_eq!(names, ["plain", "used"]);
    }
}

#[test]
fn a_ttl_znode_goes_when_it_was_left_alone_and_setting_data_renews_it() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    for ensemble in ensembles(&[]) {
        let mut client = ensemble.client(ensemble.len() - 1);
        let ttl_ms = 1_500;
        for path in ["/renewed", "/parent", "/renewed-once"] {
            client.create_ttl(path, mode::TTL, ttl_ms).expect("create");
        }
        client.create("/parent/child", b"", mode::PERSISTENT).expect("create");
        client.create_ttl("/clock", mode::TTL, ttl_ms).expect("create");
        eventually("the clock to run down", || {
            client.set_data("/renewed", b"", -1).expect("it is there");
            (client.exists("/clock", false) == Err(ErrorCode::NO_NODE)).then_some(())
        });
        assert!(client.exists("/renewed", false).is_ok());
        assert!(client.exists("/parent", false).is_ok(), "it has a child");
        until_gone(&mut client, "/renewed-once");
        client.delete("/parent/child", -1).expect("delete");
        until_gone(&mut client, "/parent");
        until_gone(&mut client, "/renewed");
    }
}

#[test]
fn containers_and_ttl_znodes_in_a_multi_answer_like_create2() {
    for ensemble in ensembles(&[]) {
        let mut client = ensemble.client(0);
        let container = |op| Part::Create(op, format!("/c{op}"), b"x".to_vec(), mode::CONTAINER);
        // The flag makes the container, whichever create it comes with.
        let parts = [op::CREATE_CONTAINER, op::CREATE2, op::CREATE].map(container);
        let results = client.multi(&parts).expect("all is well");
        for (part, name) in results.iter().zip(["/c19", "/c15", "/c1"]) {
            let Part::Created2(path, stat) = part else { panic!("{part:?}") };
            assert_eq!((path.as_str(), stat.ephemeral_owner, stat.data_length), (name, 0, 1));
            client.create(&format!("{name}/child"), b"", 0).expect("create");
        }
    }
}

#[test]
fn a_container_outlives_the_leader_that_would_have_taken_it_away() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    let mut ensemble = Ensemble::of(3).line("znode.container.checkIntervalMs=50").start();
    let leader = ensemble.wait_for_leader();
    let mut client = ensemble.client((leader + 1) % 3);
    client.create2("/c", b"", mode::CONTAINER).expect("a container");
    client.create("/c/child", b"", mode::PERSISTENT).expect("create");
    client.delete("/c/child", -1).expect("delete");
    ensemble.kill(leader);
    until_gone(&mut client, "/c");
    ensemble.restart(leader);
    ensemble.wait_until_serving();
    let mut again = ensemble.client(leader);
    until_gone(&mut again, "/c");
}

/// Whoever asks while the sweep goes on: the container is there with the child, or it was gone
/// before and there is no child.
#[test]
fn a_container_with_a_child_in_it_is_never_taken_away() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    for n_servers in [1, 3] {
        let ensemble = Ensemble::of(n_servers).line("znode.container.checkIntervalMs=1");
        let ensemble = ensemble.line("znode.container.maxPerMinute=6000000").start();
        let mut client = ensemble.client(n_servers - 1);
        let make = |client: &mut Client| {
            let (_, made) = client.create2("/c", b"", mode::CONTAINER).expect("a container");
            client.create("/c/first", b"", mode::PERSISTENT).expect("nobody takes a new one");
            client.delete("/c/first", -1).expect("delete");
            made.czxid
        };
        let (mut n_lost, mut n_kept, mut made) = (0, 0, make(&mut client));
        // From now on it is due, whenever it has no child.
        eventually("the sweep and the child have come first several times each", || {
            match client.create("/c/second", b"", mode::PERSISTENT) {
                Ok(_) => {
                    client.sync("/").expect("sync");
                    assert!(client.get("/c/second").is_ok());
                    let stat = client.exists("/c", false).expect("it has a child");
                    assert_eq!((stat.czxid, stat.num_children), (made, 1));
                    client.delete("/c/second", -1).expect("delete");
                    n_kept += 1;
                }
                Err(ErrorCode::NO_NODE) => {
                    assert_eq!(client.exists("/c", false), Err(ErrorCode::NO_NODE));
                    n_lost += 1;
                    made = make(&mut client);
                }
                Err(other) => panic!("{other:?}"),
            }
            (n_lost > 4 && n_kept > 4).then_some(())
        });
    }
}

/// The record of op 21.
fn ttl_record(path: &str, flags: i32, ttl_ms: i64) -> Writer {
    create_record(path, b"x", &Acl::open(), flags).long(ttl_ms)
}

#[test]
fn ttl_znodes_are_made_in_a_multi_and_under_numbers() {
    for ensemble in ensembles(&[]) {
        let mut client = ensemble.client(ensemble.len() - 1);
        client.create("/t", b"", mode::PERSISTENT).expect("create");
        let head = |w: Writer, op: i32| w.int(op).bool(false).int(-1);
        let part = |w: Writer, path: &str, flags, ttl_ms| {
            head(w, op::CREATE_TTL).raw(&ttl_record(path, flags, ttl_ms).0)
        };
        let end = |w: Writer| w.int(-1).bool(true).int(-1);
        let body = part(Writer::new(), "/t/a", mode::TTL, 1_000_000);
        let body = part(body, "/t/n-", mode::TTL_SEQUENTIAL, 1_500);
        let reply = client.ask(op::MULTI, end(body)).expect("a reply");
        assert_eq!(reply.error, ErrorCode(0));
        let mut r = Reader::new(reply.body);
        for name in ["/t/a", "/t/n-0000000001"] {
            assert_eq!((r.int(), r.bool(), r.int()), (op::CREATE2, false, 0), "as create2");
            assert_eq!(r.string(), name);
            let stat = Stat::read(&mut r);
            assert_eq!((stat.ephemeral_owner, stat.data_length), (0, 1));
        }
        // A multi with one that may not live so long makes none of them.
        let body = part(Writer::new(), "/t/b", mode::TTL, 1_000_000);
        let body = part(body, "/t/c", mode::TTL, 0);
        let reply = client.ask(op::MULTI, end(body)).expect("a reply");
        if reply.error == ErrorCode(0) {
            let mut r = Reader::new(reply.body);
            assert_eq!((r.int(), r.bool(), r.int(), r.int()), (-1, false, 0, 0));
            assert_eq!((r.int(), r.bool(), r.int()), (-1, false, -8));
        }
        assert!(client.exists("/t/b", false).is_err());
        if Program::promises("the interval of the sweep can be set in zoo.cfg") {
            until_gone(&mut client, "/t/n-0000000001");
            assert!(client.exists("/t/a", false).is_ok());
        }
    }
}

#[test]
fn a_time_to_live_and_flags_without_one_do_not_agree() {
    let ensemble = Ensemble::of(1).line("extendedTypesEnabled=true").start();
    let mut client = ensemble.client(0);
    let bad = Err(ErrorCode::BAD_ARGUMENTS);
    for flags in [mode::PERSISTENT, mode::EPHEMERAL, mode::SEQUENTIAL, mode::CONTAINER] {
        let reply = client.ask(op::CREATE_TTL, ttl_record("/a", flags, 1_000)).expect("a reply");
        assert_eq!(reply.error, ErrorCode::BAD_ARGUMENTS, "a time, flags {flags}");
        // ZooKeeper's server may die of it.
        if Program::promises("no malformed write stops a server") {
            let reply = client.ask(op::CREATE_TTL, ttl_record("/a", flags, -1)).expect("a reply");
            assert_eq!(reply.error, ErrorCode::BAD_ARGUMENTS, "no time, flags {flags}");
        }
    }
    for flags in [mode::TTL, mode::TTL_SEQUENTIAL] {
        assert_eq!(client.create("/a", b"", flags), bad, "a create, flags {flags}");
        assert_eq!(client.create2("/a", b"", flags).map(drop), Err(ErrorCode::BAD_ARGUMENTS));
        for ttl_ms in [0, -1, i64::MIN, 0x100_0000_0000, i64::MAX] {
            let answer = client.create_ttl("/a", flags, ttl_ms).map(drop);
            assert_eq!(answer, Err(ErrorCode::BAD_ARGUMENTS), "flags {flags}, {ttl_ms} ms");
        }
    }
    assert_eq!(client.children("/", false), Ok(vec!["zookeeper".to_owned()]));
}

/// Events, each with its path.
type Told = &'static [(EventKind, &'static str)];

/// How a watch is set, on which znode, and what it tells of a znode `/p/z` that is reaped.
const WATCHES: [(&str, &str, Told); 9] = [
    ("exists", "/p/z", &[(EventKind::Deleted, "/p/z")]),
    ("data", "/p/z", &[(EventKind::Deleted, "/p/z")]),
    ("children", "/p/z", &[(EventKind::Deleted, "/p/z")]),
    ("persistent", "/p/z", &[(EventKind::Deleted, "/p/z")]),
    ("recursive", "/p/z", &[(EventKind::Deleted, "/p/z")]),
    ("data", "/p", &[]),
    ("children", "/p", &[(EventKind::ChildrenChanged, "/p")]),
    ("persistent", "/p", &[(EventKind::ChildrenChanged, "/p")]),
    ("recursive", "/", &[(EventKind::Deleted, "/p/z")]),
];

fn watch(client: &mut Client, how: &str, path: &str) {
    match how {
        "exists" => client.exists(path, true).map(drop),
        "data" => client.get_data(path, true).map(drop),
        "children" => client.children(path, true).map(drop),
        "persistent" => client.add_watch(path, 0),
        "recursive" => client.add_watch(path, 1),
        other => panic!("{other} sets no watch"),
    }
    .expect(path);
}

#[test]
fn whoever_watches_is_told_of_what_is_reaped_as_of_any_deletion() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    // What is to be reaped is there for as long as it takes to set the watches.
    for ensemble in ensembles(&[]) {
        let n_servers = ensemble.len();
        let mut maker = ensemble.client(0);
        maker.create("/p", b"", mode::PERSISTENT).expect("create");
        for kind in ["container", "container that held an ephemeral", "ttl"] {
            let made = match kind {
                "ttl" => maker.create_ttl("/p/z", mode::TTL, 1_500),
                _ => maker.create2("/p/z", b"", mode::CONTAINER),
            };
            made.expect(kind);
            let mut holder = ensemble.client(n_servers - 1);
            holder.sync("/").expect("sync");
            if kind != "ttl" {
                let flags = i32::from(kind != "container");
                holder.create("/p/z/child", b"", flags).expect("create");
            }
            let mut watchers: Vec<_> = (0..2 * WATCHES.len())
                .map(|n| {
                    let mut client = ensemble.client(n % n_servers);
                    client.sync("/").expect("sync");
                    client
                })
                .collect();
            for (n, client) in watchers.iter_mut().enumerate() {
                let (how, path, _) = WATCHES[n / 2];
                watch(client, how, path);
            }
            match kind {
                "container" => holder.delete("/p/z/child", -1).expect("delete"),
                "ttl" => {}
                _ => holder.close(),
            }
            until_gone(&mut maker, "/p/z");
            let mut zxids = Vec::new();
            for (n, client) in watchers.iter_mut().enumerate() {
                let (how, path, told) = WATCHES[n / 2];
                let heard = heard(client);
                let mut expected: Vec<_> = told.to_vec();
                if kind != "ttl" {
                    // The end of its last child was told before.
                    match (how, path) {
                        ("persistent", "/p/z") => {
                            expected.insert(0, (EventKind::ChildrenChanged, "/p/z"));
                        }
                        ("recursive", _) => {
                            expected.insert(0, (EventKind::Deleted, "/p/z/child"));
                        }
                        ("children", "/p/z") => {
                            expected = vec![(EventKind::ChildrenChanged, "/p/z")];
                        }
                        _ => {}
                    }
                }
                let events: Vec<_> = heard.iter().map(|(_, event)| event.clone()).collect();
                let expected: Vec<_> = expected.iter().map(|(k, p)| Event::new(*k, p)).collect();
                assert_eq!(events, expected, "{kind}: {how} {path}, {n_servers} servers");
                let of_the_end = |e: &Event| {
                    e.path == "/p" || (e.path == "/p/z" && e.kind == EventKind::Deleted)
                };
                zxids.extend(heard.iter().filter(|(_, e)| of_the_end(e)).map(|(zxid, _)| *zxid));
            }
            zxids.dedup();
            let parent = maker.exists("/p", false).expect("it is there");
            assert_eq!(zxids, [parent.pzxid], "{kind}: one txn, which the parent remembers");
        }
    }
}

/// All events up to now, each with the zxid in its header.
fn heard(client: &mut Client) -> Vec<(i64, Event)> {
    client.send(op::SYNC, Writer::new().string("/")).expect("sent");
    let mut heard = Vec::new();
    loop {
        match client.receive().expect("a message") {
            Message::Event { zxid, event } => heard.push((zxid, event)),
            Message::Reply(_) => return heard,
        }
    }
}
