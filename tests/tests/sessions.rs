//! How a session begins, moves, and ends.

use std::time::Duration;

use zokor_tests::jute::Writer;
use zokor_tests::raw::{Connection, Hello};
use zokor_tests::records::{mode, op};
use zokor_tests::{Client, Ensemble, ErrorCode, Shared, eventually, wait};

#[test]
fn the_timeout_is_held_within_two_and_twenty_ticks() {
    let ensemble = Ensemble::of(1).tick_ms(500).with_default_session_bounds().start();
    let rows = [
        (i32::MIN, 1000),
        (-1, 1000),
        (0, 1000),
        (1, 1000),
        (999, 1000),
        (1000, 1000),
        (1001, 1001),
        (9999, 9999),
        (10_000, 10_000),
        (10_001, 10_000),
        (i32::MAX, 10_000),
    ];
    for (asked, granted) in rows {
        let client = Client::open(ensemble.address(0), &Hello::fresh(asked)).expect("a session");
        assert_eq!(client.granted.timeout_ms, granted, "asked for {asked}");
    }
}

#[test]
fn the_bounds_may_be_configured() {
    let builder = Ensemble::of(1).with_default_session_bounds();
    let builder = builder.line("minSessionTimeout=3000").line("maxSessionTimeout=7000");
    let ensemble = builder.start();
    for (asked, granted) in [(2999, 3000), (3001, 3001), (7001, 7000)] {
        let client = Client::open(ensemble.address(0), &Hello::fresh(asked)).expect("a session");
        assert_eq!(client.granted.timeout_ms, granted, "asked for {asked}");
    }
}

#[test]
fn the_answer_has_the_read_only_byte_exactly_if_the_request_had_it() {
    let shared = Shared::join();
    for read_only in [None, Some(false), Some(true)] {
        let hello = Hello { read_only, ..Hello::fresh(30_000) };
        let client = Client::open(shared.address(0), &hello).expect("a session");
        assert_eq!(client.granted.read_only, read_only.map(|_| false));
        assert_eq!(client.granted.password.len(), 16);
    }
}

#[test]
fn any_password_begins_a_session() {
    let shared = Shared::join();
    for password in [None, Some(vec![]), Some(vec![7; 3]), Some(vec![7; 40])] {
        let hello = Hello { password, ..Hello::fresh(30_000) };
        let client = Client::open(shared.address(1), &hello).expect("a session");
        assert_eq!(client.granted.password.len(), 16);
    }
}

#[test]
fn sessions_have_ids_and_passwords_of_their_own() {
    let shared = Shared::join();
    let clients: Vec<Client> = (0..12).map(|n| shared.client(n % 3)).collect();
    let mut ids: Vec<i64> = clients.iter().map(|client| client.granted.session).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 12);
    assert!(!ids.contains(&0));
    let mut passwords: Vec<_> = clients.iter().map(|client| &client.granted.password).collect();
    passwords.sort();
    passwords.dedup();
    assert_eq!(passwords.len(), 12);
}

#[test]
fn a_session_goes_on_at_another_server() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let path = shared.at("/e");
    client.create(&path, b"", mode::EPHEMERAL).expect("create");
    let mut moved = client.resume(shared.address(1)).expect("the session goes on");
    assert_eq!(moved.granted.session, client.granted.session);
    assert_eq!(moved.granted.password, client.granted.password);
    assert_eq!(moved.ephemerals("/"), Ok(vec![path]));
    let answer = client.set_data(&shared.root, b"late", -1);
    assert_eq!(answer, Err(ErrorCode::CONNECTION_LOSS), "the former connection writes no more");
    assert_eq!(moved.get(&shared.root), Ok(b"".to_vec()));
}

#[test]
fn a_session_resumed_at_the_same_server_loses_its_former_connection() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let mut again = client.resume(shared.address(2)).expect("the session goes on");
    assert!(client.connection().is_closed_by_server());
    assert_eq!(again.sync("/"), Ok("/".into()));
}

