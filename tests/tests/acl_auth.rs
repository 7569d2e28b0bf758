//! Who one is, and what one may.

use zokor_tests::jute::Writer;
use zokor_tests::records::{mode, op, perms};
use zokor_tests::{Acl, Client, ErrorCode, Program, Shared};

// `digest:alice:` and the base64 of SHA-1 over `alice:secret`, by `sha1sum`, not by our own code.
const ALICE: &str = "alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E=";

fn alice(shared: &Shared, index: usize) -> Client {
    let mut client = shared.client(index);
    client.authenticate("digest", b"alice:secret").expect("a digest is always accepted");
    client
}

#[test]
fn a_connection_is_its_address_and_what_it_proves() {
    let shared = Shared::join();
    let mut client = alice(&shared, 0);
    let pair = |scheme: &str, id: &str| (scheme.to_owned(), id.to_owned());
    let expected = vec![pair("digest", "alice"), pair("ip", "127.0.0.1")];
    assert_eq!(client.who_am_i(), Ok(expected));
    client.authenticate("digest", b"bob:x").expect("a digest is always accepted");
    assert_eq!(client.who_am_i().map(|ids| ids.len()), Ok(3));
    let mut again = client.resume(shared.address(0)).expect("the session goes on");
    assert_eq!(again.who_am_i().map(|ids| ids.len()), Ok(1), "identities stay behind");
}

#[test]
fn auth_answers_with_zxid_zero_and_its_own_xid() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let body = Writer::new().int(0).string("ip").buffer(b"");
    let reply = client.ask(op::AUTH, body).expect("an answer");
    assert_eq!((reply.xid, reply.zxid, reply.error), (-4, 0, ErrorCode(0)));
    assert_eq!(reply.body, b"");
}

#[test]
fn an_unknown_scheme_fails_and_closes() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    assert_eq!(client.authenticate("nonsense", b"x"), Err(ErrorCode::AUTH_FAILED));
    assert!(client.connection().is_closed_by_server());
    let again = client.resume(shared.address(0));
    assert!(again.is_ok(), "the session is not the connection");
}

#[test]
fn null_credentials_fail_and_close() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let body = Writer::new().int(0).string("digest").null();
    assert_eq!(client.ask(op::AUTH, body).expect("an answer").error, ErrorCode::AUTH_FAILED);
    assert!(client.connection().is_closed_by_server());
}

#[test]
fn the_auth_scheme_becomes_the_callers_digest() {
    let shared = Shared::join();
    let path = shared.at("/a");
    let creator_all = [Acl::new(perms::ALL, "auth", "whatever")];
    let stranger = shared.client(0).create_with_acl(&path, &creator_all);
    assert_eq!(stranger, Err(ErrorCode::INVALID_ACL), "an address does not count");
    let mut client = alice(&shared, 0);
    client.create_with_acl(&path, &creator_all).expect("create");
    let (acl, stat) = client.acl(&path).expect("it is there");
    assert_eq!(acl, [Acl::new(perms::ALL, "digest", ALICE)]);
    assert_eq!(stat, client.exists(&path, false).expect("it is there"));
}

#[test]
fn a_digest_guards_every_way_to_the_znode() {
    let shared = Shared::join();
    let (path, child) = (shared.at("/a"), shared.at("/a/child"));
    let mut owner = alice(&shared, 0);
    let acl = [Acl::new(perms::ALL, "digest", ALICE)];
    owner.create_with_acl(&path, &acl).expect("create");
    owner.create(&child, b"", 0).expect("create");
    let no = ErrorCode::NO_AUTH;
    let mut wrong = shared.client(1);
    wrong.authenticate("digest", b"alice:wrong").expect("a digest is always accepted");
    wrong.sync("/").expect("sync");
    assert_eq!(wrong.get_data(&path, true), Err(no));
    assert_eq!(wrong.children(&path, true), Err(no));
    assert_eq!(wrong.children2(&path, true), Err(no));
    assert_eq!(wrong.acl(&path), Err(no));
    assert_eq!(wrong.count_descendants(&path), Err(no));
    assert_eq!(wrong.set_data(&path, b"", -1), Err(no));
    assert_eq!(wrong.set_data(&path, b"", 99), Err(no), "permission before the version");
    assert_eq!(wrong.set_acl(&path, &Acl::open(), -1), Err(no));
    assert_eq!(wrong.create(&shared.at("/a/b"), b"", 0), Err(no));
    assert_eq!(wrong.delete(&child, -1), Err(no), "deleting asks the parent");
    assert_eq!(wrong.delete(&shared.at("/a/no"), -1), Err(no), "before the znode's absence");
    if Program::promises("exists needs permission to read") {
        assert_eq!(wrong.exists(&path, true), Err(no));
    }
    owner.set_data(&path, b"", -1).expect("set");
    owner.create(&shared.at("/a/b"), b"", 0).expect("create");
    wrong.sync("/").expect("sync");
    if Program::promises("exists needs permission to read") {
        assert_eq!(wrong.events(), [], "what was refused set no watch");
    }
    assert!(wrong.get(&child).is_ok(), "permissions are not inherited");
}

