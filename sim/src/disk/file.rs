//! One file as its disk has it: what the cache shows, and what the platter would give back.
//!
//! Invariant: `shown` is what reading gives while the power is on. The platter differs from it only
//! in the sectors of `dirty` (not synced yet), of `dropped` (the sync failed) and of `ghosts`
//! (synced, and not what was asked for); a power cut settles them all, sector by sector.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::rng::Stream;

/// A file.
#[derive(Debug, Default)]
pub(super) struct FileNode {
    shown: Vec<u8>,
    /// Its length on the platter; what lies behind reads as zeros there.
    durable_bytes: usize,
    /// Un-synced sectors, and what the platter has in their place.
    dirty: BTreeMap<usize, Vec<u8>>,
    /// Sectors that count as clean after a failed sync, and what the platter has in their place.
    dropped: BTreeMap<usize, Vec<u8>>,
    /// Sectors that were acknowledged and synced, and what the platter has in their place.
    ghosts: BTreeMap<usize, Vec<u8>>,
    /// Sectors that rotted, until they are written again.
    rotten: BTreeSet<usize>,
    /// Sectors that the platter cannot read any more, until they are written again.
    unreadable: BTreeSet<usize>,
    /// What was written since the latest sync: from the lowest byte to the end of the highest.
    unsynced: Option<Range<usize>>,
    /// The same between that sync and the one before it.
    last_synced: Range<usize>,
    /// Something else says that this is there.
    is_vouched: bool,
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As it was written.
    Good,
    /// Not all of it is what was written.
    Rotten,
    /// The platter does not give it back.
    Unreadable,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Where it should.
    True,
    /// Nowhere.
    Nowhere,
    /// To another aligned place of the file.
    Astray,
}

impl FileNode {
    /// Bytes that it shows.
    pub(super) fn len(&self) -> usize {
        self.shown.len()
    }

    /// All that it shows.
    pub(super) fn shown(&self) -> &[u8] {
        &self.shown
    }

    /// How many sectors are not synced.
    pub(super) fn dirty_sectors(&self) -> usize {
        self.dirty.len()
    }

    /// Reads `into` from `offset` on; `None` if the file ends before.
    pub(super) fn read(&self, offset: usize, into: &mut [u8], sector: usize) -> Option<Reading> {
        let end = offset.checked_add(into.len())?;
        into.copy_from_slice(self.shown.get(offset..end)?);
        let touched = offset / sector..end.div_ceil(sector);
        if self.unreadable.range(touched.clone()).next().is_some() {
            return Some(Reading::Unreadable);
        }
        let rotten = self.rotten.range(touched).next().is_some();
        Some(if rotten { Reading::Rotten } else { Reading::Good })
    }

    /// Writes `bytes` at `offset`. At times the cache writes back by itself what was there before.
    /// `spares_last`: where it lies over what was synced last, that is there after all.
    pub(super) fn write(
        &mut self,
        offset: usize,
        bytes: &[u8],
        aim: Aim,
        spares_last: bool,
        disk: &mut Dice<'_>,
    ) {
        let spared = self.spared(spares_last, disk.sector);
        let end = offset + bytes.len();
        let old_end = self.shown.len();
        if aim == Aim::Astray && !bytes.is_empty() {
            self.stray(offset, bytes, disk);
        }
        let first = offset.min(old_end) / disk.sector;
        for sector in first..end.div_ceil(disk.sector) {
            let shown = self.sector(sector, disk.sector).to_vec();
            self.rotten.remove(&sector);
            self.unreadable.remove(&sector);
            let ghost = self.ghosts.remove(&sector).filter(|_| !spared.contains(&sector));
            let other = ghost.or_else(|| self.dropped.remove(&sector));
            if aim != Aim::True {
                let old = self.dirty.remove(&sector).or(other).unwrap_or(shown);
                self.ghosts.insert(sector, old);
                continue;
            }
            match self.dirty.entry(sector) {
                Entry::Vacant(clean) => {
                    clean.insert(other.unwrap_or(shown));
                }
                Entry::Occupied(mut dirty) if disk.stream.per_mille(100) => {
                    dirty.insert(shown);
                }
                Entry::Occupied(_) => {}
            }
        }
        if old_end < end {
            self.shown.resize(end, 0);
        }
        self.shown[offset..end].copy_from_slice(bytes);
        let range = self.unsynced.get_or_insert(offset..end);
        *range = range.start.min(offset)..range.end.max(end);
    }

