//! The one place of this room that knows how peers' words are spelt.

use bytes::{Bytes, BytesMut};
use zokor_core::id::ServerId;
use zokor_core::replica::Message;

use super::Identity;
use crate::wire::WireError;
use crate::wire::peer::{
    Hello, MessageDecoder, SnapshotFrames, decode_hello, encode_hello, encode_message,
};

pub(super) use crate::wire::peer::{FRAME_LIMIT, HELLO_SIZE};

/// Appends `message` to `out`; a snapshot is given back, to be sent frame by frame.
pub(super) fn encode(out: &mut BytesMut, message: Message) -> Option<Message> {
    let is_snapshot = encode_message(&message, out).is_some();
    is_snapshot.then_some(message)
}

/// The frames of a snapshot, made while they are sent; `None` for any other message.
pub(super) fn frames(message: &Message) -> Option<SnapshotFrames<'_>> {
    match message {
        Message::Snapshot { term, snapshot } => Some(SnapshotFrames::new(*term, snapshot)),
        Message::Raft(_)
        | Message::Forward(_)
        | Message::Heard(_)
        | Message::ShortOfRoom
        | Message::Compare(_) => None,
    }
}

/// The frame by which `local` greets `to`.
pub(super) fn hello(local: Identity, to: ServerId) -> BytesMut {
    let mut out = BytesMut::new();
    let hello = Hello { from: local.id, to, fingerprint: local.ensemble };
    encode_hello(&hello, &mut out);
    out
}

/// Who greets `local`, or in plain words why it is a stranger.
pub(super) fn greeted(local: Identity, frame: Bytes) -> Result<ServerId, String> {
    let hello = decode_hello(frame).map_err(|error| error.to_string())?;
    if hello.fingerprint != local.ensemble {
        return Err(format!(
            "it belongs to another ensemble ({:016x}, ours is {:016x})",
            hello.fingerprint, local.ensemble
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
