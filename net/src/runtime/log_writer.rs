//! The workers between the event loop and storage: one for the log, one for snapshots, and one that
//! reads what is at rest.
//!
//! Invariants: batches reach the log in the order in which they were asked for; all that waits goes
//! into one sync; a ticket is reported only when its batch is durable; after a failure nothing is
//! reported but the failure. What the disk has no room for waits, with all that comes after it, and
//! is tried again. The same steps run on threads in production and as tasks in simulations.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;
use zokor_core::db::Txn;
use zokor_core::raft::{Index, Persist, Ticket};

use super::counts::StepTimes;
use super::scrubber::{ScrubJob, ScrubSteps, ScrubStore};
use super::snapshot_writer::{SnapshotJob, SnapshotSteps, SnapshotStore};
use crate::storage::{Disk, Error, Scrubbed, Wal, Written};

/// Why a store has not done what it was asked; each in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The disk has no room, and nothing was written: the same may be asked again.
    Full(String),
    /// The disk failed, and nothing is known of the files.
    Failed(String),
}

impl Refusal {
    /// What `error` of storage means, after which storage is poisoned or not.
    pub fn of(error: &Error, is_poisoned: bool) -> Self {
        if is_poisoned {
            Refusal::Failed(error.to_string())
        } else {
            Refusal::Full(error.to_string())
        }
    }
}

/// Where the log goes.
pub trait LogStore: Send + 'static {
    /// Makes the batches durable, in order, in one sync. `written` has the bytes of each batch's
    /// entries as far as they are known; see [`Wal::persist_written`].
    ///
    /// # Errors
    /// If the disk fails, or has no room.
    fn persist(
        &mut self,
        batches: &[Persist<Txn>],
        written: &[Vec<Written>],
    ) -> Result<(), Refusal>;

    /// How many bytes are free where the log is; `None` if the disk does not say.
    fn free_bytes(&mut self) -> Option<u64>;

    /// Entries up to `through` may go.
    ///
    /// # Errors
    /// In plain words; nothing is known of the files then.
    fn purge(&mut self, through: Index) -> Result<(), String>;

    /// Notes in a second place how far the log is durable.
    ///
    /// # Errors
    /// As above.
    fn mark(&mut self) -> Result<(), String>;

    /// Does what can be done about damage that was found in the log's files.
    ///
    /// # Errors
    /// As above.
    fn mend(&mut self) -> Result<(), String>;

    /// Does one bounded step of what makes later calls fast; whether there is more to do. Called
    /// while nothing waits.
    ///
    /// # Errors
    /// As above.
    fn idle(&mut self) -> Result<bool, String>;
}

impl<D: Disk> LogStore for Wal<D> {
    fn persist(
        &mut self,
        batches: &[Persist<Txn>],
        written: &[Vec<Written>],
    ) -> Result<(), Refusal> {
        let done = Wal::persist_written(self, batches, written);
        done.map_err(|error| Refusal::of(&error, self.is_poisoned()))
    }

    fn free_bytes(&mut self) -> Option<u64> {
        Wal::free_bytes(self).ok()
    }

    fn purge(&mut self, through: Index) -> Result<(), String> {
        Wal::purge(self, through).map_err(|error| error.to_string())
    }

    fn mark(&mut self) -> Result<(), String> {
        Wal::mark(self).map_err(|error| error.to_string())
    }

    fn mend(&mut self) -> Result<(), String> {
        Wal::mend(self).map_err(|error| error.to_string())
    }

    fn idle(&mut self) -> Result<bool, String> {
        Wal::idle(self).map_err(|error| error.to_string())
    }
}

/// The event loop's end: what is asked, and what is done.
#[derive(Debug)]
pub struct StoragePort {
    pub(super) log: UnboundedSender<LogJob>,
    pub(super) snapshots: UnboundedSender<SnapshotJob>,
    pub(super) scrub: UnboundedSender<ScrubJob>,
    pub(super) done: UnboundedReceiver<Done>,
    pub(super) times: StorageTimes,
}

/// How long the workers' steps take.
#[derive(Clone, Debug, Default)]
pub(super) struct StorageTimes {
    pub(super) log: Arc<StepTimes>,
    pub(super) snapshots: Arc<StepTimes>,
}

