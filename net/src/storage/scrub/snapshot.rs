//! One snapshot, read from end to end without building it.
//!
//! Invariant: what passes has every checksum right and in its place, and no more of it is in memory
//! than one window, whatever the lengths in it say.

use zokor_core::raft::Index;

use super::cold::Cold;
use super::segment::unreadable;
use crate::storage::disk::DiskFile;
use crate::storage::snapshot::{TRAILER_BYTES, Wrong, frame_crc, read_head};

/// How far a reading has come.
pub(super) struct SnapshotCheck<F> {
    pub(super) file: Cold<F>,
    id: [u8; 16],
    index: Index,
    at: u64,
    /// The checksum so far.
    crc: u32,
    n_chunks: u64,
    total_bytes: u64,
    chunk: Option<Chunk>,
    is_whole: bool,
}

/// A chunk that is being read.
struct Chunk {
    start: u64,
    expected: u32,
    left: u64,
}

impl<F: DiskFile> SnapshotCheck<F> {
    /// Of the snapshot of the folder `id` that ends with `index`.
    pub(super) fn new(file: Cold<F>, id: [u8; 16], index: Index) -> Self {
        let (at, crc, n_chunks, total_bytes) = (0, 0, 0, 0);
        let (chunk, is_whole) = (None, false);
        SnapshotCheck { file, id, index, at, crc, n_chunks, total_bytes, chunk, is_whole }
    }

    /// One step; whether there are more.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn step(&mut self) -> Result<bool, String> {
        if self.is_whole {
            return Ok(false);
        }
        if self.at == 0 {
            self.head()?;
        } else if self.chunk.is_some() {
            self.chunk()?;
        } else {
            self.frame()?;
        }
        Ok(true)
    }

    fn head(&mut self) -> Result<(), String> {
        let head = read_head(&self.file, self.file.len(), self.id);
        let (fields, end, crc) = head.map_err(|wrong| match wrong {
            Wrong::Damaged(what) => what,
            Wrong::Newer(found) => format!("it says that its format is {found}"),
        })?;
        if fields.0.last.index != self.index {
            return Err("it is another snapshot under this name".to_owned());
        }
        (self.at, self.crc) = (end, crc);
        Ok(())
    }

    fn frame(&mut self) -> Result<(), String> {
        let mut frame = [0; 8];
        self.file.read_at(self.at, &mut frame).map_err(|error| {
            format!("there is no chunk at offset {}: {}", self.at, unreadable(&error))
        })?;
        let n_bytes = u32::from_le_bytes(frame[..4].try_into().expect("four bytes"));
        let expected = u32::from_le_bytes(frame[4..].try_into().expect("four bytes"));
        if n_bytes == 0 {
            return self.trailer(expected);
        }
        let start = self.at;
        if self.file.len() - start < 8 + u64::from(n_bytes) {
            return Err(format!("it ends within the chunk at offset {start}"));
        }
        self.crc = frame_crc(self.crc, n_bytes);
        self.at += 8;
        self.chunk = Some(Chunk { start, expected, left: u64::from(n_bytes) });
        self.n_chunks += 1;
        self.total_bytes += u64::from(n_bytes);
        Ok(())
    }

    fn chunk(&mut self) -> Result<(), String> {
        let chunk = self.chunk.as_mut().expect("one is read");
        let crc = &mut self.crc;
        let append = |bytes: &[u8]| *crc = crc32c::crc32c_append(*crc, bytes);
        let n_bytes = self.file.piece(self.at, chunk.left, append);
        let n_bytes =
            n_bytes.map_err(|error| format!("at offset {}: {}", self.at, unreadable(&error)))?;
        self.at += n_bytes;
        chunk.left -= n_bytes;
        if chunk.left > 0 {
            return Ok(());
        }
        let Chunk { start, expected, .. } = *chunk;
        self.chunk = None;
        if self.crc == expected {
            return Ok(());
        }
        Err(format!("the checksum of the chunk at offset {start} is wrong"))
    }

    fn trailer(&mut self, expected: u32) -> Result<(), String> {
        let mut body = [0; TRAILER_BYTES as usize - 8];
        let read = self.file.read_at(self.at + 8, &mut body);
        read.map_err(|error| format!("its trailer: {}", unreadable(&error)))?;
        let long = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight"));
        let crc = crc32c::crc32c_append(frame_crc(self.crc, 0), &body);
        let is_end = self.at + TRAILER_BYTES == self.file.len();
        if crc != expected || long(0) != self.n_chunks || long(8) != self.total_bytes || !is_end {
            return Err("its trailer does not fit its chunks".to_owned());
        }
        self.is_whole = true;
        Ok(())
    }
}
