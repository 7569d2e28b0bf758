//! What was measured: latencies by kind, errors by reason, and pauses.
//!
//! Invariant: a latency is recorded once. The histogram of the last second is added to the one of
//! the run before it is emptied, so that the sum of all seconds is the run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::mix::Kind;

/// All that is counted between the warm-up and the end.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    rows: Vec<Row>,
    errors: BTreeMap<(Kind, String), u64>,
    /// Between any two answers, the beginning and the end included.
    pub(super) pause: Pause,
    /// Between any two answers to writes, likewise.
    pub(super) write_pause: Pause,
}

/// Latencies of one kind.
#[derive(Clone, Debug)]
struct Row {
    kind: Kind,
    run: Histogram<u64>,
    recent: Histogram<u64>,
}

/// What one second brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recent {
    /// Operations, of all kinds that count.
    pub(super) n_done: u64,
    /// Of their latencies.
    pub(super) p50_ns: u64,
    /// Of their latencies.
    pub(super) p99_ns: u64,
    /// Of their latencies.
    pub(super) max_ns: u64,
}

impl Tally {
    /// Nothing yet; pauses count from `now_ns`.
    pub(super) fn new(now_ns: u64) -> Self {
        Tally {
            rows: Vec::new(),
            errors: BTreeMap::new(),
            pause: Pause::new(now_ns),
            write_pause: Pause::new(now_ns),
        }
    }

    /// Counting begins: pauses count from here. Errors of before stay.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.pause = Pause::new(now_ns);
        self.write_pause = Pause::new(now_ns);
    }

    /// An operation that succeeded: due or sent at `begun_ns`, answered at `now_ns`.
    pub(super) fn done(&mut self, kind: Kind, begun_ns: u64, now_ns: u64) {
        self.pause.heard(now_ns);
        if kind.is_write() {
            self.write_pause.heard(now_ns);
        }
        let at = self.rows.iter().position(|row| row.kind == kind).unwrap_or_else(|| {
            self.rows.push(Row { kind, run: empty(), recent: empty() });
            self.rows.len() - 1
        });
        self.rows[at].recent.saturating_record(now_ns.saturating_sub(begun_ns).max(1));
    }

    /// An operation that failed, and why.
    pub(super) fn failed(&mut self, kind: Kind, why: &str) {
        *self.errors.entry((kind, why.to_owned())).or_default() += 1;
    }

    /// Ends a second: what it brought goes into the run.
    pub(super) fn turn_over(&mut self, counts: impl Fn(Kind) -> bool) -> Recent {
        let mut all = empty();
        for row in &mut self.rows {
            add(&mut row.run, &row.recent);
            if counts(row.kind) {
                add(&mut all, &row.recent);
            }
            row.recent.reset();
        }
        let at = |q| if all.is_empty() { 0 } else { all.value_at_quantile(q) };
        let (p50_ns, p99_ns) = (at(0.5), at(0.99));
        Recent { n_done: all.len(), p50_ns, p99_ns, max_ns: all.max() }
    }

    /// The latencies of the run by kind in the order of [`Kind::ALL`]. Turn over first.
    pub(super) fn by_kind(&self) -> Vec<(Kind, &Histogram<u64>)> {
        let mut rows: Vec<_> = self.rows.iter().map(|row| (row.kind, &row.run)).collect();
        rows.sort_by_key(|&(kind, _)| kind);
        rows
    }

    /// The latencies of all kinds that `counts` accepts. Turn over first.
    pub(super) fn of_all(&self, counts: impl Fn(Kind) -> bool) -> Histogram<u64> {
        let mut all = empty();
        for row in self.rows.iter().filter(|row| counts(row.kind)) {
            add(&mut all, &row.run);
        }
        all
    }

    /// What failed: kind, reason, how often.
    pub(super) fn errors(&self) -> impl Iterator<Item = (Kind, &str, u64)> {
        self.errors.iter().map(|((kind, why), &n)| (*kind, why.as_str(), n))
    }

    /// How many operations failed.
    pub(super) fn n_errors(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// The longest time between two moments of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    last_ns: u64,
    longest_ns: u64,
}

impl Pause {
    fn new(now_ns: u64) -> Self {
        Pause { last_ns: now_ns, longest_ns: 0 }
    }

    /// One more moment; the last one at the end.
    pub(super) fn heard(&mut self, now_ns: u64) {
        self.longest_ns = self.longest_ns.max(now_ns.saturating_sub(self.last_ns));
        self.last_ns = now_ns;
    }

    /// The longest so far.
    pub(super) fn longest_ns(&self) -> u64 {
        self.longest_ns
    }
}

/// Up to ten minutes with three digits; longer is counted as ten minutes.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("the bounds are in order")
}

fn add(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    to.add(from).expect("they have the same bounds");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_sum_of_all_seconds_is_the_run() {
        let mut tally = Tally::new(0);
        for n in 1..=100 {
            tally.done(Kind::Get, 0, n * MS);
            if n % 25 == 0 {
                assert_eq!(tally.turn_over(|_| true).n_done, 25);
            }
        }
        assert_eq!(tally.turn_over(|_| true).n_done, 0, "nothing is counted twice");
        let all = tally.of_all(|_| true);
        assert_eq!(all.len(), 100);
        for (q, ms) in [(0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100)] {
            let found = all.value_at_quantile(q);
            assert!(found.abs_diff(ms * MS) <= ms * MS / 1_000, "{q}: {found}");
        }
    }

    #[test]
    fn kinds_are_apart_and_in_order_and_only_those_that_count_are_summed() {
        let mut tally = Tally::new(0);
        tally.done(Kind::Set, 0, 3 * MS);
        tally.done(Kind::Get, 0, MS);
        tally.done(Kind::Get, 0, 2 * MS);
        let recent = tally.turn_over(|kind| kind == Kind::Get);
        assert_eq!((recent.n_done, recent.max_ns / MS), (2, 2));
        let kinds: Vec<_> = tally.by_kind().iter().map(|(kind, h)| (*kind, h.len())).collect();
        assert_eq!(kinds, [(Kind::Get, 2), (Kind::Set, 1)]);
        assert_eq!(tally.of_all(|kind| kind == Kind::Set).len(), 1);
    }

    #[test]
    fn what_is_longer_than_the_histogram_is_counted_at_its_end() {
        let mut tally = Tally::new(0);
        tally.done(Kind::Get, 0, u64::MAX);
        tally.done(Kind::Get, 5, 5);
        tally.turn_over(|_| true);
        assert_eq!(tally.of_all(|_| true).len(), 2);
    }

    #[test]
    fn pauses_include_the_beginning_and_the_end() {
        let mut tally = Tally::new(10 * MS);
        tally.done(Kind::Get, 0, 17 * MS);
        tally.done(Kind::Set, 0, 20 * MS);
        tally.done(Kind::Get, 0, 21 * MS);
        tally.pause.heard(24 * MS);
        tally.write_pause.heard(24 * MS);
        assert_eq!(tally.pause.longest_ns(), 7 * MS);
        assert_eq!(tally.write_pause.longest_ns(), 10 * MS);
    }

    #[test]
    fn errors_are_counted_by_kind_and_reason() {
        let mut tally = Tally::new(0);
        tally.failed(Kind::Set, "NoNode");
        tally.failed(Kind::Get, "NoNode");
        tally.failed(Kind::Set, "NoNode");
        let errors: Vec<_> = tally.errors().collect();
        assert_eq!(errors, [(Kind::Get, "NoNode", 1), (Kind::Set, "NoNode", 2)]);
        assert_eq!(tally.n_errors(), 3);
    }
}
