//! Disks that lose what they held: entries in the middle, so that one whole copy is left of each,
//! or the end of a log and its votes, of a minority of servers.

use std::collections::BTreeSet;

use crate::disk::Word;
use crate::network::{Event, Network, decides, pick};
use rand_core::RngCore;
use zokor_core::id::ServerId;
use zokor_core::raft::*;

/// What a disk has lost and not got back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost {
    /// Entries in the middle.
    indices: BTreeSet<Index>,
    /// Whether their names are left.
    is_named: bool,
    /// Everything after this one, and the hard state.
    end: Option<Index>,
    has_lost_vote: bool,
}

impl Lost {
    /// What a server finds in the place of `whole`.
    pub(crate) fn strike(&self, mut whole: Recovered<Word>) -> Recovered<Word> {
        let base = whole.snapshot.last;
        if let Some(end) = self.end {
            whole.entries.retain(|entry| entry.id.index <= end);
        }
        let last = whole.entries.last().map_or(base, |entry| entry.id);
        let is_lost = |entry: &SharedEntry<Word>| self.indices.contains(&entry.id.index);
        let n_whole = whole.entries.iter().take_while(|entry| !is_lost(entry)).count();
        let rest = whole.entries.split_off(n_whole);
        let has_more = self.end.is_some() || self.has_lost_vote;
        if rest.is_empty() && !has_more {
            return whole;
        }
        let (lost, behind): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_lost);
        let borders = lost.iter().map(|entry| entry.id.index.next());
        let seams = borders.filter(|index| !self.indices.contains(index) && *index <= last.index);
        whole.damage = Some(Damage {
            seams: if self.is_named { BTreeSet::new() } else { seams.collect() },
            named: lost.iter().filter(|_| self.is_named).map(|entry| entry.id).collect(),
            behind,
            last,
            is_end_lost: self.end.is_some(),
            is_vote_lost: has_more,
        });
        whole
    }
}

impl Network {
    /// Damages the disk of a server that is down, within what the others can make good.
    pub(crate) fn damage(&mut self, id: ServerId) {
        if !self.luck.damage || self.servers[&id].raft.is_some() {
            return;
        }
        if self.rng.next_u64().is_multiple_of(3) {
            self.lose_the_end(id);
        } else {
            self.lose_entries(id);
        }
    }

    /// Agreed entries, of which no other server has lost its copy.
    fn lose_entries(&mut self, id: ServerId) {
        let highest = self.committed.keys().next_back().copied().unwrap_or_default();
        let server = &self.servers[&id];
        let is_agreed = |entry: &&SharedEntry<Word>| {
            entry.id.index < highest && self.committed.get(&entry.id.index) == Some(&entry.id)
        };
        let first = server.disk.snapshot.last.index;
        let agreed: Vec<Index> =
            server.disk.entries.iter().filter(is_agreed).map(|e| e.id.index).collect();
        let agreed: Vec<Index> = agreed.into_iter().filter(|index| *index > first).collect();
        // The one behind them is left, and agreed on, too.
        if agreed.len() < 2 {
            return;
        }
        let from = agreed[pick(&mut self.rng, agreed.len() - 1)];
        let n = 1 + self.rng.next_u64() % 4;
        let upto = Index(from.0 + n).min(agreed[agreed.len() - 1]).previous();
        let range: BTreeSet<Index> = (from.0..=upto.0).map(Index).collect();
        let is_whole_elsewhere = |index: &Index| {
            let others = self.servers.iter().filter(|(other, _)| **other != id);
            let lacks = |server: &crate::network::Server| match &server.lost {
                Some(lost) => {
                    lost.indices.contains(index) || lost.end.is_some_and(|end| *index > end)
                }
                None => false,
            };
            !others.map(|(_, server)| server).any(lacks)
        };
        // A membership of one has its entries nowhere else.
        let id_of = |index: &Index| self.committed.get(index).copied().unwrap_or_default();
        let is_elsewhere = |index: &Index| {
            let others = self.servers.iter().filter(|(other, _)| **other != id);
            others.filter(|(_, it)| it.disk.has(id_of(index))).count() > 0
        };
        let next = upto.next();
        if !range.iter().all(is_whole_elsewhere) || !range.iter().chain([&next]).all(is_elsewhere) {
            return;
        }
        // Where nothing tells whether the ends belong together, the others must be whole.
        let term_at = |index| {
            server.disk.entries.iter().find(|entry| entry.id.index == index).map(|it| it.id.term)
        };
        let is_one_term = term_at(from.previous()) == term_at(upto.next());
        let others = self.servers.iter().filter(|(other, _)| **other != id);
        let mut others = others.map(|(_, it)| it.lost.as_ref());
        if others.clone().flatten().any(|lost| lost.has_lost_vote) {
            return;
        }
        let is_alone = others.all(|lost| lost.is_none());
        let is_named = self.chance(50) || !(is_one_term || is_alone);
        let lost = self.servers.get_mut(&id).expect("known").lost.get_or_insert_default();
        if !lost.indices.is_empty() && lost.is_named != is_named {
            return;
        }
        lost.is_named = is_named;
        lost.indices.extend(range);
        self.n_damaged += 1;
    }

    /// The end of the log, or only the hard state.
    fn lose_the_end(&mut self, id: ServerId) {
        let voters = self.initial.voters.len();
        let without = |lost: &Lost| lost.has_lost_vote;
        let others = self.servers.iter().filter(|(other, _)| **other != id);
        let n_without = others.filter(|(_, it)| it.lost.as_ref().is_some_and(without)).count();
        // Who takes part with holes may need what this one would lose.
        let has_holes =
            self.servers.values().any(|it| it.lost.as_ref().is_some_and(|l| !l.indices.is_empty()));
        if self.luck.changes || has_holes || n_without + 1 > (voters - 1) / 2 {
            return;
        }
        let remembers =
            |it: ServerId| it != id && !self.servers[&it].lost.as_ref().is_some_and(without);
        if !decides(&self.initial.voters, &self.initial.groups, remembers) {
            return;
        }
        let bits = self.rng.next_u64();
        let server = self.servers.get_mut(&id).expect("known");
        let (first, last) = (server.disk.snapshot.last.index, server.disk.last());
        let lost = server.lost.get_or_insert_default();
        lost.has_lost_vote = true;
        if bits & 1 == 0 {
            let end = Index(first.0 + (bits >> 8) % (last.0 - first.0 + 1));
            lost.end = Some(lost.end.unwrap_or(end).min(end));
        }
        server.disk.hard_state = HardState::default();
        // What it sent goes down with its connections: the other end has noticed.
        self.events.retain(|_, event| match event {
            Event::Message { to, from, .. } => *to != id && *from != id,
            _ => true,
        });
        self.n_damaged += 1;
    }
}
