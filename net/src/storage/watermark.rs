//! A second place that says how far the log was durable once.
//!
//! Invariant: what it says is true when it is said, and never ahead of the log. So a log that ends
//! before it is damaged, not torn (Alagappan et al., FAST 2018). It may lag: what it has not said
//! yet, the next batch of the log says by being there.

use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::place::{create, failed, list, open, sync_folder};

/// Two files, written in turn, so that a torn write leaves the other.
pub(super) const NAMES: [&str; 2] = ["watermark-0", "watermark-1"];

const MAGIC: [u8; 8] = *b"ZOKORWMK";
const VERSION: u32 = 1;
const SIZE_BYTES: usize = 48;

/// The two files.
pub(super) struct Watermark<D: Disk> {
    files: [Option<D::File>; 2],
    /// Which one is to be written next: not the one that says most.
    next: usize,
    /// The last batch that is noted as durable; 0 if none is.
    batch: u64,
}

/// What was found of it.
pub(super) struct FoundMark<D: Disk> {
    /// To go on with.
    pub(super) watermark: Watermark<D>,
    /// The file that says most.
    pub(super) name: &'static str,
    /// Files that are there and say nothing, for the report.
    pub(super) damaged: Vec<String>,
}

impl<D: Disk> Watermark<D> {
    /// Of a log without a batch.
    pub(super) fn none() -> Self {
        Watermark { files: [None, None], next: 0, batch: 0 }
    }

    /// Reads the files of the folder. One that is damaged counts for nothing: it says at most what
    /// the other has said before, or what the log itself has to show.
    pub(super) fn find(disk: &D, id: [u8; 16]) -> Result<FoundMark<D>, Error> {
        let mut found =
            FoundMark { watermark: Watermark::none(), name: NAMES[0], damaged: Vec::new() };
        let names = list(disk)?;
        for (slot, name) in NAMES.into_iter().enumerate() {
            if !names.iter().any(|other| other == name) {
                continue;
            }
            let file = open(disk, name)?;
            let mut bytes = [0; SIZE_BYTES];
            let is_there = file.read_at(0, &mut bytes).is_ok();
            match parse(&bytes, id).filter(|_| is_there) {
                Some(batch) if batch > found.watermark.batch => {
                    found.watermark.batch = batch;
                    found.watermark.next = 1 - slot;
                    found.name = name;
                }
                Some(_) => {}
                None => found.damaged.push(name.to_owned()),
            }
            found.watermark.files[slot] = Some(file);
        }
        Ok(found)
    }

    /// The last batch that is known to have been durable; 0 if none is.
    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    /// Notes durably that `batch` is durable. On a disk without room for the file it is not noted.
    pub(super) fn note(&mut self, disk: &D, id: [u8; 16], batch: u64) -> Result<(), Error> {
        assert!(batch > self.batch, "what is durable only grows");
        match self.write(disk, &to_bytes(id, batch)) {
            Err(Error::Full { .. }) => return Ok(()),
            done => done?,
        }
        self.batch = batch;
        self.next = 1 - self.next;
        Ok(())
    }

    fn write(&mut self, disk: &D, bytes: &[u8]) -> Result<(), Error> {
        let name = NAMES[self.next];
        if let Some(file) = &mut self.files[self.next] {
            file.write_at(0, bytes).map_err(failed(disk, "write", name))?;
            return file.sync().map_err(failed(disk, "sync", name));
        }
        // A write before this one may have made the file and found no room for more.
        let is_there = list(disk)?.iter().any(|other| other == name);
        let mut file = if is_there { open(disk, name)? } else { create(disk, name)? };
        file.write_at(0, bytes).map_err(failed(disk, "write", name))?;
        file.sync().map_err(failed(disk, "sync", name))?;
        self.files[self.next] = Some(file);
        sync_folder(disk)
    }
}

fn to_bytes(id: [u8; 16], batch: u64) -> [u8; SIZE_BYTES] {
    let mut bytes = [0; SIZE_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(SIZE_BYTES as u32).to_le_bytes());
    bytes[16..32].copy_from_slice(&id);
    bytes[32..40].copy_from_slice(&batch.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..44]);
    bytes[44..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The batch that `bytes` speak of; `None` if they are not whole, or of another folder.
fn parse(bytes: &[u8; SIZE_BYTES], id: [u8; 16]) -> Option<u64> {
    let batch = u64::from_le_bytes(bytes[32..40].try_into().expect("eight"));
    (*bytes == to_bytes(id, batch)).then_some(batch)
}

#[cfg(test)]
mod tests {
    use super::super::disk::MemoryDisk;
    use super::*;

    const ID: [u8; 16] = [7; 16];

    fn found(disk: &MemoryDisk) -> (u64, Vec<String>) {
        let found = Watermark::find(disk, ID).unwrap();
        (found.watermark.batch(), found.damaged)
    }

    fn overwrite(disk: &MemoryDisk, name: &str, at: u64, bytes: &[u8]) {
        let mut file = disk.open(name).unwrap();
        file.write_at(at, bytes).unwrap();
        file.sync().unwrap();
    }

    #[test]
    fn what_was_noted_last_is_found() {
        let disk = MemoryDisk::default();
        assert_eq!(found(&disk).0, 0);
        let mut watermark = Watermark::none();
        for batch in [1, 2, 9, 10, 500] {
            watermark.note(&disk, ID, batch).unwrap();
            assert_eq!(found(&disk), (batch, vec![]));
        }
        watermark = Watermark::find(&disk, ID).unwrap().watermark;
        watermark.note(&disk, ID, 501).unwrap();
        assert_eq!(found(&disk).0, 501);
    }

    #[test]
    fn one_damaged_file_leaves_the_other_which_is_written_over_last() {
        let disk = MemoryDisk::default();
        let mut watermark = Watermark::none();
        watermark.note(&disk, ID, 1).unwrap();
        watermark.note(&disk, ID, 2).unwrap();
        overwrite(&disk, NAMES[1], 33, &[1]);
        assert_eq!(found(&disk), (1, vec![NAMES[1].to_owned()]));
        let mut watermark = Watermark::find(&disk, ID).unwrap().watermark;
        watermark.note(&disk, ID, 3).unwrap();
        assert_eq!(found(&disk), (3, vec![]));
    }

    #[test]
    fn a_file_of_another_folder_says_nothing() {
        let disk = MemoryDisk::default();
        Watermark::none().note(&disk, [8; 16], 5).unwrap();
        assert_eq!(found(&disk), (0, vec![NAMES[0].to_owned()]));
    }
}
