//! A second place that says how far the log was durable once.
//!
//! Invariant: what it says is true when it is said, and never ahead of the log. So a log that ends
//! before it is damaged, not torn (Alagappan et al., FAST 2018). It may lag: what it has not said
//! yet, the next batch of the log says by being there.

use zokor_core::id::ServerId;
use zokor_core::raft::{EntryId, HardState, Index, Term};

use super::body::BEYOND_REACH;
use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::place::{create, failed, list, open, sync_folder};

/// Two files, written in turn, so that a torn write leaves the other.
pub(super) const NAMES: [&str; 2] = ["watermark-0", "watermark-1"];

const MAGIC: [u8; 8] = *b"ZOKORWMK";
const VERSION: u32 = 2;
const SIZE_BYTES: usize = 88;
const CRC_AT: usize = SIZE_BYTES - 4;

const FLAG_VOTE: u32 = 1;
const FLAG_LAST: u32 = 2;

/// What was durable once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last batch; 0 if there was none.
    pub(super) batch: u64,
    /// The hard state after that batch.
    pub(super) hard_state: HardState,
    /// The last entry after that batch, if its name was known.
    pub(super) last: Option<EntryId>,
}

/// The two files.
pub(super) struct Watermark<D: Disk> {
    files: [Option<D::File>; 2],
    /// Which one is to be written next: not the one that says most.
    next: usize,
    /// What is noted as durable.
    mark: Mark,
}

/// What was found of it.
pub(super) struct FoundMark<D: Disk> {
    /// To go on with.
    pub(super) watermark: Watermark<D>,
    /// The file that says most.
    pub(super) name: &'static str,
    /// Files that are there and say nothing, for the report.
    pub(super) damaged: Vec<String>,
    /// Whether both files are there and know the same hard state.
    pub(super) agrees: bool,
}

impl<D: Disk> Watermark<D> {
    /// Of a log without a batch.
    pub(super) fn none() -> Self {
        Watermark { files: [None, None], next: 0, mark: Mark::default() }
    }

    /// Reads the files of the folder. One that is damaged counts for nothing: it says at most what
    /// the other has said before, or what the log itself has to show.
    pub(super) fn find(disk: &D, id: [u8; 16]) -> Result<FoundMark<D>, Error> {
        let mut found = FoundMark {
            watermark: Watermark::none(),
            name: NAMES[0],
            damaged: Vec::new(),
            agrees: false,
        };
        let mut hard_states = Vec::new();
        let names = list(disk)?;
        for (slot, name) in NAMES.into_iter().enumerate() {
            if !names.iter().any(|other| other == name) {
                continue;
            }
            let file = open(disk, name)?;
            let mut bytes = [0; SIZE_BYTES];
            let is_there = file.read_at(0, &mut bytes).is_ok();
            let parsed = parse(&bytes, id).filter(|_| is_there);
            hard_states.extend(parsed.map(|mark| mark.hard_state));
            match parsed {
                Some(mark) if mark.batch > found.watermark.mark.batch => {
                    found.watermark.mark = mark;
                    found.watermark.next = 1 - slot;
                    found.name = name;
                }
                Some(_) => {}
                None => found.damaged.push(name.to_owned()),
            }
            found.watermark.files[slot] = Some(file);
        }
        found.agrees = hard_states.len() == NAMES.len() && hard_states[0] == hard_states[1];
        Ok(found)
    }

    /// Which of the two files were written, or found.
    pub(super) fn are_there(&self) -> [bool; 2] {
        [0, 1].map(|slot| self.files[slot].is_some())
    }

    /// The files may be others than those that are open: they are opened by their names again.
    pub(super) fn forget_files(&mut self) {
        self.files = [None, None];
    }

    /// The last batch that is known to have been durable; 0 if none is.
    pub(super) fn batch(&self) -> u64 {
        self.mark.batch
    }

    /// What is known to have been durable.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Notes durably that `mark` is durable, in both files: either knows the last hard state.
    pub(super) fn vouch(&mut self, disk: &D, id: [u8; 16], mark: Mark) -> Result<(), Error> {
        assert!(mark.batch >= self.mark.batch, "what is durable only grows");
        for _ in NAMES {
            self.write(disk, &to_bytes(id, mark))?;
            self.mark = mark;
            self.next = 1 - self.next;
        }
        Ok(())
    }

