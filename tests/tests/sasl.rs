//! Logins by SASL with DIGEST-MD5, and what servers make of those that fail.

use zokor_tests::jute::Writer;
use zokor_tests::records::{op, perms};
use zokor_tests::sasl::{answer, log_in, step};
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, Program};

const JAAS: &str = "Server {\n    org.apache.zookeeper.server.auth.DigestLoginModule required\n    \
    user_super=\"adminsecret\"\n    user_bob=\"bob \\\"secret\\\"\" user_eve=\"evesecret\";\n};\n";
const BOB: (&str, &str) = ("bob", "bob \"secret\"");
const EVE: (&str, &str) = ("eve", "evesecret");
const PROVIDER: &str = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider";

/// An ensemble whose users stand in a file that a flag names.
fn ensemble(n_servers: usize) -> zokor_tests::ensemble::Builder {
    Ensemble::of(n_servers)
        .file("jaas.conf", JAAS)
        .flag("-Djava.security.auth.login.config=jaas.conf")
        // ZooKeeper 3.9 has it on by default, and then nobody logs in.
        .flag("-Dzookeeper.fips-mode=false")
        .line(PROVIDER)
}

fn logged_in(ensemble: &Ensemble, index: usize, (user, password): (&str, &str)) -> Client {
    let mut client = ensemble.client(index);
    assert_eq!(log_in(&mut client, user, password), Ok(()), "{user}");
    client
}

fn ids(client: &mut Client) -> Vec<String> {
    let ids = client.who_am_i().expect("an answer");
    ids.into_iter().map(|(scheme, id)| format!("{scheme}:{id}")).collect()
}

#[test]
fn without_users_a_login_is_answered_with_a_null_token() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    for token in [&b""[..], b"anything"] {
        assert_eq!(step(&mut client, token), Ok((ErrorCode(0), None)));
    }
    client.ping().expect("the connection goes on");
    let sasl = [Acl::new(perms::ALL, "sasl", "bob")];
    assert_eq!(client.create_with_acl("/a", &sasl), Err(ErrorCode::INVALID_ACL));
}

#[test]
fn a_user_logs_in_and_is_who_lists_name_on_every_server() {
    let ensemble = ensemble(3).start();
    let mut bob = logged_in(&ensemble, 0, BOB);
    if Program::promises("whoAmI") {
        assert_eq!(ids(&mut bob), ["ip:127.0.0.1", "sasl:bob"]);
    }
    let named = [Acl::new(perms::ALL, "sasl", "bob")];
    bob.create_with_acl("/named", &named).expect("create");
    bob.create_with_acl("/auth", &[Acl::new(perms::ALL, "auth", "")]).expect("create");
    assert_eq!(bob.acl("/auth").expect("readable").0, named);
    for index in 0..3 {
        let mut bob = logged_in(&ensemble, index, BOB);
        bob.sync("/").expect("sync");
        bob.set_data("/named", b"x", -1).expect("set");
        let mut eve = logged_in(&ensemble, index, EVE);
        eve.sync("/").expect("sync");
        assert_eq!(eve.get("/named"), Err(ErrorCode::NO_AUTH));
        assert_eq!(eve.set_data("/named", b"x", -1), Err(ErrorCode::NO_AUTH));
    }
    // A reconnect is a new connection, and has to log in anew.
    let mut again = bob.resume(ensemble.address(1)).expect("the session goes on");
    assert_eq!(again.get("/named"), Err(ErrorCode::NO_AUTH));
    assert_eq!(log_in(&mut again, BOB.0, BOB.1), Ok(()));
    assert_eq!(again.get("/named"), Ok(b"x".to_vec()));
}

#[test]
fn names_of_kerberos_are_valid_in_lists_and_others_are_not() {
    let ensemble = ensemble(1).start();
    let mut client = ensemble.client(0);
    let table = [
        ("bob", true),
        ("bob@REALM", true),
        ("bob/host@REALM", true),
        ("bob/host", true),
        ("bob@REALM@OTHER", false),
        ("a/b/c@REALM", false),
        ("bob@REALM/host", false),
    ];
    for (index, (name, is_valid)) in table.into_iter().enumerate() {
        let acl = [Acl::new(perms::ALL, "sasl", name)];
        let answer = client.create_with_acl(&format!("/{index}"), &acl);
        assert_eq!(answer.is_ok(), is_valid, "{name}: {answer:?}");
    }
}

#[test]
fn wrong_logins_fail_and_close_and_disturb_nobody() {
    let ensemble = ensemble(1).start();
    let mut other = logged_in(&ensemble, 0, EVE);
    let wrong = [(BOB.0, "wrong"), (BOB.0, ""), ("nobody", "x"), ("", "x")];
    for (user, password) in wrong {
        if user.is_empty() && !Program::promises("an answer to an empty name") {
            continue;
        }
        let mut client = ensemble.client(0);
        assert_eq!(log_in(&mut client, user, password), Err(ErrorCode::AUTH_FAILED), "{user}");
        assert!(client.connection().is_closed_by_server());
        assert!(client.resume(ensemble.address(0)).is_ok(), "the session is not the connection");
    }
    let mut early = ensemble.client(0);
    let failed = Ok((ErrorCode::AUTH_FAILED, None));
    let overlooked = step(&mut early, b"username=\"bob\"").expect("an answer");
    assert!(overlooked.1.is_some_and(|token| token.starts_with(b"realm=")), "the challenge first");
    assert_eq!(step(&mut early, b"username=\"bob\""), failed, "no answer to the challenge");
    assert!(early.connection().is_closed_by_server());
    let mut twice = logged_in(&ensemble, 0, BOB);
    assert_eq!(step(&mut twice, b""), failed, "a second login");
    assert!(twice.connection().is_closed_by_server());
    other.ping().expect("nobody else is disturbed");
}

