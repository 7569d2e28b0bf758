//! Reads what is at rest, slowly, and sees to it that what is damaged is replaced while the server
//! still knows better: the state in memory is right, and a snapshot of it stands for everything
//! that was read wrong.
//!
//! Invariant: nothing counts as damaged that was not read twice, with a pause between, and that is
//! still listed as counting after it was read. Only what says whose the folder is is written here;
//! the log and the snapshots do the rest, each on its own thread.

mod cold;
mod segment;
mod snapshot;

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use zokor_core::mutated;
use zokor_core::raft::Index;
use zokor_core::time::Instant;

use self::cold::Cold;
use self::segment::{SegmentCheck, unreadable};
use self::snapshot::SnapshotCheck;
use super::at_rest::{AtRest, ScrubCounts, Shared};
use super::disk::{Disk, DiskFile};
use super::identity::{self, Identity};
use super::snapshot::name_of;
use super::{ensemble, watermark};

/// The reader of what is at rest. Used by one thread, beside [`Wal`](super::Wal) and
/// [`Snapshots`](super::Snapshots).
pub struct Scrub<D: Disk> {
    shared: Arc<Shared<D>>,
    /// The data folder, and the log's if that is another.
    folders: Vec<(D, Identity)>,
    log: D,
    ensemble: u64,
    interval: Duration,
    round: Option<Round<D::File>>,
    next_round: Instant,
    /// Bytes that may be read before more are granted; negative if too many were.
    credit: i64,
    /// Above which index a snapshot was asked for last.
    asked: Option<Index>,
    /// Small files that could not be written anew.
    unmended: BTreeSet<Target>,
    told: Scrubbed,
}

/// What a step has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// What is damaged: found just now, or still there at the end of a round.
    pub damage: Vec<String>,
    /// What was put right since the step before.
    pub repairs: Vec<String>,
    /// What could not be read for a reason that may pass.
    pub doubts: Vec<String>,
    /// [`Wal::mend`](super::Wal::mend) is to be called.
    pub mends_log: bool,
    /// A snapshot is to be taken that ends above this index.
    pub wanted: Option<Index>,
    /// What was counted since the start.
    pub counts: ScrubCounts,
}

/// A way through all that is at rest.
struct Round<F> {
    began: Instant,
    left: VecDeque<Target>,
    /// The reading of the first of those left.
    check: Option<Check<F>>,
    /// It was read before, and seemed to be damaged.
    is_second: bool,
    /// Something was damaged when it began.
    had_damage: bool,
}

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// Of the folder in this place.
    Identity(usize),
    Ensemble,
    /// Of the two.
    Mark(usize),
    Snapshot(Index),
    /// The number.
    Segment(u64),
}

enum Check<F> {
    Segment(SegmentCheck<F>),
    Snapshot(SnapshotCheck<F>),
}

/// What reading a file has come to.
enum Reading {
    /// There is more of it.
    Goes,
    /// It is as it should be, or counts no longer.
    Good,
    /// It changed while it was read: nothing is known.
    Moved,
    /// The system refused for a reason that may pass.
    Refused(String),
    /// It is not what it should be.
    Bad(String),
}

impl<D: Disk> Scrub<D> {
    /// Of the data folder `data`, whose `identity` this is, and the folder of the log. A round
    /// begins no sooner than `interval` after the one before it began.
    pub(super) fn new(
        shared: Arc<Shared<D>>,
        (data, log, is_apart): (D, D, bool),
        identity: Identity,
        interval: Duration,
    ) -> Self {
        let mut folders = vec![(data, identity)];
        if is_apart {
            folders.push((log.clone(), identity.of_log()));
        }
        Scrub {
            shared,
            folders,
            log,
            ensemble: 0,
            interval,
            round: None,
            next_round: Instant::ZERO,
            credit: 0,
            asked: None,
            unmended: BTreeSet::new(),
            told: Scrubbed::default(),
        }
    }

    /// The number of the ensemble that the data folder belongs to.
    pub(super) fn belongs_to(&mut self, ensemble: u64) {
        self.ensemble = ensemble;
    }

