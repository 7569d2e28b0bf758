//! The catalogue as data: what ought to find each mutant, where, and how soon.
//!
//! Invariant: every mutant has exactly one case, in the order of [`Mutant::ALL`].

use zokor_mutants::Mutant;

use super::Standing::{Masked, Sought};
use super::Where::{Stepped, SteppedTwice, Whole};
use super::{Case, Standing, Where};

/// The trace of a run is a trace of the model too: what leaves the protocol shows there first.
const MODEL: &str = "the model of the protocol";

const CHECK_QUORUM: &str = "a leader hears from a quorum";

/// The case of `mutant`.
pub fn case(mutant: Mutant) -> &'static Case {
    let case = CATALOGUE.iter().find(|case| case.mutant == mutant);
    case.expect("every mutant has a case: a test sees to it")
}

const fn row(
    mutant: Mutant,
    expected: &'static [&'static str],
    place: Where,
    budget: u64,
    standing: Standing,
) -> Case {
    Case { mutant, expected, place, budget, standing }
}

/// Every mutant.
pub static CATALOGUE: &[Case] = &[
    row(Mutant::VoteBeforeDurable, &["C7", MODEL], Stepped, 500, Sought),
    row(Mutant::AckBeforeDurable, &["C7", MODEL], Stepped, 100, Sought),
    row(Mutant::OwnEntryBeforeDurable, &["C6", MODEL], Stepped, 50, Sought),
    row(Mutant::OldTermByCounting, &["C6", "C4", "C5", MODEL], Stepped, 100, Sought),
    row(Mutant::VoteKeptInNewTerm, &["C1", "liveness", MODEL], Stepped, 300, Sought),
    row(Mutant::VoteGivenTwice, &["C7", "C1", MODEL], Stepped, 300, Sought),
    row(Mutant::OldVotesCounted, &["C1", MODEL], Stepped, 1000, Sought),
    row(Mutant::LogNotCompared, &["C5", "C4", MODEL], Stepped, 200, Sought),
    // Two candidates of different terms have to meet at one length: once in some 1,000 seeds.
    row(Mutant::LogComparedByIndex, &["C5", "C4", MODEL], Stepped, 4000, Sought),
    row(Mutant::HalfIsAQuorum, &["C1", "C6", MODEL], Stepped, 200, Sought),
    row(Mutant::MatchingEntriesCut, &["C4", "C5", MODEL], Stepped, 1000, Sought),
    row(Mutant::MatchedEntriesCut, &["C4", "C2", "C6", "panic", MODEL], Stepped, 500, Sought),
    row(Mutant::MatchIsTheEnd, &["C4", "C6", "C7", "liveness", MODEL], Stepped, 500, Sought),
    row(Mutant::CommitBeyondMatch, &["C4", "panic", MODEL], Stepped, 500, Sought),
    // Its followers leave it anyway; only an outsider that it will not hear shows it, and rarely.
    row(Mutant::LeaderDeafToTerms, &["C1", "R4", "liveness", MODEL], Stepped, 2000, Sought),
    row(Mutant::LeaderForLife, &[CHECK_QUORUM, "liveness", MODEL], Stepped, 500, Sought),
    row(Mutant::PreVoteRaisesTerm, &["C1", "liveness", MODEL], Stepped, 500, Sought),
    row(Mutant::NoCheckQuorum, &[CHECK_QUORUM, "liveness", MODEL], Stepped, 500, Sought),
    row(Mutant::VotersAtCommit, &["C10", MODEL, "C1"], Stepped, 2000, Sought),
    row(Mutant::NewMajorityDecides, &["C10", "C1", MODEL, "C6"], Stepped, 1000, Sought),
    row(Mutant::LearnersCount, &["C6", MODEL], Stepped, 300, Sought),
    row(Mutant::SnapshotOverNewer, &["C2", "C4", MODEL], Stepped, 1000, Sought),
    row(Mutant::PurgedEarly, &["C8"], Stepped, 500, Sought),
    row(Mutant::SessionsLeftOut, &["C11", "S1"], Stepped, 200, Sought),
    row(Mutant::AclsLeftOut, &["C11", "panic"], Stepped, 200, Sought),
    row(Mutant::CountersLeftOut, &["C11"], Stepped, 200, Sought),
    row(Mutant::EntryRepeated, &["C9", "C11", "C2"], Stepped, 100, Sought),
    row(Mutant::EntrySkipped, &["C11", "C9"], Stepped, 200, Sought),
    row(
        Mutant::TornTailKept,
        &["no server ends", "C4", "W7"],
        Whole,
        500,
        Masked(BATCH_HAS_PASSED),
    ),
    // What is left of a torn batch has to line up with the end of a later one.
    row(Mutant::TornTailRead, &["storage keeps", "C4", "W7", "C2"], Stepped, 4000, Sought),
    row(Mutant::DamageCut, &["storage keeps", "C4", "W7", "C2", "panic"], Stepped, 500, Sought),
    row(
        Mutant::ChecksumIgnored,
        &["storage keeps", "no server ends", "C3", "C11", "R1"],
        Whole,
        200,
        Sought,
    ),
    row(Mutant::SyncErrorIgnored, &["W7", "W1", "R5", "storage keeps"], Whole, 300, Sought),
    row(
        Mutant::WipedVotesAtOnce,
        &["C5", "C4", "C1", "C2", "W7", "liveness"],
        Stepped,
        2000,
        Sought,
    ),
    // One run in twenty damages votes.
    row(Mutant::HardStateInOnePlace, &["C2", "C1", "C7", "panic"], Stepped, 1000, Sought),
    row(Mutant::EpochNotOpened, &["C9"], Stepped, 50, Sought),
    row(Mutant::EpochIgnoresTerm, &["C9"], Stepped, 50, Sought),
    row(Mutant::CounterWraps, &["C9", "panic"], Stepped, 200, Sought),
    row(Mutant::DeposedLeaderExpires, &["S5"], Stepped, 500, Masked(ONLY_LEADERS)),
    row(Mutant::InheritedDeadlines, &["S5", "liveness"], Stepped, 500, Sought),
    row(Mutant::ExpiryByWallClock, &["S5"], Stepped, 300, Sought),
    row(Mutant::EphemeralsOutliveClose, &["S1", "S2", "R1", "C11"], Stepped, 50, Sought),
    row(Mutant::SessionOutlivesClose, &["S1", "S3", "S9", "C11"], Stepped, 500, Sought),
    row(Mutant::FormerConnectionWrites, &["C11", "(W", "panic"], Stepped, 2000, Sought),
    row(Mutant::FormerConnectionGoesOn, &["C11", "R1", "(W", "panic"], Stepped, 300, Sought),
    row(Mutant::ReadOvertakesWrite, &["R3", "W5"], Stepped, 100, Sought),
    row(Mutant::NewerClientAccepted, &["R2"], Stepped, 200, Masked(ATTACHED_BEHIND)),
    row(Mutant::AttachedAtOnce, &["R2", "panic"], Stepped, 200, Sought),
    row(Mutant::SyncWithoutQuorum, &["R4", MODEL], Stepped, 500, Sought),
    row(Mutant::WatchSetLate, &["V1", "V2", "V5"], Stepped, 500, Sought),
    row(Mutant::RewatchLost, &["V6", "V8", "V2"], Stepped, 300, Sought),
    row(Mutant::RewatchAlwaysFires, &["V6"], Stepped, 300, Sought),
    row(Mutant::ReplyOvertakesEvent, &["V2", "V5", "W5"], Stepped, 200, Sought),
    row(Mutant::DeletionUnseenByChildWatch, &["V1", "V2"], Stepped, 100, Sought),
    row(Mutant::MultiFiresNothing, &["V1", "V2"], Stepped, 100, Sought),
    row(Mutant::SequenceIsChildCount, &["T1", "W2", "C11"], Stepped, 50, Sought),
    row(Mutant::CopyApplied, &["W3", "W6"], Stepped, 300, Masked(NO_COPIES)),
    row(Mutant::CopyAdmittedAndApplied, &["W3", "C11", "panic"], Stepped, 300, Sought),
    row(Mutant::SequenceLeftOut, &["C11"], Stepped, 300, Sought),
    row(Mutant::MultiHalfDone, &["T2", "C11", "R1", "W2", "V4"], Stepped, 50, Sought),
    row(Mutant::ResentBackwards, &["W5", "W1"], Stepped, 1000, Masked(ONLY_THE_NEXT)),
    row(Mutant::ResentWithoutFirst, &["liveness"], Stepped, 1000, Sought),
    row(Mutant::GapsAdmittedAndApplied, &["W5", "W1", "C11", "panic"], Stepped, 1000, Sought),
    row(Mutant::RandomOrder, &["a run repeats", "C11"], SteppedTwice, 50, Sought),
    row(Mutant::LocalTime, &["C11", "W2", "T3"], Stepped, 50, Sought),
    row(Mutant::AppendPerRefusal, &["C12"], Stepped, 50, Masked(ONE_UNDER_WAY)),
    row(Mutant::WindowPerRefusal, &["C12"], Stepped, 2000, Sought),
    row(Mutant::SnapshotWaitedForEver, &["liveness"], Stepped, 500, Sought),
    row(
        Mutant::PartialFrameDropped,
        &["W1", "liveness", "a leader is found", "panic"],
        Whole,
        50,
        Sought,
    ),
    row(Mutant::FormerWriteAnswered, &["W1", "S8"], Stepped, 300, Masked(NO_EFFECT)),
    row(Mutant::FormerWriteDone, &["W1", "S8", "panic", "C11"], Stepped, 300, Sought),
    row(Mutant::FullQueueDrops, &["liveness"], Whole, 200, Masked(SEEN_LOST)),
    row(Mutant::FullQueueDropsUnseen, &["liveness"], Whole, 200, Sought),
    row(Mutant::UpgradeForgetsWrite, &["liveness", "panic"], Stepped, 300, Sought),
    row(Mutant::CarriedAnew, &["W3", "W5", "W6", "panic"], Stepped, 300, Sought),
    row(Mutant::LocalSpeaksEarly, &["S8"], Stepped, 1000, Sought),
    row(Mutant::ReadOnlyGoesBack, &["R2"], Stepped, 1000, Sought),
    // One ensemble in sixteen has groups.
    row(Mutant::HeadsForWeights, &["C1", "C6", "C10", CHECK_QUORUM, MODEL], Stepped, 500, Sought),
    row(Mutant::WeightlessLeads, &["C10", MODEL], Stepped, 500, Sought),
    row(Mutant::RelayedBeyondMatch, &[MODEL, "C4"], Stepped, 2000, Sought),
    // One run in thirty makes a state wrong.
    row(Mutant::StatesNotCompared, &["liveness"], Stepped, 500, Sought),
    row(Mutant::DoubtfulServes, &["C13"], Stepped, 500, Sought),
    row(Mutant::ScrubSkipsSnapshots, &["what is at rest is put right"], Stepped, 500, Sought),
];

