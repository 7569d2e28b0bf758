//! A server's disk in bytes: `net`'s own log and snapshots over a disk of sectors, beside the list
//! of changes that models it.
//!
//! Invariant: bytes are written when the model says that a write is done, or when the power is cut
//! in the middle of one. What is found afterwards is judged before anybody starts from it.

use std::time::Duration;

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{Index, Persist};
use zokor_core::replica::Snapshot;
use zokor_core::time::{Instant, WallTime};
use zokor_net::runtime::Refusal;
use zokor_net::storage::{self, Opened, Options, Scrub, Scrubbed, Snapshots, Wal};

use super::disk::Disk;
use super::queue::Micros;
use crate::disk::{Fault, SectorDisk};
use crate::plan::{Plan, SectorPlan};
use crate::rng::{Concern, Stream};

/// The disk, and what is open on it.
pub struct Sectors {
    disk: SectorDisk,
    plan: SectorPlan,
    server: ServerId,
    stream: Stream,
    open: Option<(Wal<SectorDisk>, Snapshots<SectorDisk>)>,
    scrub: Option<Scrub<SectorDisk>>,
    /// Something has rotted at rest: how many rounds had ended then.
    pub rot: Option<u64>,
    /// How many rounds have ended in this life.
    pub rounds: u64,
    /// All was said to be well when it was not: it is looked at once more.
    pub is_doubted: bool,
    /// It was damaged otherwise, too.
    pub is_damaged: bool,
    /// Entries up to here may go when nothing is under way.
    purge: Option<Index>,
    /// Writes after which nothing waited: after some of them the log is marked.
    n_quiet: u64,
    /// The process ended by itself, and its machine goes on.
    is_killed: bool,
    /// There is little room until then.
    full_until: Micros,
    /// How long the server stays down after an error that is to come.
    pub restart: Micros,
}

