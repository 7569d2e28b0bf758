//! C1. Election safety: at most one leader in a term (Raft, figure 3).

use std::collections::BTreeMap;

use zokor_core::id::ServerId;
use zokor_core::raft::{Role, Term};

use super::{Verdict, must};

/// Who led in which term.
#[derive(Debug, Default)]
pub struct Elections(BTreeMap<Term, ServerId>);

impl Elections {
    /// `server` says that it has `role` in `term`. Returns whether it is news that it leads.
    ///
    /// # Errors
    /// If another led in that term.
    pub fn seen(
        &mut self,
        server: ServerId,
        role: Role,
        term: Term,
    ) -> Result<bool, super::Violation> {
        if role != Role::Leader {
            return Ok(false);
        }
        let news = !self.0.contains_key(&term);
        let leader = *self.0.entry(term).or_insert(server);
        self.one(server, leader, term)?;
        Ok(news)
    }

    /// Whether `server` led in `term`.
    pub fn led(&self, server: ServerId, term: Term) -> bool {
        self.0.get(&term) == Some(&server)
    }

    /// How many terms had a leader.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn one(&self, server: ServerId, leader: ServerId, term: Term) -> Verdict {
        must("election safety (C1)", leader == server, || {
            format!("servers {leader} and {server} both lead in term {term}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leader_a_term_is_right() {
        let mut elections = Elections::default();
        assert_eq!(elections.seen(ServerId(1), Role::Leader, Term(1)), Ok(true));
        assert_eq!(elections.seen(ServerId(1), Role::Leader, Term(1)), Ok(false));
        assert_eq!(elections.seen(ServerId(2), Role::Candidate, Term(1)), Ok(false));
        assert_eq!(elections.seen(ServerId(2), Role::Leader, Term(2)), Ok(true));
    }

    #[test]
    fn two_leaders_in_a_term_are_found() {
        let mut elections = Elections::default();
        elections.seen(ServerId(1), Role::Leader, Term(1)).unwrap();
        assert!(elections.seen(ServerId(2), Role::Leader, Term(1)).is_err());
    }
}
