//! Durable writes past the page cache.
//!
//! Invariant: only whole blocks are written, and what they hold beside the caller's bytes is the
//! start of the first block as it was, and zeros behind the end, where nothing counts yet.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::OFlags;

/// What offset, length and memory must be multiples of: enough for any disk.
const BLOCK_BYTES: usize = 4096;
/// A buffer that grew beyond this is given back.
const BUFFER_BYTES: usize = 8 << 20;

/// A second handle of a file, by which a write is one call: no copy in the cache, no sync of its
/// own.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// A block longer than what is written, so that an aligned part can be taken of it.
    buffer: Vec<u8>,
    /// Where the latest write ended.
    end: u64,
    /// The block that holds the byte before `end`.
    last_block: Vec<u8>,
}

impl DirectFile {
    /// Opens the same file once more; `None` where the file system has no such thing.
    pub(super) fn of(file: &File) -> Option<Self> {
        // Not by its name, which may have changed.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = (OFlags::DIRECT | OFlags::DSYNC).bits().cast_signed();
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).ok()?;
        Some(DirectFile { file, buffer: Vec::new(), end: 0, last_block: vec![0; BLOCK_BYTES] })
    }

    /// Writes `bytes` durably at `offset`; `cached` reads the same file.
    pub(super) fn write(&mut self, cached: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let lead = (offset % BLOCK_BYTES as u64) as usize;
        let start = offset - lead as u64;
        let n_bytes = (lead + bytes.len()).next_multiple_of(BLOCK_BYTES);
        if self.buffer.len() < n_bytes + BLOCK_BYTES {
            self.buffer = vec![0; n_bytes + BLOCK_BYTES];
        }
        let base = self.buffer.as_ptr().align_offset(BLOCK_BYTES);
        let area = &mut self.buffer[base..base + n_bytes];
        if self.end == offset {
            area[..lead].copy_from_slice(&self.last_block[..lead]);
        } else {
            cached.read_exact_at(&mut area[..lead], start)?;
        }
        area[lead..lead + bytes.len()].copy_from_slice(bytes);
        area[lead + bytes.len()..].fill(0);
        self.file.write_all_at(area, start)?;
        self.last_block.copy_from_slice(&area[n_bytes - BLOCK_BYTES..]);
        self.end = offset + bytes.len() as u64;
        if self.buffer.len() > BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

/// A second handle of a file, by which a read asks the disk and not the page cache.
#[derive(Debug)]
pub(super) struct ColdReader(File);

impl ColdReader {
    /// Opens the same file once more; `None` where the file system has no such thing.
    pub(super) fn of(file: &File) -> Option<Self> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::DIRECT.bits().cast_signed();
        Some(ColdReader(OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?))
    }

    /// Fills `into` from `offset` on. What the cache has and the disk does not is written first.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let lead = (offset % BLOCK_BYTES as u64) as usize;
        let n_bytes = (lead + into.len()).next_multiple_of(BLOCK_BYTES);
        let mut buffer = vec![0; n_bytes + BLOCK_BYTES];
        let base = buffer.as_ptr().align_offset(BLOCK_BYTES);
        let area = &mut buffer[base..base + n_bytes];
        let (start, mut filled) = (offset - lead as u64, 0);
        while filled < lead + into.len() {
            match self.0.read_at(&mut area[filled..], start + filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // A part of a block is the end of the file.
                Ok(n) if n % BLOCK_BYTES != 0 && filled + n < lead + into.len() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        into.copy_from_slice(&area[lead..lead + into.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_from_the_disk_is_what_was_written_to_the_end_of_the_file() {
        let mut cached = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..3 * BLOCK_BYTES + 77).map(|at| (at % 251) as u8).collect();
        io::Write::write_all(&mut cached, &content).unwrap();
        let Some(cold) = ColdReader::of(&cached) else { return };
        for (offset, n) in [(0, 10), (4090, 20), (5, 8192), (8192, 4096 + 77), (12_300, 65)] {
            let mut found = vec![0; n];
            cold.read(offset, &mut found).unwrap();
            assert_eq!(found, content[offset as usize..][..n], "{offset} {n}");
        }
        let end = content.len() as u64;
        assert!(cold.read(end - 1, &mut [0; 2]).is_err() && cold.read(end, &mut [0]).is_err());
    }

    #[test]
    fn what_is_written_block_by_block_reads_as_one() {
        let mut cached = tempfile::tempfile().unwrap();
        let size = 20 * BLOCK_BYTES;
        io::Write::write_all(&mut cached, &vec![0; size]).unwrap();
        cached.write_all_at(&[9; 100], BLOCK_BYTES as u64).unwrap();
        cached.sync_all().unwrap();
        let Some(mut direct) = DirectFile::of(&cached) else { return };
        let mut expected = vec![0; size];
        expected[BLOCK_BYTES..BLOCK_BYTES + 100].fill(9);
        let mut at = BLOCK_BYTES + 100;
        for (i, n) in [1, 7, 3888, 100, 4096, 8192, 5000, 0, 1, 11_287, 500].into_iter().enumerate()
        {
            let bytes = vec![i as u8 + 1; n];
            direct.write(&cached, at as u64, &bytes).unwrap();
            expected[at..at + n].copy_from_slice(&bytes);
            at += n;
            let mut found = vec![0; size];
            cached.read_exact_at(&mut found, 0).unwrap();
            assert!(found == expected, "after {n} bytes");
        }
    }
}
