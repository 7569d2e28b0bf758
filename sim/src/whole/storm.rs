//! Faults by the seed, over whole servers.
//!
//! Invariant: one task does everything that is done to the ensemble, in the order of time;
//! whatever a fault breaks for a time has its repair on the list from the start.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::Door;
use tokio::time::sleep;

use super::client::client_address;
use super::history::{Deed, History};
use super::rough::{self, Rough};
use crate::check::{Verdict, must};
use crate::fault::{self, CrashPoint, Damage, Fault};
use crate::plan::Plan;
use crate::probe::Probes;
use crate::rng::{Concern, Stream};
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
    plan: &'a Plan,
    ensemble: &'a mut Ensemble,
    watch: &'a Watch,
    history: &'a History,
    probes: &'a mut Probes,
    stream: Stream,
    rough: Rough,
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
        Storm {
            plan,
            ensemble,
            watch,
            history,
            probes,
            stream,
            rough: Rough::new(plan.seed),
            repairs: BTreeMap::new(),
            n_repairs: 0,
            faults: 0,
        }
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
                    Some(_) if self.stream.per_mille(300) => self.extra(),
                    Some(fault) => self.strike(fault),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Verdict {
        let reaped = self.ensemble.reap(self.probes);
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
            // Its members stay the same: no plan of this world asks for it.
            Fault::ChangeMembership(_) => {}
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
            Damage::Rot | Damage::Unreadable => self.later(after, Repair::Start(server)),
            Damage::LostWrite(_) | Damage::Misdirected(_) => {
                self.later(2_000_000, Repair::Uncover(server, after));
            }
            Damage::LostDisk => {}
        }
    }

    /// What only this world has.
    fn extra(&mut self) {
        self.faults += 1;
        let after = self.stream.log_between(100_000, 5_000_000);
        let client = self.stream.between(1, self.plan.clients.count);
        let server = self.stream.between(1, self.plan.servers);
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
                let partly = self.stream.coin();
                self.ensemble.crash_at_send(server, PEER_PORT, (n, partly));
                return self.later(500_000, Repair::PowerCut(server, after));
            }
            CrashPoint::Reply => {
                let partly = self.stream.coin();
                let port = client_address(server).port();
                self.ensemble.crash_at_send(server, port, (1, partly));
                return self.later(500_000, Repair::PowerCut(server, after));
            }
            CrashPoint::Now => {
                let loses_power = self.stream.coin();
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
            Repair::MakeRoom(server) => self.ensemble.leave_room(server, None),
            Repair::Uncover(server, after) => {
                self.ensemble.kill(server, true);
                self.later(after, Repair::Start(server));
            }
            Repair::ClearLinks => self.ensemble.network().clear_links(),
            Repair::OpenDoor(server) => self.ensemble.door(server, Door::Open),
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
    ensemble.weather(rough::fair(&plan.network));
}

/// How often ended servers are looked for.
const REAP_INTERVAL: Micros = 20_000;
