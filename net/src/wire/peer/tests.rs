//! Frames between servers: round trips, snapshots in pieces, and what is refused.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use zokor_core::db::ImageNode;
use zokor_core::groups::Groups;
use zokor_core::proto::{AclList, Text, Zxid};
use zokor_core::raft::{Entry, Index, Membership, Payload, ReadToken, SnapshotMeta};
use zokor_core::replica::Snapshot;

use super::*;
use crate::wire::frame::split_frame;
use crate::wire::samples::{self, build, bytes_of, contents, hex, root};

/// The content of the one frame in `bytes`.
fn content(bytes: &[u8]) -> Bytes {
    let mut buffer = BytesMut::from(bytes);
    let frame = split_frame(&mut buffer, FRAME_LIMIT).expect("a good length").expect("whole");
    assert!(buffer.is_empty(), "more than one frame");
    frame
}

/// The frame that holds `message`, which is no snapshot.
fn frame_of(message: &Message) -> Bytes {
    content(&bytes_of(|out| assert!(encode_message(message, out).is_none())))
}

fn decode(frame: Bytes) -> Result<String, WireError> {
    decode_message(frame).map(|message| format!("{message:?}"))
}

/// The frame with its checksum set right.
fn sealed(kind: u8, body: &[u8]) -> Bytes {
    content(&bytes_of(|out| append(out, kind, |out| out.put_slice(body))))
}

fn id(term: u64, index: u64) -> EntryId {
    EntryId { term: Term(term), index: Index(index) }
}

#[test]
fn a_term_beyond_every_epoch_is_refused() {
    for (term, is_refused) in [(MAX_TERM, false), (MAX_TERM + 1, true), (u64::MAX, true)] {
        let body = Body::Heartbeat { commit: Index(0), round: 1 };
        let message = Message::Raft(raft::Message { term: Term(term), body });
        assert_eq!(decode(frame_of(&message)).is_err(), is_refused, "{term}");
    }
}

fn append_of(previous: EntryId, entries: &[EntryId]) -> Message {
    let entries = entries.iter().map(|&id| SharedEntry::new(Entry { id, payload: Payload::Blank }));
    let body = Body::Append { previous, commit: Index(7), entries: entries.collect() };
    Message::Raft(raft::Message { term: Term(3), body })
}

fn snapshot() -> Snapshot {
    let membership = Membership::of_voters([ServerId(1), ServerId(2)]);
    let meta = SnapshotMeta { last: id(3, 300), membership: Some((Index(9), membership)) };
    let acl = AclList::from(vec![]);
    let data = Bytes::from(vec![7; 1_000]);
    let nodes: Vec<ImageNode> = std::iter::once(root())
        .chain((0..600).map(|n| ImageNode {
            path: Text::from(format!("/{n:03}")),
            data: Some(data.clone()),
            acl: acl.clone(),
            stat: Default::default(),
        }))
        .collect();
    let image = build(&nodes, &[], &BTreeMap::new(), Zxid(77));
    Snapshot { meta, zxid: Zxid(77), image }
}

fn snapshot_frames(snapshot: &Snapshot) -> Vec<Bytes> {
    SnapshotFrames::new(Term(4), snapshot, 0).map(|frame| content(&frame)).collect()
}

fn feed(frames: impl IntoIterator<Item = Bytes>) -> Result<Vec<Message>, WireError> {
    feed_to(&mut MessageDecoder::new(), None, frames)
}

/// The same where `kept` is what came before.
fn feed_to(
    decoder: &mut MessageDecoder,
    mut kept: Option<Part>,
    frames: impl IntoIterator<Item = Bytes>,
) -> Result<Vec<Message>, WireError> {
    let mut messages = Vec::new();
    for frame in frames {
        match decoder.feed(frame)? {
            Some(Spoken::Message(message)) => messages.push(message),
            Some(Spoken::Begins) => decoder.begin(kept.take())?,
            Some(Spoken::Holds(part)) => panic!("nobody said {part:?}"),
            None => {}
        }
    }
    Ok(messages)
}

