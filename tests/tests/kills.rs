//! Servers die under load, one at a time, and nothing that was promised is lost.

use std::time::Duration;

use zokor_tests::load::Load;
use zokor_tests::records::mode;
use zokor_tests::{Client, Ensemble, Event, EventKind, Program, eventually};

#[test]
fn nothing_acknowledged_is_lost_when_servers_die_in_turn() {
    let mut ensemble = Ensemble::trio();
    let load = Load::start(&ensemble.addresses(), 6);
    load.progress(200);
    for round in 0..6 {
        let leader = ensemble.wait_for_leader();
        // The leader, then one that follows, and so on.
        let victim = if round % 2 == 0 { leader } else { (leader + 1 + round / 2 % 2) % 3 };
        ensemble.kill(victim);
        load.progress(100);
        ensemble.restart(victim);
        ensemble.wait_until_serving();
        load.progress(100);
    }
    let promises = load.stop();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        promises.iter().for_each(|promise| promise.check(&mut client));
    }
}

#[test]
fn a_server_that_was_away_catches_up() {
    let mut ensemble = Ensemble::trio();
    let leader = ensemble.wait_for_leader();
    let away = (leader + 1) % 3;
    ensemble.kill(away);
    let load = Load::start(&[ensemble.address(leader)], 3);
    load.progress(3_000);
    ensemble.restart(away);
    ensemble.wait_until_serving();
    let promises = load.stop();
    let mut client = ensemble.client(away);
    promises.iter().for_each(|promise| promise.check(&mut client));
}

#[test]
fn a_new_leader_brings_a_new_epoch_and_keeps_sessions() {
    let mut ensemble = Ensemble::trio();
    let leader = ensemble.wait_for_leader();
    let mut owner = ensemble.client(leader);
    owner.create("/e", b"", mode::EPHEMERAL).expect("create");
    let epoch = owner.last_zxid >> 32;
    ensemble.kill(leader);
    let survivor = (leader + 1) % 3;
    let mut again = eventually("the session goes on at a survivor", || {
        owner.resume(ensemble.address(survivor)).ok()
    });
    again.create("/after", b"", mode::PERSISTENT).expect("create");
    assert!(again.last_zxid >> 32 > epoch, "the epoch grows");
    assert_eq!(again.ephemerals("/"), Ok(vec!["/e".into()]));
}

#[test]
fn an_election_pauses_the_clients_of_survivors_and_cuts_none() {
    if !Program::promises("an election is a pause, not a cut") {
        return;
    }
    let mut ensemble = Ensemble::trio();
    let leader = ensemble.wait_for_leader();
    let survivors = [(leader + 1) % 3, (leader + 2) % 3];
    let mut clients: Vec<Client> = (0..6).map(|n| ensemble.client(survivors[n % 2])).collect();
    let mut watcher = ensemble.client(survivors[0]);
    clients[0].create("/a", b"", mode::PERSISTENT).expect("create");
    watcher.sync("/").expect("sync");
    watcher.get_data("/a", true).expect("it is there");
    ensemble.kill(leader);
    for (n, client) in clients.iter_mut().enumerate() {
        let path = format!("/during-{n}");
        assert_eq!(client.create(&path, b"", mode::EPHEMERAL), Ok(path.clone()));
        assert_eq!(client.ephemerals("/"), Ok(vec![path]));
    }
    clients[1].set_data("/a", b"x", 0).expect("set");
    assert_eq!(watcher.next_event(), Ok(Event::new(EventKind::DataChanged, "/a")));
}

#[test]
fn without_a_quorum_nothing_is_acknowledged_and_with_one_all_goes_on() {
    let mut ensemble = Ensemble::trio();
    let mut client = ensemble.client(0);
    client.create("/a", b"0", mode::PERSISTENT).expect("create");
    client.sync("/").expect("sync");
    ensemble.kill(1);
    ensemble.kill(2);
    client.set_patience(Duration::from_secs(3));
    let answer = client.set_data("/a", b"1", -1);
    assert!(answer.is_err(), "one of three is no quorum: {answer:?}");
    ensemble.restart(1);
    ensemble.restart(2);
    ensemble.wait_until_serving();
    let mut client = ensemble.client(1);
    client.set_data("/a", b"2", -1).expect("writes go on");
    assert_eq!(client.get("/a"), Ok(b"2".to_vec()));
}
