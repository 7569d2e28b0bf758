//! Snapshots that are restored: read, put together, and put in force by a database.

use std::io::Write as _;

use zokor_core::db::{Action, Database, Image, ImageBuilder, Outcome, Rules, SessionRecord, Txn};
use zokor_core::id::{Nonce, Sequence, ServerId, Token};
use zokor_core::proto::{Acl, AclList, Id, Permissions};
use zokor_core::session::lane_of;
use zokor_core::time::WallTime;
use zokor_core::tree::StoredStat;

use super::*;
use crate::zookeeper::write_snapshot;

const SESSION: SessionId = SessionId(0x0100_0000_0000_0007);

fn session(id: SessionId) -> SessionRecord {
    SessionRecord {
        id,
        password: password_of(id),
        timeout_ms: 6_000,
        token: Token(4),
        sequence: Sequence(9),
        nonce: Nonce(3),
    }
}

fn znode(path: &str, owner: i64) -> ImageNode {
    let ip = Acl { permissions: Permissions::READ, id: Id::new("ip", "::1") };
    let acl: AclList = [ip].into();
    let stat = StoredStat {
        czxid: 3,
        mzxid: 4,
        pzxid: 5,
        ctime: 6,
        mtime: 7,
        version: 8,
        cversion: 9,
        aversion: 10,
        ephemeral_owner: owner,
    };
    ImageNode { path: path.into(), data: Some(path.to_owned().into_bytes().into()), acl, stat }
}

/// A state with more than the reserved znodes.
fn image(znodes: &[ImageNode], sessions: &[SessionRecord]) -> Image {
    let mut builder = ImageBuilder::new();
    for node in Database::new().freeze().nodes().chain(znodes.iter().cloned()) {
        builder.node(node).unwrap();
    }
    for session in sessions {
        builder.session(session.clone()).unwrap();
    }
    builder.build(Zxid(9)).unwrap()
}

fn bytes_of(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(image, &mut bytes).unwrap();
    bytes
}

/// The state of a server without anything that has restored this.
fn restored(prepared: &Prepared) -> Image {
    let mut database = Database::new();
    let mut apply = |action| {
        let zxid = database.zxid().next();
        let txn = Txn { time: WallTime(1), rules: Rules::default(), action };
        database.apply(zxid, &txn).outcome
    };
    let begin = Action::BeginRestore { replaces: Token(0), nonce: Nonce(1) };
    let Outcome::Attached { token } = apply(begin) else { panic!("it begins") };
    let mut last = Outcome::Settled;
    for (n, step) in prepared.steps().iter().enumerate() {
        assert_eq!(last, Outcome::Settled);
        let number = Sequence(n as u64 + 1);
        last = apply(Action::Restore { token, number, step: step.clone() });
    }
    assert_eq!(last, Outcome::Restored);
    database.freeze()
}

#[test]
fn a_snapshot_is_restored_to_the_last_number_however_it_is_packed() {
    let znodes = [znode("/a", 0), znode("/a/b", SESSION.0), znode("/c", 0)];
    let lane = session(lane_of(ServerId(3)).unwrap());
    let image = image(&znodes, &[session(SESSION), lane]);
    let plain = bytes_of(&image);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let block = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let mut snappy = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    snappy.extend_from_slice(&(block.len() as u32).to_be_bytes());
    snappy.extend_from_slice(&block);
    for body in [plain, gzip.finish().unwrap(), snappy] {
        let Snapshot { prepared, zxid, notes } = read(&body[..]).unwrap();
        assert_eq!(zxid, Some(Zxid(9)));
        assert!(notes.is_empty(), "{notes:?}");
        assert_eq!((prepared.n_znodes(), prepared.n_sessions()), (7, 1), "no lane is a client's");
        let found = restored(&prepared);
        let expected: Vec<ImageNode> = image.nodes().collect();
        assert_eq!(found.nodes().collect::<Vec<_>>(), expected);
        let sessions: Vec<_> = found.sessions().collect();
        assert_eq!(sessions.len(), 1);
        assert_eq!((sessions[0].id, sessions[0].timeout_ms), (SESSION, 6_000));
        assert_eq!(sessions[0].password, password_of(SESSION));
    }
}

