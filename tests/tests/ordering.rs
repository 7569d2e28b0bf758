//! The order of requests and replies of one connection, and the zxids that replies bear.

use std::thread;

use zokor_tests::client::{Message, Part, Reply, create_record};
use zokor_tests::jute::{Reader, Writer};
use zokor_tests::records::{mode, op};
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, EventKind, Program, Shared, eventually};

const OK: ErrorCode = ErrorCode(0);

/// The zxid in the header of a reply, on a server where nothing else goes on.
#[derive(Clone, Copy, Debug)]
enum Bears {
    /// Of the txn that the request became, whether it did anything or failed.
    Own,
    /// What the server had applied when it answered.
    Last,
    /// 0.
    Zero,
}

use Bears::{Last, Own, Zero};

fn path(path: &str) -> Writer {
    Writer::new().string(path)
}

fn create(path: &str) -> Writer {
    create_record(path, b"", &Acl::open(), mode::PERSISTENT)
}

fn container(path: &str) -> Writer {
    create_record(path, b"", &Acl::open(), mode::CONTAINER)
}

fn set(path: &str, version: i32) -> Writer {
    Writer::new().string(path).buffer(b"x").int(version)
}

fn multi(paths: [&str; 2]) -> Writer {
    Part::write_all(&paths.map(|path| Part::Create(op::CREATE, path.into(), vec![], 0)))
}

fn auth(scheme: &str) -> Writer {
    Writer::new().int(0).string(scheme).buffer(b"alice:secret")
}

fn watches(path: &str) -> Writer {
    let none: [&str; 0] = [];
    Writer::new().long(i64::MAX).strings(&[path]).strings(&none).strings(&none)
}

/// Every kind of request, one after the other on one connection.
fn table() -> Vec<(&'static str, i32, Writer, ErrorCode, Bears)> {
    let acl = |version| Acl::write_all(&Acl::open(), path("/a")).int(version);
    let bool = |name: &str, watch| path(name).bool(watch);
    let int = |name: &str, n| path(name).int(n);
    vec![
        ("a create", op::CREATE, create("/a"), OK, Own),
        ("a create2", op::CREATE2, create("/b"), OK, Own),
        ("a create of a container", op::CREATE_CONTAINER, container("/c"), OK, Own),
        ("a create that fails", op::CREATE, create("/a"), ErrorCode::NODE_EXISTS, Own),
        ("a create below nothing", op::CREATE, create("/no/a"), ErrorCode::NO_NODE, Own),
        ("set data", op::SET_DATA, set("/a", 0), OK, Own),
        ("set data that fails", op::SET_DATA, set("/a", 9), ErrorCode::BAD_VERSION, Own),
        ("set ACL", op::SET_ACL, acl(0), OK, Own),
        ("set ACL that fails", op::SET_ACL, acl(9), ErrorCode::BAD_VERSION, Own),
        ("a delete", op::DELETE, int("/b", -1), OK, Own),
        ("a delete that fails", op::DELETE, int("/b", -1), ErrorCode::NO_NODE, Own),
        ("a multi", op::MULTI, multi(["/d", "/e"]), OK, Own),
        ("a multi that fails", op::MULTI, multi(["/f", "/d"]), OK, Own),
        ("a multi of nothing", op::MULTI, Part::write_all(&[]), OK, Own),
        ("a write cut short", op::CREATE, path("/g"), ErrorCode::MARSHALLING_ERROR, Last),
        ("exists", op::EXISTS, bool("/a", true), OK, Last),
        ("exists of nothing", op::EXISTS, bool("/no", true), ErrorCode::NO_NODE, Last),
        ("get data", op::GET_DATA, bool("/a", true), OK, Last),
        ("get data of nothing", op::GET_DATA, bool("/no", true), ErrorCode::NO_NODE, Last),
        ("get children", op::GET_CHILDREN, bool("/a", true), OK, Last),
        ("get children2", op::GET_CHILDREN2, bool("/", false), OK, Last),
        ("get children of nothing", op::GET_CHILDREN2, bool("/no", true), ErrorCode::NO_NODE, Last),
        ("get ACL", op::GET_ACL, path("/a"), OK, Last),
        ("get ACL of nothing", op::GET_ACL, path("/no"), ErrorCode::NO_NODE, Last),
        ("get ephemerals", op::GET_EPHEMERALS, path("/"), OK, Last),
        ("count of descendants", op::GET_ALL_CHILDREN_NUMBER, path("/"), OK, Last),
        ("who am I", op::WHO_AM_I, Writer::new(), OK, Last),
        ("multi read", op::MULTI_READ, Part::write_all(&[Part::GetData("/a".into())]), OK, Last),
        ("add watch", op::ADD_WATCH, int("/a", 0), OK, Last),
        ("add watch of no mode", op::ADD_WATCH, int("/a", 7), ErrorCode::MARSHALLING_ERROR, Last),
        ("check watches", op::CHECK_WATCHES, int("/a", 3), OK, Last),
        ("check of none", op::CHECK_WATCHES, int("/d", 3), ErrorCode::NO_WATCHER, Last),
        ("remove watches", op::REMOVE_WATCHES, int("/a", 3), OK, Last),
        ("removal of none", op::REMOVE_WATCHES, int("/a", 3), ErrorCode::NO_WATCHER, Last),
        ("set watches", op::SET_WATCHES, watches("/a"), OK, Last),
        ("set watches of nothing", op::SET_WATCHES, watches("/no"), OK, Last),
        ("a read cut short", op::GET_DATA, Writer::new(), ErrorCode::MARSHALLING_ERROR, Last),
        ("auth", op::AUTH, auth("digest"), OK, Zero),
        ("sync", op::SYNC, path("/a"), OK, Last),
        ("ping", op::PING, Writer::new(), OK, Last),
        ("a write after all that", op::SET_DATA, set("/a", -1), OK, Own),
        ("the close", op::CLOSE_SESSION, Writer::new(), OK, Own),
    ]
}

