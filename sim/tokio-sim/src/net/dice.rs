//! Random numbers of the network.
//!
//! Invariant: every direction of every connection has dice of its own, so that what one connection
//! does never changes the luck of another.

/// One sequence of numbers (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The sequence named by `parts`.
    pub(super) fn new(parts: &[u64]) -> Self {
        let mut dice = Dice(0);
        for &part in parts {
            dice.0 ^= part;
            dice.0 = dice.bits();
        }
        dice
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number from 0 to `n - 1`; 0 if `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.bits() % n }
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// True in `n` of a million cases.
    pub(super) fn ppm(&mut self, n: u64) -> bool {
        n > 0 && self.below(1_000_000) < n
    }

    /// How much of `n` bytes moves at once, where not all of them have to: anything from one byte
    /// up, and now and then very little.
    pub(super) fn part(&mut self, n: usize) -> usize {
        let most = if self.below(8) == 0 { n.min(8) } else { n };
        1 + self.below(most as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_something_and_not_more_than_all() {
        let mut dice = Dice::new(&[1, 2]);
        for n in 1..200 {
            let part = dice.part(n);
            assert!((1..=n).contains(&part), "{part} of {n}");
        }
        assert_ne!(Dice::new(&[1, 2]).bits(), Dice::new(&[2, 1]).bits());
    }
}
