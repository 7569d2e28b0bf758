//! Read-only mode: a server without its ensemble answers reads.

use zokor_tests::ensemble::mode as mode_of;
use zokor_tests::jute::Writer;
use zokor_tests::raw::{Connection, Hello, four_letter};
use zokor_tests::records::{mode, op};
use zokor_tests::{Client, Ensemble, ErrorCode, eventually};

/// Three servers with read-only mode; reads are served after 2 s without a leader.
fn ensemble() -> Ensemble {
    Ensemble::of(3).line("readonlymode.enabled=true").start()
}

fn reader() -> Hello {
    Hello { read_only: Some(true), ..Hello::fresh(30_000) }
}

/// Leaves only server 0, and waits until it only reads.
fn leave_alone(ensemble: &mut Ensemble) {
    ensemble.kill(1);
    ensemble.kill(2);
    eventually("the server only reads", || {
        (mode_of(ensemble.address(0)).as_deref() == Some("read-only")).then_some(())
    });
}

#[test]
fn a_server_alone_answers_those_who_only_read() {
    let mut ensemble = ensemble();
    let address = ensemble.address(0);
    let mut writer = Client::connect(address);
    writer.create("/a", b"x", mode::PERSISTENT).expect("create");
    let with_leader = Client::open(address, &reader()).expect("a session");
    assert_eq!(with_leader.granted.read_only, Some(false));
    leave_alone(&mut ensemble);
    assert!(writer.connection().is_closed_by_server(), "who writes is let go");
    let mut client = Client::open(address, &reader()).expect("a session");
    assert_eq!(client.granted.read_only, Some(true));
    assert_eq!(client.get("/a"), Ok(b"x".to_vec()));
    assert_eq!(client.children("/", false).map(|names| names.contains(&"a".to_owned())), Ok(true));
    client.ping().expect("ping");
    let before = client.last_zxid;
    let not_read_only = Err(ErrorCode::NOT_READ_ONLY);
    assert_eq!(client.create("/b", b"", mode::PERSISTENT).map(drop), not_read_only);
    assert_eq!(client.create("/b", b"", mode::EPHEMERAL).map(drop), not_read_only);
    assert_eq!(client.set_data("/a", b"y", -1).map(drop), not_read_only);
    assert_eq!(client.delete("/a", -1), not_read_only);
    assert_eq!(client.sync("/").map(drop), not_read_only);
    for (op, body) in [
        (op::MULTI, Writer::new().int(-1).bool(true).int(-1)),
        (op::RECONFIG, Writer::new().null().null().null().long(-1)),
    ] {
        let reply = client.ask(op, body).expect("a reply");
        assert_eq!((reply.error, reply.body.len()), (ErrorCode::NOT_READ_ONLY, 0), "op {op}");
        assert_eq!(reply.zxid, before);
    }
    assert_eq!(client.get("/a"), Ok(b"x".to_vec()));
    client.close();
}

#[test]
fn a_server_alone_turns_others_away_without_a_word() {
    let mut ensemble = ensemble();
    let address = ensemble.address(0);
    let writer = Client::connect(address);
    leave_alone(&mut ensemble);
    let seen_more = Hello { last_zxid: i64::MAX, ..reader() };
    let global = Hello { read_only: Some(true), ..writer.hello_again() };
    let fresh = Hello::fresh(30_000);
    let old = Hello { read_only: None, ..Hello::fresh(30_000) };
    for hello in [fresh, old, seen_more, global] {
        let mut connection = Connection::open(address).expect("connect");
        connection.send(&hello.encode()).expect("sent");
        assert!(connection.is_closed_by_server(), "{hello:?}");
    }
    let client = Client::open(address, &reader()).expect("a session");
    let wrong =
        Hello { password: Some(vec![1; 16]), read_only: Some(true), ..client.hello_again() };
    assert_eq!(Client::open(address, &wrong).map(drop), Err(ErrorCode::SESSION_EXPIRED));
    let again = Hello { read_only: Some(true), ..client.hello_again() };
    let again = Client::open(address, &again).expect("it made this session itself");
    assert_eq!(again.granted.session, client.granted.session);
}