    /// The platter gets `bytes` at a place where they were not meant to go.
    fn stray(&mut self, offset: usize, bytes: &[u8], disk: &mut Dice<'_>) {
        let n_sectors = self.shown.len() / disk.sector;
        let lead = offset % disk.sector;
        let width = (lead + bytes.len()).div_ceil(disk.sector);
        if n_sectors <= width {
            return;
        }
        let first = disk.stream.below((n_sectors - width) as u64) as usize;
        if first.abs_diff(offset / disk.sector) < width {
            return;
        }
        let start = first * disk.sector;
        let mut image = self.shown[start..start + width * disk.sector].to_vec();
        image[lead..lead + bytes.len()].copy_from_slice(bytes);
        for (sector, content) in (first..).zip(image.chunks(disk.sector)) {
            if !self.dirty.contains_key(&sector) {
                self.ghosts.insert(sector, content.to_vec());
            }
        }
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        self.dirty.clear();
        self.durable_bytes = self.shown.len();
        if let Some(range) = self.unsynced.take() {
            (self.last_synced, self.is_vouched) = (range, false);
        }
    }

    /// Counts everything as clean, though any of it may not be on the platter: what file systems do
    /// when a sync fails. Reading still shows all of it, until the power is cut.
    pub(super) fn fail_sync(&mut self, disk: &mut Dice<'_>) {
        for (sector, old) in std::mem::take(&mut self.dirty) {
            let kept = disk.kept_bytes();
            if kept < disk.sector {
                let mut content = self.sector(sector, disk.sector).to_vec();
                let from = kept.min(content.len());
                content[from..].fill(0);
                let old_end = old.len().min(content.len());
                if from < old_end {
                    content[from..old_end].copy_from_slice(&old[from..old_end]);
                }
                self.dropped.insert(sector, content);
            }
        }
        self.unsynced = None;
        self.durable_bytes = self.shown.len();
    }

    /// The power is cut: each un-synced sector is kept, lost or torn by itself, and what the cache
    /// pretended is gone. `spares_last`: what was synced last is no ghost.
    pub(super) fn cut_power(&mut self, spares_last: bool, disk: &mut Dice<'_>) {
        let mut end = self.durable_bytes.min(self.shown.len());
        let spared = self.spared(spares_last, disk.sector);
        for (sector, ghost) in std::mem::take(&mut self.ghosts) {
            if !spared.contains(&sector) {
                self.put(sector, &ghost, 0, disk.sector);
                self.rotten.insert(sector);
            }
        }
        for (sector, old) in std::mem::take(&mut self.dropped) {
            self.put(sector, &old, 0, disk.sector);
        }
        // At times the disk has begun at the end, and all is there but the beginning.
        let first = self.dirty.keys().next().copied();
        let lacks_first = self.dirty.len() > 1 && disk.stream.below(3) == 0;
        for (sector, old) in std::mem::take(&mut self.dirty) {
            let kept = match lacks_first {
                true if Some(sector) == first => 0,
                true => disk.sector,
                false => disk.kept_bytes(),
            };
            self.put(sector, &old, kept, disk.sector);
            if kept > 0 {
                end = end.max((sector * disk.sector + kept).min(self.shown.len()));
            }
        }
        self.shown.truncate(end);
        self.durable_bytes = end;
        self.unsynced = None;
    }

    /// Lets one durable sector rot, or become unreadable. Whether there was one to strike: what was
    /// written last is spared if `spares_last`.
    pub(super) fn spoil(
        &mut self,
        unreadable: bool,
        spares_last: bool,
        disk: &mut Dice<'_>,
    ) -> bool {
        let all = self.durable_bytes.min(self.shown.len()).div_ceil(disk.sector);
        let spared = self.spared(spares_last, disk.sector);
        // Most of a log's file is zeros to come: where something is, there is something to lose.
        let is_used = |&sector: &usize| {
            let content = self.sector(sector, disk.sector);
            let is_settled = [&self.dirty, &self.dropped, &self.ghosts]
                .into_iter()
                .all(|others| !others.contains_key(&sector));
            is_settled && !spared.contains(&sector) && content.iter().any(|&byte| byte != 0)
        };
        let used: Vec<usize> = (0..all).filter(is_used).collect();
        if used.is_empty() {
            return false;
        }
        let sector = *disk.stream.pick(&used);
        if unreadable {
            self.unreadable.insert(sector);
            return true;
        }
        let start = sector * disk.sector;
        let n_bytes = self.sector(sector, disk.sector).len();
        for _ in 0..disk.stream.log_between(1, 64) {
            let at = start + disk.stream.below(n_bytes as u64) as usize;
            self.shown[at] ^= 1 << disk.stream.below(8);
        }
        self.rotten.insert(sector);
        true
    }

