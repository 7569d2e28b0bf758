//! The digest of ZooKeeper's trees. The checksum of its files is Adler-32.

use zokor_core::tree::StoredStat;

/// The part of one znode in the digest of a tree: the wrapping sum of these is the digest. What
/// lies below `/zookeeper` does not count, since servers change it without a transaction
/// (`DigestCalculator`, version 2).
pub(super) fn node_digest(path: &str, data: Option<&[u8]>, stat: &StoredStat) -> u64 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let mut crc = flate2::Crc::new();
    crc.update(if path == "/" { b"" } else { path.as_bytes() });
    crc.update(data.unwrap_or_default());
    crc.update(&digest_bytes(stat));
    u64::from(crc.sum())
}

/// The digest's version that is known here.
pub(super) const DIGEST_VERSION: i32 = 2;

/// A znode's stored numbers in the digest's own order, which is not that of a snapshot.
fn digest_bytes(stat: &StoredStat) -> [u8; 60] {
    let mut bytes = [0; 60];
    let zxids = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime];
    for (place, long) in bytes[..40].chunks_exact_mut(8).zip(zxids) {
        place.copy_from_slice(&long.to_be_bytes());
    }
    let counters = [stat.version, stat.cversion, stat.aversion];
    for (place, int) in bytes[40..52].chunks_exact_mut(4).zip(counters) {
        place.copy_from_slice(&int.to_be_bytes());
    }
    bytes[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    bytes
}
