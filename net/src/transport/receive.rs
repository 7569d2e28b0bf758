//! An incoming connection of a peer: the only one on which it speaks to this server.
//!
//! Invariants: nothing is believed before the hello and the proof, where one is wished for; of each
//! peer only the newest connection counts, and none counts before that; a stranger is told apart,
//! named in the log and dropped, disturbs nobody, and has a bounded time and a few kilobytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zokor_core::id::ServerId;

use super::codec::{Decoder, FRAME_LIMIT, HELLO_SIZE, LOGIN_LIMIT, Spoken};
use super::greeting::{Credentials, Host, Move, TurnedAway};
use super::inbox::Inbox;
use super::{Identity, Incoming, PeerPort};

/// Limits of an incoming connection.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveLimits {
    /// To a whole hello, and from there to the end of all that comes before messages. Default 5 s.
    pub hello_timeout: Duration,
    /// The longest frame of a peer in bytes. Default 256 MiB.
    pub max_frame_bytes: usize,
}

impl Default for ReceiveLimits {
    fn default() -> Self {
        ReceiveLimits { hello_timeout: Duration::from_secs(5), max_frame_bytes: FRAME_LIMIT }
    }
}

/// Hears out one accepted connection: who it is, and whether that is shown, as far as
/// `credentials` demand it.
///
/// # Errors
/// If it is not one of the `peers`, or does not show it.
pub async fn meet(
    mut stream: TcpStream,
    local: Identity,
    credentials: Option<&Credentials>,
    peers: impl Fn(ServerId) -> bool,
    limits: ReceiveLimits,
) -> Result<Visitor, TurnedAway> {
    let address = stream.peer_addr().map_err(|error| error.to_string())?;
    let mut inbox = Inbox::new(HELLO_SIZE);
    let mut host = Host::new(local, peers, credentials);
    let first = match timeout(limits.hello_timeout, first_frame(&mut stream, &mut inbox)).await {
        Ok(first) => first?,
        Err(_) => return Err("it does not say who it is".to_owned().into()),
    };
    let mut inbox = inbox.with_max_frame(LOGIN_LIMIT);
    let rest = converse(&mut stream, &mut inbox, &mut host, first);
    let (from, is_proven) = match timeout(limits.hello_timeout, rest).await {
        Ok(met) => met?,
        Err(_) => return Err(host.lost("it does not take our answer")),
    };
    let inbox = inbox.with_max_frame(limits.max_frame_bytes);
    Ok(Visitor { from, address, is_proven, stream, inbox })
}

async fn first_frame(stream: &mut TcpStream, inbox: &mut Inbox) -> Result<Bytes, String> {
    loop {
        match inbox.frame() {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(_) => {
                return Err(format!(
                    "it does not speak to peers: \"{}\"",
                    inbox.bytes()[..inbox.bytes().len().min(32)].escape_ascii()
                ));
            }
        }
        match inbox.fill(stream).await {
            Ok(0) => return Err("it hung up before it said who it is".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Takes the hello `frame` and whatever has to follow it: who is there, and whether it is shown.
async fn converse(
    stream: &mut TcpStream,
    inbox: &mut Inbox,
    host: &mut Host<'_, impl Fn(ServerId) -> bool>,
    mut frame: Bytes,
) -> Result<(ServerId, bool), TurnedAway> {
    loop {
        let (say, end) = match host.take(frame) {
            Move::Go(say) => (say, None),
            Move::Stand { say, peer, is_proven } => (say, Some(Ok((peer, is_proven)))),
            Move::End { say, why } => (say, Some(Err(why))),
        };
        let said = async {
            stream.write_all(&say).await?;
            stream.flush().await
        };
        let said = said.await.map_err(|error| TurnedAway::Stranger(error.to_string()));
        match end {
            // Whether a last word arrives changes nothing.
            Some(Err(why)) => return Err(why),
            Some(Ok(met)) => return said.map(|()| met),
            None => said?,
        }
        frame = loop {
            match inbox.frame() {
                Ok(Some(frame)) => break frame,
                Ok(None) => {}
                Err(_) => return Err(host.lost("what it says is too long")),
            }
            match inbox.fill(stream).await {
                Ok(0) | Err(_) => return Err(host.lost("it hung up")),
                Ok(_) => {}
            }
        };
    }
}

/// A peer that has said who it is.
#[derive(Debug)]
pub struct Visitor {
    from: ServerId,
    address: SocketAddr,
    is_proven: bool,
    stream: TcpStream,
    inbox: Inbox,
}

impl Visitor {
    /// Who it is.
    pub fn peer(&self) -> ServerId {
        self.from
    }

    /// Hands on what the peer says until the connection ends, or a newer one takes its place.
    pub async fn listen(mut self, port: Arc<dyn PeerPort>) {
        let (from, address, authenticated) = (self.from, self.address, self.is_proven);
        let Incoming { number, superseded } = port.incoming(from);
        tracing::info!(peer = %from, %address, authenticated, "a peer has connected");
        let mut decoder = Decoder::new();
        let ended = tokio::select! {
            biased;
            _ = superseded => None,
            why = self.hear(&mut decoder, number, port.as_ref()) => Some(why),
        };
        if let Some(part) = decoder.into_part() {
            port.keep_part(from, part);
        }
        if let Some(why) = ended {
            tracing::warn!(peer = %from, %address, why, "a peer's connection has ended");
            port.incoming_ended(from, number);
        }
    }

    /// Hands on messages; says why no more come.
    async fn hear(&mut self, decoder: &mut Decoder, number: u64, port: &dyn PeerPort) -> String {
        loop {
            let (mut messages, mut written) = (Vec::new(), Vec::new());
            loop {
                let fed = match self.inbox.frame() {
                    Ok(Some(frame)) => decoder.feed(frame),
                    Ok(None) => break,
                    Err(error) => Err(error),
                };
                match fed {
                    Ok(Some(Spoken::Message(message))) => {
                        messages.push(message);
                        written.extend(decoder.take_written());
                    }
                    Ok(Some(Spoken::Holds(part))) => port.part_held(self.from, part),
                    Ok(Some(Spoken::Begins)) => {
                        if let Err(error) = decoder.begin(port.take_part(self.from)) {
                            return error.to_string();
                        }
                    }
                    Ok(None) => {}
                    Err(error) => return error.to_string(),
                }
            }
            if !messages.is_empty() && !port.heard(self.from, number, messages, written) {
                return "a newer one has taken its place".to_owned();
            }
            match self.inbox.fill(&mut self.stream).await {
                Ok(0) => return "the peer closed it".to_owned(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }
}
