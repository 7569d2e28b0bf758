//! One file of the log, read from end to end.
//!
//! Invariant: what passes is what recovery reads without an objection: the head is the one that the
//! log knows, whole batches follow from it up to where the next segment goes on, or to what was
//! durable when the reading began, and all behind that can be read at least.

use super::cold::Cold;
use crate::storage::disk::DiskFile;
use crate::storage::record::{ALIGNMENT, HEADER_BYTES, Header};
use crate::storage::segment::{HEAD_BYTES, Head, Position, Wrong};

/// How far a reading has come.
pub(super) struct SegmentCheck<F> {
    pub(super) file: Cold<F>,
    head: Head,
    /// Batch and last header's checksum at the end.
    end: (u64, u32),
    /// The same of the last whole batch.
    batch: (u64, u32),
    /// The checksum of the last header.
    previous: u32,
    at: u64,
    body: Option<Body>,
}

/// A record's body that is being read.
struct Body {
    header: Header,
    crc: u32,
    left: u64,
}

impl<F: DiskFile> SegmentCheck<F> {
    /// Of the segment with this head, which ends where `after` begins.
    pub(super) fn new(file: Cold<F>, head: Head, after: Position) -> Self {
        let Position { batch, previous, .. } = head.position;
        let (end, batch) = ((after.batch, after.previous), (batch, previous));
        SegmentCheck { file, head, end, batch, previous, at: 0, body: None }
    }

    /// One step; whether there are more.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn step(&mut self) -> Result<bool, String> {
        let at = self.at;
        let done = if at == 0 {
            self.head()
        } else if self.body.is_some() {
            self.body()
        } else if self.batch != self.end {
            self.header()
        } else if at < self.file.len() {
            self.rest()
        } else {
            return Ok(false);
        };
        done.map(|()| true).map_err(|what| format!("at offset {at}: {what}"))
    }

    fn head(&mut self) -> Result<(), String> {
        let mut bytes = vec![0; HEAD_BYTES as usize];
        self.read(0, &mut bytes)?;
        match Head::from_bytes(&bytes, self.file.len()) {
            Ok(head) if head == self.head => {}
            Ok(_) => return Err("it is another file under this name".to_owned()),
            Err(Wrong::Damaged(at, what)) => return Err(format!("{what} ({at})")),
            Err(Wrong::Newer(found)) => return Err(format!("it says that its format is {found}")),
        }
        self.at = HEAD_BYTES;
        Ok(())
    }

    fn header(&mut self) -> Result<(), String> {
        let mut bytes = [0; HEADER_BYTES];
        self.read(self.at, &mut bytes)?;
        let salt = self.head.salt();
        let (header, crc) = Header::read(salt, &bytes).ok_or("there is no record's header")?;
        if header.batch != self.batch.0 || header.previous != self.previous {
            return Err("the record does not follow the one before it".to_owned());
        }
        if header.record_bytes() as u64 > self.file.len() - self.at {
            return Err("the record is too long".to_owned());
        }
        self.previous = crc;
        self.at += HEADER_BYTES as u64;
        self.body = Some(Body { header, crc: salt, left: u64::from(header.body_bytes) });
        if header.body_bytes == 0 { self.body() } else { Ok(()) }
    }

    fn body(&mut self) -> Result<(), String> {
        let mut body = self.body.take().expect("one is read");
        if body.left > 0 {
            let crc = &mut body.crc;
            let append = |bytes: &[u8]| *crc = crc32c::crc32c_append(*crc, bytes);
            let n_bytes = self.file.piece(self.at, body.left, append);
            let n_bytes = n_bytes.map_err(|error| unreadable(&error))?;
            self.at += n_bytes;
            body.left -= n_bytes;
            if body.left > 0 {
                self.body = Some(body);
                return Ok(());
            }
        }
        let Body { header, crc, .. } = body;
        if crc != header.body_crc {
            return Err("the checksum of the record's body before it is wrong".to_owned());
        }
        let mut padding = [0; ALIGNMENT];
        let padding =
            &mut padding[..header.record_bytes() - HEADER_BYTES - header.body_bytes as usize];
        self.read(self.at, padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err("the record's padding is not zero".to_owned());
        }
        self.at += padding.len() as u64;
        if header.is_last {
            self.batch = (self.batch.0 + 1, self.previous);
        }
        Ok(())
    }

    /// What is here counts for nothing, but recovery reads it.
    fn rest(&mut self) -> Result<(), String> {
        let n_bytes = self.file.piece(self.at, u64::MAX, |_| ());
        self.at += n_bytes.map_err(|error| unreadable(&error))?;
        Ok(())
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), String> {
        self.file.read_at(at, into).map_err(|error| unreadable(&error))
    }
}

/// In words.
pub(super) fn unreadable(error: &std::io::Error) -> String {
    format!("it cannot be read: {error}")
}