/// The next reply, with the zxids of the events before it.
fn reply(client: &mut Client) -> (Vec<i64>, Reply) {
    let mut zxids = Vec::new();
    loop {
        match client.receive().expect("a message") {
            Message::Event { zxid, .. } => zxids.push(zxid),
            Message::Reply(reply) => return (zxids, reply),
        }
    }
}

#[test]
fn each_kind_of_reply_bears_its_zxid() {
    for n_servers in [1, 3] {
        let ensemble = Ensemble::of(n_servers).start();
        for index in 0..n_servers {
            let mut client = ensemble.client(index);
            for name in ["/a", "/c", "/d", "/e"] {
                // Of the round before.
                let _ = client.delete(name, -1);
            }
            let mut last = quiet(&mut client);
            for (what, op, body, error, bears) in table() {
                if what == "a write cut short" && !Program::promises("it is no txn") {
                    continue;
                }
                let xid = client.send(op, body).expect("sent");
                let (events, reply) = reply(&mut client);
                assert_eq!((reply.xid, reply.error), (xid, error), "{what}");
                let expected = match bears {
                    Own => last + 1,
                    Last => last,
                    Zero => 0,
                };
                assert_eq!(reply.zxid, expected, "{what}");
                last = last.max(expected);
                assert!(error == OK || reply.body.is_empty(), "{what}: an error has no body");
                let own = if op == op::SET_WATCHES { -1 } else { last };
                let is_newer = Program::promises("an event bears a zxid");
                assert!(!is_newer || events.iter().all(|zxid| *zxid == own), "{what}: {events:?}");
                let fires = what == "set watches of nothing" || what == "a write after all that";
                assert_eq!(!events.is_empty(), fires, "{what}: {events:?}");
            }
            assert!(client.connection().is_closed_by_server());
        }
    }
}

