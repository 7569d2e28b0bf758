//! Between clients and servers: connections, and the checks of what clients are shown.
//!
//! Invariant: a connection keeps its order in both directions; what is lost is lost at its end.
//! What a server says is judged when it leaves the server, whether or not the client still hears
//! it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use zokor_core::Input;
use zokor_core::id::{ConnId, ServerId, SessionId, Xid};
use zokor_core::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, Event as WatchEvent, Request, Response, Write, Zxid,
};
use zokor_core::replica::CloseReason;

use super::event::{Event, Frame};
use super::queue::Micros;
use super::stepped::World;
use crate::check::Verdict;
use crate::check::read::committed;
use crate::check::session::expiry;
use crate::check::session::local::Place;
use crate::check::testimony::{Scope, Testimony};
use crate::client::{Heard, Wish};
use crate::rng::mix;
use crate::trace::{EventId, Kind, Lane};

/// Where all clients are.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One connection of a client to a server.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) server: u64,
    /// The server has it: between its connect request and its end.
    pub(super) open: bool,
    /// What is under way to the server is lost.
    cut: bool,
    /// An election came while it waited for a write.
    pub(super) through_election: bool,
    /// How many elections there had been when it was made.
    elections: usize,
    to_server: Micros,
    to_client: Micros,
    frames: u64,
    pub(super) testimony: Testimony,
}

impl World {
    /// Carries out one wish of a client.
    pub(super) fn carry_wish(&mut self, client: u64, wish: Wish) {
        match wish {
            Wish::Connect(conn, server, request) => {
                let state = Conn {
                    server,
                    open: false,
                    cut: false,
                    through_election: false,
                    elections: self.elections(),
                    to_server: 0,
                    to_client: 0,
                    frames: 0,
                    testimony: Testimony::new(conn, ADDRESS, &request),
                };
                self.conns.insert(conn, state);
                let cause = self.trace.note(self.time, Lane::Client(client), Kind::Send, || {
                    format!("connects to {server}: {request:?}")
                });
                self.frame(conn, Frame::Connect(request), 0, cause);
            }
            Wish::Send(conn, xid, request) => {
                let cause = self.trace.note(self.time, Lane::Client(client), Kind::Send, || {
                    format!("asks {xid:?} {request:?}")
                });
                self.frame(conn, Frame::Request(xid, request), 0, cause);
            }
            Wish::Leave(conn, at_once) => {
                let Some(state) = self.conns.get_mut(&conn) else {
                    return;
                };
                let bits = mix(&[self.plan.seed, conn.0]);
                // What was sent arrives before the end, or is lost with it.
                state.cut = bits & 1 == 0;
                let late = if at_once { 0 } else { (bits >> 1) % 3_000_000 };
                let cause = self.trace.note(self.time, Lane::Client(client), Kind::Send, || {
                    format!("leaves {conn:?}")
                });
                self.frame(conn, Frame::End, late, cause);
            }
        }
    }

    /// Sends a frame to the server, after what was sent before.
    fn frame(&mut self, conn: ConnId, frame: Frame, late: Micros, cause: EventId) {
        let latency = self.client_latency(conn);
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        let cut = self.client_cuts.get(&(conn.0 >> 32, state.server)).copied().unwrap_or(0);
        state.to_server = (self.time + latency + late).max(state.to_server + 1).max(cut);
        self.queue.push(state.to_server, Event::ToServer { conn, frame, cause });
    }

    /// Lets the client hear something, after what it was told before.
    pub(super) fn tell(&mut self, conn: ConnId, heard: Heard, late: Micros, cause: EventId) {
        let latency = self.client_latency(conn);
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        let cut = self.client_cuts.get(&(conn.0 >> 32, state.server)).copied().unwrap_or(0);
        state.to_client = (self.time + latency + late).max(state.to_client + 1).max(cut);
        self.queue.push(state.to_client, Event::ToClient { conn, heard, cause });
    }

    fn client_latency(&mut self, conn: ConnId) -> Micros {
        let network = &self.plan.network;
        let number = self.conns.get_mut(&conn).map_or(0, |state| {
            state.frames += 1;
            state.frames
        });
        let spread = network.latency_spread / 4 + 1;
        50 + mix(&[self.plan.seed, conn.0, number]) % spread
    }

