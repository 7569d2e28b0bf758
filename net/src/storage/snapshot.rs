//! One snapshot as a file: head, chunks, trailer.
//!
//! Invariant: every checksum continues the one before it, from the head on, so that a chunk is
//! right only in its place; a file without a whole trailer at its very end is no snapshot.

use std::collections::BTreeSet;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use zokor_core::groups::Groups;
use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::{EntryId, Index, Membership, SnapshotMeta, Term};
use zokor_core::replica::Snapshot;

use super::body::{BEYOND_REACH, ImageReader, image_chunks};
use super::disk::DiskFile;

const MAGIC: [u8; 8] = *b"ZOKORSNP";
/// Of a snapshot whose membership decides by groups; the others are of format 1, as they ever were.
const VERSION: u32 = 2;
const PLAIN_VERSION: u32 = 1;
/// Bytes of a head before its membership.
const FIXED_BYTES: usize = 60;
/// A membership of thousands of servers fits.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Bytes of a trailer.
pub(super) const TRAILER_BYTES: u64 = 32;
/// After so many bytes the file is synced, so that no long sync stands in the log's way.
const SYNC_BYTES: u64 = 8 << 20;

/// Why a file is no snapshot of ours.
#[derive(Debug)]
pub(super) enum Wrong {
    /// Something about it is not right.
    Damaged(String),
    /// It is of a format still to come.
    Newer(u32),
}

/// The newest format known here.
pub(super) const fn version() -> u32 {
    VERSION
}

/// The name of the snapshot that ends with `index`.
pub(super) fn name_of(index: Index) -> String {
    format!("snapshot-{:016x}.zk", index.0)
}

/// Whether a name is a snapshot's, and then its index.
pub(super) fn index_of(name: &str) -> Option<Index> {
    let hex = name.strip_prefix("snapshot-")?.strip_suffix(".zk")?;
    let index = Index(u64::from_str_radix(hex, 16).ok()?);
    (name_of(index) == name && index.0 < BEYOND_REACH).then_some(index)
}

/// Writes and syncs `snapshot`.
pub(super) fn write<F: DiskFile>(
    file: &mut F,
    id: [u8; 16],
    snapshot: &Snapshot,
) -> io::Result<()> {
    let head = head_bytes(id, snapshot);
    file.write_at(0, &head)?;
    let mut crc = u32::from_le_bytes(head[head.len() - 4..].try_into().expect("four bytes"));
    let mut offset = head.len() as u64;
    let mut synced = 0;
    let (mut n_chunks, mut total_bytes) = (0u64, 0u64);
    let mut out = BytesMut::new();
    for chunk in image_chunks(&snapshot.image).filter(|chunk| !chunk.is_empty()) {
        let n_bytes = u32::try_from(chunk.len()).expect("a chunk is far below 4 GiB");
        crc = chunk_crc(crc, n_bytes, &chunk);
        out.clear();
        out.put_u32_le(n_bytes);
        out.put_u32_le(crc);
        out.put_slice(&chunk);
        file.write_at(offset, &out)?;
        offset += out.len() as u64;
        n_chunks += 1;
        total_bytes += u64::from(n_bytes);
        if offset - synced >= SYNC_BYTES {
            file.sync()?;
            synced = offset;
        }
    }
    let mut counts = BytesMut::new();
    counts.put_u64_le(n_chunks);
    counts.put_u64_le(total_bytes);
    counts.put_u64_le(snapshot.image.digest());
    out.clear();
    out.put_u32_le(0);
    out.put_u32_le(chunk_crc(crc, 0, &counts));
    out.put_slice(&counts);
    file.write_at(offset, &out)?;
    file.sync()
}

/// Reads a snapshot.
pub(super) fn read<F: DiskFile>(file: &F, id: [u8; 16]) -> Result<Snapshot, Wrong> {
    let mut reader = ImageReader::new();
    let (head, digest) = scan(file, id, |chunk| reader.feed(chunk))?;
    let image = reader.finish().map_err(Wrong::Damaged)?;
    if image.digest() != digest || image.zxid() != head.1 {
        return Err(wrong("the image is not the one that the head and the trailer name"));
    }
    Ok(Snapshot { meta: head.0, zxid: head.1, image })
}

