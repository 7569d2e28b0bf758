//! All or nothing: multi, and its reading sister that is neither.

use zokor_tests::client::Part;
use zokor_tests::client::{Message, create_record};
use zokor_tests::jute::Writer;
use zokor_tests::records::{Acl, mode, op, perms};
use zokor_tests::{Client, ErrorCode, Event, EventKind, Program, Shared};

fn create(path: &str) -> Part {
    Part::Create(op::CREATE, path.into(), b"".to_vec(), mode::PERSISTENT)
}

fn set(path: &str, data: &[u8], version: i32) -> Part {
    Part::SetData(path.into(), data.to_vec(), version)
}

fn check(path: &str, version: i32) -> Part {
    Part::Check(path.into(), version)
}

fn delete(path: &str, version: i32) -> Part {
    Part::Delete(path.into(), version)
}

fn failed(codes: &[ErrorCode]) -> Vec<Part> {
    codes.iter().map(|code| Part::Failed(*code)).collect()
}

const OK: ErrorCode = ErrorCode(0);

#[test]
fn results_carry_their_own_types_and_one_zxid() {
    let shared = Shared::join();
    for index in 0..3 {
        let mut client = shared.client(index);
        let (a, b) = (shared.at(&format!("/a{index}")), shared.at(&format!("/b{index}")));
        let parts = [
            create(&a),
            Part::Create(op::CREATE2, b.clone(), b"12".to_vec(), mode::PERSISTENT),
            set(&a, b"x", 0),
            check(&a, 1),
            delete(&a, 1),
        ];
        let results = client.multi(&parts).expect("multi");
        assert_eq!(results.len(), 5);
        assert_eq!(results[0], Part::Created(a.clone()));
        let stat = client.exists(&b, false).expect("it is there");
        // Since 3.8.2 create2 keeps its own result inside a multi.
        if Program::promises("create2 in a multi answers with a stat") {
            assert_eq!(results[1], Part::Created2(b, stat));
        }
        let Part::DataSet(set) = &results[2] else { panic!("{results:?}") };
        assert_eq!((set.version, set.mzxid), (1, stat.czxid));
        assert_eq!(results[3..], [Part::Done(op::CHECK), Part::Done(op::DELETE)]);
        assert_eq!(client.exists(&a, false), Err(ErrorCode::NO_NODE));
    }
}

#[test]
fn an_empty_multi_has_no_results_and_takes_a_zxid() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let before = client.last_zxid;
    assert_eq!(client.multi(&[]), Ok(vec![]));
    assert!(client.last_zxid > before);
}

#[test]
fn one_failure_undoes_all() {
    let shared = Shared::join();
    for index in 0..3 {
        let mut client = shared.client(index);
        let (a, b) = (shared.at(&format!("/a{index}")), shared.at(&format!("/b{index}")));
        let before = client.exists(&shared.root, false).expect("it is there");
        let parts = [create(&a), set(&a, b"x", 0), check(&a, 7), create(&b), delete(&a, -1)];
        let late = ErrorCode::RUNTIME_INCONSISTENCY;
        let codes = [OK, OK, ErrorCode::BAD_VERSION, late, late];
        assert_eq!(client.multi(&parts), Ok(failed(&codes)));
        assert_eq!(client.exists(&shared.root, false), Ok(before), "no trace in the parent");
        assert_eq!(client.exists(&a, false), Err(ErrorCode::NO_NODE));
        assert_eq!(client.exists(&b, false), Err(ErrorCode::NO_NODE));
    }
}

#[test]
fn later_parts_see_earlier_ones() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let (a, child) = (shared.at("/a"), shared.at("/a/child"));
    let parts = [
        create(&a),
        create(&child),
        set(&child, b"1", 0),
        set(&child, b"2", 1),
        delete(&child, 2),
        delete(&a, 0),
    ];
    let results = client.multi(&parts).expect("multi");
    assert!(results.iter().all(|part| !matches!(part, Part::Failed(_))), "{results:?}");
    assert_eq!(client.children(&shared.root, false), Ok(vec![]));
}

#[test]
fn two_sets_of_one_version_conflict() {
    let shared = Shared::join();
    let (mut client, a) = (shared.client(2), shared.at("/a"));
    client.create(&a, b"", 0).expect("create");
    let results = client.multi(&[set(&a, b"1", 0), set(&a, b"2", 0)]);
    assert_eq!(results, Ok(failed(&[OK, ErrorCode::BAD_VERSION])));
    assert_eq!(client.exists(&a, false).expect("it is there").version, 0);
    let results = client.multi(&[delete(&a, 0), set(&a, b"", -1)]);
    assert_eq!(results, Ok(failed(&[OK, ErrorCode::NO_NODE])));
    assert!(client.exists(&a, false).is_ok());
}

