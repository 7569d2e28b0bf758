//! The ten digits: who counts, what counts, and that no number comes twice.

use std::collections::BTreeSet;
use std::thread;

use zokor_tests::records::mode;
use zokor_tests::{Ensemble, ErrorCode, Shared};

#[test]
fn every_create_below_the_parent_counts() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let expected = [shared.at("/a-0000000000"), shared.at("/b-0000000001")];
    assert_eq!(client.create(&shared.at("/a-"), b"", mode::SEQUENTIAL), Ok(expected[0].clone()));
    assert_eq!(client.create(&shared.at("/b-"), b"", mode::SEQUENTIAL), Ok(expected[1].clone()));
    client.create(&shared.at("/plain"), b"", mode::PERSISTENT).expect("create");
    let third = client.create(&shared.at("/a-"), b"", mode::EPHEMERAL_SEQUENTIAL);
    assert_eq!(third, Ok(shared.at("/a-0000000003")));
}

#[test]
fn deletes_and_failures_do_not_count() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let first = client.create(&shared.at("/a-"), b"", mode::SEQUENTIAL).expect("create");
    assert_eq!(client.create(&first, b"", 0), Err(ErrorCode::NODE_EXISTS));
    client.delete(&first, -1).expect("delete");
    let second = client.create(&shared.at("/a-"), b"", mode::SEQUENTIAL);
    assert_eq!(second, Ok(shared.at("/a-0000000001")));
}

#[test]
fn a_path_may_end_in_a_slash_or_a_dot_before_the_digits() {
    let shared = Shared::join();
    let mut client = shared.client(2);
    let parent = shared.at("");
    for (end, index) in [("/", 0), ("/.", 1), ("/..", 2)] {
        let path = client.create(&format!("{parent}{end}"), b"", mode::SEQUENTIAL);
        assert_eq!(path, Ok(format!("{parent}{end}{index:010}")));
    }
    let inside = client.create(&format!("{parent}//x"), b"", mode::SEQUENTIAL);
    assert_eq!(inside, Err(ErrorCode::NO_NODE));
}

#[test]
fn a_name_in_the_way_stops_the_count_until_another_create() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    client.create(&shared.at("/x-0000000001"), b"", 0).expect("create");
    for _ in 0..2 {
        let answer = client.create(&shared.at("/x-"), b"", mode::SEQUENTIAL);
        assert_eq!(answer, Err(ErrorCode::NODE_EXISTS));
    }
    client.create(&shared.at("/other"), b"", 0).expect("create");
    let answer = client.create(&shared.at("/x-"), b"", mode::SEQUENTIAL);
    assert_eq!(answer, Ok(shared.at("/x-0000000002")));
}

#[test]
fn a_parent_made_again_counts_from_zero() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let parent = shared.at("/p");
    for _ in 0..2 {
        client.create(&parent, b"", 0).expect("create");
        let child = client.create(&format!("{parent}/n"), b"", mode::SEQUENTIAL).expect("create");
        assert_eq!(child, format!("{parent}/n0000000000"));
        client.delete(&child, -1).expect("delete");
        client.delete(&parent, -1).expect("delete");
    }
}

#[test]
fn many_clients_on_all_servers_never_get_the_same_number() {
    let shared = Shared::join();
    let names: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let (mut client, prefix) = (shared.client(worker % 3), shared.at("/n-"));
                scope.spawn(move || {
                    let make = |_| client.create(&prefix, b"", mode::SEQUENTIAL).expect("create");
                    (0..50).map(make).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().expect("no panic")).collect()
    });
    let names: BTreeSet<String> = names.into_iter().collect();
    let expected = (0..300).map(|n| shared.at(&format!("/n-{n:010}"))).collect();
    assert_eq!(names, expected);
}

#[test]
fn the_count_survives_a_restart() {
    let mut ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.create("/p", b"", 0).expect("create");
    for _ in 0..3 {
        let path = client.create("/p/n-", b"", mode::SEQUENTIAL).expect("create");
        client.delete(&path, -1).expect("delete");
    }
    ensemble.kill(0);
    ensemble.restart(0);
    ensemble.wait_until_serving();
    let path = ensemble.client(0).create("/p/n-", b"", mode::SEQUENTIAL);
    assert_eq!(path, Ok("/p/n-0000000003".into()));
}