impl std::fmt::Debug for Sectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sectors").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Sectors {
    /// The disk of server `number`, if the run of `plan` has any.
    pub fn new(plan: &Plan, number: u64) -> Option<Self> {
        let sectors = plan.disk.sectors.clone()?;
        let mut stream = Stream::new(plan.seed, Concern::Platter(number));
        let mut seed = [0; 8];
        seed.copy_from_slice(&stream.seed()[..8]);
        let own = Stream::new(u64::from_le_bytes(seed), Concern::Platter(number));
        Some(Sectors {
            disk: SectorDisk::new(own, sectors.sector_bytes),
            plan: sectors,
            server: ServerId(number),
            stream,
            open: None,
            scrub: None,
            rot: None,
            rounds: 0,
            is_doubted: false,
            is_damaged: false,
            purge: None,
            n_quiet: 0,
            is_killed: false,
            full_until: 0,
            restart: 1_000_000,
        })
    }

    /// Whether what is damaged comes back.
    pub fn repairs(&self) -> bool {
        self.plan.repairs
    }

    /// The disk below.
    pub fn disk(&self) -> &SectorDisk {
        &self.disk
    }

    /// Opens what is there. At times the power goes once more before that is done.
    ///
    /// # Errors
    /// As [`storage::open`].
    pub fn open(&mut self, wall: WallTime) -> Result<Opened<SectorDisk>, storage::Error> {
        assert!(self.open.is_none(), "it is opened once a life");
        self.is_killed = false;
        let mut fresh_id = [0; 16];
        fresh_id.copy_from_slice(&self.stream.seed()[..16]);
        let options = Options {
            segment_bytes: self.plan.segment_bytes,
            snapshots_kept: self.plan.snapshots_kept,
            has_peers: self.plan.repairs,
            scrub_interval: Duration::ZERO,
            ..Options::new(self.server, fresh_id, wall)
        };
        if self.stream.per_mille(100) {
            self.disk.arm(self.stream.below(12), Fault::Stop);
            // Whether it was done before the power went or not, it is done again.
            drop(storage::open(self.disk.clone(), &options));
            self.disk.cut_power();
        }
        storage::open(self.disk.clone(), &options)
    }

    /// Goes on with what was opened.
    pub fn use_opened(
        &mut self,
        (wal, snapshots): (Wal<SectorDisk>, Snapshots<SectorDisk>),
        scrub: Scrub<SectorDisk>,
    ) {
        self.open = Some((wal, snapshots));
        self.scrub = Some(scrub).filter(|_| self.plan.scrubs);
        self.rounds = 0;
        self.rot = self.rot.map(|_| 0);
    }

    /// Whether what is at rest is read.
    pub fn scrubs(&self) -> bool {
        self.plan.scrubs
    }

    /// Reads a part of what is at rest, and does to the log's files what that asks for. Nothing if
    /// nobody reads it.
    ///
    /// # Errors
    /// As [`Wal::mend`].
    pub fn scrub(&mut self, now: Instant, n_bytes: u64) -> (Scrubbed, Result<(), Refusal>) {
        let (Some(scrub), Some((wal, _))) = (&mut self.scrub, &mut self.open) else {
            return (Scrubbed::default(), Ok(()));
        };
        let scrubbed = scrub.step(now, n_bytes);
        self.rounds = scrubbed.counts.rounds;
        let mended = if scrubbed.mends_log { wal.mend() } else { Ok(()) };
        (scrubbed, mended.map_err(|error| Refusal::of(&error, wal.is_poisoned())))
    }

    /// Writes what the model says is written now, and does what a quiet disk does.
    ///
    /// # Errors
    /// As [`Wal::persist`].
    pub fn persist(&mut self, batches: &[Persist<Txn>], is_quiet: bool) -> Result<(), Refusal> {
        let Some((wal, _)) = &mut self.open else { return Ok(()) };
        self.n_quiet += u64::from(is_quiet);
        let is_marked = is_quiet && self.n_quiet.is_multiple_of(QUIET_TO_MARK);
        let done = write(wal, batches, &mut self.purge, is_quiet);
        if done.is_ok() && batches.iter().any(|batch| batch.hard_state.is_some()) {
            self.disk.note_vote();
        }
        done.and_then(|()| if is_marked { wal.mark() } else { Ok(()) })
            .map_err(|error| Refusal::of(&error, wal.is_poisoned()))
    }

    /// Entries up to `through` may go once nothing is under way.
    ///
    /// # Errors
    /// As [`Wal::purge`].
    pub fn purge(&mut self, through: Index, is_quiet: bool) -> Result<(), Refusal> {
        self.purge = self.purge.max(Some(through));
        if is_quiet { self.persist(&[], false) } else { Ok(()) }
    }

    /// Writes a snapshot.
    ///
    /// # Errors
    /// As [`Snapshots::save`].
    pub fn save(&mut self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let Some((_, snapshots)) = &mut self.open else { return Ok(()) };
        snapshots.save(snapshot).map_err(|error| Refusal::of(&error, snapshots.is_poisoned()))
    }

    /// Remembers that what is on it is not to be trusted.
    ///
    /// # Errors
    /// As [`Snapshots::distrust`].
    pub fn distrust(&mut self, evidence: &Snapshot) -> Result<(), Refusal> {
        let Some((_, snapshots)) = &mut self.open else { return Ok(()) };
        let done = snapshots.distrust("for the simulation", evidence).map(drop);
        done.map_err(|error| Refusal::of(&error, snapshots.is_poisoned()))
    }

    /// Forgets that again.
    ///
    /// # Errors
    /// As [`Snapshots::trust`].
    pub fn trust(&mut self, from: Index) -> Result<(), Refusal> {
        let Some((_, snapshots)) = &mut self.open else { return Ok(()) };
        snapshots.trust(from).map_err(|error| Refusal::of(&error, snapshots.is_poisoned()))
    }

    /// The power is cut, perhaps in the middle of what `model` says is under way. A process that
    /// has ended by itself takes its machine with it only by [`SectorDisk::cut_power`].
    pub fn cut_power(&mut self, model: &Disk) {
        if std::mem::take(&mut self.is_killed) {
            return;
        }
        self.scrub = None;
        if let Some((mut wal, mut snapshots)) = self.open.take() {
            self.disk.disarm();
            // Often in the first write that is under way, or at its sync.
            let most = if self.stream.coin() { 4 } else { 40 };
            self.disk.arm(self.stream.log_between(1, most) - 1, Fault::Stop);
            let checkpoint = model.unfinished_checkpoint();
            let snapshot_first = self.stream.coin();
            if snapshot_first && let Some(snapshot) = checkpoint {
                let _ = snapshots.save(snapshot);
            }
            let mut pending = model.unfinished();
            while !pending.is_empty() {
                let n = self.stream.between(1, pending.len() as u64) as usize;
                let batch: Vec<Persist<Txn>> = pending.drain(..n).collect();
                if write(&mut wal, &batch, &mut self.purge, pending.is_empty()).is_err() {
                    break;
                }
            }
            if !snapshot_first && let Some(snapshot) = checkpoint {
                let _ = snapshots.save(snapshot);
            }
        }
        self.purge = None;
        self.disk.cut_power();
    }

    /// The process ends and the machine goes on: what the cache holds can still be read.
    pub fn kill(&mut self) {
        self.open = None;
        self.scrub = None;
        self.purge = None;
        self.is_killed = true;
        self.disk.kill();
    }

    /// There is room for `n_bytes` more until `until`.
    pub fn fill(&mut self, n_bytes: u64, until: Micros) {
        self.full_until = until;
        self.disk.leave(Some(n_bytes));
    }

    /// It is `time`: somebody may have made room.
    pub fn tick(&mut self, time: Micros) {
        if self.full_until > 0 && time >= self.full_until {
            self.full_until = 0;
            self.disk.leave(None);
        }
    }

    /// Whether there is little room at the moment.
    pub fn is_full(&self) -> bool {
        self.full_until > 0
    }
}

/// The log is marked after so many writes behind which nothing waits.
const QUIET_TO_MARK: u64 = 4;

/// One step of a log writer.
fn write(
    wal: &mut Wal<SectorDisk>,
    batches: &[Persist<Txn>],
    purge: &mut Option<Index>,
    is_quiet: bool,
) -> Result<(), storage::Error> {
    let persisted = if batches.is_empty() { Ok(()) } else { wal.persist(batches) };
    if !wal.is_poisoned()
        && let Some(through) = purge.take()
    {
        wal.purge(through)?;
    }
    persisted?;
    while is_quiet && wal.idle()? {}
    Ok(())
}
