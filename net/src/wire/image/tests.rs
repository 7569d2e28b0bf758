//! The chunks of images: round trips, and what is refused.

use proptest::prelude::*;
use zokor_core::db::ImageError;
use zokor_core::proto::{Acl, Id, Permissions, Text};

use super::*;
use crate::wire::samples::{self, build, build_restoring, contents, hex, root};

fn decode(chunks: impl IntoIterator<Item = Bytes>) -> Result<Image, WireError> {
    let mut decoder = ImageDecoder::new();
    for chunk in chunks {
        decoder.chunk(chunk)?;
    }
    decoder.finish()
}

fn open_acl() -> AclList {
    AclList::from(vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }])
}

fn node(path: &str, acl: &AclList, data: Option<Bytes>) -> ImageNode {
    ImageNode {
        path: Text::from(path.to_owned()),
        data,
        acl: acl.clone(),
        stat: StoredStat::default(),
    }
}

fn small() -> Image {
    let acl = open_acl();
    let mut child = node("/a", &acl, None);
    child.stat = StoredStat {
        czxid: 1,
        mzxid: 2,
        ctime: 3,
        mtime: 4,
        version: 5,
        cversion: 6,
        aversion: 7,
        ephemeral_owner: 8,
        pzxid: 9,
    };
    let session = SessionRecord {
        id: SessionId(8),
        password: [7; 16],
        timeout_ms: 10,
        token: Token(11),
        sequence: Sequence(12),
        nonce: Nonce(13),
    };
    let last_ids = BTreeMap::from([(0, SessionId(8)), (1, SessionId(-1))]);
    let other = node("/b", &open_acl(), Some(Bytes::from_static(b"hi")));
    build(&[root(), child, other], &[session], &last_ids, Zxid(14))
}

#[test]
fn the_bytes_of_version_1_are_fixed() {
    let image = small();
    let digits = format!(
        "01 01 1c
         02 00
         03 01 2f 01 00 00 00 00 00 00 00 00 00 00
         02 01 3e 05 776f726c64 06 616e796f6e65
         03 02 2f61 00 01 02 04 06 08 0a 0c 0e 10 12
         03 02 2f62 03 6869 01 00 00 00 00 00 00 00 00 00
         04 0000000000000008 {sevens} 14 16 0c 000000000000000d
         05 00 0000000000000008
         05 01 ffffffffffffffff
         06 03 01 {digest:016x}",
        sevens = "07".repeat(16),
        digest = image.digest(),
    );
    let chunks: Vec<Bytes> = ImageEncoder::new(&image).collect();
    assert_eq!(chunks, [hex(&digits)]);
    assert_eq!(contents(&decode(chunks).expect("whole")), contents(&image));
}

/// An image in whose log a restore was begun, and has come so far.
fn restoring(staged: Option<(Sequence, u64)>) -> Image {
    let session = SessionRecord {
        id: SessionId(8),
        password: [7; 16],
        timeout_ms: 10,
        token: Token(0),
        sequence: Sequence(0),
        nonce: Nonce(0),
    };
    let facts = RestoreFacts { begun: Token(3), done: Zxid(2), staged };
    build_restoring(&[root()], &[session], &BTreeMap::new(), Zxid(14), Some(facts))
}

#[test]
fn the_bytes_of_restores_are_fixed() {
    let session = format!("0000000000000008 {} 14 00 00 0000000000000000", "07".repeat(16));
    let znode = "2f 01 00 00 00 00 00 00 00 00 00 00";
    let start = format!("01 01 1c 02 00 03 01 {znode} 04 {session}");
    let done = restoring(None);
    let digits = format!("{start} 07 06 04 06 01 01 {:016x}", done.digest());
    assert_eq!(ImageEncoder::new(&done).collect::<Vec<Bytes>>(), [hex(&digits)]);
    assert_eq!(contents(&decode([hex(&digits)]).expect("whole")), contents(&done));

    let under_way = restoring(Some((Sequence(2), 300)));
    let digest = under_way.digest();
    let staged = format!("08 06 04 02 ac02 09 01 {znode} 0a {session}");
    let digits = format!("{start} {staged} 06 02 02 {digest:016x}");
    assert_eq!(ImageEncoder::new(&under_way).collect::<Vec<Bytes>>(), [hex(&digits)]);
    assert_eq!(contents(&decode([hex(&digits)]).expect("whole")), contents(&under_way));
    // Nothing comes of a restore that is not known, or that no one began.
    let unknown = decode([hex(&format!("{start} 09 01 {znode}"))]);
    assert_eq!(unknown.map(|_| ()), Err(WireError::Image(ImageError::NoRestore)));
    let unknown = decode([hex(&format!("{start} 07 00 04"))]);
    assert_eq!(unknown.map(|_| ()), Err(WireError::Image(ImageError::NoRestore)));
    let twice = decode([hex(&format!("{start} 07 06 04 07 06 04"))]);
    assert_eq!(twice.map(|_| ()), Err(WireError::Misplaced { what: "restores" }));
}

