//! Who is a member: an operator's changes, and what follows from them here.
//!
//! Invariant: whoever asked for a change is told how it ended, and once only, unless this server
//! ends before. A server that is no member serves nobody.

use std::collections::BTreeSet;

use crate::db::{Action, Txn};
use crate::id::{ChangeId, ServerId};
use crate::proto::{ErrorCode, Identities, Reconfig, Response, Zxid};
use crate::raft::{Entry, Membership, Payload, Role};
use crate::replica::output::{ChangeProgress, ChangeRefusal};
use crate::replica::reconfig::{self, Change, End};
use crate::replica::reconfig_request;
use crate::replica::{CloseReason, Output, Replica};

impl Replica {
    /// An operator wants another membership.
    pub(in crate::replica) fn change_membership(
        &mut self,
        id: ChangeId,
        voters: BTreeSet<ServerId>,
        learners: BTreeSet<ServerId>,
    ) {
        let progress = match self.begin_change(id, voters, learners) {
            Ok(change) => {
                self.change = Some(change);
                ChangeProgress::Begun
            }
            Err(refusal) => ChangeProgress::Refused(refusal),
        };
        self.outputs.push_back(Output::Change { id, progress });
    }

    fn begin_change(
        &mut self,
        id: ChangeId,
        voters: BTreeSet<ServerId>,
        learners: BTreeSet<ServerId>,
    ) -> Result<Change, ChangeRefusal> {
        let raft = &mut self.raft;
        if raft.role() != Role::Leader {
            return Err(ChangeRefusal::NotLeader { leader: raft.leader() });
        }
        if self.change.is_some() {
            return Err(ChangeRefusal::Pending);
        }
        let configured = &self.config.ensemble;
        if !configured.members.is_empty() {
            let shown = self.db.ensemble();
            let is_known =
                |id: &&ServerId| configured.member(**id).or(shown.member(**id)).is_some();
            if let Some(unknown) = voters.union(&learners).find(|id| !is_known(id)) {
                return Err(ChangeRefusal::Unaddressed(*unknown));
            }
        }
        let now = self.now.instant;
        let until = now + self.config.catch_up_timeout;
        Change::begin(raft, now, until, id, (voters, learners))
    }

    /// What a client hears that wishes for another membership. One that asks for what is there is
    /// shown it; to change it from here is not built.
    pub(in crate::replica) fn answer_reconfig(
        &self,
        identities: &Identities,
        asked: &Reconfig,
    ) -> Result<Response, ErrorCode> {
        if !self.config.reconfig.enabled {
            return Err(ErrorCode::ReconfigDisabled);
        }
        if self.config.ensemble.members.is_empty() {
            return Err(ErrorCode::Unimplemented);
        }
        if self.change.is_some() {
            return Err(ErrorCode::ReconfigInProgress);
        }
        if asked.version != -1 && asked.version != self.db.config_version() {
            return Err(ErrorCode::BadVersion);
        }
        let present = self.db.ensemble();
        let changes = reconfig_request::judge(&present, asked, &self.config.reconfig)?;
        self.db.may_reconfigure(identities)?;
        if changes { Err(ErrorCode::Unimplemented) } else { self.db.described() }
    }

    /// Time has passed or something was committed: a change that waits may go on.
    pub(in crate::replica) fn go_on_with_change(&mut self) {
        let now = self.now.instant;
        let Some(change) = &mut self.change else { return };
        if let Err(refusal) = change.go_on(&mut self.raft, now) {
            self.end_change(ChangeProgress::Refused(refusal));
        }
    }

    /// This server does not lead, or no longer.
    pub(in crate::replica) fn change_lost_leader(&mut self) {
        if self.change.as_ref().is_some_and(Change::needs_leader) {
            self.end_change(ChangeProgress::Lost);
        }
    }

    /// Whether a change is decided is not to be seen any more: the state has jumped.
    pub(in crate::replica) fn change_out_of_sight(&mut self) {
        if self.change.is_some() {
            self.end_change(ChangeProgress::Lost);
        }
    }

    /// `entry` is applied, and has taken `zxid`.
    pub(in crate::replica) fn change_applied(&mut self, entry: &Entry<Txn>, zxid: Zxid) {
        let Some(change) = &self.change else { return };
        let set = match &entry.payload {
            Payload::Membership(membership) => Some(membership),
            Payload::Blank | Payload::Command(_) => None,
        };
        match change.applied(entry.id, set) {
            None => {}
            Some(End::Finished) => self.end_change(ChangeProgress::Finished { zxid }),
            Some(End::Lost) => self.end_change(ChangeProgress::Lost),
        }
    }

    /// The entry that set `membership` is applied.
    pub(in crate::replica) fn membership_applied(&mut self, entry: &Entry<Txn>, set: &Membership) {
        self.membership = Some((entry.id.index, set.clone()));
        if !set.is_joint() && self.raft.role() == Role::Leader && entry.id.term == self.raft.term()
        {
            self.describe();
        }
        if !self.is_member() {
            self.close_all(CloseReason::NoMember);
        }
    }

    /// Whether this server is a member, as far as is applied here.
    pub(in crate::replica) fn is_member(&self) -> bool {
        let configured = &self.config.raft.membership;
        reconfig::is_member(self.membership.as_ref(), configured, self.config.raft.id)
    }

    /// The leader shows the ensemble as it is.
    pub(in crate::replica) fn describe(&mut self) {
        let configured = &self.config.ensemble;
        if configured.members.is_empty() {
            return;
        }
        let applied = self.membership.as_ref().map(|(_, membership)| membership);
        let membership = applied.unwrap_or(&self.config.raft.membership);
        let ensemble = reconfig::described(membership, configured, &self.db.ensemble());
        self.admit(Action::Describe { ensemble });
    }

    fn end_change(&mut self, progress: ChangeProgress) {
        if let Some(change) = self.change.take() {
            self.outputs.push_back(Output::Change { id: change.id, progress });
        }
    }
}
