//! Requests that are decoded and wait to be handed to the replica.
//!
//! Invariants: requests of one connection enter the replica in the order in which they came; while
//! one waits, none overtakes it. Rules: ZooKeeper's request throttler (`RequestThrottler`,
//! `Request.isStale`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use zokor_core::id::{ConnId, Xid};
use zokor_core::proto::{Request, Write};
use zokor_core::time::Instant;

/// ZooKeeper's `request_throttle_*` and `throttled_op_wait_time`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestThrottle {
    /// While as many requests wait for their answer, others are not handed to the replica; 0 for no
    /// limit. Default 0.
    pub max_requests: usize,
    /// Whether stale requests are dropped rather than handed over. Default true.
    pub drop_stale: bool,
    /// Whether a request is stale that has waited for longer than its session's timeout. Default
    /// false.
    pub stale_latency_check: bool,
    /// Whether a request is stale whose connection has ended. Default true.
    pub stale_connection_check: bool,
    /// A request that has waited for longer is answered with `ThrottledOp` and not carried out;
    /// `None` for no such limit. Default `None`.
    pub op_wait_time: Option<Duration>,
}

impl Default for RequestThrottle {
    fn default() -> Self {
        RequestThrottle {
            max_requests: 0,
            drop_stale: true,
            stale_latency_check: false,
            stale_connection_check: true,
            op_wait_time: None,
        }
    }
}

impl RequestThrottle {
    /// Whether a request waits at all while `n_outstanding` are with the replica.
    pub(super) fn is_full(&self, n_outstanding: u64) -> bool {
        self.max_requests != 0 && n_outstanding >= self.max_requests as u64
    }

    /// Whether `queued` is dropped, since it has waited for longer than `timeout`.
    pub(super) fn is_late(&self, queued: &Queued, now: Instant, timeout: Duration) -> bool {
        self.drop_stale
            && self.stale_latency_check
            && !is_close(&queued.request)
            && now.since(queued.since) > timeout
    }

    /// Whether `queued` is dropped when its connection has ended. A `closeSession` outlives it.
    pub(super) fn is_dropped_with_connection(&self, queued: &Queued) -> bool {
        self.drop_stale && self.stale_connection_check && !is_close(&queued.request)
    }

    /// Whether `queued` is to be answered with `ThrottledOp`. Pings and the ends of sessions never
    /// are.
    pub(super) fn is_throttled(&self, queued: &Queued, now: Instant) -> bool {
        let waited_too_long = self.op_wait_time.is_some_and(|most| now.since(queued.since) > most);
        waited_too_long && !is_close(&queued.request) && queued.request != Request::Ping
    }
}

/// One request that waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) conn: ConnId,
    pub(super) xid: Xid,
    pub(super) request: Request,
    pub(super) since: Instant,
}

/// All that wait, first come, first served.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: VecDeque<Queued>,
    per_connection: BTreeMap<ConnId, usize>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// How many requests of `conn` wait.
    pub(super) fn of(&self, conn: ConnId) -> usize {
        self.per_connection.get(&conn).copied().unwrap_or(0)
    }

    pub(super) fn push(&mut self, queued: Queued) {
        *self.per_connection.entry(queued.conn).or_insert(0) += 1;
        self.line.push_back(queued);
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.line.pop_front()?;
        self.uncount(queued.conn, 1);
        Some(queued)
    }

    /// All that wait, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.line.iter()
    }

    /// Takes out all that `conn` has asked for.
    pub(super) fn take(&mut self, conn: ConnId) -> Vec<Queued> {
        if self.of(conn) == 0 {
            return Vec::new();
        }
        let (taken, kept) =
            std::mem::take(&mut self.line).into_iter().partition(|queued| queued.conn == conn);
        self.line = kept;
        self.per_connection.remove(&conn);
        VecDeque::into(taken)
    }

    fn uncount(&mut self, conn: ConnId, n: usize) {
        let count = self.per_connection.get_mut(&conn).expect("every request is counted");
        *count -= n;
        if *count == 0 {
            self.per_connection.remove(&conn);
        }
    }
}

fn is_close(request: &Request) -> bool {
    *request == Request::Write(Write::CloseSession)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(conn: u64, xid: i32, request: Request) -> Queued {
        let since = Instant::from_micros(1_000_000);
        Queued { conn: ConnId(conn), xid: Xid(xid), request, since }
    }

    fn later(ms: u64) -> Instant {
        Instant::from_micros(1_000_000 + ms * 1_000)
    }

    #[test]
    fn what_one_connection_asked_for_is_taken_out_in_order_and_the_rest_stays() {
        let mut queue = Queue::default();
        for n in 0..6 {
            queue.push(queued(n % 2, n as i32, Request::Ping));
        }
        assert_eq!((queue.of(ConnId(0)), queue.of(ConnId(1)), queue.len()), (3, 3, 6));
        let xids = |line: &[Queued]| line.iter().map(|queued| queued.xid.0).collect::<Vec<_>>();
        assert_eq!(xids(&queue.take(ConnId(1))), [1, 3, 5]);
        assert_eq!(xids(&queue.take(ConnId(1))), []);
        assert_eq!(queue.pop().map(|queued| queued.xid), Some(Xid(0)));
        assert_eq!((queue.of(ConnId(0)), queue.of(ConnId(1)), queue.len()), (2, 0, 2));
        while queue.pop().is_some() {}
        assert!(queue.is_empty() && queue.per_connection.is_empty());
    }

    #[test]
    fn pings_and_the_ends_of_sessions_are_never_throttled() {
        let op_wait_time = Some(Duration::from_millis(10));
        let throttle = RequestThrottle { op_wait_time, ..RequestThrottle::default() };
        let sync = queued(1, 1, Request::Sync("/".into()));
        assert!(!throttle.is_throttled(&sync, later(10)));
        assert!(throttle.is_throttled(&sync, later(11)));
        let close = Request::Write(Write::CloseSession);
        for request in [Request::Ping, close] {
            assert!(!throttle.is_throttled(&queued(1, 1, request), later(60_000)));
        }
        let off = RequestThrottle::default();
        assert!(!off.is_throttled(&sync, later(60_000)));
    }

    #[test]
    fn a_request_is_stale_only_by_the_checks_that_are_on() {
        let timeout = Duration::from_secs(4);
        let sync = queued(1, 1, Request::Sync("/".into()));
        let close = queued(1, 1, Request::Write(Write::CloseSession));
        let with = |drop_stale, latency, connection| RequestThrottle {
            drop_stale,
            stale_latency_check: latency,
            stale_connection_check: connection,
            ..RequestThrottle::default()
        };
        let default = RequestThrottle::default();
        assert!(!default.is_late(&sync, later(5_000), timeout));
        assert!(default.is_dropped_with_connection(&sync));
        assert!(!default.is_dropped_with_connection(&close));
        assert!(with(true, true, true).is_late(&sync, later(4_001), timeout));
        assert!(!with(true, true, true).is_late(&sync, later(4_000), timeout));
        assert!(!with(true, true, true).is_late(&close, later(5_000), timeout));
        assert!(!with(false, true, true).is_late(&sync, later(5_000), timeout));
        assert!(!with(false, true, true).is_dropped_with_connection(&sync));
        assert!(!with(true, true, false).is_dropped_with_connection(&sync));
    }
}
