//! The disk of production: one folder of the operating system.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::direct::DirectFile;
use super::{Disk, DiskFile, LOCK_NAME};

/// One folder of the operating system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    path: Arc<Path>,
    folder: Arc<File>,
    is_direct: bool,
}

impl RealDisk {
    /// The folder `path`, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made or opened.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        let folder = File::open(&path)?;
        if !folder.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // The folder's own name must survive as well as what is in it.
        if let Some(parent) = path.canonicalize()?.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(RealDisk { path: path.into(), folder: Arc::new(folder), is_direct: false })
    }

    /// The same folder, with durable writes past the page cache where the file system knows how
    /// (`O_DIRECT`, `O_DSYNC`): less work a write on a quiet machine, no difference on a busy one.
    pub fn direct(self) -> Self {
        RealDisk { is_direct: true, ..self }
    }
}

impl RealDisk {
    fn file(&self, file: File) -> RealFile {
        RealFile { file, is_direct: self.is_direct, direct: None }
    }
}

/// The names of everything in a folder, ascending.
pub(super) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

impl Disk for RealDisk {
    type File = RealFile;
    type Lock = File;

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        names_in(&self.path)
    }

    fn create(&self, name: &str) -> io::Result<RealFile> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        let path = self.path.join(name);
        Ok(self.file(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn lock(&self) -> io::Result<Option<File>> {
        let path = self.path.join(LOCK_NAME);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::fstatvfs(&self.folder)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// A file of a [`RealDisk`].
#[derive(Debug)]
pub struct RealFile {
    file: File,
    /// Whether a durable write still has to find out if it can go past the cache.
    is_direct: bool,
    /// By which it does, if it can.
    direct: Option<DirectFile>,
}

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.is_direct) {
            self.direct = DirectFile::of(&self.file);
        }
        if let Some(direct) = &mut self.direct {
            return direct.write(&self.file, offset, bytes);
        }
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_data()
    }
}
