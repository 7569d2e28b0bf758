//! The actions that one poll of a server amounts to.
//!
//! Several inputs may lie between two polls, and what a server writes is the sum of what they did.
//! The actions are put into an order that leads to the same sum: first what it did in the term that
//! it was in, then each later term that it followed somebody in, then the last one. All of them
//! come before anything that it says in the new term.

use std::collections::BTreeSet;

use zokor_core::Output;
use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{self, Body, Persist};
use zokor_core::replica::{Message, Stats};
use zokor_spec::{Action, Id, Role, Term};

use super::{Conformance, number, words};
use crate::check::Verdict;

impl Conformance {
    /// A server was polled: it tells `stats` and wishes for `outputs`, which have not been carried
    /// out yet.
    ///
    /// # Errors
    /// If the model does not allow it, or holds other numbers to be true.
    pub fn polled(&mut self, server: ServerId, stats: &Stats, outputs: &[Output]) -> Verdict {
        if self.is_left {
            return Ok(());
        }
        let server = number(server);
        let commit = stats.commit.0 as usize;
        let before = self.model.servers[server].term;
        let leaves = stats.term.0 > before;
        self.commit_if_leading(server, commit);
        if leaves {
            for output in outputs {
                if let Output::Persist(persist) = output {
                    self.accepts(server, before, persist)?;
                }
            }
            self.takes_early(server, outputs, before)?;
            self.say(server, outputs, |term| term <= before)?;
            self.take(Action::Form { server })?;
        }
        self.answers_early(server, outputs)?;
        for output in outputs {
            if let Output::Persist(persist) = output {
                self.persists(server, persist)?;
            }
        }
        for upto in std::mem::take(&mut self.servers[server].durable) {
            self.take(Action::Install { server, upto })?;
        }
        self.servers[server].appends.clear();
        let state = &self.model.servers[server];
        let led =
            (state.role == Role::Leader && stats.role != raft::Role::Leader).then_some(state.term);
        if let Some(led) = led {
            self.commit_if_leading(server, commit);
            // It may have begun rounds and answered reads before.
            self.say(server, outputs, |term| term == led)?;
            self.take(Action::StepDown { server })?;
        }
        self.commits(server, commit)?;
        self.take(Action::Flush { server, writes: Vec::new() })?;
        self.compare(server, stats)?;
        self.say(server, outputs, |term| (!leaves || term > before) && led != Some(term))?;
        self.servers[server].answered.clear();
        for output in outputs {
            if let Output::Checkpoint { snapshot, .. } = output {
                self.checkpoints(server, words::id(snapshot.meta.last))?;
            }
        }
        Ok(())
    }

    /// A round begins, unless it has.
    fn begins(&mut self, server: usize, term: Term, round: u64) -> Verdict {
        let begun = self.model.said.ledgers.get(&term);
        let last = begun.and_then(|ledger| ledger.rounds.last_key_value());
        let is_known = last.map_or(0, |(&last, _)| last) >= round;
        if is_known || self.model.servers[server].term != term {
            return Ok(());
        }
        self.take(Action::Begin { server, round })
    }

