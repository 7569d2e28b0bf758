//! Quotas: what is counted, what is refused, and what clients may store without harm.

use super::*;
use ErrorCode::{BadVersion, NoAuth, NoNode, NodeExists, QuotaExceeded};

/// Enforced, with a znode `/q` of four bytes and a folder for its quota.
fn lone() -> Lone {
    let mut lone = Lone::new();
    lone.rules.enforce_quota = true;
    lone.make("/q", 0);
    lone.make("/zookeeper/quota/q", 0);
    lone
}

/// The same, with these limits and a count of what is there.
fn with_limits(text: &str) -> Lone {
    let mut lone = lone();
    lone.write(limits("/q", text)).unwrap();
    lone.write(stats("/q")).unwrap();
    lone
}

fn usage(lone: &Lone, path: &str) -> String {
    let path = format!("/zookeeper/quota{path}/zookeeper_stats");
    match lone.read(get(&path)) {
        Ok(Response::Data(Some(data), stat)) => {
            assert_eq!(stat.data_length as usize, data.len());
            String::from_utf8(data.to_vec()).unwrap()
        }
        other => panic!("{path}: {other:?}"),
    }
}

fn sized(path: &str, n_bytes: usize) -> Write {
    Write::Create(Create { data: Some(vec![7; n_bytes].into()), ..creation(path, 0) })
}

fn put(path: &str, n_bytes: usize) -> Write {
    Write::SetData { path: path.into(), data: Some(vec![7; n_bytes].into()), version: -1 }
}

#[test]
fn usage_follows_every_change_in_place() {
    let mut lone = with_limits("count=9,bytes=90");
    assert_eq!(usage(&lone, "/q"), "count=1,bytes=4");
    let before = lone.stat("/zookeeper/quota/q/zookeeper_stats");
    lone.write(sized("/q/a", 10)).unwrap();
    assert_eq!(lone.changes, [(ChangeKind::Created, "/q/a".to_owned())], "no watch hears of it");
    assert_eq!(usage(&lone, "/q"), "count=2,bytes=14");
    lone.write(put("/q/a", 3)).unwrap();
    assert_eq!(usage(&lone, "/q"), "count=2,bytes=7");
    lone.write(Write::SetData { path: "/q/a".into(), data: None, version: -1 }).unwrap();
    assert_eq!(usage(&lone, "/q"), "count=2,bytes=4");
    lone.write(create("/q/a/deep", 1)).unwrap();
    lone.write(container("/q/c")).unwrap();
    lone.write(ttl("/q/t", 1)).unwrap();
    lone.write(create("/quite-another", 0)).unwrap();
    assert_eq!(usage(&lone, "/q"), "count=5,bytes=16");
    lone.time = WallTime(2_000);
    lone.act(reap("/q/t", 0));
    lone.write(Write::CloseSession).unwrap();
    let after = lone.stat("/zookeeper/quota/q/zookeeper_stats");
    assert_eq!(after, Stat { data_length: after.data_length, ..before });
    let lost = lone.write_as(TWO, &[ip()], delete("/q/c", -1));
    assert_eq!(lost, Ok(Response::Empty));
    let read = lone.read_as(TWO, &[ip()], get("/zookeeper/quota/q/zookeeper_stats"));
    assert!(matches!(read, Ok(Response::Data(Some(text), _)) if &*text == b"count=2,bytes=4"));
}

#[test]
fn a_count_begins_with_what_is_there() {
    let mut lone = lone();
    for path in ["/q/a", "/q/a/b", "/qq"] {
        lone.make(path, 0);
    }
    lone.write(stats("/q")).unwrap();
    assert_eq!(usage(&lone, "/q"), "count=3,bytes=12");
    // Without limits nothing goes on being counted.
    lone.make("/q/c", 0);
    assert_eq!(usage(&lone, "/q"), "count=3,bytes=12");
    // A path that is not there yet may have a quota.
    lone.make("/zookeeper/quota/new", 0);
    lone.write(limits("/new", "")).unwrap();
    lone.write(stats("/new")).unwrap();
    assert_eq!(usage(&lone, "/new"), "count=0,bytes=0");
    lone.make("/new", 0);
    assert_eq!(usage(&lone, "/new"), "count=1,bytes=4");
    lone.write(delete("/new", -1)).unwrap();
    assert_eq!(usage(&lone, "/new"), "count=0,bytes=0");
}

