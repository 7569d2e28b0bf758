//! Servers without a leader that answer reads.

use super::*;
use crate::proto::{ConnectRequest, Reconfig};

fn ensemble() -> Ensemble {
    Ensemble::with(3, |config| config.read_only_after = Some(Duration::from_secs(4)))
}

fn reader(session: SessionId, password: &[u8]) -> ConnectRequest {
    ConnectRequest { read_only: Some(true), ..hello(session, password, 0) }
}

fn open(e: &mut Ensemble, server: ServerId) -> Client {
    let conn = e.connect(server, reader(SessionId(0), &[]));
    match &e.heard(conn)[..] {
        [Output::Connected { response, .. }] => {
            assert_eq!(response.read_only, Some(true));
            Client { conn, session: response.session, password: response.password }
        }
        other => panic!("not connected: {other:?}"),
    }
}

fn turned_away(e: &mut Ensemble, server: ServerId, request: ConnectRequest) -> CloseReason {
    let conn = e.connect(server, request);
    match e.heard(conn)[..] {
        [Output::Close { reason, .. }] => reason,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_with_a_leader_serves_readers_like_everyone() {
    let mut e = ensemble();
    let conn = e.connect(e.follower(), reader(SessionId(0), &[]));
    assert!(matches!(&e.heard(conn)[..], [Output::Connected { response, .. }]
        if response.read_only == Some(false)));
    e.call(conn, create("/a", 0)).expect("created");
}

#[test]
fn clients_that_write_are_kept_for_the_orphan_timeout_and_then_reads_are_served() {
    let mut e = ensemble();
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    e.cut.insert(follower);
    e.run(Duration::from_secs(2));
    assert!(e.heard(a.conn).is_empty());
    assert!(e.call(a.conn, exists("/a")).is_ok());
    // Long enough to let those go, and too short to be read-only.
    e.run(Duration::from_millis(2_600));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::NoLeader));
    assert_eq!(turned_away(&mut e, follower, reader(SessionId(0), &[])), CloseReason::NoLeader);
    e.run(Duration::from_secs(2));
    let stats = e.running[&follower].stats();
    assert_eq!((stats.mode, stats.serving), (Mode::ReadOnly, true));
    let b = open(&mut e, follower);
    assert_eq!(data_of(e.call(b.conn, get("/a", false))), "x");
}

#[test]
fn a_server_that_starts_alone_serves_no_state_of_long_ago() {
    let mut e = ensemble();
    let follower = e.follower();
    e.crash(follower);
    e.cut.insert(follower);
    e.start(follower);
    e.run(Duration::from_secs(30));
    assert_eq!(e.running[&follower].stats().mode, Mode::Looking, "what is agreed it cannot know");
    // It has been told, and is alone again.
    e.cut.clear();
    e.run(Duration::from_secs(5));
    e.cut.insert(follower);
    e.run(Duration::from_secs(10));
    let b = open(&mut e, follower);
    assert!(e.call(b.conn, exists("/")).is_ok());
}

#[test]
fn a_server_that_knows_nothing_serves_that() {
    let mut e = Ensemble::with(3, |config| {
        config.read_only_after = Some(Duration::from_secs(4));
        config.raft.membership = Membership::of_voters((1..=7).map(ServerId));
    });
    assert_eq!(e.running[&ServerId(1)].stats().mode, Mode::ReadOnly);
    let b = open(&mut e, ServerId(1));
    assert_eq!(e.call(b.conn, exists("/a")), Err(ErrorCode::NoNode));
}

#[test]
fn without_the_setting_nobody_is_served_without_a_leader() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    e.cut.insert(follower);
    e.run(Duration::from_secs(30));
    assert_eq!(turned_away(&mut e, follower, reader(SessionId(0), &[])), CloseReason::NoLeader);
}

