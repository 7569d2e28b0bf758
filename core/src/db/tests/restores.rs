//! Restores: their steps, what they leave and what they keep, and images taken in their midst.

use super::*;
use crate::session::lane_of;

/// What a database would be restored to: its znodes and its clients' sessions.
fn prepared(db: &Database) -> Prepared {
    let sessions = db.sessions().map(|session| RestoredSession {
        id: session.id,
        password: [9; 16],
        timeout_ms: session.timeout_ms,
    });
    Prepared::new(db.freeze().nodes(), sessions).unwrap()
}

fn begin(lone: &mut Lone) -> Token {
    let replaces = lone.db.restores().begun;
    match lone.act(Action::BeginRestore { replaces, nonce: Nonce(1) }) {
        Outcome::Attached { token } => token,
        other => panic!("{other:?}"),
    }
}

fn step(token: Token, n: usize, prepared: &Prepared) -> Action {
    let step = prepared.steps()[n].clone();
    Action::Restore { token, number: Sequence(n as u64 + 1), step }
}

/// Restores, and says what whoever watches would hear.
fn restore(lone: &mut Lone, prepared: &Prepared) -> Vec<(ChangeKind, String)> {
    let token = begin(lone);
    let last = prepared.steps().len() - 1;
    for n in 0..last {
        assert_eq!(lone.act(step(token, n, prepared)), Outcome::Settled);
    }
    assert_eq!(lone.act(step(token, last, prepared)), Outcome::Restored);
    differences(lone).iter().map(|change| (change.kind, change.path.to_string())).collect()
}

fn differences(lone: &mut Lone) -> Vec<Change> {
    let replaced = lone.db.take_replaced().expect("a state was replaced");
    let differences = replaced.differences(&lone.db);
    (0..differences.len()).map(|n| replaced.change(&differences, n, &lone.db)).collect()
}

fn znodes(lone: &Lone) -> Vec<ImageNode> {
    lone.db.freeze().nodes().collect()
}

/// With znodes of every kind.
fn lone_with_all() -> Lone {
    let mut lone = Lone::new();
    lone.make("/a", 0);
    lone.make("/a/s-", 2);
    lone.make("/a/e", 1);
    lone.write(container("/c")).unwrap();
    lone.write(ttl("/t", 100)).unwrap();
    lone.write(limits("/a", "count=-1,bytes=-1")).unwrap_err();
    lone.write(Write::SetAcl {
        path: "/a".into(),
        acl: acl(31, "ip", "127.0.0.1").into(),
        version: -1,
    })
    .unwrap();
    lone.write(set("/a", -1)).unwrap();
    lone
}

#[test]
fn the_state_is_that_of_the_snapshot_and_what_came_after_it_is_gone() {
    let mut lone = lone_with_all();
    let (snapshot, expected) = (prepared(&lone.db), znodes(&lone));
    lone.make("/later", 0);
    lone.make("/a/s-", 2);
    lone.write(set("/a", -1)).unwrap();
    lone.write(delete("/c", -1)).unwrap();
    lone.write_as(TWO, &[], Write::CloseSession).unwrap();
    let zxid = lone.db.zxid();
    restore(&mut lone, &snapshot);
    assert_eq!(znodes(&lone), expected, "down to every number");
    assert!(lone.db.zxid() > zxid, "the zxid goes on");
    assert_eq!(lone.make("/a/s-", 2), "/a/s-0000000002", "counters are those of the snapshot");
    let due = lone.db.reapable(WallTime(10_000), 0, 10);
    assert_eq!(due, ["/t"], "what is to be reaped is known");
    assert_eq!(lone.db.ephemerals().count(), 1);
    let thawed = Database::thaw(lone.db.freeze());
    assert_eq!(thawed.digest(), lone.db.digest());
}

