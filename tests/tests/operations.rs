//! Every operation once through its answers: records, stat fields, error codes and their order.

use zokor_tests::jute::Writer;
use zokor_tests::records::{mode, op};
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, Shared, Stat};

#[test]
fn a_fresh_tree_has_the_reserved_znodes() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    assert_eq!(client.children("/", false), Ok(vec!["zookeeper".into()]));
    assert_eq!(client.children("/zookeeper", false), Ok(vec!["config".into(), "quota".into()]));
    let root = client.exists("/", false).expect("the root is there");
    assert_eq!((root.cversion, root.num_children, root.czxid, root.ctime), (-1, 1, 0, 0));
    let zookeeper = client.exists("/zookeeper", false).expect("it is there");
    assert_eq!((zookeeper.cversion, zookeeper.num_children), (-2, 2));
    assert_eq!(client.count_descendants("/"), Ok(3));
    let (config, _) = client.get_data("/zookeeper/config", false).expect("it is readable");
    assert_eq!(config.unwrap_or_default(), b"");
}

#[test]
fn the_config_znode_names_the_servers() {
    let shared = Shared::join();
    let config = shared.client(1).get("/zookeeper/config").expect("it is readable");
    let config = String::from_utf8(config).expect("it is text");
    for id in 1..=3 {
        let line = config.lines().find(|line| line.starts_with(&format!("server.{id}=127.0.0.1:")));
        assert!(line.is_some_and(|line| line.contains(":participant")), "{config}");
    }
    let version = config.lines().find_map(|line| line.strip_prefix("version="));
    assert!(version.is_some_and(|v| i64::from_str_radix(v, 16).is_ok()), "{config}");
}

#[test]
fn create_answers_with_the_path_and_the_znode_reads_back() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(0), shared.at("/a"));
    assert_eq!(client.create(&path, b"one", mode::PERSISTENT), Ok(path.clone()));
    let (data, stat) = client.get_data(&path, false).expect("it is there");
    assert_eq!(data.as_deref(), Some(&b"one"[..]));
    assert_eq!(client.exists(&path, false), Ok(stat));
    assert!(stat.czxid > 0 && stat.ctime > 1_700_000_000_000);
    let expected = Stat {
        czxid: stat.czxid,
        mzxid: stat.czxid,
        pzxid: stat.czxid,
        ctime: stat.ctime,
        mtime: stat.ctime,
        version: 0,
        cversion: 0,
        aversion: 0,
        ephemeral_owner: 0,
        data_length: 3,
        num_children: 0,
    };
    assert_eq!(stat, expected);
}

#[test]
fn create2_answers_with_the_stat() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    for (name, flags) in [
        ("/p", mode::PERSISTENT),
        ("/e", mode::EPHEMERAL),
        ("/s-", mode::SEQUENTIAL),
        ("/es-", mode::EPHEMERAL_SEQUENTIAL),
        ("/c", mode::CONTAINER),
    ] {
        let asked = shared.at(name);
        let (path, stat) = client.create2(&asked, b"12345", flags).expect("create2");
        assert!(path.starts_with(&asked));
        assert_eq!(path.len() - asked.len(), if name.ends_with('-') { 10 } else { 0 });
        assert_eq!((stat.version, stat.data_length, stat.num_children), (0, 5, 0));
        assert_eq!((stat.czxid, stat.czxid), (stat.mzxid, stat.pzxid));
        assert_eq!(client.exists(&path, false), Ok(stat));
        let ephemeral = flags == mode::EPHEMERAL || flags == mode::EPHEMERAL_SEQUENTIAL;
        let owner = if ephemeral { client.granted.session } else { 0 };
        assert_eq!(stat.ephemeral_owner, owner, "{name}");
    }
}

