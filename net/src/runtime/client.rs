//! What a client's bytes mean to the server: the port of one client connection.
//!
//! Invariants: nothing behind the connect request is looked at before it is answered (zookeeper:
//! NIOServerCnxn, reading stops until the session is established); a turn takes a bounded number of
//! requests, so that no client keeps the others waiting; bytes of strangers reach the log escaped.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::Notify;
use zokor_core::Input;
use zokor_core::id::ConnId;
use zokor_core::time::Now;

use super::connection::Phase;
use super::driver::Driver;
use super::facts::Admin;
use super::shared::Shared;
use crate::transport::{ClientPort, Inbox, Turn};
use crate::wire::frame::Opening;
use crate::wire::request::{decode_connect, decode_request};

/// The port of one client connection. The driver forgets the connection when this is dropped.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) admin: Arc<dyn Admin>,
    /// Rung after each input: the pump of the thread that attends to it.
    pub(super) bell: Arc<Notify>,
    pub(super) conn: ConnId,
    /// Bytes written since the last turn.
    pub(super) written: usize,
}

impl ClientPort for Client {
    fn turn(&mut self, inbox: &mut Inbox, out: &mut BytesMut) -> Turn {
        let conn = self.conn;
        let (mut driver, mut now) = self.shared.lock_now();
        let written = std::mem::take(&mut self.written);
        let is_fresh = inbox.is_fresh();
        let known = driver.change(conn, |connection, limits, _| {
            if written > 0 {
                connection.wrote(now.instant, written, limits);
            }
            if is_fresh {
                connection.last_heard = now.instant;
            }
        });
        if known.is_none() {
            return Turn::Cut;
        }
        let listened = listen(&mut driver, now, conn, inbox, &*self.admin);
        if let Listened::Word(word) = listened {
            // The answer is made by strangers to the driver, so not under its lock.
            drop(driver);
            let argument = self.admin.argument_bytes(word);
            if argument > 0 {
                self.admin.argument(word, &inbox.bytes()[WORD_BYTES..WORD_BYTES + argument]);
            }
            let facts = self.shared.facts(self.admin.detail(word));
            let answer = self.admin.answer(word, &facts);
            (driver, now) = self.shared.lock_now();
            driver.reset(answer.reset);
            driver.change(conn, |connection, _, _| connection.say_last(answer.text.as_bytes()));
            driver.traffic.sent += 1;
        }
        if matches!(listened, Listened::Something | Listened::More) {
            self.bell.notify_one();
        }
        let held_up = driver.holds_up(now, conn);
        let phase = driver.change(conn, |connection, limits, sent| {
            if connection.phase != Phase::Cut {
                connection.take(out, limits, sent);
            }
            connection.phase
        });
        match phase.unwrap_or(Phase::Cut) {
            Phase::Cut => Turn::Cut,
            Phase::Finishing => Turn::Finish,
            // Only for its end to be noticed; what comes early waits.
            Phase::Connecting => Turn::Serve { reading: inbox.bytes().len() < MAX_EARLY_BYTES },
            Phase::Greeting => Turn::Serve { reading: true },
            Phase::Established if matches!(listened, Listened::More) && !held_up => Turn::Again,
            Phase::Established => Turn::Serve { reading: !held_up },
        }
    }

    fn wrote(&mut self, n: usize) {
        self.written += n;
    }