#[test]
fn quotas_are_those_of_the_snapshot() {
    let mut lone = Lone::new();
    lone.rules.enforce_quota = true;
    lone.make("/q", 0);
    lone.write(create("/zookeeper/quota/q", 0)).unwrap();
    lone.write(limits("/q", "countHardLimit=2")).unwrap();
    lone.write(stats("/q")).unwrap();
    let snapshot = prepared(&lone.db);
    lone.make("/q/x", 0);
    assert_eq!(lone.write(create("/q/y", 0)), Err(ErrorCode::QuotaExceeded));
    restore(&mut lone, &snapshot);
    lone.make("/q/y", 0);
    assert_eq!(lone.write(create("/q/x", 0)), Err(ErrorCode::QuotaExceeded));
}

#[test]
fn sessions_of_both_stay_attached_others_end_and_those_of_the_snapshot_come_to_life() {
    let mut lone = Lone::new();
    lone.write_as(TWO, &[ip()], create("/two", 1)).unwrap();
    let snapshot = prepared(&lone.db);
    lone.write_as(TWO, &[ip()], Write::CloseSession).unwrap();
    let three = SessionId(TWO.0 + 1);
    lone.act(open(three));
    lone.make("/mine", 1);
    let (kept, last) = (lone.db.session(ONE).unwrap().clone(), lone.db.last_session_id(1));
    restore(&mut lone, &snapshot);
    assert_eq!(lone.db.session(ONE), Some(&kept), "with its password, token and sequence");
    assert_eq!(lone.db.session(three), None);
    let two = lone.db.session(TWO).unwrap().clone();
    assert_eq!((two.token, two.sequence), (Token(lone.db.zxid().0), Sequence(0)));
    assert_eq!((two.password, two.timeout_ms), ([9; 16], 4_000));
    assert_eq!(lone.db.last_session_id(1), last, "no id is given twice");
    assert_eq!(lone.act(open(three)), Outcome::Refused(Refusal::IdTaken));
    lone.act(Action::Expire { session: TWO, token: two.token });
    assert!(lone.read(exists("/two")).is_err(), "its ephemeral goes with it");
    assert!(lone.read(exists("/mine")).is_err());
}

#[test]
fn lanes_and_the_description_of_the_ensemble_are_no_part_of_it() {
    use crate::proto::Member;
    let mut lone = Lone::new();
    let snapshot = prepared(&lone.db);
    let members = vec![Member { id: ServerId(7), line: "h:1:2".into() }];
    lone.act(Action::Describe { ensemble: Ensemble { members, ..Ensemble::default() } });
    let first = SessionId(0x0700_0000_0000_0001);
    let (server, nonce) = (ServerId(7), Nonce(3));
    lone.act(Action::Enroll { server, first, replaces: Token(0), nonce });
    let lane = lone.db.lane(ServerId(7)).unwrap().clone();
    let (text, version) = (lone.db.config_text(), lone.db.config_version());
    let told = restore(&mut lone, &snapshot);
    assert_eq!(lone.db.lane(ServerId(7)), Some(&lane));
    assert_eq!((lone.db.config_text(), lone.db.config_version()), (text, version));
    assert_eq!(told, [], "whoever watches the description hears nothing");
}

#[test]
fn a_copy_is_skipped_a_gap_refused_and_nobody_sees_a_part() {
    let mut lone = lone_with_all();
    let snapshot = prepared(&lone.db);
    assert_eq!(snapshot.steps().len(), 2);
    lone.make("/later", 0);
    let token = begin(&mut lone);
    assert!(lone.db.is_restoring());
    assert_eq!(lone.act(step(token, 1, &snapshot)), Outcome::Gap);
    assert_eq!(lone.act(step(Token(token.0 - 1), 0, &snapshot)), Outcome::Moved);
    assert_eq!(lone.act(step(token, 0, &snapshot)), Outcome::Settled);
    assert_eq!(lone.act(step(token, 0, &snapshot)), Outcome::Copy);
    assert!(lone.read(exists("/later")).is_ok());
    lone.make("/later/still", 0);
    assert_eq!(lone.act(step(token, 1, &snapshot)), Outcome::Restored);
    assert!(lone.read(exists("/later")).is_err());
    assert_eq!(lone.act(step(token, 1, &snapshot)), Outcome::Ended);
    // Copies of what is over begin nothing.
    let late = lone.act(Action::BeginRestore { replaces: Token(0), nonce: Nonce(1) });
    assert_eq!(late, Outcome::Refused(Refusal::Overtaken { token }));
    assert!(!lone.db.is_restoring());
}