#[test]
fn null_data_stays_null_and_empty_stays_empty() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let path = shared.at("/null");
    let body = Acl::write_all(&Acl::open(), Writer::new().string(&path).null()).int(0);
    assert_eq!(client.ask(op::CREATE, body).expect("create").error, ErrorCode(0));
    let (data, stat) = client.get_data(&path, false).expect("it is there");
    assert_eq!((data, stat.data_length), (None, 0));
    client.set_data(&path, b"", -1).expect("set");
    assert_eq!(client.get_data(&path, false).expect("it is there").0, Some(vec![]));
}

#[test]
fn half_a_megabyte_reads_back_as_written() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(0), shared.at("/large"));
    let data: Vec<u8> = (0..500_000).map(|i: u32| (i * 7 % 251) as u8).collect();
    client.create(&path, &data, mode::PERSISTENT).expect("create");
    assert_eq!(client.get(&path), Ok(data));
}

#[test]
fn create_refuses_in_the_documented_order() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    client.create(&shared.at("/a"), b"", mode::PERSISTENT).expect("create");
    client.create(&shared.at("/e"), b"", mode::EPHEMERAL).expect("create");
    let root = &shared.root;
    let rows: Vec<(String, i32, ErrorCode)> = vec![
        ("/".into(), 0, ErrorCode::NODE_EXISTS),
        ("foo".into(), 0, ErrorCode::BAD_ARGUMENTS),
        (String::new(), 0, ErrorCode::BAD_ARGUMENTS),
        ("//a".into(), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/a"), 0, ErrorCode::NODE_EXISTS),
        (format!("{root}/a/"), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/no/"), 0, ErrorCode::NO_NODE),
        (format!("{root}/no/b"), 0, ErrorCode::NO_NODE),
        (format!("{root}/a//b"), 0, ErrorCode::NO_NODE),
        (format!("{root}/."), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/.."), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/./x"), 0, ErrorCode::NO_NODE),
        (format!("{root}/x\u{0}y"), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/x\u{1}y"), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/x\u{1f}"), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/x\u{7f}"), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/x\u{9f}"), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/x\u{e000}"), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/x\u{fff0}"), 0, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/e/child"), 0, ErrorCode::NO_CHILDREN_FOR_EPHEMERALS),
        (format!("{root}/b"), 7, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/b"), -1, ErrorCode::BAD_ARGUMENTS),
        // Flags before the path, the path before the parent's kind.
        ("foo".into(), 99, ErrorCode::BAD_ARGUMENTS),
        (format!("{root}/e/x\u{1}"), 0, ErrorCode::BAD_ARGUMENTS),
    ];
    for (path, flags, code) in rows {
        assert_eq!(client.create(&path, b"", flags), Err(code), "{path:?} flags {flags}");
    }
    let body = Acl::write_all(&Acl::open(), Writer::new().null().buffer(b"")).int(0);
    let reply = client.ask(op::CREATE, body).expect("create");
    assert_eq!(reply.error, ErrorCode::MARSHALLING_ERROR, "a null path");
    let no_acl = client.create_with_acl(&shared.at("/no/b"), &[]);
    assert_eq!(no_acl, Err(ErrorCode::INVALID_ACL), "the ACL before the parent");
    let no_acl = client.create_with_acl("foo", &[]);
    assert_eq!(no_acl, Err(ErrorCode::BAD_ARGUMENTS), "the slash before the ACL");
    assert_eq!(client.children(root, false), Ok(vec!["a".into(), "e".into()]));
}

#[test]
fn unusual_names_are_allowed() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let names =
        [" ", "~", "\u{a0}", "\u{d7ff}", "\u{f900}", "\u{ffef}", "...", ".a", "a..b", "a@b"];
    for name in names {
        let path = shared.at(&format!("/{name}"));
        assert_eq!(client.create(&path, b"", 0), Ok(path), "{name:?}");
    }
    let mut expected: Vec<String> = names.map(String::from).to_vec();
    expected.sort();
    assert_eq!(client.children(&shared.root, false), Ok(expected));
}

