//! When operations are due, in nanoseconds since the run began.
//!
//! Invariant: a slow server moves no due time. An operation that could not be sent when it was due
//! keeps that time, from which its latency counts; otherwise the worst moments would be measured
//! least ("coordinated omission").

/// A fixed rate, from time 0 on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    per_s: f64,
}

impl Pace {
    /// `per_s` operations a second, more than 0.
    pub(super) fn new(per_s: f64) -> Self {
        assert!(per_s > 0.0 && per_s.is_finite());
        Pace { per_s }
    }

    /// When operation number `index` is due.
    pub(super) fn due_ns(self, index: u64) -> u64 {
        (index as f64 * NS_PER_S / self.per_s) as u64
    }
}

/// Deals due operations to connections in turn: operation `k` is for connection `k % n`.
#[derive(Clone, Debug)]
pub(super) struct Deal {
    pace: Pace,
    n_connections: u64,
    n_dealt: u64,
}

impl Deal {
    /// None dealt yet.
    pub(super) fn new(pace: Pace, n_connections: usize) -> Self {
        Deal { pace, n_connections: n_connections as u64, n_dealt: 0 }
    }

    /// The next operation that is due by `now_ns`: its connection and its due time.
    pub(super) fn next(&mut self, now_ns: u64) -> Option<(usize, u64)> {
        let due_ns = self.next_due_ns();
        if due_ns > now_ns {
            return None;
        }
        let connection = (self.n_dealt % self.n_connections) as usize;
        self.n_dealt += 1;
        Some((connection, due_ns))
    }

    /// When the next one will be due.
    pub(super) fn next_due_ns(&self) -> u64 {
        self.pace.due_ns(self.n_dealt)
    }
}

const NS_PER_S: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_due_at_even_distances() {
        let pace = Pace::new(500.0);
        let due: Vec<u64> = (0..4).map(|index| pace.due_ns(index)).collect();
        assert_eq!(due, [0, 2_000_000, 4_000_000, 6_000_000]);
        assert_eq!(Pace::new(0.5).due_ns(3), 6_000_000_000);
        assert_eq!(Pace::new(1e9).due_ns(5), 5);
    }

    #[test]
    fn due_operations_go_round_the_connections_and_keep_their_times() {
        let mut deal = Deal::new(Pace::new(1_000.0), 3);
        assert_eq!(deal.next(0), Some((0, 0)));
        assert_eq!(deal.next(0), None);
        assert_eq!(deal.next_due_ns(), 1_000_000);
        // The loop was late by 3 ms: all that was due comes at once, each with its own time.
        let late: Vec<_> = std::iter::from_fn(|| deal.next(4_500_000)).collect();
        assert_eq!(late, [(1, 1_000_000), (2, 2_000_000), (0, 3_000_000), (1, 4_000_000)]);
    }
}