#[test]
fn there_is_one_restore_at_a_time_and_one_that_went_on_is_not_given_up() {
    let mut lone = lone_with_all();
    let snapshot = prepared(&lone.db);
    let token = begin(&mut lone);
    let second = Action::BeginRestore { replaces: token, nonce: Nonce(2) };
    assert_eq!(lone.act(second.clone()), Outcome::Refused(Refusal::Restoring));
    lone.act(step(token, 0, &snapshot));
    let abandon = |number| Action::AbandonRestore { token, number: Sequence(number) };
    assert_eq!(lone.act(abandon(0)), Outcome::Settled);
    assert!(lone.db.is_restoring());
    let before = znodes(&lone);
    assert_eq!(lone.act(abandon(1)), Outcome::RestoreFailed(RestoreError::Abandoned));
    assert!(!lone.db.is_restoring());
    assert_eq!(znodes(&lone), before);
    assert_eq!(lone.act(step(token, 1, &snapshot)), Outcome::Ended);
    assert!(matches!(lone.act(second), Outcome::Attached { .. }));
}

#[test]
fn an_image_in_the_midst_of_a_restore_goes_on_with_it() {
    let mut lone = lone_with_all();
    let snapshot = prepared(&lone.db);
    lone.make("/later", 0);
    let token = begin(&mut lone);
    for n in 0..=snapshot.steps().len() {
        let image = lone.db.freeze();
        let mut builder = ImageBuilder::new();
        image.nodes().for_each(|node| builder.node(node).unwrap());
        image.sessions().for_each(|session| builder.session(session).unwrap());
        for (&prefix, &last) in image.last_session_ids() {
            builder.last_session_id(prefix, last);
        }
        builder.restores(image.restores()).unwrap();
        image.staged_nodes().for_each(|node| builder.staged_node(node).unwrap());
        image.staged_sessions().for_each(|session| builder.staged_session(session).unwrap());
        let mut other = Database::thaw(builder.finish(image.zxid(), image.digest()).unwrap());
        assert_eq!(other.digest(), lone.db.digest());
        let Some(_) = snapshot.steps().get(n) else { continue };
        // Both take the rest and are the same.
        for rest in n..snapshot.steps().len() {
            let action = step(token, rest, &snapshot);
            let txn = Txn { time: lone.time, rules: lone.rules, action };
            other.apply(other.zxid().next(), &txn);
        }
        assert!(other.stat("/later").is_none() && other.stat("/a/e").is_some());
        lone.act(step(token, n, &snapshot));
    }
    assert!(lone.read(exists("/later")).is_err());
}

#[test]
fn every_part_of_what_has_come_counts_in_the_digest() {
    let with = |n_steps: usize| {
        let mut lone = lone_with_all();
        let snapshot = prepared(&lone.db);
        let token = begin(&mut lone);
        (0..n_steps).for_each(|n| drop(lone.act(step(token, n, &snapshot))));
        lone
    };
    let mut digests = Vec::new();
    for mut lone in [lone_with_all(), with(0), with(1), with(2)] {
        let zxid = Zxid(lone.db.zxid().0.max(100) + 100);
        lone.db.skip(zxid);
        digests.push(lone.db.digest());
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 4);
}

