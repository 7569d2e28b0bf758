//! The disk of production: one folder of the operating system.

use std::cell::OnceCell;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Advice, OFlags};

use super::direct::{ColdReader, DirectFile};
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
    /// (`O_DIRECT`, `O_DSYNC`).
    pub fn direct(self) -> Self {
        RealDisk { is_direct: true, ..self }
    }

    /// The same folder, with durable writes in whichever way takes less time here: tried a few
    /// times in turns, in a file without a name. Where that cannot be tried they go through the
    /// page cache. `time` says how long it is since any fixed moment.
    pub fn faster(self, time: impl Fn() -> Duration) -> (Self, Measured) {
        let measured = self.measure(time).unwrap_or_default();
        (RealDisk { is_direct: measured.is_direct(), ..self }, measured)
    }

    fn measure(&self, time: impl Fn() -> Duration) -> io::Result<Measured> {
        let mut ways = [false, true].map(|is_direct| (is_direct, Vec::new()));
        let mut files = Vec::new();
        for (is_direct, _) in &ways {
            let mut options = OpenOptions::new();
            let flags = OFlags::TMPFILE.bits().cast_signed();
            let file = options.read(true).write(true).custom_flags(flags).open(&*self.path)?;
            file.write_all_at(&[0; TRIED_BYTES], 0)?;
            file.sync_all()?;
            let direct = is_direct.then(|| DirectFile::of(&file)).flatten();
            if *is_direct && direct.is_none() {
                return Ok(Measured::default());
            }
            files.push(RealFile { file, is_direct: false, direct, cold: OnceCell::new() });
        }
        for round in 0..TRIES {
            for (file, (_, took)) in files.iter_mut().zip(&mut ways) {
                let began = time();
                file.write_durable(round as u64 * TRY_BYTES as u64, &[1; TRY_BYTES])?;
                took.push(time().saturating_sub(began));
            }
        }
        let [cached, direct] = ways.map(|(_, mut took)| {
            took.sort_unstable();
            Some(took[TRIES / 2])
        });
        Ok(Measured { cached, direct })
    }
}

/// How often each way of writing is tried, and with how much at a time: a small batch, that ends
/// within a block as batches do.
const TRIES: usize = 9;
const TRY_BYTES: usize = 1500;
const TRIED_BYTES: usize = 4 * 4096;

/// How long a durable write took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The median through the page cache; `None` if that was not tried.
    pub cached: Option<Duration>,
    /// The median past it; `None` if the file system does not know how.
    pub direct: Option<Duration>,
}

impl Measured {
    /// Whether writes past the page cache took less time.
    pub fn is_direct(&self) -> bool {
        self.direct.is_some_and(|direct| self.cached.is_some_and(|cached| direct < cached))
    }
}

impl RealDisk {
    fn file(&self, file: File) -> RealFile {
        RealFile { file, is_direct: self.is_direct, direct: None, cold: OnceCell::new() }
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
    /// By which it is read past the cache, once that was asked for; `None` if it cannot.
    cold: OnceCell<Option<ColdReader>>,
}

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn read_cold(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if let Some(cold) = self.cold.get_or_init(|| ColdReader::of(&self.file)) {
            return cold.read(offset, into);
        }
        let n_bytes = std::num::NonZeroU64::new(into.len() as u64);
        // Asked before, it makes the system ask the disk; asked after, it gives the memory back.
        // That it cannot be had is no reason not to read.
        let _ = rustix::fs::fadvise(&self.file, offset, n_bytes, Advice::DontNeed);
        let read = self.file.read_exact_at(into, offset);
        let _ = rustix::fs::fadvise(&self.file, offset, n_bytes, Advice::DontNeed);
        read
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_that_took_less_time_is_taken_and_nothing_is_left_of_the_trial() {
        let folder = tempfile::tempdir().unwrap();
        let began = std::time::Instant::now();
        let (disk, measured) = RealDisk::new(folder.path()).unwrap().faster(|| began.elapsed());
        assert_eq!(disk.is_direct, measured.is_direct());
        assert!(disk.list().unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_tried_is_not_chosen() {
        let of = |cached: Option<u64>, direct: Option<u64>| {
            let [cached, direct] = [cached, direct].map(|us| us.map(Duration::from_micros));
            Measured { cached, direct }.is_direct()
        };
        assert!(of(Some(9), Some(8)) && !of(Some(9), Some(9)) && !of(Some(9), Some(10)));
        assert!(!of(None, Some(8)) && !of(Some(9), None) && !of(None, None));
    }
}
