//! Servers whose disks give back a state that never was: the others notice, and nobody is served
//! with it for long.

use std::fs;
use std::path::PathBuf;

use zokor_core::db::{Image, ImageBuilder, ImageNode};
use zokor_core::id::ServerId;
use zokor_core::replica::{Rebuilt, Snapshot};
use zokor_core::time::WallTime;
use zokor_net::storage::{self, Options, RealDisk};
use zokor_tests::ensemble::Builder;
use zokor_tests::raw::four_letter;
use zokor_tests::{Ensemble, Program, eventually};

const PATH: &str = "/config/limit";

fn is_ours() -> bool {
    Program::promises("a server with another state is found and mended")
}

/// Puts a snapshot on the disk of a server that is down, with everything that it has done and
/// another value at [`PATH`]. All checksums are right.
fn forge(ensemble: &Ensemble, index: usize, value: &'static [u8]) {
    let data = ensemble.server(index).folder().join("data");
    let disk = RealDisk::new(data).expect("the folder is there");
    let server = ServerId(index as u64 + 1);
    let mut options = Options::new(server, [0; 16], WallTime(0));
    options.has_peers = true;
    let opened = storage::open(disk, &options).expect("nobody else has it open");
    let (mut snapshots, recovered) = (opened.snapshots, opened.recovered);
    let mut rebuilt = Rebuilt::new(recovered.snapshot);
    recovered.entries.iter().for_each(|entry| rebuilt.apply(entry));
    let Snapshot { meta, zxid, image } = rebuilt.snapshot();
    let image = with_value(&image, value);
    snapshots.save(&Snapshot { meta, zxid, image }).expect("there is room");
}

fn with_value(image: &Image, value: &'static [u8]) -> Image {
    let mut builder = ImageBuilder::new();
    for node in image.nodes() {
        let data = if &*node.path == PATH { Some(value.into()) } else { node.data.clone() };
        builder.node(ImageNode { data, ..node }).expect("in order");
    }
    for session in image.sessions() {
        builder.session(session).expect("sessions come once");
    }
    for (&prefix, &last) in image.last_session_ids() {
        builder.last_session_id(prefix, last);
    }
    builder.build(image.zxid()).expect("there is a root")
}

fn number(ensemble: &Ensemble, index: usize, key: &str) -> Option<u64> {
    let answer = four_letter(ensemble.address(index), "mntr").ok()?;
    let line = answer.lines().find_map(|line| line.strip_prefix(&format!("zk_{key}\t")))?;
    line.parse().ok()
}

fn evidence(ensemble: &Ensemble, index: usize) -> Vec<PathBuf> {
    let data = ensemble.server(index).folder().join("data");
    let names = fs::read_dir(data).expect("the folder is there");
    let paths = names.map(|entry| entry.expect("a name").path());
    let is_evidence = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("evidence-"))
    };
    paths.filter(is_evidence).collect()
}

fn with_a_znode(builder: Builder) -> Ensemble {
    let ensemble = builder.start();
    let mut client = ensemble.client(0);
    client.create("/config", b"", 0).expect("created");
    client.create(PATH, b"100", 0).expect("created");
    for n in 0..50 {
        client.create(&format!("/config/n{n}"), b"x", 0).expect("created");
    }
    ensemble
}

#[test]
fn a_server_whose_snapshot_lies_is_found_taken_out_and_serves_the_right_value_again() {
    if !is_ours() {
        return;
    }
    let mut ensemble = with_a_znode(Ensemble::of(3));
    for victim in [ensemble.wait_for_leader(), 2] {
        ensemble.kill(victim);
        forge(&ensemble, victim, b"1000000");
        ensemble.restart(victim);
        eventually("it is found, and has the state of the leader", || {
            let log = ensemble.server(victim).log();
            log.contains("it serves again").then_some(())
        });
        ensemble.wait_until_serving();
        let mut client = ensemble.client(victim);
        client.sync("/").expect("it follows");
        assert_eq!(client.get(PATH).expect("it is there"), b"100");
        assert_eq!(number(&ensemble, victim, "digest_mismatches_count"), Some(1));
        assert_eq!(number(&ensemble, victim, "state_in_doubt"), Some(0));
        let log = ensemble.server(victim).log();
        assert!(log.contains("another than that of a quorum"), "{log}");
        let kept = evidence(&ensemble, victim);
        assert!((1..=2).contains(&kept.len()), "{kept:?}");
        let mark = ensemble.server(victim).folder().join("data/zokor-distrust");
        eventually("nothing is remembered any more", || (!mark.exists()).then_some(()));
        // What is on its disk is right, too.
        ensemble.kill(victim);
        ensemble.restart(victim);
        ensemble.wait_until_serving();
        assert_eq!(ensemble.client(victim).get(PATH).expect("it is there"), b"100");
        assert_eq!(number(&ensemble, victim, "digest_mismatches_count"), Some(0));
        for path in kept {
            fs::remove_file(path).expect("it is an operator's to remove");
        }
    }
    let leader = ensemble.wait_for_leader();
    eventually("the others are compared as before", || {
        (number(&ensemble, leader, "digest_agreements_count") > Some(1)).then_some(())
    });
}

#[test]
fn an_observer_whose_snapshot_lies_is_mended_by_the_word_of_the_voters() {
    if !is_ours() {
        return;
    }
    let mut ensemble = with_a_znode(Ensemble::of(4).observers(1));
    let observer = 3;
    eventually("the observer has all of it", || {
        (ensemble.client(observer).get("/config/n49").is_ok()).then_some(())
    });
    ensemble.kill(observer);
    forge(&ensemble, observer, b"0");
    ensemble.restart(observer);
    eventually("it is found, and has the state of the leader", || {
        ensemble.server(observer).log().contains("it serves again").then_some(())
    });
    ensemble.wait_until_serving();
    assert_eq!(ensemble.client(observer).get(PATH).expect("it is there"), b"100");
}

#[test]
fn two_servers_that_differ_go_on_and_both_say_so() {
    if !is_ours() {
        return;
    }
    let mut ensemble = with_a_znode(Ensemble::of(2));
    ensemble.kill(1);
    forge(&ensemble, 1, b"0");
    ensemble.restart(1);
    ensemble.wait_until_serving();
    for index in 0..2 {
        eventually("it says that nobody can tell", || {
            let log = ensemble.server(index).log();
            let told = log.contains("none of them is that of a quorum");
            (told && number(&ensemble, index, "digest_mismatches_count") >= Some(1)).then_some(())
        });
        assert_eq!(number(&ensemble, index, "state_in_doubt"), Some(0));
        ensemble.client(index).create("/more", b"", 2).expect("it serves");
    }
    // An operator decides, and says which state is not to be trusted.
    ensemble.kill(1);
    let data = ensemble.server(1).folder().join("data");
    fs::write(data.join("zokor-distrust"), b"").expect("it can be written");
    ensemble.restart(1);
    ensemble.wait_until_serving();
    assert_eq!(ensemble.client(1).get(PATH).expect("it is there"), b"100");
}

#[test]
fn with_digest_enabled_false_nothing_is_compared() {
    if !is_ours() {
        return;
    }
    let mut ensemble = with_a_znode(Ensemble::of(3).line("digest.enabled=false"));
    ensemble.kill(2);
    forge(&ensemble, 2, b"0");
    ensemble.restart(2);
    ensemble.wait_until_serving();
    assert_eq!(ensemble.client(2).get(PATH).expect("it is there"), b"0");
    let leader = ensemble.wait_for_leader();
    assert_eq!(number(&ensemble, leader, "digest_agreements_count"), Some(0));
}
