//! The two checksums of ZooKeeper's files.

use zokor_core::tree::StoredStat;

/// Adler-32 (RFC 1950), fed piece by piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adler32 {
    a: u32,
    b: u32,
}

impl Adler32 {
    /// Of no bytes.
    pub(super) fn new() -> Self {
        Adler32 { a: 1, b: 0 }
    }

    /// Of these bytes alone.
    pub(super) fn of(bytes: &[u8]) -> u32 {
        let mut sum = Adler32::new();
        sum.update(bytes);
        sum.value()
    }

    /// Takes more bytes in.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        // The longest run after which neither sum overflows 32 bits.
        for run in bytes.chunks(5_552) {
            for &byte in run {
                self.a += u32::from(byte);
                self.b += self.a;
            }
            self.a %= MODULUS;
            self.b %= MODULUS;
        }
    }

    /// The checksum so far.
    pub(super) fn value(self) -> u32 {
        self.b << 16 | self.a
    }
}

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

const MODULUS: u32 = 65_521;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adler32_gives_the_known_values_in_pieces_too() {
        assert_eq!(Adler32::of(b""), 1);
        assert_eq!(Adler32::of(b"Wikipedia"), 0x11e6_0398);
        let bytes = vec![0xff; 100_000];
        let mut sum = Adler32::new();
        bytes.chunks(777).for_each(|piece| sum.update(piece));
        assert_eq!(sum.value(), Adler32::of(&bytes));
        // By the definition, without the runs.
        let (mut a, mut b) = (1u64, 0u64);
        for &byte in &bytes {
            a = (a + u64::from(byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        assert_eq!(u64::from(sum.value()), b << 16 | a);
    }
}