/// The zxid at which a fresh ensemble has come to rest: its leader may still describe it.
fn quiet(client: &mut Client) -> i64 {
    let (mut last, mut n_same) = (0, 0);
    eventually("nothing is written", || {
        client.sync("/").expect("sync");
        n_same = if client.last_zxid == last { n_same + 1 } else { 0 };
        last = client.last_zxid;
        (n_same == 40).then_some(last)
    })
}

#[test]
fn what_ends_the_connection_says_so_with_the_zxid_of_no_txn() {
    if !Program::promises("what ends a connection overtakes nothing") {
        return;
    }
    let shared = Shared::join();
    let ends = [
        ("an unknown request", 999, Writer::new(), ErrorCode::UNIMPLEMENTED, -1),
        ("an unknown scheme", op::AUTH, auth("no-such"), ErrorCode::AUTH_FAILED, 0),
    ];
    for (what, op, body, error, zxid) in ends {
        let mut client = shared.client(1);
        client.send(op::PING, Writer::new()).expect("sent");
        let xid = client.send(op, body).expect("sent");
        let (_, ping) = reply(&mut client);
        assert_eq!(ping.xid, -2, "{what}");
        let (_, last) = reply(&mut client);
        assert_eq!((last.xid, last.error, last.zxid), (xid, error, zxid), "{what}");
        assert!(last.body.is_empty());
        assert!(client.connection().is_closed_by_server(), "{what}");
    }
}

#[test]
fn any_xid_is_echoed_but_that_of_a_ping() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let xids = [1, 1, 0, -1, -2, -4, -8, 7, 3, i32::MAX, i32::MIN];
    for xid in xids {
        for (op, body) in [(op::EXISTS, path("/").bool(false)), (op::PING, Writer::new())] {
            let request = Writer::new().int(xid).int(op).raw(&body.0).0;
            client.connection().send(&request).expect("sent");
            let mut r = Reader::new(client.connection().receive().expect("a reply"));
            let expected = if op == op::PING { -2 } else { xid };
            assert_eq!((r.int(), r.long() > 0, r.int()), (expected, true, 0));
        }
    }
}

#[test]
fn replies_of_a_long_pipeline_come_in_order_and_show_what_was_asked_before() {
    const ROUNDS: i32 = 120;
    let shared = Shared::join();
    for index in 0..3 {
        let (mut client, a) = (shared.client(index), shared.at(&format!("/{index}")));
        client.create(&a, b"", 0).expect("create");
        let mut asked = Vec::new();
        for round in 0..ROUNDS {
            let child = format!("{a}/{round:03}");
            let requests = [
                (op::SET_DATA, set(&a, round)),
                (op::GET_DATA, path(&a).bool(false)),
                (op::PING, Writer::new()),
                (op::CREATE, create(&child)),
                (op::CREATE, create(&child)),
                (op::SYNC, path(&child)),
                (op::GET_CHILDREN2, path(&a).bool(false)),
                (op::DELETE, path(&child).int(if round % 2 == 0 { 0 } else { 9 })),
                (op::EXISTS, path(&child).bool(false)),
            ];
            for (op, body) in requests {
                asked.push(client.send(op, body).expect("sent"));
            }
        }
        let mut zxid = 0;
        for (n, xid) in asked.into_iter().enumerate() {
            let (_, reply) = reply(&mut client);
            assert_eq!(reply.xid, xid, "request {n}");
            assert!(reply.zxid >= zxid, "request {n}");
            zxid = reply.zxid;
            let (round, error, mut r) = (n as i32 / 9, reply.error, Reader::new(reply.body));
            let is_kept = round % 2 == 1;
            match n % 9 {
                1 => {
                    assert_eq!(r.buffer(), Some(b"x".to_vec()));
                    r.take(32);
                    assert_eq!(r.int(), round + 1, "the version after the write before it");
                }
                4 => assert_eq!(error, ErrorCode::NODE_EXISTS, "the one before it is counted"),
                5 => assert_eq!(r.string(), format!("{a}/{round:03}"), "the path comes back"),
                6 => {
                    let n_children = r.vector(Reader::string).len() as i32;
                    assert_eq!(n_children, round / 2 + 1, "round {round}");
                }
                7 => assert_eq!(error, if is_kept { ErrorCode::BAD_VERSION } else { OK }),
                8 => assert_eq!(error, if is_kept { OK } else { ErrorCode::NO_NODE }),
                _ => assert_eq!(error, OK),
            }
        }
    }
}

