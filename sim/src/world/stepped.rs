//! The stepped world: replicas alone, driven by a heap of events. No async, no threads.
//!
//! Invariant: a run is a function of its plan. Ties are broken by order of scheduling, random streams
//! are separate per concern, and every event goes into the run's hash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zokor_core::db::Action;
use zokor_core::id::{ConnId, ServerId, SessionId, Xid};
use zokor_core::proto::{ConnectRequest, Request};
use zokor_core::raft::{self, EntryId, Membership, Payload, Persist, Role};
use zokor_core::replica::Message;
use zokor_core::{Config, Input, Output, db::Txn};

use super::disk::{self, Disk};
use super::network::{Link, Network};
use super::queue::{Micros, Queue};
use super::server::Server;
use super::serving::Conn;
use crate::check::commit::{Claim, Committed};
use crate::check::election::Elections;
use crate::check::liveness::Health;
use crate::check::log_matching::LogMatching;
use crate::check::machine::Machines;
use crate::check::write::Writes;
use crate::check::{Verdict, durability, leader_completeness, must, progress, session, snapshot};
use crate::client::{Client, Heard, Mood, Wish};
use crate::fault::CrashPoint;
use crate::model::{Model, Outcome};
use crate::plan::Plan;
use crate::probe::Probes;
use crate::rng::{Concern, Stream, mix};
use crate::trace::Trace;

/// Everything that happens in it.
#[derive(Debug)]
pub struct World {
    pub(super) plan: Plan,
    pub(super) time: Micros,
    pub(super) queue: Queue<Event>,
    pub(super) servers: Vec<Server>,
    pub(super) network: Network,
    pub(super) clients: Vec<Client>,
    pub(super) client_timers: Vec<u64>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    pub(super) fault_stream: Stream,
    /// Faults may happen.
    pub(super) faulty: bool,
    pub(super) healed_at: Micros,
    pub(super) checks: Checks,
    /// What happened, for people.
    pub trace: Trace,
    /// Rare states.
    pub probes: Probes,
    /// What happened, as a number.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How many faults there were.
    pub faults: u64,
    second: Micros,
    events_in_second: u64,
}

/// What the checks remember.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) elections: Elections,
    pub(super) logs: LogMatching,
    pub(super) committed: Committed,
    pub(super) machines: Machines,
    pub(super) model: Model,
    pub(super) writes: Writes,
}

/// One thing that is to happen.
#[derive(Debug)]
pub(super) enum Event {
    Start {
        server: u64,
    },
    /// A pause ends: the backlog is taken in.
    Resume {
        server: u64,
    },
    Wake {
        server: u64,
        timer: u64,
    },
    Poll {
        server: u64,
        life: u64,
    },
    Message {
        link: Link,
        epoch: u64,
        message: Box<Message>,
    },
    PeerUp {
        server: u64,
        peer: u64,
        epoch: u64,
    },
    PeerDown {
        server: u64,
        peer: u64,
        epoch: u64,
    },
    DiskDone {
        server: u64,
        life: u64,
    },
    CheckpointDone {
        server: u64,
        life: u64,
    },
    Reconnect {
        link: Link,
    },
    Fault,
    CutEnds {
        links: Vec<Link>,
    },
    Heal,
    CheckUp,
    ClientWake {
        client: u64,
        timer: u64,
    },
    ToServer {
        conn: ConnId,
        frame: Frame,
    },
    ToClient {
        conn: ConnId,
        heard: Heard,
    },
}

/// What a client's connection carries.
#[derive(Debug)]
pub(super) enum Frame {
    Connect(ConnectRequest),
    Request(Xid, Arc<Request>),
    End,
}

/// Events in one simulated second, at most: beyond it something runs in a circle (C12).
const EVENTS_PER_SECOND: u64 = 150_000;

