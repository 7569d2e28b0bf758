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

/// Listens on `address`; port 0 takes any free one. `backlog` connections may wait to be taken in,
/// where the system allows so many; `None` leaves it to the system.
///
/// # Errors
/// If the address is taken or is not this machine's.
pub async fn bind(
    address: SocketAddr,
    purpose: &'static str,
    backlog: Option<u32>,
) -> Result<TcpListener, BindError> {
    let listener = match backlog {
        Some(backlog) => listen(address, backlog).await,
        None => TcpListener::bind(address).await,
    };
    listener.map_err(|source| BindError { address, purpose, source })
}

#[cfg(feature = "real-sockets")]
async fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    use tokio::net::TcpSocket;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does, so that a server can start again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // More than this the system call cannot say.
    socket.listen(backlog.min(i32::MAX.unsigned_abs()))
}

/// In a simulated network nobody waits to be taken in.
#[cfg(not(feature = "real-sockets"))]
async fn listen(address: SocketAddr, _: u32) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
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

#[cfg(all(test, feature = "real-sockets"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_backlog_bounds_those_who_wait_to_be_taken_in() {
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = bind(address, "clients", Some(1)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        let mut is_full = false;
        while !is_full && waiting.len() < 100 {
            let attempt = TcpStream::connect(address);
            match tokio::time::timeout(Duration::from_millis(300), attempt).await {
                Ok(stream) => waiting.push(stream.unwrap()),
                Err(_) => is_full = true,
            }
        }
        assert!(is_full, "{} connections wait", waiting.len());
        let taken = listener.accept().await.unwrap();
        assert_eq!(taken.1, waiting[0].local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_port_with_a_backlog_can_be_had_again_and_not_twice() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), "clients", Some(128)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = bind(address, "clients", Some(128)).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot listen on {address} for clients")));
        let stream = TcpStream::connect(address).await.unwrap();
        drop((listener.accept().await.unwrap(), listener));
        drop(stream);
        bind(address, "clients", Some(128)).await.unwrap();
    }
}
