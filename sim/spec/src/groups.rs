//! Groups of servers with weights.
//!
//! Invariant: four bits a server, of which the upper two name its group and the lower two are its
//! weight. Where nobody weighs anything there are no groups, and a majority decides.

use crate::log::Servers;

/// Which server is in which group, and what it weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Groups(u64);

const SERVERS: usize = 16;
const WEIGHTS: u64 = 0x3333_3333_3333_3333;

impl Groups {
    /// The groups of these (server, group, weight): 16 servers at most, groups and weights from 0
    /// to 3.
    pub fn of(places: impl IntoIterator<Item = (usize, u64, u64)>) -> Self {
        places.into_iter().fold(Groups::default(), |Groups(bits), (server, group, weight)| {
            assert!(server < SERVERS && group < 4 && weight < 4, "the model has small groups only");
            Groups(bits | (group << 2 | weight) << (4 * server))
        })
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 & WEIGHTS == 0
    }

    /// Group and weight of `server`.
    pub fn place(self, server: usize) -> (u64, u64) {
        let bits = if server < SERVERS { self.0 >> (4 * server) } else { 0 };
        (bits >> 2 & 3, bits & 3)
    }

    /// Whether the word of `server` counts.
    pub fn weighs(self, server: usize) -> bool {
        self.is_empty() || self.place(server).1 > 0
    }

    /// The same by other names.
    pub(crate) fn renamed(self, names: &[usize]) -> Self {
        Groups::of(names.iter().enumerate().map(|(old, new)| {
            let (group, weight) = self.place(old);
            (*new, group, weight)
        }))
    }

    /// Whether those of `voters` that are in `yes` decide: they have more than half of the weight
    /// of more than half of the groups that weigh anything.
    pub(crate) fn decided_by(self, voters: Servers, yes: Servers) -> bool {
        let (mut heavy, mut won) = (0, 0);
        for group in 0..4 {
            let weight = |is_meant: &dyn Fn(usize) -> bool| -> u64 {
                let members = (0..SERVERS).filter(|&server| is_meant(server));
                let places = members.map(|server| self.place(server));
                places.filter(|(of, _)| *of == group).map(|(_, weight)| weight).sum()
            };
            let total = weight(&|_| true);
            heavy += u64::from(total > 0);
            won += u64::from(2 * weight(&|server| voters.has(server) && yes.has(server)) > total);
        }
        2 * won > heavy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_the_groups_decide() {
        let groups = Groups::of([(0, 0, 1), (1, 1, 2), (2, 1, 1), (3, 2, 1), (4, 2, 0)]);
        let all = Servers::of(0..5);
        let decides = |yes: &[usize]| groups.decided_by(all, Servers::of(yes.iter().copied()));
        assert!(decides(&[0, 1]) && decides(&[1, 3]) && decides(&[0, 3]));
        assert!(!decides(&[0, 2, 4]) && !decides(&[1, 2]) && !decides(&[3, 4]));
        assert!(!groups.decided_by(Servers::of([0]), all));
        assert!(groups.weighs(3) && !groups.weighs(4) && Groups::default().weighs(4));
        let names = [1, 0, 2, 4, 3];
        let renamed = groups.renamed(&names);
        assert_eq!((renamed.place(1), renamed.place(4)), ((0, 1), (2, 1)));
    }
}