impl World {
    /// The world of `plan`, before anything happens.
    pub fn new(plan: Plan, trace: Trace) -> Self {
        let servers = (1..=plan.servers).map(|n| Server::new(&plan, n, config(&plan, n))).collect();
        let timeouts = (plan.core.min_session_timeout_ms, plan.core.max_session_timeout_ms);
        let clients: Vec<Client> = (1..=plan.clients.count)
            .map(|n| {
                let stream = Stream::new(plan.seed, Concern::Client(n));
                Client::new(n, &plan.clients, plan.servers, timeouts, stream)
            })
            .collect();
        let mut world = World {
            time: 0,
            queue: Queue::new(),
            servers,
            network: Network::new(plan.seed),
            client_timers: vec![0; clients.len()],
            clients,
            conns: BTreeMap::new(),
            fault_stream: Stream::new(plan.seed, Concern::Faults),
            faulty: !plan.calm,
            healed_at: 0,
            checks: Checks::default(),
            trace,
            probes: Probes::default(),
            hash: plan.seed,
            events: 0,
            faults: 0,
            second: 0,
            events_in_second: 0,
            plan,
        };
        world.begin();
        world
    }

    /// Runs until all is well after the faults.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(&mut self) -> Verdict {
        while let Some((time, event)) = self.queue.pop() {
            assert!(time >= self.time, "time does not run backwards");
            self.time = time;
            self.events += 1;
            self.hash = mix(&[self.hash, time, event.key()]);
            self.budget()?;
            if matches!(event, Event::CheckUp) {
                match self.health().is_well() {
                    Ok(()) => return Ok(()),
                    Err(ailment) if time >= self.healed_at + self.patience() => {
                        return Err(ailment);
                    }
                    Err(_) => self.queue.push(time + 100_000, Event::CheckUp),
                }
            } else {
                self.happen(event)?;
            }
        }
        Ok(())
    }

    /// The simulated time so far.
    pub fn time(&self) -> Micros {
        self.time
    }

    /// How many elections were won.
    pub fn elections(&self) -> usize {
        self.checks.elections.count()
    }

    /// How many entries were committed.
    pub fn committed(&self) -> u64 {
        self.checks.committed.last().0
    }

    fn begin(&mut self) {
        for server in 1..=self.plan.servers {
            let at = self.server(server).stream.below(100_000);
            self.queue.push(at, Event::Start { server });
        }
        for client in 1..=self.plan.clients.count {
            self.rearm_client(client);
        }
        if self.faulty {
            self.queue.push(1_000_000, Event::Fault);
        }
        self.queue.push(self.plan.fault_time, Event::Heal);
    }

    /// How long healing may take: elections, patience of clients, ends of dead sessions.
    fn patience(&self) -> Micros {
        let core = &self.plan.core;
        let election = core.election_timeout.as_micros() as u64;
        let session = core.max_session_timeout_ms as u64 * 1000;
        20 * election + 5 * session + 10_000_000
    }

    fn budget(&mut self) -> Verdict {
        let second = self.time / 1_000_000;
        if second != self.second {
            self.second = second;
            self.events_in_second = 0;
        }
        self.events_in_second += 1;
        must("bounded work (C12)", self.events_in_second <= EVENTS_PER_SECOND, || {
            format!("more than {EVENTS_PER_SECOND} events in second {second}")
        })
    }

    fn happen(&mut self, event: Event) -> Verdict {
        if let Some(server) = self.taker(&event) {
            let time = self.time;
            let state = self.server(server);
            if state.paused_until > time {
                state.backlog.push_back(event);
                return Ok(());
            }
            // What came before goes first, even if the pause ends at this very moment.
            while let Some(earlier) = self.server(server).backlog.pop_front() {
                self.take(earlier)?;
            }
        }
        self.take(event)
    }

    /// The server that takes the event in, which may stand still.
    fn taker(&self, event: &Event) -> Option<u64> {
        match event {
            Event::ToServer { conn, .. } => self.conns.get(conn).map(|conn| conn.server),
            event => event.server(),
        }
    }

    fn take(&mut self, event: Event) -> Verdict {
        match event {
            Event::Start { server } => self.start(server),
            Event::Resume { .. } => Ok(()),
            Event::Wake { server, timer } => {
                if self.server(server).timer != timer {
                    return Ok(());
                }
                self.server(server).timer_for = None;
                self.input(server, Input::Wake)
            }
            Event::Poll { server, life } => {
                if self.server(server).life != life || !self.server(server).poll_due {
                    return Ok(());
                }
                self.poll(server)
            }
            Event::Message { link, epoch, message } => self.deliver(link, epoch, *message),
            Event::PeerUp { server, peer, epoch } => self.peer_up(server, peer, epoch),
            Event::PeerDown { server, peer, epoch } => self.peer_down(server, peer, epoch),
            Event::DiskDone { server, life } => self.disk_done(server, life),
            Event::CheckpointDone { server, life } => self.checkpoint_done(server, life),
            Event::Reconnect { link } => {
                self.reconnect(link);
                Ok(())
            }
            Event::Fault => {
                self.next_fault();
                Ok(())
            }
            Event::CutEnds { links } => {
                links.into_iter().for_each(|link| self.network.uncut(link));
                Ok(())
            }
            Event::Heal => self.heal(),
            Event::CheckUp => Ok(()),
            Event::ClientWake { client, timer } => {
                if self.client_timers[client as usize - 1] != timer {
                    return Ok(());
                }
                let wishes = self.clients[client as usize - 1].wake(self.time);
                self.grant(client, wishes);
                Ok(())
            }
            Event::ToServer { conn, frame } => self.arrive(conn, frame),
            Event::ToClient { conn, heard } => {
                let client = conn.0 >> 32;
                let wishes = self.clients[client as usize - 1].hear(self.time, conn, heard);
                self.grant(client, wishes);
                Ok(())
            }
        }
    }

    pub(super) fn server(&mut self, server: u64) -> &mut Server {
        &mut self.servers[server as usize - 1]
    }

    fn start(&mut self, server: u64) -> Verdict {
        let time = self.time;
        if self.server(server).replica.is_some() {
            return Ok(());
        }
        self.server(server).start(time);
        let life = self.server(server).life;
        self.trace.note(time, Some(server), || format!("starts, life {life}"));
        if let Some(snapshot) = self.servers[server as usize - 1].disk.snapshot() {
            self.checks.committed.snapshot(ServerId(server), snapshot.meta.last)?;
        }
        for peer in (1..=self.plan.servers).filter(|&peer| peer != server) {
            self.queue.push(time + 1_000, Event::Reconnect { link: (server, peer) });
        }
        self.poll(server)
    }

    /// Hands in one input, and polls at once or a little later.
    pub(super) fn input(&mut self, server: u64, input: Input) -> Verdict {
        let time = self.time;
        let delay = self.plan.process.poll_delay;
        let state = self.server(server);
        let now = state.clock.now(time);
        let Some(replica) = &mut state.replica else {
            return Ok(());
        };
        replica.handle(now, input);
        if delay == 0 {
            return self.poll(server);
        }
        if !state.poll_due {
            state.poll_due = true;
            let at = time + state.stream.below(delay);
            let life = state.life;
            self.queue.push(at, Event::Poll { server, life });
        }
        Ok(())
    }

    /// Takes all that a server wishes, looks at it, and carries it out until it crashes.
    fn poll(&mut self, server: u64) -> Verdict {
        let state = self.server(server);
        state.poll_due = false;
        let Some(replica) = &mut state.replica else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        while let Some(output) = replica.poll() {
            outputs.push(output);
        }
        for output in &outputs {
            if let Output::Persist(persist) = output {
                self.noted(server, persist)?;
            }
        }
        self.observe(server)?;
        for output in &outputs {
            if let Output::Persist(persist) = output {
                self.expiries(server, persist)?;
            }
        }
        for output in outputs {
            if !self.carry_out(server, output)? {
                return Ok(());
            }
        }
        self.server(server).touched.settle();
        self.set_timer(server);
        Ok(())
    }

    fn set_timer(&mut self, server: u64) {
        let time = self.time;
        let state = self.server(server);
        let deadline = state.replica.as_ref().and_then(|replica| replica.deadline());
        if deadline == state.timer_for {
            return;
        }
        state.timer += 1;
        state.timer_for = deadline;
        if let Some(deadline) = deadline {
            let at = state.clock.when(deadline).max(time + 1);
            let timer = state.timer;
            self.queue.push(at, Event::Wake { server, timer });
        }
    }

    /// A write is asked for: what the log will be.
    fn noted(&mut self, server: u64, persist: &Persist<Txn>) -> Verdict {
        let id = ServerId(server);
        let time = self.time;
        let state = &mut self.servers[server as usize - 1];
        if let Some(hard_state) = persist.hard_state {
            state.progress.keeps(id, hard_state)?;
        }
        let log = &state.disk.asked().log;
        let mut previous = log.last();
        if let Some(meta) = &persist.reset {
            self.checks.committed.snapshot(id, meta.last)?;
            let durable = state.disk.snapshot().map(|snapshot| snapshot.meta.last);
            must("purged is in a snapshot (C8)", durable == Some(meta.last), || {
                format!("server {server} resets its log to {:?}, durable is {durable:?}", meta.last)
            })?;
            previous = meta.last;
            self.probes.hit("snapshot installed");
            self.trace.note(time, Some(server), || format!("installs snapshot {:?}", meta.last));
        } else if let Some(index) = persist.truncate_after {
            let term = log.term_at(index).unwrap_or_default();
            previous = EntryId { term, index };
            self.probes.hit("log truncated");
        }
        for entry in &persist.append {
            self.checks.logs.appended(id, previous, entry)?;
            previous = entry.id;
        }
        state.disk.note(persist);
        Ok(())
    }

    /// What a leader proposes to expire must be overdue (S5).
    fn expiries(&mut self, server: u64, persist: &Persist<Txn>) -> Verdict {
        let time = self.time;
        let state = &self.servers[server as usize - 1];
        let Some(replica) = &state.replica else {
            return Ok(());
        };
        let stats = replica.stats();
        let (leads, term) = (stats.role == Role::Leader, stats.term);
        let now = state.clock.instant(time);
        for entry in &persist.append {
            if !leads || entry.id.term != term {
                continue;
            }
            if let Payload::Command(Txn { action: Action::Expire { session, token }, .. }) =
                &entry.payload
            {
                // Its own view counts: what it has not applied yet will make the expiry void.
                let applied = stats.applied.0 as usize;
                let view = &self.checks.model.step(applied).state;
                let Some(record) = view.sessions.get(session) else {
                    continue;
                };
                // Attached anew in the same moment: the expiry is void.
                if record.token != *token {
                    continue;
                }
                let timeout = Duration::from_millis(record.timeout_ms.unsigned_abs().into());
                // An attach is seen at the poll, which may come a little after the input.
                let slack = Duration::from_micros(self.plan.process.poll_delay * 2);
                let ago = state.touched.ago(*session, now) + slack;
                session::expires(ServerId(server), *session, ago, timeout)?;
                self.probes.hit("session expired");
            }
        }
        Ok(())
    }

    /// Looks at the numbers that a server tells.
    fn observe(&mut self, server: u64) -> Verdict {
        let id = ServerId(server);
        let time = self.time;
        let state = &mut self.servers[server as usize - 1];
        let Some(replica) = &state.replica else {
            return Ok(());
        };
        let stats = replica.stats().clone();
        let before = state.progress;
        state.progress.seen(id, stats.term, stats.commit, stats.applied)?;
        if stats.role == Role::Leader {
            state.touched.lead(stats.term, state.clock.instant(time));
        }
        if stats.commit > before.commit {
            let claim = Claim {
                server: id,
                role: stats.role,
                term: stats.term,
                before: before.commit,
                commit: stats.commit,
                led: Some(before.term).filter(|&term| self.checks.elections.led(id, term)),
            };
            self.commit(claim)?;
        }
        if self.checks.elections.seen(id, stats.role, stats.term)? {
            let log = &self.servers[server as usize - 1].disk.asked().log;
            leader_completeness::elected(id, stats.term, log, &self.checks.committed)?;
            self.elected(server, stats.term.0);
        }
        if stats.applied > before.applied {
            crate::check::zxid::told(id, stats.applied, stats.zxid, &self.checks.model)?;
            self.checks.machines.seen(id, stats.zxid, stats.digest)?;
            for index in before.applied.0 + 1..=stats.applied.0 {
                if let Outcome::Attached(session) = self.checks.model.step(index as usize).outcome {
                    self.servers[server as usize - 1].touch(session, time);
                }
            }
            let (applied, zxid) = (stats.applied, stats.zxid);
            self.trace.note(time, Some(server), || format!("applied {applied}, {zxid}"));
        }
        Ok(())
    }

    fn elected(&mut self, server: u64, term: u64) {
        self.trace.note(self.time, Some(server), || format!("LEADS in term {term}"));
        if self.leaders().len() > 1 {
            self.probes.hit("two leaders at once");
        }
        for conn in self.conns.values_mut() {
            conn.through_election |= conn.open && conn.order.has_write();
        }
    }

    /// A commit index has moved: the model follows.
    fn commit(&mut self, claim: Claim) -> Verdict {
        let log = &self.servers[claim.server.0 as usize - 1].disk.asked().log;
        let disks = self.servers.iter().map(|server| &server.disk);
        let disks: Vec<&Disk> = disks.collect();
        let quorum = self.plan.quorum();
        let new = self.checks.committed.advanced(claim, log, disks.iter().copied(), quorum)?;
        for _ in 0..new {
            let index = raft::Index(self.checks.model.last() as u64 + 1);
            let entry = self.checks.committed.entry(index).expect("it was just committed").clone();
            self.checks.model.append(&entry);
            crate::check::zxid::grows(&self.checks.model)?;
            let step = self.checks.model.newest();
            self.checks.writes.took_effect(&step.outcome, step.zxid)?;
            self.hash = mix(&[self.hash, step.zxid.0 as u64]);
            if let Outcome::Expired(session) = step.outcome {
                self.expired(session)?;
            }
        }
        let (server, commit) = (claim.server.0, claim.commit);
        if new > 0 {
            self.trace.note(self.time, Some(server), || format!("COMMITS up to {commit}"));
        }
        Ok(())
    }

    fn expired(&mut self, ended: SessionId) -> Verdict {
        let alive = self.clients.iter().any(|c| c.session() == Some(ended) && c.is_connected());
        if self.plan.calm && alive { session::expires_in_calm(ended) } else { Ok(()) }
    }

    /// Carries out one wish; false if the server crashed on it.
    fn carry_out(&mut self, server: u64, output: Output) -> Result<bool, crate::check::Violation> {
        let point = match output {
            Output::Persist(persist) => {
                self.persist(server, persist);
                CrashPoint::Persist(1)
            }
            Output::Checkpoint { ticket, snapshot } => {
                self.trace.note(self.time, Some(server), || {
                    format!("checkpoints {:?}", snapshot.meta.last)
                });
                self.checks.committed.snapshot(ServerId(server), snapshot.meta.last)?;
                snapshot::made(ServerId(server), &snapshot, &self.checks.model)?;
                let disk = &self.plan.disk;
                let (least, spread) = (disk.latency_min, disk.latency_spread * 10);
                let time = self.time;
                let state = self.server(server);
                state.disk.checkpoint(ticket, snapshot);
                let latency = least + state.disk_stream.below(spread);
                let at = (time + latency).max(state.stalled_until);
                let life = state.life;
                self.queue.push(at, Event::CheckpointDone { server, life });
                CrashPoint::Checkpoint
            }
            Output::Purge { through } => {
                if self.reaches(server, CrashPoint::BeforePurge) {
                    return Ok(false);
                }
                let disk = &mut self.servers[server as usize - 1].disk;
                let kept = disk.snapshot().map(|s| s.meta.last.index).unwrap_or_default();
                progress::purges(ServerId(server), through, kept)?;
                disk.purge(through);
                return Ok(true);
            }
            Output::Send { to, message } => {
                self.send(server, to.0, message)?;
                CrashPoint::Send(1)
            }
            Output::Connected { conn, response } => {
                self.answer_connect(server, conn, response)?;
                return Ok(true);
            }
            Output::Reply { conn, xid, zxid, result } => {
                self.answer(server, conn, xid, (zxid, result))?;
                CrashPoint::Reply
            }
            Output::Notify { conn, zxid, event } => {
                self.notify(server, conn, zxid, event)?;
                return Ok(true);
            }
            Output::Close { conn, reason } => {
                self.close(server, conn, reason);
                return Ok(true);
            }
        };
        Ok(!self.reaches(server, point))
    }

    fn persist(&mut self, server: u64, persist: Persist<Txn>) {
        let time = self.time;
        let plan = self.plan.disk.clone();
        let state = self.server(server);
        state.disk.persist(persist);
        let mut latency = plan.latency_min + state.disk_stream.below(plan.latency_spread);
        if plan.heavy_tail && state.disk_stream.below(100) == 0 {
            latency *= state.disk_stream.between(2, 50);
        }
        let from = time.max(state.disk.busy_until).max(state.stalled_until);
        state.disk.busy_until = from + latency;
        let life = state.life;
        self.queue.push(from + latency, Event::DiskDone { server, life });
    }

    fn disk_done(&mut self, server: u64, life: u64) -> Verdict {
        let merge = self.plan.disk.merge;
        let state = self.server(server);
        if state.life != life || state.replica.is_none() {
            return Ok(());
        }
        let Some(mut ticket) = state.disk.complete() else {
            return Ok(());
        };
        if merge && state.disk_stream.coin() {
            while let Some(later) = state.disk.complete() {
                ticket = later;
            }
        }
        if state.disk.pending() > 0 && self.reaches(server, CrashPoint::BetweenTickets(1)) {
            return Ok(());
        }
        self.trace.note(self.time, Some(server), || format!("persisted {ticket:?}"));
        self.input(server, Input::Persisted { ticket })
    }

    fn checkpoint_done(&mut self, server: u64, life: u64) -> Verdict {
        let state = self.server(server);
        if state.life != life || state.replica.is_none() {
            return Ok(());
        }
        let Some(ticket) = state.disk.complete_checkpoint() else {
            return Ok(());
        };
        self.trace.note(self.time, Some(server), || format!("checkpointed {ticket:?}"));
        self.input(server, Input::Checkpointed { ticket })
    }

    fn send(&mut self, from: u64, to: u64, message: Message) -> Verdict {
        self.trace.note(self.time, Some(from), || format!("-> {to}: {}", brief(&message)));
        match &message {
            Message::Raft(message) => {
                let disk = &self.servers[from as usize - 1].disk;
                durability::said(ServerId(from), ServerId(to), message, disk)?;
            }
            Message::Snapshot { snapshot, .. } => {
                self.checks.committed.snapshot(ServerId(from), snapshot.meta.last)?;
                snapshot::made(ServerId(from), snapshot, &self.checks.model)?;
                self.probes.hit("snapshot sent");
            }
            Message::Forward(_) | Message::Heard(_) => {}
        }
        if to == from || to == 0 || to > self.plan.servers {
            return must("messages have a receiver", false, || format!("{from} sends to {to}"));
        }
        let link = (from, to);
        let fate = self.network.send(&self.plan.network, self.faulty, self.time, link);
        if !self.network.is_up(link) {
            return Ok(());
        }
        let epoch = self.network.epoch(link);
        for arrival in fate {
            let message = Box::new(message.clone());
            self.queue.push(arrival, Event::Message { link, epoch, message });
        }
        Ok(())
    }

    fn deliver(&mut self, link: Link, epoch: u64, message: Message) -> Verdict {
        let (from, to) = link;
        let stale = epoch != self.network.epoch(link) || !self.network.is_up(link);
        if stale && !(self.faulty && self.plan.network.late) {
            return Ok(());
        }
        let message = match message {
            Message::Snapshot { term, snapshot } => {
                Message::Snapshot { term, snapshot: disk::copy(&snapshot) }
            }
            Message::Heard(sessions) => {
                let time = self.time;
                let state = self.server(to);
                sessions.iter().for_each(|&session| state.touch(session, time));
                Message::Heard(sessions)
            }
            Message::Raft(_) | Message::Forward(_) => message,
        };
        self.input(to, Input::Message { from: ServerId(from), message })
    }

    /// Whether the server was to crash at this point; if so, it has.
    fn reaches(&mut self, server: u64, point: CrashPoint) -> bool {
        use CrashPoint::{BeforePurge, BetweenTickets, Checkpoint, Persist, Reply, Send};
        let state = self.server(server);
        let Some((armed, restart)) = &mut state.armed else {
            return false;
        };
        let crashes = match (&mut *armed, point) {
            (Send(left), Send(_))
            | (Persist(left), Persist(_))
            | (BetweenTickets(left), BetweenTickets(_)) => {
                *left -= 1;
                *left == 0
            }
            (Checkpoint, Checkpoint) | (BeforePurge, BeforePurge) | (Reply, Reply) => true,
            _ => false,
        };
        let restart = *restart;
        if crashes {
            self.probes.hit("crash at an effect");
            self.crash(server, restart);
        }
        crashes
    }

    /// The servers that say that they lead.
    pub(super) fn leaders(&self) -> Vec<ServerId> {
        let leads = |server: &&Server| {
            server.replica.as_ref().is_some_and(|r| r.stats().role == Role::Leader)
        };
        self.servers.iter().filter(leads).map(|server| server.id).collect()
    }

    fn health(&self) -> Health {
        let applied = self.servers.iter().map(|server| {
            let stats = server.replica.as_ref().map(|replica| replica.stats());
            let none = (server.id, raft::Index::ZERO, 0);
            stats.map_or(none, |stats| (server.id, stats.applied, stats.digest))
        });
        let unsettled = (1u64..).zip(&self.clients);
        let unsettled = unsettled.filter(|(_, client)| !client.is_dead() && !client.is_settled());
        let alive: Vec<SessionId> = self.clients.iter().filter_map(Client::session).collect();
        let dead: Vec<SessionId> =
            self.clients.iter().filter(|c| c.is_dead()).filter_map(Client::session).collect();
        let open = self.checks.model.newest().state.sessions.keys();
        let left_over =
            open.filter(|id| dead.contains(id) || !alive.contains(id)).copied().collect();
        Health {
            leaders: self.leaders(),
            applied: applied.collect(),
            unsettled: unsettled.map(|(number, _)| number).collect(),
            left_over,
        }
    }

    /// Carries out what a client wishes, and sets its timer.
    pub(super) fn grant(&mut self, client: u64, wishes: Vec<Wish>) {
        for wish in wishes {
            self.carry_wish(client, wish);
        }
        self.rearm_client(client);
    }

    fn rearm_client(&mut self, client: u64) {
        let at = client as usize - 1;
        self.client_timers[at] += 1;
        let timer = self.client_timers[at];
        if let Some(deadline) = self.clients[at].deadline() {
            self.queue.push(deadline.max(self.time + 1), Event::ClientWake { client, timer });
        }
    }

    /// The faults are over: everything is to heal, a random quorum first.
    fn heal(&mut self) -> Verdict {
        self.trace.note(self.time, None, || "HEAL".to_owned());
        self.faulty = false;
        self.healed_at = self.time;
        self.network.heal();
        let mut order: Vec<u64> = (1..=self.plan.servers).collect();
        for place in 0..self.plan.quorum() {
            let other = place + self.fault_stream.below((order.len() - place) as u64) as usize;
            order.swap(place, other);
            self.queue.push(self.time, Event::Start { server: order[place] });
        }
        for &server in &order[self.plan.quorum()..] {
            let after = self.fault_stream.below(4_000_000);
            self.queue.push(self.time + after, Event::Start { server });
        }
        for server in &mut self.servers {
            server.armed = None;
        }
        for client in 1..=self.plan.clients.count {
            let dies = self.plan.clients.deaths && self.fault_stream.coin();
            let mood = if dies { Mood::Dead } else { Mood::Settling };
            let wishes = self.clients[client as usize - 1].become_(self.time, mood);
            self.grant(client, wishes);
        }
        self.queue.push(self.time + 100_000, Event::CheckUp);
        Ok(())
    }
}

