//! A snapshot as frames: how it is cut, put together, and gone on with after a break.
//!
//! Invariant: chunks of two snapshots are never put together, whatever was announced: the counts
//! and the digest at the end are those of what was built, or nothing is.

use std::collections::BTreeSet;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::{EntryId, Index, Membership, SnapshotMeta, Term};
use zokor_core::replica::{Message, Snapshot};

use super::{
    OVERHEAD, Reader, SNAPSHOT_CHUNK, SNAPSHOT_END, SNAPSHOT_HEAD, append, put_head, take_head,
};
use crate::wire::WireError;
use crate::wire::compact::{put_fixed, put_varint};
use crate::wire::groups::{has_groups, put_groups_of, take_groups_of};
use crate::wire::image::{ImageDecoder, ImageEncoder};

/// Tells snapshots of one sender apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartName {
    /// The last entry that it stands for.
    pub last: EntryId,
    /// Its zxid.
    pub zxid: Zxid,
    /// Its digest.
    pub digest: u64,
}

impl PartName {
    /// The name of `snapshot`.
    pub fn of(snapshot: &Snapshot) -> Self {
        let Snapshot { meta, zxid, image } = snapshot;
        PartName { last: meta.last, zxid: *zxid, digest: image.digest() }
    }
}

/// What a server keeps of a snapshot that broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHeld {
    /// Of which.
    pub name: PartName,
    /// So many chunks, from the first on.
    pub n_chunks: u64,
}

/// Gives the frames of a snapshot one after another.
pub struct SnapshotFrames<'a> {
    head: Option<Head>,
    chunks: ImageEncoder<'a>,
    digest: u64,
    /// Chunks made.
    n_chunks: u64,
    /// Chunks that are not sent.
    first: u64,
    is_done: bool,
}

impl<'a> SnapshotFrames<'a> {
    /// The frames of `snapshot`, sent by the leader of `term`, but for the first chunks: so many
    /// as `first` says.
    pub fn new(term: Term, snapshot: &'a Snapshot, first: u64) -> Self {
        let (meta, zxid, digest) = (snapshot.meta.clone(), snapshot.zxid, snapshot.image.digest());
        SnapshotFrames {
            head: Some(Head { term, meta, zxid, digest, first }),
            chunks: ImageEncoder::new(&snapshot.image),
            digest,
            n_chunks: 0,
            first,
            is_done: false,
        }
    }

    /// Passes over one chunk that is not sent. `false` if there is none: only then does the next
    /// frame come, which is a chunk's work away.
    pub fn pass_over(&mut self) -> bool {
        let passes = self.n_chunks < self.first && self.chunks.next().is_some();
        self.n_chunks += u64::from(passes);
        passes
    }
}

impl Iterator for SnapshotFrames<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.pass_over() {}
        let mut out = BytesMut::new();
        if let Some(head) = self.head.take() {
            append(&mut out, SNAPSHOT_HEAD, |out| head.put(out));
        } else if let Some(chunk) = self.chunks.next() {
            out.reserve(chunk.len() + OVERHEAD);
            append(&mut out, SNAPSHOT_CHUNK, |out| {
                put_varint(out, self.n_chunks);
                out.put_slice(&chunk);
            });
            self.n_chunks += 1;
        } else if !self.is_done {
            append(&mut out, SNAPSHOT_END, |out| {
                put_varint(out, self.n_chunks);
                put_fixed(out, self.digest);
            });
            self.is_done = true;
        } else {
            return None;
        }
        Some(out.freeze())
    }
}

impl fmt::Debug for SnapshotFrames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFrames").field("n_chunks", &self.n_chunks).finish_non_exhaustive()
    }
}

/// A snapshot of which not all frames have come. It is about as large as what has.
#[derive(Debug)]
pub struct Part {
    head: Head,
    image: ImageDecoder,
    /// Chunks that have come.
    n_chunks: u64,
    /// The number of the next chunk on this connection.
    next: u64,
}

