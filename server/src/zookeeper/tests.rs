//! Small files of ZooKeeper, put together byte by byte from its formats.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use adler2::adler32_slice;
use bytes::{BufMut, BytesMut};
use tempfile::TempDir;
use zokor_core::db::{Image, ImageBuilder, ImageNode};
use zokor_core::id::SessionId;
use zokor_core::proto::{AclList, Zxid};
use zokor_core::tree::{Kind, StoredStat};

use super::checksum::node_digest;
use super::*;
use crate::import::image_of;

/// A snapshot with these znodes: path without the root's slash, owner, czxid. All ACLs are number 1
/// but the root's.
fn snapshot(znodes: &[(&str, u64, i64)], sessions: &[(i64, i32)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_slice(b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff");
    out.put_i32(sessions.len() as i32);
    for (session, timeout) in sessions {
        out.put_i64(*session);
        out.put_i32(*timeout);
    }
    out.put_slice(b"\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x02ip\0\0\0\x03::1");
    for (path, owner, czxid) in znodes {
        text(&mut out, path);
        text(&mut out, "hi");
        out.put_i64(if path.is_empty() { -1 } else { 1 });
        for long in [*czxid, *czxid, 1_000, 1_000] {
            out.put_i64(long);
        }
        out.put_slice(&[0; 12]);
        out.put_u64(*owner);
        out.put_i64(*czxid);
    }
    out.put_slice(b"\0\0\0\x01/");
    seal(&mut out);
    out.to_vec()
}

fn text(out: &mut BytesMut, text: &str) {
    out.put_i32(text.len() as i32);
    out.put_slice(text.as_bytes());
}

fn seal(out: &mut BytesMut) {
    let sum = adler32_slice(out);
    out.put_i64(i64::from(sum));
    out.put_slice(b"\0\0\0\x01/");
}

/// A log of these entries, and some room for more.
fn log(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_slice(b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0");
    for entry in entries {
        out.put_i64(i64::from(adler32_slice(entry)));
        out.put_i32(entry.len() as i32);
        out.put_slice(entry);
        out.put_u8(b'B');
    }
    out.put_slice(&[0; 500]);
    out.to_vec()
}

fn entry(zxid: i64, kind: i32, record: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i64(SESSION);
    out.put_i32(7);
    out.put_i64(zxid);
    out.put_i64(2_000 + zxid);
    out.put_i32(kind);
    record(&mut out);
    out.to_vec()
}

fn create(out: &mut BytesMut, path: &str, is_ephemeral: bool, parent_cversion: i32) {
    text(out, path);
    text(out, "new");
    out.put_slice(b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone");
    out.put_u8(u8::from(is_ephemeral));
    out.put_i32(parent_cversion);
}

fn created(zxid: i64, path: &str, parent_cversion: i32) -> Vec<u8> {
    entry(zxid, 1, |out| create(out, path, false, parent_cversion))
}

fn deleted(zxid: i64, path: &str) -> Vec<u8> {
    entry(zxid, 2, |out| text(out, path))
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("version-2")).unwrap();
    for (name, content) in files {
        fs::write(folder.path().join("version-2").join(name), content).unwrap();
    }
    folder
}

fn loaded(folder: &TempDir) -> Result<Contents, String> {
    load(&Files::find(folder.path(), None).unwrap(), Strictness::default(), |_| ())
}

fn despite(folder: &TempDir) -> Contents {
    let strictness = Strictness { despite_damage: true, ..Strictness::default() };
    load(&Files::find(folder.path(), None).unwrap(), strictness, |_| ()).unwrap()
}

fn read(bytes: &[u8]) -> Result<SnapshotContents, Wrong> {
    read_snapshot(&mut Input::new(bytes))
}

const SESSION: i64 = 0x0100_0040_f6a9_0000;
const ROOT: (&str, u64, i64) = ("", 0, 0);

fn basic() -> Vec<u8> {
    snapshot(&[ROOT, ("/a", 0, 5), ("/a/e", SESSION as u64, 6)], &[(SESSION, 10_000)])
}

#[test]
fn a_snapshot_is_read_to_the_last_number() {
    let found = read(&basic()).unwrap();
    assert_eq!(found.sessions, [(SESSION, 10_000)].into());
    assert_eq!((found.tree.len(), found.digest), (3, None));
    let znode = found.tree.get("/a/e").unwrap();
    assert_eq!(znode.data.as_deref(), Some(&b"hi"[..]));
    assert_eq!((znode.acl[0].permissions.0, &*znode.acl[0].id.scheme), (1, "ip"));
    assert_eq!(&*found.tree.get("/").unwrap().acl[0].id.scheme, "world");
    let expected = StoredStat {
        czxid: 6,
        mzxid: 6,
        ctime: 1_000,
        mtime: 1_000,
        pzxid: 6,
        ephemeral_owner: SESSION,
        ..StoredStat::default()
    };
    assert_eq!(znode.stat, expected);
    assert_eq!(found.tree.ephemerals(SessionId(SESSION)).count(), 1);
}

#[test]
fn what_later_releases_put_behind_the_seal_is_read_or_passed() {
    let with = |digest: Option<(i64, i32)>, last: bool| {
        let mut out = BytesMut::from(&basic()[..]);
        if let Some((zxid, version)) = digest {
            out.put_i64(zxid);
            out.put_i32(version);
            out.put_i64(0x1_2345);
            seal(&mut out);
        }
        if last {
            out.put_i64(77);
            seal(&mut out);
        }
        read(&out).unwrap().digest
    };
    let digest = Some(SnapshotDigest { zxid: 9, value: 0x1_2345 });
    assert_eq!(with(None, false), None);
    assert_eq!(with(None, true), None);
    assert_eq!(with(Some((9, 2)), false), digest);
    assert_eq!(with(Some((9, 2)), true), digest);
    assert_eq!(with(Some((0, 2)), true), None, "zxid 0 is no digest");
    assert_eq!(with(Some((9, 3)), true), None, "of a version to come");
}

#[test]
fn each_byte_of_a_snapshot_counts() {
    let whole = basic();
    for at in 0..whole.len() {
        // Nobody ever looks at version and database id.
        if (4..16).contains(&at) {
            continue;
        }
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert!(read(&damaged).is_err(), "byte {at}");
    }
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "cut to {length}");
    }
    let longer = [&whole[..], b"x"].concat();
    assert_eq!(read(&longer).unwrap_err().offset, whole.len() as u64 + 1 - 1);
}

#[test]
fn a_snapshot_that_makes_no_tree_is_refused_where_it_goes_wrong() {
    for znodes in [
        &[("/a", 0, 1)][..],
        &[ROOT, ("/a/b", 0, 1)],
        &[ROOT, ("/a", 0, 1), ("/a", 0, 1)],
        &[ROOT, ("a", 0, 1)],
        &[ROOT, ("/a/", 0, 1)],
        &[ROOT, ("//a", 0, 1)],
    ] {
        let wrong = read(&snapshot(znodes, &[])).unwrap_err();
        assert!(wrong.what.contains("no parent"), "{wrong:?}");
        assert!(wrong.offset > 0);
    }
}

#[test]
fn a_packed_snapshot_is_the_same_snapshot() {
    let plain = basic();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let mut snappy = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for piece in plain.chunks(100) {
        let block = snap::raw::Encoder::new().compress_vec(piece).unwrap();
        snappy.extend_from_slice(&(block.len() as u32).to_be_bytes());
        snappy.extend_from_slice(&block);
    }
    let packed = [(Packing::Gzip, gzip.finish().unwrap()), (Packing::Snappy, snappy)];
    for (packing, bytes) in packed {
        let stream = unpack(&bytes[..], packing);
        let found = read_snapshot(&mut Input::new(stream)).unwrap();
        assert_eq!(found.tree.len(), 3);
        for length in 0..bytes.len() {
            let stream = unpack(&bytes[..length], packing);
            assert!(read_snapshot(&mut Input::new(stream)).is_err(), "{packing:?} {length}");
        }
    }
    for (name, packing) in [("a/snapshot.1f", Packing::Plain), ("s.gz", Packing::Gzip)] {
        assert_eq!(Packing::of(Path::new(name)), packing);
    }
    let lies = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], b"\x7f\xff\xff\xff"].concat();
    assert!(read_snapshot(&mut Input::new(unpack(&lies[..], Packing::Snappy))).is_err());
}

