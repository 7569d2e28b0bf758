//! The tokio of simulations: madsim's tasks and time, and a network that can do what real ones do.
//!
//! Packages under `sim/` depend on this one by the name `tokio`, so that the sources of `net` are
//! compiled without a branch for simulations. Everything but [`net`] is madsim's.
//!
//! Invariant: what a run does is a function of its seed; nothing here reads a real clock or draws
//! from the operating system.

#[cfg(not(any(madsim, doc)))]
compile_error!("simulations need `--cfg madsim`, which .cargo/config.toml gives");

pub mod net;

pub use madsim_tokio::*;
