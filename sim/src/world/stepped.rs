//! The stepped world: replicas alone, driven by a heap of events. No async, no threads.
//!
//! Invariant: a run is a function of its plan. Ties are broken by order of scheduling, random
//! streams are separate per concern, and every event goes into the run's hash.

use std::collections::{BTreeMap, BTreeSet};

use zokor_chance::Chances;
use zokor_core::id::{ConnId, ServerId};
use zokor_core::raft::{Membership, SnapshotMeta};
use zokor_core::{Input, Output};

use super::event::Event;
use super::network::Network;
use super::queue::{Micros, Queue};
use super::server::Server;
use super::serving::Conn;
use crate::check::barrier::Barriers;
use crate::check::bounds::{self, Feeds, Flight};
use crate::check::campaign::Campaigns;
use crate::check::check_quorum::CheckQuorum;
use crate::check::commit::Committed;
use crate::check::doubt::Doubts;
use crate::check::election::Elections;
use crate::check::judge::Judge;
use crate::check::log_matching::LogMatching;
use crate::check::machine::Machines;
use crate::check::membership::Memberships;
use crate::check::session::left_over::LeftOver;
use crate::check::{Verdict, Violation};
use crate::client::{Character, Client, Wish};
use crate::conformance::Conformance;
use crate::disk::atlas::Atlas;
use crate::fault::{CrashPoint, Fault, Timed};
use crate::model::Model;
use crate::plan::Plan;
use crate::probe::Probes;
use crate::rng::mix;
use crate::scenario::{Recovery, Scenario};
use crate::trace::{Kind, Lane, Trace};

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
    pub(super) timed: Vec<Timed>,
    pub(super) recovery: Recovery,
    /// What strikes when a server, or anyone, reaches a point.
    pub(super) awaited: Vec<(Option<u64>, CrashPoint, Fault)>,
    /// Faults may happen, anywhere.
    pub(super) faulty: bool,
    /// Servers that stay broken when a quorum has healed.
    pub(super) outsiders: BTreeSet<u64>,
    /// Those of them that faults go on to strike.
    pub(super) restless: BTreeSet<u64>,
    /// Until when a client and a server do not hear each other.
    pub(super) client_cuts: BTreeMap<(u64, u64), Micros>,
    /// The server that won the last election.
    pub(super) last_winner: Option<u64>,
    /// How often another one won after a healthy server while only others had faults.
    pub(super) depositions: usize,
    /// How often one of those others came back with less than it had: the leader of its own term
    /// opens another one for it.
    pub(super) terms_for_repair: usize,
    pub(super) healed_at: Micros,
    /// What operators have asked for, by the number of the change.
    pub(super) wanted: Vec<Membership>,
    /// What they have asked to be restored, by the number of the restore: the entry whose state.
    pub(super) restores: Vec<usize>,
    /// Whose disk may be damaged.
    pub(super) atlas: Atlas,
    pub(super) checks: Checks,
    /// What servers may do that is legal and rare.
    chances: Chances,
    /// The model of the protocol.
    pub(super) conformance: Conformance,
    /// What happened, for people.
    pub trace: Trace,
    pub(super) probes: Probes,
    /// What happened, as a number.
    pub hash: u64,
    /// All was well, and was judged.
    is_over: bool,
    /// How many events there were.
    pub events: u64,
    /// How many faults there were.
    pub faults: u64,
    second: Micros,
    events_in_second: u64,
}

/// What the checks remember.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) elections: Elections,
    pub(super) campaigns: Campaigns,
    pub(super) barriers: Barriers,
    pub(super) check_quorum: CheckQuorum,
    pub(super) logs: LogMatching,
    pub(super) committed: Committed,
    pub(super) machines: Machines,
    pub(super) doubts: Doubts,
    pub(super) members: Memberships,
    pub(super) model: Model,
    pub(super) judge: Judge,
    pub(super) flight: Flight,
    pub(super) feeds: Feeds,
    pub(super) left_over: LeftOver,
    /// When the leader that is there was elected.
    pub(super) elected_at: Micros,
}

impl Checks {
    /// All servers begin with this membership, and `model` is of a fresh ensemble.
    fn new(members: Membership, model: Model) -> Self {
        Checks {
            elections: Elections::default(),
            campaigns: Campaigns::default(),
            barriers: Barriers::default(),
            check_quorum: CheckQuorum::default(),
            logs: LogMatching::default(),
            committed: Committed::default(),
            machines: Machines::default(),
            doubts: Doubts::default(),
            members: Memberships::new(members),
            model,
            judge: Judge::default(),
            flight: Flight::default(),
            feeds: Feeds::default(),
            left_over: LeftOver::default(),
            elected_at: 0,
        }
    }
}

