//! For each operation, requests that break several rules at once: the answer tells which is first.

use super::*;
use crate::proto::OpResult;
use ErrorCode::{
    BadArguments, BadVersion, InvalidAcl, MarshallingError, NoAuth, NoChildrenForEphemerals,
    NoNode, NodeExists, NotEmpty, RuntimeInconsistency, Unimplemented,
};

/// `/open` with a child, `/e` (ephemeral), `/shut` (bob's, with a child that is open to all).
fn lone() -> Lone {
    let mut lone = Lone::new();
    lone.make("/open", 0);
    lone.make("/open/child", 0);
    lone.make("/e", 1);
    lone.make("/shut", 0);
    lone.make("/shut/child", 0);
    lone.write(set_acl("/shut", acl(31, "digest", "bob:hash"), -1)).unwrap();
    lone
}

/// Each write fails with its code, by itself and as the second of a multi, and leaves nothing
/// behind.
fn assert_refused(lone: &mut Lone, rows: Vec<(Write, ErrorCode)>) {
    for (write, code) in rows {
        let content = lone.db.tree.digest();
        assert_eq!(lone.write(write.clone()), Err(code), "{write:?}");
        assert_eq!(lone.changes, [], "{write:?}");
        assert_eq!(lone.db.tree.digest(), content, "{write:?}");
        if let Write::SetAcl { .. } = write {
            continue;
        }
        let result =
            lone.write(Write::multi(vec![create("/m", 0), write.clone(), delete("/m", 9)]));
        let results = [None, Some(code), Some(RuntimeInconsistency)].map(OpResult::Error);
        assert_eq!(result, Ok(Response::Multi(results.to_vec())), "{write:?}");
        assert_eq!(lone.changes, []);
        assert_eq!(lone.db.tree.digest(), content, "{write:?}");
    }
}

#[test]
fn create_checks_in_order() {
    let with = |path: &str, change: fn(&mut Create)| {
        let mut create = creation(path, 0);
        change(&mut create);
        Write::Create(create)
    };
    let no_acl: fn(&mut Create) = |create| create.acl = [].into();
    let mut lone = lone();
    let rows = vec![
        (create("nonsense", 7), BadArguments),
        (create("/a", -1), BadArguments),
        (with("nonsense", |create| create.ttl_ms = 0), BadArguments),
        // Flags and operation do not agree.
        (create("/a", 4), BadArguments),
        (create("/a", 5), BadArguments),
        (create("/a", 6), BadArguments),
        (with("/a", |create| create.kind = CreateKind::Ttl), BadArguments),
        (
            with("/a", |create| (create.kind, create.flags) = (CreateKind::Container, 1)),
            BadArguments,
        ),
        (ttl("/a", 0), BadArguments),
        (ttl("/a", -1), BadArguments),
        (ttl("/a", 0xff_ffff_ffff + 1), BadArguments),
        // The path at a glance, before the ACL.
        (with("foo", no_acl), BadArguments),
        (with("", no_acl), BadArguments),
        (with("/zz/a\0", no_acl), BadArguments),
        // The ACL before the parent.
        (with("/zz/a", no_acl), InvalidAcl),
        (with("/zz/a", |create| create.acl = acl(31, "auth", "").into()), InvalidAcl),
        // The parent, its permission, the whole path, what is there, and the parent's kind.
        (create("/zz/\u{1}", 0), NoNode),
        (create("/zz/", 0), NoNode),
        (create("/a//b", 0), NoNode),
        (create("/./x", 0), NoNode),
        (create("/shut/\u{1}", 0), NoAuth),
        (create("/shut/child", 0), NoAuth),
        (create("/open/", 0), BadArguments),
        (create("//a", 0), BadArguments),
        (create("/open/\u{1}", 0), BadArguments),
        (create("/open/..", 0), BadArguments),
        (create("/", 0), NodeExists),
        (create("/open/child", 1), NodeExists),
        (create("/e/x", 0), NoChildrenForEphemerals),
        (create("/e/x", 1), NoChildrenForEphemerals),
    ];
    assert_refused(&mut lone, rows);
}

#[test]
fn ttl_znodes_need_extended_types() {
    let mut lone = lone();
    lone.rules = Rules::default();
    let rows = vec![
        (create("nonsense", 5), Unimplemented),
        (create("/a", 6), Unimplemented),
        (ttl("/a", 0), Unimplemented),
        (ttl("/a", 5), Unimplemented),
    ];
    assert_refused(&mut lone, rows);
}

#[test]
fn delete_checks_in_order() {
    let mut lone = lone();
    let rows = vec![
        (delete("nonsense", 9), BadArguments),
        (delete("", 9), BadArguments),
        (delete("/zz/a\0", 9), BadArguments),
        (delete("/", -1), BadArguments),
        (delete("/zookeeper", -1), BadArguments),
        (delete("/zookeeper/quota", -1), BadArguments),
        (delete("/zookeeper/config", -1), BadArguments),
        (delete("/zz/a", 9), NoNode),
        (delete("/shut/zz", 9), NoAuth),
        (delete("/shut/child", -1), NoAuth),
        (delete("/open/zz", 9), NoNode),
        (delete("/open/", 9), NoNode),
        (delete("//", 9), NoNode),
        (delete("/open", 9), BadVersion),
        (delete("/open", 0), NotEmpty),
        (delete("/open", -1), NotEmpty),
    ];
    assert_refused(&mut lone, rows);
}

