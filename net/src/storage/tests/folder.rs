//! Whose folder it is, what is kept in it, and a real one.

use super::*;
use crate::storage::{Disk, RealDisk, open_apart};

#[test]
fn a_folder_with_something_else_in_it_is_refused_and_left_alone() {
    for name in ["letters.txt", "log-00000001-0000000000000001.zk", "snapshot.0", "myid2"] {
        let disk = MemoryDisk::new();
        disk.put(name, b"dear");
        let error = refusal(&disk);
        assert!(matches!(&error, Error::Foreign { file, .. } if file == name), "{error}");
        assert!(error.to_string().contains(name));
        assert_eq!(disk.contents().len(), 1);
    }
}

#[test]
fn what_a_server_may_find_in_its_folder_is_no_reason_to_refuse_it() {
    let disk = MemoryDisk::new();
    for name in ["myid", "initialize", "zoo.cfg", "zoo.cfg.dynamic.100", "lost+found", ".hidden"] {
        disk.put(name, b"7");
    }
    assert!(reopen(&disk).report.is_new);
    disk.put("notes", b"ours by now");
    assert!(!reopen(&disk).report.is_new);
    assert_eq!(disk.content("myid").unwrap(), b"7");
}

#[test]
fn the_folder_of_a_zookeeper_server_is_refused_by_name() {
    let disk = MemoryDisk::new();
    disk.put("version-2", b"");
    disk.put("myid", b"7");
    let error = refusal(&disk);
    assert!(matches!(error, Error::ZooKeeper { .. }));
    assert!(error.to_string().contains("ZooKeeper"));
}

#[test]
fn the_folder_of_another_server_is_refused() {
    let disk = MemoryDisk::new();
    drop(reopen(&disk));
    let other = Options { server: ServerId(8), ..options() };
    let error = open(disk.clone(), &other).err().unwrap();
    assert_eq!(error.to_string(), "memory belongs to server 7, and this is server 8");
}

#[test]
fn a_folder_of_a_newer_format_is_refused() {
    let disk = MemoryDisk::new();
    drop(reopen(&disk));
    let mut identity = disk.content("zokor-identity").unwrap();
    identity[8] = 2;
    disk.put("zokor-identity", &identity);
    assert!(matches!(refusal(&disk), Error::Newer { found: 2, known: 1, .. }));
}

#[test]
fn every_byte_of_the_identity_is_missed_when_it_is_damaged() {
    for at in 0..64 {
        let disk = MemoryDisk::new();
        drop(reopen(&disk));
        let mut identity = disk.content("zokor-identity").unwrap();
        identity[at] ^= 4;
        disk.put("zokor-identity", &identity);
        let error = refusal(&disk);
        assert!(matches!(error, Error::Damaged { .. } | Error::Newer { .. }), "byte {at}: {error}");
    }
}

#[test]
fn a_folder_that_is_in_use_is_refused_until_both_halves_are_dropped() {
    let disk = MemoryDisk::new();
    let Opened { wal, snapshots, .. } = reopen(&disk);
    assert!(matches!(refusal(&disk), Error::Locked { .. }));
    drop(wal);
    assert!(matches!(refusal(&disk), Error::Locked { .. }));
    drop(snapshots);
    reopen(&disk);
}

#[test]
fn log_and_snapshots_may_lie_apart() {
    let (data, log) = (MemoryDisk::new(), MemoryDisk::new());
    let mut opened = open_apart(data.clone(), log.clone(), &options()).unwrap();
    opened.wal.persist(&[append(1, 1, 9)]).unwrap();
    opened.snapshots.save(&snapshot(1, 5)).unwrap();
    drop(opened);
    let opened = open_apart(data.clone(), log.clone(), &options()).unwrap();
    assert_eq!((snapshot_index(&opened), indexes(&opened)), (5, vec![6, 7, 8, 9]));
    drop(opened);
    assert!(log.contents().keys().all(|name| !name.starts_with("snapshot")));
    assert!(data.contents().keys().all(|name| !name.starts_with("log")));

    // Neither folder goes with anything but the other.
    let empty = MemoryDisk::new;
    let is_mismatch = |found: Result<Opened<MemoryDisk>, Error>| {
        matches!(found.err(), Some(Error::Mismatch { .. }))
    };
    assert!(is_mismatch(open(data.clone(), &options())));
    assert!(is_mismatch(open(log.clone(), &options())));
    assert!(is_mismatch(open_apart(data.clone(), empty(), &options())));
    assert!(is_mismatch(open_apart(empty(), log.clone(), &options())));
    assert!(is_mismatch(open_apart(log.clone(), data.clone(), &options())));
    let other = Options { fresh_id: [1; 16], ..options() };
    let (data2, log2) = (empty(), empty());
    drop(open_apart(data2.clone(), log2.clone(), &other).unwrap());
    assert!(is_mismatch(open_apart(data2, log, &other)));
    assert!(is_mismatch(open_apart(data, log2, &options())));
}

