//! What rots at rest is found, and put right while the server still knows better.

use std::io::ErrorKind;

use zokor_core::time::Instant;

use super::model::{Model, Step};
use super::*;
use crate::storage::{Disk, Fault, ScrubCounts, Scrubbed};

const HEAD: usize = 4096;
const AN_HOUR: u64 = 3_600_000;

/// A server at work, as far as its storage sees one: what it has applied is what its log holds.
struct Server {
    opened: Opened<MemoryDisk>,
    disk: MemoryDisk,
    now_ms: u64,
    last: u64,
    /// The snapshot before the last one.
    purge: u64,
    snapshot: u64,
    wanted: Vec<u64>,
    damage: Vec<String>,
    repairs: Vec<String>,
    doubts: Vec<String>,
    counts: ScrubCounts,
}

impl Server {
    /// Goes on from what is on the disk.
    fn open(disk: &MemoryDisk) -> Self {
        let opened = reopen(disk);
        let snapshot = snapshot_index(&opened);
        Server {
            last: opened.wal.last_index().0,
            snapshot,
            purge: snapshot,
            opened,
            disk: disk.clone(),
            now_ms: 0,
            wanted: Vec::new(),
            damage: Vec::new(),
            repairs: Vec::new(),
            doubts: Vec::new(),
            counts: ScrubCounts::default(),
        }
    }

    /// A folder with several segments and snapshots, and a hard state in all places.
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let mut server = Server::open(&disk);
        let vote = Persist { hard_state: Some(hard_state(2, Some(3))), ..nothing() };
        server.opened.wal.persist(&[vote]).unwrap();
        for round in 1..=4 {
            server.append(15).unwrap();
            if round > 1 {
                server.save().unwrap();
            }
        }
        server.append(40).unwrap();
        server.opened.wal.mark().unwrap();
        assert!(server.opened.wal.segment_count() >= 3, "{}", server.opened.wal.segment_count());
        server
    }

    /// The segments, oldest first.
    fn logs(&self) -> Vec<String> {
        let names = self.disk.contents().into_keys();
        names.filter(|name| name.starts_with("log-") && name.ends_with(".zk")).collect()
    }

    fn append(&mut self, n: u64) -> Result<(), Error> {
        for _ in 0..n {
            self.opened.wal.persist(&[append(2, self.last + 1, self.last + 1)])?;
            self.last += 1;
        }
        Ok(())
    }

    /// Takes a snapshot of all that is applied, and lets go what that allows.
    fn save(&mut self) -> Result<(), Error> {
        self.opened.snapshots.save(&snapshot(2, self.last))?;
        self.wanted.retain(|above| *above >= self.last);
        (self.purge, self.snapshot) = (self.snapshot, self.last);
        self.opened.wal.purge(Index(self.purge))
    }

    /// One step of the scrub, and what it asks for.
    fn scrub(&mut self, n_bytes: u64) -> Result<(), Error> {
        self.now_ms += 250;
        let now = Instant::from_micros(self.now_ms * 1_000);
        let Scrubbed { damage, repairs, doubts, mends_log, wanted, counts } =
            self.opened.scrub.step(now, n_bytes);
        self.damage.extend(damage);
        self.repairs.extend(repairs);
        self.doubts.extend(doubts);
        self.counts = counts;
        if mends_log {
            self.opened.wal.mend()?;
        }
        self.wanted.extend(wanted.map(|above| above.0));
        if self.wanted.iter().any(|above| *above < self.last) {
            self.save()?;
        }
        Ok(())
    }

    /// A whole round from the beginning, and what it leads to.
    fn round(&mut self) -> Result<(), Error> {
        self.now_ms += AN_HOUR;
        let before = self.counts.rounds;
        while self.counts.rounds == before {
            self.scrub(1 << 20)?;
        }
        // What it asked for is told with the next step.
        self.scrub(1 << 20)?;
        self.scrub(1 << 20)
    }

    /// The power goes, and the server comes back alone: all it knew is there, and nothing is amiss.
    fn comes_back_clean(self, seed: u64) -> Opened<MemoryDisk> {
        let (last, hard_state) = (self.last, self.opened.wal.hard_state());
        drop(self.opened);
        self.disk.crash(seed);
        let opened = open(self.disk.clone(), &options()).unwrap_or_else(|error| panic!("{error}"));
        let report = &opened.report;
        assert_eq!(report.damaged_snapshots, [""; 0]);
        assert_eq!(report.damaged_watermarks, [""; 0]);
        assert_eq!((&report.damage, &report.replaced), (&None, &None));
        assert_eq!(opened.recovered.hard_state, hard_state);
        let found = indexes(&opened).last().copied().unwrap_or(snapshot_index(&opened));
        assert_eq!(found, last);
        opened
    }
}

