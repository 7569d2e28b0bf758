//! Whether what servers do is allowed by the model of the protocol.
//!
//! The stepped world shows every input, every poll and every power cut. From these [`derive`] reads
//! the actions of the model, one by one, and the model takes them or refuses. What the model then
//! holds to be in memory and on disk must be what is there.
//!
//! Nothing here asks the core for anything: inputs, outputs and the numbers that a server tells are
//! enough.

mod derive;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zokor_core::id::ServerId;
use zokor_core::raft::{self, Body, EntryId, ReadToken, Ticket};
use zokor_core::replica::Message;
use zokor_core::{Input, replica};
use zokor_spec::{Action, Entry, Servers, State, Term};

use crate::check::{Verdict, Violation};
use crate::world::disk::Disk;

/// The model, and what is needed to follow a run with it.
#[derive(Debug)]
pub struct Conformance {
    model: State,
    servers: Vec<Followed>,
    /// The reads asked for, in the order in which the model counts them.
    asks: BTreeMap<(usize, ReadToken), usize>,
    /// Actions taken.
    actions: u64,
    /// What a power cut showed to be wrong, to be told when the server starts again.
    found: Option<Violation>,
}

/// What is remembered of one server.
#[derive(Debug, Default)]
struct Followed {
    /// What leaders said since the last poll: the term, and the last index of an append.
    appends: Vec<(Term, usize)>,
    /// Snapshots that are durable since the last poll: the last index.
    durable: Vec<usize>,
    /// Writes of each ticket under way.
    tickets: VecDeque<(Ticket, usize)>,
    /// Reads that were answered before the last index of this poll was proposed: by whom asked.
    answered: BTreeSet<(usize, ReadToken)>,
    /// The last index in the snapshot that is being written.
    checkpoint: usize,
}

impl Conformance {
    /// `count` servers that have not started yet; their configuration names `initial`.
    pub fn new(count: u64, initial: &raft::Membership) -> Self {
        let mut model = State::new(count as usize, set(initial.voters.iter()));
        model.servers.iter_mut().for_each(|server| server.up = false);
        let servers = (0..count).map(|_| Followed::default()).collect();
        Conformance { model, servers, asks: BTreeMap::new(), actions: 0, found: None }
    }

    /// All disks begin with a snapshot that ends with `first`, and so many entries of its term.
    pub fn begin(&mut self, first: EntryId, entries: u64) {
        for server in &mut self.model.servers {
            server.disk.term = first.term.0;
            let log = &mut server.disk.log;
            for _ in 0..first.index.0 + entries {
                log.push(Entry { term: first.term.0, change: None });
            }
            server.disk.snapshot = log.prefix(first.index.0 as usize);
        }
    }

    /// How many actions the model has taken.
    pub fn actions(&self) -> u64 {
        self.actions
    }

    /// The model takes `action`.
    ///
    /// # Errors
    /// If it refuses, or the action shows that a property does not hold.
    pub fn take(&mut self, action: Action) -> Verdict {
        let refusal = self.model.take(&action, None).err();
        match refusal.or(self.model.said.violation) {
            None => {
                self.actions += 1;
                Ok(())
            }
            Some(why) => Err(self.refused(&format!("{action:?}: {why}"), action.server())),
        }
    }

    /// A server starts with what is on its disk.
    ///
    /// # Errors
    /// If the model does not allow it, or would not have left on disk what is there.
    pub fn starts(&mut self, server: ServerId) -> Verdict {
        self.found.take().map_or(Ok(()), Err)?;
        self.servers[number(server)] = Followed::default();
        self.take(Action::Restart { server: number(server) })
    }

