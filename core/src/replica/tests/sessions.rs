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
