//! One file of the log: its name, its head, and how the next one is made ahead of need.
//!
//! Invariant: a file has a segment's name only when it is zeroed to its full size and its head is
//! durable. The head repeats the hard state and the position of the log, so that everything before
//! the segment can be taken away.

use zokor_core::id::ServerId;
use zokor_core::raft::{HardState, Index, Term};

use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::place::{create, failed, list, remove, rename};

/// Bytes of a head; records begin behind it.
pub(super) const HEAD_BYTES: u64 = 4096;
/// The segment to come, while it has no head.
pub(super) const SPARE_NAME: &str = "log-spare.tmp";
/// No segment is larger than this.
pub(super) const MAX_SEGMENT_BYTES: u64 = 4 << 30;

const MAGIC: [u8; 8] = *b"ZOKORLOG";
const VERSION: u32 = 1;
const CRC_AT: usize = HEAD_BYTES as usize - 4;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Where the log stands between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The index of the entry to come.
    pub(super) next: Index,
    /// The number of the batch to come.
    pub(super) batch: u64,
    /// The checksum of the last record's header; 0 before the first.
    pub(super) previous: u32,
    /// Term and vote.
    pub(super) hard_state: HardState,
}

impl Default for Position {
    fn default() -> Self {
        Position { next: Index(1), batch: 1, previous: 0, hard_state: HardState::default() }
    }
}

/// What a segment's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The folder's id.
    pub(super) id: [u8; 16],
    /// Counts segments: 1, 2, 3, ...
    pub(super) number: u64,
    /// Bytes of the whole file.
    pub(super) size_bytes: u64,
    /// Where the log stood when the segment was begun.
    pub(super) position: Position,
    /// The log begins anew with this segment, which a repair has written: those before it count
    /// for nothing and go.
    pub(super) is_anew: bool,
}

/// Why bytes are no head of ours.
pub(super) enum Wrong {
    /// Something about them is not right.
    Damaged(u64, &'static str),
    /// They are of a format still to come.
    Newer(u32),
}

impl Head {
    /// The file's name: the number, then the index of the first entry to come, in hexadecimal.
    pub(super) fn name(&self) -> String {
        format!("log-{:08x}-{:016x}.zk", self.number, self.position.next.0)
    }

    /// The head's bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Position { next, batch, previous, hard_state } = self.position;
        let mut bytes = vec![0; HEAD_BYTES as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(HEAD_BYTES as u32).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&next.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&batch.to_le_bytes());
        bytes[64..68].copy_from_slice(&previous.to_le_bytes());
        bytes[68..72].copy_from_slice(&u32::from(hard_state.vote.is_some()).to_le_bytes());
        bytes[72..80].copy_from_slice(&hard_state.term.0.to_le_bytes());
        let vote = hard_state.vote.unwrap_or_default();
        bytes[80..88].copy_from_slice(&vote.0.to_le_bytes());
        bytes[88..92].copy_from_slice(&u32::from(self.is_anew).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head that a file of `size_bytes` begins with.
    pub(super) fn from_bytes(bytes: &[u8], size_bytes: u64) -> Result<Head, Wrong> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        if bytes.len() < HEAD_BYTES as usize || bytes[0..8] != MAGIC {
            return Err(Wrong::Damaged(0, "it does not begin like a segment"));
        }
        if word(8) > VERSION {
            return Err(Wrong::Newer(word(8)));
        }
        if u64::from(word(12)) != HEAD_BYTES {
            return Err(Wrong::Damaged(12, "the length of its head is wrong"));
        }
        if crc32c::crc32c(&bytes[..CRC_AT]) != word(CRC_AT) || word(8) == 0 {
            return Err(Wrong::Damaged(CRC_AT as u64, "the checksum of its head is wrong"));
        }
        if long(40) != size_bytes {
            return Err(Wrong::Damaged(40, "the file's size is another than its head says"));
        }
        let vote = (word(68) != 0).then_some(ServerId(long(80)));
        let hard_state = HardState { term: Term(long(72)), vote };
        let (next, batch, previous) = (Index(long(48)), long(56), word(64));
        Ok(Head {
            id: bytes[16..32].try_into().expect("sixteen"),
            number: long(32),
            size_bytes,
            position: Position { next, batch, previous, hard_state },
            is_anew: word(88) != 0,
        })
    }

