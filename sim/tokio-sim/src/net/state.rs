//! All hosts, links and connections of a simulated network, without any waiting.
//!
//! Invariants: a connection's two ends never look at each other, they learn of each other only by
//! packets; a host without power sends nothing, not even that its connections are over; what a
//! clogged link holds back is late, never out of order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use madsim::task::NodeId;

use super::Time;
use super::dice::Dice;
use super::pipe::{Load, Packet, Pipe};
use super::weather::{LONGEST_RETRY, Weather};

/// Names a connection.
pub(super) type Number = u64;
/// One end of a connection: 0 is the one that has connected.
pub(super) type Side = usize;

/// What sockets of a host are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Reads and writes often take only a part of what they could.
    pub short: bool,
    /// Bytes that may be under way from each end of a connection.
    pub buffer: usize,
}

impl Default for Sockets {
    fn default() -> Self {
        Sockets { short: false, buffer: 256 << 10 }
    }
}

/// What becomes of attempts to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// They succeed.
    Open,
    /// They are refused.
    Shut,
    /// Nobody answers them.
    Silent,
}

/// Where an end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    /// Its host knows nothing of it any more, and answers whatever comes by a reset.
    Forgotten,
    /// It has heard that the connection is over.
    Over,
    /// Its time has run out.
    TimedOut,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) address: SocketAddr,
    pub(super) node: NodeId,
    pub(super) standing: Standing,
    /// Its process is gone: whoever still holds it waits for ever.
    pub(super) dead: bool,
    /// Somebody holds it.
    pub(super) held: bool,
    /// It has said that it will say nothing more.
    pub(super) shut: bool,
    pub(super) short: bool,
    /// How long what it sent may fail to arrive.
    pub(super) user_timeout: Option<Duration>,
    /// It has read the end of what the other said.
    pub(super) at_end: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [End; 2],
    /// The n-th is written by the n-th end.
    pub(super) pipes: [Pipe; 2],
    /// Something in between has forgotten it, and swallows all that is sent.
    pub(super) swallowed: bool,
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) node: NodeId,
    pub(super) serial: u64,
    pub(super) waiting: VecDeque<Number>,
    pub(super) waker: Option<Waker>,
}

/// Something to be done right after a host has written something.
pub(super) struct Tripwire {
    /// Of one of a connection's two addresses.
    pub(super) port: u16,
    /// Writes from now on.
    pub(super) n_writes: u64,
    /// Only a part of the last one leaves.
    pub(super) partly: bool,
    pub(super) spring: Box<dyn FnOnce() + Send>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) hosts: BTreeMap<NodeId, IpAddr>,
    /// Of hosts that are in a second network: their address there.
    pub(super) seconds: BTreeMap<NodeId, IpAddr>,
    /// Hosts without power.
    pub(super) dark: BTreeSet<IpAddr>,
    pub(super) sockets: BTreeMap<IpAddr, Sockets>,
    /// Of hosts of which nothing else is said.
    pub(super) usual: Sockets,
    pub(super) doors: BTreeMap<IpAddr, Door>,
    pub(super) fair: Weather,
    pub(super) links: BTreeMap<(IpAddr, IpAddr), Weather>,
    pub(super) busy: BTreeMap<(IpAddr, IpAddr), Time>,
    pub(super) clogged: BTreeSet<(IpAddr, IpAddr)>,
    pub(super) clogged_in: BTreeSet<IpAddr>,
    pub(super) clogged_out: BTreeSet<IpAddr>,
    pub(super) listeners: BTreeMap<SocketAddr, Listener>,
    pub(super) connections: BTreeMap<Number, Connection>,
    pub(super) n_listeners: u64,
    pub(super) n_connections: Number,
    pub(super) n_attempts: u64,
    pub(super) tripwires: BTreeMap<IpAddr, Tripwire>,
    pub(super) seen: BTreeMap<&'static str, u64>,
    /// To be woken when the lock is free.
    pub(super) wakes: Vec<Waker>,
    /// To be woken at a time.
    pub(super) alarms: Vec<(Time, Waker)>,
}

impl State {
    pub(super) fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Whether nothing passes from one host to another.
    pub(super) fn is_clogged(&self, from: IpAddr, to: IpAddr) -> bool {
        self.clogged_out.contains(&from)
            || self.clogged_in.contains(&to)
            || self.clogged.contains(&(from, to))
    }

