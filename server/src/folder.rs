//! Claims on folders that hold several servers. A server's own folder is claimed by storage.
//!
//! Invariant: while a [`Claim`] lives, every other claim on its folder fails, also from another
//! process. The system lets go of it when the process ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// The exclusive use of one folder, given back on drop.
#[derive(Debug)]
pub struct Claim {
    /// Holds the lock.
    _lock: File,
}

impl Claim {
    /// Makes `folder` if it is missing and takes it. An `Err` is one sentence that says what to do.
    pub fn take(folder: &Path) -> Result<Self, String> {
        let shown = folder.display();
        fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make the folder {shown}: {error}"))?;
        let path = folder.join(LOCK);
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock =
            opened.map_err(|error| format!("cannot write into the folder {shown}: {error}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only to name it; without a name the sentence is as true.
                let _ = (&lock).take(20).read_to_string(&mut holder);
                let holder = holder.trim();
                let is_pid = !holder.is_empty() && holder.bytes().all(|b| b.is_ascii_digit());
                let who = if is_pid { format!(" (process {holder})") } else { String::new() };
                return Err(format!(
                    "the folder {shown} is in use by another zokor{who}; stop that one, or name \
                     another folder"
                ));
            }
            Err(TryLockError::Error(error)) => {
                return Err(format!("cannot lock {}: {error}", path.display()));
            }
        }
        let pid = std::process::id();
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{pid}"))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Claim { _lock: lock })
    }
}

/// Whether `folder` is missing or has nothing in it but a lock.
pub fn is_vacant(folder: &Path) -> Result<bool, String> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.all(|entry| entry.is_ok_and(|e| e.file_name() == LOCK))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(format!("cannot read the folder {}: {error}", folder.display())),
    }
}

const LOCK: &str = "zokor.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_claimed_once_and_free_again_after_the_claim() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let claim = Claim::take(&folder).unwrap();
        let error = Claim::take(&folder).unwrap_err();
        let pid = std::process::id();
        assert!(error.contains(&format!("in use by another zokor (process {pid})")), "{error}");
        drop(claim);
        Claim::take(&folder).unwrap();
        assert!(is_vacant(&folder).unwrap());
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_one_clear_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(Claim::take(&file).unwrap_err().starts_with("cannot make the folder"));
        assert!(is_vacant(&file).unwrap_err().starts_with("cannot read the folder"));
    }
}
