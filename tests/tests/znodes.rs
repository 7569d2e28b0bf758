//! What several clients see of znodes at the same time, and what is left when all have gone.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::thread;

use zokor_tests::client::{Message, Part, create_record};
use zokor_tests::jute::Writer;
use zokor_tests::raw::four_letter;
use zokor_tests::records::{mode, op, perms};
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, Program, Shared};

const OK: ErrorCode = ErrorCode(0);

/// The errors of the next `n` replies, which answer these requests in this order.
fn errors(client: &mut Client, xids: &[i32]) -> Vec<ErrorCode> {
    let next = |xid: &i32| match client.receive() {
        Ok(Message::Reply(reply)) => {
            assert_eq!(reply.xid, *xid, "replies come in the order of the requests");
            reply.error
        }
        other => panic!("a reply is due: {other:?}"),
    };
    xids.iter().map(next).collect()
}

#[test]
fn what_one_client_has_made_another_reads_at_once_at_the_same_server() {
    let shared = Shared::join();
    for index in 0..3 {
        let (mut one, mut other) = (shared.client(index), shared.client(index));
        for n in 0..50 {
            let path = shared.at(&format!("/{index}-{n}"));
            one.create(&path, b"x", mode::PERSISTENT).expect("create");
            assert_eq!(other.get(&path), Ok(b"x".to_vec()), "without a sync");
            one.set_data(&path, b"y", 0).expect("set");
            assert_eq!(other.get(&path), Ok(b"y".to_vec()));
            one.delete(&path, 1).expect("delete");
            assert_eq!(other.get(&path), Err(ErrorCode::NO_NODE));
        }
    }
}

#[test]
fn nothing_is_made_below_an_ephemeral_by_whatever_create() {
    let shared = Shared::join();
    let no = ErrorCode::NO_CHILDREN_FOR_EPHEMERALS;
    for index in 0..3 {
        let (mut client, e) = (shared.client(index), shared.at(&format!("/e{index}")));
        let child = format!("{e}/child");
        client.create(&e, b"", mode::EPHEMERAL).expect("create");
        for flags in [mode::PERSISTENT, mode::EPHEMERAL, mode::SEQUENTIAL] {
            assert_eq!(client.create(&child, b"", flags), Err(no), "create, flags {flags}");
        }
        for flags in [mode::PERSISTENT, mode::EPHEMERAL_SEQUENTIAL, mode::CONTAINER] {
            assert_eq!(client.create2(&child, b"", flags).err(), Some(no), "create2, {flags}");
        }
        assert_eq!(client.create_ttl(&child, mode::TTL, 1_000_000).err(), Some(no));
        let part = Part::Create(op::CREATE, child, vec![], mode::PERSISTENT);
        assert_eq!(client.multi(&[part]), Ok(vec![Part::Failed(no)]));
        assert_eq!(client.exists(&e, false).map(|stat| stat.cversion), Ok(0));
    }
}

#[test]
fn each_child_counts_one_and_bears_the_zxid_of_its_parent() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(1), shared.at("/p"));
    let (_, mut before) = client.create2(&path, b"", 0).expect("create");
    for n in 1..=10 {
        let child = client.create2(&format!("{path}/{n}"), b"", 0).expect("create").1;
        let after = client.exists(&path, false).expect("it is there");
        (before.cversion, before.num_children, before.pzxid) = (n, n, child.czxid);
        assert_eq!(after, before, "all else stays");
        assert_eq!(client.children2(&path, false).expect("it is there").1, after);
    }
}

#[test]
fn numbered_names_sort_as_their_znodes_came() {
    let shared = Shared::join();
    let mut writers: Vec<_> = (0..3).map(|index| shared.client(index)).collect();
    for n in 0..45 {
        let path = shared.at("/n-");
        let data = format!("{n}");
        writers[n % 3].create(&path, data.as_bytes(), mode::SEQUENTIAL).expect("create");
    }
    let mut reader = shared.client(0);
    reader.sync("/").expect("sync");
    // Sorted by the client.
    let names = reader.children(&shared.root, false).expect("children");
    let read = |name: &String| reader.get(&shared.at(&format!("/{name}"))).expect("it is there");
    let came: Vec<Vec<u8>> = names.iter().map(read).collect();
    assert_eq!(came, (0..45).map(|n| format!("{n}").into_bytes()).collect::<Vec<_>>());
}

