//! Faults by the seed, over whole servers.
//!
//! Invariant: one task does everything that is done to the ensemble, in the order of time;
//! whatever a fault breaks for a time has its repair on the list from the start.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::history::{Deed, History};
use crate::check::{Verdict, must};
use crate::fault::{self, CrashPoint, Fault};
use crate::plan::Plan;
use crate::probe::Probes;
use crate::rng::{Concern, Stream};
use crate::world::madsim::{Ensemble, Watch};
use crate::world::queue::Micros;

/// What ends a fault.
#[derive(Clone, Debug)]
enum Repair {
    Start(u64),
    /// The power goes, if the disk has not stopped the server yet; it starts again after a while.
    PowerCut(u64, Micros),
    Unclog(Vec<(u64, u64)>),
    UnclogClient(u64, u64),
    Join(u64, (bool, bool)),
    Resume(u64),
    Quicken(u64),
    CalmDown,
}

/// The faults of one run.
pub struct Storm<'a> {
    plan: &'a Plan,
    ensemble: &'a mut Ensemble,
    watch: &'a Watch,
    history: &'a History,
    probes: &'a mut Probes,
    stream: Stream,
    repairs: BTreeMap<(Micros, u64), Repair>,
    n_repairs: u64,
    /// How many faults there were.
    pub faults: u64,
}