    /// When something sent now arrives, if the link is clear.
    pub(super) fn arrival(
        &mut self,
        (from, to): (IpAddr, IpAddr),
        now: Time,
        n_bytes: usize,
        dice: &mut Dice,
    ) -> Option<Time> {
        if self.is_clogged(from, to) {
            return None;
        }
        let weather = self.links.get(&(from, to)).unwrap_or(&self.fair);
        let busy = self.busy.entry((from, to)).or_default();
        Some(weather.arrival(now, n_bytes, busy, dice))
    }

    pub(super) fn connection(&mut self, number: Number) -> &mut Connection {
        self.connections.get_mut(&number).expect("a connection is there while an end is held")
    }

    fn way(&self, number: Number, side: Side) -> (IpAddr, IpAddr) {
        let ends = &self.connections[&number].ends;
        (ends[side].address.ip(), ends[1 - side].address.ip())
    }

    /// A new connection from `near` to a listener, which has it among those that wait.
    pub(super) fn establish(&mut self, ends: [(SocketAddr, NodeId); 2]) -> Number {
        self.n_connections += 1;
        let number = self.n_connections;
        let seed = self.seed;
        let sockets = ends.map(|(address, _)| self.sockets.get(&address.ip()).copied());
        let sockets = sockets.map(|sockets| sockets.unwrap_or(self.usual));
        let end = |side: Side| End {
            address: ends[side].0,
            node: ends[side].1,
            standing: Standing::Open,
            dead: false,
            held: true,
            shut: false,
            short: sockets[side].short,
            user_timeout: None,
            at_end: false,
        };
        let pipe =
            |side: Side| Pipe::new(sockets[side].buffer, Dice::new(&[seed, number, side as u64]));
        let (ends, pipes) = ([end(0), end(1)], [pipe(0), pipe(1)]);
        self.connections.insert(number, Connection { ends, pipes, swallowed: false });
        number
    }

    /// Sends something from an end, as its host would.
    pub(super) fn transmit(&mut self, number: Number, side: Side, now: Time, load: Load) {
        let way = self.way(number, side);
        let is_bytes = matches!(load, Load::Bytes(_));
        if self.connection(number).swallowed || self.dark.contains(&way.1) {
            if is_bytes {
                self.connection(number).pipes[side].stuck_since.get_or_insert(now);
            }
            return;
        }
        let n_bytes = if let Load::Bytes(bytes) = &load { bytes.len() } else { 0 };
        let mut dice = self.connection(number).pipes[side].dice.clone();
        let at = self.arrival(way, now, n_bytes, &mut dice);
        let connection = self.connection(number);
        let open = connection.ends[1 - side].standing == Standing::Open;
        let pipe = &mut connection.pipes[side];
        pipe.dice = dice;
        pipe.push(at, load);
        if pipe.is_held() {
            pipe.stuck_since.get_or_insert(now);
        } else if is_bytes && !open {
            let at = pipe.last_arrival;
            self.answer_by_reset(number, side, at);
        }
        self.rouse(number, side);
    }

    /// What comes from `side` at `at` meets nobody: the host there says so.
    fn answer_by_reset(&mut self, number: Number, side: Side, at: Time) {
        let mut dice = self.connection(number).pipes[1 - side].dice.clone();
        let way = self.way(number, 1 - side);
        let back = self.arrival(way, at, 0, &mut dice);
        let pipe = &mut self.connection(number).pipes[1 - side];
        pipe.dice = dice;
        let purges = pipe.dice.coin();
        pipe.push(back, Load::Reset { purges });
        self.rouse(number, 1 - side);
    }

    /// Wakes whoever waits for news from `side`: a reader at the other end, and a writer there,
    /// which a reset concerns.
    pub(super) fn rouse(&mut self, number: Number, side: Side) {
        let connection = self.connections.get_mut(&number).expect("it has just sent something");
        let reader = connection.pipes[side].reader.take();
        let writer = connection.pipes[1 - side].writer.take();
        self.wakes.extend(reader.into_iter().chain(writer));
    }

    /// An end is closed by its owner, or with its process.
    pub(super) fn close(&mut self, number: Number, side: Side, now: Time) {
        let connection = self.connection(number);
        if connection.ends[side].standing != Standing::Open {
            return;
        }
        connection.ends[side].standing = Standing::Forgotten;
        let inward = &mut connection.pipes[1 - side];
        let unread = inward.has_unread(now);
        let first = inward.first_arrival();
        let shut = std::mem::replace(&mut connection.ends[side].shut, true);
        if unread {
            let purges = connection.pipes[side].dice.coin();
            self.see("closed with bytes unread");
            self.transmit(number, side, now, Load::Reset { purges });
        } else {
            if !shut {
                self.transmit(number, side, now, Load::End);
            }
            if let Some(at) = first {
                self.answer_by_reset(number, 1 - side, at);
            }
        }
    }

