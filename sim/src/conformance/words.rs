//! The core's words in those of the model.

use zokor_core::db::Txn;
use zokor_core::raft::{self, EntryId, HardState, Payload, Persist, SharedEntry};
use zokor_spec::{Entry, Groups, Id, Membership, Term, Write};

use super::{number, set};

pub(super) fn id(id: EntryId) -> Id {
    Id { term: id.term.0, index: id.index.0 as usize }
}

pub(super) fn hard(hard_state: HardState) -> (Term, Option<usize>) {
    (hard_state.term.0, hard_state.vote.map(number))
}

pub(super) fn membership(of: &raft::Membership) -> Membership {
    Membership {
        voters: set(of.voters.iter()),
        outgoing: set(of.outgoing.iter()),
        groups: groups(&of.groups),
        outgoing_groups: groups(&of.outgoing_groups),
    }
}

/// The worlds draw groups from 1 to 3, and weights to 3.
fn groups(of: &zokor_core::groups::Groups) -> Groups {
    let places = of.iter().flat_map(|(group, members)| {
        members.iter().map(move |(server, weight)| (number(*server), group, *weight))
    });
    Groups::of(places)
}

pub(super) fn change(entry: &SharedEntry<Txn>) -> Option<Membership> {
    match &entry.payload {
        Payload::Membership(set) => Some(membership(set)),
        Payload::Blank | Payload::Command(_) => None,
    }
}

/// The writes that `persist` asks for, in the order in which the disk does them.
pub(super) fn writes(persist: &Persist<Txn>) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(hard_state) = persist.hard_state {
        let (term, vote) = hard(hard_state);
        writes.push(Write::Hard(term, vote));
    }
    if let Some(meta) = &persist.reset {
        writes.push(Write::Reset(meta.last.index.0 as usize));
    }
    if let Some(index) = persist.truncate_after {
        writes.push(Write::Cut(index.0 as usize));
    }
    let entries = persist.append.iter();
    writes.extend(
        entries.map(|entry| Write::Append(Entry { term: entry.id.term.0, change: change(entry) })),
    );
    writes
}