#[test]
fn a_wrong_password_is_refused_with_zeros_and_harms_nobody() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let path = shared.at("/e");
    client.create(&path, b"", mode::EPHEMERAL).expect("create");
    for password in [None, Some(vec![]), Some(vec![0; 16]), Some(vec![0; 15])] {
        for index in [0, 1] {
            // A server that has not seen what the client has would send it away without a word.
            let hello = Hello { password: password.clone(), last_zxid: 0, ..client.hello_again() };
            let mut connection = Connection::open(shared.address(index)).expect("connect");
            let refused = connection.handshake(&hello).expect("an answer");
            assert_eq!((refused.timeout_ms, refused.session), (0, 0));
            assert_eq!(refused.password, vec![0; 16]);
            assert!(connection.is_closed_by_server());
        }
    }
    let mut again = client.resume(shared.address(0)).expect("the session goes on");
    assert_eq!(again.ephemerals("/"), Ok(vec![path]));
}

#[test]
fn a_session_that_nobody_opened_is_refused() {
    let shared = Shared::join();
    for session in [1, -1, i64::MAX] {
        let hello = Hello { session, ..Hello::fresh(30_000) };
        let refused = Client::open(shared.address(0), &hello);
        assert_eq!(refused.map(drop), Err(ErrorCode::SESSION_EXPIRED));
    }
}

#[test]
fn a_closed_session_is_refused_everywhere() {
    let shared = Shared::join();
    let client = shared.client(0);
    let hello = client.hello_again();
    client.close();
    for index in 0..3 {
        shared.client(index).sync("/").expect("sync");
        let refused = Client::open(shared.address(index), &hello);
        assert_eq!(refused.map(drop), Err(ErrorCode::SESSION_EXPIRED));
    }
}

#[test]
fn close_answers_and_then_nothing_more_is_done() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let xid = client.send(op::CLOSE_SESSION, Writer::new()).expect("sent");
    let late = zokor_tests::client::create_record(
        &shared.at("/late"),
        b"",
        &zokor_tests::Acl::open(),
        mode::EPHEMERAL,
    );
    // The server may have closed already.
    let _ = client.send(op::CREATE, late);
    let Ok(zokor_tests::client::Message::Reply(reply)) = client.receive() else {
        panic!("close has a reply")
    };
    assert_eq!((reply.xid, reply.error, reply.body.len()), (xid, ErrorCode(0), 0));
    assert!(client.connection().is_closed_by_server());
    let mut other = shared.client(1);
    assert_eq!(other.exists(&shared.at("/late"), false), Err(ErrorCode::NO_NODE));
}

#[test]
fn a_silent_session_expires_and_is_refused_after() {
    let ensemble = Ensemble::of(3).tick_ms(200).start();
    for index in 0..3 {
        let address = ensemble.address(index);
        let mut client = Client::open(address, &Hello::fresh(400)).expect("a session");
        client.sync("/").expect("sync");
        assert!(client.connection().is_closed_by_server(), "silence ends the connection");
        // A server ends a silent connection by itself, maybe a moment before the leader ends the
        // session. Whoever comes back in between has a session, which must be silent once more.
        let refused = eventually("the session is refused", || match client.resume(address) {
            Err(ErrorCode::CONNECTION_LOSS) => None,
            Err(code) => Some(code),
            Ok(mut again) => {
                assert!(again.connection().is_closed_by_server(), "silence ends the connection");
                None
            }
        });
        assert_eq!(refused, ErrorCode::SESSION_EXPIRED);
    }
}

#[test]
fn pings_keep_a_session_alive_at_every_server() {
    let ensemble = Ensemble::of(3).tick_ms(200).start();
    let hello = Hello::fresh(2_000);
    let mut silent = Client::open(ensemble.address(0), &hello).expect("a session");
    let mut clients: Vec<Client> =
        ensemble.addresses().iter().map(|a| Client::open(*a, &hello).expect("a session")).collect();
    // As long as the silent session lives and then some, the others only ping.
    silent.set_patience(Duration::from_millis(50));
    wait::within(Duration::from_secs(30), "the silent session expires", || {
        for client in &mut clients {
            client.ping().expect("ping");
        }
        (silent.receive() == Err(ErrorCode::CONNECTION_LOSS)).then_some(())
    });
    for client in &mut clients {
        assert_eq!(client.sync("/"), Ok("/".into()));
    }
}

