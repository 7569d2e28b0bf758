//! Where metrics go: the lines of `mntr`, or the text that Prometheus reads.
//!
//! Invariant: what there is to tell is said once, for all of them.

use std::fmt::Display;

use zokor_core::replica::{Spread, Summary};

use super::report::average;

/// Takes metrics.
pub(super) trait Sink {
    /// A state, in a word.
    fn word(&mut self, name: &str, word: &str);

    /// A number of this moment.
    fn gauge(&mut self, name: &str, value: &dyn Display);

    /// Such numbers by key.
    fn gauges(&mut self, set: &str, values: &[(&str, i64)]);

    /// A number that only grows.
    fn counter(&mut self, name: &str, count: u64);

    /// Such numbers by key.
    fn counters(&mut self, set: &str, counts: &[(&str, u64)]);

    /// Numbers summed up; of how they are spread the median is enough.
    fn summary(&mut self, name: &str, spread: &Spread);

    /// Such sums by key.
    fn summaries(&mut self, set: &str, summaries: &[(&str, Summary)]);

    /// Numbers summed up, with how they are spread.
    fn spread(&mut self, name: &str, spread: &Spread);
}

/// The lines of `mntr`.
#[derive(Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    fn sums(&mut self, name: &str, summary: Summary) {
        let Summary { count, sum, min, max } = summary;
        self.put(&format!("avg_{name}"), average(u128::from(sum), count));
        for (what, number) in [("min", min), ("max", max), ("cnt", count), ("sum", sum)] {
            self.put(&format!("{what}_{name}"), number);
        }
    }

    fn put(&mut self, key: &str, value: impl Display) {
        self.0.push_str(&format!("zk_{key}\t{value}\n"));
    }
}

impl Sink for Lines {
    fn word(&mut self, name: &str, word: &str) {
        self.put(name, word);
    }

    fn gauge(&mut self, name: &str, value: &dyn Display) {
        self.put(name, value);
    }

    fn gauges(&mut self, set: &str, values: &[(&str, i64)]) {
        values.iter().for_each(|(key, value)| self.put(&format!("{key}_{set}"), value));
    }

    fn counter(&mut self, name: &str, count: u64) {
        self.put(name, count);
    }

    fn counters(&mut self, set: &str, counts: &[(&str, u64)]) {
        counts.iter().for_each(|(key, count)| self.put(&format!("{key}_{set}"), count));
    }

    fn summary(&mut self, name: &str, spread: &Spread) {
        self.sums(name, spread.summary());
    }

    fn summaries(&mut self, set: &str, summaries: &[(&str, Summary)]) {
        summaries.iter().for_each(|(key, summary)| self.sums(&format!("{key}_{set}"), *summary));
    }

    fn spread(&mut self, name: &str, spread: &Spread) {
        self.sums(name, spread.summary());
        for (what, per_mille) in [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)] {
            self.put(&format!("{what}_{name}"), spread.quantile(per_mille));
        }
    }
}
