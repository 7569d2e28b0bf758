//! Whether a server may begin with folders that are missing, or with a folder that holds nothing.
//!
//! Invariant: what an operator forbids is found out before anything is made or written. Rules:
//! ZooKeeper's `FileTxnSnapLog` and `zkServer-initialize.sh`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zokor_net::storage::{ReadingDisk, is_in_use};

/// What may be made that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstStart {
    /// `datadir.autocreate`: folders. Default true.
    pub makes_folders: bool,
    /// `db.autocreate`: a database where there is none. Default true.
    pub makes_database: bool,
}

impl Default for FirstStart {
    fn default() -> Self {
        FirstStart { makes_folders: true, makes_database: true }
    }
}

impl FirstStart {
    /// Looks at the folders of a server that is about to start. An `Err` is one sentence that says
    /// what to do.
    pub fn permit(self, data: &Path, log: Option<&Path>) -> Result<(), String> {
        if !self.makes_folders {
            for folder in [Some(data), log].into_iter().flatten() {
                if !folder.is_dir() {
                    return Err(format!(
                        "the folder {} is not there, and datadir.autocreate=false keeps it from \
                         being made: make it, or see whether its disk is mounted",
                        folder.display()
                    ));
                }
            }
        }
        if holds_database(data)? || self.is_permitted_once(data, log) {
            return Ok(());
        }
        let shown = data.display();
        if !self.makes_database {
            return Err(format!(
                "{shown} holds no database, and db.autocreate=false keeps this server from \
                 beginning with an empty one, by which it could take part in decisions that it \
                 has forgotten: see whether its disk is mounted, bring its data back, or, if it is \
                 to begin anew, put an empty file {PERMIT} there"
            ));
        }
        if !self.makes_folders && is_blank(data)? {
            return Err(format!(
                "{shown} holds nothing at all, and datadir.autocreate=false keeps a server from \
                 beginning in a folder that nobody has prepared: see whether its disk is mounted, \
                 or put its myid or an empty file {PERMIT} there"
            ));
        }
        Ok(())
    }

    /// The server has begun: its permission to begin anew is used up, as with ZooKeeper at every
    /// start.
    pub fn use_up(data: &Path, log: Option<&Path>) -> Result<(), String> {
        for permit in permits(data, log) {
            match fs::remove_file(&permit) {
                Ok(()) => tracing::info!("{} is used up", permit.display()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(format!("cannot remove {}: {error}", permit.display()));
                }
            }
        }
        Ok(())
    }

    fn is_permitted_once(self, data: &Path, log: Option<&Path>) -> bool {
        permits(data, log).iter().any(|permit| permit.exists())
    }
}

/// The file that permits a server to begin with an empty database. ZooKeeper's script puts it into
/// dataDir, and its server looks for it where the log is.
fn permits(data: &Path, log: Option<&Path>) -> Vec<PathBuf> {
    [Some(data), log].into_iter().flatten().map(|folder| folder.join(PERMIT)).collect()
}

fn holds_database(data: &Path) -> Result<bool, String> {
    match ReadingDisk::new(data) {
        Ok(disk) => is_in_use(&disk).map_err(|error| error.to_string()),
        // Why it cannot be read is told by whoever opens it; a missing one is made there.
        Err(_) => Ok(false),
    }
}

/// Whether the folder is not there, or has nothing in it but what a file system puts there.
fn is_blank(folder: &Path) -> Result<bool, String> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().all(|entry| entry.file_name() == "lost+found")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(format!("cannot read the folder {}: {error}", folder.display())),
    }
}

/// ZooKeeper's name for it.
const PERMIT: &str = "initialize";

#[cfg(test)]
mod tests {
    use super::*;

    const NEITHER: FirstStart = FirstStart { makes_folders: false, makes_database: false };

    #[test]
    fn missing_folders_are_told_by_name_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        let no_folders = FirstStart { makes_folders: false, makes_database: true };
        let why = no_folders.permit(&data, None).unwrap_err();
        assert!(why.contains("data is not there") && why.contains("datadir.autocreate"), "{why}");
        fs::create_dir(&data).unwrap();
        let why = no_folders.permit(&data, Some(&log)).unwrap_err();
        assert!(why.contains("log is not there"), "{why}");
        fs::create_dir(&log).unwrap();
        let why = no_folders.permit(&data, Some(&log)).unwrap_err();
        assert!(why.contains("nothing at all"), "{why}");
        fs::write(data.join("myid"), "1").unwrap();
        assert_eq!(no_folders.permit(&data, Some(&log)), Ok(()));
        assert_eq!(FirstStart::default().permit(&dir.path().join("new"), None), Ok(()));
        assert!(!dir.path().join("new").exists());
    }

    #[test]
    fn an_empty_database_is_begun_with_a_permission_that_is_used_up() {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        fs::create_dir(&data).unwrap();
        fs::create_dir(&log).unwrap();
        fs::write(data.join("myid"), "1").unwrap();
        let why = NEITHER.permit(&data, Some(&log)).unwrap_err();
        assert!(why.contains("no database") && why.contains("initialize"), "{why}");
        for folder in [&data, &log] {
            fs::write(folder.join(PERMIT), "").unwrap();
            assert_eq!(NEITHER.permit(&data, Some(&log)), Ok(()));
            FirstStart::use_up(&data, Some(&log)).unwrap();
            assert!(NEITHER.permit(&data, Some(&log)).is_err(), "it holds once");
        }
        fs::write(data.join("zokor-identity"), "whatever").unwrap();
        assert_eq!(NEITHER.permit(&data, Some(&log)), Ok(()), "it has a database");
    }
}