/// The digest with its zxid and version, and the last zxid, each with a seal.
const DIGEST_BYTES: usize = 33;
const LAST_ZXID_BYTES: usize = 21;

#[test]
fn what_is_no_snapshot_or_is_cut_is_refused_before_anything_is_begun() {
    for body in [&b""[..], b"{}", b"\x1f\x8bno gzip", b"\x82SNAPPY\0 no snappy"] {
        let why = read(body).unwrap_err();
        assert!(why.starts_with("this is no whole snapshot"), "{why}");
    }
    let whole = bytes_of(&image(&[znode("/a", 0)], &[]));
    // Files of earlier releases end after the first seal, or after the digest and its own.
    let ends = [whole.len() - LAST_ZXID_BYTES - DIGEST_BYTES, whole.len() - LAST_ZXID_BYTES];
    for length in (0..whole.len()).filter(|length| !ends.contains(length)) {
        assert!(read(&whole[..length]).is_err(), "{length} bytes of {}", whole.len());
    }
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    assert!(read(&flipped[..]).is_err());
}

#[test]
fn ephemerals_of_ended_sessions_are_left_out_and_what_is_always_there_is_added() {
    let znodes = [znode("/a", 0), znode("/a/kept", SESSION.0), znode("/a/left", 99)];
    let Snapshot { prepared, notes, .. } =
        read(&bytes_of(&image(&znodes, &[session(SESSION)]))[..]).unwrap();
    assert!(notes[0].starts_with("1 ephemeral znodes of ended sessions"), "{notes:?}");
    let found = restored(&prepared);
    let paths: Vec<_> = found.nodes().map(|node| node.path.to_string()).collect();
    assert!(paths.contains(&"/a/kept".to_owned()) && !paths.contains(&"/a/left".to_owned()));
    let parent = found.nodes().find(|node| &*node.path == "/a").unwrap();
    assert_eq!(parent, znode("/a", 0), "its numbers stay");

    let mut builder = ImageBuilder::new();
    builder.node(znode("/", 0)).unwrap();
    let bare = builder.build(Zxid(9)).unwrap();
    let Snapshot { prepared, .. } = read(&bytes_of(&bare)[..]).unwrap();
    assert_eq!(prepared.n_znodes(), 4);
    restored(&prepared);
}

#[test]
fn a_snapshot_taken_while_changes_went_on_is_told_by_its_digest() {
    let mut bytes = bytes_of(&image(&[znode("/a", 0)], &[]));
    // The digest and its seal: another number, sealed anew.
    let digest = bytes.len() - LAST_ZXID_BYTES - DIGEST_BYTES + 12;
    bytes.truncate(digest);
    bytes.extend_from_slice(&7u64.to_be_bytes());
    let sum = adler2::adler32_slice(&bytes);
    bytes.extend_from_slice(&i64::from(sum).to_be_bytes());
    bytes.extend_from_slice(b"\0\0\0\x01/");
    let Snapshot { notes, .. } = read(&bytes[..]).unwrap();
    assert!(notes[0].contains("taken while changes went on"), "{notes:?}");
}

#[test]
fn each_end_is_told_in_a_sentence() {
    assert_eq!(told(RestoreEnd::Done { zxid: Zxid(7) }), Ok(Zxid(7)));
    let why = told(RestoreEnd::Failed(RestoreError::Abandoned)).unwrap_err();
    assert!(why.starts_with("nothing was restored: it was given up"), "{why}");
    assert!(told(RestoreEnd::Busy).unwrap_err().contains("one at a time"));
    assert!(told(RestoreEnd::Unknown).unwrap_err().contains("not known"));
}