    /// Lets the sector rot that lies at `permille` of those in use behind the first 4 KiB, which
    /// are a log's head; or makes zeros of it and of all behind it. Whether there was one.
    pub(super) fn spoil_at(
        &mut self,
        permille: u64,
        to_the_end: bool,
        disk: &mut Dice<'_>,
    ) -> bool {
        const HEAD_BYTES: usize = 4096;
        let Some(last) = self.shown.iter().rposition(|byte| *byte != 0) else { return false };
        let (first, last) = (HEAD_BYTES.div_ceil(disk.sector), last / disk.sector);
        let first = if last < first { 0 } else { first };
        let at = first + (last - first) * permille as usize / 1000;
        let (start, end) = (at * disk.sector, self.shown.len().min((at + 1) * disk.sector));
        if to_the_end {
            self.shown[start..].fill(0);
        } else {
            self.shown[start..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
        self.rotten.insert(at);
        true
    }

    /// Whether the platter holds, or will show, something that nobody wrote there.
    pub(super) fn is_spoilt(&self) -> bool {
        !(self.ghosts.is_empty() && self.rotten.is_empty() && self.unreadable.is_empty())
    }

    /// Lets the whole sector rot in which this byte lies; whether there is one.
    pub(super) fn spoil_around(&mut self, at: usize, sector_bytes: usize) -> bool {
        let sector = at / sector_bytes;
        let start = (sector * sector_bytes).min(self.shown.len());
        let end = (start + sector_bytes).min(self.shown.len());
        self.shown[start..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        self.rotten.insert(sector);
        start < end
    }

    /// Something else says now that what was synced is there, or nothing does any more.
    pub(super) fn has_witness(&mut self, is_vouched: bool) {
        self.is_vouched = is_vouched;
    }

    /// Whether what was synced last is there and will be.
    pub(super) fn ends_whole(&self, sector_bytes: usize) -> bool {
        let Range { start, end } = self.last_synced;
        let last = start / sector_bytes..end.div_ceil(sector_bytes);
        let is_harmed = |sector: &usize| {
            let here = [&self.dirty, &self.dropped, &self.ghosts];
            here.iter().any(|others| others.contains_key(sector))
                || self.rotten.contains(sector)
                || self.unreadable.contains(sector)
        };
        !last.into_iter().any(|sector| is_harmed(&sector))
    }

    /// Where what was synced last begins.
    pub(super) fn last_begins(&self) -> usize {
        self.last_synced.start
    }

    /// The sectors of what was synced last, which are not to be damaged unless something else says
    /// that they are there.
    fn spared(&self, spares_last: bool, sector_bytes: usize) -> Range<usize> {
        let Range { start, end } = self.last_synced;
        let is_spared = spares_last && !self.is_vouched;
        if is_spared { start / sector_bytes..end.div_ceil(sector_bytes) } else { 0..0 }
    }

    fn sector(&self, sector: usize, sector_bytes: usize) -> &[u8] {
        let start = (sector * sector_bytes).min(self.shown.len());
        let end = (start + sector_bytes).min(self.shown.len());
        &self.shown[start..end]
    }

    /// Puts `old` in the place of what a sector shows from byte `from` on.
    fn put(&mut self, sector: usize, old: &[u8], from: usize, sector_bytes: usize) {
        let start = sector * sector_bytes;
        let end = (start + sector_bytes).min(self.shown.len());
        for at in (start + from).min(end)..end {
            self.shown[at] = old.get(at - start).copied().unwrap_or(0);
        }
    }
}

/// What a disk draws by.
#[derive(Debug)]
pub(super) struct Dice<'a> {
    pub(super) stream: &'a mut Stream,
    /// Bytes of a sector.
    pub(super) sector: usize,
}

impl Dice<'_> {
    /// How much of an un-synced sector the platter has: all, nothing, or the bytes up to some one.
    fn kept_bytes(&mut self) -> usize {
        match self.stream.below(3) {
            0 => 0,
            1 => self.sector,
            _ => self.stream.below(self.sector as u64) as usize,
        }
    }
}