/// Checks every byte of a snapshot against what it should hold, without building it.
pub(super) fn verify<F: DiskFile>(
    file: &F,
    id: [u8; 16],
    expected: &Snapshot,
) -> Result<(), Wrong> {
    let (head, digest) = scan(file, id, |_| Ok(()))?;
    if head.0 != expected.meta || head.1 != expected.zxid || digest != expected.image.digest() {
        return Err(wrong("it is not what was written"));
    }
    Ok(())
}

fn wrong(what: &str) -> Wrong {
    Wrong::Damaged(what.to_owned())
}

fn chunk_crc(previous: u32, n_bytes: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(frame_crc(previous, n_bytes), bytes)
}

/// The checksum of what comes before a chunk and of its length.
pub(super) fn frame_crc(previous: u32, n_bytes: u32) -> u32 {
    crc32c::crc32c_append(previous, &n_bytes.to_le_bytes())
}

fn head_bytes(id: [u8; 16], snapshot: &Snapshot) -> BytesMut {
    let meta = &snapshot.meta;
    let set = meta.membership.as_ref().map(|(_, membership)| membership);
    let has_groups = set.is_some_and(|it| !it.groups.is_empty() || !it.outgoing_groups.is_empty());
    let mut out = BytesMut::new();
    out.put_slice(&MAGIC);
    out.put_u32_le(if has_groups { VERSION } else { PLAIN_VERSION });
    out.put_u32_le(0);
    out.put_slice(&id);
    out.put_u64_le(meta.last.term.0);
    out.put_u64_le(meta.last.index.0);
    out.put_i64_le(snapshot.zxid.0);
    out.put_u32_le(u32::from(meta.membership.is_some()));
    assert_eq!(out.len(), FIXED_BYTES);
    if let Some((index, membership)) = &meta.membership {
        out.put_u64_le(index.0);
        for servers in [&membership.voters, &membership.outgoing, &membership.learners] {
            out.put_u32_le(u32::try_from(servers.len()).expect("servers are few"));
            servers.iter().for_each(|server| out.put_u64_le(server.0));
        }
        if has_groups {
            put_groups(&mut out, &membership.groups);
            put_groups(&mut out, &membership.outgoing_groups);
        }
    }
    let n_bytes = out.len() + 4;
    assert!(n_bytes <= MAX_HEAD_BYTES, "servers are few");
    out[12..16].copy_from_slice(&(n_bytes as u32).to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.put_u32_le(crc);
    out
}

pub(super) type HeadFields = (SnapshotMeta, Zxid);

/// Walks through a file; its head, and the digest in its trailer.
fn scan<F: DiskFile>(
    file: &F,
    id: [u8; 16],
    mut each: impl FnMut(Bytes) -> Result<(), String>,
) -> Result<(HeadFields, u64), Wrong> {
    let unreadable = |error: io::Error| Wrong::Damaged(format!("it cannot be read: {error}"));
    let size = file.size().map_err(unreadable)?;
    let (head, mut offset, mut crc) = read_head(file, size, id)?;
    let (mut n_chunks, mut total_bytes) = (0u64, 0u64);
    let mut body = BytesMut::new();
    loop {
        let mut frame = [0; 8];
        file.read_at(offset, &mut frame).map_err(|_| wrong("it has no trailer"))?;
        let n_bytes = u32::from_le_bytes(frame[..4].try_into().expect("four bytes"));
        let expected = u32::from_le_bytes(frame[4..].try_into().expect("four bytes"));
        let is_trailer = n_bytes == 0;
        let body_bytes = if is_trailer { TRAILER_BYTES - 8 } else { u64::from(n_bytes) };
        offset += 8;
        if size - offset < body_bytes {
            return Err(Wrong::Damaged(format!(
                "it ends within the chunk at offset {}",
                offset - 8
            )));
        }
        body.resize(body_bytes as usize, 0);
        file.read_at(offset, &mut body).map_err(unreadable)?;
        offset += body_bytes;
        crc = chunk_crc(crc, n_bytes, &body);
        if crc != expected {
            let start = offset - body_bytes - 8;
            let what = format!("the checksum of chunk {n_chunks}, at offset {start}, is wrong");
            return Err(Wrong::Damaged(what));
        }
        if !is_trailer {
            n_chunks += 1;
            total_bytes += body_bytes;
            let chunk = body.freeze();
            each(chunk.clone()).map_err(Wrong::Damaged)?;
            // The same memory for the next one, unless something of this one is kept.
            body = chunk.try_into_mut().unwrap_or_default();
            continue;
        }
        let long = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight"));
        if long(0) != n_chunks || long(8) != total_bytes || offset != size {
            return Err(wrong("its trailer does not fit its chunks"));
        }
        return Ok((head, long(16)));
    }
}

/// The head's fields, where it ends, and its checksum.
pub(super) fn read_head<F: DiskFile>(
    file: &F,
    size: u64,
    id: [u8; 16],
) -> Result<(HeadFields, u64, u32), Wrong> {
    let unreadable = |error: io::Error| Wrong::Damaged(format!("it cannot be read: {error}"));
    let mut bytes = vec![0; usize::try_from(size.min(MAX_HEAD_BYTES as u64)).expect("small")];
    file.read_at(0, &mut bytes).map_err(unreadable)?;
    if bytes.len() < FIXED_BYTES + 4 || bytes[0..8] != MAGIC {
        return Err(wrong("it does not begin like a snapshot"));
    }
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")))
    };
    let version = word(&bytes, 8).unwrap_or_default();
    if version > VERSION {
        return Err(Wrong::Newer(version));
    }
    let end = word(&bytes, 12).unwrap_or_default() as usize;
    if end < FIXED_BYTES + 4 || end > bytes.len() {
        return Err(wrong("the length of its head is wrong"));
    }
    let crc = crc32c::crc32c(&bytes[..end - 4]);
    if word(&bytes, end - 4) != Some(crc) || version == 0 {
        return Err(wrong("the checksum of its head is wrong"));
    }
    if bytes[16..32] != id {
        return Err(wrong("it belongs to another folder"));
    }
    let fields = head_fields(&bytes[32..end - 4], version);
    let fields = fields.ok_or_else(|| wrong("its head makes no sense"))?;
    Ok((fields, end as u64, crc))
}

