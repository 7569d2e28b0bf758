//! The disks of whole servers: how they fail, and which ends of a server they excuse.
//!
//! Invariant: a server whose disk has failed ends by itself and says why; one that was damaged gets
//! back from the others what it has lost, or, where nothing is repaired, may refuse to start.
//! Nobody else ends, and nobody goes on as if nothing had happened.

use zokor_core::id::ServerId;

use super::{Ensemble, Micros, Seat};
use crate::disk::atlas::Part;
use crate::disk::{Fault, SectorDisk};
use crate::fault::Damage;
use crate::plan::Plan;
use crate::probe::Probes;

/// How a seat's disk stands.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Since when the present life has known that a write or a sync failed.
    failed_at: Option<Micros>,
    /// A write found no room in this life.
    was_full: bool,
}

/// What the end of a server was.
pub(super) enum End {
    /// It starts again after a while.
    Restart,
    /// It stays down until somebody steps in.
    Out,
}

impl Trouble {
    /// A new life knows of nothing.
    pub(super) fn forget(&mut self) {
        *self = Trouble::default();
    }
}

impl Seat {
    /// Looks at what the storage code has met since the last look.
    pub(super) fn look(&mut self, now: Micros, probes: &mut Probes) {
        let met = self.disk.take_met();
        met.iter().for_each(|name| probes.hit(name));
        let failed = [Fault::Write, Fault::Sync].iter().any(|fault| met.contains(fault.probe()));
        if failed && self.life.is_some() {
            self.trouble.failed_at.get_or_insert(now);
        }
        self.trouble.was_full |= met.contains("disk: no room");
    }

    /// Whether the disk has failed in a way that must end the server.
    pub(super) fn has_failed(&self) -> bool {
        self.trouble.failed_at.is_some() || self.trouble.was_full
    }

    /// Whether the server should have ended long ago.
    pub(super) fn is_overdue(&self, now: Micros) -> bool {
        let since = |at: Micros| now.saturating_sub(at);
        !self.paused && self.trouble.failed_at.is_some_and(|at| since(at) > PATIENCE)
    }

    /// What excuses an end of the server with `why`; `None` if nothing does.
    pub(super) fn excuse(&self, why: &str, is_damaged: bool) -> Option<(End, &'static str)> {
        if self.trouble.failed_at.is_some() && why.contains("input/output error") {
            return Some((End::Restart, "storage: server ended by a failed write"));
        }
        if self.trouble.was_full && why.contains("no space is left") && why.contains("make room") {
            return Some((End::Restart, "storage: server ended for want of room"));
        }
        if is_damaged && why.contains("leave this server stopped") {
            return Some((End::Out, "storage: damaged server refused to start"));
        }
        if is_damaged && why.contains("input/output error") {
            return Some((End::Out, "storage: unreadable server refused to start"));
        }
        None
    }
}

/// Whether what is damaged comes back in the ensemble of `plan`: servers open their disks as those
/// that have peers do, and operators replace what cannot be opened. Else damage ends a server.
pub(super) fn repairs(plan: &Plan) -> bool {
    plan.servers > 1 && plan.disk.sectors.as_ref().is_some_and(|sectors| sectors.repairs)
}

/// What a scene needs, or `drawn`.
pub(super) fn segment_bytes(plan: &Plan, drawn: u64) -> u64 {
    let scene = plan.disk.sectors.as_ref().filter(|sectors| plan.calm && sectors.repairs);
    scene.map_or(drawn, |sectors| sectors.segment_bytes)
}

impl Ensemble {
    /// What a server has found on its disk, and whether it has got back by now what it had lost.
    pub(super) fn look_at_disk(&mut self, server: u64, probes: &mut Probes) {
        let seat = self.seat(server);
        if seat.waits_for_disk {
            return self.replace_disk(server, probes);
        }
        let Some(life) = &seat.life else { return };
        let found = life.lock().expect("nobody panics with a life").found.take();
        let found = found.unwrap_or_default();
        seat.is_repairing |= found.lacks_something();
        for (name, seen) in [
            ("storage: a wiped server starts", found.is_wiped),
            ("storage: a damaged server starts", found.has_lost),
            ("storage: a damaged log is written anew from a snapshot", found.is_rewritten),
            ("storage: older snapshot used", found.is_older),
        ] {
            if seen {
                probes.hit(name);
            }
        }
        let is_whole = seat.handle().is_some_and(|handle| handle.stats().repair.is_none());
        if seat.is_repairing && is_whole {
            seat.is_repairing = false;
            seat.disk.disarm();
            probes.hit("storage: a damaged server is whole again");
            self.atlas.repaired(server);
        }
    }

