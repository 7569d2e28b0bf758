//! The model client over the real wire: its wishes become bytes on a socket, and bytes become what
//! it hears.
//!
//! Invariant: what a client decides is the model client's business alone; here only the history is
//! kept, and bytes are cut where a network may cut them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::{Break, Net, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};
use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{ConnectRequest, Request, Zxid};
use zokor_net::transport::Inbox;
use zokor_net::wire::request::{encode_connect, encode_request};
use zokor_net::wire::response::{
    EVENT_XID, decode_connected, decode_event, decode_reply_header, decode_response, error_of,
};

use super::history::{Deed, History};
use crate::client::{Client, Heard, Mood, Wish};
use crate::rng::mix;
use crate::world::madsim::Watch;
use crate::world::queue::Micros;

/// One client under way.
#[derive(Clone)]
pub struct Running {
    client: Arc<Mutex<Client>>,
    moods: UnboundedSender<Mood>,
}

impl Running {
    /// Puts a client on its way; the future is its life.
    pub fn new(client: Client, watch: Watch, history: History) -> (Self, impl Future<Output = ()>) {
        let client = Arc::new(Mutex::new(client));
        let (moods, orders) = unbounded_channel();
        let (tell, heard) = unbounded_channel();
        let hands = Hands::new(watch, history, tell).unruly();
        let life = live(client.clone(), hands, orders, heard);
        (Running { client, moods }, life)
    }

    /// Tells it what to do from now on.
    pub fn order(&self, mood: Mood) {
        // It lives as long as the run.
        let _ = self.moods.send(mood);
    }

    /// Its present state.
    pub fn look(&self) -> MutexGuard<'_, Client> {
        self.client.lock().expect("a client that panics ends the run")
    }

    /// Its session, if it has one and is not dead.
    pub fn live_session(&self) -> Option<SessionId> {
        let client = self.look();
        if client.is_dead() { None } else { client.session() }
    }
}

async fn live(
    client: Arc<Mutex<Client>>,
    mut hands: Hands,
    mut orders: UnboundedReceiver<Mood>,
    mut heard: UnboundedReceiver<(ConnId, Heard)>,
) {
    loop {
        let deadline = client.lock().expect("only this task panics with it").deadline();
        let now = hands.watch.micros();
        let pause = deadline.map_or(IDLE, |at| Duration::from_micros(at.saturating_sub(now)));
        let happened = tokio::select! {
            biased;
            mood = orders.recv() => mood.map(Happened::Mood),
            heard = heard.recv() => heard.map(|(conn, heard)| Happened::Heard(conn, heard)),
            () = sleep(pause.min(IDLE)) => Some(Happened::Time),
        };
        let Some(happened) = happened else { return };
        let now = hands.watch.micros();
        let wishes = {
            let mut client = client.lock().expect("only this task panics with it");
            match happened {
                Happened::Mood(mood) => client.become_(now, mood),
                Happened::Heard(conn, heard) => {
                    hands.history.note(now, Deed::Hears(conn, heard.clone()));
                    client.hear(now, conn, heard)
                }
                Happened::Time => client.wake(now),
            }
        };
        for wish in wishes {
            hands.carry_out(now, wish);
        }
    }
}

enum Happened {
    Mood(Mood),
    Heard(ConnId, Heard),
    Time,
}

/// What a client does with its connections.
pub struct Hands {
    watch: Watch,
    history: History,
    links: BTreeMap<ConnId, UnboundedSender<Frame>>,
    tell: UnboundedSender<(ConnId, Heard)>,
    /// Its links stop reading now and then, and some are reset in the place of a close.
    unruly: bool,
}

/// What a link is asked for.
enum Frame {
    Request(Xid, Arc<Request>),
    /// To close after a while in which nothing is read.
    Leave(Micros),
}

impl Hands {
    /// Hands without any connection. What these hear goes to `tell`.
    pub fn new(watch: Watch, history: History, tell: UnboundedSender<(ConnId, Heard)>) -> Self {
        Hands { watch, history, links: BTreeMap::new(), tell, unruly: false }
    }

    /// The same for a client of which no good manners are to be expected.
    fn unruly(self) -> Self {
        Hands { unruly: true, ..self }
    }

    /// Carries out one wish.
    pub fn carry_out(&mut self, now: Micros, wish: Wish) {
        match wish {
            Wish::Connect(conn, server, request) => {
                self.history.note(now, Deed::Connects(conn, server, request.clone()));
                let (frames, queue) = unbounded_channel();
                self.links.insert(conn, frames);
                let tell = self.tell.clone();
                let (address, unruly) = (client_address(server), self.unruly);
                let link = Link { conn, address, begun: now, unruly, tell };
                drop(tokio::spawn(link.run(request, queue)));
            }
            Wish::Send(conn, xid, request) => {
                self.history.note(now, Deed::Asks(conn, xid, request.clone()));
                self.send(conn, Frame::Request(xid, request));
            }
            Wish::Leave(conn, at_once) => {
                self.history.note(now, Deed::Leaves(conn));
                let late = if at_once { 0 } else { mix(&[conn.0, now]) % 3_000_000 };
                self.send(conn, Frame::Leave(late));
                self.links.remove(&conn);
            }
        }
    }

    fn send(&self, conn: ConnId, frame: Frame) {
        if let Some(link) = self.links.get(&conn) {
            // A link that has ended has told so already.
            let _ = link.send(frame);
        }
    }
}

