//! Mutants: deliberate defects, each a one-line change of behaviour, by which the simulations are
//! measured. A simulator that does not find one of them within its budget is itself defective.
//!
//! The sites are in `core` and `net`, where `mutated!(Name)` is the constant `false`; in the twins
//! it asks [`is_active`]. Which mutant is active is a matter of the thread and not of some
//! configuration: sites are in the tree, the watches and the database too, which have none, and a
//! run of the simulator stays on one thread.
//!
//! Invariant: at most one mutant is active on a thread, and none outside of [`with`].
//!
//! Numbers name the rows of the catalogue. A letter tells variants apart; a variant that also takes
//! away the line that masks another says so. Rows that have no mutant:
//!
//! - M16, a message of an earlier connection is accepted: nothing in `core` relies on connections.
//!   Raft takes messages late, twice and out of order, and the worlds deliver them so in ordinary
//!   runs.
//! - M37, a request repeated by a client after a reconnect is applied again: clients do not repeat,
//!   and what a server sends again is M47.
//! - M41, a read by a lease: there are no leases.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

macro_rules! catalogue {
    ($($number:literal $name:ident: $defect:literal,)*) => {
        /// One deliberate defect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $(
                #[doc = concat!($number, ": ", $defect, ".")]
                $name,
            )*
        }

        impl Mutant {
            /// Every mutant, in the order of the catalogue.
            pub const ALL: &[Mutant] = &[$(Mutant::$name),*];

            /// Its row in the catalogue.
            pub fn number(self) -> &'static str {
                match self {
                    $(Mutant::$name => $number,)*
                }
            }

            /// What it does wrong.
            pub fn defect(self) -> &'static str {
                match self {
                    $(Mutant::$name => $defect,)*
                }
            }
        }
    };
}