#[test]
fn a_hard_limit_may_be_reached_and_not_passed() {
    let mut lone = with_limits("count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3");
    assert!(lone.write(sized("/q/a", 6)).is_ok());
    let digest = lone.db.tree.digest();
    assert_eq!(lone.write(sized("/q/b", 1)), Err(QuotaExceeded));
    assert_eq!(lone.write(put("/q/a", 7)), Err(QuotaExceeded));
    assert_eq!((lone.db.tree.digest(), lone.changes.len()), (digest, 0));
    assert!(lone.write(sized("/q/b", 0)).is_ok());
    assert_eq!(lone.write(sized("/q/b/c", 0)), Err(QuotaExceeded), "at any depth");
    assert_eq!(lone.db.take_quota_events(), QuotaEvents { exceeded: 0, refused: 3 });
    lone.write(delete("/zookeeper/quota/q/zookeeper_limits", -1)).unwrap();
    assert!(lone.write(sized("/q/b/c", 100)).is_ok());
}

#[test]
fn a_soft_limit_is_only_counted_and_a_hard_one_stands_in_for_it() {
    let mut lone = with_limits("count=1,bytes=4");
    lone.write(sized("/q/a", 5)).unwrap();
    assert_eq!(lone.db.take_quota_events(), QuotaEvents { exceeded: 2, refused: 0 });
    lone.write(put("/q/a", 5)).unwrap();
    assert_eq!(lone.db.take_quota_events(), QuotaEvents::default(), "nothing more than before");
    let mut lone = with_limits("count=1,bytes=1=;byteHardLimit=99;countHardLimit=9");
    lone.write(sized("/q/a", 5)).unwrap();
    assert_eq!(lone.db.take_quota_events(), QuotaEvents::default());
}

#[test]
fn what_is_beyond_a_limit_may_only_come_back_to_it() {
    let mut lone = lone();
    lone.write(sized("/q/a", 50)).unwrap();
    lone.write(limits("/q", "=;byteHardLimit=20")).unwrap();
    lone.write(stats("/q")).unwrap();
    assert_eq!(lone.write(put("/q/a", 40)), Err(QuotaExceeded), "less, and still too much");
    assert!(lone.write(put("/q/a", 50)).is_ok(), "no more than before");
    assert_eq!(lone.write(sized("/q/b", 1)), Err(QuotaExceeded));
    assert!(lone.write(sized("/q/b", 0)).is_ok(), "znodes have no limit");
    assert!(lone.write(put("/q/a", 16)).is_ok());
}

#[test]
fn the_deepest_quota_alone_counts() {
    let mut lone = with_limits("=;countHardLimit=2");
    lone.make("/q/in", 0);
    lone.make("/zookeeper/quota/q/in", 0);
    lone.write(limits("/q/in", "=;countHardLimit=4")).unwrap();
    lone.write(stats("/q/in")).unwrap();
    assert!(lone.write(create("/q/in/a", 0)).is_ok());
    assert_eq!(usage(&lone, "/q"), "count=2,bytes=8");
    assert_eq!(usage(&lone, "/q/in"), "count=2,bytes=8");
    assert_eq!(lone.write(create("/q/out", 0)), Err(QuotaExceeded));
    lone.write(delete("/zookeeper/quota/q/in/zookeeper_limits", -1)).unwrap();
    assert_eq!(lone.write(create("/q/in/b", 0)), Err(QuotaExceeded));
    let paths: Vec<_> = lone.db.quotas().into_iter().map(|quota| quota.path).collect();
    assert_eq!(paths, ["/q"]);
}

#[test]
fn a_quota_is_checked_after_all_but_the_version() {
    let mut lone = with_limits("=;byteHardLimit=0;countHardLimit=0");
    lone.make("/open", 0);
    lone.write(set_acl("/q", acl(1, "world", "anyone"), -1)).unwrap();
    assert_eq!(lone.write(create("/q/a", 0)), Err(NoAuth));
    assert_eq!(lone.write(set("/q", 9)), Err(NoAuth));
    lone.write_as(ONE, &[Id::new("super", "")], set_acl("/q", open_acl(), -1)).unwrap();
    assert_eq!(lone.write(create("/q", 0)), Err(NodeExists));
    assert_eq!(lone.write(set("/q/zz", 9)), Err(NoNode));
    assert_eq!(lone.write(set("/q", 9)), Err(QuotaExceeded), "before the version");
    assert_eq!(lone.write(set("/open", 9)), Err(BadVersion));
}