const BATCH_HAS_PASSED: &str = "\
    Every record names its batch and the checksum of the record before it. The \
    torn batch has the number of the next one, which is written over its \
    beginning; behind that one only later numbers count, so that what is left \
    of the torn batch is never read, nor taken for a later record.";
const ONLY_LEADERS: &str = "\
    What expires a session is an entry, and only a leader makes entries.";
const ATTACHED_BEHIND: &str = "\
    Before it serves a client, a server has applied the attachment of its \
    session, which is in the log behind everything that the client can have \
    seen.";
const NO_COPIES: &str = "\
    A leader lets in nothing but the next sequence after the last in its log, \
    applied or not, so that no log holds a copy.";
const ONLY_THE_NEXT: &str = "\
    A leader lets in nothing but the next sequence; what it leaves out comes \
    again.";
const ONE_UNDER_WAY: &str = "\
    After a refusal one append is under way until its answer shows progress, \
    so that a conversation that goes in circles does not grow.";
const NO_EFFECT: &str = "\
    The new connection is served when the attachment is applied; from then on \
    no write of a former one takes effect, and so none has an answer.";
const SEEN_LOST: &str = "\
    What is lost between two servers shows in the answers to heartbeats and is \
    sent again.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_has_one_case_in_order() {
        let mutants: Vec<Mutant> = CATALOGUE.iter().map(|case| case.mutant).collect();
        assert_eq!(mutants, Mutant::ALL);
        assert!(CATALOGUE.iter().all(|case| case.budget > 0 && !case.expected.is_empty()));
        for mutant in mutants {
            assert_eq!(case(mutant).mutant, mutant);
        }
    }

    #[test]
    fn what_is_masked_has_a_variant_that_is_not() {
        for masked in CATALOGUE.iter().filter(|case| matches!(case.standing, Masked(_))) {
            let row = masked.mutant.number().trim_end_matches('a');
            let variants = CATALOGUE.iter().filter(|case| case.mutant.number().starts_with(row));
            let open = variants.filter(|case| !matches!(case.standing, Masked(_)));
            assert!(open.count() > 0, "{}", masked.mutant);
        }
    }
}
