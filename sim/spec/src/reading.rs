//! The read barrier (Raft thesis §6.4): a quorum confirms, after the read was asked for, that the
//! leader still leads.
//!
//! Invariant: the index given covers all that was agreed on anywhere when the read was asked for.

use crate::action::Broken;
use crate::log::Term;
use crate::said::Round;
use crate::server::Role;
use crate::state::{Refusal, State, ensure};

impl State {
    /// Somebody asks for a barrier.
    pub(crate) fn ask(&mut self) -> Result<(), Refusal> {
        self.said.asks.push(self.said.agreed.len());
        Ok(())
    }

    /// A leader begins a round of heartbeats. Its numbers are never used again in its term.
    pub(crate) fn begin(&mut self, server: usize, round: u64) -> Result<(), Refusal> {
        let state = &self.servers[server];
        ensure(state.role == Role::Leader, "only a leader has rounds")?;
        let has_own = state.log.term_at(state.commit) == Some(state.term);
        let (commit, asks) = (state.commit, self.said.asks.len());
        let Some(ledger) = self.said.ledgers.get_mut(&state.term) else {
            return Err("only a leader has rounds");
        };
        let last = ledger.rounds.last_key_value().map_or(0, |(&last, _)| last);
        ensure(round > last, "rounds are never used again")?;
        ledger.rounds.insert(round, Round { commit, has_own, asks });
        Ok(())
    }

    /// Answers a round: it follows that leader, and its disk would remember. Round 0 is none.
    pub(crate) fn answer(&mut self, server: usize, term: Term, round: u64) -> Result<(), Refusal> {
        let state = &self.servers[server];
        ensure(state.disk.term >= term, "a term is durable before anything is said in it")?;
        if round == 0 {
            return Ok(());
        }
        ensure(state.term == term || state.formed.contains_key(&term), "it is in another term")?;
        let ledger = self.said.ledgers.get(&term);
        let last = ledger.and_then(|ledger| ledger.rounds.last_key_value());
        ensure(last.is_some_and(|(&last, _)| round <= last), "that round has not begun")?;
        let answered = self.said.answers.entry((term, server)).or_default();
        *answered = round.max(*answered);
        Ok(())
    }

    /// Gives the index to wait for, by a round that began after the read was asked for.
    pub(crate) fn readable(
        &mut self,
        server: usize,
        ask: usize,
        index: usize,
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        let state = &self.servers[server];
        let term = state.term;
        ensure(state.role == Role::Leader, "only a leader answers reads")?;
        let floor = *self.said.asks.get(ask).ok_or("nobody asked for that read")?;
        let Some(ledger) = self.said.ledgers.get(&term) else {
            return Err("only a leader answers reads");
        };
        let membership = self.membership(&state.log);
        let confirms = |round: u64, other: usize| {
            let answered = self.said.answers.get(&(term, other)).copied().unwrap_or(0);
            match broken {
                Some(Broken::ReadWithoutRound) => true,
                Some(Broken::ReadByAnyRound) => other == server || answered > 0,
                _ => other == server || answered >= round,
            }
        };
        let serves = |(&number, round): (&u64, &Round)| {
            let late = broken == Some(Broken::ReadByEarlierRound) || round.asks > ask;
            let own = broken == Some(Broken::ReadBeforeOwnCommit) || round.has_own;
            let quorum = || membership.is_quorum(self.those(|other| confirms(number, other)));
            round.commit == index && late && own && quorum()
        };
        let is_served = ledger.rounds.iter().rev().any(serves);
        ensure(is_served, "no quorum has confirmed a round begun after the read was asked for")?;
        if index < floor {
            self.said.violates("reads are linearizable");
        }
        Ok(())
    }
}