    /// A leader that changes the membership may have answered reads by the one before. Those that
    /// this does not allow are judged by the new one, with all that it says.
    fn answers_early(&mut self, server: usize, outputs: &[Output]) -> Verdict {
        let changes = outputs.iter().any(|output| match output {
            Output::Persist(persist) => {
                persist.append.iter().any(|entry| words::change(entry).is_some())
            }
            _ => false,
        });
        if !changes || self.model.servers[server].role != Role::Leader {
            return Ok(());
        }
        for output in outputs {
            let Output::Send { to, message: Message::Raft(message) } = output else { continue };
            match message.body {
                Body::Heartbeat { round, .. } => self.begins(server, message.term.0, round)?,
                Body::ReadIndexReply { token, index: Some(index) } => {
                    let to = number(*to);
                    let ask = self.asks.get(&(to, token)).copied().unwrap_or(usize::MAX);
                    let index = index.0 as usize;
                    if self.model.take(&Action::Readable { server, ask, index }, None).is_ok() {
                        self.servers[server].answered.insert((to, token));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What it acknowledges in the term that it leaves may rest on a snapshot that it installed
    /// before it left, or on entries that a later leader had it cut off before it wrote them. To
    /// install a snapshot once more below changes nothing.
    fn takes_early(&mut self, server: usize, outputs: &[Output], before: Term) -> Verdict {
        let acknowledged = outputs.iter().filter_map(|output| match output {
            Output::Send { message: Message::Raft(message), .. } if message.term.0 <= before => {
                match message.body {
                    Body::AppendReply { received, .. } => Some(received.0 as usize),
                    Body::HeartbeatReply { received, .. } => Some(received.0 as usize),
                    Body::SnapshotReply { index } => Some(index.0 as usize),
                    _ => None,
                }
            }
            _ => None,
        });
        let upto = acknowledged.max().unwrap_or(0);
        for durable in self.servers[server].durable.clone() {
            if durable <= upto {
                self.take(Action::Install { server, upto: durable })?;
            }
        }
        let state = &self.model.servers[server];
        let (term, len) = (state.term, state.log.len());
        let Some(ledger) = self.model.said.ledgers.get(&term) else { return Ok(()) };
        if upto <= len || ledger.leader == server || ledger.log.len() < upto {
            return Ok(());
        }
        let previous = ledger.log.common(&state.log);
        self.take(Action::Accept { server, term, previous, upto })
    }

    /// A leader may have committed before it heard of a later term, or before it left a joint
    /// membership, after which more may be committed.
    fn commit_if_leading(&mut self, server: usize, upto: usize) {
        let state = &self.model.servers[server];
        if state.role != Role::Leader {
            return;
        }
        for upto in (state.commit + 1..=upto).rev() {
            // If it had no right to, it is refused below, unless another leader said so.
            if self.model.take(&Action::Commit { server, upto }, None).is_ok() {
                return;
            }
        }
    }

    fn commits(&mut self, server: usize, upto: usize) -> Verdict {
        let state = &self.model.servers[server];
        if upto <= state.commit {
            return Ok(());
        }
        if state.role == Role::Leader {
            return self.take(Action::Commit { server, upto });
        }
        let mut ledgers = self.model.said.ledgers.range(..=state.term).rev();
        let says = |ledger: &zokor_spec::Ledger| {
            ledger.commit >= upto && ledger.log.agrees(&state.log, upto)
        };
        let term = ledgers.find(|(_, ledger)| says(ledger)).map_or(state.term, |(&term, _)| term);
        self.take(Action::Learn { server, term, upto })
    }

    /// What led to this write, and the write.
    fn persists(&mut self, server: usize, persist: &Persist<Txn>) -> Verdict {
        let mut entries = persist.append.as_slice();
        let state = &self.model.servers[server];
        let term = state.term;
        let own = |entry: &raft::SharedEntry<Txn>| entry.id.term.0 == term;
        let is_led = self.model.said.ledgers.contains_key(&term);
        if state.role == Role::Candidate && !is_led && entries.iter().any(own) {
            let first = entries.iter().position(own).unwrap_or(0);
            // Entries of former terms before it would have come from nobody.
            entries = &entries[first + 1..];
            self.take(Action::Win { server })?;
        }
        if self.model.servers[server].role == Role::Leader {
            let known = self.model.servers[server].log.len();
            for entry in entries.iter().filter(|entry| own(entry)) {
                if entry.id.index.0 as usize > known {
                    self.take(Action::Propose { server, change: words::change(entry) })?;
                }
            }
        }
        if let Some(meta) = &persist.reset {
            let upto = meta.last.index.0 as usize;
            self.servers[server].durable.retain(|&durable| durable != upto);
            self.take(Action::Install { server, upto })?;
        }
        let hard_state = persist.hard_state.map(words::hard);
        let last_term = hard_state.map_or(term, |(term, _)| term);
        let appends = &self.servers[server].appends;
        let followed: BTreeSet<Term> = appends.iter().map(|&(term, _)| term).collect();
        for &term in followed.iter().filter(|&&term| term < last_term) {
            self.passes(server, term, persist)?;
        }
        if let Some((term, vote)) = hard_state {
            self.enters(server, term, vote)?;
        }
        if followed.contains(&last_term) {
            self.accepts(server, last_term, persist)?;
        }
        let writes = words::writes(persist);
        self.servers[server].tickets.push_back((persist.ticket, writes.len()));
        self.take(Action::Flush { server, writes })
    }

    /// A term that it followed somebody in, and has left by now.
    fn passes(&mut self, server: usize, term: Term, persist: &Persist<Txn>) -> Verdict {
        let is_later = term > self.model.servers[server].term;
        if is_later && self.model.said.ledgers.contains_key(&term) {
            self.take(Action::Adopt { server, term })?;
        }
        self.accepts(server, term, persist)?;
        if is_later { self.take(Action::Form { server }) } else { Ok(()) }
    }

    /// The entries of `persist` that came from the leader of `term`.
    fn accepts(&mut self, server: usize, term: Term, persist: &Persist<Txn>) -> Verdict {
        let Some(ledger) = self.model.said.ledgers.get(&term) else {
            return Ok(());
        };
        let state = &self.model.servers[server];
        let appends = self.servers[server].appends.iter();
        let reach = appends.filter(|&&(of, _)| of == term).map(|&(_, last)| last).max();
        let is_new = |id: &Id| state.log.term_at(id.index) != Some(id.term);
        let of_leader =
            |id: &Id| ledger.log.term_at(id.index) == Some(id.term) && Some(id.index) <= reach;
        let entries = persist.append.iter().map(|entry| words::id(entry.id));
        let mut entries = entries.filter(is_new).filter(of_leader);
        let Some(first) = entries.next() else {
            return Ok(());
        };
        let upto = entries.next_back().unwrap_or(first).index;
        let previous = first.index - 1;
        if term < state.term || ledger.leader == server {
            return Ok(());
        }
        // They may go on after a snapshot that it put in force before it took them over. To install
        // that once more later changes nothing.
        let is_after_snapshot = !state.log.agrees(&ledger.log, previous)
            && self.servers[server].durable.contains(&previous);
        if term > state.term {
            self.take(Action::Adopt { server, term })?;
        }
        if is_after_snapshot {
            self.take(Action::Install { server, upto: previous })?;
        }
        self.take(Action::Accept { server, term, previous, upto })
    }

    /// Term and vote became these.
    fn enters(&mut self, server: usize, term: Term, vote: Option<usize>) -> Verdict {
        let state = &self.model.servers[server];
        if (state.term, state.vote) == (term, vote) {
            return Ok(());
        }
        match vote {
            None => self.take(Action::Adopt { server, term }),
            Some(to) if to == server => {
                if state.term + 1 < term {
                    self.take(Action::Adopt { server, term: term - 1 })?;
                }
                self.take(Action::Campaign { server, term })
            }
            Some(to) => self.take(Action::Vote { server, term, to }),
        }
    }

    fn checkpoints(&mut self, server: usize, last: Id) -> Verdict {
        let state = &self.model.servers[server];
        let upto = last.index;
        self.servers[server].checkpoint = upto;
        let is_own = state.commit >= upto
            && state.disk.holds(&state.log, upto)
            && state.log.term_at(upto) == Some(last.term);
        let says = |ledger: &zokor_spec::Ledger| {
            ledger.commit >= upto && ledger.log.term_at(upto) == Some(last.term)
        };
        let mut ledgers = self.model.said.ledgers.iter();
        let term = match is_own {
            true => None,
            false => ledgers.find(|(_, ledger)| says(ledger)).map(|(&term, _)| term),
        };
        self.take(Action::Checkpoint { server, upto, term })
    }

    /// What a server says in the terms that `wanted` picks.
    fn say(&mut self, server: usize, outputs: &[Output], wanted: impl Fn(Term) -> bool) -> Verdict {
        for output in outputs {
            let Output::Send { to, message } = output else { continue };
            match message {
                Message::Raft(message) if wanted(message.term.0) => {
                    self.says(server, number(*to), message.term.0, &message.body)?;
                }
                Message::Snapshot { term, snapshot } if wanted(term.0) => {
                    let last = words::id(snapshot.meta.last);
                    self.offers(server, term.0, last, last.index)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A leader offers what it has; a follower that passes it on offers nothing that its leader has
    /// not offered, which changes nothing.
    fn offers(&mut self, server: usize, term: Term, last: Id, commit: usize) -> Verdict {
        let ledger = self.model.said.ledgers.get(&term);
        let Some(ledger) = ledger.filter(|ledger| ledger.leader != server) else {
            return self.take(Action::Offer { server, term, last, commit });
        };
        let is_known = ledger.log.term_at(last.index) == Some(last.term)
            && self.model.servers[server].commit >= commit;
        if is_known {
            return Ok(());
        }
        let what = format!("server {} passes on {last:?}, commit {commit} in {term}", server + 1);
        Err(self.refused(&what, Some(server)))
    }

    fn says(&mut self, server: usize, to: usize, term: Term, body: &Body<Txn>) -> Verdict {
        let index = |index: raft::Index| index.0 as usize;
        match body {
            Body::Vote { last, .. } => {
                self.take(Action::Request { server, term, last: words::id(*last) })
            }
            Body::VoteReply { granted: true } => self.take(Action::Grant { server, term, to }),
            Body::Append { previous, commit, entries } => {
                let last = words::id(entries.last().map_or(*previous, |entry| entry.id));
                self.offers(server, term, last, index(*commit))
            }
            Body::Heartbeat { commit, round } => {
                let (last, commit) = (Id::default(), index(*commit));
                self.take(Action::Offer { server, term, last, commit })?;
                self.begins(server, term, *round)
            }
            Body::AppendReply { received, persisted } => {
                let (received, durable) = (index(*received), index(*persisted));
                self.take(Action::Acknowledge { server, term, received, durable })
            }
            Body::HeartbeatReply { round, received, persisted } => {
                let (received, durable) = (index(*received), index(*persisted));
                self.take(Action::Acknowledge { server, term, received, durable })?;
                self.take(Action::Answer { server, term, round: *round })
            }
            Body::FeedMe { received, persisted, .. } => {
                let (received, durable) = (index(*received), index(*persisted));
                self.take(Action::Acknowledge { server, term, received, durable })
            }
            Body::SnapshotReply { index: last } => {
                let (received, durable) = (index(*last), index(*last));
                self.take(Action::Acknowledge { server, term, received, durable })
            }
            Body::ReadIndex { token } => {
                if self.asks.contains_key(&(server, *token)) {
                    return Ok(());
                }
                self.asks.insert((server, *token), self.model.said.asks.len());
                self.take(Action::Ask)
            }
            Body::ReadIndexReply { token, .. }
                if self.servers[server].answered.contains(&(to, *token)) =>
            {
                Ok(())
            }
            Body::ReadIndexReply { token, index: Some(upto) } => {
                let ask = self.asks.get(&(to, *token)).copied().unwrap_or(usize::MAX);
                self.take(Action::Readable { server, ask, index: index(*upto) })
            }
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::VoteReply { granted: false }
            | Body::AppendReject { .. }
            | Body::ReadIndexReply { index: None, .. }
            | Body::Seek { .. }
            | Body::Found { .. }
            | Body::NotFound { .. }
            | Body::SeekState { .. }
            | Body::AskIfNew { .. }
            | Body::IfNew { .. }
            | Body::Feeding { .. }
            | Body::FedByOther { .. }
            | Body::TimeoutNow => Ok(()),
        }
    }
}
