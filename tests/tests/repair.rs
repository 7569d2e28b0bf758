//! Servers whose disks have lost something: the others give it back, and nothing that was promised
//! is gone.

use std::fs;
use std::path::{Path, PathBuf};

use zokor_tests::load::{Load, Promises};
use zokor_tests::program::zokor;
use zokor_tests::raw::four_letter;
use zokor_tests::{Ensemble, Program, eventually};

const HEAD_BYTES: usize = 4096;

/// The newest segment of a server's log, and where its last byte is that is not zero.
fn segment(ensemble: &Ensemble, index: usize) -> (PathBuf, Vec<u8>, usize) {
    let data = ensemble.server(index).folder().join("data");
    let names = fs::read_dir(&data).expect("the folder is there");
    let is_log = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-0"))
    };
    let mut paths: Vec<PathBuf> =
        names.map(|entry| entry.expect("a name").path()).filter(is_log).collect();
    paths.sort();
    let path = paths.pop().expect("there is a log");
    let bytes = fs::read(&path).expect("it can be read");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("it holds something") + 1;
    (path, bytes, end)
}

/// Overwrites `n` bytes of the log at `permille` of its length.
fn spoil(ensemble: &Ensemble, index: usize, permille: usize, n: usize) {
    let (path, mut bytes, end) = segment(ensemble, index);
    let at = HEAD_BYTES + (end - HEAD_BYTES) * permille / 1000;
    for byte in &mut bytes[at..at + n] {
        *byte ^= 0x5a;
    }
    fs::write(path, bytes).expect("it can be written");
}

/// The last entry that the watermark of a server names.
fn marked(ensemble: &Ensemble, index: usize) -> u64 {
    let data = ensemble.server(index).folder().join("data");
    let last = |name: &str| {
        let bytes = fs::read(data.join(name)).ok()?;
        Some(u64::from_le_bytes(bytes.get(72..80)?.try_into().ok()?))
    };
    last("watermark-0").max(last("watermark-1")).unwrap_or(0)
}

fn number(ensemble: &Ensemble, index: usize, key: &str) -> Option<u64> {
    let answer = four_letter(ensemble.address(index), "mntr").ok()?;
    let line = answer.lines().find_map(|line| line.strip_prefix(&format!("zk_{key}\t")))?;
    line.parse().ok()
}

fn loaded(ensemble: &Ensemble, n: u64) -> Vec<Promises> {
    let load = Load::start(&ensemble.addresses(), 4);
    load.progress(n);
    load.stop()
}

fn check(ensemble: &Ensemble, promises: &[Promises]) {
    for index in 0..ensemble.len() {
        let mut client = ensemble.client(index);
        promises.iter().for_each(|promise| promise.check(&mut client));
    }
}

fn is_ours() -> bool {
    Program::promises("a damaged server is repaired by the others")
}

#[test]
fn a_server_with_flipped_bytes_gets_its_entries_back_and_serves_by_itself() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::trio();
    let promises = loaded(&ensemble, 400);
    for round in 0..3 {
        let victim = round % 3;
        ensemble.kill(victim);
        spoil(&ensemble, victim, 200 + 250 * round, [60, 120, 700][round]);
        ensemble.restart(victim);
        ensemble.wait_until_serving();
        eventually("it says that it was repaired", || {
            (number(&ensemble, victim, "log_repaired") == Some(1)).then_some(())
        });
        assert_eq!(number(&ensemble, victim, "log_repairing"), Some(0));
        let log = ensemble.server(victim).log();
        assert!(log.contains("what is lost is to come from the other servers"), "{log}");
        check(&ensemble, &promises);
    }
}

#[test]
fn different_damage_on_every_server_heals_though_no_quorum_is_whole() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::trio();
    let promises = loaded(&ensemble, 400);
    ensemble.kill_all();
    for (index, permille) in [250, 500, 750].into_iter().enumerate() {
        spoil(&ensemble, index, permille, 300);
    }
    (0..3).for_each(|index| ensemble.restart(index));
    ensemble.wait_until_serving();
    check(&ensemble, &promises);
    for index in 0..3 {
        assert_eq!(number(&ensemble, index, "log_repaired"), Some(1), "server {index}");
    }
}

#[test]
fn what_is_lost_everywhere_is_named_and_never_guessed() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::trio();
    loaded(&ensemble, 200);
    ensemble.kill_all();
    let (_, _, end) = segment(&ensemble, 0);
    // Almost all of every log but its beginning and its end.
    let permille = 200;
    let n = (end - HEAD_BYTES) / 2;
    (0..3).for_each(|index| spoil(&ensemble, index, permille, n));
    (0..3).for_each(|index| ensemble.restart(index));
    for index in 0..3 {
        eventually("it says what is lost", || {
            let log = ensemble.server(index).log();
            log.contains("this server's disk has lost").then_some(())
        });
        assert_eq!(number(&ensemble, index, "log_repairing"), Some(1));
        assert!(number(&ensemble, index, "log_entries_lost") > Some(0));
    }
    assert_eq!(ensemble.leader(), None, "nobody guesses");
}

#[test]
fn a_server_whose_log_was_cut_short_follows_again_and_nothing_is_lost() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::trio();
    let promises = loaded(&ensemble, 400);
    let victim = ensemble.wait_for_leader();
    eventually("the watermark knows more than the half that will be left", || {
        (marked(&ensemble, victim) >= 350).then_some(())
    });
    ensemble.kill(victim);
    let (path, mut bytes, end) = segment(&ensemble, victim);
    let half = HEAD_BYTES + (end - HEAD_BYTES) / 2;
    bytes[half..].fill(0);
    fs::write(path, bytes).expect("it can be written");
    ensemble.restart(victim);
    ensemble.wait_until_serving();
    eventually("it says that it was repaired", || {
        (number(&ensemble, victim, "log_repaired") == Some(1)).then_some(())
    });
    check(&ensemble, &promises);
}

#[test]
fn a_standalone_server_with_a_damaged_log_does_not_start_and_says_why() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::standalone();
    loaded(&ensemble, 100);
    ensemble.kill(0);
    spoil(&ensemble, 0, 300, 30);
    let config = ensemble.server(0).folder().join("zoo.cfg");
    let output = std::process::Command::new(zokor())
        .args(["serve", "--config"])
        .arg::<&Path>(&config)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("is damaged at offset"), "{told}");
}
