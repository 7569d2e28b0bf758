//! The outgoing connection to one peer: the only one on which this server speaks to it.
//!
//! Invariants: there is at most one at a time; it counts as up from the peer's answer to our hello,
//! before which comes whatever proof is wished for, until either side ends it; the end is noticed
//! at once, since the sender also reads; attempts come with growing pauses, never in a tight loop;
//! of a peer's addresses each has its try.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};
use zokor_core::id::ServerId;

use super::codec::{LOGIN_LIMIT, SnapshotFrames, frames};
use super::greeting::{Caller, Credentials, Move};
use super::inbox::Inbox;
use super::options::PEER_GONE_AFTER;
use super::outbox::{GivenUp, Outbox};
use super::{Identity, PeerPort, SocketOptions};

/// Durations of an outgoing connection.
#[derive(Clone, Copy, Debug)]
pub struct DialLimits {
    /// To a standing connection, hello included. Default 5 s.
    pub connect_timeout: Duration,
    /// The same at one address of a peer that has several, which are tried in turn. Default 1 s.
    pub address_timeout: Duration,
    /// A connection on which bytes are not acknowledged for so long has ended, and so has that to a
    /// peer with several addresses that answers nothing for so long. Default [`PEER_GONE_AFTER`].
    pub gone_after: Duration,
    /// A peer that takes no byte for this long has lost its connection. Default 10 s.
    pub write_timeout: Duration,
    /// The first pause between attempts. Default 50 ms.
    pub least_delay: Duration,
    /// The longest pause. Default 1 s.
    pub longest_delay: Duration,
    /// So many bytes of snapshots a second at most; 0 sets no limit, which is the default.
    pub snapshot_rate: u64,
}

impl Default for DialLimits {
    fn default() -> Self {
        DialLimits {
            connect_timeout: Duration::from_secs(5),
            address_timeout: Duration::from_secs(1),
            gone_after: PEER_GONE_AFTER,
            write_timeout: Duration::from_secs(10),
            least_delay: Duration::from_millis(50),
            longest_delay: Duration::from_secs(1),
            snapshot_rate: 0,
        }
    }
}

/// Keeps the connection to one peer.
pub struct Dialer {
    /// Who dials.
    pub local: Identity,
    /// Whom.
    pub peer: ServerId,
    /// Where it can be reached: hosts and ports, looked up at each attempt; at least one.
    pub addresses: Vec<String>,
    /// What it can show the peer and wants to be shown; `None` if servers are not authenticated.
    pub credentials: Option<Arc<Credentials>>,
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
    ///
    /// # Panics
    /// If there is no address.
    pub async fn run(self) {
        assert!(!self.addresses.is_empty(), "a peer has an address");
        let peer = self.peer;
        let mut delay = self.limits.least_delay;
        let mut last_failure = String::new();
        // Where to begin: with what worked last, unless its way is dead.
        let mut first = 0;
        loop {
            let failure = match self.reach(first).await {
                Ok((at, link)) => {
                    let since = Instant::now();
                    let end = self.speak_over(link, &self.addresses[at]).await;
                    first = if end.is_way_dead { at + 1 } else { at };
                    if since.elapsed() > self.limits.longest_delay {
                        delay = self.limits.least_delay;
                    }
                    String::new()
                }
                Err(failure) => failure,
            };
            // A peer may be away for days: only what is new is said.
            if failure != last_failure {
                if !failure.is_empty() {
                    let address = self.addresses.join(" | ");
                    tracing::warn!(%peer, address, failure, "cannot reach peer; trying again");
                }
                last_failure = failure;
            }
            // A peer that has just called is there: no need to wait any longer. It calls with
            // growing pauses as well.
            let _ = timeout(delay, self.outbox.nudged()).await;
            delay = (delay * 2).min(self.limits.longest_delay);
        }
    }

