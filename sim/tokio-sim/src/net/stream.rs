//! One end of a connection.
//!
//! Invariants: a read or write that returned `Pending` is woken by whatever may change that; what a
//! killed process still holds neither reads nor writes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use madsim::time::sleep;
use madsim_tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pipe::Load;
use super::state::{Number, Side, Standing, State};
use super::{Net, Time, ToSocketAddrs, lookup_host};

/// A connection between two hosts of a simulation.
pub struct TcpStream {
    net: Arc<Net>,
    number: Number,
    side: Side,
    local: SocketAddr,
    peer: SocketAddr,
}

impl TcpStream {
    /// Opens a connection.
    ///
    /// # Errors
    /// As with any network: nobody listens there, or nobody answers in two minutes.
    pub async fn connect<A: ToSocketAddrs>(address: A) -> io::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address");
        for address in lookup_host(address).await? {
            match Self::connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
        let net = Net::current();
        let (mut pause, mut waited) = (FIRST_PAUSE, Duration::ZERO);
        loop {
            let answer = net.knock(address);
            if let Some(delay) = answer {
                sleep(delay).await;
                return net.enter(address);
            }
            if waited >= PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep(pause).await;
            waited += pause;
            pause *= 2;
        }
    }

    pub(super) fn new(
        net: Arc<Net>,
        (number, side): (Number, Side),
        [local, peer]: [SocketAddr; 2],
    ) -> Self {
        TcpStream { net, number, side, local, peer }
    }

    /// Its own address.
    ///
    /// # Errors
    /// None here.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// None here.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    /// Changes nothing: bytes leave when they are written.
    ///
    /// # Errors
    /// None here.
    pub fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    /// How long what was sent may fail to arrive before the connection counts as broken
    /// (`TCP_USER_TIMEOUT`). Without it nobody ever gives up.
    pub fn set_user_timeout(&self, timeout: Duration) {
        self.net.with(|state, _| {
            let connection = state.connection(self.number);
            connection.ends[self.side].user_timeout = Some(timeout);
        });
    }

    /// The number by which [`Net`] knows the connection.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpStream({} to {})", self.local, self.peer)
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        // A panic ends the simulation, and may have come from under the lock.
        if !std::thread::panicking() {
            self.net.with(|state, now| state.let_go(self.number, self.side, now));
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (place, room) = ((self.number, self.side), buf.remaining());
        let read = self.net.with(|state, now| state.read(place, room, cx.waker(), now));
        read.map_ok(|bytes| buf.put_slice(&bytes))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let place = (self.number, self.side);
        let written = self.net.with(|state, now| state.write(place, buf, cx.waker(), now));
        let Poll::Ready(Ok(n)) = written else { return written };
        let spring = self.net.with(|state, _| state.sprung(self.local.ip()));
        if let Some(spring) = spring {
            spring();
            if self.net.with(|state, _| state.connection(place.0).ends[place.1].dead) {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(n))
    }

    /// What was written is on its way already.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.net.with(|state, now| {
            if let Some(error) = state.failure(self.number, self.side, now) {
                return Err(error);
            }
            let end = &mut state.connection(self.number).ends[self.side];
            if !end.dead && !std::mem::replace(&mut end.shut, true) {
                state.transmit(self.number, self.side, now, Load::End);
            }
            Ok(())
        }))
    }
}

