//! Numbers summed up as they come: how many, how large, how spread.
//!
//! Invariant: to note a number costs a few additions; nothing is kept of each, and a quantile is
//! wrong by no more than one part in sixteen. Whole numbers only, so that two runs agree.

/// How many numbers there were, and how large they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// All together.
    pub sum: u64,
    /// The smallest; 0 before the first.
    pub min: u64,
    /// The largest; 0 before the first.
    pub max: u64,
}

impl Summary {
    /// Takes one more into account.
    pub fn note(&mut self, number: u64) {
        self.min = if self.count == 0 { number } else { self.min.min(number) };
        self.max = self.max.max(number);
        self.count += 1;
        self.sum = self.sum.saturating_add(number);
    }
}

/// A [`Summary`] that also knows how the numbers are spread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    summary: Summary,
    /// How many fell into each bucket; empty before the first.
    buckets: Vec<u32>,
}

impl Spread {
    /// Takes one more into account.
    pub fn note(&mut self, number: u64) {
        self.summary.note(number);
        if self.buckets.is_empty() {
            self.buckets.resize(N_BUCKETS, 0);
        }
        let bucket = &mut self.buckets[bucket_of(number)];
        *bucket = bucket.saturating_add(1);
    }

    /// How many there were, and how large.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// A number that is not below `per_mille` thousandths of all: 500 asks for the median. 0 before
    /// the first.
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let noted: u64 = self.buckets.iter().map(|&n| u64::from(n)).sum();
        let rank = (noted * per_mille).div_ceil(1_000).max(1);
        let mut passed = 0;
        for (bucket, &n) in self.buckets.iter().enumerate() {
            passed += u64::from(n);
            if passed >= rank {
                return largest_in(bucket).clamp(self.summary.min, self.summary.max);
            }
        }
        0
    }
}

/// Numbers below 2^5 have a bucket each; every further power of two has 2^4 of the same width.
const EXACT_BITS: u32 = 5;
const SUB_BITS: u32 = EXACT_BITS - 1;
/// Numbers from here up share the last bucket.
const TOP_BITS: u32 = 32;
const N_BUCKETS: usize = (1 << EXACT_BITS) + (((TOP_BITS - EXACT_BITS) as usize) << SUB_BITS);

fn bucket_of(number: u64) -> usize {
    let number = number.min((1 << TOP_BITS) - 1);
    let bits = u64::BITS - number.leading_zeros();
    if bits <= EXACT_BITS {
        return number as usize;
    }
    let octave = (bits - EXACT_BITS - 1) as usize;
    let within = (number >> (bits - EXACT_BITS)) as usize & ((1 << SUB_BITS) - 1);
    (1 << EXACT_BITS) + (octave << SUB_BITS) + within
}

fn largest_in(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(1 << EXACT_BITS) else { return bucket as u64 };
    let (octave, within) = (above >> SUB_BITS, above & ((1 << SUB_BITS) - 1));
    let first = ((1 << SUB_BITS) + within as u64) << (octave + 1);
    first + (1 << (octave + 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_and_knows_the_extremes() {
        let mut summary = Summary::default();
        [7, 3, 9].into_iter().for_each(|number| summary.note(number));
        assert_eq!(summary, Summary { count: 3, sum: 19, min: 3, max: 9 });
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        let mut next = 0;
        for bucket in 0..N_BUCKETS {
            assert_eq!(bucket_of(next), bucket, "{next}");
            let last = largest_in(bucket);
            assert_eq!(bucket_of(last), bucket, "{last}");
            assert!(last - next <= next / 16, "{next} to {last} is too wide");
            next = last + 1;
        }
        assert_eq!(next, 1 << TOP_BITS);
        assert_eq!(bucket_of(u64::MAX), N_BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_near_and_never_outside_what_was_noted() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile(500), 0);
        (1..=1_000).for_each(|number| spread.note(number));
        for (per_mille, exact) in [(500, 500), (950, 950), (990, 990), (999, 999)] {
            let found = spread.quantile(per_mille);
            assert!(found >= exact && found <= exact + exact / 16, "{per_mille}: {found}");
        }
        assert_eq!(spread.quantile(1_000), 1_000);
        let mut one = Spread::default();
        one.note(u64::MAX);
        assert_eq!((one.quantile(1), one.quantile(999)), (u64::MAX, u64::MAX));
    }
}