#[test]
fn what_makes_no_state_comes_to_nothing() {
    let base = || znodes(&Lone::fresh());
    let plain = |path: &str, owner: i64| ImageNode {
        path: path.into(),
        data: None,
        acl: open_acl().into(),
        stat: StoredStat { ephemeral_owner: owner, ..StoredStat::default() },
    };
    let session = |id: i64| RestoredSession { id: SessionId(id), password: [0; 16], timeout_ms: 1 };
    let refused = |znodes: Vec<ImageNode>, sessions: Vec<RestoredSession>| {
        Prepared::new(znodes, sessions).map(|_| ()).unwrap_err()
    };
    let with = |node: ImageNode| [base(), vec![node]].concat();
    let ownerless = refused(with(plain("/e", 5)), vec![session(6)]);
    assert_eq!(ownerless, RestoreError::Ownerless(SessionId(5)));
    assert!(Prepared::new(with(plain("/e", 5)), [session(5)]).is_ok());
    assert!(matches!(refused(with(plain("/x/y", 0)), vec![]), RestoreError::Image(_)));
    assert!(matches!(refused(base(), vec![session(5), session(5)]), RestoreError::Image(_)));
    for id in [0, lane_of(ServerId(1)).unwrap().0, i64::MIN, 0xff << 56 | 5] {
        assert_eq!(refused(base(), vec![session(id)]), RestoreError::Session(SessionId(id)));
    }
    let reserved = refused(base()[..3].to_vec(), vec![]);
    assert!(matches!(reserved, RestoreError::Reserved(_)), "{reserved}");
    assert!(matches!(refused(vec![], vec![]), RestoreError::Reserved("/")));
    let large = Some(Bytes::from(vec![0; (64 << 20) + 1]));
    let large = refused(with(ImageNode { data: large, ..plain("/l", 0) }), vec![]);
    assert_eq!(large, RestoreError::LargeZnode("/l".into()));
}

#[test]
fn a_lie_about_what_came_is_found_on_every_server_and_nothing_is_changed() {
    let mut lone = lone_with_all();
    let (snapshot, before) = (prepared(&lone.db), znodes(&lone));
    let RestoreStep::End { n_sessions, n_znodes, digest } = snapshot.steps()[1] else {
        panic!("two steps")
    };
    for (n_sessions, n_znodes, digest) in [
        (n_sessions + 1, n_znodes, digest),
        (n_sessions, n_znodes - 1, digest),
        (n_sessions, n_znodes, digest ^ 1),
    ] {
        let token = begin(&mut lone);
        lone.act(step(token, 0, &snapshot));
        let end = RestoreStep::End { n_sessions, n_znodes, digest };
        let end = Action::Restore { token, number: Sequence(2), step: end };
        assert_eq!(lone.act(end), Outcome::RestoreFailed(RestoreError::Different));
        assert!(!lone.db.is_restoring());
        assert_eq!(znodes(&lone), before);
    }
    // What is too much in all is found as it comes.
    let token = begin(&mut lone);
    let data = Some(Bytes::from(vec![7; 60 << 20]));
    let mut outcome = Outcome::Settled;
    let mut number = 0;
    while outcome == Outcome::Settled {
        number += 1;
        let path = if number == 1 { "/".to_owned() } else { format!("/{number}") };
        let node = ImageNode { path: path.into(), data: data.clone(), ..before[0].clone() };
        let step = RestoreStep::Piece { sessions: vec![], znodes: vec![node] };
        outcome = lone.act(Action::Restore { token, number: Sequence(number), step });
    }
    assert_eq!(outcome, Outcome::RestoreFailed(RestoreError::TooLarge));
    assert_eq!(number, MAX_RESTORE_BYTES / (60 << 20) + 1);
}

#[test]
fn without_room_nothing_is_begun_and_what_was_is_given_up() {
    let mut lone = lone_with_all();
    let snapshot = prepared(&lone.db);
    let no_room = Outcome::RestoreFailed(RestoreError::NoRoom);
    let token = begin(&mut lone);
    lone.rules.no_room = true;
    assert_eq!(lone.act(step(token, 0, &snapshot)), no_room);
    let begin = Action::BeginRestore { replaces: token, nonce: Nonce(1) };
    assert!(begin.stores());
    assert_eq!(lone.act(begin), no_room);
    assert!(!lone.db.is_restoring());
    let mut piece = step(token, 0, &snapshot);
    let whole = piece.size_bytes();
    piece.strip();
    assert!(piece.stores() && piece.size_bytes() < whole / 4);
}

