//! An image as bytes: the content of a snapshot file and of a snapshot between servers. It comes in
//! chunks of whole records, each of which is checksummed by whoever stores or sends it. `IMAGE.md`
//! beside this file describes each byte; change both in one commit.
//!
//! Invariant: an image is believed only when its last record has come, and the counts and the
//! digest in it are those of what was built.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use zokor_core::db::{
    Image, ImageBuilder, ImageNode, NewZnode, RestoreFacts, SessionRecord, StoredStat,
};
use zokor_core::id::{Nonce, Sequence, SessionId, Token};
use zokor_core::maybe;
use zokor_core::proto::{AclList, Zxid};

use super::WireError;
use super::compact::{Reader, put_fixed, put_optional_buffer, put_signed, put_text, put_varint};
use super::entry::{put_acl, take_acl};

/// The version in the first record.
pub const VERSION: u8 = 1;

/// A chunk ends with the record that brings it to this many bytes, so it may be longer by one
/// record.
pub const CHUNK_SIZE: usize = 256 << 10;

/// Gives the chunks of an image one after another, so that no more than one is in memory.
pub struct ImageEncoder<'a> {
    image: &'a Image,
    stage: Stage<'a>,
    chunk_size: usize,
    acls: BTreeMap<AclList, u64>,
    /// The ACL of the last znode and its number: mostly it is the next one's too.
    last_acl: Option<(AclList, u64)>,
    n_nodes: u64,
    n_sessions: u64,
}

/// Which records come next.
enum Stage<'a> {
    Start,
    Nodes(Box<dyn Iterator<Item = ImageNode> + Send + 'a>),
    Sessions(Box<dyn Iterator<Item = SessionRecord> + Send + 'a>),
    LastIds,
    StagedNodes(Box<dyn Iterator<Item = ImageNode> + Send + 'a>),
    StagedSessions(Box<dyn Iterator<Item = SessionRecord> + Send + 'a>),
    End,
    Done,
}

impl<'a> ImageEncoder<'a> {
    /// Begins with the first chunk of `image`.
    pub fn new(image: &'a Image) -> Self {
        // Legal: a reader takes chunks of any length.
        Self::with_chunk_size(image, if maybe!(SmallChunk) { 64 } else { CHUNK_SIZE })
    }

    fn with_chunk_size(image: &'a Image, chunk_size: usize) -> Self {
        ImageEncoder {
            image,
            stage: Stage::Start,
            chunk_size,
            acls: BTreeMap::new(),
            last_acl: None,
            n_nodes: 0,
            n_sessions: 0,
        }
    }

    /// Appends the next record, or what little there is at once, and moves on.
    fn step(&mut self, out: &mut BytesMut) {
        match &mut self.stage {
            Stage::Start => {
                out.put_slice(&[START, VERSION]);
                put_signed(out, self.image.zxid().0);
                self.stage = Stage::Nodes(Box::new(self.image.nodes()));
            }
            Stage::Nodes(nodes) => match nodes.next() {
                Some(node) => self.put_node(out, NODE, &node),
                None => self.stage = Stage::Sessions(Box::new(self.image.sessions())),
            },
            Stage::Sessions(sessions) => match sessions.next() {
                Some(session) => {
                    self.n_sessions += 1;
                    put_session(out, SESSION, &session);
                }
                None => self.stage = Stage::LastIds,
            },
            Stage::LastIds => {
                for (&prefix, last) in self.image.last_session_ids() {
                    out.put_slice(&[LAST_ID, prefix]);
                    put_fixed(out, last.0 as u64);
                }
                self.put_restores(out);
            }
            Stage::StagedNodes(nodes) => match nodes.next() {
                Some(node) => self.put_node(out, STAGED_NODE, &node),
                None => self.stage = Stage::StagedSessions(Box::new(self.image.staged_sessions())),
            },
            Stage::StagedSessions(sessions) => match sessions.next() {
                Some(session) => {
                    self.n_sessions += 1;
                    put_session(out, STAGED_SESSION, &session);
                }
                None => self.stage = Stage::End,
            },
            Stage::End => {
                out.put_u8(END);
                put_varint(out, self.n_nodes);
                put_varint(out, self.n_sessions);
                put_fixed(out, self.image.digest());
                self.stage = Stage::Done;
            }
            Stage::Done => {}
        }
    }

    /// What is known of restores; nothing before the first.
    fn put_restores(&mut self, out: &mut BytesMut) {
        let RestoreFacts { begun, done, staged } = self.image.restores();
        self.stage = Stage::End;
        if begun == Token(0) {
            return;
        }
        let Some((number, n_bytes)) = staged else {
            out.put_u8(RESTORES);
            put_signed(out, begun.0);
            put_signed(out, done.0);
            return;
        };
        out.put_u8(RESTORING);
        put_signed(out, begun.0);
        put_signed(out, done.0);
        put_varint(out, number.0);
        put_varint(out, n_bytes);
        self.stage = Stage::StagedNodes(Box::new(self.image.staged_nodes()));
    }

    fn put_node(&mut self, out: &mut BytesMut, kind: u8, node: &ImageNode) {
        let acl = self.acl_number(out, &node.acl);
        self.n_nodes += 1;
        out.put_u8(kind);
        put_text(out, &node.path);
        put_optional_buffer(out, node.data.as_deref());
        put_varint(out, acl);
        put_stat(out, &node.stat);
    }

    /// The number of `acl`; the first time, its record is appended.
    fn acl_number(&mut self, out: &mut BytesMut, acl: &AclList) -> u64 {
        if let Some((last, number)) = &self.last_acl
            && Arc::ptr_eq(last, acl)
        {
            return *number;
        }
        let next = self.acls.len() as u64;
        let number = *self.acls.entry(Arc::clone(acl)).or_insert(next);
        if number == next {
            out.put_u8(ACL);
            put_acl(out, acl);
        }
        self.last_acl = Some((Arc::clone(acl), number));
        number
    }
}

impl Iterator for ImageEncoder<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if matches!(self.stage, Stage::Done) {
            return None;
        }
        let mut out = BytesMut::with_capacity(self.chunk_size + self.chunk_size / 16);
        while out.len() < self.chunk_size && !matches!(self.stage, Stage::Done) {
            self.step(&mut out);
        }
        Some(out.freeze())
    }
}

impl fmt::Debug for ImageEncoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageEncoder")
            .field("zxid", &self.image.zxid())
            .field("n_nodes", &self.n_nodes)
            .field("n_sessions", &self.n_sessions)
            .finish_non_exhaustive()
    }
}