/// Which bytes of a file are looked at: all in which something could be special, and a part of the
/// rest.
fn places(content: &[u8]) -> impl Iterator<Item = usize> {
    let end = content.len();
    (0..end)
        .filter(move |at| at % 97 == 0 || *at < 96 || (4090..4200).contains(at) || *at + 34 > end)
}

#[test]
fn what_is_whole_is_read_round_after_round_and_nothing_is_done() {
    let mut server = Server::new();
    let before = server.disk.contents();
    for rounds in 1..=3 {
        server.round().unwrap();
        assert_eq!(server.counts.rounds, rounds);
    }
    assert!(server.disk.contents() == before);
    assert_eq!((server.counts.found, server.counts.read_again, server.counts.left), (0, 0, 0));
    let all: usize = before.values().map(Vec::len).sum();
    assert!(server.counts.read_bytes as usize >= 3 * all, "{:?}", server.counts);
    assert!(server.counts.last_round_ended.is_some());
}

#[test]
fn rot_at_every_place_of_every_file_at_rest_is_put_right_within_a_round_without_a_peer() {
    let names: Vec<(String, Vec<u8>)> = Server::new().disk.contents().into_iter().collect();
    let mut n_found = 0;
    for (name, content) in names {
        if name.ends_with(".tmp") {
            continue;
        }
        // Behind the records nothing counts.
        let is_log = name.starts_with("log-");
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for at in places(&content) {
            let mut server = Server::new();
            server.disk.rot(&name, at, 0x10);
            server.round().unwrap();
            let told = format!("{name} at {at}: {:?} {:?}", server.damage, server.repairs);
            if is_log && at >= used {
                assert_eq!(server.counts.found, 0, "{told}");
            } else {
                assert_eq!((server.counts.found, server.counts.left), (1, 0), "{told}");
                assert_eq!(server.counts.repaired, 1, "{told}");
                assert!(server.damage[0].starts_with(&format!("{name} in memory")), "{told}");
                n_found += 1;
            }
            server.round().unwrap();
            assert_eq!(server.counts.left, 0, "{told}");
            let opened = server.comes_back_clean(at as u64);
            assert!(opened.report.cut.is_none() || at >= used, "{told}");
        }
    }
    assert!(n_found > 500, "{n_found}");
}

#[test]
fn a_file_that_somebody_has_taken_away_is_missed_and_replaced() {
    for name in Server::new().disk.contents().into_keys().filter(|name| !name.ends_with(".tmp")) {
        let mut server = Server::new();
        Disk::remove(&server.disk, &name).unwrap();
        Disk::sync_folder(&server.disk).unwrap();
        server.round().unwrap();
        assert!(server.damage[0].contains("it is gone"), "{name}: {:?}", server.damage);
        assert_eq!(server.counts.left, 0, "{name}");
        server.comes_back_clean(1);
    }
}

#[test]
fn there_are_as_many_whole_snapshots_as_before_and_the_newest_two_join_the_log() {
    for damaged in [[45, 60], [30, 60], [30, 45]] {
        let mut server = Server::new();
        for index in damaged {
            server.disk.rot(&format!("snapshot-{index:016x}.zk"), 700, 1);
        }
        server.round().unwrap();
        // One at once, the other as soon as there is something new.
        assert_eq!((server.counts.found, server.counts.repaired), (2, 1), "{damaged:?}");
        server.append(1).unwrap();
        server.scrub(1).unwrap();
        server.scrub(1).unwrap();
        assert_eq!((server.counts.repaired, server.counts.left), (2, 0), "{damaged:?}");
        let names = server.disk.contents();
        let snapshots = names.keys().filter(|name| name.starts_with("snapshot-")).count();
        assert_eq!(snapshots, 3, "{damaged:?}");
        // The newest may go once more.
        let newest = format!("snapshot-{:016x}.zk", server.snapshot);
        let (disk, last) = (server.disk.clone(), server.last);
        drop(server);
        disk.rot(&newest, 700, 1);
        let opened = reopen(&disk);
        assert_eq!(indexes(&opened).last(), Some(&last), "{damaged:?}");
    }
}

#[test]
fn the_log_behind_an_older_snapshot_stays_until_a_new_one_is_verified() {
    let mut server = Server::new();
    let before = server.logs();
    server.disk.rot("snapshot-000000000000003c.zk", 700, 1);
    // Twice read, and nothing saved yet.
    server.now_ms += AN_HOUR;
    while server.counts.found == 0 {
        let now = Instant::from_micros(server.now_ms * 1_000);
        server.counts = server.opened.scrub.step(now, 1 << 20).counts;
    }
    server.opened.wal.purge(Index(63)).unwrap();
    assert_eq!(server.logs(), before);
    drop(server.opened);
    let opened = reopen(&server.disk);
    assert_eq!((snapshot_index(&opened), indexes(&opened).last()), (45, Some(&100)));
}