#[test]
fn delete_asks_the_parent_only() {
    let mut lone = lone();
    lone.make("/closed", 0);
    lone.write(set_acl("/closed", acl(31, "digest", "bob:hash"), -1)).unwrap();
    assert_eq!(lone.write(delete("/closed", 0)), Ok(Response::Empty));
}

#[test]
fn updates_and_checks_check_in_order() {
    let mut lone = lone();
    for verb in [set, check] {
        let rows = vec![
            (verb("nonsense", 9), BadArguments),
            (verb("/open/", 9), BadArguments),
            (verb("", 9), BadArguments),
            (verb("/zz", 9), NoNode),
            (verb("/shut", 9), NoAuth),
            (verb("/open", 9), BadVersion),
        ];
        let alone_too = rows.iter().all(|(write, _)| matches!(write, Write::SetData { .. }));
        if alone_too {
            assert_refused(&mut lone, rows);
            continue;
        }
        for (write, code) in rows {
            let result = lone.write(Write::multi(vec![write.clone()]));
            let refused = Response::Multi(vec![OpResult::Error(Some(code))]);
            assert_eq!(result, Ok(refused), "{write:?}");
        }
    }
    assert_eq!(lone.write(check("/open", 0)), Err(Unimplemented));
    let checked = lone.write(Write::multi(vec![check("/open", 0), check("/open", -1)]));
    assert_eq!(checked, Ok(Response::Multi(vec![OpResult::Check, OpResult::Check])));
    let rows = vec![
        (set_acl("/zz/", vec![], 9), BadArguments),
        (set_acl("/zz", vec![], 9), InvalidAcl),
        (set_acl("/zz", open_acl(), 9), NoNode),
        (set_acl("/shut", open_acl(), 9), NoAuth),
        (set_acl("/open", open_acl(), 9), BadVersion),
    ];
    assert_refused(&mut lone, rows);
}

/// It finds the root, but is no valid path, though that of the root is known to be.
#[test]
fn an_empty_path_is_bad_after_the_root_was_set() {
    let mut lone = lone();
    lone.write(set("/", -1)).unwrap();
    assert_refused(&mut lone, vec![(set("", 9), BadArguments), (set("/", 9), BadVersion)]);
    let refused = Response::Multi(vec![OpResult::Error(Some(BadArguments))]);
    assert_eq!(lone.write(Write::multi(vec![check("", -1)])), Ok(refused));
}

type Verb = (i32, fn(&str) -> Write);

#[test]
fn each_permission_opens_its_own_operations() {
    let mut lone = Lone::new();
    let child = |create: &str| format!("{create}/x");
    let writes: [Verb; 4] = [
        (Permissions::CREATE.0, |path| create(&format!("{path}/y"), 0)),
        (Permissions::DELETE.0, |path| delete(&format!("{path}/x"), -1)),
        (Permissions::WRITE.0, |path| set(path, -1)),
        (Permissions::ADMIN.0, |path| set_acl(path, acl(31, "ip", "::1"), -1)),
    ];
    for (bit, (needed, write)) in (0..5).flat_map(|bit| writes.map(|write| (1 << bit, write))) {
        let path = lone.make("/n-", 2);
        lone.make(&child(&path), 0);
        lone.write(set_acl(&path, acl(bit, "digest", "bob:hash"), -1)).unwrap();
        let strangers = lone.write_as(TWO, &[ip()], write(&path));
        assert_eq!(strangers, Err(NoAuth), "{bit} {needed}");
        let own = lone.write_as(TWO, &[ip(), bob()], write(&path));
        assert_eq!(own.is_ok(), bit == needed, "{bit} {needed}");
    }
}

#[test]
fn super_may_do_everything() {
    let mut lone = lone();
    lone.write_as(ONE, &[bob()], set_acl("/shut", acl(0, "digest", "bob:hash"), -1)).unwrap();
    let ids = [ip(), Id::new("super", "")];
    for write in [set("/shut", -1), delete("/shut/child", -1), create("/shut/x", 0)] {
        assert!(lone.write_as(ONE, &ids, write).is_ok());
    }
    assert!(lone.write_as(ONE, &ids, set("/zookeeper/config", -1)).is_ok());
    assert!(lone.write_as(ONE, &ids, set_acl("/shut", open_acl(), -1)).is_ok());
}

