//! Clients that wish for another membership, and those that watch it.

use std::time::Duration;

use super::ensemble::*;
use super::*;
use crate::id::ChangeId;
use crate::proto::{self, Acl, Id, Member, Permissions, Reconfig};
use crate::raft::Payload;
use crate::time::WallTime;

fn described(ids: &[u64]) -> proto::Ensemble {
    let line = |id: u64| format!("s{id}:1:2:participant;c{id}:3");
    let member = |&id: &u64| Member { id: ServerId(id), line: line(id).into() };
    proto::Ensemble { members: ids.iter().map(member).collect() }
}

fn ensemble(enabled: bool) -> Ensemble {
    Ensemble::with(3, |config| {
        config.ensemble = described(&[1, 2, 3, 4]);
        config.reconfig = ReconfigRules { enabled, ..ReconfigRules::default() };
    })
}

fn leaving(ids: &str, version: i64) -> Request {
    let leaving = Some(ids.into());
    Request::Reconfig(Reconfig { leaving, version, ..Reconfig::default() })
}

fn config_version(e: &Ensemble, server: ServerId) -> i64 {
    e.running[&server].database().config_version()
}

/// Anyone may write the description, by the word of an operator who edits a log entry.
fn open_to_all(e: &mut Ensemble, server: ServerId) {
    let acl = vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }];
    e.running.get_mut(&server).expect("it runs").db.set_config_acl(&acl);
}

#[test]
fn a_wish_is_refused_before_anything_else_where_wishes_are_disabled() {
    let mut e = ensemble(false);
    let a = e.open(e.follower());
    for request in [leaving("3", -1), leaving("x", 99)] {
        assert_eq!(e.call(a.conn, request), Err(ErrorCode::ReconfigDisabled));
    }
    assert!(e.call(a.conn, create("/a", 0)).is_ok(), "the connection goes on");
}

#[test]
fn a_standalone_server_has_no_membership_to_wish_for() {
    let mut e = Ensemble::with(1, |config| config.reconfig.enabled = true);
    let a = e.open(e.leader());
    assert_eq!(e.call(a.conn, leaving("3", 99)), Err(ErrorCode::Unimplemented));
}

#[test]
fn a_wish_meets_zookeepers_checks_in_their_order() {
    let mut e = ensemble(true);
    for server in [e.leader(), e.follower()] {
        let a = e.open(server);
        let version = config_version(&e, server);
        assert_eq!(e.call(a.conn, leaving("x", version + 1)), Err(ErrorCode::BadVersion));
        assert_eq!(e.call(a.conn, leaving("x", version)), Err(ErrorCode::MarshallingError));
        assert_eq!(e.call(a.conn, leaving("2,3", version)), Err(ErrorCode::BadArguments));
        let members = described(&[1, 7, 8]).to_text(0).replace("version=0", "").into();
        let strangers = Reconfig { members: Some(members), version, ..Reconfig::default() };
        let answer = e.call(a.conn, Request::Reconfig(strangers));
        assert_eq!(answer, Err(ErrorCode::NewConfigNoQuorum));
        assert_eq!(e.call(a.conn, leaving("3", version)), Err(ErrorCode::NoAuth));
        open_to_all(&mut e, server);
        assert_eq!(e.call(a.conn, leaving("3", version)), Err(ErrorCode::Unimplemented));
        let same = e.call(a.conn, leaving("9", -1)).expect("nothing is to be changed");
        let Response::Data(data, stat) = same else { panic!("{same:?}") };
        assert_eq!((stat.version, stat.mzxid), (-1, version));
        assert_eq!(&data.expect("text")[..], described(&[1, 2, 3]).to_text(version).as_bytes());
    }
}

#[test]
fn a_wish_waits_for_the_writes_before_it() {
    let mut e = ensemble(false);
    let follower = e.follower();
    let a = e.open(follower);
    e.cut.insert(follower);
    e.ask(a.conn, create("/a", 0));
    let wish = e.ask(a.conn, leaving("3", -1));
    assert!(e.heard(a.conn).is_empty());
    e.cut.clear();
    e.run(Duration::from_secs(5));
    let answered: Vec<_> = replies(&e.heard(a.conn)).into_iter().map(|(xid, _)| xid).collect();
    assert_eq!(answered.last(), Some(&wish));
    assert_eq!(answered.len(), 2);
}

#[test]
fn whoever_watches_the_description_hears_of_a_new_membership() {
    let mut e = ensemble(false);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let before = config_version(&e, follower);
    assert!(e.call(a.conn, get("/zookeeper/config", true)).is_ok());
    let voters = (1..=3).map(ServerId).filter(|&id| id == leader || id == follower).collect();
    e.input(leader, Input::ChangeMembership { id: ChangeId(1), voters, learners: [].into() });
    e.run(Duration::from_secs(2));
    let heard = e.heard(a.conn);
    let events: Vec<_> = heard
        .iter()
        .filter_map(|output| match output {
            Output::Notify { event, zxid, .. } => Some((event.kind, &*event.path, zxid.0)),
            _ => None,
        })
        .collect();
    let after = config_version(&e, follower);
    assert!(after > before);
    assert_eq!(events, [(EventKind::DataChanged, "/zookeeper/config", after)]);
    let text = data_of(e.call(a.conn, get("/zookeeper/config", false)));
    assert_eq!(text.lines().count(), 3);
    assert!(text.ends_with(&format!("\nversion={after:x}")), "{text}");
}

#[test]
fn nobody_has_a_session_before_the_ensemble_is_described() {
    let members = Membership::of_voters([ServerId(1)]);
    let config = Config {
        ensemble: described(&[1]),
        ..Config::new(raft::Config::new(ServerId(1), members))
    };
    let mut now = Now { instant: Instant::from_micros(1_000_000), wall: WallTime(1) };
    let mut replica = Replica::new(now, config, Seed([7; 32]), Recovered::default());
    let mut entries = Vec::new();
    let mut is_connected = false;
    while entries.len() < 3 {
        now.instant += Duration::from_millis(10);
        assert!(now.instant < Instant::from_micros(60_000_000), "{entries:?}");
        if replica.raft().role() == Role::Leader && !is_connected {
            // Nothing of this leadership is durable yet.
            let (conn, address) = (ConnId(1), [127, 0, 0, 1].into());
            let request = hello(SessionId(0), &[0; 16], 0);
            replica.handle(now, Input::Connect { conn, address, request });
            is_connected = true;
        }
        replica.handle(now, Input::Wake);
        while let Some(output) = replica.poll() {
            let Output::Persist(persist) = output else { continue };
            if persist.append.is_empty() {
                replica.handle(now, Input::Persisted { ticket: persist.ticket });
            }
            entries.extend(persist.append.iter().map(|entry| entry.payload.clone()));
        }
    }
    assert!(matches!(entries[0], Payload::Blank), "{entries:?}");
    let is_described = |payload: &Payload<Txn>| match payload {
        Payload::Command(txn) => matches!(txn.action, Action::Describe { .. }),
        Payload::Blank | Payload::Membership(_) => false,
    };
    assert!(is_described(&entries[1]) && !is_described(&entries[2]), "{entries:?}");
}
