//! An incoming connection of a peer: the only one on which it speaks to this server.
//!
//! Invariants: nothing is believed before the hello; of each peer only the newest connection
//! counts; a stranger is told apart, named in the log and dropped, and disturbs nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zokor_core::id::ServerId;

use super::codec::{Decoder, FRAME_LIMIT, HELLO_SIZE, Spoken, greeted, hello};
use super::inbox::Inbox;
use super::{Identity, Incoming, PeerPort};

/// Limits of an incoming connection.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveLimits {
    /// To a whole hello. Default 5 s.
    pub hello_timeout: Duration,
    /// The longest frame of a peer in bytes. Default 256 MiB.
    pub max_frame_bytes: usize,
}

impl Default for ReceiveLimits {
    fn default() -> Self {
        ReceiveLimits { hello_timeout: Duration::from_secs(5), max_frame_bytes: FRAME_LIMIT }
    }
}

/// Hears out one accepted connection: who it is.
///
/// # Errors
/// In plain words, if it is not one of the `peers`.
pub async fn meet(
    mut stream: TcpStream,
    local: Identity,
    peers: impl Fn(ServerId) -> bool,
    limits: ReceiveLimits,
) -> Result<Visitor, String> {
    let address = stream.peer_addr().map_err(|error| error.to_string())?;
    let mut inbox = Inbox::new(HELLO_SIZE);
    let from = match timeout(limits.hello_timeout, greet(&mut stream, &mut inbox, local)).await {
        Ok(from) => from?,
        Err(_) => return Err("it does not say who it is".to_owned()),
    };
    if from == local.id || !peers(from) {
        return Err(format!("it says that it is server {from}, which is not a peer"));
    }
    let answer = async {
        stream.write_all(&hello(local, from)).await?;
        stream.flush().await
    };
    match timeout(limits.hello_timeout, answer).await {
        Ok(answered) => answered.map_err(|error| error.to_string())?,
        Err(_) => return Err("it does not take our answer".to_owned()),
    }
    Ok(Visitor { from, address, stream, inbox: inbox.with_max_frame(limits.max_frame_bytes) })
}

async fn greet(
    stream: &mut TcpStream,
    inbox: &mut Inbox,
    local: Identity,
) -> Result<ServerId, String> {
    loop {
        match inbox.frame() {
            Ok(Some(frame)) => return greeted(local, frame),
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

/// A peer that has said who it is.
#[derive(Debug)]
pub struct Visitor {
    from: ServerId,
    address: SocketAddr,
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
        let (from, address) = (self.from, self.address);
        let Incoming { number, superseded } = port.incoming(from);
        tracing::info!(peer = %from, %address, "a peer has connected");
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
            let mut messages = Vec::new();
            loop {
                let fed = match self.inbox.frame() {
                    Ok(Some(frame)) => decoder.feed(frame),
                    Ok(None) => break,
                    Err(error) => Err(error),
                };
                match fed {
                    Ok(Some(Spoken::Message(message))) => messages.push(message),
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
            if !messages.is_empty() && !port.heard(self.from, number, messages) {
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
