//! What servers say to each other, as frames.
//!
//! After its length (see [`frame`](super::frame)) a frame is:
//!
//! | Offset | Size | What |
//! |---|---|---|
//! | 0 | 4 | CRC-32C of all that follows, big-endian |
//! | 4 | 1 | kind: 1 message, 2 snapshot head, 3 snapshot chunk, 4 snapshot end, 5 part held |
//! | 5 | rest | body |
//!
//! - *message*: a head in bincode (varints, little-endian), then in the form of
//!   [`compact`](super::compact): for entries a count and as many blobs, each an
//!   [`entry`](super::entry); for a forward a count and blobs, each an action; for sessions heard
//!   from a count and fixed numbers; else nothing.
//! - *snapshot head*: term, meta, zxid, digest and the number of the chunk that comes first in
//!   bincode, and if the membership in the meta decides by groups, those of its voters and of its
//!   outgoing ones, as in an entry. It begins a snapshot, or goes on with one, and drops any other
//!   that is under way.
//! - *snapshot chunk*: its number from 0 as a varint, then a chunk of an [`image`](super::image).
//! - *snapshot end*: the number of chunks as a varint, and the image's digest as a fixed number.
//! - *part held*: a connection ended with a snapshot of the reader under way on it, and this much
//!   of it is kept: last entry, zxid, digest and the number of chunks in bincode. Whoever sends the
//!   same again may leave these chunks out.
//!
//! Messages may stand between the frames of a snapshot. The first frame of a connection is a
//! [`Hello`], which has a form of its own, because it names the version of all this.
//!
//! Invariant: a frame is believed only if its checksum is right. After any error the stream is lost
//! and the connection must end.

use bincode::Options;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zokor_core::db::{Action, Txn};
use zokor_core::id::{ServerId, SessionId};
use zokor_core::raft::{self, Body, EntryId, SharedEntry, Term};
use zokor_core::replica::{Comparison, Message};

use super::WireError;
use super::compact::{Reader, put_blob, put_count, put_fixed};
use super::entry::{decode_action, decode_entry, encode_action};
use super::frame::append_frame;
use super::written::Written;

mod pieces;

use pieces::Head as SnapshotHead;
pub use pieces::{Part, PartHeld, PartName, SnapshotFrames};

/// The longest frame that a server accepts from a peer it knows. What goes into the log must stay
/// well below, or it could never be passed on: four times the longest frame of a client, since text
/// that is not UTF-8 grows to three times its length.
pub const FRAME_LIMIT: usize = 4 * LONGEST_CLIENT_FRAME;

/// The longest frame that a server may be told to accept from a client. The same on all servers,
/// however each is configured, so that none admits what another cannot read.
pub const LONGEST_CLIENT_FRAME: usize = 64 << 20;

/// The length of the first frame of a connection: no other length is accepted from a stranger.
pub const HELLO_SIZE: usize = 34;

/// The version of everything in this file.
pub const VERSION: u16 = 1;

/// The first frame in either direction: who is there, and who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The server that speaks.
    pub from: ServerId,
    /// The server that it wants to speak to.
    pub to: ServerId,
    /// The same on all servers of one ensemble.
    pub fingerprint: u64,
    /// Whether it wants to be authenticated before anything else is said (see
    /// [`login`](super::login)). Only whoever calls may want that.
    pub asks: bool,
}

/// Appends a hello as one frame: magic, version (2 bytes, of which the top bit says that it asks to
/// be authenticated), from, to, fingerprint (8 bytes each), and the CRC-32C of these, all
/// big-endian.
pub fn encode_hello(hello: &Hello, out: &mut BytesMut) {
    append_checked(out, |out| {
        let start = out.len();
        out.put_u32(MAGIC);
        out.put_u16(VERSION | if hello.asks { ASKS } else { 0 });
        out.put_u64(hello.from.0);
        out.put_u64(hello.to.0);
        out.put_u64(hello.fingerprint);
        let checksum = crc32c::crc32c(&out[start..]);
        out.put_u32(checksum);
    });
}