fn head_fields(bytes: &[u8], version: u32) -> Option<HeadFields> {
    let mut rest = bytes;
    let term = Term(take_u64(&mut rest)?);
    let index = Index(take_u64(&mut rest)?);
    let zxid = Zxid(take_u64(&mut rest)?.cast_signed());
    let membership = match take_u32(&mut rest)? {
        0 => None,
        1 => {
            let at = Index(take_u64(&mut rest)?);
            let voters = take_servers(&mut rest)?;
            let outgoing = take_servers(&mut rest)?;
            let learners = take_servers(&mut rest)?;
            let (groups, outgoing_groups) = match version {
                PLAIN_VERSION => (Groups::none(), Groups::none()),
                _ => (take_groups(&mut rest)?, take_groups(&mut rest)?),
            };
            Some((at, Membership { voters, outgoing, learners, groups, outgoing_groups }))
        }
        _ => return None,
    };
    let meta = SnapshotMeta { last: EntryId { term, index }, membership };
    let is_sane = term.0 < BEYOND_REACH && index.0 < BEYOND_REACH;
    (rest.is_empty() && is_sane).then_some((meta, zxid))
}

fn put_groups(out: &mut BytesMut, groups: &Groups) {
    let few = |count: usize| u32::try_from(count).expect("servers are few");
    out.put_u32_le(few(groups.iter().len()));
    for (number, members) in groups.iter() {
        out.put_u64_le(number);
        out.put_u32_le(few(members.len()));
        for (server, weight) in members {
            out.put_u64_le(server.0);
            out.put_u64_le(*weight);
        }
    }
}

fn take_groups(rest: &mut &[u8]) -> Option<Groups> {
    let mut groups = Groups::none();
    for _ in 0..take_u32(rest)? {
        let number = take_u64(rest)?;
        for _ in 0..take_u32(rest)? {
            let server = ServerId(take_u64(rest)?);
            let weight = take_u64(rest)?;
            groups.put(number, server, weight).then_some(())?;
        }
    }
    Some(groups)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(u32::from_le_bytes(*taken))
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(u64::from_le_bytes(*taken))
}

fn take_servers(rest: &mut &[u8]) -> Option<BTreeSet<ServerId>> {
    let n = take_u32(rest)?;
    (0..n).map(|_| take_u64(rest).map(ServerId)).collect()
}
