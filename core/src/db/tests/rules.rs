//! What is stamped on a txn decides, and nothing else does.

use super::*;
use crate::proto::OpResult;
use ErrorCode::{InvalidAcl, NoAuth, QuotaExceeded, Unimplemented};

#[test]
fn a_ttl_znode_stays_one_under_whatever_rules() {
    let mut lone = Lone::new();
    lone.write(ttl("/t", 5)).unwrap();
    lone.rules = Rules::default();
    assert_eq!(lone.write(ttl("/u", 5)), Err(Unimplemented));
    assert_eq!(lone.stat("/t").ephemeral_owner, 0);
    lone.make("/t/child", 0);
    lone.write(delete("/t/child", -1)).unwrap();
    assert_eq!(lone.db.ephemeral_count(), 0);
    lone.time = WallTime(2_000);
    lone.act(reap("/t", 0));
    assert_eq!(lone.changes, [(ChangeKind::Deleted, "/t".to_owned())]);
}

#[test]
fn where_acls_are_skipped_everybody_may_do_everything() {
    let mut lone = Lone::new();
    lone.make("/shut", 0);
    lone.make("/shut/x", 0);
    lone.write(set_acl("/shut", acl(0, "digest", "bob:hash"), -1)).unwrap();
    let writes = || {
        [
            create("/shut/y", 0),
            delete("/shut/x", -1),
            set("/shut", -1),
            Write::multi(vec![check("/shut", -1)]),
            set_acl("/shut", acl(1, "ip", "::1"), -1),
        ]
    };
    for write in writes() {
        let refused = match lone.write(write) {
            Ok(Response::Multi(results)) => results[0] == OpResult::Error(Some(NoAuth)),
            other => other == Err(NoAuth),
        };
        assert!(refused);
    }
    lone.rules.skip_acl = true;
    for write in writes() {
        assert!(lone.write(write.clone()).is_ok(), "{write:?}");
    }
    assert_eq!(lone.write(create("/z", 0)), Ok(Response::Path("/z".into())));
    let bad = lone.write(set_acl("/shut", vec![], -1));
    assert_eq!(bad, Err(InvalidAcl), "a list has to be valid all the same");
}

#[test]
fn a_reader_who_skips_acls_sees_everything() {
    let mut lone = Lone::new();
    lone.make("/shut", 0);
    lone.write(set_acl("/shut", acl(2, "digest", "bob:hash"), -1)).unwrap();
    let identities: Identities = [ip()].into();
    let read = |read: &Read, skip_acl| {
        lone.db.query(&Reader { session: ONE, identities: &identities, skip_acl }, read)
    };
    for shut in [exists("/shut"), get("/shut"), children("/shut")] {
        assert_eq!(read(&shut, false), Err(NoAuth));
        assert!(read(&shut, true).is_ok());
    }
    let get_acl = Read::GetAcl { path: "/shut".into() };
    assert_eq!(read(&get_acl, false), Err(NoAuth));
    let shown = Response::Acl(acl(2, "digest", "bob:hash"), lone.stat("/shut"));
    assert_eq!(read(&get_acl, true), Ok(shown), "hashes as well");
}

/// Two servers of which each has another idea apply the same entries: the stamp alone counts.
#[test]
fn the_same_entries_make_the_same_state_and_their_rules_are_part_of_them() {
    let run = |enforced: bool| {
        let mut lone = Lone::new();
        lone.rules.enforce_quota = enforced;
        lone.make("/zookeeper/quota/q", 0);
        lone.write(limits("/q", "count=-1,bytes=-1=;countHardLimit=1")).unwrap();
        lone.write(stats("/q")).unwrap();
        lone.make("/q", 0);
        (lone.write(create("/q/x", 0)), lone.db.digest())
    };
    assert_eq!(run(true), run(true));
    assert_eq!(run(true).0, Err(QuotaExceeded));
    assert!(run(false).0.is_ok());
}

#[test]
fn a_write_without_permission_is_known_before_it_is_tried() {
    let mut lone = Lone::new();
    lone.make("/shut", 0);
    lone.make("/shut/x", 0);
    lone.write(set_acl("/shut", acl(31, "digest", "bob:hash"), -1)).unwrap();
    let no_acl = Write::Create(Create { acl: [].into(), ..creation("/zz/a", 0) });
    let rows = [
        (create("/shut/y", 0), Some(NoAuth)),
        (delete("/shut/x", -1), Some(NoAuth)),
        (set("/shut", -1), Some(NoAuth)),
        (set_acl("/shut", open_acl(), -1), Some(NoAuth)),
        (set_acl("/shut", vec![], -1), Some(InvalidAcl)),
        (no_acl, Some(InvalidAcl)),
        // The log decides about these.
        (create("/zz/a", 0), None),
        (create("nonsense", 9), None),
        (set("/zz", 7), None),
        (set("/shut/x", 7), None),
        (container("/shut/c"), None),
        (ttl("/shut/t", 5), None),
        (Write::multi(vec![set("/shut", -1)]), None),
        (Write::CloseSession, None),
    ];
    for (write, code) in rows {
        assert_eq!(lone.db.refusal(&[ip()], &write), code, "{write:?}");
    }
    assert_eq!(lone.db.refusal(&[bob()], &set("/shut", -1)), None);
}