impl World {
    /// The world of `scenario`, before anything happens.
    pub fn new(scenario: Scenario, trace: Trace) -> Self {
        let Scenario { plan, faults: timed, clients: steps, recovery } = scenario;
        let servers = (1..=plan.servers).map(|n| Server::new(&plan, n, plan.config(n))).collect();
        let timeouts = (plan.core.min_session_timeout_ms, plan.core.max_session_timeout_ms);
        let mut steps = steps.into_iter();
        let character = |number| Character {
            number,
            seed: plan.seed,
            servers: plan.servers,
            timeouts_ms: timeouts,
            window: plan.clients.window,
            reads_only: plan.solo.reads_only(number),
            upgrades: plan.solo.upgrading,
        };
        let clients: Vec<Client> = (1..=plan.clients.count)
            .map(|number| Client::new(character(number), steps.next().unwrap_or_default()))
            .collect();
        let model = Model::new().counting(plan.core.counter_bits);
        let mut world = World {
            time: 0,
            queue: Queue::new(),
            servers,
            network: Network::new(plan.seed),
            client_timers: vec![0; clients.len()],
            clients,
            conns: BTreeMap::new(),
            timed,
            recovery,
            awaited: Vec::new(),
            faulty: !plan.calm,
            outsiders: BTreeSet::new(),
            restless: BTreeSet::new(),
            client_cuts: BTreeMap::new(),
            last_winner: None,
            depositions: 0,
            terms_for_repair: 0,
            healed_at: 0,
            wanted: Vec::new(),
            restores: Vec::new(),
            checks: Checks::new(plan.membership(), model),
            chances: plan.chances(),
            atlas: Atlas::new(plan.membership()),
            conformance: Conformance::new(plan.servers, &plan.config(1).raft.membership),
            trace,
            probes: Probes::default(),
            hash: plan.seed,
            is_over: false,
            events: 0,
            faults: 0,
            second: 0,
            events_in_second: 0,
            plan,
        };
        if !world.plan.members.groups.is_empty() {
            world.probes.hit("groups decide");
        }
        world.begin_from_origin();
        world.begin();
        world
    }