impl Event {
    /// The server that takes it in, which may stand still.
    fn server(&self) -> Option<u64> {
        match self {
            Event::Resume { server }
            | Event::Wake { server, .. }
            | Event::Poll { server, .. }
            | Event::PeerUp { server, .. }
            | Event::PeerDown { server, .. }
            | Event::DiskDone { server, .. }
            | Event::CheckpointDone { server, .. } => Some(*server),
            Event::Message { link: (_, to), .. } => Some(*to),
            Event::Start { .. }
            | Event::Reconnect { .. }
            | Event::Fault
            | Event::CutEnds { .. }
            | Event::Heal
            | Event::CheckUp
            | Event::ClientWake { .. }
            | Event::ToServer { .. }
            | Event::ToClient { .. } => None,
        }
    }

    /// A number for the run's hash.
    fn key(&self) -> u64 {
        match self {
            Event::Start { server } => mix(&[1, *server]),
            Event::Resume { server } => mix(&[17, *server]),
            Event::Wake { server, timer } => mix(&[2, *server, *timer]),
            Event::Poll { server, life } => mix(&[3, *server, *life]),
            Event::Message { link, epoch, .. } => mix(&[4, link.0, link.1, *epoch]),
            Event::PeerUp { server, peer, epoch } => mix(&[5, *server, *peer, *epoch]),
            Event::PeerDown { server, peer, epoch } => mix(&[6, *server, *peer, *epoch]),
            Event::DiskDone { server, life } => mix(&[7, *server, *life]),
            Event::CheckpointDone { server, life } => mix(&[8, *server, *life]),
            Event::Reconnect { link } => mix(&[9, link.0, link.1]),
            Event::Fault => 10,
            Event::CutEnds { links } => mix(&[11, links.len() as u64]),
            Event::Heal => 12,
            Event::CheckUp => 13,
            Event::ClientWake { client, timer } => mix(&[14, *client, *timer]),
            Event::ToServer { conn, .. } => mix(&[15, conn.0]),
            Event::ToClient { conn, heard } => mix(&[16, conn.0, heard.key()]),
        }
    }
}

