//! The ensemble changes while clients are served.

use std::time::Duration;

use super::ensemble::*;
use super::*;
use crate::groups::Groups;
use crate::id::ChangeId;
use crate::proto::{self, Member};

fn set(ids: &[u64]) -> BTreeSet<ServerId> {
    ids.iter().map(|&id| ServerId(id)).collect()
}

impl Ensemble {
    /// Asks `server` for another membership; its name is the next number.
    fn change(&mut self, server: ServerId, voters: &[u64], learners: &[u64]) -> ChangeId {
        self.next_xid += 1;
        let id = ChangeId(self.next_xid as u64);
        let wanted = Membership { learners: set(learners), ..Membership::of_voters(set(voters)) };
        self.input(server, Input::ChangeMembership { id, wanted });
        id
    }

    /// What was said of a change since the last time.
    fn said(&mut self) -> Vec<ChangeProgress> {
        std::mem::take(&mut self.changes).into_iter().map(|(_, progress)| progress).collect()
    }

    fn membership(&self, server: ServerId) -> &Membership {
        self.running[&server].raft().membership()
    }
}

fn is_finished(said: &[ChangeProgress]) -> bool {
    matches!(said, [ChangeProgress::Begun, ChangeProgress::Finished { .. }])
}

#[test]
fn a_stranger_catches_up_and_votes() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let a = e.open(leader);
    e.call(a.conn, create("/a", 0)).expect("created");
    e.start(ServerId(4));
    e.run(Duration::from_secs(1));
    // It has no leader, so it serves nobody.
    let conn = e.connect(ServerId(4), hello(SessionId(0), &[0; 16], 0));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::NoLeader));

    e.change(leader, &[1, 2, 3, 4], &[]);
    e.run(Duration::from_secs(2));
    assert!(is_finished(&e.said()));
    assert_eq!(e.membership(ServerId(4)), &Membership::of_voters((1..=4).map(ServerId)));
    let b = e.open(ServerId(4));
    assert_eq!(data_of(e.call(b.conn, get("/a", false))), "x");
    assert_eq!(e.running[&ServerId(4)].stats().mode, Mode::Follower);
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_stranger_that_does_not_answer_is_given_up_and_never_votes() {
    let mut e = Ensemble::with(3, |config| config.catch_up_timeout = Duration::from_secs(4));
    let leader = e.leader();
    e.change(leader, &[1, 2, 3, 4], &[]);
    assert_eq!(e.said(), [ChangeProgress::Begun]);
    e.run(Duration::from_secs(3));
    e.change(leader, &[1, 2], &[]);
    assert_eq!(e.said(), [ChangeProgress::Refused(ChangeRefusal::Pending)]);
    e.run(Duration::from_secs(2));
    let behind = ChangeRefusal::Behind(ServerId(4));
    assert_eq!(e.said(), [ChangeProgress::Refused(behind)]);
    assert_eq!(e.membership(leader).voters, set(&[1, 2, 3]));
    // The next one is heard.
    e.change(leader, &[1, 2, 3], &[]);
    assert!(is_finished(&e.said()));
}

#[test]
fn only_the_leader_takes_a_change_and_only_a_sensible_one() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    e.change(follower, &[1, 2], &[]);
    e.change(leader, &[], &[1]);
    e.change(leader, &[1, 2], &[2]);
    let refused = |refusal| ChangeProgress::Refused(refusal);
    assert_eq!(
        e.said(),
        [
            refused(ChangeRefusal::NotLeader { leader: Some(leader) }),
            refused(ChangeRefusal::Invalid),
            refused(ChangeRefusal::Invalid),
        ]
    );
    // Two of the three that are to stay are gone.
    let others: Vec<u64> = (1..=3).filter(|&id| ServerId(id) != leader).collect();
    e.crash(ServerId(others[0]));
    e.change(leader, &others, &[]);
    assert_eq!(e.said(), [refused(ChangeRefusal::NoQuorum)]);
}

#[test]
fn a_leader_that_is_left_out_hands_over_and_lets_its_clients_go() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let (a, others) = (e.open(leader), (1..=3).filter(|&id| ServerId(id) != leader));
    let others: Vec<u64> = others.collect();
    e.call(a.conn, create("/e", 1)).expect("created");
    e.change(leader, &others, &[]);
    assert!(is_finished(&e.said()));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::NoMember));
    let conn = e.connect(leader, hello(SessionId(0), &[0; 16], 0));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::NoMember));
    assert!(!e.running[&leader].stats().serving);
    // There is a new leader at once, and the session lives on there.
    let new = e.leader();
    assert_ne!(new, leader);
    let moved = e.resume(new, &a);
    assert!(matches!(e.heard(moved)[..], [Output::Connected { .. }]));
    assert_eq!(data_of(e.call(moved, get("/e", false))), "x");
    // Whoever is left out asks for no votes, even when it is started again.
    let term = e.running[&new].raft().term();
    e.crash(leader);
    e.start(leader);
    e.run(Duration::from_secs(8));
    assert_eq!((e.leader(), e.running[&new].raft().term()), (new, term));
}

