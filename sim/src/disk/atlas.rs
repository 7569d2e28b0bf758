//! Who may be damaged where: the map that keeps faults beyond a crash within what an ensemble must
//! bear.
//!
//! Invariant: within the limit, of everything that was ever durable every quorum has a member with
//! a good copy, and those that are out for good leave a quorum. Over the limit the only acceptable
//! result is a refusal to serve.

use std::collections::{BTreeMap, BTreeSet};

use zokor_core::id::ServerId;
use zokor_core::raft::{Index, Membership};

use crate::check::membership::is_quorum;

/// A part of a server's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All of it: what a lost disk loses, and what a server loses that is not repaired.
    Whole,
    /// The log entry at this index.
    Entry(Index),
    /// The snapshot that ends with this index.
    Snapshot(Index),
    /// A few entries at so many thousandths of a log that is the same everywhere. It is mended as
    /// long as another server has them.
    Stretch(u64),
}

/// Stretches that lie farther apart have no entry in common.
const STRETCH: u64 = 150;

/// The map of one run.
#[derive(Clone, Debug)]
pub struct Atlas {
    members: Membership,
    over_the_limit: bool,
    damaged: BTreeMap<Part, BTreeSet<u64>>,
    out: BTreeSet<u64>,
    /// Those that were ever damaged.
    ever: BTreeSet<u64>,
}

impl Atlas {
    /// None of these is damaged yet.
    pub fn new(members: Membership) -> Self {
        let (damaged, out, ever) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Atlas { members, over_the_limit: false, damaged, out, ever }
    }

    /// From now on any number may be damaged anywhere.
    pub fn lift_limit(&mut self) {
        self.over_the_limit = true;
    }

    /// Marks `part` of `server` as damaged, if that is still within the limit. Until it is
    /// repaired, any damage may cost the server as a whole.
    pub fn damage(&mut self, server: u64, part: Part) -> bool {
        if !self.may_damage(server, part) {
            return false;
        }
        self.damaged.entry(part).or_default().insert(server);
        self.ever.insert(server);
        true
    }

    /// A damaged server has got back what it had lost.
    pub fn repaired(&mut self, server: u64) {
        self.damaged.retain(|_, them| {
            them.remove(&server);
            !them.is_empty()
        });
    }

    /// Whether `server` was ever damaged: what was not noticed may still come out.
    pub fn was_damaged(&self, server: u64) -> bool {
        self.ever.contains(&server)
    }

    /// Whether `server` could be damaged there as well.
    pub fn may_damage(&self, server: u64, part: Part) -> bool {
        if self.over_the_limit {
            return true;
        }
        let apart = |other: &Part| match (part, other) {
            (Part::Stretch(here), Part::Stretch(there)) => here.abs_diff(*there) > STRETCH,
            (Part::Stretch(_), _) | (_, Part::Stretch(_)) => false,
            _ => true,
        };
        let of_others = self.damaged.iter().filter(|(_, them)| them.iter().any(|it| *it != server));
        if !of_others.clone().all(|(other, _)| apart(other)) {
            return false;
        }
        if let Part::Stretch(_) = part {
            return self.out.is_empty();
        }
        let mut hit = self.damaged_at(part);
        hit.insert(server);
        let mut marked = self.marked();
        marked.insert(server);
        !self.is_quorum(&hit) && self.leaves_quorum(&marked)
    }

    /// Whether `server` has any damage, found or not.
    pub fn is_damaged(&self, server: u64) -> bool {
        self.out.contains(&server) || self.damaged.values().any(|them| them.contains(&server))
    }

    /// A damaged server has refused to start: it is out until somebody steps in.
    pub fn leave_out(&mut self, server: u64) {
        assert!(self.is_damaged(server), "only damage puts a server out");
        self.out.insert(server);
    }

    /// Whether a server is out for good.
    pub fn is_out(&self, server: u64) -> bool {
        self.out.contains(&server)
    }

    /// Those that are out for good.
    pub fn out(&self) -> &BTreeSet<u64> {
        &self.out
    }

    /// Whether those that are not out are enough to serve.
    pub fn can_serve(&self) -> bool {
        self.leaves_quorum(&self.out)
    }

    /// All servers with any damage.
    fn marked(&self) -> BTreeSet<u64> {
        self.damaged.values().flatten().chain(&self.out).copied().collect()
    }

    /// Who has no good copy of `part`.
    fn damaged_at(&self, part: Part) -> BTreeSet<u64> {
        if part == Part::Whole {
            return self.marked();
        }
        let at = |part| self.damaged.get(&part).into_iter().flatten();
        at(part).chain(at(Part::Whole)).copied().collect()
    }

    fn is_quorum(&self, servers: &BTreeSet<u64>) -> bool {
        is_quorum(&self.members, |server: ServerId| servers.contains(&server.0))
    }

    fn leaves_quorum(&self, gone: &BTreeSet<u64>) -> bool {
        is_quorum(&self.members, |server: ServerId| !gone.contains(&server.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n: u64) -> Membership {
        Membership::of_voters((1..=n).map(ServerId))
    }

    #[test]
    fn who_weighs_little_may_be_damaged_and_who_weighs_much_may_not() {
        let groups = zokor_core::groups::Groups::from_lines("group.1=1:2:3:4\nweight.1=4");
        let mut atlas = Atlas::new(Membership { groups, ..of(4) });
        assert!(!atlas.damage(1, Part::Whole));
        assert!((2..=4).all(|server| atlas.damage(server, Part::Whole)) && atlas.can_serve());
    }

    #[test]
    fn no_more_than_a_minority_is_damaged() {
        for (n, most) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
            let mut atlas = Atlas::new(of(n));
            let hit = (1..=n).filter(|&server| atlas.damage(server, Part::Whole)).count();
            assert_eq!(hit, most, "of {n}");
            for server in 1..=n {
                if atlas.is_damaged(server) {
                    atlas.leave_out(server);
                }
            }
            assert!(atlas.can_serve());
        }
    }

    #[test]
    fn damage_in_one_place_counts_for_the_server() {
        let mut atlas = Atlas::new(of(3));
        assert!(atlas.damage(1, Part::Entry(Index(5))));
        assert!(atlas.damage(1, Part::Snapshot(Index(3))));
        assert!(atlas.is_damaged(1) && !atlas.is_damaged(2));
        assert!(!atlas.damage(2, Part::Entry(Index(9))), "nothing is repaired yet");
    }

    #[test]
    fn who_is_repaired_makes_room_for_another() {
        let mut atlas = Atlas::new(of(3));
        assert!(atlas.damage(1, Part::Whole) && !atlas.damage(2, Part::Whole));
        atlas.repaired(1);
        assert!(!atlas.is_damaged(1) && atlas.was_damaged(1));
        assert!(atlas.damage(2, Part::Whole) && !atlas.was_damaged(3));
    }

    #[test]
    fn stretches_that_lie_apart_may_be_lost_everywhere_and_nothing_else_meanwhile() {
        let mut atlas = Atlas::new(of(3));
        assert!(atlas.damage(1, Part::Stretch(200)));
        assert!(!atlas.may_damage(2, Part::Stretch(300)) && !atlas.may_damage(2, Part::Whole));
        assert!(atlas.damage(2, Part::Stretch(500)) && atlas.damage(3, Part::Stretch(800)));
    }

    #[test]
    fn over_the_limit_nobody_can_serve() {
        let mut atlas = Atlas::new(of(3));
        atlas.lift_limit();
        for server in [1, 2] {
            assert!(atlas.damage(server, Part::Whole));
            atlas.leave_out(server);
        }
        assert!(!atlas.can_serve());
    }
}
