//! What goes from the log: what snapshots cover, and what was found to be damaged.

use zokor_core::raft::Index;

use super::{Segment, Wal};
use crate::storage::disk::Disk;
use crate::storage::error::Error;
use crate::storage::place::remove_if_there;
use crate::storage::segment::Used;

impl<D: Disk> Wal<D> {
    /// Takes away segments that hold no entry above `through`, as far as snapshots cover them: one
    /// that was verified, and, so that one may rot, the one before it. Behind a damaged segment
    /// that a verified snapshot covers there is no such way out, and it goes at once.
    ///
    /// # Errors
    /// As [`Wal::persist`].
    pub fn purge(&mut self, through: Index) -> Result<(), Error> {
        self.guarded(|wal| {
            let covered = wal.shared.at_rest().covered();
            let through = if wal.is_damaged { Index::ZERO } else { through.min(covered) };
            let ends = wal.segments.iter().skip(1).map(|next| next.next.previous());
            let n_covered = ends.take_while(|end| *end <= through).count();
            wal.begin_at(n_covered)?;
            wal.retire()?;
            while wal.used.len() > wal.segments.len() {
                wal.used.pop().expect("there is one").discard(&wal.disk)?;
            }
            Ok(())
        })
    }

    /// Does what can be done about damage that a scrub has found in the log's files: a watermark is
    /// written anew; a segment that is written to is gone on from in a new one; and one that a
    /// verified snapshot covers goes, with all before it. What cannot be done for want of room is
    /// left.
    ///
    /// # Errors
    /// As [`Wal::persist`].
    pub fn mend(&mut self) -> Result<(), Error> {
        self.guarded(|wal| {
            if wal.is_damaged {
                return Ok(());
            }
            if wal.shared.at_rest().is_mark_sick {
                wal.watermark.forget_files();
                match wal.vouch() {
                    Err(Error::Full { .. }) => {}
                    vouched => {
                        vouched?;
                        let mut at_rest = wal.shared.at_rest();
                        at_rest.is_mark_sick = false;
                        at_rest.repaired("the watermark was written anew".to_owned());
                    }
                }
            }
            let open = wal.segments.back().expect("one is open").number;
            if wal.shared.at_rest().sick.contains(&open) {
                match wal.zeroed(0) {
                    Ok(spare) => wal.roll(spare)?,
                    Err(Error::Full { .. }) => wal.give_back()?,
                    Err(error) => return Err(error),
                }
            }
            wal.retire()
        })
    }

    /// Takes away damaged segments that a verified snapshot covers, and all before them.
    fn retire(&mut self) -> Result<(), Error> {
        let useless = if self.is_damaged { None } else { self.shared.at_rest().useless() };
        useless.map_or(Ok(()), |place| self.begin_at(place + 1))
    }

    /// Takes away the `n` oldest segments, one after the other. What is damaged becomes no other.
    fn begin_at(&mut self, n: usize) -> Result<(), Error> {
        for _ in 0..n {
            let oldest = self.segments.pop_front().expect("there are more");
            let is_sick = self.shared.at_rest().take_oldest(oldest.number);
            // No more than the log has itself, so that a small log gives its room back.
            let is_whole = oldest.size_bytes == self.segment_bytes && !is_sick;
            if is_whole && self.used.len() < self.segments.len() {
                self.used.push(Used::keep(&self.disk, &oldest.name, oldest.size_bytes)?);
            } else {
                remove_if_there(&self.disk, &oldest.name)?;
            }
            self.shared.at_rest().retired(&oldest);
        }
        Ok(())
    }

    /// Tells the others what the log's files are.
    pub(super) fn publish(&self) {
        let mut at_rest = self.shared.at_rest();
        at_rest.segments = self.segments.iter().cloned().collect::<Vec<Segment>>();
        at_rest.durable = self.position;
        at_rest.is_log_damaged = self.is_damaged;
        at_rest.mark = (self.watermark.mark().hard_state, self.watermark.are_there());
        let is_listed = |number: &u64| self.segments.iter().any(|it| it.number == *number);
        at_rest.sick.retain(is_listed);
    }
}
