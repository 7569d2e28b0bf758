//! Bytes that are not what they were: what is torn is cut, what is damaged is refused.

use std::io;

use super::*;
use crate::storage::disk::{Disk, MemoryFile, MemoryLock};

const HEAD: usize = 4096;
const FIRST_SEGMENT: &str = "log-00000001-0000000000000001.zk";

/// A closed folder after these batches, and where each of them ends in the first segment.
fn written(batches: &[Vec<Persist<Txn>>]) -> (MemoryDisk, Vec<usize>) {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    let mut ends = Vec::new();
    for batch in batches {
        opened.wal.persist(batch).unwrap();
        let content = disk.content(FIRST_SEGMENT).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        ends.push(used.next_multiple_of(8));
    }
    (disk, ends)
}

fn three_batches() -> Vec<Vec<Persist<Txn>>> {
    let vote = Persist { hard_state: Some(hard_state(2, Some(3))), ..append(2, 3, 4) };
    vec![vec![append(1, 1, 2)], vec![vote], vec![append(2, 5, 5), append(2, 6, 6)]]
}

fn flip(disk: &MemoryDisk, name: &str, at: usize) {
    let mut content = disk.content(name).unwrap();
    content[at] ^= 0x10;
    disk.put(name, &content);
}

#[test]
fn every_byte_of_a_batch_before_the_last_is_missed_when_it_is_damaged() {
    let (_, ends) = written(&three_batches());
    for at in HEAD..ends[1] {
        let (disk, _) = written(&three_batches());
        flip(&disk, FIRST_SEGMENT, at);
        let before = disk.contents();
        match refusal(&disk) {
            Error::Damaged { file, offset, index: Some(index), .. } => {
                assert_eq!(file, FIRST_SEGMENT);
                assert!(offset as usize <= at && at < offset as usize + 300, "{offset} and {at}");
                assert!((1..=4).contains(&index.0));
            }
            error => panic!("byte {at}: {error}"),
        }
        assert_eq!(disk.contents(), before);
    }
}

#[test]
fn a_damaged_last_batch_is_cut_as_a_whole() {
    let (_, ends) = written(&three_batches());
    for at in ends[1]..ends[2] {
        let (disk, _) = written(&three_batches());
        flip(&disk, FIRST_SEGMENT, at);
        let mut opened = reopen(&disk);
        assert_eq!(indexes(&opened), [1, 2, 3, 4], "byte {at}");
        assert_eq!(opened.recovered.hard_state, hard_state(2, Some(3)));
        assert_eq!(opened.report.cut.as_ref().unwrap().offset as usize, ends[1]);
        opened.wal.persist(&[append(3, 5, 5)]).unwrap();
        drop(opened);
        assert_eq!(indexes(&reopen(&disk)), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_damaged_last_batch_that_was_marked_is_refused() {
    let (_, ends) = written(&three_batches());
    for at in ends[1]..ends[2] {
        let disk = marked();
        flip(&disk, FIRST_SEGMENT, at);
        let before = disk.contents();
        match refusal(&disk) {
            Error::Damaged { file, index: Some(index), what, .. } => {
                assert_eq!((file.as_str(), index.0), (FIRST_SEGMENT, index.0.clamp(5, 6)));
                assert!(what.contains("by watermark-0 there were 3"), "{what}");
            }
            error => panic!("byte {at}: {error}"),
        }
        assert_eq!(disk.contents(), before);
    }
}

#[test]
fn a_log_whose_marked_end_is_gone_is_refused() {
    let (_, ends) = written(&three_batches());
    for end in [HEAD, ends[0], ends[1]] {
        let disk = marked();
        let mut content = disk.content(FIRST_SEGMENT).unwrap();
        content[end..].fill(0);
        disk.put(FIRST_SEGMENT, &content);
        assert!(matches!(refusal(&disk), Error::Damaged { .. }), "nothing behind {end}");
    }
}

#[test]
fn what_comes_after_the_mark_may_be_torn() {
    let disk = marked();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(2, 7, 9)]).unwrap();
    drop(opened);
    let mut content = disk.content(FIRST_SEGMENT).unwrap();
    let last = content.iter().rposition(|byte| *byte != 0).unwrap();
    content[last] = 0;
    disk.put(FIRST_SEGMENT, &content);
    let opened = reopen(&disk);
    assert_eq!(indexes(&opened), [1, 2, 3, 4, 5, 6]);
    assert!(opened.report.cut.is_some());
}

#[test]
fn a_damaged_watermark_is_told_and_stops_nobody() {
    let disk = marked();
    flip(&disk, "watermark-0", 40);
    let opened = reopen(&disk);
    assert_eq!(indexes(&opened), [1, 2, 3, 4, 5, 6]);
    assert!(opened.report.to_string().ends_with("; damaged: watermark-0"), "{}", opened.report);
}

/// Three batches, and the note that they are durable.
fn marked() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    three_batches().iter().for_each(|batch| opened.wal.persist(batch).unwrap());
    opened.wal.mark().unwrap();
    disk
}

