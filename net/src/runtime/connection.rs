//! What the server keeps of one client connection.
//!
//! Invariants: answers leave in the order in which they were said; the encoded bytes that wait are
//! bounded by a limit and one answer, and what is said beyond waits unencoded, where a large value
//! is only a reference into the tree; whatever waits is weighed; nothing is said after the
//! connection is finished.
//!
//! What a client asks for without taking it is bounded in three ways. Nothing more is read from it
//! while anything waits unencoded, or while its requests that wait for their answers weigh too much
//! or include too many whose answers may be long. It is cut if events, which nobody asks for one by
//! one, pile up, or if too little of what waits goes out. What then still is too much for all
//! connections together, the driver sees to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;
use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{ConnectResponse, ErrorCode, Event, OpResult, Response, Zxid};
use zokor_core::time::{Instant, Now};

use super::config::Limits;
use super::counts::Sent;
use super::facts::{ConnectionFacts, Traffic};
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

impl Saying {
    /// About how many bytes it keeps alive while it waits.
    fn weight(&self) -> usize {
        let part = |result: &OpResult| {
            size_of::<OpResult>()
                + match result {
                    OpResult::Names(names) => names.encoded().len(),
                    OpResult::Data(data, _) => data.as_ref().map_or(0, |data| data.len()),
                    OpResult::Create(path) | OpResult::Create2(path, _) => path.len(),
                    _ => 0,
                }
        };
        let body = match self {
            Saying::Connected(_) | Saying::Reply { result: Err(_), .. } => 0,
            Saying::Notify { event, .. } => event.path.len(),
            Saying::Reply { result: Ok(response), .. } => match response {
                Response::Names(names) | Response::NamesStat(names, _) => names.encoded().len(),
                Response::Data(data, _) => data.as_ref().map_or(0, |data| data.len()),
                Response::Multi(results) => results.iter().map(part).sum(),
                Response::Acl(acl, _) => {
                    acl.iter().map(|acl| acl.id.scheme.len() + acl.id.id.len()).sum()
                }
                Response::Path(path) | Response::PathStat(path, _) | Response::Sync(path) => {
                    path.len()
                }
                _ => 0,
            },
        };
        size_of::<Saying>() + body
    }
}

/// One request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// When it was decoded.
    pub(super) at: Instant,
    /// The number that its answer bears.
    pub(super) xid: Xid,
    /// What it is.
    pub(super) operation: &'static str,
    /// Whether it changes anything.
    pub(super) is_update: bool,
    /// The length of its frame.
    pub(super) bytes: usize,
    /// How much longer than itself its answer may be: 0 if not at all, 1 for one list, more for
    /// many.
    pub(super) yields: usize,
}

