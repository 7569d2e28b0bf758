//! Deterministic simulations of zokor: worlds, faults, workloads and checks.
//!
//! A [`scenario::Scenario`] is drawn from a seed or written by hand ([`script`]): the settings of a
//! [`plan::Plan`], a list of faults ([`fault`]) and the steps of clients ([`workload`]). The
//! stepped [`world`] runs replicas by it; [`check`] judges everything that leaves a replica, by the
//! [`model`]. A run is a function of its scenario.

#[cfg(not(any(madsim, doc)))]
compile_error!(
    "the simulations need `--cfg madsim`, which .cargo/config.toml gives; a RUSTFLAGS variable \
     replaces it and must name it too"
);

pub mod applying;
pub mod bytes;
pub mod check;
pub mod client;
pub mod conformance;
pub mod diagram;
pub mod disk;
pub mod failure;
pub mod fault;
pub mod model;
pub mod mutation;
pub mod plan;
pub mod probe;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod script;
pub mod shrink;
pub mod sweep;
pub mod trace;
pub mod whole;
pub mod workload;
pub mod world;