/// The workers of one server, which the caller has to run: each on a thread of its own
/// ([`Worker::run`]) or each as a task ([`Worker::run_paced`]).
pub struct Workers<L: LogStore, S: SnapshotStore, C: ScrubStore> {
    /// The log's.
    pub log: Worker<LogSteps<L>>,
    /// The snapshots'.
    pub snapshots: Worker<SnapshotSteps<S>>,
    /// Who reads what is at rest.
    pub scrub: Worker<ScrubSteps<C>>,
}

/// The event loop's end, and the workers at the other.
pub fn storage_workers<L: LogStore, S: SnapshotStore, C: ScrubStore>(
    log: L,
    snapshots: S,
    scrub: C,
) -> (StoragePort, Workers<L, S, C>) {
    let (log_jobs, log_queue) = unbounded_channel();
    let (snapshot_jobs, snapshot_queue) = unbounded_channel();
    let (scrub_jobs, scrub_queue) = unbounded_channel();
    let (report, done) = unbounded_channel();
    let times = StorageTimes::default();
    let log = Worker {
        queue: log_queue,
        report: report.clone(),
        steps: LogSteps::new(log),
        times: times.log.clone(),
    };
    let snapshots = Worker {
        queue: snapshot_queue,
        report: report.clone(),
        steps: SnapshotSteps::new(snapshots),
        times: times.snapshots.clone(),
    };
    let (steps, times_of_scrub) = (ScrubSteps(scrub), Arc::default());
    let scrub = Worker { queue: scrub_queue, report, steps, times: times_of_scrub };
    let port =
        StoragePort { log: log_jobs, snapshots: snapshot_jobs, scrub: scrub_jobs, done, times };
    (port, Workers { log, snapshots, scrub })
}

/// What is asked of the log.
#[derive(Debug)]
pub enum LogJob {
    /// To be made durable; the bytes of its entries, if these are known.
    Persist(Box<Persist<Txn>>, Vec<Written>),
    /// Entries up to here may go.
    Purge(Index),
    /// How far the log is durable is to be noted in the second place.
    Mark,
    /// How much room there is is to be told.
    Measure,
    /// Damage was found in the log's files.
    Mend,
}

/// What has been done.
#[derive(Debug)]
pub enum Done {
    /// Everything up to and including this ticket is durable.
    Persisted(Ticket),
    /// This snapshot is durable.
    Checkpointed(Ticket),
    /// A wrong state is remembered, and kept in this file if there was room.
    Distrusted(Option<String>),
    /// So many bytes are free where the log is.
    Free(u64),
    /// The disk has no room for what was asked, and why; it is tried again until there is.
    Waits(String),
    /// What is at rest was read a little farther.
    Scrubbed(Box<Scrubbed>),
    /// Nothing more will be, and why.
    Failed(String),
}

/// How one kind of jobs is done.
pub trait Steps: Send + 'static {
    /// What is asked.
    type Job: Send + 'static;
    /// What the worker is called in messages.
    const NAME: &'static str;

    /// Does `jobs`, all of which were waiting; leaves them empty. Says what is now done, if
    /// anything.
    ///
    /// # Errors
    /// In plain words; there is no next step then.
    fn step(&mut self, jobs: &mut Vec<Self::Job>) -> Result<Option<Done>, String>;

    /// Whether something that was taken waits for room on the disk: another step is due after a
    /// while, whether there are jobs or not.
    fn waits(&self) -> bool;

    /// Does what could wait until the step was reported, and says what there is to tell of that.
    ///
    /// # Errors
    /// As above.
    fn tidy(&mut self) -> Result<Option<Done>, String> {
        Ok(None)
    }

    /// Does one bounded step of what makes later steps fast; whether there is more to do.
    ///
    /// # Errors
    /// As above.
    fn idle(&mut self) -> Result<bool, String> {
        Ok(false)
    }
}

/// Takes jobs off a queue and reports what is done.
pub struct Worker<S: Steps> {
    queue: UnboundedReceiver<S::Job>,
    report: UnboundedSender<Done>,
    steps: S,
    times: Arc<StepTimes>,
}

