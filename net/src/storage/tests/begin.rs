//! Folders that begin with a state, snapshots by themselves, and looks from outside.

use super::*;
use crate::storage::{
    Disk, Fault, RecordKind, begin_with, ensemble_of, inspect, join_ensemble, open_apart,
    read_copy, write_copy,
};

const NUMBER: u64 = 0x1122_3344_5566_7788;

fn begin(disk: &MemoryDisk) -> Result<(), Error> {
    begin_with(disk.clone(), None, &options(), NUMBER, &snapshot(3, 20))
}

#[test]
fn a_folder_that_begins_with_a_state_opens_as_one_that_came_to_it() {
    let disk = MemoryDisk::new();
    disk.put("myid", b"7");
    begin(&disk).unwrap();
    disk.crash(1);
    assert_eq!(ensemble_of(&disk).unwrap(), NUMBER);
    let mut opened = reopen(&disk);
    assert_eq!((snapshot_index(&opened), indexes(&opened)), (20, vec![]));
    assert_eq!(opened.recovered.hard_state, hard_state(3, None));
    assert_eq!((opened.report.is_new, opened.report.ensemble), (false, NUMBER));
    opened.wal.persist(&[append(4, 21, 22)]).unwrap();
    drop(opened);
    assert_eq!(indexes(&reopen(&disk)), [21, 22]);
}

#[test]
fn the_log_may_lie_apart_from_the_beginning() {
    let (data, log) = (MemoryDisk::new(), MemoryDisk::new());
    let apart = Some(log.clone());
    begin_with(data.clone(), apart, &options(), NUMBER, &snapshot(3, 20)).unwrap();
    let opened = open_apart(data, log, &options()).unwrap();
    assert_eq!((snapshot_index(&opened), opened.report.ensemble), (20, NUMBER));
}

#[test]
fn a_folder_that_was_not_finished_is_opened_by_nobody() {
    let counting = MemoryDisk::new();
    begin(&counting).unwrap();
    let mut n_unfinished = 0;
    for call in 0..counting.calls() {
        for seed in 0..4 {
            let disk = MemoryDisk::new();
            disk.fault_at(call, Fault::Stop);
            let done = begin(&disk);
            disk.crash(seed);
            let had_identity = disk.content("zokor-identity").is_some();
            match open(disk.clone(), &options()) {
                Ok(opened) if opened.report.is_new => {
                    assert!(!had_identity && done.is_err(), "call {call}, seed {seed}");
                }
                Ok(opened) => assert_eq!(snapshot_index(&opened), 20, "call {call}, seed {seed}"),
                Err(Error::Unfinished { .. }) => n_unfinished += 1,
                Err(error) => panic!("call {call}, seed {seed}: {error}"),
            }
        }
    }
    assert!(n_unfinished > 20, "{n_unfinished}");
}

#[test]
fn a_folder_that_holds_anything_is_not_begun() {
    let disk = MemoryDisk::new();
    drop(reopen(&disk));
    let before = disk.contents();
    assert!(matches!(begin(&disk), Err(Error::Taken { .. })));
    assert_eq!(disk.contents(), before);
    let disk = MemoryDisk::new();
    disk.put("version-2", b"");
    assert!(matches!(begin(&disk), Err(Error::ZooKeeper { .. })));
    let disk = MemoryDisk::new();
    disk.put("letters", b"");
    assert!(matches!(begin(&disk), Err(Error::Foreign { .. })));
    assert_eq!(disk.contents().len(), 1);
    let disk = MemoryDisk::new();
    begin(&disk).unwrap();
    assert!(matches!(begin(&disk), Err(Error::Taken { .. })));
}

#[test]
fn a_folder_that_joins_an_ensemble_is_new_and_has_its_number() {
    let disk = MemoryDisk::new();
    join_ensemble(&disk, NUMBER).unwrap();
    disk.crash(3);
    let opened = reopen(&disk);
    assert_eq!((opened.report.is_new, opened.report.ensemble), (true, NUMBER));
    drop(opened);
    assert_eq!(reopen(&disk).report.ensemble, NUMBER);
    assert!(matches!(join_ensemble(&disk, NUMBER), Err(Error::Taken { .. })));
}

#[test]
fn every_byte_of_the_ensembles_file_is_missed_when_it_is_damaged() {
    let disk = MemoryDisk::new();
    begin(&disk).unwrap();
    let whole = disk.content("zokor-ensemble").unwrap();
    let mut expected =
        b"ZOKORENS\x01\0\0\0\x20\0\0\0\x88\x77\x66\x55\x44\x33\x22\x11\x01\0\0\0".to_vec();
    expected.extend(crc32c::crc32c(&expected).to_le_bytes());
    assert_eq!(whole, expected);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        disk.put("zokor-ensemble", &damaged);
        assert!(matches!(refusal(&disk), Error::Damaged { .. } | Error::Newer { .. }), "{at}");
    }
    for length in 0..whole.len() {
        disk.put("zokor-ensemble", &whole[..length]);
        assert!(matches!(refusal(&disk), Error::Damaged { .. }), "{length}");
    }
    disk.put("zokor-ensemble", &whole);
    drop(reopen(&disk));
}