#[test]
fn delete_refuses_in_the_documented_order() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let (a, b) = (shared.at("/a"), shared.at("/a/b"));
    client.create(&a, b"", 0).expect("create");
    client.create(&b, b"", 0).expect("create");
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "foo", ""] {
        assert_eq!(client.delete(path, -1), Err(ErrorCode::BAD_ARGUMENTS), "{path:?}");
    }
    assert_eq!(client.delete(&shared.at("/no"), -1), Err(ErrorCode::NO_NODE));
    assert_eq!(client.delete(&shared.at("/no/no"), -1), Err(ErrorCode::NO_NODE));
    assert_eq!(client.delete(&shared.at("/a/"), -1), Err(ErrorCode::NO_NODE));
    assert_eq!(client.delete(&a, 1), Err(ErrorCode::BAD_VERSION), "before the children");
    assert_eq!(client.delete(&a, 0), Err(ErrorCode::NOT_EMPTY));
    assert_eq!(client.delete(&b, 0), Ok(()));
    assert_eq!(client.delete(&a, -1), Ok(()));
    assert_eq!(client.exists(&a, false), Err(ErrorCode::NO_NODE));
}

#[test]
fn set_data_moves_version_mzxid_and_length_only() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(1), shared.at("/a"));
    let (_, before) = client.create2(&path, b"1", 0).expect("create");
    let after = client.set_data(&path, b"22", 0).expect("set");
    assert!(after.mzxid > before.mzxid && after.mtime >= before.mtime);
    let expected =
        Stat { mzxid: after.mzxid, mtime: after.mtime, version: 1, data_length: 2, ..before };
    assert_eq!(after, expected);
    assert_eq!(client.set_data(&path, b"22", -1).expect("set").version, 2, "same data counts");
    assert_eq!(client.set_data(&path, b"", 1), Err(ErrorCode::BAD_VERSION));
    assert_eq!(client.set_data(&path, b"", 3), Err(ErrorCode::BAD_VERSION));
    assert_eq!(client.set_data(&shared.at("/no"), b"", 3), Err(ErrorCode::NO_NODE));
    for bad in ["foo", "", "/a/", "//", "/."] {
        assert_eq!(client.set_data(bad, b"", -1), Err(ErrorCode::BAD_ARGUMENTS), "{bad:?}");
    }
    assert_eq!(client.get(&path), Ok(b"22".to_vec()));
}

#[test]
fn children_count_in_the_parents_stat() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(2), shared.at("/p"));
    let (_, fresh) = client.create2(&path, b"", 0).expect("create");
    let mut last = 0;
    for index in 0..10 {
        last = client.create2(&format!("{path}/{index}"), b"", 0).expect("create").1.czxid;
    }
    let full = client.exists(&path, false).expect("it is there");
    assert_eq!(full, Stat { cversion: 10, num_children: 10, pzxid: last, ..fresh });
    client.delete(&format!("{path}/3"), -1).expect("delete");
    let less = client.exists(&path, false).expect("it is there");
    assert!(less.pzxid > last);
    assert_eq!(less, Stat { cversion: 11, num_children: 9, pzxid: less.pzxid, ..fresh });
    client.set_data(&format!("{path}/4"), b"x", -1).expect("set");
    client.create(&format!("{path}/4/deep"), b"", 0).expect("create");
    assert_eq!(client.exists(&path, false), Ok(less), "grandchildren do not matter");
    let (names, stat) = client.children2(&path, false).expect("it is there");
    assert_eq!((names.len(), stat), (9, less));
    assert_eq!(client.children(&path, false), Ok(names));
    assert_eq!(client.count_descendants(&path), Ok(10));
}

