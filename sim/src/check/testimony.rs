//! What one connection was told, and everything that is judged of it.
//!
//! Invariant: what goes in stands in the order in which its server took it in, what comes out in
//! the order in which it left, or both as the client saw them.

use std::net::IpAddr;
use std::sync::Arc;

use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, Event, Identities, Request, Response, Zxid,
};

use super::judge::Judge;
use super::read::view::View;
use super::read::{as_model, committed, plain, sync};
use super::session::{after_end, identity, told};
use super::tree::permission;
use super::watch::Watching;
use super::write::order::{Asked, Order};
use super::{Verdict, Violation};
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
    session: SessionId,
    /// What it has proven: holds for what is asked next.
    identities: Identities,
    order: Order,
    view: View,
    watching: Watching,
    /// When the last `sync` was called that was answered.
    synced: Option<Micros>,
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
            session: SessionId(0),
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

    /// The first frame is answered.
    ///
    /// # Errors
    /// If the session is refused or given wrongly.
    pub fn connected(
        &mut self,
        time: Micros,
        response: &ConnectResponse,
        judge: &mut Judge,
        model: &Model,
    ) -> Verdict {
        let session = response.session;
        if session == SessionId(0) {
            return told::refused(self.wanted, &self.password, model);
        }
        self.session = session;
        told::accepted(session, self.ended_before, model)?;
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
        let asked = self.order.replied(xid, zxid)?;
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
