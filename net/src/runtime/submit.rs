//! The door for what clients send: what is let in at once, what waits, what is turned away.
//!
//! Invariants: a request that was read is handed to the replica, dropped together with its
//! connection, or waits in the queue; the requests of one connection stay in their order.

use zokor_core::Input;
use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::Request;
use zokor_core::time::Now;

use super::connection::{Asked, Connection, Phase};
use super::counts::in_ms;
use super::driver::Driver;
use super::facts::{Throttling, operation, yields};
use super::queue::Queued;
use crate::transport::Inbox;

impl Driver {
    /// Whether a connect request may go on to the replica; if not, its connection is cut.
    pub(super) fn lets_connect(&mut self, now: Now, conn: ConnId, session: SessionId) -> bool {
        if self.bucket.admits(now.instant, session == SessionId(0)) {
            self.throttled.connect_requests += 1;
            return true;
        }
        self.n_rejected += 1;
        self.cut(now, conn, "refused: clients connect too fast (connection_throttle_tokens)");
        false
    }

    /// Looks at the length of the frame that begins, before it is waited for.
    ///
    /// # Errors
    /// If it is a large one for which there is no room: the connection must end.
    pub(super) fn check_large(&mut self, inbox: &Inbox) -> Result<(), String> {
        let Some(n_bytes) = inbox.announced().filter(|&n_bytes| self.is_large(n_bytes)) else {
            return Ok(());
        };
        let most = self.limits.large_request_max_bytes;
        if n_bytes > self.limits.max_frame_bytes || self.large_bytes.saturating_add(n_bytes) <= most
        {
            return Ok(());
        }
        self.throttled.large_requests_rejected += 1;
        Err(format!(
            "refused: a request of {n_bytes} bytes, while large ones of {} bytes wait for their \
             answer (largeRequestMaxBytes {most})",
            self.large_bytes
        ))
    }

    /// Whether a frame of `n_bytes` counts as large.
    pub(super) fn is_large(&self, n_bytes: usize) -> bool {
        self.limits.large_request_threshold.is_some_and(|threshold| n_bytes > threshold)
    }

