//! A client that writes large data, so that logs, messages and snapshots take many pieces.
//!
//! Invariant: it never gives up; a connection that fails is followed by another, with a new
//! session.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use zokor_core::id::ConnId;
use zokor_core::proto::{Create, CreateKind, Request, Write, open_acl};

use super::caller::Caller;
use super::history::History;
use crate::rng::Stream;
use crate::world::madsim::Watch;

/// Writes until it is dropped.
pub async fn fill(servers: u64, mut stream: Stream, watch: Watch, history: History) {
    for attempt in 1.. {
        let conn = ConnId((NUMBER << 32) | attempt);
        let server = stream.between(1, servers);
        let calling = Caller::connect(conn, server, watch.clone(), history.clone());
        if let Ok(Ok(mut caller)) = timeout(PATIENCE, calling).await {
            while let Ok(Ok(_)) = timeout(PATIENCE, caller.ask(large(&mut stream))).await {
                sleep(Duration::from_micros(stream.log_between(10_000, 1_000_000))).await;
            }
        }
        sleep(Duration::from_micros(stream.log_between(10_000, 1_000_000))).await;
    }
}

/// One of a few znodes is made or set.
fn large(stream: &mut Stream) -> Request {
    let path = format!("/bulk-{}", stream.below(6));
    let n_bytes = stream.log_between(100, 200_000) as usize;
    let data = Some(Bytes::from(vec![stream.between(1, 255) as u8; n_bytes]));
    Request::Write(match stream.below(3) {
        0 => Write::Create(Create {
            path: path.into(),
            data,
            acl: open_acl(),
            flags: 0,
            ttl_ms: -1,
            kind: CreateKind::Create,
        }),
        1 => Write::SetData { path: path.into(), data, version: -1 },
        _ => Write::multi(vec![Write::SetData { path: path.into(), data, version: -1 }]),
    })
}

/// Shorter than the session that it asks for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Its number among the clients.
pub const NUMBER: u64 = 900;
