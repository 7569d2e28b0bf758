//! What one connection was told, and everything that is judged of it.
//!
//! Invariant: what goes in stands in the order in which its server took it in, what comes out in
//! the order in which it left, or both as the client saw them.

use std::net::IpAddr;
use std::sync::Arc;

use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, Event, Identities, Request, Response, Write, Zxid,
};

use super::judge::Judge;
use super::read::view::View;
use super::read::{as_model, committed, only, plain, sync};
use super::session::local::{Grant, Place};
use super::session::{after_end, identity, told};
use super::tree::permission;
use super::watch::Watching;
use super::write::order::{Asked, Order};
use super::{Verdict, Violation, must};
use crate::model::{Model, acl};
use crate::world::queue::Micros;

/// One connection of a client to a server.
#[derive(Debug)]
pub struct Testimony {
    conn: ConnId,
    /// The session that it asked for, and with which password.
    wanted: SessionId,
    password: Vec<u8>,
    /// The session had ended when it asked for it.
    pub ended_before: bool,
    /// What is in the log up to here was there when it asked.
    pub asked_at: Zxid,
    /// One server alone knew that session when it asked for it.
    pub was_local: bool,
    session: SessionId,
    scope: Scope,
    /// What it has proven: holds for what is asked next.
    identities: Identities,
    order: Order,
    view: View,
    watching: Watching,
    /// When the last `sync` was called that was answered.
    synced: Option<Micros>,
}

/// Who knows the session of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All servers.
    Global,
    /// Its server, as long as it is not upgraded.
    Local,
    /// Its server, in read-only mode.
    ReadOnly,
}

impl Testimony {
    /// A client at `address` opens `conn` and sends its first frame.
    pub fn new(conn: ConnId, address: IpAddr, request: &ConnectRequest) -> Self {
        let identities = acl::from_address(address);
        Testimony {
            conn,
            wanted: request.session,
            password: request.password.to_vec(),
            ended_before: false,
            asked_at: Zxid::ZERO,
            was_local: false,
            session: SessionId(0),
            scope: Scope::Global,
            identities: identities.clone(),
            order: Order::default(),
            view: View::new(Zxid(request.last_zxid_seen)),
            watching: Watching::new(conn, identities),
            synced: None,
        }
    }

    /// The session that it wants to go on with, or 0.
    pub fn wanted(&self) -> SessionId {
        self.wanted
    }

    /// The session that it serves, or 0.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Who knows its session.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether it has shown the password of an open session, or none is known.
    pub fn has_right_password(&self, model: &Model) -> bool {
        model.password(self.wanted).is_none_or(|right| right[..] == self.password[..])
    }

    /// What waits for its answer.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Its watches.
    pub fn watching(&mut self) -> &mut Watching {
        &mut self.watching
    }

    /// How many watches it has, as its server counts them.
    pub fn watches(&self) -> usize {
        self.watching.count()
    }

    /// Something is asked for, when `answered` is the largest zxid of a write answered to anyone.
    pub fn asked(&mut self, time: Micros, xid: Xid, request: Arc<Request>, answered: Zxid) {
        let identities = self.identities.clone();
        if let Request::Auth(packet) = &*request
            && let Ok(joined) = acl::joined(&identities, packet)
        {
            self.identities = joined;
        }
        self.order.asked(Asked { identities, time, answered, ..Asked::new(xid, request) });
    }

    /// The first frame is answered by a server at `place`.
    ///
    /// # Errors
    /// If the session is refused or given wrongly.
    pub fn connected(
        &mut self,
        time: Micros,
        response: &ConnectResponse,
        place: Place,
        judge: &mut Judge,
        model: &Model,
    ) -> Verdict {
        let session = response.session;
        if session == SessionId(0) {
            // What is upgraded meanwhile is known to the others a little too late.
            if self.was_local && !judge.locals.is_of(self.wanted, place) {
                return Ok(());
            }
            if judge.locals.has(self.wanted, model) {
                return judge.locals.refused(self.wanted, &self.password, place);
            }
            return told::refused((self.wanted, &self.password), self.asked_at, model);
        }
        self.session = session;
        let read_only = response.read_only == Some(true);
        if read_only || (place.is_local && model.password(session).is_none()) {
            self.scope = if read_only { Scope::ReadOnly } else { Scope::Local };
            let (password, timeout_ms) = (response.password, response.timeout_ms);
            let grant = Grant { session, password, timeout_ms, read_only };
            judge.locals.given((self.wanted, &self.password), grant, place)?;
            judge.history.opened(session, time);
            return Ok(());
        }
        let costs = place.is_local && self.wanted == SessionId(0);
        must("a local session costs the log nothing (S10)", !costs, || {
            format!("session {session} is new, and in the log")
        })?;
        told::accepted(session, self.ended_before.then_some(self.asked_at), model)?;
        if self.wanted != SessionId(0) {
            identity::resumed(self.wanted, &self.password, model.password(session))?;
        }
        identity::given(session, &response.password, model.password(session))?;
        judge.history.opened(session, time);
        Ok(())
    }