/// Entries as a server of 3.8.0 wrote them, with their digests.
#[test]
fn entries_of_a_real_server_are_read() {
    let bytes = |hex: &str| -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    let begun = bytes(
        "00000000c7f209e3 00000030 01000040f6a90000 00000000 0000000000000016 000001a209266045 \
         fffffff6 00002710 00000002 000000036c5d9edf 42",
    );
    let made = bytes(
        "01000040f6a90000 00000001 0000000000000018 000001a2092660d5 00000001 00000002 2f76 \
         00000002 6869 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00 00000008 \
         00000002 00000004cffd0699",
    );
    let failed = bytes(
        "01000040f6a90000 00000003 0000000000000019 000001a20926612e 0000000e 00000002 00000001 \
         0000002c 00000004 2f762f61 00000000 00000001 0000001f 00000005 776f726c64 00000006 \
         616e796f6e65 00 00000001 ffffffff 00000004 ffffff99 00000002 00000004cffd0699",
    );
    assert_eq!((made.len(), adler32_slice(&made)), (88, 0xec9a_0cd2));
    assert_eq!((failed.len(), adler32_slice(&failed)), (112, 0xf5a0_13b9));
    let mut file = log(&[])[..16].to_vec();
    file.extend_from_slice(&begun);
    file.extend_from_slice(&log(&[made, failed])[16..]);
    let mut reader = LogReader::begin(&file[..]).unwrap();
    let first = reader.next_entry().unwrap().unwrap();
    assert_eq!((first.offset, first.header.zxid, first.digest), (16, 0x16, Some(0x3_6c5d_9edf)));
    assert_eq!(first.txn, Txn::CreateSession { timeout_ms: 10_000 });
    let second = reader.next_entry().unwrap().unwrap();
    let Txn::Create(made) = &second.txn else { panic!("{second:?}") };
    assert_eq!((&*made.path, made.owner, made.parent_cversion), ("/v", 0, Some(8)));
    let third = reader.next_entry().unwrap().unwrap();
    assert_eq!((third.txn, third.digest), (Txn::Nothing, Some(0x4_cffd_0699)));
    assert_eq!(reader.next_entry(), Ok(None));
    assert_eq!(reader.torn_at(), None);
}