#[test]
fn a_multi_counts_what_it_did_itself_and_takes_it_back() {
    let mut lone = with_limits("=;byteHardLimit=14");
    let both = |n_bytes| Write::multi(vec![sized("/q/a", 5), put("/q/a", n_bytes)]);
    let Ok(Response::Multi(results)) = lone.write(both(11)) else { panic!() };
    assert_eq!(results[1], crate::proto::OpResult::Error(Some(QuotaExceeded)));
    assert_eq!(usage(&lone, "/q"), "count=1,bytes=4");
    let digest = lone.db.tree.digest();
    let disarmed =
        vec![delete("/zookeeper/quota/q/zookeeper_limits", -1), sized("/q/big", 99), stats("/zz")];
    assert!(matches!(lone.write(Write::multi(disarmed)), Ok(Response::Multi(_))));
    assert_eq!(lone.db.tree.digest(), digest, "the quota came back, too");
    let Ok(Response::Multi(results)) = lone.write(both(10)) else { panic!() };
    assert!(matches!(results[1], crate::proto::OpResult::SetData(_)));
    assert_eq!(usage(&lone, "/q"), "count=2,bytes=14");
}

#[test]
fn whatever_is_stored_for_limits_is_some_quota_or_none() {
    let rows: [(&[u8], bool); 16] = [
        (b"", true),
        (b"nonsense", true),
        (b"=;=;,,;", true),
        (b"countHardLimit", true),
        (b"countHardLimit=", true),
        (b"countHardLimit=x", true),
        (b"countHardLimit=-1", true),
        (b"countHardLimit=-9223372036854775808", true),
        (b"countHardLimit=9223372036854775807", true),
        (b"countHardLimit=9223372036854775808", true),
        (b"\xff\xfecountHardLimit=0", true),
        (b"countHardLimit=0", false),
        (b"countHardLimit=0=1", false),
        (b"countHardLimit=99;countHardLimit=0", false),
        (b"bytes=x;count=y,,countHardLimit=+1", false),
        (b"byteHardLimit=3", false),
    ];
    for (text, is_free) in rows {
        let mut lone = with_limits("");
        let data = Some(Bytes::from_static(text));
        let path = "/zookeeper/quota/q/zookeeper_limits".into();
        lone.write(Write::SetData { path, data, version: -1 }).unwrap();
        assert_eq!(lone.write(create("/q/a", 0)).is_ok(), is_free, "{text:?}");
    }
    let mut lone = with_limits("");
    let long = format!("countHardLimit=0;{}", "x".repeat(2_000));
    let data = Some(Bytes::from(long));
    let path = "/zookeeper/quota/q/zookeeper_limits".into();
    lone.write(Write::SetData { path, data, version: -1 }).unwrap();
    assert!(lone.write(create("/q/a", 0)).is_ok(), "no client writes that much");
}

#[test]
fn usage_that_a_client_has_overwritten_is_counted_anew() {
    for text in ["", "nonsense", "count=5", "bytes=5", "count=x,bytes=1"] {
        let mut lone = with_limits("count=1,bytes=1");
        lone.make("/q/a", 0);
        let path = "/zookeeper/quota/q/zookeeper_stats";
        let data = Some(Bytes::copy_from_slice(text.as_bytes()));
        lone.write(Write::SetData { path: path.into(), data, version: -1 }).unwrap();
        assert_eq!(usage(&lone, "/q"), text, "it is the client's until something changes");
        lone.make("/q/b", 0);
        assert_eq!(usage(&lone, "/q"), "count=3,bytes=12", "{text}");
    }
    // What reads like a server's own is believed.
    let mut lone = with_limits("=;countHardLimit=9");
    let data = Some(Bytes::from_static(b"count=9223372036854775807,bytes=-9223372036854775808"));
    let path = "/zookeeper/quota/q/zookeeper_stats";
    lone.write(Write::SetData { path: path.into(), data, version: -1 }).unwrap();
    assert_eq!(lone.write(create("/q/b", 0)), Err(QuotaExceeded));
    lone.rules.enforce_quota = false;
    lone.write(Write::multi(vec![sized("/q/b", 0), put("/q", 0)])).unwrap();
    assert_eq!(
        usage(&lone, "/q"),
        "count=9223372036854775807,bytes=-9223372036854775808",
        "no overflow"
    );
}

