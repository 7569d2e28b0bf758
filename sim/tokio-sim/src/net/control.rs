//! What a simulation does to its network.
//!
//! Invariant: nothing happens to a network by itself; all of it is asked for here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle};
use madsim::task::NodeId;

use super::state::{Door, Sockets, Standing, State, Tripwire};
use super::{Net, Weather};

/// A connection, as its network sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its number: they grow.
    pub number: u64,
    /// Its two ends; first the one that has connected.
    pub ends: [SocketAddr; 2],
    /// Bytes written at each end and not read at the other.
    pub outstanding: [usize; 2],
}

/// How a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// Which ends hear of it by themselves; first the one that has connected. The other one learns
    /// of it when it says something.
    pub hears: [bool; 2],
    /// What is under way still arrives before.
    pub keeps: bool,
}

impl Net {
    /// Makes a node that has an address.
    pub fn add_host(&self, name: impl Into<String>, ip: IpAddr) -> NodeHandle {
        let node = Handle::current().create_node().name(name).ip(ip).build();
        self.with(|state, _| state.hosts.insert(node.id(), ip));
        node
    }

    /// Puts a host into a second network, where it has another address. What is in that network is
    /// reached from there by all that are in it, and by those that are not as ever.
    pub fn add_second_address(&self, node: NodeId, ip: IpAddr) {
        self.with(|state, _| state.seconds.insert(node, ip));
    }

    /// How all links are that nothing else is said of.
    pub fn set_weather(&self, weather: Weather) {
        self.with(|state, now| {
            state.fair = weather;
            state.hurry(now);
        });
    }

    /// How a link is in one direction; `None` for like the others.
    pub fn set_link(&self, from: IpAddr, to: IpAddr, weather: Option<Weather>) {
        self.with(|state, now| {
            match weather {
                Some(weather) => state.links.insert((from, to), weather),
                None => state.links.remove(&(from, to)),
            };
            state.hurry(now);
        });
    }

    /// All links are like the others again.
    pub fn clear_links(&self) {
        self.with(|state, now| {
            state.links.clear();
            state.hurry(now);
        });
    }

    /// Lets nothing pass from one host to another, or lets it go again.
    pub fn clog(&self, from: IpAddr, to: IpAddr, clogged: bool) {
        self.with(|state, now| {
            if clogged {
                state.clogged.insert((from, to));
            } else if state.clogged.remove(&(from, to)) {
                state.release(now);
            }
        });
    }

    /// The same for all that a host is to hear, and all that it says.
    pub fn clog_host(&self, ip: IpAddr, (inward, outward): (bool, bool), clogged: bool) {
        self.with(|state, now| {
            for (wanted, set) in
                [(inward, &mut state.clogged_in), (outward, &mut state.clogged_out)]
            {
                if wanted && clogged {
                    set.insert(ip);
                } else if wanted {
                    set.remove(&ip);
                }
            }
            state.release(now);
        });
    }

    /// What a host's sockets are like, for connections from now on.
    pub fn set_sockets(&self, ip: IpAddr, sockets: Sockets) {
        self.with(|state, _| state.sockets.insert(ip, sockets));
    }

    /// The same for all hosts of which nothing else is said.
    pub fn set_usual_sockets(&self, sockets: Sockets) {
        self.with(|state, _| state.usual = sockets);
    }

    /// What becomes of attempts to connect to a host.
    pub fn set_door(&self, ip: IpAddr, door: Door) {
        self.with(|state, _| state.doors.insert(ip, door));
    }

    /// A host has power or not. Without, it says nothing more, not even for processes that are
    /// killed now; with power again it knows of no connection that was before.
    pub fn set_power(&self, ip: IpAddr, on: bool) {
        self.with(|state, now| {
            if on {
                state.light(ip, now);
            } else {
                state.dark.insert(ip);
            }
        });
    }

    /// The connections that stand, the oldest first.
    pub fn connections(&self) -> Vec<Facts> {
        self.with(|state, _| {
            let all = state.connections.iter();
            let stand = all.filter(|(_, connection)| {
                !connection.swallowed
                    && connection.ends.iter().all(|end| end.standing == Standing::Open)
            });
            let facts = stand.map(|(&number, connection)| Facts {
                number,
                ends: [connection.ends[0].address, connection.ends[1].address],
                outstanding: [connection.pipes[0].outstanding, connection.pipes[1].outstanding],
            });
            facts.collect()
        })
    }