#[test]
fn an_image_that_is_cut_is_refused() {
    let chunks: Vec<Bytes> = ImageEncoder::new(&small()).collect();
    let whole = &chunks[0];
    for length in 0..whole.len() {
        assert!(decode([whole.slice(..length)]).is_err(), "at {length}");
    }
}

#[test]
fn records_come_in_their_places() {
    let misplaced = |what| Err(WireError::Misplaced { what });
    let decode = |digits: &str| decode([hex(digits)]).map(|image| image.zxid());
    let root = "02 00 03 01 2f 01 00 00 00 00 00 00 00 00 00 00";
    let what = "record of an image";
    assert_eq!(decode(""), misplaced("end of the chunks"));
    assert_eq!(decode(root), misplaced(what), "no start");
    assert_eq!(decode("01 01 00 01 01 00"), misplaced(what), "two starts");
    assert_eq!(decode(&format!("01 01 00 {root}")), misplaced("end of the chunks"));
    let end = "06 01 00 0000000000000000";
    assert_eq!(decode(&format!("01 01 00 {root} {end} {end}")), misplaced(what), "two ends");
    let ids = "05 01 0000000000000000 05 01 0000000000000000";
    assert_eq!(decode(&format!("01 01 00 {root} {ids}")), misplaced("last session id"));
    let version = WireError::Version { what: "image", found: 2, known: 1 };
    assert_eq!(decode("01 02 00"), Err(version));
}

#[test]
fn numbers_that_stand_for_nothing_are_refused() {
    let decode = |digits: &str| decode([hex(digits)]).map(|image| image.zxid());
    let no_acl = decode("01 01 00 03 01 2f 01 00 00 00 00 00 00 00 00 00 00");
    assert!(matches!(no_acl, Err(WireError::Value { what: "number of an acl", .. })));
    let root = "01 01 00 02 00 03 01 2f 01 00 00 00 00 00 00 00 00 00 00";
    let nodes = decode(&format!("{root} 06 02 00 0000000000000000"));
    assert!(matches!(nodes, Err(WireError::Value { what: "number of znodes", .. })));
    let sessions = decode(&format!("{root} 06 01 01 0000000000000000"));
    assert!(matches!(sessions, Err(WireError::Value { what: "number of sessions", .. })));
    let kind = decode(&format!("{root} 0b"));
    assert!(matches!(kind, Err(WireError::Value { what: "kind of record", .. })));
}

#[test]
fn chunks_are_about_as_large_as_asked_for() {
    let acl = open_acl();
    let data = Bytes::from(vec![7; 1_000]);
    let nodes = (0..1_000).map(|n| node(&format!("/{n:03}"), &acl, Some(data.clone())));
    let nodes: Vec<ImageNode> = std::iter::once(root()).chain(nodes).collect();
    let image = build(&nodes, &[], &BTreeMap::new(), Zxid(1));
    let chunks: Vec<Bytes> = ImageEncoder::new(&image).collect();
    assert_eq!(chunks.len(), 4);
    for chunk in &chunks[..3] {
        assert!((CHUNK_SIZE..CHUNK_SIZE + 1_100).contains(&chunk.len()), "{}", chunk.len());
    }
    assert_eq!(contents(&decode(chunks).expect("whole")), contents(&image));
}

#[test]
fn equal_acls_are_written_once() {
    let nodes: Vec<ImageNode> = std::iter::once(root())
        .chain((0..100).map(|n| node(&format!("/{n:02}"), &open_acl(), None)))
        .collect();
    let image = build(&nodes, &[], &BTreeMap::new(), Zxid(1));
    let bytes: Vec<u8> = ImageEncoder::new(&image).flatten().collect();
    let count = bytes.windows(6).filter(|window| window == b"anyone").count();
    assert_eq!(count, 1);
    let image = decode([Bytes::from(bytes)]).expect("whole");
    let acls: Vec<AclList> = image.nodes().skip(1).map(|node| node.acl).collect();
    assert_eq!(acls[99], open_acl());
}

proptest! {
    #[test]
    fn every_image_comes_back_in_chunks_of_any_size(
        image in samples::image(),
        chunk_size in 1..400usize,
    ) {
        let chunks: Vec<Bytes> = ImageEncoder::with_chunk_size(&image, chunk_size).collect();
        let decoded = decode(chunks).expect("it was encoded");
        prop_assert_eq!(contents(&decoded), contents(&image));
    }

    #[test]
    fn a_missing_chunk_is_noticed(image in samples::image(), at: prop::sample::Index) {
        let mut chunks: Vec<Bytes> = ImageEncoder::with_chunk_size(&image, 30).collect();
        chunks.remove(at.index(chunks.len()));
        prop_assert!(decode(chunks).is_err());
    }

    #[test]
    fn any_bytes_are_refused_or_are_an_image(bytes: Vec<u8>) {
        let mut decoder = ImageDecoder::new();
        let length = bytes.len() as u64;
        if decoder.chunk(Bytes::from(bytes)).is_ok() {
            prop_assert!(decoder.n_nodes <= length);
        }
    }
}
