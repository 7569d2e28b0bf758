//! What the server keeps of one client connection.
//!
//! Invariants: answers leave in the order in which they were said; the encoded bytes that wait are
//! bounded by a limit and one answer, and what is said beyond waits unencoded, where a large answer
//! is only a reference into the tree; nothing is said after the connection is finished.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;
use zokor_core::id::{SessionId, Xid};
use zokor_core::proto::{ConnectResponse, ErrorCode, Event, Request, Response, Zxid};
use zokor_core::time::{Instant, Now};

use super::config::Limits;
use super::counts::Sent;
use super::facts::{ConnectionFacts, Traffic, operation};
use super::machine::wall_of;
use crate::wire::response::{encode_connected, encode_event, encode_reply};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing whole has come yet.
    Greeting,
    /// The connect request is with the replica.
    Connecting,
    /// It may send requests.
    Established,
    /// What waits is still written, then it is closed.
    Finishing,
    /// It is closed as it is.
    Cut,
}

/// One thing to be said to a client.
#[derive(Debug)]
pub(super) enum Saying {
    Connected(ConnectResponse),
    Reply { xid: Xid, zxid: Zxid, result: Result<Response, ErrorCode> },
    Notify { zxid: Zxid, event: Event },
}

/// One client connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) address: SocketAddr,
    pub(super) wake: Arc<Notify>,
    pub(super) phase: Phase,
    /// Whether the replica is owed a `Disconnect` when it ends.
    pub(super) known: bool,
    pub(super) session: Option<SessionId>,
    /// The negotiated session timeout, zero before.
    pub(super) timeout: Duration,
    pub(super) opened: Now,
    /// When a byte of the client last came, or its connection was last held up by us.
    pub(super) last_heard: Instant,
    /// When a byte last went out, or there was none to go.
    pub(super) last_progress: Instant,
    /// Whether nothing is read at the moment for the sake of a limit.
    pub(super) held_up: bool,
    /// Whether it is in the driver's list of those that wait for the end of a flood.
    pub(super) flooded_out: bool,
    /// Whether it is in the driver's list of those to be woken.
    pub(super) due: bool,
    pub(super) traffic: Traffic,
    /// When each request that waits for its answer was decoded, and whether it changes anything;
    /// oldest first.
    asked: VecDeque<(Instant, bool)>,
    /// Encoded, and not yet with the connection's task.
    out: BytesMut,
    /// Bytes that the connection's task has taken and not written.
    in_task: usize,
    /// Said while too much was encoded already.
    waiting: VecDeque<Saying>,
}

