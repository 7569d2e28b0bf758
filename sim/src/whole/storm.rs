//! The faults of a scenario over whole servers, and those that only this world has.
//!
//! Invariant: one task does everything that is done to the ensemble, in the order of time;
//! whatever a fault breaks for a time has its repair on the list from the start. What this world
//! adds is drawn from a stream of its own, and taking a fault out of the scenario changes no time
//! of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::Door;
use tokio::time::sleep;

use super::client::client_address;
use super::history::{Deed, History};
use super::rough::{self, Rough};
use crate::check::{Verdict, must};
use crate::fault::{CrashPoint, Damage, Fault};
use crate::plan::Plan;
use crate::probe::Probes;
use crate::rng::{Concern, Stream, mix};
use crate::scenario::Scenario;
use crate::world::madsim::{Ensemble, PEER_PORT, Watch};
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
    ClearLinks,
    OpenDoor(u64),
    CalmDown,
    MakeRoom(u64),
    /// The power goes, so that damage comes out.
    Uncover(u64, Micros),
}

/// The faults of one run.
pub struct Storm<'a> {
    scenario: &'a Scenario,
    ensemble: &'a mut Ensemble,
    watch: &'a Watch,
    history: &'a History,
    probes: &'a mut Probes,
    /// For what only this world has.
    stream: Stream,
    rough: Rough,
    /// The faults of the scenario before this one have struck.
    next_fault: usize,
    repairs: BTreeMap<(Micros, u64), Repair>,
    n_repairs: u64,
    /// How many faults there were.
    pub faults: u64,
}

