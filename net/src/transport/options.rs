//! What is set on a socket when it opens: a hole in the wall for what the simulated network lacks.

use std::time::Duration;

use tokio::net::TcpStream;

/// Options of new sockets. The outside gives it, since keep-alive and user timeouts need the real
/// operating system.
pub trait SocketOptions: Send + Sync {
    /// For a client's connection.
    fn client(&self, stream: &TcpStream);

    /// For a connection between servers, which has ended when bytes are not acknowledged for
    /// `gone_after`.
    fn peer(&self, stream: &TcpStream, gone_after: Duration);
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

    fn peer(&self, stream: &TcpStream, gone_after: Duration) {
        no_delay(stream);
        // While something is under way keep-alive is silent, and that is nearly always.
        let seconds = u32::try_from(gone_after.as_secs()).unwrap_or(u32::MAX).clamp(2, 60);
        let idle = (seconds / 3).max(1);
        keep_alive(stream, [idle, 1, seconds - idle]);
        give_up_after(stream, gone_after);
    }
}

/// A connection between servers on which bytes are not acknowledged for so long has ended. Without
/// this the system sends them again for a quarter of an hour, and all that time the peer hears
/// nothing, though it may well be there: a firewall that has forgotten the connection is enough.
pub const PEER_GONE_AFTER: Duration = Duration::from_secs(6);

#[cfg(all(feature = "real-sockets", target_os = "linux"))]
fn give_up_after(stream: &TcpStream, limit: Duration) {
    use rustix::net::sockopt;
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = sockopt::set_tcp_user_timeout(stream, millis) {
        tracing::debug!(%error, "the system decides when a connection to a peer has ended");
    }
}

/// Elsewhere the system decides.
#[cfg(all(feature = "real-sockets", not(target_os = "linux")))]
fn give_up_after(_: &TcpStream, _: Duration) {}

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

    fn peer(&self, stream: &TcpStream, _: Duration) {
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
        RealSockets.peer(&stream, PEER_GONE_AFTER);
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), 4);
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 6_000);
        RealSockets.peer(&stream, Duration::from_millis(1_500));
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), 1);
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 1_500);
    }
}
