//! Random numbers of a run.
//!
//! Invariant: every concern draws from its own stream, so that taking one fault away does not
//! reshuffle the rest; and nothing but the run's seed goes in.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// What a stream is drawn for. The numbers are part of what a seed means.
#[derive(Clone, Copy, Debug)]
pub enum Concern {
    /// The plan of the run.
    Plan,
    /// When which fault happens.
    Faults,
    /// One server's seed and its poll delays.
    Server(u64),
    /// One server's disk.
    Disk(u64),
    /// What one client does.
    Client(u64),
    /// The end of the faults.
    Recovery,
    /// The small print of one fault, by its time and place.
    Fault(u64),
    /// What disks are made of.
    Sectors,
    /// One server's sectors: what a power cut takes, and where damage strikes.
    Platter(u64),
    /// What sockets and links are like, and what is done to connections.
    Network,
    /// The faults that only whole servers have, and the small print of the others there.
    Extra,
    /// Which chances servers take.
    Chance,
    /// What leaders stamp, when they reap, and whether there are quotas.
    Rules,
    /// What one server of the whole world lets its clients do.
    Limits(u64),
    /// Which ensembles decide by groups.
    Groups,
    /// Whose state is made wrong, and when.
    Rot,
    /// Whose log rots where its votes are, and when.
    Votes,
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    source: Source,
    /// What was drawn, if that is wanted.
    drawn: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Source {
    Seed(Box<ChaCha8Rng>),
    /// These, in order. Each draw takes as many as the largest number that it could give has.
    Bytes(VecDeque<u8>),
}

impl Stream {
    /// The stream of `concern` in the run of `seed`.
    pub fn new(seed: u64, concern: Concern) -> Self {
        let (kind, number) = match concern {
            Concern::Plan => (1, 0),
            Concern::Faults => (2, 0),
            Concern::Server(id) => (3, id),
            Concern::Disk(id) => (4, id),
            Concern::Client(id) => (5, id),
            Concern::Recovery => (6, 0),
            Concern::Fault(id) => (7, id & 0xffff_ffff),
            Concern::Sectors => (8, 0),
            Concern::Platter(id) => (9, id),
            Concern::Network => (10, 0),
            Concern::Extra => (11, 0),
            Concern::Chance => (12, 0),
            Concern::Rules => (13, 0),
            Concern::Limits(id) => (14, id),
            Concern::Groups => (15, 0),
            Concern::Rot => (16, 0),
            Concern::Votes => (17, 0),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(kind << 32 | number);
        Stream { source: Source::Seed(Box::new(rng)), drawn: None }
    }

    /// The stream that draws what these bytes say. After their end it draws the largest numbers
    /// that it can.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Stream { source: Source::Bytes(bytes.iter().copied().collect()), drawn: None }
    }

    /// The same, and keeps what it draws.
    pub fn noted(self) -> Self {
        Stream { drawn: Some(Vec::new()), ..self }
    }

    /// What was drawn since then: the bytes of a stream that draws the same.
    pub fn into_drawn(self) -> Vec<u8> {
        self.drawn.unwrap_or_default()
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.at_most(u64::MAX)
    }

    /// A number from 0 to `n - 1`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.at_most(n - 1) }
    }

    fn at_most(&mut self, most: u64) -> u64 {
        let n_bytes = most.max(1).ilog2() as usize / 8 + 1;
        let number = match &mut self.source {
            Source::Seed(rng) => rng.next_u64(),
            Source::Bytes(bytes) if bytes.len() < n_bytes => {
                bytes.clear();
                most
            }
            Source::Bytes(bytes) => {
                bytes.drain(..n_bytes).rev().fold(0, |number, byte| number << 8 | u64::from(byte))
            }
        };
        let drawn = if most == u64::MAX { number } else { number % (most + 1) };
        if let Some(bytes) = &mut self.drawn {
            bytes.extend_from_slice(&drawn.to_le_bytes()[..n_bytes]);
        }
        drawn
    }

    /// A number from `least` to `most`, both possible.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        assert!(least <= most);
        least + self.below(most - least + 1)
    }

    /// A number from `least` to `most` on a logarithmic scale.
    pub fn log_between(&mut self, least: u64, most: u64) -> u64 {
        assert!(0 < least && least <= most);
        let octaves = u64::from((most / least).ilog2());
        let octave = self.below(octaves + 1);
        let from = least << octave;
        self.between(from, (from * 2 - 1).min(most).max(from))
    }

    /// True in `n` of 1,000 cases.
    pub fn per_mille(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }

    /// True in half of the cases.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// One of `choices`, which is not empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// 32 random bytes.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.bits().to_le_bytes());
        }
        bytes
    }
}

/// A number that depends on all of `parts` and on their order.
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, &part| {
        let mut x = (hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let mut one = Stream::new(7, Concern::Disk(1));
        let mut same = Stream::new(7, Concern::Disk(1));
        let mut other = Stream::new(7, Concern::Disk(2));
        let first = one.bits();
        assert_eq!(first, same.bits());
        assert_ne!(first, other.bits());
    }

    #[test]
    fn a_logarithmic_draw_stays_in_its_range() {
        let mut stream = Stream::new(1, Concern::Plan);
        for _ in 0..1000 {
            let n = stream.log_between(3, 1000);
            assert!((3..=1000).contains(&n), "{n}");
        }
    }
}
