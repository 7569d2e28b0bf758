//! Who a connection is, and what its server's settings make of that.

use bytes::Bytes;

use super::*;
use crate::auth::{AuthConfig, DigestConfig, DigestMd5, Secret};
use crate::proto::{Acl, Create, CreateKind, Id, Permissions, Read, SaslToken};

fn only(adjust: impl Fn(&mut AuthConfig)) -> Ensemble {
    Ensemble::with(1, |config| adjust(&mut config.auth))
}

fn users() -> DigestMd5 {
    DigestMd5::of_zookeeper([("bob".to_owned(), Secret::new("secret"))].into())
}

fn sasl(token: &str) -> Request {
    Request::Sasl(SaslToken(Bytes::copy_from_slice(token.as_bytes())))
}

fn show(scheme: &str, auth: &str) -> Request {
    let auth = Some(Bytes::copy_from_slice(auth.as_bytes()));
    Request::Auth(AuthPacket { scheme: scheme.into(), auth })
}

fn create_for(path: &str, acl: &[(&str, &str)]) -> Write {
    let entry = |&(scheme, id): &(&str, &str)| Acl {
        permissions: Permissions::ALL,
        id: Id::new(scheme, id),
    };
    Write::Create(Create {
        path: path.into(),
        data: None,
        acl: acl.iter().map(entry).collect(),
        flags: 0,
        ttl_ms: -1,
        kind: CreateKind::Create,
    })
}

