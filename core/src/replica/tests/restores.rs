//! Restores through the log: over elections, crashes and snapshots, and what clients see of them.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::db::{Action, ImageNode, Prepared, RestoreError, RestoredSession};
use crate::id::{Nonce, RestoreId, Sequence, Token};
use crate::proto::{ErrorCode, EventKind, Read, Request, Rewatch, Write};
use crate::replica::restoring::PATIENCE;

const MINE: RestoreId = RestoreId(1);
/// So large that a piece holds one.
const LARGE: usize = 400 << 10;

/// The state of a server as a snapshot, with so many large znodes more.
fn snapshot(e: &Ensemble, server: ServerId, n_large: usize) -> Prepared {
    let db = e.running[&server].database();
    let sessions = db.sessions().map(|session| RestoredSession {
        id: session.id,
        password: session.password,
        timeout_ms: session.timeout_ms,
    });
    let sessions: Vec<_> = sessions.collect();
    let mut znodes: Vec<ImageNode> = db.freeze().nodes().collect();
    let root = znodes[0].clone();
    let data = Some(Bytes::from(vec![7; LARGE]));
    znodes.extend((0..n_large).map(|n| ImageNode {
        path: format!("/large-{n:03}").into(),
        data: data.clone(),
        ..root.clone()
    }));
    Prepared::new(znodes, sessions).expect("it is a state")
}

fn restore(e: &mut Ensemble, server: ServerId, prepared: &Prepared) {
    e.input(server, Input::Restore { id: MINE, prepared: prepared.clone() });
}

/// How it ended, as whoever asked was told, once.
fn end(e: &mut Ensemble) -> RestoreEnd {
    let [(MINE, end)] = &e.restored[..] else { panic!("{:?}", e.restored) };
    let end = end.clone();
    e.restored.clear();
    end
}

fn is_done(e: &mut Ensemble) -> bool {
    matches!(end(e), RestoreEnd::Done { .. })
}

/// Hands the input over, and nothing that follows from it.
fn without_delivery(e: &mut Ensemble, server: ServerId, input: Input) {
    let now = e.now();
    e.running.get_mut(&server).expect("it runs").handle(now, input);
}

