//! Disks of sectors in the stepped world: what is written and found, and what strikes them.
//!
//! Invariant: a server whose storage fails ends at once and says nothing more. It starts from what
//! was found on its disk, which was judged before; one that storage refuses to open stays down, and
//! must be one of those that were damaged.

use zokor_core::raft::Index;
use zokor_core::{Input, Replica};
use zokor_net::runtime::Refusal;
use zokor_net::storage::{Error, Opened};

use super::event::Event;
use super::queue::Micros;
use super::sectors::Sectors;
use super::stepped::World;
use crate::check::progress::Progress;
use crate::check::{Verdict, Violation, must, storage};
use crate::disk::atlas::Part;
use crate::disk::{self, SectorDisk};
use crate::fault::{CrashPoint, Damage, Fault};
use crate::trace::{Kind, Lane};

/// What became of a write.
pub(super) enum Written {
    /// It is durable.
    Done,
    /// There is no room for it: it is tried again.
    Waits,
    /// Storage has failed, and the server has ended.
    Failed,
}

/// What had no room is tried again so long after.
pub(super) const RETRY: Micros = 100_000;

/// How often servers may come back with less than they had while a quorum has to get on.
const MOST_REPAIRS: usize = 3;

impl World {
    /// Reads what is on the disk of a server that is about to start; false if it cannot start.
    pub(super) fn open_disk(&mut self, server: u64) -> Result<bool, Violation> {
        if self.atlas.is_out(server) {
            return Ok(false);
        }
        let time = self.time;
        let is_damaged = self.atlas.was_damaged(server);
        let state = self.server(server);
        let wall = state.clock.now(time).wall;
        let Some(sectors) = &mut state.sectors else { return Ok(true) };
        sectors.tick(time);
        let opened = sectors.open(wall);
        let has_failed = self.note_met(server);
        match opened {
            Ok(opened) => {
                self.take_over(server, opened, is_damaged)?;
                Ok(true)
            }
            Err(error) => {
                self.trace.note(time, Lane::Server(server), Kind::Crash, || {
                    format!("does not start: {error}")
                });
                self.server(server).sectors.as_mut().expect("just seen").kill();
                self.refuses(server, &error, has_failed)?;
                Ok(false)
            }
        }
    }

    fn take_over(&mut self, server: u64, opened: Opened<SectorDisk>, is_damaged: bool) -> Verdict {
        let Opened { wal, snapshots, scrub, recovered, report } = opened;
        let state = &mut self.servers[server as usize - 1];
        let is_wiped = report.is_new && state.life > 0;
        let is_rewritten = report.replaced.is_some();
        if is_wiped || is_rewritten || recovered.damage.is_some() {
            storage::left(state.id, &recovered, &state.disk, is_damaged)?;
            state.disk.loses();
            // The model knows of no such disk.
            self.conformance.leave();
            let damage = recovered.damage.as_ref();
            if is_wiped || damage.is_some_and(|damage| damage.is_vote_lost) {
                state.progress = Progress::default();
            }
            state.is_repairing = true;
            self.terms_for_repair += usize::from(self.outsiders.contains(&server));
            state.config.raft.may_be_wiped |= is_wiped;
        } else if !state.is_repairing {
            storage::found(state.id, &recovered, &state.disk, is_damaged)?;
        }
        state.disk.adopt(&recovered);
        if state.life > 0 {
            self.conformance.crashed(state.id, &state.disk);
        }
        let sectors = state.sectors.as_mut().expect("it was opened");
        sectors.use_opened((wal, snapshots), scrub);
        let is_damage = recovered.damage.is_some();
        state.found = Some(recovered);
        self.trace.note(self.time, Lane::Server(server), Kind::Note, || format!("finds {report}"));
        let at = server as usize - 1;
        for (name, seen) in [
            ("storage: torn tail cut", report.cut.is_some()),
            ("storage: older snapshot used", !report.damaged_snapshots.is_empty()),
            ("storage: log dropped for its snapshot", report.has_dropped_log),
            ("storage: damage did not matter", is_damaged && !self.servers[at].is_repairing),
            ("storage: a wiped server starts", is_wiped),
            ("storage: a damaged server starts", is_damage),
            ("storage: a damaged log is written anew from a snapshot", is_rewritten),
        ] {
            if seen {
                self.probes.hit(name);
            }
        }
        if report.cut.is_some() && self.faulty {
            self.may_crash_again(server);
        }
        Ok(())
    }

    /// A server that was torn from a write may end once more before it has written all of it again:
    /// what is left of the first time must not be taken for the rest.
    fn may_crash_again(&mut self, server: u64) {
        let mut luck = self.small_print(server);
        let point = match luck.below(4) {
            0 => CrashPoint::BetweenTickets(1),
            1 => CrashPoint::Persist(luck.log_between(1, 4)),
            _ => return,
        };
        let down = luck.log_between(1_000, 1_000_000);
        self.server(server).armed_at_start.get_or_insert((point, down));
        self.probes.hit("storage: crash soon after a torn tail");
    }

