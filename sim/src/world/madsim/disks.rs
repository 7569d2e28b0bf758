//! The disks of whole servers: how they fail, and which ends of a server they excuse.
//!
//! Invariant: a server whose disk has failed ends by itself and says why; one that was damaged may
//! refuse to start. Nobody else ends, and nobody goes on as if nothing had happened.

use super::{Ensemble, Micros, Seat};
use crate::disk::atlas::Part;
use crate::disk::{Fault, SectorDisk};
use crate::fault::Damage;
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

impl Ensemble {
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
    /// already, the server loses power, and somebody has to start it.
    pub fn damage(&mut self, server: u64, damage: Damage) -> Option<&'static str> {
        if !self.atlas.may_damage(server, Part::Whole) || self.atlas.is_out(server) {
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
            | Damage::RotSnapshot
            | Damage::CutLog => self.kill(server, true),
            Damage::LostDisk => {
                self.kill(server, true);
                disk.lose();
                self.atlas.leave_out(server);
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
