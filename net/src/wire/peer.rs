//! Stand-in: messages between servers.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use zokor_core::db::Txn;
use zokor_core::id::{ServerId, SessionId};
use zokor_core::raft;
use zokor_core::replica::{Message, Snapshot};

use super::WireError;

/// What a connection between servers begins with, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Who speaks.
    pub from: ServerId,
    /// To whom it means to speak.
    pub to: ServerId,
    /// Names the ensemble.
    pub ensemble: u64,
}

fn wrong(found: i64) -> WireError {
    WireError::Value { what: "a peer's frame", offset: 0, found }
}

const MAGIC: u32 = 0x5a4f_4b31;

/// As a whole frame.
pub fn encode_hello(out: &mut BytesMut, hello: &Hello) {
    out.put_i32(28);
    out.put_u32(MAGIC);
    out.put_u64(hello.from.0);
    out.put_u64(hello.to.0);
    out.put_u64(hello.ensemble);
}

/// From a frame's payload.
pub fn decode_hello(mut frame: Bytes) -> Result<Hello, WireError> {
    if frame.len() != 28 || frame.get_u32() != MAGIC {
        return Err(wrong(0));
    }
    let (from, to) = (ServerId(frame.get_u64()), ServerId(frame.get_u64()));
    Ok(Hello { from, to, ensemble: frame.get_u64() })
}

/// As whole frames; not for a snapshot.
pub fn encode_message(out: &mut BytesMut, message: &Message) {
    let (tag, body) = match message {
        Message::Raft(raft) => (0, bincode::serialize(raft)),
        Message::Heard(sessions) => (1, bincode::serialize(sessions)),
        Message::Forward(actions) => (2, bincode::serialize(actions)),
        Message::Snapshot { .. } => return,
    };
    let body = body.unwrap_or_default();
    out.put_i32(1 + body.len() as i32);
    out.put_u8(tag);
    out.put_slice(&body);
}

/// The frames of a snapshot.
pub fn snapshot_frames(
    _term: raft::Term,
    _snapshot: Snapshot,
) -> impl Iterator<Item = Bytes> + Send + 'static {
    std::iter::empty()
}

/// Makes messages of frames.
#[derive(Debug, Default)]
pub struct MessageDecoder;

impl MessageDecoder {
    /// Takes one frame.
    pub fn feed(&mut self, mut frame: Bytes) -> Result<Option<Message>, WireError> {
        if frame.is_empty() {
            return Err(wrong(0));
        }
        let message = match frame.get_u8() {
            0 => Message::Raft(
                bincode::deserialize::<raft::Message<Txn>>(&frame).map_err(|_| wrong(1))?,
            ),
            1 => Message::Heard(
                bincode::deserialize::<Vec<SessionId>>(&frame).map_err(|_| wrong(1))?,
            ),
            2 => Message::Forward(bincode::deserialize(&frame).map_err(|_| wrong(1))?),
            tag => return Err(wrong(i64::from(tag))),
        };
        Ok(Some(message))
    }
}