/// The hello in the first frame of a connection.
///
/// # Errors
/// If the other end is no server of ours, has another version, or the bytes have changed.
pub fn decode_hello(frame: Bytes) -> Result<Hello, WireError> {
    let mut reader = Reader::new(frame.clone());
    let found = u32::from_be_bytes(reader.array("magic")?);
    if found != MAGIC {
        return Err(WireError::Magic { found });
    }
    let version = u16::from_be_bytes(reader.array("version")?);
    let asks = version & ASKS != 0;
    if version & !ASKS != VERSION {
        let (found, known) = (u32::from(version & !ASKS), u32::from(VERSION));
        return Err(WireError::Version { what: "hello", found, known });
    }
    let from = ServerId(reader.fixed("from")?);
    let to = ServerId(reader.fixed("to")?);
    let fingerprint = reader.fixed("fingerprint")?;
    let found = crc32c::crc32c(&frame[..reader.offset()]);
    let expected = u32::from_be_bytes(reader.array("checksum")?);
    if found != expected {
        return Err(WireError::Checksum { found, expected });
    }
    reader.finish("hello")?;
    Ok(Hello { from, to, fingerprint, asks })
}

/// Appends a message as one frame. A snapshot has many: nothing is appended then, and the frames
/// are returned, to be drawn one by one as the socket takes them.
#[must_use = "a snapshot is not appended but returned"]
pub fn encode_message<'a>(message: &'a Message, out: &mut BytesMut) -> Option<SnapshotFrames<'a>> {
    encode_message_as_written(message, None, out)
}

/// As [`encode_message`], with the bytes of the message's entries if these are known.
#[must_use = "a snapshot is not appended but returned"]
pub fn encode_message_as_written<'a>(
    message: &'a Message,
    written: Option<&Written>,
    out: &mut BytesMut,
) -> Option<SnapshotFrames<'a>> {
    match message {
        Message::Raft(message) => append(out, MESSAGE, |out| {
            let body = with_entries(&message.body, Vec::new());
            put_head(out, &Head::Raft(raft::Message { term: message.term, body }));
            if let Body::Append { entries, .. } | Body::Found { entries, .. } = &message.body {
                put_entries(out, entries, written);
            }
        }),
        Message::Forward(actions) => append(out, MESSAGE, |out| {
            put_head(out, &Head::Forward);
            put_count(out, actions.len());
            for action in actions {
                put_blob(out, |out| encode_action(action, out));
            }
        }),
        Message::ShortOfRoom => append(out, MESSAGE, |out| put_head(out, &Head::ShortOfRoom)),
        Message::Heard(sessions) => append(out, MESSAGE, |out| {
            put_head(out, &Head::Heard);
            put_count(out, sessions.len());
            for session in sessions {
                put_fixed(out, session.0 as u64);
            }
        }),
        Message::Compare(word) => append(out, MESSAGE, |out| put_head(out, &Head::Compare(*word))),
        Message::Snapshot { term, snapshot } => {
            return Some(SnapshotFrames::new(*term, snapshot, 0));
        }
    }
    None
}

/// The message in a frame that holds a whole one.
///
/// # Errors
/// If the checksum is wrong, anything is cut or out of its range, or it is a part of a snapshot.
pub fn decode_message(frame: Bytes) -> Result<Message, WireError> {
    match MessageDecoder::new().feed(frame)? {
        Some(Spoken::Message(message)) => Ok(message),
        _ => Err(WireError::Misplaced { what: "part of a snapshot" }),
    }
}

/// Appends what a server keeps of a snapshot that broke off, for its sender to know.
pub fn encode_part_held(part: &PartHeld, out: &mut BytesMut) {
    append(out, PART_HELD, |out| put_head(out, part));
}

