//! What the driver and storage's workers count: the ground of ZooKeeper's metrics, beside what the
//! replica counts itself.
//!
//! Invariants: to count costs a few additions under a lock that is held anyway, or on the worker's
//! own thread, and keeps nothing of each request; nothing is ever decided by these numbers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zokor_core::raft::Ticket;
use zokor_core::replica::{Sizes, Spread};
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
    pub log_batches: Spread,
    /// Batches handed to the log's worker.
    pub log_jobs: u64,
    /// What was sent.
    pub sent: Sent,
    /// The log's own part of it: writing and syncing.
    pub sync_ms: Spread,
    /// Writing and syncing of snapshots.
    pub snapshot_ms: Spread,
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

/// How long a worker's steps took, summed up by the worker and read by the driver.
#[derive(Debug, Default)]
pub(super) struct StepTimes(Mutex<Spread>);

impl StepTimes {
    pub(super) fn note(&self, took: Duration) {
        self.lock().note(in_ms(took));
    }

    pub(super) fn spread(&self) -> Spread {
        self.lock().clone()
    }

    pub(super) fn reset(&self) {
        *self.lock() = Spread::default();
    }

    fn lock(&self) -> MutexGuard<'_, Spread> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole milliseconds.
pub(super) fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use zokor_core::replica::Summary;

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
        assert_eq!(counts.log_batches.summary(), Summary { count: 2, sum: 3, min: 1, max: 2 });
        assert_eq!(counts.log_ms.summary(), Summary { count: 3, sum: 31, min: 10, max: 11 });
    }

    #[test]
    fn times_of_steps_sum_up_and_start_anew() {
        let times = StepTimes::default();
        assert_eq!(times.spread().summary(), Summary::default());
        [4, 2, 9].into_iter().for_each(|ms| times.note(Duration::from_millis(ms)));
        assert_eq!(times.spread().summary(), Summary { count: 3, sum: 15, min: 2, max: 9 });
        times.reset();
        assert_eq!(times.spread().summary(), Summary::default());
    }
}