fn is_there(e: &mut Ensemble, conn: ConnId, path: &str) -> bool {
    match e.call(conn, exists(path)) {
        Ok(_) => true,
        Err(ErrorCode::NoNode) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn one_request_to_any_server_restores_all_of_them() {
    for asks_leader in [true, false] {
        let mut e = Ensemble::new(3);
        let server = if asks_leader { e.leader() } else { e.follower() };
        let client = e.open(server);
        e.call(client.conn, create("/kept", 0)).expect("create");
        let prepared = snapshot(&e, server, 20);
        assert!(prepared.steps().len() > 20, "it comes in pieces");
        e.call(client.conn, create("/later", 0)).expect("create");
        restore(&mut e, server, &prepared);
        assert!(is_done(&mut e));
        assert_eq!(e.digests().len(), 1);
        for id in e.running.keys().copied().collect::<Vec<_>>() {
            let conn = e.open(id).conn;
            assert!(is_there(&mut e, conn, "/kept") && is_there(&mut e, conn, "/large-019"));
            assert!(!is_there(&mut e, conn, "/later"));
        }
        e.call(client.conn, create("/later", 0)).expect("its session goes on");
        // The same on every member, as scripts do it, with nothing written since.
        let again = snapshot(&e, server, 0);
        for id in e.running.keys().copied().collect::<Vec<_>>() {
            restore(&mut e, id, &again);
            assert!(is_done(&mut e));
            assert!(is_there(&mut e, client.conn, "/later"));
        }
    }
}

#[test]
fn a_restore_survives_its_leader_wherever_it_is_when_the_leader_dies() {
    for n_messages in [0, 3, 8, 15, 25, 40, 80, 120, 160] {
        let mut e = Ensemble::new(3);
        let (leader, server) = (e.leader(), e.follower());
        let prepared = snapshot(&e, server, 30);
        let client = e.open(server);
        e.call(client.conn, create("/later", 0)).expect("create");
        e.messages_left = Some(n_messages);
        restore(&mut e, server, &prepared);
        e.crash(leader);
        e.messages_left = None;
        e.run(Duration::from_secs(20));
        assert!(is_done(&mut e), "after {n_messages} messages");
        e.start(leader);
        e.run(Duration::from_secs(5));
        assert_eq!(e.digests().len(), 1);
        assert!(is_gone(&e, "/later") && !is_gone(&e, "/large-029"));
    }
}

#[test]
fn a_restore_whose_own_server_dies_is_done_everywhere_or_nowhere() {
    let mut ends = BTreeSet::new();
    for n_messages in [0, 3, 8, 25, 80, 160, 300] {
        let mut e = Ensemble::new(3);
        let server = e.follower();
        let prepared = snapshot(&e, server, 30);
        let client = e.open(e.leader());
        e.call(client.conn, create("/later", 0)).expect("create");
        e.messages_left = Some(n_messages);
        restore(&mut e, server, &prepared);
        e.crash(server);
        e.messages_left = None;
        e.run(Duration::from_secs(20));
        e.start(server);
        e.run(Duration::from_secs(5));
        assert_eq!(e.digests().len(), 1);
        assert!(e.running.values().all(|it| !it.database().is_restoring()));
        let is_done = is_gone(&e, "/later");
        assert_eq!(is_gone(&e, "/large-000"), !is_done, "after {n_messages} messages");
        ends.insert(is_done);
    }
    assert_eq!(ends.len(), 2, "both came about");
}

fn is_gone(e: &Ensemble, path: &str) -> bool {
    e.running.values().all(|replica| replica.database().stat(path).is_none())
}

/// Begins a restore of which nothing more comes: its server is gone.
fn begun_and_left(e: &mut Ensemble, server: ServerId) {
    restore_begins(e, server);
    e.crash(server);
    e.run(Duration::from_millis(100));
    let restoring = e.running.values().filter(|it| it.database().is_restoring()).count();
    assert_eq!(restoring, e.running.len(), "all others have begun it");
}

/// As if `server` had asked for the beginning of a restore.
fn restore_begins(e: &mut Ensemble, server: ServerId) {
    let replaces = e.running[&server].database().restores().begun;
    give(e, server, Action::BeginRestore { replaces, nonce: Nonce(77) });
    e.run(Duration::from_millis(100));
}

/// As if `server` had asked for this.
fn give(e: &mut Ensemble, server: ServerId, action: Action) {
    let message = Message::Forward(vec![action]);
    let leader = e.leader();
    e.input(leader, Input::Message { from: server, message });
}

fn step(token: Token, n: usize, prepared: &Prepared) -> Action {
    let step = prepared.steps()[n].clone();
    Action::Restore { token, number: Sequence(n as u64 + 1), step }
}

#[test]
fn a_restore_of_which_nothing_more_comes_is_given_up_and_clients_go_on() {
    let mut e = Ensemble::new(3);
    let server = e.follower();
    let other = *e.running.keys().find(|id| **id != server && **id != e.leader()).unwrap();
    let (client, reader) = (e.open(other), e.open(other));
    let prepared = snapshot(&e, server, 3);
    begun_and_left(&mut e, server);
    let asked = e.ask(client.conn, create("/held", 0));
    assert_eq!(e.heard(client.conn).len(), 0, "it waits");
    assert!(!is_there(&mut e, reader.conn, "/held"), "reads are served meanwhile");
    // Another restore is told so.
    restore(&mut e, other, &prepared);
    assert_eq!(end(&mut e), RestoreEnd::Busy);
    e.run(Duration::from_secs(8));
    assert!(e.running.values().all(|it| it.database().is_restoring()));
    e.ask(client.conn, Request::Ping);
    e.run(Duration::from_secs(4));
    assert!(e.running.values().all(|it| !it.database().is_restoring()));
    assert_eq!(replies(&e.heard(client.conn))[0], (asked, true));
    restore(&mut e, other, &prepared);
    assert!(is_done(&mut e));
    e.start(server);
    e.run(Duration::from_secs(5));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_new_leader_gives_up_what_the_old_one_did_not() {
    let mut e = Ensemble::new(3);
    let (leader, server) = (e.leader(), e.follower());
    begun_and_left(&mut e, server);
    e.start(server);
    e.crash(leader);
    e.run(Duration::from_secs(5));
    assert!(e.running.values().all(|it| it.database().is_restoring()));
    e.run(Duration::from_secs(12));
    assert!(e.running.values().all(|it| !it.database().is_restoring()));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn writes_wait_for_the_end_and_are_served_on_the_new_state() {
    let mut e = Ensemble::new(3);
    let (leader, server) = (e.leader(), e.follower());
    let client = e.open(leader);
    e.call(client.conn, create("/a", 0)).expect("create");
    let prepared = snapshot(&e, server, 4);
    e.call(client.conn, set("/a", "y", -1)).expect("set");
    restore_begins(&mut e, server);
    let asked = e.ask(client.conn, set("/a", "z", 0));
    let opening = e.connect(leader, hello(SessionId(0), &[0; 16], 0));
    e.run(Duration::from_secs(3));
    assert_eq!(replies(&e.heard(client.conn)), []);
    assert_eq!(e.heard(opening).len(), 0, "so does a new session");
    // The restore goes on as its server would have it.
    let token = e.running[&leader].database().restores().begun;
    for n in 0..prepared.steps().len() {
        give(&mut e, server, step(token, n, &prepared));
    }
    // Version 0 is that of the snapshot.
    assert_eq!(replies(&e.heard(client.conn)), [(asked, true)], "at once, and no later");
    assert!(matches!(e.heard(opening)[..], [Output::Connected { .. }]));
    assert_eq!(data_of(e.call(client.conn, get("/a", false))), "z");
}

#[test]
fn sessions_that_are_not_in_it_are_let_go_and_those_that_are_get_their_full_time() {
    let mut e = Ensemble::new(3);
    let (leader, server) = (e.leader(), e.follower());
    let (kept, ended) = (e.open(leader), e.open(server));
    e.call(ended.conn, create("/owned", 1)).expect("create");
    let prepared = snapshot(&e, server, 0);
    e.ask(ended.conn, Request::Write(Write::CloseSession));
    let late = e.open(server);
    e.call(late.conn, create("/late", 1)).expect("create");
    restore(&mut e, leader, &prepared);
    assert!(is_done(&mut e));
    assert_eq!(close_reason(&e.heard(late.conn)), Some(CloseReason::SessionEnded));
    let again = e.resume(server, &late);
    assert_eq!(close_reason(&e.heard(again)), Some(CloseReason::SessionEnded), "it is unknown");
    assert!(is_there(&mut e, kept.conn, "/owned") && !is_there(&mut e, kept.conn, "/late"));
    // It has come to life: whoever shows its password has it, or it expires.
    e.run(Duration::from_secs(8));
    e.ask(kept.conn, Request::Ping);
    assert!(is_there(&mut e, kept.conn, "/owned"));
    e.run(Duration::from_secs(3));
    assert!(!is_there(&mut e, kept.conn, "/owned"));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_session_that_came_to_life_is_attached_by_its_password() {
    let mut e = Ensemble::new(3);
    let server = e.follower();
    let client = e.open(server);
    e.call(client.conn, create("/owned", 1)).expect("create");
    let prepared = snapshot(&e, server, 0);
    e.ask(client.conn, Request::Write(Write::CloseSession));
    restore(&mut e, server, &prepared);
    assert!(is_done(&mut e));
    let conn = e.resume(server, &client);
    assert!(matches!(e.heard(conn)[..], [Output::Connected { .. }]));
    e.call(conn, create("/more", 0)).expect("it writes");
}

#[test]
fn whoever_watches_what_differs_hears_of_it_before_anything_shows_it() {
    let mut e = Ensemble::new(3);
    let server = e.follower();
    let (writer, watcher) = (e.open(e.leader()), e.open(server));
    for path in ["/set", "/same", "/gone"] {
        e.call(writer.conn, create(path, 0)).expect("create");
    }
    let prepared = snapshot(&e, server, 0);
    e.call(writer.conn, set("/set", "y", -1)).expect("set");
    e.call(writer.conn, create("/new", 0)).expect("create");
    let delete = Write::Delete { path: "/gone".into(), version: -1 };
    e.call(writer.conn, Request::Write(delete)).expect("delete");
    for path in ["/set", "/same", "/new"] {
        e.call(watcher.conn, get(path, true)).expect("get");
    }
    let exists = Read::Exists { path: "/gone".into(), watch: true };
    e.call(watcher.conn, Request::Read(exists)).expect_err("it is not there");
    let children = Read::GetChildren { path: "/".into(), watch: true, with_stat: false };
    e.call(watcher.conn, Request::Read(children)).expect("children");
    restore(&mut e, server, &prepared);
    let RestoreEnd::Done { zxid } = end(&mut e) else { panic!("it is done") };
    let heard: Vec<_> = e
        .heard(watcher.conn)
        .into_iter()
        .map(|output| match output {
            Output::Notify { zxid: at, event, .. } => {
                assert_eq!(at, zxid);
                (event.kind, event.path.to_string())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (EventKind::Deleted, "/new"),
        (EventKind::ChildrenChanged, "/"),
        (EventKind::Created, "/gone"),
        (EventKind::DataChanged, "/set"),
    ];
    assert_eq!(heard, expected.map(|(kind, path)| (kind, path.to_owned())));
    e.call(writer.conn, set("/same", "z", -1)).expect("set");
    assert_eq!(e.heard(watcher.conn).len(), 1, "what is the same is watched still");
}

#[test]
fn whoever_was_away_during_a_restore_learns_that_anything_may_have_changed() {
    let mut e = Ensemble::new(3);
    let server = e.follower();
    let client = e.open(server);
    e.call(client.conn, create("/a", 0)).expect("create");
    let prepared = snapshot(&e, server, 0);
    e.call(client.conn, set("/a", "y", -1)).expect("set");
    let seen = e.running[&server].database().zxid();
    e.input(server, Input::Disconnect { conn: client.conn });
    restore(&mut e, server, &prepared);
    let RestoreEnd::Done { zxid } = end(&mut e) else { panic!("it is done") };
    // Also at a server that has begun anew since, from its snapshot.
    let state = e.running[&server].snapshot();
    e.crash(server);
    e.disks.get_mut(&server).unwrap().snapshot = Some(state);
    e.start(server);
    e.run(Duration::from_secs(3));
    for (relative, n_events) in [(seen, 2), (zxid, 0)] {
        let conn = e.connect(server, hello(client.session, &client.password, relative.0));
        e.heard(conn);
        let rewatch = Rewatch {
            relative_zxid: relative.0,
            data: vec!["/a".into()],
            child: vec!["/".into()],
            ..Rewatch::default()
        };
        e.ask(conn, Request::SetWatches(rewatch));
        let events = e.heard(conn).iter().filter(|it| matches!(it, Output::Notify { .. })).count();
        assert_eq!(events, n_events);
    }
}

#[test]
fn a_server_that_is_far_behind_gets_what_has_come_of_a_restore_with_the_state() {
    let mut e = Ensemble::with(3, |config| {
        config.snapshot_entries = 5;
        config.raft.keep_entries = 2;
    });
    let (leader, server) = (e.leader(), e.follower());
    let behind = *e.running.keys().find(|id| **id != server && **id != leader).unwrap();
    let prepared = snapshot(&e, server, 12);
    e.crash(behind);
    let client = e.open(leader);
    for n in 0..40 {
        e.call(client.conn, create(&format!("/later-{n}"), 0)).expect("create");
    }
    restore_begins(&mut e, server);
    let token = e.running[&leader].database().restores().begun;
    let half = prepared.steps().len() / 2;
    (0..half).for_each(|n| give(&mut e, server, step(token, n, &prepared)));
    // What it lacks of the log is gone.
    e.start(behind);
    e.run(Duration::from_secs(3));
    assert!(e.running[&behind].database().is_restoring());
    (half..prepared.steps().len()).for_each(|n| give(&mut e, server, step(token, n, &prepared)));
    e.run(Duration::from_secs(3));
    assert_eq!(e.digests().len(), 1);
    assert!(is_gone(&e, "/later-7") && !is_gone(&e, "/large-011"));
}

#[test]
fn whoever_asked_is_told_when_it_is_not_known_how_it_ends() {
    let mut e = Ensemble::new(3);
    let server = e.follower();
    let prepared = snapshot(&e, server, 0);
    e.cut.insert(server);
    e.peers(server, false);
    without_delivery(&mut e, server, Input::Restore { id: MINE, prepared });
    e.run(PATIENCE + Duration::from_secs(2));
    assert_eq!(end(&mut e), RestoreEnd::Unknown);
}

#[test]
fn without_room_a_restore_is_refused() {
    let mut e = Ensemble::new(1);
    let server = e.leader();
    let prepared = snapshot(&e, server, 0);
    e.input(server, Input::Room { is_short: true });
    restore(&mut e, server, &prepared);
    assert_eq!(end(&mut e), RestoreEnd::Failed(RestoreError::NoRoom));
    e.input(server, Input::Room { is_short: false });
    restore(&mut e, server, &prepared);
    assert!(is_done(&mut e));
}