#[test]
fn the_bytes_of_a_hello_are_fixed() {
    for (asks, version) in [(false, "0001"), (true, "8001")] {
        let hello = Hello { from: ServerId(1), to: ServerId(2), fingerprint: 3, asks };
        let bytes = bytes_of(|out| encode_hello(&hello, out));
        let fields =
            format!("7a6b7072 {version} 0000000000000001 0000000000000002 0000000000000003");
        let checksum = crc32c::crc32c(&hex(&fields));
        assert_eq!(bytes, hex(&format!("00000022 {fields} {checksum:08x}")));
        assert_eq!(content(&bytes).len(), HELLO_SIZE);
        assert_eq!(decode_hello(content(&bytes)), Ok(hello));
    }
}

#[test]
fn a_hello_of_a_stranger_says_what_is_wrong() {
    let hello = Hello { from: ServerId(1), to: ServerId(2), fingerprint: 3, asks: false };
    let whole = content(&bytes_of(|out| encode_hello(&hello, out)));
    for length in 0..whole.len() {
        assert!(decode_hello(whole.slice(..length)).is_err(), "at {length}");
    }
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.to_vec();
        bytes[at] = to;
        decode_hello(Bytes::from(bytes))
    };
    assert_eq!(changed(0, 0), Err(WireError::Magic { found: 0x006b_7072 }));
    assert_eq!(changed(5, 2), Err(WireError::Version { what: "hello", found: 2, known: 1 }));
    for at in 6..HELLO_SIZE {
        let error = changed(at, whole[at] ^ 0x40);
        assert!(matches!(error, Err(WireError::Checksum { .. })), "at {at}");
    }
    let longer: Bytes = whole.iter().copied().chain([0]).collect();
    assert_eq!(
        decode_hello(longer),
        Err(WireError::Trailing { what: "hello", offset: 34, left: 1 })
    );
}

fn asked(index: u64) -> Comparison {
    Comparison::Ask { rule: 1, at: id(2, index) }
}

fn told(index: u64) -> Comparison {
    Comparison::Told { rule: 1, at: id(2, index), digest: 0x1122_3344 }
}

#[test]
fn the_bytes_of_messages_are_fixed() {
    let heartbeat = Body::Heartbeat { commit: Index(300), round: 5 };
    let table = [
        (Message::Raft(raft::Message { term: Term(3), body: heartbeat }), "01 00 03 07 fb2c01 05"),
        (
            append_of(id(2, 8), &[id(2, 9), id(3, 10)]),
            "01 00 03 04 02 08 07 00 02 00000004 01 02 09 00 00000004 01 03 0a 00",
        ),
        (
            Message::Forward(vec![Action::Reap { path: "/a".into(), unused_ms: 0 }]),
            "01 01 01 00000005 01 05 02 2f61",
        ),
        (Message::Heard(vec![SessionId(-2)]), "01 02 01 fffffffffffffffe"),
        (Message::ShortOfRoom, "01 03"),
        (Message::Compare(asked(300)), "01 04 00 01 02 fb2c01"),
        (Message::Compare(told(7)), "01 04 01 01 02 07 fc44332211"),
        (Message::Compare(Comparison::WantState), "01 04 03"),
        (
            said(Body::Seek { after: id(1, 4), names: vec![id(2, 7), id(2, 9)] }),
            "01 00 03 0d 01 04 02 02 07 02 09",
        ),
        (found(Some(id(1, 4)), &[id(1, 5), id(2, 6)]), FOUND),
        (found(None, &[id(2, 6)]), "01 00 03 0e 01 04 02 07 00 00 01 00000004 01 02 06 00"),
        (said(Body::NotFound { has_snapshot: true, leads: false }), "01 00 03 0f 01 00"),
        (said(Body::SeekState { after: id(1, 4), wants_leader: true }), "01 00 03 10 01 04 01"),
        (said(Body::AskIfNew { round: 5 }), "01 00 03 11 05"),
        (said(Body::IfNew { round: 5, blank: None }), "01 00 03 12 05 00"),
        (said(Body::IfNew { round: 5, blank: Some(7) }), "01 00 03 12 05 01 07"),
        (
            said(Body::FeedMe { round: 7, received: Index(9), persisted: Index(8) }),
            "01 00 03 13 07 09 08",
        ),
        (said(Body::Feeding { round: Some(7), is_snapshot: true }), "01 00 03 14 01 07 01"),
        (said(Body::Feeding { round: None, is_snapshot: false }), "01 00 03 14 00 00"),
        (said(Body::FedByOther { is_fed: true }), "01 00 03 15 01"),
    ];
    for (message, digits) in table {
        let frame = frame_of(&message);
        assert_eq!(frame.slice(4..), hex(digits), "{message:?}");
        let checksum = crc32c::crc32c(&hex(digits)).to_be_bytes();
        assert_eq!(frame[..4], checksum);
        assert_eq!(decode(frame), Ok(format!("{message:?}")));
    }
}

