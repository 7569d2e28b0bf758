//! All that can happen in the model, and the ways in which its rules can be broken on purpose.

use crate::log::{Id, Membership, Term};
use crate::server::Write;

/// One step of the model. Servers are numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "`server` acts; the other fields are said with the variant")]
pub enum Action {
    /// Opens `term` and votes for itself, in memory.
    Campaign { server: usize, term: Term },
    /// Asks the others for their votes in `term`; `last` is the end of its log.
    Request { server: usize, term: Term, last: Id },
    /// Gives its vote in `term` to `to`, in memory.
    Vote { server: usize, term: Term, to: usize },
    /// Tells `to` that it has its vote in `term`.
    Grant { server: usize, term: Term, to: usize },
    /// Has heard of `term`.
    Adopt { server: usize, term: Term },
    /// Leads, by a quorum of votes, and opens its term with a blank entry.
    Win { server: usize },
    /// Leads no more, without a new term.
    StepDown { server: usize },
    /// A leader makes an entry; one that sets a membership if there is a `change`.
    Propose { server: usize, change: Option<Membership> },
    /// The leader of `term` says what it has: an entry, and how far all is committed.
    Offer { server: usize, term: Term, last: Id, commit: usize },
    /// A follower takes over from the leader of `term` the entries above `previous`, up to `upto`.
    Accept { server: usize, term: Term, previous: usize, upto: usize },
    /// A server leaves its term; an acknowledgement that it formed in it may still leave.
    Form { server: usize },
    /// Tells the leader of `term` how far the logs match, in memory and on disk.
    Acknowledge { server: usize, term: Term, received: usize, durable: usize },
    /// A leader commits by counting.
    Commit { server: usize, upto: usize },
    /// Another server hears from the leader of `term` how far all is agreed on.
    Learn { server: usize, term: Term, upto: usize },
    /// Memory and what the disk was asked for become one: these are the writes.
    Flush { server: usize, writes: Vec<Write> },
    /// The oldest `writes` are done.
    Sync { server: usize, writes: usize },
    /// The power is cut: the oldest `writes` are done, and the snapshot under way if `snapshot`.
    Crash { server: usize, writes: usize, snapshot: bool },
    /// Starts again with what is on its disk.
    Restart { server: usize },
    /// Begins to write a snapshot of the first `upto` entries: its own, or that of `term`'s leader.
    Checkpoint { server: usize, upto: usize, term: Option<Term> },
    /// The snapshot is written.
    Checkpointed { server: usize },
    /// Puts the first `upto` entries of the snapshot on its disk in force.
    Install { server: usize, upto: usize },
    /// Asks for a read barrier.
    Ask,
    /// A leader begins a heartbeat round.
    Begin { server: usize, round: u64 },
    /// Answers a round of the leader of `term`.
    Answer { server: usize, term: Term, round: u64 },
    /// A leader answers the read `ask` (counted from 0): all up to `index` must be applied first.
    Readable { server: usize, ask: usize, index: usize },
}

impl Action {
    /// The server that acts, if it is one.
    pub fn server(&self) -> Option<usize> {
        match *self {
            Action::Campaign { server, .. }
            | Action::Request { server, .. }
            | Action::Vote { server, .. }
            | Action::Grant { server, .. }
            | Action::Adopt { server, .. }
            | Action::Win { server }
            | Action::StepDown { server }
            | Action::Propose { server, .. }
            | Action::Offer { server, .. }
            | Action::Accept { server, .. }
            | Action::Form { server }
            | Action::Acknowledge { server, .. }
            | Action::Commit { server, .. }
            | Action::Learn { server, .. }
            | Action::Flush { server, .. }
            | Action::Sync { server, .. }
            | Action::Crash { server, .. }
            | Action::Restart { server }
            | Action::Checkpoint { server, .. }
            | Action::Checkpointed { server }
            | Action::Install { server, .. }
            | Action::Begin { server, .. }
            | Action::Answer { server, .. }
            | Action::Readable { server, .. } => Some(server),
            Action::Ask => None,
        }
    }
}

/// One rule of the protocol left out, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A vote is told, or counted, before it is durable.
    VoteBeforeDurable,
    /// A vote may be given again in the same term.
    VoteTwice,
    /// A vote is given to a candidate whose log is behind.
    VoteForShorterLog,
    /// An acknowledgement speaks of what is in memory.
    AckBeforeDurable,
    /// A leader counts itself before its own disk has the entry.
    LeaderCountsEarly,
    /// A leader commits entries of former terms by counting (Raft, figure 8).
    CommitByCounting,
    /// A follower cuts its log at the end of each append, as if what follows were in conflict.
    CutWithoutConflict,
    /// The log reaches the disk before the term that it was taken over in.
    LogBeforeHardState,
    /// A restarted server holds that its whole log is agreed on.
    CommitAtRestart,
    /// Voters, or their groups, change in one step.
    ChangeInOneStep,
    /// A read is answered without a round.
    ReadWithoutRound,
    /// An answer to any round of the term confirms all of them.
    ReadByAnyRound,
    /// A round that began before the read was asked for confirms it.
    ReadByEarlierRound,
    /// A leader answers reads before an entry of its own term is committed.
    ReadBeforeOwnCommit,
}