    /// Nobody holds an end any more.
    pub(super) fn let_go(&mut self, number: Number, side: Side, now: Time) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.ends[side].held = false;
        self.close(number, side, now);
        if self.connection(number).ends.iter().all(|end| !end.held) {
            self.connections.remove(&number);
        }
    }

    /// A process has ended. Its host closes its connections, unless it has no power.
    pub(super) fn end_process(&mut self, node: NodeId, now: Time) {
        let dark = self.hosts.get(&node).is_some_and(|ip| self.dark.contains(ip));
        let gone = |listener: &Listener| listener.node == node;
        let addresses = self.listeners.iter().filter(|(_, listener)| gone(listener));
        let addresses: Vec<SocketAddr> = addresses.map(|(address, _)| *address).collect();
        let mut unaccepted = Vec::new();
        for address in addresses {
            let listener = self.listeners.remove(&address).expect("just seen");
            unaccepted.extend(listener.waiting);
        }
        for (number, side) in self.ends_of(|end| end.node == node && !end.dead) {
            let connection = self.connection(number);
            connection.ends[side].dead = true;
            if !dark {
                self.close(number, side, now);
            } else if connection.ends[side].standing == Standing::Open {
                connection.ends[side].standing = Standing::Forgotten;
                // What a clogged link has held back was in its memory.
                connection.pipes[side].packets.retain(|packet| packet.at.is_some());
                self.see("half-open connection");
            }
        }
        for number in unaccepted {
            self.let_go(number, 1, now);
        }
    }

    fn ends_of(&self, wanted: impl Fn(&End) -> bool) -> Vec<(Number, Side)> {
        let all = self.connections.iter();
        let ends = all.flat_map(|(&n, connection)| [(n, 0, connection), (n, 1, connection)]);
        let ends = ends.filter(|(_, side, connection)| wanted(&connection.ends[*side]));
        ends.map(|(number, side, _)| (number, side)).collect()
    }

    /// A host has power again, and knows of nothing that was before. What its peers send again
    /// reaches it some time later, and is answered.
    pub(super) fn light(&mut self, ip: IpAddr, now: Time) {
        if !self.dark.remove(&ip) {
            return;
        }
        for (number, side) in self.ends_of(|end| end.address.ip() != ip) {
            let connection = self.connection(number);
            let is_other = connection.ends[1 - side].address.ip() == ip;
            let stuck = connection.pipes[side].stuck_since;
            if let Some(since) = stuck
                && is_other
                && !connection.swallowed
            {
                let at = retry(since, now, &mut connection.pipes[side].dice);
                let way = self.way(number, side);
                if self.is_clogged(way.0, way.1) {
                    // It is answered when it gets through.
                    let pipe = &mut self.connection(number).pipes[side];
                    pipe.push(None, Load::Bytes(Bytes::new()));
                } else {
                    self.answer_by_reset(number, side, at);
                }
            }
        }
    }

    /// Links are clear that were not: what they held back is sent again, sooner or later.
    pub(super) fn release(&mut self, now: Time) {
        for (number, side) in self.ends_of(|_| true) {
            let way = self.way(number, side);
            if self.connection(number).swallowed || self.is_clogged(way.0, way.1) {
                continue;
            }
            let heard = !self.dark.contains(&way.0);
            let back = self.connection(number);
            // The acknowledgements of what the other end has sent go this way too.
            if heard && back.pipes[1 - side].unacknowledged > 0 {
                back.pipes[1 - side].acknowledge(0, true);
                let writer = back.pipes[1 - side].writer.take();
                self.wakes.extend(writer);
            }
            self.release_pipe(number, side, way, now);
        }
    }

    /// Links are not what they were: what is under way arrives sooner, if it would be sent now.
    pub(super) fn hurry(&mut self, now: Time) {
        self.busy.clear();
        for (number, side) in self.ends_of(|_| true) {
            let way = self.way(number, side);
            let pipe = &mut self.connection(number).pipes[side];
            let late = |packet: &Packet| packet.at.is_some_and(|at| at > now);
            let Some(first) = pipe.packets.iter().position(late) else { continue };
            let mut dice = pipe.dice.clone();
            let mut packets = std::mem::take(&mut pipe.packets);
            let mut last = now;
            for packet in packets.range_mut(first..) {
                let Some(at) = packet.at else { break };
                let n_bytes = if let Load::Bytes(bytes) = &packet.load { bytes.len() } else { 0 };
                let anew = self.arrival(way, now, n_bytes, &mut dice).unwrap_or(at);
                last = at.min(anew).max(last);
                packet.at = Some(last);
            }
            let pipe = &mut self.connection(number).pipes[side];
            (pipe.packets, pipe.dice, pipe.last_arrival) = (packets, dice, last);
            self.rouse(number, side);
        }
    }

    fn release_pipe(&mut self, number: Number, side: Side, way: (IpAddr, IpAddr), now: Time) {
        let pipe = &mut self.connection(number).pipes[side];
        if !pipe.is_held() || self.dark.contains(&way.1) {
            return;
        }
        let pipe = &mut self.connection(number).pipes[side];
        let since = pipe.stuck_since.take().unwrap_or(now);
        let mut dice = pipe.dice.clone();
        let mut at = retry(since, now, &mut dice);
        let mut packets = std::mem::take(&mut pipe.packets);
        let mut met_nobody = None;
        for packet in packets.iter_mut().filter(|packet| packet.at.is_none()) {
            let n_bytes = if let Load::Bytes(bytes) = &packet.load { bytes.len() } else { 0 };
            at = self.arrival(way, at, n_bytes, &mut dice).map_or(at, |there| there.max(at));
            let pipe = &mut self.connection(number).pipes[side];
            at = at.max(pipe.last_arrival);
            packet.at = Some(at);
            pipe.last_arrival = at;
            if matches!(packet.load, Load::Bytes(_)) {
                met_nobody.get_or_insert(at);
            }
        }
        let connection = self.connection(number);
        connection.pipes[side].packets = packets;
        connection.pipes[side].dice = dice;
        if connection.ends[1 - side].standing != Standing::Open
            && let Some(at) = met_nobody
        {
            self.answer_by_reset(number, side, at);
        }
        self.rouse(number, side);
    }

    /// Breaks a connection for one end or both. `keeps`: what is under way to them arrives before.
    pub(super) fn break_off(&mut self, number: Number, hears: [bool; 2], keeps: bool, now: Time) {
        let connection = self.connection(number);
        for side in [0, 1] {
            if hears[side] && connection.ends[side].standing == Standing::Open {
                let inward = &mut connection.pipes[1 - side];
                if !keeps {
                    inward.packets.clear();
                }
                let at = if keeps { now.max(inward.last_arrival) } else { now };
                // A packet that a link holds back is lost all the same: the end knows already.
                inward.packets.retain(|packet| packet.at.is_some());
                inward.push(Some(at), Load::Reset { purges: !keeps });
                inward.last_arrival = at;
                connection.ends[side].standing = Standing::Forgotten;
                // Its own reads and writes go on until they meet the reset.
            }
        }
        for side in [0, 1] {
            self.rouse(number, side);
        }
    }

    /// Why an end may not go on, if it may not.
    pub(super) fn failure(&mut self, number: Number, side: Side, now: Time) -> Option<io::Error> {
        let connection = self.connection(number);
        let (end, outward) = (&mut connection.ends[side], &connection.pipes[side]);
        let overdue = |limit: Duration| outward.stuck_since.is_some_and(|at| now >= at + limit);
        if end.standing == Standing::Open && end.user_timeout.is_some_and(overdue) {
            end.standing = Standing::TimedOut;
            self.see("sent bytes were not acknowledged in time");
            return Some(io::ErrorKind::TimedOut.into());
        }
        match connection.ends[side].standing {
            Standing::Over => Some(io::ErrorKind::ConnectionReset.into()),
            Standing::TimedOut => Some(io::ErrorKind::TimedOut.into()),
            Standing::Open | Standing::Forgotten => None,
        }
    }
}

/// When a packet is sent again that did not get through since `since`: pauses between attempts
/// double, so that it may take as long again as it took.
fn retry(since: Time, now: Time, dice: &mut Dice) -> Time {
    let outage = now.saturating_sub(since).min(LONGEST_RETRY);
    now + Duration::from_micros(dice.below(outage.as_micros() as u64 + 1))
}
