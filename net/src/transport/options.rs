//! What is set on a socket when it opens: a hole in the wall for what the simulated network lacks.

use tokio::net::TcpStream;

/// Options of new sockets. The outside gives it, since keep-alive and user timeouts need the real
/// operating system.
pub trait SocketOptions: Send + Sync {
    /// For a client's connection.
    fn client(&self, stream: &TcpStream);

    /// For a connection between servers.
    fn peer(&self, stream: &TcpStream);
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