    fn ended(&mut self, error: Option<io::Error>) {
        let driver = self.shared.lock();
        if let Some(connection) = driver.connections.get(&self.conn) {
            let (address, session) = (connection.address, connection.session);
            tracing::debug!(%address, ?session, ?error, "client connection has ended");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // An assertion that failed in this connection's turn ends up here as well.
        if self.shared.is_poisoned() {
            self.shared.fail("a connection's turn");
        } else {
            let conn = self.conn;
            self.shared.input(|driver, now| driver.forget(now, conn));
        }
    }
}

/// What came of looking at a connection's bytes.
enum Listened {
    /// Nothing whole was there, or nothing may be looked at now.
    Nothing,
    /// The replica was told something.
    Something,
    /// The same, and there may be more.
    More,
    /// An operator asks.
    Word(&'static str),
}

/// Takes what is whole and may be taken off `inbox`.
fn listen(
    driver: &mut Driver,
    now: Now,
    conn: ConnId,
    inbox: &mut Inbox,
    admin: &dyn Admin,
) -> Listened {
    let Some(connection) = driver.connections.get(&conn) else { return Listened::Nothing };
    match connection.phase {
        Phase::Greeting => greet(driver, now, conn, inbox, admin),
        Phase::Established => {
            if driver.holds_up(now, conn) {
                return Listened::Nothing;
            }
            for n in 0..MAX_FRAMES {
                if n > 0 && driver.has_asked_enough(conn) {
                    break;
                }
                match request(driver, now, conn, inbox) {
                    Ok(true) => {}
                    Ok(false) if n == 0 => return Listened::Nothing,
                    Ok(false) => return Listened::Something,
                    Err(why) => {
                        driver.cut(now, conn, &why);
                        return Listened::Something;
                    }
                }
            }
            Listened::More
        }
        Phase::Connecting | Phase::Finishing | Phase::Cut => Listened::Nothing,
    }
}

/// The first bytes of a connection.
fn greet(
    driver: &mut Driver,
    now: Now,
    conn: ConnId,
    inbox: &mut Inbox,
    admin: &dyn Admin,
) -> Listened {
    let Some(first) = inbox.bytes().first_chunk::<WORD_BYTES>() else { return Listened::Nothing };
    let wrong_door = match Opening::of(*first) {
        Opening::Word(word) => {
            if inbox.bytes().len() - WORD_BYTES < admin.argument_bytes(word.as_str()) {
                return Listened::Nothing;
            }
            driver.traffic.received += 1;
            driver.counts.bytes_received += WORD_BYTES as u64;
            if let Some(connection) = driver.connections.get_mut(&conn) {
                connection.traffic.received += 1;
                // Nothing more is read from it.
                connection.phase = Phase::Finishing;
            }
            return Listened::Word(word.as_str());
        }
        Opening::Http => {
            driver.show_the_way(now, conn);
            return Listened::Nothing;
        }
        Opening::Tls => "it begins a TLS handshake, and this port is without TLS",
        Opening::Telnet => "it is an interrupted telnet",
        Opening::Frame => return connect(driver, now, conn, inbox),
    };
    driver.cut(now, conn, wrong_door);
    Listened::Nothing
}

/// The connect request, if it is whole.
fn connect(driver: &mut Driver, now: Now, conn: ConnId, inbox: &mut Inbox) -> Listened {
    let beginning = escaped(inbox);
    if let Err(why) = driver.check_large(inbox) {
        driver.cut(now, conn, &why);
        return Listened::Nothing;
    }
    let frame = match inbox.frame() {
        Ok(Some(frame)) => frame,
        Ok(None) => return Listened::Nothing,
        Err(error) => {
            driver.cut(now, conn, &format!("{error}; it begins with \"{beginning}\""));
            return Listened::Nothing;
        }
    };
    let n_bytes = (WORD_BYTES + frame.len()) as u64;
    match decode_connect(frame) {
        Ok(request) => {
            if !driver.lets_connect(now, conn, request.session) {
                return Listened::Nothing;
            }
            let Some(connection) = driver.connections.get_mut(&conn) else {
                return Listened::Nothing;
            };
            connection.phase = Phase::Connecting;
            connection.known = true;
            connection.greeted(now.instant);
            // An IPv4 client of an IPv6 socket is known by its own address.
            let address = connection.address.ip().to_canonical();
            driver.traffic.received += 1;
            driver.counts.bytes_received += n_bytes;
            driver.machine.handle(now, Input::Connect { conn, address, request });
            Listened::Something
        }
        Err(error) => {
            let why = format!("this is no connect request: {error}; it begins \"{beginning}\"");
            driver.cut(now, conn, &why);
            Listened::Nothing
        }
    }
}

/// The next request; `Ok(false)` if none is whole.
fn request(driver: &mut Driver, now: Now, conn: ConnId, inbox: &mut Inbox) -> Result<bool, String> {
    driver.check_large(inbox)?;
    let Some(frame) = inbox.frame().map_err(|error| error.to_string())? else { return Ok(false) };
    driver.counts.bytes_received += (WORD_BYTES + frame.len()) as u64;
    let n_bytes = frame.len();
    let (xid, request) = decode_request(frame, driver.limits.max_frame_bytes)
        .map_err(|error| format!("this is no request: {error}"))?;
    Ok(driver.submit(now, conn, xid, request, n_bytes))
}

fn escaped(inbox: &Inbox) -> String {
    let bytes = inbox.bytes();
    bytes[..bytes.len().min(MAX_SHOWN_BYTES)].escape_ascii().to_string()
}

/// Of a four-letter word, and of the length of a frame.
const WORD_BYTES: usize = 4;
/// Requests of one connection a turn.
const MAX_FRAMES: usize = 128;
/// Bytes that a client may send before its connect request is answered, about.
const MAX_EARLY_BYTES: usize = 64 << 10;
/// Bytes of a stranger in a log line.
const MAX_SHOWN_BYTES: usize = 32;