#[test]
fn four_letter_words_say_that_a_server_only_reads() {
    let builder = Ensemble::of(3).line("readonlymode.enabled=true").without_whitelist();
    let mut ensemble = builder.line("4lw.commands.whitelist=mntr,stat").start();
    let address = ensemble.address(0);
    assert_eq!(four_letter(address, "isro").expect("an answer"), "rw");
    leave_alone(&mut ensemble);
    assert_eq!(four_letter(address, "isro").expect("an answer"), "ro");
    for word in ["srvr", "stat"] {
        let answer = four_letter(address, word).expect("an answer");
        let mut lines = answer.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("Zookeeper version: ")));
        assert_eq!(lines.next(), Some("READ-ONLY mode; serving only read-only clients"));
        assert!(lines.any(|line| line == "Mode: read-only"), "{answer}");
    }
    let answer = four_letter(address, "mntr").expect("an answer");
    assert!(answer.contains("zk_server_state\tread-only\n"), "{answer}");
}

#[test]
fn when_the_ensemble_is_back_readers_come_again_and_write() {
    let mut ensemble = ensemble();
    let address = ensemble.address(0);
    let mut writer = Client::open(address, &Hello::fresh(60_000)).expect("a session");
    writer.create("/e", b"", mode::EPHEMERAL).expect("create");
    leave_alone(&mut ensemble);
    let mut client = Client::open(address, &reader()).expect("a session");
    ensemble.restart(1);
    ensemble.restart(2);
    assert!(client.connection().is_closed_by_server());
    ensemble.wait_until_serving();
    assert_eq!(four_letter(address, "isro").expect("an answer"), "rw");
    // Java's client asks for a new session then, others hear that theirs is gone.
    let stale = client.resume(address).map(drop);
    assert_eq!(stale, Err(ErrorCode::SESSION_EXPIRED));
    let mut fresh = Client::open(address, &reader()).expect("a session");
    assert_eq!(fresh.granted.read_only, Some(false));
    fresh.create("/b", b"", mode::PERSISTENT).expect("create");
    let mut back = writer.resume(address).expect("the session of before goes on");
    assert_eq!(back.ephemerals("/"), Ok(vec!["/e".into()]));
}

#[test]
fn a_local_session_of_before_goes_on_as_a_reader_and_writes_again() {
    let builder = Ensemble::of(3).line("readonlymode.enabled=true");
    let mut ensemble = builder.line("localSessionsEnabled=true").start();
    let address = ensemble.address(0);
    let mut client = Client::open(address, &reader()).expect("a session");
    client.create("/a", b"x", mode::PERSISTENT).expect("create");
    leave_alone(&mut ensemble);
    let again = Hello { read_only: Some(true), ..client.hello_again() };
    let mut reading = Client::open(address, &again).expect("its server made it");
    assert_eq!(reading.granted.session, client.granted.session);
    assert_eq!(reading.granted.read_only, Some(true));
    assert_eq!(reading.get("/a"), Ok(b"x".to_vec()));
    assert_eq!(reading.delete("/a", -1), Err(ErrorCode::NOT_READ_ONLY));
    ensemble.restart(1);
    ensemble.restart(2);
    assert!(reading.connection().is_closed_by_server());
    ensemble.wait_until_serving();
    let mut back = Client::open(address, &again).expect("the session goes on");
    assert_eq!(back.granted.session, client.granted.session);
    assert_eq!(back.granted.read_only, Some(false));
    back.delete("/a", -1).expect("delete");
}

#[test]
fn without_the_setting_a_server_alone_serves_nobody() {
    let mut ensemble = Ensemble::trio();
    ensemble.kill(1);
    ensemble.kill(2);
    let address = ensemble.address(0);
    eventually("the server gives up", || mode_of(address).is_none().then_some(()));
    assert_eq!(Client::open(address, &reader()).map(drop), Err(ErrorCode::CONNECTION_LOSS));
    assert_eq!(four_letter(address, "isro").expect("an answer"), "null");
}
