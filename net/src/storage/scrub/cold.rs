//! A file that is read once, from its beginning to its end, as the disk has it.
//!
//! Invariant: no more of it is in memory than one window.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};

use super::is_passing;
use crate::storage::disk::DiskFile;

/// What is read at once. A multiple of what a disk may want reads to be aligned to.
pub(super) const WINDOW_BYTES: u64 = 256 << 10;

/// The file.
pub(super) struct Cold<F> {
    file: F,
    size: u64,
    held: RefCell<Held>,
    /// Whether the last error was one that may pass.
    is_passing: Cell<bool>,
}

/// What is in memory.
#[derive(Default)]
struct Held {
    start: u64,
    bytes: Vec<u8>,
    /// What was read from the disk and not been asked about yet.
    n_read: u64,
}

impl<F: DiskFile> Cold<F> {
    /// Reads `file` from now on.
    pub(super) fn new(file: F) -> io::Result<Self> {
        let size = file.size()?;
        let (held, is_passing) = (RefCell::default(), Cell::new(false));
        Ok(Cold { file, size, held, is_passing })
    }

    /// Its length when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.size
    }

    /// Whether the last reading has failed for a reason that says nothing of the disk.
    pub(super) fn met_passing(&self) -> bool {
        self.is_passing.get()
    }

    /// How many bytes were read from the disk since this was last asked.
    pub(super) fn take_read(&self) -> u64 {
        std::mem::take(&mut self.held.borrow_mut().n_read)
    }

    /// Gives `each` the bytes from `offset` on, up to `limit` of them and to the end of the window
    /// that `offset` is in; how many there were.
    pub(super) fn piece(
        &self,
        offset: u64,
        limit: u64,
        each: impl FnOnce(&[u8]),
    ) -> io::Result<u64> {
        if offset >= self.size {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut held = self.held.borrow_mut();
        let start = offset - offset % WINDOW_BYTES;
        if held.start != start || held.bytes.is_empty() {
            held.bytes.clear();
            let n_bytes = WINDOW_BYTES.min(self.size - start);
            let mut bytes = std::mem::take(&mut held.bytes);
            bytes.resize(n_bytes as usize, 0);
            held.n_read += n_bytes;
            let read = self.file.read_cold(start, &mut bytes);
            self.is_passing.set(read.as_ref().is_err_and(is_passing));
            read?;
            (held.start, held.bytes) = (start, bytes);
        }
        let rest = &held.bytes[(offset - start) as usize..];
        let n_bytes = limit.min(rest.len() as u64);
        each(&rest[..n_bytes as usize]);
        Ok(n_bytes)
    }
}

impl<F: DiskFile> DiskFile for Cold<F> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            let rest = &mut into[filled..];
            let limit = rest.len() as u64;
            let copy = |bytes: &[u8]| rest[..bytes.len()].copy_from_slice(bytes);
            filled += self.piece(offset + filled as u64, limit, copy)? as usize;
        }
        Ok(())
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Disk, MemoryDisk};

    #[test]
    fn pieces_of_all_lengths_are_what_stands_there() {
        let content: Vec<u8> = (0..WINDOW_BYTES as usize * 2 + 777).map(|at| at as u8).collect();
        let disk = MemoryDisk::new();
        disk.put("a", &content);
        let file = Cold::new(disk.open("a").unwrap()).unwrap();
        for (offset, n) in
            [(0, 48), (40, 600_000 - 80_000), (WINDOW_BYTES - 3, 9), (524_000, 1_065)]
        {
            let mut into = vec![0; n as usize];
            file.read_at(offset, &mut into).unwrap();
            assert_eq!(into, content[offset as usize..][..n as usize]);
        }
        let end = content.len() as u64;
        assert!(file.read_at(end - 1, &mut [0; 2]).is_err());
        assert!(file.piece(end, 1, |_| ()).is_err());
        assert!(file.take_read() > 0);
        assert_eq!(file.take_read(), 0);
    }
}
