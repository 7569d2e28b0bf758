//! Snapshots that break off with their connection, and go on over the next.

use std::collections::BTreeMap;

use zokor_core::db::ImageNode;
use zokor_core::proto::{AclList, Text, Zxid};
use zokor_core::raft::{EntryId, Index, SnapshotMeta};
use zokor_core::replica::Snapshot;
use zokor_core::time::Instant;

use super::*;
use crate::transport::codec::{Decoder, Spoken, frames};
use crate::wire::samples::{build, root};

/// Three chunks, and what ends them; up to entry `index`.
fn snapshot(term: u64, index: u64) -> Message {
    let acl = AclList::from(vec![]);
    let node = |n: usize| ImageNode {
        path: Text::from(format!("/{n:03}")),
        data: Some(Bytes::from(vec![index as u8; 1_000])),
        acl: acl.clone(),
        stat: Default::default(),
    };
    let nodes: Vec<ImageNode> = std::iter::once(root()).chain((0..600).map(node)).collect();
    let zxid = Zxid(i64::try_from(index).unwrap());
    let image = build(&nodes, &[], &BTreeMap::new(), zxid);
    let last = EntryId { term: Term(3), index: Index(index) };
    let snapshot = Snapshot { meta: SnapshotMeta { last, membership: None }, zxid, image };
    Message::Snapshot { term: Term(term), snapshot }
}

fn zxid(message: &Message) -> Zxid {
    match message {
        Message::Snapshot { snapshot, .. } => snapshot.zxid,
        message => panic!("{message:?}"),
    }
}

/// Reads `n` frames of a snapshot, or all of it.
async fn read(
    stream: &mut TcpStream,
    decoder: &mut Decoder,
    mut kept: Option<Part>,
    n: usize,
) -> (usize, Option<Message>) {
    for n_read in 1..=n {
        let size = timeout(PATIENCE, stream.read_u32()).await.unwrap().unwrap();
        let mut frame = vec![0; size as usize];
        stream.read_exact(&mut frame).await.unwrap();
        match decoder.feed(Bytes::from(frame)).unwrap() {
            Some(Spoken::Message(message)) => return (n_read, Some(message)),
            Some(Spoken::Begins) => decoder.begin(kept.take()).unwrap(),
            Some(Spoken::Holds(part)) => panic!("nobody said {part:?}"),
            None => {}
        }
    }
    (n, None)
}

#[tokio::test]
async fn a_snapshot_that_breaks_off_goes_on_over_the_next_connection() {
    let notes = Arc::new(Notes::default());
    let listener = bind("127.0.0.1:0".parse().unwrap(), "peers", None).await.unwrap();
    let outbox = Arc::new(Outbox::new(1 << 20));
    dialer(listener.local_addr().unwrap().to_string(), &outbox, &notes);
    // When the peer says what it has, the term of the next, which one comes, in how many frames.
    let (before, behind, never) = (Some(true), Some(false), None);
    let whole = 5;
    let table = [
        (before, 4, 7, whole - 2),
        (behind, 4, 7, whole - 2),
        (never, 4, 8, whole),
        (before, 5, 8, whole),
    ];
    let mut n_up = 0;
    for (told, term, expected, n_frames) in table {
        let mut stream = answer_hello(&listener, proper_answer()).await;
        n_up += 1;
        notes.until("up 2", n_up).await;
        outbox.push(snapshot(4, 7), None);
        outbox.wake();
        let mut decoder = Decoder::new();
        assert!(read(&mut stream, &mut decoder, None, 3).await.1.is_none());
        drop(stream);
        let part = decoder.into_part().unwrap();
        assert_eq!(part.held().n_chunks, 2);
        let mut stream = answer_hello(&listener, proper_answer()).await;
        n_up += 1;
        notes.until("up 2", n_up).await;
        if told == before {
            outbox.held(part.held());
        }
        outbox.push(snapshot(term, 8), None);
        outbox.wake();
        if told == behind {
            // The link's task has looked for it meanwhile.
            tokio::task::yield_now().await;
            outbox.held(part.held());
        }
        let (n, message) = read(&mut stream, &mut Decoder::new(), Some(part), 9).await;
        assert_eq!((n, zxid(&message.unwrap())), (n_frames, Zxid(expected)), "{told:?} {term}");
    }
}

#[tokio::test]
async fn what_came_of_a_snapshot_is_kept_until_the_next_one_of_its_sender() {
    let notes = Arc::new(Notes::default());
    let address = taker(notes.clone()).await;
    let connect = async || {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let mut out = BytesMut::new();
        let (from, to) = (ServerId(1), ServerId(2));
        encode_hello(&Hello { from, to, fingerprint: ENSEMBLE, asks: false }, &mut out);
        stream.write_all(&out).await.unwrap();
        stream
    };
    let message = snapshot(4, 7);
    let mut stream = connect().await;
    for frame in frames(&message, 0).unwrap().take(3) {
        stream.write_all(&frame).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    notes.until("ended 1", 1).await;
    assert_eq!(notes.count("2 chunks of 1 kept"), 1, "before the end is told");
    let mut stream = connect().await;
    for frame in frames(&message, 2).unwrap() {
        stream.write_all(&frame).await.unwrap();
    }
    notes.until("snapshot of Term(4)", 1).await;
    assert!(notes.take_part(ServerId(1)).is_none());
}

#[test]
fn a_snapshot_that_broke_off_is_not_kept_for_long() {
    let at = |s: u64| Instant::from_micros(s * 1_000_000);
    for (seconds, is_kept) in [(59, true), (60, false)] {
        let outbox = Outbox::new(1 << 20);
        let message = snapshot(4, 7);
        outbox.keep(message.clone());
        outbox.forget_old(at(5));
        let (_, name) = codec::name(&message).unwrap();
        outbox.held(PartHeld { name, n_chunks: 2 });
        outbox.forget_old(at(5 + seconds));
        outbox.open();
        outbox.push(snapshot(4, 8), None);
        let (next, first) = outbox.take_snapshot().unwrap().unwrap();
        assert_eq!((zxid(&next), first), if is_kept { (Zxid(7), 2) } else { (Zxid(8), 0) });
    }
}