#[test]
fn a_client_from_the_future_is_turned_away() {
    let shared = Shared::join();
    for index in 0..3 {
        let hello = Hello { last_zxid: i64::MAX, ..Hello::fresh(30_000) };
        let refused = Client::open(shared.address(index), &hello);
        assert_eq!(refused.map(drop), Err(ErrorCode::CONNECTION_LOSS));
    }
}

#[test]
fn requests_sent_with_the_handshake_are_answered_after_it() {
    let shared = Shared::join();
    let mut connection = Connection::open(shared.address(1)).expect("connect");
    let frame = |payload: Vec<u8>| Writer::new().buffer(&payload).0;
    let mut bytes = frame(Hello::fresh(30_000).encode());
    bytes.extend(frame(Writer::new().int(7).int(op::SYNC).string("/").0));
    connection.send_bytes(&bytes).expect("sent");
    let handshake = connection.receive().expect("the handshake first");
    assert_eq!(handshake.len(), 37);
    let reply = connection.receive().expect("then the reply");
    assert_eq!(reply[..4], 7i32.to_be_bytes());
}

#[test]
fn nothing_is_done_on_a_connection_whose_session_has_moved() {
    let shared = Shared::join();
    let multi = || Writer::new().int(-1).bool(true).int(-1);
    let requests: [(i32, fn() -> Writer); 3] = [
        (op::SYNC, || Writer::new().string("/")),
        (op::MULTI, multi),
        (op::SET_DATA, || Writer::new().string("/nowhere").buffer(b"").int(-1)),
    ];
    for (op, body) in requests {
        let mut client = shared.client(0);
        let mut moved = client.resume(shared.address(1)).expect("the session goes on");
        // The former connection is closed already, or when it tries.
        let answer = client.ask(op, body());
        assert_eq!(answer.map(drop), Err(ErrorCode::CONNECTION_LOSS), "op {op}");
        assert_eq!(moved.sync("/"), Ok("/".into()));
    }
}

#[test]
fn whoever_is_turned_away_disturbs_no_connection_of_the_session() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    for index in [0, 1] {
        // One that has not seen what the client has seen would turn it away for that.
        shared.client(index).sync("/").expect("sync");
        let hello = Hello { last_zxid: i64::MAX, ..client.hello_again() };
        let refused = Client::open(shared.address(index), &hello).map(drop);
        assert_eq!(refused, Err(ErrorCode::CONNECTION_LOSS));
        let hello = Hello { password: Some(vec![9; 16]), ..client.hello_again() };
        let refused = Client::open(shared.address(index), &hello).map(drop);
        assert_eq!(refused, Err(ErrorCode::SESSION_EXPIRED));
        assert_eq!(client.sync("/"), Ok("/".into()), "it goes on where it is");
    }
}

#[test]
fn a_timeout_is_negotiated_anew_with_every_connection() {
    let shared = Shared::join();
    let client = shared.client(0);
    for (asked, granted) in [(1, 1_000), (7_000, 7_000), (i32::MAX, 60_000), (-5, 1_000)] {
        let hello = Hello { timeout_ms: asked, ..client.hello_again() };
        let again = Client::open(shared.address(0), &hello).expect("the session goes on");
        assert_eq!(again.granted.timeout_ms, granted, "asked for {asked}");
        assert_eq!(again.granted.session, client.granted.session);
    }
}

#[test]
fn a_session_is_closed_once_and_the_second_wish_is_not_answered() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let xid = client.send(op::CLOSE_SESSION, Writer::new()).expect("sent");
    // The server may have closed already.
    let _ = client.send(op::CLOSE_SESSION, Writer::new());
    let _ = client.send(op::PING, Writer::new());
    let Ok(zokor_tests::client::Message::Reply(reply)) = client.receive() else {
        panic!("the first wish has a reply")
    };
    assert_eq!((reply.xid, reply.error), (xid, ErrorCode(0)));
    assert!(client.connection().is_closed_by_server());
    let again = Client::open(shared.address(2), &client.hello_again()).map(drop);
    assert_eq!(again, Err(ErrorCode::SESSION_EXPIRED));
}

