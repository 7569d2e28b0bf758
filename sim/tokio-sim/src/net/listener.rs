//! A listening socket, and how connections come about.
//!
//! Invariant: a connection stands from the moment in which its client hears so, whether the server
//! has taken it in or not.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::dice::Dice;
use super::state::{Door, Listener, Side};
use super::{Net, TcpStream, ToSocketAddrs, lookup_host};

/// Takes connections in.
pub struct TcpListener {
    net: Arc<Net>,
    address: SocketAddr,
    /// Tells it from one of a later process at the same address.
    serial: u64,
}

impl TcpListener {
    /// Listens on the first of the addresses; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address is taken, or not this host's.
    pub async fn bind<A: ToSocketAddrs>(address: A) -> io::Result<TcpListener> {
        let net = Net::current();
        let address = lookup_host(address).await?.next();
        let mut address = address.ok_or(io::ErrorKind::InvalidInput)?;
        let node = madsim::plugin::node();
        let serial = net.with(|state, _| {
            let is_second = state.seconds.get(&node) == Some(&address.ip());
            if state.address_of(node) != address.ip() && !is_second {
                return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
            }
            if address.port() == 0 {
                let is_free = |port: &u16| {
                    let address = SocketAddr::new(address.ip(), *port);
                    !state.listeners.contains_key(&address)
                };
                let port = (FIRST_PORT..u16::MAX).find(is_free);
                address.set_port(port.ok_or(io::ErrorKind::AddrInUse)?);
            }
            if state.listeners.contains_key(&address) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            state.n_listeners += 1;
            let serial = state.n_listeners;
            let listener = Listener { node, serial, waiting: Default::default(), waker: None };
            state.listeners.insert(address, listener);
            Ok(serial)
        })?;
        Ok(TcpListener { net, address, serial })
    }

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// If its process is no more.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = std::future::poll_fn(|cx| {
            self.net.with(|state, _| {
                let listener = state.listeners.get_mut(&self.address);
                let Some(listener) = listener.filter(|l| l.serial == self.serial) else {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::NotConnected)));
                };
                let Some(number) = listener.waiting.pop_front() else {
                    listener.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                Poll::Ready(Ok((number, state.connection(number).ends[0].address)))
            })
        });
        let (number, from) = accepted.await?;
        let side: Side = 1;
        let stream = TcpStream::new(self.net.clone(), (number, side), [self.address, from]);
        Ok((stream, from))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// None here.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpListener({})", self.address)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.net.with(|state, now| {
            let listener = state.listeners.get(&self.address);
            if listener.is_none_or(|listener| listener.serial != self.serial) {
                return;
            }
            let listener = state.listeners.remove(&self.address).expect("just seen");
            for number in listener.waiting {
                state.let_go(number, 1, now);
            }
        });
    }
}

impl Net {
    /// Asks for a connection: how long an answer takes, or `None` if nothing comes back.
    pub(super) fn knock(&self, address: SocketAddr) -> Option<Duration> {
        let node = madsim::plugin::node();
        self.with(|state, now| {
            let (from, to) = (state.address_towards(node, address.ip()), address.ip());
            state.n_attempts += 1;
            let mut dice = Dice::new(&[state.seed, ATTEMPT, state.n_attempts]);
            let silent = state.doors.get(&to) == Some(&Door::Silent);
            let there = if silent || state.dark.contains(&to) {
                None
            } else {
                state.arrival((from, to), now, 0, &mut dice)
            };
            let back = there.and_then(|there| state.arrival((to, from), there, 0, &mut dice));
            if back.is_none() {
                state.see("connect hung");
            }
            back.map(|back| back - now)
        })
    }

    /// The answer is there: a connection, or a refusal.
    pub(super) fn enter(self: &Arc<Self>, address: SocketAddr) -> io::Result<TcpStream> {
        let node = madsim::plugin::node();
        let entered = self.with(|state, _| {
            let from = state.address_towards(node, address.ip());
            let shut = state.doors.get(&address.ip()) == Some(&Door::Shut);
            let listens = state.listeners.get(&address).map(|listener| listener.node);
            let Some(there) = listens.filter(|_| !shut) else {
                state.see("connect refused");
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            };
            let port = FIRST_PORT + (state.n_connections % PORTS) as u16;
            let local = SocketAddr::new(from, port);
            let number = state.establish([(local, node), (address, there)]);
            if let Some(listener) = state.listeners.get_mut(&address) {
                listener.waiting.push_back(number);
                let waker = listener.waker.take();
                state.wakes.extend(waker);
            }
            Ok((number, local))
        });
        let (number, local) = entered?;
        Ok(TcpStream::new(self.clone(), (number, 0), [local, address]))
    }
}

/// Where the ports of clients begin.
const FIRST_PORT: u16 = 32_768;
const PORTS: u64 = 28_000;
/// The dice of attempts to connect.
const ATTEMPT: u64 = u64::MAX;