    /// Storage cannot be opened: for want of room, since a write failed, or since it was damaged.
    fn refuses(&mut self, server: u64, error: &Error, has_failed: bool) -> Verdict {
        let time = self.time;
        if has_failed && matches!(error, Error::Io { .. }) {
            self.probes.hit("storage: start failed with a write");
            self.queue.push(time + 500_000, Event::Start { server });
            return Ok(());
        }
        if matches!(error, Error::Full { .. }) {
            let is_full = self.server(server).sectors.as_ref().is_some_and(|s| s.is_full());
            self.probes.hit("storage: no room to start");
            self.queue.push(time + 500_000, Event::Start { server });
            return must(storage::CHECK, is_full, || format!("server {server}: {error}"));
        }
        storage::refused(server, &error.to_string(), self.atlas.was_damaged(server))?;
        self.probes.hit("storage: damaged server refused to start");
        let repairs = self.server(server).sectors.as_ref().is_some_and(Sectors::repairs);
        if repairs && self.atlas.damage(server, Part::Whole) {
            // An operator puts another disk in its place.
            self.probes.hit("storage: disk replaced");
            self.server(server).sectors.as_mut().expect("just seen").disk().lose();
            self.queue.push(time + 500_000, Event::Start { server });
            return Ok(());
        }
        self.atlas.leave_out(server);
        Ok(())
    }

    /// A server that had lost something may have got it back.
    pub(super) fn look_if_mended(&mut self, server: u64) {
        let state = self.server(server);
        let is_whole = |replica: &Replica| replica.raft().repair().is_none();
        if !state.is_repairing || !state.replica.as_ref().is_some_and(is_whole) {
            return;
        }
        self.probes.hit("storage: a damaged server is whole again");
        let state = self.server(server);
        state.is_repairing = false;
        state.disk.has_back();
        if let Some(sectors) = &mut state.sectors {
            sectors.disk().disarm();
            (sectors.is_damaged, sectors.rot) = (false, None);
        }
        self.atlas.repaired(server);
    }

    /// A server hears whether its disk is short of room.
    pub(super) fn look_at_room(&mut self, server: u64) -> Verdict {
        let time = self.time;
        let state = self.server(server);
        let Some(sectors) = &mut state.sectors else { return Ok(()) };
        sectors.tick(time);
        let is_short = sectors.is_full();
        match &state.replica {
            Some(replica) if replica.stats().is_short_of_room != is_short => {
                self.probes.hit("storage: short of room, or no longer");
                self.input(server, Input::Room { is_short })
            }
            _ => Ok(()),
        }
    }

    /// The oldest `n` writes are done, if they are.
    pub(super) fn write_sectors(&mut self, server: u64, n: usize) -> Written {
        let time = self.time;
        let state = self.server(server);
        let Some(sectors) = &mut state.sectors else { return Written::Done };
        sectors.tick(time);
        let mut batches = state.disk.unfinished();
        let is_quiet = batches.len() == n;
        batches.truncate(n);
        let done = sectors.persist(&batches, is_quiet);
        self.settle(server, done)
    }

    /// The snapshot under way is written, if it is.
    pub(super) fn save_to_sectors(&mut self, server: u64) -> Written {
        let time = self.time;
        let state = self.server(server);
        let Some(sectors) = &mut state.sectors else { return Written::Done };
        sectors.tick(time);
        let snapshot = state.disk.unfinished_checkpoint();
        let done = snapshot.map_or(Ok(()), |snapshot| sectors.save(snapshot));
        self.settle(server, done)
    }

    /// Entries may go from the disk as well.
    pub(super) fn purge_sectors(&mut self, server: u64, through: Index) {
        let state = self.server(server);
        let is_quiet = state.disk.pending() == 0;
        let Some(sectors) = &mut state.sectors else { return };
        let done = sectors.purge(through, is_quiet);
        self.settle(server, done);
    }

    /// Ends the server if storage has failed.
    pub(super) fn settle(&mut self, server: u64, done: Result<(), Refusal>) -> Written {
        self.note_met(server);
        let why = match done {
            Ok(()) => return Written::Done,
            Err(Refusal::Full(_)) => {
                self.probes.hit("storage: waited for room");
                return Written::Waits;
            }
            Err(Refusal::Failed(why)) => why,
        };
        self.trace.note(self.time, Lane::Server(server), Kind::Note, || format!("ends: {why}"));
        self.probes.hit("storage: server ended by a failed write");
        let sectors = self.server(server).sectors.as_mut().expect("storage has failed");
        let restart = sectors.restart;
        // The machine goes on; half of the time it loses power before the server starts again.
        sectors.kill();
        let cut = self.server(server).stream.coin();
        self.crash(server, Some(restart));
        if cut && let Some(sectors) = &mut self.server(server).sectors {
            sectors.disk().cut_power();
        }
        Written::Failed
    }

