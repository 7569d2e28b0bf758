//! Who a connection proves to be, and what it may ask for before it does.
//!
//! Invariant: what was proven holds for requests read after it, and nothing takes it away before
//! the connection ends. Rules: `ZooKeeperServer.processPacket`, `processSasl`.

use std::sync::Arc;

use rand_core::RngCore;

use crate::auth::{Refusal, Step};
use crate::db::Reader;
use crate::id::{ConnId, SessionId, Xid};
use crate::proto::{
    AuthPacket, ErrorCode, Id, Identities, Read, Request, Response, SaslToken, Zxid,
};
use crate::replica::{CloseReason, Output, Replica};

impl Replica {
    /// Whether `conn` must prove more before it may ask for `request`.
    pub(in crate::replica) fn is_shut_out(&self, conn: ConnId, request: &Request) -> bool {
        let proves = matches!(request, Request::Auth(_) | Request::Sasl(_));
        let connection = self.connections.get(conn);
        !proves && connection.is_some_and(|it| !self.config.auth.suffices(&it.identities))
    }

    /// The answer to whoever is shut out. The session is left to expire.
    pub(in crate::replica) fn shut_out(&mut self, conn: ConnId, xid: Xid) {
        self.say_at_once(conn, xid, Err(ErrorCode::SessionClosedRequireSaslAuth));
        self.close(conn, CloseReason::AuthRequired);
    }

    /// Answered at once, ahead of what waits, as ZooKeeper does; it holds for requests read after
    /// it.
    pub(in crate::replica) fn authenticate(&mut self, conn: ConnId, xid: Xid, packet: &AuthPacket) {
        let key = || self.key_data();
        let auth = packet.auth.as_deref();
        let proven = self.config.auth.authenticate(&packet.scheme, auth, key);
        match proven.and_then(|proven| self.add_identities(conn, proven)) {
            Ok(()) => self.say_at_once(conn, xid, Ok(Response::Empty)),
            Err(Refusal::Failed) => {
                self.say_at_once(conn, xid, Err(ErrorCode::AuthFailed));
                self.close(conn, CloseReason::AuthFailed);
            }
            Err(Refusal::OtherEnsemble) => self.close(conn, CloseReason::OtherEnsemble),
        }
    }

    /// One step of a login by SASL, at once as well.
    pub(in crate::replica) fn log_in(&mut self, conn: ConnId, xid: Xid, token: &SaslToken) {
        let Some(mechanism) = &self.config.auth.sasl else {
            self.say_at_once(conn, xid, Ok(Response::Sasl(None)));
            return;
        };
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let random = &mut self.random;
        let nonce = || {
            let mut nonce = [0; 30];
            random.fill_bytes(&mut nonce);
            nonce
        };
        let said = |token: Vec<u8>| Ok(Response::Sasl(Some(SaslToken(token.into()))));
        match connection.exchange.take(mechanism, &token.0, nonce) {
            Ok(Step::Challenge(token)) => self.say_at_once(conn, xid, said(token)),
            Ok(Step::Proven { token, user }) => {
                let proven = self.config.auth.sasl_identities(&user);
                match self.add_identities(conn, proven) {
                    Ok(()) => self.say_at_once(conn, xid, said(token)),
                    Err(_) => self.refuse_login(conn, xid),
                }
            }
            Err(_) => self.refuse_login(conn, xid),
        }
    }

    fn refuse_login(&mut self, conn: ConnId, xid: Xid) {
        let is_required = self.config.auth.requires_sasl();
        if self.config.auth.keeps_failed_sasl && !is_required {
            self.say_at_once(conn, xid, Ok(Response::Sasl(None)));
            return;
        }
        let error = if is_required {
            ErrorCode::SessionClosedRequireSaslAuth
        } else {
            ErrorCode::AuthFailed
        };
        self.say_at_once(conn, xid, Ok(Response::SaslRefused(error)));
        self.close(conn, CloseReason::AuthFailed);
    }

    fn say_at_once(&mut self, conn: ConnId, xid: Xid, result: Result<Response, ErrorCode>) {
        self.outputs.push_back(Output::Reply { conn, xid, zxid: Zxid(0), result });
    }

    /// Adds what a connection has proven.
    ///
    /// # Errors
    /// If it would become too much.
    fn add_identities(&mut self, conn: ConnId, proven: Vec<Id>) -> Result<(), Refusal> {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.identities = joined(&connection.identities, proven)?;
        }
        Ok(())
    }

    /// The data of the znode `/key`, whoever may read it.
    fn key_data(&self) -> Option<Option<Vec<u8>>> {
        let nobody: Identities = Arc::from([]);
        let reader = Reader { session: SessionId(0), identities: &nobody, skip_acl: true };
        let read = Read::GetData { path: "/key".into(), watch: false };
        match self.db.query(&reader, &read) {
            Ok(Response::Data(data, _)) => Some(data.map(|data| data.to_vec())),
            _ => None,
        }
    }
}

/// What a connection's identities weigh together, at most. Each of its writes takes all of them
/// into the log, so that without a limit one client could make entries that no peer accepts.
const MAX_IDENTITY_BYTES: usize = 32 << 10;

/// The identities of a connection after `proven` were added.
///
/// # Errors
/// If they become too many, or too long.
fn joined(known: &Identities, proven: Vec<Id>) -> Result<Identities, Refusal> {
    const OVERHEAD: usize = 32;
    let new: Vec<Id> = proven.into_iter().filter(|id| !known.contains(id)).collect();
    if new.is_empty() {
        return Ok(Arc::clone(known));
    }
    let all: Identities = known.iter().cloned().chain(new).collect();
    let weight: usize = all.iter().map(|id| OVERHEAD + id.scheme.len() + id.id.len()).sum();
    if weight <= MAX_IDENTITY_BYTES { Ok(all) } else { Err(Refusal::Failed) }
}