    /// A frame arrives at its server.
    pub(super) fn arrive(&mut self, conn: ConnId, frame: Frame, cause: EventId) -> Verdict {
        let Some(state) = self.conns.get(&conn) else {
            return Ok(());
        };
        let server = state.server;
        self.trace.caused(self.time, Lane::Server(server), Kind::Receive, cause, || {
            format!("{conn:?} {}", frame.name())
        });
        match frame {
            Frame::Connect(request) => self.take_connect(server, conn, request),
            Frame::Request(xid, request) => self.take_request(server, conn, xid, request),
            Frame::End => {
                let state = self.conns.get_mut(&conn).expect("just seen");
                if !std::mem::take(&mut state.open) {
                    return Ok(());
                }
                if state.testimony.order().has_write() {
                    self.probes.hit("connection lost with writes in flight");
                }
                self.input(server, Input::Disconnect { conn })
            }
        }
    }

    fn take_connect(&mut self, server: u64, conn: ConnId, request: ConnectRequest) -> Verdict {
        if self.server(server).replica.is_none() {
            self.tell(conn, Heard::Closed, 0, 0);
            return Ok(());
        }
        let asked = request.session;
        let mut others = self.conns.values();
        if asked != SessionId(0)
            && others.any(|c| {
                c.open && c.testimony.session() == asked && c.testimony.order().has_write()
            })
        {
            self.probes.hit("session moved with writes in flight");
        }
        let ended = self.checks.model.ended(asked).is_some();
        let asked_at = self.checks.model.newest().zxid;
        let was_local = self.checks.judge.locals.has(asked, &self.checks.model);
        let state = self.conns.get_mut(&conn).expect("the caller has seen it");
        if state.cut {
            return Ok(());
        }
        state.open = true;
        state.testimony.ended_before = ended;
        state.testimony.asked_at = asked_at;
        state.testimony.was_local = was_local;
        self.input(server, Input::Connect { conn, address: ADDRESS, request })
    }

    fn take_request(
        &mut self,
        server: u64,
        conn: ConnId,
        xid: Xid,
        request: Arc<Request>,
    ) -> Verdict {
        // What is committed counts, answered or not: no leader that is confirmed, or commits, can
        // lack it. That shows more than what clients could compare.
        let before = self.checks.model.newest().zxid;
        let time = self.time;
        let state = self.conns.get_mut(&conn).expect("the caller has seen it");
        if state.cut || !state.open {
            return Ok(());
        }
        let session = state.testimony.session();
        let counts = !state.testimony.order().is_closing();
        state.testimony.asked(time, xid, request.clone(), before);
        let scope = state.testimony.scope();
        if matches!(&*request, Request::Write(_)) {
            self.checks.judge.writes.asked(conn, request.clone());
            let ends = matches!(&*request, Request::Write(Write::CloseSession));
            if scope == Scope::Local && self.makes_ephemeral(&request) {
                self.probes.hit("ephemeral asked for in a local session");
            } else if scope == Scope::Local && ends {
                self.probes.hit("local session closed");
                self.checks.judge.locals.closing(session);
            }
        }
        if matches!(&*request, Request::Sync(_)) && self.leaders().is_empty() {
            self.probes.hit("sync during an election");
        }
        // Credentials keep no session alive.
        if counts && !matches!(&*request, Request::Auth(_)) {
            self.server(server).touch(session, time);
            let now = self.server(server).clock.instant(time);
            self.checks.judge.locals.heard(session, now);
        }
        self.input(server, Input::Request { conn, xid, request: Request::clone(&request) })
    }

    /// Where and when a server speaks.
    fn place(&self, server: u64) -> Place {
        let state = &self.servers[server as usize - 1];
        let (life, now) = (state.life, state.clock.instant(self.time));
        let slack = Duration::from_micros(self.plan.process.poll_delay * 2);
        Place { server: state.id, life, now, slack, is_local: self.plan.solo.local_sessions }
    }

    fn makes_ephemeral(&self, request: &Request) -> bool {
        fn is_one(write: &Write) -> bool {
            match write {
                Write::Create(create) => matches!(create.flags, 1 | 3),
                Write::Multi(writes) => writes.iter().any(is_one),
                _ => false,
            }
        }
        matches!(request, Request::Write(write) if is_one(write))
    }

