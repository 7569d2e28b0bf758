//! Agrees on the order of commands (Ongaro and Ousterhout 2014; Ongaro's thesis).

mod config;
mod effect;
mod entry;
mod membership;
mod message;

pub use config::Config;
pub use effect::{Effect, HardState, NotLeader, Persist, Recovered, Role, SnapshotMeta, Ticket};
pub use entry::{Command, Entry, EntryId, Index, Payload, SharedEntry, Term};
pub use membership::Membership;
pub use message::{Body, Message, ReadToken};