#[test]
fn a_failed_multi_uses_no_sequence_numbers() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let sequential =
        |name: &str| Part::Create(op::CREATE, shared.at(name), b"".to_vec(), mode::SEQUENTIAL);
    let results = client.multi(&[sequential("/n-"), sequential("/n-"), check("/no", 0)]);
    assert_eq!(results, Ok(failed(&[OK, OK, ErrorCode::NO_NODE])));
    let results = client.multi(&[sequential("/n-"), sequential("/m-")]);
    let expected = ["/n-0000000000", "/m-0000000001"].map(|name| Part::Created(shared.at(name)));
    assert_eq!(results, Ok(expected.to_vec()));
}

#[test]
fn ephemerals_of_a_multi_belong_to_its_session() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let path = shared.at("/e");
    let part = Part::Create(op::CREATE, path.clone(), b"".to_vec(), mode::EPHEMERAL);
    client.multi(&[part]).expect("multi");
    assert_eq!(client.ephemerals("/"), Ok(vec![path.clone()]));
    client.close();
    let mut other = shared.client(1);
    assert_eq!(other.exists(&path, false), Err(ErrorCode::NO_NODE));
}

#[test]
fn watches_fire_for_a_multi_in_the_order_of_its_parts_or_not_at_all() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let (a, b) = (shared.at("/a"), shared.at("/b"));
    client.create(&a, b"", 0).expect("create");
    client.get_data(&a, true).expect("it is there");
    assert_eq!(client.exists(&b, true), Err(ErrorCode::NO_NODE));
    client.multi(&[create(&b), set(&a, b"", 0), check(&a, 9)]).expect("multi");
    assert_eq!(client.events(), []);
    client.multi(&[create(&b), set(&a, b"", 0)]).expect("multi");
    let expected = [Event::new(EventKind::Created, &b), Event::new(EventKind::DataChanged, &a)];
    assert_eq!(client.events(), expected);
}

#[test]
fn each_part_fails_with_its_own_code() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let (a, kid) = (shared.at("/a"), shared.at("/a/kid"));
    client.create(&a, b"", 0).expect("create");
    client.create(&kid, b"", 0).expect("create");
    let rows = [
        (create(&a), ErrorCode::NODE_EXISTS),
        (create("relative"), ErrorCode::BAD_ARGUMENTS),
        (create(&shared.at("/no/b")), ErrorCode::NO_NODE),
        (delete(&a, -1), ErrorCode::NOT_EMPTY),
        (delete("/", -1), ErrorCode::BAD_ARGUMENTS),
        (set(&a, b"", 4), ErrorCode::BAD_VERSION),
        (set(&shared.at("/no"), b"", -1), ErrorCode::NO_NODE),
        (check(&shared.at("/no"), -1), ErrorCode::NO_NODE),
        (check("relative", -1), ErrorCode::BAD_ARGUMENTS),
    ];
    for (part, code) in rows {
        assert_eq!(client.multi(std::slice::from_ref(&part)), Ok(failed(&[code])), "{part:?}");
    }
    let results = client.multi(&[check(&a, -1), check(&a, 0)]);
    assert_eq!(results, Ok(vec![Part::Done(op::CHECK), Part::Done(op::CHECK)]));
}

#[test]
fn what_does_not_belong_in_a_multi_is_a_marshalling_error() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let mixed = [create(&shared.at("/a")), Part::GetData(shared.at(""))];
    assert_eq!(client.multi(&mixed), Err(ErrorCode::MARSHALLING_ERROR));
    let nested = Writer::new()
        .int(op::MULTI)
        .bool(false)
        .int(-1)
        .raw(&Part::write_all(&[]).0)
        .raw(&Part::write_all(&[]).0);
    let reply = client.ask(op::MULTI, nested).expect("an answer");
    assert_eq!((reply.error, reply.body), (ErrorCode::MARSHALLING_ERROR, vec![]));
    let cut = Writer::new().int(op::CREATE).bool(false).int(-1).string("/x");
    assert_eq!(client.ask(op::MULTI, cut).expect("an answer").error, ErrorCode::MARSHALLING_ERROR);
    assert_eq!(client.children(&shared.root, false), Ok(vec![]));
}

