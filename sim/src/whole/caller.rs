//! A client that does one thing after the other: it asks, and waits for the answer.
//!
//! Invariant: it goes through the front door like any other, so that what it sees is judged like
//! what any other sees. Whatever comes instead of an answer ends it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{ConnectRequest, ErrorCode, Request, Response};

use super::client::Hands;
use super::history::{Deed, History};
use super::odd::fresh_session;
use crate::client::{Heard, Wish};
use crate::world::madsim::Watch;

/// One connection with a session of its own.
pub struct Caller {
    conn: ConnId,
    hands: Hands,
    heard: UnboundedReceiver<(ConnId, Heard)>,
    watch: Watch,
    history: History,
    session: SessionId,
    password: [u8; 16],
    last_xid: i32,
}

impl Caller {
    /// Opens connection `conn`, which nobody else has, to `server`, and a session on it.
    ///
    /// # Errors
    /// If the server does not give one.
    pub async fn connect(
        conn: ConnId,
        server: u64,
        watch: Watch,
        history: History,
    ) -> Result<Caller, String> {
        Self::connect_with(conn, server, fresh_session(), (watch, history)).await
    }

    /// The same with any request for a session.
    ///
    /// # Errors
    /// If the server does not give one.
    pub async fn connect_with(
        conn: ConnId,
        server: u64,
        request: ConnectRequest,
        (watch, history): (Watch, History),
    ) -> Result<Caller, String> {
        let (tell, heard) = unbounded_channel();
        let hands = Hands::new(watch.clone(), history.clone(), tell);
        let (session, password) = (SessionId(0), [0; 16]);
        let mut caller =
            Caller { conn, hands, heard, watch, history, session, password, last_xid: 0 };
        caller.hands.carry_out(caller.watch.micros(), Wish::Connect(conn, server, request));
        match caller.hear().await? {
            Heard::Connected(response) if response.session != SessionId(0) => {
                (caller.session, caller.password) = (response.session, response.password);
                Ok(caller)
            }
            other => Err(format!("the connect request is answered {other:?}")),
        }
    }

    /// Its session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The session's password.
    pub fn password(&self) -> Bytes {
        Bytes::copy_from_slice(&self.password)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If none comes.
    pub async fn ask(&mut self, request: Request) -> Result<Result<Response, ErrorCode>, String> {
        self.last_xid += 1;
        let wish = Wish::Send(self.conn, Xid(self.last_xid), Arc::new(request));
        self.hands.carry_out(self.watch.micros(), wish);
        match self.hear().await? {
            Heard::Reply(_, _, result) => Ok(result),
            other => Err(format!("instead of a reply came {other:?}")),
        }
    }

    async fn hear(&mut self) -> Result<Heard, String> {
        let Some((conn, heard)) = self.heard.recv().await else {
            return Err("the link has ended".to_owned());
        };
        self.history.note(self.watch.micros(), Deed::Hears(conn, heard.clone()));
        Ok(heard)
    }
}
