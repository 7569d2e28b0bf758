//! One file of the transaction log, entry by entry.
//!
//! Invariant: an entry is given away only if it is whole. Where whole entries end, the file ends,
//! unless a whole one is found behind that place: then the file is damaged there. ZooKeeper's own
//! reader would stop there in silence.

use std::io::BufRead;

use adler2::adler32_slice;

use super::Wrong;
use super::input::Input;
use super::txn::{Header, Txn, TxnDigest, decode};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where in the file it begins.
    pub offset: u64,
    /// Who, when, and which number.
    pub header: Header,
    /// What.
    pub txn: Txn,
    /// The tree's digest after it, if the server wrote it.
    pub digest: Option<TxnDigest>,
}

/// Reads one file.
pub struct LogReader<R> {
    input: Input<R>,
    has_ended: bool,
    torn_at: Option<u64>,
}

impl<R: BufRead> LogReader<R> {
    /// Begins a file. Of its head only the magic number counts, as for ZooKeeper.
    ///
    /// # Errors
    /// If it does not begin like a log. An empty file is none either; see [`Self::next_entry`].
    pub fn begin(stream: R) -> Result<Self, Wrong> {
        let mut input = Input::new(stream);
        if input.array("the magic number")? != *b"ZKLG" {
            return Err(Wrong::new(0, "it does not begin like a transaction log"));
        }
        input.array::<12>("the head")?;
        Ok(LogReader { input, has_ended: false, torn_at: None })
    }

    /// How many bytes were read.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Where an entry begins that was never finished, once the file has ended.
    pub fn torn_at(&self) -> Option<u64> {
        self.torn_at
    }

    /// The next entry, or `None` at the end.
    ///
    /// # Errors
    /// If an entry is damaged, or what ends the log is followed by a whole entry.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Wrong> {
        if self.has_ended {
            return Ok(None);
        }
        let offset = self.input.offset();
        let mut read = Vec::new();
        match self.entry(&mut read)? {
            Found::Whole { sum, length } => {
                let bytes = read[HEAD_BYTES..HEAD_BYTES + length].to_vec();
                if adler32_slice(&bytes) != sum {
                    return Err(Wrong::new(offset, "the checksum of the entry is wrong"));
                }
                let decoded = decode(bytes.into()).map_err(|error| {
                    Wrong::new(offset, format!("the entry is no transaction: {error}"))
                });
                let (header, txn, digest) = decoded?;
                Ok(Some(Entry { offset, header, txn, digest }))
            }
            Found::End(what) => {
                self.has_ended = true;
                self.look_behind(offset, &read, what)?;
                Ok(None)
            }
        }
    }

    /// Reads as far as there is an entry; all that was read is in `read`.
    fn entry(&mut self, read: &mut Vec<u8>) -> Result<Found, Wrong> {
        if !self.more(read, HEAD_BYTES)? {
            return Ok(Found::End("the entry is cut short"));
        }
        let sum = u64::from_be_bytes(read[..8].try_into().expect("eight bytes"));
        let length = u32::from_be_bytes(read[8..HEAD_BYTES].try_into().expect("four bytes"));
        // Zeros are room for entries to come.
        let Ok(sum) = u32::try_from(sum) else {
            return Ok(Found::End("there is no entry"));
        };
        if length == 0 || length > i32::MAX as u32 {
            return Ok(Found::End("there is no entry"));
        }
        let length = length as usize;
        if !self.more(read, length + 1)? || read.last() != Some(&END_OF_ENTRY) {
            return Ok(Found::End("the entry is not whole"));
        }
        Ok(Found::Whole { sum, length })
    }

    /// Reads so many bytes more; whether they were there.
    fn more(&mut self, read: &mut Vec<u8>, n_bytes: usize) -> Result<bool, Wrong> {
        let bytes = self.input.up_to(n_bytes as u64)?;
        read.extend_from_slice(&bytes);
        Ok(bytes.len() == n_bytes)
    }

    /// The log ends at `start`, from where on `read` was read already: fails if a whole entry is
    /// found in what follows, as far as it is looked at.
    fn look_behind(&mut self, start: u64, read: &[u8], what: &str) -> Result<(), Wrong> {
        let mut rest = read.to_vec();
        let mut at = start;
        loop {
            let had = rest.len();
            self.more(&mut rest, LOOK_BYTES)?;
            if self.torn_at.is_none() && rest.iter().any(|byte| *byte != 0) {
                self.torn_at = Some(start);
            }
            if let Some(found) = find_entry(&rest) {
                let follows = at + found as u64;
                return Err(Wrong::new(start, format!("{what}, and one follows at {follows}")));
            }
            if rest.len() < had + LOOK_BYTES {
                return Ok(());
            }
            // What may begin in this piece and end in the next stays.
            let gone = rest.len().saturating_sub(LONGEST_SOUGHT);
            rest.drain(..gone);
            at += gone as u64;
        }
    }
}

enum Found {
    Whole { sum: u32, length: usize },
    End(&'static str),
}

/// Where the first whole entry stands.
fn find_entry(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len().saturating_sub(HEAD_BYTES)).find(|&at| {
        // A zero length is the most frequent thing there, so it is looked at first.
        let length = u32::from_be_bytes(bytes[at + 8..at + HEAD_BYTES].try_into().expect("four"));
        let length = length as usize;
        if !(LEAST_ENTRY..LONGEST_SOUGHT).contains(&length) || bytes[at..at + 4] != [0; 4] {
            return false;
        }
        let start = at + HEAD_BYTES;
        let Some(body) = bytes.get(start..start + length) else { return false };
        let sum = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().expect("four"));
        bytes.get(start + length) == Some(&END_OF_ENTRY) && adler32_slice(body) == sum
    })
}

const END_OF_ENTRY: u8 = b'B';
/// Checksum and length.
const HEAD_BYTES: usize = 12;
/// Bytes of a header, without which nothing is a transaction.
const LEAST_ENTRY: usize = 32;
/// Larger ones are not looked for behind a log's end.
const LONGEST_SOUGHT: usize = 2 << 20;
/// What is looked at in one piece.
const LOOK_BYTES: usize = 8 << 20;
