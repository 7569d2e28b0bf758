//! Reads a stream in jute, ZooKeeper's encoding, and knows where it is.
//!
//! Invariant: a buffer grows as its bytes come in, never by what its length promises.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use adler2::Adler32;
use bytes::Bytes;
use zokor_core::proto::{Acl, AclList, Id, Permissions, Text};

use super::Wrong;

/// A stream, its checksum so far, and how far it is read.
pub struct Input<R> {
    stream: R,
    offset: u64,
    pub(super) sum: Adler32,
}

impl<R: BufRead> Input<R> {
    /// Begins to read `stream`.
    pub fn new(stream: R) -> Self {
        Input { stream, offset: 0, sum: Adler32::new() }
    }

    /// Goes on with what was read from a stream before.
    pub(super) fn go_on(stream: R, offset: u64, sum: Adler32) -> Self {
        Input { stream, offset, sum }
    }

    /// How many bytes were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&mut self) -> Result<bool, Wrong> {
        match self.stream.fill_buf() {
            Ok(buffer) => Ok(buffer.is_empty()),
            Err(error) => Err(self.failed("what follows", &error)),
        }
    }

    /// What is left, at most `limit` bytes of it and one more.
    pub(super) fn rest(&mut self, limit: u64) -> Result<Vec<u8>, Wrong> {
        let mut rest = Vec::new();
        let read = self.stream.by_ref().take(limit + 1).read_to_end(&mut rest);
        read.map_err(|error| self.failed("the rest", &error))?;
        Ok(rest)
    }

    pub(super) fn int(&mut self, what: &str) -> Result<i32, Wrong> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    pub(super) fn long(&mut self, what: &str) -> Result<i64, Wrong> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Wrong> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).map_err(|error| self.failed(what, &error))?;
        self.took(&bytes);
        Ok(bytes)
    }

    /// A buffer; null and empty are different.
    pub(super) fn buffer(&mut self, what: &str) -> Result<Option<Bytes>, Wrong> {
        let start = self.offset;
        let length = self.int(what)?;
        if length == -1 {
            return Ok(None);
        }
        let Ok(length) = u64::try_from(length) else {
            return Err(Wrong::new(start, format!("{what} has the length {length}")));
        };
        self.bytes(what, length).map(Some)
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, what: &str, length: u64) -> Result<Bytes, Wrong> {
        let mut bytes = Vec::new();
        let read = self.stream.by_ref().take(length).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(what, &error))?;
        if (bytes.len() as u64) < length {
            return Err(self.failed(what, &io::ErrorKind::UnexpectedEof.into()));
        }
        self.took(&bytes);
        Ok(bytes.into())
    }

    /// What comes next, at most `limit` bytes of it.
    pub(super) fn up_to(&mut self, limit: u64) -> Result<Vec<u8>, Wrong> {
        let mut bytes = Vec::new();
        let read = self.stream.by_ref().take(limit).read_to_end(&mut bytes);
        read.map_err(|error| self.failed("what follows", &error))?;
        self.took(&bytes);
        Ok(bytes)
    }

    /// A string, with empty text for null. What is not UTF-8 becomes U+FFFD, as in Java.
    pub(super) fn text(&mut self, what: &str) -> Result<Text, Wrong> {
        let bytes = self.buffer(what)?.unwrap_or_default();
        Ok(Text::from(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// How many records a vector has; each is read by itself, so that a lie ends with the bytes.
    pub(super) fn count(&mut self, what: &str) -> Result<u32, Wrong> {
        let start = self.offset;
        let count = self.int(what)?;
        match count {
            // A vector that is null.
            -1 => Ok(0),
            _ => u32::try_from(count).map_err(|_| Wrong::new(start, format!("{what} is {count}"))),
        }
    }

    pub(super) fn acl(&mut self) -> Result<AclList, Wrong> {
        let mut acl = Vec::new();
        for _ in 0..self.count("the length of an ACL")? {
            let permissions = Permissions(self.int("the permissions of an ACL")?);
            let scheme = self.text("the scheme of an ACL")?;
            let id = self.text("the id of an ACL")?;
            acl.push(Acl { permissions, id: Id { scheme, id } });
        }
        Ok(Arc::from(acl))
    }

    fn took(&mut self, bytes: &[u8]) {
        self.sum.write_slice(bytes);
        self.offset += bytes.len() as u64;
    }

    fn failed(&self, what: &str, error: &io::Error) -> Wrong {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the file ends".to_owned(),
            _ => format!("it cannot be read ({error})"),
        };
        Wrong::new(self.offset, format!("where {what} should be, {why}"))
    }
}
