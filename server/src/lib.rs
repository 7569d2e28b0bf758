//! The parts of the server binary: configuration, admin and the commands.
//!
//! Invariant: every failure ends as one sentence, never as a trace. `main` prints it.

pub mod admin;
pub mod audit;
pub mod backup;
pub mod begin;
pub mod bench;
pub mod cli;
pub mod config;
pub mod dev;
pub mod export;
pub mod first_start;
pub mod folder;
pub mod import;
pub mod inspect;
pub mod keys;
pub mod launch;
pub mod log;
pub mod plan;
pub mod restore;
pub mod serve;
pub mod status;
pub mod stop;
pub mod version;
pub mod zookeeper;