#[test]
fn each_permission_opens_its_own_door() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let no = Err(ErrorCode::NO_AUTH);
    for bit in [perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN] {
        let path = shared.at(&format!("/{bit}"));
        let child = format!("{path}/child");
        client.create(&path, b"", 0).expect("create");
        client.create(&child, b"", 0).expect("create");
        client.set_acl(&path, &[Acl::new(bit, "world", "anyone")], 0).expect("set");
        let may = |mine: i32| if bit == mine { Ok(()) } else { no };
        assert_eq!(client.get(&path).map(drop), may(perms::READ));
        assert_eq!(client.children(&path, false).map(drop), may(perms::READ));
        assert_eq!(client.set_data(&path, b"", -1).map(drop), may(perms::WRITE));
        assert_eq!(client.create(&format!("{path}/b"), b"", 0).map(drop), may(perms::CREATE));
        assert_eq!(client.delete(&child, -1), may(perms::DELETE));
        let readable = bit == perms::READ || bit == perms::ADMIN;
        assert_eq!(client.acl(&path).map(drop), if readable { Ok(()) } else { no });
        assert_eq!(client.set_acl(&path, &Acl::open(), -1).map(drop), may(perms::ADMIN));
    }
}

#[test]
fn hashes_are_shown_to_admins_only() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let path = shared.at("/a");
    let acl = [Acl::new(perms::READ, "world", "anyone"), Acl::new(perms::ALL, "digest", ALICE)];
    client.create_with_acl(&path, &acl).expect("create");
    let (seen, _) = client.acl(&path).expect("readable");
    assert_eq!(seen[1], Acl::new(perms::ALL, "digest", "alice:x"));
    let (seen, _) = alice(&shared, 0).acl(&path).expect("readable");
    assert_eq!(seen, acl);
}

#[test]
fn set_acl_counts_its_own_version_and_nothing_else() {
    let shared = Shared::join();
    let (mut client, path) = (shared.client(1), shared.at("/a"));
    let (_, before) = client.create2(&path, b"", mode::PERSISTENT).expect("create");
    let read = [Acl::new(perms::ALL, "world", "anyone"), Acl::new(1, "ip", "10.0.0.0/8")];
    assert_eq!(client.set_acl(&path, &read, 1), Err(ErrorCode::BAD_VERSION));
    let after = client.set_acl(&path, &read, 0).expect("set");
    assert_eq!(after, zokor_tests::Stat { aversion: 1, ..before });
    assert_eq!(client.acl(&path), Ok((read.to_vec(), after)));
    assert_eq!(client.set_acl(&path, &read, 0), Err(ErrorCode::BAD_VERSION));
    assert_eq!(client.set_acl("bad", &read, 0), Err(ErrorCode::BAD_ARGUMENTS));
    let no = shared.at("/no");
    assert_eq!(client.set_acl(&no, &[], 0), Err(ErrorCode::INVALID_ACL), "before the znode");
    assert_eq!(client.set_acl(&no, &read, 0), Err(ErrorCode::NO_NODE));
}

#[test]
fn lists_that_say_nothing_valid_are_refused() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let rows = [
        vec![],
        vec![Acl::new(31, "world", "someone")],
        vec![Acl::new(31, "", "anyone")],
        vec![Acl::new(31, "nonsense", "x")],
        vec![Acl::new(31, "super", "")],
        vec![Acl::new(31, "digest", "a")],
        vec![Acl::new(31, "digest", "a:")],
        vec![Acl::new(31, "digest", "a:b:c")],
        vec![Acl::new(31, "ip", "256.0.0.1")],
        vec![Acl::new(31, "ip", "10.0.0.1/33")],
        vec![Acl::new(31, "ip", "host.example")],
        vec![Acl::new(31, "auth", "")],
        vec![Acl::new(31, "world", "anyone"), Acl::new(31, "nonsense", "x")],
    ];
    for acl in rows {
        let answer = client.create_with_acl(&shared.at("/x"), &acl);
        assert_eq!(answer, Err(ErrorCode::INVALID_ACL), "{acl:?}");
    }
}

#[test]
fn duplicates_in_a_list_are_stored_once() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let (one, two) = (Acl::new(31, "world", "anyone"), Acl::new(1, "ip", "10.0.0.1"));
    let path = shared.at("/x");
    client.create_with_acl(&path, &[one.clone(), two.clone(), one.clone()]).expect("create");
    assert_eq!(client.acl(&path).expect("readable").0, [one, two]);
}

#[test]
fn an_address_matches_by_its_leading_bits() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let rows = [
        ("127.0.0.1", true),
        ("127.0.0.1/32", true),
        ("127.0.0.2", false),
        ("127.255.0.1/8", true),
        ("127.255.0.1/16", false),
        ("10.0.0.0/0", true),
        ("10.0.0.0/8", false),
    ];
    for (index, (id, may)) in rows.into_iter().enumerate() {
        let path = shared.at(&format!("/{index}"));
        client.create_with_acl(&path, &[Acl::new(31, "ip", id)]).expect("create");
        assert_eq!(client.get(&path).is_ok(), may, "{id}");
    }
}

#[test]
fn an_identity_counts_from_the_next_request_on() {
    let shared = Shared::join();
    let path = shared.at("/a");
    alice(&shared, 1).create_with_acl(&path, &[Acl::new(31, "digest", ALICE)]).expect("create");
    let mut client = shared.client(1);
    assert_eq!(client.get(&path), Err(ErrorCode::NO_AUTH));
    client.authenticate("digest", b"alice:secret").expect("accepted");
    assert_eq!(client.get(&path), Ok(vec![]));
}
