//! Which ensemble a folder belongs to, if it did not begin empty: the file that says so.
//!
//! Invariant: the servers that were begun from one import or one backup have a number in common
//! that no other server has, so that an old member never takes part beside them. The file is there
//! before anything else, and says that the folder is whole only when it is.

use super::disk::Disk;
use super::error::Error;
use super::place::{list, read_whole, remove, replace};

/// The file.
pub(super) const NAME: &str = "zokor-ensemble";
const TEMPORARY_NAME: &str = "zokor-ensemble.tmp";
const MAGIC: [u8; 8] = *b"ZOKORENS";
const VERSION: u32 = 1;
const SIZE_BYTES: usize = 32;
const WHOLE: u32 = 1;

/// Reads the number of a folder; 0 if it began empty.
///
/// # Errors
/// If the file is damaged, or whoever made the folder did not finish.
pub(super) fn read<D: Disk>(disk: &D) -> Result<u64, Error> {
    if !list(disk)?.iter().any(|name| name == NAME) {
        return Ok(0);
    }
    let bytes = read_whole(disk, NAME, 4096)?.unwrap_or_default();
    let damaged = |offset, what: &str| Error::Damaged {
        place: disk.place(),
        file: NAME.to_owned(),
        offset,
        index: None,
        what: what.to_owned(),
    };
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if bytes.len() < SIZE_BYTES || bytes[..8] != MAGIC {
        return Err(damaged(0, "it does not begin as it should"));
    }
    if word(8) > VERSION {
        let (place, file) = (disk.place(), NAME.to_owned());
        return Err(Error::Newer { place, file, found: word(8), known: VERSION });
    }
    if bytes.len() != SIZE_BYTES || word(12) != SIZE_BYTES as u32 {
        return Err(damaged(12, "its length is wrong"));
    }
    if crc32c::crc32c(&bytes[..28]) != word(28) || word(8) == 0 {
        return Err(damaged(28, "its checksum is wrong"));
    }
    if word(24) & WHOLE == 0 {
        return Err(Error::Unfinished { place: disk.place() });
    }
    Ok(u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes")))
}

/// The bytes that say it.
pub(super) fn bytes(number: u64, is_whole: bool) -> [u8; SIZE_BYTES] {
    let mut bytes = [0; SIZE_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(SIZE_BYTES as u32).to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    bytes[24..28].copy_from_slice(&(if is_whole { WHOLE } else { 0 }).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Writes the number, durably.
pub(super) fn write<D: Disk>(disk: &D, number: u64, is_whole: bool) -> Result<(), Error> {
    let bytes = bytes(number, is_whole);
    if list(disk)?.iter().any(|name| name == TEMPORARY_NAME) {
        remove(disk, TEMPORARY_NAME)?;
    }
    replace(disk, TEMPORARY_NAME, NAME, &bytes)
}

/// Whether a name is one of this file's.
pub(super) fn is_own(name: &str) -> bool {
    matches!(name, NAME | TEMPORARY_NAME)
}