impl<S: Steps> Worker<S> {
    /// Works on the calling thread until the server ends or storage fails. Not inside a runtime.
    pub fn run(mut self) {
        let _guard = Guard { report: self.report.clone(), name: S::NAME };
        let mut jobs = Vec::new();
        loop {
            let goes_on = if self.steps.waits() {
                std::thread::sleep(RETRY_INTERVAL);
                self.take_what_waits(&mut jobs)
            } else {
                self.prepare() && self.queue.blocking_recv_many(&mut jobs, MAX_JOBS) > 0
            };
            if !goes_on {
                return;
            }
            let since = Instant::now();
            let done = self.steps.step(&mut jobs);
            if matches!(done, Ok(Some(Done::Persisted(_) | Done::Checkpointed(_)))) {
                self.times.note(since.elapsed());
            }
            if !self.tell(done) {
                return;
            }
        }
    }

    /// Works as a task; waits for `pause` between a step and its report, as long as the disk takes.
    pub async fn run_paced<P, F>(mut self, mut pause: P)
    where
        P: FnMut() -> F + Send,
        F: Future<Output = ()> + Send,
    {
        let _guard = Guard { report: self.report.clone(), name: S::NAME };
        let mut jobs = Vec::new();
        loop {
            let goes_on = if self.steps.waits() {
                sleep(RETRY_INTERVAL).await;
                self.take_what_waits(&mut jobs)
            } else {
                self.prepare() && self.queue.recv_many(&mut jobs, MAX_JOBS).await > 0
            };
            if !goes_on {
                return;
            }
            let done = self.steps.step(&mut jobs);
            pause().await;
            if !self.tell(done) {
                return;
            }
        }
    }

    /// All that is in the queue; whether to go on: not if the server has ended.
    fn take_what_waits(&mut self, jobs: &mut Vec<S::Job>) -> bool {
        while jobs.len() < MAX_JOBS {
            match self.queue.try_recv() {
                Ok(job) => jobs.push(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !jobs.is_empty(),
            }
        }
        true
    }

    /// Whether to go on.
    fn tell(&mut self, done: Result<Option<Done>, String>) -> bool {
        // If nobody listens, the server has ended, and the queue's end will tell.
        let tell = |done: Option<Done>| drop(done.map(|done| self.report.send(done)));
        let tidied = done.and_then(|done| {
            tell(done);
            self.steps.tidy().map(tell)
        });
        self.has_succeeded(tidied).is_some()
    }

    /// Uses the time until something waits; whether to go on.
    fn prepare(&mut self) -> bool {
        while self.queue.is_empty() {
            let idled = self.steps.idle();
            match self.has_succeeded(idled) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
        true
    }

    /// Reports a failure.
    fn has_succeeded<T>(&self, result: Result<T, String>) -> Option<T> {
        let report = |why| drop(self.report.send(Done::Failed(why)));
        result.map_err(report).ok()
    }
}

/// Reports a worker that ends, by a failed assertion above all. In the ordinary end nobody listens.
struct Guard {
    report: UnboundedSender<Done>,
    name: &'static str,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.report.send(Done::Failed(format!("the {} has ended", self.name)));
    }
}

/// The log's steps.
#[derive(Debug)]
pub struct LogSteps<L> {
    log: L,
    /// What the disk has had no room for yet, in order.
    waiting: (Vec<Persist<Txn>>, Vec<Vec<Written>>),
    purge: Option<Index>,
    mark: bool,
    measure: bool,
    mend: bool,
}

impl<L> LogSteps<L> {
    fn new(log: L) -> Self {
        let (mark, measure, mend) = (false, false, false);
        LogSteps { log, waiting: Default::default(), purge: None, mark, measure, mend }
    }
}

impl<L: LogStore> Steps for LogSteps<L> {
    type Job = LogJob;
    const NAME: &'static str = "log writer";

