//! One file of the log: its name, its head, and how the next one is made ahead of need.
//!
//! Invariant: a file has a segment's name only when it has its full size and its head is durable,
//! and no bytes in it can be taken for a record of it: they are zero, or of a segment with another
//! number. The head repeats the hard state and the position of the log, so that everything before
//! the segment can be taken away.

use zokor_core::id::ServerId;
use zokor_core::raft::{HardState, Index, Term};

use super::body::BEYOND_REACH;
use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::place::{create, failed, list, open, remove, rename};

/// Bytes of a head; records begin behind it.
pub(super) const HEAD_BYTES: u64 = 4096;
/// The segment to come, while it has no head.
pub(super) const SPARE_NAME: &str = "log-spare.tmp";
/// How a segment's name begins and ends, and how that of a former one does.
const BEGIN: &str = "log-";
const END: &str = ".zk";
const USED_END: &str = ".used.tmp";
/// No segment is larger than this.
pub(super) const MAX_SEGMENT_BYTES: u64 = 4 << 30;

const MAGIC: [u8; 8] = *b"ZOKORLOG";
/// In format 1 the checksums of all segments had one seed, and no file was used again.
const VERSION: u32 = 2;
const FLAG_ANEW: u32 = 1;
const FLAG_REUSED: u32 = 2;

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
    /// The format of the segment.
    pub(super) version: u32,
    /// The file was a segment before: what is behind the last record is no zeros.
    pub(super) is_reused: bool,
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
    /// Of the segment `number` of the folder `id`, which is begun now at `position`.
    pub(super) fn new(id: [u8; 16], number: u64, size_bytes: u64, position: Position) -> Self {
        let (version, is_reused, is_anew) = (VERSION, false, false);
        Head { id, number, size_bytes, position, version, is_reused, is_anew }
    }

    /// The seed of the checksums of the segment's records.
    pub(super) fn salt(&self) -> u32 {
        if self.version == 1 { crc32c::crc32c(&self.id) } else { salt(self.id, self.number) }
    }

    /// The file's name: the number, then the index of the first entry to come, in hexadecimal.
    pub(super) fn name(&self) -> String {
        format!("{BEGIN}{:08x}-{:016x}{END}", self.number, self.position.next.0)
    }

    /// The head's bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Position { next, batch, previous, hard_state } = self.position;
        let mut bytes = vec![0; HEAD_BYTES as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
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
        let flags = u32::from(self.is_anew) * FLAG_ANEW + u32::from(self.is_reused) * FLAG_REUSED;
        bytes[88..92].copy_from_slice(&flags.to_le_bytes());
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
        let counts = [32, 48, 56, 72].map(long);
        if counts.iter().any(|count| *count >= BEYOND_REACH) || counts[..3].contains(&0) {
            return Err(Wrong::Damaged(32, "its head counts from nothing, or beyond reach"));
        }
        let vote = (word(68) != 0).then_some(ServerId(long(80)));
        let hard_state = HardState { term: Term(long(72)), vote };
        let (next, batch, previous) = (Index(long(48)), long(56), word(64));
        Ok(Head {
            id: bytes[16..32].try_into().expect("sixteen"),
            number: long(32),
            size_bytes,
            position: Position { next, batch, previous, hard_state },
            version: word(8),
            is_anew: word(88) & FLAG_ANEW != 0,
            is_reused: word(88) & FLAG_REUSED != 0,
        })
    }

    /// The newest format known here.
    pub(super) const fn version() -> u32 {
        VERSION
    }
}

/// The seed of the checksums in segment `number` of the folder `id`. Two numbers below 2^32 never
/// have the same one, so no header of an earlier segment passes for one of this: two headers of the
/// same bytes have the same checksum only under the same seed.
pub(super) fn salt(id: [u8; 16], number: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&id), &number.to_le_bytes())
}

/// Whether a name is a segment's, and then its number.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let (number, next) = name.strip_prefix(BEGIN)?.strip_suffix(END)?.split_once('-')?;
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_name = number.len() >= 8 && next.len() == 16 && is_hex(number) && is_hex(next);
    let number = is_name.then(|| u64::from_str_radix(number, 16).ok()).flatten()?;
    (number < BEYOND_REACH).then_some(number)
}

