//! What Raft wants done, and what it needs to start again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::entry::SharedEntry;
use super::membership::Membership;
use super::message::{Message, ReadToken};
use super::position::{EntryId, Index, Term};
use crate::id::ServerId;

/// Names one request to storage. Tickets complete in the order in which they were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What must survive a power cut before anything that depends on it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The highest term seen.
    pub term: Term,
    /// Who got this server's vote in that term.
    pub vote: Option<ServerId>,
}

/// What Raft must know of a snapshot: the state after the entry `last`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that went into it.
    pub last: EntryId,
    /// The membership at that entry and the index that set it; `None` if no entry ever did.
    pub membership: Option<(Index, Membership)>,
}

/// Changes to the durable log, to be made in the order of the fields and as one: after a crash
/// either a prefix of them is there, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist<C> {
    /// To be named when all of it would survive a power cut.
    pub ticket: Ticket,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// The log begins anew after this snapshot, which is durable already: all entries go.
    pub reset: Option<SnapshotMeta>,
    /// Entries above this index go.
    pub truncate_after: Option<Index>,
    /// Entries to append, ascending without a gap.
    pub append: Vec<SharedEntry<C>>,
}

/// What a server finds on its disk when it starts.
#[derive(Clone, Debug)]
pub struct Recovered<C> {
    /// The last hard state that was persisted.
    pub hard_state: HardState,
    /// The snapshot that the log continues; default if there is none.
    pub snapshot: SnapshotMeta,
    /// The entries after the snapshot, ascending without a gap; with damage, up to that.
    pub entries: Vec<SharedEntry<C>>,
    /// What of the log is not whole, if anything is.
    pub damage: Option<Damage<C>>,
}

impl<C> Default for Recovered<C> {
    fn default() -> Self {
        Recovered {
            hard_state: HardState::default(),
            snapshot: SnapshotMeta::default(),
            entries: Vec::new(),
            damage: None,
        }
    }
}

/// What a disk has lost of a log (`docs/repair.md`). Until that is mended, the server takes no
/// part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage<C> {
    /// The whole entries behind the first damage, ascending, with gaps.
    pub behind: Vec<SharedEntry<C>>,
    /// Lost entries of which only the names are left, ascending.
    pub named: Vec<EntryId>,
    /// Something unknown was lost just before each of these indices: entries that came there, or
    /// that took the place of what is before them. What is from there on up to the next is whole.
    pub seams: BTreeSet<Index>,
    /// The last entry that was durable, whole or not, as far as is known.
    pub last: EntryId,
    /// Entries after `last` may have been durable, too.
    pub is_end_lost: bool,
    /// The hard state may have been a later one: the server does not know in which terms it voted.
    pub is_vote_lost: bool,
}

/// What a server is to the others at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows, or looks for, a leader.
    #[default]
    Follower,
    /// Asks for votes.
    Candidate,
    /// Decides the order.
    Leader,
}

/// What Raft wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<C> {
    /// Make these changes durable, then call `persisted`.
    Persist(Persist<C>),
    /// Tell a peer. The message says nothing that is not durable.
    Send {
        /// Whom.
        to: ServerId,
        /// What.
        message: Message<C>,
    },
    /// The follower needs entries that are no longer in the tail: send it the state machine, then
    /// call `snapshot_sent`.
    SendSnapshot {
        /// Whom.
        to: ServerId,
    },
    /// A server that repairs its log needs the state machine: send it as the leader of `term`, or,
    /// if that is 0, as anyone who has it.
    SendState {
        /// Whom.
        to: ServerId,
        /// The term of the leader that sends it, or 0.
        term: Term,
    },
    /// These entries are committed and durable here. Each index comes once, ascending, without a
    /// gap.
    Committed(Vec<SharedEntry<C>>),
    /// Reads that asked for this barrier may be answered when `index` is applied.
    Readable {
        /// The barrier.
        token: ReadToken,
        /// What must be applied.
        index: Index,
    },
    /// The barrier could not be had: there is no leader, or it changed. Ask again.
    Unreadable {
        /// The barrier.
        token: ReadToken,
    },
    /// Role, term or leader have changed.
    Role {
        /// The role now.
        role: Role,
        /// The term now.
        term: Term,
        /// The leader of that term, if known.
        leader: Option<ServerId>,
    },
}

/// This server does not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLeader {
    /// Who does, if known.
    pub leader: Option<ServerId>,
}

/// Why a change of the membership was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// This server does not lead, or is handing over.
    NotLeader(NotLeader),
    /// An earlier change is not yet committed in both its steps.
    Pending,
    /// No entry of this leader's own term is committed yet. Ask again.
    TooEarly,
    /// Its voters could decide nothing, or a server is both voter and learner.
    Invalid,
    /// This server would become a voter, and is no learner that has caught up.
    Behind(ServerId),
    /// No quorum of the new voters is in step: they could decide nothing.
    NoQuorum,
}
