//! A port of operators: takes connections, speaks HTTP, and gives up on whoever is too slow.
//!
//! Invariant: whatever strangers do, there are never more than so many of them, each with a bounded
//! share of memory, and none for longer than it moves bytes; clients of the service do not notice.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::debug;
use zokor_net::transport::accept;

use super::desk::Site;
use super::guests::{Guest, Guests};
use super::wire::{Clock, Moved, Socket};

/// Serves operators at this port for ever.
pub(super) async fn serve(listener: TcpListener, site: Site, guests: Guests, patience: Duration) {
    let take = move |stream: TcpStream, from: SocketAddr| {
        // All others must not be lost: who comes now may try again.
        let Some((guest, pushed_out)) = guests.enter() else { return };
        drop(tokio::spawn(attend(stream, from, site.clone(), guest, pushed_out, patience)));
    };
    accept(listener, "operators", take).await;
}

/// Answers the requests of one connection until it ends.
async fn attend(
    stream: TcpStream,
    from: SocketAddr,
    site: Site,
    guest: Guest,
    pushed_out: oneshot::Receiver<()>,
    patience: Duration,
) {
    let (guest, moved) = (Arc::new(guest), Moved::default());
    let service = service_fn(|request| {
        let (site, mut busy) = (site.clone(), guest.busy());
        async move {
            let mut response = site.respond(request, from, patience, &mut busy).await;
            busy.sends();
            response.body_mut().busy = Some(busy);
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(Clock).header_read_timeout(patience).max_buf_size(MAX_BUFFER).max_headers(64);
    let connection = http.serve_connection(Socket::new(stream, moved.clone()), service);
    tokio::select! {
        biased;
        _ = pushed_out => debug!(%from, "an operator's idle connection gives way to another"),
        () = stalled(&guest, &moved, patience) => {
            debug!(%from, "an operator takes too little of the answer for too long");
        }
        ended = connection => {
            if let Err(error) = ended {
                debug!(%from, %error, "an operator's connection has ended");
            }
        }
    }
}

/// Resolves when an answer has been on its way all the time and too little of it went out.
async fn stalled(guest: &Guest, moved: &Moved, patience: Duration) {
    let (mut was_sending, mut n_before) = (false, 0);
    loop {
        sleep(patience).await;
        let (is_sending, n_moved) = (guest.is_being_sent(), moved.n_bytes());
        if was_sending && is_sending && n_moved - n_before < LEAST_PROGRESS_BYTES {
            return;
        }
        (was_sending, n_before) = (is_sending, n_moved);
    }
}

/// The longest head of a request, and what waits of an answer at most, about.
const MAX_BUFFER: usize = 16 << 10;
/// Who takes less than this of an answer while our patience lasts is given up.
const LEAST_PROGRESS_BYTES: u64 = 16 << 10;