/// A segment that counts for nothing any more, kept to become another.
#[derive(Clone, Debug)]
pub(super) struct Used {
    name: String,
    size_bytes: u64,
}

impl Used {
    /// Takes the oldest segment, `name`, out of the log, as durably as removing it would.
    pub(super) fn keep<D: Disk>(disk: &D, name: &str, size_bytes: u64) -> Result<Self, Error> {
        let used = format!("{}{USED_END}", name.strip_suffix(END).expect("a segment's name"));
        rename(disk, name, &used)?;
        Ok(Used { name: used, size_bytes })
    }

    /// Bytes of the file.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Takes it away.
    pub(super) fn discard<D: Disk>(self, disk: &D) -> Result<(), Error> {
        remove(disk, &self.name)
    }
}

/// Removes the files of segments to come, if there are any.
pub(super) fn remove_leftovers<D: Disk>(disk: &D) -> Result<(), Error> {
    let is_leftover = |name: &&String| {
        *name == SPARE_NAME || (name.starts_with(BEGIN) && name.ends_with(USED_END))
    };
    list(disk)?.iter().filter(is_leftover).try_for_each(|name| remove(disk, name))
}

/// The file of the next segment: one that was a segment before, or one that is zeroed step by step
/// ahead of need.
///
/// Zeroed, and not merely allocated: a write into allocated but unwritten space makes the file
/// system note that in its own journal at every sync.
pub(super) struct Spare<F> {
    file: F,
    name: String,
    /// All of it, if the file was a segment before.
    zeroed_bytes: u64,
    size_bytes: u64,
    is_reused: bool,
}

impl<F: DiskFile> Spare<F> {
    /// Begins a file of `size_bytes`.
    pub(super) fn begin<D: Disk<File = F>>(disk: &D, size_bytes: u64) -> Result<Self, Error> {
        assert!(size_bytes > HEAD_BYTES && size_bytes.is_multiple_of(HEAD_BYTES));
        let (file, name) = (create(disk, SPARE_NAME)?, SPARE_NAME.to_owned());
        Ok(Spare { file, name, zeroed_bytes: 0, size_bytes, is_reused: false })
    }

    /// The file of a former segment.
    pub(super) fn reuse<D: Disk<File = F>>(disk: &D, used: Used) -> Result<Self, Error> {
        let Used { name, size_bytes } = used;
        let file = open(disk, &name)?;
        Ok(Spare { file, name, zeroed_bytes: size_bytes, size_bytes, is_reused: true })
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
            write.map_err(failed(disk, "zero", &self.name))?;
            self.zeroed_bytes += n;
        }
        self.file.sync().map_err(failed(disk, "sync", &self.name))
    }

    /// Writes `bytes` behind where the head will be: a log that begins anew is whole when it gets
    /// its name.
    pub(super) fn fill<D: Disk>(&mut self, disk: &D, bytes: &[u8]) -> Result<(), Error> {
        assert!(self.is_ready());
        self.file.write_at(HEAD_BYTES, bytes).map_err(failed(disk, "write", &self.name))
    }

    /// Gives it a head and, when that is durable, its name. The file, and the head as it is there.
    pub(super) fn become_segment<D: Disk>(
        mut self,
        disk: &D,
        head: Head,
    ) -> Result<(F, Head), Error> {
        assert!(self.is_ready());
        assert_eq!(head.size_bytes, self.size_bytes);
        let head = Head { is_reused: self.is_reused, ..head };
        let write = self.file.write_at(0, &head.to_bytes());
        write.map_err(failed(disk, "write", &self.name))?;
        self.file.sync().map_err(failed(disk, "sync", &self.name))?;
        rename(disk, &self.name, &head.name())?;
        Ok((self.file, head))
    }

    /// Takes it away again.
    pub(super) fn discard<D: Disk>(self, disk: &D) -> Result<(), Error> {
        drop(self.file);
        remove(disk, &self.name)
    }
}
