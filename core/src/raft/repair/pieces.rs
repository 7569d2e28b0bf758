//! The pieces of a damaged log, and how they are put together.
//!
//! Invariant: `whole` names an entry up to which nothing is missing or in doubt. Between a seam and
//! the next hole or seam the entries are of one log.

use std::collections::{BTreeMap, BTreeSet};

use crate::raft::effect::{Damage, SnapshotMeta};
use crate::raft::entry::{Command, SharedEntry};
use crate::raft::log::weight;
use crate::raft::message::Body;
use crate::raft::position::{EntryId, Index, Term};

#[derive(Clone, Debug)]
pub(super) struct Pieces<C> {
    /// What the log begins after.
    meta: SnapshotMeta,
    slots: BTreeMap<Index, SharedEntry<C>>,
    /// Lost entries whose terms are known.
    named: BTreeMap<Index, Term>,
    /// Before each of these something unknown was lost.
    seams: BTreeSet<Index>,
    last: EntryId,
    whole: EntryId,
}

/// How far another's log goes with this one.
enum Fit {
    /// Up to the entry that it names.
    Here,
    /// Not so far: what was here is dropped, and what goes before is to be asked for.
    Lower,
    /// That cannot be.
    Nonsense,
}

impl<C: Command> Pieces<C> {
    pub(super) fn new(meta: SnapshotMeta, entries: &[SharedEntry<C>], damage: Damage<C>) -> Self {
        let Damage { behind, named, seams, last, .. } = damage;
        let all = entries.iter().chain(&behind);
        let slots = all.map(|entry| (entry.id.index, entry.clone())).collect();
        let named = named.into_iter().map(|id| (id.index, id.term)).collect();
        let (last, whole) = (last.max_index(meta.last), meta.last);
        let mut pieces = Pieces { meta, slots, named, seams, last, whole };
        pieces.bridge_all();
        pieces.settle();
        pieces
    }

    /// Two entries of one term are of one leader's log, with all that is between them in that same
    /// term: no doubt is left there, and what is lost has a name.
    fn bridge_all(&mut self) {
        let mut before = self.meta.last;
        let known: Vec<EntryId> = self.slots.values().map(|entry| entry.id).collect();
        for id in known {
            self.bridge(before, id);
            before = id;
        }
        if self.last.index > before.index {
            self.bridge(before, self.last);
        }
    }

    fn bridge(&mut self, before: EntryId, id: EntryId) {
        if before.term != id.term || id.term == Term(0) {
            return;
        }
        for index in before.index.0 + 1..id.index.0 {
            self.named.insert(Index(index), id.term);
        }
        while let Some(seam) = self.seams.range(before.index.next()..=id.index).next().copied() {
            self.seams.remove(&seam);
        }
        if id.index > before.index && !self.slots.contains_key(&id.index) {
            self.named.insert(id.index, id.term);
        }
    }

    /// As [`bridge`](Self::bridge), for what is before the entry at `index`.
    fn bridge_at(&mut self, index: Index) {
        let below = self.slots.range(self.whole.index.next()..index).next_back();
        let before = below.map_or(self.whole, |(_, entry)| entry.id);
        if let Some(id) = self.id_at(index).filter(|id| id.index > before.index) {
            self.bridge(before, id);
        }
    }

    /// Nothing but a state.
    pub(super) fn only(meta: SnapshotMeta) -> Self {
        let (last, whole) = (meta.last, meta.last);
        let (slots, named, seams) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Pieces { meta, slots, named, seams, last, whole }
    }

    /// What the log begins after.
    pub(super) fn base(&self) -> EntryId {
        self.meta.last
    }

    /// The last entry up to which all is whole.
    pub(super) fn whole(&self) -> EntryId {
        self.whole
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole.index >= self.last.index
    }

    /// The whole log.
    pub(super) fn hand_over(&mut self) -> (SnapshotMeta, Vec<SharedEntry<C>>) {
        assert!(self.is_whole(), "nothing is missing");
        (self.meta.clone(), std::mem::take(&mut self.slots).into_values().collect())
    }

