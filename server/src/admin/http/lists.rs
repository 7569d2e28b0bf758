//! The commands whose answers grow with what the server holds: connections, sessions, watches.
//!
//! Invariant: they are taken and sent part by part, each part when the one before it is on its way.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use zokor_core::id::{ConnId, SessionId};
use zokor_core::proto::Text;
use zokor_core::time::WallTime;
use zokor_net::runtime::{ConnectionFacts, Handle, WatchWalk};

use super::body::{Body, Parts};
use super::command::Command;
use super::json::Json;
use crate::admin::report;

/// An answer in the making.
struct Pen {
    json: Json,
    parts: Parts,
}

/// Nobody listens any more.
struct Gone;

impl Pen {
    /// Sends what is written, if it is worth it.
    async fn pass(&mut self) -> Result<(), Gone> {
        if self.json.len() < PART_BYTES { Ok(()) } else { self.send().await }
    }

    async fn send(&mut self) -> Result<(), Gone> {
        let part: io::Result<Bytes> = Ok(self.json.take().into());
        self.parts.send(part).await.map_err(|_| Gone)
    }
}

/// The answer to one of these commands; `json` is its beginning.
pub(super) fn answer(command: Command, json: Json, handle: Handle, tick_time_ms: u32) -> Body {
    let (parts, body) = Body::parts();
    let mut pen = Pen { json, parts };
    drop(tokio::spawn(async move {
        let written = match command {
            Command::Connections => connections(&mut pen, &handle, false).await,
            Command::Stats => connections(&mut pen, &handle, true).await,
            Command::Dump => dump(&mut pen, &handle, tick_time_ms).await,
            Command::Watches => watches(&mut pen, &handle).await,
            Command::WatchesByPath => watches_by_path(&mut pen, &handle).await,
            other => unreachable!("{other:?} is answered at once"),
        };
        if written.is_ok() {
            pen.json.put_text("command", command.name());
            pen.json.put("error", "null");
            pen.json.end();
            // Whoever has gone has gone.
            let _ = pen.send().await;
        }
    }));
    body
}

/// Whether a command is one of these.
pub(super) fn is_list(command: Command) -> bool {
    use Command::{Connections, Dump, Stats, Watches, WatchesByPath};
    matches!(command, Connections | Dump | Stats | Watches | WatchesByPath)
}

async fn connections(pen: &mut Pen, handle: &Handle, brief: bool) -> Result<(), Gone> {
    pen.json.key("connections");
    pen.json.begin_list();
    let mut last: Option<ConnId> = None;
    loop {
        let part = handle.connections_after(last);
        let Some((conn, _)) = part.last() else { break };
        last = Some(*conn);
        for (_, connection) in &part {
            put_connection(&mut pen.json, connection, brief);
        }
        pen.pass().await?;
    }
    pen.json.end();
    // Of the port for TLS, which is not there.
    pen.json.key("secure_connections");
    pen.json.begin_list();
    pen.json.end();
    Ok(())
}

fn put_connection(json: &mut Json, connection: &ConnectionFacts, brief: bool) {
    let traffic = &connection.traffic;
    let address = report::address(&connection.address);
    json.begin_object();
    json.put_text("remote_socket_address", address.trim_start_matches('/'));
    json.put("interest_ops", report::interest(connection));
    json.put("outstanding_requests", connection.queued);
    json.put("packets_received", traffic.received);
    json.put("packets_sent", traffic.sent);
    if !brief {
        let operation =
            if traffic.last_operation.is_empty() { "NA" } else { traffic.last_operation };
        let latency = &traffic.latency;
        let mean = latency.total.div_f64(latency.count.max(1) as f64);
        json.put("session_id", connection.session.unwrap_or_default().0);
        json.put_text("last_operation", operation);
        json.put("established", connection.since.0);
        json.put("session_timeout", connection.timeout.as_millis());
        json.put("last_cxid", traffic.last_xid.map_or(-1, |xid| i64::from(xid.0)));
        json.put("last_zxid", traffic.last_zxid.map_or(-1, |zxid| zxid.0));
        json.put("last_response_time", traffic.last_reply.unwrap_or_default().as_millis());
        json.put("last_latency", latency.last.as_millis());
        json.put("min_latency", latency.least.as_millis());
        json.put("avg_latency", mean.as_millis());
        json.put("max_latency", latency.longest.as_millis());
    }
    json.end();
}

