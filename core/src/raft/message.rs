//! What servers say to each other about the log.

use serde::{Deserialize, Serialize};

use super::entry::SharedEntry;
use super::position::{EntryId, Index, Term};

/// A message, stamped with the sender's term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<C> {
    /// The term that the sender is in; for a pre-vote, granted or asked for, the term it would
    /// open.
    pub term: Term,
    /// What it says.
    pub body: Body<C>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body<C> {
    /// "Would you vote for me?" Changes nothing at either end (Raft thesis §9.6).
    PreVote {
        /// The last entry of the candidate's log.
        last: EntryId,
    },
    /// The answer.
    PreVoteReply {
        /// Whether it would.
        granted: bool,
    },
    /// "Vote for me."
    Vote {
        /// The last entry of the candidate's log.
        last: EntryId,
        /// The leader itself asked for this election, so that having heard from it is no objection.
        transfer: bool,
    },
    /// The answer.
    VoteReply {
        /// Whether the vote was given.
        granted: bool,
    },
    /// Entries that follow `previous`; none to probe where the logs match.
    Append {
        /// The entry before the first of `entries`.
        previous: EntryId,
        /// The leader's commit index.
        commit: Index,
        /// The entries, ascending without a gap.
        entries: Vec<SharedEntry<C>>,
    },
    /// The logs match up to `received`, and are durable here up to `persisted`.
    AppendReply {
        /// The last index known to match the leader's log, in memory.
        received: Index,
        /// The last index known to match that would survive a power cut; never above `received`.
        persisted: Index,
    },
    /// The log here does not have `previous`.
    AppendReject {
        /// The index of the `previous` refused, so that an old refusal can be told from a new one.
        previous: Index,
        /// The last entry here that may match: where the leader should try next.
        hint: EntryId,
    },
    /// "I lead." Sent when idle, and for a read barrier.
    Heartbeat {
        /// The leader's commit index, not above what the receiver is known to match.
        commit: Index,
        /// Counts the rounds of this leader: never reused within a term.
        round: u64,
    },
    /// The answer.
    HeartbeatReply {
        /// The round answered; 0 if the heartbeat was of a former term.
        round: u64,
        /// As in `AppendReply`.
        received: Index,
        /// As in `AppendReply`.
        persisted: Index,
    },
    /// "What is the least index that a read begun now must wait for?"
    ReadIndex {
        /// The asker's name for it, never reused by that server in its life.
        token: ReadToken,
    },
    /// The answer; `None` if the server asked does not lead.
    ReadIndexReply {
        /// The name given.
        token: ReadToken,
        /// The index to wait for.
        index: Option<Index>,
    },
    /// "Start an election now": the leader hands over (Raft thesis §3.10).
    TimeoutNow,
    /// A snapshot up to this index is durable and in force here.
    SnapshotReply {
        /// The snapshot's last index.
        index: Index,
    },
    /// "My disk has lost entries: which do you have?" Asked of anyone, answered in any role.
    Seek {
        /// The last entry before those that are lost.
        after: EntryId,
        /// Entries of the asker's log behind them: who has one of these, has its predecessors.
        names: Vec<EntryId>,
    },
    /// What the answerer has of it.
    Found {
        /// The question's `after`.
        after: EntryId,
        /// The one of the names that it has.
        name: EntryId,
        /// Its last entry that may be the asker's `after` or a predecessor of that; `None` if it
        /// does not know, since its own disk has lost something there.
        matched: Option<EntryId>,
        /// Entries of the log that `name` is in: after `matched`, if that is given, and not beyond
        /// `name`; ascending without a gap.
        entries: Vec<SharedEntry<C>>,
    },
    /// It cannot answer with entries.
    NotFound {
        /// It has a snapshot of more than the asker's `after`, and none of the names beyond.
        has_snapshot: bool,
        /// It leads.
        leads: bool,
    },
    /// "Nobody has it: send me your state."
    SeekState {
        /// The last entry before those that are lost.
        after: EntryId,
        /// A state that was agreed on before the asker lost its memory is not enough: it wants the
        /// word of a leader of a later term than the asker's, with an entry of that term.
        wants_leader: bool,
    },
    /// "Feed me, in the place of the leader." Asked by a learner with each heartbeat of the leader.
    FeedMe {
        /// The last round of the answers heard; 0 if none was.
        round: u64,
        /// As in `AppendReply`.
        received: Index,
        /// As in `AppendReply`.
        persisted: Index,
    },
    /// The answer.
    Feeding {
        /// Counts the answers, if it agrees.
        round: Option<u64>,
        /// A snapshot is on its way to the learner.
        is_snapshot: bool,
    },
    /// Said by a learner to its leader.
    FedByOther {
        /// Whether another server feeds it from now on.
        is_fed: bool,
    },
}

impl<C> Body<C> {
    /// Whether it is about a disk that has lost something: such words are spoken in any role, and
    /// no term is taken over from them.
    pub fn is_about_repair(&self) -> bool {
        matches!(
            self,
            Body::Seek { .. } | Body::Found { .. } | Body::NotFound { .. } | Body::SeekState { .. }
        )
    }

    /// The indices that such words name.
    pub(super) fn indices_of_repair(&self) -> impl Iterator<Item = Index> {
        let (after, names, entries): (_, &[EntryId], &[SharedEntry<C>]) = match self {
            Body::Seek { after, names } => ([Some(*after), None, None], names, &[]),
            Body::Found { after, name, matched, entries } => {
                ([Some(*after), Some(*name), *matched], &[], entries)
            }
            Body::SeekState { after, .. } => ([Some(*after), None, None], &[], &[]),
            _ => ([None; 3], &[], &[]),
        };
        let named = after.into_iter().flatten().chain(names.iter().copied());
        named.chain(entries.iter().map(|entry| entry.id)).map(|id| id.index)
    }
}

/// Names one read barrier.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ReadToken {
    /// Drawn at random when the replica was made, so that no two lives of a server share tokens.
    pub life: u64,
    /// Counts within that life.
    pub number: u64,
}
