//! Sessions that one server alone knows.

use super::*;

fn ensemble() -> Ensemble {
    Ensemble::with(3, |config| config.local_sessions = true)
}

fn upgrading() -> Ensemble {
    Ensemble::with(3, |config| {
        config.local_sessions = true;
        config.local_upgrading = true;
    })
}

fn close() -> Request {
    Request::Write(Write::CloseSession)
}

fn say_goodbye(e: &mut Ensemble, conn: ConnId) {
    let asked = e.ask(conn, close());
    let heard = e.heard(conn);
    assert_eq!(replies(&heard), [(asked, true)]);
    assert_eq!(close_reason(&heard), Some(CloseReason::SessionClosed));
}

fn last_zxid(e: &Ensemble, server: ServerId) -> i64 {
    e.running[&server].stats().zxid.0
}

fn is_refused(heard: &[Output]) -> bool {
    matches!(heard, [Output::Connected { response, .. }, Output::Close { .. }]
        if response.session == SessionId(0))
}

#[test]
fn a_local_session_costs_the_log_nothing_but_the_lane() {
    let mut e = ensemble();
    let (leader, follower) = (e.leader(), e.follower());
    for server in [leader, follower] {
        let before = last_zxid(&e, server);
        let a = e.open(server);
        assert_eq!(last_zxid(&e, server), before + 1, "the first one takes up the lane");
        let b = e.open(server);
        assert_ne!(a.session, b.session);
        assert!(e.call(b.conn, exists("/")).is_ok());
        say_goodbye(&mut e, b.conn);
        assert_eq!(last_zxid(&e, server), before + 1);
        let stats = e.running[&server].stats();
        assert_eq!((stats.sessions, stats.local_sessions), (0, 1));
        e.call(a.conn, create("/a", 0)).expect("created");
        e.call(a.conn, Request::Write(Write::Delete { path: "/a".into(), version: -1 }))
            .expect("deleted");
        assert_eq!(last_zxid(&e, server), before + 3);
    }
}