#[test]
fn transactions_of_every_kind_do_what_they_did() {
    let mut tree = read(&basic()).unwrap().tree;
    let mut apply = |bytes: Vec<u8>| {
        let (header, txn, digest) = decode(bytes.into()).unwrap();
        assert_eq!(digest, None);
        tree.apply(&header, &txn);
        tree.clone()
    };
    apply(created(10, "/b", 1));
    apply(entry(11, 15, |out| create(out, "/b/e", true, 1)));
    apply(entry(12, 19, |out| {
        text(out, "/c");
        out.put_i32(-1);
        out.put_slice(b"\0\0\0\0\0\0\0\x02");
    }));
    let tree = apply(entry(13, 21, |out| {
        text(out, "/t");
        text(out, "");
        out.put_slice(b"\0\0\0\0\0\0\0\x03");
        out.put_i64(5_000);
    }));
    let kind = |path| Kind::of(tree.get(path).unwrap().stat.ephemeral_owner);
    assert_eq!(kind("/b/e"), Kind::Ephemeral(SessionId(SESSION)));
    assert_eq!((kind("/c"), kind("/t")), (Kind::Container, Kind::Ttl { ttl_ms: 5_000 }));
    assert_eq!(tree.get("/c").unwrap().data, None);
    let root = tree.get("/").unwrap().stat;
    assert_eq!((root.cversion, root.pzxid), (3, 13));
    let made = tree.get("/b").unwrap().stat;
    assert_eq!((made.czxid, made.ctime, made.pzxid, made.cversion), (10, 2_010, 11, 1));

    apply(entry(14, 5, |out| {
        text(out, "/b");
        text(out, "set");
        out.put_i32(4);
    }));
    apply(entry(15, 7, |out| {
        text(out, "/b");
        out.put_slice(b"\0\0\0\0\0\0\0\x06");
    }));
    apply(entry(16, 14, |out| {
        let mut part = BytesMut::new();
        create(&mut part, "/b/m", false, 2);
        out.put_slice(b"\0\0\0\x02\0\0\0\x01");
        out.put_i32(part.len() as i32);
        out.put_slice(&part);
        out.put_slice(b"\0\0\0\x02\0\0\0\x06\0\0\0\x02/t");
    }));
    apply(entry(17, -1, |out| out.put_i32(-101)));
    let tree = apply(entry(18, 13, |out| {
        text(out, "/b");
        out.put_i32(0);
    }));
    let set = tree.get("/b").unwrap();
    assert_eq!((set.data.as_deref(), set.stat.version), (Some(&b"set"[..]), 4));
    assert_eq!((set.stat.mzxid, set.stat.mtime, set.stat.aversion), (14, 2_014, 6));
    assert!(set.acl.is_empty() && tree.get("/b/m").is_some() && tree.get("/t").is_none());
    let tree = apply(entry(19, -11, |out| {
        out.put_i32(2);
        text(out, "/b/e");
        text(out, "/gone");
    }));
    assert!(tree.get("/b/e").is_none() && tree.get("/a/e").is_none(), "both are the session's");
    assert_eq!(tree.get("/a").unwrap().stat.pzxid, 19);
}