#[test]
fn reads_of_missing_and_odd_paths_have_their_codes() {
    let shared = Shared::join();
    let (mut client, no) = (shared.client(0), shared.at("/no"));
    assert_eq!(client.exists(&no, false), Err(ErrorCode::NO_NODE));
    assert_eq!(client.get_data(&no, false), Err(ErrorCode::NO_NODE));
    assert_eq!(client.children(&no, false), Err(ErrorCode::NO_NODE));
    assert_eq!(client.children2(&no, false), Err(ErrorCode::NO_NODE));
    assert_eq!(client.acl(&no), Err(ErrorCode::NO_NODE));
    assert_eq!(client.count_descendants(&no), Err(ErrorCode::NO_NODE));
    assert_eq!(client.exists("/\u{0}", false), Err(ErrorCode::BAD_ARGUMENTS));
    assert_eq!(client.get(&shared.at("/")), Err(ErrorCode::NO_NODE));
    assert_eq!(client.get(""), client.get("/"), "the empty path is the root");
    let null = |client: &mut Client, op| {
        client.ask(op, Writer::new().null().bool(false)).expect("an answer").error
    };
    assert_eq!(null(&mut client, op::EXISTS), ErrorCode::MARSHALLING_ERROR);
    assert_eq!(null(&mut client, op::GET_DATA), ErrorCode::MARSHALLING_ERROR);
    assert_eq!(null(&mut client, op::GET_CHILDREN), ErrorCode::MARSHALLING_ERROR);
}

#[test]
fn a_failed_write_takes_a_zxid_and_a_read_takes_none() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    let read = |client: &mut Client| {
        let body = Writer::new().string("/").bool(false);
        client.ask(op::EXISTS, body).expect("an answer").zxid
    };
    let first = read(&mut client);
    assert_eq!(read(&mut client), first);
    let body = Writer::new().string("/no").int(-1);
    let failed = client.ask(op::DELETE, body).expect("an answer");
    assert_eq!((failed.error, failed.zxid), (ErrorCode::NO_NODE, first + 1));
    assert_eq!(read(&mut client), first + 1);
}

#[test]
fn sync_echoes_any_path() {
    let shared = Shared::join();
    for index in 0..3 {
        let mut client = shared.client(index);
        for path in ["/", "/no/such/znode", "not a path", ""] {
            assert_eq!(client.sync(path), Ok(path.into()));
        }
    }
}

