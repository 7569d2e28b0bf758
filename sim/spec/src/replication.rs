//! Entries: made, taken over, acknowledged, committed, and the membership that they set
//! (Raft §5.3, §5.4.2, §6).
//!
//! Invariant: only durable copies count, the leader's own like any other, and a leader commits only
//! through an entry of its own term.

use crate::action::Broken;
use crate::log::{Entry, Id, Membership, Servers, Term};
use crate::server::{Role, Server};
use crate::state::{Refusal, State, ensure};

impl State {
    /// A leader makes an entry.
    pub(crate) fn propose(
        &mut self,
        server: usize,
        change: Option<Membership>,
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        let state = &self.servers[server];
        ensure(state.role == Role::Leader, "only a leader makes entries")?;
        if let Some(next) = change {
            self.may_change(state, next, broken)?;
        }
        let term = state.term;
        self.lengthen(server, Entry { term, change });
        Ok(())
    }

    /// Whether the membership may become `next`: into a joint one, from there into the new one.
    fn may_change(
        &self,
        state: &Server,
        next: Membership,
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        let (set_at, present) = state.log.membership(self.initial, state.log.len());
        ensure(set_at <= state.commit, "one change at a time")?;
        ensure(next.voters != Servers::default(), "somebody votes")?;
        if present.is_joint() {
            return ensure(
                next == present.settled(),
                "a joint membership is followed by its new voters",
            );
        }
        if broken == Some(Broken::ChangeInOneStep) {
            return Ok(());
        }
        // Ongaro 2015: else two leaders could change the same membership without a common quorum.
        let has_own = state.log.term_at(state.commit) == Some(state.term);
        ensure(has_own, "a change waits for the first commit of the term")?;
        let is_same = next == present;
        let is_joint = next == present.joint(next.settled());
        ensure(is_same || is_joint, "voters change by way of a joint membership")
    }

    /// Adds `entry` to a leader's log.
    pub(crate) fn lengthen(&mut self, server: usize, entry: Entry) {
        let state = &mut self.servers[server];
        state.log.push(entry);
        if let Some(ledger) = self.said.ledgers.get_mut(&state.term) {
            ledger.log.push(entry);
        }
    }

    /// A leader says what is in its ledger, and nothing else. It changes nothing: whatever is in it
    /// may be heard anyway.
    pub(crate) fn offer(
        &mut self,
        server: usize,
        term: Term,
        last: Id,
        commit: usize,
    ) -> Result<(), Refusal> {
        let ledger = self.said.ledgers.get(&term).ok_or("nobody leads that term")?;
        ensure(ledger.leader == server, "another server leads that term")?;
        let has_it = ledger.log.term_at(last.index) == Some(last.term);
        ensure(has_it, "a leader offers what is in its log")?;
        ensure(commit <= ledger.commit, "a leader tells no more than it has committed")
    }

    /// A follower takes over entries. What it has beyond them stays, unless it is in conflict.
    pub(crate) fn accept(
        &mut self,
        server: usize,
        term: Term,
        (previous, upto): (usize, usize),
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        let Some(ledger) = self.said.ledgers.get(&term) else {
            return Err("nobody leads that term");
        };
        let state = &self.servers[server];
        ensure(term == state.term, "entries come from the leader of the present term")?;
        ensure(ledger.leader != server, "a leader takes over nothing")?;
        ensure(previous <= upto && upto <= ledger.log.len(), "the leader has no such entries")?;
        ensure(state.log.agrees(&ledger.log, previous), "the entry before them is not there")?;
        let known = (previous + 1..=upto).take_while(|&n| state.log.agrees(&ledger.log, n)).count();
        let mut keep = previous + known;
        if keep == upto && broken != Some(Broken::CutWithoutConflict) {
            keep = state.log.len();
        }
        ensure(keep >= state.commit, "what is agreed on is never taken back")?;
        let entries: Vec<Entry> =
            (keep + 1..=upto).filter_map(|index| ledger.log.entry(index)).collect();
        let state = &mut self.servers[server];
        state.role = Role::Follower;
        state.log.cut(keep);
        entries.into_iter().for_each(|entry| state.log.push(entry));
        Ok(())
    }