#[test]
fn a_damaged_segment_becomes_no_other_and_what_is_not_applied_is_waited_for() {
    let mut server = Server::new();
    let open = server.logs().pop().unwrap();
    server.disk.rot(&open, HEAD + 60, 1);
    // Nothing is applied of what was appended last.
    let applied = server.snapshot;
    let last = std::mem::replace(&mut server.last, applied);
    server.round().unwrap();
    server.round().unwrap();
    assert_eq!((server.counts.found, server.counts.repaired, server.counts.left), (1, 0, 1));
    assert!(server.damage.iter().any(|it| it.starts_with("not put right yet")), "every round");
    assert!(server.disk.content(&open).is_some());
    server.last = last;
    server.scrub(1).unwrap();
    server.scrub(1).unwrap();
    assert_eq!((server.counts.repaired, server.counts.left), (1, 0), "{:?}", server.repairs);
    assert!(server.disk.content(&open).is_none());
    let used = open.replace(".zk", ".used.tmp");
    assert!(server.disk.content(&used).is_none());
    server.append(60).unwrap();
    server.round().unwrap();
    assert_eq!(server.counts.left, 0);
    server.comes_back_clean(3);
}

#[test]
fn the_power_may_go_at_every_call_of_a_repair() {
    let snapshot = "snapshot-000000000000003c.zk".to_owned();
    let logs = Server::new().logs();
    let smalls = ["watermark-0", "watermark-1", "zokor-identity"].map(str::to_owned);
    for name in logs.into_iter().chain([snapshot]).chain(smalls) {
        let mut stopped = true;
        for call in 0.. {
            if !stopped {
                break;
            }
            let mut server = Server::new();
            server.append(1).unwrap();
            let at = if name.starts_with("log-") { HEAD + 50 } else { 40 };
            server.disk.rot(&name, at, 1);
            let stop = server.disk.calls() + call;
            server.disk.fault_at(call, Fault::Stop);
            let _ = server.round().and_then(|()| server.round());
            stopped = server.disk.calls() > stop;
            let (last, disk) = (server.last, server.disk.clone());
            drop(server);
            disk.crash(call);
            let with_peers = Options { has_peers: true, ..options() };
            let opened = match open(disk.clone(), &with_peers) {
                Ok(opened) => opened,
                Err(Error::Damaged { file, .. }) if file == "zokor-identity" && stopped => continue,
                Err(error) => panic!("{name} {call}: {error}"),
            };
            let recovered = &opened.recovered;
            assert_eq!(recovered.hard_state, hard_state(2, Some(3)), "{name} {call}");
            match &recovered.damage {
                Some(damage) => {
                    assert!(stopped && name.starts_with("log-"), "{name} {call}");
                    assert_eq!(damage.last.index.0, last, "{name} {call}");
                }
                None => {
                    let found = indexes(&opened).last().copied();
                    assert_eq!(found.unwrap_or(snapshot_index(&opened)), last, "{name} {call}");
                }
            }
        }
    }
}

#[test]
fn what_reads_well_the_second_time_is_no_damage() {
    for n in 0..40 {
        let mut server = Server::new();
        server.now_ms += AN_HOUR;
        for _ in 0..n {
            server.scrub(1).unwrap();
        }
        server.disk.refuse_reads(1, ErrorKind::Other);
        server.round().unwrap();
        assert_eq!((server.counts.found, server.damage.len()), (0, 0), "{:?}", server.damage);
    }
    let mut server = Server::new();
    server.disk.refuse_reads(1, ErrorKind::Other);
    server.round().unwrap();
    assert_eq!(server.counts.read_again, 1);
}

#[test]
fn what_the_system_has_no_means_for_says_nothing_of_the_disk() {
    let mut server = Server::new();
    server.disk.refuse_reads(4, ErrorKind::OutOfMemory);
    server.round().unwrap();
    assert_eq!((server.counts.found, server.counts.read_again), (0, 0));
    assert_eq!(server.doubts.len(), 4, "{:?}", server.doubts);
    server.round().unwrap();
    assert_eq!(server.doubts.len(), 4, "the next round reads them");
}