catalogue! {
    "M01" VoteBeforeDurable: "a vote is told before it is durable",
    "M02" AckBeforeDurable: "an append is acknowledged before it is durable",
    "M03" OwnEntryBeforeDurable: "a leader counts its own entry before that is durable",
    "M04" OldTermByCounting: "an entry of an earlier term is committed by counting copies",
    "M05a" VoteKeptInNewTerm: "the vote of the former term is kept when the term rises",
    "M05b" VoteGivenTwice: "a server votes for everyone who asks in a term",
    "M06" OldVotesCounted: "votes of an earlier campaign count",
    "M07" LogNotCompared: "the candidate's log is not looked at",
    "M08" LogComparedByIndex: "the candidate's log is compared by its index alone",
    "M09" HalfIsAQuorum: "half of an even number of voters is a quorum",
    "M10a" MatchingEntriesCut: "an append cuts the log even where it matches, above what this term \
        has shown to match",
    "M10b" MatchedEntriesCut: "the same, and below that too",
    "M11" MatchIsTheEnd: "a follower answers heartbeats as if its whole log matched",
    "M12" CommitBeyondMatch: "a follower takes the leader's commit index beyond what matches",
    "M13a" LeaderDeafToTerms: "until it hears no quorum, a leader ignores who is in a later term",
    "M13b" LeaderForLife: "the same, and then too",
    "M14" PreVoteRaisesTerm: "asking who would vote raises the own term",
    "M15" NoCheckQuorum: "a leader that hears from no quorum goes on",
    "M17" VotersAtCommit: "a new set of voters takes effect when it is committed",
    "M18" NewMajorityDecides: "in a joint membership the new majority decides alone",
    "M19" LearnersCount: "learners are counted in the quorum",
    "M20" SnapshotOverNewer: "a snapshot is installed over a newer state",
    "M21" PurgedEarly: "the log is purged when a snapshot begins to be written",
    "M22a" SessionsLeftOut: "a snapshot leaves out the sessions",
    "M22b" AclsLeftOut: "a snapshot leaves out the ACLs",
    "M22c" CountersLeftOut: "a snapshot leaves out the counters of sequential znodes",
    "M23" EntryRepeated: "the first entry after a start from a snapshot is applied twice",
    "M24" EntrySkipped: "the first entry after a start from a snapshot is skipped",
    "M25a" TornTailKept: "a torn tail of the log is left behind its last record; masked, since its \
        batch has passed by the time it could be read",
    "M25b" TornTailRead: "the same, and what does not follow from the record before is read too",
    "M25c" DamageCut: "damage to what was durable is cut as if it were a torn tail",
    "M26" ChecksumIgnored: "the checksum of a record's body is not looked at",
    "M27" SyncErrorIgnored: "the log's sync fails and counts as done",
    "M28" WipedVotesAtOnce: "a server that has lost its disk votes at once, as a new one, \
        and no leader notices what it has forgotten",
    "M29" HardStateInOnePlace: "the hard state is in the log alone, and its last record there \
        counts as the last that there was",
    "M30a" EpochNotOpened: "a new term opens no new epoch",
    "M30b" EpochIgnoresTerm: "a new epoch is the next one, whatever the term",
    "M31" CounterWraps: "a full counter begins anew in the same epoch (a counter of 6 bits)",
    "M32a" DeposedLeaderExpires: "a deposed leader goes on expiring sessions; masked, since it \
        cannot propose",
    "M32b" InheritedDeadlines: "a new leader goes by the deadlines of its former leadership",
    "M33" ExpiryByWallClock: "sessions expire by the wall clock",
    "M34" EphemeralsOutliveClose: "the entry that ends a session leaves its ephemerals",
    "M35" SessionOutlivesClose: "what a session wrote after its close is applied",
    "M36a" FormerConnectionWrites: "a write of a connection that the session has left is applied, \
        if its number follows",
    "M36b" FormerConnectionGoesOn: "the same, whatever its number",
    "M38" ReadOvertakesWrite: "a read is answered before the writes asked for earlier",
    "M39a" NewerClientAccepted: "a client that has seen more is let in; masked, since it is served \
        when its attachment, later in the log than all that, is applied",
    "M39b" AttachedAtOnce: "the same, and served without an attachment if its session is known",
    "M40" SyncWithoutQuorum: "a barrier asks no quorum",
    "M42" WatchSetLate: "a watch is set after its read: not at all if a change is on its way then",
    "M43a" RewatchLost: "watches are not set again after a reconnect",
    "M43b" RewatchAlwaysFires: "every watch fires after a reconnect",
    "M44" ReplyOvertakesEvent: "a reply leaves before the events that come before it",
    "M45a" DeletionUnseenByChildWatch: "the deletion of a znode does not fire its child watches",
    "M45b" MultiFiresNothing: "a multi fires no watches",
    "M46" SequenceIsChildCount: "a sequential znode is numbered by the count of children",
    "M47a" CopyApplied: "a copy of a write is applied; masked, since a leader lets none into its \
        log",
    "M47b" CopyAdmittedAndApplied: "the same, and leaders let copies in",
    "M47c" SequenceLeftOut: "a snapshot leaves out the last sequences of sessions",
    "M48" MultiHalfDone: "a multi that fails keeps what it did before",
    "M49a" ResentBackwards: "writes are sent again in the wrong order; masked, since leaders let \
        in nothing but the next",
    "M49b" ResentWithoutFirst: "the first of the writes sent again is left out",
    "M49c" GapsAdmittedAndApplied: "writes are sent again in the wrong order and taken so",
    "M50" RandomOrder: "a session's ephemerals are deleted in an order that differs each time",
    "M51" LocalTime: "apply reads the own clock instead of the entry's time",
    "M52a" AppendPerRefusal: "every refusal of an append is answered by another; masked, since \
        after the first there is one append under way",
    "M52b" WindowPerRefusal: "the same, and neither a probe nor a refusal limits what is under way",
    "M53" SnapshotWaitedForEver: "a follower whose snapshot was lost is never fed again",
    "M54" PartialFrameDropped: "bytes of a frame that is not whole yet are dropped",
    "M55a" FormerWriteAnswered: "a write of a former connection is answered to the new one; \
        masked, since none takes effect",
    "M55b" FormerWriteDone: "the same, and it does",
    "M56a" FullQueueDrops: "a full queue to a peer drops messages and keeps the connection; \
        masked, since answers to heartbeats show what was lost",
    "M56b" FullQueueDropsUnseen: "the same, and heartbeats show nothing",
    "M57" UpgradeForgetsWrite: "what waited for the upgrade of its session is never sent",
    "M58" CarriedAnew: "a server gives what it sends again for its local sessions new places",
    "M59" LocalSpeaksEarly: "a local session speaks while writes of its former connection are \
        under way",
    "M60" ReadOnlyGoesBack: "a read-only server serves clients that have seen more than it has",
    "M61" HeadsForWeights: "where there are groups, heads are counted instead of weights",
    "M62" WeightlessLeads: "a voter without weight stands for election, and is voted for",
    "M63" RelayedBeyondMatch: "a follower feeds learners with what does not match its leader's log",
    "M64" StatesNotCompared: "the states of servers are not compared",
    "M65" DoubtfulServes: "a server that is in doubt about its state goes on serving",
    "M66" ScrubSkipsSnapshots: "the scrub does not look at snapshots",
}

