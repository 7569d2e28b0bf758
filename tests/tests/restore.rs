//! `restore` of the admin server: one request restores all servers, at one entry of the log.

use std::net::SocketAddr;

use zokor_tests::http::{Answer, ask};
use zokor_tests::{Client, Ensemble, ErrorCode, Program, eventually};

const ANN: [(&str, &str); 1] = [("Authorization", "digest ann:secret")];

fn snapshot(at: SocketAddr) -> Vec<u8> {
    let answer = ask(at, "GET", "/commands/snapshot", &ANN, b"").expect("an answer");
    assert_eq!(answer.status, 200);
    answer.body
}

fn restore(at: SocketAddr, snapshot: &[u8]) -> Answer {
    ask(at, "POST", "/commands/restore", &ANN, snapshot).expect("an answer")
}

/// Every znode with its data and stat, as this server has it when it is up to date.
fn tree_of(client: &mut Client) -> Vec<String> {
    client.sync("/").expect("synced");
    let (mut found, mut paths) = (Vec::new(), vec!["/".to_owned()]);
    while let Some(path) = paths.pop() {
        let (data, stat) = client.get_data(&path, false).expect("it is there");
        found.push(format!("{path} {data:?} {stat:?}"));
        for name in client.children(&path, false).expect("it is there") {
            paths.push(format!("{}/{name}", path.trim_end_matches('/')));
        }
    }
    found.sort();
    found
}

/// Servers that restore as often as they are asked.
fn willing() -> Ensemble {
    Ensemble::of(3).admin().line("admin.rateLimiterIntervalInMS=0").start()
}

#[test]
fn a_snapshot_that_is_posted_to_any_server_is_the_state_of_all_and_again_on_every_member() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let ensemble = willing();
    let mut client = ensemble.client(0);
    for n in 0..300 {
        client.create(&format!("/n{n}"), &[7; 5_000], 0).expect("created");
    }
    client.create("/mine", b"", 1).expect("created");
    let taken = snapshot(ensemble.admin_address(0));
    let before = tree_of(&mut client);
    let mut late = ensemble.client(1);
    late.create("/late", b"", 1).expect("created");
    late.delete("/n3", -1).expect("deleted");
    late.set_data("/n4", b"other", -1).expect("set");
    let last = |answer: &Answer| answer.json()["last_zxid"].as_i64().expect("a number");
    let answer = restore(ensemble.admin_address(2), &taken);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let zxid = i64::from_be_bytes(taken[taken.len() - 21..][..8].try_into().expect("eight"));
    assert_eq!(last(&answer), zxid, "the last transaction of the snapshot");
    for index in 0..3 {
        assert_eq!(tree_of(&mut ensemble.client(index)), before, "at server {}", index + 1);
    }
    client.ping().expect("its session is in the snapshot");
    eventually("a session that is not in it has ended", || {
        match late.resume(ensemble.address(1)) {
            Err(ErrorCode::SESSION_EXPIRED) => Some(()),
            Ok(_) | Err(_) => None,
        }
    });
    // As the scripts of ZooKeeper's guide do it.
    for index in 0..3 {
        assert_eq!(last(&restore(ensemble.admin_address(index), &taken)), zxid);
        assert_eq!(tree_of(&mut ensemble.client(0)), before);
    }
    client.create("/after", b"", 0).expect("life goes on");
}

#[test]
fn a_restore_survives_the_death_of_all_servers() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let mut ensemble = willing();
    let mut client = ensemble.client(0);
    for n in 0..50 {
        client.create(&format!("/n{n}"), &[7; 5_000], 0).expect("created");
    }
    let (taken, before) = (snapshot(ensemble.admin_address(0)), tree_of(&mut client));
    client.delete("/n7", -1).expect("deleted");
    assert_eq!(restore(ensemble.admin_address(0), &taken).status, 200);
    ensemble.kill_all();
    (0..3).for_each(|index| ensemble.restart(index));
    ensemble.wait_until_serving();
    for index in 0..3 {
        assert_eq!(tree_of(&mut ensemble.client(index)), before, "at server {}", index + 1);
    }
}

#[test]
fn what_is_cut_short_or_changed_on_its_way_changes_nothing() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let ensemble = willing();
    let mut client = ensemble.client(0);
    client.create("/a", &[1; 40_000], 0).expect("created");
    let taken = snapshot(ensemble.admin_address(0));
    client.create("/b", b"", 0).expect("created");
    let before = tree_of(&mut client);
    let mut changed = taken.clone();
    changed[20_000] ^= 1;
    for wrong in [&taken[..taken.len() / 2], &changed, b"no snapshot at all"] {
        let answer = restore(ensemble.admin_address(1), wrong);
        assert_eq!(answer.status, 500);
        assert!(answer.json()["error"].is_string(), "{}", answer.text());
        assert_eq!(tree_of(&mut client), before);
    }
}
