//! Tests of what credentials give, and of what is struck from a write.

use super::*;
use crate::proto::{Create, CreateKind, Permissions};

const NO_KEY: fn() -> Option<Option<Vec<u8>>> = || None;

fn entry(scheme: &str, id: &str) -> Acl {
    Acl { permissions: Permissions::ALL, id: Id::new(scheme, id) }
}

#[test]
fn only_schemes_that_are_offered_take_credentials() {
    let plain = AuthConfig::default();
    assert_eq!(plain.authenticate("ip", None, NO_KEY), Ok(vec![]));
    assert_eq!(plain.authenticate("digest", Some(b"a:b"), NO_KEY).map(|ids| ids.len()), Ok(1));
    assert_eq!(plain.authenticate("digest", None, NO_KEY), Err(Refusal::Failed));
    for scheme in ["world", "auth", "super", "sasl", "x509", "key", "ensemble", "", "Digest"] {
        let answer = plain.authenticate(scheme, Some(b"a:b"), NO_KEY);
        assert_eq!(answer, Err(Refusal::Failed), "{scheme}");
    }
    let off = AuthConfig { digest: None, ..AuthConfig::default() };
    assert_eq!(off.authenticate("digest", Some(b"a:b"), NO_KEY), Err(Refusal::Failed));
}

#[test]
fn another_ensemble_is_not_a_failure() {
    let of = |names: &[&str]| AuthConfig {
        ensemble_names: Some(names.iter().map(|&name| name.into()).collect()),
        ..AuthConfig::default()
    };
    let named = of(&["east", "old east"]);
    for good in [None, Some(&b""[..]), Some(b"east"), Some(b"old east")] {
        assert_eq!(named.authenticate("ensemble", good, NO_KEY), Ok(vec![]));
    }
    let other = named.authenticate("ensemble", Some(b"we\nst"), NO_KEY);
    assert_eq!(other, Err(Refusal::OtherEnsemble));
    assert_eq!(of(&[]).authenticate("ensemble", Some(b"west"), NO_KEY), Ok(vec![]));
}

#[test]
fn a_key_is_shown_by_its_multiples() {
    let config = AuthConfig { key: true, ..AuthConfig::default() };
    let table = [
        (None::<Option<&str>>, Some("whatever"), true),
        (None, None, false),
        (Some(None), Some("5"), false),
        (Some(Some("5")), Some("25"), true),
        (Some(Some("5")), Some("26"), false),
        (Some(Some("5")), Some("x"), false),
        (Some(Some("x")), Some("5"), false),
        (Some(Some("0")), Some("7"), true),
        (Some(Some("-1")), Some("-2147483648"), true),
    ];
    for (key, auth, fits) in table {
        let data = || key.map(|key| key.map(|text| text.as_bytes().to_vec()));
        let answer = config.authenticate("key", auth.map(str::as_bytes), data);
        let expected = if fits { Ok(vec![Id::new("key", "")]) } else { Err(Refusal::Failed) };
        assert_eq!(answer, expected, "{key:?} {auth:?}");
    }
}

#[test]
fn sasl_users_are_who_they_are_if_acls_may_name_them() {
    let off = AuthConfig { sasl_super_users: ["root".into()].into(), ..AuthConfig::default() };
    assert_eq!(off.sasl_identities("bob"), []);
    assert_eq!(off.sasl_identities("root"), [Id::new("super", "")]);
    let on = AuthConfig { sasl_in_acls: true, any_sasl_user: Some("x".into()), ..off };
    assert_eq!(on.sasl_identities("bob"), [Id::new("sasl", "bob"), Id::new(ANY_SASL, "x")]);
    assert_eq!(on.sasl_identities("root").last(), Some(&Id::new("super", "")));
}

#[test]
fn a_certificate_is_its_subject() {
    let subject = "CN=localhost,O=x";
    let off = AuthConfig { x509_super_user: Some(subject.into()), ..AuthConfig::default() };
    assert_eq!(off.x509_identities("CN=other"), []);
    assert_eq!(off.x509_identities(subject), [Id::new("super", subject)]);
    let on = AuthConfig { x509_in_acls: true, ..off };
    assert_eq!(on.x509_identities("CN=other"), [Id::new("x509", "CN=other")]);
    assert_eq!(on.x509_identities(subject).len(), 2);
}

#[test]
fn one_of_the_required_schemes_suffices() {
    let of = |schemes: &[&str]| AuthConfig {
        required_schemes: schemes.iter().map(|&scheme| scheme.into()).collect(),
        ..AuthConfig::default()
    };
    let own = [Id::new("ip", "10.0.0.7"), Id::new("digest", "bob:h")];
    for (schemes, sasl, enough) in [
        (&[][..], false, true),
        (&["sasl"], true, false),
        (&["sasl", "digest"], true, true),
        (&["x509"], false, false),
        (&["ip"], false, true),
    ] {
        assert_eq!(of(schemes).suffices(&own), enough, "{schemes:?}");
        assert_eq!(of(schemes).requires_sasl(), sasl, "{schemes:?}");
    }
}

#[test]
fn schemes_that_are_not_offered_are_struck_from_every_list() {
    let known = [entry("world", "anyone"), entry("ip", "::1"), entry("auth", ""), entry("no", "x")];
    let others = ["digest", "sasl", "x509", "key"].map(|scheme| entry(scheme, "a:b"));
    let acl = [&known[..], &others[..]].concat();
    let none = AuthConfig { digest: None, ..AuthConfig::default() };
    let all =
        AuthConfig { sasl_in_acls: true, x509_in_acls: true, key: true, ..AuthConfig::default() };
    let struck = [&known[..], &vec![entry("", ""); 4][..]].concat();
    let set = |acl: &[Acl]| Write::SetAcl { path: "/a".into(), acl: acl.into(), version: -1 };
    let create = |acl: &[Acl]| {
        Write::Create(Create {
            path: "/a".into(),
            data: None,
            acl: acl.into(),
            flags: 0,
            ttl_ms: -1,
            kind: CreateKind::Create,
        })
    };
    let delete = Write::Delete { path: "/a".into(), version: -1 };
    let multi = |acl: &[Acl]| Write::multi(vec![delete.clone(), create(acl)]);
    let shapes = |acl: &[Acl]| [set(acl), create(acl), multi(acl)];
    for (config, expected) in [(none, &struck), (all, &acl)] {
        let mut writes = shapes(&acl);
        writes.iter_mut().for_each(|write| config.strike(write));
        assert_eq!(writes, shapes(expected));
    }
}