#[test]
fn records_of_old_releases_are_shorter() {
    let old = entry(1, 1, |out| {
        let mut whole = BytesMut::new();
        create(&mut whole, "/o", false, 0);
        out.put_slice(&whole[..whole.len() - 4]);
    });
    let (_, txn, _) = decode(old.into()).unwrap();
    let Txn::Create(made) = txn else { panic!("{txn:?}") };
    assert_eq!(made.parent_cversion, None);
    let closed = |bytes: &[u8]| decode(entry(1, -11, |out| out.put_slice(bytes)).into());
    assert_eq!(closed(b"").unwrap().1, Txn::CloseSession(vec![]));
    let digest = b"\0\0\0\x02\0\0\0\0\0\0\0\x09";
    assert_eq!(closed(digest).unwrap().2, Some(9));
    let one = closed(b"\0\0\0\x01\0\0\0\x04/abc").unwrap();
    assert_eq!(one.1, Txn::CloseSession(vec!["/abc".into()]));
    let both = closed(&[&b"\0\0\0\x01\0\0\0\x04/abc"[..], digest].concat()).unwrap();
    assert_eq!((both.1, both.2), (one.1, Some(9)));
}

/// As in the log of a follower that was brought up to date by a server which had applied it.
#[test]
fn a_failed_part_of_a_multi_may_still_hold_what_it_was() {
    let mut part = BytesMut::new();
    create(&mut part, "/b", false, 1);
    let multi = entry(1, 14, |out| {
        out.put_slice(b"\0\0\0\x02\xff\xff\xff\xff");
        out.put_i32(part.len() as i32);
        out.put_slice(&part);
        out.put_slice(b"\xff\xff\xff\xff\0\0\0\x04\xff\xff\xff\x99");
    });
    assert_eq!(decode(multi.into()).unwrap().1, Txn::Nothing);
}

