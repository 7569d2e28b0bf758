//! What keeps a session alive while its connections come and go.

use super::*;

#[test]
fn what_was_said_last_on_a_connection_that_ended_counts_for_its_session() {
    let mut e = Ensemble::new(3);
    for server in [e.follower(), e.leader()] {
        let a = e.open(server);
        e.run(Duration::from_secs(8));
        e.call(a.conn, exists("/")).expect("heard");
        e.input(server, Input::Disconnect { conn: a.conn });
        e.run(Duration::from_secs(8));
        let again = e.resume(server, &a);
        match &e.heard(again)[..] {
            [Output::Connected { response, .. }] => assert_eq!(response.session, a.session),
            other => panic!("8 s of silence end no session of 10 s: {other:?}"),
        }
    }
}

#[test]
fn credentials_keep_no_session_alive() {
    let mut e = Ensemble::new(3);
    let a = e.open(e.follower());
    let auth = || {
        let auth = Some(bytes::Bytes::from_static(b"ann:ann"));
        Request::Auth(AuthPacket { scheme: "digest".into(), auth })
    };
    for _ in 0..4 {
        e.run(Duration::from_secs(4));
        e.ask(a.conn, auth());
    }
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionEnded));
}

#[test]
fn a_session_that_expires_with_requests_under_way_ends_before_them() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/e", 1)).expect("created");
    // What is asked for does not reach the leader, which has heard nothing for too long.
    e.mute.insert(follower);
    e.run(Duration::from_millis(100));
    e.ask(a.conn, create("/late", 0));
    e.run(Duration::from_millis(100));
    let token = e.running[&leader].database().session(a.session).expect("open").token;
    let expire = Action::Expire { session: a.session, token };
    let message = Message::Forward(vec![expire]);
    e.input(leader, Input::Message { from: follower, message });
    e.mute.clear();
    e.run(Duration::from_secs(5));
    let heard = e.heard(a.conn);
    assert_eq!(replies(&heard), []);
    assert!(close_reason(&heard).is_some());
    let b = e.open(leader);
    for path in ["/e", "/late"] {
        assert_eq!(e.call(b.conn, exists(path)), Err(ErrorCode::NoNode));
    }
}
