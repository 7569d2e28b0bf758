//! All connections, and the loop that serves them.
//!
//! Invariant: one write a connection and turn of the loop, however many requests were asked, and no
//! call that waits but the one for readiness.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use zokor_core::proto::Request;

use super::link::{Link, Message, State};
use super::readiness::{Readiness, Ready};

/// What the connections are for.
pub(super) trait Load {
    /// A connection is up, for the first time or again.
    fn up(&mut self, links: &mut Links, link: usize, now_ns: u64);
    /// A request was answered.
    fn reply(&mut self, links: &mut Links, link: usize, reply: Reply, now_ns: u64);
    /// A watch fired.
    fn event(&mut self, links: &mut Links, link: usize, now_ns: u64);
    /// A connection is gone with all that was not answered, or, if it was not up, did not come
    /// about. Another attempt follows by itself.
    fn lost(&mut self, links: &mut Links, link: usize, loss: Loss<'_>, now_ns: u64);
    /// A connection has ended after its session was closed.
    fn rested(&mut self, _links: &mut Links, _link: usize, _now_ns: u64) {}
    /// Called at the beginning of each turn: asks for what is due. Returns when to be called again
    /// at the latest, or `None` when all is done.
    fn turn(&mut self, links: &mut Links, now_ns: u64) -> Option<u64>;
}

/// An answer: an error's number, or the bytes of a body.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) xid: i32,
    pub(super) error: i32,
    pub(super) body: bytes::Bytes,
}

/// Why a connection is gone, and whether it was up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss<'a> {
    pub(super) why: &'a str,
    pub(super) was_up: bool,
}

/// How the connections are to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// How many.
    pub(super) n: usize,
    /// The session timeout asked for.
    pub(super) timeout: Duration,
    /// Waits end to the microsecond.
    pub(super) exact: bool,
    /// A sync comes before all else.
    pub(super) syncs_first: bool,
}

/// The connections of a run.
pub(super) struct Links {
    links: Vec<Link>,
    hosts: Vec<SocketAddr>,
    timeout_ms: i32,
    readiness: Readiness,
    dirty: Vec<usize>,
    start: Instant,
    upkeep_ns: u64,
    n_up: usize,
    /// The most that were up at a time, and since when.
    best: (usize, u64),
    /// Why a connection was lost last.
    trouble: String,
}

