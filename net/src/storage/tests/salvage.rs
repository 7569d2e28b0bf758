//! What is left of a damaged log, and how a whole one takes its place.

use zokor_core::raft::Damage;

use super::*;
use crate::storage::disk::{Disk, DiskFile, Fault};

const HEAD: usize = 4096;
const FIRST_SEGMENT: &str = "log-00000001-0000000000000001.zk";

fn with_peers() -> Options {
    Options { has_peers: true, ..options() }
}

fn salvaged(disk: &MemoryDisk) -> Opened<MemoryDisk> {
    open(disk.clone(), &with_peers()).expect("others can help")
}

/// A hard state, entries 1 to 4 in two batches, 5 and 6 in a third, then 7 to 9; where each batch
/// ends.
fn written() -> (MemoryDisk, Vec<usize>) {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    let vote = Persist { hard_state: Some(hard_state(2, Some(3))), ..append(2, 3, 4) };
    let batches = [vec![append(1, 1, 2)], vec![vote], vec![append(2, 5, 6)], vec![append(2, 7, 9)]];
    let mut ends = Vec::new();
    for batch in &batches {
        opened.wal.persist(batch).unwrap();
        let content = disk.content(FIRST_SEGMENT).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        ends.push(used.next_multiple_of(8));
    }
    (disk, ends)
}

fn flip(disk: &MemoryDisk, name: &str, at: usize) {
    let mut content = disk.content(name).unwrap();
    content[at] ^= 0x10;
    disk.put(name, &content);
}

fn numbers(entries: &[SharedEntry<Txn>]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id.index.0).collect()
}

fn id(term: u64, index: u64) -> EntryId {
    EntryId { term: Term(term), index: Index(index) }
}

fn damage(opened: &Opened<MemoryDisk>) -> &Damage<Txn> {
    opened.recovered.damage.as_ref().expect("it is damaged")
}

/// It cannot be told from a torn tail, and may be what was acknowledged last.
#[test]
fn an_end_that_cannot_be_read_is_lost_and_not_torn() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(1, 1, 40)]).unwrap();
    opened.wal.mark().unwrap();
    for index in 41..=75 {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
    }
    drop(opened);
    let names = disk.contents().into_keys();
    let name = names.rev().find(|it| it.starts_with("log-") && it.ends_with(".zk")).unwrap();
    let content = disk.content(&name).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap();
    disk.lose_from(&name, (end - 100) / 4096 * 4096);
    let opened = open(disk, &Options { has_peers: true, ..options() }).unwrap();
    assert!(opened.recovered.damage.is_some_and(|damage| damage.is_end_lost));
}

#[test]
fn a_damaged_body_leaves_the_entry_s_name_and_all_others() {
    let (disk, ends) = written();
    flip(&disk, FIRST_SEGMENT, ends[1] + 60);
    let opened = salvaged(&disk);
    assert_eq!(numbers(&opened.recovered.entries), [1, 2, 3, 4]);
    assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)));
    let damage = damage(&opened);
    assert_eq!(numbers(&damage.behind), [6, 7, 8, 9]);
    assert_eq!((damage.named.as_slice(), damage.last), (&[id(2, 5)][..], id(2, 9)));
    assert!(damage.seams.is_empty() && !damage.is_vote_lost && !damage.is_end_lost);
}

/// Only bytes were hit that mean nothing: the log was written anew at once.
fn is_padding(opened: &Opened<MemoryDisk>) -> bool {
    let is_whole = opened.recovered.damage.is_none();
    if is_whole {
        assert_eq!(numbers(&opened.recovered.entries), (1..=9).collect::<Vec<_>>());
        assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)));
        assert!(opened.report.replaced.is_some());
    }
    is_whole
}

#[test]
fn every_byte_of_a_batch_may_rot_and_nothing_whole_is_lost_or_invented() {
    let (_, ends) = written();
    for at in HEAD..ends[2] {
        let (disk, _) = written();
        flip(&disk, FIRST_SEGMENT, at);
        let before = disk.content(FIRST_SEGMENT);
        let opened = salvaged(&disk);
        if is_padding(&opened) {
            continue;
        }
        let damage = damage(&opened);
        let all = [numbers(&opened.recovered.entries), numbers(&damage.behind)].concat();
        assert!(all.len() >= 7 && all.len() <= 8 + usize::from(damage.named.is_empty()), "{at}");
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "byte {at}: {all:?}");
        assert_eq!((damage.last, damage.is_end_lost), (id(2, 9), false), "byte {at}");
        for entry in opened.recovered.entries.iter().chain(&damage.behind) {
            let index = entry.id.index.0;
            let term = if index <= 2 { 1 } else { 2 };
            assert_eq!(**entry, *super::entry(term, index, 100), "byte {at}");
        }
        assert!(!damage.is_vote_lost, "byte {at}: the watermark knows it");
        assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)), "byte {at}");
        drop(opened);
        assert!(disk.content(FIRST_SEGMENT) == before, "byte {at}: the log is changed");
    }
}

