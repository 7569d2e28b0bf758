//! Logs, entries and memberships.
//!
//! Invariant: the entry at index `n` is the `n`-th of its log, counted from 1; index 0 is of term 0
//! and in every log.

use crate::groups::Groups;

/// A count of leaderships.
pub type Term = u64;

/// Names an entry, ordered as elections compare logs: by term, then by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The term.
    pub term: Term,
    /// The index.
    pub index: usize,
}

/// A set of servers, by their numbers from 0 to 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Servers(pub u64);

impl Servers {
    /// The set of these servers.
    pub fn of(servers: impl IntoIterator<Item = usize>) -> Self {
        Servers(servers.into_iter().fold(0, |set, server| set | 1 << server))
    }

    /// Whether `server` is in the set.
    pub fn has(self, server: usize) -> bool {
        self.0 & 1 << server != 0
    }

    /// Whether more than half of the set are in `others`.
    fn majority_in(self, others: Servers) -> bool {
        (self.0 & others.0).count_ones() * 2 > self.0.count_ones()
    }
}

/// Who votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership {
    /// The voters, or in a joint membership the voters to come.
    pub voters: Servers,
    /// The voters to go by, in a joint membership; else empty.
    pub outgoing: Servers,
    /// The groups by which `voters` decide; none for a majority.
    pub groups: Groups,
    /// The groups by which `outgoing` decide.
    pub outgoing_groups: Groups,
}

impl Membership {
    /// A membership that is not joint, and decides by majority.
    pub fn of(voters: Servers) -> Self {
        Membership { voters, ..Membership::default() }
    }

    /// Whether it is between two sets of voters.
    pub fn is_joint(&self) -> bool {
        self.outgoing != Servers::default()
    }

    /// Whether `server` may lead: it is a voter, and its vote counts.
    pub fn may_lead(&self, server: usize) -> bool {
        (self.voters.has(server) && self.groups.weighs(server))
            || (self.outgoing.has(server) && self.outgoing_groups.weighs(server))
    }

    /// Whether `servers` can decide: of the voters, and of the outgoing ones if there are any, a
    /// majority, or enough by their groups.
    pub fn is_quorum(&self, servers: Servers) -> bool {
        let decides = |voters: Servers, groups: Groups| match groups.is_empty() {
            true => voters.majority_in(servers),
            false => groups.decided_by(voters, servers),
        };
        decides(self.voters, self.groups)
            && (!self.is_joint() || decides(self.outgoing, self.outgoing_groups))
    }

    /// The one between this and `next`.
    pub fn joint(&self, next: Membership) -> Self {
        Membership { outgoing: self.voters, outgoing_groups: self.groups, ..next }
    }

    /// The one after a joint one.
    pub fn settled(&self) -> Self {
        Membership { groups: self.groups, ..Membership::of(self.voters) }
    }
}

/// An entry. What a client wrote in it does not matter: term and index name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: Term,
    /// The membership that it sets, if it sets one.
    pub change: Option<Membership>,
}

/// A log.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log(Vec<Entry>);

impl Log {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, ascending.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entry at `index`, if it is here and not index 0.
    pub fn entry(&self, index: usize) -> Option<Entry> {
        self.0.get(index.checked_sub(1)?).copied()
    }

    /// The term at `index`, if that is here.
    pub fn term_at(&self, index: usize) -> Option<Term> {
        if index == 0 { Some(0) } else { self.entry(index).map(|entry| entry.term) }
    }

    /// The last entry.
    pub fn last(&self) -> Id {
        Id { term: self.0.last().map_or(0, |entry| entry.term), index: self.len() }
    }

    /// Whether both have an entry at `index` and it is the same.
    pub fn agrees(&self, other: &Log, index: usize) -> bool {
        let here = self.term_at(index);
        here.is_some() && here == other.term_at(index)
    }

    /// The first `len` entries.
    pub fn prefix(&self, len: usize) -> Log {
        Log(self.0[..len].to_vec())
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Entry) {
        self.0.push(entry);
    }

    /// Drops the entries above `index`.
    pub fn cut(&mut self, index: usize) {
        self.0.truncate(index);
    }

    /// How many entries both begin with.
    pub fn common(&self, other: &Log) -> usize {
        self.0.iter().zip(&other.0).take_while(|(here, there)| here == there).count()
    }

    /// The last membership that one of the first `upto` entries sets, and its index; else
    /// `initial`, at 0.
    pub fn membership(&self, initial: Membership, upto: usize) -> (usize, Membership) {
        let entries = self.0[..upto.min(self.len())].iter().enumerate().rev();
        let mut changes = entries.filter_map(|(at, entry)| Some((at + 1, entry.change?)));
        changes.next().unwrap_or((0, initial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_membership_needs_both_majorities() {
        let (old, new) = (Servers::of([0, 1, 2]), Servers::of([2, 3, 4]));
        let joint = Membership::of(old).joint(Membership::of(new));
        assert!(!joint.is_quorum(Servers::of([0, 1, 2])));
        assert!(!joint.is_quorum(Servers::of([2, 3, 4])));
        assert!(joint.is_quorum(Servers::of([0, 2, 3])));
        assert!(!Membership::of(Servers::of([0, 1])).is_quorum(Servers::of([0])));
    }

    #[test]
    fn the_last_membership_up_to_an_index_is_in_force_there() {
        let initial = Membership::of(Servers::of([0]));
        let later = Membership::of(Servers::of([0, 1]));
        let mut log = Log::default();
        log.push(Entry { term: 1, change: None });
        log.push(Entry { term: 1, change: Some(later) });
        assert_eq!(log.membership(initial, 1), (0, initial));
        assert_eq!(log.membership(initial, 9), (2, later));
    }
}
