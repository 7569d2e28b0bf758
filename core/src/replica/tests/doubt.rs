//! Servers whose states differ: who is found, what it does, and how it comes back.

use std::time::Duration;

use super::ensemble::*;
use super::*;
use crate::replica::doubt::RULE;

const PATH: &str = "/a";

/// Servers with a znode, and a client that made it on the leader.
fn settled(servers: u64, adjust: impl Fn(&mut Config)) -> (Ensemble, Client) {
    let mut e = Ensemble::with(servers, adjust);
    let leader = e.leader();
    let client = e.open(leader);
    e.call(client.conn, create(PATH, 0)).expect("created");
    e.run(Duration::from_secs(2));
    assert_eq!(e.digests().len(), 1);
    (e, client)
}

fn rot(e: &mut Ensemble, server: ServerId, data: &'static str) {
    assert!(e.running.get_mut(&server).expect("it runs").rot(PATH, data));
}

fn in_doubt(e: &Ensemble) -> Vec<ServerId> {
    let doubts = e.running.iter().filter(|(_, replica)| replica.stats().in_doubt);
    doubts.map(|(id, _)| *id).collect()
}

/// The servers that were named odd, by whom.
fn named(e: &Ensemble) -> Vec<(ServerId, ServerId)> {
    let odd = e.alarms.iter().filter_map(|(by, alarm)| match alarm {
        Alarm::Odd { server, .. } => Some((*by, *server)),
        _ => None,
    });
    odd.collect()
}

fn mended(e: &Ensemble) -> Vec<ServerId> {
    let mended = e.alarms.iter().filter(|(_, alarm)| matches!(alarm, Alarm::Mended { .. }));
    mended.map(|(by, _)| *by).collect()
}

fn n_disputes(e: &Ensemble) -> usize {
    e.alarms.iter().filter(|(_, alarm)| matches!(alarm, Alarm::Disputed { .. })).count()
}

fn mismatches(e: &Ensemble, server: ServerId) -> u64 {
    e.running[&server].counts().digest_mismatches
}

#[test]
fn equal_states_are_compared_again_and_again_and_nobody_is_alarmed() {
    let (mut e, client) = settled(3, |_| {});
    for _ in 0..50 {
        e.call(client.conn, set(PATH, "y", -1)).expect("set");
        e.run(Duration::from_millis(100));
    }
    let leader = e.leader();
    let before = e.running[&leader].counts().digests_agreed;
    assert!(before >= 8, "{before} under load");
    e.run(Duration::from_secs(10));
    assert!(e.running[&leader].counts().digests_agreed >= before + 8, "and idle");
    assert_eq!(e.alarms, []);
}

#[test]
fn a_follower_with_another_state_closes_its_clients_and_comes_back_with_the_leader_s() {
    let (mut e, _) = settled(3, |_| {});
    let (leader, follower) = (e.leader(), e.follower());
    let client = e.open(follower);
    rot(&mut e, follower, "rotten");
    assert_eq!(data_of(e.call(client.conn, get(PATH, false))), "rotten");
    e.run(Duration::from_secs(2));
    assert_eq!(named(&e), [(leader, follower)]);
    assert_eq!(close_reason(&e.heard(client.conn)), Some(CloseReason::StateInDoubt));
    assert_eq!(mended(&e), [follower]);
    assert_eq!(in_doubt(&e), []);
    assert_eq!(e.digests().len(), 1);
    let conn = e.resume(follower, &client);
    assert_eq!(data_of(e.call(conn, get(PATH, false))), "x", "the session lives");
    e.run(Duration::from_secs(20));
    assert_eq!((mismatches(&e, leader), mismatches(&e, follower), e.alarms.len()), (1, 1, 2));
    assert!(!e.disks[&follower].is_distrusted);
}