#[test]
fn reads_check_in_order_and_do_not_validate_paths() {
    let lone = lone();
    let acl_of = |path: &str| Read::GetAcl { path: path.into() };
    let count = |path: &str| Read::CountDescendants { path: path.into() };
    let rows = [
        (exists("/zz\0"), Some(BadArguments)),
        (exists("/zz"), Some(NoNode)),
        (exists("/shut"), Some(NoAuth)),
        (exists(""), None),
        (get("/zz\0"), Some(NoNode)),
        (get("/open/"), Some(NoNode)),
        (get("/shut"), Some(NoAuth)),
        (get(""), None),
        (children("/zz"), Some(NoNode)),
        (children("/shut"), Some(NoAuth)),
        (count("/zz"), Some(NoNode)),
        (count("/shut"), Some(NoAuth)),
        (acl_of("/zz"), Some(NoNode)),
        (acl_of("/shut"), Some(NoAuth)),
        (get("/shut/child"), None),
        (Read::Multi(vec![exists("/")]), Some(MarshallingError)),
        (
            Read::CheckWatches { path: "/".into(), kind: crate::proto::WatcherType::Any },
            Some(MarshallingError),
        ),
    ];
    for (read, code) in rows {
        assert_eq!(lone.read(read.clone()).err(), code, "{read:?}");
    }
}

#[test]
fn get_acl_shows_hashes_to_those_who_administer_only() {
    let mut lone = Lone::new();
    for (bits, shown) in [(1, "bob:x"), (16, "bob:hash"), (17, "bob:hash")] {
        let path = lone.make("/n-", 2);
        lone.write(set_acl(&path, acl(bits, "digest", "bob:hash"), -1)).unwrap();
        let read = Read::GetAcl { path: path.as_str().into() };
        let answer = lone.read_as(ONE, &[bob()], read.clone());
        let expected = Response::Acl(acl(bits, "digest", shown), lone.stat(&path));
        assert_eq!(answer, Ok(expected), "{bits}");
        assert_eq!(lone.read(read), Err(NoAuth));
    }
}

#[test]
fn a_multi_read_succeeds_and_fails_part_by_part() {
    let lone = lone();
    let answer = lone.read(Read::Multi(vec![get("/shut"), children("/open"), get("/zz")]));
    let results = vec![
        OpResult::Error(Some(NoAuth)),
        OpResult::Names(["child"].into()),
        OpResult::Error(Some(NoNode)),
    ];
    assert_eq!(answer, Ok(Response::Multi(results)));
    assert_eq!(lone.read(Read::Multi(vec![])), Ok(Response::Multi(vec![])));
}

#[test]
fn a_multi_read_whose_answer_would_be_huge_is_refused() {
    let mut lone = lone();
    let data = Some(Bytes::from(vec![7; 1 << 20]));
    lone.write(Write::SetData { path: "/open".into(), data, version: -1 }).unwrap();
    assert!(lone.read(Read::Multi(vec![get("/open"); 60])).is_ok());
    assert_eq!(lone.read(Read::Multi(vec![get("/open"); 65])), Err(MarshallingError));
    for n in 0..1000 {
        lone.make(&format!("/open/{}{n}", "x".repeat(200)), 0);
    }
    assert!(lone.read(Read::Multi(vec![children("/open"); 200])).is_ok());
    assert_eq!(lone.read(Read::Multi(vec![children("/open"); 400])), Err(MarshallingError));
}

#[test]
fn who_am_i_shows_schemes_and_users() {
    let lone = Lone::new();
    let answer = lone.read_as(ONE, &[ip(), bob(), Id::new("super", "")], Read::WhoAmI);
    let expected = vec![ip(), Id::new("digest", "bob"), Id::new("super", "")];
    assert_eq!(answer, Ok(Response::Identities(expected)));
}

#[test]
fn a_multi_sees_its_own_effects_and_answers_in_kind() {
    let mut lone = Lone::new();
    let create2 = Create { kind: CreateKind::Create2, ..creation("/a/b", 0) };
    let answer = lone.write(Write::multi(vec![
        create("/a", 0),
        Write::Create(create2),
        set("/a", 0),
        check("/a", 1),
        delete("/a/b", 0),
    ]));
    let Ok(Response::Multi(results)) = answer else { panic!("{answer:?}") };
    let zxid = lone.db.zxid().0;
    assert_eq!(results[0], OpResult::Create("/a".into()));
    assert!(
        matches!(&results[1], OpResult::Create2(path, stat) if path == "/a/b" && stat.czxid == zxid)
    );
    assert!(matches!(&results[2], OpResult::SetData(stat) if stat.version == 1
        && stat.num_children == 1));
    assert_eq!(results[3..], [OpResult::Check, OpResult::Delete]);
    let kinds: Vec<_> = lone.changes.iter().map(|(kind, _)| *kind).collect();
    use ChangeKind::{Created, DataChanged, Deleted};
    assert_eq!(kinds, [Created, Created, DataChanged, Deleted]);
    assert_eq!(lone.write(Write::multi(vec![])), Ok(Response::Multi(vec![])));
}

#[test]
fn a_multi_of_what_it_may_not_hold_is_refused_whole() {
    let mut lone = Lone::new();
    let foreign = [Write::CloseSession, Write::multi(vec![]), set_acl("/", open_acl(), -1)];
    for foreign in foreign {
        let content = lone.db.tree.digest();
        let answer = lone.write(Write::multi(vec![create("/a", 0), foreign]));
        assert_eq!(answer, Err(MarshallingError));
        assert_eq!(lone.db.tree.digest(), content);
    }
}