impl State {
    /// Reads at most `room` bytes; none at the end.
    fn read(
        &mut self,
        (number, side): (Number, Side),
        room: usize,
        waker: &Waker,
        now: Time,
    ) -> Poll<io::Result<Bytes>> {
        if self.connection(number).ends[side].dead {
            return Poll::Pending;
        }
        if let Some(error) = self.failure(number, side, now) {
            return Poll::Ready(Err(error));
        }
        let connection = self.connection(number);
        let (end, inward) = (&mut connection.ends[side], &mut connection.pipes[1 - side]);
        if inward.reset_at().is_some_and(|(at, purges)| purges && at <= now) {
            end.standing = Standing::Over;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let there = inward.packets.front().filter(|packet| packet.at.is_some_and(|at| at <= now));
        match there.map(|packet| packet.load.clone()) {
            Some(Load::Bytes(bytes)) => {
                let most = bytes.len().min(room);
                let short = end.short && most > 1;
                let n = if short { inward.dice.part(most) } else { most };
                let bytes = inward.take(n);
                self.acknowledge(number, 1 - side, n);
                Poll::Ready(Ok(bytes))
            }
            Some(Load::End) => {
                inward.packets.pop_front();
                end.at_end = true;
                Poll::Ready(Ok(Bytes::new()))
            }
            Some(Load::Reset { .. }) => {
                end.standing = Standing::Over;
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            None if end.at_end => Poll::Ready(Ok(Bytes::new())),
            None => {
                inward.reader = Some(waker.clone());
                let at = inward.packets.front().and_then(|packet| packet.at);
                self.alarm_at(number, side, at, waker);
                Poll::Pending
            }
        }
    }

    /// Writes some of `bytes`.
    fn write(
        &mut self,
        (number, side): (Number, Side),
        bytes: &[u8],
        waker: &Waker,
        now: Time,
    ) -> Poll<io::Result<usize>> {
        if self.connection(number).ends[side].dead {
            return Poll::Pending;
        }
        if let Some(error) = self.failure(number, side, now) {
            return Poll::Ready(Err(error));
        }
        let connection = self.connection(number);
        let reset = connection.pipes[1 - side].reset_at();
        let (end, outward) = (&mut connection.ends[side], &mut connection.pipes[side]);
        if reset.is_some_and(|(at, _)| at <= now) {
            // What came before the reset can be read still.
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if end.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = outward.room();
        if room == 0 {
            outward.writer = Some(waker.clone());
            self.see("writer blocked by a full buffer");
            self.alarm_at(number, side, reset.map(|(at, _)| at), waker);
            return Poll::Pending;
        }
        let mut n = bytes.len().min(room);
        if end.short && n > 1 {
            n = outward.dice.part(n);
        }
        let n = self.cut_by_tripwire(number, side, n);
        self.write_out((number, side), &bytes[..n], now);
        Poll::Ready(Ok(n))
    }

    /// Sends `bytes`, unless the connection is to break in the middle of them.
    fn write_out(&mut self, (number, side): (Number, Side), bytes: &[u8], now: Time) {
        let outward = &mut self.connection(number).pipes[side];
        outward.outstanding += bytes.len();
        let n = outward.fuse.map_or(bytes.len(), |fuse| fuse.min(bytes.len()));
        outward.fuse = outward.fuse.map(|fuse| fuse - n);
        let blown = outward.fuse == Some(0);
        if n > 0 {
            self.transmit(number, side, now, Load::Bytes(Bytes::copy_from_slice(&bytes[..n])));
        }
        if blown {
            if n < bytes.len() {
                self.see("connection reset in the middle of a write");
            }
            self.connection(number).pipes[side].fuse = None;
            self.break_off(number, [true, true], true, now);
        }
    }

    /// The reader at the end of what `side` writes has room for `n` more bytes.
    fn acknowledge(&mut self, number: Number, side: Side, n: usize) {
        let ends = &self.connection(number).ends;
        let (reader, writer) = (ends[1 - side].address.ip(), ends[side].address.ip());
        let heard = !self.is_clogged(reader, writer);
        let pipe = &mut self.connection(number).pipes[side];
        pipe.acknowledge(n, heard);
        if heard {
            let writer = pipe.writer.take();
            self.wakes.extend(writer);
        }
    }

    /// Wakes at the earliest moment that is known to change something for an end.
    fn alarm_at(&mut self, number: Number, side: Side, at: Option<Time>, waker: &Waker) {
        let connection = self.connection(number);
        let stuck = connection.pipes[side].stuck_since;
        let gives_up = connection.ends[side].user_timeout.and_then(|limit| Some(stuck? + limit));
        let first = at.into_iter().chain(gives_up).min();
        self.alarms.extend(first.map(|at| (at, waker.clone())));
    }
}

/// Linux sends a request for a connection again after one second, and then ever later
/// (`tcp_syn_retries`).
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// And gives up after about two minutes.
const PATIENCE: Duration = Duration::from_secs(120);
