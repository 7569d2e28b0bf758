//! A last client, which reads everything that one server shows.
//!
//! Invariant: it goes through the front door like any other, so that what it sees is judged like what
//! any other sees.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use zokor_core::id::{ConnId, SessionId, Xid};
use zokor_core::proto::{ConnectRequest, ErrorCode, Read, Request, Response, Write};

use super::client::Hands;
use super::history::{Deed, History};
use crate::check::{Verdict, must};
use crate::client::{Heard, Wish};
use crate::world::madsim::Watch;

/// Reads all that `server` shows after a `sync`.
///
/// # Errors
/// If it does not answer.
pub async fn audit(server: u64, watch: Watch, history: History) -> Verdict {
    let (tell, heard) = unbounded_channel();
    let hands = Hands::new(watch.clone(), history.clone(), tell);
    let conn = ConnId(((1000 + server) << 32) | 1);
    let mut auditor = Auditor { conn, hands, heard, watch, history, last_xid: 0 };
    let walked = timeout(PATIENCE, auditor.walk(server)).await;
    let walked = walked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    must("everything can be read at the end", walked.is_ok(), || {
        format!("server {server}: {}", walked.unwrap_err())
    })
}

struct Auditor {
    conn: ConnId,
    hands: Hands,
    heard: UnboundedReceiver<(ConnId, Heard)>,
    watch: Watch,
    history: History,
    last_xid: i32,
}

impl Auditor {
    async fn walk(&mut self, server: u64) -> Result<(), String> {
        let connect = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 10_000,
            session: SessionId(0),
            password: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
        };
        self.hands.carry_out(self.watch.micros(), Wish::Connect(self.conn, server, connect));
        match self.hear().await? {
            Heard::Connected(response) if response.session != SessionId(0) => {}
            other => return Err(format!("the connect request is answered {other:?}")),
        }
        self.ask(Request::Sync("/".into())).await?.map_err(|error| format!("sync: {error:?}"))?;
        let mut paths = VecDeque::from(["/".to_owned()]);
        while let Some(path) = paths.pop_front() {
            let read = Read::GetData { path: path.as_str().into(), watch: false };
            // What it says is judged with the history.
            let _ = self.ask(Request::Read(read)).await?;
            let read =
                Read::GetChildren { path: path.as_str().into(), watch: false, with_stat: true };
            if let Ok(Response::NamesStat(names, _)) = self.ask(Request::Read(read)).await? {
                let parent = if path == "/" { "" } else { path.as_str() };
                let names = names.iter().filter(|name| parent != "" || &***name != "zookeeper");
                paths.extend(names.map(|name| format!("{parent}/{name}")));
            }
        }
        let closed = self.ask(Request::Write(Write::CloseSession)).await?;
        closed.map(drop).map_err(|error| format!("close: {error:?}"))
    }

    async fn ask(&mut self, request: Request) -> Result<Result<Response, ErrorCode>, String> {
        self.last_xid += 1;
        let wish = Wish::Send(self.conn, Xid(self.last_xid), std::sync::Arc::new(request));
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

const PATIENCE: Duration = Duration::from_secs(60);