#[test]
fn what_a_client_asked_for_before_it_closed_is_answered_first() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let path = shared.at("/e");
    let body = |path: &str| {
        let acl = zokor_tests::Acl::open();
        zokor_tests::client::create_record(path, b"", &acl, mode::EPHEMERAL)
    };
    let mut asked = vec![client.send(op::CREATE, body(&path)).expect("sent")];
    asked.push(client.send(op::SYNC, Writer::new().string("/")).expect("sent"));
    asked.push(client.send(op::PING, Writer::new()).expect("sent"));
    asked.push(client.send(op::CLOSE_SESSION, Writer::new()).expect("sent"));
    let answered: Vec<i32> = (0..4)
        .map(|_| match client.receive() {
            Ok(zokor_tests::client::Message::Reply(reply)) => reply.xid,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answered, asked);
    let mut other = shared.client(1);
    assert_eq!(other.exists(&path, false), Err(ErrorCode::NO_NODE), "it went with its session");
}

#[test]
fn a_second_connect_request_and_createsession_are_no_requests() {
    let shared = Shared::join();
    let create_session = Writer::new().int(0).int(op::CREATE_SESSION).int(10_000).0;
    for payload in [Hello::fresh(30_000).encode(), create_session] {
        let mut client = shared.client(0);
        client.connection().send(&payload).expect("sent");
        let Ok(zokor_tests::client::Message::Reply(reply)) = client.receive() else {
            panic!("it is answered")
        };
        assert_eq!((reply.xid, reply.zxid, reply.error), (0, -1, ErrorCode::UNIMPLEMENTED));
        assert!(client.connection().is_closed_by_server());
        assert!(client.resume(shared.address(0)).is_ok(), "the session is not closed");
    }
}

#[test]
fn a_session_that_expires_while_its_client_is_away_takes_its_ephemerals_along() {
    let ensemble = Ensemble::of(3).tick_ms(200).start();
    for index in 0..3 {
        let address = ensemble.address(index);
        let mut client = Client::open(address, &Hello::fresh(400)).expect("a session");
        let path = client.create("/e-", b"", mode::EPHEMERAL_SEQUENTIAL).expect("create");
        let hello = client.hello_again();
        drop(client);
        let mut other = ensemble.client((index + 1) % 3);
        eventually("the ephemeral goes", || {
            (other.exists(&path, false) == Err(ErrorCode::NO_NODE)).then_some(())
        });
        // Wherever its end is known: that of `other` knows it.
        let address = ensemble.address((index + 1) % 3);
        let refused = Client::open(address, &hello).map(drop);
        assert_eq!(refused, Err(ErrorCode::SESSION_EXPIRED));
    }
}

#[test]
fn a_session_survives_failed_attempts_to_reconnect_and_a_restart_of_its_server() {
    let mut ensemble = Ensemble::trio();
    let mut client = ensemble.client(0);
    client.create("/e", b"", mode::EPHEMERAL).expect("create");
    ensemble.kill(0);
    for _ in 0..3 {
        let failed = Client::open(ensemble.address(0), &client.hello_again()).map(drop);
        assert_eq!(failed, Err(ErrorCode::CONNECTION_LOSS));
    }
    ensemble.restart(0);
    ensemble.wait_until_serving();
    let mut again = client.resume(ensemble.address(0)).expect("the session goes on");
    assert_eq!(again.ephemerals("/"), Ok(vec!["/e".into()]));
}

#[test]
fn a_ping_is_answered_as_minus_two_whatever_its_number() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    for xid in [-2, 0, 77, i32::MIN] {
        let payload = Writer::new().int(xid).int(op::PING).0;
        client.connection().send(&payload).expect("sent");
        let Ok(zokor_tests::client::Message::Reply(reply)) = client.receive() else {
            panic!("it is answered")
        };
        assert_eq!((reply.xid, reply.error, reply.body.len()), (-2, ErrorCode(0), 0));
    }
}