    fn step(&mut self, jobs: &mut Vec<LogJob>) -> Result<Option<Done>, String> {
        let was_waiting = self.waits();
        let (mut batches, mut written) = std::mem::take(&mut self.waiting);
        batches.reserve(jobs.len());
        written.reserve(jobs.len());
        for job in jobs.drain(..) {
            match job {
                LogJob::Persist(batch, parts) => {
                    batches.push(*batch);
                    written.push(parts);
                }
                // What may go may go later as well.
                LogJob::Purge(through) => self.purge = self.purge.max(Some(through)),
                LogJob::Mark => self.mark = true,
                LogJob::Measure => self.measure = true,
                LogJob::Mend => self.mend = true,
            }
        }
        assert!(batches.is_sorted_by_key(|batch| batch.ticket), "tickets are given in order");
        let Some(last) = batches.last().map(|batch| batch.ticket) else { return Ok(None) };
        match self.log.persist(&batches, &written) {
            Ok(()) => Ok(Some(Done::Persisted(last))),
            Err(Refusal::Full(why)) => {
                self.waiting = (batches, written);
                Ok((!was_waiting).then_some(Done::Waits(why)))
            }
            Err(Refusal::Failed(why)) => Err(why),
        }
    }

    fn waits(&self) -> bool {
        !self.waiting.0.is_empty()
    }

    fn tidy(&mut self) -> Result<Option<Done>, String> {
        if std::mem::take(&mut self.mark) {
            self.log.mark()?;
        }
        if let Some(through) = self.purge.take() {
            self.log.purge(through)?;
        }
        // Not while something waits for room: it would be written ahead of its turn.
        if !self.waits() && std::mem::take(&mut self.mend) {
            self.log.mend()?;
        }
        let measure = std::mem::take(&mut self.measure);
        Ok(measure.then(|| self.log.free_bytes().map(Done::Free)).flatten())
    }

    fn idle(&mut self) -> Result<bool, String> {
        self.log.idle()
    }
}

/// How long it takes until what the disk had no room for is tried again. Often enough that nobody
/// has to start a server anew, seldom enough that it costs nothing.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Jobs that one step takes at most.
const MAX_JOBS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use zokor_core::db::Database;
    use zokor_core::proto::Zxid;
    use zokor_core::raft::SnapshotMeta;
    use zokor_core::replica::Snapshot;

    use super::*;

    #[derive(Clone, Default)]
    struct Log {
        calls: Arc<Mutex<Vec<Vec<u64>>>>,
        purged: Arc<Mutex<Vec<Index>>>,
        n_marks: Arc<Mutex<usize>>,
        fails: bool,
        /// How many calls find no room.
        n_full: Arc<Mutex<usize>>,
    }

    impl LogStore for Log {
        fn persist(&mut self, batches: &[Persist<Txn>], _: &[Vec<Written>]) -> Result<(), Refusal> {
            self.calls.lock().unwrap().push(batches.iter().map(|batch| batch.ticket.0).collect());
            let mut n_full = self.n_full.lock().unwrap();
            if *n_full > 0 {
                *n_full -= 1;
                return Err(Refusal::Full("no space is left".to_owned()));
            }
            if self.fails { Err(Refusal::Failed("the disk is gone".to_owned())) } else { Ok(()) }
        }

        fn free_bytes(&mut self) -> Option<u64> {
            Some(1_000)
        }

        fn purge(&mut self, through: Index) -> Result<(), String> {
            self.purged.lock().unwrap().push(through);
            Ok(())
        }

        fn mark(&mut self) -> Result<(), String> {
            *self.n_marks.lock().unwrap() += 1;
            Ok(())
        }

        fn mend(&mut self) -> Result<(), String> {
            self.purge(Index(0))
        }

        fn idle(&mut self) -> Result<bool, String> {
            Ok(false)
        }
    }

    impl SnapshotStore for Log {
        fn save(&mut self, _: &Snapshot) -> Result<(), Refusal> {
            self.persist(&[], &[])
        }

        fn distrust(&mut self, why: &str, _: &Snapshot) -> Result<Option<String>, Refusal> {
            self.persist(&[], &[]).map(|()| Some(why.to_owned()))
        }

        fn trust(&mut self, _: Index) -> Result<(), Refusal> {
            self.persist(&[], &[])
        }
    }

    fn batch(ticket: u64) -> LogJob {
        let persist = Persist {
            ticket: Ticket(ticket),
            hard_state: None,
            reset: None,
            truncate_after: None,
            append: Vec::new(),
        };
        LogJob::Persist(Box::new(persist), Vec::new())
    }

