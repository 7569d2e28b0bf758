//! Opens ports and takes connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A port that cannot be had.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for {purpose}: {source}")]
pub struct BindError {
    /// Which address.
    pub address: SocketAddr,
    /// For whom.
    pub purpose: &'static str,
    /// Why not.
    pub source: io::Error,
}

/// Listens on `address`; port 0 takes any free one.
///
/// # Errors
/// If the address is taken or is not this machine's.
pub async fn bind(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, purpose, source })
}

/// Takes connections for ever. An error (no more file descriptors, above all) is waited out: the
/// connections that wait are taken when others have gone.
pub async fn accept(
    listener: TcpListener,
    purpose: &'static str,
    mut take: impl FnMut(TcpStream, SocketAddr),
) {
    let mut delay = LEAST_DELAY;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                delay = LEAST_DELAY;
                take(stream, address);
            }
            // The one that waited has gone again: no reason to pause.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, purpose, "cannot accept a connection; trying again");
                sleep(delay).await;
                delay = (delay * 2).min(LONGEST_DELAY);
            }
        }
    }
}

const LEAST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(1);
