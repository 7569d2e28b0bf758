//! All that can happen next, within bounds: for a model checker.
//!
//! What would be seen in no other way than by more states is left out:
//! - Whatever may be said is said at once: it is on record from then on and may be heard as late as
//!   one likes.
//! - A disk is slow only where the power may still be cut; a write that is done late elsewhere is
//!   a word that is heard late. A power cut comes between two writes, since writes are single.
//! - A term is entered for something: to vote, to stand for election, or to follow its leader.
//! - Servers that differ only by name are not told apart.

use crate::action::{Action, Broken};
use crate::groups::Groups;
use crate::log::{Membership, Servers};
use crate::server::{Role, Server, Write};
use crate::state::State;

/// How far to look.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Servers. Those that are neither named in `fragile` nor singled out by `voters`, `changes`,
    /// `candidates` or their groups are alike.
    pub servers: usize,
    /// Who votes at first.
    pub voters: Servers,
    /// Who may stand for election in each term, from the first on. No terms beyond.
    pub candidates: Vec<Servers>,
    /// Entries that a log may have.
    pub entries: usize,
    /// Power cuts.
    pub crashes: usize,
    /// Servers whose power may be cut.
    pub fragile: Servers,
    /// Read barriers asked for.
    pub reads: usize,
    /// Rounds of one leader.
    pub rounds: u64,
    /// Whether there are snapshots.
    pub snapshots: bool,
    /// Voters to change to.
    pub changes: Vec<Servers>,
    /// The groups at first.
    pub groups: Groups,
    /// Groups to change to, without a change of the voters.
    pub regroups: Vec<Groups>,
    /// Whether votes of a term that was left are still told.
    pub late_votes: bool,
}

impl Bounds {
    /// `servers` servers, all voters, all candidates in each of `terms` terms, with logs of at most
    /// `entries` entries; no crashes, reads, snapshots or changes.
    pub fn new(servers: usize, terms: usize, entries: usize) -> Self {
        let all = Servers::of(0..servers);
        Bounds {
            servers,
            voters: all,
            candidates: vec![all; terms],
            entries,
            crashes: 0,
            fragile: Servers::default(),
            reads: 0,
            rounds: 0,
            snapshots: false,
            changes: Vec::new(),
            groups: Groups::default(),
            regroups: Vec::new(),
            late_votes: false,
        }
    }

    /// The same, with power cuts at server 0. Which one it is does not matter.
    #[must_use]
    pub fn with_crashes(self, crashes: usize) -> Self {
        Bounds { crashes, fragile: Servers::of([0]), ..self }
    }

    /// All names for the servers that keep apart those that are not alike, the present ones first.
    fn names(&self) -> Vec<Vec<usize>> {
        let mut sets = vec![self.voters, self.fragile];
        sets.extend(self.candidates.iter().chain(&self.changes));
        let systems = || [self.groups].into_iter().chain(self.regroups.iter().copied());
        let kind = |server: usize| {
            let sets: Vec<bool> = sets.iter().map(|set| set.has(server)).collect();
            let places: Vec<(u64, u64)> = systems().map(|groups| groups.place(server)).collect();
            (sets, places)
        };
        let mut all = vec![Vec::new()];
        for server in 0..self.servers {
            let longer = |names: Vec<usize>| {
                let free = (0..self.servers).filter(|name| kind(*name) == kind(server));
                let free: Vec<usize> = free.filter(|name| !names.contains(name)).collect();
                free.into_iter().map(move |name| [names.as_slice(), &[name]].concat())
            };
            all = all.into_iter().flat_map(longer).collect();
        }
        all
    }
}

/// A state, and how many power cuts led to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The ensemble.
    pub state: State,
    /// Power cuts so far.
    pub crashes: usize,
}

/// The rules, or what is left of them, within bounds.
#[derive(Clone, Debug)]
pub struct Space {
    bounds: Bounds,
    broken: Option<Broken>,
    names: Vec<Vec<usize>>,
}

impl Space {
    /// All within `bounds`, without the rule that is `broken`.
    pub fn new(bounds: Bounds, broken: Option<Broken>) -> Self {
        let names = bounds.names();
        Space { bounds, broken, names }
    }

    /// How far it goes.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Where all begins.
    pub fn start(&self) -> Node {
        let initial =
            Membership { groups: self.bounds.groups, ..Membership::of(self.bounds.voters) };
        Node { state: State::new(self.bounds.servers, initial), crashes: 0 }
    }

