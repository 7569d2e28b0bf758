//! Sessions in trouble: moved, cut, resumed at servers that were away, ended with work under way.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use zokor_tests::client::{Message, Part, create_record};
use zokor_tests::jute::{Reader, Writer};
use zokor_tests::raw::{Connection, Hello, four_letter};
use zokor_tests::records::{mode, op, perms};
use zokor_tests::wait::within;
use zokor_tests::{
    Acl, Client, Ensemble, ErrorCode, Event, EventKind, Program, Shared, eventually,
};

#[test]
fn nothing_more_is_done_for_the_connection_that_a_session_has_left() {
    let shared = Shared::join();
    let a = shared.at("/a");
    shared.client(0).create(&a, b"", 0).expect("create");
    let part = Part::SetData(a.clone(), b"late".to_vec(), -1);
    let record = |flags| create_record(&shared.at("/late"), b"", &Acl::open(), flags);
    let requests = [
        (op::SYNC, Writer::new().string("/")),
        (op::MULTI, Part::write_all(&[part])),
        (op::SET_DATA, Writer::new().string(&a).buffer(b"late").int(-1)),
        (op::CREATE, record(mode::PERSISTENT)),
        (op::CREATE, record(mode::EPHEMERAL)),
        (op::DELETE, Writer::new().string(&a).int(-1)),
        (op::SET_ACL, Acl::write_all(&Acl::open(), Writer::new().string(&a)).int(-1)),
        (op::CLOSE_SESSION, Writer::new()),
    ];
    for (n, (op, body)) in requests.into_iter().enumerate() {
        let (from, to) = (n % 3, (n + 1) % 3);
        let mut client = shared.client(from);
        let mut moved = client.resume(shared.address(to)).expect("the session goes on");
        // Sent at once, and again behind a sync of the new connection.
        for _ in 0..2 {
            let answer = client.ask(op, body.clone()).map(|reply| reply.error);
            assert_eq!(answer, Err(ErrorCode::CONNECTION_LOSS), "op {op}");
            moved.sync("/").expect("the new connection is served");
        }
        assert_eq!(moved.get(&a), Ok(b"".to_vec()), "op {op}");
        assert_eq!(moved.exists(&shared.at("/late"), false), Err(ErrorCode::NO_NODE));
        moved.close();
    }
}

#[test]
fn a_session_outlives_attempts_that_failed_and_a_server_that_was_away() {
    let mut ensemble = Ensemble::standalone();
    let mut owner = ensemble.client(0);
    owner.create("/e", b"", mode::EPHEMERAL).expect("create");
    for _ in 0..3 {
        let wrong = Hello { password: Some(vec![1; 16]), ..owner.hello_again() };
        let refused = Client::open(ensemble.address(0), &wrong);
        assert_eq!(refused.map(drop), Err(ErrorCode::SESSION_EXPIRED));
        let ahead = Hello { last_zxid: i64::MAX, ..owner.hello_again() };
        let refused = Client::open(ensemble.address(0), &ahead);
        assert_eq!(refused.map(drop), Err(ErrorCode::CONNECTION_LOSS));
    }
    ensemble.kill(0);
    for _ in 0..5 {
        let nobody = Client::open(ensemble.address(0), &owner.hello_again());
        assert_eq!(nobody.map(drop), Err(ErrorCode::CONNECTION_LOSS));
    }
    ensemble.restart(0);
    ensemble.wait_until_serving();
    let mut again = owner.resume(ensemble.address(0)).expect("the session goes on");
    assert_eq!(again.session(), owner.session());
    assert_eq!(again.ephemerals("/"), Ok(vec!["/e".to_owned()]));
}

#[test]
fn who_only_pings_keeps_session_and_watch() {
    let ensemble = Ensemble::of(3).tick_ms(200).start();
    let hello = Hello::fresh(2_000);
    let mut writer = ensemble.client(0);
    writer.create("/a", b"", mode::PERSISTENT).expect("create");
    let mut watchers: Vec<Client> =
        ensemble.addresses().iter().map(|a| Client::open(*a, &hello).expect("a session")).collect();
    for client in &mut watchers {
        client.sync("/").expect("sync");
        client.get_data("/a", true).expect("it is there");
    }
    let mut silent = Client::open(ensemble.address(1), &hello).expect("a session");
    silent.set_patience(Duration::from_millis(50));
    // More than twice the time that silence takes to end a session.
    for _ in 0..2 {
        within(Duration::from_secs(30), "silence ends a session", || {
            watchers.iter_mut().for_each(|client| client.ping().expect("ping"));
            (silent.receive() == Err(ErrorCode::CONNECTION_LOSS)).then_some(())
        });
        silent = Client::open(ensemble.address(1), &hello).expect("a session");
        silent.set_patience(Duration::from_millis(50));
    }
    writer.set_data("/a", b"x", -1).expect("set");
    for client in &mut watchers {
        assert_eq!(client.next_event(), Ok(Event::new(EventKind::DataChanged, "/a")));
    }
}