impl Part {
    /// Nothing of the snapshot of this head.
    pub(super) fn begun(head: Head) -> Self {
        Part { head, image: ImageDecoder::new(), n_chunks: 0, next: 0 }
    }

    /// What has come, for the sender to know.
    pub fn held(&self) -> PartHeld {
        PartHeld { name: self.head.name(), n_chunks: self.n_chunks }
    }

    /// Goes on as `head` says.
    ///
    /// # Errors
    /// If it is the head of another snapshot, or chunks between were left out.
    pub(super) fn go_on(self, head: Head) -> Result<Self, WireError> {
        if self.head.name() != head.name() || head.first > self.n_chunks {
            return Err(WireError::Misplaced { what: "rest of a snapshot" });
        }
        let next = head.first;
        Ok(Part { head, next, ..self })
    }

    pub(super) fn chunk(&mut self, mut reader: Reader) -> Result<(), WireError> {
        const WHAT: &str = "snapshot chunk";
        if reader.varint(WHAT)? != self.next {
            return Err(WireError::Misplaced { what: WHAT });
        }
        self.next += 1;
        if self.next <= self.n_chunks {
            return Ok(());
        }
        self.n_chunks += 1;
        self.image.chunk(reader.into_rest())
    }

    pub(super) fn end(self, mut reader: Reader) -> Result<Message, WireError> {
        const WHAT: &str = "snapshot end";
        let Part { head, image, n_chunks, next } = self;
        let count = reader.varint(WHAT)?;
        let digest = reader.fixed("digest")?;
        reader.finish(WHAT)?;
        let image = image.finish()?;
        let is_same = [digest, head.digest] == [image.digest(); 2] && head.zxid == image.zxid();
        if count != n_chunks || count != next || !is_same {
            return Err(WireError::Misplaced { what: WHAT });
        }
        let Head { term, meta, zxid, .. } = head;
        Ok(Message::Snapshot { term, snapshot: Snapshot { meta, zxid, image } })
    }
}

/// What must be known of a snapshot before its image comes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) term: Term,
    #[serde(serialize_with = "put_plain", deserialize_with = "take_plain")]
    pub(super) meta: SnapshotMeta,
    zxid: Zxid,
    digest: u64,
    /// The number of the first chunk that comes.
    pub(super) first: u64,
}

impl Head {
    fn name(&self) -> PartName {
        PartName { last: self.meta.last, zxid: self.zxid, digest: self.digest }
    }

    fn put(&self, out: &mut BytesMut) {
        put_head(out, self);
        let set = self.meta.membership.as_ref().map(|(_, membership)| membership);
        if let Some(membership) = set.filter(|membership| has_groups(membership)) {
            put_groups_of(out, membership);
        }
    }

    pub(super) fn take(body: Bytes) -> Result<Self, WireError> {
        let (mut head, mut reader) = take_head::<Head>(body)?;
        let set = head.meta.membership.take_if(|_| reader.left() > 0);
        if let Some((index, membership)) = set {
            head.meta.membership = Some((index, take_groups_of(&mut reader, membership)?));
        }
        reader.finish("snapshot head")?;
        Ok(head)
    }
}

/// What a snapshot has to say of the log, without groups: these follow the head.
type Plain = (EntryId, Option<(Index, [BTreeSet<ServerId>; 3])>);

fn put_plain<S: Serializer>(meta: &SnapshotMeta, to: S) -> Result<S::Ok, S::Error> {
    let sets = |it: &Membership| [it.voters.clone(), it.outgoing.clone(), it.learners.clone()];
    let set = meta.membership.as_ref().map(|(index, membership)| (*index, sets(membership)));
    (meta.last, set).serialize(to)
}

fn take_plain<'de, D: Deserializer<'de>>(from: D) -> Result<SnapshotMeta, D::Error> {
    let (last, set) = Plain::deserialize(from)?;
    let membership = set.map(|(index, [voters, outgoing, learners])| {
        (index, Membership { outgoing, learners, ..Membership::of_voters(voters) })
    });
    Ok(SnapshotMeta { last, membership })
}