/// Where the client of a connection is: the numbers from 900 on are those of the run itself.
pub fn address_of(conn: ConnId) -> IpAddr {
    let number = conn.0 >> 32;
    IpAddr::V4(match number {
        0..900 => Ipv4Addr::new(10, 0, 1, number as u8),
        900..ODD => Ipv4Addr::new(10, 0, 2, 2),
        ODD..1_000 => Ipv4Addr::new(10, 0, 2, (number - ODD) as u8 + 3),
        _ => Ipv4Addr::new(10, 0, 2, 1),
    })
}

/// The first number of odd clients.
pub const ODD: u64 = 910;

/// Where `server` takes clients.
pub fn client_address(server: u64) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, server as u8)), 2181)
}

/// One connection of a client.
pub struct Link {
    conn: ConnId,
    address: SocketAddr,
    /// When it was asked for.
    begun: Micros,
    unruly: bool,
    tell: UnboundedSender<(ConnId, Heard)>,
}

impl Link {
    async fn run(self, connect: ConnectRequest, queue: UnboundedReceiver<Frame>) {
        // Whatever goes wrong, the client learns that it is over and nothing else.
        if self.talk(connect, queue).await.is_none() {
            let _ = self.tell.send((self.conn, Heard::Closed));
        }
    }

    /// `None` if the connection has ended by itself.
    async fn talk(
        &self,
        connect: ConnectRequest,
        mut queue: UnboundedReceiver<Frame>,
    ) -> Option<()> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let (number, net) = (stream.number(), Net::current());
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut out = BytesMut::new();
        encode_connect(&mut out, &connect);
        let mut inbox = Inbox::new(1 << 20);
        let mut connected = false;
        let mut waiting = VecDeque::new();
        let mut frames = Vec::new();
        let mut rest = self.rest();
        loop {
            let asleep = rest.filter(|rest| rest.reads == 0).map(|rest| rest.until);
            tokio::select! {
                biased;
                read = wakeful(asleep, inbox.fill(&mut reader)) => {
                    if asleep.is_some() {
                        net.see("slow reader");
                    }
                    rest = rest.filter(|_| asleep.is_none()).map(Rest::nearer);
                    if !matches!(read, Ok(n) if n > 0) {
                        if !inbox.bytes().is_empty() {
                            net.see("answer cut in the middle of a frame");
                        }
                        return None;
                    }
                    while let Some(frame) = inbox.frame().expect("servers send whole frames") {
                        let heard = if std::mem::replace(&mut connected, true) {
                            decode(frame, &mut waiting)
                        } else {
                            Heard::Connected(decode_connected(frame).expect("a whole answer"))
                        };
                        let _ = self.tell.send((self.conn, heard));
                    }
                }
                n = queue.recv_many(&mut frames, 64) => {
                    if n == 0 {
                        return Some(());
                    }
                    for frame in frames.drain(..) {
                        match frame {
                            Frame::Request(xid, request) => {
                                encode_request(&mut out, xid, &request);
                                waiting.push_back((xid, request));
                            }
                            Frame::Leave(late) => {
                                sleep(Duration::from_micros(late)).await;
                                self.break_off(&net, number, late);
                                return Some(());
                            }
                        }
                    }
                }
                written = writer.write_buf(&mut out), if !out.is_empty() => {
                    written.ok()?;
                }
            }
        }
    }

    /// Some clients stop reading after so many reads, for so long.
    fn rest(&self) -> Option<Rest> {
        let dice = mix(&[self.conn.0, self.begun]);
        let long = Duration::from_millis(10 << ((dice >> 32) % 9));
        let rest = Rest { reads: (dice >> 8) % 32 + 1, long, until: Instant::now() };
        (self.unruly && dice.is_multiple_of(8)).then_some(rest)
    }

    /// Some connections are not closed but reset.
    fn break_off(&self, net: &Net, number: u64, late: Micros) {
        let dice = mix(&[self.conn.0, self.begun, late]);
        if self.unruly && dice.is_multiple_of(4) {
            let keeps = (dice >> 8).is_multiple_of(2);
            net.break_off(number, Break { hears: [true, true], keeps });
        }
    }
}

/// When a client stops reading.
#[derive(Clone, Copy)]
struct Rest {
    /// After so many reads.
    reads: u64,
    /// For so long.
    long: Duration,
    /// Which is until then, when it has begun.
    until: Instant,
}

impl Rest {
    fn nearer(self) -> Self {
        Rest { reads: self.reads - 1, until: Instant::now() + self.long, ..self }
    }
}

/// Does something, but not before a time.
async fn wakeful<T>(until: Option<Instant>, what: impl Future<Output = T>) -> T {
    if let Some(until) = until {
        sleep_until(until).await;
    }
    what.await
}

fn decode(frame: Bytes, waiting: &mut VecDeque<(Xid, Arc<Request>)>) -> Heard {
    let (header, body) = decode_reply_header(frame).expect("a whole header");
    if header.xid == EVENT_XID {
        return Heard::Notify(header.zxid, decode_event(body).expect("a whole event"));
    }
    // The order of replies is judged by the history; here only the shape of the body matters.
    let place = waiting.iter().position(|(xid, _)| *xid == header.xid);
    let (xid, request) =
        place.and_then(|place| waiting.remove(place)).expect("a reply to something asked");
    let result = match error_of(header.error) {
        Some(error) => Err(error),
        None => Ok(decode_response(&request, body).expect("a whole body")),
    };
    Heard::Reply(xid, Zxid(header.zxid.0), result)
}

/// How long a client with nothing to do sleeps at most.
const IDLE: Duration = Duration::from_secs(1);
