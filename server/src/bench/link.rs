//! One connection to a server: bytes in, bytes out, and the handshake.
//!
//! Invariant: answers come in the order of the requests, and every frame is believed only as far
//! as it decodes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use zokor_core::id::{SessionId, Xid};
use zokor_core::proto::{ConnectRequest, Request};
use zokor_net::wire::frame::split_frame;
use zokor_net::wire::request::{encode_connect, encode_request};
use zokor_net::wire::response::{EVENT_XID, decode_connected, decode_reply_header};

/// A connection and its session.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) state: State,
    pub(super) stream: Option<TcpStream>,
    pub(super) input: BytesMut,
    pub(super) output: BytesMut,
    /// Whether `output` waits to be written in this turn.
    pub(super) is_dirty: bool,
    /// Whether the system tells when there is room again.
    pub(super) waits_for_room: bool,
    /// The server to try next; goes round.
    pub(super) next_host: usize,
    pub(super) sent_ns: u64,
    pub(super) heard_ns: u64,
    pub(super) timeout_ms: i32,
    /// Whether a sync comes before all else: this server may lag behind what was prepared.
    syncs_first: bool,
    session: SessionId,
    password: Bytes,
    last_zxid: i64,
    next_xid: i32,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none; the next attempt comes then.
    Down { retry_ns: u64 },
    /// The system connects.
    Connecting,
    /// The connect request is on its way.
    Greeting,
    /// The first sync is on its way.
    Syncing,
    /// Requests are answered.
    Up,
    /// The session is closed, the connection about to be.
    Closing,
}

/// What a frame said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The server knows the session now, and a request of our own is to be sent.
    Greeted,
    /// The connection is up: requests may be sent.
    Up,
    /// A request was answered: with an error's number, or with the bytes of a body.
    Reply { xid: i32, error: i32, body: Bytes },
    /// A watch fired.
    Event,
}

impl Link {
    pub(super) fn new(first_host: usize, syncs_first: bool) -> Self {
        Link {
            state: State::Down { retry_ns: 0 },
            stream: None,
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_dirty: false,
            waits_for_room: false,
            next_host: first_host,
            sent_ns: 0,
            heard_ns: 0,
            timeout_ms: 0,
            syncs_first,
            session: SessionId(0),
            password: Bytes::from_static(&[0; 16]),
            last_zxid: 0,
            next_xid: 1,
        }
    }

    /// Begins to connect; [`TcpStream::take_error`] tells whether it worked once there is room.
    pub(super) fn connect(&mut self, host: SocketAddr, now_ns: u64) -> io::Result<()> {
        let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &host) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        self.state = State::Connecting;
        self.heard_ns = now_ns;
        Ok(())
    }

    /// The connection stands: appends the connect request, for the session it had if it had one.
    pub(super) fn greet(&mut self, timeout_ms: i32) {
        self.state = State::Greeting;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms,
            session: self.session,
            password: self.password.clone(),
            read_only: Some(false),
        };
        encode_connect(&mut self.output, &request);
    }

    /// Appends a request and returns its xid.
    pub(super) fn ask(&mut self, request: &Request) -> i32 {
        let xid = match request {
            Request::Ping => PING_XID,
            _ => {
                let xid = self.next_xid;
                // Negative ones have meanings of their own.
                self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
                xid
            }
        };
        encode_request(&mut self.output, Xid(xid), request);
        xid
    }

    /// Reads what is there, at most once. False at the end of the stream.
    pub(super) fn read(&mut self, space: &mut [u8], now_ns: u64) -> io::Result<bool> {
        let Some(stream) = &mut self.stream else { return Ok(true) };
        match stream.read(space) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.input.extend_from_slice(&space[..n]);
                self.heard_ns = now_ns;
                Ok(true)
            }
            Err(error) if is_no_failure(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes as much as there is room for.
    pub(super) fn write(&mut self, now_ns: u64) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while !self.output.is_empty() {
            match stream.write(&self.output) {
                Ok(n) => self.output.advance(n),
                Err(error) if is_no_failure(&error) => break,
                Err(error) => return Err(error),
            }
        }
        self.sent_ns = now_ns;
        Ok(())
    }

    /// The next whole message. An `Err` says why the connection is of no use.
    pub(super) fn message(&mut self) -> Result<Option<Message>, String> {
        loop {
            let frame = split_frame(&mut self.input, MAX_FRAME);
            let Some(frame) = frame.map_err(|error| format!("bad frame: {error}"))? else {
                return Ok(None);
            };
            if self.state == State::Greeting {
                return self.greeted(frame).map(Some);
            }
            let decoded = decode_reply_header(frame);
            let (header, body) = decoded.map_err(|error| format!("bad reply: {error}"))?;
            self.last_zxid = self.last_zxid.max(header.zxid.0);
            if header.xid == EVENT_XID {
                return Ok(Some(Message::Event));
            }
            if header.xid.0 == PING_XID {
                continue;
            }
            if self.state == State::Syncing {
                self.state = State::Up;
                return match header.error {
                    0 => Ok(Some(Message::Up)),
                    error => Err(format!("the first sync failed with {}", name_of(error))),
                };
            }
            let (xid, error) = (header.xid.0, header.error);
            return Ok(Some(Message::Reply { xid, error, body }));
        }
    }

    fn greeted(&mut self, frame: Bytes) -> Result<Message, String> {
        let response = decode_connected(frame).map_err(|error| format!("bad greeting: {error}"))?;
        if response.timeout_ms <= 0 {
            self.forget_session();
            return Err("the session has expired".into());
        }
        self.timeout_ms = response.timeout_ms;
        self.session = response.session;
        self.password = Bytes::copy_from_slice(&response.password);
        if !self.syncs_first {
            self.state = State::Up;
            return Ok(Message::Up);
        }
        self.state = State::Syncing;
        self.ask(&Request::Sync("/".into()));
        Ok(Message::Greeted)
    }

    /// The next connection has a session of its own.
    pub(super) fn forget_session(&mut self) {
        self.session = SessionId(0);
        self.password = Bytes::from_static(&[0; 16]);
        // A new session may begin at a server that lags.
        self.last_zxid = 0;
    }

    /// Ends the connection, not the session.
    pub(super) fn drop_connection(&mut self, retry_ns: u64) {
        self.stream = None;
        self.input.clear();
        self.output.clear();
        self.waits_for_room = false;
        self.state = State::Down { retry_ns };
    }
}

/// The name of an error, or its number if nobody knows it.
pub(super) fn name_of(error: i32) -> String {
    match zokor_net::wire::response::error_of(error) {
        Some(error) => format!("{error:?}"),
        None => format!("error {error}"),
    }
}

fn is_no_failure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

const PING_XID: i32 = -2;

/// The longest answer: the names of some millions of children.
pub(super) const MAX_FRAME: usize = 1 << 30;
