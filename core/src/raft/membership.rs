//! Voters and learners, and the two steps of a change (Raft §6, joint consensus).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::ServerId;

/// Who votes and who merely receives the log.
///
/// While `outgoing` is not empty the membership is joint: every decision needs a quorum of `voters`
/// and a quorum of `outgoing`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The voters, or in a joint membership the voters to come.
    pub voters: BTreeSet<ServerId>,
    /// The voters to go by, in a joint membership; else empty.
    pub outgoing: BTreeSet<ServerId>,
    /// Servers that receive the log and have no vote (ZooKeeper's observers).
    pub learners: BTreeSet<ServerId>,
}

impl Membership {
    /// A membership of these voters and nobody else.
    pub fn of_voters(voters: impl IntoIterator<Item = ServerId>) -> Self {
        Membership { voters: voters.into_iter().collect(), ..Membership::default() }
    }

    /// Whether it is between two sets of voters.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `server` has a vote.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.voters.contains(&server) || self.outgoing.contains(&server)
    }

    /// Every server named, each once, ascending.
    pub fn servers(&self) -> BTreeSet<ServerId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }
}
