//! Nothing goes back in a server's life, term and vote not even over a restart; what is purged is
//! in a durable snapshot (Raft, figure 2; thesis §5.1). C2, C8.

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
}

impl Progress {
    /// The server tells new numbers.
    ///
    /// # Errors
    /// If one is smaller than before, or the order among them is wrong.
    pub fn seen(&mut self, server: ServerId, term: Term, commit: Index, applied: Index) -> Verdict {
        let before = *self;
        let grown = term >= self.term && commit >= self.commit && applied >= self.applied;
        must("progress (C2)", grown, || {
            format!("server {server} goes back from {before:?} to {term}, {commit}, {applied}")
        })?;
        must("progress (C8)", applied <= commit, || {
            format!("server {server} applied {applied} beyond its commit index {commit}")
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

    /// The server starts again from its disk.
    pub fn restart(&mut self, hard_state: HardState) {
        *self = Progress { term: hard_state.term, hard_state, ..Progress::default() };
    }
}

/// `server` lets entries up to `through` go while its durable snapshot ends at `snapshot`.
///
/// # Errors
/// If they are not all in it.
pub fn purges(server: ServerId, through: Index, snapshot: Index) -> Verdict {
    must("purged is in a snapshot (C8)", through <= snapshot, || {
        format!("server {server} purges up to {through}, its snapshot ends at {snapshot}")
    })
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
        assert!(progress.seen(ServerId(1), Term(2), Index(6), Index(7)).is_err());
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
    fn purging_beyond_the_snapshot_is_found() {
        assert!(purges(ServerId(1), Index(4), Index(4)).is_ok());
        assert!(purges(ServerId(1), Index(5), Index(4)).is_err());
    }
}
