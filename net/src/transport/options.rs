//! What is set on a socket when it opens: a hole in the wall for what the simulated network lacks.

#[cfg(feature = "real-sockets")]
use std::time::Duration;

use tokio::net::TcpStream;

/// Options of new sockets. The outside gives it, since keep-alive and user timeouts need the real
/// operating system.
pub trait SocketOptions: Send + Sync {
    /// For a client's connection.
    fn client(&self, stream: &TcpStream);

    /// For a connection between servers.
    fn peer(&self, stream: &TcpStream);
}

/// What the operating system offers against peers and clients that vanish without a word. Not for
/// simulations.
#[cfg(feature = "real-sockets")]
#[derive(Clone, Copy, Debug, Default)]
pub struct RealSockets;

#[cfg(feature = "real-sockets")]
impl SocketOptions for RealSockets {
    fn client(&self, stream: &TcpStream) {
        no_delay(stream);
        // The session timeout ends silent clients; this ends those that never made a session.
        keep_alive(stream, [60, 10, 6]);
    }

    fn peer(&self, stream: &TcpStream) {
        no_delay(stream);
        keep_alive(stream, [2, 1, 4]);
    }
}

/// Probes a connection that is silent for `idle` seconds, every `interval` seconds, and gives it up
/// after `count` probes. It is an addition to our own timeouts, so a system that refuses is no
/// error.
#[cfg(feature = "real-sockets")]
fn keep_alive(stream: &TcpStream, [idle, interval, count]: [u32; 3]) {
    use rustix::net::sockopt;
    let set = || -> rustix::io::Result<()> {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, Duration::from_secs(idle.into()))?;
        sockopt::set_tcp_keepintvl(stream, Duration::from_secs(interval.into()))?;
        sockopt::set_tcp_keepcnt(stream, count)
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "no keep-alive for a connection");
    }
}

/// No delay, and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainSockets;

impl SocketOptions for PlainSockets {
    fn client(&self, stream: &TcpStream) {
        no_delay(stream);
    }

    fn peer(&self, stream: &TcpStream) {
        no_delay(stream);
    }
}

fn no_delay(stream: &TcpStream) {
    // It fails only if the connection has broken, which its next read will tell.
    let _ = stream.set_nodelay(true);
}

#[cfg(all(test, feature = "real-sockets"))]
mod tests {
    use rustix::net::sockopt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_between_servers_are_prompt_and_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        RealSockets.peer(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), 4);
    }
}
