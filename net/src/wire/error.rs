//! Why bytes are not what they should be, with the facts a log line needs.

use thiserror::Error;
use zokor_core::db::ImageError;

/// Bytes that could not be decoded. `what` names the field or record; offsets count from the start
/// of the frame, record or chunk that was given to the decoder.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// It ends too early.
    #[error("{what} at byte {offset} takes {needed} bytes and {left} are left")]
    Short {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// How many bytes it takes, at least.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// A length or count is negative or above its limit.
    #[error("{what} at byte {offset} has the length {length}; the limit is {limit}")]
    Length {
        /// What was being read.
        what: &'static str,
        /// Where the length stands.
        offset: usize,
        /// The length as it stands there.
        length: i64,
        /// The largest that is accepted.
        limit: usize,
    },
    /// A number that stands for nothing, or is not in its shortest or only form.
    #[error("{what} at byte {offset} cannot be {found}")]
    Value {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// What is there.
        found: i64,
    },
    /// A null where there must be a value.
    #[error("{what} at byte {offset} is null")]
    Null {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// Text that is not UTF-8, where only our own servers write.
    #[error("{what} at byte {offset} is not UTF-8")]
    Text {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// Bytes after the end.
    #[error("{left} bytes are left after {what} has ended at byte {offset}")]
    Trailing {
        /// What has ended.
        what: &'static str,
        /// Where.
        offset: usize,
        /// How many bytes follow.
        left: usize,
    },
    /// A whole record where it does not belong: out of order, twice, or without the one before.
    #[error("{what} is out of place")]
    Misplaced {
        /// Which.
        what: &'static str,
    },
    /// The bytes have changed on their way.
    #[error("the checksum is {found:08x} and should be {expected:08x}")]
    Checksum {
        /// As computed over what came.
        found: u32,
        /// As it came.
        expected: u32,
    },
    /// The other end is not a server of ours.
    #[error("the first bytes are {found:08x}, which no server of ours sends")]
    Magic {
        /// What came.
        found: u32,
    },
    /// A format that this server does not know.
    #[error("{what} has the version {found}; this server knows {known}")]
    Version {
        /// Of what.
        what: &'static str,
        /// As it came.
        found: u32,
        /// The one understood here.
        known: u32,
    },
    /// The head of a peer's message does not decode.
    #[error("the head of a message does not decode: {reason}")]
    Head {
        /// In bincode's words.
        reason: String,
    },
    /// The records are whole and do not make a state.
    #[error(transparent)]
    Image(#[from] ImageError),
}