/// What one frame says, or ends.
#[derive(Debug)]
pub enum Spoken {
    /// A whole message.
    Message(Message),
    /// A snapshot begins, or goes on: [`MessageDecoder::begin`] is to be called before the next
    /// frame, with what is kept of one.
    Begins,
    /// The speaker keeps so much of a snapshot that this server was sending.
    Holds(PartHeld),
}

/// Takes the frames of one connection in order and gives whole messages. What it holds of a
/// snapshot under way is about as large as the image itself.
#[derive(Debug, Default)]
pub struct MessageDecoder {
    begins: Option<SnapshotHead>,
    incoming: Option<Part>,
    written: Option<Written>,
}

impl MessageDecoder {
    /// Before the first message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame; gives what it says, unless more has to come first.
    ///
    /// # Errors
    /// As for [`decode_message`], or if a part of a snapshot is missing. The connection must end.
    pub fn feed(&mut self, frame: Bytes) -> Result<Option<Spoken>, WireError> {
        const CHUNK: WireError = WireError::Misplaced { what: "snapshot chunk" };
        const END: WireError = WireError::Misplaced { what: "snapshot end" };
        let mut reader = Reader::new(frame.clone());
        let expected = u32::from_be_bytes(reader.array("checksum")?);
        let found = crc32c::crc32c(&frame[reader.offset()..]);
        if found != expected {
            return Err(WireError::Checksum { found, expected });
        }
        let offset = reader.offset();
        let spoken = match reader.byte("kind of frame")? {
            MESSAGE => {
                let (message, written) = take_message(reader.into_rest())?;
                self.written = written;
                Spoken::Message(message)
            }
            SNAPSHOT_HEAD => {
                let head = SnapshotHead::take(reader.into_rest())?;
                plausible(head.term)?;
                plausible(head.meta.last.term)?;
                // What a server sends that is no leader has no term of its own.
                if head.meta.last.term > head.term && head.term != Term(0) {
                    return Err(WireError::Misplaced { what: "snapshot of a later term" });
                }
                (self.begins, self.incoming) = (Some(head), None);
                Spoken::Begins
            }
            SNAPSHOT_CHUNK => {
                let mut part = self.incoming.take().ok_or(CHUNK)?;
                // What is no chunk of it leaves nothing that could be gone on with.
                part.chunk(reader)?;
                self.incoming = Some(part);
                return Ok(None);
            }
            SNAPSHOT_END => Spoken::Message(self.incoming.take().ok_or(END)?.end(reader)?),
            PART_HELD => {
                let (part, reader) = take_head(reader.into_rest())?;
                reader.finish("part held")?;
                Spoken::Holds(part)
            }
            kind => {
                let found = i64::from(kind);
                return Err(WireError::Value { what: "kind of frame", offset, found });
            }
        };
        Ok(Some(spoken))
    }

    /// The bytes of the entries of the message that [`feed`](Self::feed) gave last, if it had any.
    /// They keep its frame in memory.
    pub fn take_written(&mut self) -> Option<Written> {
        self.written.take()
    }

    /// Begins with the snapshot that the last frame spoke of: with `kept`, if it goes on with that.
    ///
    /// # Errors
    /// If it goes on with anything else. The connection must end.
    pub fn begin(&mut self, kept: Option<Part>) -> Result<(), WireError> {
        let Some(head) = self.begins.take() else { return Ok(()) };
        self.incoming = Some(match kept {
            _ if head.first == 0 => Part::begun(head),
            Some(part) => part.go_on(head)?,
            None => return Err(WireError::Misplaced { what: "rest of a snapshot" }),
        });
        Ok(())
    }

    /// What has come of a snapshot that is under way; nothing if that is nothing.
    pub fn into_part(self) -> Option<Part> {
        self.incoming.filter(|part| part.held().n_chunks > 0)
    }
}

/// A term becomes the epoch of a zxid, which has 31 bits: one beyond them is no term that an
/// ensemble has come to by elections, and would stop every server that takes it up.
fn plausible(term: Term) -> Result<(), WireError> {
    if term.0 <= MAX_TERM {
        return Ok(());
    }
    let found = i64::try_from(term.0).unwrap_or(i64::MAX);
    Err(WireError::Value { what: "term", offset: 0, found })
}