impl Links {
    /// Connections to come, which go round `hosts`.
    pub(super) fn new(manner: Manner, hosts: &[SocketAddr]) -> io::Result<Self> {
        let link = |index| Link::new(index % hosts.len(), manner.syncs_first);
        Ok(Links {
            links: (0..manner.n).map(link).collect(),
            hosts: hosts.to_vec(),
            timeout_ms: i32::try_from(manner.timeout.as_millis()).unwrap_or(i32::MAX),
            readiness: Readiness::new(manner.exact)?,
            dirty: Vec::new(),
            start: Instant::now(),
            upkeep_ns: 0,
            n_up: 0,
            best: (0, 0),
            trouble: "no server answers".into(),
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether all are up.
    pub(super) fn all_up(&self) -> bool {
        self.n_up == self.links.len()
    }

    /// Why not all will be up, if no more than before have come up for long.
    pub(super) fn stuck(&self, now_ns: u64) -> Option<String> {
        let (n_best, since_ns) = self.best;
        let is_stuck = !self.all_up() && now_ns.saturating_sub(since_ns) >= STUCK_NS;
        is_stuck.then(|| {
            let n = self.links.len();
            format!("no more than {n_best} of {n} connections came up: {}", self.trouble)
        })
    }

    /// Whether this one is up.
    pub(super) fn is_up(&self, link: usize) -> bool {
        self.links[link].state == State::Up
    }

    /// Nanoseconds since the loop was made.
    pub(super) fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Asks for something at the end of this turn. Returns the xid.
    pub(super) fn ask(&mut self, link: usize, request: &Request) -> i32 {
        let xid = self.links[link].ask(request);
        self.mark(link);
        xid
    }

    /// Closes a session. The connection follows when the answer is here.
    pub(super) fn ask_to_close(&mut self, link: usize) -> i32 {
        self.ask(link, &Request::Write(zokor_core::proto::Write::CloseSession))
    }

    /// The session of this connection is closed: the server ends the connection, if it does not
    /// take too long, and the next one has a new session.
    pub(super) fn closed(&mut self, link: usize) {
        self.set_state(link, State::Closing);
        self.links[link].forget_session();
    }

    /// Ends a connection that has no business any more. It stays down until `connect`.
    pub(super) fn rest(&mut self, link: usize) {
        self.set_state(link, State::Down { retry_ns: NEVER_NS });
        self.links[link].drop_connection(NEVER_NS);
    }

    /// Whether this one is down and waits for `connect`.
    pub(super) fn is_resting(&self, link: usize) -> bool {
        self.links[link].state == State::Down { retry_ns: NEVER_NS }
    }

    /// Connects to the next server, at once.
    pub(super) fn connect(&mut self, load: &mut dyn Load, link: usize, now_ns: u64) {
        let one = &mut self.links[link];
        let host = self.hosts[one.next_host];
        one.next_host = (one.next_host + 1) % self.hosts.len();
        let begun = one.connect(host, now_ns).and_then(|()| match &one.stream {
            Some(stream) => self.readiness.add(link, stream, true),
            None => Ok(()),
        });
        self.links[link].waits_for_room = true;
        if let Err(error) = begun {
            self.lose(load, link, &format!("cannot connect to {host}: {error}"), now_ns);
        }
    }

    /// Runs until the load is done.
    pub(super) fn run(&mut self, load: &mut dyn Load) -> io::Result<()> {
        let mut ready = Vec::new();
        let mut space = vec![0; READ_SIZE];
        loop {
            let now_ns = self.now_ns();
            let Some(wake_ns) = load.turn(self, now_ns) else { return Ok(()) };
            self.flush(load, now_ns);
            let wake_ns = wake_ns.min(self.upkeep_ns);
            let now_ns = self.now_ns();
            let timeout = Duration::from_nanos(wake_ns.saturating_sub(now_ns));
            self.readiness.wait(timeout, &mut ready)?;
            for one in &ready {
                let now_ns = self.now_ns();
                self.serve(load, *one, &mut space, now_ns);
            }
            let now_ns = self.now_ns();
            if now_ns >= self.upkeep_ns {
                self.upkeep(load, now_ns);
            }
        }
    }

    fn serve(&mut self, load: &mut dyn Load, ready: Ready, space: &mut [u8], now_ns: u64) {
        let link = ready.link;
        if self.links[link].state == State::Connecting {
            self.finish_connecting(load, link, now_ns);
            return;
        }
        if ready.write && self.links[link].waits_for_room {
            self.mark(link);
        }
        if !ready.read {
            return;
        }
        let goes_on = match self.links[link].read(space, now_ns) {
            Ok(goes_on) => goes_on,
            Err(error) => {
                self.lose(load, link, &error.to_string(), now_ns);
                return;
            }
        };
        self.deliver(load, link, now_ns);
        if !goes_on {
            self.ended(load, link, now_ns);
        }
    }

    fn deliver(&mut self, load: &mut dyn Load, link: usize, now_ns: u64) {
        loop {
            match self.links[link].message() {
                Ok(None) => return,
                Ok(Some(Message::Greeted)) => self.mark(link),
                Ok(Some(Message::Up)) => {
                    self.n_up += 1;
                    if self.n_up > self.best.0 {
                        self.best = (self.n_up, now_ns);
                    }
                    load.up(self, link, now_ns);
                }
                Ok(Some(Message::Event)) => load.event(self, link, now_ns),
                Ok(Some(Message::Reply { xid, error, body })) => {
                    load.reply(self, link, Reply { xid, error, body }, now_ns);
                }
                Err(why) => {
                    self.lose(load, link, &why, now_ns);
                    return;
                }
            }
        }
    }

    fn ended(&mut self, load: &mut dyn Load, link: usize, now_ns: u64) {
        match self.links[link].state {
            State::Closing => self.finish_closing(load, link, now_ns),
            State::Down { .. } => {}
            _ => self.lose(load, link, "the server closed the connection", now_ns),
        }
    }

    fn finish_closing(&mut self, load: &mut dyn Load, link: usize, now_ns: u64) {
        self.rest(link);
        load.rested(self, link, now_ns);
    }

    fn finish_connecting(&mut self, load: &mut dyn Load, link: usize, now_ns: u64) {
        let one = &mut self.links[link];
        let failure = one.stream.as_ref().map(std::net::TcpStream::take_error);
        match failure {
            Some(Ok(None)) => {
                one.greet(self.timeout_ms);
                self.mark(link);
            }
            Some(Ok(Some(error)) | Err(error)) => {
                self.lose(load, link, &format!("cannot connect: {error}"), now_ns);
            }
            None => {}
        }
    }

    fn mark(&mut self, link: usize) {
        if !self.links[link].is_dirty {
            self.links[link].is_dirty = true;
            self.dirty.push(link);
        }
    }

    fn flush(&mut self, load: &mut dyn Load, now_ns: u64) {
        for link in std::mem::take(&mut self.dirty) {
            let one = &mut self.links[link];
            one.is_dirty = false;
            let mut written = one.write(now_ns);
            let wants_room = !one.output.is_empty();
            if written.is_ok() && wants_room != one.waits_for_room {
                one.waits_for_room = wants_room;
                if let Some(stream) = &one.stream {
                    written = self.readiness.set(link, stream, wants_room);
                }
            }
            if let Err(error) = written {
                self.lose(load, link, &error.to_string(), now_ns);
            }
        }
    }

    fn lose(&mut self, load: &mut dyn Load, link: usize, why: &str, now_ns: u64) {
        let was_up = self.is_up(link);
        let retry_ns = now_ns + RETRY_NS;
        self.set_state(link, State::Down { retry_ns });
        self.links[link].drop_connection(retry_ns);
        self.upkeep_ns = self.upkeep_ns.min(retry_ns);
        why.clone_into(&mut self.trouble);
        load.lost(self, link, Loss { why, was_up }, now_ns);
    }

    fn set_state(&mut self, link: usize, state: State) {
        if self.is_up(link) && state != State::Up {
            self.n_up -= 1;
        }
        self.links[link].state = state;
    }

    /// Connects what is down, pings what is idle, gives up on what is silent.
    fn upkeep(&mut self, load: &mut dyn Load, now_ns: u64) {
        self.upkeep_ns = now_ns + UPKEEP_NS;
        for link in 0..self.links.len() {
            let one = &self.links[link];
            let silent_ns = now_ns.saturating_sub(one.heard_ns);
            let timeout_ns = u64::try_from(one.timeout_ms).unwrap_or(0) * 1_000_000;
            match one.state {
                State::Down { retry_ns } if retry_ns <= now_ns => self.connect(load, link, now_ns),
                State::Down { .. } => {}
                State::Connecting | State::Greeting | State::Syncing => {
                    if silent_ns > GREETING_NS {
                        self.lose(load, link, "no answer to the handshake", now_ns);
                    }
                }
                State::Closing if silent_ns > CLOSING_NS => {
                    self.finish_closing(load, link, now_ns);
                }
                State::Closing => {}
                State::Up if silent_ns > timeout_ns / 3 * 2 => {
                    self.lose(load, link, "no answer for two thirds of the timeout", now_ns);
                }
                State::Up => {
                    let idle_ns = now_ns.saturating_sub(one.sent_ns);
                    if idle_ns > timeout_ns / 3 {
                        self.ask(link, &Request::Ping);
                    }
                }
            }
        }
    }
}

const UPKEEP_NS: u64 = 50_000_000;
const RETRY_NS: u64 = 20_000_000;
/// How long connections may take to become more before the first operation.
const STUCK_NS: u64 = 10_000_000_000;
const GREETING_NS: u64 = 5_000_000_000;
const CLOSING_NS: u64 = 1_000_000_000;
const NEVER_NS: u64 = u64::MAX;
const READ_SIZE: usize = 256 * 1024;