#[test]
fn what_is_no_transaction_is_refused() {
    for bytes in [
        entry(1, 99, |_| ()),
        entry(1, 2, |_| ()),
        entry(1, 2, |out| out.put_slice(b"\0\0\0\x01/x")),
        entry(1, 21, |out| out.put_slice(&[0; 24])),
        entry(1, 14, |out| out.put_slice(b"\0\0\0\x01\0\0\0\x0e\0\0\0\0")),
        entry(1, 14, |out| out.put_slice(b"\x7f\xff\xff\xff")),
        entry(1, -10, |out| out.put_slice(&[0; 5])),
    ] {
        assert!(decode(bytes.clone().into()).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_log_ends_with_zeros_or_with_an_entry_that_was_never_finished() {
    let whole = log(&[created(1, "/a", 1), created(2, "/b", 2)]);
    let second = 16 + 13 + created(1, "/a", 1).len();
    let entries = |bytes: &[u8]| -> Result<(i32, Option<u64>), u64> {
        let mut reader = LogReader::begin(bytes).map_err(|wrong| wrong.offset)?;
        let mut n = 0;
        while reader.next_entry().map_err(|wrong| wrong.offset)?.is_some() {
            n += 1;
        }
        Ok((n, reader.torn_at()))
    };
    assert_eq!(entries(&whole), Ok((2, None)));
    let end = whole.len() - 500;
    for length in second + 1..end {
        let zeros_only = whole[second..length].iter().all(|byte| *byte == 0);
        let expected = Ok((1, (!zeros_only).then_some(second as u64)));
        assert_eq!(entries(&whole[..length]), expected, "{length}");
        // The rest of what was set aside is zero.
        let mut torn = whole.clone();
        torn[length..].fill(0);
        assert_eq!(entries(&torn), expected, "{length}");
    }
    for length in 0..16 {
        assert!(entries(&whole[..length]).is_err());
    }
    // Damage to the first entry is found, whatever part of it is hit, since a whole one follows.
    for at in 16..second {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        assert_eq!(entries(&damaged), Err(16), "byte {at}");
    }
    let mut zeroed = whole.clone();
    zeroed[16..second].fill(0);
    assert_eq!(entries(&zeroed), Err(16), "zeros that are followed by an entry are no end");
}

#[test]
fn a_fuzzy_snapshot_and_its_log_give_the_state_at_the_end() {
    // Taken from zxid 4 on; /a/e and the second /d were in time for it, /b was not.
    let fuzzy = snapshot(
        &[ROOT, ("/a", 0, 3), ("/a/e", SESSION as u64, 6), ("/d", 0, 9), ("/d/x", 0, 10)],
        &[(SESSION, 10_000)],
    );
    let entries = log(&[
        created(3, "/a", 1),
        created(4, "/d", 2),
        created(5, "/b", 3),
        entry(6, 1, |out| create(out, "/a/e", true, 1)),
        created(7, "/d/y", 1),
        entry(8, 14, |out| {
            out.put_slice(b"\0\0\0\x02");
            for path in ["/d/y", "/d"] {
                out.put_slice(b"\0\0\0\x02");
                out.put_i32(4 + path.len() as i32);
                text(out, path);
            }
        }),
        created(9, "/d", 4),
        created(10, "/d/x", 1),
        deleted(11, "/gone/x"),
        deleted(12, "/gone"),
    ]);
    let folder = folder(&[("snapshot.4", &fuzzy), ("log.3", &entries)]);
    let found = loaded(&folder).unwrap();
    assert_eq!((found.zxid, found.n_txns), (Zxid(12), 8));
    let paths: Vec<&str> = found.tree.iter().map(|(path, _)| &**path).collect();
    let own = ["/", "/a", "/a/e", "/b", "/d", "/d/x"];
    let reserved = ["/zookeeper", "/zookeeper/config", "/zookeeper/quota"];
    assert_eq!(paths, [&own[..], &reserved].concat());
    let stat = |path| found.tree.get(path).unwrap().stat;
    assert_eq!((stat("/").cversion, stat("/").pzxid), (4, 12));
    assert_eq!((stat("/a").cversion, stat("/a").pzxid), (1, 6));
    assert_eq!((stat("/d").czxid, stat("/d").cversion, stat("/d").pzxid), (9, 1, 10));
    // What was in the snapshot by then keeps its data and gets the ACL of its making.
    let kept = found.tree.get("/a/e").unwrap();
    assert_eq!((kept.data.as_deref(), kept.acl.len()), (Some(&b"hi"[..]), 1));
    assert_eq!(&*kept.acl[0].id.scheme, "world");
}

#[test]
fn sessions_are_those_that_began_and_did_not_end() {
    let began = |zxid, timeout| entry(zxid, -10, |out| out.put_i32(timeout));
    let start = snapshot(&[ROOT, ("/o", 0x55, 1), ("/e", 7, 1)], &[(7, 4_000), (8, 5_000)]);
    let files = |entries: &[Vec<u8>]| folder(&[("snapshot.1", &start), ("log.2", &log(entries))]);
    let found = loaded(&files(&[began(2, 6_000)])).unwrap();
    assert_eq!(found.sessions, [(7, 4_000), (8, 5_000), (SESSION, 6_000)].into());
    assert_eq!(found.last_sessions, [(0, SessionId(8)), (1, SessionId(SESSION))].into());
    assert!(found.tree.get("/o").is_none(), "its session had ended");
    assert_eq!((found.n_orphans, found.tree.get("/").unwrap().stat.pzxid), (1, 2));
    let image = image_of(&found).unwrap();
    let session = image.sessions().find(|session| session.id.0 == SESSION).unwrap();
    assert_eq!((session.timeout_ms, session.password), (6_000, password_of(SessionId(SESSION))));
    let ended = loaded(&files(&[began(2, 6_000), entry(3, -11, |_| ())])).unwrap();
    assert_eq!(ended.sessions.len(), 2);
    assert_eq!(ended.last_sessions[&1], SessionId(SESSION), "its id is never given again");
}

#[test]
fn damage_is_told_by_file_and_offset_and_passed_only_when_told_so() {
    let first = created(2, "/b", 1);
    let mut broken = log(&[first.clone(), created(3, "/c", 2), created(4, "/d", 3)]);
    let at = 16 + 13 + first.len();
    broken[at + 20] ^= 1;
    let folder = folder(&[("snapshot.1", &basic()), ("log.2", &broken)]);
    let error = loaded(&folder).unwrap_err();
    assert!(error.contains(&format!("log.2 is damaged at offset {at}")), "{error}");
    assert!(error.contains("--despite-damage"), "{error}");
    let found = despite(&folder);
    assert_eq!((found.zxid, found.passed_over.len()), (Zxid(2), 1));
    assert!(found.tree.get("/b").is_some() && found.tree.get("/c").is_none());
}

#[test]
fn a_missing_part_of_the_log_is_damage() {
    let (one, three) = (log(&[created(2, "/b", 1)]), log(&[created(4, "/d", 3)]));
    let gap = folder(&[("snapshot.1", &basic()), ("log.2", &one), ("log.4", &three)]);
    let error = loaded(&gap).unwrap_err();
    assert!(error.contains("log.4 is damaged at offset 16"), "{error}");
    assert!(error.contains("zxid 0x4 follows 0x2"), "{error}");
    assert_eq!(despite(&gap).zxid, Zxid(2));
    let none = folder(&[("snapshot.1", &basic())]);
    assert!(loaded(&none).unwrap_err().contains("--log"));
    let only = folder(&[("log.1", &log(&[created(1, "/b", 1)]))]);
    assert!(loaded(&only).unwrap_err().contains("holds no snapshot"));
    assert!(despite(&only).tree.get("/b").is_some());
    // The next epoch begins with 1, wherever the last one ended.
    let next = log(&[created((1 << 32) | 1, "/n", 3)]);
    let epochs = folder(&[("snapshot.1", &basic()), ("log.2", &one), ("log.100000001", &next)]);
    assert_eq!(loaded(&epochs).unwrap().zxid, Zxid((1 << 32) | 1));
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one_if_the_log_goes_on_from_there() {
    let entries = log(&[created(2, "/b", 1), created(3, "/c", 2)]);
    let files = [("snapshot.1", &basic()[..]), ("snapshot.2", b"ZKSN half"), ("log.2", &entries)];
    let found = loaded(&folder(&files)).unwrap();
    assert_eq!((found.zxid, found.n_txns), (Zxid(3), 2));
    assert!(found.notes[0].contains("snapshot.2 is damaged"), "{:?}", found.notes);
    let error = loaded(&folder(&files[1..])).unwrap_err();
    assert!(error.contains("no snapshot is whole"), "{error}");
}

#[test]
fn digests_are_compared_once_the_snapshot_is_no_longer_fuzzy() {
    let start = basic();
    let mut tree = read(&start).unwrap().tree;
    let mut with_digest = |bytes: Vec<u8>, wrong: u64| {
        let (header, txn, _) = decode(bytes.clone().into()).unwrap();
        tree.apply(&header, &txn);
        let digest = (tree.digest() ^ wrong).to_be_bytes();
        [&bytes[..], b"\0\0\0\x02", &digest].concat()
    };
    let fuzzy = with_digest(created(7, "/b", 1), 1);
    let right = with_digest(created(8, "/c", 2), 0);
    let wrong = with_digest(created(9, "/d", 3), 1);
    let files = |entries: &[Vec<u8>]| folder(&[("snapshot.6", &start), ("log.7", &log(entries))]);
    let found = loaded(&files(&[fuzzy.clone(), right.clone()])).unwrap();
    assert_eq!(found.n_digests, 1);
    for entries in [vec![fuzzy.clone(), right, wrong], vec![fuzzy]] {
        let folder = files(&entries);
        let error = loaded(&folder).unwrap_err();
        assert!(error.contains("the tree's digest after zxid"), "{error}");
        let found = despite(&folder);
        assert_eq!((found.n_txns, found.passed_over.len()), (entries.len() as u64, 1));
    }
}

#[test]
fn the_digest_is_the_sum_over_the_znodes_that_count() {
    let tree = read(&basic()).unwrap().tree;
    let parts = tree.iter().map(|(path, node)| node_digest(path, node.data.as_deref(), &node.stat));
    assert_eq!(parts.fold(0, u64::wrapping_add), tree.digest());
    assert_eq!(node_digest("/zookeeper/quota", Some(b"x"), &StoredStat::default()), 0);
    // The check sum of 60 zeros, as any tool has it.
    assert_eq!(node_digest("/", None, &StoredStat::default()), 0x0412_8908);
    assert_eq!(node_digest("/zookeeper", None, &StoredStat::default()), 0x4db4_4d58);
}

#[test]
fn usage_below_quotas_is_counted_anew() {
    let quota = "/zookeeper/quota/a";
    let (limits, stats) = (format!("{quota}/zookeeper_limits"), format!("{quota}/zookeeper_stats"));
    let znodes = [
        ROOT,
        ("/a", 0, 1),
        ("/a/x", 0, 1),
        ("/a-b", 0, 1),
        ("/zookeeper", 0, 0),
        ("/zookeeper/quota", 0, 0),
        (quota, 0, 2),
        (&limits, 0, 2),
        (&stats, 0, 2),
    ];
    let entries = log(&[created(3, "/a/y", 2)]);
    let found = loaded(&folder(&[("snapshot.2", &snapshot(&znodes, &[])), ("log.3", &entries)]));
    let found = found.unwrap();
    let text = found.tree.get(&stats).unwrap().data.clone().unwrap();
    assert_eq!(text, &b"count=3,bytes=7"[..]);
    assert_eq!(found.tree.get(&stats).unwrap().stat.version, 0);
}

#[test]
fn ttl_znodes_of_353_are_told_from_ephemerals_only_when_asked() {
    let owner = 0x8000_0000_0000_1388;
    let start = snapshot(&[ROOT, ("/t", owner, 1), ("/e", SESSION as u64, 1)], &[(SESSION, 4)]);
    let folder = folder(&[("snapshot.1", &start), ("log.2", &log(&[created(2, "/b", 1)]))]);
    assert!(loaded(&folder).unwrap_err().contains("--ttl-of-3.5.3"));
    let strictness = Strictness { ttl_of_353: true, ..Strictness::default() };
    let files = Files::find(folder.path(), None).unwrap();
    let found = load(&files, strictness, |_| ()).unwrap();
    let kind = |path| Kind::of(found.tree.get(path).unwrap().stat.ephemeral_owner);
    assert_eq!(kind("/t"), Kind::Ttl { ttl_ms: 5_000 });
    assert_eq!(kind("/e"), Kind::Ephemeral(SessionId(SESSION)));
}

#[test]
fn the_epoch_files_lift_what_clients_may_have_seen() {
    let entries = log(&[created(2, "/b", 1)]);
    let files = [("snapshot.1", &basic()[..]), ("log.2", &entries), ("acceptedEpoch", b"5\n")];
    let folder = folder(&files);
    assert_eq!(loaded(&folder).unwrap().zxid, Zxid(5 << 32));
    fs::write(folder.path().join("version-2/currentEpoch"), "five").unwrap();
    assert!(Files::find(folder.path(), None).unwrap_err().contains("currentEpoch"));
}

#[test]
fn progress_is_told_as_files_are_read() {
    let folder = folder(&[("snapshot.1", &basic()), ("log.2", &log(&[created(2, "/b", 1)]))]);
    let files = Files::find(folder.path(), None).unwrap();
    let mut told = Vec::new();
    load(&files, Strictness::default(), |progress| told.push(progress.n_bytes)).unwrap();
    assert_eq!(told, [basic().len() as u64]);
}

#[test]
fn logs_may_lie_apart_and_other_files_are_no_matter() {
    let start = folder(&[("snapshot.1", &basic()), ("snapshot.x", b""), ("log.2.old", b"")]);
    let apart = folder(&[("log.2", &log(&[created(2, "/b", 1)]))]);
    let files = Files::find(start.path(), Some(apart.path())).unwrap();
    assert_eq!((files.snapshots.len(), files.logs.len()), (1, 1));
    assert_eq!(load(&files, Strictness::default(), |_| ()).unwrap().zxid, Zxid(2));
    // The version-2 folder itself may be named as well.
    let inner = start.path().join("version-2");
    assert_eq!(Files::find(&inner, Some(apart.path())).unwrap(), files);
    assert!(Files::find(TempDir::new().unwrap().path(), None).is_err());
}

#[test]
fn what_is_written_for_zookeeper_reads_back_as_it_was() {
    let image = || -> Image {
        let found = read(&basic()).unwrap();
        let mut builder = ImageBuilder::new();
        for (path, node) in found.tree.iter() {
            let (data, acl) = (node.data.clone(), node.acl.clone());
            builder.node(ImageNode { path: (**path).into(), data, acl, stat: node.stat }).unwrap();
        }
        let empty: AclList = [].into();
        let stat = StoredStat { version: 3, ..StoredStat::default() };
        builder.node(ImageNode { path: "/n".into(), data: None, acl: empty, stat }).unwrap();
        builder.build(Zxid(9)).unwrap()
    };
    let mut bytes = Vec::new();
    write_snapshot(&image(), &mut bytes).unwrap();
    let found = read(&bytes).unwrap();
    assert_eq!(found.digest, Some(SnapshotDigest { zxid: 9, value: found.tree.digest() }));
    let written: Vec<_> = image().nodes().collect();
    let read: Vec<_> = found.tree.iter().collect();
    assert_eq!(written.len(), read.len());
    for (written, (path, node)) in written.iter().zip(read) {
        assert_eq!((&*written.path, &written.data), (&**path, &node.data));
        assert_eq!((&written.acl, written.stat), (&node.acl, node.stat));
    }
}