#[test]
fn a_read_sees_nothing_that_was_asked_after_it() {
    let shared = Shared::join();
    for index in 0..3 {
        let (mut client, a) = (shared.client(index), shared.at(&format!("/{index}")));
        client.create(&a, b"", 0).expect("create");
        for _ in 0..40 {
            client.send(op::GET_DATA, path(&a).bool(false)).expect("sent");
            client.send(op::SET_DATA, set(&a, -1)).expect("sent");
        }
        for version in 0..40 {
            let mut r = Reader::new(reply(&mut client).1.body);
            r.buffer();
            r.take(32);
            assert_eq!(r.int(), version);
            assert_eq!(reply(&mut client).1.error, OK);
        }
    }
}

#[test]
fn a_sync_holds_up_what_comes_after_it_and_echoes_any_path() {
    let shared = Shared::join();
    let (mut writer, mut reader) = (shared.client(0), shared.client(2));
    let a = shared.at("/a");
    writer.create(&a, b"", 0).expect("create");
    for round in 0..60 {
        let stat = writer.set_data(&a, b"", -1).expect("set");
        // One burst: a read that may be old, the barrier, a read that may not, a write, a read.
        let asked = [
            reader.send(op::GET_DATA, path(&a).bool(false)),
            reader.send(op::SYNC, path(&a)),
            reader.send(op::GET_DATA, path(&a).bool(false)),
            reader.send(op::SET_DATA, set(&a, -1)),
            reader.send(op::GET_DATA, path(&a).bool(false)),
        ];
        let replies: Vec<Reply> = asked.iter().map(|_| reply(&mut reader).1).collect();
        let version = |n: usize| {
            let mut r = Reader::new(replies[n].body.clone());
            r.buffer();
            r.take(32);
            r.int()
        };
        assert!(replies.iter().map(|reply| Ok(reply.xid)).eq(asked), "round {round}");
        assert!(replies.iter().map(|reply| reply.zxid).is_sorted(), "round {round}");
        if !Program::promises("a sync waits for what was acknowledged elsewhere") {
            continue;
        }
        assert!(replies[1].zxid >= stat.mzxid, "round {round}: the barrier is behind the write");
        assert_eq!((version(2), version(4)), (stat.version, stat.version + 1), "round {round}");
    }
    for odd in ["", "/", "no path", "/no/such/znode", "/ends/", "//"] {
        assert_eq!(reader.sync(odd).as_deref(), Ok(odd));
    }
}

#[test]
fn zxids_never_go_back_on_a_connection_events_and_errors_included() {
    let shared = Shared::join();
    let a = shared.at("/a");
    shared.client(0).create(&a, b"", 0).expect("create");
    thread::scope(|scope| {
        for index in 0..3 {
            let (mut writer, a) = (shared.client(index), &a);
            scope.spawn(move || {
                for n in 0..80 {
                    let child = format!("{a}/{index}-{n}");
                    writer.create(&child, b"", 0).expect("create");
                    writer.delete(&child, if n % 4 == 0 { 9 } else { -1 }).err();
                }
            });
            let mut reader = shared.client(index);
            scope.spawn(move || {
                reader.sync("/").expect("sync");
                reader.add_watch(a, 0).expect("added");
                reader.add_watch(a, 1).expect("added");
                let mut last = reader.last_zxid;
                let mut n_events = 0;
                for n in 0..150 {
                    let (op, body) = match n % 5 {
                        0 => (op::GET_CHILDREN, path(a).bool(true)),
                        1 => (op::EXISTS, path("/none/such").bool(false)),
                        2 => (op::SET_DATA, set(a, 1_000_000)),
                        3 => (op::PING, Writer::new()),
                        _ => (op::SYNC, path(a)),
                    };
                    reader.send(op, body).expect("sent");
                    let (events, reply) = reply(&mut reader);
                    let all = [&[last][..], &events[..], &[reply.zxid]].concat();
                    let is_newer = Program::promises("an event bears a zxid");
                    assert!(!is_newer || all.is_sorted(), "{n}: {all:?}");
                    last = reply.zxid;
                    n_events += events.len();
                }
                assert!(n_events > 0, "the writers were at work meanwhile");
            });
        }
    });
}

