//! Terms, votes and leaders (Raft §5.2, §5.4.1).
//!
//! Invariant: a vote is told only when no power cut can make it untrue: the disk has it, or a later
//! term under which it can no longer be given to another.

use crate::action::Broken;
use crate::log::{Entry, Id, Term};
use crate::said::Ledger;
use crate::server::Role;
use crate::state::{Refusal, State, ensure};

impl State {
    /// Opens a term. When is not said: pre-vote, timeouts and connections only make it rarer.
    pub(crate) fn campaign(&mut self, server: usize, term: Term) -> Result<(), Refusal> {
        let state = &self.servers[server];
        ensure(term == state.term + 1, "a candidate opens the next term")?;
        let (set_at, present) = state.log.membership(self.initial, state.log.len());
        let (_, before) = state.log.membership(self.initial, set_at.saturating_sub(1));
        let may = present.may_lead(server) || (set_at > state.commit && before.may_lead(server));
        ensure(may, "only who may lead, or might until just now, stands for election")?;
        self.enter(server, term, Some(server), Role::Candidate);
        Ok(())
    }

    /// Asks for votes. The candidate's own vote must be durable: it would count twice else.
    pub(crate) fn request(
        &mut self,
        server: usize,
        term: Term,
        last: Id,
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        self.holds_vote(server, term, server, broken)?;
        let state = &self.servers[server];
        // One that has lost may still be heard, but wins nothing any more.
        if state.term == term && state.role == Role::Candidate {
            // A snapshot may have come between, and the log is longer by now.
            ensure(last <= state.log.last(), "a candidate says where its log ends")?;
        }
        if state.term > term {
            ensure(self.has_voted_for_nobody_but(server, term, server), "one vote a term")?;
        }
        self.said.requests.insert((term, server), last);
        Ok(())
    }

    /// Gives a vote, in memory.
    pub(crate) fn vote(
        &mut self,
        server: usize,
        term: Term,
        to: usize,
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        let state = &self.servers[server];
        ensure(server != to, "a server gives itself its vote by standing for election")?;
        ensure(term >= state.term, "votes are given in the present term, or a later one")?;
        if term == state.term && broken != Some(Broken::VoteTwice) {
            ensure(state.vote.is_none(), "one vote a term")?;
        }
        let Some(&last) = self.said.requests.get(&(term, to)) else {
            return Err("nobody asked for that vote");
        };
        if broken != Some(Broken::VoteForShorterLog) {
            ensure(last >= state.log.last(), "the candidate's log is behind the voter's")?;
        }
        self.enter(server, term, Some(to), Role::Follower);
        Ok(())
    }

    /// Tells a vote. One of a term that was left before it was written down may still be told if
    /// the later term is durable, nobody else was told of it, and the voter did not stand itself.
    pub(crate) fn grant(
        &mut self,
        server: usize,
        term: Term,
        to: usize,
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        ensure(self.said.requests.contains_key(&(term, to)), "nobody asked for that vote")?;
        self.holds_vote(server, term, to, broken)?;
        if self.servers[server].disk.term > term && broken != Some(Broken::VoteTwice) {
            let is_own = self.said.requests.contains_key(&(term, server));
            ensure(!is_own && self.has_voted_for_nobody_but(server, term, to), "one vote a term")?;
        }
        self.said.votes.insert((term, server, to));
        Ok(())
    }

    /// Whether `server` has told nobody but `to` that it has its vote of `term`.
    fn has_voted_for_nobody_but(&self, server: usize, term: Term, to: usize) -> bool {
        let mut votes = self.said.votes.range((term, server, 0)..=(term, server, usize::MAX));
        votes.all(|&(.., candidate)| candidate == to)
    }

    /// Whether `server` may say that its vote of `term` is with `to`.
    fn holds_vote(
        &self,
        server: usize,
        term: Term,
        to: usize,
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        let state = &self.servers[server];
        if broken == Some(Broken::VoteBeforeDurable) && (state.term, state.vote) == (term, Some(to))
        {
            return Ok(());
        }
        let disk = &state.disk;
        let is_durable = disk.term > term || (disk.term == term && disk.vote == Some(to));
        ensure(is_durable, "a vote is durable before it is told")
    }

    /// Has heard of a later term. Whoever says a term has it on its disk.
    pub(crate) fn adopt(&mut self, server: usize, term: Term) -> Result<(), Refusal> {
        ensure(term > self.servers[server].term, "a term never falls")?;
        let is_said = self.servers.iter().any(|other| other.disk.term >= term);
        let is_said = is_said || self.said.requests.keys().any(|&(said, _)| said >= term);
        ensure(is_said, "nobody has said that term")?;
        self.enter(server, term, None, Role::Follower);
        Ok(())
    }

    /// Wins the election of the present term.
    pub(crate) fn win(&mut self, server: usize, broken: Option<Broken>) -> Result<(), Refusal> {
        let state = &self.servers[server];
        let term = state.term;
        ensure(state.role == Role::Candidate, "only a candidate wins")?;
        let own = self.holds_vote(server, term, server, broken).is_ok();
        let has_vote =
            |voter| (voter == server && own) || self.said.votes.contains(&(term, voter, server));
        let votes = self.those(has_vote);
        ensure(self.membership(&state.log).is_quorum(votes), "no quorum has voted for it")?;
        if self.said.ledgers.contains_key(&term) {
            self.said.violates("election safety");
            return Ok(());
        }
        let is_missing = |(index, (entry, committed_in)): (usize, &(Entry, Term))| {
            *committed_in < term && state.log.entry(index) != Some(*entry)
        };
        if (1..).zip(&self.said.agreed).any(is_missing) {
            self.said.violates("leader completeness");
        }
        let ledger = Ledger {
            leader: server,
            log: state.log.clone(),
            commit: state.commit,
            ..Ledger::default()
        };
        self.said.ledgers.insert(term, ledger);
        self.servers[server].role = Role::Leader;
        self.lengthen(server, Entry { term, change: None });
        Ok(())
    }

    /// Leads no more: it has not heard from a quorum, or is no member any more.
    pub(crate) fn step_down(&mut self, server: usize) -> Result<(), Refusal> {
        let state = &mut self.servers[server];
        ensure(state.role == Role::Leader, "only a leader steps down")?;
        state.role = Role::Follower;
        Ok(())
    }

    /// Sets term, vote and role in memory.
    pub(crate) fn enter(&mut self, server: usize, term: Term, vote: Option<usize>, role: Role) {
        let state = &mut self.servers[server];
        state.term = term;
        state.vote = vote;
        state.role = role;
    }
}