    /// A request is answered; returns it.
    ///
    /// # Errors
    /// If the answer is wrong in any way.
    pub fn replied(
        &mut self,
        time: Micros,
        xid: Xid,
        (zxid, result): (Zxid, &Result<Response, ErrorCode>),
        judge: &mut Judge,
        model: &Model,
    ) -> Result<Arc<Request>, Violation> {
        let asked = self.order.replied(xid)?;
        let session = self.session;
        match &*asked.request {
            Request::Auth(packet) => {
                permission::authenticated(&asked.identities, packet, result)?;
                if let Ok(joined) = acl::joined(&asked.identities, packet) {
                    self.watching.proved(joined);
                }
                return Ok(asked.request);
            }
            // They bear no zxid; after what is unknown the connection ends.
            Request::Sasl(_) | Request::Unknown(_) => {
                plain::answered(&asked.request, result)?;
                return Ok(asked.request);
            }
            _ => {}
        }
        self.view.shown(session, zxid)?;
        committed::anywhere(session, zxid, model)?;
        if self.is_told_by_its_server(&asked.request, result, judge, model)? {
            return Ok(asked.request);
        }
        self.order.logged(&asked, zxid)?;
        if let Ok(response) = result {
            judge.numbers.replied(&asked.request, (zxid, response), model)?;
        }
        judge.writes.replied((self.conn, session), &asked, (zxid, result), model)?;
        match &*asked.request {
            Request::Write(_) => {
                after_end::acted(session, zxid, model.ended(session))?;
            }
            Request::Read(read) => {
                let who = (session, &*asked.identities);
                as_model::answered(who, read, (zxid, result), model)?;
            }
            Request::Sync(path) => {
                sync::returned(path, (zxid, result), asked.answered)?;
                self.synced = Some(asked.time);
            }
            other => plain::answered(other, result)?,
        }
        self.watching.replied(&asked, zxid, result, model)?;
        judge.history.replied(session, &asked, self.synced, (time, result));
        Ok(asked.request)
    }

    /// What a server answers for a session that it alone knows, and without the log. Whether this
    /// was such an answer.
    fn is_told_by_its_server(
        &mut self,
        request: &Request,
        result: &Result<Response, ErrorCode>,
        judge: &mut Judge,
        model: &Model,
    ) -> Result<bool, Violation> {
        if self.scope == Scope::Local && model.password(self.session).is_some() {
            self.scope = Scope::Global;
        }
        let closes = matches!(request, Request::Write(Write::CloseSession));
        if closes && self.scope != Scope::Global {
            judge.locals.closed(self.session);
        }
        match self.scope {
            Scope::Global => Ok(false),
            Scope::Local => {
                must("a local session is closed at once (S10)", !closes || result.is_ok(), || {
                    format!("closing {} is answered {result:?}", self.session)
                })?;
                Ok(closes)
            }
            Scope::ReadOnly => {
                let (is_all, verdict) = only::answered(request, result);
                verdict.map(|()| is_all)
            }
        }
    }

    /// A watch fires.
    ///
    /// # Errors
    /// If it should not, or not now.
    pub fn notified(&mut self, zxid: Zxid, event: &Event, model: &Model) -> Verdict {
        self.view.noticed(zxid);
        self.watching.notified(zxid, event, model)
    }

    /// The run ends: what was never answered may have happened, or may yet.
    pub fn finished(&self, judge: &mut Judge) {
        for asked in self.order.waiting() {
            judge.history.unanswered(self.session, asked);
        }
    }
}