#[test]
fn nothing_is_answered_after_a_close_or_done() {
    let shared = Shared::join();
    let (mut client, a) = (shared.client(1), shared.at("/a"));
    let before = client.send(op::CREATE, create(&a)).expect("sent");
    let close = client.send(op::CLOSE_SESSION, Writer::new()).expect("sent");
    client.send(op::SET_DATA, set(&a, -1)).expect("sent");
    client.send(op::PING, Writer::new()).expect("sent");
    assert_eq!(reply(&mut client).1.xid, before);
    let (_, last) = reply(&mut client);
    assert_eq!((last.xid, last.error, last.body), (close, OK, vec![]));
    if Program::promises("nothing is answered after a close") {
        assert!(client.connection().is_closed_by_server());
    }
    let mut other = shared.client(0);
    other.sync("/").expect("sync");
    assert_eq!(other.exists(&a, false).map(|stat| stat.version), Ok(0));
}

#[test]
fn of_the_writes_of_a_lost_connection_the_first_ones_are_done() {
    const N: usize = 200;
    let shared = Shared::join();
    for index in 0..3 {
        let a = shared.at(&format!("/{index}"));
        let mut other = shared.client(index);
        other.create(&a, b"", 0).expect("create");
        let mut client = shared.client(index);
        for n in 0..N {
            client.send(op::CREATE, create(&format!("{a}/{n:03}"))).expect("sent");
        }
        // One reply is awaited, so that some are under way; the others never come.
        assert_eq!(reply(&mut client).1.error, OK);
        drop(client);
        let mut n_before = 0;
        let names = eventually("nothing is under way", || {
            other.sync("/").expect("sync");
            let names = other.children(&a, false).expect("it is there");
            let done = n_before == names.len();
            n_before = names.len();
            done.then_some(names)
        });
        let first: Vec<String> = (0..names.len()).map(|n| format!("{n:03}")).collect();
        assert_eq!(names, first, "no gap");
        assert!(!names.is_empty());
    }
}

#[test]
fn a_watch_set_in_a_pipeline_sees_what_comes_after_it_and_nothing_before() {
    let shared = Shared::join();
    for index in 0..3 {
        let (mut client, a) = (shared.client(index), shared.at(&format!("/{index}")));
        client.send(op::CREATE, create(&a)).expect("sent");
        client.send(op::SET_DATA, set(&a, -1)).expect("sent");
        client.send(op::GET_DATA, path(&a).bool(true)).expect("sent");
        client.send(op::ADD_WATCH, path(&a).int(0)).expect("sent");
        client.send(op::SET_DATA, set(&a, -1)).expect("sent");
        client.send(op::REMOVE_WATCHES, path(&a).int(3)).expect("sent");
        client.send(op::SET_DATA, set(&a, -1)).expect("sent");
        let mut seen = Vec::new();
        while seen.len() < 8 {
            match client.receive().expect("a message") {
                Message::Reply(reply) => seen.push((reply.error == OK, None)),
                Message::Event { event, .. } => seen.push((true, Some(event.kind))),
            }
        }
        let expected = [None, None, None, None, Some(EventKind::DataChanged), None, None, None];
        assert_eq!(seen, expected.map(|event| (true, event)));
    }
}
