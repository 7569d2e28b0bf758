//! A change of the membership that an operator asked for, from its begin to its end.
//!
//! Invariant: a server votes only after it has caught up as a learner (Raft thesis §4.2.1), and
//! there is one change at a time. Raft keeps the rules; this remembers what is still to be done.

use std::collections::BTreeSet;

use super::output::ChangeRefusal;
use crate::db::Txn;
use crate::id::{ChangeId, ServerId};
use crate::proto::{Ensemble, Member};
use crate::raft::{ChangeError, EntryId, Index, Membership, Raft};
use crate::time::Instant;

/// The membership that is wanted, and how far it has come.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) id: ChangeId,
    wanted: Membership,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Those who are to vote are learners and catch up; it is given up then.
    CatchUp { until: Instant },
    /// This entry begins the change of the voters. Once it is committed the rest follows, whoever
    /// leads.
    Logged { first: EntryId },
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Finished,
    Lost,
}

impl Change {
    /// Begins a change; new voters become learners first, and have until `until` to catch up.
    ///
    /// # Errors
    /// If nothing was begun.
    pub(super) fn begin(
        raft: &mut Raft<Txn>,
        now: Instant,
        until: Instant,
        id: ChangeId,
        wanted: Membership,
    ) -> Result<Self, ChangeRefusal> {
        if wanted.is_joint() || !wanted.can_decide() || !wanted.voters.is_disjoint(&wanted.learners)
        {
            return Err(ChangeRefusal::Invalid);
        }
        let present = raft.membership().clone();
        let strangers: BTreeSet<ServerId> =
            wanted.voters.iter().copied().filter(|it| !present.servers().contains(it)).collect();
        let mut change = Change { id, wanted, stage: Stage::CatchUp { until } };
        if strangers.is_empty() {
            match change.log(raft, now) {
                Ok(()) => {}
                // A learner that is a little behind: it is given time.
                Err(ChangeError::Behind(_)) => {}
                Err(error) => return Err(error.into()),
            }
        } else {
            let learners = present.learners.union(&strangers).copied().collect();
            let next = Membership::of_groups(present.voters, present.groups);
            raft.change(now, Membership { learners, ..next })?;
        }
        Ok(change)
    }

    /// Goes on, if it can now.
    ///
    /// # Errors
    /// If it is given up; who votes is unchanged.
    pub(super) fn go_on(
        &mut self,
        raft: &mut Raft<Txn>,
        now: Instant,
    ) -> Result<(), ChangeRefusal> {
        let Stage::CatchUp { until } = self.stage else { return Ok(()) };
        match self.log(raft, now) {
            Ok(()) => Ok(()),
            Err(error @ ChangeError::Invalid) => Err(error.into()),
            // The learners' own entry is not committed, or the leadership is being handed over, or
            // a server is not in step: all this may pass.
            Err(error) if now >= until => Err(error.into()),
            Err(_) => Ok(()),
        }
    }

    /// The entry `id` is applied; if it set a membership, that. What the change has come to, if it
    /// is decided.
    pub(super) fn applied(&self, id: EntryId, membership: Option<&Membership>) -> Option<End> {
        let Stage::Logged { first } = self.stage else { return None };
        if id.index == first.index && id.term != first.term {
            return Some(End::Lost);
        }
        let is_it = membership.is_some_and(|set| *set == self.wanted);
        (id.index >= first.index && is_it).then_some(End::Finished)
    }

    /// Whether nobody but a leader can bring it about: its deciding entry is not in the log.
    pub(super) fn needs_leader(&self) -> bool {
        matches!(self.stage, Stage::CatchUp { .. })
    }

    /// Puts the change of the voters into the log.
    fn log(&mut self, raft: &mut Raft<Txn>, now: Instant) -> Result<(), ChangeError> {
        let index = raft.change(now, self.wanted.clone())?;
        self.stage = Stage::Logged { first: EntryId { term: raft.term(), index } };
        Ok(())
    }
}

impl From<ChangeError> for ChangeRefusal {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotLeader(error) => ChangeRefusal::NotLeader { leader: error.leader },
            ChangeError::Pending => ChangeRefusal::Pending,
            ChangeError::TooEarly => ChangeRefusal::TooEarly,
            ChangeError::Invalid => ChangeRefusal::Invalid,
            ChangeError::Behind(server) => ChangeRefusal::Behind(server),
            ChangeError::NoQuorum => ChangeRefusal::NoQuorum,
        }
    }
}

/// How the members are described, and their groups: by the addresses that this server is
/// `configured` with, or else by those that are `shown` already.
pub(super) fn described(
    membership: &Membership,
    configured: &Ensemble,
    shown: &Ensemble,
) -> Ensemble {
    let member = |id: &ServerId| -> Option<Member> {
        let known = configured.member(*id).or(shown.member(*id))?;
        Some(known.in_role(membership.is_voter(*id)))
    };
    let members = membership.servers().iter().filter_map(member).collect();
    Ensemble { members, groups: membership.groups.clone() }
}

/// Whether an applied membership, if an entry ever set one, names `server`; else the one that it is
/// configured with does.
pub(super) fn is_member(
    applied: Option<&(Index, Membership)>,
    configured: &Membership,
    server: ServerId,
) -> bool {
    applied.map_or(configured, |(_, membership)| membership).servers().contains(&server)
}
