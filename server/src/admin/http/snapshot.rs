//! `snapshot`: the state of this moment as a file of ZooKeeper's.
//!
//! Invariant: it is of one zxid, whatever happens meanwhile; of what is sent only a few pieces are
//! in memory. Source: `zookeeper: Commands.SnapshotCommand`.

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::body::{Body, Parts};
use super::command::Command;
use super::desk::{Desk, failed, json};
use super::guests::Busy;
use crate::zookeeper::write_snapshot;

impl Desk {
    /// `streams` tells whether the file is sent, or only what it would be.
    pub(super) async fn snapshot(&self, streams: bool, busy: &mut Busy) -> Response<Body> {
        let refused = |status, why: &str| failed(Command::Snapshot, status, why);
        if !self.admin.snapshot_enabled {
            let why = "snapshots are switched off by admin.snapshot.enabled";
            return refused(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        if !self.admin.with_last_zxid {
            let why = "a snapshot needs serializeLastProcessedZxid.enabled";
            return refused(StatusCode::INTERNAL_SERVER_ERROR, why);
        }
        let allowed = self.snapshots.allows(Instant::now());
        let turn = self.one_snapshot.clone().try_acquire_owned().ok().filter(|_| allowed);
        let Some(turn) = turn else {
            self.words.counts().snapshots_limited.fetch_add(1, Ordering::Relaxed);
            let why = "too soon after another snapshot, or beside one";
            return refused(StatusCode::TOO_MANY_REQUESTS, why);
        };
        busy.keep();
        let image = self.handle.freeze();
        let (zxid, counted) = (image.zxid(), image.clone());
        // Its size is told before, and nobody knows it who has not written all of it.
        let size = spawn_blocking(move || {
            let mut counter = Counter(0);
            write_snapshot(&counted, &mut counter).map(|()| counter.0)
        });
        let size = match size.await.map_err(io::Error::other).and_then(|size| size) {
            Ok(size) => size,
            Err(error) => {
                warn!(%error, "a snapshot for an operator has failed");
                self.words.counts().snapshot_errors.fetch_add(1, Ordering::Relaxed);
                return refused(StatusCode::INTERNAL_SERVER_ERROR, "the snapshot has failed");
            }
        };
        info!("an operator takes a snapshot: zxid {zxid}, {size} bytes");
        let mut response = if streams {
            let (parts, body) = Body::parts();
            drop(spawn_blocking(move || {
                // A failure is a client that has gone.
                let _ = write_snapshot(&image, io::BufWriter::with_capacity(PIECE, Pieces(parts)));
                drop(turn);
            }));
            let mut response = Response::new(body);
            let octets = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(CONTENT_TYPE, octets);
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
            response
        } else {
            json(Command::Snapshot, StatusCode::OK, |_| {})
        };
        let headers = response.headers_mut();
        let zxid = HeaderValue::try_from(zxid.to_string()).expect("digits are a header's value");
        headers.insert(HeaderName::from_static("last_zxid"), zxid);
        headers.insert(HeaderName::from_static("snapshot_size"), HeaderValue::from(size));
        response
    }
}

/// Counts what is written.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends what is written, and waits while the client is behind.
struct Pieces(Parts);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(piece)));
        sent.map(|()| piece.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PIECE: usize = 64 << 10;
