//! An established connection's requests, from the door to the front of the line.
//!
//! Invariant: replies leave in the order of the requests; only `auth` and `sasl` are answered ahead
//! of what waits, as in ZooKeeper.

use std::sync::Arc;

use crate::db::{Action, Author, Reader};
use crate::id::{ConnId, Sequence, Xid};
use crate::proto::{ErrorCode, Request, Response, Rewatch, Write, Zxid};
use crate::replica::connection::{Connection, Scope};
use crate::replica::pipeline::{Local, PendingLocal, PendingWrite, Pipeline, Step};
use crate::replica::read::{self, Place};
use crate::replica::{CloseReason, Output, Replica};
use crate::watch::{Watches, rearm};

impl Replica {
    pub(in crate::replica) fn request(&mut self, conn: ConnId, xid: Xid, request: Request) {
        let now = self.now.instant;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.closing {
            return;
        }
        if connection.attachment().is_none() {
            self.close(conn, CloseReason::UnknownRequest);
            return;
        }
        if connection.pipeline().len() >= self.config.max_outstanding {
            self.close(conn, CloseReason::TooManyRequests);
            return;
        }
        // Credentials keep no session alive (zookeeper: ZooKeeperServer.processPacket).
        if !matches!(request, Request::Auth(_) | Request::Sasl(_)) {
            connection.heard = Some(now);
        }
        let scope = connection.attachment().map(|attachment| attachment.scope);
        if self.is_shut_out(conn, &request) {
            self.shut_out(conn, xid);
            return;
        }
        if scope == Some(Scope::ReadOnly) && self.is_refused_read_only(&request) {
            self.note_refused(conn, &request, ErrorCode::NotReadOnly);
            self.refuse(conn, xid, ErrorCode::NotReadOnly, None, None);
            return;
        }
        match request {
            Request::Write(write) => self.enter_write(conn, xid, write),
            Request::Sync(path) => {
                let entered = self.connections.line(conn, |line| line.enter_barrier(xid, path));
                if let Some(ordinal) = entered {
                    self.ask_barrier(Place { conn, ordinal });
                }
            }
            Request::Auth(packet) => self.authenticate(conn, xid, &packet),
            Request::Sasl(token) => self.log_in(conn, xid, &token),
            Request::Read(read) => self.enter_local(conn, xid, Local::Read(read)),
            Request::Ping => self.enter_local(conn, xid, Local::Ping),
            Request::SetWatches(rewatch) => self.enter_local(conn, xid, Local::Rewatch(rewatch)),
            Request::Reconfig(asked) => self.enter_local(conn, xid, Local::Reconfig(asked)),
            Request::Unknown(_) => {
                let close = Some(CloseReason::UnknownRequest);
                self.refuse(conn, xid, ErrorCode::Unimplemented, Some(Zxid(-1)), close);
            }
            Request::Throttled => self.refuse(conn, xid, ErrorCode::ThrottledOp, None, None),
            Request::Malformed => self.refuse(conn, xid, ErrorCode::MarshallingError, None, None),
        }
    }

    /// For an audit: what is refused before it could get into the log.
    fn note_refused(&mut self, conn: ConnId, request: &Request, code: ErrorCode) {
        let Some(connection) = self.connections.get(conn) else { return };
        let Some(attachment) = connection.attachment() else { return };
        let (session, identities) = (attachment.session, &connection.identities);
        match request {
            Request::Write(write) => self.deeds.wrote(session, identities, write, Err(code)),
            Request::Reconfig(_) => self.deeds.reconfigured(session, identities, false),
            _ => {}
        }
    }

    pub(in crate::replica) fn refuse(
        &mut self,
        conn: ConnId,
        xid: Xid,
        error: ErrorCode,
        zxid: Option<Zxid>,
        close: Option<CloseReason>,
    ) {
        self.enter_local(conn, xid, Local::Refuse { error, zxid, close });
    }

    pub(in crate::replica) fn enter_write(&mut self, conn: ConnId, xid: Xid, mut write: Write) {
        let now = self.now.instant;
        self.config.auth.strike(&mut write);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let attachment = connection.attachment().expect("checked at the door");
        if self.config.eager_acl
            && !self.config.rules.skip_acl
            && let Some(code) = self.db.refusal(&connection.identities, &write)
        {
            let session = attachment.session;
            self.deeds.wrote(session, &connection.identities, &write, Err(code));
            // In its turn, and without a transaction.
            return self.refuse(conn, xid, code, Some(Zxid(0)), None);
        }
        if attachment.scope != Scope::Global {
            return self.enter_local_write(conn, xid, write, attachment);
        }
        connection.closing = write == Write::CloseSession;
        connection.sequence = Sequence(connection.sequence.0 + 1);
        let author = Author {
            session: attachment.session,
            token: attachment.token,
            sequence: connection.sequence,
            identities: Arc::clone(&connection.identities),
        };
        let sequence = author.sequence;
        let action = Action::Write { author, write };
        let leaves = !connection.pipeline().holds_writes();
        let sent = leaves.then_some(now);
        let pending = PendingWrite { xid, sequence, action: action.clone(), sent };
        self.connections.line(conn, |line| line.enter_write(pending));
        if leaves {
            self.dispatch(action);
        }
    }