#[test]
fn a_copy_reads_back_as_it_was_and_is_written_over_nothing() {
    let disk = MemoryDisk::new();
    write_copy(&disk, "monday", [3; 16], &snapshot(3, 20)).unwrap();
    disk.crash(2);
    let found = read_copy(&disk, "monday").unwrap();
    assert_eq!((found.meta, found.zxid), (snapshot(3, 20).meta, Zxid(20)));
    assert_eq!(found.image.digest(), snapshot(3, 20).image.digest());
    let again = write_copy(&disk, "monday", [3; 16], &snapshot(3, 21));
    assert!(matches!(again, Err(Error::Taken { .. })));
    let whole = disk.content("monday").unwrap();
    for at in (0..whole.len()).step_by(7).chain(whole.len() - 40..whole.len()) {
        // The id is drawn at random, and no more than a name.
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        disk.put("tuesday", &damaged);
        assert!(read_copy(&disk, "tuesday").is_err(), "{at}");
    }
    for length in [0, 10, 100, whole.len() - 1] {
        disk.put("tuesday", &whole[..length]);
        assert!(read_copy(&disk, "tuesday").is_err(), "{length}");
    }
}

/// A folder with two snapshots and a log of several files, whose server is at work.
fn lived_in(disk: &MemoryDisk) -> Opened<MemoryDisk> {
    let mut opened = reopen(disk);
    for index in 1..=60 {
        let mut persist = append(2, index, index);
        persist.hard_state = (index == 1).then(|| hard_state(2, Some(7)));
        opened.wal.persist(&[persist]).unwrap();
    }
    opened.snapshots.save(&snapshot(2, 20)).unwrap();
    opened.snapshots.save(&snapshot(2, 40)).unwrap();
    opened.wal.persist(&[Persist { truncate_after: Some(Index(58)), ..nothing() }]).unwrap();
    opened.wal.mark().unwrap();
    opened
}

#[test]
fn a_look_at_a_server_at_work_shows_all_and_changes_nothing() {
    let disk = MemoryDisk::new();
    let opened = lived_in(&disk);
    let before = disk.contents();
    let found = inspect(&disk, None).unwrap();
    assert_eq!(disk.contents(), before);
    drop(opened);
    assert!(found.damage.is_empty(), "{:?}", found.damage);
    assert_eq!((found.server, found.ensemble, found.durable_batch), (ServerId(7), 0, 61));
    let entries: Vec<u64> = found.entries.iter().map(|entry| entry.id.index.0).collect();
    assert_eq!(entries, (1..=58).collect::<Vec<_>>());
    assert!(found.segments.len() > 1);
    let snapshots: Vec<_> = found.snapshots.iter().map(|facts| facts.meta.last.index.0).collect();
    assert_eq!(snapshots, [20, 40]);
    assert_eq!(found.records.len(), 62);
    assert_eq!(found.records[0].kind, RecordKind::HardState(hard_state(2, Some(7))));
    assert_eq!(found.records[1].kind, RecordKind::Entry(entry(2, 1, 100)));
    assert_eq!(found.records[61].kind, RecordKind::Truncate(Index(58)));
    let before = |index| found.snapshot_before(&disk, Index(index)).unwrap();
    assert_eq!(before(39).unwrap().meta.last.index, Index(20));
    assert!(before(19).is_none());
}

#[test]
fn a_look_finds_what_recovery_would_find() {
    let disk = MemoryDisk::new();
    drop(lived_in(&disk));
    let log = disk.contents().keys().find(|name| name.starts_with("log-")).unwrap().clone();
    let whole = disk.content(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[4096 + 60] ^= 1;
    disk.put(&log, &damaged);
    let found = inspect(&disk, None).unwrap();
    let [Error::Damaged { file, offset, .. }] = &found.damage[..] else {
        panic!("{:?}", found.damage)
    };
    assert_eq!((file, *offset), (&log, 4144), "behind the hard state");
    assert!(found.entries.is_empty() && !found.segments.is_empty());
    disk.put(&log, &whole);
    let newest = "snapshot-0000000000000028.zk";
    let mut damaged = disk.content(newest).unwrap();
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    disk.put(newest, &damaged);
    let found = inspect(&disk, None).unwrap();
    let [Error::SnapshotDamaged { file, what, .. }] = &found.damage[..] else {
        panic!("{:?}", found.damage)
    };
    assert!(file == newest && what.contains("at offset"), "{what}");
    assert_eq!((found.snapshots.len(), found.entries.len()), (1, 58));
    disk.remove(&log).unwrap();
    let found = inspect(&disk, None).unwrap();
    assert!(found.damage.iter().any(|error| matches!(error, Error::Gap { .. })));
    let foreign = inspect(&MemoryDisk::new(), None).unwrap_err();
    assert!(foreign.to_string().contains("no folder of a zokor server"), "{foreign}");
}