    /// Reads about `n_bytes` more, at the time `now`. What is not used is not saved up.
    pub fn step(&mut self, now: Instant, n_bytes: u64) -> Scrubbed {
        let n_bytes = i64::try_from(n_bytes).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_add(n_bytes).min(n_bytes);
        if !self.shared.at_rest().is_log_damaged {
            self.read(now);
        }
        let mut told = std::mem::take(&mut self.told);
        let mut at_rest = self.shared.at_rest();
        told.mends_log |= at_rest.useless().is_some();
        let wanted = at_rest.wanted();
        told.wanted = wanted.filter(|above| self.asked != Some(*above));
        self.asked = wanted;
        at_rest.counts.left = at_rest.n_left() + self.unmended.len() as u64;
        told.repairs.append(&mut at_rest.repairs);
        told.counts = at_rest.counts;
        told
    }

    fn read(&mut self, now: Instant) {
        if self.round.is_none() {
            if now < self.next_round {
                return;
            }
            self.next_round = now + self.interval;
            let (left, had_damage) = (self.targets(), self.n_left() > 0);
            let (began, check, is_second) = (now, None, false);
            self.round = Some(Round { began, left, check, is_second, had_damage });
        }
        while self.credit > 0 {
            let Some(round) = &mut self.round else { return };
            let Some(target) = round.left.front().copied() else { return self.end_round(now) };
            let reading = match &mut round.check {
                Some(check) => {
                    let (reading, n_bytes) = check.step();
                    self.charge(n_bytes);
                    reading
                }
                None => {
                    self.charge(LEAST_BYTES);
                    self.begin(target)
                }
            };
            if !self.judge(target, reading) {
                return;
            }
        }
    }

    /// How many files are damaged at the moment.
    fn n_left(&self) -> u64 {
        self.shared.at_rest().n_left() + self.unmended.len() as u64
    }

    /// All that counts now and is not known to be damaged.
    fn targets(&self) -> VecDeque<Target> {
        let mut targets: VecDeque<Target> = (0..self.folders.len()).map(Target::Identity).collect();
        targets.extend((self.ensemble != 0).then_some(Target::Ensemble));
        targets.extend([Target::Mark(0), Target::Mark(1)]);
        let at_rest = self.shared.at_rest();
        if !mutated!(ScrubSkipsSnapshots) {
            targets.extend(at_rest.present.iter().map(|index| Target::Snapshot(*index)));
        }
        let segments = at_rest.segments.iter().map(|segment| segment.number);
        targets
            .extend(segments.filter(|number| !at_rest.sick.contains(number)).map(Target::Segment));
        targets
    }

    fn end_round(&mut self, now: Instant) {
        let round = self.round.take().expect("it ends once");
        let mut at_rest = self.shared.at_rest();
        at_rest.counts.rounds += 1;
        at_rest.counts.last_round = now.since(round.began);
        at_rest.counts.last_round_ended = Some(now);
        self.told.mends_log |= at_rest.is_mark_sick || !at_rest.sick.is_empty();
        let left = at_rest.n_left() + self.unmended.len() as u64;
        // What this round has found was told, and may be on its way.
        if left > 0 && round.had_damage {
            let names: Vec<String> = self.names_left(&at_rest);
            let names = names.join(", ");
            self.told.damage.push(format!("not put right yet: {names}"));
            // Asked for once more: whoever was asked may have been another leader's follower.
            self.asked = None;
        }
    }

    fn names_left(&self, at_rest: &AtRest) -> Vec<String> {
        let segments = at_rest.segments.iter().filter(|it| at_rest.sick.contains(&it.number));
        let mut names: Vec<String> = segments.map(|segment| segment.name.clone()).collect();
        names.extend(at_rest.damaged.iter().map(|index| name_of(*index)));
        names.extend(at_rest.is_mark_sick.then(|| "the watermark".to_owned()));
        names.extend(self.unmended.iter().map(|target| self.name(*target)));
        if names.is_empty() {
            names.push("a snapshot is to be taken in the place of a damaged one".to_owned());
        }
        names
    }

    fn charge(&mut self, n_bytes: u64) {
        self.credit = self.credit.saturating_sub_unsigned(n_bytes);
        self.shared.at_rest().counts.read_bytes += n_bytes;
    }

