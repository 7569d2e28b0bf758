//! One server of a stepped world: a replica, its disk, its clocks, and what the checks remember.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use zokor_core::id::{Seed, ServerId, SessionId};
use zokor_core::raft::{Role, Term, Ticket};
use zokor_core::replica::Recovered;
use zokor_core::time::Instant;
use zokor_core::{Config, Replica};

use super::clock::Clock;
use super::disk::Disk;
use super::event::Event;
use super::queue::Micros;
use super::rot::Verdicts;
use super::sectors::Sectors;
use crate::check::Verdict;
use crate::check::progress::Progress;
use crate::fault::CrashPoint;
use crate::plan::Plan;
use crate::rng::{Concern, Stream};
use crate::trace::EventId;

/// A server.
#[derive(Debug)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Its settings.
    pub config: Config,
    /// As in the settings that it has started with: `max_appends_in_flight`.
    pub window: usize,
    /// Its clocks.
    pub clock: Clock,
    /// Its disk.
    pub disk: Disk,
    /// What `disk` only models, if this run has it.
    pub sectors: Option<Sectors>,
    /// What was found on it, until the server starts from that.
    pub found: Option<Recovered>,
    /// It has lost what the others have to give back.
    pub is_repairing: bool,
    /// Draws for the process: its seeds and delays.
    pub stream: Stream,
    /// Draws for the disk.
    pub disk_stream: Stream,
    /// The replica, while the process runs.
    pub replica: Option<Replica>,
    /// How often it was started.
    pub life: u64,
    /// The timer that counts; older ones are void.
    pub timer: u64,
    /// The instant for which that timer is set.
    pub timer_for: Option<Instant>,
    /// The process stands still until then.
    pub paused_until: Micros,
    /// What came while it stood still, in order.
    pub(super) backlog: VecDeque<Event>,
    /// The disk stands still until then.
    pub stalled_until: Micros,
    /// A poll is due.
    pub poll_due: bool,
    /// When the oldest input was taken in that is not polled yet.
    pub unpolled_since: Option<Micros>,
    /// Where it is to crash, and after how long it starts again.
    pub armed: Option<(CrashPoint, Micros)>,
    /// The same for the time after its next start.
    pub armed_at_start: Option<(CrashPoint, Micros)>,
    /// It does not start before everything has healed.
    pub stays_down: bool,
    /// Numbers that only grow.
    pub progress: Progress,
    /// The connections to peers that it believes to stand, by their numbers.
    pub peers: BTreeMap<u64, u64>,
    /// What it heard as leader.
    pub touched: Touched,
    /// It led when it was last looked at.
    pub leads: bool,
    /// Tokens of sessions that it proposed to expire, so that each is judged once.
    pub expiring: BTreeSet<SessionId>,
    /// The role in which it was last seen, for the trace.
    pub role: Role,
    /// What its disk is to learn of its state, in order.
    pub(super) judged: VecDeque<Verdicts>,
    /// Where in the trace it asked its disk for what is not done yet.
    pub asked: BTreeMap<Ticket, EventId>,
}

/// When a leader last heard of each session, by its own clock.
#[derive(Debug, Default)]
pub struct Touched {
    term: Term,
    since: Instant,
    by_session: BTreeMap<SessionId, Instant>,
    /// Heard in the inputs that are not polled yet.
    fresh: Vec<(SessionId, Instant)>,
}

impl Touched {
    /// Something of `session` came in at `now`.
    pub fn note(&mut self, session: SessionId, now: Instant) {
        self.fresh.push((session, now));
    }

    /// What came in is taken into account by now.
    pub fn settle(&mut self) {
        for (session, heard) in self.fresh.drain(..) {
            let last = self.by_session.entry(session).or_insert(heard);
            *last = heard.max(*last);
        }
    }