impl<'a> Storm<'a> {
    /// The storm of `plan`.
    pub fn new(
        plan: &'a Plan,
        ensemble: &'a mut Ensemble,
        (watch, history, probes): (&'a Watch, &'a History, &'a mut Probes),
    ) -> Self {
        let stream = Stream::new(plan.seed, Concern::Faults);
        let (repairs, n_repairs, faults) = (BTreeMap::new(), 0, 0);
        Storm { plan, ensemble, watch, history, probes, stream, repairs, n_repairs, faults }
    }

    /// Lasts as long as the plan has it.
    ///
    /// # Errors
    /// If a server ends that had no reason to.
    pub async fn rage(&mut self) -> Verdict {
        let mut next = self.watch.micros() + 1_000_000;
        while self.watch.micros() < self.plan.fault_time {
            let repair = self.repairs.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            let until = next.min(repair).saturating_sub(self.watch.micros());
            sleep(Duration::from_micros(until.min(REAP_INTERVAL))).await;
            self.reap()?;
            let now = self.watch.micros();
            while let Some(first) = self.repairs.first_entry()
                && first.key().0 <= now
            {
                let repair = first.remove();
                self.repair(repair);
            }
            if now >= next {
                let (fault, gap) = fault::next(self.plan, &mut self.stream);
                next = now + gap;
                match fault {
                    Some(_) if self.stream.per_mille(150) => self.extra(),
                    Some(fault) => self.strike(fault),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Verdict {
        let reaped = self.ensemble.reap();
        must("no server ends by itself", reaped.is_ok(), || format!("{reaped:?}"))?;
        for server in reaped.unwrap_or_default() {
            self.note(format!("server {server} has ended"));
            let after = self.stream.log_between(20_000, 3_000_000);
            self.later(after, Repair::Start(server));
        }
        Ok(())
    }

    fn strike(&mut self, fault: Fault) {
        self.faults += 1;
        self.note(format!("{fault:?}"));
        match fault {
            Fault::Crash(crashes) => {
                for (server, point, after) in crashes {
                    self.crash(server, point, after);
                }
            }
            Fault::CrashLeader(point, after) => {
                if let Some(leader) = self.ensemble.leader() {
                    self.probes.hit("leader crashes");
                    self.crash(leader, point, after);
                }
            }
            Fault::Cut(links, after) | Fault::Clog(links, after) => {
                for &(from, to) in &links {
                    self.ensemble.clog(from, to, true);
                }
                self.later(after, Repair::Unclog(links));
            }
            Fault::CutLeader(hears, after) => {
                if let Some(leader) = self.ensemble.leader() {
                    self.probes.hit("leader cut off");
                    self.ensemble.clog_all(leader, (!hears, true), true);
                    self.later(after, Repair::Join(leader, (!hears, true)));
                }
            }
            // Connections of this network break only with a process: an orderly end does it.
            Fault::Break((server, _), _) | Fault::HalfOpen((server, _), _) => {
                self.probes.hit("orderly stop");
                self.ensemble.stop(server);
            }
            Fault::Pause(server, after, _) => {
                if self.ensemble.is_up(server) {
                    self.ensemble.pause(server);
                    self.later(after, Repair::Resume(server));
                }
            }
            Fault::Stall(server, after) => {
                self.ensemble.slow_disk(server, true);
                self.later(after, Repair::Quicken(server));
            }
            Fault::WallJump(server, by_ms) => self.ensemble.jump_wall(server, by_ms),
            Fault::CutClient(client, server, after) => {
                self.ensemble.clog_client(client, server, true);
                self.later(after, Repair::UnclogClient(client, server));
            }
            // Settings of whole servers differ by their seats.
            Fault::Retune(..) => {}
            // Nor can one see at what point a whole server is.
            Fault::When(..) => {}
        }
    }

    /// What only this world has.
    fn extra(&mut self) {
        self.faults += 1;
        let after = self.stream.log_between(100_000, 5_000_000);
        if self.stream.coin() {
            let client = self.stream.between(1, self.plan.clients.count);
            let server = self.stream.between(1, self.plan.servers);
            self.note(format!("client {client} and server {server} do not hear each other"));
            self.ensemble.clog_client(client, server, true);
            return self.later(after, Repair::UnclogClient(client, server));
        }
        let loss = self.stream.log_between(10_000, 400_000);
        let most = self.stream.log_between(5_000, 400_000);
        self.note(format!("packets are lost, {loss} in a million, or take up to {most} us"));
        self.ensemble.weather(loss, 1_000, most);
        self.later(after, Repair::CalmDown);
    }

    fn crash(&mut self, server: u64, point: CrashPoint, after: Micros) {
        if !self.ensemble.is_up(server) {
            return;
        }
        let n = match point {
            CrashPoint::Now => {
                let loses_power = self.stream.coin();
                self.ensemble.kill(server, loses_power);
                return self.later(after, Repair::Start(server));
            }
            CrashPoint::Send(n) | CrashPoint::Persist(n) | CrashPoint::BetweenTickets(n) => n,
            CrashPoint::Checkpoint => 3,
            CrashPoint::BeforePurge => 5,
            CrashPoint::Reply | CrashPoint::Apply => 1,
            CrashPoint::Start(n) | CrashPoint::Say(_, n) | CrashPoint::Hear(_, n) => n,
            CrashPoint::Lead
            | CrashPoint::StepDown
            | CrashPoint::Truncate
            | CrashPoint::Install => 1,
        };
        self.probes.hit("crash in the middle of a write");
        self.ensemble.fail_disk(server, n);
        self.later(500_000, Repair::PowerCut(server, after));
    }

    fn repair(&mut self, repair: Repair) {
        self.note(format!("{repair:?}"));
        match repair {
            Repair::Start(server) => self.ensemble.start(server),
            Repair::PowerCut(server, after) => {
                if self.ensemble.is_up(server) {
                    self.ensemble.kill(server, true);
                    self.later(after, Repair::Start(server));
                }
            }
            Repair::Unclog(links) => {
                for (from, to) in links {
                    self.ensemble.clog(from, to, false);
                }
            }
            Repair::UnclogClient(client, server) => {
                self.ensemble.clog_client(client, server, false);
            }
            Repair::Join(server, ways) => self.ensemble.clog_all(server, ways, false),
            Repair::Resume(server) => self.ensemble.resume(server),
            Repair::Quicken(server) => self.ensemble.slow_disk(server, false),
            Repair::CalmDown => fair_weather(self.plan, self.ensemble),
        }
    }

    fn later(&mut self, after: Micros, repair: Repair) {
        self.n_repairs += 1;
        self.repairs.insert((self.watch.micros() + after, self.n_repairs), repair);
    }

    fn note(&self, what: String) {
        self.history.note(self.watch.micros(), Deed::World(what));
    }
}

/// The weather of `plan` while nothing special happens.
pub fn fair_weather(plan: &Plan, ensemble: &Ensemble) {
    let network = &plan.network;
    let least = network.latency_min;
    ensemble.weather(network.loss_ppm, least, least + network.latency_spread);
}

/// How often ended servers are looked for.
const REAP_INTERVAL: Micros = 20_000;