impl Connection {
    pub(super) fn new(address: SocketAddr, now: Now) -> Self {
        Connection {
            address,
            wake: Arc::new(Notify::new()),
            phase: Phase::Greeting,
            known: false,
            session: None,
            timeout: Duration::ZERO,
            opened: now,
            last_heard: now.instant,
            last_progress: now.instant,
            held_up: false,
            flooded_out: false,
            due: false,
            traffic: Traffic::default(),
            asked: VecDeque::new(),
            out: BytesMut::new(),
            in_task: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Notes the connect request.
    pub(super) fn greeted(&mut self, now: Instant) {
        self.traffic.received += 1;
        self.traffic.last_operation = "SESS";
        self.asked.push_back((now, true));
    }

    /// Notes a request.
    pub(super) fn asked(&mut self, now: Instant, xid: Xid, request: &Request) {
        self.traffic.received += 1;
        self.traffic.last_xid = Some(xid);
        self.traffic.last_operation = operation(request);
        self.asked.push_back((now, matches!(request, Request::Write(_))));
    }

    /// Notes the answer to the oldest request; its latency and whether it changed anything, if
    /// there was such a request.
    pub(super) fn answered(&mut self, now: Now, since_start: Duration) -> Option<(Duration, bool)> {
        let (since, is_update) = self.asked.pop_front()?;
        let latency = now.instant.since(since);
        self.traffic.latency.note(latency);
        self.traffic.last_reply = Some(since_start);
        Some((latency, is_update))
    }

    /// Says something after all that was said before. `false` if too much waits already.
    pub(super) fn say(
        &mut self,
        now: Instant,
        saying: Saying,
        limits: &Limits,
        sent: &mut Sent,
    ) -> bool {
        if matches!(self.phase, Phase::Finishing | Phase::Cut) {
            return true;
        }
        if self.unsent_bytes() == 0 && self.waiting.is_empty() {
            self.last_progress = now;
        }
        if self.waiting.is_empty() && self.unsent_bytes() < limits.unsent_bytes {
            self.encode(saying, sent);
        } else {
            self.waiting.push_back(saying);
        }
        self.waiting.len() <= limits.unsent_answers
    }

    /// Says `bytes`, and nothing after them.
    pub(super) fn say_last(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.traffic.sent += 1;
        self.phase = Phase::Finishing;
    }

    /// Moves what waits into `out`, if the task has written all of it.
    pub(super) fn take(&mut self, out: &mut BytesMut, limits: &Limits, sent: &mut Sent) {
        if !out.is_empty() {
            return;
        }
        assert_eq!(self.in_task, 0, "the task has written all that it had");
        while self.out.len() < limits.unsent_bytes
            && let Some(saying) = self.waiting.pop_front()
        {
            self.encode(saying, sent);
        }
        if out.capacity() > KEPT_CAPACITY {
            *out = BytesMut::new();
        }
        std::mem::swap(&mut self.out, out);
        self.in_task = out.len();
    }

    /// The task has written `n` bytes.
    pub(super) fn wrote(&mut self, now: Instant, n: usize) {
        assert!(n <= self.in_task, "{n} bytes written of {} taken", self.in_task);
        self.in_task -= n;
        self.last_progress = now;
    }

    /// Encoded bytes that are not yet written.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.out.len() + self.in_task
    }

    /// Whether so much waits to be written that nothing more should be read.
    pub(super) fn is_behind(&self, limits: &Limits) -> bool {
        !self.waiting.is_empty() || self.unsent_bytes() >= limits.unsent_bytes
    }

    /// Why the connection has to be cut at `now`, if it has.
    pub(super) fn overdue(&self, now: Instant, limits: &Limits) -> Option<&'static str> {
        let stalled =
            self.unsent_bytes() > 0 && now.since(self.last_progress) >= limits.write_timeout;
        if stalled {
            return Some("it has not taken a byte for too long");
        }
        let silent = now.since(self.last_heard);
        match self.phase {
            Phase::Greeting => (now.since(self.opened.instant) >= limits.handshake_timeout)
                .then_some("it has not sent a connect request in time"),
            // While it is held up by us its pings wait in the socket.
            Phase::Established => (!self.held_up && silent >= self.timeout)
                .then_some("nothing was heard from it for its session timeout"),
            Phase::Connecting | Phase::Finishing | Phase::Cut => None,
        }
    }

    pub(super) fn facts(&self, now: Now, queued: usize, limits: &Limits) -> ConnectionFacts {
        let expires = match self.phase {
            Phase::Greeting => self.opened.instant + limits.handshake_timeout,
            _ if self.session.is_some() => self.last_heard + self.timeout,
            _ => self.last_progress + limits.write_timeout,
        };
        ConnectionFacts {
            address: self.address,
            session: self.session,
            timeout: self.timeout,
            queued,
            reading: !self.held_up && !matches!(self.phase, Phase::Finishing | Phase::Cut),
            writing: self.unsent_bytes() > 0,
            since: self.opened.wall,
            expires: wall_of(expires, now),
            traffic: self.traffic.clone(),
        }
    }

    fn encode(&mut self, saying: Saying, sent: &mut Sent) {
        self.traffic.sent += 1;
        let n_before = self.out.len();
        let n_bytes = |out: &BytesMut| (out.len() - n_before).saturating_sub(LENGTH_BYTES);
        match saying {
            Saying::Connected(response) => encode_connected(&mut self.out, &response),
            Saying::Reply { xid, zxid, result } => {
                self.traffic.last_zxid = Some(zxid);
                encode_reply(&mut self.out, xid, zxid, &result);
                sent.response(n_bytes(&self.out));
            }
            Saying::Notify { zxid, event } => {
                encode_event(&mut self.out, zxid, &event);
                sent.event(n_bytes(&self.out));
            }
        }
    }
}

/// Bytes before a frame that tell its length.
const LENGTH_BYTES: usize = 4;
/// A buffer that grew beyond this is not kept for reuse.
const KEPT_CAPACITY: usize = 64 << 10;