fn who(e: &mut Ensemble, client: &Client) -> Vec<String> {
    match e.call(client.conn, Request::Read(Read::WhoAmI)) {
        Ok(Response::Identities(ids)) => {
            ids.iter().map(|id| format!("{}:{}", id.scheme, id.id)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The reply, the zxid in its header, and why the connection was closed, if it was.
type Heard = (Result<Response, ErrorCode>, i64, Option<CloseReason>);

fn heard(e: &mut Ensemble, client: &Client) -> Heard {
    match &e.heard(client.conn)[..] {
        [Output::Reply { result, zxid, .. }] => (result.clone(), zxid.0, None),
        [Output::Reply { result, zxid, .. }, Output::Close { reason, .. }] => {
            (result.clone(), zxid.0, Some(*reason))
        }
        other => panic!("{other:?}"),
    }
}

fn asked(e: &mut Ensemble, client: &Client, request: Request) -> Heard {
    e.ask(client.conn, request);
    heard(e, client)
}

#[test]
fn without_users_a_login_gets_a_null_token() {
    let mut e = only(|_| {});
    let a = e.open(ServerId(1));
    for token in ["", "anything"] {
        assert_eq!(asked(&mut e, &a, sasl(token)), (Ok(Response::Sasl(None)), 0, None));
    }
    assert_eq!(who(&mut e, &a), ["ip:127.0.0.1"]);
}

#[test]
fn a_challenge_is_a_new_one_for_each_connection() {
    let mut e = only(|auth| auth.sasl = Some(users()));
    let mut challenge = || {
        let a = e.open(ServerId(1));
        match asked(&mut e, &a, sasl("")) {
            (Ok(Response::Sasl(Some(token))), 0, None) => token,
            other => panic!("{other:?}"),
        }
    };
    let (one, other) = (challenge(), challenge());
    assert!(one.0.starts_with(b"realm=\"zk-sasl-md5\",nonce=\""), "{:?}", one.0);
    assert_ne!(one, other);
}

#[test]
fn a_login_that_fails_is_refused_or_overlooked_as_it_is_set() {
    let overlooked = (Ok(Response::Sasl(None)), 0, None);
    let refused = |error| (Ok(Response::SaslRefused(error)), 0, Some(CloseReason::AuthFailed));
    let required = refused(ErrorCode::SessionClosedRequireSaslAuth);
    let table = [
        (false, false, refused(ErrorCode::AuthFailed)),
        (true, false, overlooked),
        (false, true, required.clone()),
        (true, true, required),
    ];
    for (keeps, requires, expected) in table {
        let mut e = only(|auth| {
            auth.sasl = Some(users());
            auth.keeps_failed_sasl = keeps;
            auth.required_schemes = requires.then(|| "sasl".into()).into_iter().collect();
        });
        for [first, second] in [["", "wrong"], ["early", "wrong"]] {
            let a = e.open(ServerId(1));
            assert!(e.call(a.conn, sasl(first)).is_ok());
            let last = asked(&mut e, &a, sasl(second));
            assert_eq!(last, expected, "{keeps} {requires} {first:?}");
        }
    }
}

#[test]
fn whoever_lacks_the_required_scheme_may_do_nothing_but_show_it() {
    let mut e = only(|auth| auth.required_schemes = ["digest".into()].into());
    let requests = [Request::Ping, create("/a", 0), get("/", false), Request::Malformed];
    for request in requests.into_iter().chain([Request::Write(Write::CloseSession)]) {
        let a = e.open(ServerId(1));
        let refused = Err(ErrorCode::SessionClosedRequireSaslAuth);
        let expected = (refused, 0, Some(CloseReason::AuthRequired));
        assert_eq!(asked(&mut e, &a, request), expected);
        let again = e.resume(ServerId(1), &a);
        let heard = e.heard(again);
        assert!(matches!(&heard[..], [Output::Connected { .. }]), "the session lives: {heard:?}");
    }
    let a = e.open(ServerId(1));
    assert_eq!(e.call(a.conn, sasl("")), Ok(Response::Sasl(None)));
    assert_eq!(e.call(a.conn, show("digest", "a:b")), Ok(Response::Empty));
    assert_eq!(e.call(a.conn, create("/a", 0)), Ok(Response::Path("/a".into())));
    let b = e.open(ServerId(1));
    let wrong = asked(&mut e, &b, show("nonsense", "x"));
    assert_eq!(wrong, (Err(ErrorCode::AuthFailed), 0, Some(CloseReason::AuthFailed)));
}

#[test]
fn another_ensemble_lets_its_client_go_without_a_word() {
    let mut e = only(|auth| auth.ensemble_names = Some(["east".into()].into()));
    let a = e.open(ServerId(1));
    assert_eq!(e.call(a.conn, show("ensemble", "east")), Ok(Response::Empty));
    e.ask(a.conn, show("ensemble", "west"));
    let heard = e.heard(a.conn);
    assert!(
        matches!(&heard[..], [Output::Close { reason: CloseReason::OtherEnsemble, .. }]),
        "{heard:?}"
    );
}

#[test]
fn a_key_in_the_tree_is_the_key_of_its_scheme() {
    let mut e = only(|auth| auth.key = true);
    let a = e.open(ServerId(1));
    assert_eq!(e.call(a.conn, show("key", "anything")), Ok(Response::Empty), "there is no key yet");
    let write = create_for("/key", &[("auth", "")]);
    assert_eq!(e.call(a.conn, Request::Write(write)), Ok(Response::Path("/key".into())));
    assert!(e.call(a.conn, set("/key", "5", -1)).is_ok());
    let b = e.open(ServerId(1));
    assert_eq!(e.call(b.conn, get("/key", false)), Err(ErrorCode::NoAuth));
    assert_eq!(e.call(b.conn, show("key", "25")), Ok(Response::Empty));
    assert_eq!(data_of(e.call(b.conn, get("/key", false))), "5");
    let wrong = asked(&mut e, &b, show("key", "26"));
    assert_eq!(wrong, (Err(ErrorCode::AuthFailed), 0, Some(CloseReason::AuthFailed)));
}

#[test]
fn a_scheme_that_is_not_offered_is_refused_where_its_turn_is() {
    let mut e = only(|auth| auth.digest = None);
    let a = e.open(ServerId(1));
    for acl in [("digest", "a:b"), ("sasl", "bob"), ("x509", "CN=a"), ("key", "")] {
        let before = e.running[&ServerId(1)].database().zxid().0;
        let (result, zxid, _) = asked(&mut e, &a, Request::Write(create_for("/a", &[acl])));
        assert_eq!((result, zxid), (Err(ErrorCode::InvalidAcl), before + 1), "{acl:?}");
        let answer = e.call(a.conn, Request::Write(create_for("bad", &[acl])));
        assert_eq!(answer, Err(ErrorCode::BadArguments), "the path comes first");
        let good = create_for("/ok", &[("world", "anyone")]);
        let multi = Write::multi(vec![good, create_for("/a", &[acl])]);
        let failed = vec![OpResult::Error(None), OpResult::Error(Some(ErrorCode::InvalidAcl))];
        assert_eq!(e.call(a.conn, Request::Write(multi)), Ok(Response::Multi(failed)));
    }
}

#[test]
fn servers_that_are_set_differently_come_to_the_same_state() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let other = *e.running.keys().find(|&&id| id != leader && id != follower).expect("three");
    // One server is started again with everything that can be set, another without anything.
    e.crash(follower);
    let plain = std::mem::take(&mut e.config.auth);
    e.config.auth = AuthConfig {
        digest: Some(DigestConfig {
            super_digest: Some(Secret::new("super:D/InIHSb7yEEbrWz8b9l71RjZJU=")),
            ..DigestConfig::default()
        }),
        sasl_in_acls: true,
        x509_in_acls: true,
        key: true,
        ..AuthConfig::default()
    };
    e.start(follower);
    e.config.auth = AuthConfig { digest: None, ..plain };
    e.crash(other);
    e.start(other);
    e.run(Duration::from_secs(5));
    let (a, b) = (e.open(follower), e.open(other));
    for (n, acl) in [("sasl", "bob"), ("x509", "CN=a"), ("digest", "a:b")].iter().enumerate() {
        let write = Request::Write(create_for(&format!("/{n}"), &[*acl]));
        assert_eq!(e.call(b.conn, write.clone()), Err(ErrorCode::InvalidAcl));
        assert_eq!(e.call(a.conn, write), Ok(Response::Path(format!("/{n}").into())));
    }
    assert_eq!(e.call(a.conn, show("digest", "super:test")), Ok(Response::Empty));
    assert!(who(&mut e, &a).contains(&"super:".to_owned()));
    assert!(e.call(a.conn, set("/0", "x", -1)).is_ok(), "the super user may");
    assert_eq!(e.call(b.conn, set("/0", "x", -1)), Err(ErrorCode::NoAuth));
    e.run(Duration::from_secs(1));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn lists_are_skipped_for_whoever_connects_to_a_server_that_skips_them() {
    let mut e = Ensemble::with(1, |config| config.rules.skip_acl = true);
    let a = e.open(ServerId(1));
    let write = |acl| Request::Write(create_for("/a", &[acl]));
    assert_eq!(e.call(a.conn, write(("auth", ""))), Err(ErrorCode::InvalidAcl));
    assert!(e.call(a.conn, write(("digest", "a:b"))).is_ok());
    assert!(e.call(a.conn, set("/a", "x", -1)).is_ok());
    assert!(e.call(a.conn, get("/a", false)).is_ok());
    assert_eq!(who(&mut e, &a), ["ip:127.0.0.1"]);
}

#[test]
fn what_is_refused_eagerly_costs_no_zxid_and_keeps_its_place() {
    let mut e = Ensemble::with(1, |config| config.eager_acl = true);
    let a = e.open(ServerId(1));
    let owner = e.open(ServerId(1));
    e.call(owner.conn, show("digest", "a:b")).expect("accepted");
    e.call(owner.conn, Request::Write(create_for("/a", &[("auth", "")]))).expect("created");
    e.call(owner.conn, create("/a/b", 0)).expect("created");
    let before = e.running[&ServerId(1)].database().zxid();
    let open = vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }];
    let denied = [
        create("/a/c", 0),
        set("/a", "x", -1),
        Request::Write(Write::Delete { path: "/a/b".into(), version: -1 }),
        Request::Write(Write::SetAcl { path: "/a".into(), acl: open.into(), version: -1 }),
    ];
    for request in denied {
        assert_eq!(asked(&mut e, &a, request), (Err(ErrorCode::NoAuth), 0, None));
    }
    let invalid = Request::Write(create_for("/c", &[("sasl", "bob")]));
    assert_eq!(asked(&mut e, &a, invalid), (Err(ErrorCode::InvalidAcl), 0, None));
    assert_eq!(e.running[&ServerId(1)].database().zxid(), before);
    let multi = Write::multi(vec![Write::Check { path: "/a".into(), version: -1 }]);
    let failed = vec![OpResult::Error(Some(ErrorCode::NoAuth))];
    assert_eq!(e.call(a.conn, Request::Write(multi)), Ok(Response::Multi(failed)));
    assert_eq!(e.call(a.conn, set("/missing", "x", -1)), Err(ErrorCode::NoNode));
    // While its disk stands still nothing is answered, and then everything in order.
    e.stuck.insert(ServerId(1), Vec::new());
    let xids = [e.ask(a.conn, create("/d", 0)), e.ask(a.conn, set("/a", "x", -1))];
    assert!(e.heard(a.conn).is_empty());
    e.unstick(ServerId(1));
    assert_eq!(replies(&e.heard(a.conn)), [(xids[0], true), (xids[1], false)]);
    assert!(e.call(owner.conn, set("/a", "x", -1)).is_ok());
}