    /// Tries the addresses in turn, each once, from the `first` on; which of them answered. Never
    /// two at a time: the peer could not tell which of two greetings is to count.
    async fn reach(&self, first: usize) -> Result<(usize, Link), String> {
        let n_addresses = self.addresses.len();
        let limit = match n_addresses {
            1 => self.limits.connect_timeout,
            _ => self.limits.address_timeout.min(self.limits.connect_timeout),
        };
        let mut failures = BTreeMap::new();
        for at in (0..n_addresses).map(|n| (first + n) % n_addresses) {
            let address = &self.addresses[at];
            let failure = match timeout(limit, self.connect(address)).await {
                Ok(Ok(link)) => return Ok((at, link)),
                Ok(Err(failure)) => failure,
                Err(_) => "it does not answer".to_owned(),
            };
            let named = if n_addresses > 1 { format!("{address}: {failure}") } else { failure };
            failures.insert(at, named);
        }
        Err(failures.into_values().collect::<Vec<_>>().join("; "))
    }

    /// Connects, exchanges hellos, and what proofs are wished for.
    async fn connect(&self, address: &str) -> Result<Link, String> {
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        self.options.peer(&stream, self.limits.gone_after);
        let plain = |error: io::Error| format!("while greeting it: {error}");
        let mut caller = Caller::new(self.local, self.peer, self.credentials.as_deref());
        let mut say = caller.hello();
        let mut inbox = Inbox::new(LOGIN_LIMIT);
        loop {
            stream.write_all(&say).await.map_err(plain)?;
            stream.flush().await.map_err(plain)?;
            let frame = loop {
                if let Some(frame) = inbox.frame().map_err(|error| error.to_string())? {
                    break frame;
                }
                if inbox.fill(&mut stream).await.map_err(plain)? == 0 {
                    return Err(caller.hung_up().to_owned());
                }
            };
            say = match caller.take(frame) {
                Move::Go(say) => say,
                Move::Stand { is_proven, .. } => return Ok(Link { stream, is_proven }),
                Move::End { say, why } => {
                    // A last word, for the peer's log; whether it arrives changes nothing here.
                    let _ = stream.write_all(&say).await;
                    return Err(why);
                }
            };
        }
    }

    /// Serves a connection that was accepted, until it ends.
    async fn speak_over(&self, link: Link, address: &str) -> End {
        let Link { stream, is_proven } = link;
        let peer = self.peer;
        tracing::info!(%peer, address, authenticated = is_proven, "connected to peer");
        self.outbox.open();
        self.port.up(peer);
        let pace = Pace::new(self.limits.snapshot_rate);
        let end = speak(stream, &self.outbox, self.limits.write_timeout, pace).await;
        self.outbox.close();
        self.port.down(peer);
        tracing::warn!(%peer, address, why = end.why, "the connection to the peer has ended");
        end
    }
}

/// A connection that stands.
#[derive(Debug)]
struct Link {
    stream: TcpStream,
    /// Whether both sides have shown each other that they know a password.
    is_proven: bool,
}

impl From<GivenUp> for End {
    fn from(GivenUp { why, is_way_dead }: GivenUp) -> Self {
        End { why: why.to_owned(), is_way_dead }
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) why: String,
    /// Nothing has come back on it: another address may do better.
    pub(super) is_way_dead: bool,
}

impl End {
    /// By the peer, or for what it did.
    fn by_peer(why: impl Into<String>) -> Self {
        End { why: why.into(), is_way_dead: false }
    }

    fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
        let dead = [TimedOut, HostUnreachable, NetworkUnreachable, NetworkDown];
        End { why: error.to_string(), is_way_dead: dead.contains(&error.kind()) }
    }

    fn no_byte_taken() -> Self {
        End { why: "it has not taken a byte for too long".to_owned(), is_way_dead: true }
    }
}

