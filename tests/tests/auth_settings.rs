//! What settings make of identities and permissions: each alone on servers of its own.

use zokor_tests::jute::Writer;
use zokor_tests::records::{mode, op, perms};
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, Program};

// Each by a hash program, not by our own code.
const ALICE: &str = "alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E=";
const SUPER: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";
const SUPER_256: &str = "super:wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig=";
const SUPER_3_256: &str = "super:cRy/KPYuDpW/dtsepniTMpuiuupnWgdU9txltIfv3hA=";
const PROVIDERS: &str = "org.apache.zookeeper.server.auth.";

fn shown(ensemble: &Ensemble, index: usize, credentials: &str) -> Client {
    let mut client = ensemble.client(index);
    let answer = client.authenticate("digest", credentials.as_bytes());
    assert_eq!(answer, Ok(()), "a digest is always accepted");
    client
}

fn alices() -> [Acl; 1] {
    [Acl::new(perms::ALL, "digest", ALICE)]
}

#[test]
fn the_super_digest_opens_everything_where_it_is_set() {
    let flag = format!("-Dzookeeper.DigestAuthenticationProvider.superDigest={SUPER}");
    let ensemble = Ensemble::of(3).flag(&flag).start();
    let mut alice = shown(&ensemble, 0, "alice:secret");
    alice.create_with_acl("/a", &alices()).expect("create");
    alice.create_with_acl("/a/b", &alices()).expect("create");
    for index in 0..3 {
        let mut wrong = shown(&ensemble, index, "super:wrong");
        wrong.sync("/").expect("sync");
        assert_eq!(wrong.get("/a"), Err(ErrorCode::NO_AUTH));
        assert_eq!(wrong.set_acl("/a", &Acl::open(), -1), Err(ErrorCode::NO_AUTH));
        let mut above = shown(&ensemble, index, "super:test");
        above.sync("/").expect("sync");
        assert!(above.get("/a").is_ok());
        assert_eq!(above.acl("/a").expect("readable").0, alices(), "hashes are shown");
        above.set_data("/a", b"x", -1).expect("set");
        above.set_acl("/a", &alices(), -1).expect("set");
        above.exists("/a", false).expect("readable");
        assert_eq!(above.children("/a", false), Ok(vec!["b".to_owned()]));
        above.create(&format!("/a/{index}"), b"", 0).expect("create");
        above.delete(&format!("/a/{index}"), -1).expect("delete");
        if Program::promises("whoAmI") {
            let pair = |scheme: &str, id: &str| (scheme.to_owned(), id.to_owned());
            let expected = [pair("digest", "super"), pair("ip", "127.0.0.1"), pair("super", "")];
            assert_eq!(above.who_am_i(), Ok(expected.to_vec()));
        }
        let auth = [Acl::new(perms::ALL, "auth", "")];
        let path = format!("/by-{index}");
        above.create_with_acl(&path, &auth).expect("create");
        assert_eq!(above.acl(&path).expect("readable").0, [Acl::new(31, "digest", SUPER)]);
    }
}

#[test]
fn the_hash_of_digests_can_be_chosen() {
    for (algorithm, id) in [("SHA-256", SUPER_256), ("SHA3-256", SUPER_3_256)] {
        let flag = format!("-Dzookeeper.DigestAuthenticationProvider.digestAlg={algorithm}");
        let ensemble = Ensemble::of(1).flag(&flag).start();
        let mut client = shown(&ensemble, 0, "super:test");
        client.create_with_acl("/a", &[Acl::new(perms::ALL, "auth", "")]).expect("create");
        assert_eq!(client.acl("/a").expect("readable").0, [Acl::new(31, "digest", id)]);
    }
}

#[test]
fn digests_can_be_switched_off() {
    let ensemble = Ensemble::of(1).line("DigestAuthenticationProvider.enabled=false").start();
    let mut client = ensemble.client(0);
    assert_eq!(client.create_with_acl("/a", &alices()), Err(ErrorCode::INVALID_ACL));
    assert_eq!(client.authenticate("digest", b"alice:secret"), Err(ErrorCode::AUTH_FAILED));
    assert!(client.connection().is_closed_by_server());
    let mut client = ensemble.client(0);
    client.create("/b", b"", mode::PERSISTENT).expect("everything else works");
}