#[test]
fn reads_of_a_multi_read_succeed_and_fail_one_by_one() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let (a, hidden) = (shared.at("/a"), shared.at("/hidden"));
    client.create(&a, b"x", 0).expect("create");
    let acl = [Acl::new(perms::ALL, "ip", "10.255.255.1")];
    client.create_with_acl(&hidden, &acl).expect("create");
    let stat = client.exists(&a, false).expect("it is there");
    let results = client.multi_read(&[
        Part::GetData(a.clone()),
        Part::GetData(hidden.clone()),
        Part::GetChildren(a.clone()),
        Part::GetData(shared.at("/no")),
        Part::GetData(a.clone()),
    ]);
    let data = Part::Data(Some(b"x".to_vec()), stat);
    let expected = [
        data.clone(),
        Part::Failed(ErrorCode::NO_AUTH),
        Part::Children(vec![]),
        Part::Failed(ErrorCode::NO_NODE),
        data,
    ];
    assert_eq!(results, Ok(expected.to_vec()));
    client.set_data(&a, b"", -1).expect("set");
    assert_eq!(client.events(), [], "a multi read sets no watch");
}

#[test]
fn a_bad_path_fails_in_its_place_and_nothing_is_done() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let (late, bad) = (ErrorCode::RUNTIME_INCONSISTENCY, ErrorCode::BAD_ARGUMENTS);
    for path in ["", "no-slash", "//", "/.", "/x\u{0}", &shared.at("/ends/")] {
        // Below a root that is there, the slash at the end is all that is wrong.
        let code = if path.ends_with("/ends/") { ErrorCode::NO_NODE } else { bad };
        let parts = [create(&shared.at("/a")), create(path), create(&shared.at("/b"))];
        assert_eq!(client.multi(&parts), Ok(failed(&[OK, code, late])), "{path:?}");
        let parts = [create(path), create(&shared.at("/a"))];
        assert_eq!(client.multi(&parts), Ok(failed(&[code, late])), "{path:?}");
        assert_eq!(client.children(&shared.root, false), Ok(vec![]));
    }
}

#[test]
fn bad_flags_spoil_the_whole_multi() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    for flags in [-1, 7, 99, i32::MAX] {
        let bad = Part::Create(op::CREATE, shared.at("/b"), vec![], flags);
        let results = client.multi(&[create(&shared.at("/a")), bad]);
        if Program::promises("a multi is decoded strictly (3.8.2)") {
            assert_eq!(results, Err(ErrorCode::MARSHALLING_ERROR), "flags {flags}");
        }
        assert_eq!(client.children(&shared.root, false), Ok(vec![]));
    }
}

#[test]
fn what_failed_for_a_version_may_be_tried_again() {
    let shared = Shared::join();
    let (mut client, a, b) = (shared.client(0), shared.at("/a"), shared.at("/b"));
    let conflict = ErrorCode::BAD_VERSION;
    let results = client.multi(&[create(&a), delete(&a, 5)]);
    assert_eq!(results, Ok(failed(&[OK, conflict])));
    assert_eq!(client.exists(&a, false), Err(ErrorCode::NO_NODE));
    client.multi(&[create(&a), create(&b)]).expect("multi");
    let results = client.multi(&[set(&b, b"1", 0), set(&a, b"1", 0), set(&a, b"2", 0)]);
    assert_eq!(results, Ok(failed(&[OK, OK, conflict])));
    let versions = |client: &mut Client| {
        [&a, &b].map(|path| client.exists(path, false).expect("it is there").version)
    };
    assert_eq!(versions(&mut client), [0, 0]);
    let results = client.multi(&[set(&b, b"1", 0), set(&a, b"1", 0), set(&a, b"2", 1)]);
    assert!(results.is_ok_and(|parts| parts.iter().all(|p| matches!(p, Part::DataSet(_)))));
    assert_eq!(versions(&mut client), [2, 1]);
}

/// The errors of the parts of the next reply, and its own.
fn next_results(client: &mut Client) -> (ErrorCode, Vec<i32>) {
    let Ok(Message::Reply(reply)) = client.receive() else { panic!("a reply is due") };
    let mut codes = Vec::new();
    if !reply.body.is_empty() && reply.body[..4] == (-1i32).to_be_bytes() {
        // Type, end, error, and the error once more.
        for part in reply.body.chunks_exact(13).filter(|part| part[4] == 0) {
            codes.push(i32::from_be_bytes(part[9..13].try_into().expect("four bytes")));
        }
    }
    (reply.error, codes)
}

