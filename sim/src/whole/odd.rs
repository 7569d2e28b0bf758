//! Clients that behave as no client should: they do not read, break off in the middle of a frame,
//! and use one session over two connections.
//!
//! Invariant: what they do goes through the front door; whatever they hear is judged like what any
//! other hears, unless they are deaf, and then they ask for nothing that changes anything.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{Net, TcpStream};
use tokio::time::{sleep, timeout};
use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{ConnectRequest, Read, Request, Write};
use zokor_net::transport::Inbox;
use zokor_net::wire::request::{encode_connect, encode_request};

use super::caller::Caller;
use super::client::client_address;
use super::history::History;
use crate::rng::Stream;
use crate::world::madsim::Watch;

/// What is odd about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Asks for much and reads nothing for a while, or ever.
    Deaf,
    /// Reads now and then a few bytes of much that it has asked for.
    Trickling,
    /// Breaks off in the middle of a frame.
    Abrupt,
    /// Has a second connection with the session of the first, and speaks on both.
    Double,
}

impl Habit {
    /// All of them.
    pub const ALL: [Habit; 4] = [Habit::Deaf, Habit::Trickling, Habit::Abrupt, Habit::Double];
}

/// One odd client.
pub struct Odd {
    /// Its number among the clients.
    pub number: u64,
    /// How many servers there are.
    pub servers: u64,
    /// What it draws from.
    pub stream: Stream,
    /// True time.
    pub watch: Watch,
    /// Where it notes what it does.
    pub history: History,
}

impl Odd {
    /// Follows its habit until it is dropped.
    pub async fn live(mut self, habit: Habit) {
        for attempt in 0.. {
            let pause = self.stream.log_between(10_000, 1_000_000);
            sleep(Duration::from_micros(pause)).await;
            // Whatever goes wrong, it begins anew.
            let _ = match habit {
                Habit::Deaf => self.deaf().await,
                Habit::Trickling => self.trickling().await,
                Habit::Abrupt => self.abrupt().await,
                Habit::Double => self.double(attempt).await,
            };
        }
    }

    /// A connection with a session, of which nothing is noted: there is nothing to judge.
    async fn enter(&mut self) -> Option<TcpStream> {
        let server = self.stream.between(1, self.servers);
        let entering = async {
            let mut stream = TcpStream::connect(client_address(server)).await.ok()?;
            let mut out = BytesMut::new();
            encode_connect(&mut out, &fresh_session());
            stream.write_all(&out).await.ok()?;
            let mut inbox = Inbox::new(1 << 20);
            while inbox.frame().ok()?.is_none() {
                if inbox.fill(&mut stream).await.ok()? == 0 {
                    return None;
                }
            }
            Some(stream)
        };
        timeout(PATIENCE, entering).await.ok()?
    }

    /// Asks for all that is large, as long as the connection takes it.
    async fn ask_for_much(&mut self, stream: &mut TcpStream) -> Option<()> {
        let mut out = BytesMut::new();
        for xid in 1..=self.stream.log_between(10, 2_000) {
            let path = format!("/bulk-{}", self.stream.below(6));
            let read = Read::GetData { path: path.as_str().into(), watch: false };
            encode_request(&mut out, Xid(xid as i32), &Request::Read(read));
        }
        let _ = timeout(Duration::from_secs(2), stream.write_all(&out)).await;
        Some(())
    }

    async fn deaf(&mut self) -> Option<()> {
        let mut stream = self.enter().await?;
        self.ask_for_much(&mut stream).await?;
        Net::current().see("client that does not read");
        let deaf = self.stream.log_between(100_000, 60_000_000);
        sleep(Duration::from_micros(deaf)).await;
        let mut heard = vec![0; 1 << 16];
        while timeout(PATIENCE, stream.read(&mut heard)).await.ok()?.ok()? > 0 {}
        Some(())
    }

    async fn trickling(&mut self) -> Option<()> {
        let mut stream = self.enter().await?;
        self.ask_for_much(&mut stream).await?;
        loop {
            let pause = self.stream.log_between(10_000, 2_000_000);
            sleep(Duration::from_micros(pause)).await;
            let mut few = [0; 8];
            if timeout(PATIENCE, stream.read(&mut few)).await.ok()?.ok()? == 0 {
                return None;
            }
        }
    }

    async fn abrupt(&mut self) -> Option<()> {
        let mut stream = self.enter().await?;
        let mut out = BytesMut::new();
        let write = Write::SetData {
            path: "/".into(),
            data: Some(Bytes::from(vec![7; self.stream.log_between(1, 5_000) as usize])),
            version: -1,
        };
        encode_request(&mut out, Xid(1), &Request::Write(write));
        let n = 1 + self.stream.below(out.len() as u64 - 1) as usize;
        stream.write_all(&out[..n]).await.ok()?;
        let net = Net::current();
        net.see("client broke off in the middle of a frame");
        if self.stream.coin() {
            let keeps = self.stream.coin();
            net.break_off(stream.number(), tokio::net::Break { hears: [true, true], keeps });
        }
        Some(())
    }

    /// Two connections that take turns. All but the first answer may fail to come.
    async fn double(&mut self, attempt: u64) -> Option<()> {
        let conn = |n| ConnId((self.number << 32) | (attempt * 2 + n));
        let (first, second) = (conn(1), conn(2));
        let mut one = self.caller(first, fresh_session()).await?;
        let request =
            ConnectRequest { session: one.session(), password: one.password(), ..fresh_session() };
        let mut other = self.caller(second, request).await?;
        Net::current().see("two connections for one session");
        for _ in 0..self.stream.log_between(2, 50) {
            let caller = if self.stream.coin() { &mut one } else { &mut other };
            let path = format!("/double-{}", self.stream.below(3));
            let data = Some(Bytes::from_static(b"twice"));
            let request = match self.stream.below(3) {
                0 => Request::Read(Read::GetData { path: path.as_str().into(), watch: false }),
                _ => {
                    Request::Write(Write::SetData { path: path.as_str().into(), data, version: -1 })
                }
            };
            let _ = timeout(Duration::from_millis(200), caller.ask(request)).await;
        }
        Some(())
    }

    async fn caller(&mut self, conn: ConnId, request: ConnectRequest) -> Option<Caller> {
        let server = self.stream.between(1, self.servers);
        let (watch, history) = (self.watch.clone(), self.history.clone());
        let calling = Caller::connect_with(conn, server, request, (watch, history));
        timeout(PATIENCE, calling).await.ok()?.ok()
    }
}

/// Asks for a new session.
pub(super) fn fresh_session() -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 10_000,
        session: SessionId(0),
        password: Bytes::from_static(&[0; 16]),
        read_only: Some(false),
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
