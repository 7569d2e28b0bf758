//! Bodies of answers and of requests.
//!
//! Invariants: an answer is in memory whole only if it is small; of one that is made part by part a
//! few parts wait at most. A request's body is read no further than its limit, and a client that is
//! too slow with it is given up.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HyperBody, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::guests::Busy;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    content: Content,
    /// Whoever is being answered is not idle.
    pub(super) busy: Option<Busy>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Parts(mpsc::Receiver<io::Result<Bytes>>),
}

/// Where the parts of an answer go. An error makes the client see that the answer is not whole.
pub(super) type Parts = mpsc::Sender<io::Result<Bytes>>;

impl Body {
    pub(super) fn whole(content: impl Into<Bytes>) -> Self {
        Body { content: Content::Whole(content.into()), busy: None }
    }

    /// One that is made part by part, and where these go.
    pub(super) fn parts() -> (Parts, Self) {
        let (parts, receiver) = mpsc::channel(WAITING_PARTS);
        (parts, Body { content: Content::Parts(receiver), busy: None })
    }
}

impl HyperBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Parts(parts) => {
                parts.poll_recv(cx).map(|part| part.map(|part| part.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Parts(_) => SizeHint::default(),
        }
    }
}

/// The body of a request, part by part.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    /// To the next part.
    patience: Duration,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, patience: Duration) -> Self {
        RequestBody { incoming, patience }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// If the connection breaks, or nothing comes for too long.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let mut incoming = pin!(&mut self.incoming);
            let next = std::future::poll_fn(|cx| incoming.as_mut().poll_frame(cx));
            let frame = match timeout(self.patience, next).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(io::Error::other(error)),
                Ok(None) => return Ok(None),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
            // Trailers say nothing to us.
            if let Ok(part) = frame.into_data() {
                return Ok(Some(part));
            }
        }
    }

    /// All of it, if it is no longer than `limit` and comes in time.
    pub(super) async fn whole(mut self, limit: usize) -> io::Result<Bytes> {
        let patience = self.patience;
        let read = async {
            let mut whole = BytesMut::new();
            while let Some(part) = self.next().await? {
                if whole.len() + part.len() > limit {
                    let what = format!("it is longer than {limit} bytes");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                whole.extend_from_slice(&part);
            }
            Ok(whole.freeze())
        };
        timeout(patience, read).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Parts of an answer that wait for the client to take them.
const WAITING_PARTS: usize = 2;