#[test]
fn two_empty_folders_become_a_pair_in_spite_of_power_cuts() {
    for at in 0..16 {
        for in_log in [false, true] {
            let (data, log) = (MemoryDisk::new(), MemoryDisk::new());
            let stopping = if in_log { &log } else { &data };
            stopping.fault_at(at, crate::storage::Fault::Stop);
            drop(open_apart(data.clone(), log.clone(), &options()));
            data.crash(at);
            log.crash(at + 99);
            open_apart(data, log, &options()).unwrap();
        }
    }
}

#[test]
fn the_log_is_kept_as_far_back_as_the_second_newest_verified_snapshot() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    let first_kept = |disk: &MemoryDisk| {
        let names = disk.contents();
        let name =
            names.keys().find(|name| name.ends_with(".zk") && name.starts_with("log-")).unwrap();
        u64::from_str_radix(&name[13..29], 16).unwrap()
    };
    for index in 1..=100 {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
    }
    opened.wal.purge(Index(100)).unwrap();
    assert_eq!(first_kept(&disk), 1);
    opened.snapshots.save(&snapshot(1, 60)).unwrap();
    opened.wal.purge(Index(100)).unwrap();
    assert_eq!(first_kept(&disk), 1);
    opened.snapshots.save(&snapshot(1, 90)).unwrap();
    let (size, n) = (opened.wal.size_bytes(), opened.wal.segment_count());
    opened.wal.purge(Index(100)).unwrap();
    assert!((2..=61).contains(&first_kept(&disk)));
    assert!(opened.wal.size_bytes() < size && opened.wal.segment_count() < n);
    drop(opened);
    assert_eq!(indexes(&reopen(&disk)), (91..=100).collect::<Vec<_>>());
}

/// A log of which 60 entries of 100 were purged.
fn purged(disk: &MemoryDisk) -> Opened<MemoryDisk> {
    let mut opened = reopen(disk);
    for index in 1..=100 {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
    }
    opened.snapshots.save(&snapshot(1, 60)).unwrap();
    opened.snapshots.save(&snapshot(1, 61)).unwrap();
    opened.wal.purge(Index(60)).unwrap();
    opened
}

fn names(disk: &MemoryDisk, end: &str) -> Vec<String> {
    disk.contents().into_keys().filter(|name| name.ends_with(end)).collect()
}

fn open_segment(disk: &MemoryDisk) -> String {
    let names = names(disk, ".zk");
    names.into_iter().rfind(|name| name.starts_with("log-")).unwrap()
}

/// Appends until the segment in use was one before; the last index.
fn reach_a_used_file(disk: &MemoryDisk, opened: &mut Opened<MemoryDisk>) -> u64 {
    for index in 101.. {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
        let is_reused = disk.content(&open_segment(disk)).unwrap()[88] & 2 != 0;
        if is_reused {
            return index;
        }
    }
    unreachable!()
}

#[test]
fn purged_segments_become_later_ones_and_nothing_is_zeroed() {
    let disk = MemoryDisk::new();
    let mut opened = purged(&disk);
    let (n, n_used) = (opened.wal.segment_count(), names(&disk, ".used.tmp").len());
    assert!(n > 1 && n_used > 0 && n_used <= n, "{n} {n_used}");
    let mut index = 101;
    while !names(&disk, ".used.tmp").is_empty() {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
        index += 1;
        assert!(names(&disk, "spare.tmp").is_empty() || names(&disk, ".used.tmp").is_empty());
    }
    drop(opened);
    assert_eq!(indexes(&reopen(&disk)), (62..index).collect::<Vec<_>>());
}