fn brief(message: &Message) -> String {
    match message {
        Message::Raft(message) => {
            let text = match &message.body {
                raft::Body::Append { previous, commit, entries } => format!(
                    "Append {{ previous: {}/{}, commit: {commit}, entries: {} }}",
                    previous.term,
                    previous.index,
                    entries.len()
                ),
                body => format!("{body:?}"),
            };
            format!("t{} {text}", message.term)
        }
        Message::Snapshot { term, snapshot } => {
            format!("t{term} Snapshot {:?}", snapshot.meta.last)
        }
        Message::Forward(actions) => format!("Forward {}", actions.len()),
        Message::Heard(sessions) => format!("Heard {}", sessions.len()),
    }
}

/// The settings of one server of `plan`.
pub fn config(plan: &Plan, server: u64) -> Config {
    let core = &plan.core;
    let voters = Membership::of_voters((1..=plan.servers).map(ServerId));
    let raft = raft::Config {
        heartbeat_interval: core.heartbeat_interval,
        election_timeout: core.election_timeout,
        disk_stall_timeout: core.disk_stall_timeout,
        max_append_bytes: core.max_append_bytes,
        max_appends_in_flight: core.max_appends_in_flight,
        keep_entries: core.keep_entries,
        ..raft::Config::new(ServerId(server), voters)
    };
    Config {
        min_session_timeout_ms: core.min_session_timeout_ms,
        max_session_timeout_ms: core.max_session_timeout_ms,
        upkeep_interval: core.upkeep_interval,
        orphan_timeout: core.orphan_timeout,
        resend_interval: core.resend_interval,
        snapshot_entries: core.snapshot_entries,
        ..Config::new(raft)
    }
}