/// Builds an image chunk by chunk. It holds what it has built and the chunks that this refers to.
#[derive(Debug, Default)]
pub struct ImageDecoder {
    builder: ImageBuilder,
    acls: Vec<AclList>,
    n_nodes: u64,
    n_sessions: u64,
    last_prefix: Option<u8>,
    knows_restores: bool,
    zxid: Option<Zxid>,
    digest: Option<u64>,
}

impl ImageDecoder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// If it does not hold whole records, in the order in which they belong. What came before is
    /// worth nothing then.
    pub fn chunk(&mut self, chunk: Bytes) -> Result<(), WireError> {
        let mut reader = Reader::new(chunk);
        while reader.left() > 0 {
            self.record(&mut reader)?;
        }
        Ok(())
    }

    /// Whether the last record has come.
    pub fn is_whole(&self) -> bool {
        self.digest.is_some()
    }

    /// The image, after the last chunk.
    ///
    /// # Errors
    /// If the last record is missing, or what came does not make a state of this digest.
    pub fn finish(self) -> Result<Image, WireError> {
        let (Some(zxid), Some(digest)) = (self.zxid, self.digest) else {
            return Err(WireError::Misplaced { what: "end of the chunks" });
        };
        Ok(self.builder.finish(zxid, digest)?)
    }

    fn record(&mut self, reader: &mut Reader) -> Result<(), WireError> {
        let offset = reader.offset();
        let kind = reader.byte("kind of record")?;
        let is_start = kind == START;
        if self.is_whole() || is_start == self.zxid.is_some() {
            return Err(WireError::Misplaced { what: "record of an image" });
        }
        match kind {
            START => self.start(reader),
            ACL => {
                self.acls.push(take_acl(reader)?);
                Ok(())
            }
            NODE | STAGED_NODE => self.node(reader, kind),
            RESTORES | RESTORING => self.restores(reader, kind),
            SESSION => {
                self.n_sessions += 1;
                Ok(self.builder.session(take_session(reader)?)?)
            }
            STAGED_SESSION => {
                self.n_sessions += 1;
                Ok(self.builder.staged_session(take_session(reader)?)?)
            }
            LAST_ID => {
                let prefix = reader.byte("prefix of session ids")?;
                if self.last_prefix.is_some_and(|last| prefix <= last) {
                    return Err(WireError::Misplaced { what: "last session id" });
                }
                self.last_prefix = Some(prefix);
                let last = SessionId(reader.fixed("last session id")? as i64);
                self.builder.last_session_id(prefix, last);
                Ok(())
            }
            END => self.end(reader),
            kind => {
                let found = i64::from(kind);
                Err(WireError::Value { what: "kind of record", offset, found })
            }
        }
    }

    fn start(&mut self, reader: &mut Reader) -> Result<(), WireError> {
        let version = reader.byte("version")?;
        if version != VERSION {
            let (found, known) = (u32::from(version), u32::from(VERSION));
            return Err(WireError::Version { what: "image", found, known });
        }
        self.zxid = Some(Zxid(reader.signed("zxid")?));
        Ok(())
    }

    fn restores(&mut self, reader: &mut Reader, kind: u8) -> Result<(), WireError> {
        if std::mem::replace(&mut self.knows_restores, true) {
            return Err(WireError::Misplaced { what: "restores" });
        }
        let begun = Token(reader.signed("begin of a restore")?);
        let done = Zxid(reader.signed("zxid of a restore")?);
        let staged = match kind {
            RESTORING => Some((
                Sequence(reader.varint("number of a step")?),
                reader.varint("size of a restore")?,
            )),
            _ => None,
        };
        Ok(self.builder.restores(RestoreFacts { begun, done, staged })?)
    }

    fn node(&mut self, reader: &mut Reader, kind: u8) -> Result<(), WireError> {
        let start = reader.offset();
        let path = reader.span("path")?;
        let data = reader.optional_span("data")?;
        let offset = reader.offset();
        let number = reader.varint("number of an acl")?;
        let acl = usize::try_from(number).ok().and_then(|number| self.acls.get(number));
        let Some(acl) = acl else {
            let found = i64::try_from(number).unwrap_or(i64::MAX);
            return Err(WireError::Value { what: "number of an acl", offset, found });
        };
        let stat = take_stat(reader)?;
        self.n_nodes += 1;
        let path = std::str::from_utf8(reader.at(path))
            .map_err(|_| WireError::Text { what: "path", offset: start })?;
        let data = data.map(|data| reader.at(data));
        let znode = NewZnode { data, acl, stat: &stat };
        match kind {
            STAGED_NODE => self.builder.put_staged(path, znode)?,
            _ => self.builder.put(path, znode)?,
        }
        Ok(())
    }

    fn end(&mut self, reader: &mut Reader) -> Result<(), WireError> {
        let offset = reader.offset();
        for (what, counted) in
            [("number of znodes", self.n_nodes), ("number of sessions", self.n_sessions)]
        {
            let found = reader.varint(what)?;
            if found != counted {
                let found = i64::try_from(found).unwrap_or(i64::MAX);
                return Err(WireError::Value { what, offset, found });
            }
        }
        self.digest = Some(reader.fixed("digest")?);
        Ok(())
    }
}

