//! The links between servers: which are cut, and how long a message takes.
//!
//! Invariant: what becomes of a message depends on the seed, the link and the message's number on
//! it, and on nothing that happens elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::Micros;
use crate::plan::NetworkPlan;
use crate::rng::mix;

/// A direction: from one server to another.
pub type Link = (u64, u64);

/// What becomes of one message: when its copies arrive. None if it is lost.
pub type Fate = Vec<Micros>;

/// All links.
#[derive(Debug, Default)]
pub struct Network {
    seed: u64,
    /// Directions in which nothing passes, and by how many cuts.
    cuts: BTreeMap<Link, u32>,
    /// How often everything has healed.
    heals: u64,
    /// Directions in which everything is held back, and until when.
    clogs: BTreeMap<Link, Micros>,
    /// By unordered pair: how often the connection was made anew.
    epochs: BTreeMap<Link, u64>,
    /// Pairs with a connection.
    up: BTreeSet<Link>,
    sent: BTreeMap<Link, u64>,
    last_arrival: BTreeMap<Link, Micros>,
}

impl Network {
    /// A whole network.
    pub fn new(seed: u64) -> Self {
        Network { seed, ..Network::default() }
    }

    /// Lets nothing pass from `from` to `to`. Returns what the end of the cut has to name.
    pub fn cut(&mut self, link: Link) -> u64 {
        *self.cuts.entry(link).or_default() += 1;
        self.heals
    }

    /// One cut of a direction ends, unless the network has healed in between.
    pub fn uncut(&mut self, link: Link, heals: u64) {
        if heals != self.heals {
            return;
        }
        if let Some(cuts) = self.cuts.get_mut(&link) {
            *cuts -= 1;
            if *cuts == 0 {
                self.cuts.remove(&link);
            }
        }
    }

    /// Holds back what is sent until then.
    pub fn clog(&mut self, link: Link, until: Micros) {
        let clog = self.clogs.entry(link).or_default();
        *clog = until.max(*clog);
    }

    /// Lets everything pass again.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.clogs.clear();
        self.heals += 1;
    }

    /// Whether `link` is cut in any direction.
    pub fn is_cut(&self, (a, b): Link) -> bool {
        self.cuts.contains_key(&(a, b)) || self.cuts.contains_key(&(b, a))
    }

    /// The number of the newest connection between two servers; 0 before the first.
    pub fn epoch(&self, link: Link) -> u64 {
        self.epochs.get(&pair(link)).copied().unwrap_or(0)
    }

    /// Whether two servers have a connection.
    pub fn is_up(&self, link: Link) -> bool {
        self.up.contains(&pair(link))
    }

    /// Breaks the connection between two servers; returns whether there was one.
    pub fn break_off(&mut self, link: Link) -> bool {
        self.up.remove(&pair(link))
    }

    /// Makes a new connection between two servers; returns its number.
    pub fn connect(&mut self, link: Link) -> u64 {
        self.up.insert(pair(link));
        let epoch = self.epochs.entry(pair(link)).or_default();
        *epoch += 1;
        *epoch
    }

    /// What becomes of the next message on `link`, sent at `now`.
    pub fn send(&mut self, plan: &NetworkPlan, faulty: bool, now: Micros, link: Link) -> Fate {
        let number = self.sent.entry(link).or_default();
        *number += 1;
        let draw = |what: u64, n: u64| mix(&[self.seed, link.0, link.1, *number, what]) % n.max(1);
        if self.cuts.contains_key(&link) || (faulty && draw(0, 1_000_000) < plan.loss_ppm) {
            return Fate::new();
        }
        let mut latency = plan.latency_min + draw(1, plan.latency_spread + 1);
        if faulty && plan.heavy_tail && draw(2, 50) == 0 {
            latency *= 1 + draw(3, 40);
        }
        let clog = self.clogs.get(&link).copied().unwrap_or(0);
        let mut arrival = (now + latency).max(clog);
        let last = self.last_arrival.entry(link).or_default();
        if !(faulty && plan.reorder) {
            arrival = arrival.max(*last + 1);
        }
        *last = arrival.max(*last);
        let mut fate = vec![arrival];
        if faulty && draw(4, 1_000_000) < plan.duplicate_ppm {
            fate.push(arrival + draw(5, 500_000));
        }
        fate
    }
}

/// The same for both directions.
fn pair((a, b): Link) -> Link {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> NetworkPlan {
        NetworkPlan { latency_min: 100, latency_spread: 1000, ..NetworkPlan::default() }
    }

    #[test]
    fn a_link_keeps_its_order_unless_it_may_not() {
        let mut network = Network::new(3);
        let mut last = 0;
        for now in 0..100 {
            let fate = network.send(&plan(), true, now, (1, 2));
            assert!(fate[0] > last);
            last = fate[0];
        }
    }

    #[test]
    fn the_end_of_a_cut_before_a_heal_ends_no_cut_after_it() {
        let mut network = Network::new(3);
        let heals = network.cut((1, 2));
        network.heal();
        network.cut((1, 2));
        network.uncut((1, 2), heals);
        assert!(network.is_cut((1, 2)));
    }

    #[test]
    fn a_clogged_link_holds_back_and_loses_nothing() {
        let mut network = Network::new(3);
        network.clog((1, 2), 50_000);
        let first = network.send(&plan(), false, 0, (1, 2));
        let second = network.send(&plan(), false, 1, (1, 2));
        assert!(first[0] >= 50_000 && second[0] > first[0]);
        assert!(network.send(&plan(), false, 1, (2, 1))[0] < 50_000);
    }

    #[test]
    fn a_cut_has_one_direction() {
        let mut network = Network::new(3);
        network.cut((1, 2));
        assert!(network.send(&plan(), true, 0, (1, 2)).is_empty());
        assert_eq!(network.send(&plan(), true, 0, (2, 1)).len(), 1);
    }
}
