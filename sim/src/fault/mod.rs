//! Which fault comes next, and when.
//!
//! Invariant: faults are drawn from a stream of their own and are plain values; the world carries
//! them out. Half of all crashes are at an effect, where bugs live (simulated: a vote told before
//! it is durable is found by those and not by others).

use std::collections::BTreeSet;

use crate::plan::Plan;
use crate::rng::Stream;
use crate::world::network::Link;
use crate::world::queue::Micros;

/// Where a server crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// Right now.
    Now,
    /// Right after the n-th message from now on has left it.
    Send(u64),
    /// Right after the n-th write from now on was asked for.
    Persist(u64),
    /// When the n-th write from now on is durable and another one is not.
    BetweenTickets(u64),
    /// When a snapshot was asked for.
    Checkpoint,
    /// When a snapshot is durable, before the log is purged.
    BeforePurge,
    /// Right after a reply has left it.
    Reply,
}

/// Something bad.
#[derive(Clone, Debug)]
pub enum Fault {
    /// These servers crash, and start again after this time each.
    Crash(Vec<(u64, CrashPoint, Micros)>),
    /// The leader, if there is one, crashes.
    CrashLeader(CrashPoint, Micros),
    /// Nothing passes these links for a time.
    Cut(Vec<Link>, Micros),
    /// The leader is cut off for a time; `true`: nobody hears it, but it hears the others.
    CutLeader(bool, Micros),
    /// The connection of two servers breaks and is made anew after a time.
    Break(Link, Micros),
    /// A server stands still for a time; `true`: its clock too.
    Pause(u64, Micros, bool),
    /// A disk stands still for a time.
    Stall(u64, Micros),
    /// A wall clock jumps by milliseconds.
    WallJump(u64, i64),
    /// The n-th write (or sync: `true`) of a disk from now on fails; its server ends, and starts
    /// again after this time.
    DiskError(u64, bool, u64, Micros),
    /// A disk has room for so many bytes more, for a time.
    DiskFull(u64, u64, Micros),
    /// A disk is damaged, if it may be; its server loses power after this time.
    DiskDamage(u64, Damage, Micros),
}

/// What is worse than a crash for a disk. A damaged server is out for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A durable sector changes.
    Rot,
    /// A durable sector cannot be read.
    Unreadable,
    /// The n-th write from now on is acknowledged and never stored.
    LostWrite(u64),
    /// The n-th write from now on goes to another place.
    Misdirected(u64),
    /// All of it is gone.
    LostDisk,
}

impl Fault {
    /// What is left of it if it may strike only these servers, and links with one of them.
    pub fn only(self, servers: &BTreeSet<u64>, leader: Option<u64>) -> Option<Fault> {
        let touches = |link: &Link| servers.contains(&link.0) || servers.contains(&link.1);
        match self {
            Fault::Crash(mut crashes) => {
                crashes.retain(|(server, ..)| servers.contains(server));
                (!crashes.is_empty()).then_some(Fault::Crash(crashes))
            }
            Fault::Cut(mut links, duration) => {
                links.retain(touches);
                (!links.is_empty()).then_some(Fault::Cut(links, duration))
            }
            Fault::Break(link, _) => touches(&link).then_some(self),
            Fault::CrashLeader(..) | Fault::CutLeader(..) => {
                leader.is_some_and(|leader| servers.contains(&leader)).then_some(self)
            }
            Fault::Pause(server, ..)
            | Fault::Stall(server, _)
            | Fault::WallJump(server, _)
            | Fault::DiskError(server, ..)
            | Fault::DiskFull(server, ..)
            | Fault::DiskDamage(server, ..) => servers.contains(&server).then_some(self),
        }
    }
}

/// The next fault, if `plan` has any, and the time until the one after it.
pub fn next(plan: &Plan, s: &mut Stream) -> (Option<Fault>, Micros) {
    let gap = s.log_between(20_000, 2_000_000);
    let kinds = Kind::of(plan);
    let fault = if kinds.is_empty() { None } else { Some(draw(*s.pick(&kinds), plan, s)) };
    (fault, gap)
}

/// The classes of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Crash,
    CrashLeader,
    MassCrash,
    Pause,
    Stall,
    Partition,
    Break,
    WallJump,
    DiskError,
    DiskFull,
    DiskDamage,
}

impl Kind {
    /// Those that `plan` has.
    fn of(plan: &Plan) -> Vec<Kind> {
        let (process, network) = (&plan.process, &plan.network);
        let several = plan.servers > 1;
        let sectors = plan.disk.sectors.as_ref();
        let all = [
            (Kind::Crash, process.crashes),
            (Kind::CrashLeader, process.crashes),
            (Kind::MassCrash, process.mass_crashes),
            (Kind::Pause, process.pauses),
            (Kind::Stall, plan.disk.stalls),
            (Kind::Partition, several && (network.partitions || network.one_way)),
            (Kind::Break, several && network.breaks),
            (Kind::WallJump, process.wall_jumps),
            (Kind::DiskError, sectors.is_some_and(|disk| disk.errors)),
            (Kind::DiskFull, sectors.is_some_and(|disk| disk.full)),
            (Kind::DiskDamage, sectors.is_some_and(|disk| disk.damage)),
        ];
        all.into_iter().filter(|(_, on)| *on).map(|(kind, _)| kind).collect()
    }
}