/// Eight clients that make, set, delete and go, again and again, some without a word.
#[test]
fn many_clients_that_come_and_go_at_once_leave_nothing_behind() {
    let ensemble = Ensemble::of(3).tick_ms(200).start();
    ensemble.client(0).create("/busy", b"", mode::PERSISTENT).expect("create");
    thread::scope(|scope| {
        for worker in 0..8 {
            let ensemble = &ensemble;
            scope.spawn(move || {
                for round in 0..12 {
                    let hello = zokor_tests::raw::Hello::fresh(1_000);
                    let address = ensemble.address((worker + round) % 3);
                    let mut client = Client::open(address, &hello).expect("a session");
                    client.sync("/").expect("sync");
                    for n in 0..5 {
                        let path = format!("/busy/e-{worker}-{n}");
                        // The session before may not have ended yet.
                        match client.create(&path, b"", mode::EPHEMERAL) {
                            Ok(_) | Err(ErrorCode::NODE_EXISTS) => {}
                            other => panic!("{other:?}"),
                        }
                    }
                    let path = format!("/busy/p-{worker}");
                    client.create(&path, b"", mode::PERSISTENT).expect("create");
                    client.set_data(&path, b"x", 0).expect("set");
                    client.delete(&path, 1).expect("delete");
                    if round % 3 == 0 { drop(client) } else { client.close() }
                }
            });
        }
    });
    for index in 0..3 {
        let mut client = ensemble.client(index);
        zokor_tests::eventually("the sessions that fell silent end", || {
            client.sync("/").expect("sync");
            client.children("/busy", false).expect("children").is_empty().then_some(())
        });
        let mntr = four_letter(ensemble.address(index), "mntr").expect("an answer");
        assert!(mntr.contains("\nzk_ephemerals_count\t0\n"), "{mntr}");
        // Root, /busy and what is there from the beginning; ZooKeeper counts the root twice.
        assert!(mntr.contains("\nzk_znode_count\t6\n"), "{mntr}");
    }
}

#[test]
fn a_refusal_keeps_its_place_and_harms_nothing_behind_it() {
    let shared = Shared::join();
    let shut = shared.at("/shut");
    let mut owner = shared.client(0);
    owner.authenticate("digest", b"alice:secret").expect("accepted");
    owner.create_with_acl(&shut, &[Acl::new(perms::ALL, "auth", "")]).expect("create");
    for index in 0..3 {
        let mut client = shared.client(index);
        client.sync("/").expect("sync");
        let a = shared.at(&format!("/{index}"));
        let create = |path: &str| create_record(path, b"", &Acl::open(), 0);
        let set = |path: &str| Writer::new().string(path).buffer(b"x").int(-1);
        let get = |path: &str| Writer::new().string(path).bool(false);
        let requests = [
            (op::CREATE, create(&a), OK),
            (op::SET_DATA, set(&shut), ErrorCode::NO_AUTH),
            (op::GET_DATA, get(&a), OK),
            (op::GET_DATA, get(&shut), ErrorCode::NO_AUTH),
            (op::CREATE, create("no-slash"), ErrorCode::BAD_ARGUMENTS),
            (op::CREATE, create(&format!("{a}/\u{1}")), ErrorCode::BAD_ARGUMENTS),
            (op::SET_DATA, set("//"), ErrorCode::BAD_ARGUMENTS),
            (op::CREATE, create(&format!("{a}/b")), OK),
            (op::CREATE, create(&format!("{shut}/b")), ErrorCode::NO_AUTH),
            (op::GET_CHILDREN, get(&a), OK),
        ];
        let send = |(op, body, _): &(i32, Writer, ErrorCode)| client.send(*op, body.clone());
        let xids: Vec<i32> = requests.iter().map(send).map(|xid| xid.expect("sent")).collect();
        let expected: Vec<ErrorCode> = requests.iter().map(|request| request.2).collect();
        assert_eq!(errors(&mut client, &xids), expected, "server {index}");
        assert_eq!(client.children(&a, false), Ok(vec!["b".to_owned()]));
    }
}

#[test]
fn a_dot_or_nothing_between_slashes_is_no_name_whatever_the_flags() {
    let shared = Shared::join();
    let (mut client, root) = (shared.client(2), &shared.root);
    client.create(&shared.at("/a"), b"", 0).expect("create");
    for flags in [mode::PERSISTENT, mode::SEQUENTIAL, mode::EPHEMERAL_SEQUENTIAL] {
        for path in [format!("{root}//x"), format!("{root}/./x"), format!("{root}/a/../x")] {
            let answer = client.create(&path, b"", flags);
            // No znode has such a name, so there is no parent.
            assert_eq!(answer, Err(ErrorCode::NO_NODE), "{path}, flags {flags}");
        }
        assert_eq!(client.create("./x", b"", flags), Err(ErrorCode::NO_NODE), "nothing is \".\"");
        for path in ["//x", "x-", ""] {
            let answer = client.create(path, b"", flags);
            assert_eq!(answer, Err(ErrorCode::BAD_ARGUMENTS), "{path}, flags {flags}");
        }
    }
    let answer = client.create(&shared.at("/x\u{1}-"), b"", mode::SEQUENTIAL);
    assert_eq!(answer, Err(ErrorCode::BAD_ARGUMENTS));
    assert_eq!(client.children(root, false), Ok(vec!["a".to_owned()]));
}

