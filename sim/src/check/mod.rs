//! What must hold, one property a file, each with its source in the first line.
//!
//! Invariant: a check reads what a stranger could see (what left a replica, what its disk holds,
//! the numbers it tells) and never the replica's own idea of why it is right.
//!
//! L is the committed log as it was first applied anywhere; the model is a naive state machine that
//! replays it.
//!
//! | Oracle | What it judges | File |
//! |---|---|---|
//! | C1 | one leader a term | [`election`] |
//! | C2 | nothing goes back | [`progress`] |
//! | C3 | equal names mean equal logs | [`log_matching`] |
//! | C4 | what is committed never changes | [`commit`] |
//! | C5 | a leader has all that is committed | [`leader_completeness`] |
//! | C6 | committed is durable on a quorum, and of the leader's term | [`commit`] |
//! | C7 | nothing is said before it is durable | [`durability`] |
//! | C8 | purged <= snapshot <= applied <= commit <= last | [`chain`] |
//! | C9 | zxids grow with the log | [`zxid`] |
//! | C11 | equal zxids mean equal states, and that of the model | [`machine`], [`snapshot`] |
//! | C12 | work, messages, log and memory have bounds | [`bounds`] |
//! | C13 | no alarm without a cause, and a state in doubt is shown to nobody | [`doubt`] |
//! | W1 | a reply names its entry | [`write::acknowledged`] |
//! | W2 | the result is the model's | [`write::result`] |
//! | W3 | what takes effect was asked for | [`write::invoked`] |
//! | W4 | zxids keep real time | [`write::real_time`] |
//! | W5 | a connection's order is kept | [`write::order`], gaps in [`write::twice`] |
//! | W6 | once or never | [`write::twice`] |
//! | W7 | what was acknowledged stays | [`write::kept`], and the states in [`snapshot`] |
//! | R1 | a read equals the model at its zxid | [`read::as_model`], [`read::plain`] |
//! | R2, R3 | no session goes back | [`read::view`] |
//! | R4 | `sync` is a barrier | [`read::sync`] |
//! | R5 | only what is committed is served | [`read::committed`] |
//! | R6 | read-only servers only read | [`read::only`] |
//! | S1 | owners of ephemerals are open | [`session::owner`] |
//! | S2 | an end takes all ephemerals at once, and nothing else | [`session::end`] |
//! | S3 | nothing comes after the end | [`session::after_end`] |
//! | S4 | ids are given once, passwords are checked | [`session::identity`] |
//! | S5, S6 | no early expiry | [`session::expiry`] |
//! | S7 | dead clients leave nothing | [`session::left_over`] |
//! | S8 | nothing from a former connection | [`session::moved`] |
//! | S9 | "expired" and "connected" are true | [`session::told`] |
//! | S10 | a local session is its server's | [`session::local`] |
//! | V1 | a one-shot watch tells once | [`watch::once`] |
//! | V2 | an event comes before what shows its change | [`watch::before_reply`] |
//! | V3 | events come in order | [`watch::order`] |
//! | V4 | no event without a cause | [`watch::cause`] |
//! | V5 | a persistent watch tells each change | [`watch::persistent`], "once" in [`watch::once`] |
//! | V6 | a watch set again tells what it missed | [`watch::rewatch`] |
//! | V7 | a watch taken away tells nothing | [`watch::removal`] |
//! | V8 | no event is missing at the end | [`watch::owed`] |
//! | T1 | sequence numbers grow | [`tree::numbers`] |
//! | T2 | a multi is all or nothing | [`tree::multi`] |
//! | T3 | numbers are the model's | [`tree::stat`] |
//! | T4 | containers and TTL znodes go when due | [`tree::reaping`] |
//! | T5 | permissions are the model's | [`tree::permission`] |
//! | cross-check | one order explains all, without zxids | [`linearizability`] |
//! | check quorum | a leader hears from a quorum | [`check_quorum`] |
//! | liveness | all heals | [`liveness`] |
//!
//! [`judge`] holds what is judged of the log and of all clients together, [`testimony`] what is
//! judged of one connection; worlds feed these two, and the files of the C's by themselves.

pub mod barrier;
pub mod bounds;
pub mod campaign;
pub mod chain;
pub mod check_quorum;
pub mod commit;
pub mod doubt;
pub mod durability;
pub mod election;
pub mod judge;
pub mod leader_completeness;
pub mod linearizability;
pub mod liveness;
pub mod log_matching;
pub mod machine;
pub mod membership;
pub mod progress;
pub mod read;
pub mod session;
pub mod snapshot;
pub mod storage;
pub mod testimony;
pub mod tree;
pub mod watch;
pub mod write;
pub mod zxid;

use std::fmt;

use serde::Serialize;

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which check found it.
    pub check: &'static str,
    /// What is wrong, in one sentence.
    pub sentence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.sentence)
    }
}

/// Whether a property holds.
pub type Verdict = Result<(), Violation>;

/// Holds if `holds`, else says `sentence`.
///
/// # Errors
/// If it does not hold.
pub fn must(check: &'static str, holds: bool, sentence: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation { check, sentence: sentence() }) }
}
