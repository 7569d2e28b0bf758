//! An image as a row of chunks.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use zokor_core::db::{Image, ImageBuilder, ImageNode, SessionRecord, StoredStat};
use zokor_core::id::{Nonce, Sequence, SessionId, Token};
use zokor_core::proto::{AclList, Text, Zxid};

use super::WireError;

#[derive(Serialize, Deserialize)]
#[allow(clippy::type_complexity)] // Stands in.
struct Whole {
    zxid: Zxid,
    digest: u64,
    nodes: Vec<(Text, Option<Bytes>, AclList, [i64; 6], [i32; 3])>,
    sessions: Vec<(SessionId, [u8; 16], i32, Token, Sequence, Nonce)>,
    last_ids: Vec<(u8, SessionId)>,
}

/// Cuts an image into chunks.
pub struct ImageEncoder {
    rest: Bytes,
}

impl ImageEncoder {
    /// The chunks of `image`.
    pub fn new(image: &Image) -> Self {
        let nodes = image.nodes().map(|node| {
            let s = node.stat;
            let longs = [s.czxid, s.mzxid, s.ctime, s.mtime, s.ephemeral_owner, s.pzxid];
            (node.path, node.data, node.acl, longs, [s.version, s.cversion, s.aversion])
        });
        let sessions = image
            .sessions()
            .map(|s| (s.id, s.password, s.timeout_ms, s.token, s.sequence, s.nonce));
        let whole = Whole {
            zxid: image.zxid(),
            digest: image.digest(),
            nodes: nodes.collect(),
            sessions: sessions.collect(),
            last_ids: image.last_session_ids().iter().map(|(a, b)| (*a, *b)).collect(),
        };
        ImageEncoder { rest: bincode::serialize(&whole).expect("memory takes it").into() }
    }
}

impl Iterator for ImageEncoder {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let n = self.rest.len().min(4096);
        (n > 0).then(|| self.rest.split_to(n))
    }
}

/// Puts chunks together again.
#[derive(Default)]
pub struct ImageDecoder {
    bytes: BytesMut,
}

impl ImageDecoder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next chunk.
    ///
    /// # Errors
    /// If it cannot follow.
    pub fn feed(&mut self, chunk: Bytes) -> Result<(), WireError> {
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    /// The image.
    ///
    /// # Errors
    /// If the chunks are not one.
    pub fn finish(self) -> Result<Image, WireError> {
        let whole: Whole =
            bincode::deserialize(&self.bytes).map_err(|error| WireError(error.to_string()))?;
        let mut image = ImageBuilder::new();
        let wrong = |error: zokor_core::db::ImageError| WireError(error.to_string());
        for (path, data, acl, l, i) in whole.nodes {
            let stat = StoredStat {
                czxid: l[0],
                mzxid: l[1],
                ctime: l[2],
                mtime: l[3],
                version: i[0],
                cversion: i[1],
                aversion: i[2],
                ephemeral_owner: l[4],
                pzxid: l[5],
            };
            image.node(ImageNode { path, data, acl, stat }).map_err(wrong)?;
        }
        for (id, password, timeout_ms, token, sequence, nonce) in whole.sessions {
            let session = SessionRecord { id, password, timeout_ms, token, sequence, nonce };
            image.session(session).map_err(wrong)?;
        }
        for (prefix, last) in whole.last_ids {
            image.last_session_id(prefix, last);
        }
        image.finish(whole.zxid, whole.digest).map_err(wrong)
    }
}