#[test]
fn ephemerals_that_are_still_under_way_go_with_their_session() {
    let shared = Shared::join();
    for index in 0..3 {
        let mut client = shared.client(index);
        let root = shared.at(&format!("/{index}"));
        client.create(&root, b"", 0).expect("create");
        let n = 100;
        for k in 0..n {
            let record = create_record(&format!("{root}/{k}"), b"", &Acl::open(), mode::EPHEMERAL);
            client.send(op::CREATE, record).expect("sent");
        }
        client.send(op::CLOSE_SESSION, Writer::new()).expect("sent");
        for k in 0..=n {
            let Ok(Message::Reply(reply)) = client.receive() else { panic!("reply {k} is due") };
            assert_eq!(reply.error, ErrorCode(0));
        }
        let mut other = shared.client((index + 1) % 3);
        other.sync("/").expect("sync");
        let (names, stat) = other.children2(&root, false).expect("it is there");
        assert_eq!((names, stat.cversion), (vec![], 2 * n), "all have come and gone");
    }
}

/// A server that hears nothing for a while, as when its link is cut: what ended meanwhile has ended
/// for its clients as well.
#[test]
fn a_server_that_stood_still_while_sessions_ended_shows_no_ephemeral_of_theirs() {
    let ensemble = Ensemble::of(3).tick_ms(200).start();
    let leader = ensemble.wait_for_leader();
    let (near, far) = ((leader + 1) % 3, (leader + 2) % 3);
    let far_process = ensemble.server(far).process_id().expect("it runs");
    let far_process = Pid::from_raw(far_process as i32).expect("a process");
    let mut closes = ensemble.client(near);
    closes.create("/closed", b"", mode::EPHEMERAL).expect("create");
    let mut ends = Client::open(ensemble.address(near), &Hello::fresh(400)).expect("a session");
    ends.create("/silent", b"", mode::EPHEMERAL).expect("create");
    let mut witness = ensemble.client(far);
    witness.sync("/").expect("sync");
    assert!(witness.exists("/closed", false).is_ok());
    let mut other = ensemble.client(near);
    kill_process(far_process, Signal::STOP).expect("our own child");
    drop(ends);
    closes.close();
    eventually("the silent session ends without the far server", || {
        other.sync("/").expect("two of three are enough");
        (other.exists("/silent", false) == Err(ErrorCode::NO_NODE)).then_some(())
    });
    kill_process(far_process, Signal::CONT).expect("our own child");
    let mut late = eventually("the far server serves again", || {
        let mut late = Client::open(ensemble.address(far), &Hello::fresh(30_000)).ok()?;
        late.sync("/").ok().map(|_| late)
    });
    for path in ["/closed", "/silent"] {
        assert_eq!(late.exists(path, false), Err(ErrorCode::NO_NODE), "{path}");
    }
    for index in 0..3 {
        let mntr = four_letter(ensemble.address(index), "mntr").expect("an answer");
        assert!(mntr.contains("\nzk_ephemerals_count\t0\n"), "server {index}: {mntr}");
    }
}

#[test]
fn nobody_is_given_a_session_before_the_server_serves() {
    let mut ensemble = Ensemble::trio();
    let owner = ensemble.client(0);
    ensemble.kill_all();
    ensemble.restart(0);
    let mut n_refused = 0;
    within(Duration::from_secs(20), "it listens and refuses", || {
        for hello in [Hello::fresh(30_000), owner.hello_again()] {
            let mut connection = Connection::open(ensemble.address(0)).ok()?;
            connection.set_patience(Duration::from_millis(300));
            match connection.handshake(&hello) {
                Ok(granted) => panic!("without a quorum: {granted:?}"),
                Err(_) => n_refused += 1,
            }
        }
        (n_refused > 5).then_some(())
    });
    ensemble.restart(1);
    ensemble.wait_until_serving();
    let mut again = owner.resume(ensemble.address(0)).expect("the session goes on");
    again.create("/a", b"", 0).expect("create");
}