    pub(in crate::replica) fn enter_local(&mut self, conn: ConnId, xid: Xid, work: Local) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let identities = Arc::clone(&connection.identities);
        let local = PendingLocal { xid, identities, work };
        let is_early = mutated!(ReadOvertakesWrite if matches!(local.work, Local::Read(_)));
        if connection.pipeline().is_empty() || is_early {
            self.run(conn, local);
        } else {
            self.connections.line(conn, |line| line.enter_local(local));
        }
    }

    /// Does what can be done at the front of a connection's line.
    pub(in crate::replica) fn advance(&mut self, conn: ConnId) {
        while let Some(step) = self.connections.line(conn, Pipeline::step) {
            match step {
                Step::Wait => return,
                Step::Run(local) => self.run(conn, local),
                Step::Passed(barrier) => {
                    let result = Ok(Response::Sync(barrier.path));
                    let zxid = self.db.zxid();
                    self.outputs.push_back(Output::Reply { conn, xid: barrier.xid, zxid, result });
                    self.release(conn);
                }
            }
        }
    }

    pub(in crate::replica) fn run(&mut self, conn: ConnId, local: PendingLocal) {
        let PendingLocal { xid, identities, work } = local;
        let Some(attachment) = self.connections.get(conn).and_then(Connection::attachment) else {
            return;
        };
        let mut zxid = self.db.zxid();
        let mut close = None;
        let (xid, result) = match work {
            Local::Read(read) => {
                let (session, identities) = (attachment.session, &identities);
                let reader = Reader { session, identities, skip_acl: self.config.rules.skip_acl };
                let is_late = mutated!(WatchSetLate if self.raft.last().index > self.applied.index);
                let watches = if is_late { &mut Watches::new() } else { &mut self.watches };
                let result = read::answer(&self.db, watches, conn, &reader, &read);
                if let Ok(response) = &result {
                    self.counts.namespaces.read(&read, response);
                }
                (xid, result)
            }
            // Whatever the client called it.
            Local::Ping => (Xid(-2), Ok(Response::Empty)),
            Local::Rewatch(rewatch) => {
                if !self.rewatch(conn, &rewatch) {
                    return;
                }
                (xid, Ok(Response::Empty))
            }
            Local::Reconfig(asked) => {
                let answer = self.answer_reconfig(&identities, &asked);
                self.deeds.reconfigured(attachment.session, &identities, answer.is_ok());
                (xid, answer)
            }
            Local::End => {
                self.locals.remove(attachment.session);
                close = Some(CloseReason::SessionClosed);
                (xid, Ok(Response::Empty))
            }
            Local::Refuse { error, zxid: instead, close: end } => {
                zxid = instead.unwrap_or(zxid);
                close = end;
                (xid, Err(error))
            }
        };
        self.outputs.push_back(Output::Reply { conn, xid, zxid, result });
        if let Some(reason) = close {
            self.close(conn, reason);
        }
    }

    /// Fires what has changed while the client was away, and sets the other watches again. `false`
    /// if that was too much, and the connection is closed.
    pub(in crate::replica) fn rewatch(&mut self, conn: ConnId, rewatch: &Rewatch) -> bool {
        let (db, outputs) = (&self.db, &mut self.outputs);
        let facts = |path: &str| db.stat(path).map(|facts| (facts.mzxid, facts.pzxid));
        // Replayed events bear no zxid, as in ZooKeeper.
        let (zxid, mut has_room) = (Zxid(-1), true);
        rearm(&mut self.watches, conn, rewatch, facts, |event| {
            has_room = has_room && outputs.notify(conn, zxid, event);
        });
        if !has_room {
            self.close_overtold(conn);
        }
        has_room
    }
}

/// Barriers.
impl Replica {
    pub(in crate::replica) fn ask_barrier(&mut self, place: Place) {
        let token = self.raft.read_index(self.now.instant);
        self.barriers.asked(token, place);
    }

    pub(in crate::replica) fn ask_barriers_again(&mut self) {
        for place in self.barriers.take_failed() {
            if self.connections.get(place.conn).is_some() {
                self.ask_barrier(place);
            }
        }
    }

    pub(in crate::replica) fn pass_barrier(&mut self, place: Place) {
        let passed = self.connections.line(place.conn, |line| line.barrier_ready(place.ordinal));
        if passed.is_some() {
            self.advance(place.conn);
        }
    }
}
