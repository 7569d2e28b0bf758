//! What goes wrong, and when.
//!
//! Invariant: faults are plain values in a list, drawn before the run begins or written by hand;
//! the world carries them out. Taking one away changes nothing about the others. Half of all
//! crashes are at an effect, where bugs live (simulated: a vote told before it is durable is found
//! by those and not by others). A fault that is written by hand may wait for such a point too.

mod draw;
pub(crate) mod membership;
mod word;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::world::network::Link;
use crate::world::queue::Micros;

pub use draw::{draw, next, rots, vote_rots};
pub use membership::{Place, Reform};
pub use word::Word;

/// A fault and when it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// When.
    pub at: Micros,
    /// What.
    pub fault: Fault,
}

/// Where a server crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Right after it has applied something, before anybody hears of it.
    Apply,
    /// In the n-th thing it does after its next start.
    Start(u64),
    /// Right after the n-th such word from now on has left it.
    Say(Word, u64),
    /// Right before the n-th such word from now on comes in.
    Hear(Word, u64),
    /// When it has won an election, before anybody hears of it.
    Lead,
    /// When it leads no more, before anybody hears of it.
    StepDown,
    /// Right after it has asked its disk to cut off the end of its log.
    Truncate,
    /// When a leader's snapshot is durable with it, before it is in force.
    Install,
    /// Right after it has come to doubt its state, and its disk knows.
    Distrust,
    /// Right after its state is right again, and its disk knows.
    Trust,
}

impl CrashPoint {
    /// A server is at `here`: whether that is this point, as often as this one wants it.
    pub fn is_met(&mut self, here: CrashPoint) -> bool {
        use CrashPoint::{BetweenTickets, Hear, Persist, Say, Send, Start};
        let left = match (&mut *self, here) {
            (Say(word, left), Say(said, _)) if *word == said => left,
            (Hear(word, left), Hear(heard, _)) if *word == heard => left,
            (Send(left), Send(_))
            | (Persist(left), Persist(_))
            | (Start(left), Start(_))
            | (BetweenTickets(left), BetweenTickets(_)) => left,
            (point, here) => {
                use CrashPoint::{
                    Apply, BeforePurge, Checkpoint, Distrust, Install, Lead, Reply, StepDown,
                    Truncate, Trust,
                };
                let once = [
                    Apply,
                    BeforePurge,
                    Checkpoint,
                    Distrust,
                    Install,
                    Lead,
                    Reply,
                    StepDown,
                    Truncate,
                    Trust,
                ];
                return *point == here && once.contains(&here);
            }
        };
        *left = left.saturating_sub(1);
        *left == 0
    }
}

/// Something bad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// What these links carry is held back for a time, and comes then.
    Clog(Vec<Link>, Micros),
    /// The connection of two servers is gone, but the second end hears of it only after a time.
    HalfOpen(Link, Micros),
    /// A client and a server do not hear each other for a time.
    CutClient(u64, u64, Micros),
    /// The server's settings are others after its next start, as this number draws them.
    Retune(u64, u64),
    /// Operators ask for another membership.
    ChangeMembership(Reform),
    /// An operator asks a server to restore the state of so many entries ago.
    Restore(u64, u64),
    /// The n-th write (or sync: `true`) of a disk from now on fails; its server ends, and starts
    /// again after this time.
    DiskError(u64, bool, u64, Micros),
    /// A disk has room for so many bytes more, for a time.
    DiskFull(u64, u64, Micros),
    /// A disk is damaged, if it may be; its server loses power after this time.
    DiskDamage(u64, Damage, Micros),
    /// The state of a server in memory is made wrong, in one of some ways, which are told apart by
    /// a number. Without one this happens only if nobody else's is wrong.
    TreeRot(u64, Option<u64>),
    /// When this server reaches this point, or anyone if none is named, the other fault strikes,
    /// before the server does anything else. It waits for that as long as faults last.
    When(Option<u64>, CrashPoint, Box<Fault>),
}

/// What is worse than a crash for a disk. Where nothing is repaired, a damaged server is out for
/// good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A sector of the log's newest segment changes that lies at so many thousandths of it.
    RotLog(u64),
    /// A sector of the log changes in which its last term and vote stand.
    RotVote,
    /// The newest snapshot changes in a place.
    RotSnapshot,
    /// The second half of the log's newest segment is zeros.
    CutLog,
    /// A durable sector changes, or (`true`) cannot be read any more, and the server goes on: it is
    /// to find that out by itself.
    AtRest(bool),
}

impl Fault {
    /// The servers that it names.
    pub fn names(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Fault::Crash(crashes) => Box::new(crashes.iter().map(|(server, ..)| *server)),
            Fault::CrashLeader(..) | Fault::CutLeader(..) => Box::new(std::iter::empty()),
            Fault::Cut(links, _) | Fault::Clog(links, _) => {
                Box::new(links.iter().flat_map(|&(from, to)| [from, to]))
            }
            Fault::Break((a, b), _) | Fault::HalfOpen((a, b), _) => Box::new([*a, *b].into_iter()),
            Fault::Pause(server, ..)
            | Fault::Stall(server, _)
            | Fault::WallJump(server, _)
            | Fault::CutClient(_, server, _)
            | Fault::Retune(server, _)
            | Fault::Restore(server, _)
            | Fault::DiskError(server, ..)
            | Fault::DiskFull(server, ..)
            | Fault::DiskDamage(server, ..)
            | Fault::TreeRot(server, _) => Box::new(std::iter::once(*server)),
            Fault::ChangeMembership(reform) => Box::new(reform.servers.iter().map(|(it, _)| *it)),
            Fault::When(who, _, then) => Box::new(who.iter().copied().chain(then.names())),
        }
    }

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
            Fault::Clog(mut links, duration) => {
                links.retain(touches);
                (!links.is_empty()).then_some(Fault::Clog(links, duration))
            }
            Fault::Break(link, _) | Fault::HalfOpen(link, _) => touches(&link).then_some(self),
            Fault::CrashLeader(..) | Fault::CutLeader(..) => {
                leader.is_some_and(|leader| servers.contains(&leader)).then_some(self)
            }
            // Operators wait until all is well.
            Fault::ChangeMembership(_) | Fault::Restore(..) | Fault::TreeRot(..) => None,
            Fault::When(who, point, then) => {
                let then = Box::new(then.only(servers, leader)?);
                Some(Fault::When(who, point, then))
            }
            // It names one server.
            fault => {
                let is_inside = fault.names().all(|server| servers.contains(&server));
                is_inside.then_some(fault)
            }
        }
    }
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
        let when = |server| {
            let then = Fault::Crash(vec![crash(server)]);
            Fault::When(Some(1), CrashPoint::Lead, Box::new(then))
        };
        assert!(when(1).only(&some, None).is_none());
        assert_eq!(when(3).only(&some, None), Some(when(3)));
        assert_eq!(when(3).names().collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_point_is_met_by_its_own_kind_and_after_its_number() {
        let mut point = CrashPoint::Say(Word::Vote, 2);
        assert!(!point.is_met(CrashPoint::Say(Word::Append, 1)));
        assert!(!point.is_met(CrashPoint::Hear(Word::Vote, 1)));
        assert!(!point.is_met(CrashPoint::Say(Word::Vote, 1)));
        assert!(point.is_met(CrashPoint::Say(Word::Vote, 1)));
        assert!(CrashPoint::Lead.is_met(CrashPoint::Lead));
        assert!(!CrashPoint::Lead.is_met(CrashPoint::StepDown));
        assert!(!CrashPoint::Now.is_met(CrashPoint::Now));
    }
}
