//! The records of a damaged segment, wherever they lie.
//!
//! Invariant: what a record is tells its batch, and the header that it names as the one before it;
//! the place where it lies tells nothing, since a disk may have put it elsewhere. Its checksum,
//! which is seeded by the segment, says that it was written to this segment.

use crate::storage::record::{ALIGNMENT, Header};
use crate::storage::segment::HEAD_BYTES;

/// All whole headers of a segment that have not been gone on with, by batch and place.
pub(super) struct Scattered {
    found: Vec<Found>,
    /// The last batch of which a record reaches beyond the segment's end, or 0.
    beyond: u64,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// Its batch.
    pub(super) batch: u64,
    /// Where it is.
    pub(super) place: usize,
    /// The checksum of the header before it.
    pub(super) previous: u32,
    /// Its own.
    crc: u32,
}

impl Scattered {
    /// Looks at every place of `bytes` at which a header may stand.
    pub(super) fn of(salt: u32, bytes: &[u8]) -> Self {
        let places = (HEAD_BYTES as usize..bytes.len()).step_by(ALIGNMENT);
        let (mut found, mut beyond) = (Vec::new(), 0);
        for place in places {
            let Some((header, crc)) = Header::read(salt, &bytes[place..]) else { continue };
            let Header { batch, previous, .. } = header;
            if place + header.record_bytes() <= bytes.len() {
                found.push(Found { batch, place, previous, crc });
            } else {
                beyond = beyond.max(batch);
            }
        }
        found.sort_unstable();
        Scattered { found, beyond }
    }

    /// The record that follows the header `previous` in `batch`, wherever it is.
    pub(super) fn following(&mut self, batch: u64, previous: u32) -> Option<Found> {
        let of_batch = self.of_batch(batch);
        let i = self.found[of_batch.clone()].iter().position(|it| it.previous == previous)?;
        Some(self.found.remove(of_batch.start + i))
    }

    /// The next record that there is: of `batch` behind the place `after`, but for those with the
    /// checksums `known`, or else the first of a later batch. `None` if there is no later batch:
    /// then this one may never have been finished.
    pub(super) fn next(&mut self, batch: u64, after: usize, known: &[u32]) -> Option<Found> {
        let later = self.of_batch(batch).end;
        let least = self.found.get(later)?.batch;
        let rest = &self.found[self.of_batch(batch)];
        if let Some(i) = rest.iter().position(|it| it.place >= after && !known.contains(&it.crc)) {
            return Some(self.found.remove(self.of_batch(batch).start + i));
        }
        let of_least = self.of_batch(least);
        let all = &self.found[of_least.clone()];
        let is_first = |it: &Found| all.iter().all(|other| other.crc != it.previous);
        let i = all.iter().position(is_first).unwrap_or(0);
        Some(self.found.remove(of_least.start + i))
    }

    /// Whether something of `batch`, which belongs at `place`, or of a later one was put elsewhere.
    pub(super) fn is_elsewhere(&self, batch: u64, place: usize) -> bool {
        let of_batch = &self.found[self.of_batch(batch)];
        self.beyond >= batch || of_batch.iter().any(|it| it.place < place)
    }

    fn of_batch(&self, batch: u64) -> std::ops::Range<usize> {
        let start = self.found.partition_point(|it| it.batch < batch);
        let n = self.found[start..].partition_point(|it| it.batch == batch);
        start..start + n
    }
}