    /// A server takes something in.
    ///
    /// # Errors
    /// If the model does not allow what follows at once.
    pub fn input(&mut self, server: ServerId, input: &Input) -> Verdict {
        let server = number(server);
        let followed = &mut self.servers[server];
        match input {
            Input::Message { message: Message::Raft(message), .. } => {
                if let Body::Append { previous, entries, .. } = &message.body {
                    let last = entries.last().map_or(*previous, |entry| entry.id);
                    followed.appends.push((message.term.0, last.index.0 as usize));
                } else if let Body::Heartbeat { .. } = &message.body {
                    followed.appends.push((message.term.0, 0));
                }
                Ok(())
            }
            // It is followed like a heartbeat: what it is answered is said in its term.
            Input::Message { message: Message::Snapshot { term, .. }, .. } => {
                followed.appends.push((term.0, 0));
                Ok(())
            }
            Input::Persisted { ticket } => {
                let mut writes = 0;
                while let Some((_, more)) = followed.tickets.pop_front_if(|(t, _)| *t <= *ticket) {
                    writes += more;
                }
                self.take(Action::Sync { server, writes })
            }
            Input::Checkpointed { .. } => {
                followed.durable.push(followed.checkpoint);
                self.take(Action::Checkpointed { server })
            }
            _ => Ok(()),
        }
    }

    /// The power of a server was cut; `disk` is what it has left.
    pub fn crashed(&mut self, server: ServerId, disk: &Disk) {
        let verdict = self.loses_power(server, disk);
        self.found = self.found.take().or(verdict.err());
    }

    /// However much of what was under way was done, it must lead to what is left.
    fn loses_power(&mut self, server: ServerId, disk: &Disk) -> Verdict {
        let number = number(server);
        let state = &self.model.servers[number];
        let real = disk.durable();
        let wanted = (words::hard(real.hard_state), words::id(real.log.last()));
        let covered = disk.snapshot().map_or(0, |snapshot| snapshot.meta.last.index.0 as usize);
        let snapshot = state.disk.snapshot.len() != covered && state.checkpoint.is_some();
        let mut left = state.disk.clone();
        for writes in 0..=state.pending.len() {
            let last = left.log.last();
            // A log that does not go on after its snapshot is dropped for it at the start.
            let is_dropped = wanted.1.index == covered && last != wanted.1;
            if (left.term, left.vote) == wanted.0 && (last == wanted.1 || is_dropped) {
                self.take(Action::Crash { server: number, writes, snapshot })?;
                // Damage may have cost the newest snapshot; whether it may is judged elsewhere.
                let kept = &mut self.model.servers[number].disk.snapshot;
                *kept = kept.prefix(covered.min(kept.len()));
                return Ok(());
            }
            if let Some(&write) = state.pending.get(writes) {
                left.make(write);
            }
        }
        Err(self.refused(&format!("its power is cut and {wanted:?} is left on disk"), Some(number)))
    }

    /// After a poll: the numbers that a server tells are those of the model.
    fn compare(&self, server: usize, stats: &replica::Stats) -> Verdict {
        let state = &self.model.servers[server];
        let leads = state.role == zokor_spec::Role::Leader;
        let modelled = (state.term, leads, state.commit);
        let told = stats.role == raft::Role::Leader;
        let told = (stats.term.0, told, stats.commit.0 as usize);
        if modelled == told {
            return Ok(());
        }
        let what = format!("(term, leads, commit) are {told:?}, by the model {modelled:?}");
        Err(self.refused(&what, Some(server)))
    }

    pub(super) fn refused(&self, what: &str, server: Option<usize>) -> Violation {
        let state = server.and_then(|server| Some((server, self.model.servers.get(server)?)));
        let state = state.map_or(String::new(), |(server, state)| {
            format!(
                "; server {}: {:?} of term {}, vote {:?}, log to {:?}, commit {}, {} writes under \
                 way, disk: term {}, vote {:?}, log to {:?}, snapshot to {:?}",
                server + 1,
                state.role,
                state.term,
                state.vote.map(|to| to + 1),
                state.log.last(),
                state.commit,
                state.pending.len(),
                state.disk.term,
                state.disk.vote.map(|to| to + 1),
                state.disk.log.last(),
                state.disk.snapshot.last(),
            )
        });
        let sentence = format!("action {}: {what}{state}", self.actions + 1);
        Violation { check: "the model of the protocol allows it", sentence }
    }
}

/// The model's number of a server.
fn number(server: ServerId) -> usize {
    (server.0 - 1) as usize
}

fn set<'a>(servers: impl Iterator<Item = &'a ServerId>) -> Servers {
    Servers::of(servers.map(|server| number(*server)))
}

#[cfg(test)]
mod tests;
