//! The deterministic core of zokor: what is decided, without bytes, sockets, files, clocks or dice.
//!
//! A [`Replica`] is one member of the ensemble. It is a function of its inputs: time and seed come
//! in as arguments, wishes go out as values, and the same inputs give the same outputs, bit for
//! bit. A driver (the `net` crate, or a simulator) carries them out.
//!
//! Three rooms do the work. [`raft`] agrees on the order of commands and never looks inside one.
//! [`db`] is the replicated state machine: znodes and sessions; it never hears of terms or leaders.
//! [`replica`] joins them, and adds what belongs to one server alone: connections, the order of
//! their requests, and [`watch`]es.

/// Whether one of these mutants is active, if the condition behind `if` holds: deliberate defects,
/// by which simulations are measured. Constantly false, and without a trace in the binary, but in
/// the twin of this package.
#[cfg(not(feature = "mutants"))]
#[doc(hidden)]
#[macro_export]
macro_rules! mutated {
    ($($mutant:ident)|+ $(if $condition:expr)?) => {
        false
    };
}

/// See the other one.
#[cfg(feature = "mutants")]
#[doc(hidden)]
#[macro_export]
macro_rules! mutated {
    ($($mutant:ident)|+ $(if $condition:expr)?) => {
        $crate::mutants::is_active(&[$($crate::mutants::Mutant::$mutant),+]) $(&& $condition)?
    };
}

#[cfg(feature = "mutants")]
#[doc(hidden)]
pub use zokor_mutants as mutants;

/// Whether the run takes this chance to do something rare and harmless, if the condition behind
/// `if` holds. Constantly false, and without a trace in the binary, but in the twin of this
/// package.
#[cfg(not(feature = "chances"))]
#[doc(hidden)]
#[macro_export]
macro_rules! maybe {
    ($chance:ident $(if $condition:expr)?) => {
        false
    };
}

/// See the other one.
#[cfg(feature = "chances")]
#[doc(hidden)]
#[macro_export]
macro_rules! maybe {
    ($chance:ident $(if $condition:expr)?) => {
        $($condition &&)? $crate::chance::is_taken($crate::chance::Chance::$chance)
    };
}

/// How many bits the counter in a zxid has: 32, but in some runs of the twin of this package, where
/// a full counter is nothing rare.
#[cfg(not(feature = "chances"))]
#[doc(hidden)]
#[macro_export]
macro_rules! counter_bits {
    () => {
        32u32
    };
}

/// See the other one.
#[cfg(feature = "chances")]
#[doc(hidden)]
#[macro_export]
macro_rules! counter_bits {
    () => {
        $crate::chance::counter_bits()
    };
}

#[cfg(feature = "chances")]
#[doc(hidden)]
pub use zokor_chance as chance;

pub mod auth;
mod cell;
pub mod db;
pub mod groups;
pub mod id;
mod pages;
pub mod proto;
pub mod raft;
pub mod replica;
pub mod session;
pub mod time;
pub mod tree;
pub mod watch;

pub use replica::{Config, Input, Output, Replica};
