//! Conversations of a few replicas, one story a test.

mod auth;
mod counts;
mod deeds;
mod doubt;
mod ensemble;
mod groups;
mod local;
mod members;
mod read_only;
mod reconfig_requests;
mod restores;
mod room;
mod sessions;
mod watches;

use std::time::Duration;

use super::*;
use crate::id::Xid;
use crate::proto::{AuthPacket, ErrorCode, EventKind, OpResult, Request, Response, Write};
use ensemble::*;

#[test]
fn a_standalone_server_serves() {
    let mut e = Ensemble::new(1);
    let a = e.open(ServerId(1));
    assert_eq!(e.call(a.conn, create("/a", 0)), Ok(Response::Path("/a".into())));
    assert_eq!(data_of(e.call(a.conn, get("/a", false))), "x");
    assert_eq!(e.running[&ServerId(1)].stats().mode, Mode::Standalone);
}

#[test]
fn a_write_through_a_follower_is_read_there_and_everywhere() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let b = e.open(leader);
    assert_eq!(e.call(a.conn, create("/a", 0)), Ok(Response::Path("/a".into())));
    assert_eq!(data_of(e.call(a.conn, get("/a", false))), "x");
    assert_eq!(data_of(e.call(b.conn, get("/a", false))), "x");
    e.run(Duration::from_secs(1));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn an_election_cuts_no_client_and_loses_doubles_and_reorders_no_write() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/q", 0)).expect("created");
    // The leader hears nobody any more, and it dies with writes under way to it.
    e.cut.insert(leader);
    let asked: Vec<_> = (0..5).map(|_| e.ask(a.conn, create("/q/n-", 2))).collect();
    e.crash(leader);
    e.cut.clear();
    e.run(Duration::from_secs(5));
    let heard = e.heard(a.conn);
    assert_eq!(replies(&heard), asked.iter().map(|&xid| (xid, true)).collect::<Vec<_>>());
    assert_eq!(heard.len(), asked.len(), "nothing but replies: {heard:?}");
    assert_eq!(e.children(a.conn, "/q").len(), 5);
}

#[test]
fn a_write_that_the_old_leader_had_logged_is_not_applied_twice() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/q", 0)).expect("created");
    // The write reaches every log, and one disk: it is not committed when the leader dies.
    e.stuck.extend([(leader, Vec::new()), (follower, Vec::new())]);
    let xid = e.ask(a.conn, create("/q/n-", 2));
    assert!(e.heard(a.conn).is_empty());
    e.crash(leader);
    e.unstick(follower);
    // The next leader has it in its log, and hears of it once more from the client's server.
    e.run(Duration::from_secs(5));
    assert_eq!(replies(&e.heard(a.conn)), [(xid, true)]);
    assert_eq!(e.children(a.conn, "/q").len(), 1);
    e.start(leader);
    e.run(Duration::from_secs(5));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_session_moves_and_its_former_connection_is_closed() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/e", 1)).expect("created");
    let moved = e.resume(leader, &a);
    match &e.heard(moved)[..] {
        [Output::Connected { response, .. }] => assert_eq!(response.session, a.session),
        other => panic!("{other:?}"),
    }
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionMoved));
    assert_eq!(data_of(e.call(moved, get("/e", false))), "x");
}

#[test]
fn a_late_write_of_the_former_connection_changes_nothing() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    let token = e.running[&leader].database().session(a.session).expect("open").token;
    // The follower is cut off with the client's write; the client goes to the leader meanwhile.
    e.cut.insert(follower);
    e.ask(a.conn, set("/a", "late", -1));
    let moved = e.resume(leader, &a);
    assert!(matches!(e.heard(moved)[..], [Output::Connected { .. }]));
    assert!(e.running[&leader].database().session(a.session).expect("open").token > token);
    e.cut.clear();
    e.run(Duration::from_secs(5));
    assert_eq!(data_of(e.call(moved, get("/a", false))), "x");
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionMoved));
}