#[test]
fn observers_serve_and_do_not_count() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    [4, 5].into_iter().for_each(|id| e.start(ServerId(id)));
    e.change(leader, &[1, 2, 3], &[4, 5]);
    e.run(Duration::from_secs(2));
    assert!(is_finished(&e.said()));
    let a = e.open(ServerId(4));
    assert_eq!(e.running[&ServerId(4)].stats().mode, Mode::Observer);
    assert_eq!(e.call(a.conn, create("/a", 0)), Ok(Response::Path("/a".into())));
    assert_eq!(e.call(a.conn, Request::Sync("/a".into())), Ok(Response::Sync("/a".into())));
    assert_eq!(data_of(e.call(a.conn, get("/a", true))), "x");
    let b = e.open(ServerId(5));
    e.call(b.conn, set_data("/a")).expect("set");
    assert!(matches!(e.heard(a.conn)[..], [Output::Notify { .. }]));
    // One voter and two observers decide nothing.
    let voters: Vec<ServerId> = (1..=3).map(ServerId).filter(|&id| id != leader).collect();
    voters.iter().for_each(|&id| e.crash(id));
    let xid = e.ask(a.conn, create("/b", 0));
    e.run(Duration::from_millis(500));
    assert!(e.heard(a.conn).is_empty());
    e.start(voters[0]);
    e.run(Duration::from_secs(5));
    let heard = e.heard(a.conn);
    assert!(replies(&heard) == [(xid, true)] || close_reason(&heard).is_some(), "{heard:?}");
}

#[test]
fn a_voter_that_becomes_an_observer_keeps_its_clients() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let a = e.open(leader);
    let others: Vec<u64> = (1..=3).filter(|&id| ServerId(id) != leader).collect();
    e.change(leader, &others, &[leader.0]);
    assert!(is_finished(&e.said()));
    assert_eq!(e.running[&leader].stats().mode, Mode::Observer);
    assert_eq!(e.call(a.conn, create("/a", 0)), Ok(Response::Path("/a".into())));
    assert_eq!(e.membership(leader).learners, set(&[leader.0]));
}

#[test]
fn a_change_that_a_later_leader_takes_back_is_lost() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    e.cut.insert(leader);
    e.change(leader, &[leader.0, leader.0 % 3 + 1], &[]);
    assert_eq!(e.said(), [ChangeProgress::Begun]);
    assert!(e.membership(leader).is_joint());
    e.run(Duration::from_secs(5));
    assert_eq!(e.said(), [], "whether it will be committed is not known");
    e.cut.clear();
    e.run(Duration::from_secs(5));
    assert_eq!(e.said(), [ChangeProgress::Lost]);
    assert_eq!(e.membership(leader), &Membership::of_voters((1..=3).map(ServerId)));
}

#[test]
fn a_leader_that_is_deposed_while_a_learner_catches_up_says_so() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    e.change(leader, &[1, 2, 3, 4], &[]);
    e.cut.insert(leader);
    e.run(Duration::from_secs(3));
    assert_eq!(e.said(), [ChangeProgress::Begun, ChangeProgress::Lost]);
}

#[test]
fn the_ensemble_is_described_as_it_is_and_by_known_addresses() {
    let line = |id: u64| format!("s{id}:1:2:participant;c{id}:3");
    let known = |ids: &[u64]| {
        let member = |&id: &u64| Member { id: ServerId(id), line: line(id).as_str().into() };
        proto::Ensemble { members: ids.iter().map(member).collect(), groups: Groups::none() }
    };
    let mut e = Ensemble::with(3, |config| config.ensemble = known(&[1, 2, 3, 4]));
    let leader = e.leader();
    let shown = |e: &Ensemble, server| e.running[&server].database().ensemble();
    assert_eq!(shown(&e, leader), known(&[1, 2, 3]));
    e.change(leader, &[1, 2, 3, 5], &[]);
    let unaddressed = ChangeRefusal::Unaddressed(ServerId(5));
    assert_eq!(e.said(), [ChangeProgress::Refused(unaddressed)]);
    e.start(ServerId(4));
    e.change(leader, &[1, 2, 3], &[4]);
    e.run(Duration::from_secs(1));
    assert!(is_finished(&e.said()));
    let mut described = known(&[1, 2, 3, 4]);
    described.members[3].line = "s4:1:2:observer;c4:3".into();
    assert_eq!(shown(&e, ServerId(4)), described);
    // The leader that is left out describes nothing any more; its successor does.
    let rest: Vec<u64> = (1..=4).filter(|&id| ServerId(id) != leader).collect();
    e.change(leader, &rest, &[]);
    e.run(Duration::from_secs(2));
    let new = e.leader();
    assert_eq!(shown(&e, new), known(&rest));
    assert_eq!(e.running[&new].stats().quorum_size, 3);
}

#[test]
fn a_far_behind_stranger_gets_a_snapshot_with_the_membership() {
    let mut e = Ensemble::with(3, |config| {
        config.snapshot_entries = 5;
        config.raft.keep_entries = 2;
    });
    let leader = e.leader();
    let a = e.open(leader);
    for n in 0..20 {
        e.call(a.conn, create(&format!("/{n}"), 0)).expect("created");
    }
    e.change(leader, &[1, 2, 3], &[4]);
    for n in 20..40 {
        e.call(a.conn, create(&format!("/{n}"), 0)).expect("created");
    }
    e.start(ServerId(4));
    e.change(leader, &[1, 2, 4], &[]);
    e.run(Duration::from_secs(5));
    let said = e.said();
    assert!(matches!(said.last(), Some(ChangeProgress::Finished { .. })), "{said:?}");
    let b = e.open(ServerId(4));
    assert_eq!(data_of(e.call(b.conn, get("/39", false))), "x");
}

fn set_data(path: &str) -> Request {
    ensemble::set(path, "y", -1)
}