#[test]
fn local_sessions_read_write_and_watch() {
    let mut e = ensemble();
    let (leader, follower) = (e.leader(), e.follower());
    let (a, b) = (e.open(leader), e.open(follower));
    for client in [&a, &b] {
        let made = e.call(client.conn, create("/s-", 2));
        assert!(matches!(made, Ok(Response::Path(_))), "{made:?}");
    }
    assert_eq!(e.call(a.conn, get("/s-0000000001", true)).map(|_| ()), Ok(()));
    e.call(b.conn, set("/s-0000000001", "y", -1)).expect("set");
    let heard = e.heard(a.conn);
    assert!(
        matches!(&heard[..], [Output::Notify { event, .. }] if event.kind == EventKind::DataChanged)
    );
    assert_eq!(data_of(e.call(a.conn, get("/s-0000000001", false))), "y");
    e.run(Duration::from_secs(1));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn what_a_local_session_asks_for_is_answered_in_order() {
    let mut e = ensemble();
    let follower = e.follower();
    let a = e.open(follower);
    e.stuck.insert(follower, Vec::new());
    let mut asked = vec![e.ask(a.conn, create("/a", 0)), e.ask(a.conn, get("/a", false))];
    asked.push(e.ask(a.conn, Request::Sync("/".into())));
    asked.push(e.ask(a.conn, create("/b", 0)));
    asked.push(e.ask(a.conn, exists("/b")));
    asked.push(e.ask(a.conn, close()));
    e.ask(a.conn, create("/late", 0));
    assert!(e.heard(a.conn).is_empty());
    e.unstick(follower);
    e.run(Duration::from_secs(1));
    let heard = e.heard(a.conn);
    assert_eq!(replies(&heard), asked.iter().map(|&xid| (xid, true)).collect::<Vec<_>>());
    assert_eq!(close_reason(&heard), Some(CloseReason::SessionClosed));
    let b = e.open(follower);
    assert_eq!(e.call(b.conn, exists("/late")), Err(ErrorCode::NoNode));
}

#[test]
fn an_ephemeral_in_a_local_session_is_an_error_unless_it_may_be_upgraded() {
    let mut e = ensemble();
    let a = e.open(e.follower());
    for flags in [1, 3] {
        let before = last_zxid(&e, e.leader());
        let refused = e.call(a.conn, create("/e", flags));
        assert_eq!(refused, Err(ErrorCode::EphemeralOnLocalSession));
        assert_eq!(last_zxid(&e, e.leader()), before + 1, "a failed write takes a zxid");
    }
    let multi = Request::Write(Write::multi(vec![]));
    assert_eq!(e.call(a.conn, multi), Ok(Response::Multi(vec![])));
}

#[test]
fn an_ephemeral_upgrades_its_session_which_then_moves_like_any_other() {
    let mut e = upgrading();
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    let before = last_zxid(&e, follower);
    // All at once: what comes behind the upgrade waits for it and keeps its order.
    let asked = [
        e.ask(a.conn, create("/e", 1)),
        e.ask(a.conn, exists("/e")),
        e.ask(a.conn, create("/f", 3)),
        e.ask(a.conn, create("/p", 0)),
    ];
    let heard = e.heard(a.conn);
    assert_eq!(replies(&heard), asked.map(|xid| (xid, true)));
    assert_eq!(last_zxid(&e, follower), before + 4, "one more, for the upgrade");
    let known = e.running[&leader].database().session(a.session).expect("all know it").clone();
    assert_eq!((known.password, known.timeout_ms), (a.password, 10_000));
    assert_eq!(e.running[&follower].stats().local_sessions, 0);
    let moved = e.resume(leader, &a);
    assert!(matches!(&e.heard(moved)[..], [Output::Connected { response, .. }]
        if response.session == a.session && response.password == a.password));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionMoved));
    let own = Request::Read(crate::proto::Read::GetEphemerals { prefix: "/".into() });
    assert_eq!(e.call(moved, own), Ok(Response::Names(["/e", "/f0000000002"].into())));
    say_goodbye(&mut e, moved);
    let b = e.open(leader);
    assert_eq!(e.call(b.conn, exists("/e")), Err(ErrorCode::NoNode));
    e.run(Duration::from_secs(1));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_multi_with_an_ephemeral_upgrades_and_one_without_does_not() {
    let mut e = upgrading();
    let a = e.open(e.follower());
    let write = |path, flags| match create(path, flags) {
        Request::Write(write) => write,
        other => panic!("{other:?}"),
    };
    let plain = Write::multi(vec![write("/a", 0), write("/b", 0)]);
    e.call(a.conn, Request::Write(plain)).expect("done");
    assert_eq!(e.running[&e.leader()].stats().sessions, 0);
    let mixed = Write::multi(vec![write("/c", 0), write("/e", 1)]);
    match e.call(a.conn, Request::Write(mixed)) {
        Ok(Response::Multi(results)) => {
            assert!(results.iter().all(|result| matches!(result, OpResult::Create(_))));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(e.running[&e.leader()].stats().sessions, 1);
}

#[test]
fn a_session_that_is_closed_while_it_is_upgraded_leaves_nothing() {
    for at_leader in [true, false] {
        let mut e = upgrading();
        let server = if at_leader { e.leader() } else { e.follower() };
        let a = e.open(server);
        e.stuck.insert(server, Vec::new());
        let asked = [e.ask(a.conn, create("/e", 1)), e.ask(a.conn, close())];
        assert!(e.heard(a.conn).is_empty());
        e.unstick(server);
        e.run(Duration::from_secs(1));
        let heard = e.heard(a.conn);
        assert_eq!(replies(&heard), asked.map(|xid| (xid, true)));
        assert_eq!(close_reason(&heard), Some(CloseReason::SessionClosed));
        let stats = e.running[&server].stats();
        assert_eq!((stats.sessions, stats.local_sessions, stats.ephemerals), (0, 0, 0));
    }
}

#[test]
fn a_client_that_leaves_while_its_session_is_upgraded_finds_it_again() {
    let mut e = upgrading();
    let follower = e.follower();
    let a = e.open(follower);
    e.stuck.insert(follower, Vec::new());
    e.ask(a.conn, create("/e", 1));
    e.input(follower, Input::Disconnect { conn: a.conn });
    let again = e.resume(follower, &a);
    assert!(e.heard(again).is_empty(), "what it said before is on its way");
    e.unstick(follower);
    e.run(Duration::from_secs(1));
    assert!(matches!(&e.heard(again)[..], [Output::Connected { response, .. }]
        if response.session == a.session));
    assert_eq!(e.call(again, create("/e", 1)), Ok(Response::Path("/e".into())));
    let stats = e.running[&follower].stats();
    assert_eq!((stats.sessions, stats.local_sessions), (1, 0));
}

#[test]
fn a_local_session_goes_on_at_its_server_and_nowhere_else() {
    let mut e = ensemble();
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let elsewhere = e.resume(leader, &a);
    assert!(is_refused(&e.heard(elsewhere)), "others do not know it");
    let stranger = Client { password: [9; 16], ..a.clone() };
    let wrong = e.resume(follower, &stranger);
    assert!(is_refused(&e.heard(wrong)));
    assert!(e.call(a.conn, exists("/")).is_ok(), "a wrong password disturbs nobody");
    let again = e.resume(follower, &a);
    assert!(matches!(&e.heard(again)[..], [Output::Connected { response, .. }]
        if response.session == a.session && response.password == a.password));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionMoved));
    e.call(again, create("/a", 0)).expect("created");
    e.crash(follower);
    e.start(follower);
    e.run(Duration::from_secs(2));
    let after = e.resume(follower, &a);
    assert!(is_refused(&e.heard(after)), "it does not survive its server");
}