    /// Runs until all is well after the faults.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(&mut self) -> Verdict {
        self.run_until(Micros::MAX)
    }

    /// Runs until then, or until all is well after the faults.
    ///
    /// # Errors
    /// The first violation.
    ///
    /// # Panics
    /// If all was well before: nothing would ever end it.
    pub fn run_until(&mut self, time: Micros) -> Verdict {
        assert!(!self.is_over, "the run is over; let it heal later");
        let mut chances = std::mem::take(&mut self.chances);
        let verdict = zokor_chance::with(&mut chances, || {
            while self.queue.next_time().is_some_and(|next| next <= time) && !self.step()? {}
            Ok(())
        });
        self.chances = chances;
        verdict
    }

    /// Rare states, and the chances that were taken.
    pub fn probes(&self) -> Probes {
        let mut probes = self.probes.clone();
        probes.add_chances(&self.chances);
        probes
    }

    /// One event happens. Returns whether it was the last.
    fn step(&mut self) -> Result<bool, Violation> {
        let Some((time, event)) = self.queue.pop() else {
            return Ok(true);
        };
        assert!(time >= self.time, "time does not run backwards");
        self.time = time;
        self.events += 1;
        self.hash = mix(&[self.hash, time, event.key()]);
        self.budget()?;
        if !matches!(event, Event::CheckUp) {
            self.happen(event)?;
            return Ok(false);
        }
        self.dead_leave_nothing()?;
        match self.health().is_well() {
            Ok(()) => {
                self.finish()?;
                self.is_over = true;
                return Ok(true);
            }
            Err(ailment) if time >= self.healed_at + self.patience() => return Err(ailment),
            Err(_) => self.queue.push(time + 100_000, Event::CheckUp),
        }
        Ok(false)
    }

    /// The simulated time so far.
    pub fn time(&self) -> Micros {
        self.time
    }

    /// How many elections were won.
    pub fn elections(&self) -> usize {
        self.checks.elections.count()
    }

    /// How many actions of the protocol's model the run amounts to, so far.
    pub fn modelled(&self) -> u64 {
        self.conformance.actions()
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
        for (number, timed) in self.timed.iter().enumerate() {
            self.queue.push(timed.at, Event::Fault { number });
        }
        self.queue.push(self.plan.fault_time, Event::Heal);
    }

    fn budget(&mut self) -> Verdict {
        let second = self.time / 1_000_000;
        if second != self.second {
            self.second = second;
            self.events_in_second = 0;
        }
        self.events_in_second += 1;
        bounds::events(second, self.events_in_second)
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
            Event::Message { link, epoch, message, cause } => {
                self.deliver(link, epoch, *message, cause)
            }
            Event::PeerUp { server, peer, epoch } => self.peer_up(server, peer, epoch),
            Event::PeerDown { server, peer, epoch } => self.peer_down(server, peer, epoch),
            Event::DiskDone { server, life } => self.disk_done(server, life),
            Event::CheckpointDone { server, life } => self.checkpoint_done(server, life),
            Event::Reconnect { link } => {
                self.reconnect(link);
                Ok(())
            }
            Event::Fault { number } => self.next_fault(number),
            Event::CutEnds { links, heals } => {
                links.into_iter().for_each(|link| self.network.uncut(link, heals));
                Ok(())
            }
            Event::Room { server } => self.look_at_room(server),
            Event::Scrub { server, life } => self.scrub(server, life),
            Event::Heal => {
                zokor_chance::rest();
                self.heal();
                Ok(())
            }
            Event::QuorumCheck => self.check_quorum(),
            Event::CheckUp => Ok(()),
            Event::ClientWake { client, timer } => {
                if self.client_timers[client as usize - 1] != timer {
                    return Ok(());
                }
                let time = self.time;
                let is_to_be_served = self.is_to_be_served(client);
                let state = &mut self.clients[client as usize - 1];
                if is_to_be_served {
                    state.hold_on(time);
                }
                let wishes = state.wake(time);
                self.grant(client, wishes);
                Ok(())
            }
            Event::ToServer { conn, frame, cause } => self.arrive(conn, frame, cause),
            Event::ToClient { conn, heard, cause } => {
                let client = conn.0 >> 32;
                self.trace.caused(self.time, Lane::Client(client), Kind::Receive, cause, || {
                    format!("{conn:?} hears {heard:?}")
                });
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
        let state = self.server(server);
        if state.replica.is_some() || state.stays_down || !self.open_disk(server)? {
            return Ok(());
        }
        self.server(server).start(time)?;
        let is_distrusted = self.server(server).disk.is_distrusted;
        self.checks.doubts.starts(ServerId(server), is_distrusted);
        self.conformance.starts(ServerId(server))?;
        let life = self.server(server).life;
        self.trace.note(time, Lane::Server(server), Kind::Start, || format!("starts, life {life}"));
        if let Some(snapshot) = self.servers[server as usize - 1].disk.snapshot() {
            self.checks.committed.snapshot(ServerId(server), snapshot.meta.last)?;
        }
        let disk = &self.servers[server as usize - 1].disk;
        let none = SnapshotMeta::default();
        let snapshot = disk.snapshot().map_or(&none, |snapshot| &snapshot.meta);
        self.checks.members.starts(ServerId(server), snapshot, disk.durable().log.entries());
        for peer in (1..=self.plan.servers).filter(|&peer| peer != server) {
            self.queue.push(time + 1_000, Event::Reconnect { link: (server, peer) });
        }
        self.queue.push(time, Event::Room { server });
        self.begin_to_scrub(server);
        self.poll(server)
    }

    /// Hands in one input, and polls at once or a little later.
    pub(super) fn input(&mut self, server: u64, input: Input) -> Verdict {
        let time = self.time;
        let delay = self.plan.process.poll_delay;
        let now = self.server(server).clock.now(time);
        if self.server(server).replica.is_some() {
            self.conformance.input(ServerId(server), &input)?;
            let from = if let Input::Message { from, .. } = &input { Some(*from) } else { None };
            self.checks.check_quorum.takes_in(ServerId(server), now.instant, from);
        }
        let state = self.server(server);
        let Some(replica) = &mut state.replica else {
            return Ok(());
        };
        replica.handle(now, input);
        state.unpolled_since.get_or_insert(time);
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
        let before = state.progress.applied;
        let mut outputs = Vec::new();
        while let Some(output) = replica.poll() {
            outputs.push(output);
            bounds::wishes(ServerId(server), outputs.len())?;
        }
        for output in &outputs {
            if let Output::Persist(persist) = output {
                self.noted(server, persist)?;
            }
        }
        self.observe(server)?;
        if let Some(replica) = &self.servers[server as usize - 1].replica {
            self.conformance.polled(ServerId(server), &replica.stats(), &outputs)?;
        }
        for output in &outputs {
            if let Output::Persist(persist) = output {
                self.changes(server, persist)?;
                self.expiries(server, persist)?;
            }
        }
        if self.changes_role(server)? {
            return Ok(());
        }
        let applied = self.server(server).progress.applied;
        if applied > before && self.reaches(server, CrashPoint::Apply)? {
            return Ok(());
        }
        for output in outputs {
            if !self.carry_out(server, output)? {
                return Ok(());
            }
        }
        self.checks.members.looked_at(ServerId(server));
        self.server(server).touched.settle();
        self.server(server).unpolled_since = None;
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
}
