//! What was read from a socket and is not yet understood.
//!
//! Invariants: memory is in proportion to the bytes that came, never to a length that a stranger
//! claims; a small frame is copied out, so that a znode's data never keeps a whole read buffer
//! alive.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use zokor_core::{maybe, mutated};

use crate::wire::WireError;
use crate::wire::frame::split_frame;

/// A read buffer that cuts frames.
#[derive(Debug)]
pub struct Inbox {
    buffer: BytesMut,
    /// Bytes to make room for; between `LEAST_READ` and `LARGEST_READ`.
    want: usize,
    /// No frame may be longer.
    max_frame: usize,
    /// Whether something was read since [`Inbox::is_fresh`] was asked.
    fresh: bool,
}

impl Inbox {
    /// An empty one; longer frames than `max_frame` bytes are an error.
    pub fn new(max_frame: usize) -> Self {
        Inbox { buffer: BytesMut::new(), want: LEAST_READ, max_frame, fresh: false }
    }

    /// The same with another limit.
    pub fn with_max_frame(self, max_frame: usize) -> Self {
        Inbox { max_frame, ..self }
    }

    /// Reads once. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The socket's. `Ok(0)` is its end.
    pub async fn fill<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> io::Result<usize> {
        // A long frame doubles what is there with each read, so that few reads bring it in whole.
        let room = self.want.max(self.buffer.len().min(LARGEST_READ * 4));
        self.buffer.reserve(room);
        // Legal: a socket may give as little as it likes.
        let most = if maybe!(ShortRead) { 1 } else { usize::MAX };
        let n = reader.read_buf(&mut (&mut self.buffer).limit(most)).await?;
        if n >= self.want {
            self.want = (self.want * 2).min(LARGEST_READ);
        } else if n < self.want / 4 {
            self.want = (self.want / 2).max(LEAST_READ);
        }
        self.fresh |= n > 0;
        Ok(n)
    }

    /// The next whole frame's payload, if it is there.
    ///
    /// # Errors
    /// A length that is negative or beyond the limit: what follows cannot be understood.
    pub fn frame(&mut self) -> Result<Option<Bytes>, WireError> {
        let Some(frame) = split_frame(&mut self.buffer, self.max_frame)? else {
            if mutated!(PartialFrameDropped) {
                self.buffer.clear();
            }
            self.shrink();
            return Ok(None);
        };
        if frame.len() <= COPIED_FRAME {
            Ok(Some(Bytes::copy_from_slice(&frame)))
        } else {
            Ok(Some(frame))
        }
    }

    /// How long the frame that begins says it is, whole or not; `None` if it does not say yet, or
    /// says something that cannot be.
    pub fn announced(&self) -> Option<usize> {
        let length = i32::from_be_bytes(*self.buffer.first_chunk::<4>()?);
        usize::try_from(length).ok()
    }

    /// What is there, to be looked at.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether anything was read since the last call.
    pub fn is_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// An idle connection costs little memory.
    fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * LARGEST_READ {
            self.buffer = BytesMut::new();
        }
    }
}

const LEAST_READ: usize = 2 << 10;
const LARGEST_READ: usize = 64 << 10;
/// Frames up to this size are copied out of the read buffer.
const COPIED_FRAME: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            bytes.extend_from_slice(&(payload.len() as i32).to_be_bytes());
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    #[tokio::test]
    async fn one_read_yields_all_its_frames_in_order() {
        let bytes = framed(&[b"one", b"", b"three"]);
        let mut inbox = Inbox::new(100);
        assert_eq!(inbox.fill(&mut bytes.as_slice()).await.unwrap(), bytes.len());
        assert!(inbox.is_fresh());
        assert!(!inbox.is_fresh());
        assert_eq!(inbox.frame().unwrap().unwrap(), "one");
        assert_eq!(inbox.frame().unwrap().unwrap(), "");
        assert_eq!(inbox.frame().unwrap().unwrap(), "three");
        assert!(inbox.frame().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_frame_may_come_byte_by_byte() {
        let bytes = framed(&[b"slow"]);
        let mut inbox = Inbox::new(100);
        for (n, byte) in bytes.iter().enumerate() {
            assert!(inbox.frame().unwrap().is_none(), "after {n} bytes");
            inbox.fill(&mut [*byte].as_slice()).await.unwrap();
        }
        assert_eq!(inbox.frame().unwrap().unwrap(), "slow");
    }

    #[tokio::test]
    async fn the_limit_is_the_longest_frame() {
        let mut inbox = Inbox::new(5);
        inbox.fill(&mut framed(&[b"12345"]).as_slice()).await.unwrap();
        assert_eq!(inbox.frame().unwrap().unwrap(), "12345");
        inbox.fill(&mut framed(&[b"123456"]).as_slice()).await.unwrap();
        assert!(inbox.frame().is_err());
    }

    #[tokio::test]
    async fn a_negative_length_is_an_error() {
        let mut inbox = Inbox::new(5);
        inbox.fill(&mut (-1i32).to_be_bytes().as_slice()).await.unwrap();
        assert!(inbox.frame().is_err());
    }

    #[tokio::test]
    async fn a_claimed_length_takes_no_memory() {
        let mut inbox = Inbox::new(1 << 30);
        inbox.fill(&mut (1i32 << 29).to_be_bytes().as_slice()).await.unwrap();
        assert!(inbox.frame().unwrap().is_none());
        assert!(inbox.buffer.capacity() <= 2 * LEAST_READ);
    }

    #[tokio::test]
    async fn a_small_frame_does_not_keep_the_read_buffer_alive() {
        let mut inbox = Inbox::new(1 << 20);
        inbox.fill(&mut framed(&[b"kept"]).as_slice()).await.unwrap();
        let kept = inbox.frame().unwrap().unwrap();
        let before = inbox.buffer.capacity();
        inbox.buffer.reserve(before);
        assert!(kept.is_unique());
    }

    #[tokio::test]
    async fn a_large_frame_comes_in_whole() {
        let payload = vec![7u8; 1 << 20];
        let bytes = framed(&[&payload]);
        let mut rest = bytes.as_slice();
        let mut inbox = Inbox::new(1 << 20);
        let mut reads = 0;
        while inbox.fill(&mut rest).await.unwrap() > 0 {
            reads += 1;
        }
        assert_eq!(inbox.frame().unwrap().unwrap(), payload);
        assert!(reads < 30, "{reads} reads");
    }
}
