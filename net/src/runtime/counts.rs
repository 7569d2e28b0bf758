//! What the driver and storage's workers count: the ground of ZooKeeper's metrics, beside what the
//! replica counts itself.
//!
//! Invariants: to count costs a few additions under a lock that is held anyway, or on the worker's
//! own thread, and keeps nothing of each request; nothing is ever decided by these numbers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use zokor_core::raft::Ticket;
use zokor_core::replica::{Sizes, Spread, Summary};
use zokor_core::time::Instant;

/// Counters of one server since it started, or since they were set back. Durations are in
/// milliseconds.
#[derive(Clone, Debug, Default)]
pub struct ServiceCounts {
    /// From a read's decoding to its answer.
    pub read_ms: Spread,
    /// From a write's decoding to its answer; the opening of a session is one.
    pub update_ms: Spread,
    /// How long those requests waited for their turn that did not go to the replica at once.
    pub queued_ms: Spread,
    /// Bytes of clients' frames and words, lengths included.
    pub bytes_received: u64,
    /// Connections that their client ended without a word.
    pub connections_dropped: u64,
    /// Connections that never sent a connect request, and were cut for it.
    pub greetings_expired: u64,
    /// From handing entries to the log's worker to their being durable.
    pub log_ms: Spread,
    /// Batches that became durable together.
    pub log_batches: Summary,
    /// Batches handed to the log's worker.
    pub log_jobs: u64,
    /// What was sent.
    pub sent: Sent,
    /// The log's own part of it: writing and syncing.
    pub sync_ms: Summary,
    /// Writing and syncing of snapshots.
    pub snapshot_ms: Summary,
}

/// Bytes that were sent, without the lengths of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Sizes of answers.
    pub sizes: Sizes,
    /// All answers together.
    pub response_bytes: u64,
    /// All events of watches together.
    pub event_bytes: u64,
}

impl Sent {
    /// An answer to a request.
    pub(super) fn response(&mut self, n_bytes: usize) {
        self.sizes.note(n_bytes);
        self.response_bytes += n_bytes as u64;
    }

    /// A watch has fired.
    pub(super) fn event(&mut self, n_bytes: usize) {
        self.event_bytes += n_bytes as u64;
    }
}

/// Batches on their way to the disk, oldest first.
#[derive(Debug, Default)]
pub(super) struct LogQueue(VecDeque<(Ticket, Instant)>);

impl LogQueue {
    pub(super) fn enter(&mut self, counts: &mut ServiceCounts, ticket: Ticket, now: Instant) {
        self.0.push_back((ticket, now));
        counts.log_jobs += 1;
    }

    /// Everything up to `ticket` is durable.
    pub(super) fn leave(&mut self, counts: &mut ServiceCounts, ticket: Ticket, now: Instant) {
        let mut n_together = 0;
        while let Some((_, since)) = self.0.pop_front_if(|(waiting, _)| *waiting <= ticket) {
            counts.log_ms.note(in_ms(now.since(since)));
            n_together += 1;
        }
        if n_together > 0 {
            counts.log_batches.note(n_together);
        }
    }
}

/// How long a worker's steps took, summed up by the worker and read by the driver. Between two of
/// its numbers another step may be counted.
#[derive(Debug)]
pub(super) struct StepTimes {
    count: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl Default for StepTimes {
    fn default() -> Self {
        let [count, sum, max] = [0; 3].map(AtomicU64::new);
        StepTimes { count, sum, min: AtomicU64::new(u64::MAX), max }
    }
}

impl StepTimes {
    pub(super) fn note(&self, took: Duration) {
        let ms = in_ms(took);
        self.min.fetch_min(ms, Ordering::Relaxed);
        self.max.fetch_max(ms, Ordering::Relaxed);
        self.sum.fetch_add(ms, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn summary(&self) -> Summary {
        let count = self.count.load(Ordering::Relaxed);
        let min = self.min.load(Ordering::Relaxed);
        Summary {
            count,
            sum: self.sum.load(Ordering::Relaxed),
            min: if min == u64::MAX { 0 } else { min },
            max: self.max.load(Ordering::Relaxed),
        }
    }

    pub(super) fn reset(&self) {
        self.min.store(u64::MAX, Ordering::Relaxed);
        for number in [&self.count, &self.sum, &self.max] {
            number.store(0, Ordering::Relaxed);
        }
    }
}

/// Whole milliseconds.
pub(super) fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_become_durable_together_are_one_group() {
        let (mut queue, mut counts) = (LogQueue::default(), ServiceCounts::default());
        let at = |ms: u64| Instant::from_micros(ms * 1_000);
        for ticket in 1..=3 {
            queue.enter(&mut counts, Ticket(ticket), at(ticket));
        }
        queue.leave(&mut counts, Ticket(2), at(12));
        queue.leave(&mut counts, Ticket(2), at(13));
        queue.leave(&mut counts, Ticket(3), at(13));
        assert_eq!(counts.log_jobs, 3);
        assert_eq!(counts.log_batches, Summary { count: 2, sum: 3, min: 1, max: 2 });
        assert_eq!(counts.log_ms.summary(), Summary { count: 3, sum: 31, min: 10, max: 11 });
    }

    #[test]
    fn times_of_steps_sum_up_and_start_anew() {
        let times = StepTimes::default();
        assert_eq!(times.summary(), Summary::default());
        [4, 2, 9].into_iter().for_each(|ms| times.note(Duration::from_millis(ms)));
        assert_eq!(times.summary(), Summary { count: 3, sum: 15, min: 2, max: 9 });
        times.reset();
        assert_eq!(times.summary(), Summary::default());
    }
}