thread_local! {
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Whether one of `mutants` is active on this thread.
pub fn is_active(mutants: &[Mutant]) -> bool {
    ACTIVE.get().is_some_and(|active| mutants.contains(&active))
}

/// The mutant that is active on this thread.
pub fn active() -> Option<Mutant> {
    ACTIVE.get()
}

/// Does `run` with `mutant` active on this thread.
pub fn with<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
    /// Ends the mutant's time, even if `run` panics.
    struct Former(Option<Mutant>);
    impl Drop for Former {
        fn drop(&mut self) {
            ACTIVE.set(self.0);
        }
    }
    let _former = Former(ACTIVE.replace(mutant));
    run()
}

/// Random, and another time otherwise.
pub fn coin() -> bool {
    RandomState::new().hash_one(0).is_multiple_of(2)
}

impl Mutant {
    /// The mutants of this number (`M07`, or `M05` for `M05a` and `M05b`) or of this name.
    pub fn named(text: &str) -> Vec<Mutant> {
        let is_meant = |mutant: &Mutant| {
            let number = mutant.number();
            let row = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
            [number, row].iter().any(|name| name.eq_ignore_ascii_case(text))
                || format!("{mutant:?}").eq_ignore_ascii_case(text)
        };
        Mutant::ALL.iter().copied().filter(is_meant).collect()
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self:?}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_found_by_number_row_and_name() {
        assert_eq!(Mutant::named("M07"), [Mutant::LogNotCompared]);
        assert_eq!(Mutant::named("m05b"), [Mutant::VoteGivenTwice]);
        assert_eq!(Mutant::named("M05"), [Mutant::VoteKeptInNewTerm, Mutant::VoteGivenTwice]);
        assert_eq!(Mutant::named("LocalTime"), [Mutant::LocalTime]);
        assert_eq!(Mutant::named("M99"), []);
    }

    #[test]
    fn numbers_ascend_and_are_unique() {
        assert!(Mutant::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
    }

    #[test]
    fn a_mutant_is_active_within_its_run_only() {
        let mutant = Some(Mutant::LocalTime);
        with(mutant, || {
            assert!(is_active(&[Mutant::RandomOrder, Mutant::LocalTime]));
            assert!(!is_active(&[Mutant::RandomOrder]));
            std::thread::scope(|scope| {
                scope.spawn(|| assert_eq!(active(), None));
            });
            with(None, || assert_eq!(active(), None));
            assert_eq!(active(), mutant);
        });
        assert!(std::panic::catch_unwind(|| with(mutant, || panic!("on purpose"))).is_err());
        assert_eq!(active(), None);
    }
}