fn draw(kind: Kind, plan: &Plan, s: &mut Stream) -> Fault {
    let server = s.between(1, plan.servers);
    match kind {
        Kind::Crash => Fault::Crash(vec![(server, point(s), s.log_between(1_000, 8_000_000))]),
        Kind::CrashLeader => Fault::CrashLeader(point(s), s.log_between(1_000, 8_000_000)),
        Kind::MassCrash => mass_crash(plan, s),
        Kind::Pause => Fault::Pause(server, s.log_between(10_000, 10_000_000), s.coin()),
        Kind::Stall => Fault::Stall(server, s.log_between(10_000, 5_000_000)),
        Kind::Partition => partition(plan, s),
        Kind::Break => {
            let other = 1 + (server + s.below(plan.servers - 1)) % plan.servers;
            Fault::Break((server, other), s.log_between(100, 1_000_000))
        }
        Kind::WallJump => Fault::WallJump(server, s.between(0, 7_200_000) as i64 - 3_600_000),
        Kind::DiskError => {
            let (sync, n) = (s.coin(), s.log_between(1, 30));
            Fault::DiskError(server, sync, n, s.log_between(1_000, 8_000_000))
        }
        Kind::DiskFull => {
            let room = s.log_between(1, 200_000);
            Fault::DiskFull(server, room, s.log_between(100_000, 8_000_000))
        }
        Kind::DiskDamage => {
            let n = s.log_between(1, 30);
            let damage = match s.below(5) {
                0 => Damage::Rot,
                1 => Damage::Unreadable,
                2 => Damage::LostWrite(n),
                3 => Damage::Misdirected(n),
                _ => Damage::LostDisk,
            };
            Fault::DiskDamage(server, damage, s.log_between(1_000, 2_000_000))
        }
    }
}

fn point(s: &mut Stream) -> CrashPoint {
    if s.coin() {
        return CrashPoint::Now;
    }
    match s.below(8) {
        0..3 => CrashPoint::Send(s.log_between(1, 30)),
        3 => CrashPoint::Persist(s.log_between(1, 10)),
        4 => CrashPoint::BetweenTickets(s.log_between(1, 10)),
        5 => CrashPoint::Checkpoint,
        6 => CrashPoint::BeforePurge,
        _ => CrashPoint::Reply,
    }
}

fn mass_crash(plan: &Plan, s: &mut Stream) -> Fault {
    let mut servers: Vec<u64> = (1..=plan.servers).collect();
    let count = if s.coin() { servers.len() } else { plan.quorum() };
    let mut crashes = Vec::new();
    while crashes.len() < count {
        let server = servers.swap_remove(s.below(servers.len() as u64) as usize);
        crashes.push((server, CrashPoint::Now, s.log_between(1_000, 2_000_000)));
    }
    Fault::Crash(crashes)
}

fn partition(plan: &Plan, s: &mut Stream) -> Fault {
    let duration = s.log_between(20_000, 8_000_000);
    let one_way = plan.network.one_way && (!plan.network.partitions || s.coin());
    let one = s.between(1, plan.servers);
    let bits = s.bits();
    let side = |server: u64| bits >> server & 1 == 1;
    let kind = s.below(4);
    if kind == 0 {
        return Fault::CutLeader(one_way, duration);
    }
    let mut cuts = Vec::new();
    for from in 1..=plan.servers {
        for to in (1..=plan.servers).filter(|&to| to != from) {
            let cut = match kind {
                // One server alone.
                1 => from == one || (to == one && !one_way),
                // Two sides that see each other only by way of one server.
                2 => from != one && to != one && side(from) != side(to),
                // Two sides.
                _ => side(from) != side(to) && (!one_way || side(from)),
            };
            if cut {
                cuts.push((from, to));
            }
        }
    }
    Fault::Cut(cuts, duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_for_some_spares_the_others() {
        let some = BTreeSet::from([3]);
        let crash = |server| (server, CrashPoint::Now, 5);
        let both = Fault::Crash(vec![crash(1), crash(3)]);
        assert!(matches!(both.only(&some, None), Some(Fault::Crash(left)) if left.len() == 1));
        let cut = Fault::Cut(vec![(1, 2), (1, 3), (3, 2)], 5);
        assert!(matches!(cut.only(&some, None), Some(Fault::Cut(left, 5)) if left.len() == 2));
        assert!(Fault::Cut(vec![(1, 2)], 5).only(&some, None).is_none());
        assert!(Fault::Pause(1, 5, true).only(&some, None).is_none());
        assert!(Fault::CutLeader(true, 5).only(&some, Some(1)).is_none());
        assert!(Fault::CutLeader(true, 5).only(&some, Some(3)).is_some());
    }
}
