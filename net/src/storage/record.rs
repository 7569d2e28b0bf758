//! One record of the log: a header of 48 bytes, then the body, padded to a multiple of 8.
//!
//! Invariant: a header carries its own checksum, so that it says what the record is even where the
//! body or the record before is lost; it repeats the checksum of the header before it, so that no
//! record can stand in another's place. Every checksum is seeded by the folder's id, which no
//! client knows: what a client writes cannot pass for a record.

use bytes::BytesMut;
use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, HardState, Index, Term};

use super::body::BEYOND_REACH;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 48;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

const KIND_ENTRY: u8 = 1;
const KIND_TRUNCATE: u8 = 2;
const KIND_RESET: u8 = 3;
const KIND_HARD_STATE: u8 = 4;

const FLAG_LAST: u8 = 1;
const FLAG_VOTE: u8 = 2;

const CRC_AT: usize = 44;

/// What a record does to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Appends this entry; the body holds it.
    Entry(EntryId),
    /// Takes away every entry above the index.
    Truncate(Index),
    /// Takes away every entry: the log goes on after this one, which a snapshot ends with.
    Reset(EntryId),
    /// Sets term and vote.
    HardState(HardState),
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// What the record does.
    pub(super) kind: Kind,
    /// Bytes of the body, without the padding.
    pub(super) body_bytes: u32,
    /// Which sync made it durable: 1, 2, 3, ...
    pub(super) batch: u64,
    /// Whether it is the last of its batch.
    pub(super) is_last: bool,
    /// Checksum of the body.
    pub(super) body_crc: u32,
    /// Checksum of the header before this one.
    pub(super) previous: u32,
}

impl Header {
    /// Bytes from the header's start to the next record's.
    pub(super) fn record_bytes(&self) -> usize {
        HEADER_BYTES + (self.body_bytes as usize).next_multiple_of(ALIGNMENT)
    }

    /// Writes the header, and returns its checksum.
    pub(super) fn write(&self, salt: u32, bytes: &mut [u8]) -> u32 {
        assert_eq!(bytes.len(), HEADER_BYTES);
        let (kind, term, index, vote) = match self.kind {
            Kind::Entry(id) => (KIND_ENTRY, id.term, id.index.0, 0),
            Kind::Truncate(after) => (KIND_TRUNCATE, Term(0), after.0, 0),
            Kind::Reset(last) => (KIND_RESET, last.term, last.index.0, 0),
            Kind::HardState(HardState { term, vote: None }) => (KIND_HARD_STATE, term, 0, 0),
            Kind::HardState(HardState { term, vote: Some(vote) }) => {
                (KIND_HARD_STATE, term, vote.0, FLAG_VOTE)
            }
        };
        let last = if self.is_last { FLAG_LAST } else { 0 };
        bytes[0..4].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&[kind, last | vote, 0, 0]);
        bytes[8..16].copy_from_slice(&self.batch.to_le_bytes());
        bytes[16..24].copy_from_slice(&term.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&index.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.previous.to_le_bytes());
        bytes[40..44].fill(0);
        let crc = crc32c::crc32c_append(salt, &bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// The header that `bytes` begin with, and its checksum; `None` if that is not one.
    pub(super) fn read(salt: u32, bytes: &[u8]) -> Option<(Header, u32)> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let (kind, flags) = (bytes[4], bytes[5]);
        // Most of what is no header fails here, without a checksum.
        let is_plausible = (KIND_ENTRY..=KIND_HARD_STATE).contains(&kind)
            && bytes[6..8] == [0, 0]
            && bytes[40..44] == [0; 4];
        if !is_plausible || crc32c::crc32c_append(salt, &bytes[..CRC_AT]) != word(CRC_AT) {
            return None;
        }
        let counts = if kind == KIND_HARD_STATE { [8, 16, 16] } else { [8, 16, 24] };
        if long(8) == 0 || counts.iter().any(|at| long(*at) >= BEYOND_REACH) {
            return None;
        }
        let (term, index) = (Term(long(16)), long(24));
        let id = EntryId { term, index: Index(index) };
        let vote = (flags & FLAG_VOTE != 0).then_some(ServerId(index));
        let kind = match kind {
            KIND_ENTRY => Kind::Entry(id),
            KIND_TRUNCATE => Kind::Truncate(id.index),
            KIND_RESET => Kind::Reset(id),
            _ => Kind::HardState(HardState { term, vote }),
        };
        let header = Header {
            kind,
            body_bytes: word(0),
            batch: long(8),
            is_last: flags & FLAG_LAST != 0,
            body_crc: word(32),
            previous: word(36),
        };
        Some((header, word(CRC_AT)))
    }
}

/// Writes the records of one batch one after the other.
pub(super) struct BatchWriter<'a> {
    salt: u32,
    batch: u64,
    previous: u32,
    out: &'a mut BytesMut,
    /// The latest record, whose header is written when it is known whether it is the last.
    open: Option<(usize, Header)>,
}

impl<'a> BatchWriter<'a> {
    /// Begins batch number `batch` in `out`; `previous` is the checksum of the last header before
    /// it.
    pub(super) fn new(salt: u32, batch: u64, previous: u32, out: &'a mut BytesMut) -> Self {
        out.clear();
        BatchWriter { salt, batch, previous, out, open: None }
    }

    /// Adds a record; `body` appends its body.
    pub(super) fn push(&mut self, kind: Kind, body: impl FnOnce(&mut BytesMut)) {
        self.seal(false);
        let start = self.out.len();
        self.out.resize(start + HEADER_BYTES, 0);
        body(self.out);
        let bytes = &self.out[start + HEADER_BYTES..];
        let body_bytes = u32::try_from(bytes.len()).expect("an entry is far below 4 GiB");
        let body_crc = crc32c::crc32c_append(self.salt, bytes);
        self.out.resize(self.out.len().next_multiple_of(ALIGNMENT), 0);
        let (batch, previous) = (self.batch, self.previous);
        let header = Header { kind, body_bytes, batch, is_last: false, body_crc, previous };
        self.open = Some((start, header));
    }

    /// Ends the batch; the checksum of its last header, or `None` if there is no record in it.
    pub(super) fn finish(mut self) -> Option<u32> {
        self.open?;
        self.seal(true);
        Some(self.previous)
    }

    fn seal(&mut self, is_last: bool) {
        if let Some((start, header)) = self.open.take() {
            let bytes = &mut self.out[start..start + HEADER_BYTES];
            self.previous = Header { is_last, ..header }.write(self.salt, bytes);
        }
    }
}