    /// A server answers a connect request.
    pub(super) fn answer_connect(
        &mut self,
        server: u64,
        conn: ConnId,
        response: ConnectResponse,
    ) -> Verdict {
        self.checks.doubts.shows(ServerId(server))?;
        let place = self.place(server);
        let Some(state) = self.conns.get_mut(&conn).filter(|state| state.open) else {
            return Ok(());
        };
        let cause = self.trace.note(self.time, Lane::Server(server), Kind::Send, || {
            format!("{conn:?} <- {response:?}")
        });
        let (judge, model) = (&mut self.checks.judge, &self.checks.model);
        let is_local = judge.locals.has(state.testimony.wanted(), model);
        state.testimony.connected(self.time, &response, place, judge, model)?;
        if let Some(seen) = match (state.testimony.scope(), is_local) {
            _ if response.session == SessionId(0) => is_local.then_some("local session refused"),
            (Scope::Global, _) => None,
            (Scope::Local, false) => Some("local session given"),
            (Scope::Local, true) => Some("local session resumed"),
            (Scope::ReadOnly, false) => Some("read-only session given"),
            (Scope::ReadOnly, true) => Some("read-only session resumed"),
        } {
            self.probes.hit(seen);
        }
        if response.session == SessionId(0) {
            let right = state.testimony.has_right_password(model);
            self.probes.hit(if right { "session refused" } else { "wrong password refused" });
        } else {
            if state.testimony.wanted() != SessionId(0) {
                self.probes.hit("session resumed");
            }
            if state.testimony.scope() != Scope::ReadOnly {
                judge.writes.attached(response.session, conn);
                // Elsewhere, a server that is behind may still think so of a former one.
                let speaks = state.testimony.scope() == Scope::Local;
                judge.writes.speaks(response.session, speaks.then_some(conn));
            }
            let time = self.time;
            self.server(server).touch(response.session, time);
        }
        self.hash = mix(&[self.hash, response.session.0 as u64]);
        self.tell(conn, Heard::Connected(response), 0, cause);
        Ok(())
    }

    /// A server answers a request.
    pub(super) fn answer(
        &mut self,
        server: u64,
        conn: ConnId,
        xid: Xid,
        (zxid, result): (Zxid, Result<Response, ErrorCode>),
    ) -> Verdict {
        self.checks.doubts.shows(ServerId(server))?;
        self.hash = mix(&[self.hash, conn.0, xid.0 as u64, zxid.0 as u64]);
        let Some(state) = self.conns.get_mut(&conn).filter(|state| state.open) else {
            return Ok(());
        };
        let cause = self.trace.note(self.time, Lane::Server(server), Kind::Send, || {
            format!("{conn:?} <- {xid:?} {zxid} {result:?}")
        });
        let (judge, model) = (&mut self.checks.judge, &self.checks.model);
        let answer = (zxid, &result);
        let request = state.testimony.replied(self.time, xid, answer, judge, model)?;
        let met = state.testimony.watching().take_met();
        met.into_iter().for_each(|name| self.probes.hit(name));
        match &*request {
            // These bear no zxid of their server's.
            Request::Auth(_) | Request::Sasl(_) | Request::Unknown(_) => {}
            _ => {
                let commit = self.servers[server as usize - 1].progress.commit;
                committed::here(ServerId(server), zxid, commit, model)?;
            }
        }
        if let Request::SetWatches(_) = &*request {
            self.probes.hit("watches set again");
        }
        if std::mem::take(&mut state.through_election) {
            self.probes.hit("write answered over an election");
        }
        let elections = state.elections;
        if matches!(&*request, Request::Read(_))
            && self.observes(server)
            && self.elections() > elections
        {
            self.probes.hit("observer served a read after an election");
        }
        self.tell(conn, Heard::Reply(xid, zxid, result), 0, cause);
        Ok(())
    }