#[test]
fn a_log_that_has_become_small_gives_its_room_back() {
    let disk = MemoryDisk::new();
    let mut opened = purged(&disk);
    assert!(names(&disk, ".used.tmp").len() > 1);
    opened.snapshots.save(&snapshot(1, 100)).unwrap();
    opened.snapshots.save(&snapshot(1, 101)).unwrap();
    opened.wal.purge(Index(100)).unwrap();
    assert_eq!((opened.wal.segment_count(), names(&disk, ".used.tmp").len()), (1, 1));
}

#[test]
fn what_waits_to_be_used_again_is_given_back_when_room_is_short() {
    let disk = MemoryDisk::new();
    let mut opened = purged(&disk);
    let n_used = names(&disk, ".used.tmp").len() as u64;
    disk.leave(Some(100));
    assert_eq!(opened.wal.free_bytes().unwrap(), 100 + n_used * (8 << 10));
    assert!(names(&disk, ".used.tmp").is_empty());
    assert!(!opened.wal.is_poisoned());
}

#[test]
fn what_a_file_held_as_an_earlier_segment_never_comes_back() {
    // A batch of one entry, then a stop: behind it stand the records of the earlier segment.
    for n in 1..25 {
        let disk = MemoryDisk::new();
        let mut opened = purged(&disk);
        let mut last = reach_a_used_file(&disk, &mut opened);
        for _ in 1..n {
            last += 1;
            opened.wal.persist(&[append(1, last, last)]).unwrap();
        }
        drop(opened);
        let opened = reopen(&disk);
        assert_eq!(indexes(&opened), (62..=last).collect::<Vec<_>>());
        assert_eq!(opened.report.cut, None, "nothing is torn");
    }
}

#[test]
fn a_batch_torn_over_an_earlier_segment_is_cut_and_never_comes_back() {
    let disk = MemoryDisk::new();
    let mut opened = purged(&disk);
    let last = reach_a_used_file(&disk, &mut opened);
    drop(opened);
    let name = open_segment(&disk);
    let before = disk.content(&name).unwrap();
    assert!(before[before.len() / 4 * 3..].iter().any(|byte| *byte != 0), "of the earlier segment");
    reopen(&disk).wal.persist(&[append(1, last + 1, last + 3)]).unwrap();
    let after = disk.content(&name).unwrap();
    let changed = |at: &usize| before[*at] != after[*at];
    let first = (0..after.len()).find(changed).unwrap();
    let end = (0..after.len()).rfind(changed).unwrap();
    for at in (first + 1..end).step_by(8) {
        let begun = [&after[..at], &before[at..]].concat();
        let ended = [&before[..at], &after[at..]].concat();
        for torn in [begun, ended] {
            disk.put(&name, &torn);
            let mut opened = reopen(&disk);
            assert_eq!(indexes(&opened), (62..=last).collect::<Vec<_>>(), "torn at {at}");
            opened
                .wal
                .persist(&[Persist { append: vec![entry(2, last + 1, 1)], ..nothing() }])
                .unwrap();
            drop(opened);
            let opened = reopen(&disk);
            assert_eq!(indexes(&opened), (62..=last + 1).collect::<Vec<_>>(), "torn at {at}");
            assert_eq!(opened.recovered.entries.last().unwrap().id.term, Term(2));
        }
    }
}

#[test]
fn purge_takes_no_more_than_it_is_asked_to() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    for index in 1..=100 {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
    }
    opened.snapshots.save(&snapshot(1, 80)).unwrap();
    opened.snapshots.save(&snapshot(1, 90)).unwrap();
    let n = opened.wal.segment_count();
    opened.wal.purge(Index(2)).unwrap();
    assert_eq!(opened.wal.segment_count(), n);
}

#[test]
fn the_newest_snapshots_are_kept_and_the_others_go() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    for index in [3, 5, 9, 12, 12, 11] {
        opened.snapshots.save(&snapshot(1, index)).unwrap();
    }
    assert_eq!(opened.snapshots.newest(), Some(Index(12)));
    let names = disk.contents();
    let kept: Vec<_> = names.keys().filter(|name| name.starts_with("snapshot")).collect();
    let expected = [5, 9, 12].map(|index| format!("snapshot-{index:016x}.zk"));
    assert_eq!(kept, expected.iter().collect::<Vec<_>>());
}