    /// The server leads in `term`: what it heard before does not count.
    pub fn lead(&mut self, term: Term, now: Instant) {
        if term != self.term {
            *self = Touched { term, since: now, ..Touched::default() };
        }
    }

    /// How long ago it heard of `session`.
    pub fn ago(&self, session: SessionId, now: Instant) -> Duration {
        now.since(self.by_session.get(&session).copied().unwrap_or(Instant::ZERO).max(self.since))
    }
}

impl Server {
    /// Server `number` of `plan`, which has not started yet.
    pub fn new(plan: &Plan, number: u64, config: Config) -> Self {
        let mut stream = Stream::new(plan.seed, Concern::Server(number));
        let offset = stream.below(1 << 40);
        let rate = if plan.process.skew { stream.between(900_000, 1_100_000) } else { 1_000_000 };
        let wall = 1_700_000_000_000 + stream.below(10_000) as i64;
        Server {
            id: ServerId(number),
            window: config.raft.max_appends_in_flight,
            config,
            clock: Clock::new(offset, rate, wall),
            disk: Disk::default(),
            sectors: Sectors::new(plan, number),
            found: None,
            is_repairing: false,
            stream,
            disk_stream: Stream::new(plan.seed, Concern::Disk(number)),
            replica: None,
            life: 0,
            timer: 0,
            timer_for: None,
            paused_until: 0,
            backlog: VecDeque::new(),
            stalled_until: 0,
            poll_due: false,
            unpolled_since: None,
            armed: None,
            armed_at_start: None,
            stays_down: false,
            progress: Progress::default(),
            peers: BTreeMap::new(),
            touched: Touched::default(),
            leads: false,
            expiring: BTreeSet::new(),
            role: Role::default(),
            judged: VecDeque::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Something of `session` comes in at the true time `time`.
    pub fn touch(&mut self, session: SessionId, time: Micros) {
        self.touched.note(session, self.clock.instant(time));
    }

    /// Starts the process from what is on the disk.
    ///
    /// # Errors
    /// If the disk has lost what it had told to keep.
    pub fn start(&mut self, time: Micros) -> Verdict {
        assert!(self.replica.is_none(), "a server is started once");
        let recovered = self.found.take().unwrap_or_else(|| self.disk.recover());
        self.progress.restart(self.id, recovered.hard_state)?;
        self.life += 1;
        self.armed = self.armed_at_start.take();
        let seed = Seed(self.stream.seed());
        let now = self.clock.now(time);
        self.window = self.config.raft.max_appends_in_flight;
        self.replica = Some(Replica::new(now, self.config.clone(), seed, recovered));
        Ok(())
    }

    /// Changes those settings that may differ between servers and between lives; they count from
    /// the next start on.
    pub fn retune(&mut self, draw: u64) {
        let s = &mut Stream::new(draw, Concern::Server(self.id.0));
        let config = &mut self.config;
        config.snapshot_entries = s.log_between(2, 3_000);
        config.raft.keep_entries = s.log_between(1, 1_000);
        config.raft.max_append_bytes = s.log_between(100, 100_000) as usize;
        config.raft.max_appends_in_flight = s.log_between(1, 64) as usize;
        config.resend_interval = Duration::from_millis(s.log_between(100, 2_000));
    }

    /// Ends the process, and cuts the power of its disk.
    pub fn crash(&mut self) {
        self.replica = None;
        match &mut self.sectors {
            Some(sectors) => {
                sectors.cut_power(&self.disk);
                self.disk.stop();
            }
            None => self.disk.crash(&mut self.disk_stream),
        }
        self.timer += 1;
        self.timer_for = None;
        self.paused_until = 0;
        self.stalled_until = 0;
        self.poll_due = false;
        self.unpolled_since = None;
        self.armed = None;
        self.peers.clear();
        self.touched = Touched::default();
        self.leads = false;
        self.expiring.clear();
        self.role = Role::default();
        self.judged.clear();
        self.asked.clear();
    }
}