#[test]
fn two_clients_of_one_session_end_with_one_attached() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let first = e.resume(follower, &a);
    let second = e.resume(leader, &a);
    e.run(Duration::from_secs(1));
    let closed: Vec<_> =
        [a.conn, first, second].map(|conn| close_reason(&e.heard(conn)).is_some()).into();
    assert_eq!(closed, [true, true, false]);
}

#[test]
fn a_wrong_password_and_an_unknown_session_are_refused() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    for (session, password) in [(a.session, vec![7; 16]), (a.session, vec![7; 3])] {
        let conn = e.connect(follower, hello(session, &password, 0));
        match &e.heard(conn)[..] {
            [Output::Connected { response, .. }, Output::Close { .. }] => {
                assert_eq!(response.timeout_ms, 0);
            }
            other => panic!("{other:?}"),
        }
    }
    let conn = e.connect(follower, hello(SessionId(99), &[7; 16], 0));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::SessionEnded));
    // The session itself is not harmed.
    assert!(e.call(a.conn, exists("/")).is_ok());
}

#[test]
fn a_client_that_has_seen_more_is_sent_away() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let conn = e.connect(follower, hello(SessionId(0), &[], i64::MAX));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::ClientAhead));
}

#[test]
fn a_silent_session_expires_with_its_ephemerals_and_a_pinging_one_does_not() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let silent = e.open(follower);
    let alive = e.open(follower);
    let watcher = e.open(leader);
    for (client, path) in [(&silent, "/silent"), (&alive, "/alive")] {
        e.call(client.conn, create(path, 1)).expect("created");
    }
    for _ in 0..8 {
        e.run(Duration::from_secs(3));
        e.call(alive.conn, exists("/")).expect("alive");
        e.call(watcher.conn, exists("/")).expect("alive");
    }
    assert_eq!(close_reason(&e.heard(silent.conn)), Some(CloseReason::SessionEnded));
    assert_eq!(e.call(watcher.conn, exists("/silent")), Err(ErrorCode::NoNode));
    assert!(e.call(watcher.conn, exists("/alive")).is_ok());
    let again = e.resume(follower, &silent);
    assert_eq!(close_reason(&e.heard(again)), Some(CloseReason::SessionEnded));
}

#[test]
fn a_new_leader_gives_every_session_its_full_timeout() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.run(Duration::from_secs(8));
    e.crash(leader);
    e.run(Duration::from_secs(8));
    assert!(e.heard(a.conn).is_empty(), "16 s of silence, but only 8 of them under this leader");
    e.run(Duration::from_secs(8));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionEnded));
}

#[test]
fn a_leader_knows_since_when_it_leads_what_it_proposed_and_when_sessions_end() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let told = e.now;
    e.call(a.conn, create("/a", 0)).expect("created");
    let stats = e.running[&leader].stats();
    assert!(stats.leads_since.is_some_and(|since| since < told));
    assert!(stats.proposal_bytes.last.is_some_and(|bytes| bytes > 64));
    assert!(stats.proposal_bytes.min <= stats.proposal_bytes.last);
    let deadline = e.running[&leader].session_deadline(a.session).expect("the leader watches it");
    assert!(deadline >= told + Duration::from_secs(10));
    let other = e.running[&follower].stats();
    assert_eq!((other.leads_since, other.proposal_bytes.last), (None, None));
    assert_eq!(e.running[&follower].session_deadline(a.session), None);
    let replica = e.running.get_mut(&leader).expect("it runs");
    replica.reset_stats();
    assert_eq!(replica.stats().proposal_bytes, Sizes::default());
}

#[test]
fn requests_that_wait_are_counted_until_their_answer_or_their_connection_s_end() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let (a, b) = (e.open(leader), e.open(leader));
    let others: Vec<_> = e.running.keys().copied().filter(|&id| id != leader).collect();
    e.cut.extend(others);
    for request in [Request::Sync("/".into()), exists("/"), create("/a", 0)] {
        e.ask(a.conn, request);
    }
    e.ask(b.conn, create("/b", 0));
    e.settle();
    assert_eq!(e.running[&leader].outstanding_total(), 4);
    let now = e.now();
    e.running.get_mut(&leader).expect("it runs").handle(now, Input::Disconnect { conn: a.conn });
    assert_eq!(e.running[&leader].outstanding_total(), 1);
    e.cut.clear();
    e.run(Duration::from_secs(4));
    assert_eq!(e.running[&leader].outstanding_total(), 0);
}

