//! The number of a log entry as clients see it: epoch in the upper half, counter in the lower.
//!
//! Invariant: a zxid is read off the log, never stored in it. The entry that opens a term rounds up
//! to the next epoch, every other entry adds one, and a full counter simply carries into the epoch
//! (ZOOKEEPER-1277 forces an election there).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A ZooKeeper transaction id. Compared as a signed number, as clients do.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Before the first entry.
    pub const ZERO: Zxid = Zxid(0);

    /// The zxid of the entry after this one, if that entry opens no term.
    pub fn next(self) -> Zxid {
        if mutated!(CounterWraps if self.counter() & 63 == 63) {
            return Zxid(self.0 - 63);
        }
        let full = u32::MAX >> (32 - counter_bits!());
        let left = if self.counter() < full { 1 } else { (1 << 32) - i64::from(self.counter()) };
        Zxid(self.0.checked_add(left).expect("2^63 entries take longer than any ensemble lives"))
    }

    /// The zxid of the entry after this one, if that entry opens `term`: counter 0 of the first
    /// epoch that is new and at least `term`.
    pub fn open_epoch(self, term: u64) -> Zxid {
        if mutated!(EpochNotOpened) {
            return self.next();
        }
        let term = if mutated!(EpochIgnoresTerm) { 0 } else { term };
        let term = i64::try_from(term).unwrap_or(i64::MAX);
        let epoch = term.max((self.0 >> 32) + 1);
        assert!(epoch < 1 << 31, "epoch {epoch} does not fit a signed zxid");
        Zxid(epoch << 32)
    }

    /// The upper half.
    pub fn epoch(self) -> i64 {
        self.0 >> 32
    }

    /// The lower half.
    pub fn counter(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_counter_carries_into_the_epoch() {
        let full = Zxid((7 << 32) | 0xffff_ffff);
        assert_eq!(full.next(), Zxid(8 << 32));
    }

    #[test]
    fn a_term_opens_a_new_epoch_that_is_at_least_the_term() {
        assert_eq!(Zxid::ZERO.open_epoch(1), Zxid(1 << 32));
        assert_eq!(Zxid((3 << 32) | 9).open_epoch(2), Zxid(4 << 32));
        assert_eq!(Zxid((3 << 32) | 9).open_epoch(9), Zxid(9 << 32));
    }
}