    /// Strikes a disk of sectors; such faults end by `until`.
    pub(super) fn strike_disk(&mut self, fault: Fault, until: Micros) {
        let time = self.time;
        match fault {
            Fault::DiskError(server, sync, n, restart) => {
                let Some(sectors) = &mut self.server(server).sectors else { return };
                let fault = if sync { disk::Fault::Sync } else { disk::Fault::Write };
                sectors.restart = restart;
                sectors.disk().arm(n - 1, fault);
            }
            Fault::DiskFull(server, n_bytes, duration) => {
                let Some(sectors) = &mut self.server(server).sectors else { return };
                sectors.restart = 300_000;
                let until = (time + duration).min(until);
                sectors.fill(n_bytes, until);
                self.queue.push(time, Event::Room { server });
                self.queue.push(until, Event::Room { server });
            }
            Fault::DiskDamage(server, damage, after) => self.damage(server, damage, after),
            _ => {}
        }
    }

    fn damage(&mut self, server: u64, damage: Damage, after: Micros) {
        let part = match damage {
            Damage::RotLog(permille) => Part::Stretch(permille),
            _ => Part::Whole,
        };
        if !self.atlas.may_damage(server, part) || self.atlas.is_out(server) {
            return;
        }
        // Each costs an election, after which sessions get their full time again.
        if self.terms_for_repair >= MOST_REPAIRS {
            return;
        }
        let state = self.server(server);
        // Of what comes on top while it is mended nobody could tell whether it is mended, too.
        let Some(sectors) = state.sectors.as_ref().filter(|_| !state.is_repairing) else { return };
        let (disk, repairs) = (sectors.disk(), sectors.repairs());
        let (name, has_struck) = match damage {
            Damage::Rot => ("disk: rot", disk.spoil(false, "")),
            Damage::Unreadable => ("disk: sector became unreadable", disk.spoil(true, "")),
            Damage::LostWrite(n) => {
                disk.arm(n - 1, disk::Fault::LostWrite);
                ("disk: write to be lost", true)
            }
            Damage::Misdirected(n) => {
                disk.arm(n - 1, disk::Fault::Misdirected);
                ("disk: write to be misdirected", true)
            }
            Damage::LostDisk => ("disk: lost", true),
            Damage::RotLog(permille) => ("disk: rot", disk.spoil_newest("log-0", permille, false)),
            Damage::RotVote => ("disk: rot where the vote is", disk.spoil_vote()),
            Damage::RotSnapshot => ("disk: rot", disk.spoil_newest("snapshot-", 500, false)),
            Damage::CutLog => ("disk: tail lost", disk.spoil_newest("log-0", 500, true)),
            Damage::AtRest(unreadable) => ("disk: rot at rest", disk.spoil(unreadable, "")),
        };
        if !has_struck {
            return;
        }
        self.probes.hit(name);
        let is_within = self.atlas.damage(server, part);
        assert!(is_within, "just asked");
        if let Some(sectors) = &mut self.server(server).sectors {
            match damage {
                Damage::AtRest(_) => sectors.rot = Some(sectors.rounds),
                _ => sectors.is_damaged = true,
            }
        }
        match damage {
            Damage::LostDisk => {
                self.crash(server, Some(after));
                self.server(server).sectors.as_mut().expect("just seen").disk().lose();
                if !repairs {
                    self.atlas.leave_out(server);
                }
            }
            Damage::Rot
            | Damage::Unreadable
            | Damage::RotLog(_)
            | Damage::RotVote
            | Damage::RotSnapshot
            | Damage::CutLog => self.crash(server, Some(after)),
            Damage::LostWrite(_) | Damage::Misdirected(_) | Damage::AtRest(_) => {}
        }
    }

    /// Damaged servers lose power, so that it comes out.
    pub(super) fn uncover_damage(&mut self) {
        for server in 1..=self.plan.servers {
            if let Some(sectors) = &mut self.server(server).sectors {
                sectors.disk().disarm();
                sectors.disk().leave(None);
            }
            if self.atlas.is_damaged(server) {
                self.crash(server, Some(500_000));
            }
        }
    }

    /// Counts what the storage code has met; whether a write or sync was made to fail.
    fn note_met(&mut self, server: u64) -> bool {
        let sectors = self.servers[server as usize - 1].sectors.as_ref();
        let met = sectors.map(|sectors| sectors.disk().take_met()).unwrap_or_default();
        met.iter().for_each(|name| self.probes.hit(name));
        [disk::Fault::Write, disk::Fault::Sync].iter().any(|fault| met.contains(fault.probe()))
    }
}