    /// Breaks a connection. Nothing happens if it has gone.
    pub fn break_off(&self, number: u64, how: Break) {
        self.with(|state, now| {
            if !state.stands(number) {
                return;
            }
            if how.hears != [true, true] {
                state.see("half-open connection");
            }
            let outstanding = state.connection(number).pipes.iter().any(|p| p.outstanding > 0);
            if outstanding && !how.keeps {
                state.see("bytes in flight lost with their connection");
            }
            state.break_off(number, how.hears, how.keeps, now);
        });
    }

    /// Breaks a connection for both ends when `n_bytes` more have been written at an end (0 is the
    /// one that has connected): these still arrive, and no more.
    pub fn cut_after(&self, number: u64, side: usize, n_bytes: usize) {
        self.with(|state, _| {
            if state.stands(number) {
                state.connection(number).pipes[side].fuse = Some(n_bytes);
            }
        });
    }

    /// Something between its ends forgets a connection and swallows all that is said on it, for
    /// ever. Neither end hears of it.
    pub fn swallow(&self, number: u64) {
        self.with(|state, _| {
            if state.stands(number) {
                state.see("half-open connection");
                state.connection(number).swallowed = true;
            }
        });
    }

    /// Does something right after the `n_writes`-th write from now on that a host does on a
    /// connection with `port` at one end. `partly`: only some bytes of that write leave. It takes
    /// the place of an earlier tripwire of the host.
    pub fn trip(
        &self,
        ip: IpAddr,
        port: u16,
        (n_writes, partly): (u64, bool),
        spring: impl FnOnce() + Send + 'static,
    ) {
        assert!(n_writes > 0, "the first write is the first that can be the last");
        let tripwire = Tripwire { port, n_writes, partly, spring: Box::new(spring) };
        let earlier = self.with(|state, _| state.tripwires.insert(ip, tripwire));
        drop(earlier);
    }

    /// Takes the tripwire of a host away.
    pub fn untrip(&self, ip: IpAddr) {
        let earlier = self.with(|state, _| state.tripwires.remove(&ip));
        drop(earlier);
    }

    /// Notes that something rare was seen.
    pub fn see(&self, what: &'static str) {
        self.with(|state, _| state.see(what));
    }

    /// How often rare things were seen, by name.
    pub fn seen(&self) -> Vec<(&'static str, u64)> {
        self.with(|state, _| state.seen.iter().map(|(&what, &n)| (what, n)).collect())
    }
}

impl State {
    pub(super) fn address_of(&self, node: NodeId) -> IpAddr {
        self.hosts.get(&node).copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The address from which a host speaks to another.
    pub(super) fn address_towards(&self, node: NodeId, to: IpAddr) -> IpAddr {
        let is_second = self.seconds.values().any(|second| *second == to);
        let second = self.seconds.get(&node).filter(|_| is_second);
        second.copied().unwrap_or_else(|| self.address_of(node))
    }

    fn stands(&self, number: u64) -> bool {
        let connection = self.connections.get(&number);
        connection.is_some_and(|c| c.ends.iter().all(|end| end.standing == Standing::Open))
    }

    /// How much of a write of `n` bytes leaves before a tripwire springs, if one does.
    pub(super) fn cut_by_tripwire(&mut self, number: u64, side: usize, n: usize) -> usize {
        let connection = self.connections.get_mut(&number).expect("it is written to");
        let ends = &connection.ends;
        let Some(tripwire) = self.tripwires.get_mut(&ends[side].address.ip()) else { return n };
        if ends.iter().all(|end| end.address.port() != tripwire.port) {
            return n;
        }
        tripwire.n_writes -= 1;
        if tripwire.n_writes == 0 && tripwire.partly {
            return connection.pipes[side].dice.part(n);
        }
        n
    }

    /// What is to be done now that a host has written, if its tripwire has sprung.
    pub(super) fn sprung(&mut self, ip: IpAddr) -> Option<Box<dyn FnOnce() + Send>> {
        if self.tripwires.get(&ip)?.n_writes > 0 {
            return None;
        }
        self.tripwires.remove(&ip).map(|tripwire| tripwire.spring)
    }
}

/// A link on which nothing takes longer than it has to.
impl Weather {
    /// The same latency always.
    pub fn steady(latency: Duration) -> Self {
        Weather { least: latency, most: latency, ..Weather::default() }
    }
}