#[test]
fn the_watermark_knows_the_vote_that_was_lost_though_half_of_it_is_lost_too() {
    let (_, ends) = written();
    for at in ends[0]..ends[1] {
        let (disk, _) = written();
        flip(&disk, ["watermark-0", "watermark-1"][at % 2], 42);
        flip(&disk, FIRST_SEGMENT, at);
        let opened = salvaged(&disk);
        let lost_vote = opened.recovered.damage.as_ref().map(|damage| damage.is_vote_lost);
        assert!(lost_vote == Some(false) || is_padding(&opened), "byte {at}");
        assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)), "byte {at}");
    }
}

#[test]
fn a_log_whose_end_is_gone_knows_its_votes_and_not_its_end() {
    let (disk, ends) = written();
    let mut opened = reopen(&disk);
    opened.wal.mark().unwrap();
    drop(opened);
    let mut content = disk.content(FIRST_SEGMENT).unwrap();
    content[ends[1]..].fill(0);
    disk.put(FIRST_SEGMENT, &content);
    let opened = salvaged(&disk);
    let damage = damage(&opened);
    assert!(damage.is_end_lost && !damage.is_vote_lost);
    assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)));
    assert_eq!(numbers(&opened.recovered.entries), [1, 2, 3, 4]);
}

#[test]
fn without_its_log_s_end_and_both_watermarks_a_server_does_not_know_its_votes() {
    let (_, ends) = written();
    for at in ends[0]..ends[1] {
        let (disk, _) = written();
        ["watermark-0", "watermark-1"].iter().for_each(|name| flip(&disk, name, 42));
        flip(&disk, FIRST_SEGMENT, at);
        let opened = salvaged(&disk);
        if !is_padding(&opened) && !damage(&opened).is_vote_lost {
            assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)), "byte {at}");
        }
    }
}

#[test]
fn a_whole_log_takes_the_place_of_the_damaged_one_at_one_stroke() {
    for n_calls in 0..40 {
        let (disk, ends) = written();
        flip(&disk, FIRST_SEGMENT, ends[1] + 60);
        let mut opened = salvaged(&disk);
        let all = (1..=9).map(|index| entry(if index <= 2 { 1 } else { 2 }, index, 100));
        let whole = Persist {
            hard_state: Some(hard_state(2, Some(3))),
            reset: Some(SnapshotMeta::default()),
            append: all.collect(),
            ..nothing()
        };
        disk.fault_at(n_calls, Fault::Stop);
        let done = opened.wal.persist(&[whole]).is_ok()
            && opened.wal.persist(&[append(3, 10, 10)]).is_ok();
        drop(opened);
        disk.crash(n_calls);
        let opened = salvaged(&disk);
        match &opened.recovered.damage {
            Some(damage) => {
                assert!(!done);
                assert_eq!(numbers(&damage.behind), [6, 7, 8, 9]);
            }
            None => {
                let found = numbers(&opened.recovered.entries);
                assert!(found == (1..=9).collect::<Vec<_>>() || found.len() == 10, "{found:?}");
                assert!(!done || found.len() == 10);
                assert_eq!(
                    disk.list().unwrap().iter().filter(|n| n.starts_with("log-")).count(),
                    1
                );
            }
        }
        assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)));
        if done {
            return;
        }
    }
    panic!("it is never done");
}

#[test]
fn what_a_snapshot_holds_is_not_missed() {
    let (disk, ends) = written();
    let mut opened = reopen(&disk);
    opened.snapshots.save(&snapshot(2, 6)).unwrap();
    drop(opened);
    flip(&disk, FIRST_SEGMENT, ends[1] + 60);
    let mut opened = salvaged(&disk);
    assert_eq!(numbers(&opened.recovered.entries), [7, 8, 9]);
    assert!(opened.recovered.damage.is_none() && opened.report.replaced.is_some());
    opened.wal.persist(&[append(2, 10, 10)]).unwrap();
    drop(opened);
    assert_eq!(numbers(&reopen(&disk).recovered.entries), [7, 8, 9, 10]);
}

