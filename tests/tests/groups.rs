//! Groups and weights (`group.N`, `weight.N`): five servers of which the first is a group, the
//! second is one, and the others are the third, in which only server 3 weighs anything.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use zokor_tests::raw::{Hello, four_letter};
use zokor_tests::records::mode;
use zokor_tests::{Client, Ensemble, eventually};

const LINES: [&str; 5] = ["group.1=1", "group.2=2", "group.3=3:4:5", "weight.4=0", "weight.5=0"];

/// What ZooKeeper prints of it, one weight for each server.
const SHOWN: &str = "group.1=1\ngroup.2=2\ngroup.3=3:4:5\n\
                     weight.1=1\nweight.2=1\nweight.3=1\nweight.4=0\nweight.5=0\nversion=";

fn grouped() -> Ensemble {
    LINES.iter().fold(Ensemble::of(5), |builder, line| builder.line(line)).start()
}

fn kill(ensemble: &mut Ensemble, indices: &[usize]) {
    indices.iter().for_each(|&index| ensemble.kill(index));
}

/// A client of this server, as soon as it serves.
fn late_client(ensemble: &Ensemble, index: usize) -> Client {
    eventually("it serves", || Client::open(ensemble.address(index), &Hello::fresh(30_000)).ok())
}

#[test]
fn two_servers_that_are_two_groups_of_three_serve_without_the_other_three() {
    let mut ensemble = grouped();
    ensemble.client(4).create("/before", b"", mode::PERSISTENT).expect("create");
    kill(&mut ensemble, &[2, 3, 4]);
    for index in [0, 1] {
        let mut client = late_client(&ensemble, index);
        client.create(&format!("/at-{index}"), b"", mode::PERSISTENT).expect("a quorum has it");
        client.sync("/").expect("a quorum confirms it");
        client.get("/before").expect("it is there");
    }
}

#[test]
fn three_servers_of_five_that_are_one_group_acknowledge_nothing() {
    let mut ensemble = grouped();
    let mut client = ensemble.client(2);
    client.create("/a", b"0", mode::PERSISTENT).expect("create");
    kill(&mut ensemble, &[0, 1]);
    client.set_patience(Duration::from_secs(3));
    let answer = client.set_data("/a", b"1", -1);
    assert!(answer.is_err(), "three of five, and one of three groups: {answer:?}");
    for index in [2, 3, 4] {
        eventually("it knows of no leader", || {
            zokor_tests::ensemble::mode(ensemble.address(index)).is_none().then_some(())
        });
    }
    ensemble.restart(1);
    let mut client = late_client(&ensemble, 4);
    client.set_data("/a", b"2", -1).expect("servers 2 and 3 are a quorum");
    assert_eq!(client.get("/a"), Ok(b"2".to_vec()));
}

#[test]
fn a_server_without_weight_serves_clients_and_never_leads() {
    let mut ensemble = grouped();
    let mut client = ensemble.client(4);
    for n in 0..3 {
        let leader = ensemble.wait_for_leader();
        assert!(leader <= 2, "server {} leads", leader + 1);
        for index in [3, 4] {
            let mode = zokor_tests::ensemble::mode(ensemble.address(index));
            assert_eq!(mode.as_deref(), Some("follower"), "server {}", index + 1);
        }
        let path = format!("/{n}");
        assert_eq!(client.create(&path, b"", mode::EPHEMERAL), Ok(path.clone()));
        client.sync("/").expect("sync");
        ensemble.kill(leader);
        eventually("another leads", || ensemble.leader().filter(|&other| other != leader));
        ensemble.restart(leader);
        ensemble.wait_until_serving();
    }
}

#[test]
fn the_groups_are_shown_as_zookeeper_shows_them() {
    let ensemble = grouped();
    for index in [0, 4] {
        let mut client = ensemble.client(index);
        let text = String::from_utf8(client.get("/zookeeper/config").expect("it is there"));
        let text = text.expect("text");
        assert_eq!(text.matches(":participant").count(), 5, "{text}");
        assert!(text.contains(SHOWN), "{text}");
        let told = four_letter(ensemble.address(index), "conf").expect("an answer");
        assert!(told.contains(SHOWN), "{told}");
    }
}

/// As with the list of servers: what the files say holds as long as no change is in the log.
#[test]
fn groups_that_are_added_to_the_files_hold_from_the_next_start_on() {
    let mut ensemble = Ensemble::of(3).start();
    let mut client = ensemble.client(0);
    client.create("/a", b"x", mode::PERSISTENT).expect("create");
    ensemble.kill_all();
    for index in 0..3 {
        let file = ensemble.server(index).folder().join("zoo.cfg");
        let mut file = OpenOptions::new().append(true).open(file).expect("it is there");
        writeln!(file, "group.1=1:2:3\nweight.1=3").expect("it is writable");
    }
    (0..3).for_each(|index| ensemble.restart(index));
    ensemble.wait_until_serving();
    let mut client = late_client(&ensemble, 0);
    assert_eq!(client.get("/a"), Ok(b"x".to_vec()));
    let shown = "\ngroup.1=1:2:3\nweight.1=3\nweight.2=1\nweight.3=1\nversion=";
    eventually("the leader describes the ensemble as it is", || {
        let text = String::from_utf8(client.get("/zookeeper/config").expect("it is there"));
        text.expect("text").contains(shown).then_some(())
    });
    // Server 1 has more than half of all weight.
    kill(&mut ensemble, &[1, 2]);
    let mut client = late_client(&ensemble, 0);
    client.set_data("/a", b"y", -1).expect("it decides alone");
}