#[test]
fn a_session_speaks_again_when_what_it_said_before_is_done() {
    let mut e = ensemble();
    let follower = e.follower();
    let (a, b) = (e.open(follower), e.open(follower));
    e.stuck.insert(follower, Vec::new());
    e.ask(a.conn, create("/a", 0));
    let again = e.resume(follower, &a);
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionMoved));
    assert!(e.heard(again).is_empty());
    let other = e.resume(follower, &b);
    assert!(matches!(e.heard(other)[..], [Output::Connected { .. }]), "others need not wait");
    e.unstick(follower);
    e.run(Duration::from_secs(1));
    assert!(matches!(e.heard(again)[..], [Output::Connected { .. }]));
    assert!(e.call(again, exists("/a")).is_ok());
}

#[test]
fn an_election_cuts_no_local_session_and_loses_doubles_and_reorders_no_write() {
    let mut e = ensemble();
    let (leader, follower) = (e.leader(), e.follower());
    let (a, b) = (e.open(follower), e.open(follower));
    e.call(a.conn, create("/q", 0)).expect("created");
    e.stuck.extend([(leader, Vec::new()), (follower, Vec::new())]);
    // Some are in every log and on one disk, others are lost with the leader.
    let mut asked: Vec<_> = (0..3).map(|_| e.ask(a.conn, create("/q/n-", 2))).collect();
    e.ask(b.conn, create("/q/m-", 2));
    e.input(follower, Input::Disconnect { conn: b.conn });
    e.cut.insert(leader);
    asked.extend((0..3).map(|_| e.ask(a.conn, create("/q/n-", 2))));
    e.crash(leader);
    e.cut.clear();
    e.unstick(follower);
    e.run(Duration::from_secs(5));
    let heard = e.heard(a.conn);
    assert_eq!(replies(&heard), asked.iter().map(|&xid| (xid, true)).collect::<Vec<_>>());
    assert_eq!(e.children(a.conn, "/q").len(), 7, "also of the client that is gone");
    e.start(leader);
    e.run(Duration::from_secs(5));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_snapshot_passes_what_is_in_the_lane() {
    let mut e = Ensemble::with(3, |config| {
        config.local_sessions = true;
        config.local_upgrading = true;
        config.snapshot_entries = 10;
        config.raft.keep_entries = 1;
        config.orphan_timeout = Duration::from_secs(60);
    });
    let (leader, follower) = (e.leader(), e.follower());
    let (a, up) = (e.open(follower), e.open(follower));
    e.stuck.insert(follower, Vec::new());
    e.ask(a.conn, create("/a", 0));
    e.ask(up.conn, create("/e", 1));
    e.cut.insert(follower);
    let b = e.open(leader);
    for _ in 0..40 {
        e.call(b.conn, create("/n-", 2)).expect("created");
    }
    e.unstick(follower);
    e.cut.clear();
    e.run(Duration::from_secs(5));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::Resynchronized));
    let again = e.resume(follower, &a);
    assert!(matches!(e.heard(again)[..], [Output::Connected { .. }]));
    assert!(e.call(again, exists("/a")).is_ok());
    e.call(again, create("/b", 0)).expect("the lane goes on");
    let up = e.resume(follower, &up);
    assert!(matches!(e.heard(up)[..], [Output::Connected { .. }]));
    assert_eq!(e.call(up, create("/f", 1)), Ok(Response::Path("/f".into())));
    e.run(Duration::from_secs(1));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_silent_local_session_is_ended_by_its_server_and_a_pinging_one_is_not() {
    let mut e = ensemble();
    let follower = e.follower();
    let (silent, alive, gone) = (e.open(follower), e.open(follower), e.open(follower));
    e.input(follower, Input::Disconnect { conn: gone.conn });
    for _ in 0..4 {
        e.run(Duration::from_secs(4));
        e.ask(alive.conn, Request::Ping);
        assert_eq!(replies(&e.heard(alive.conn)), [(Xid(-2), true)]);
    }
    assert_eq!(close_reason(&e.heard(silent.conn)), Some(CloseReason::SessionEnded));
    assert_eq!(e.running[&follower].stats().local_sessions, 1);
    for ended in [&silent, &gone] {
        let again = e.resume(follower, ended);
        assert!(is_refused(&e.heard(again)));
    }
}