#[test]
fn a_connection_that_never_says_what_it_wants_is_closed_in_time_and_counted() {
    if !Program::promises("the metrics of 3.6, with a mean that is ours") {
        return;
    }
    let ensemble = Ensemble::of(1).tick_ms(100).line("nio.sessionlessCnxnTimeout=300").start();
    let counted = |name: &str, n: u32| {
        let mntr = four_letter(ensemble.address(0), "mntr").expect("an answer");
        mntr.contains(&format!("\nzk_{name}\t{n}\n"))
    };
    let mut silent = Connection::open(ensemble.address(0)).expect("connect");
    let mut halting = Connection::open(ensemble.address(0)).expect("connect");
    halting.send_bytes(&[0, 0]).expect("sent");
    let mut client = Client::open(ensemble.address(0), &Hello::fresh(200)).expect("a session");
    let mut lively = ensemble.client(0);
    assert!(silent.is_closed_by_server() && halting.is_closed_by_server());
    assert!(counted("sessionless_connections_expired", 2));
    // A session that falls silent is closed as well, and counted elsewhere.
    assert!(client.connection().is_closed_by_server());
    eventually("its end is counted", || counted("stale_sessions_expired", 1).then_some(()));
    assert!(counted("sessionless_connections_expired", 2));
    lively.ping().expect("others are served");
}

/// Snapshots are taken again and again while sessions begin and end: whoever comes back from one
/// knows the same sessions.
#[test]
fn sessions_that_begin_and_end_around_snapshots_are_the_same_everywhere() {
    let mut ensemble = Ensemble::of(3).line("snapCount=4").start();
    let mut kept = Vec::new();
    for n in 0..40 {
        let mut client = ensemble.client(n % 3);
        client.create(&format!("/e{n:02}"), b"", mode::EPHEMERAL).expect("create");
        if n % 4 == 3 {
            client.close()
        } else {
            kept.push((n, client))
        }
        if n == 10 || n == 25 {
            ensemble.kill((n + 1) % 3);
            ensemble.restart((n + 1) % 3);
            ensemble.wait_until_serving();
        }
    }
    ensemble.kill_all();
    for index in 0..3 {
        ensemble.restart(index);
    }
    ensemble.wait_until_serving();
    for (n, client) in &kept {
        let again = client.resume(ensemble.address((n + 1) % 3));
        let mut again = again.unwrap_or_else(|code| panic!("session {n}: {code:?}"));
        assert_eq!(again.ephemerals("/"), Ok(vec![format!("/e{n:02}")]));
    }
    for index in 0..3 {
        let mut reader = ensemble.client(index);
        reader.sync("/").expect("sync");
        let mut names = reader.children("/", false).expect("children");
        names.retain(|name| name != "zookeeper");
        let expected: Vec<String> = kept.iter().map(|(n, _)| format!("e{n:02}")).collect();
        assert_eq!(names, expected, "server {index}");
    }
}

#[test]
fn an_identity_shown_with_the_handshake_counts_for_all_that_follows() {
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut owner = shared.client(0);
    owner.authenticate("digest", b"alice:secret").expect("accepted");
    owner.create_with_acl(&path, &[Acl::new(perms::ALL, "auth", "")]).expect("create");
    owner.sync("/").expect("sync");
    for index in 0..3 {
        shared.client(index).sync("/").expect("sync");
        let mut connection = Connection::open(shared.address(index)).expect("connect");
        let frame = |payload: Vec<u8>| Writer::new().buffer(&payload).0;
        let auth = Writer::new().int(-4).int(op::AUTH).int(0).string("digest");
        let mut bytes = frame(Hello::fresh(30_000).encode());
        bytes.extend(frame(auth.buffer(b"alice:secret").0));
        bytes.extend(frame(Writer::new().int(1).int(op::GET_DATA).string(&path).bool(true).0));
        let set = Writer::new().int(2).int(op::SET_DATA).string(&path).buffer(b"x").int(-1);
        bytes.extend(frame(set.0));
        connection.send_bytes(&bytes).expect("sent");
        assert_eq!(connection.receive().expect("the handshake first").len(), 37);
        for expected in [-4, 1, -1, 2] {
            let mut r = Reader::new(connection.receive().expect("a message"));
            assert_eq!((r.int(), r.long() >= -1, r.int()), (expected, true, 0), "server {index}");
        }
    }
}