#[test]
fn without_room_damage_is_left_and_told_every_round_and_mended_when_there_is_some() {
    let mut server = Server::new();
    server.append(3).unwrap();
    let open = server.logs().pop().unwrap();
    server.disk.rot(&open, HEAD + 60, 1);
    server.disk.leave(Some(0));
    for round in 1..=3 {
        let told = |it: &&String| it.starts_with("not put right yet");
        if let Err(error) = server.round() {
            assert!(matches!(error, Error::Full { .. }), "{error}");
        }
        assert_eq!(server.counts.left, 1);
        assert!(server.damage.iter().filter(told).count() + 1 >= round, "{:?}", server.damage);
    }
    assert!(!server.opened.wal.is_poisoned() && !server.opened.snapshots.is_poisoned());
    server.disk.leave(None);
    server.round().unwrap();
    server.round().unwrap();
    assert_eq!(server.counts.left, 0, "{:?}", server.damage);
    server.comes_back_clean(5);
}

#[test]
fn no_more_is_read_than_was_granted_and_rounds_keep_their_distance() {
    let mut server = Server::new();
    for granted in 1..200 {
        server.scrub(1_000).unwrap();
        let most = 1_000 * granted + (256 << 10);
        assert!(server.counts.read_bytes <= most, "{} of {most}", server.counts.read_bytes);
    }
    let mut server = Server::new();
    server.round().unwrap();
    let read = server.counts.read_bytes;
    let is_soon = |server: &Server| server.now_ms < 2 * AN_HOUR - 1_000;
    while is_soon(&server) {
        server.now_ms += 60_000;
        server.scrub(1 << 20).unwrap();
        if is_soon(&server) {
            assert_eq!(server.counts.read_bytes, read);
        }
    }
    server.round().unwrap();
    assert!(server.counts.read_bytes > read);
}

/// Whatever goes on beside it: segments are rolled, purged and used again, snapshots come and go,
/// entries are cut, and the watermark is written.
#[test]
fn a_file_that_changes_its_place_under_the_reader_is_never_called_damaged() {
    let mut n_rounds = 0;
    for seed in 0..60 {
        let disk = MemoryDisk::new();
        let mut opened = reopen(&disk);
        let (mut model, mut now) = (Model::new(), 0);
        let mut counts = ScrubCounts::default();
        for step in crash::steps_of(seed, 120) {
            if let Some(snapshot) = step.saves(&model) {
                opened.snapshots.save(&snapshot).unwrap();
                model.snapshot = (snapshot.meta.last.index.0, snapshot.meta.last.term.0);
            }
            for batch in step.batches(&model) {
                opened.wal.persist(&batch).unwrap();
                batch.iter().for_each(|persist| model.apply(persist));
            }
            match step {
                Step::Purge => opened.wal.purge(Index(model.snapshot.0)).unwrap(),
                Step::Idle => drop(opened.wal.idle().unwrap()),
                Step::Mark => opened.wal.mark().unwrap(),
                Step::Restart => {
                    drop(opened);
                    opened = reopen(&disk);
                }
                _ => {}
            }
            for _ in 0..seed % 5 {
                now += AN_HOUR * 1_000;
                // Few bytes a step: a file is opened in one and read in another.
                let told = opened.scrub.step(Instant::from_micros(now), 5_000 + seed * 100);
                assert_eq!(told.damage, [""; 0], "seed {seed}");
                assert!(!told.mends_log && told.wanted.is_none(), "seed {seed}");
                assert_eq!(told.counts.read_again, 0, "seed {seed}");
                n_rounds += u64::from(told.counts.rounds != counts.rounds);
                counts = told.counts;
            }
        }
        model.assert_found(&reopen_after(opened, &disk));
    }
    assert!(n_rounds > 100, "{n_rounds}");
}

fn reopen_after(opened: Opened<MemoryDisk>, disk: &MemoryDisk) -> Opened<MemoryDisk> {
    drop(opened);
    reopen(disk)
}

#[test]
fn the_ensemble_and_a_log_apart_are_looked_at_too() {
    let (data, log) = (MemoryDisk::new(), MemoryDisk::new());
    let first = snapshot(1, 20);
    crate::storage::begin_with(data.clone(), Some(log.clone()), &options(), 77, &first).unwrap();
    let places = [(&data, "zokor-ensemble", 20), (&data, "zokor-identity", 40)];
    for (disk, name, at) in places.into_iter().chain([(&log, "zokor-identity", 60)]) {
        let mut opened = crate::storage::open_apart(data.clone(), log.clone(), &options()).unwrap();
        disk.rot(name, at, 8);
        let mut told = Scrubbed::default();
        for step in 0..20 {
            let more = opened.scrub.step(Instant::from_micros(step), 1 << 20);
            told.damage.extend(more.damage);
            told.repairs.extend(more.repairs);
            told.counts = more.counts;
        }
        assert_eq!((told.counts.found, told.counts.repaired), (1, 1), "{name} {told:?}");
        assert!(told.repairs[0].contains(name), "{told:?}");
        drop(opened);
    }
    let opened = crate::storage::open_apart(data, log, &options()).unwrap();
    assert_eq!(opened.report.ensemble, 77);
}