#[test]
fn of_four_multis_at_once_that_make_the_same_znode_one_succeeds() {
    let shared = Shared::join();
    for index in 0..3 {
        let (mut client, root) = (shared.client(index), shared.at(&format!("/{index}")));
        client.create(&root, b"", 0).expect("create");
        let n = Part::Create(op::CREATE, format!("{root}/n-"), vec![], mode::SEQUENTIAL);
        let parts = [n.clone(), create(&format!("{root}/one")), n];
        for _ in 0..4 {
            client.send(op::MULTI, Part::write_all(&parts)).expect("sent");
        }
        let results: Vec<_> = (0..4).map(|_| next_results(&mut client)).collect();
        assert_eq!(results[0], (OK, vec![]), "the first makes it");
        for later in &results[1..] {
            assert_eq!(*later, (OK, vec![0, -110, -2]));
        }
        let names = client.children(&root, false).expect("children");
        assert_eq!(names, ["n-0000000000", "n-0000000002", "one"], "no number is lost");
        let next = client.create(&format!("{root}/n-"), b"", mode::SEQUENTIAL);
        assert_eq!(next, Ok(format!("{root}/n-0000000003")));
    }
}

#[test]
fn a_multi_that_fails_between_others_takes_back_what_is_its_own() {
    let shared = Shared::join();
    for index in 0..3 {
        let (mut client, root) = (shared.client(index), shared.at(&format!("/{index}")));
        client.create(&root, b"", 0).expect("create");
        let (a, b) = (format!("{root}/a"), format!("{root}/b"));
        let record = |path: &str| create_record(path, b"", &Acl::open(), mode::PERSISTENT);
        let fails = [create(&b), create(&format!("{b}/c")), delete(&a, 0), check(&root, 9)];
        client.send(op::CREATE, record(&a)).expect("sent");
        client.send(op::MULTI, Part::write_all(&fails)).expect("sent");
        client.send(op::CREATE, record(&format!("{a}/child"))).expect("sent");
        client.send(op::MULTI, Part::write_all(&fails)).expect("sent");
        client.send(op::CREATE, record(&b)).expect("sent");
        let (early, late) = ((OK, vec![]), (OK, vec![0, 0, 0, -103]));
        let not_empty = (OK, vec![0, 0, -111, -2]);
        for expected in [early.clone(), late, early.clone(), not_empty, early] {
            assert_eq!(next_results(&mut client), expected, "server {index}");
        }
        let (names, stat) = client.children2(&root, false).expect("it is there");
        assert_eq!((names, stat.cversion, stat.num_children), (vec!["a".into(), "b".into()], 2, 2));
        let kept = client.exists(&a, false).expect("it is there");
        assert_eq!((kept.cversion, kept.num_children), (1, 1));
        assert_eq!(client.exists(&b, false).expect("it is there").num_children, 0);
    }
}

#[test]
fn a_multi_read_lists_children_as_often_as_asked_and_only_what_one_may_see() {
    let shared = Shared::join();
    for index in 0..3 {
        let (mut client, root) = (shared.client(index), shared.at(&format!("/{index}")));
        let (a, hidden) = (format!("{root}/a"), format!("{root}/hidden"));
        client.create(&root, b"", 0).expect("create");
        client.create(&a, b"x", 0).expect("create");
        client.create(&format!("{a}/b"), b"", 0).expect("create");
        let acl = [Acl::new(perms::ALL, "ip", "10.255.255.1")];
        client.create_with_acl(&hidden, &acl).expect("create");
        let stat = client.exists(&a, false).expect("it is there");
        let (list, data) = (Part::GetChildren(a.clone()), Part::GetData(a.clone()));
        let (names, text) =
            (Part::Children(vec!["b".into()]), Part::Data(Some(b"x".to_vec()), stat));
        let no = Part::Failed(ErrorCode::NO_AUTH);
        let hidden = [Part::GetChildren(hidden.clone()), Part::GetData(hidden)];
        for (asked, expected) in [
            (vec![list.clone(), list.clone()], vec![names.clone(), names.clone()]),
            (
                vec![list.clone(), data.clone(), list.clone()],
                vec![names.clone(), text, names.clone()],
            ),
            (vec![hidden[0].clone(), list.clone()], vec![no.clone(), names.clone()]),
            (vec![list.clone(), hidden[0].clone()], vec![names.clone(), no.clone()]),
            (vec![hidden[1].clone(), list, hidden[0].clone()], vec![no.clone(), names, no]),
            (vec![], vec![]),
        ] {
            assert_eq!(client.multi_read(&asked), Ok(expected), "{asked:?}");
        }
        for mixed in [vec![data.clone(), create(&format!("{root}/no"))], vec![check(&a, 0), data]] {
            assert_eq!(client.multi_read(&mixed), Err(ErrorCode::MARSHALLING_ERROR), "{mixed:?}");
        }
        assert!(client.exists(&format!("{root}/no"), false).is_err());
    }
}