#[test]
fn fewer_snapshots_are_kept_where_they_take_too_much_room_and_never_fewer_than_two() {
    let kept = |budget: u64| {
        let disk = MemoryDisk::new();
        let mut options = options();
        (options.snapshots_kept, options.retained_bytes) = (5, budget);
        let mut opened = open(disk.clone(), &options).unwrap();
        for index in 1..=8 {
            opened.snapshots.save(&snapshot(1, index)).unwrap();
        }
        let names = disk.contents();
        let sizes = |prefix: &str| -> Vec<u64> {
            let files = names.iter().filter(|(name, _)| name.starts_with(prefix));
            files.map(|(_, bytes)| bytes.len() as u64).collect()
        };
        (sizes("snapshot").len(), sizes("log-0").iter().sum::<u64>(), sizes("snapshot")[0])
    };
    let (n, log, one) = kept(0);
    assert_eq!(n, 5);
    for (budget, expected) in [
        (log + 6 * one, 5),
        (log + 5 * one, 5),
        (log + 5 * one - 1, 4),
        (log + 3 * one, 3),
        (log + 3 * one - 1, 2),
        (1, 2),
    ] {
        assert_eq!(kept(budget).0, expected, "{budget}: {log} of log, {one} a snapshot");
    }
}

#[test]
fn a_full_disk_has_an_error_of_its_own_and_the_log_is_done_for() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    disk.fault_at(0, crate::storage::Fault::Full);
    assert!(matches!(opened.wal.persist(&[append(1, 1, 1)]), Err(Error::Full { .. })));
    assert!(matches!(opened.wal.persist(&[append(1, 1, 1)]), Err(Error::Poisoned)));
}

#[test]
fn a_disk_too_full_for_the_next_segment_does_not_stop_the_present_one() {
    // Writing and syncing the batch are the first two calls; then the spare is made and zeroed.
    for at in 2..5 {
        let disk = MemoryDisk::new();
        let mut opened = reopen(&disk);
        disk.fault_at(at, crate::storage::Fault::Full);
        opened.wal.persist(&[append(1, 1, 1)]).unwrap();
        assert!(!disk.contents().contains_key("log-spare.tmp"), "its room is given back");
        assert!(!opened.wal.idle().unwrap(), "there is nothing to do while it is full");
        for index in 2..=70 {
            opened.wal.persist(&[append(1, index, index)]).unwrap();
        }
        assert!(opened.wal.segment_count() > 1, "it was tried again");
        drop(opened);
        assert_eq!(indexes(&reopen(&disk)), (1..=70).collect::<Vec<_>>());
    }
}

#[test]
fn a_log_without_room_for_its_next_segment_waits_for_it_and_goes_on() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(1, 1, 1)]).unwrap();
    disk.leave(Some(0));
    let mut index = 2;
    let full = loop {
        match opened.wal.persist(&[append(1, index, index)]) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full { .. }), "{full}");
    assert!(index > 3, "the segment in use was used up first");
    assert!(!opened.wal.is_poisoned());
    assert!(opened.wal.persist(&[append(1, index, index)]).is_err(), "there is still none");
    assert!(!disk.contents().contains_key("log-spare.tmp"), "nothing is left of the attempt");
    opened.wal.mark().unwrap();
    opened.wal.purge(Index(1)).unwrap();
    disk.leave(None);
    opened.wal.persist(&[append(1, index, index)]).unwrap();
    opened.wal.persist(&[append(1, index + 1, index + 1)]).unwrap();
    drop(opened);
    assert_eq!(indexes(&reopen(&disk)), (1..=index + 1).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_without_room_leaves_nothing_behind_and_is_taken_later() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(1, 1, 9)]).unwrap();
    disk.leave(Some(10));
    let full = opened.snapshots.save(&snapshot(1, 5)).unwrap_err();
    assert!(matches!(full, Error::Full { .. }), "{full}");
    assert!(!opened.snapshots.is_poisoned());
    assert!(!disk.contents().contains_key("snapshot.tmp"));
    disk.leave(None);
    opened.snapshots.save(&snapshot(1, 5)).unwrap();
    assert_eq!(opened.snapshots.newest(), Some(Index(5)));
}

