//! What storage promises, tried on a disk that forgets.

mod begin;
mod crash;
mod damage;
mod distrust;
mod folder;
mod format;
mod model;
mod salvage;
mod scrub;

use std::sync::Arc;

use bytes::Bytes;
use zokor_core::db::{Action, Image, ImageBuilder, ImageError, ImageNode, Rules, StoredStat, Txn};
use zokor_core::id::ServerId;
use zokor_core::proto::{AclList, Zxid};
use zokor_core::raft::{
    Entry, EntryId, HardState, Index, Membership, Payload, Persist, SharedEntry, SnapshotMeta,
    Term, Ticket,
};
use zokor_core::replica::Snapshot;
use zokor_core::time::WallTime;

use super::{Error, MemoryDisk, Opened, Options, open};

/// Small segments, so that a few entries roll them.
fn options() -> Options {
    Options { segment_bytes: 8 << 10, ..Options::new(ServerId(7), [0xa5; 16], WallTime(1_000)) }
}

fn reopen(disk: &MemoryDisk) -> Opened<MemoryDisk> {
    open(disk.clone(), &options()).expect("it opens")
}

fn refusal(disk: &MemoryDisk) -> Error {
    open(disk.clone(), &options()).err().expect("it does not open")
}

fn entry(term: u64, index: u64, size: usize) -> SharedEntry<Txn> {
    let path = format!("/{}", "x".repeat(size));
    let txn = Txn {
        time: WallTime(i64::try_from(index).unwrap()),
        rules: Rules::default(),
        action: Action::Reap { path: path.into(), unused_ms: 0 },
    };
    let id = EntryId { term: Term(term), index: Index(index) };
    Arc::new(Entry { id, payload: Payload::Command(txn) })
}

fn nothing() -> Persist<Txn> {
    Persist {
        ticket: Ticket(0),
        hard_state: None,
        reset: None,
        truncate_after: None,
        append: Vec::new(),
    }
}

/// Appends the entries `from..=to`.
fn append(term: u64, from: u64, to: u64) -> Persist<Txn> {
    Persist { append: (from..=to).map(|index| entry(term, index, 100)).collect(), ..nothing() }
}

fn hard_state(term: u64, vote: Option<u64>) -> HardState {
    HardState { term: Term(term), vote: vote.map(ServerId) }
}

fn image(zxid: Zxid, size: usize) -> Image {
    let build = |digest| {
        let mut image = ImageBuilder::new();
        for (path, size) in [("/", 0), ("/a", size)] {
            let data = Some(Bytes::from(vec![7; size]));
            let acl: AclList = Arc::new([]);
            let stat = StoredStat::default();
            image.node(ImageNode { path: path.into(), data, acl, stat }).unwrap();
        }
        image.finish(zxid, digest)
    };
    match build(0) {
        Ok(image) => image,
        Err(ImageError::Digest { found, .. }) => build(found).unwrap(),
        Err(error) => panic!("{error}"),
    }
}

fn snapshot(term: u64, index: u64) -> Snapshot {
    let membership = Membership::of_voters([ServerId(1), ServerId(7)]);
    let zxid = Zxid(i64::try_from(index).unwrap());
    Snapshot {
        meta: SnapshotMeta {
            last: EntryId { term: Term(term), index: Index(index) },
            membership: Some((Index(1), membership)),
        },
        zxid,
        image: image(zxid, 9_000),
    }
}

fn reset(term: u64, index: u64) -> Persist<Txn> {
    Persist { reset: Some(snapshot(term, index).meta), ..nothing() }
}

fn indexes(opened: &Opened<MemoryDisk>) -> Vec<u64> {
    opened.recovered.entries.iter().map(|entry| entry.id.index.0).collect()
}

fn snapshot_index(opened: &Opened<MemoryDisk>) -> u64 {
    opened.recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.last.index.0)
}