#[test]
fn any_change_of_a_frame_is_noticed() {
    let whole = frame_of(&append_of(id(2, 8), &[id(2, 9)]));
    for length in 0..whole.len() {
        assert!(decode(whole.slice(..length)).is_err(), "at {length}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1;
        let error = decode(Bytes::from(bytes));
        assert!(matches!(error, Err(WireError::Checksum { .. })), "at {at}");
    }
}

#[test]
fn a_body_that_is_cut_is_refused_though_its_checksum_is_right() {
    let messages = [
        append_of(id(2, 8), &[id(2, 9), id(3, 10)]),
        Message::Forward(vec![Action::Reap { path: "/a".into(), unused_ms: 0 }]),
        Message::Heard(vec![SessionId(1), SessionId(2)]),
        Message::ShortOfRoom,
        Message::Compare(told(8)),
    ];
    for message in messages {
        let body = frame_of(&message).slice(5..);
        for length in 0..body.len() {
            assert!(decode(sealed(MESSAGE, &body[..length])).is_err(), "{message:?} at {length}");
        }
        let longer = [&body[..], &[0]].concat();
        assert!(matches!(decode(sealed(MESSAGE, &longer)), Err(WireError::Trailing { .. })));
    }
}

#[test]
fn entries_of_an_append_follow_one_another() {
    let misplaced = Err(WireError::Misplaced { what: "entry of an append" });
    let decode = |previous, entries: &[EntryId]| decode(frame_of(&append_of(previous, entries)));
    assert!(decode(id(0, 0), &[id(1, 1), id(1, 2), id(3, 3)]).is_ok());
    assert_eq!(decode(id(1, 1), &[id(1, 3)]), misplaced, "a gap");
    assert_eq!(decode(id(1, 1), &[id(1, 1)]), misplaced, "the same again");
    assert_eq!(decode(id(2, 1), &[id(1, 2)]), misplaced, "a term that falls");
    assert_eq!(decode(id(2, 1), &[id(4, 2)]), misplaced, "a term after the leader's own");
    assert_eq!(decode(id(1, u64::MAX), &[id(1, 0)]), misplaced, "a full index");
}

#[test]
fn an_entry_hidden_in_the_head_is_refused() {
    // A count of 1 instead of 0 before the end of the head, then a blank entry in bincode.
    let body = hex("00 03 04 02 08 07 01 02 09 00 00");
    let error = Err(WireError::Misplaced { what: "entry in a head" });
    assert_eq!(decode(sealed(MESSAGE, &body)), error);
}

#[test]
fn a_head_may_not_claim_more_than_its_limit() {
    let huge = hex("00 03 04 02 08 07 fdffffffffffffffff");
    assert!(matches!(decode(sealed(MESSAGE, &huge)), Err(WireError::Head { .. })));
    let many = [&hex("00 03 04 02 08 07 fc00000100")[..], &[0; 200_000]].concat();
    assert!(matches!(decode(sealed(MESSAGE, &many)), Err(WireError::Head { .. })));
    for kind in [0, 6, 255] {
        let error = decode(sealed(kind, &[]));
        assert!(matches!(error, Err(WireError::Value { what: "kind of frame", .. })));
    }
}

#[test]
fn a_snapshot_comes_back_with_messages_between_its_frames() {
    let snapshot = snapshot();
    let message = Message::Snapshot { term: Term(4), snapshot: snapshot.clone() };
    let mut out = BytesMut::new();
    let frames = encode_message(&message, &mut out).expect("a snapshot has many frames");
    let frames: Vec<Bytes> = frames.map(|frame| content(&frame)).collect();
    assert!(out.is_empty());
    assert_eq!(frames.len(), 5, "head, three chunks, end");
    let heard = frame_of(&Message::Heard(vec![SessionId(1)]));
    let mixed = frames.iter().flat_map(|frame| [heard.clone(), frame.clone()]);
    let mut messages = feed(mixed).expect("all is well");
    let last = messages.pop().expect("the snapshot");
    assert_eq!(messages.len(), 5);
    let Message::Snapshot { term, snapshot: decoded } = last else {
        panic!("{last:?}");
    };
    assert_eq!(term, Term(4));
    assert_eq!((decoded.meta, decoded.zxid), (snapshot.meta, snapshot.zxid));
    assert_eq!(contents(&decoded.image), contents(&snapshot.image));
}

#[test]
fn the_bytes_of_a_snapshots_head_are_fixed() {
    let mut snapshot = snapshot();
    let mut digest = Vec::new();
    head_options().serialize_into(&mut digest, &snapshot.image.digest()).expect("a number");
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = &format!("02 04 03 fb2c01 01 09 02 01 02 00 00 9a {digest} 00");
    assert_eq!(snapshot_frames(&snapshot)[0].slice(4..), hex(plain));
    let (_, membership) = snapshot.meta.membership.as_mut().expect("it has one");
    membership.groups = Groups::from_lines("group.3=1:2\nweight.1=2\nweight.2=0");
    let grouped = format!("{plain} 01 03 02 01 02 02 00 00");
    let frames = snapshot_frames(&snapshot);
    assert_eq!(frames[0].slice(4..), hex(&grouped));
    let messages = feed(frames).expect("all is well");
    let [Message::Snapshot { snapshot: decoded, .. }] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(decoded.meta, snapshot.meta);
    for length in 0..8 {
        let cut = &hex(&grouped)[1..hex(plain).len() + length];
        assert_eq!(feed([sealed(SNAPSHOT_HEAD, cut)]).is_ok(), length == 0, "{length}");
    }
    let none = hex(&format!("{plain} 00 00"));
    let error = feed([sealed(SNAPSHOT_HEAD, &none[1..])]).map(|_| ());
    assert_eq!(error, Err(WireError::Misplaced { what: "groups" }));
}

#[test]
fn a_snapshot_with_a_part_lost_or_twice_is_refused() {
    let frames = snapshot_frames(&snapshot());
    for n in 0..frames.len() - 1 {
        let mut fewer = frames.clone();
        fewer.remove(n);
        assert!(feed(fewer).is_err(), "without {n}");
    }
    for n in 1..frames.len() {
        let mut more = frames.clone();
        more.insert(n, frames[n].clone());
        assert!(feed(more).is_err(), "{n} twice");
    }
    let mut swapped = frames.clone();
    swapped.swap(1, 2);
    assert!(feed(swapped).is_err());
}

/// What is kept of `snapshot` when so many frames of it have come.
fn part_of(snapshot: &Snapshot, n_frames: usize) -> Option<Part> {
    let mut decoder = MessageDecoder::new();
    let frames = snapshot_frames(snapshot).into_iter().take(n_frames);
    assert!(feed_to(&mut decoder, None, frames).expect("they are good").is_empty());
    decoder.into_part()
}

fn rest(snapshot: &Snapshot, first: u64) -> Vec<Bytes> {
    SnapshotFrames::new(Term(5), snapshot, first).map(|frame| content(&frame)).collect()
}

#[test]
fn a_snapshot_that_broke_off_is_gone_on_with() {
    let snapshot = snapshot();
    assert!(part_of(&snapshot, 1).is_none(), "a head is nothing");
    for n_chunks in 1..=3 {
        // The sender may have heard of less than has come.
        for first in 0..=n_chunks {
            let part = part_of(&snapshot, 1 + n_chunks as usize).expect("some has come");
            let held = PartHeld { name: PartName::of(&snapshot), n_chunks };
            assert_eq!(part.held(), held);
            let frames = rest(&snapshot, first);
            assert_eq!(frames.len() as u64, 5 - first, "head, chunks, end");
            let messages = feed_to(&mut MessageDecoder::new(), Some(part), frames);
            let messages = messages.expect("it fits");
            let [Message::Snapshot { term: Term(5), snapshot: whole }] = &messages[..] else {
                panic!("{messages:?}");
            };
            assert_eq!(contents(&whole.image), contents(&snapshot.image));
        }
    }
}

#[test]
fn a_rest_without_its_part_is_refused() {
    const REST: WireError = WireError::Misplaced { what: "rest of a snapshot" };
    let snapshot = snapshot();
    let error =
        |kept, first| feed_to(&mut MessageDecoder::new(), kept, rest(&snapshot, first)).err();
    assert_eq!(error(None, 1), Some(REST));
    assert_eq!(error(part_of(&snapshot, 2), 2), Some(REST), "a chunk is missing");
    let mut other = snapshot.clone();
    other.meta.last.index = Index(301);
    assert_eq!(error(part_of(&other, 3), 2), Some(REST));
    assert_eq!(error(part_of(&other, 3), 0), None, "it begins anew");
    assert!(error(part_of(&snapshot, 3), u64::MAX).is_some());
}

#[test]
fn nothing_is_kept_of_a_snapshot_with_a_wrong_chunk() {
    let snapshot = snapshot();
    let frames = snapshot_frames(&snapshot);
    let mut decoder = MessageDecoder::new();
    feed_to(&mut decoder, None, frames[..2].iter().cloned()).expect("they are good");
    let wrong = sealed(SNAPSHOT_CHUNK, &[1, 99]);
    assert!(feed_to(&mut decoder, None, [wrong]).is_err());
    assert!(decoder.into_part().is_none());
}

#[test]
fn the_bytes_of_a_part_held_are_fixed() {
    let name = PartName { last: id(3, 300), zxid: Zxid(77), digest: 5 };
    let frame = content(&bytes_of(|out| encode_part_held(&PartHeld { name, n_chunks: 9 }, out)));
    assert_eq!(frame.slice(4..), hex("05 03 fb2c01 9a 05 09"));
    match MessageDecoder::new().feed(frame) {
        Ok(Some(Spoken::Holds(held))) => assert_eq!(held, PartHeld { name, n_chunks: 9 }),
        other => panic!("{other:?}"),
    }
    for length in 0..6 {
        let cut = &hex("03 fb2c01 9a 05 09")[..length];
        assert!(MessageDecoder::new().feed(sealed(PART_HELD, cut)).is_err(), "{length}");
    }
}

#[test]
fn an_end_that_tells_of_another_image_is_refused() {
    let mut snapshot = snapshot();
    let frames = snapshot_frames(&snapshot);
    let misplaced = |frames| {
        let error = feed(frames).map(|messages| messages.len());
        assert_eq!(error, Err(WireError::Misplaced { what: "snapshot end" }));
    };
    let (last, before) = frames.split_last().expect("there are five");
    let mut body = last.slice(5..).to_vec();
    body[8] ^= 1;
    misplaced([before, &[sealed(SNAPSHOT_END, &body)]].concat());
    body[8] ^= 1;
    body[0] += 1;
    misplaced([before, &[sealed(SNAPSHOT_END, &body)]].concat());
    snapshot.zxid = Zxid(78);
    misplaced(snapshot_frames(&snapshot));
}

#[test]
fn a_snapshot_of_a_later_term_than_its_sender_s_is_refused() {
    let snapshot = snapshot();
    let frames = |term| SnapshotFrames::new(Term(term), &snapshot, 0).map(|frame| content(&frame));
    assert!(feed(frames(3)).is_ok());
    let what = "snapshot of a later term";
    assert_eq!(feed(frames(2)).err(), Some(WireError::Misplaced { what }));
}

#[test]
fn a_new_snapshot_drops_the_one_under_way() {
    let frames = snapshot_frames(&snapshot());
    let messages = feed(frames[..3].iter().chain(&frames).cloned()).expect("all is well");
    assert!(matches!(messages[..], [Message::Snapshot { .. }]));
}

fn entries_of(message: &Message) -> &[SharedEntry<Txn>] {
    match message {
        Message::Raft(raft::Message { body: Body::Append { entries, .. }, .. }) => entries,
        _ => &[],
    }
}

#[test]
fn entries_encoded_before_are_taken_as_they_are() {
    let message = append_of(id(2, 8), &[id(2, 9), id(3, 10)]);
    let written = Written::encode(entries_of(&message)).unwrap();
    let others = Written::encode(entries_of(&append_of(id(2, 8), &[id(3, 9)]))).unwrap();
    for written in [None, Some(&written), Some(&others)] {
        let mut out = BytesMut::new();
        assert!(encode_message_as_written(&message, written, &mut out).is_none());
        assert_eq!(content(&out), frame_of(&message));
    }
}

#[test]
fn entries_that_came_are_told_as_they_stood() {
    let mut decoder = MessageDecoder::new();
    for message in [append_of(id(2, 8), &[id(2, 9), id(3, 10)]), append_of(id(2, 8), &[])] {
        decoder.feed(frame_of(&message)).unwrap();
        assert_eq!(decoder.take_written(), Written::encode(entries_of(&message)));
        assert_eq!(decoder.take_written(), None, "told once");
    }
    decoder.feed(frame_of(&append_of(id(2, 8), &[id(2, 9)]))).unwrap();
    decoder.feed(frame_of(&Message::ShortOfRoom)).unwrap();
    assert_eq!(decoder.take_written(), None, "of the latest message alone");
}

const FOUND: &str =
    "01 00 03 0e 01 04 02 07 01 01 04 00 02 00000004 01 01 05 00 00000004 01 02 06 00";

fn said(body: Body<Txn>) -> Message {
    Message::Raft(raft::Message { term: Term(3), body })
}

/// An answer to one who has lost what comes after `1, 4` and has `2, 7`.
fn found(matched: Option<EntryId>, entries: &[EntryId]) -> Message {
    let entries = entries.iter().map(|&id| SharedEntry::new(Entry { id, payload: Payload::Blank }));
    said(Body::Found { after: id(1, 4), name: id(2, 7), matched, entries: entries.collect() })
}

#[test]
fn entries_found_follow_each_other_and_are_not_of_a_later_term_than_their_name() {
    assert!(decode(frame_of(&found(Some(id(1, 4)), &[id(1, 5), id(2, 6)]))).is_ok());
    assert!(decode(frame_of(&found(Some(id(1, 4)), &[id(1, 6)]))).is_err(), "a gap");
    assert!(decode(frame_of(&found(None, &[id(1, 5), id(1, 7)]))).is_err(), "a gap");
    assert!(decode(frame_of(&found(None, &[id(3, 5)]))).is_err(), "a later term");
    assert!(decode(frame_of(&found(None, &[id(2, 5), id(1, 6)]))).is_err(), "the term falls");
}

#[test]
fn a_snapshot_that_no_leader_sends_has_no_term() {
    let frames =
        SnapshotFrames::new(Term(0), &snapshot(), 0).map(|frame| content(&frame)).collect();
    let messages: Vec<Bytes> = frames;
    assert!(matches!(feed(messages).as_deref(), Ok([Message::Snapshot { term: Term(0), .. }])));
    let snapshot = snapshot();
    let early = SnapshotFrames::new(Term(2), &snapshot, 0).map(|frame| content(&frame));
    assert!(feed(early.collect::<Vec<_>>()).is_err(), "a leader has no entry of a later term");
}

fn body() -> impl Strategy<Value = Body<Txn>> {
    use samples::entry_id;
    let index = || any::<u64>().prop_map(Index);
    let token =
        || (any::<u64>(), any::<u64>()).prop_map(|(life, number)| ReadToken { life, number });
    let small = (0..MAX_TERM / 2, 0..1u64 << 60);
    let append = (small, index(), vec((0..9u64, samples::payload()), 0..4)).prop_map(
        |((term, last), commit, payloads)| {
            let (mut term, mut next) = (term, last);
            let previous = id(term, last);
            let entries = payloads.into_iter().map(|(step, payload)| {
                (term, next) = (term + step, next + 1);
                SharedEntry::new(Entry { id: id(term, next), payload })
            });
            let entries = entries.collect();
            Body::Append { previous, commit, entries }
        },
    );
    let append = append.boxed();
    let found = (append.clone(), any::<bool>()).prop_map(|(append, is_matched)| {
        let Body::Append { previous, entries, .. } = append else { unreachable!("just made") };
        let name = entries.last().map_or(previous, |entry| entry.id);
        let matched = is_matched.then_some(previous);
        Body::Found { after: previous, name, matched, entries }
    });
    prop_oneof![
        4 => append,
        2 => found,
        1 => (entry_id(), vec(entry_id(), 0..5))
            .prop_map(|(after, names)| Body::Seek { after, names }),
        1 => any::<(bool, bool)>()
            .prop_map(|(has_snapshot, leads)| Body::NotFound { has_snapshot, leads }),
        1 => (entry_id(), any::<bool>())
            .prop_map(|(after, wants_leader)| Body::SeekState { after, wants_leader }),
        1 => any::<u64>().prop_map(|round| Body::AskIfNew { round }),
        1 => any::<(u64, Option<u64>)>()
            .prop_map(|(round, blank)| Body::IfNew { round, blank }),
        1 => entry_id().prop_map(|last| Body::PreVote { last }),
        1 => any::<bool>().prop_map(|granted| Body::PreVoteReply { granted }),
        1 => (entry_id(), any::<bool>())
            .prop_map(|(last, transfer)| Body::Vote { last, transfer }),
        1 => any::<bool>().prop_map(|granted| Body::VoteReply { granted }),
        1 => (index(), index())
            .prop_map(|(received, persisted)| Body::AppendReply { received, persisted }),
        1 => (index(), entry_id())
            .prop_map(|(previous, hint)| Body::AppendReject { previous, hint }),
        1 => (index(), any::<u64>())
            .prop_map(|(commit, round)| Body::Heartbeat { commit, round }),
        1 => (any::<u64>(), index(), index()).prop_map(|(round, received, persisted)| {
            Body::HeartbeatReply { round, received, persisted }
        }),
        1 => token().prop_map(|token| Body::ReadIndex { token }),
        1 => (token(), option::of(index()))
            .prop_map(|(token, index)| Body::ReadIndexReply { token, index }),
        1 => (any::<u64>(), index(), index())
            .prop_map(|(round, received, persisted)| Body::FeedMe { round, received, persisted }),
        1 => (option::of(any::<u64>()), any::<bool>())
            .prop_map(|(round, is_snapshot)| Body::Feeding { round, is_snapshot }),
        1 => any::<bool>().prop_map(|is_fed| Body::FedByOther { is_fed }),
        1 => Just(Body::TimeoutNow),
        1 => index().prop_map(|index| Body::SnapshotReply { index }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        4 => (0..=MAX_TERM, body())
            .prop_map(|(term, body)| {
                let latest = match &body {
                    Body::Append { entries, .. } => entries.last().map(|entry| entry.id.term),
                    _ => None,
                };
                let term = Term(term).max(latest.unwrap_or_default());
                Message::Raft(raft::Message { term, body })
            }),
        1 => vec(samples::action(), 0..4).prop_map(Message::Forward),
        1 => vec(any::<i64>().prop_map(SessionId), 0..4).prop_map(Message::Heard),
        1 => Just(Message::ShortOfRoom),
        1 => any::<u64>().prop_map(|index| Message::Compare(asked(index))),
        1 => any::<u64>().prop_map(|index| Message::Compare(told(index))),
        1 => Just(Message::Compare(Comparison::WantState)),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back(message in message()) {
        prop_assert_eq!(decode(frame_of(&message)), Ok(format!("{message:?}")));
    }

    #[test]
    fn every_snapshot_comes_back(
        image in samples::image(),
        (term, last_term) in (0..=MAX_TERM).prop_flat_map(|term| (Just(term), 0..=term)),
        last in any::<u64>(),
        membership in option::of((any::<u64>().prop_map(Index), samples::membership())),
    ) {
        let zxid = image.zxid();
        let meta = SnapshotMeta { last: id(last_term, last), membership };
        let snapshot = Snapshot { meta, zxid, image };
        let frames = SnapshotFrames::new(Term(term), &snapshot, 0);
        let messages = feed(frames.map(|frame| content(&frame))).expect("it was encoded");
        let [Message::Snapshot { term: decoded_term, snapshot: decoded }] = &messages[..] else {
            panic!("{messages:?}");
        };
        prop_assert_eq!(*decoded_term, Term(term));
        prop_assert_eq!(&decoded.meta, &snapshot.meta);
        prop_assert_eq!(decoded.zxid, snapshot.zxid);
        prop_assert_eq!(contents(&decoded.image), contents(&snapshot.image));
    }

    #[test]
    fn any_sealed_bytes_are_a_message_or_an_error(kind in 0..7u8, body: Vec<u8>) {
        if let Ok(message) = decode_message(sealed(kind, &body)) {
            prop_assert_eq!(decode(frame_of(&message)), Ok(format!("{message:?}")));
        }
    }
}
