//! Disks that fill up.

use std::time::Duration;

use super::ensemble::*;
use super::*;
use crate::proto::{OpResult, Write};
use crate::raft::Payload;

impl Ensemble {
    fn room(&mut self, server: ServerId, is_short: bool) {
        self.input(server, Input::Room { is_short });
    }

    fn all_short(&mut self, is_short: bool) {
        (1..=3).for_each(|id| self.room(ServerId(id), is_short));
        self.run(Duration::from_secs(3));
    }
}

fn delete(path: &str) -> Request {
    Request::Write(Write::Delete { path: path.into(), version: -1 })
}

#[test]
fn a_leader_without_room_lets_one_lead_that_has_some() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let a = e.open(leader);
    e.room(leader, true);
    e.run(Duration::from_secs(2));
    let next = e.leader();
    assert_ne!(next, leader);
    e.call(a.conn, create("/a", 0)).expect("two of three have room");
    assert!(!e.running[&next].stats().refuses_growth);
    assert!(e.running[&leader].stats().is_short_of_room);

    // The last that has room leads, though no quorum has.
    e.room(next, true);
    e.run(Duration::from_secs(3));
    let last = e.leader();
    assert!(last != leader && last != next);
    assert!(e.running[&last].stats().refuses_growth);
    assert_eq!(e.call(a.conn, create("/b", 0)), Err(ErrorCode::QuotaExceeded));
}

#[test]
fn without_a_quorum_that_has_room_nothing_grows_and_everything_else_goes_on() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let (at_leader, at_follower) = (e.open(leader), e.open(e.follower()));
    e.call(at_leader.conn, create("/a", 0)).expect("created");
    e.all_short(true);
    let leader = e.leader();
    assert!(e.running[&leader].stats().refuses_growth);
    let acl = Request::Write(Write::SetAcl { path: "/a".into(), acl: [].into(), version: -1 });
    for client in [&at_leader, &at_follower] {
        for request in [create("/b", 0), set("/a", "y", -1), acl.clone()] {
            assert_eq!(e.call(client.conn, request), Err(ErrorCode::QuotaExceeded));
        }
        assert_eq!(data_of(e.call(client.conn, get("/a", false))), "x");
    }
    let sync = e.call(at_follower.conn, Request::Sync("/".into()));
    assert!(sync.is_ok(), "{sync:?}");
    // Sessions come, stay and go.
    let late = e.open(leader);
    e.ask(late.conn, Request::Write(Write::CloseSession));
    assert_eq!(close_reason(&e.heard(late.conn)), Some(CloseReason::SessionClosed));
    e.call(at_follower.conn, delete("/a")).expect("it makes room");

    e.all_short(false);
    e.call(at_follower.conn, create("/a", 0)).expect("there is room again");
    e.run(Duration::from_secs(1));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_multi_that_would_store_anything_is_refused_as_a_whole() {
    let mut e = Ensemble::new(3);
    let client = e.open(e.leader());
    e.call(client.conn, create("/a", 0)).expect("created");
    e.all_short(true);
    let (Request::Write(remove), Request::Write(make)) = (delete("/a"), create("/b", 0)) else {
        unreachable!("both are writes");
    };
    let multi = |writes: Vec<Write>| Request::Write(Write::multi(writes));
    let refused = e.call(client.conn, multi(vec![remove.clone(), make]));
    let errors = [ErrorCode::QuotaExceeded].map(Some);
    let expected: Vec<_> = [None].into_iter().chain(errors).map(OpResult::Error).collect();
    assert_eq!(refused, Ok(Response::Multi(expected)));
    assert!(e.call(client.conn, exists("/a")).is_ok(), "nothing of it was done");
    let done = e.call(client.conn, multi(vec![remove]));
    assert_eq!(done, Ok(Response::Multi(vec![OpResult::Delete])));
}

#[test]
fn what_is_refused_leaves_its_data_out_of_the_log() {
    let mut e = Ensemble::new(1);
    let client = e.open(ServerId(1));
    e.call(client.conn, create("/a", 0)).expect("created");
    e.room(ServerId(1), true);
    assert_eq!(e.call(client.conn, set("/a", "y", 7)), Err(ErrorCode::QuotaExceeded));
    let raft = e.running[&ServerId(1)].raft();
    let last = raft.entry(raft.last().index).expect("it is there");
    let Payload::Command(txn) = &last.payload else { panic!("no command") };
    let Action::Write { write, .. } = &txn.action else { panic!("no write") };
    assert_eq!(write, &Write::SetData { path: "/a".into(), data: None, version: 7 });
    assert!(txn.rules.no_room);
    let namespaces = &e.running[&ServerId(1)].counts().namespaces;
    assert!(namespaces.iter().all(|(_, it)| it.refused == 0), "that is no matter of quotas");
    e.room(ServerId(1), false);
    e.call(client.conn, set("/a", "z", 0)).expect("there is room");
}

#[test]
fn the_last_word_of_a_peer_holds_while_it_is_not_heard() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let client = e.open(leader);
    let others: Vec<ServerId> = (1..=3).map(ServerId).filter(|id| *id != leader).collect();
    others.iter().for_each(|id| e.room(*id, true));
    e.run(Duration::from_secs(1));
    assert_eq!(e.call(client.conn, create("/a", 0)), Err(ErrorCode::QuotaExceeded));
    assert_eq!(e.leader(), leader, "no other has room");
    e.crash(others[0]);
    e.run(Duration::from_secs(5));
    assert_eq!(e.call(client.conn, create("/a", 0)), Err(ErrorCode::QuotaExceeded));
    // It starts anew and says nothing of its disk.
    e.start(others[0]);
    e.run(Duration::from_secs(5));
    e.call(client.conn, create("/a", 0)).expect("two have room");
}

#[test]
fn a_local_session_is_refused_what_would_grow_as_well() {
    let mut e = Ensemble::with(3, |config| {
        config.local_sessions = true;
        config.local_upgrading = true;
    });
    let a = e.open(e.follower());
    e.call(a.conn, create("/a", 0)).expect("created");
    e.all_short(true);
    for request in [create("/b", 0), set("/a", "y", -1), create("/e", 1)] {
        assert_eq!(e.call(a.conn, request), Err(ErrorCode::QuotaExceeded));
    }
    e.call(a.conn, delete("/a")).expect("it makes room");
    e.all_short(false);
    e.call(a.conn, create("/e", 1)).expect("there is room again");
    e.run(Duration::from_secs(1));
    assert_eq!(e.digests().len(), 1);
}