#[test]
fn a_batch_torn_at_any_byte_is_cut() {
    let (_, ends) = written(&three_batches());
    for at in ends[1] + 1..ends[2] {
        let (disk, _) = written(&three_batches());
        let mut content = disk.content(FIRST_SEGMENT).unwrap();
        let is_change = content[at..].iter().any(|byte| *byte != 0);
        content[at..].fill(0);
        disk.put(FIRST_SEGMENT, &content);
        let expected = if is_change { vec![1, 2, 3, 4] } else { vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(indexes(&reopen(&disk)), expected);
    }
}

#[test]
fn a_batch_whose_first_bytes_never_came_is_cut() {
    let (_, ends) = written(&three_batches());
    for at in ends[1] + 1..ends[2] {
        let (disk, _) = written(&three_batches());
        let mut content = disk.content(FIRST_SEGMENT).unwrap();
        content[ends[1]..at].fill(0);
        disk.put(FIRST_SEGMENT, &content);
        assert_eq!(indexes(&reopen(&disk)), [1, 2, 3, 4]);
    }
}

#[test]
fn the_tail_of_a_torn_batch_never_comes_back() {
    let (disk, ends) = written(&three_batches());
    let mut content = disk.content(FIRST_SEGMENT).unwrap();
    content[ends[1]] ^= 1;
    disk.put(FIRST_SEGMENT, &content);
    drop(reopen(&disk));
    let content = disk.content(FIRST_SEGMENT).unwrap();
    assert!(content[ends[1]..].iter().all(|byte| *byte == 0));
}

#[test]
fn noise_behind_the_log_is_cut() {
    let (disk, ends) = written(&three_batches());
    let mut content = disk.content(FIRST_SEGMENT).unwrap();
    for (i, byte) in content[ends[2]..].iter_mut().enumerate() {
        *byte = (i * 31 % 251) as u8;
    }
    disk.put(FIRST_SEGMENT, &content);
    assert_eq!(indexes(&reopen(&disk)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_record_that_a_client_made_up_does_not_look_like_one_of_ours() {
    let (disk, ends) = written(&three_batches());
    let mut content = disk.content(FIRST_SEGMENT).unwrap();
    // Torn, and behind it the record of another folder, whose batch is a later one.
    let mut made_up = bytes::BytesMut::new();
    let mut writer = crate::storage::record::BatchWriter::new(1, 99, 0, &mut made_up);
    let kind = crate::storage::record::Kind::Truncate(Index(1));
    writer.push(kind, |_| ());
    writer.finish().unwrap();
    content[ends[2]..ends[2] + made_up.len()].copy_from_slice(&made_up);
    disk.put(FIRST_SEGMENT, &content);
    assert_eq!(indexes(&reopen(&disk)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn every_byte_of_a_head_is_missed_when_it_is_damaged() {
    for at in (0..200).chain(HEAD - 8..HEAD) {
        let (disk, _) = written(&three_batches());
        flip(&disk, FIRST_SEGMENT, at);
        let before = disk.contents();
        let error = refusal(&disk);
        let is_newer = matches!(error, Error::Newer { .. }) && (8..12).contains(&at);
        assert!(is_newer || matches!(error, Error::Damaged { .. }), "byte {at}: {error}");
        assert_eq!(disk.contents(), before);
    }
}

/// A closed folder with three segments or more.
fn long_log() -> (MemoryDisk, Vec<String>) {
    let batches: Vec<_> = (1..=60).map(|index| vec![append(1, index, index)]).collect();
    let (disk, _) = written(&batches);
    let names = disk.contents().into_keys().filter(|name| name.ends_with(".zk")).collect();
    (disk, names)
}

#[test]
fn the_last_batch_of_a_segment_is_not_torn_if_another_segment_follows() {
    let (disk, names) = long_log();
    assert!(names.len() >= 3);
    let content = disk.content(&names[0]).unwrap();
    let last = content.iter().rposition(|byte| *byte != 0).unwrap();
    flip(&disk, &names[0], last - 20);
    let before = disk.contents();
    match refusal(&disk) {
        Error::Damaged { file, .. } => assert_eq!(file, names[0]),
        error => panic!("{error}"),
    }
    assert_eq!(disk.contents(), before);
}

#[test]
fn a_segment_that_is_missing_is_missed() {
    use crate::storage::Disk;

    let (disk, names) = long_log();
    disk.remove(&names[1]).unwrap();
    assert!(matches!(refusal(&disk), Error::Damaged { file, .. } if file == names[2]));

    let (disk, names) = long_log();
    disk.remove(&names[0]).unwrap();
    let first = Index(u64::from_str_radix(&names[1][13..29], 16).unwrap());
    match refusal(&disk) {
        Error::Gap { first: found, snapshot, .. } => {
            assert_eq!((found, snapshot), (first, Index(0)));
        }
        error => panic!("{error}"),
    }

    let (disk, names) = long_log();
    names.iter().for_each(|name| disk.remove(name).unwrap());
    assert!(matches!(refusal(&disk), Error::Mismatch { .. }));
}

/// A closed folder with ten entries and snapshots at 4 and 8.
fn two_snapshots() -> (MemoryDisk, String) {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    for index in 1..=10 {
        opened.wal.persist(&[append(1, index, index)]).unwrap();
    }
    opened.snapshots.save(&snapshot(1, 4)).unwrap();
    opened.snapshots.save(&snapshot(1, 8)).unwrap();
    opened.wal.purge(Index(8)).unwrap();
    (disk, "snapshot-0000000000000008.zk".to_owned())
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let (disk, _) = two_snapshots();
    let opened = reopen(&disk);
    assert_eq!(indexes(&opened), [9, 10]);
    let found = opened.recovered.snapshot.unwrap();
    let expected = snapshot(1, 8);
    assert_eq!((found.meta, found.zxid), (expected.meta, expected.zxid));
    assert_eq!(found.image.digest(), expected.image.digest());
    assert!(found.image.nodes().eq(expected.image.nodes()));
}

#[test]
fn every_byte_of_a_snapshot_is_missed_when_it_is_damaged() {
    let (disk, name) = two_snapshots();
    let size = disk.content(&name).unwrap().len();
    for at in (0..200).chain((200..size - 100).step_by(97)).chain(size - 100..size) {
        let (disk, name) = two_snapshots();
        flip(&disk, &name, at);
        match open(disk.clone(), &options()) {
            Ok(opened) => {
                assert_eq!(snapshot_index(&opened), 4, "byte {at}");
                assert_eq!(indexes(&opened), [5, 6, 7, 8, 9, 10]);
                assert_eq!(opened.report.damaged_snapshots, [name]);
            }
            Err(Error::Newer { .. }) => assert!((8..12).contains(&at)),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_snapshot_of_any_other_length_is_none() {
    let (disk, name) = two_snapshots();
    let size = disk.content(&name).unwrap().len();
    for length in (0..70).chain((70..size).step_by(61)).chain(size - 40..size).chain([size + 1]) {
        let (disk, name) = two_snapshots();
        let mut content = disk.content(&name).unwrap();
        content.resize(length, 0);
        disk.put(&name, &content);
        let opened = reopen(&disk);
        assert_eq!(snapshot_index(&opened), 4, "length {length}");
    }
}

#[test]
fn a_snapshot_under_another_name_is_none() {
    let (disk, name) = two_snapshots();
    disk.put("snapshot-0000000000000009.zk", &disk.content(&name).unwrap());
    let opened = reopen(&disk);
    assert_eq!(snapshot_index(&opened), 8);
    assert_eq!(opened.report.damaged_snapshots, ["snapshot-0000000000000009.zk"]);
}

#[test]
fn a_damaged_snapshot_goes_when_a_newer_one_is_verified() {
    let (disk, name) = two_snapshots();
    flip(&disk, &name, 100);
    let mut opened = reopen(&disk);
    opened.snapshots.save(&snapshot(1, 10)).unwrap();
    assert!(disk.content(&name).is_none());
    assert!(disk.content("snapshot-0000000000000004.zk").is_some());
}

#[test]
fn there_is_no_falling_back_to_what_the_log_does_not_connect_to() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(1, 1, 5)]).unwrap();
    opened.snapshots.save(&snapshot(1, 4)).unwrap();
    opened.snapshots.save(&snapshot(1, 20)).unwrap();
    opened.wal.persist(&[reset(1, 20), append(1, 21, 22)]).unwrap();
    drop(opened);
    flip(&disk, "snapshot-0000000000000014.zk", 100);
    let before = disk.contents();
    match refusal(&disk) {
        Error::Gap { first, snapshot, .. } => assert_eq!((first, snapshot), (Index(21), Index(4))),
        error => panic!("{error}"),
    }
    assert_eq!(disk.contents(), before);
}

#[test]
fn a_state_that_was_durable_once_is_not_given_up_for_an_older_one() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(1, 1, 5)]).unwrap();
    opened.snapshots.save(&snapshot(1, 4)).unwrap();
    opened.snapshots.save(&snapshot(1, 20)).unwrap();
    drop(opened);
    flip(&disk, "snapshot-0000000000000014.zk", 100);
    assert!(matches!(refusal(&disk), Error::SnapshotLost { last: Index(5), .. }));
}

#[test]
fn a_log_that_ends_before_the_snapshot_goes() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    let vote = Some(hard_state(3, Some(1)));
    opened.wal.persist(&[Persist { hard_state: vote, ..append(1, 1, 5) }]).unwrap();
    opened.snapshots.save(&snapshot(3, 20)).unwrap();
    drop(opened);
    for round in 0..2 {
        let opened = reopen(&disk);
        assert_eq!((snapshot_index(&opened), indexes(&opened)), (20, vec![]));
        assert_eq!(opened.recovered.hard_state, hard_state(3, Some(1)));
        assert_eq!(opened.report.has_dropped_log, round == 0);
    }
    reopen(&disk).wal.persist(&[append(3, 21, 22)]).unwrap();
    assert_eq!(indexes(&reopen(&disk)), [21, 22]);
}

#[test]
fn a_log_of_another_term_goes_and_one_of_the_same_stays() {
    for (term, expected) in [(1, vec![4, 5]), (2, vec![])] {
        let disk = MemoryDisk::new();
        let mut opened = reopen(&disk);
        opened.wal.persist(&[append(1, 1, 5)]).unwrap();
        opened.snapshots.save(&snapshot(term, 3)).unwrap();
        drop(opened);
        assert_eq!(indexes(&reopen(&disk)), expected);
        assert_eq!(indexes(&reopen(&disk)), expected);
    }
}

/// A disk on which one byte of a snapshot rots before it is read back.
#[derive(Clone)]
struct RottingDisk {
    disk: MemoryDisk,
    at: usize,
}

impl Disk for RottingDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    fn place(&self) -> String {
        self.disk.place()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        if name == "snapshot.tmp" {
            flip(&self.disk, name, self.at);
        }
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }

    fn lock(&self) -> io::Result<Option<MemoryLock>> {
        self.disk.lock()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

#[test]
fn a_snapshot_that_does_not_read_back_as_it_was_written_gets_no_name() {
    for at in 0..200 {
        let disk = MemoryDisk::new();
        let mut opened = open(RottingDisk { disk: disk.clone(), at }, &options()).unwrap();
        opened.wal.persist(&[append(1, 1, 4)]).unwrap();
        let error = opened.snapshots.save(&snapshot(1, 4)).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "byte {at}: {error}");
        assert_eq!(disk.content("snapshot-0000000000000004.zk"), None, "byte {at}");
    }
}
