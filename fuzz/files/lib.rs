//! The doors that an operator's files come through. Each function feeds one of them, and panics if
//! the parser breaks a promise: that it is total, and that what it prints can be read again.
//!
//! A module of the targets for them, and of `server/tests/corpus.rs`, where plain tests run the
//! saved corpus.

use std::path::Path;

use zokor_core::db::ImageError;
use zokor_core::id::ServerId;
use zokor_server::config::{ClientLimits, ServerLine};
use zokor_server::import::image_of;
use zokor_server::zookeeper::{
    Contents, Input, LogReader, Packing, Tree, decode, read_snapshot, unpack,
};

/// A configuration file: its keys and values, its server lines, its numbers.
pub fn properties(bytes: &[u8]) {
    let file = Path::new("zoo.cfg");
    if let Err(error) = ClientLimits::parse(file, bytes) {
        assert_eq!(error.file, file, "{error}");
    }
    match ServerLine::parse_all(file, bytes) {
        Ok(lines) => {
            assert!(lines.windows(2).all(|pair| pair[0].id < pair[1].id), "ascending ids");
            lines.iter().for_each(again);
        }
        Err(error) => assert_eq!(error.file, file, "{error}"),
    }
}

/// The text behind `server.N=`.
pub fn server_line(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(line) = ServerLine::parse(ServerId(1), &text) {
        again(&line);
    }
}

/// A snapshot of ZooKeeper: as it is, unpacked in both ways, and with the right seal behind it,
/// which a fuzzer would not find.
pub fn zookeeper_snapshot(bytes: &[u8]) {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Snappy] {
        let _ = read_snapshot(&mut Input::new(unpack(bytes, packing)));
    }
    let sum = u64::from(adler32(bytes)).to_be_bytes();
    let sealed = [bytes, &sum, b"\0\0\0\x01/"].concat();
    if let Ok(found) = read_snapshot(&mut Input::new(&sealed[..])) {
        let sessions = found.sessions;
        makes_an_image(Contents { tree: found.tree, sessions, ..Contents::default() });
    }
}

/// A log of ZooKeeper, and transactions by themselves, each behind two bytes with its length.
pub fn zookeeper_log(bytes: &[u8]) {
    if let Ok(mut reader) = LogReader::begin(bytes) {
        while let Ok(Some(entry)) = reader.next_entry() {
            assert!(entry.offset < reader.offset(), "an entry has bytes");
        }
    }
    let (mut tree, mut rest) = (Tree::fresh(), bytes);
    while let Some((length, left)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(left.len());
        let (one, left) = left.split_at(length);
        if let Ok((header, txn, _)) = decode(one.to_vec().into()) {
            tree.apply(&header, &txn);
        }
        rest = left;
    }
    tree.count_quotas();
    tree.mark_ttl_of_353();
    let owners: Vec<_> = tree.owners().collect();
    for owner in owners {
        tree.end_session(owner, i64::MAX);
    }
    assert_eq!(tree.owners().count(), 0, "no ephemeral outlives its session");
    makes_an_image(Contents { tree, ..Contents::default() });
}

/// What was read is a state, but for an ephemeral that has children, which ZooKeeper never makes.
fn makes_an_image(contents: Contents) {
    let n_znodes = contents.tree.len();
    match image_of(&contents) {
        Ok(image) => assert_eq!(image.node_count(), n_znodes),
        Err(ImageError::Misplaced { .. } | ImageError::NoRoot) => {}
        Err(error) => panic!("{error}"),
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    b << 16 | a
}

/// What is printed of a line parses to one that prints alike.
fn again(line: &ServerLine) {
    let printed = line.canonical();
    let parsed = ServerLine::parse(line.id, &printed).expect("what is printed parses");
    assert_eq!(parsed.canonical(), printed);
}
