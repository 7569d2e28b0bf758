//! Draws faults.
//!
//! Invariant: which faults come, and when, depends on the plan and the stream alone. Kinds that the
//! plan does not have do not come.

use super::{CrashPoint, Damage, Fault, Timed, Word, membership};
use crate::plan::Plan;
use crate::rng::Stream;
use crate::world::queue::Micros;

/// All faults of `plan` from `from` until `end`.
pub fn draw(plan: &Plan, from: Micros, end: Micros, s: &mut Stream) -> Vec<Timed> {
    let mut faults = Vec::new();
    let mut at = from;
    while at < end {
        let (fault, gap) = next(plan, s);
        match fault {
            Some(fault) => several(fault, at, s, &mut faults),
            None => break,
        }
        at += gap;
    }
    faults.retain(|timed| timed.at < end);
    faults.sort_by_key(|timed| timed.at);
    faults
}

/// Some faults come as a series: a server that crashes again and again, links that are cut one by
/// one and mended in another order ("swizzle", FoundationDB).
fn several(fault: Fault, at: Micros, s: &mut Stream, faults: &mut Vec<Timed>) {
    match &fault {
        Fault::Crash(crashes) if crashes.len() == 1 && s.below(8) == 0 => {
            let (server, point, _) = crashes[0];
            let pace = s.log_between(50_000, 1_000_000);
            for n in 0..s.between(2, 6) {
                let fault = Fault::Crash(vec![(server, point, pace / 2)]);
                faults.push(Timed { at: at + n * pace, fault });
            }
        }
        Fault::Cut(links, most) if s.below(6) == 0 => {
            for (n, &link) in (0u64..).zip(links) {
                let fault = Fault::Cut(vec![link], s.between(1, *most));
                faults.push(Timed { at: at + n * most / 10, fault });
            }
        }
        _ => faults.push(Timed { at, fault }),
    }
}

/// When states are made wrong.
pub fn rots(plan: &Plan, s: &mut Stream) -> Vec<Timed> {
    let n = s.between(1, 3);
    let latest = plan.fault_time.max(2_000_001);
    let one = |s: &mut Stream| Timed {
        at: s.between(1_500_000, latest - 1),
        fault: Fault::TreeRot(s.between(1, plan.servers), None),
    };
    let mut rots: Vec<Timed> = (0..n).map(|_| one(s)).collect();
    rots.sort_by_key(|timed| timed.at);
    rots
}

/// When logs rot where their last term and vote stand: at any time, or right after a vote was told,
/// which only the copies know then.
pub fn vote_rots(plan: &Plan, s: &mut Stream) -> Vec<Timed> {
    let n = s.between(1, 4);
    let latest = plan.fault_time.max(1_000_002);
    let one = |s: &mut Stream| {
        let (server, at) = (s.between(1, plan.servers), s.between(1_000_000, latest - 1));
        let rots = Fault::DiskDamage(server, Damage::RotVote, s.log_between(1_000, 2_000_000));
        if s.coin() {
            return Timed { at, fault: rots };
        }
        let told = CrashPoint::Say(Word::Vote, 1);
        Timed { at, fault: Fault::When(Some(server), told, Box::new(rots)) }
    };
    let mut rots: Vec<Timed> = (0..n).map(|_| one(s)).collect();
    rots.sort_by_key(|timed| timed.at);
    rots
}

/// The next fault, if `plan` has any, and the time until the one after it.
pub fn next(plan: &Plan, s: &mut Stream) -> (Option<Fault>, Micros) {
    let gap = s.log_between(20_000, 2_000_000);
    let kinds = Kind::of(plan);
    let fault = if kinds.is_empty() { None } else { Some(one(*s.pick(&kinds), plan, s)) };
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
    CutClient,
    Retune,
    DiskError,
    DiskFull,
    DiskDamage,
    DiskRot,
    ChangeMembership,
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
            (Kind::CutClient, network.client_cuts),
            (Kind::Retune, process.retunes),
            (Kind::DiskError, sectors.is_some_and(|disk| disk.errors)),
            (Kind::DiskFull, sectors.is_some_and(|disk| disk.full)),
            (Kind::DiskDamage, sectors.is_some_and(|disk| disk.damage)),
            (Kind::DiskRot, sectors.is_some_and(|disk| disk.damage && disk.scrubs)),
            (Kind::ChangeMembership, plan.members.changes),
        ];
        all.into_iter().filter(|(_, on)| *on).map(|(kind, _)| kind).collect()
    }
}

fn one(kind: Kind, plan: &Plan, s: &mut Stream) -> Fault {
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
            let link = (server, other);
            match s.below(3) {
                0 => Fault::HalfOpen(link, s.log_between(10_000, 4_000_000)),
                _ => Fault::Break(link, s.log_between(100, 1_000_000)),
            }
        }
        Kind::WallJump => Fault::WallJump(server, s.between(0, 7_200_000) as i64 - 3_600_000),
        Kind::CutClient => {
            let client = s.between(1, plan.clients.count);
            Fault::CutClient(client, server, s.log_between(10_000, 8_000_000))
        }
        Kind::ChangeMembership => Fault::ChangeMembership(membership::draw(plan, s)),
        Kind::Retune => Fault::Retune(server, s.bits() >> 1),
        Kind::DiskError => {
            let (sync, n) = (s.coin(), s.log_between(1, 30));
            Fault::DiskError(server, sync, n, s.log_between(1_000, 8_000_000))
        }
        Kind::DiskFull => {
            let room = s.log_between(1, 200_000);
            Fault::DiskFull(server, room, s.log_between(100_000, 8_000_000))
        }
        Kind::DiskRot => Fault::DiskDamage(server, Damage::AtRest(s.below(4) == 0), 0),
        Kind::DiskDamage => Fault::DiskDamage(server, damage(s), s.log_between(1_000, 2_000_000)),
    }
}

fn damage(s: &mut Stream) -> Damage {
    let n = s.log_between(1, 30);
    match s.below(5) {
        0 => Damage::Rot,
        1 => Damage::Unreadable,
        2 => Damage::LostWrite(n),
        3 => Damage::Misdirected(n),
        _ => Damage::LostDisk,
    }
}

fn point(s: &mut Stream) -> CrashPoint {
    if s.coin() {
        return CrashPoint::Now;
    }
    match s.below(10) {
        0..3 => CrashPoint::Send(s.log_between(1, 30)),
        3 => CrashPoint::Persist(s.log_between(1, 10)),
        4 => CrashPoint::BetweenTickets(s.log_between(1, 10)),
        5 => CrashPoint::Checkpoint,
        6 => CrashPoint::BeforePurge,
        7 => CrashPoint::Apply,
        8 => CrashPoint::Start(s.log_between(1, 20)),
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
    let kind = s.below(5);
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
                // A ring, in which each sees its neighbours.
                3 => {
                    let apart = from.abs_diff(to);
                    apart != 1 && apart != plan.servers - 1
                }
                // Two sides.
                _ => side(from) != side(to) && (!one_way || side(from)),
            };
            if cut {
                cuts.push((from, to));
            }
        }
    }
    if s.below(4) == 0 { Fault::Clog(cuts, duration) } else { Fault::Cut(cuts, duration) }
}
