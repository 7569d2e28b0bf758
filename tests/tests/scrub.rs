//! Files that are damaged under a running server: it finds out, puts them right from what it has in
//! memory, and needs nobody when it starts from them.

use std::fs::{self, OpenOptions};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use zokor_tests::raw::four_letter;
use zokor_tests::{Ensemble, Program, eventually};

/// Rounds without a pause, and fast.
const LINES: [&str; 3] =
    ["zokor.scrubBytesPerSecond=268435456", "zokor.scrubIntervalSeconds=0", "snapCount=100000"];
const N_WRITES: usize = 120;
const N_BYTES: usize = 20_000;

fn is_ours() -> bool {
    Program::promises("what is damaged at rest is found and put right")
}

fn start(n_servers: usize) -> Ensemble {
    let mut builder = Ensemble::of(n_servers);
    for line in LINES {
        builder = builder.line(line);
    }
    builder.start()
}

/// Enough for several segments.
fn fill(ensemble: &Ensemble) {
    let mut client = ensemble.client(0);
    client.create("/a", b"", 0).expect("created");
    for n in 0..N_WRITES {
        client.create(&format!("/a/{n}"), &[n as u8; N_BYTES], 0).expect("created");
    }
    client.close();
}

/// The last entry that the watermark of a server names.
fn marked(ensemble: &Ensemble, index: usize) -> u64 {
    let last = |path: PathBuf| {
        let bytes = fs::read(path).ok()?;
        Some(u64::from_le_bytes(bytes.get(72..80)?.try_into().ok()?))
    };
    files(ensemble, index, "watermark-").into_iter().filter_map(last).max().unwrap_or(0)
}

fn check(ensemble: &Ensemble, index: usize) {
    let mut client = ensemble.client(index);
    client.sync("/a").expect("in step");
    for n in 0..N_WRITES {
        assert_eq!(client.get(&format!("/a/{n}")).expect("it is there"), [n as u8; N_BYTES]);
    }
}

/// The files of a server whose names begin with `prefix`, ascending.
fn files(ensemble: &Ensemble, index: usize, prefix: &str) -> Vec<PathBuf> {
    let data = ensemble.server(index).folder().join("data");
    let names = fs::read_dir(&data).expect("the folder is there");
    let is_it = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with(prefix) && !name.ends_with(".tmp"))
    };
    let mut paths: Vec<PathBuf> =
        names.map(|entry| entry.expect("a name").path()).filter(is_it).collect();
    paths.sort();
    paths
}

/// Writes over `n` bytes in the middle of a file, in place. What is there now.
fn write_over(path: &PathBuf, at: u64, n: usize) -> Vec<u8> {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("it is there");
    let mut bytes = vec![0; n];
    file.read_exact_at(&mut bytes, at).expect("it is longer");
    bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
    file.write_all_at(&bytes, at).expect("it can be written");
    bytes
}

/// Bytes in the middle of a file; none if it is gone.
fn read(path: &PathBuf, at: u64, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    let read = fs::File::open(path).and_then(|file| file.read_exact_at(&mut bytes, at));
    read.map(|()| bytes).unwrap_or_default()
}

fn number(ensemble: &Ensemble, index: usize, key: &str) -> Option<u64> {
    let answer = four_letter(ensemble.address(index), "mntr").ok()?;
    let line = answer.lines().find_map(|line| line.strip_prefix(&format!("zk_scrub_{key}\t")))?;
    line.parse().ok()
}

/// Waits until so many damaged files were found and put right, and two rounds have seen nothing
/// more.
fn is_put_right(ensemble: &Ensemble, index: usize, expected: RangeInclusive<u64>) {
    let n = eventually("it was found and put right", || {
        let has = |key| number(ensemble, index, key);
        let n = has("damage_found")?;
        let is_done = expected.contains(&n) && has("damage_repaired")? == n;
        (is_done && has("damage_left")? == 0).then_some(n)
    });
    is_read_twice(ensemble, index);
    assert_eq!(number(ensemble, index, "damage_found"), Some(n));
}