#[test]
fn a_leader_with_another_state_hands_over_before_it_is_mended() {
    let (mut e, client) = settled(3, |_| {});
    let leader = e.leader();
    rot(&mut e, leader, "rotten");
    e.run(Duration::from_secs(3));
    assert_eq!(named(&e), [(leader, leader)]);
    assert_eq!(close_reason(&e.heard(client.conn)), Some(CloseReason::StateInDoubt));
    assert_ne!(e.leader(), leader);
    assert_eq!(mended(&e), [leader]);
    assert_eq!(e.digests().len(), 1);
    let conn = e.resume(leader, &client);
    assert_eq!(data_of(e.call(conn, get(PATH, false))), "x");
}

#[test]
fn an_observer_with_another_state_is_found_as_well() {
    let (mut e, _) = settled(4, |config| {
        let mut membership = Membership::of_voters([1, 2, 3].map(ServerId));
        membership.learners.insert(ServerId(4));
        config.raft.membership = membership;
    });
    let (leader, observer) = (e.leader(), ServerId(4));
    rot(&mut e, observer, "rotten");
    e.run(Duration::from_secs(3));
    assert_eq!(named(&e), [(leader, observer)]);
    assert_eq!(mended(&e), [observer]);
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn where_no_quorum_has_the_same_all_say_so_and_nobody_is_taken_out() {
    let (mut e, client) = settled(2, |_| {});
    let (leader, follower) = (e.leader(), e.follower());
    rot(&mut e, follower, "rotten");
    e.run(Duration::from_secs(5));
    assert_eq!((named(&e), n_disputes(&e)), (vec![], 2), "each of the two, once");
    assert_eq!((mismatches(&e, leader), mismatches(&e, follower)), (1, 1));
    assert_eq!(in_doubt(&e), []);
    assert_eq!(data_of(e.call(client.conn, get(PATH, false))), "x", "the leader serves");
    e.run(Duration::from_secs(60));
    assert!((8..=14).contains(&n_disputes(&e)), "every ten seconds: {}", n_disputes(&e));
    // The next write mends what differed.
    let client = e.open(leader);
    e.call(client.conn, set(PATH, "new", -1)).expect("set");
    let before = n_disputes(&e);
    e.run(Duration::from_secs(30));
    assert!(n_disputes(&e) <= before, "they agree again");
}

#[test]
fn three_different_states_are_a_dispute() {
    let (mut e, _) = settled(3, |_| {});
    let leader = e.leader();
    let others: Vec<_> = e.running.keys().copied().filter(|id| *id != leader).collect();
    for (server, data) in others.into_iter().zip(["one", "other"]) {
        rot(&mut e, server, data);
    }
    e.run(Duration::from_secs(3));
    assert_eq!((named(&e), n_disputes(&e), in_doubt(&e)), (vec![], 3, vec![]));
}

/// A server stops whose newest snapshot is of a rotten state, whether that was found before or not.
#[test]
fn a_rotten_snapshot_is_found_at_the_next_start_and_what_was_found_is_remembered() {
    for is_known in [false, true] {
        let (mut e, client) = settled(3, |config| config.snapshot_entries = 5);
        let follower = e.follower();
        rot(&mut e, follower, "rotten");
        for n in 0..12 {
            e.call(client.conn, create(&format!("/b{n}"), 0)).expect("created");
        }
        e.crash(follower);
        let disk = e.disks.get_mut(&follower).expect("it has one");
        assert!(disk.snapshot.is_some(), "rotten as well");
        disk.is_distrusted = is_known;
        e.start(follower);
        assert_eq!(e.running[&follower].stats().in_doubt, is_known);
        let conn = e.connect(follower, hello(SessionId(0), &[0; 16], 0));
        if is_known {
            let reason = close_reason(&e.heard(conn));
            assert!(matches!(reason, Some(CloseReason::NoLeader | CloseReason::StateInDoubt)));
        }
        e.run(Duration::from_secs(5));
        assert_eq!((in_doubt(&e), mended(&e)), (vec![], vec![follower]));
        assert_eq!(e.digests().len(), 1);
        assert!(!e.disks[&follower].is_distrusted);
        // What it has kept is right now.
        e.crash(follower);
        e.start(follower);
        e.run(Duration::from_secs(3));
        assert_eq!(e.digests().len(), 1);
        assert_eq!(mended(&e).len(), 1, "nothing is found any more");
    }
}

#[test]
fn writes_go_on_while_a_state_is_on_its_way_and_none_of_them_is_lost() {
    let (mut e, client) = settled(3, |_| {});
    let follower = e.follower();
    rot(&mut e, follower, "rotten");
    for n in 0..200 {
        e.call(client.conn, create(&format!("/b{n}"), 0)).expect("created");
        e.run(Duration::from_millis(20));
    }
    assert_eq!(mended(&e), [follower]);
    assert_eq!(e.digests().len(), 1);
    let reader = e.open(follower);
    assert_eq!(e.children(reader.conn, "/").len(), 202, "with the two of the system");
    assert_eq!(data_of(e.call(reader.conn, get(PATH, false))), "x");
}

#[test]
fn servers_in_doubt_elect_a_leader_and_give_their_states_to_nobody() {
    let (mut e, client) = settled(3, |config| config.snapshot_entries = 5);
    for n in 0..12 {
        e.call(client.conn, create(&format!("/b{n}"), 0)).expect("created");
    }
    let servers = [1, 2, 3].map(ServerId);
    for server in servers {
        e.crash(server);
        e.disks.get_mut(&server).expect("it has one").is_distrusted = server != ServerId(3);
    }
    e.start(ServerId(1));
    e.start(ServerId(2));
    e.run(Duration::from_secs(8));
    assert_eq!(in_doubt(&e), servers[..2], "they lead in turns, and neither believes the other");
    assert!(e.running.values().all(|replica| !replica.stats().serving));
    e.start(ServerId(3));
    e.run(Duration::from_secs(8));
    assert_eq!((in_doubt(&e), e.leader()), (vec![], ServerId(3)));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_quorum_that_needs_a_server_with_another_state_goes_on_and_says_so() {
    let (mut e, _) = settled(3, |_| {});
    let (leader, follower) = (e.leader(), e.follower());
    let third = ServerId(6 - leader.0 - follower.0);
    e.crash(third);
    rot(&mut e, follower, "rotten");
    e.run(Duration::from_secs(3));
    assert_eq!((in_doubt(&e), n_disputes(&e)), (vec![], 2));
    let client = e.open(leader);
    e.call(client.conn, create("/b", 0)).expect("created");
    e.start(third);
    e.run(Duration::from_secs(12));
    assert_eq!(mended(&e), [follower], "the third has decided it");
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn what_a_leader_says_of_an_answer_of_long_ago_is_nothing_any_more() {
    let (mut e, _) = settled(3, |_| {});
    let (leader, follower) = (e.leader(), e.follower());
    rot(&mut e, follower, "rotten");
    e.run(Duration::from_secs(2));
    assert_eq!(mended(&e), [follower]);
    let Some((_, Alarm::Odd { at, agreed, .. })) = e.alarms.first().cloned() else {
        panic!("{:?}", e.alarms)
    };
    for rule in [RULE, RULE + 1] {
        let word = Comparison::Differs { rule, at, agreed: Some(agreed ^ 1) };
        let message = Message::Compare(word);
        e.input(follower, Input::Message { from: leader, message });
        assert_eq!(in_doubt(&e), [], "rule {rule}");
    }
}

#[test]
fn digests_by_another_rule_are_not_compared() {
    let (mut e, _) = settled(3, |_| {});
    let (leader, follower) = (e.leader(), e.follower());
    e.run(Duration::from_secs(1));
    let at = e.running[&leader].raft().last();
    let word = Comparison::Told { rule: RULE + 1, at, digest: 1 };
    e.input(leader, Input::Message { from: follower, message: Message::Compare(word) });
    e.run(Duration::from_secs(1));
    assert_eq!(e.alarms, []);
}

#[test]
fn with_the_switch_off_nothing_is_compared() {
    let (mut e, _) = settled(3, |config| config.compares_states = false);
    let follower = e.follower();
    rot(&mut e, follower, "rotten");
    e.run(Duration::from_secs(5));
    assert_eq!(e.alarms, []);
    assert_eq!(e.digests().len(), 2);
}