#[test]
fn skipped_lists_are_checked_for_their_form_alone() {
    let ensemble = Ensemble::of(3).flag("-Dzookeeper.skipACL=yes").start();
    shown(&ensemble, 0, "alice:secret").create_with_acl("/a", &alices()).expect("create");
    for index in 0..3 {
        let mut client = ensemble.client(index);
        client.sync("/").expect("sync");
        assert_eq!(client.get("/a"), Ok(vec![]));
        client.set_data("/a", b"", -1).expect("set");
        client.create(&format!("/a/{index}"), b"", 0).expect("create");
        assert_eq!(client.acl("/a").expect("readable").0, alices());
        let auth = [Acl::new(perms::ALL, "auth", "")];
        assert_eq!(client.create_with_acl("/b", &auth), Err(ErrorCode::INVALID_ACL));
    }
    let mut client = ensemble.client(1);
    client.sync("/").expect("sync");
    client.set_acl("/a", &Acl::open(), -1).expect("set");
    client.delete("/a/0", -1).expect("delete");
}

#[test]
fn one_of_several_required_schemes_is_enough() {
    if !Program::promises("enforce.auth, which 3.7 has, with the codes of today") {
        return;
    }
    let ensemble = Ensemble::of(3)
        .line("enforce.auth.enabled=true")
        .line("enforce.auth.schemes=digest, sasl")
        .line(&format!("authProvider.1={PROVIDERS}SASLAuthenticationProvider"))
        .start();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        let reply = client.ask(op::GET_DATA, Writer::new().string("/").bool(false));
        let reply = reply.expect("an answer");
        let code = ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH;
        assert_eq!((reply.zxid, reply.error, reply.body), (0, code, vec![]));
        assert!(client.connection().is_closed_by_server());
        let mut again = client.resume(ensemble.address(index)).expect("the session lives");
        again.authenticate("digest", b"a:b").expect("accepted");
        assert_eq!(again.get("/"), Ok(vec![]));
        let mut shown = shown(&ensemble, index, "a:b");
        shown.create(&format!("/{index}"), b"", 0).expect("create");
        shown.close();
    }
}

#[test]
fn an_address_always_satisfies_the_scheme_ip() {
    let ensemble =
        Ensemble::of(1).line("enforce.auth.enabled=true").line("enforce.auth.schemes=ip").start();
    ensemble.client(0).create("/a", b"", 0).expect("create");
}

#[test]
fn clients_of_another_ensemble_are_let_go_without_a_word() {
    let ensemble = Ensemble::of(1)
        .line(&format!("authProvider.1={PROVIDERS}EnsembleAuthenticationProvider"))
        .line("ensembleAuthName=east, old east")
        .start();
    for good in ["", "east", "old east"] {
        let mut client = ensemble.client(0);
        assert_eq!(client.authenticate("ensemble", good.as_bytes()), Ok(()), "{good}");
        client.ping().expect("the connection goes on");
    }
    let mut client = ensemble.client(0);
    let answer = client.authenticate("ensemble", b"we\nst\x1b[2J");
    assert_eq!(answer, Err(ErrorCode::CONNECTION_LOSS));
    if Program::promises("what a client sends is not logged raw") {
        assert!(!ensemble.logs().contains('\x1b'));
    }
    let acl = [Acl::new(perms::ALL, "ensemble", "east")];
    assert_eq!(ensemble.client(0).create_with_acl("/a", &acl), Err(ErrorCode::INVALID_ACL));
}

#[test]
fn a_multiple_of_the_key_is_a_key() {
    let ensemble = Ensemble::of(1)
        .line(&format!("authProvider.1={PROVIDERS}KeyAuthenticationProvider"))
        .start();
    let mut first = ensemble.client(0);
    first.authenticate("key", b"25").expect("there is no key yet");
    first.create_with_acl("/key", &[Acl::new(perms::ALL, "auth", "")]).expect("create");
    first.set_data("/key", b"5", -1).expect("set");
    let mut right = ensemble.client(0);
    assert_eq!(right.get("/key"), Err(ErrorCode::NO_AUTH));
    right.authenticate("key", b"35").expect("a multiple");
    assert_eq!(right.get("/key"), Ok(b"5".to_vec()));
    let mut wrong = ensemble.client(0);
    assert_eq!(wrong.authenticate("key", b"24"), Err(ErrorCode::AUTH_FAILED));
    assert!(wrong.connection().is_closed_by_server());
}