#[test]
fn an_answer_fits_its_own_challenge_alone() {
    let ensemble = ensemble(1).start();
    let challenge = |client: &mut Client| {
        let (error, token) = step(client, b"").expect("an answer");
        assert_eq!(error, ErrorCode(0));
        String::from_utf8(token.expect("a challenge")).expect("text")
    };
    let (mut one, mut other) = (ensemble.client(0), ensemble.client(0));
    let (first, second) = (challenge(&mut one), challenge(&mut other));
    assert!(first.starts_with("realm=\"zk-sasl-md5\",nonce=\""), "{first}");
    assert!(first.ends_with("\",charset=utf-8,algorithm=md5-sess"), "{first}");
    assert_ne!(first, second);
    let (stolen, _) = answer(&first, BOB.0, BOB.1);
    assert_eq!(step(&mut other, stolen.as_bytes()), Ok((ErrorCode::AUTH_FAILED, None)));
    let (error, proof) = step(&mut one, stolen.as_bytes()).expect("an answer");
    assert_eq!(error, ErrorCode(0));
    assert!(proof.is_some_and(|proof| proof.starts_with(b"rspauth=")));
}

#[test]
fn failed_logins_may_stay_where_that_is_allowed() {
    let ensemble = ensemble(1).flag("-Dzookeeper.allowSaslFailedClients=true").start();
    let mut client = ensemble.client(0);
    assert_eq!(log_in(&mut client, BOB.0, "wrong"), Err(ErrorCode::UNIMPLEMENTED), "null token");
    client.create("/a", b"", 0).expect("create");
    let named = [Acl::new(perms::ALL, "auth", "")];
    assert_eq!(client.create_with_acl("/b", &named), Err(ErrorCode::INVALID_ACL), "nobody");
}

#[test]
fn where_a_login_is_required_nothing_else_comes_before_it() {
    let ensemble = ensemble(1).line("sessionRequireClientSASLAuth=true").start();
    let required = ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH;
    for op in [op::PING, op::WHO_AM_I, op::CLOSE_SESSION] {
        let mut client = ensemble.client(0);
        let reply = client.ask(op, Writer::new()).expect("an answer");
        assert_eq!((reply.zxid, reply.error, reply.body), (0, required, vec![]), "{op}");
        assert!(client.connection().is_closed_by_server());
    }
    let mut client = ensemble.client(0);
    assert_eq!(client.get("/"), Err(required));
    assert!(client.connection().is_closed_by_server());
    let mut wrong = ensemble.client(0);
    assert_eq!(log_in(&mut wrong, BOB.0, "wrong"), Err(required));
    assert!(wrong.connection().is_closed_by_server());
    let mut digest = ensemble.client(0);
    digest.authenticate("digest", b"a:b").expect("auth is always allowed");
    assert_eq!(digest.get("/"), Err(required), "another scheme is not enough");
    let mut bob = logged_in(&ensemble, 0, BOB);
    bob.create("/a", b"", 0).expect("create");
    bob.close();
}

#[test]
fn super_users_are_named_by_property() {
    let ensemble = ensemble(3)
        .line("superUser=eve")
        .flag("-Dzookeeper.superUser.2=nobody")
        .flag("-Dzookeeper.superUser.x=super")
        .start();
    let mut bob = logged_in(&ensemble, 0, BOB);
    bob.create_with_acl("/a", &[Acl::new(perms::READ, "sasl", "bob")]).expect("create");
    assert_eq!(bob.set_data("/a", b"", -1), Err(ErrorCode::NO_AUTH));
    for (index, user) in [EVE, ("super", "adminsecret")].into_iter().enumerate() {
        let mut above = logged_in(&ensemble, index + 1, user);
        above.sync("/").expect("sync");
        if Program::promises("several super users") || user.0 == "eve" {
            above.set_data("/a", b"x", -1).expect("set");
            assert_eq!(above.get("/a"), Ok(b"x".to_vec()));
        }
    }
}

#[test]
fn what_one_designated_user_may_do_any_user_may() {
    let ensemble = ensemble(1).flag("-Dzookeeper.letAnySaslUserDoX=anyone").start();
    let mut bob = logged_in(&ensemble, 0, BOB);
    let acl = [Acl::new(perms::READ, "sasl", "anyone"), Acl::new(perms::ALL, "sasl", "bob")];
    bob.create_with_acl("/a", &acl).expect("create");
    let mut eve = logged_in(&ensemble, 0, EVE);
    assert_eq!(eve.get("/a"), Ok(vec![]));
    assert_eq!(eve.set_data("/a", b"", -1), Err(ErrorCode::NO_AUTH));
    assert_eq!(ensemble.client(0).get("/a"), Err(ErrorCode::NO_AUTH), "a stranger is no user");
    if Program::promises("whoAmI") {
        assert_eq!(ids(&mut eve), ["ip:127.0.0.1", "sasl:eve"]);
    }
}

#[test]
fn passwords_do_not_show_in_the_log() {
    let ensemble = ensemble(1).start();
    logged_in(&ensemble, 0, BOB);
    assert_eq!(log_in(&mut ensemble.client(0), EVE.0, "guess"), Err(ErrorCode::AUTH_FAILED));
    let logs = ensemble.logs();
    for secret in ["adminsecret", "evesecret", "bob \"secret", "bob \\\"secret"] {
        assert!(!logs.contains(secret), "{secret} in {logs}");
    }
}