    /// A damaged server does not start: it is out for good, or its disk is to be replaced.
    pub(super) fn is_left_out(&mut self, server: u64) {
        if self.repairs {
            self.seat(server).waits_for_disk = true;
        } else {
            self.atlas.leave_out(server);
        }
    }

    /// An operator puts an empty disk in the place of one that cannot be opened, as soon as the
    /// others are whole enough to bear it.
    fn replace_disk(&mut self, server: u64, probes: &mut Probes) {
        let is_within = self.atlas.is_damaged(server) || self.atlas.damage(server, Part::Whole);
        if !is_within || self.is_up(server) {
            return;
        }
        let seat = self.seat(server);
        seat.waits_for_disk = false;
        seat.disk.lose();
        probes.hit("storage: disk replaced");
        self.start(server);
    }

    /// Whether a server has lost what others have to give back.
    pub fn is_repairing(&self, server: u64) -> bool {
        self.seats[server as usize - 1].is_repairing
    }

    /// A server that serves has lost nothing that matters, if it has lost anything.
    pub fn counts_as_whole(&mut self, server: u64) {
        if !self.is_repairing(server) {
            self.atlas.repaired(server);
        }
    }

    /// Lets the `n`th write, or sync, of a server's disk fail.
    pub fn fail_call(&mut self, server: u64, is_sync: bool, n: u64) {
        let fault = if is_sync { Fault::Sync } else { Fault::Write };
        self.seat(server).disk.arm(n - 1, fault);
    }

    /// Leaves room for so many bytes on a server's disk, or without end.
    pub fn leave_room(&mut self, server: u64, n_bytes: Option<u64>) {
        self.seat(server).disk.leave(n_bytes);
    }

    /// Damages a disk if the atlas allows it; what the damage is called. Where it lies there
    /// already, or all is gone, the server loses power, and somebody has to start it.
    pub fn damage(&mut self, server: u64, damage: Damage) -> Option<&'static str> {
        if !self.atlas.may_damage(server, Part::Whole) || self.atlas.is_out(server) {
            return None;
        }
        // Of what comes on top while it is mended nobody could tell whether it is mended, too; and
        // servers that have yet to begin could lose more than an ensemble can.
        let have_begun = (1..=self.size()).all(|it| self.ledger.has_begun(ServerId(it)));
        if self.repairs && (self.is_repairing(server) || !have_begun) {
            return None;
        }
        let disk = self.seat(server).disk.clone();
        let (name, has_struck) = match damage {
            Damage::Rot => ("disk: rot", disk.spoil(false, "")),
            Damage::Unreadable => ("disk: sector became unreadable", disk.spoil(true, "")),
            Damage::LostWrite(n) => {
                disk.arm(n - 1, Fault::LostWrite);
                ("disk: write to be lost", true)
            }
            Damage::Misdirected(n) => {
                disk.arm(n - 1, Fault::Misdirected);
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
            return None;
        }
        assert!(self.atlas.damage(server, Part::Whole), "just asked");
        match damage {
            Damage::Rot
            | Damage::Unreadable
            | Damage::RotLog(_)
            | Damage::RotVote
            | Damage::RotSnapshot
            | Damage::CutLog => self.kill(server, true),
            Damage::LostDisk => {
                self.kill(server, true);
                disk.lose();
                if !self.repairs {
                    self.atlas.leave_out(server);
                }
            }
            Damage::LostWrite(_) | Damage::Misdirected(_) | Damage::AtRest(_) => {}
        }
        Some(name)
    }

    /// Damages the log of a server that has lost power; whether there was something to damage.
    pub fn spoil_log(&mut self, server: u64) -> bool {
        self.kill(server, true);
        let disk: SectorDisk = self.seat(server).disk.clone();
        disk.spoil(false, "log-") && self.atlas.damage(server, Part::Whole)
    }

    /// Every disk works again, but for what is damaged.
    pub(super) fn heal_disks(&mut self) {
        for server in 1..=self.size() {
            let is_damaged = self.atlas.is_damaged(server);
            let seat = self.seat(server);
            seat.disk.disarm();
            seat.disk.leave(None);
            // Damage that nobody has met yet comes out now, not in the middle of the healing.
            if is_damaged || seat.has_failed() {
                self.kill(server, true);
            }
        }
    }

    /// Whether a server is out for good.
    pub fn is_out(&self, server: u64) -> bool {
        self.atlas.is_out(server)
    }

    /// Those that are not.
    pub fn present(&self) -> Vec<u64> {
        (1..=self.size()).filter(|&server| !self.is_out(server)).collect()
    }

    /// From now on any number of servers may be damaged.
    pub fn lift_limit(&mut self) {
        self.atlas.lift_limit();
    }
}

/// How long a server may need to end after its disk has failed: the slowest disk reports late.
const PATIENCE: Micros = 60_000_000;