impl<'a> Storm<'a> {
    /// The storm of `scenario`, whose faults stand in the order of time.
    pub fn new(
        scenario: &'a Scenario,
        ensemble: &'a mut Ensemble,
        (watch, history, probes): (&'a Watch, &'a History, &'a mut Probes),
    ) -> Self {
        let seed = scenario.plan.seed;
        Storm {
            scenario,
            ensemble,
            watch,
            history,
            probes,
            stream: Stream::new(seed, Concern::Extra),
            rough: Rough::new(seed),
            next_fault: 0,
            repairs: BTreeMap::new(),
            n_repairs: 0,
            faults: 0,
        }
    }

    /// Lasts as long as the plan has it. A calm one has no more faults than it names.
    ///
    /// # Errors
    /// If a server ends that had no reason to.
    pub async fn rage(&mut self) -> Verdict {
        let scenario = self.scenario;
        let mut extra_at = if scenario.plan.calm { u64::MAX } else { 1_000_000 + self.gap() };
        while self.watch.micros() < scenario.plan.fault_time {
            let fault = scenario.faults.get(self.next_fault).map_or(u64::MAX, |timed| timed.at);
            let repair = self.repairs.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            let until = fault.min(extra_at).min(repair).saturating_sub(self.watch.micros());
            sleep(Duration::from_micros(until.min(REAP_INTERVAL))).await;
            self.reap()?;
            let now = self.watch.micros();
            while let Some(first) = self.repairs.first_entry()
                && first.key().0 <= now
            {
                let repair = first.remove();
                self.repair(repair);
            }
            while let Some(timed) = scenario.faults.get(self.next_fault)
                && timed.at <= now
            {
                self.next_fault += 1;
                self.strike(timed.fault.clone());
            }
            if now >= extra_at {
                extra_at = now + self.gap();
                self.extra();
            }
        }
        Ok(())
    }

    /// The time until the next fault of those that only this world has.
    fn gap(&mut self) -> Micros {
        self.stream.log_between(50_000, 4_000_000)
    }

    /// A stream for the small print of what happens now, so that it depends on nothing else.
    fn small_print(&self, server: u64) -> Stream {
        let seed = mix(&[self.scenario.plan.seed, self.watch.micros(), server]);
        Stream::new(seed, Concern::Extra)
    }

    fn reap(&mut self) -> Verdict {
        let reaped = self.ensemble.reap(self.probes);
        must("no server ends by itself", reaped.is_ok(), || format!("{reaped:?}"))?;
        for server in reaped.unwrap_or_default() {
            self.note(format!("server {server} has ended"));
            let after = self.small_print(server).log_between(20_000, 3_000_000);
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
            Fault::Break(link, _) | Fault::HalfOpen(link, _) => {
                self.rough.break_between(self.ensemble.network(), link)
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
            // Whole servers have no door for it yet.
            Fault::ChangeMembership(_) | Fault::Restore(..) | Fault::TreeRot(..) => {}
            // Nor can one see at what point a whole server is.
            Fault::When(..) => {}
            Fault::DiskError(server, is_sync, n, _) => self.ensemble.fail_call(server, is_sync, n),
            Fault::DiskFull(server, n_bytes, after) => {
                self.ensemble.leave_room(server, Some(n_bytes));
                self.later(after, Repair::MakeRoom(server));
            }
            Fault::DiskDamage(server, damage, after) => self.damage(server, damage, after),
        }
    }

    fn damage(&mut self, server: u64, damage: Damage, after: Micros) {
        let Some(name) = self.ensemble.damage(server, damage) else { return };
        self.probes.hit(name);
        match damage {
            Damage::Rot
            | Damage::Unreadable
            | Damage::RotLog(_)
            | Damage::RotVote
            | Damage::RotSnapshot
            | Damage::CutLog
            | Damage::LostDisk => self.later(after, Repair::Start(server)),
            Damage::LostWrite(_) | Damage::Misdirected(_) => {
                self.later(2_000_000, Repair::Uncover(server, after));
            }
            Damage::AtRest(_) => {}
        }
    }

    /// What only this world has.
    fn extra(&mut self) {
        self.faults += 1;
        let after = self.stream.log_between(100_000, 5_000_000);
        let plan = &self.scenario.plan;
        let client = self.stream.between(1, plan.clients.count.max(1));
        let server = self.stream.between(1, plan.servers);
        match self.stream.below(10) {
            0..2 => {
                self.note(format!("client {client} and server {server} do not hear each other"));
                self.ensemble.clog_client(client, server, true);
                self.later(after, Repair::UnclogClient(client, server));
            }
            2 => {
                let weather = rough::storm(&mut self.stream);
                self.note(format!("{weather:?}"));
                self.ensemble.weather(weather);
                self.later(after, Repair::CalmDown);
            }
            3 => {
                let note = self.rough.slow_link(self.ensemble.network());
                self.note(note);
                self.later(after * 2, Repair::ClearLinks);
            }
            4 => {
                let door = if self.stream.coin() { Door::Silent } else { Door::Shut };
                self.note(format!("server {server}'s door is {door:?}"));
                self.ensemble.door(server, door);
                self.later(after, Repair::OpenDoor(server));
            }
            5 => {
                self.note(format!("server {server} is asked to stop"));
                self.probes.hit("orderly stop");
                self.ensemble.stop(server);
            }
            _ => {
                let note = self.rough.break_some(self.ensemble.network());
                self.note(note);
            }
        }
    }

    fn crash(&mut self, server: u64, point: CrashPoint, after: Micros) {
        if !self.ensemble.is_up(server) {
            return;
        }
        let n = match point {
            CrashPoint::Send(n) => {
                let partly = self.small_print(server).coin();
                self.ensemble.crash_at_send(server, PEER_PORT, (n, partly));
                return self.later(500_000, Repair::PowerCut(server, after));
            }
            CrashPoint::Reply => {
                let partly = self.small_print(server).coin();
                let port = client_address(server).port();
                self.ensemble.crash_at_send(server, port, (1, partly));
                return self.later(500_000, Repair::PowerCut(server, after));
            }
            CrashPoint::Now => {
                let loses_power = self.small_print(server).coin();
                self.ensemble.kill(server, loses_power);
                return self.later(after, Repair::Start(server));
            }
            CrashPoint::Persist(n) | CrashPoint::BetweenTickets(n) | CrashPoint::Start(n) => n,
            CrashPoint::Apply => 1,
            CrashPoint::Checkpoint => 3,
            CrashPoint::BeforePurge => 5,
            CrashPoint::Say(_, n) | CrashPoint::Hear(_, n) => n,
            CrashPoint::Lead
            | CrashPoint::StepDown
            | CrashPoint::Truncate
            | CrashPoint::Install
            | CrashPoint::Distrust
            | CrashPoint::Trust => 1,
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
            Repair::MakeRoom(server) => self.ensemble.leave_room(server, None),
            Repair::Uncover(server, after) => {
                self.ensemble.kill(server, true);
                self.later(after, Repair::Start(server));
            }
            Repair::ClearLinks => self.ensemble.network().clear_links(),
            Repair::OpenDoor(server) => self.ensemble.door(server, Door::Open),
            Repair::CalmDown => fair_weather(&self.scenario.plan, self.ensemble),
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
    ensemble.weather(rough::fair(&plan.network));
}

/// How often ended servers are looked for.
const REAP_INTERVAL: Micros = 20_000;
