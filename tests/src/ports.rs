//! Free ports, so that many tests and many test processes run at once.
//!
//! Ports come in blocks below the range from which the system serves outgoing connections. Whoever
//! listens on the first port of a block owns the block, across all processes; nobody connects there.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// A block of ports that no other test uses while this value lives.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _claim: TcpListener,
}

impl Ports {
    /// Claims a block of which every port is free now. Panics when there is none.
    pub fn claim() -> Ports {
        let offset = std::process::id() as u16 % N_BLOCKS;
        for _ in 0..N_BLOCKS {
            let block = (offset + NEXT.fetch_add(1, Ordering::Relaxed) % N_BLOCKS) % N_BLOCKS;
            let first = FIRST + block * BLOCK;
            let Ok(claim) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) else { continue };
            let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if (first + 1..first + BLOCK).all(free) {
                return Ports { first, _claim: claim };
            }
        }
        panic!("no block of {BLOCK} free ports from {FIRST}");
    }

    /// The `index`th port of the block, from 0.
    pub fn get(&self, index: usize) -> u16 {
        assert!(index + 1 < BLOCK as usize, "a block has {} ports", BLOCK - 1);
        self.first + 1 + index as u16
    }
}

/// The next block to try in this process; its start differs by process.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first port of the first block.
const FIRST: u16 = 20_000;

/// Ports in a block, the claim among them: three ports each for five servers.
const BLOCK: u16 = 16;

/// Blocks, all below 32768.
const N_BLOCKS: u16 = 790;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_share_no_port() {
        let (a, b) = (Ports::claim(), Ports::claim());
        assert!(a.get(14) < b.first || b.get(14) < a.first);
    }
}