#[test]
fn a_pause_of_the_leader_expires_nobody() {
    let mut e = Ensemble::new(1);
    let a = e.open(ServerId(1));
    // Nothing runs for a minute; then the timers of the server come all at once.
    e.now += Duration::from_secs(60);
    e.run(Duration::from_secs(2));
    assert!(e.call(a.conn, exists("/")).is_ok());
}

#[test]
fn sync_is_not_answered_without_a_quorum() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let a = e.open(leader);
    let others: Vec<_> = e.running.keys().copied().filter(|&id| id != leader).collect();
    e.cut.extend(others);
    e.ask(a.conn, Request::Sync("/".into()));
    e.run(Duration::from_millis(500));
    assert!(e.heard(a.conn).is_empty());
    e.cut.clear();
    e.run(Duration::from_secs(4));
    assert_eq!(replies(&e.heard(a.conn)).len(), 1);
}

#[test]
fn a_read_behind_a_sync_sees_no_write_that_was_asked_for_after_it() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    let now = e.now();
    let conn = a.conn;
    let replica = e.running.get_mut(&follower).expect("it runs");
    let requests = [Request::Sync("/a".into()), get("/a", false), set("/a", "y", -1)];
    for (request, xid) in requests.into_iter().zip([101, 102, 103]) {
        replica.handle(now, Input::Request { conn, xid: Xid(xid), request });
    }
    e.settle();
    e.run(Duration::from_millis(200));
    let heard = e.heard(conn);
    let order: Vec<_> = replies(&heard).iter().map(|(xid, _)| xid.0).collect();
    assert_eq!(order, [101, 102, 103]);
    match &heard[1] {
        Output::Reply { result, .. } => assert_eq!(data_of(result.clone()), "x"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_comes_before_the_reply_that_shows_the_change() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    e.call(a.conn, get("/a", true)).expect("read");
    e.ask(a.conn, set("/a", "y", 0));
    match &e.heard(a.conn)[..] {
        [Output::Notify { zxid, event, .. }, Output::Reply { zxid: of_reply, .. }] => {
            assert_eq!(event.kind, EventKind::DataChanged);
            assert_eq!(zxid, of_reply);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_multi_is_all_or_nothing() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    let Request::Write(make) = create("/m", 0) else { unreachable!() };
    let bad = Write::Check { path: "/m".into(), version: 9 };
    let result = e.call(a.conn, Request::Write(Write::multi(vec![make, bad])));
    let expected = vec![OpResult::Error(None), OpResult::Error(Some(ErrorCode::BadVersion))];
    assert_eq!(result, Ok(Response::Multi(expected)));
    assert_eq!(e.call(a.conn, exists("/m")), Err(ErrorCode::NoNode));
}

#[test]
fn closing_a_session_answers_and_then_closes_the_connection() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/e", 1)).expect("created");
    e.ask(a.conn, Request::Write(Write::CloseSession));
    match &e.heard(a.conn)[..] {
        [Output::Reply { result: Ok(Response::Empty), .. }, Output::Close { reason, .. }] => {
            assert_eq!(*reason, CloseReason::SessionClosed);
        }
        other => panic!("{other:?}"),
    }
    let b = e.open(follower);
    assert_eq!(e.call(b.conn, exists("/e")), Err(ErrorCode::NoNode));
}

#[test]
fn a_server_that_is_far_behind_gets_a_snapshot_and_serves_again() {
    let mut e = Ensemble::with(3, |config| {
        config.snapshot_entries = 10;
        config.raft.keep_entries = 2;
    });
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(leader);
    e.call(a.conn, create("/q", 0)).expect("created");
    e.crash(follower);
    for _ in 0..60 {
        e.call(a.conn, create("/q/n-", 2)).expect("created");
    }
    e.start(follower);
    e.run(Duration::from_secs(5));
    let b = e.open(follower);
    assert_eq!(e.children(b.conn, "/q").len(), 60);
    assert_eq!(e.digests().len(), 1);
    // What it installed is durable: it comes back with it, and the ensemble goes on.
    e.crash(follower);
    e.start(follower);
    e.call(a.conn, create("/q/n-", 2)).expect("created");
    e.run(Duration::from_secs(3));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_server_without_a_leader_lets_its_clients_go_and_takes_none() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.cut.insert(follower);
    e.run(Duration::from_secs(8));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::NoLeader));
    let conn = e.connect(follower, hello(SessionId(0), &[], 0));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::NoLeader));
}