    /// Whether to go on at once.
    fn judge(&mut self, target: Target, reading: Reading) -> bool {
        let is_bad = matches!(reading, Reading::Bad(_)) && self.is_listed(target);
        let is_second = self.round.as_ref().is_some_and(|round| round.is_second);
        match reading {
            Reading::Goes => return true,
            Reading::Moved => return false,
            Reading::Good => self.pass(target),
            Reading::Bad(what) if is_bad && is_second => self.find(target, &what),
            Reading::Bad(_) if is_bad => {
                // It may have been the way from the disk: once more, a little later.
                let round = self.round.as_mut().expect("as before");
                (round.check, round.is_second) = (None, true);
                self.shared.at_rest().counts.read_again += 1;
                return false;
            }
            Reading::Bad(_) => {}
            Reading::Refused(what) => {
                let doubt = format!("{} was not read: {what}", self.name(target));
                self.told.doubts.push(doubt);
            }
        }
        let round = self.round.as_mut().expect("as before");
        round.left.pop_front();
        (round.check, round.is_second) = (None, false);
        true
    }

    /// Whether the file counts still.
    fn is_listed(&self, target: Target) -> bool {
        let at_rest = self.shared.at_rest();
        match target {
            Target::Identity(_) | Target::Ensemble | Target::Mark(_) => true,
            Target::Snapshot(index) => at_rest.present.contains(&index),
            Target::Segment(number) => at_rest.segments.iter().any(|it| it.number == number),
        }
    }

    fn pass(&mut self, target: Target) {
        self.unmended.remove(&target);
        if let Target::Snapshot(index) = target {
            self.shared.at_rest().read_whole(index);
        }
    }

    /// A file is damaged.
    fn find(&mut self, target: Target, what: &str) {
        let name = self.name(target);
        let mut at_rest = self.shared.at_rest();
        let (is_new, done) = match target {
            Target::Snapshot(index) => {
                (at_rest.lose_snapshot(index), "a new one is to take its place")
            }
            Target::Segment(number) => {
                self.told.mends_log = true;
                (at_rest.sick.insert(number), "it is to go when a snapshot covers all of it")
            }
            Target::Mark(_) => {
                self.told.mends_log = true;
                let is_new = !std::mem::replace(&mut at_rest.is_mark_sick, true);
                (is_new, "it is to be written anew")
            }
            Target::Identity(_) | Target::Ensemble => {
                (!self.unmended.contains(&target), "it is to be written anew")
            }
        };
        if is_new {
            at_rest.counts.found += 1;
        }
        drop(at_rest);
        let place = match target {
            Target::Identity(at) => self.folders[at].0.place(),
            Target::Ensemble | Target::Snapshot(_) => self.folders[0].0.place(),
            Target::Mark(_) | Target::Segment(_) => self.log.place(),
        };
        self.told.damage.push(format!("{name} in {place} is damaged: {what}; {done}"));
        if matches!(target, Target::Identity(_) | Target::Ensemble) {
            self.write_anew(target);
        }
    }

    /// Nobody else writes these files.
    fn write_anew(&mut self, target: Target) {
        let written = match target {
            Target::Identity(at) => self.folders[at].1.write(&self.folders[at].0),
            _ => ensemble::write(&self.folders[0].0, self.ensemble, true),
        };
        match written {
            Ok(()) => {
                self.unmended.remove(&target);
                let what = format!("{} was written anew", self.name(target));
                self.shared.at_rest().repaired(what);
            }
            Err(error) => {
                self.unmended.insert(target);
                let what = format!("{} could not be written anew: {error}", self.name(target));
                self.told.damage.push(what);
            }
        }
    }

    fn name(&self, target: Target) -> String {
        match target {
            Target::Identity(_) => identity::NAME.to_owned(),
            Target::Ensemble => ensemble::NAME.to_owned(),
            Target::Mark(slot) => watermark::NAMES[slot].to_owned(),
            Target::Snapshot(index) => name_of(index),
            Target::Segment(number) => {
                let at_rest = self.shared.at_rest();
                let segment = at_rest.segments.iter().find(|it| it.number == number);
                segment.map_or_else(|| format!("segment {number}"), |it| it.name.clone())
            }
        }
    }

    /// Reads a small file, or begins to read another.
    fn begin(&mut self, target: Target) -> Reading {
        let data = &self.folders[0].0;
        match target {
            Target::Identity(at) => {
                let (disk, identity) = &self.folders[at];
                same(disk, identity::NAME, &identity.to_bytes())
            }
            Target::Ensemble => same(data, ensemble::NAME, &ensemble::bytes(self.ensemble, true)),
            Target::Mark(slot) => self.mark(slot),
            Target::Snapshot(index) => match cold(data, &name_of(index)) {
                Ok(file) => {
                    let check = SnapshotCheck::new(file, self.shared.id, index);
                    self.reads(Check::Snapshot(check))
                }
                Err(reading) => reading,
            },
            Target::Segment(number) => self.segment(number),
        }
    }

