//! The one place of this room that knows how peers' words are spelt.

use bytes::{Bytes, BytesMut};
use zokor_core::id::ServerId;
use zokor_core::raft::Term;
use zokor_core::replica::Message;

use super::Identity;
use crate::wire::peer::{
    Hello, decode_hello, encode_hello, encode_message_as_written, encode_part_held,
};

pub(super) use crate::wire::login::LOGIN_LIMIT;
pub(super) use crate::wire::peer::{
    FRAME_LIMIT, HELLO_SIZE, MessageDecoder as Decoder, PartName, SnapshotFrames, Spoken,
};
pub use crate::wire::peer::{Part, PartHeld};
pub use crate::wire::written::Written;

/// Appends `message` to `out`, with the bytes of its entries if these are known; a snapshot is
/// given back, to be sent frame by frame.
pub(super) fn encode(
    out: &mut BytesMut,
    message: Message,
    written: Option<&Written>,
) -> Option<Message> {
    let is_snapshot = encode_message_as_written(&message, written, out).is_some();
    is_snapshot.then_some(message)
}

/// Appends what is kept of a snapshot.
pub(super) fn encode_held(out: &mut BytesMut, part: &PartHeld) {
    encode_part_held(part, out);
}

/// The frames of a snapshot but for its `first` chunks, made while they are sent; `None` for any
/// other message.
pub(super) fn frames(message: &Message, first: u64) -> Option<SnapshotFrames<'_>> {
    match message {
        Message::Snapshot { term, snapshot } => Some(SnapshotFrames::new(*term, snapshot, first)),
        _ => None,
    }
}

/// Which snapshot it is, and of what term, if it is one.
pub(super) fn name(message: &Message) -> Option<(Term, PartName)> {
    match message {
        Message::Snapshot { term, snapshot } => Some((*term, PartName::of(snapshot))),
        _ => None,
    }
}

/// The frame by which `local` greets `to`; whether it asks to be authenticated.
pub(super) fn hello(local: Identity, to: ServerId, asks: bool) -> BytesMut {
    let mut out = BytesMut::new();
    let hello = Hello { from: local.id, to, fingerprint: local.ensemble, asks };
    encode_hello(&hello, &mut out);
    out
}

/// Who greets `local` and whether he asks to be authenticated, or in plain words why it is a
/// stranger.
pub(super) fn greeted(local: Identity, frame: Bytes) -> Result<(ServerId, bool), String> {
    let hello = decode_hello(frame).map_err(|error| error.to_string())?;
    if hello.fingerprint != local.ensemble {
        let hint = if local.ensemble == 0 {
            "; a server whose folder is empty learns that number when it starts and a quorum is \
             there, or is told it by `zokor join`"
        } else {
            ""
        };
        return Err(format!(
            "it belongs to another ensemble ({:016x}, ours is {:016x}){hint}",
            hello.fingerprint, local.ensemble
        ));
    }
    if hello.to != local.id {
        return Err(format!("it looks for server {}, this is server {}", hello.to, local.id));
    }
    Ok((hello.from, hello.asks))
}

/// Who greets `local` and belongs to no ensemble yet, while `local` does: it may learn which.
pub(super) fn newcomer(local: Identity, frame: Bytes) -> Option<ServerId> {
    let hello = decode_hello(frame).ok()?;
    let is_new = hello.fingerprint == 0 && local.ensemble != 0 && hello.to == local.id;
    is_new.then_some(hello.from)
}

/// The number of the ensemble that `peer` names in its hello to `id`.
pub(super) fn told(id: ServerId, peer: ServerId, frame: Bytes) -> Option<u64> {
    let hello = decode_hello(frame).ok()?;
    (hello.from == peer && hello.to == id).then_some(hello.fingerprint)
}