/// Deadlines by the tick, in milliseconds of the clock on the wall; ZooKeeper's are of a clock of
/// its own. On a leader only: no other server knows them.
async fn dump(pen: &mut Pen, handle: &Handle, tick_time_ms: u32) -> Result<(), Gone> {
    let mut due: BTreeMap<WallTime, Vec<SessionId>> = BTreeMap::new();
    let mut last = None;
    loop {
        let part = handle.sessions_after(last);
        let Some(session) = part.last() else { break };
        last = Some(session.id);
        for session in part {
            if let Some(expires) = session.expires {
                due.entry(report::tick_of(expires, tick_time_ms)).or_default().push(session.id);
            }
        }
        // Other operators may want their turn.
        tokio::task::yield_now().await;
    }
    pen.json.key("expiry_time_to_session_ids");
    pen.json.begin_object();
    for (due, sessions) in due {
        pen.json.key(due.0);
        pen.json.begin_list();
        for sessions in sessions.chunks(PART) {
            sessions.iter().for_each(|session| pen.json.plain(session.0));
            pen.pass().await?;
        }
        pen.json.end();
    }
    pen.json.end();
    pen.json.key("session_id_to_ephemeral_paths");
    pen.json.begin_object();
    let mut last: Option<(SessionId, Text)> = None;
    loop {
        let after = last.as_ref().map(|(session, path)| (*session, &**path));
        let part = handle.ephemerals_after(after);
        if part.is_empty() {
            break;
        }
        for (session, path) in part {
            begin_if_new(&mut pen.json, last.as_ref().map(|(session, _)| *session), session);
            pen.json.text(&path);
            last = Some((session, path));
        }
        pen.pass().await?;
    }
    end_if_any(&mut pen.json, last.is_some());
    Ok(())
}

async fn watches(pen: &mut Pen, handle: &Handle) -> Result<(), Gone> {
    pen.json.key("session_id_to_watched_paths");
    pen.json.begin_object();
    let (mut walk, mut last) = (WatchWalk::default(), None);
    while let Some((session, paths)) = handle.watches(&mut walk) {
        if paths.is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        begin_if_new(&mut pen.json, last, session);
        last = Some(session);
        paths.iter().for_each(|path| pen.json.text(path));
        pen.pass().await?;
    }
    end_if_any(&mut pen.json, last.is_some());
    Ok(())
}

async fn watches_by_path(pen: &mut Pen, handle: &Handle) -> Result<(), Gone> {
    pen.json.key("path_to_session_ids");
    pen.json.begin_object();
    let mut from = Some(0);
    while let Some(place) = from {
        let (part, next) = handle.watches_by_path(place);
        from = next;
        for (path, sessions) in part {
            pen.json.key(path);
            pen.json.begin_list();
            sessions.iter().for_each(|session| pen.json.plain(session.0));
            pen.json.end();
        }
        pen.pass().await?;
    }
    pen.json.end();
    Ok(())
}

/// The list of another session begins; the one before it ends.
fn begin_if_new(json: &mut Json, last: Option<SessionId>, session: SessionId) {
    if last == Some(session) {
        return;
    }
    if last.is_some() {
        json.end();
    }
    json.key(session.0);
    json.begin_list();
}

fn end_if_any(json: &mut Json, any: bool) {
    if any {
        json.end();
    }
    json.end();
}

/// What is worth to be sent by itself.
const PART_BYTES: usize = 16 << 10;
/// Sessions written before anything is passed on.
const PART: usize = 1_024;