    /// The newest format known here.
    pub(super) const fn version() -> u32 {
        VERSION
    }
}

/// Whether a name is a segment's, and then its number.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let (number, next) = name.strip_prefix("log-")?.strip_suffix(".zk")?.split_once('-')?;
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_name = number.len() >= 8 && next.len() == 16 && is_hex(number) && is_hex(next);
    is_name.then(|| u64::from_str_radix(number, 16).ok()).flatten()
}

/// Removes the file of a segment to come, if there is one.
pub(super) fn remove_leftover<D: Disk>(disk: &D) -> Result<(), Error> {
    if list(disk)?.iter().any(|name| name == SPARE_NAME) {
        remove(disk, SPARE_NAME)
    } else {
        Ok(())
    }
}

/// The file of the next segment, zeroed step by step ahead of need.
///
/// Zeroed, and not merely allocated: a write into allocated but unwritten space makes the file
/// system note that in its own journal at every sync.
pub(super) struct Spare<F> {
    file: F,
    zeroed_bytes: u64,
    size_bytes: u64,
}

impl<F: DiskFile> Spare<F> {
    /// Begins a file of `size_bytes`.
    pub(super) fn begin<D: Disk<File = F>>(disk: &D, size_bytes: u64) -> Result<Self, Error> {
        assert!(size_bytes > HEAD_BYTES && size_bytes.is_multiple_of(HEAD_BYTES));
        Ok(Spare { file: create(disk, SPARE_NAME)?, zeroed_bytes: 0, size_bytes })
    }

    /// Bytes that are zeroed so far.
    pub(super) fn zeroed_bytes(&self) -> u64 {
        self.zeroed_bytes
    }

    /// Bytes that it will have.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether nothing is left to zero.
    pub(super) fn is_ready(&self) -> bool {
        self.zeroed_bytes == self.size_bytes
    }

    /// Zeroes at most `n_bytes` more, durably, so that no long sync is left for the end.
    pub(super) fn step<D: Disk>(&mut self, disk: &D, n_bytes: u64) -> Result<(), Error> {
        let end = self.size_bytes.min(self.zeroed_bytes + n_bytes);
        if self.zeroed_bytes == end {
            return Ok(());
        }
        while self.zeroed_bytes < end {
            let n = (end - self.zeroed_bytes).min(ZEROS.len() as u64);
            let zeros = &ZEROS[..n as usize];
            let write = self.file.write_at(self.zeroed_bytes, zeros);
            write.map_err(failed(disk, "zero", SPARE_NAME))?;
            self.zeroed_bytes += n;
        }
        self.file.sync().map_err(failed(disk, "sync", SPARE_NAME))
    }

    /// Writes `bytes` behind where the head will be: a log that begins anew is whole when it gets
    /// its name.
    pub(super) fn fill<D: Disk>(&mut self, disk: &D, bytes: &[u8]) -> Result<(), Error> {
        assert!(self.is_ready());
        self.file.write_at(HEAD_BYTES, bytes).map_err(failed(disk, "write", SPARE_NAME))
    }

    /// Gives it a head and, when that is durable, its name.
    pub(super) fn become_segment<D: Disk>(mut self, disk: &D, head: &Head) -> Result<F, Error> {
        assert!(self.is_ready());
        assert_eq!(head.size_bytes, self.size_bytes);
        let write = self.file.write_at(0, &head.to_bytes());
        write.map_err(failed(disk, "write", SPARE_NAME))?;
        self.file.sync().map_err(failed(disk, "sync", SPARE_NAME))?;
        rename(disk, SPARE_NAME, &head.name())?;
        Ok(self.file)
    }

    /// Takes it away again.
    pub(super) fn discard<D: Disk>(self, disk: &D) -> Result<(), Error> {
        drop(self.file);
        remove(disk, SPARE_NAME)
    }
}
