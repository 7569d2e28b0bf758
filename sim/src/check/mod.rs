//! What must hold, one property a file.
//!
//! Invariant: a check reads what a stranger could see (what left a replica, what its disk holds,
//! the numbers it tells) and never the replica's own idea of why it is right.

pub mod commit;
pub mod durability;
pub mod election;
pub mod leader_completeness;
pub mod liveness;
pub mod log_matching;
pub mod machine;
pub mod order;
pub mod progress;
pub mod read;
pub mod session;
pub mod snapshot;
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