/// Leaves room for more elections than an ensemble can hold before the epoch is full.
const MAX_TERM: u64 = (1 << 31) - (1 << 24);

/// The part of a message that has a fixed shape. Commands are of type `()` here, so that bincode
/// never sees one: it would follow their nesting.
#[derive(Debug, Serialize, Deserialize)]
enum Head {
    Raft(raft::Message<()>),
    Forward,
    Heard,
    ShortOfRoom,
    Compare(Comparison),
}

/// A message, and its entries as they stand there.
fn take_message(body: Bytes) -> Result<(Message, Option<Written>), WireError> {
    let (head, mut reader) = take_head::<Head>(body)?;
    let mut written = None;
    let message = match head {
        Head::Raft(raft::Message { term, body }) => {
            plausible(term)?;
            let mut entries = Vec::new();
            let follow = match &body {
                Body::Append { previous, entries: in_head, .. } => {
                    Some((Some(*previous), term, in_head.len()))
                }
                Body::Found { name, matched, entries: in_head, .. } => {
                    plausible(name.term)?;
                    Some((*matched, name.term, in_head.len()))
                }
                _ => None,
            };
            if let Some((previous, latest, n_in_head)) = follow {
                if n_in_head > 0 {
                    return Err(WireError::Misplaced { what: "entry in a head" });
                }
                (entries, written) = take_entries(&mut reader, previous, latest)?;
            }
            Message::Raft(raft::Message { term, body: with_entries(&body, entries) })
        }
        Head::Forward => {
            const MIN_SIZE: usize = 6;
            let count = reader.count("actions", MIN_SIZE)?;
            let mut actions: Vec<Action> = Vec::with_capacity(count);
            for _ in 0..count {
                actions.push(decode_action(reader.blob("action")?)?);
            }
            Message::Forward(actions)
        }
        Head::ShortOfRoom => Message::ShortOfRoom,
        Head::Compare(word) => Message::Compare(word),
        Head::Heard => {
            const SIZE: usize = 8;
            let count = reader.count("sessions", SIZE)?;
            let mut sessions = Vec::with_capacity(count);
            for _ in 0..count {
                sessions.push(SessionId(reader.fixed("session")? as i64));
            }
            Message::Heard(sessions)
        }
    };
    reader.finish("message")?;
    Ok((message, written))
}

fn put_entries(out: &mut BytesMut, entries: &[SharedEntry<Txn>], written: Option<&Written>) {
    put_count(out, entries.len());
    let known = written.filter(|written| written.holds(entries)).cloned();
    if let Some(written) = known.or_else(|| Written::encode(entries)) {
        out.put_slice(written.blobs());
    }
}

/// The entries that follow `previous`, if that is known: indexes without a gap, terms that never
/// fall (Raft §5.3) and are none to come: a leader has no entry of a later term than its own.
fn take_entries(
    reader: &mut Reader,
    mut previous: Option<EntryId>,
    latest: Term,
) -> Result<(Vec<SharedEntry<Txn>>, Option<Written>), WireError> {
    const MIN_SIZE: usize = 8;
    let count = reader.count("entries", MIN_SIZE)?;
    let start = reader.offset();
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = decode_entry(reader.blob("entry")?)?;
        let follows = |previous: EntryId| {
            previous.index.0.checked_add(1) == Some(entry.id.index.0)
                && previous.term <= entry.id.term
        };
        if !previous.is_none_or(follows) || entry.id.term > latest {
            return Err(WireError::Misplaced { what: "entry of an append" });
        }
        previous = Some(entry.id);
        entries.push(SharedEntry::new(entry));
    }
    let written = Written::read(&entries, reader.slice(start..reader.offset()));
    Ok((entries, written))
}