    /// What may happen next. Some of it the rules will refuse.
    pub fn actions(&self, node: &Node) -> Vec<Action> {
        let mut actions = Vec::new();
        if node.state.said.violation.is_some() {
            return actions;
        }
        for (server, state) in node.state.servers.iter().enumerate() {
            if !state.up {
                actions.push(Action::Restart { server });
                continue;
            }
            self.elections(&node.state, server, &mut actions);
            self.entries(&node.state, server, &mut actions);
            self.disks(node, server, &mut actions);
            self.reads(&node.state, server, &mut actions);
        }
        if node.state.said.asks.len() < self.bounds.reads {
            actions.push(Action::Ask);
        }
        actions
    }

    /// The state after `action`, if that is allowed and changes anything.
    pub fn next(&self, node: &Node, action: &Action) -> Option<Node> {
        let mut next = node.clone();
        self.enter(&mut next.state, action)?;
        next.state.take(action, self.broken).ok()?;
        next.crashes += usize::from(matches!(action, Action::Crash { .. }));
        if let Some(server) = action.server().filter(|&server| next.state.servers[server].up) {
            let writes = writes(&next.state.servers[server], self.broken);
            next.state.take(&Action::Flush { server, writes }, self.broken).ok()?;
        }
        for server in 0..self.bounds.servers {
            if next.crashes == self.bounds.crashes || !self.bounds.fragile.has(server) {
                let writes = next.state.servers[server].pending.len();
                // A server that is down has nothing under way.
                let _ = next.state.take(&Action::Sync { server, writes }, None);
            }
        }
        self.say_all(&mut next.state);
        if next == *node {
            return None;
        }
        let renamed = self.names[1..].iter().map(|names| next.state.renamed(names)).min();
        if let Some(least) = renamed.filter(|least| *least < next.state) {
            next.state = least;
        }
        Some(next)
    }

    /// Enters the term before the one that `action` opens, or the one that it acts in.
    fn enter(&self, ensemble: &mut State, action: &Action) -> Option<()> {
        let (server, term) = match *action {
            Action::Campaign { server, term } => (server, term - 1),
            Action::Accept { server, term, .. } => (server, term),
            _ => return Some(()),
        };
        if term > ensemble.servers[server].term {
            ensemble.take(&Action::Adopt { server, term }, self.broken).ok()?;
        }
        Some(())
    }

    fn elections(&self, ensemble: &State, server: usize, actions: &mut Vec<Action>) {
        let state = &ensemble.servers[server];
        for (term, candidates) in (1..).zip(&self.bounds.candidates) {
            if term > state.term && candidates.has(server) {
                actions.push(Action::Campaign { server, term });
            }
        }
        for &(term, to) in ensemble.said.requests.keys() {
            actions.push(Action::Vote { server, term, to });
            if self.bounds.late_votes && term < state.disk.term {
                actions.push(Action::Grant { server, term, to });
            }
        }
        if state.role == Role::Candidate && state.log.len() < self.bounds.entries {
            actions.push(Action::Win { server });
        }
    }

    fn entries(&self, ensemble: &State, server: usize, actions: &mut Vec<Action>) {
        let state = &ensemble.servers[server];
        if state.role == Role::Leader && state.log.len() < self.bounds.entries {
            actions.push(Action::Propose { server, change: None });
            for change in self.changes(ensemble, state) {
                actions.push(Action::Propose { server, change: Some(change) });
            }
        }
        if state.role == Role::Leader {
            for upto in state.commit + 1..=state.log.len() {
                actions.push(Action::Commit { server, upto });
            }
        }
        for (&term, ledger) in &ensemble.said.ledgers {
            if term <= state.term {
                for upto in state.commit + 1..=ledger.commit {
                    actions.push(Action::Learn { server, term, upto });
                }
            }
            if term >= state.term {
                let common = state.log.common(&ledger.log);
                for upto in 0..=ledger.log.len() {
                    let previous = common.min(upto);
                    actions.push(Action::Accept { server, term, previous, upto });
                }
            }
        }
    }

    fn changes(&self, ensemble: &State, state: &Server) -> Vec<Membership> {
        let (_, present) = state.log.membership(ensemble.initial, state.log.len());
        if present.is_joint() {
            return vec![present.settled()];
        }
        let voters = self.bounds.changes.iter().filter(|&&voters| voters != present.voters);
        let voters = voters.map(|&voters| Membership { voters, ..present });
        let groups = self.bounds.regroups.iter().filter(|&&groups| groups != present.groups);
        let groups = groups.map(|&groups| Membership { groups, ..present });
        let next = voters.chain(groups);
        next.map(|next| match self.broken {
            Some(Broken::ChangeInOneStep) => next,
            _ => present.joint(next),
        })
        .collect()
    }

