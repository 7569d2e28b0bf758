//! The one place of this room that knows how peers' words are spelt.

use bytes::{Bytes, BytesMut};
use zokor_core::id::ServerId;
use zokor_core::replica::Message;

use super::{Identity, outbox::Chunks};
use crate::wire::WireError;
use crate::wire::peer::{
    Hello, MessageDecoder, decode_hello, encode_hello, encode_message, snapshot_frames,
};

/// A message on its way: bytes, or chunks that are made while they are sent.
pub(super) enum Encoded {
    /// Was appended.
    Appended,
    /// A snapshot: to be sent chunk by chunk, each of whole frames.
    Chunks(Chunks),
}

/// Appends `message` to `out`, unless it is too large for that.
pub(super) fn encode(out: &mut BytesMut, message: Message) -> Encoded {
    match message {
        Message::Snapshot { term, snapshot } => {
            Encoded::Chunks(Box::new(snapshot_frames(term, snapshot)))
        }
        Message::Raft(_) | Message::Forward(_) | Message::Heard(_) => {
            encode_message(out, &message);
            Encoded::Appended
        }
    }
}

/// The frame by which `local` greets `to`.
pub(super) fn hello(local: Identity, to: ServerId) -> BytesMut {
    let mut out = BytesMut::new();
    encode_hello(&mut out, &Hello { from: local.id, to, ensemble: local.ensemble });
    out
}

/// Who greets `local`, or in plain words why it is a stranger.
pub(super) fn greeted(local: Identity, frame: Bytes) -> Result<ServerId, String> {
    let hello = decode_hello(frame).map_err(|error| error.to_string())?;
    if hello.ensemble != local.ensemble {
        return Err(format!(
            "it belongs to another ensemble ({:016x}, ours is {:016x})",
            hello.ensemble, local.ensemble
        ));
    }
    if hello.to != local.id {
        return Err(format!("it looks for server {}, this is server {}", hello.to, local.id));
    }
    Ok(hello.from)
}

/// Makes messages of the frames of one connection.
#[derive(Default)]
pub(super) struct Decoder(MessageDecoder);

impl Decoder {
    pub(super) fn feed(&mut self, frame: Bytes) -> Result<Option<Message>, WireError> {
        self.0.feed(frame)
    }
}
