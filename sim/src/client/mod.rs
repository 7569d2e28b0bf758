//! A model client: connects, asks, pings, loses its connection and goes on elsewhere, as
//! ZooKeeper's own client does (`ClientCnxn`).
//!
//! Invariant: it is a function of its steps, its number and what it hears; the world carries its
//! wishes. What it draws depends on the connection it draws for, not on what it did before.

mod watches;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, Event, Request, Response, Write, Zxid,
};

use crate::rng::mix;
use crate::workload::{self, Maker, Op, Step};
use crate::world::queue::Micros;
use watches::Watches;

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct Character {
    /// Its number, from 1.
    pub number: u64,
    /// What its draws depend on.
    pub seed: u64,
    /// The servers that it knows.
    pub servers: u64,
    /// The session timeouts in milliseconds that servers grant.
    pub timeouts_ms: (i32, i32),
    /// Requests under way, at most.
    pub window: usize,
    /// It can do with a server that only reads.
    pub reads_only: bool,
    /// Its fresh writes make ephemerals too, which upgrade its session.
    pub upgrades: bool,
}

/// A step that could not be done this long after its time is left out.
const LATE: Micros = 500_000;

/// How long a client stays with a server that only reads before it tries another: Java's asks all
/// of them meanwhile, and goes to one that writes (`ClientCnxn.pingRwServer`).
const SEEKING: Micros = 3_000_000;

/// What a client wants done.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Open a connection and send the first frame.
    Connect(ConnId, u64, ConnectRequest),
    /// Send a request.
    Send(ConnId, Xid, Arc<Request>),
    /// Leave a connection: at once, or so that the server hears of it late.
    Leave(ConnId, bool),
}

/// What a client hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The answer to its first frame.
    Connected(ConnectResponse),
    /// The answer to a request.
    Reply(Xid, Zxid, Result<Response, ErrorCode>),
    /// A watch has fired.
    Notify(Zxid, Event),
    /// The connection has ended.
    Closed,
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Anything.
    Wild,
    /// Ten fresh writes and a sync, and then nothing but pings.
    Settling,
    /// Nothing any more: its process is gone.
    Dead,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    character: Character,
    steps: Vec<Step>,
    /// The steps before this one are done.
    next_step: usize,
    maker: Maker,
    mood: Mood,
    session: Option<Session>,
    /// The largest zxid seen in a reply.
    seen: Zxid,
    link: Option<Link>,
    connections: u64,
    connect_at: Micros,
    /// Where it connects next, if not as usual.
    next_server: Option<u64>,
    /// The next connection shows a wrong password.
    forgetful: bool,
    /// The identities that it adds to each connection.
    names: BTreeSet<String>,
    watches: Watches,
    /// Fresh writes still to be done.
    fresh_left: u32,
    settled: bool,
    expired: u64,
}

#[derive(Clone, Debug)]
struct Session {
    id: SessionId,
    password: [u8; 16],
    timeout: Micros,
    /// The server that made it, if that only reads.
    reads_only: Option<u64>,
}

#[derive(Debug)]
struct Link {
    conn: ConnId,
    server: u64,
    open: bool,
    /// Its server only reads: when it is left, to look for another.
    left_at: Option<Micros>,
    heard: Micros,
    sent: Micros,
    next_xid: i32,
    waiting: VecDeque<(Xid, Arc<Request>)>,
}

impl Client {
    /// A client that does these steps, in order of time.
    pub fn new(character: Character, steps: Vec<Step>) -> Self {
        let connect_at = mix(&[character.seed, character.number]) % 500_000;
        Client {
            maker: Maker::new(character.number),
            character,
            steps,
            next_step: 0,
            mood: Mood::Wild,
            session: None,
            seen: Zxid::ZERO,
            link: None,
            connections: 0,
            connect_at,
            next_server: None,
            forgetful: false,
            names: BTreeSet::new(),
            watches: Watches::default(),
            fresh_left: 0,
            settled: false,
            expired: 0,
        }
    }

    /// A session that was opened before, and what was seen in it.
    pub fn resume(&mut self, id: SessionId, password: [u8; 16], seen: Zxid) {
        let timeout = self.timeout();
        self.session = Some(Session { id, password, timeout, reads_only: None });
        self.seen = seen;
    }