    fn segment(&mut self, number: u64) -> Reading {
        let listed = {
            let at_rest = self.shared.at_rest();
            let place = at_rest.segments.iter().position(|it| it.number == number);
            place.map(|place| {
                let next = at_rest.segments.get(place + 1).and_then(|next| next.head);
                let after = next.map_or(at_rest.durable, |next| next.position);
                (at_rest.segments[place].clone(), after)
            })
        };
        let Some((segment, after)) = listed else { return Reading::Good };
        let head = segment.head.expect("a log that is not damaged has heads");
        match cold(&self.log, &segment.name) {
            Ok(file) => self.reads(Check::Segment(SegmentCheck::new(file, head, after))),
            Err(reading) => reading,
        }
    }

    fn reads(&mut self, check: Check<D::File>) -> Reading {
        self.round.as_mut().expect("it is read in a round").check = Some(check);
        Reading::Goes
    }

    fn mark(&self, slot: usize) -> Reading {
        let touches = self.shared.mark_touches();
        let name = watermark::NAMES[slot];
        let mut bytes = [0; watermark::FILE_BYTES];
        let read = cold(&self.log, name).map(|file| file.read_at(0, &mut bytes));
        let (hard_state, are_there) = self.shared.at_rest().mark;
        if touches % 2 == 1 || touches != self.shared.mark_touches() {
            return Reading::Moved;
        }
        match read {
            _ if !are_there[slot] => Reading::Good,
            Err(reading) => reading,
            Ok(Err(error)) => refusal(&error),
            Ok(Ok(())) => match watermark::parse(&bytes, self.shared.id) {
                None => Reading::Bad("it is not whole".to_owned()),
                Some(mark) if mark.hard_state != hard_state => {
                    Reading::Bad("it knows another hard state".to_owned())
                }
                Some(_) => Reading::Good,
            },
        }
    }
}

impl<F: DiskFile> Check<F> {
    /// One step, and how many bytes it has read.
    fn step(&mut self) -> (Reading, u64) {
        let (stepped, file) = match self {
            Check::Segment(check) => (check.step(), &check.file),
            Check::Snapshot(check) => (check.step(), &check.file),
        };
        let reading = match stepped {
            Ok(true) => Reading::Goes,
            Ok(false) => Reading::Good,
            Err(what) if file.met_passing() => Reading::Refused(what),
            Err(what) => Reading::Bad(what),
        };
        (reading, file.take_read())
    }
}

/// Opens a file that should be there.
fn cold<D: Disk>(disk: &D, name: &str) -> Result<Cold<D::File>, Reading> {
    let opened = disk.open(name).and_then(Cold::new);
    opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Reading::Bad("it is gone".to_owned()),
        _ => Reading::Refused(error.to_string()),
    })
}

/// Whether a file holds these bytes and nothing else.
fn same<D: Disk>(disk: &D, name: &str, expected: &[u8]) -> Reading {
    let file = match cold(disk, name) {
        Ok(file) => file,
        Err(reading) => return reading,
    };
    if file.len() != expected.len() as u64 {
        return Reading::Bad("its length is wrong".to_owned());
    }
    let mut bytes = vec![0; expected.len()];
    match file.read_at(0, &mut bytes) {
        Err(error) => refusal(&error),
        Ok(()) if bytes == expected => Reading::Good,
        Ok(()) => Reading::Bad("it is not what was written".to_owned()),
    }
}

fn refusal(error: &io::Error) -> Reading {
    let what = unreadable(error);
    if is_passing(error) { Reading::Refused(what) } else { Reading::Bad(what) }
}

/// Whether an error says nothing about what is on the disk.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::WouldBlock
            | ErrorKind::OutOfMemory
            | ErrorKind::TimedOut
            | ErrorKind::PermissionDenied
            | ErrorKind::ResourceBusy
            | ErrorKind::StaleNetworkFileHandle
    )
}

/// What a small file counts for, and the beginning of a larger one.
const LEAST_BYTES: u64 = 4096;