    /// A watch fires.
    pub(super) fn notify(
        &mut self,
        server: u64,
        conn: ConnId,
        zxid: Zxid,
        event: WatchEvent,
    ) -> Verdict {
        self.checks.doubts.shows(ServerId(server))?;
        self.hash = mix(&[self.hash, conn.0, zxid.0 as u64, event.kind as u64]);
        let Some(state) = self.conns.get_mut(&conn).filter(|state| state.open) else {
            return Ok(());
        };
        let cause = self.trace.note(self.time, Lane::Server(server), Kind::Send, || {
            format!("{conn:?} <- {event:?} {zxid}")
        });
        self.probes.hit(if zxid.0 == -1 { "watch fired on reconnect" } else { "watch fired" });
        state.testimony.notified(zxid, &event, &self.checks.model)?;
        self.tell(conn, Heard::Notify(zxid, event), 0, cause);
        Ok(())
    }

    /// A server ends a connection.
    pub(super) fn close(&mut self, server: u64, conn: ConnId, reason: CloseReason) -> Verdict {
        self.hash = mix(&[self.hash, conn.0, reason as u64]);
        self.local_ended(server, conn, reason)?;
        let Some(state) = self.conns.get_mut(&conn) else {
            return Ok(());
        };
        if std::mem::take(&mut state.open) {
            let cause = self.trace.note(self.time, Lane::Server(server), Kind::Send, || {
                format!("{conn:?} is closed: {reason:?}")
            });
            self.probes.hit(match reason {
                CloseReason::SessionClosed => "closed: session closed",
                CloseReason::SessionEnded => "closed: session ended",
                CloseReason::SessionMoved => "closed: session moved",
                CloseReason::ClientAhead => "closed: client ahead",
                CloseReason::NoLeader => "closed: no leader",
                CloseReason::WritableAgain => "closed: writable again",
                CloseReason::NoMember => "closed: no member",
                CloseReason::StateInDoubt => "closed: state in doubt",
                CloseReason::Resynchronized => "closed: resynchronized",
                CloseReason::AuthFailed
                | CloseReason::AuthRequired
                | CloseReason::OtherEnsemble
                | CloseReason::UnknownRequest
                | CloseReason::TooManyRequests
                | CloseReason::TooManyEvents => "closed: other",
            });
            self.tell(conn, Heard::Closed, 0, cause);
        }
        Ok(())
    }

    /// A server ends a connection: if that is since its own session is over, it must be overdue.
    fn local_ended(&mut self, server: u64, conn: ConnId, reason: CloseReason) -> Verdict {
        let place = self.place(server);
        let Some(state) = self.conns.get(&conn).filter(|state| state.open) else {
            return Ok(());
        };
        let session = state.testimony.session();
        let is_local = self.checks.judge.locals.has(session, &self.checks.model);
        if reason != CloseReason::SessionEnded || !is_local {
            return Ok(());
        }
        self.probes.hit("local session expired");
        let client = &self.clients[(conn.0 >> 32) as usize - 1];
        let is_served = client.session() == Some(session) && client.is_connected();
        expiry::happened(session, self.plan.calm && is_served)?;
        self.checks.judge.locals.expired(session, place)
    }

    /// A server is gone, and its connections with it; a client hears of it soon, or never.
    pub(super) fn drop_conns(&mut self, server: u64) {
        let ids: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, state)| state.server == server && state.open)
            .map(|(&conn, _)| conn)
            .collect();
        for conn in ids {
            let state = self.conns.get_mut(&conn).expect("just listed");
            state.open = false;
            if !mix(&[self.plan.seed, conn.0, 7]).is_multiple_of(4) {
                self.tell(conn, Heard::Closed, 500, 0);
            }
        }
    }

    /// Whether a client of `server` waits for a write.
    pub(super) fn has_writes_in_flight(&self, server: u64) -> bool {
        self.conns.values().any(|c| c.open && c.server == server && c.testimony.order().has_write())
    }
}

impl Heard {
    /// A number for the run's hash.
    pub(super) fn key(&self) -> u64 {
        match self {
            Heard::Connected(response) => mix(&[1, response.session.0 as u64]),
            Heard::Reply(xid, zxid, result) => {
                mix(&[2, xid.0 as u64, zxid.0 as u64, u64::from(result.is_ok())])
            }
            Heard::Notify(zxid, event) => mix(&[3, zxid.0 as u64, event.kind as u64]),
            Heard::Closed => 4,
        }
    }
}
