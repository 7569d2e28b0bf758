//! What replicas count of themselves.

use std::time::Duration;

use super::ensemble::*;
use super::*;

#[test]
fn a_leader_and_its_followers_count_what_they_agree_on() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    for server in [leader, follower] {
        e.running.get_mut(&server).expect("it runs").reset_stats();
    }
    let a = e.open(follower);
    for path in ["/a", "/b", "/c"] {
        e.call(a.conn, create(path, 0)).expect("created");
    }
    e.run(Duration::from_secs(1));
    let of_leader = e.running[&leader].counts();
    // A session and three znodes.
    assert_eq!((of_leader.proposals, of_leader.commits), (4, 4));
    assert_eq!((of_leader.proposals_received, of_leader.commits_received), (0, 0));
    assert_eq!(of_leader.agreement_ms.summary().count, 4);
    let of_follower = e.running[&follower].counts();
    assert_eq!((of_follower.proposals, of_follower.commits), (0, 0));
    assert_eq!((of_follower.proposals_received, of_follower.commits_received), (4, 4));
    assert_eq!(of_follower.commit_ms.summary().count, 4);
    assert_eq!(of_follower.propagation_ms.summary().count, 4);
}

#[test]
fn an_election_is_counted_and_timed_by_all_who_lost_their_leader() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let before = e.running[&follower].counts().clone();
    assert_eq!(
        (before.searches, before.search_ms.summary().count),
        (1, 1),
        "the start is a search"
    );
    assert_eq!(e.running[&leader].counts().leaderless_before_leading_ms.summary().count, 1);
    assert_eq!(e.running[&leader].counts().syncs_by_log, 2);
    e.crash(leader);
    e.run(Duration::from_secs(5));
    let next = e.leader();
    let after = e.running[&next].counts();
    assert_eq!(after.searches, if next == follower { before.searches + 1 } else { 2 });
    assert_eq!(after.search_ms.summary().count, 2);
    assert!(after.leaderless_ms.summary().max > 0);
    assert_eq!(after.leaderless_before_leading_ms.summary().count, 1);
    e.start(leader);
    e.run(Duration::from_secs(3));
    assert!(e.running[&next].counts().syncs_by_log >= 2, "the other, and the one that came back");
}

#[test]
fn connections_told_of_a_change_are_counted_by_event() {
    let mut e = Ensemble::new(1);
    let server = e.leader();
    let (a, b) = (e.open(server), e.open(server));
    e.call(a.conn, create("/a", 0)).expect("created");
    for conn in [a.conn, b.conn] {
        e.call(conn, get("/a", true)).expect("it is there");
    }
    e.call(a.conn, set("/a", "y", -1)).expect("set");
    e.call(a.conn, set("/a", "z", -1)).expect("set");
    let counts = e.running[&server].counts();
    assert_eq!(counts.told_data.summary(), Summary { count: 1, sum: 2, min: 2, max: 2 });
    assert_eq!((counts.told_created.summary().count, counts.told_children.summary().count), (0, 0));
}

#[test]
fn a_session_that_goes_on_is_counted_where_it_comes_and_at_the_leader() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.resume(follower, &a);
    assert_eq!(e.running[&follower].counts().resumptions, 1);
    assert_eq!(e.running[&leader].counts().resumptions_elsewhere, 1);
    e.resume(leader, &a);
    let of_leader = e.running[&leader].counts();
    assert_eq!((of_leader.resumptions, of_leader.resumptions_elsewhere), (1, 1));
}

#[test]
fn digests_of_the_past_are_the_same_on_all_servers() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    for _ in 0..300 {
        e.call(a.conn, set("/a", "y", -1)).expect("set");
    }
    e.run(Duration::from_secs(1));
    let lists: Vec<Vec<_>> = e.running.values().map(|it| it.past_digests().collect()).collect();
    assert_eq!(lists[0].len(), 2, "{:?}", lists[0]);
    assert!(lists[0].iter().all(|(zxid, _)| zxid.0 % 128 == 0 && zxid.0 & 0xffff_ffff != 0));
    assert!(lists.iter().all(|list| *list == lists[0]));
    assert_ne!(lists[0][0].1, lists[0][1].1);
}

#[test]
fn a_barrier_that_no_quorum_confirms_is_a_pending_sync() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let a = e.open(leader);
    assert_eq!(e.running[&leader].stats().pending_syncs, 0);
    for server in (1..=3).map(ServerId).filter(|&server| server != leader) {
        e.crash(server);
    }
    e.ask(a.conn, Request::Sync("/".into()));
    assert_eq!(e.running[&leader].stats().pending_syncs, 1);
}

#[test]
fn the_description_of_the_ensemble_is_text_or_nothing() {
    let db = Database::new();
    assert_eq!(db.config_text(), "");
    assert!(db.described().is_ok());
}
