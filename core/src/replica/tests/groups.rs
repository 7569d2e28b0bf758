//! Groups and weights: who counts, who leads, and what is shown of it.

use std::time::Duration;

use super::ensemble::*;
use super::*;
use crate::groups::Groups;
use crate::id::ChangeId;
use crate::proto::{self, Member};

/// Three groups: server 1, server 2, and 3 with the weightless 4 and 5.
fn groups() -> Groups {
    Groups::from_lines("group.1=1\ngroup.2=2\ngroup.3=3:4:5\nweight.4=0\nweight.5=0")
}

fn grouped() -> Ensemble {
    Ensemble::with(5, |config| {
        config.raft.membership.groups = groups();
        let line = |id: u64| format!("s{id}:1:2:participant;c{id}:3");
        let member = |id: u64| Member { id: ServerId(id), line: line(id).into() };
        config.ensemble =
            proto::Ensemble { members: (1..=5).map(member).collect(), groups: groups() };
    })
}

impl Ensemble {
    fn kill(&mut self, servers: &[u64]) {
        servers.iter().for_each(|id| self.crash(ServerId(*id)));
        self.run(Duration::from_secs(10));
    }

    fn wish(&mut self, groups: Groups) -> Vec<ChangeProgress> {
        let leader = self.leader();
        let wanted = Membership::of_groups((1..=5).map(ServerId), groups);
        self.input(leader, Input::ChangeMembership { id: ChangeId(1), wanted });
        self.run(Duration::from_secs(3));
        std::mem::take(&mut self.changes).into_iter().map(|(_, progress)| progress).collect()
    }

    fn text(&self, server: u64) -> String {
        self.running[&ServerId(server)].database().config_text()
    }
}

#[test]
fn two_servers_that_are_two_groups_serve_without_the_other_three() {
    let mut e = grouped();
    e.kill(&[3, 4, 5]);
    let leader = e.leader();
    let a = e.open(leader);
    e.call(a.conn, create("/a", 0)).expect("a quorum has it");
    assert!(e.call(a.conn, Request::Sync("/".into())).is_ok());
}

#[test]
fn three_servers_of_five_that_are_one_group_serve_nobody() {
    let mut e = grouped();
    e.kill(&[1, 2]);
    for (id, replica) in &e.running {
        assert!(!replica.stats().serving, "{id}");
        assert_eq!(replica.stats().mode, Mode::Looking, "{id}");
    }
    e.start(ServerId(2));
    e.run(Duration::from_secs(10));
    let leader = e.leader();
    let a = e.open(leader);
    e.call(a.conn, create("/a", 0)).expect("2 and 3 are a quorum");
}

#[test]
fn who_weighs_nothing_follows_and_serves_and_never_leads() {
    let mut e = grouped();
    let a = e.open(ServerId(5));
    e.call(a.conn, create("/a", 0)).expect("served");
    assert_eq!(e.running[&ServerId(5)].stats().mode, Mode::Follower);
    for _ in 0..6 {
        let leader = e.leader();
        assert!(leader.0 <= 3, "{leader}");
        assert!(e.running[&leader].stats().synced_followers >= 2);
        e.crash(leader);
        e.run(Duration::from_secs(5));
        e.start(leader);
        e.run(Duration::from_secs(5));
    }
    // Nor is it asked to, be it the only one that a leader could hand over to.
    e.kill(&[3]);
    let leader = e.leader();
    let follower = ServerId(3 - leader.0);
    e.cut.insert(follower);
    let now = e.now();
    e.running.get_mut(&leader).expect("it runs").hand_over(now);
    e.run(Duration::from_millis(300));
    assert_eq!(e.leader(), leader);
}

#[test]
fn room_is_counted_by_weight() {
    let mut e = grouped();
    let a = e.open(ServerId(5));
    let short = |e: &mut Ensemble, servers: &[u64], is_short| {
        for id in servers {
            e.input(ServerId(*id), Input::Room { is_short });
        }
        e.run(Duration::from_secs(5));
    };
    short(&mut e, &[3, 4, 5], true);
    e.call(a.conn, create("/a", 0)).expect("two groups have room");
    assert!(e.leader().0 <= 2, "who has room leads");
    short(&mut e, &[3, 4, 5], false);
    short(&mut e, &[1, 2], true);
    assert_eq!(e.call(a.conn, create("/b", 0)), Err(ErrorCode::QuotaExceeded));
    assert_eq!(e.leader(), ServerId(3));
}

#[test]
fn the_description_shows_the_groups_and_follows_their_changes() {
    let mut e = grouped();
    let shown = "group.1=1\ngroup.2=2\ngroup.3=3:4:5\n\
                 weight.1=1\nweight.2=1\nweight.3=1\nweight.4=0\nweight.5=0\nversion=";
    for id in 1..=5 {
        assert!(e.text(id).contains(shown), "{}", e.text(id));
    }
    // A majority, and back to other groups, in which the leader weighs nothing.
    assert!(matches!(e.wish(Groups::none())[..], [_, ChangeProgress::Finished { .. }]));
    assert!((1..=5).all(|id| !e.text(id).contains("group") && !e.text(id).contains("weight")));
    let leader = e.leader();
    let mut others = Groups::none();
    for id in (1..=5).map(ServerId) {
        assert!(others.put(7, id, u64::from(id != leader)));
    }
    assert!(matches!(e.wish(others.clone())[..], [_, ChangeProgress::Finished { .. }]));
    let next = e.leader();
    assert_ne!(next, leader, "it has handed over");
    assert!(e.text(leader.0).contains("group.7=1:2:3:4:5\n"), "{}", e.text(leader.0));
    assert!(e.text(next.0).contains(&format!("weight.{leader}=0\n")));
    assert_eq!(e.running[&leader].raft().membership().groups, others);
    assert_eq!(e.running[&leader].stats().mode, Mode::Follower);
}

#[test]
fn groups_that_could_decide_nothing_are_refused() {
    let mut e = grouped();
    for text in [
        "group.1=1:2:3:4:5\nweight.1=0\nweight.2=0\nweight.3=0\nweight.4=0\nweight.5=0",
        "group.1=1:2:3:4",
        "group.1=1:2:3:4:5:9\nweight.9=5",
    ] {
        let refused = ChangeProgress::Refused(ChangeRefusal::Invalid);
        assert_eq!(e.wish(Groups::from_lines(text)), [refused], "{text}");
    }
    assert_eq!(e.running[&e.leader()].raft().membership().groups, groups());
}

#[test]
fn a_change_waits_for_the_old_groups_and_for_the_new_ones() {
    let mut e = grouped();
    let leader = e.leader();
    // The new groups are of the other two heavy servers, who are away, and of the leader.
    let away: Vec<ServerId> = (1..=3).map(ServerId).filter(|id| *id != leader).collect();
    let mut next = Groups::none();
    assert!(next.put(1, leader, 1) && next.put(2, away[0], 1) && next.put(2, away[1], 1));
    assert!(next.put(3, ServerId(4), 1) && next.put(4, ServerId(5), 1));
    // One of them stays, so that the old groups agree; of the new ones two of four are too few.
    e.cut.extend([away[1], ServerId(4)]);
    let wanted = Membership::of_groups((1..=5).map(ServerId), next.clone());
    e.input(leader, Input::ChangeMembership { id: ChangeId(1), wanted });
    e.run(Duration::from_millis(400));
    assert!(e.running[&leader].raft().membership().is_joint());
    e.cut.clear();
    e.run(Duration::from_secs(10));
    let membership = e.running[&e.leader()].raft().membership().clone();
    assert_eq!((membership.is_joint(), membership.groups), (false, next));
}
