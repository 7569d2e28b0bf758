//! The disk forgets what it may forget, keeps what it must keep, and fails as it is told.

use super::*;
use crate::rng::Concern;

const SECTOR: usize = 512;

fn disk(seed: u64) -> SectorDisk {
    SectorDisk::new(Stream::new(seed, Concern::Disk(1)), SECTOR)
}

fn file(disk: &SectorDisk, name: &str, content: &[u8]) -> SectorFile {
    let mut file = disk.create(name).unwrap();
    file.write_durable(0, content).unwrap();
    disk.sync_folder().unwrap();
    file
}

fn content(disk: &SectorDisk, name: &str) -> Vec<u8> {
    disk.contents()[name].clone()
}

#[test]
fn what_was_synced_survives_and_each_other_sector_is_kept_lost_or_torn() {
    let (mut kept, mut lost, mut torn, mut mixed) = (0, 0, 0, 0);
    for seed in 0..200 {
        let disk = disk(seed);
        let mut file = file(&disk, "a", &[1; 4 * SECTOR]);
        file.write_at(SECTOR as u64, &[2; 2 * SECTOR]).unwrap();
        disk.cut_power();
        let found = content(&disk, "a");
        assert_eq!(found.len(), 4 * SECTOR);
        assert!(found[..SECTOR].iter().chain(&found[3 * SECTOR..]).all(|&byte| byte == 1));
        let parts = [&found[SECTOR..2 * SECTOR], &found[2 * SECTOR..3 * SECTOR]];
        let counts = parts.map(|part| part.iter().filter(|&&byte| byte == 2).count());
        for count in counts {
            match count {
                0 => lost += 1,
                SECTOR => kept += 1,
                _ => torn += 1,
            }
        }
        mixed += usize::from(counts[0] == 0 && counts[1] == SECTOR);
    }
    assert!(kept > 50 && lost > 50 && torn > 50 && mixed > 5, "{kept} {lost} {torn} {mixed}");
}

#[test]
fn a_rename_without_a_sync_of_the_folder_leaves_the_old_name_or_the_new_one() {
    let mut names = BTreeSet::new();
    for seed in 0..50 {
        let disk = disk(seed);
        drop(file(&disk, "old", &[1]));
        disk.rename("old", "new").unwrap();
        disk.cut_power();
        let found = disk.list().unwrap();
        assert_eq!(found.len(), 1);
        names.extend(found);
    }
    assert_eq!(names, BTreeSet::from(["new".to_owned(), "old".to_owned()]));
}

#[test]
fn after_a_failed_sync_all_counts_as_clean_and_may_be_lost() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = disk(seed);
        let mut file = file(&disk, "log-1", &[1; SECTOR]);
        file.write_at(0, &[2; SECTOR]).unwrap();
        disk.arm(0, Fault::Sync);
        assert!(file.sync().is_err());
        assert!(file.sync().is_ok(), "the second call lies");
        assert_eq!(content(&disk, "log-1"), [2; SECTOR]);
        disk.cut_power();
        lost += usize::from(content(&disk, "log-1") != [2; SECTOR]);
    }
    assert!((20..50).contains(&lost), "{lost}");
}

#[test]
fn a_lost_write_is_there_until_the_power_is_cut() {
    let disk = disk(1);
    let mut file = file(&disk, "log-1", &[1; 4 * SECTOR]);
    disk.arm(0, Fault::LostWrite);
    file.write_durable(0, &[2; SECTOR]).unwrap();
    file.write_durable(2 * SECTOR as u64, &[3; SECTOR]).unwrap();
    assert_eq!(content(&disk, "log-1")[0], 2);
    assert!(disk.is_spoilt());
    disk.cut_power();
    let found = content(&disk, "log-1");
    assert_eq!((found[0], found[2 * SECTOR]), (1, 3));
    assert!(disk.take_met().contains(Fault::LostWrite.probe()));
}

#[test]
fn the_last_batch_of_a_log_is_neither_lost_nor_rotten() {
    for seed in 0..50 {
        let disk = disk(seed);
        let mut file = file(&disk, "log-1", &[1; 4 * SECTOR]);
        disk.arm(0, Fault::LostWrite);
        file.write_durable(SECTOR as u64, &[2; SECTOR]).unwrap();
        assert!(disk.spoil(false, ""));
        disk.cut_power();
        assert_eq!(content(&disk, "log-1")[SECTOR..2 * SECTOR], [2; SECTOR]);
    }
}

#[test]
fn the_last_batch_of_a_log_may_rot_when_a_watermark_vouches_for_it_and_then_that_may_not() {
    let mut n_rotten = 0;
    for seed in 0..50 {
        let disk = disk(seed);
        let mut log = file(&disk, "log-1", &[0; 4 * SECTOR]);
        log.write_durable(0, &[2; SECTOR]).unwrap();
        assert!(!disk.spoil(false, "log-"), "there is nothing but the last batch");
        let mut mark = file(&disk, "watermark-0", &[0; 48]);
        mark.write_durable(0, &[3; 48]).unwrap();
        assert!(disk.spoil(false, "log-"));
        assert!(!disk.spoil(false, "watermark-") && !disk.spoil(true, "watermark-"));
        n_rotten += usize::from(content(&disk, "log-1")[..SECTOR] != [2; SECTOR]);
        log.write_durable(SECTOR as u64, &[4; SECTOR]).unwrap();
        assert!(
            !disk.spoil(false, "log-")
                || content(&disk, "log-1")[SECTOR..2 * SECTOR] == [4; SECTOR]
        );
    }
    assert!(n_rotten > 0);
}