    fn disks(&self, node: &Node, server: usize, actions: &mut Vec<Action>) {
        let state = &node.state.servers[server];
        if !state.pending.is_empty() {
            actions.push(Action::Sync { server, writes: 1 });
        }
        if node.crashes < self.bounds.crashes && self.bounds.fragile.has(server) {
            actions.push(Action::Crash { server, writes: 0, snapshot: false });
        }
        if !self.bounds.snapshots {
            return;
        }
        if state.checkpoint.is_some() {
            actions.push(Action::Checkpointed { server });
        } else {
            for upto in state.disk.snapshot.len() + 1..=state.commit {
                actions.push(Action::Checkpoint { server, upto, term: None });
            }
            for (&term, ledger) in node.state.said.ledgers.range(..=state.term) {
                for upto in state.commit + 1..=ledger.commit {
                    actions.push(Action::Checkpoint { server, upto, term: Some(term) });
                }
            }
        }
        for upto in state.commit + 1..=state.disk.snapshot.len() {
            actions.push(Action::Install { server, upto });
        }
    }

    fn reads(&self, ensemble: &State, server: usize, actions: &mut Vec<Action>) {
        let state = &ensemble.servers[server];
        if state.role != Role::Leader || self.bounds.reads == 0 {
            return;
        }
        let Some(ledger) = ensemble.said.ledgers.get(&state.term) else { return };
        let next = ledger.rounds.len() as u64 + 1;
        if next <= self.bounds.rounds {
            actions.push(Action::Begin { server, round: next });
        }
        for ask in 0..ensemble.said.asks.len() {
            for index in 0..=state.commit {
                actions.push(Action::Readable { server, ask, index });
            }
        }
    }

    /// Everybody says all that it may say.
    fn say_all(&self, ensemble: &mut State) {
        for server in 0..ensemble.servers.len() {
            let state = &ensemble.servers[server];
            if !state.up {
                continue;
            }
            let (term, last) = (state.term, state.log.last());
            let mut words = Vec::new();
            match (state.role, state.vote) {
                (Role::Candidate, _) => words.push(Action::Request { server, term, last }),
                (Role::Follower, Some(to)) if to != server => {
                    words.push(Action::Grant { server, term, to });
                }
                _ => {}
            }
            if let Some(ledger) = ensemble.said.ledgers.get(&term) {
                let received = state.log.common(&ledger.log);
                let durable = match self.broken {
                    Some(Broken::AckBeforeDurable) => received,
                    _ => state.disk.match_with(&ledger.log).min(received),
                };
                words.push(Action::Acknowledge { server, term, received, durable });
                if let Some((&round, _)) = ledger.rounds.last_key_value() {
                    words.push(Action::Answer { server, term, round });
                }
            }
            for word in words {
                // What may not be said yet is said later.
                let _ = ensemble.take(&word, self.broken);
            }
        }
    }
}

/// The writes that bring the disk to what is in memory.
fn writes(state: &Server, broken: Option<Broken>) -> Vec<Write> {
    let mut asked = state.disk.clone();
    state.pending.iter().for_each(|&write| asked.make(write));
    let mut writes = Vec::new();
    if (asked.term, asked.vote) != (state.term, state.vote) {
        writes.push(Write::Hard(state.term, state.vote));
    }
    let same = asked.log.common(&state.log);
    let covered = asked.snapshot.common(&state.log);
    let keep = if covered > same {
        writes.push(Write::Reset(covered));
        covered
    } else {
        if asked.log.len() > same {
            writes.push(Write::Cut(same));
        }
        same
    };
    let entries = (keep + 1..=state.log.len()).filter_map(|index| state.log.entry(index));
    writes.extend(entries.map(Write::Append));
    if broken == Some(Broken::LogBeforeHardState) {
        let first = usize::from(matches!(writes.first(), Some(Write::Hard(..))));
        writes.rotate_left(first);
    }
    writes
}

/// Whether two logs that have an entry in common are the same up to there (Raft, figure 3).
pub fn logs_match(ensemble: &State) -> bool {
    let of_server = ensemble.servers.iter().flat_map(|state| [&state.log, &state.disk.log]);
    let logs: Vec<_> = of_server.chain(ensemble.said.ledgers.values().map(|l| &l.log)).collect();
    logs.iter().enumerate().all(|(n, one)| {
        logs[..n].iter().all(|other| {
            let common = one.common(other);
            (common + 1..=one.len().min(other.len())).all(|index| !one.agrees(other, index))
        })
    })
}
