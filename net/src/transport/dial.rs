//! The outgoing connection to one peer: the only one on which this server speaks to it.
//!
//! Invariants: there is at most one at a time; it counts as up from the peer's answer to our hello
//! until either side ends it; the end is noticed at once, since the sender also reads; attempts come
//! with growing pauses, never in a tight loop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use zokor_core::id::ServerId;

use super::codec::{HELLO_SIZE, frames, greeted, hello};
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::{Identity, PeerPort, SocketOptions};

/// Durations of an outgoing connection.
#[derive(Clone, Copy, Debug)]
pub struct DialLimits {
    /// To a standing connection, hello included. Default 5 s.
    pub connect_timeout: Duration,
    /// A peer that takes no byte for this long has lost its connection. Default 10 s.
    pub write_timeout: Duration,
    /// The first pause between attempts. Default 50 ms.
    pub least_delay: Duration,
    /// The longest pause. Default 1 s.
    pub longest_delay: Duration,
}

impl Default for DialLimits {
    fn default() -> Self {
        DialLimits {
            connect_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            least_delay: Duration::from_millis(50),
            longest_delay: Duration::from_secs(1),
        }
    }
}

/// Keeps the connection to one peer.
pub struct Dialer {
    /// Who dials.
    pub local: Identity,
    /// Whom.
    pub peer: ServerId,
    /// Its host and port; looked up at each attempt.
    pub address: String,
    /// Durations.
    pub limits: DialLimits,
    /// What is to be sent.
    pub outbox: Arc<Outbox>,
    /// Who is told when the connection comes and goes.
    pub port: Arc<dyn PeerPort>,
    /// For the socket.
    pub options: Arc<dyn SocketOptions>,
}

impl Dialer {
    /// Dials, speaks, and dials again, for ever.
    pub async fn run(self) {
        let (peer, address) = (self.peer, self.address.as_str());
        let mut delay = self.limits.least_delay;
        let mut last_failure = String::new();
        loop {
            let failure = match timeout(self.limits.connect_timeout, self.connect()).await {
                Ok(Ok(stream)) => {
                    if self.speak_over(stream).await > self.limits.longest_delay {
                        delay = self.limits.least_delay;
                    }
                    String::new()
                }
                Ok(Err(failure)) => failure,
                Err(_) => "it does not answer".to_owned(),
            };
            // A peer may be away for days: only what is new is said.
            if failure != last_failure {
                if !failure.is_empty() {
                    tracing::warn!(%peer, address, failure, "cannot reach peer; trying again");
                }
                last_failure = failure;
            }
            // A peer that has just called is there: no need to wait any longer. It calls with growing
            // pauses as well.
            let _ = timeout(delay, self.outbox.nudged()).await;
            delay = (delay * 2).min(self.limits.longest_delay);
        }
    }

    /// Connects and exchanges hellos.
    async fn connect(&self) -> Result<TcpStream, String> {
        let address = self.address.as_str();
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        self.options.peer(&stream);
        let plain = |error: io::Error| format!("while greeting it: {error}");
        stream.write_all(&hello(self.local, self.peer)).await.map_err(plain)?;
        stream.flush().await.map_err(plain)?;
        let mut inbox = Inbox::new(HELLO_SIZE);
        let frame = loop {
            if let Some(frame) = inbox.frame().map_err(|error| error.to_string())? {
                break frame;
            }
            if inbox.fill(&mut stream).await.map_err(plain)? == 0 {
                return Err("it hung up on our hello".to_owned());
            }
        };
        let from = greeted(self.local, frame)?;
        if from != self.peer {
            return Err(format!("server {from} answers at its address"));
        }
        Ok(stream)
    }

    /// Serves a connection that was accepted; says how long it stood.
    async fn speak_over(&self, stream: TcpStream) -> Duration {
        let (peer, address) = (self.peer, self.address.as_str());
        let since = Instant::now();
        tracing::info!(%peer, address, "connected to peer");
        self.outbox.open();
        self.port.up(peer);
        let why = speak(stream, &self.outbox, self.limits.write_timeout).await;
        self.outbox.close();
        self.port.down(peer);
        tracing::warn!(%peer, address, why, "the connection to the peer has ended");
        since.elapsed()
    }
}

/// Sends what the outbox holds until the connection ends; says why it did.
async fn speak(stream: TcpStream, outbox: &Outbox, write_timeout: Duration) -> String {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut out = BytesMut::new();
    loop {
        let snapshot = outbox.take_snapshot();
        let mut frames = snapshot.as_ref().and_then(frames);
        // Once if there is no snapshot, else until all of it has gone.
        loop {
            if let Err(why) = outbox.take(&mut out) {
                return why.to_owned();
            }
            while let Some(rest) = &mut frames
                && out.len() < SNAPSHOT_WRITE
            {
                match rest.next() {
                    Some(frame) => out.extend_from_slice(&frame),
                    None => frames = None,
                }
            }
            let happened = tokio::select! {
                biased;
                sent = send(&mut writer, &mut out, write_timeout), if !out.is_empty() => sent,
                why = silence_ends(&mut reader) => Err(why),
                () = outbox.woken(), if out.is_empty() => Ok(()),
            };
            if let Err(why) = happened {
                return why;
            }
            if frames.is_none() {
                break;
            }
        }
    }
}

/// Writes all of `out`, however long it takes, so long as it goes on.
async fn send<S: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<S>,
    out: &mut BytesMut,
    write_timeout: Duration,
) -> Result<(), String> {
    while !out.is_empty() {
        match timeout(write_timeout, writer.write_buf(out)).await {
            Ok(Ok(0)) => return Err("it takes no more bytes".to_owned()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it has not taken a byte for too long".to_owned()),
        }
    }
    match timeout(write_timeout, writer.flush()).await {
        Ok(flushed) => flushed.map_err(|error| error.to_string()),
        Err(_) => Err("it has not taken a byte for too long".to_owned()),
    }
}

/// The peer has nothing to say here: whatever comes is the end.
async fn silence_ends<S: AsyncRead + AsyncWrite>(reader: &mut ReadHalf<S>) -> String {
    let mut byte = [0];
    match reader.read(&mut byte).await {
        Ok(0) => "the peer closed it".to_owned(),
        Ok(_) => "the peer spoke where it should only listen".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A snapshot adds chunks to a write up to this size, so that other messages never wait for long.
const SNAPSHOT_WRITE: usize = 64 << 10;
