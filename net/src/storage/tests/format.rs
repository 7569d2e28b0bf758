//! The bytes are those of `FORMAT.md`.

use bytes::{BufMut, BytesMut};

use zokor_core::groups::Groups;

use super::*;
use crate::storage::Written;
use crate::storage::record::{BatchWriter, Kind};
use crate::storage::segment::{Head, Position};

const ID: [u8; 16] = [0xa5; 16];

/// Bytes from hexadecimal digits; blanks are for the reader.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn crc(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

#[test]
fn the_checksum_is_crc_32c() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc(&[b"1234", b"56789"]), 0xe306_9283);
}

#[test]
fn an_identity_has_these_bytes() {
    let disk = MemoryDisk::new();
    drop(reopen(&disk));
    let expected = hex("5a4f4b4f5249444e 01000000 40000000 a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5
         0700000000000000 e803000000000000 07000000 0000000000000000 0caa97fd");
    assert_eq!(disk.content("zokor-identity").unwrap(), expected);
}

#[test]
fn a_watermark_has_these_bytes() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    for index in 1..=2 {
        let hard_state = (index == 2).then_some(hard_state(7, Some(3)));
        opened.wal.persist(&[Persist { hard_state, ..append(6, index, index) }]).unwrap();
        opened.wal.mark().unwrap();
    }
    let of = |batch: u8| {
        let mut bytes = hex("5a4f4b4f52574d4b 02000000 58000000 a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
        bytes.extend([batch, 0, 0, 0, 0, 0, 0, 0]);
        let vote = hex("0700000000000000 0300000000000000 03000000 00000000");
        bytes.extend(if batch == 1 { vec![0; 24] } else { vote.to_vec() });
        let flags = if batch == 1 { 2 } else { 3 };
        bytes[56] = flags;
        bytes.extend(hex("0600000000000000"));
        bytes.extend([batch, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(crc(&[&bytes]).to_le_bytes());
        bytes
    };
    // A vote is noted in both.
    assert_eq!(disk.content("watermark-0").unwrap(), of(2));
    assert_eq!(disk.content("watermark-1").unwrap(), of(2));
}

#[test]
fn a_segments_head_has_these_bytes() {
    let hard_state = hard_state(0x0102, Some(9));
    let position = Position { next: Index(0x1234), batch: 0x77, previous: 0xdead_beef, hard_state };
    let head = Head::new(ID, 0x2a, 0x4000, position);
    assert_eq!(head.name(), "log-0000002a-0000000000001234.zk");
    let bytes = head.to_bytes();
    let expected = hex("5a4f4b4f524c4f47 02000000 00100000 a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5
         2a00000000000000 0040000000000000 3412000000000000 7700000000000000
         efbeadde 01000000 0201000000000000 0900000000000000");
    assert_eq!(bytes.len(), 4096);
    assert_eq!(bytes[..88], expected);
    assert!(bytes[88..4092].iter().all(|byte| *byte == 0));
    assert_eq!(bytes[4092..], crc(&[&bytes[..4092]]).to_le_bytes());
    assert_eq!(bytes[4092..], hex("b5ed941c"));
}

#[test]
fn the_seed_of_a_segments_checksums_is_of_its_number() {
    let head = Head::new(ID, 0x2a, 0x4000, Position::default());
    assert_eq!(head.salt(), crc(&[&ID, &[0x2a, 0, 0, 0, 0, 0, 0, 0]]));
    assert_eq!(Head { version: 1, ..head }.salt(), crc(&[&ID]));
}

#[test]
fn flags_of_a_head_are_these() {
    let head = Head::new(ID, 1, 0x4000, Position::default());
    for (is_anew, is_reused, flags) in [(true, false, 1), (false, true, 2), (true, true, 3)] {
        let bytes = Head { is_anew, is_reused, ..head }.to_bytes();
        assert_eq!(bytes[88..92], [flags, 0, 0, 0]);
    }
}

#[test]
fn a_segment_of_format_1_is_read_and_gone_on_with() {
    let disk = MemoryDisk::new();
    let name = "log-00000001-0000000000000001.zk";
    drop(reopen(&disk));
    let head = Head { version: 1, ..Head::new(ID, 1, 0x2000, Position::default()) };
    let mut content = head.to_bytes();
    let mut out = BytesMut::new();
    let mut writer = BatchWriter::new(crc(&[&ID]), 1, 0, &mut out);
    let first = entry(6, 1, 100);
    writer.push(Kind::Entry(first.id), |out| crate::wire::entry::encode_entry(&first, out));
    writer.finish().unwrap();
    content.extend_from_slice(&out);
    content.resize(0x2000, 0);
    disk.put(name, &content);
    let mut opened = reopen(&disk);
    assert_eq!(indexes(&opened), [1]);
    opened.wal.persist(&[append(6, 2, 70)]).unwrap();
    assert!(opened.wal.segment_count() > 1);
    drop(opened);
    assert_eq!(indexes(&reopen(&disk)), (1..=70).collect::<Vec<_>>());
}

#[test]
fn what_was_encoded_before_is_written_as_what_is_encoded_here() {
    let changes = [append(6, 1, 40), append(7, 41, 90)];
    let written = |range: std::ops::Range<usize>| {
        let all: Vec<_> = changes.iter().flat_map(|change| change.append.clone()).collect();
        Written::encode(&all[range]).unwrap()
    };
    let known: [&[Vec<Written>]; 5] = [
        &[],
        &[vec![written(0..40)], vec![written(40..60), written(60..90)]],
        &[vec![], vec![written(40..90)]],
        // What holds others, or too few, is not taken.
        &[vec![written(1..40)], vec![written(40..60)]],
        &[vec![written(0..39)]],
    ];
    let mut contents = known.iter().map(|known| {
        let disk = MemoryDisk::new();
        // Segments are rolled meanwhile, and what does not fit is encoded for the next.
        for (n, change) in changes.iter().enumerate() {
            let known = known.get(n).cloned().unwrap_or_default();
            reopen(&disk).wal.persist_written(std::slice::from_ref(change), &[known]).unwrap();
        }
        assert!(reopen(&disk).wal.segment_count() > 1);
        assert_eq!(indexes(&reopen(&disk)), (1..=90).collect::<Vec<_>>());
        disk.contents()
    });
    let first = contents.next().unwrap();
    assert!(contents.all(|content| content == first));
}

#[test]
fn records_have_these_bytes() {
    let mut out = BytesMut::new();
    let mut writer = BatchWriter::new(crc(&[&ID]), 0x55, 0x0403_0201, &mut out);
    let id = EntryId { term: Term(3), index: Index(0x99) };
    writer.push(Kind::HardState(hard_state(3, Some(2))), |_| ());
    writer.push(Kind::HardState(hard_state(4, None)), |_| ());
    writer.push(Kind::Reset(id), |_| ());
    writer.push(Kind::Truncate(Index(0x98)), |_| ());
    writer.push(Kind::Entry(id), |out| out.put_slice(b"body!"));
    let last = writer.finish().unwrap();
    let expected = hex("00000000 04020000 5500000000000000 0300000000000000 0200000000000000
         71c1a75f 01020304 00000000 4d7353fb
         00000000 04000000 5500000000000000 0400000000000000 0000000000000000
         71c1a75f 4d7353fb 00000000 0eae8610
         00000000 03000000 5500000000000000 0300000000000000 9900000000000000
         71c1a75f 0eae8610 00000000 5ad95057
         00000000 02000000 5500000000000000 0000000000000000 9800000000000000
         71c1a75f 5ad95057 00000000 3f716603
         05000000 01010000 5500000000000000 0300000000000000 9900000000000000
         36831957 3f716603 00000000 701e28f0
         626f647921000000");
    assert_eq!(out, expected);
    assert_eq!(last.to_le_bytes(), out[out.len() - 12..out.len() - 8]);
    assert_eq!(crc(&[&ID, &out[..44]]).to_le_bytes(), out[44..48]);
}

#[test]
fn an_entry_lies_where_the_document_says() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    opened.wal.persist(&[append(6, 1, 1)]).unwrap();
    let content = disk.content("log-00000001-0000000000000001.zk").unwrap();
    let mut body = BytesMut::new();
    crate::wire::entry::encode_entry(&entry(6, 1, 100), &mut body);
    let record = &content[4096..];
    assert_eq!(record[..4], (body.len() as u32).to_le_bytes());
    assert_eq!(record[4..8], [1, 1, 0, 0]);
    assert_eq!(record[48..48 + body.len()], body);
    assert_eq!(record[32..36], crc(&[&ID, &[1, 0, 0, 0, 0, 0, 0, 0], &body]).to_le_bytes());
}

#[test]
fn a_snapshot_has_these_bytes() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    let snapshot = snapshot(2, 0x1f);
    opened.snapshots.save(&snapshot).unwrap();
    let content = disk.content("snapshot-000000000000001f.zk").unwrap();
    let head = hex("5a4f4b4f52534e50 01000000 64000000 a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5
         0200000000000000 1f00000000000000 1f00000000000000 01000000 0100000000000000
         02000000 0100000000000000 0700000000000000 00000000 00000000 f06b4c89");
    assert_eq!(content[..100], head);
    let mut previous = crc(&[&head[..96]]);
    assert_eq!(head[96..], previous.to_le_bytes());

    let mut rest = &content[100..];
    let (mut n_chunks, mut total) = (0u64, 0u64);
    for chunk in crate::wire::image::ImageEncoder::new(&snapshot.image) {
        let length = (chunk.len() as u32).to_le_bytes();
        previous = crc32c::crc32c_append(previous, &[&length, &chunk[..]].concat());
        let expected = [&length, &previous.to_le_bytes(), &chunk[..]].concat();
        assert_eq!(rest[..expected.len()], expected);
        rest = &rest[expected.len()..];
        n_chunks += 1;
        total += chunk.len() as u64;
    }
    let counts = [n_chunks, total, snapshot.image.digest()].map(u64::to_le_bytes).concat();
    previous = crc32c::crc32c_append(previous, &[&[0; 4], &counts[..]].concat());
    assert_eq!(rest, [&[0; 4], &previous.to_le_bytes(), &counts[..]].concat());
    assert!(n_chunks >= 1);
}

#[test]
fn a_snapshot_of_a_membership_with_groups_has_these_bytes() {
    let disk = MemoryDisk::new();
    let mut opened = reopen(&disk);
    let mut snapshot = snapshot(2, 0x1f);
    let (_, membership) = snapshot.meta.membership.as_mut().expect("it has one");
    membership.groups = Groups::from_lines("group.4=1:7\nweight.7=0");
    opened.snapshots.save(&snapshot).unwrap();
    let content = disk.content("snapshot-000000000000001f.zk").unwrap();
    let head = hex("5a4f4b4f52534e50 02000000 98000000 a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5
         0200000000000000 1f00000000000000 1f00000000000000 01000000 0100000000000000
         02000000 0100000000000000 0700000000000000 00000000 00000000
         01000000 0400000000000000 02000000
         0100000000000000 0100000000000000 0700000000000000 0000000000000000 00000000");
    assert_eq!(content[..148], head);
    assert_eq!(content[148..152], crc(&[&head]).to_le_bytes());
    drop(opened);
    let opened = reopen(&disk);
    let found = opened.recovered.snapshot.expect("it is whole");
    assert_eq!(found.meta, snapshot.meta);
}