    /// A term is left: what was matched and durable may have been acknowledged, and the message may
    /// still be on its way out.
    pub(crate) fn form(&mut self, server: usize) -> Result<(), Refusal> {
        let state = &mut self.servers[server];
        if let Some(ledger) = self.said.ledgers.get(&state.term) {
            let durable = state.disk.match_with(&ledger.log);
            state.formed.insert(state.term, durable);
        }
        Ok(())
    }

    /// Says how far the log matches the leader's.
    pub(crate) fn acknowledge(
        &mut self,
        server: usize,
        term: Term,
        (received, durable): (usize, usize),
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        let state = &self.servers[server];
        ensure(state.disk.term >= term, "a term is durable before anything is said in it")?;
        if durable == 0 && received == 0 {
            return Ok(());
        }
        let Some(ledger) = self.said.ledgers.get(&term) else {
            return Err("nobody leads that term");
        };
        if state.term == term {
            let matches = state.log.agrees(&ledger.log, received);
            ensure(matches, "what is acknowledged as received is there")?;
            let early = broken == Some(Broken::AckBeforeDurable);
            let holds = early || state.disk.holds(&ledger.log, durable);
            ensure(holds, "what is acknowledged is durable")?;
        } else {
            let formed = state.formed.get(&term).copied().unwrap_or(0);
            ensure(durable <= formed, "what was acknowledged in a former term was durable then")?;
        }
        let ack = self.said.acks.entry((term, server)).or_default();
        *ack = durable.max(*ack);
        Ok(())
    }

    /// A leader commits what a quorum has made durable.
    pub(crate) fn commit(
        &mut self,
        server: usize,
        upto: usize,
        broken: Option<Broken>,
    ) -> Result<(), Refusal> {
        let state = &self.servers[server];
        let (term, before) = (state.term, state.commit);
        ensure(state.role == Role::Leader, "only a leader commits by counting")?;
        ensure(upto > before && upto <= state.log.len(), "a commit index moves up to an entry")?;
        if broken != Some(Broken::CommitByCounting) {
            let is_own = state.log.term_at(upto) == Some(term);
            ensure(is_own, "only entries of the own term are committed by counting")?;
        }
        let early = broken == Some(Broken::LeaderCountsEarly);
        let counts = |other| match other == server {
            true => early || state.disk.holds(&state.log, upto),
            false => self.said.acks.get(&(term, other)).is_some_and(|&ack| ack >= upto),
        };
        let membership = self.membership(&state.log);
        ensure(membership.is_quorum(self.those(counts)), "no quorum has it on disk")?;
        let log = state.log.clone();
        let later = self.said.ledgers.range(term + 1..);
        if later.into_iter().any(|(_, ledger)| !ledger.log.agrees(&log, upto)) {
            self.said.violates("leader completeness");
        }
        self.said.agree(&log, before, upto, term);
        self.servers[server].commit = upto;
        if let Some(ledger) = self.said.ledgers.get_mut(&term) {
            ledger.commit = upto;
        }
        Ok(())
    }

    /// Hears how far all is agreed on. That stays true when the leader is gone.
    pub(crate) fn learn(&mut self, server: usize, term: Term, upto: usize) -> Result<(), Refusal> {
        let state = &self.servers[server];
        let Some(ledger) = self.said.ledgers.get(&term) else {
            return Err("nobody leads that term");
        };
        ensure(term <= state.term, "a later leader is heard in its own term")?;
        ensure(upto > state.commit, "a commit index moves up")?;
        ensure(upto <= ledger.commit, "the leader has not committed that")?;
        ensure(state.log.agrees(&ledger.log, upto), "the log here does not match up to there")?;
        let (before, log) = (state.commit, state.log.clone());
        self.said.agree(&log, before, upto, term);
        self.servers[server].commit = upto;
        Ok(())
    }
}