/// Appends the numbers of a znode: shared with the encoding of entries.
pub(super) fn put_stat(out: &mut BytesMut, stat: &StoredStat) {
    for number in [stat.czxid, stat.mzxid, stat.ctime, stat.mtime] {
        put_signed(out, number);
    }
    for number in [stat.version, stat.cversion, stat.aversion] {
        put_signed(out, i64::from(number));
    }
    put_signed(out, stat.ephemeral_owner);
    put_signed(out, stat.pzxid);
}

/// The numbers of a znode.
pub(super) fn take_stat(reader: &mut Reader) -> Result<StoredStat, WireError> {
    Ok(StoredStat {
        czxid: reader.signed("czxid")?,
        mzxid: reader.signed("mzxid")?,
        ctime: reader.signed("ctime")?,
        mtime: reader.signed("mtime")?,
        version: reader.signed32("version")?,
        cversion: reader.signed32("cversion")?,
        aversion: reader.signed32("aversion")?,
        ephemeral_owner: reader.signed("ephemeral owner")?,
        pzxid: reader.signed("pzxid")?,
    })
}

fn put_session(out: &mut BytesMut, kind: u8, session: &SessionRecord) {
    out.put_u8(kind);
    put_fixed(out, session.id.0 as u64);
    out.put_slice(&session.password);
    put_signed(out, i64::from(session.timeout_ms));
    put_signed(out, session.token.0);
    put_varint(out, session.sequence.0);
    put_fixed(out, session.nonce.0);
}

fn take_session(reader: &mut Reader) -> Result<SessionRecord, WireError> {
    Ok(SessionRecord {
        id: SessionId(reader.fixed("session")? as i64),
        password: reader.array("password")?,
        timeout_ms: reader.signed32("session timeout")?,
        token: Token(reader.signed("token")?),
        sequence: Sequence(reader.varint("sequence")?),
        nonce: Nonce(reader.fixed("nonce")?),
    })
}

const START: u8 = 1;
const ACL: u8 = 2;
const NODE: u8 = 3;
const SESSION: u8 = 4;
const LAST_ID: u8 = 5;
const END: u8 = 6;
const RESTORES: u8 = 7;
const RESTORING: u8 = 8;
const STAGED_NODE: u8 = 9;
const STAGED_SESSION: u8 = 10;

#[cfg(test)]
mod tests;