/// Sends what the outbox holds until the connection ends; says why it did.
pub(super) async fn speak<S: AsyncRead + AsyncWrite>(
    stream: S,
    outbox: &Outbox,
    write_timeout: Duration,
    mut pace: Pace,
) -> End {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut out = BytesMut::new();
    loop {
        let (snapshot, waits_until) = match outbox.take_snapshot() {
            Ok(snapshot) => (snapshot, None),
            Err(until) => (None, Some(until)),
        };
        let mut frames = snapshot.as_ref().and_then(|(message, first)| frames(message, *first));
        // Once if there is no snapshot, else until all of it has gone.
        loop {
            outbox.take(&mut out);
            // A chunk that is not sent costs as much work as one that is: the others come between.
            let passes = frames.as_mut().is_some_and(SnapshotFrames::pass_over);
            while let Some(rest) = &mut frames
                && out.len() < SNAPSHOT_WRITE
                && !passes
                && pace.is_due()
            {
                match rest.next() {
                    Some(frame) => {
                        pace.spend(frame.len());
                        out.extend_from_slice(&frame);
                    }
                    None => frames = None,
                }
            }
            let happened = tokio::select! {
                biased;
                why = outbox.given_up() => Err(why.into()),
                sent = send(&mut writer, &mut out, write_timeout), if !out.is_empty() => sent,
                end = silence_ends(&mut reader) => Err(end),
                () = yield_now(), if out.is_empty() && passes => Ok(()),
                () = outbox.woken(), if out.is_empty() => Ok(()),
                () = pace.due(), if out.is_empty() && frames.is_some() => Ok(()),
                () = until(waits_until), if out.is_empty() && waits_until.is_some() => Ok(()),
            };
            if happened.is_err() || frames.is_none() {
                drop(frames);
                // Also if all of it has gone: much may be with the system still.
                snapshot.into_iter().for_each(|(message, _)| outbox.keep(message));
                match happened {
                    Ok(()) => break,
                    Err(end) => return end,
                }
            }
        }
    }
}

/// Resolves at that time, if there is one.
async fn until(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}

/// How fast snapshots go.
pub(super) struct Pace {
    /// How long one byte takes, in nanoseconds times 2^20.
    per_byte: u64,
    /// When the next chunk may go.
    due: Instant,
}

impl Pace {
    /// So many bytes a second, or as they come if `rate` is 0.
    pub(super) fn new(rate: u64) -> Self {
        const SECOND: u64 = 1_000_000_000 << 20;
        Pace { per_byte: SECOND.checked_div(rate).unwrap_or(0), due: Instant::now() }
    }

    fn is_due(&self) -> bool {
        self.per_byte == 0 || self.due <= Instant::now()
    }

    /// What was not used before is not made up for.
    fn spend(&mut self, n_bytes: usize) {
        let nanos = (u128::from(self.per_byte) * n_bytes as u128) >> 20;
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        if self.per_byte > 0 {
            self.due = self.due.max(Instant::now()) + Duration::from_nanos(nanos);
        }
    }

    async fn due(&self) {
        if self.per_byte > 0 {
            sleep_until(self.due).await;
        }
    }
}

/// Writes all of `out`, however long it takes, so long as it goes on.
async fn send<S: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<S>,
    out: &mut BytesMut,
    write_timeout: Duration,
) -> Result<(), End> {
    while !out.is_empty() {
        match timeout(write_timeout, writer.write_buf(out)).await {
            Ok(Ok(0)) => return Err(End::by_peer("it takes no more bytes")),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(End::of(&error)),
            Err(_) => return Err(End::no_byte_taken()),
        }
    }
    match timeout(write_timeout, writer.flush()).await {
        Ok(flushed) => flushed.map_err(|error| End::of(&error)),
        Err(_) => Err(End::no_byte_taken()),
    }
}

/// The peer has nothing to say here: whatever comes is the end.
async fn silence_ends<S: AsyncRead + AsyncWrite>(reader: &mut ReadHalf<S>) -> End {
    let mut byte = [0];
    match reader.read(&mut byte).await {
        Ok(0) => End::by_peer("the peer closed it"),
        Ok(_) => End::by_peer("the peer spoke where it should only listen"),
        Err(error) => End::of(&error),
    }
}

/// A snapshot adds chunks to a write up to this size, so that other messages never wait for long.
const SNAPSHOT_WRITE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_go_no_faster_than_is_said() {
        let mut pace = Pace::new(0);
        pace.spend(usize::MAX);
        assert!(pace.is_due(), "there is no limit");
        let begun = Instant::now();
        let mut pace = Pace::new(1_000);
        assert!(pace.is_due());
        pace.spend(500_000);
        assert!(!pace.is_due());
        pace.spend(500_000);
        let wait = pace.due - begun;
        assert!(wait >= Duration::from_secs(999), "{wait:?}");
    }
}
