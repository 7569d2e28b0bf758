//! The protocol of the log as an abstract model, in the spirit of Ongaro's `raft.tla`.
//!
//! [`State`] is the whole ensemble at one moment; [`State::take`] is the transition function: it
//! says whether an [`Action`] is allowed and what it does. Whatever is left to chance stands in
//! the action, so that the same function serves twice: the model checker tries all actions
//! ([`explore`]), and a trace of a simulated run is a list of them.
//!
//! How the model abstracts:
//! - Messages are what was ever said ([`Said`]): a set that only grows. Whoever hears acts on any
//!   of it, at any time, as often as it likes; so loss, doubling, delay and reordering are there
//!   without a network.
//! - An append is the right to copy from the log of a term's leader, which only grows within its
//!   term ([`Ledger`]). Flow control is not there.
//! - There is no time. Elections begin at will, and what pre-vote, check-quorum and timeouts do is
//!   to begin fewer of them: a pre-vote changes nothing at either end.
//! - A log is all entries from the first one on. A snapshot is a prefix of a log that is on disk by
//!   itself; dropping entries behind it changes nothing here.
//! - An entry is its term, and the membership if it sets one.
//!
//! Not abstracted is the disk: memory runs ahead of it, writes reach it in order, one by one, and a
//! power cut leaves a prefix.
//!
//! Invariant: `take` reads nothing but state and action, and a refused action changes nothing.

mod action;
mod election;
pub mod explore;
mod groups;
mod log;
mod reading;
mod replication;
mod said;
mod server;
mod state;
mod storage;
mod symmetry;

pub use action::{Action, Broken};
pub use groups::Groups;
pub use log::{Entry, Id, Log, Membership, Servers, Term};
pub use said::{Ledger, Round, Said};
pub use server::{Disk, Role, Server, Tip, Write};
pub use state::{Refusal, State};
