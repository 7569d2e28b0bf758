//! States that turned out to be wrong: they are remembered, kept for people, and replaced.

use super::*;
use crate::storage::Fault;

/// A snapshot up to `index` with other content than [`snapshot`] has.
fn other(index: u64) -> Snapshot {
    let Snapshot { meta, zxid, .. } = snapshot(1, index);
    Snapshot { meta, zxid, image: image(zxid, 30) }
}

fn names(disk: &MemoryDisk, start: &str) -> Vec<String> {
    disk.contents().into_keys().filter(|name| name.starts_with(start)).collect()
}

fn has_mark(disk: &MemoryDisk) -> bool {
    !names(disk, "zokor-distrust").is_empty()
}

/// A folder with two wrong snapshots, which it knows to be wrong.
fn distrusted(disk: &MemoryDisk) -> Opened<MemoryDisk> {
    let mut opened = reopen(disk);
    opened.wal.persist(&[append(1, 1, 40)]).unwrap();
    opened.snapshots.save(&snapshot(1, 10)).unwrap();
    opened.snapshots.save(&snapshot(1, 20)).unwrap();
    let kept = opened.snapshots.distrust("they differ", &snapshot(1, 25)).unwrap();
    assert_eq!(kept.as_deref(), Some("evidence-0000000000000019.zk"));
    opened
}

#[test]
fn a_wrong_state_is_remembered_over_a_restart_until_a_right_one_has_taken_its_place() {
    let disk = MemoryDisk::new();
    drop(distrusted(&disk));
    let mut opened = reopen(&disk);
    assert!(opened.recovered.is_distrusted && opened.report.is_distrusted);
    assert!(opened.report.to_string().contains("the state was found to be wrong"));
    assert_eq!((snapshot_index(&opened), indexes(&opened).len()), (20, 20), "the log is whole");
    assert_eq!(opened.snapshots.newest(), None, "none counts");
    let damage = crate::storage::inspect(&disk, None).unwrap().damage;
    assert!(matches!(&damage[..], [Error::Mismatch { .. }]), "{damage:?}");
    opened.snapshots.save(&other(26)).unwrap();
    opened.snapshots.trust(Index(26)).unwrap();
    assert!(!has_mark(&disk));
    assert_eq!(names(&disk, "snapshot"), ["snapshot-000000000000001a.zk"]);
    let kept = ["evidence-0000000000000014.zk", "evidence-0000000000000019.zk"];
    assert_eq!(names(&disk, "evidence"), kept, "as it was on disk and in memory");
    drop(opened);
    let opened = reopen(&disk);
    assert!(!opened.recovered.is_distrusted);
    assert_eq!(snapshot_index(&opened), 26);
    assert_eq!(opened.snapshots.newest(), Some(Index(26)));
}

#[test]
fn a_right_snapshot_takes_the_place_of_a_wrong_one_of_the_same_index() {
    let disk = MemoryDisk::new();
    let mut opened = distrusted(&disk);
    opened.snapshots.save(&other(20)).unwrap();
    opened.snapshots.trust(Index(20)).unwrap();
    drop(opened);
    let found = reopen(&disk).recovered.snapshot.unwrap();
    assert_eq!(
        (found.meta.last.index, found.image.digest()),
        (Index(20), other(20).image.digest())
    );
}

#[test]
fn the_log_keeps_what_a_right_snapshot_does_not_cover_yet() {
    let disk = MemoryDisk::new();
    let mut opened = distrusted(&disk);
    opened.wal.purge(Index(40)).unwrap();
    drop(opened);
    let opened = reopen(&disk);
    assert_eq!((snapshot_index(&opened), indexes(&opened).len()), (20, 20));
}

#[test]
fn a_mark_that_is_half_made_is_none_and_one_that_is_made_lasts() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.snapshots.save(&snapshot(1, 10)).unwrap();
    drop(opened);
    let before = disk.contents();
    let mut n_marked = 0;
    for n in 0.. {
        let disk = MemoryDisk::new();
        before.iter().for_each(|(name, content)| disk.put(name, content));
        let mut opened = reopen(&disk);
        disk.fault_at(n, Fault::Stop);
        let done = opened.snapshots.distrust("they differ", &other(12)).is_ok();
        drop(opened);
        disk.crash(n);
        let opened = reopen(&disk);
        assert_eq!(snapshot_index(&opened), 10, "stopped at {n}");
        assert!(names(&disk, "zokor-distrust.tmp").is_empty(), "stopped at {n}");
        n_marked += u64::from(opened.recovered.is_distrusted);
        assert!(opened.recovered.is_distrusted || !done, "stopped at {n}");
        if done {
            break;
        }
    }
    assert!(n_marked > 2, "{n_marked}");
}

#[test]
fn trust_that_is_cut_short_is_no_trust_and_harms_nothing() {
    for n in 0.. {
        let disk = MemoryDisk::new();
        let mut opened = distrusted(&disk);
        opened.snapshots.save(&other(26)).unwrap();
        disk.fault_at(n, Fault::Stop);
        let done = opened.snapshots.trust(Index(26)).is_ok();
        drop(opened);
        disk.crash(n);
        let opened = reopen(&disk);
        assert_eq!(snapshot_index(&opened), 26, "stopped at {n}");
        assert!(opened.recovered.is_distrusted || names(&disk, "snapshot").len() == 1);
        if done {
            assert!(!opened.recovered.is_distrusted);
            break;
        }
    }
}

#[test]
fn what_there_is_no_room_for_is_remembered_without_its_evidence_or_asked_again() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.snapshots.save(&snapshot(1, 10)).unwrap();
    disk.leave(Some(2));
    let full = opened.snapshots.distrust("they differ", &snapshot(1, 12)).err().unwrap();
    assert!(matches!(full, Error::Full { .. }) && !opened.snapshots.is_poisoned(), "{full}");
    assert!(!has_mark(&disk));
    disk.leave(Some(200));
    assert_eq!(opened.snapshots.distrust("they differ", &snapshot(1, 12)).unwrap(), None);
    assert!(has_mark(&disk) && !opened.snapshots.is_poisoned());
    assert_eq!(names(&disk, "evidence"), Vec::<String>::new());
    disk.leave(None);
    opened.snapshots.save(&other(12)).unwrap();
    opened.snapshots.trust(Index(12)).unwrap();
    assert!(!has_mark(&disk));
}

#[test]
fn evidence_of_the_last_occasions_is_kept_and_no_more() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(1, 1, 40)]).unwrap();
    for occasion in 1..=5 {
        let index = occasion * 100;
        opened.snapshots.save(&snapshot(1, index)).unwrap();
        opened.snapshots.distrust("they differ", &snapshot(1, index + 5)).unwrap();
        opened.snapshots.save(&other(index + 6)).unwrap();
        opened.snapshots.trust(Index(index + 6)).unwrap();
    }
    let kept = [400u64, 405, 500, 505].map(|index| format!("evidence-{index:016x}.zk"));
    assert_eq!(names(&disk, "evidence"), kept);
}