    #[test]
    fn all_that_waits_goes_into_one_sync_and_is_reported_once() {
        let log = Log::default();
        let (mut port, Workers { log: worker, .. }) = storage_workers(log.clone(), log.clone(), ());
        for ticket in 1..=3 {
            port.log.send(batch(ticket)).unwrap();
            port.log.send(LogJob::Purge(Index(ticket * 10))).unwrap();
            port.log.send(LogJob::Mark).unwrap();
        }
        drop(port.log);
        worker.run();
        assert_eq!(*log.calls.lock().unwrap(), [[1, 2, 3]]);
        assert_eq!(*log.purged.lock().unwrap(), [Index(30)]);
        assert_eq!(*log.n_marks.lock().unwrap(), 1);
        assert!(matches!(port.done.try_recv(), Ok(Done::Persisted(Ticket(3)))));
        assert!(matches!(port.done.try_recv(), Ok(Done::Failed(_))), "its end is told");
    }

    #[test]
    fn a_failure_is_the_last_that_is_heard_of_a_log() {
        let log = Log { fails: true, ..Log::default() };
        let (mut port, Workers { log: worker, .. }) = storage_workers(log.clone(), log.clone(), ());
        port.log.send(batch(1)).unwrap();
        worker.run();
        assert!(port.log.send(batch(2)).is_err());
        let Ok(Done::Failed(why)) = port.done.try_recv() else { panic!("no failure") };
        assert_eq!(why, "the disk is gone");
        assert_eq!(log.calls.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_finds_no_room_is_tried_again_in_order_with_what_came_meanwhile() {
        let log = Log { n_full: Arc::new(Mutex::new(2)), ..Log::default() };
        let (mut port, Workers { log: worker, .. }) = storage_workers(log.clone(), log.clone(), ());
        port.log.send(batch(1)).unwrap();
        port.log.send(LogJob::Purge(Index(10))).unwrap();
        let thread = std::thread::spawn(move || worker.run());
        assert!(matches!(port.done.blocking_recv(), Some(Done::Waits(_))));
        port.log.send(batch(2)).unwrap();
        port.log.send(LogJob::Measure).unwrap();
        assert!(matches!(port.done.blocking_recv(), Some(Done::Free(1_000))), "told once");
        assert!(matches!(port.done.blocking_recv(), Some(Done::Persisted(Ticket(2)))));
        assert_eq!(*log.calls.lock().unwrap(), [vec![1], vec![1, 2], vec![1, 2]]);
        assert_eq!(*log.purged.lock().unwrap(), [Index(10)], "which may make room");
        drop(port.log);
        thread.join().unwrap();
    }

    #[test]
    fn a_server_that_ends_waits_for_no_room() {
        let log = Log { n_full: Arc::new(Mutex::new(usize::MAX)), ..Log::default() };
        let (port, Workers { log: worker, snapshots, scrub }) =
            storage_workers(log.clone(), log, ());
        port.log.send(batch(1)).unwrap();
        let (meta, zxid) = (SnapshotMeta::default(), Zxid(0));
        let snapshot = Snapshot { meta, zxid, image: Database::new().freeze() };
        port.snapshots.send(SnapshotJob::Save { ticket: Ticket(2), snapshot }).unwrap();
        drop(port);
        worker.run();
        snapshots.run();
        scrub.run();
    }

    #[tokio::test]
    async fn a_paced_worker_gathers_what_comes_while_the_disk_is_busy() {
        let log = Log::default();
        let (mut port, Workers { log: worker, .. }) = storage_workers(log.clone(), log.clone(), ());
        let (ticks, ticked) = unbounded_channel::<()>();
        let ticked = Arc::new(tokio::sync::Mutex::new(ticked));
        let pause = move || {
            let ticked = ticked.clone();
            async move {
                ticked.lock().await.recv().await;
            }
        };
        let task = tokio::spawn(worker.run_paced(pause));
        port.log.send(batch(1)).unwrap();
        while log.calls.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        port.log.send(batch(2)).unwrap();
        port.log.send(batch(3)).unwrap();
        assert!(port.done.try_recv().is_err(), "the disk is still busy");
        ticks.send(()).unwrap();
        assert!(matches!(port.done.recv().await, Some(Done::Persisted(Ticket(1)))));
        ticks.send(()).unwrap();
        assert!(matches!(port.done.recv().await, Some(Done::Persisted(Ticket(3)))));
        assert_eq!(*log.calls.lock().unwrap(), [vec![1], vec![2, 3]]);
        drop(port.log);
        task.await.unwrap();
    }
}