#[test]
fn an_error_of_storage_says_what_to_do() {
    let (place, file) = ("/data".to_owned(), "log-1".to_owned());
    let full = Error::Full { place: place.clone(), file: file.clone(), doing: "write" };
    assert!(full.to_string().ends_with("must then be started again"), "{full}");
    let gap = Error::Gap { place: place.clone(), first: Index(9), snapshot: Index(3) };
    let (offset, index, what) = (4096, Some(Index(7)), "torn".to_owned());
    let damaged = Error::Damaged { place, file, offset, index, what };
    for error in [gap, damaged] {
        let text = error.to_string();
        assert!(text.contains("leave this server stopped"), "{text}");
        assert!(text.contains("Never empty the folder"), "{text}");
    }
}

#[test]
fn a_batch_may_be_larger_than_a_segment() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(1, 1, 3)]).unwrap();
    let append_big = Persist { append: vec![entry(1, 4, 40_000)], ..nothing() };
    opened.wal.persist(&[append_big]).unwrap();
    opened.wal.persist(&[append(1, 5, 70)]).unwrap();
    drop(opened);
    assert_eq!(indexes(&reopen(&disk)), (1..=70).collect::<Vec<_>>());
}

#[test]
fn idle_steps_come_to_an_end() {
    let disk = MemoryDisk::new();
    let options = Options { segment_bytes: 3 << 20, ..options() };
    let mut opened = open(disk, &options).unwrap();
    let more = [(); 4].map(|()| opened.wal.idle().unwrap());
    assert_eq!(more, [true, false, false, false]);
}

#[test]
fn a_log_begins_small_and_its_segments_double_up_to_their_full_size() {
    let disk = MemoryDisk::new();
    let options = Options { segment_bytes: 3 << 20, ..options() };
    let mut wal = open(disk, &options).unwrap().wal;
    let mut sizes = vec![wal.size_bytes()];
    for index in 1..=80 {
        wal.persist(&[Persist { append: vec![entry(1, index, 100_000)], ..nothing() }]).unwrap();
        if wal.segment_count() > sizes.len() {
            sizes.push(wal.size_bytes() - sizes.iter().sum::<u64>());
        }
    }
    assert_eq!(sizes, [1 << 20, 2 << 20, 3 << 20, 3 << 20]);
}

#[test]
fn the_log_and_the_snapshots_work_from_two_threads() {
    let disk = MemoryDisk::new();
    let Opened { mut wal, mut snapshots, .. } = reopen(&disk);
    let saving = std::thread::spawn(move || {
        (1..=20).for_each(|index| snapshots.save(&snapshot(1, index)).unwrap());
    });
    for index in 1..=200 {
        wal.persist(&[append(1, index, index)]).unwrap();
        wal.purge(Index(index)).unwrap();
    }
    saving.join().unwrap();
    drop(wal);
    let opened = reopen(&disk);
    assert_eq!((snapshot_index(&opened), indexes(&opened)), (20, (21..=200).collect()));
}

#[test]
fn a_real_folder_keeps_what_it_is_given() {
    keep(|path| RealDisk::new(path).unwrap());
}

#[test]
fn a_real_folder_keeps_what_it_is_given_past_the_cache() {
    keep(|path| RealDisk::new(path).unwrap().direct());
}

fn keep(make: impl Fn(&std::path::Path) -> RealDisk) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let disk = || make(&path);
    let mut opened = open(disk(), &options()).unwrap();
    assert!(opened.report.is_new);
    for index in 1..=100 {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
        opened.wal.idle().unwrap();
    }
    opened.snapshots.save(&snapshot(1, 40)).unwrap();
    opened.snapshots.save(&snapshot(1, 60)).unwrap();
    opened.wal.purge(Index(60)).unwrap();
    assert!(opened.wal.free_bytes().unwrap() > 0);
    assert!(matches!(open(disk(), &options()), Err(Error::Locked { .. })));
    drop(opened);
    let opened = open(disk(), &options()).unwrap();
    assert_eq!(opened.recovered.snapshot.unwrap().meta, snapshot(1, 60).meta);
    let found: Vec<_> = opened.recovered.entries.iter().map(|entry| entry.id.index.0).collect();
    assert_eq!(found, (61..=100).collect::<Vec<_>>());
    drop((opened.wal, opened.snapshots));

    std::fs::create_dir(path.join("old")).unwrap();
    let old = RealDisk::new(path.join("old")).unwrap();
    std::fs::create_dir(path.join("old/version-2")).unwrap();
    assert!(matches!(open(old.clone(), &options()), Err(Error::ZooKeeper { .. })));
    assert_eq!(old.list().unwrap(), ["version-2"]);
}
