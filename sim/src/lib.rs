//! Deterministic simulations of zokor: worlds, faults, workloads and checks.

#[cfg(not(madsim))]
compile_error!(
    "simulations need `--cfg madsim`, which `.cargo/config.toml` sets: a RUSTFLAGS variable replaces \
     it, so add `--cfg madsim` there or leave out the packages under `sim/`"
);
