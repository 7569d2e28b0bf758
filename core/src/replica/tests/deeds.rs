//! What is noted for an audit, and by whom.

use super::*;
use crate::proto::Id;

fn noting(servers: u64) -> Ensemble {
    Ensemble::with(servers, |config| config.notes_deeds = true)
}

/// What `server` noted since it was last asked: each write's path and whether it was done, and what
/// went with a session.
fn noted(e: &mut Ensemble, server: ServerId) -> Vec<String> {
    let deeds = e.running.get_mut(&server).expect("it runs").take_deeds();
    let line = |deed: &Deed| match deed {
        Deed::Write { write, result, .. } => match &**write {
            Write::Create(create) => format!("{} {}", create.path, result.is_ok()),
            other => format!("{other:?}"),
        },
        Deed::Reconfig { is_done, .. } => format!("reconfig {is_done}"),
        Deed::Ended { deleted, .. } => {
            let deleted: Vec<&str> = deleted.iter().map(|path| &**path).collect();
            format!("ended {}", deleted.join(" "))
        }
    };
    deeds.iter().map(line).collect()
}

#[test]
fn a_write_is_noted_by_the_server_of_its_connection_alone_whatever_comes_of_it() {
    let mut e = noting(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    e.call(a.conn, create("/a", 0)).expect_err("it is there");
    assert!(e.call(a.conn, get("/a", false)).is_ok());
    assert_eq!(noted(&mut e, follower), ["/a true", "/a false"]);
    assert_eq!(noted(&mut e, follower), [""; 0], "each once");
    assert_eq!(noted(&mut e, leader), [""; 0]);
}

#[test]
fn who_asked_is_noted_with_his_address_first() {
    let mut e = noting(1);
    let a = e.open(ServerId(1));
    let packet = AuthPacket { scheme: "digest".into(), auth: Some(b"ann:secret".to_vec().into()) };
    e.ask(a.conn, Request::Auth(packet));
    e.call(a.conn, create("/a", 0)).expect("created");
    let deeds = e.running.get_mut(&ServerId(1)).unwrap().take_deeds();
    let [Deed::Write { session, identities, .. }] = &deeds[..] else { panic!("{deeds:?}") };
    assert_eq!(*session, a.session);
    let schemes: Vec<&str> = identities.iter().map(|Id { scheme, .. }| &**scheme).collect();
    assert_eq!(schemes, ["ip", "digest"]);
}

#[test]
fn a_client_that_leaves_before_it_is_answered_is_noted_all_the_same() {
    let mut e = noting(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.stuck.extend([(leader, Vec::new()), (follower, Vec::new())]);
    e.ask(a.conn, create("/a", 0));
    e.input(follower, Input::Disconnect { conn: a.conn });
    assert_eq!(noted(&mut e, follower), [""; 0]);
    e.unstick(leader);
    e.unstick(follower);
    e.run(Duration::from_secs(1));
    assert_eq!(noted(&mut e, follower), ["/a true"]);
    assert_eq!(noted(&mut e, leader), [""; 0]);
}

#[test]
fn what_goes_with_a_session_is_noted_by_every_server() {
    let mut e = noting(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    for path in ["/e", "/f"] {
        e.call(a.conn, create(path, 1)).expect("created");
    }
    let b = e.open(leader);
    e.ask(a.conn, Request::Write(Write::CloseSession));
    e.ask(b.conn, Request::Write(Write::CloseSession));
    e.run(Duration::from_secs(1));
    assert_eq!(noted(&mut e, leader), ["ended /e /f"]);
    assert_eq!(noted(&mut e, follower), ["/e true", "/f true", "ended /e /f"]);
}

#[test]
fn a_session_that_went_on_elsewhere_is_noted_there_from_then_on() {
    let mut e = noting(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let moved = e.resume(leader, &a);
    e.call(moved, create("/a", 0)).expect("created");
    assert_eq!(noted(&mut e, follower), [""; 0]);
    assert_eq!(noted(&mut e, leader), ["/a true"]);
}

#[test]
fn what_the_log_held_before_a_start_is_not_noted_again() {
    let mut e = noting(1);
    let a = e.open(ServerId(1));
    e.call(a.conn, create("/e", 1)).expect("created");
    e.ask(a.conn, Request::Write(Write::CloseSession));
    assert_eq!(noted(&mut e, ServerId(1)), ["/e true", "ended /e"]);
    e.crash(ServerId(1));
    e.start(ServerId(1));
    e.run(Duration::from_secs(5));
    assert_eq!(noted(&mut e, ServerId(1)), [""; 0]);
}

#[test]
fn local_sessions_are_noted_too_and_upgraded_ones_go_on_being() {
    let mut e = Ensemble::with(3, |config| {
        config.notes_deeds = true;
        config.local_sessions = true;
        config.local_upgrading = true;
    });
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    for (path, flags) in [("/a", 0), ("/e", 1), ("/b", 0)] {
        e.call(a.conn, create(path, flags)).expect("created");
    }
    e.run(Duration::from_secs(1));
    assert_eq!(noted(&mut e, follower), ["/a true", "/e true", "/b true"]);
    assert_eq!(noted(&mut e, leader), [""; 0]);
}

#[test]
fn what_is_refused_before_the_log_is_noted_as_a_failure() {
    let mut e = Ensemble::with(1, |config| {
        config.notes_deeds = true;
        config.eager_acl = true;
    });
    let a = e.open(ServerId(1));
    let asked = create("/zookeeper/config/x", 0);
    assert_eq!(e.call(a.conn, asked), Err(ErrorCode::NoAuth));
    assert_eq!(noted(&mut e, ServerId(1)), ["/zookeeper/config/x false"]);
}

#[test]
fn nothing_is_noted_unless_it_is_asked_for() {
    let mut e = Ensemble::new(1);
    let a = e.open(ServerId(1));
    e.call(a.conn, create("/e", 1)).expect("created");
    e.ask(a.conn, Request::Write(Write::CloseSession));
    assert_eq!(noted(&mut e, ServerId(1)), [""; 0]);
}
