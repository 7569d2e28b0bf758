//! The replicated state machine: what a committed txn does.

mod change;
mod image;
mod txn;

pub use change::{Applied, Change, ChangeKind, Outcome, Refusal};
pub use image::{Image, ImageBuilder, ImageError, ImageNode, SessionRecord, StoredStat};
pub use txn::{Action, Author, Txn};