    /// Takes a request whose frame had `n_bytes`. `false` if its connection is gone.
    pub(super) fn submit(
        &mut self,
        now: Now,
        conn: ConnId,
        xid: Xid,
        request: Request,
        n_bytes: usize,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&conn) else { return false };
        let asked = Asked {
            is_update: matches!(request, Request::Write(_)),
            at: now.instant,
            // Whatever the client calls it, its answer bears this number.
            xid: if request == Request::Ping { Xid(-2) } else { xid },
            operation: operation(&request),
            bytes: n_bytes,
            yields: yields(&request, self.limits.outstanding_lists),
        };
        connection.asked(xid, asked);
        self.traffic.received += 1;
        self.large_bytes += if self.is_large(n_bytes) { n_bytes } else { 0 };
        let throttle = &self.limits.request_throttle;
        if self.queue.is_empty() && !throttle.is_full(self.machine.outstanding_total()) {
            self.machine.handle(now, Input::Request { conn, xid, request });
        } else {
            self.throttled.waits += 1;
            self.queue.push(Queued { conn, xid, request, since: now.instant });
        }
        true
    }

    /// Whether `conn` has asked for so much that nothing more is to be read from it now.
    pub(super) fn has_asked_enough(&self, conn: ConnId) -> bool {
        let connection = self.connections.get(&conn);
        connection.is_none_or(|connection| connection.has_asked_enough(&self.limits))
    }

    /// Requests of `conn` that wait for their answer, here or with the replica.
    pub(super) fn n_outstanding(&self, conn: ConnId) -> usize {
        self.machine.outstanding(conn) + self.queue.of(conn)
    }

    /// Requests of all connections that wait for their answer, here or with the replica.
    pub(super) fn n_outstanding_total(&self) -> u64 {
        self.machine.outstanding_total() + self.queue.len() as u64
    }

    /// Hands over requests that waited, as far as there is room; whether there were any.
    pub(super) fn let_in(&mut self, now: Now) -> bool {
        let mut any = false;
        while !self.limits.request_throttle.is_full(self.machine.outstanding_total())
            && let Some(queued) = self.queue.pop()
        {
            let Some(connection) = self.connections.get(&queued.conn) else { continue };
            if connection.invalid {
                self.throttled.stale_requests_dropped += 1;
                continue;
            }
            let throttle = &self.limits.request_throttle;
            if throttle.is_late(&queued, now.instant, connection.timeout) {
                self.drop_with_connection(now, queued.conn);
                continue;
            }
            let is_throttled = throttle.is_throttled(&queued, now.instant);
            self.counts.queued_ms.note(in_ms(now.instant.since(queued.since)));
            let Queued { conn, xid, mut request, .. } = queued;
            if is_throttled {
                self.throttled.throttled_ops += 1;
                request = Request::Throttled;
            }
            self.machine.handle(now, Input::Request { conn, xid, request });
            any = true;
        }
        any
    }

    /// What a connection that has ended had asked for: all of it but what is stale is still done.
    pub(super) fn let_in_last(&mut self, now: Now, conn: ConnId, connection: &Connection) {
        for queued in self.queue.take(conn) {
            let throttle = &self.limits.request_throttle;
            if connection.invalid || throttle.is_dropped_with_connection(&queued) {
                self.throttled.stale_requests_dropped += 1;
            } else if connection.known {
                self.throttled.stale_requests += 1;
                let Queued { conn, xid, request, .. } = queued;
                self.machine.handle(now, Input::Request { conn, xid, request });
            }
        }
    }

    /// Looks for requests that have waited for too long.
    pub(super) fn drop_stale(&mut self, now: Now) {
        let throttle = &self.limits.request_throttle;
        let is_late = |queued: &&Queued| {
            self.connections.get(&queued.conn).is_some_and(|connection| {
                throttle.is_late(queued, now.instant, connection.timeout) && !connection.invalid
            })
        };
        let mut late: Vec<_> =
            self.queue.iter().filter(is_late).map(|queued| queued.conn).collect();
        late.dedup();
        for conn in late {
            self.drop_with_connection(now, conn);
        }
    }

    /// What the limits of connecting and of requests did.
    pub(super) fn throttling(&self) -> Throttling {
        Throttling {
            token_deficit: self.bucket.deficit(),
            drop_probability: self.bucket.drop_probability(),
            waiting: self.queue.len() as u64,
            large_request_bytes: self.large_bytes as u64,
            ..self.throttled.clone()
        }
    }

    /// To a browser, or a health check that took this for an HTTP port: what it is.
    pub(super) fn show_the_way(&mut self, now: Now, conn: ConnId) {
        self.change(conn, |connection, _, _| {
            connection.traffic.received += 1;
            connection.say_last(HTTP_ANSWER.as_bytes());
        });
        self.n_cut += 1;
        if let Some(connection) = self.connections.get(&conn) {
            let address = connection.address;
            self.complain(now, "client port", address, "it speaks HTTP; it was told where to go");
        }
    }

    /// A request was dropped, so its connection has to end, and none behind it may be carried out.
    fn drop_with_connection(&mut self, now: Now, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.invalid = true;
        self.throttled.stale_requests_dropped += 1;
        if connection.phase != Phase::Cut {
            self.cut(now, conn, "a request of it waited for longer than its session timeout");
        }
    }
}

/// Short, since whoever sends HTTP here reads it in a terminal or in a log.
const HTTP_ANSWER: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\n",
    "Content-Type: text/plain; charset=utf-8\r\n",
    "Content-Length: 350\r\n",
    "Connection: close\r\n",
    "\r\n",
    "This is the client port of a zokor server. It speaks ZooKeeper's client protocol, not HTTP.\n",
    "Applications connect here with a ZooKeeper client. To see whether the server is well, send\n",
    "it the four letters srvr or ruok: echo srvr | nc HOST PORT. Its admin server speaks HTTP,\n",
    "at http://HOST:8080/commands unless the configuration says admin.serverPort.\n",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_http_answer_says_how_long_it_is() {
        let (head, body) = HTTP_ANSWER.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