    /// Entries behind the first gap that prove what is before them: the first of each piece, and
    /// the very last, ascending.
    pub(super) fn names(&self, most: usize) -> Vec<EntryId> {
        let mut names = Vec::new();
        let mut before = self.whole.index;
        for (index, entry) in self.slots.range(self.whole.index.next()..) {
            if *index != before.next() || self.seams.contains(index) {
                names.push(entry.id);
            }
            if names.len() + 1 >= most {
                break;
            }
            before = *index;
        }
        if self.last.index > self.whole.index && names.last() != Some(&self.last) {
            names.push(self.last);
        }
        names
    }

    /// What is lost or in doubt: the first `most` ranges, and how many entries in all.
    pub(super) fn lost(&self, most: usize) -> (Vec<(Index, Index)>, u64) {
        let (mut ranges, mut n_lost) = (Vec::new(), 0);
        let mut next = self.whole.index.next();
        let mut note = |first: Index, last: Index| {
            n_lost += last.0 - first.0 + 1;
            if ranges.len() < most {
                ranges.push((first, last));
            }
        };
        for index in self.slots.range(next..).map(|(index, _)| *index) {
            if index > next {
                note(next, index.previous());
            }
            next = index.next();
        }
        if next <= self.last.index {
            note(next, self.last.index);
        }
        (ranges, n_lost)
    }

    /// Takes what another has found; whether it was of use.
    pub(super) fn take(
        &mut self,
        after: EntryId,
        name: EntryId,
        matched: Option<EntryId>,
        entries: Vec<SharedEntry<C>>,
    ) -> bool {
        let is_current = after == self.whole && self.has(name) && name.index > after.index;
        let Some((first, last)) = ends(&entries, name).filter(|_| is_current) else { return false };
        match matched {
            Some(matched) if matched.index.next() != first || matched.index > after.index => {
                return false;
            }
            Some(matched) => match self.fit(matched) {
                Fit::Nonsense => return false,
                Fit::Lower => return true,
                Fit::Here => {}
            },
            None if first <= after.index || !self.is_news(&entries) => return false,
            // Whether what is before it is of the same log is still to be asked.
            None => drop(self.seams.insert(first)),
        }
        let old = self.id_at(last);
        for entry in entries {
            if entry.id.index > first {
                self.seams.remove(&entry.id.index);
            } else if matched.is_some() {
                self.seams.remove(&first);
            }
            self.named.remove(&entry.id.index);
            self.slots.insert(entry.id.index, entry);
        }
        self.join(old, last, name);
        self.bridge_at(first);
        self.bridge_at(last.next());
        self.settle();
        true
    }

    /// Whether one of `entries` is not here yet.
    fn is_news(&self, entries: &[SharedEntry<C>]) -> bool {
        entries.iter().any(|new| self.slots.get(&new.id.index).is_none_or(|it| it.id != new.id))
    }

    /// The entry at `matched.index` of the log that is looked for is `matched`: drops what
    /// contradicts that.
    fn fit(&mut self, matched: EntryId) -> Fit {
        let base = self.meta.last;
        if matched.index < base.index || (matched.index == base.index && matched != base) {
            // Nobody's log contradicts what is agreed.
            return Fit::Nonsense;
        }
        let fits = self.id_at(matched.index) == Some(matched);
        let keep = if fits { matched.index } else { matched.index.previous() };
        let doubtful = self.slots.range(keep.next()..self.whole.index.next());
        let doubtful: Vec<Index> = doubtful.map(|(index, _)| *index).collect();
        for index in doubtful {
            self.slots.remove(&index);
            self.named.remove(&index);
        }
        self.whole = self.id_at(keep).unwrap_or(base);
        if fits { Fit::Here } else { Fit::Lower }
    }

    /// Entries up to `last` are of the log of `name`, where `old` was at `last`: whether what
    /// follows is, too.
    fn join(&mut self, old: Option<EntryId>, last: Index, name: EntryId) {
        let next = last.next();
        if next > name.index || !self.slots.contains_key(&next) {
            return;
        }
        let was_doubtful = self.seams.remove(&next);
        let is_proven = self.piece_start(name.index).is_some_and(|start| start <= next);
        if !is_proven && (was_doubtful || old != self.id_at(last)) {
            self.seams.insert(next);
        }
    }