#[test]
fn a_watermark_that_has_rotted_vouches_for_nothing_until_one_is_written() {
    for seed in 0..50 {
        let disk = disk(seed);
        let mut log = file(&disk, "log-00000001", &[0; 4 * SECTOR]);
        log.write_durable(0, &[2; SECTOR]).unwrap();
        disk.note_vote();
        let mut mark = file(&disk, "watermark-0", &[3; 48]);
        assert!(disk.spoil(seed % 2 == 0, "watermark-"));
        assert!(!disk.spoil(false, "log-") && !disk.spoil_vote());
        mark.write_durable(0, &[3; 48]).unwrap();
        assert!(disk.spoil_vote());
        assert_ne!(content(&disk, "log-00000001")[..SECTOR], [2; SECTOR]);
        assert!(!disk.spoil(false, "watermark-"), "it is all that tells of it");
    }
}

#[test]
fn the_last_batch_of_a_log_is_not_lost_with_a_write_behind_it_that_was_never_synced() {
    for seed in 0..50 {
        let disk = disk(seed);
        let mut file = file(&disk, "log-1", &[1; 4 * SECTOR]);
        disk.arm(0, Fault::LostWrite);
        file.write_durable(SECTOR as u64, &[2; SECTOR / 2]).unwrap();
        file.write_at((SECTOR + SECTOR / 2) as u64, &[3; SECTOR / 2]).unwrap();
        disk.cut_power();
        assert_eq!(content(&disk, "log-1")[SECTOR..SECTOR + SECTOR / 2], [2; SECTOR / 2]);
    }
}

#[test]
fn the_last_batch_of_a_log_is_not_lost_with_a_write_behind_it_whose_sync_failed() {
    for seed in 0..50 {
        let disk = disk(seed);
        let mut file = file(&disk, "log-1", &[1; 4 * SECTOR]);
        disk.arm(0, Fault::LostWrite);
        file.write_durable(SECTOR as u64, &[2; SECTOR / 2]).unwrap();
        disk.arm(0, Fault::Sync);
        assert!(file.write_durable((SECTOR + SECTOR / 2) as u64, &[3; SECTOR / 2]).is_err());
        disk.cut_power();
        assert_eq!(content(&disk, "log-1")[SECTOR..SECTOR + SECTOR / 2], [2; SECTOR / 2]);
    }
}

#[test]
fn a_misdirected_write_lands_elsewhere_in_the_file() {
    let (mut hit, mut missed) = (0, 0);
    for seed in 0..100 {
        let disk = disk(seed);
        let mut file = file(&disk, "a", &[1; 16 * SECTOR]);
        disk.arm(0, Fault::Misdirected);
        file.write_durable(3 * SECTOR as u64, &[2; SECTOR]).unwrap();
        disk.cut_power();
        let found = content(&disk, "a");
        assert_eq!(found[3 * SECTOR], 1);
        match found.iter().filter(|&&byte| byte == 2).count() {
            SECTOR => hit += 1,
            n => missed += usize::from(n == 0),
        }
    }
    assert_eq!(hit + missed, 100);
    assert!(hit > 50, "{hit}");
}

#[test]
fn an_unreadable_sector_fails_to_read_until_it_is_written() {
    let disk = disk(3);
    let mut file = file(&disk, "a", &[1; SECTOR]);
    assert!(disk.spoil(true, ""));
    assert!(file.read_at(0, &mut [0; 8]).is_err());
    file.write_durable(0, &[2; SECTOR]).unwrap();
    file.read_at(0, &mut [0; 8]).unwrap();
    assert!(!disk.is_spoilt());
}

#[test]
fn rot_changes_one_sector() {
    let disk = disk(4);
    drop(file(&disk, "a", &[1; 4 * SECTOR]));
    assert!(disk.spoil(false, ""));
    let found = content(&disk, "a");
    let changed = found.chunks(SECTOR).filter(|part| part.iter().any(|&byte| byte != 1)).count();
    assert_eq!(changed, 1);
}

#[test]
fn a_full_disk_takes_nothing_more_until_there_is_room() {
    let disk = disk(5);
    let mut file = file(&disk, "a", &[1; SECTOR]);
    disk.leave(Some(100));
    assert_eq!(disk.free_bytes().unwrap(), 100);
    file.write_at(0, &[2; SECTOR]).unwrap();
    let error = file.write_at(SECTOR as u64, &[3; 200]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(disk.free_bytes().unwrap(), 0);
    disk.leave(None);
    file.write_at(SECTOR as u64, &[3; 200]).unwrap();
}

#[test]
fn a_machine_that_stops_does_nothing_more() {
    let disk = disk(6);
    let mut file = file(&disk, "a", &[1; SECTOR]);
    disk.arm(1, Fault::Stop);
    file.write_at(0, &[2; SECTOR]).unwrap();
    assert!(file.sync().is_err());
    assert!(file.sync().is_err() && file.read_at(0, &mut [0]).is_err());
    assert!(disk.sync_folder().is_err());
    disk.cut_power();
    disk.sync_folder().unwrap();
    assert!(file.size().is_err(), "it belongs to an earlier life");
}

#[test]
fn equal_seeds_forget_alike() {
    let run = |seed| {
        let disk = disk(seed);
        let mut file = file(&disk, "a", &[1; 8 * SECTOR]);
        file.write_at(0, &[2; 8 * SECTOR]).unwrap();
        disk.cut_power();
        content(&disk, "a")
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