#[test]
fn what_is_denied_eagerly_costs_no_zxid() {
    let ensemble = Ensemble::of(3).line("enableEagerACLCheck=true").start();
    let mut alice = shown(&ensemble, 0, "alice:secret");
    alice.create_with_acl("/a", &alices()).expect("create");
    alice.create("/a/b", b"", 0).expect("create");
    for index in 0..3 {
        let mut client = ensemble.client(index);
        client.sync("/").expect("sync");
        let before = client.last_zxid;
        let no = ErrorCode::NO_AUTH;
        assert_eq!(client.create("/a/c", b"", 0), Err(no));
        assert_eq!(client.create2("/a/c", b"", 0).map(drop), Err(no));
        assert_eq!(client.delete("/a/b", -1), Err(no));
        assert_eq!(client.set_data("/a", b"", -1).map(drop), Err(no));
        assert_eq!(client.set_acl("/a", &Acl::open(), -1).map(drop), Err(no));
        let bad = [Acl::new(31, "nonsense", "x")];
        assert_eq!(client.create_with_acl("/c", &bad), Err(ErrorCode::INVALID_ACL));
        let data = Writer::new().string("/a").buffer(b"").int(-1);
        assert_eq!(client.ask(op::SET_DATA, data).map(|reply| reply.zxid), Ok(0));
        client.ping().expect("ping");
        client.exists("/", false).expect("it is there");
        assert_eq!(client.last_zxid, before, "nothing went through the log");
        assert_eq!(client.set_data("/no", b"", -1).map(drop), Err(ErrorCode::NO_NODE));
        client.create(&format!("/{index}"), b"", 0).expect("create");
    }
}

#[test]
fn a_root_that_is_closed_is_closed_to_every_request() {
    let ensemble = Ensemble::standalone();
    let mut alice = shown(&ensemble, 0, "alice:secret");
    let mut client = ensemble.client(0);
    alice.set_acl("/", &alices(), -1).expect("set");
    let no = ErrorCode::NO_AUTH;
    assert_eq!(client.children("/", false), Err(no));
    assert_eq!(client.get("/"), Err(no));
    assert_eq!(client.create("/a", b"", 0), Err(no));
    assert_eq!(client.count_descendants("/"), Err(no));
    if Program::promises("exists needs permission to read") {
        assert_eq!(client.exists("/", false), Err(no));
    }
    alice.create("/a", b"", 0).expect("create");
    assert_eq!(client.delete("/a", -1), Err(no));
    alice
        .set_acl("/", &[Acl::new(perms::READ, "world", "anyone"), alices()[0].clone()], -1)
        .expect("set");
    assert!(client.children("/", false).is_ok());
    assert_eq!(client.create("/b", b"", 0), Err(no));
    alice.set_acl("/", &Acl::open(), -1).expect("set");
    client.create("/b", b"", 0).expect("it is open again");
}

#[test]
fn certificates_subjects_are_valid_where_certificates_can_be() {
    if !Program::promises("the provider for certificates without a key store") {
        return;
    }
    let ensemble = Ensemble::of(1)
        .line(&format!("authProvider.x509={PROVIDERS}X509AuthenticationProvider"))
        .start();
    let mut client = ensemble.client(0);
    let table = [("CN=localhost,OU=zk,O=x", true), ("", true), ("localhost", false)];
    for (index, (subject, is_valid)) in table.into_iter().enumerate() {
        let acl = [Acl::new(perms::ALL, "x509", subject)];
        let path = format!("/{index}");
        let answer = client.create_with_acl(&path, &acl);
        assert_eq!(answer.is_ok(), is_valid, "{subject}: {answer:?}");
        if is_valid {
            assert_eq!(client.get(&path), Err(ErrorCode::NO_AUTH), "nobody has it");
        }
    }
    assert_eq!(client.authenticate("x509", b""), Err(ErrorCode::AUTH_FAILED));
}

#[test]
fn an_address_of_ipv6_matches_by_its_leading_bits() {
    let ensemble = Ensemble::of(1).line("clientPortAddress=::").start();
    let port = ensemble.address(0).port();
    let mut client = Client::connect((std::net::Ipv6Addr::LOCALHOST, port).into());
    let rows = [
        ("0:0:0:0:0:0:0:1", true),
        ("::1", true),
        ("::1/128", true),
        ("::2/126", true),
        ("::4/126", false),
        ("fe80::/10", false),
        ("::/0", true),
        ("0.0.0.1/0", false),
        ("127.0.0.1", false),
    ];
    for (index, (id, may)) in rows.into_iter().enumerate() {
        if !id.contains(':') || Program::promises("IPv6 in lists") {
            let path = format!("/{index}");
            client.create_with_acl(&path, &[Acl::new(31, "ip", id)]).expect("create");
            assert_eq!(client.get(&path).is_ok(), may, "{id}");
        }
    }
    if Program::promises("whoAmI") {
        let own = ("ip".to_owned(), "0:0:0:0:0:0:0:1".to_owned());
        assert_eq!(client.who_am_i(), Ok(vec![own]));
    }
    // The same server knows a client of IPv4 by its own address.
    let mut client = ensemble.client(0);
    client.create_with_acl("/v4", &[Acl::new(31, "ip", "127.0.0.1")]).expect("create");
    assert_eq!(client.get("/v4"), Ok(vec![]));
}