    /// Its session, if it has one.
    pub fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    /// Whether it has a connection that serves it.
    pub fn is_connected(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.open)
    }

    /// Whether it is gone.
    pub fn is_dead(&self) -> bool {
        self.mood == Mood::Dead
    }

    /// Whether it has done what `Mood::Settling` asks.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// How many of its sessions were refused.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// When it next does something by itself.
    pub fn deadline(&self) -> Option<Micros> {
        match (&self.link, self.mood) {
            (_, Mood::Dead) => None,
            (None, _) => Some(self.connect_at),
            (Some(link), mood) => {
                let ping = link.sent + self.timeout() / 3;
                let patience = link.heard + self.timeout() * 2 / 3;
                let patience = patience.min(link.left_at.unwrap_or(u64::MAX));
                let step = self.steps.get(self.next_step).map_or(u64::MAX, |step| step.at);
                let request = if mood == Mood::Wild { step } else { u64::MAX };
                let busy = link.waiting.len() >= self.character.window || !link.open;
                let request = if busy { u64::MAX } else { request };
                Some(patience.min(if link.open { ping.min(request) } else { u64::MAX }))
            }
        }
    }

    /// Changes what it is to do. A dying client leaves without a word.
    pub fn become_(&mut self, now: Micros, mood: Mood) -> Vec<Wish> {
        self.mood = mood;
        match mood {
            Mood::Wild => Vec::new(),
            Mood::Dead => self.leave(now, false).into_iter().collect(),
            Mood::Settling => {
                self.restart_settling();
                self.settle(now)
            }
        }
    }

    /// Its time has come.
    pub fn wake(&mut self, now: Micros) -> Vec<Wish> {
        if self.mood == Mood::Dead {
            return Vec::new();
        }
        let timeout = self.timeout();
        let Some(link) = &self.link else {
            return if now >= self.connect_at { self.connect(now) } else { Vec::new() };
        };
        let is_left = link.left_at.is_some_and(|left_at| now >= left_at);
        if is_left || now >= link.heard + timeout * 2 / 3 {
            return self.leave(now, true).into_iter().collect();
        }
        let free = link.open && link.waiting.len() < self.character.window;
        if free
            && self.mood == Mood::Wild
            && let Some(op) = self.due(now)
        {
            return self.act(now, &op);
        }
        let link = self.link.as_ref().expect("just seen");
        if link.open && now >= link.sent + timeout / 3 {
            return vec![self.send(now, Request::Ping)];
        }
        Vec::new()
    }

    /// Its connection, if it has one that serves it or may yet.
    pub fn conn(&self) -> Option<ConnId> {
        self.link.as_ref().map(|link| link.conn)
    }

    /// It does not lose patience with its connection yet.
    pub fn hold_on(&mut self, now: Micros) {
        if let Some(link) = &mut self.link {
            link.heard = now;
        }
    }

    /// Something comes in on `conn`.
    pub fn hear(&mut self, now: Micros, conn: ConnId, heard: Heard) -> Vec<Wish> {
        let current = self.link.as_mut().filter(|link| link.conn == conn);
        let Some(link) = current else {
            return Vec::new();
        };
        link.heard = now;
        match heard {
            Heard::Connected(response) => self.connected(now, response),
            // Identities are answered at once, before what was asked earlier.
            Heard::Reply(Xid(-4), ..) => Vec::new(),
            Heard::Reply(xid, zxid, result) => self.replied(now, xid, zxid, result),
            Heard::Notify(_, event) => {
                self.watches.fired(&event);
                Vec::new()
            }
            Heard::Closed => {
                self.lose(now);
                Vec::new()
            }
        }
    }

    fn timeout(&self) -> Micros {
        let least = self.character.timeouts_ms.0 as u64 * 1000;
        self.session.as_ref().map_or(least, |session| session.timeout)
    }

    fn connect(&mut self, now: Micros) -> Vec<Wish> {
        self.connections += 1;
        let Character { number, servers, timeouts_ms: (least, most), .. } = self.character;
        let conn = ConnId((number << 32) | self.connections);
        // One after the other, as ZooKeeper's clients do.
        let first = mix(&[self.character.seed, number]) % servers;
        let server = 1 + (first + self.connections) % servers;
        // Java's client never goes on with such a session, others may.
        if let Some(made_by) = self.session.as_ref().and_then(|session| session.reads_only) {
            match self.luck(5, 2) {
                0 => self.session = None,
                _ => self.next_server = Some(made_by),
            }
        }
        let server = self.next_server.take().unwrap_or(server);
        let (least, most) = (least as u64 / 2, most as u64 + 1000);
        let timeout_ms = (least + self.luck(2, most - least + 1)) as i32;
        let zeroes = [0; 16];
        let (session, mut password) =
            self.session.as_ref().map_or((SessionId(0), zeroes), |s| (s.id, s.password));
        if std::mem::take(&mut self.forgetful) {
            password[0] ^= 1;
        }
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.seen.0,
            timeout_ms,
            session,
            password: Bytes::copy_from_slice(&password),
            read_only: Some(self.character.reads_only),
        };
        self.link = Some(Link {
            conn,
            server,
            open: false,
            left_at: None,
            heard: now,
            sent: now,
            next_xid: 1,
            waiting: VecDeque::new(),
        });
        vec![Wish::Connect(conn, server, request)]
    }

    fn connected(&mut self, now: Micros, response: ConnectResponse) -> Vec<Wish> {
        if response.session == SessionId(0) {
            self.session = None;
            self.expired += 1;
            self.watches = Watches::default();
            self.lose(now);
            return Vec::new();
        }
        let timeout = u64::from(response.timeout_ms.unsigned_abs()) * 1000;
        let (id, password) = (response.session, response.password);
        let reads_only = response.read_only == Some(true);
        let link = self.link.as_mut().expect("an answer comes on the link");
        let made_by = reads_only.then_some(link.server);
        self.session = Some(Session { id, password, timeout, reads_only: made_by });
        link.open = true;
        link.left_at = reads_only.then_some(now + SEEKING);
        let mut wishes = Vec::new();
        for name in self.names.clone() {
            wishes.push(self.send(now, workload::auth(&name)));
        }
        if let Some(rewatch) = self.watches.rewatch(self.seen) {
            wishes.push(self.send(now, Request::SetWatches(rewatch)));
        }
        if self.mood == Mood::Settling && !self.settled {
            self.restart_settling();
            wishes.append(&mut self.settle(now));
        }
        wishes
    }

    fn replied(
        &mut self,
        now: Micros,
        xid: Xid,
        zxid: Zxid,
        result: Result<Response, ErrorCode>,
    ) -> Vec<Wish> {
        self.seen = self.seen.max(zxid);
        let link = self.link.as_mut().expect("a reply comes on the link");
        let Some((asked, request)) = link.waiting.pop_front() else {
            return Vec::new();
        };
        assert_eq!(asked, xid, "replies come in order");
        match &*request {
            Request::Read(read) => self.watches.set(read, &result),
            Request::Write(Write::CloseSession) => {
                self.session = None;
                self.watches = Watches::default();
                self.lose(now);
                return Vec::new();
            }
            Request::Write(_) => {
                if let Ok(Response::Path(path) | Response::PathStat(path, _)) = &result {
                    self.maker.learn(path);
                }
            }
            Request::Sync(_) if self.mood == Mood::Settling && self.fresh_left == 0 => {
                self.settled = true;
            }
            _ => {}
        }
        if self.mood == Mood::Settling { self.settle(now) } else { Vec::new() }
    }

    /// The step whose time has come, if there is one.
    fn due(&mut self, now: Micros) -> Option<Op> {
        while self.steps.get(self.next_step).is_some_and(|step| step.at + LATE < now) {
            self.next_step += 1;
        }
        let step = self.steps.get(self.next_step).filter(|step| step.at <= now)?;
        self.next_step += 1;
        Some(step.op.clone())
    }

    /// Asks for something, or does something to its connection.
    fn act(&mut self, now: Micros, op: &Op) -> Vec<Wish> {
        match op {
            Op::Leave(at_once) => return self.leave(now, *at_once).into_iter().collect(),
            Op::MoveTo(server) => {
                let mut wishes: Vec<Wish> = self.leave(now, true).into_iter().collect();
                self.next_server = Some(*server);
                wishes.append(&mut self.connect(now));
                return wishes;
            }
            Op::Move | Op::Forget => {
                // The former connection stays as it is until its server ends it.
                self.forgetful = *op == Op::Forget && self.session.is_some();
                self.lose(now);
                return self.connect(now);
            }
            Op::Auth(name) => drop(self.names.insert(name.clone())),
            _ => {}
        }
        let request = self.maker.request(op);
        request.map(|request| self.send(now, request)).into_iter().collect()
    }

    fn restart_settling(&mut self) {
        self.fresh_left = 10;
        self.settled = false;
    }

    /// One step of settling at a time.
    fn settle(&mut self, now: Micros) -> Vec<Wish> {
        let is_ready = |link: &Link| link.open && link.waiting.is_empty() && link.left_at.is_none();
        let ready = self.link.as_ref().is_some_and(is_ready);
        if !ready || self.settled {
            return Vec::new();
        }
        if self.fresh_left == 0 {
            return vec![self.send(now, Request::Sync("/".into()))];
        }
        self.fresh_left -= 1;
        let goes = self.character.upgrades && self.fresh_left.is_multiple_of(3);
        let request = self.maker.fresh(goes);
        vec![self.send(now, request)]
    }

    fn send(&mut self, now: Micros, request: Request) -> Wish {
        let link = self.link.as_mut().expect("only a connected client sends");
        let xid = match request {
            Request::Ping => Xid(-2),
            Request::Auth(_) => Xid(-4),
            Request::SetWatches(_) => Xid(-8),
            _ => {
                link.next_xid += 1;
                Xid(link.next_xid)
            }
        };
        let request = Arc::new(request);
        link.sent = now;
        if xid != Xid(-4) {
            link.waiting.push_back((xid, request.clone()));
        }
        Wish::Send(link.conn, xid, request)
    }

    fn leave(&mut self, now: Micros, at_once: bool) -> Option<Wish> {
        let conn = self.link.as_ref()?.conn;
        self.lose(now);
        Some(Wish::Leave(conn, at_once))
    }

    fn lose(&mut self, now: Micros) {
        self.link = None;
        let most = 1_000 << self.luck(3, 9);
        self.connect_at = now + 1_000 + self.luck(4, most);
    }

    /// A number below `n` for the present connection.
    fn luck(&self, what: u64, n: u64) -> u64 {
        let Character { seed, number, .. } = self.character;
        mix(&[seed, number, self.connections, what]) % n
    }
}