/// The same body with these entries in place of its own, if it has any.
fn with_entries<A, B>(body: &Body<A>, entries: Vec<SharedEntry<B>>) -> Body<B> {
    match *body {
        Body::PreVote { last } => Body::PreVote { last },
        Body::PreVoteReply { granted } => Body::PreVoteReply { granted },
        Body::Vote { last, transfer } => Body::Vote { last, transfer },
        Body::VoteReply { granted } => Body::VoteReply { granted },
        Body::Append { previous, commit, .. } => Body::Append { previous, commit, entries },
        Body::AppendReply { received, persisted } => Body::AppendReply { received, persisted },
        Body::AppendReject { previous, hint } => Body::AppendReject { previous, hint },
        Body::Heartbeat { commit, round } => Body::Heartbeat { commit, round },
        Body::HeartbeatReply { round, received, persisted } => {
            Body::HeartbeatReply { round, received, persisted }
        }
        Body::ReadIndex { token } => Body::ReadIndex { token },
        Body::ReadIndexReply { token, index } => Body::ReadIndexReply { token, index },
        Body::TimeoutNow => Body::TimeoutNow,
        Body::SnapshotReply { index } => Body::SnapshotReply { index },
        Body::Seek { after, ref names } => Body::Seek { after, names: names.clone() },
        Body::Found { after, name, matched, .. } => Body::Found { after, name, matched, entries },
        Body::NotFound { has_snapshot, leads } => Body::NotFound { has_snapshot, leads },
        Body::SeekState { after, wants_leader } => Body::SeekState { after, wants_leader },
        Body::AskIfNew { round } => Body::AskIfNew { round },
        Body::IfNew { round, blank } => Body::IfNew { round, blank },
        Body::FeedMe { round, received, persisted } => Body::FeedMe { round, received, persisted },
        Body::Feeding { round, is_snapshot } => Body::Feeding { round, is_snapshot },
        Body::FedByOther { is_fed } => Body::FedByOther { is_fed },
    }
}

fn put_head(out: &mut BytesMut, head: &impl Serialize) {
    let written = head_options().serialize_into(out.writer(), head);
    written.expect("a head is small, and memory takes every write");
}

/// The head at the start of `body`, and a reader of what follows it.
fn take_head<T: DeserializeOwned>(body: Bytes) -> Result<(T, Reader), WireError> {
    let mut cursor = (&body[..]).reader();
    let head = head_options().deserialize_from(&mut cursor);
    let head = head.map_err(|error| WireError::Head { reason: error.to_string() })?;
    let left = cursor.into_inner().len();
    let rest = body.slice(body.len() - left..);
    Ok((head, Reader::new(rest)))
}

fn head_options() -> impl Options {
    bincode::DefaultOptions::new().with_limit(HEAD_LIMIT).allow_trailing_bytes()
}

/// Appends a frame of this kind with its checksum.
fn append(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    append_checked(out, |out| {
        let start = out.len();
        out.put_u32(0);
        out.put_u8(kind);
        body(out);
        let checksum = crc32c::crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&checksum.to_be_bytes());
    });
}

fn append_checked(out: &mut BytesMut, content: impl FnOnce(&mut BytesMut)) {
    let fits = append_frame(out, content);
    assert!(fits, "raft bounds an append, the replica a forward, and an image comes in chunks");
}

/// `zkpr`.
const MAGIC: u32 = 0x7a6b_7072;

/// In the version of a hello: whoever calls asks to be authenticated.
const ASKS: u16 = 1 << 15;

const MESSAGE: u8 = 1;
const SNAPSHOT_HEAD: u8 = 2;
const SNAPSHOT_CHUNK: u8 = 3;
const SNAPSHOT_END: u8 = 4;
const PART_HELD: u8 = 5;

/// What bincode may read or write for one head: enough for a membership of thousands.
const HEAD_LIMIT: u64 = 64 << 10;

/// Room for what stands around a chunk.
const OVERHEAD: usize = 32;

#[cfg(test)]
mod tests;
