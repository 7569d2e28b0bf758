//! What each operation does to the numbers of a znode and of its parent, and the tree's own
//! numbers.

use super::*;
use crate::proto::{Ensemble, Member, SharedData};

#[test]
fn a_fresh_tree_is_zookeepers() {
    let lone = Lone::fresh();
    let rows = [
        ("/", -1, 1, 0),
        ("/zookeeper", -2, 2, 0),
        ("/zookeeper/quota", 0, 0, 0),
        ("/zookeeper/config", 0, 0, -1),
    ];
    for (path, cversion, num_children, aversion) in rows {
        let expected = Stat { cversion, num_children, aversion, ..Stat::default() };
        assert_eq!(lone.stat(path), expected, "{path}");
    }
    assert_eq!(lone.db.node_count(), 5);
    let count = Read::CountDescendants { path: "/".into() };
    assert_eq!(lone.read(count), Ok(Response::Count(3)));
    let paths = ["", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
    assert_eq!(lone.db.data_bytes(), paths.iter().map(|path| path.len() as u64).sum::<u64>());
    assert_eq!(lone.db.zxid(), Zxid::ZERO);
}

#[test]
fn creation_sets_the_numbers_of_the_znode_and_its_parent() {
    let mut lone = Lone::new();
    lone.make("/p", 0);
    let before = lone.stat("/p");
    let (zxid, time) = (lone.db.zxid().0, 1_000);
    let fresh = Stat {
        czxid: zxid,
        mzxid: zxid,
        pzxid: zxid,
        ctime: time,
        mtime: time,
        data_length: 4,
        ..Stat::default()
    };
    assert_eq!(before, fresh);
    lone.time = WallTime(2_000);
    lone.make("/p/c", 1);
    let zxid = zxid + 1;
    let after = Stat { cversion: 1, num_children: 1, pzxid: zxid, ..before };
    assert_eq!(lone.stat("/p"), after);
    assert_eq!(lone.stat("/p/c").ephemeral_owner, ONE.0);
    lone.write(delete("/p/c", -1)).unwrap();
    let after = Stat { cversion: 2, num_children: 0, pzxid: zxid + 1, ..before };
    assert_eq!(lone.stat("/p"), after);
}

#[test]
fn setting_data_and_acl_sets_their_own_numbers_only() {
    let mut lone = Lone::new();
    lone.make("/p", 0);
    let before = lone.stat("/p");
    lone.time = WallTime(2_000);
    let answer = lone.write(set("/p", 0));
    let zxid = lone.db.zxid().0;
    let after = Stat { mzxid: zxid, mtime: 2_000, version: 1, data_length: 11, ..before };
    assert_eq!(answer, Ok(Response::Stat(after)));
    assert_eq!(lone.changes, [(ChangeKind::DataChanged, "/p".to_owned())]);
    let answer = lone.write(set_acl("/p", acl(31, "ip", "::/0"), 0));
    assert_eq!(answer, Ok(Response::Stat(Stat { aversion: 1, ..after })));
    assert_eq!(lone.changes, []);
    let null = Write::SetData { path: "/p".into(), data: None, version: 1 };
    assert_eq!(lone.write(null).err(), Some(ErrorCode::NoAuth));
}

#[test]
fn null_and_empty_data_are_different() {
    let mut lone = Lone::new();
    for data in [None, Some(Bytes::new())] {
        let creation = Create { data: data.clone(), ..creation("/d-", 2) };
        let Ok(Response::Path(path)) = lone.write(Write::Create(creation)) else { panic!() };
        let stat = lone.stat(&path);
        assert_eq!(stat.data_length, 0);
        assert_eq!(lone.read(get(&path)), Ok(Response::Data(data.map(SharedData::from), stat)));
    }
}

#[test]
fn numbers_of_sequential_names_count_all_creations() {
    let mut lone = Lone::new();
    lone.make("/sq", 0);
    assert_eq!(lone.make("/sq/x-", 2), "/sq/x-0000000000");
    lone.make("/sq/plain", 0);
    assert!(lone.write(create("/sq/plain", 0)).is_err());
    lone.write(delete("/sq/plain", -1)).unwrap();
    assert_eq!(lone.make("/sq/y-", 3), "/sq/y-0000000002");
    let failing = Write::multi(vec![create("/sq/x-", 2), delete("/zz", -1)]);
    lone.write(failing).unwrap();
    assert_eq!(lone.make("/sq/", 2), "/sq/0000000003");
    assert_eq!(lone.make("/sq/..", 2), "/sq/..0000000004");
    let far = |lone: &mut Lone, cversion| {
        let spot = lone.db.tree.find("/sq").unwrap();
        lone.db.tree.update_stat(spot, |stat| stat.cversion = cversion);
    };
    far(&mut lone, i32::MAX);
    assert_eq!(lone.make("/sq/x-", 2), "/sq/x-2147483647");
    assert_eq!(lone.make("/sq/x-", 2), "/sq/x--2147483648");
    far(&mut lone, -5);
    assert_eq!(lone.make("/sq/x-", 2), "/sq/x--000000005");
    let n = lone.stat("/sq").num_children;
    assert_eq!(lone.stat("/sq").cversion, 2 * -4 - n);
}

#[test]
fn versions_wrap_and_leave_out_minus_one() {
    let mut lone = Lone::new();
    lone.make("/v", 0);
    for (version, next) in [(i32::MAX, i32::MIN), (-2, 0)] {
        let spot = lone.db.tree.find("/v").unwrap();
        lone.db.tree.update_stat(spot, |stat| {
            stat.version = version;
            stat.aversion = version;
        });
        assert!(lone.write(set("/v", version)).is_ok());
        assert!(lone.write(set_acl("/v", open_acl(), version)).is_ok());
        let stat = lone.stat("/v");
        assert_eq!((stat.version, stat.aversion), (next, next));
    }
}

#[test]
fn containers_and_ttl_znodes_hide_their_owner_and_may_have_children() {
    let mut lone = Lone::new();
    for write in [container("/c"), ttl("/t", 5)] {
        let Ok(Response::PathStat(path, stat)) = lone.write(write) else { panic!() };
        assert_eq!(stat.ephemeral_owner, 0);
        lone.make(&format!("{path}/child"), 0);
    }
    assert_eq!(lone.db.ephemeral_count(), 0);
}

#[test]
fn a_container_may_go_once_it_had_children_and_is_empty() {
    let mut lone = Lone::new();
    lone.write(container("/c")).unwrap();
    let due = |lone: &Lone| lone.db.reapable(lone.time, 0, 9);
    assert_eq!(due(&lone), [""; 0]);
    lone.make("/c/x", 0);
    assert_eq!(due(&lone), [""; 0]);
    lone.write(delete("/c/x", -1)).unwrap();
    assert_eq!(due(&lone), ["/c"]);
    lone.make("/c/x", 0);
    assert_eq!(lone.act(reap("/c", 0)), Outcome::Settled);
    assert_eq!(lone.changes, [], "it got a child in time");
    lone.write(delete("/c/x", -1)).unwrap();
    lone.act(reap("/c", 0));
    assert_eq!(lone.changes, [(ChangeKind::Deleted, "/c".to_owned())]);
    assert_eq!(lone.stat("/").pzxid, lone.db.zxid().0);
    assert_eq!(due(&lone), [""; 0]);
    for path in ["/c", "/", "", "/zookeeper", "nonsense"] {
        lone.act(reap(path, 0));
        assert_eq!(lone.changes, []);
    }
}

#[test]
fn a_ttl_znode_may_go_when_its_time_is_over() {
    let mut lone = Lone::new();
    lone.write(ttl("/t", 500)).unwrap();
    lone.write(ttl("/u", 100)).unwrap();
    let due = |lone: &Lone, time, limit| lone.db.reapable(WallTime(time), 0, limit);
    assert_eq!(due(&lone, 1_100, 9), [""; 0]);
    assert_eq!(due(&lone, 1_101, 9), ["/u"]);
    assert_eq!(due(&lone, 1_501, 9), ["/u", "/t"]);
    assert_eq!(due(&lone, 1_501, 1), ["/u"]);
    lone.time = WallTime(1_300);
    lone.write(set("/t", -1)).unwrap();
    assert_eq!(due(&lone, 1_800, 9), ["/u"], "new data renews it");
    lone.make("/u/x", 0);
    assert_eq!(due(&lone, 1_801, 9), ["/t"], "children keep it");
    lone.time = WallTime(1_800);
    lone.act(reap("/t", 0));
    assert_eq!(lone.changes, [], "not yet");
    lone.time = WallTime(1_801);
    lone.act(reap("/t", 0));
    assert_eq!(lone.changes, [(ChangeKind::Deleted, "/t".to_owned())]);
}

#[test]
fn a_description_is_shown_once() {
    let mut lone = Lone::new();
    let member = Member { id: ServerId(1), line: "a:1:2:participant;c:3".into() };
    let ensemble = Ensemble { members: vec![member], ..Ensemble::default() };
    let describe = |ensemble: &Ensemble| Action::Describe { ensemble: ensemble.clone() };
    assert_eq!(lone.act(describe(&Ensemble::default())), Outcome::Settled);
    assert_eq!(lone.changes, [], "standalone, and nothing is shown");
    lone.act(describe(&ensemble));
    let shown = (ChangeKind::DataChanged, CONFIG_PATH.to_owned());
    assert_eq!(lone.changes, std::slice::from_ref(&shown));
    let stat = lone.stat(CONFIG_PATH);
    let zxid = lone.db.zxid();
    assert_eq!((stat.version, stat.mzxid, stat.mtime), (-1, zxid.0, 1_000));
    let text = format!("server.1=a:1:2:participant;c:3\nversion={:x}", zxid.0);
    assert_eq!(lone.read(get(CONFIG_PATH)), Ok(Response::Data(Some(text.into()), stat)));
    lone.act(describe(&ensemble));
    assert_eq!((lone.changes.len(), lone.stat(CONFIG_PATH)), (0, stat));
    lone.act(describe(&Ensemble::default()));
    assert_eq!(lone.changes, [shown]);
    assert_eq!(lone.stat(CONFIG_PATH).data_length, 0);
}

#[test]
fn counts_and_sizes_follow_the_tree() {
    let mut lone = Lone::new();
    let (nodes, bytes) = (lone.db.node_count(), lone.db.data_bytes());
    lone.make("/\u{e4}", 1);
    assert_eq!(lone.db.data_bytes() - bytes, 4 + 2);
    lone.write(set("/\u{e4}", -1)).unwrap();
    assert_eq!(lone.db.data_bytes() - bytes, 11 + 2);
    assert_eq!((lone.db.node_count() - nodes, lone.db.ephemeral_count()), (1, 1));
    lone.write(delete("/\u{e4}", -1)).unwrap();
    assert_eq!((lone.db.node_count(), lone.db.data_bytes()), (nodes, bytes));
    assert_eq!(lone.db.ephemeral_count(), 0);
    for path in ["/a", "/a/b", "/a/b/c", "/ab"] {
        lone.make(path, 0);
    }
    let count = Read::CountDescendants { path: "/a".into() };
    assert_eq!(lone.read(count), Ok(Response::Count(2)));
}

#[test]
fn a_deep_tree_is_walked_without_recursion() {
    let mut lone = Lone::new();
    let mut path = String::new();
    for _ in 0..2_000 {
        path.push_str("/d");
        lone.make(&path, 0);
    }
    let count = Read::CountDescendants { path: "/d".into() };
    assert_eq!(lone.read(count), Ok(Response::Count(1_999)));
    let image = lone.db.freeze();
    assert_eq!(image.nodes().count(), image.node_count());
    drop(lone);
    assert_eq!(image.nodes().last().map(|node| node.path.len()), Some("/zookeeper/quota".len()));
}

#[test]
fn freezing_and_thawing_copy_no_page_until_it_is_written() {
    let mut lone = Lone::new();
    for _ in 0..1_000 {
        lone.make("/n-", 2);
        lone.write(create("/e-", 3)).unwrap();
    }
    let path = lone.make("/n-", 2);
    lone.write(set_acl(&path, acl(1, "ip", "::1"), -1)).unwrap();
    let frozen = lone.db.tree.freeze();
    let thawed = Database::thaw(lone.db.freeze());
    assert_eq!(thawed.tree.freeze().n_shared(&frozen), frozen.n_pages());
    assert_eq!((thawed.tree.n_acls(), lone.db.tree.n_acls()), (2, 2), "config's, and this one");
    lone.write(delete(&path, -1)).unwrap();
    assert_eq!(lone.db.tree.n_acls(), 1);
    // The znode's page, and its parent's.
    assert!(lone.db.tree.freeze().n_shared(&frozen) >= frozen.n_pages() - 2);
}

/// The counter is printed as a signed number: the sign is one of ten characters, or the eleventh.
#[test]
fn numbers_of_names_go_on_below_zero_after_the_largest() {
    let mut lone = Lone::new();
    lone.make("/p", 0);
    let image = lone.db.freeze();
    let build = || {
        let mut builder = ImageBuilder::new();
        for mut node in image.nodes() {
            if node.path == "/p" {
                node.stat.cversion = i32::MAX;
            }
            builder.node(node).unwrap();
        }
        image.sessions().for_each(|session| builder.session(session).unwrap());
        for (&prefix, &last) in image.last_session_ids() {
            builder.last_session_id(prefix, last);
        }
        builder
    };
    let Err(ImageError::Digest { found, .. }) = build().finish(image.zxid(), 0) else {
        panic!("a digest of 0 was believed");
    };
    lone.db = Database::thaw(build().finish(image.zxid(), found).unwrap());
    for name in ["/p/n-2147483647", "/p/n--2147483648", "/p/n--2147483647"] {
        assert_eq!(lone.make("/p/n-", 2), name);
    }
    assert_eq!(lone.make("/p/", 2), "/p/-2147483646");
    lone.db = Database::thaw(lone.db.freeze());
    assert_eq!(lone.make("/p/n-", 3), "/p/n--2147483645");
}