#[test]
fn while_nobody_can_be_served_no_local_session_ends() {
    let mut e = ensemble();
    let follower = e.follower();
    let a = e.open(follower);
    e.cut.insert(follower);
    e.run(Duration::from_secs(30));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::NoLeader));
    e.cut.clear();
    e.run(Duration::from_secs(5));
    let again = e.resume(follower, &a);
    assert!(matches!(e.heard(again)[..], [Output::Connected { .. }]));
}

#[test]
fn another_process_with_the_same_number_takes_the_lane_away() {
    let mut e = ensemble();
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let replaces = e.running[&leader].database().lane(follower).expect("taken up").token;
    let first = SessionId(e.running[&leader].database().last_session_id(follower.0 as u8).0 + 1);
    let nonce = crate::id::Nonce(7);
    let enroll = Action::Enroll { server: follower, first, replaces, nonce };
    let message = Message::Forward(vec![enroll]);
    e.input(leader, Input::Message { from: follower, message });
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionMoved));
    let b = e.open(follower);
    assert_eq!(e.call(b.conn, create("/b", 0)), Ok(Response::Path("/b".into())));
}

#[test]
fn a_ping_costs_no_message_and_no_entry() {
    for local in [true, false] {
        let mut e = Ensemble::with(3, |config| config.local_sessions = local);
        let (leader, follower) = (e.leader(), e.follower());
        let clients: Vec<Client> = (0..20).map(|_| e.open(follower)).collect();
        e.run(Duration::from_secs(1));
        let entries = e.running[&leader].stats().applied;
        let count = |e: &mut Ensemble, pings: usize| {
            let now = e.now();
            let replica = e.running.get_mut(&follower).expect("it runs");
            let mut sent = 0;
            for _ in 0..pings {
                for client in &clients {
                    let (conn, xid) = (client.conn, Xid(-2));
                    replica.handle(now, Input::Request { conn, xid, request: Request::Ping });
                    while let Some(output) = replica.poll() {
                        sent += usize::from(matches!(output, Output::Send { .. }));
                    }
                }
            }
            sent
        };
        assert_eq!(count(&mut e, 100), 0, "2,000 pings are answered on the spot");
        // Once an upkeep, all that were heard from are named together, and local ones never.
        e.now += Duration::from_millis(500);
        let now = e.now();
        let replica = e.running.get_mut(&follower).expect("it runs");
        replica.handle(now, Input::Wake);
        let mut named = Vec::new();
        while let Some(output) = replica.poll() {
            if let Output::Send { message: Message::Heard(sessions), .. } = output {
                named.push(sessions.len());
            }
        }
        assert_eq!(named, if local { vec![] } else { vec![20] });
        e.run(Duration::from_secs(1));
        assert_eq!(e.running[&leader].stats().applied, entries, "and none is in the log");
    }
}