/// As which ZooKeeper counts the opening of a session.
pub(super) const GREETING: Xid = Xid(0);

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
    /// When enough had gone out, or there was nothing to go, for the last time.
    pub(super) last_progress: Instant,
    /// Whether nothing is read at the moment for the sake of a limit.
    pub(super) held_up: bool,
    /// Whether it is in the driver's list of those that wait for the end of a flood.
    pub(super) flooded_out: bool,
    /// Whether it is in the driver's list of those to be woken.
    pub(super) due: bool,
    pub(super) traffic: Traffic,
    /// A request of it was dropped: no other may follow.
    pub(super) invalid: bool,
    /// The requests that wait for their answers, oldest first.
    asked: VecDeque<Asked>,
    /// What the frames of these weigh.
    asked_bytes: usize,
    /// How many lists they may bring.
    asked_yields: usize,
    /// Encoded, and not yet with the connection's task.
    out: BytesMut,
    /// Bytes that the connection's task has taken and not written.
    in_task: usize,
    /// Bytes that have gone out since the last progress.
    trickled: usize,
    /// Said while too much was encoded already.
    waiting: VecDeque<Saying>,
    /// What it keeps alive, and what of that is events.
    waiting_bytes: usize,
    waiting_event_bytes: usize,
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
            invalid: false,
            asked: VecDeque::new(),
            asked_bytes: 0,
            asked_yields: 0,
            out: BytesMut::new(),
            in_task: 0,
            trickled: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiting_event_bytes: 0,
        }
    }

    /// Notes the connect request.
    pub(super) fn greeted(&mut self, now: Instant) {
        let operation = "SESS";
        self.traffic.received += 1;
        self.traffic.last_operation = operation;
        let (xid, bytes, yields) = (GREETING, 0, 0);
        self.asked.push_back(Asked { at: now, xid, operation, is_update: true, bytes, yields });
    }

    /// Notes a request, which the client numbered `xid`.
    pub(super) fn asked(&mut self, xid: Xid, asked: Asked) {
        self.traffic.received += 1;
        self.traffic.last_xid = Some(xid);
        self.traffic.last_operation = asked.operation;
        self.asked_bytes += asked.bytes;
        self.asked_yields += asked.yields;
        self.asked.push_back(asked);
    }

    /// Notes the answer to the request numbered `xid`, and that request, if there was one. Answers
    /// come in the order of the requests; only `auth` is answered ahead of them.
    pub(super) fn answered(&mut self, now: Now, since_start: Duration, xid: Xid) -> Option<Asked> {
        let place = self.asked.iter().position(|asked| asked.xid == xid).unwrap_or(0);
        let asked = self.asked.remove(place)?;
        self.asked_bytes -= asked.bytes;
        self.asked_yields -= asked.yields;
        self.traffic.latency.note(now.instant.since(asked.at));
        self.traffic.last_reply = Some(since_start);
        Some(asked)
    }

    /// The requests that wait for their answers.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter()
    }

    /// Whether its requests weigh so much, or may bring so much, that nothing more is read before
    /// they are answered.
    pub(super) fn has_asked_enough(&self, limits: &Limits) -> bool {
        self.asked_bytes >= limits.connection_outstanding_bytes
            || self.asked_yields >= limits.outstanding_lists
    }

    /// Says something after all that was said before. `false` if too many events wait already.
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
            self.trickled = 0;
        }
        if self.waiting.is_empty() && self.unsent_bytes() < limits.unsent_bytes {
            self.encode(saying, sent);
        } else {
            self.weigh(&saying, |a, b| a + b);
            self.waiting.push_back(saying);
        }
        self.waiting_event_bytes <= limits.unsent_event_bytes
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
            self.weigh(&saying, |a, b| a - b);
            self.encode(saying, sent);
        }
        if out.capacity() > KEPT_CAPACITY {
            *out = BytesMut::new();
        }
        std::mem::swap(&mut self.out, out);
        self.in_task = out.len();
    }

    /// The task has written `n` bytes. A byte now and then is no progress: either all that waits
    /// goes out, or enough of it.
    pub(super) fn wrote(&mut self, now: Instant, n: usize, limits: &Limits) {
        assert!(n <= self.in_task, "{n} bytes written of {} taken", self.in_task);
        self.in_task -= n;
        self.trickled += n;
        let is_idle = self.unsent_bytes() == 0 && self.waiting.is_empty();
        if is_idle || self.trickled >= limits.least_progress_bytes {
            self.last_progress = now;
            self.trickled = 0;
        }
    }

    /// Nothing of what waits will be said; the task still holds what it has taken.
    pub(super) fn fall_silent(&mut self) {
        self.out = BytesMut::new();
        self.waiting = VecDeque::new();
        (self.waiting_bytes, self.waiting_event_bytes) = (0, 0);
    }

    /// It is to be woken at the end of this wake-up: `conn` comes into the `list` of these, once.
    pub(super) fn put_on(&mut self, conn: ConnId, list: &mut Vec<ConnId>) {
        if !self.due {
            self.due = true;
            list.push(conn);
        }
    }

    /// About how many bytes are kept for what it is to be told; nothing once it is cut.
    pub(super) fn kept_bytes(&self) -> usize {
        match self.phase {
            Phase::Cut => 0,
            _ => self.unsent_bytes() + self.waiting_bytes,
        }
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
            return Some("it has taken too little of what waits for it for too long");
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

    /// Counts what `saying` weighs in, or out again.
    fn weigh(&mut self, saying: &Saying, count: fn(usize, usize) -> usize) {
        let weight = saying.weight();
        self.waiting_bytes = count(self.waiting_bytes, weight);
        if matches!(saying, Saying::Notify { .. }) {
            self.waiting_event_bytes = count(self.waiting_event_bytes, weight);
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

#[cfg(test)]
mod tests;
