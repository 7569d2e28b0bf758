//! A folder to look at: whatever is asked of it, nothing in it is changed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::real::names_in;
use super::{Disk, DiskFile};

/// A folder of the operating system that is only read. A server may be at work in it.
#[derive(Clone, Debug)]
pub struct ReadingDisk {
    path: Arc<Path>,
}

impl ReadingDisk {
    /// The folder `path`, which must be there.
    ///
    /// # Errors
    /// If it is not, or is no folder.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !std::fs::metadata(&path)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(ReadingDisk { path: path.into() })
    }
}

/// What is said to whoever wants to change something.
fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadingDisk {
    type File = File;
    type Lock = ();

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        names_in(&self.path)
    }

    fn create(&self, _: &str) -> io::Result<File> {
        refused()
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.path.join(name))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync_folder(&self) -> io::Result<()> {
        refused()
    }

    fn lock(&self) -> io::Result<Option<()>> {
        refused()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        refused()
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn sync(&mut self) -> io::Result<()> {
        refused()
    }
}