#[test]
fn what_changes_something_or_needs_the_others_is_refused_in_its_turn() {
    let mut e = ensemble();
    let follower = e.follower();
    e.cut.insert(follower);
    e.run(Duration::from_secs(10));
    let b = open(&mut e, follower);
    let zxid = e.running[&follower].stats().zxid;
    let delete = Write::Delete { path: "/a".into(), version: -1 };
    let check = Write::Check { path: "/a".into(), version: -1 };
    let refused = [
        create("/a", 0),
        create("/e", 1),
        set("/a", "y", -1),
        Request::Write(delete),
        Request::Write(check),
        Request::Write(Write::multi(Vec::new())),
        Request::Sync("/".into()),
        Request::Reconfig(Reconfig { joining: None, leaving: None, members: None, version: -1 }),
    ];
    for request in refused {
        let asked = e.ask(b.conn, request.clone());
        match &e.heard(b.conn)[..] {
            [Output::Reply { xid, zxid: shown, result, .. }] => {
                assert_eq!((*xid, *shown), (asked, zxid));
                assert_eq!(*result, Err(ErrorCode::NotReadOnly), "{request:?}");
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }
    e.ask(b.conn, Request::Ping);
    assert_eq!(replies(&e.heard(b.conn)), [(Xid(-2), true)]);
    for request in [exists("/"), Request::Read(crate::proto::Read::WhoAmI)] {
        assert!(e.call(b.conn, request).is_ok());
    }
    let closed = e.ask(b.conn, Request::Write(Write::CloseSession));
    let heard = e.heard(b.conn);
    assert_eq!(replies(&heard), [(closed, true)]);
    assert_eq!(close_reason(&heard), Some(CloseReason::SessionClosed));
    assert_eq!(e.running[&follower].stats().local_sessions, 0);
}

#[test]
fn only_sessions_made_in_read_only_mode_go_on_in_it() {
    let mut e = ensemble();
    let follower = e.follower();
    let global = e.open(follower);
    e.cut.insert(follower);
    e.run(Duration::from_secs(10));
    let kept = turned_away(&mut e, follower, reader(global.session, &global.password));
    assert_eq!(kept, CloseReason::NoLeader, "it may be alive elsewhere");
    let unknown = turned_away(&mut e, follower, reader(SessionId(77), &[1; 16]));
    assert_eq!(unknown, CloseReason::NoLeader, "as far as this server knows");
    assert_eq!(turned_away(&mut e, follower, hello(SessionId(0), &[], 0)), CloseReason::NoLeader);
    let old = ConnectRequest { read_only: None, ..hello(SessionId(0), &[], 0) };
    assert_eq!(turned_away(&mut e, follower, old), CloseReason::NoLeader);
    let ahead = ConnectRequest { last_zxid_seen: i64::MAX, ..reader(SessionId(0), &[]) };
    assert_eq!(turned_away(&mut e, follower, ahead), CloseReason::ClientAhead);

    let b = open(&mut e, follower);
    let wrong = e.connect(follower, reader(b.session, &[0; 16]));
    assert_eq!(close_reason(&e.heard(wrong)), Some(CloseReason::SessionEnded));
    let again = e.connect(follower, reader(b.session, &b.password));
    assert!(matches!(&e.heard(again)[..], [Output::Connected { response, .. }]
        if response.session == b.session && response.read_only == Some(true)));
    assert_eq!(close_reason(&e.heard(b.conn)), Some(CloseReason::SessionMoved));
    e.run(Duration::from_secs(12));
    assert_eq!(close_reason(&e.heard(again)), Some(CloseReason::SessionEnded), "it was silent");
    let late = e.connect(follower, reader(b.session, &b.password));
    assert_eq!(close_reason(&e.heard(late)), Some(CloseReason::SessionEnded));
}

#[test]
fn a_local_session_of_before_goes_on_reading_and_writes_again_when_the_leader_is_back() {
    let mut e = Ensemble::with(3, |config| {
        config.read_only_after = Some(Duration::from_secs(4));
        config.local_sessions = true;
    });
    let follower = e.follower();
    let (quiet, busy) = (e.open(follower), e.open(follower));
    e.cut.insert(follower);
    e.ask(busy.conn, create("/late", 0));
    e.run(Duration::from_secs(6));
    assert_eq!(close_reason(&e.heard(quiet.conn)), Some(CloseReason::NoLeader));
    let wrong = e.connect(follower, reader(quiet.session, &[1; 16]));
    assert_eq!(close_reason(&e.heard(wrong)), Some(CloseReason::SessionEnded));
    let writer = hello(quiet.session, &quiet.password, 0);
    assert_eq!(turned_away(&mut e, follower, writer), CloseReason::NoLeader);
    let unfinished = turned_away(&mut e, follower, reader(busy.session, &busy.password));
    assert_eq!(unfinished, CloseReason::NoLeader, "what it wrote is still under way");
    let again = e.connect(follower, reader(quiet.session, &quiet.password));
    assert!(matches!(&e.heard(again)[..], [Output::Connected { response, .. }]
        if response.session == quiet.session && response.read_only == Some(true)));
    assert_eq!(e.call(again, create("/w", 0)), Err(ErrorCode::NotReadOnly));
    assert_eq!(e.call(again, exists("/w")), Err(ErrorCode::NoNode));
    e.cut.clear();
    e.run(Duration::from_secs(2));
    assert_eq!(close_reason(&e.heard(again)), Some(CloseReason::WritableAgain));
    for client in [&quiet, &busy] {
        let back = e.resume(follower, client);
        assert!(matches!(&e.heard(back)[..], [Output::Connected { response, .. }]
            if response.session == client.session));
        assert!(e.call(back, exists("/late")).is_ok());
        e.call(back, create(&format!("/{}", client.session), 0)).expect("created");
    }
}

#[test]
fn a_local_session_that_reads_expires_and_one_that_cannot_come_back_does_not() {
    let mut e = Ensemble::with(3, |config| {
        config.read_only_after = Some(Duration::from_secs(4));
        config.local_sessions = true;
    });
    let follower = e.follower();
    let (reads, waits) = (e.open(follower), e.open(follower));
    e.cut.insert(follower);
    e.run(Duration::from_secs(6));
    let again = e.connect(follower, reader(reads.session, &reads.password));
    assert!(matches!(&e.heard(again)[..], [Output::Connected { .. }]));
    e.run(Duration::from_secs(60));
    assert_eq!(close_reason(&e.heard(again)), Some(CloseReason::SessionEnded), "it was silent");
    assert_eq!(e.running[&follower].stats().local_sessions, 1);
    e.cut.clear();
    e.run(Duration::from_secs(2));
    let back = e.resume(follower, &waits);
    assert!(matches!(&e.heard(back)[..], [Output::Connected { response, .. }]
        if response.session == waits.session));
}

#[test]
fn when_the_leader_is_back_readers_come_again_and_may_write() {
    for local_sessions in [false, true] {
        let mut e = Ensemble::with(3, |config| {
            config.read_only_after = Some(Duration::from_secs(4));
            config.local_sessions = local_sessions;
        });
        let follower = e.follower();
        let global = e.open(follower);
        e.cut.insert(follower);
        e.run(Duration::from_secs(6));
        let b = open(&mut e, follower);
        let read = Request::Read(crate::proto::Read::Exists { path: "/w".into(), watch: true });
        assert_eq!(e.call(b.conn, read), Err(ErrorCode::NoNode));
        e.cut.clear();
        e.run(Duration::from_secs(2));
        assert_eq!(close_reason(&e.heard(b.conn)), Some(CloseReason::WritableAgain));
        let stats = e.running[&follower].stats();
        assert_eq!((stats.mode, stats.watches), (Mode::Follower, 0));
        let gone = e.connect(follower, reader(b.session, &b.password));
        assert_eq!(close_reason(&e.heard(gone)), Some(CloseReason::SessionEnded));
        let fresh = e.connect(follower, reader(SessionId(0), &[]));
        assert!(matches!(&e.heard(fresh)[..], [Output::Connected { response, .. }]
            if response.read_only == Some(false)));
        e.call(fresh, create("/w", 0)).expect("created");
        // Who could write before goes on with the session of then.
        let back = e.resume(follower, &global);
        assert!(matches!(&e.heard(back)[..], [Output::Connected { response, .. }]
            if response.session == global.session));
    }
}

#[test]
fn who_is_no_member_serves_no_reads_either() {
    let mut e = ensemble();
    let follower = e.follower();
    let voters = e.running.keys().copied().filter(|&id| id != follower);
    let wanted = Membership::of_voters(voters);
    e.input(e.leader(), Input::ChangeMembership { id: crate::id::ChangeId(1), wanted });
    e.run(Duration::from_secs(20));
    assert_eq!(e.running[&follower].stats().mode, Mode::Looking);
    assert_eq!(turned_away(&mut e, follower, reader(SessionId(0), &[])), CloseReason::NoLeader);
}