#[test]
fn whoever_watches_hears_of_all_that_differs_and_of_nothing_else() {
    let mut lone = Lone::new();
    for path in ["/gone", "/kept", "/kept/x", "/set", "/again", "/again/x"] {
        lone.make(path, 0);
    }
    let snapshot = prepared(&lone.db);
    for path in ["/gone", "/again/x", "/again"] {
        lone.write(delete(path, -1)).unwrap();
    }
    for path in ["/again", "/again/y", "/new", "/new/x"] {
        lone.make(path, 0);
    }
    lone.write(set("/set", -1)).unwrap();
    lone.write(set_acl("/kept", open_acl(), -1)).unwrap();
    let told = restore(&mut lone, &snapshot);
    let deleted = ["/new/x", "/new", "/again/y", "/again"].map(|it| (ChangeKind::Deleted, it));
    let rest = [
        (ChangeKind::Created, "/again"),
        (ChangeKind::Created, "/again/x"),
        (ChangeKind::Created, "/gone"),
        (ChangeKind::DataChanged, "/set"),
    ];
    let expected: Vec<_> = deleted.into_iter().chain(rest).collect();
    let told: Vec<_> = told.iter().map(|(kind, path)| (*kind, path.as_str())).collect();
    assert_eq!(told, expected);
    // Once more, with nothing written since: nobody hears anything.
    assert_eq!(restore(&mut lone, &snapshot), []);
}

#[test]
fn events_are_filtered_by_the_acls_of_the_state_that_they_tell_of() {
    let mut lone = Lone::new();
    lone.make("/p", 0);
    lone.make("/p/old", 0);
    lone.write(set_acl("/p/old", acl(31, "ip", "127.0.0.1"), -1)).unwrap();
    let snapshot = prepared(&lone.db);
    lone.write(delete("/p/old", -1)).unwrap();
    lone.make("/p/new", 0);
    lone.write(set_acl("/p", acl(31, "ip", "127.0.0.1"), -1)).unwrap();
    restore_quietly(&mut lone, &snapshot);
    let [gone, made] = &differences(&mut lone)[..] else { panic!("two differences") };
    let (open, own) = (AclList::from(open_acl()), AclList::from(acl(31, "ip", "127.0.0.1")));
    assert_eq!((&gone.acl, gone.parent_acl.as_ref(), gone.n_bytes), (&open, Some(&open), 0));
    assert_eq!((&made.acl, made.parent_acl.as_ref(), made.n_bytes), (&own, Some(&open), 4));
}

fn restore_quietly(lone: &mut Lone, prepared: &Prepared) {
    let token = begin(lone);
    for n in 0..prepared.steps().len() {
        lone.act(step(token, n, prepared));
    }
}

#[test]
fn after_a_restore_nothing_counts_as_seen_before_it() {
    let mut lone = Lone::new();
    lone.make("/a", 0);
    let facts = lone.db.stat("/a").unwrap();
    assert_eq!((facts.mzxid, facts.pzxid), (lone.db.zxid().0, lone.db.zxid().0));
    let snapshot = prepared(&lone.db);
    restore(&mut lone, &snapshot);
    let restored = lone.db.zxid().0;
    let thawed = Database::thaw(lone.db.freeze());
    for db in [&lone.db, &thawed] {
        let facts = db.stat("/a").unwrap();
        assert_eq!((facts.mzxid, facts.pzxid), (restored, restored));
    }
    lone.write(set("/a", -1)).unwrap();
    assert_eq!(lone.db.stat("/a").unwrap().mzxid, restored + 1);
    assert_eq!(lone.db.stat("/a").unwrap().pzxid, restored);
}
