//! A last client, which reads everything that one server shows.
//!
//! Invariant: it reads after a `sync`, and leaves no session behind.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zokor_core::id::ConnId;
use zokor_core::proto::{Read, Request, Response, Write};

use super::caller::Caller;
use super::history::History;
use crate::check::{Verdict, must};
use crate::world::madsim::Watch;

/// Reads all that `server` shows after a `sync`.
///
/// # Errors
/// If it does not answer.
pub async fn audit(server: u64, watch: Watch, history: History) -> Verdict {
    let walked = timeout(PATIENCE, walk(server, watch, history)).await;
    let walked = walked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    must("everything can be read at the end", walked.is_ok(), || {
        format!("server {server}: {walked:?}")
    })
}

async fn walk(server: u64, watch: Watch, history: History) -> Result<(), String> {
    let mut caller = connect(server, watch, history).await?;
    caller.ask(Request::Sync("/".into())).await?.map_err(|error| format!("sync: {error:?}"))?;
    let mut paths = VecDeque::from(["/".to_owned()]);
    while let Some(path) = paths.pop_front() {
        let read = Read::GetData { path: path.as_str().into(), watch: false };
        // What it says is judged with the history.
        let _ = caller.ask(Request::Read(read)).await?;
        let read = Read::GetChildren { path: path.as_str().into(), watch: false, with_stat: true };
        if let Ok(Response::NamesStat(names, _)) = caller.ask(Request::Read(read)).await? {
            let parent = if path == "/" { "" } else { path.as_str() };
            // The model looks at nothing below `/zookeeper`.
            let names = names.iter().filter(|name| !parent.is_empty() || *name != "zookeeper");
            paths.extend(names.map(|name| format!("{parent}/{name}")));
        }
    }
    let closed = caller.ask(Request::Write(Write::CloseSession)).await?;
    closed.map(drop).map_err(|error| format!("close: {error:?}"))
}

/// Connects, once more if the server has no leader at that moment, as any client would.
async fn connect(server: u64, watch: Watch, history: History) -> Result<Caller, String> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let conn = ConnId(((FIRST_NUMBER + server) << 32) | attempt);
        match Caller::connect(conn, server, watch.clone(), history.clone()).await {
            Err(_) if attempt < ATTEMPTS => sleep(Duration::from_millis(500)).await,
            connected => return connected,
        }
    }
}

const ATTEMPTS: u64 = 20;

const PATIENCE: Duration = Duration::from_secs(60);
/// Above the numbers of all other clients.
pub const FIRST_NUMBER: u64 = 1_000;
