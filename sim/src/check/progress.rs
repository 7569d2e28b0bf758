//! C2. Term, vote within the term, commit and applied never go back in a server's life, term and
//! vote not even over a restart (Raft, figure 2).

use zokor_core::id::ServerId;
use zokor_core::raft::{HardState, Index, Term};

use super::{Verdict, must};

/// The numbers of one server that only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Its term.
    pub term: Term,
    /// Agreed.
    pub commit: Index,
    /// Done.
    pub applied: Index,
    /// Asked to be kept.
    pub hard_state: HardState,
    /// Told to be kept, by its disk.
    durable: HardState,
}

impl Progress {
    /// The server tells new numbers.
    ///
    /// # Errors
    /// If one is smaller than before.
    pub fn seen(&mut self, server: ServerId, term: Term, commit: Index, applied: Index) -> Verdict {
        let before = *self;
        let grown = term >= self.term && commit >= self.commit && applied >= self.applied;
        must("progress (C2)", grown, || {
            format!("server {server} goes back from {before:?} to {term}, {commit}, {applied}")
        })?;
        (self.term, self.commit, self.applied) = (term, commit, applied);
        Ok(())
    }

    /// The server asks for a hard state to be kept.
    ///
    /// # Errors
    /// If the term goes back, or a vote changes within its term.
    pub fn keeps(&mut self, server: ServerId, next: HardState) -> Verdict {
        let last = self.hard_state;
        let revoked = next.term == last.term && last.vote.is_some() && next.vote != last.vote;
        must("progress (C2)", next.term >= last.term && !revoked, || {
            format!("server {server} goes from {last:?} to {next:?}")
        })?;
        self.hard_state = next;
        Ok(())
    }

    /// The disk has told that it keeps this hard state.
    pub fn kept(&mut self, hard_state: HardState) {
        self.durable = hard_state;
    }

    /// The server starts again with what it finds on its disk.
    ///
    /// # Errors
    /// If that is older than what the disk has told to keep.
    pub fn restart(&mut self, server: ServerId, found: HardState) -> Verdict {
        let durable = self.durable;
        let same =
            found.term == durable.term && (found.vote == durable.vote || durable.vote.is_none());
        must("progress over a restart (C2)", found.term > durable.term || same, || {
            format!("server {server} starts with {found:?}, its disk had kept {durable:?}")
        })?;
        *self =
            Progress { term: found.term, hard_state: found, durable: found, ..Progress::default() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_is_right_and_going_back_is_found() {
        let mut progress = Progress::default();
        assert!(progress.seen(ServerId(1), Term(2), Index(5), Index(4)).is_ok());
        assert!(progress.seen(ServerId(1), Term(2), Index(6), Index(6)).is_ok());
        assert!(progress.seen(ServerId(1), Term(1), Index(6), Index(6)).is_err());
        assert!(progress.seen(ServerId(1), Term(2), Index(5), Index(5)).is_err());
        assert!(progress.seen(ServerId(1), Term(2), Index(6), Index(5)).is_err());
    }

    #[test]
    fn a_second_vote_in_a_term_is_found() {
        let mut progress = Progress::default();
        let state = |term, vote| HardState { term: Term(term), vote };
        assert!(progress.keeps(ServerId(1), state(1, None)).is_ok());
        assert!(progress.keeps(ServerId(1), state(1, Some(ServerId(2)))).is_ok());
        assert!(progress.keeps(ServerId(1), state(1, Some(ServerId(3)))).is_err());
        assert!(progress.keeps(ServerId(1), state(2, None)).is_ok());
    }

    #[test]
    fn a_term_or_vote_lost_over_a_restart_is_found() {
        let state =
            |term, vote: Option<u64>| HardState { term: Term(term), vote: vote.map(ServerId) };
        let mut progress = Progress::default();
        progress.keeps(ServerId(1), state(2, Some(3))).unwrap();
        progress.kept(state(2, Some(3)));
        let restart = |found| { progress }.restart(ServerId(1), found);
        assert!(restart(state(2, Some(3))).is_ok());
        assert!(restart(state(3, None)).is_ok());
        assert!(restart(state(2, None)).is_err());
        assert!(restart(state(2, Some(1))).is_err());
        assert!(restart(state(1, Some(3))).is_err());
    }
}