#[test]
fn everything_acknowledged_is_there_after_all_servers_restart() {
    let mut e = Ensemble::new(3);
    let server = e.follower();
    let a = e.open(server);
    e.call(a.conn, create("/q", 0)).expect("created");
    for _ in 0..20 {
        e.call(a.conn, create("/q/n-", 2)).expect("created");
    }
    let all: Vec<_> = e.running.keys().copied().collect();
    all.iter().for_each(|&id| e.crash(id));
    all.iter().for_each(|&id| e.start(id));
    e.run(Duration::from_secs(5));
    let follower = e.follower();
    let conn = e.resume(follower, &a);
    assert!(matches!(e.heard(conn)[..], [Output::Connected { .. }]), "the session lives on");
    assert_eq!(e.children(conn, "/q").len(), 20);
}

#[test]
fn an_ensemble_of_four_survives_one_loss_and_not_two() {
    let mut e = Ensemble::new(4);
    let leader = e.leader();
    e.crash(leader);
    e.run(Duration::from_secs(5));
    let second = e.leader();
    let a = e.open(e.follower());
    e.call(a.conn, create("/a", 0)).expect("three of four decide");
    e.crash(second);
    e.run(Duration::from_secs(5));
    let leads = |replica: &Replica| replica.raft().role() == Role::Leader;
    assert!(!e.running.values().any(leads), "two of four are no quorum");
}

#[test]
fn session_ids_of_a_server_only_grow() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let ids: Vec<_> = (0..5).map(|_| e.open(follower).session).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert!(ids.iter().all(|id| (id.0 >> 56) as u64 == follower.0));
}

fn auth(credentials: String) -> Request {
    let auth = Some(credentials.into_bytes().into());
    Request::Auth(AuthPacket { scheme: "digest".into(), auth })
}

#[test]
fn a_connection_that_adds_identities_without_end_is_cut() {
    let mut e = Ensemble::new(1);
    let a = e.open(ServerId(1));
    for n in 0..200 {
        e.call(a.conn, auth(format!("user{n}:secret"))).expect("two hundred are not too many");
        e.call(a.conn, auth(format!("user{n}:secret"))).expect("the same once more adds nothing");
    }
    let n = (0..100_000).find(|n| {
        e.ask(a.conn, auth(format!("another{n}:secret")));
        close_reason(&e.heard(a.conn)).is_some()
    });
    assert!(n.is_some_and(|n| n < 1_000), "{n:?}");
    let b = e.open(ServerId(1));
    e.ask(b.conn, auth("x".repeat(1_000_000)));
    match &e.heard(b.conn)[..] {
        [Output::Reply { result, .. }, Output::Close { reason, .. }] => {
            assert_eq!((result, *reason), (&Err(ErrorCode::AuthFailed), CloseReason::AuthFailed));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_waited_for_a_leader_goes_to_it_in_portions_and_all_of_it_arrives() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    // A hundred megabytes are more than one frame between servers may have.
    let data = Some(bytes::Bytes::from(vec![b'x'; 1_000_000]));
    let write = Write::SetData { path: "/a".into(), data, version: -1 };
    e.cut.insert(leader);
    let asked: Vec<_> = (0..100).map(|_| e.ask(a.conn, Request::Write(write.clone()))).collect();
    let now = e.now();
    let replica = e.running.get_mut(&follower).expect("it runs");
    replica.handle(now, Input::PeerUp { peer: leader });
    let mut sizes = Vec::new();
    while let Some(output) = replica.poll() {
        if let Output::Send { message: Message::Forward(actions), .. } = output {
            sizes.push(actions.iter().map(Action::size_bytes).sum::<usize>());
        }
    }
    assert!(sizes.iter().all(|&size| size < 2 << 20), "{sizes:?}");
    let total: usize = sizes.iter().sum();
    assert!((10 << 20..20 << 20).contains(&total), "{total}");
    e.cut.clear();
    e.run(Duration::from_secs(10));
    let expected: Vec<_> = asked.iter().map(|&xid| (xid, true)).collect();
    assert_eq!(replies(&e.heard(a.conn)), expected);
}

#[test]
fn the_log_does_not_grow_by_expiries_while_nothing_is_committed() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let a = e.open(leader);
    e.call(a.conn, create("/e", 1)).expect("created");
    // Followers hear and answer, but their disks keep nothing.
    let others: Vec<_> = e.running.keys().copied().filter(|&id| id != leader).collect();
    e.stuck.extend(others.iter().map(|&id| (id, Vec::new())));
    let last = e.running[&leader].raft().last().index;
    e.run(Duration::from_secs(60));
    assert_eq!(e.leader(), leader);
    assert_eq!(e.running[&leader].raft().last().index, last.next(), "one expiry");
    others.iter().for_each(|&id| e.unstick(id));
    e.run(Duration::from_secs(1));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionEnded));
}