    /// A state up to `meta.last` was agreed on: it stands for everything up to there, and for what
    /// contradicts it.
    pub(super) fn rebase(&mut self, meta: SnapshotMeta) {
        let last = meta.last;
        if last.index <= self.meta.last.index {
            return;
        }
        let is_other = self.id_at(last.index).is_some_and(|id| id != last);
        if is_other || self.last.index <= last.index {
            *self = Pieces::only(meta);
            return;
        }
        self.slots = self.slots.split_off(&last.index.next());
        self.named = self.named.split_off(&last.index.next());
        // What follows an entry that is agreed on was appended to that, or is never agreed on.
        self.seams = self.seams.split_off(&last.index.next().next());
        (self.meta, self.whole) = (meta, last);
        self.settle();
    }

    /// What this log has for one that has lost what comes after `after`.
    pub(super) fn answer(
        &self,
        after: EntryId,
        names: &[EntryId],
        max_bytes: usize,
    ) -> Option<Body<C>> {
        let is_here =
            |name: &&EntryId| name.index > after.index && self.id_at(name.index) == Some(**name);
        let name = *names.iter().find(is_here)?;
        let start = self.piece_start(name.index)?;
        let base = self.meta.last;
        let below = self.slots.range(start..start.max(after.index.next()));
        let in_piece = below.map(|(_, entry)| entry.id).rfind(|id| id.term <= after.term);
        let is_from_base = start == base.index.next()
            && base.index <= after.index
            && base.term <= after.term
            && !self.seams.contains(&start);
        let matched = in_piece.or_else(|| is_from_base.then_some(base));
        let wanted = matched.map_or(start.max(after.index.next()), |id| id.index.next());
        let first = *self.slots.range(wanted..=name.index).next()?.0;
        let matched = matched.filter(|_| first == wanted);
        let (mut entries, mut n_bytes) = (Vec::new(), 0usize);
        for (next, (index, entry)) in (first.0..).zip(self.slots.range(first..=name.index)) {
            n_bytes = n_bytes.saturating_add(weight(entry));
            if index.0 != next || (!entries.is_empty() && n_bytes > max_bytes) {
                break;
            }
            entries.push(entry.clone());
        }
        Some(Body::Found { after, name, matched, entries })
    }

    /// Where the piece begins in which the entry at `index` is; `None` if nothing is known of it.
    fn piece_start(&self, index: Index) -> Option<Index> {
        let is_known =
            |index: &Index| self.slots.contains_key(index) || self.named.contains_key(index);
        let mut start = Some(index).filter(is_known)?;
        while !self.seams.contains(&start) && is_known(&start.previous()) {
            start = start.previous();
        }
        Some(start)
    }

    fn has(&self, name: EntryId) -> bool {
        name == self.last
            || self.id_at(name.index) == Some(name)
            || self.named.get(&name.index) == Some(&name.term)
    }

    fn id_at(&self, index: Index) -> Option<EntryId> {
        if index == self.meta.last.index {
            return Some(self.meta.last);
        }
        let named = || self.named.get(&index).map(|&term| EntryId { term, index });
        self.slots.get(&index).map(|entry| entry.id).or_else(named)
    }

    /// Moves `whole` on.
    fn settle(&mut self) {
        for (index, entry) in self.slots.range(self.whole.index.next()..) {
            if *index != self.whole.index.next() || self.seams.contains(index) {
                break;
            }
            self.whole = entry.id;
        }
    }
}

impl EntryId {
    /// The one with the greater index.
    fn max_index(self, other: EntryId) -> EntryId {
        if self.index >= other.index { self } else { other }
    }
}

/// The first and the last index of `entries`, if they can be predecessors of `name`, or end with
/// it.
fn ends<C>(entries: &[SharedEntry<C>], name: EntryId) -> Option<(Index, Index)> {
    let (first, last) = (entries.first()?.id, entries.last()?.id);
    let follows = |pair: &[SharedEntry<C>]| {
        pair[0].id.index.next() == pair[1].id.index && pair[0].id.term <= pair[1].id.term
    };
    let is_before = last.index < name.index && last.term <= name.term;
    let can_be = entries.windows(2).all(follows) && (is_before || last == name);
    can_be.then_some((first.index, last.index))
}