#[test]
fn what_a_larger_buffer_has_admitted_is_read_with_a_smaller_one() {
    if !Program::promises("no limit is asked of what is on disk; ZooKeeper would not start") {
        return;
    }
    for n_servers in [1, 3] {
        let mut ensemble = Ensemble::of(n_servers).line("jute.maxbuffer=4000000").start();
        let data = vec![7; 3_000_000];
        let mut client = ensemble.client(0);
        client.create("/large", &data, mode::PERSISTENT).expect("within the limit");
        ensemble.kill_all();
        for index in 0..n_servers {
            let file = ensemble.server(index).folder().join("zoo.cfg");
            let mut file = OpenOptions::new().append(true).open(file).expect("it is there");
            file.write_all(b"jute.maxbuffer=200000\n").expect("written");
            ensemble.restart(index);
        }
        ensemble.wait_until_serving();
        for index in 0..n_servers {
            let mut client = ensemble.client(index);
            client.sync("/").expect("sync");
            assert_eq!(client.get("/large"), Ok(data.clone()), "server {index} of {n_servers}");
            let path = format!("/small-{index}");
            client.create(&path, &[1; 100_000], 0).expect("within the new limit");
            let over = client.create("/over", &[1; 200_000], 0);
            assert_eq!(over, Err(ErrorCode::CONNECTION_LOSS));
        }
    }
}

/// Who leads, who follows and who only looks on: a client cannot tell.
#[test]
fn observers_answer_as_all_others_do() {
    let ensemble = Ensemble::of(4).observers(1).line("extendedTypesEnabled=true").start();
    let walk = |index: usize| {
        let mut client = ensemble.client(index);
        let path = format!("/walk{index}");
        let (child, acl) = (format!("{path}/k"), Acl::open());
        let mut codes: Vec<Result<(), ErrorCode>> = vec![
            client.create(&path, b"x", 0).map(drop),
            client.create(&path, b"x", 0).map(drop),
            client.create2(&child, b"x", mode::EPHEMERAL).map(drop),
            client.create(&format!("{child}/l"), b"", 0).map(drop),
            client.delete(&path, -1),
            client.set_data(&path, b"y", 1).map(drop),
            client.set_data(&path, b"y", 0).map(drop),
            client.acl(&path).map(drop),
            client.set_acl(&path, &acl, 1).map(drop),
            client.set_acl(&path, &acl, 0).map(drop),
            client.sync(&path).map(drop),
        ];
        assert_eq!(client.get(&path), Ok(b"y".to_vec()));
        assert_eq!(client.children(&path, true), Ok(vec!["k".to_owned()]));
        assert_eq!(client.children2(&path, false).map(|(names, _)| names.len()), Ok(1));
        assert_eq!(client.ephemerals("/"), Ok(vec![child.clone()]));
        let part = |path: &str| Part::Create(op::CREATE, path.to_owned(), vec![], 0);
        let multi = client.multi(&[part(&format!("{path}/m")), part(&path)]);
        assert_eq!(multi, Ok([OK, ErrorCode::NODE_EXISTS].map(Part::Failed).to_vec()));
        codes.push(client.delete(&child, 0));
        assert_eq!(client.events().len(), 1, "the watch has fired");
        codes.push(client.delete(&path, -1));
        codes.push(client.exists(&path, false).map(drop));
        codes.push(client.get_data(&path, false).map(drop));
        codes
    };
    let expected = walk(0);
    assert_eq!(expected.iter().filter(|code| code.is_ok()).count(), 8);
    for index in 1..4 {
        assert_eq!(walk(index), expected, "server {index}");
    }
    assert_eq!(zokor_tests::ensemble::mode(ensemble.address(3)).as_deref(), Some("observer"));
}

/// A session that moves to an observer and back keeps what it has, and an observer that was away
/// catches up; with the observer alone nobody is served.
#[test]
fn observers_take_sessions_over_and_never_count() {
    let mut ensemble = Ensemble::of(4).observers(1).start();
    let mut client = ensemble.client(0);
    client.create("/e", b"", mode::EPHEMERAL).expect("create");
    let mut moved = client.resume(ensemble.address(3)).expect("the session goes on");
    assert_eq!(moved.ephemerals("/"), Ok(vec!["/e".to_owned()]));
    moved.create("/by-an-observer", b"", mode::PERSISTENT).expect("create");
    ensemble.kill(3);
    let mut client = moved.resume(ensemble.address(1)).expect("the session goes on");
    for n in 0..100 {
        client.create(&format!("/{n}"), b"", mode::PERSISTENT).expect("create");
    }
    ensemble.restart(3);
    ensemble.wait_until_serving();
    let mut late = ensemble.client(3);
    late.sync("/").expect("sync");
    assert!(late.exists("/99", false).is_ok() && late.exists("/e", false).is_ok());
    ensemble.kill(0);
    ensemble.wait_until_serving();
    ensemble.client(1).create("/two-of-three", b"", 0).expect("a quorum");
    ensemble.kill(1);
    let text = "This ZooKeeper instance is not currently serving requests";
    for index in [2, 3] {
        zokor_tests::eventually("one of three and an observer are no quorum", || {
            let answer = four_letter(ensemble.address(index), "srvr").ok()?;
            (answer.trim_end() == text).then_some(())
        });
    }
    ensemble.restart(1);
    ensemble.wait_until_serving();
    let mut late = ensemble.client(3);
    late.sync("/").expect("sync");
    assert!(late.exists("/two-of-three", false).is_ok());
}