    /// Notes durably that `mark` is durable. On a disk without room for the file it is not noted.
    pub(super) fn note(&mut self, disk: &D, id: [u8; 16], mark: Mark) -> Result<(), Error> {
        assert!(mark.batch > self.mark.batch, "what is durable only grows");
        match self.write(disk, &to_bytes(id, mark)) {
            Err(Error::Full { .. }) => return Ok(()),
            done => done?,
        }
        self.mark = mark;
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

fn to_bytes(id: [u8; 16], mark: Mark) -> [u8; SIZE_BYTES] {
    let HardState { term, vote } = mark.hard_state;
    let last = mark.last.unwrap_or_default();
    let has_vote = if vote.is_some() { FLAG_VOTE } else { 0 };
    let has_last = if mark.last.is_some() { FLAG_LAST } else { 0 };
    let mut bytes = [0; SIZE_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(SIZE_BYTES as u32).to_le_bytes());
    bytes[16..32].copy_from_slice(&id);
    bytes[32..40].copy_from_slice(&mark.batch.to_le_bytes());
    bytes[40..48].copy_from_slice(&term.0.to_le_bytes());
    bytes[48..56].copy_from_slice(&vote.unwrap_or_default().0.to_le_bytes());
    bytes[56..60].copy_from_slice(&(has_vote | has_last).to_le_bytes());
    bytes[64..72].copy_from_slice(&last.term.0.to_le_bytes());
    bytes[72..80].copy_from_slice(&last.index.0.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Bytes of a file.
pub(super) const FILE_BYTES: usize = SIZE_BYTES;

/// What `bytes` say; `None` if they are not whole, or of another folder.
pub(super) fn parse(bytes: &[u8; SIZE_BYTES], id: [u8; 16]) -> Option<Mark> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
    let vote = (word(56) & FLAG_VOTE != 0).then_some(ServerId(long(48)));
    let last = EntryId { term: Term(long(64)), index: Index(long(72)) };
    let mark = Mark {
        batch: long(32),
        hard_state: HardState { term: Term(long(40)), vote },
        last: (word(56) & FLAG_LAST != 0).then_some(last),
    };
    let is_sane = [32, 40, 64, 72].into_iter().all(|at| long(at) < BEYOND_REACH);
    (is_sane && *bytes == to_bytes(id, mark)).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::super::disk::MemoryDisk;
    use super::*;

    const ID: [u8; 16] = [7; 16];

    fn mark(batch: u64) -> Mark {
        let vote = batch.is_multiple_of(2).then_some(ServerId(batch));
        let last = EntryId { term: Term(batch), index: Index(batch + 1) };
        let hard_state = HardState { term: Term(batch + 2), vote };
        Mark { batch, hard_state, last: batch.is_multiple_of(3).then_some(last) }
    }

    fn found(disk: &MemoryDisk) -> (u64, Vec<String>) {
        let found = Watermark::find(disk, ID).unwrap();
        let said = found.watermark.mark();
        assert!(said == mark(said.batch) || said == Mark::default());
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
            watermark.note(&disk, ID, mark(batch)).unwrap();
            assert_eq!(found(&disk), (batch, vec![]));
        }
        watermark = Watermark::find(&disk, ID).unwrap().watermark;
        watermark.note(&disk, ID, mark(501)).unwrap();
        assert_eq!(found(&disk).0, 501);
    }

    #[test]
    fn one_damaged_file_leaves_the_other_which_is_written_over_last() {
        let disk = MemoryDisk::default();
        let mut watermark = Watermark::none();
        watermark.note(&disk, ID, mark(1)).unwrap();
        watermark.note(&disk, ID, mark(2)).unwrap();
        overwrite(&disk, NAMES[1], 33, &[1]);
        assert_eq!(found(&disk), (1, vec![NAMES[1].to_owned()]));
        let mut watermark = Watermark::find(&disk, ID).unwrap().watermark;
        watermark.note(&disk, ID, mark(3)).unwrap();
        assert_eq!(found(&disk), (3, vec![]));
    }

    #[test]
    fn a_file_of_another_folder_says_nothing() {
        let disk = MemoryDisk::default();
        Watermark::none().note(&disk, [8; 16], mark(5)).unwrap();
        assert_eq!(found(&disk), (0, vec![NAMES[0].to_owned()]));
    }
}
