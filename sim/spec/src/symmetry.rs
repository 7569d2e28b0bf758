//! Servers by other names: states that differ in nothing else are one state.
//!
//! Invariant: renaming and taking a renamed action is the same as taking it and renaming.

use crate::log::{Entry, Log, Membership, Servers};
use crate::said::Said;
use crate::server::{Disk, Server, Tip, Write};
use crate::state::State;

/// New names: the server `n` becomes `names[n]`.
type Names<'a> = &'a [usize];

impl State {
    /// The same state by other names.
    pub fn renamed(&self, names: &[usize]) -> State {
        assert_eq!(names.len(), self.servers.len(), "every server has a name");
        let mut servers = vec![Server::default(); names.len()];
        for (old, state) in self.servers.iter().enumerate() {
            servers[names[old]] = server(state, names);
        }
        State { initial: membership(self.initial, names), servers, said: said(&self.said, names) }
    }
}

fn server(state: &Server, names: Names) -> Server {
    let Tip { term, vote, last } = state.asked;
    Server {
        vote: state.vote.map(|to| names[to]),
        log: log(&state.log, names),
        asked: Tip { term, vote: vote.map(|to| names[to]), last },
        pending: state.pending.iter().map(|write| self::write(*write, names)).collect(),
        checkpoint: state.checkpoint.as_ref().map(|snapshot| log(snapshot, names)),
        disk: Disk {
            term: state.disk.term,
            vote: state.disk.vote.map(|to| names[to]),
            log: log(&state.disk.log, names),
            snapshot: log(&state.disk.snapshot, names),
        },
        formed: state.formed.clone(),
        ..*state
    }
}

fn write(write: Write, names: Names) -> Write {
    match write {
        Write::Hard(term, vote) => Write::Hard(term, vote.map(|to| names[to])),
        Write::Append(one) => Write::Append(entry(one, names)),
        Write::Reset(_) | Write::Cut(_) => write,
    }
}

fn said(said: &Said, names: Names) -> Said {
    let mut renamed = Said {
        requests: said.requests.iter().map(|(&(t, s), &last)| ((t, names[s]), last)).collect(),
        votes: said.votes.iter().map(|&(t, from, to)| (t, names[from], names[to])).collect(),
        ledgers: said.ledgers.clone(),
        acks: said.acks.iter().map(|(&(t, s), &ack)| ((t, names[s]), ack)).collect(),
        answers: said.answers.iter().map(|(&(t, s), &round)| ((t, names[s]), round)).collect(),
        asks: said.asks.clone(),
        agreed: said.agreed.iter().map(|&(one, term)| (entry(one, names), term)).collect(),
        violation: said.violation,
    };
    for ledger in renamed.ledgers.values_mut() {
        ledger.leader = names[ledger.leader];
        ledger.log = log(&ledger.log, names);
    }
    renamed
}

fn log(log: &Log, names: Names) -> Log {
    let mut renamed = Log::default();
    log.entries().iter().for_each(|&one| renamed.push(entry(one, names)));
    renamed
}

fn entry(entry: Entry, names: Names) -> Entry {
    Entry { change: entry.change.map(|change| membership(change, names)), ..entry }
}

fn membership(one: Membership, names: Names) -> Membership {
    let rename = |set: Servers| {
        Servers::of(names.iter().enumerate().filter(|(old, _)| set.has(*old)).map(|(_, new)| *new))
    };
    Membership {
        voters: rename(one.voters),
        outgoing: rename(one.outgoing),
        groups: one.groups.renamed(names),
        outgoing_groups: one.outgoing_groups.renamed(names),
    }
}