fn is_read_twice(ensemble: &Ensemble, index: usize) {
    let rounds = number(ensemble, index, "rounds").expect("it tells");
    eventually("all is read twice more", || {
        (number(ensemble, index, "rounds")? > rounds + 2).then_some(())
    });
}

/// Kills a server, starts it again, and looks at what it says of its files.
fn starts_clean(ensemble: &mut Ensemble, index: usize) {
    ensemble.kill(index);
    ensemble.restart(index);
    ensemble.wait_until_serving();
    let log = ensemble.server(index).log();
    assert!(log.contains("in ") && log.contains("snapshot "), "{log}");
    assert!(!log.contains("damage") && !log.contains("lost") && !log.contains("anew"), "{log}");
    check(ensemble, index);
}

#[test]
fn a_server_alone_outlives_damage_to_its_log_and_then_to_its_newest_snapshot() {
    if !is_ours() {
        return;
    }
    let mut ensemble = start(1);
    fill(&ensemble);
    let segments = files(&ensemble, 0, "log-");
    assert!(segments.len() >= 2 && files(&ensemble, 0, "snapshot-").is_empty(), "{segments:?}");
    write_over(&segments[0], 300_000, 64);
    is_put_right(&ensemble, 0, 1..=1);
    let name = segments[0].file_name().expect("it has one").to_string_lossy().into_owned();
    let log = ensemble.server(0).log();
    assert!(log.contains("damage at rest") && log.contains(&name), "{log}");
    assert!(!segments[0].exists(), "it is out of the way");

    let snapshot = files(&ensemble, 0, "snapshot-").pop().expect("one was taken");
    let before = fs::read(&snapshot).expect("it can be read");
    write_over(&snapshot, 1_000_000, 8);
    is_put_right(&ensemble, 0, 2..=2);
    let newest = files(&ensemble, 0, "snapshot-").pop().expect("one is there");
    assert!(newest != snapshot || fs::read(&newest).expect("it can be read") == before);
    starts_clean(&mut ensemble, 0);
}

#[test]
fn a_follower_puts_right_what_the_others_would_have_to_give_back() {
    if !is_ours() {
        return;
    }
    let mut ensemble = start(3);
    fill(&ensemble);
    let victim = (ensemble.wait_for_leader() + 1) % 3;
    eventually("it has several segments", || {
        (files(&ensemble, victim, "log-").len() >= 2).then_some(())
    });
    // The creates, the session, and /a: then it is not written any more.
    eventually("the watermark knows all", || {
        (marked(&ensemble, victim) >= N_WRITES as u64 + 3).then_some(())
    });
    // The one that is written to as well.
    let segments = files(&ensemble, victim, "log-");
    let last = segments.last().expect("there are some");
    let identity = &files(&ensemble, victim, "zokor-identity")[0];
    let watermark = &files(&ensemble, victim, "watermark-0")[0];
    let places = [(&segments[0], 500_000, 1), (last, 4_096 + 10, 1), (identity, 40, 4)];
    let damage = places.into_iter().chain([(watermark, 44, 4)]);
    let damage: Vec<_> = damage.map(|(path, at, n)| (path, at, write_over(path, at, n))).collect();
    for (path, at, damaged) in damage {
        eventually("the damage is gone", || {
            (read(path, at, damaged.len()) != damaged).then_some(())
        });
    }
    // What is told of it comes a little later.
    is_read_twice(&ensemble, victim);
    // An election, as a busy machine may bring one, writes a watermark before anybody reads it.
    is_put_right(&ensemble, victim, 3..=4);
    starts_clean(&mut ensemble, victim);
    let answer = four_letter(ensemble.address(victim), "mntr").expect("it answers");
    assert!(answer.contains("zk_log_repaired\t0\n"), "{answer}");
}

#[test]
fn a_server_that_is_not_to_read_what_is_at_rest_does_not() {
    if !is_ours() {
        return;
    }
    let ensemble = Ensemble::of(1).line("zokor.scrubBytesPerSecond=0").start();
    fill(&ensemble);
    assert_eq!(number(&ensemble, 0, "read_bytes"), Some(0));
    let answer = four_letter(ensemble.address(0), "mntr").expect("it answers");
    assert!(answer.contains("zk_scrub_since_last_round_ms\t-1\n"), "{answer}");
}
