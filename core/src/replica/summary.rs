//! Numbers summed up as they come: how many, how large, how spread.
//!
//! Invariant: to note a number costs a few additions; nothing is kept of each.

use hdrhistogram::Histogram;

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
        self.note_times(number, 1);
    }

    /// Takes the same number into account so many times, at least once.
    fn note_times(&mut self, number: u64, times: u32) {
        self.min = if self.count == 0 { number } else { self.min.min(number) };
        self.max = self.max.max(number);
        self.count += u64::from(times);
        self.sum = self.sum.saturating_add(number.saturating_mul(u64::from(times)));
    }
}

/// A [`Summary`] that also knows how the numbers are spread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    summary: Summary,
    /// `None` before the first.
    histogram: Option<Histogram<u32>>,
}

impl Spread {
    /// Takes one more into account. What is larger than 2^32 is spread as that.
    pub fn note(&mut self, number: u64) {
        self.note_times(number, 1);
    }

    /// Takes the same number into account so many times, at least once.
    pub(super) fn note_times(&mut self, number: u64, times: u32) {
        self.summary.note_times(number, times);
        let histogram = self.histogram.get_or_insert_with(|| {
            Histogram::new(SIGNIFICANT_DIGITS).expect("so many digits may be asked for")
        });
        histogram.record_n(number.min(1 << 32), times).expect("it grows as it must");
    }

    /// How many there were, and how large.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// A number that is not below `per_mille` thousandths of all: 500 asks for the median. 0 before
    /// the first.
    pub fn quantile(&self, per_mille: u32) -> u64 {
        let quantile = f64::from(per_mille) / 1_000.0;
        let found = self.histogram.as_ref().map_or(0, |it| it.value_at_quantile(quantile));
        found.clamp(self.summary.min, self.summary.max)
    }
}

/// A quantile is wrong by a hundredth at most.
const SIGNIFICANT_DIGITS: u8 = 2;

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
    fn quantiles_are_near_and_never_outside_what_was_noted() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile(500), 0);
        (1..=1_000).for_each(|number| spread.note(number));
        for (per_mille, exact) in [(500, 500), (950, 950), (990, 990), (999, 999)] {
            let found = spread.quantile(per_mille);
            assert!(found >= exact && found <= exact + exact / 100 + 1, "{per_mille}: {found}");
        }
        assert_eq!(spread.quantile(1_000), 1_000);
        let mut one = Spread::default();
        one.note(u64::MAX);
        assert_eq!((one.quantile(1), one.quantile(999)), (u64::MAX, u64::MAX));
    }
}