#[test]
fn a_segment_s_lost_head_costs_nothing_but_doubt() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    for index in 1..=60 {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
    }
    drop(opened);
    let names = disk.list().unwrap();
    let second = names.iter().find(|name| name.starts_with("log-00000002")).unwrap();
    flip(&disk, second, 50);
    let opened = salvaged(&disk);
    match &opened.recovered.damage {
        None => assert_eq!(opened.recovered.entries.len(), 60),
        Some(damage) => assert_eq!(opened.recovered.entries.len() + damage.behind.len(), 60),
    }
}

#[test]
fn a_vote_that_is_lost_brings_no_doubt_to_the_next_segment_which_repeats_it() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(1, 1, 2)]).unwrap();
    let content = disk.content(FIRST_SEGMENT).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let vote = Persist { hard_state: Some(hard_state(2, Some(3))), ..nothing() };
    opened.wal.persist(&[vote]).unwrap();
    for index in 3..=60 {
        opened.wal.persist(&[append(2, index, index)]).unwrap();
    }
    assert!(opened.wal.segment_count() > 1);
    drop(opened);
    flip(&disk, FIRST_SEGMENT, end.next_multiple_of(8) + 8);
    let opened = salvaged(&disk);
    assert_eq!(damage(&opened).seams, [Index(3)].into());
    assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)));
}

/// The log as it is when the disk has put batch `i` at `place`, and what came later where it
/// belongs.
fn gone_astray(i: usize, place: usize) -> MemoryDisk {
    let (disk, ends) = written();
    let mut content = disk.content(FIRST_SEGMENT).unwrap();
    let starts = [&[HEAD], &ends[..]].concat();
    let batches: Vec<Vec<u8>> =
        starts.windows(2).map(|pair| content[pair[0]..pair[1]].to_vec()).collect();
    content[HEAD..].fill(0);
    for (n, batch) in batches.iter().enumerate() {
        let at = if n == i { place } else { starts[n] };
        let n_bytes = batch.len().min(content.len() - at);
        content[at..at + n_bytes].copy_from_slice(&batch[..n_bytes]);
    }
    disk.put(FIRST_SEGMENT, &content);
    disk
}

#[test]
fn a_batch_that_the_disk_puts_elsewhere_is_taken_or_missed_and_never_forgotten() {
    let (_, ends) = written();
    let starts = [&[HEAD], &ends[..]].concat();
    let (mut n_whole, mut n_known) = (0, 0);
    for i in 0..ends.len() {
        // A header fits in everywhere.
        for place in (HEAD..(8 << 10) - 47).step_by(8).filter(|place| *place != starts[i]) {
            let disk = gone_astray(i, place);
            assert!(open(disk.clone(), &options()).is_err(), "batch {i} at {place}: alone");
            let opened = salvaged(&disk);
            let found = &opened.recovered;
            assert_eq!(found.hard_state, hard_state(2, Some(3)), "batch {i} at {place}");
            let behind = found.damage.as_ref().map(|damage| damage.behind.clone());
            let all = numbers(&[found.entries.clone(), behind.unwrap_or_default()].concat());
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "batch {i} at {place}: {all:?}");
            let last = found.damage.as_ref().map_or(id(2, all.len() as u64), |damage| damage.last);
            let is_lost = found.damage.as_ref().is_some_and(|damage| damage.is_end_lost);
            assert!(is_lost || last == id(2, 9), "batch {i} at {place}: {last:?} is the last");
            let is_free = place >= ends[3] && place + (ends[i] - starts[i]) <= 8 << 10;
            assert!(!is_free || found.damage.is_none(), "batch {i} at {place}: all is there");
            n_whole += usize::from(found.damage.is_none());
            n_known += usize::from(!is_lost);
        }
    }
    assert!(n_whole > 500 && n_known > n_whole, "{n_whole} whole, {n_known} with a known end");
}

#[test]
fn an_entry_in_another_s_place_is_a_gap_and_not_believed() {
    let (disk, ends) = written();
    let mut file = disk.open(FIRST_SEGMENT).unwrap();
    let content = disk.content(FIRST_SEGMENT).unwrap();
    // The last batch, once more, over the second.
    file.write_at(ends[0] as u64, &content[ends[2]..ends[2] + (ends[1] - ends[0])]).unwrap();
    let opened = salvaged(&disk);
    let damage = damage(&opened);
    let all = [numbers(&opened.recovered.entries), numbers(&damage.behind)].concat();
    assert_eq!(all, [1, 2, 5, 6, 7, 8, 9]);
}
