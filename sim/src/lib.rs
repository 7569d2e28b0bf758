//! Deterministic simulations of zokor: worlds, faults, workloads and checks.
//!
//! A [`plan::Plan`] is drawn from a seed; the stepped [`world`] runs replicas by it, with the
//! faults of [`fault`] and the clients of [`client`]; [`check`] judges everything that leaves a
//! replica, by the [`model`]. A run is a function of its seed.

#[cfg(not(any(madsim, doc)))]
compile_error!(
    "the simulations need `--cfg madsim`, which .cargo/config.toml gives; a RUSTFLAGS variable \
     replaces it and must name it too"
);

pub mod check;
pub mod client;
pub mod conformance;
pub mod fault;
pub mod model;
pub mod plan;
pub mod probe;
pub mod rng;
pub mod run;
pub mod sweep;
pub mod trace;
pub mod whole;
pub mod workload;
pub mod world;
