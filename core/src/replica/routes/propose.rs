//! The way of an action to the log: from the server where it was asked for, over the leader.
//!
//! Invariant: what is not applied here stays with its connection and is sent again, in order, to
//! every new leader; the leader lets each into its log once.

use crate::db::{Action, Txn};
use crate::raft::{Index, Payload, Role};
use crate::replica::connection::Phase;
use crate::replica::{Message, Output, Replica};
use crate::time::Instant;

/// What one forward weighs, about: far less than the longest frame that a peer accepts.
const MAX_FORWARD_BYTES: usize = 1 << 20;
/// What is sent again at once, about. A link that breaks under too much would come back to the
/// same, again and again.
const MAX_RESENT_BYTES: usize = 16 << 20;

impl Replica {
    /// Proposes, or sends to the leader, if there is one; else it is sent when there is.
    pub(in crate::replica) fn dispatch(&mut self, action: Action) {
        if self.raft.role() == Role::Leader {
            self.admit(action);
        } else if self.raft.leader().is_some() {
            self.forwards.push(action);
        }
    }

    /// On the leader: stamps and proposes.
    pub(in crate::replica) fn admit(&mut self, mut action: Action) {
        let is_begun = self.admission.is_of(self.raft.term());
        if !is_begun
            || self.admission.holds_back(&self.db, &action)
            || !self.admission.admits(&self.db, &action)
        {
            return;
        }
        let rules = self.rules_for(&mut action);
        let txn = Txn { time: self.now.wall, rules, action };
        // Refused while leadership is handed over: it will come again.
        let Ok(id) = self.raft.propose(self.now.instant, txn) else { return };
        let entry = self.raft.entry(id.index).expect("it was appended just now");
        if let Payload::Command(txn) = &entry.payload {
            self.admission.note(&txn.action);
            self.proposal_bytes.note(txn.size_bytes());
            self.counts.proposals += 1;
        }
    }

    pub(in crate::replica) fn flush_forwards(&mut self) {
        let actions = std::mem::take(&mut self.forwards);
        match self.raft.leader() {
            Some(to) if to != self.config.raft.id => {
                for actions in batches(actions) {
                    // Legal: what is not applied may be sent again at any time.
                    if maybe!(ForwardTwice) {
                        let message = Message::Forward(actions.clone());
                        self.outputs.push_back(Output::Send { to, message });
                    }
                    let message = Message::Forward(actions);
                    self.outputs.push_back(Output::Send { to, message });
                }
            }
            // This server leads since it noted them.
            Some(_) => actions.into_iter().for_each(|action| self.admit(action)),
            None => {}
        }
    }

    /// Everything that is not applied goes to the leader once more, in order; what is too much for
    /// one time follows with the upkeep.
    pub(in crate::replica) fn resend_all(&mut self) {
        self.forwards.clear();
        self.resend(None);
    }

    /// The same, for connections whose oldest left before `before`.
    pub(in crate::replica) fn resend(&mut self, before: Option<Instant>) {
        let now = self.now.instant;
        let before = before.unwrap_or(now);
        let mut again = Vec::new();
        let mut room = MAX_RESENT_BYTES;
        for (_, connection) in self.connections.iter_mut() {
            if room == 0 {
                break;
            }
            if let Phase::Attaching(attempt) = &mut connection.phase
                && attempt.sent <= before
            {
                attempt.sent = now;
                room = room.saturating_sub(attempt.action.size_bytes());
                again.push(attempt.action.clone());
            }
            if connection.attachment().is_some() && connection.global_attachment().is_none() {
                // What it has said is in the lane.
                continue;
            }
            let mut writes = connection.resend(before, now, &mut room);
            if mutated!(ResentBackwards | GapsAdmittedAndApplied) {
                writes.reverse();
            }
            again.extend(writes.into_iter().skip(usize::from(mutated!(ResentWithoutFirst))));
        }
        again.append(&mut self.locals.resend(before, now, &mut room));
        if let Some(restoring) = &mut self.restoring {
            again.append(&mut restoring.resend(before, now));
        }
        again.into_iter().for_each(|action| self.dispatch(action));
    }

    pub(in crate::replica) fn begin_leadership(&mut self) {
        self.leads_since = Some(self.now.instant);
        self.raft.progress().iter().for_each(|peer| self.counts.sync_begins(peer.peer));
        let raft = &self.raft;
        let tail = (self.applied.index.0 + 1..=raft.last().index.0)
            .filter_map(|index| raft.entry(Index(index)));
        self.admission.begin(raft.term(), tail.map(|entry| &**entry));
        if !mutated!(InheritedDeadlines if self.expiry.deadline().is_some()) {
            let sessions = self.db.sessions().map(|session| (session.id, session.timeout_ms));
            self.expiry.start(self.now.instant, sessions);
        }
        self.upkeep.leads(self.now.instant, self.config.reap_interval);
        if self.db.config_version() == 0 && !self.tail_describes() {
            // The first leader of all: nobody's session comes before the description.
            self.describe();
        }
    }

    /// Whether what is logged and not applied says who the members are, and so may know better than
    /// this server's own configuration.
    fn tail_describes(&self) -> bool {
        let tail = self.applied.index.0 + 1..=self.raft.last().index.0;
        let mut entries = tail.filter_map(|index| self.raft.entry(Index(index)));
        entries.any(|entry| match &entry.payload {
            Payload::Blank => false,
            Payload::Membership(_) => true,
            Payload::Command(txn) => matches!(txn.action, Action::Describe { .. }),
        })
    }
}

/// The same actions in the same order, in forwards that are not too long.
fn batches(actions: Vec<Action>) -> Vec<Vec<Action>> {
    let mut batches: Vec<Vec<Action>> = Vec::new();
    let mut room = 0;
    for action in actions {
        let size = action.size_bytes();
        match batches.last_mut() {
            Some(batch) if size <= room => {
                room -= size;
                batch.push(action);
            }
            _ => {
                room = MAX_FORWARD_BYTES.saturating_sub(size);
                batches.push(vec![action]);
            }
        }
    }
    batches
}