#[test]
fn odd_quotas_do_nothing() {
    let mut lone = lone();
    lone.make("/zookeeper/quota/zookeeper", 0);
    lone.make("/zookeeper/quota/zookeeper/quota", 0);
    let none = "=;byteHardLimit=0;countHardLimit=0";
    for path in ["", "/zookeeper", "/zookeeper/quota"] {
        lone.write(limits(path, none)).unwrap();
        lone.write(stats(path)).unwrap();
    }
    assert_eq!(usage(&lone, ""), "count=0,bytes=0", "as its client wrote it");
    assert_eq!(lone.db.quotas(), []);
    for path in ["/a", "/zookeeper/x", "/zookeeper/quota/y"] {
        lone.make(path, 0);
    }
    // Limits that are a folder, and znodes of these names elsewhere.
    lone.write(limits("/q", none)).unwrap();
    lone.write(stats("/q")).unwrap();
    lone.make("/zookeeper/quota/q/zookeeper_limits/x", 0);
    lone.make("/zookeeper/quota/q/zookeeper_stats/x", 0);
    assert_eq!(lone.write(create("/q/a", 0)), Err(QuotaExceeded));
    lone.make("/zookeeper_limits", 0);
    lone.make("/zookeeper_stats", 0);
    lone.make("/zookeeper/quotas", 0);
    lone.write(create("/zookeeper/quotas/zookeeper_limits", 0)).unwrap();
    lone.write(create("/zookeeper/quotas/zookeeper_stats", 0)).unwrap();
    // An ephemeral quota is one as long as its session lives.
    lone.make("/zookeeper/quota/a", 0);
    let Write::Create(create_limits) = limits("/a", none) else { unreachable!() };
    lone.write(Write::Create(Create { flags: 1, ..create_limits })).unwrap();
    lone.write(stats("/a")).unwrap();
    assert_eq!(lone.write(create("/a/x", 0)), Err(QuotaExceeded));
    lone.act(Action::Expire { session: ONE, token: lone.db.session(ONE).unwrap().token });
    assert!(lone.write_as(TWO, &[ip()], create("/a/x", 0)).is_ok());
}

#[test]
fn without_enforcement_usage_is_counted_and_nothing_refused() {
    let mut lone = with_limits("=;countHardLimit=1");
    lone.rules.enforce_quota = false;
    lone.make("/q/a", 0);
    assert_eq!(usage(&lone, "/q"), "count=2,bytes=8");
    assert_eq!(lone.db.take_quota_events(), QuotaEvents::default());
    let mut lone = lone_without_stats();
    assert!(lone.write(create("/q/a", 0)).is_ok(), "without a count there is nothing to compare");
}

fn lone_without_stats() -> Lone {
    let mut lone = lone();
    lone.write(limits("/q", "=;countHardLimit=1")).unwrap();
    lone
}

#[test]
fn quotas_are_listed_with_limits_and_usage() {
    let mut lone = with_limits("count=5,bytes=-1=;byteHardLimit=7");
    lone.make("/zookeeper/quota/b", 0);
    lone.write(limits("/b", "")).unwrap();
    let limits = Limits { soft_znodes: Some(5), hard_bytes: Some(7), ..Limits::default() };
    let usage = Some(Usage { n_znodes: 1, n_bytes: 4 });
    let expected = [
        Quota { path: "/b".into(), limits: Limits::default(), usage: None },
        Quota { path: "/q".into(), limits, usage },
    ];
    assert_eq!(lone.db.quotas(), expected);
}

#[test]
fn a_state_that_was_frozen_goes_on_with_its_quotas() {
    let mut lone = with_limits("=;countHardLimit=2");
    let mut thawed = Lone::fresh();
    thawed.db = Database::thaw(lone.db.freeze());
    (thawed.rules, thawed.time) = (lone.rules, lone.time);
    for lone in [&mut lone, &mut thawed] {
        lone.make("/q/a", 0);
        assert_eq!(lone.write(create("/q/b", 0)), Err(QuotaExceeded));
        assert_eq!(usage(lone, "/q"), "count=2,bytes=8");
    }
    assert_eq!(lone.db.digest(), thawed.db.digest());
}

#[test]
fn a_multi_cannot_have_one_subtree_counted_over_and_over() {
    let mut lone = lone();
    lone.make("/wide", 0);
    for _ in 0..110 {
        let many = (0..1_000).map(|_| sized("/wide/n-", 0)).map(|write| match write {
            Write::Create(create) => Write::Create(Create { flags: 2, ..create }),
            other => other,
        });
        lone.write(Write::Multi(many.collect())).unwrap();
    }
    lone.make("/zookeeper/quota/wide", 0);
    let path = "/zookeeper/quota/wide/zookeeper_stats";
    lone.write(Write::multi(vec![stats("/wide"), delete(path, -1), stats("/wide")])).unwrap();
    assert_eq!(usage(&lone, "/wide"), "count=0,bytes=0", "as its client wrote it");
    lone.write(Write::multi(vec![delete(path, -1), stats("/wide")])).unwrap();
    assert_eq!(usage(&lone, "/wide"), "count=110001,bytes=4");
}