#[test]
fn a_server_that_its_leader_does_not_hear_lets_its_clients_go_before_they_expire() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.mute.insert(follower);
    e.input(follower, Input::PeerDown { peer: leader });
    for _ in 0..5 {
        e.run(Duration::from_secs(1));
        e.ask(a.conn, Request::Ping);
    }
    assert_eq!(e.running[&follower].raft().leader(), Some(leader), "it hears the leader");
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::NoLeader));
    let conn = e.connect(follower, hello(SessionId(0), &[], 0));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::NoLeader));
    let elsewhere = e.resume(leader, &a);
    assert!(matches!(e.heard(elsewhere)[..], [Output::Connected { .. }]), "in time");
    e.mute.clear();
    e.input(follower, Input::PeerUp { peer: leader });
    let b = e.open(follower);
    assert!(e.call(b.conn, exists("/")).is_ok());
}

#[test]
fn a_leader_lost_and_found_within_one_wake_up_is_a_leader() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let other = *e.running.keys().find(|&&id| id != leader && id != follower).expect("a third");
    e.input(follower, Input::PeerDown { peer: leader });
    e.input(follower, Input::PeerUp { peer: leader });
    // It stands still until it is overdue; then everything that waited comes in at once.
    e.now += e.config.raft.broken_link_timeout;
    let now = e.now();
    let replica = e.running.get_mut(&follower).expect("it runs");
    replica.handle(now, Input::Wake);
    assert_eq!(replica.raft().leader(), None, "it stands for election");
    replica.handle(now, Input::PeerDown { peer: other });
    let (term, commit) = (replica.raft().term(), replica.raft().commit());
    let body = raft::Body::Heartbeat { commit, round: 0 };
    let message = Message::Raft(raft::Message { term, body });
    replica.handle(now, Input::Message { from: leader, message });
    assert_eq!(replica.raft().leader(), Some(leader));
    e.run(Duration::from_secs(10));
    let a = e.open(follower);
    assert!(e.call(a.conn, exists("/")).is_ok());
}

#[test]
fn a_server_whose_own_disk_stands_still_lets_its_clients_go() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.stuck.insert(follower, Vec::new());
    e.run(Duration::from_secs(2));
    assert!(e.call(a.conn, exists("/")).is_ok(), "nothing is agreed that it lacks");
    e.ask(a.conn, create("/a", 0));
    e.run(Duration::from_secs(5));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::NoLeader));
    let conn = e.connect(follower, hello(SessionId(0), &[], 0));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::NoLeader));
    let elsewhere = e.resume(leader, &a);
    assert!(matches!(e.heard(elsewhere)[..], [Output::Connected { .. }]));
    assert!(e.call(elsewhere, exists("/a")).is_ok(), "the others agreed on it");
    e.unstick(follower);
    e.run(Duration::from_secs(2));
    let b = e.open(follower);
    assert!(e.call(b.conn, exists("/a")).is_ok());
}