#[test]
fn a_ping_answers_with_its_own_xid_after_what_came_before() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let xid = client.send(op::SYNC, Writer::new().string("/")).expect("sent");
    client.send(op::PING, Writer::new()).expect("sent");
    for expected in [xid, -2] {
        match client.receive() {
            Ok(zokor_tests::client::Message::Reply(reply)) => assert_eq!(reply.xid, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let shared = Shared::join();
    for index in 0..3 {
        let mut client = shared.client(index);
        let path = shared.at(&format!("/{index}"));
        client.create(&path, b"", 0).expect("create");
        let mut expected = Vec::new();
        for version in 0..50 {
            let set = Writer::new().string(&path).buffer(version.to_string().as_bytes()).int(-1);
            expected.push((client.send(op::SET_DATA, set).expect("sent"), None));
            let get = Writer::new().string(&path).bool(false);
            let xid = client.send(op::GET_DATA, get).expect("sent");
            expected.push((xid, Some(version.to_string())));
        }
        for (xid, data) in expected {
            let Ok(zokor_tests::client::Message::Reply(reply)) = client.receive() else {
                panic!("a reply is due")
            };
            assert_eq!((reply.xid, reply.error), (xid, ErrorCode(0)));
            if let Some(data) = data {
                let read = zokor_tests::jute::Reader::new(reply.body).buffer();
                assert_eq!(read, Some(data.into_bytes()), "a read sees the write before it");
            }
        }
    }
}

#[test]
fn xids_may_be_any_number_and_come_back() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    for xid in [i32::MAX, 0, 5, 5, -3, i32::MIN] {
        let payload = Writer::new().int(xid).int(op::SYNC).string("/").0;
        client.connection().send(&payload).expect("sent");
        match client.receive() {
            Ok(zokor_tests::client::Message::Reply(reply)) => assert_eq!(reply.xid, xid),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn get_ephemerals_lists_the_own_ones_by_prefix() {
    let shared = Shared::join();
    let (mut mine, mut other) = (shared.client(0), shared.client(1));
    assert_eq!(mine.ephemerals("/"), Ok(vec![]));
    for name in ["/ab", "/ac", "/b"] {
        mine.create(&shared.at(name), b"", mode::EPHEMERAL).expect("create");
    }
    other.create(&shared.at("/abc"), b"", mode::EPHEMERAL).expect("create");
    let all: Vec<String> = ["/ab", "/ac", "/b"].map(|name| shared.at(name)).to_vec();
    assert_eq!(mine.ephemerals("/"), Ok(all.clone()));
    assert_eq!(mine.ephemerals(""), Ok(all.clone()));
    assert_eq!(mine.ephemerals(&shared.at("/a")), Ok(all[..2].to_vec()), "plain text, not a path");
    assert_eq!(mine.ephemerals("/none"), Ok(vec![]));
    assert_eq!(other.ephemerals("/"), Ok(vec![shared.at("/abc")]));
}

#[test]
fn ttl_znodes_are_made_within_their_limits() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let ttl = |client: &mut Client, name: &str, flags, ttl_ms| {
        client.create_ttl(&shared.at(name), flags, ttl_ms).map(|(_, stat)| stat.ephemeral_owner)
    };
    assert_eq!(ttl(&mut client, "/a", mode::TTL, 1_000_000), Ok(0));
    assert_eq!(ttl(&mut client, "/b-", mode::TTL + 1, 0xff_ffff_ffff), Ok(0));
    for bad in [0, -1, 0x100_0000_0000] {
        assert_eq!(ttl(&mut client, "/c", mode::TTL, bad), Err(ErrorCode::BAD_ARGUMENTS));
    }
    let plain = client.create(&shared.at("/c"), b"", mode::TTL);
    assert_eq!(plain, Err(ErrorCode::BAD_ARGUMENTS), "op 1 has no time to live");
    let names = client.children(&shared.root, false).expect("children");
    assert_eq!(names, ["a", "b-0000000001"]);
}

#[test]
fn ttl_znodes_are_unimplemented_unless_switched_on() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    assert_eq!(client.create_ttl("/a", mode::TTL, 1000), Err(ErrorCode::UNIMPLEMENTED));
    assert_eq!(client.sync("/"), Ok("/".into()), "the connection lives on");
}

#[test]
fn leader_and_followers_answer_alike() {
    let shared = Shared::join();
    let walk = |index: usize| {
        let mut client = shared.client(index);
        let path = shared.at(&format!("/walk{index}"));
        let mut codes: Vec<Result<(), ErrorCode>> = Vec::new();
        codes.push(client.create(&path, b"x", 0).map(drop));
        codes.push(client.create(&path, b"x", 0).map(drop));
        codes.push(client.create2(&format!("{path}/k"), b"x", 0).map(drop));
        codes.push(client.delete(&path, -1));
        codes.push(client.set_data(&path, b"y", 1).map(drop));
        codes.push(client.set_data(&path, b"y", 0).map(drop));
        codes.push(client.children(&path, false).map(drop));
        codes.push(client.children2(&path, false).map(drop));
        codes.push(client.acl(&path).map(drop));
        codes.push(client.set_acl(&path, &Acl::open(), 1).map(drop));
        codes.push(client.set_acl(&path, &Acl::open(), 0).map(drop));
        codes.push(client.delete(&format!("{path}/k"), 0));
        codes.push(client.delete(&path, -1));
        codes.push(client.exists(&path, false).map(drop));
        codes.push(client.sync(&path).map(drop));
        codes
    };
    let expected = walk(0);
    assert_eq!(expected.iter().filter(|code| code.is_ok()).count(), 10);
    assert_eq!(walk(1), expected);
    assert_eq!(walk(2), expected);
}
