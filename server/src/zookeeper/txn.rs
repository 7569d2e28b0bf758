//! One transaction of a log, as bytes.

use bytes::Bytes;
use zokor_core::proto::{AclList, Text};
use zokor_core::tree::Kind;
use zokor_net::wire::WireError;
use zokor_net::wire::jute::Reader;

use super::checksum::DIGEST_VERSION;

/// What every transaction begins with (`TxnHeader`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose it is.
    pub session: i64,
    /// The client's own number for it.
    pub cxid: i32,
    /// Its number.
    pub zxid: i64,
    /// When the leader took it up, in milliseconds since the Unix epoch.
    pub time: i64,
    /// ZooKeeper's opcode.
    pub kind: i32,
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn {
    /// A session begins.
    CreateSession {
        /// In milliseconds.
        timeout_ms: i32,
    },
    /// A session ends; these are its ephemeral znodes, as far as the leader wrote them down.
    CloseSession(Vec<Text>),
    /// A znode is made.
    Create(Made),
    /// A znode goes.
    Delete(Text),
    /// A znode's data are set.
    SetData {
        /// Which.
        path: Text,
        /// To what.
        data: Option<Bytes>,
        /// The version that it has from now on.
        version: i32,
    },
    /// A znode's ACL is set.
    SetAcl {
        /// Which.
        path: Text,
        /// To what.
        acl: AclList,
        /// The ACL's version from now on.
        version: i32,
    },
    /// Several at once.
    Multi(Vec<Txn>),
    /// A failure, a check, or a multi of which one part has failed: only its number counts.
    Nothing,
}

/// A znode that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where.
    pub path: Text,
    /// Its data.
    pub data: Option<Bytes>,
    /// Its ACL.
    pub acl: AclList,
    /// The owner as it is stored.
    pub owner: i64,
    /// The parent's count of children ever made, this one included; `None` if the release before
    /// 3.4 that wrote it did not say.
    pub parent_cversion: Option<i32>,
}

/// The digest of the tree after a transaction.
pub type TxnDigest = u64;

/// Decodes header, record and, if it is there and of the version known here, digest.
///
/// # Errors
/// If the bytes are not one transaction, or of a kind that no log may hold.
pub fn decode(bytes: Bytes) -> Result<(Header, Txn, Option<TxnDigest>), WireError> {
    let limit = bytes.len();
    let mut reader = Reader::new(bytes, limit);
    let header = Header {
        session: reader.long("session")?,
        cxid: reader.int("cxid")?,
        zxid: reader.long("zxid")?,
        time: reader.long("time")?,
        kind: reader.int("type")?,
    };
    let txn = record(&mut reader, header.kind, header.session, Place::Top)?;
    let digest = if reader.left() == DIGEST_BYTES {
        let version = reader.int("digest version")?;
        let digest = reader.long("digest")? as u64;
        (version == DIGEST_VERSION).then_some(digest)
    } else {
        None
    };
    match reader.left() {
        0 => Ok((header, txn, digest)),
        left => Err(WireError::Trailing { what: "transaction", offset: reader.offset(), left }),
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Top,
    InMulti,
}

fn record(reader: &mut Reader, kind: i32, session: i64, place: Place) -> Result<Txn, WireError> {
    let is_top = place == Place::Top;
    Ok(match kind {
        CREATE | CREATE2 => create(reader, session, place)?,
        CREATE_CONTAINER | CREATE_TTL => {
            let (path, data, acl) = created(reader)?;
            let parent_cversion = Some(reader.int("parent cversion")?);
            let offset = reader.offset();
            let kind = match kind {
                CREATE_TTL => Kind::Ttl { ttl_ms: reader.long("ttl")? },
                _ => Kind::Container,
            };
            if let Kind::Ttl { ttl_ms: found } = kind
                && !(1..=Kind::MAX_TTL_MS).contains(&found)
            {
                return Err(WireError::Value { what: "ttl", offset, found });
            }
            Txn::Create(Made { path, data, acl, owner: kind.to_owner(), parent_cversion })
        }
        DELETE | DELETE_CONTAINER => Txn::Delete(text(reader, "path")?),
        SET_DATA | RECONFIG => {
            let path = text(reader, "path")?;
            let data = reader.buffer("data")?;
            Txn::SetData { path, data, version: reader.int("version")? }
        }
        CHECK => {
            text(reader, "path")?;
            reader.int("version")?;
            Txn::Nothing
        }
        ERROR => {
            reader.int("error")?;
            Txn::Nothing
        }
        SET_ACL if is_top => {
            let path = text(reader, "path")?;
            let acl = reader.acl()?.unwrap_or_default().into();
            Txn::SetAcl { path, acl, version: reader.int("version")? }
        }
        CREATE_SESSION if is_top => {
            Txn::CreateSession { timeout_ms: reader.int("session timeout")? }
        }
        CLOSE_SESSION if is_top => close(reader)?,
        MULTI if is_top => multi(reader, session)?,
        found => {
            let (offset, found) = (reader.offset(), i64::from(found));
            return Err(WireError::Value { what: "type of transaction", offset, found });
        }
    })
}

fn create(reader: &mut Reader, session: i64, place: Place) -> Result<Txn, WireError> {
    let (path, data, acl) = created(reader)?;
    let owner = if reader.bool("ephemeral")? { session } else { 0 };
    // Releases before 3.4 did not write it, nor digests.
    let is_old = place == Place::Top && reader.left() == 0;
    let counted = if is_old { -1 } else { reader.int("parent cversion")? };
    let parent_cversion = (counted != -1).then_some(counted);
    Ok(Txn::Create(Made { path, data, acl, owner, parent_cversion }))
}

fn created(reader: &mut Reader) -> Result<(Text, Option<Bytes>, AclList), WireError> {
    let path = text(reader, "path")?;
    let data = reader.buffer("data")?;
    Ok((path, data, reader.acl()?.unwrap_or_default().into()))
}

/// Releases before 3.6, and later ones that are told so, write nothing; a digest may follow even
/// so.
fn close(reader: &mut Reader) -> Result<Txn, WireError> {
    let mut ahead = reader.clone();
    let is_empty = match ahead.left() {
        0 => true,
        // Two paths would not fit.
        DIGEST_BYTES => ahead.int("digest version")? == DIGEST_VERSION,
        _ => false,
    };
    if is_empty {
        return Ok(Txn::CloseSession(Vec::new()));
    }
    let paths = reader.vector("paths", 4, |reader| text(reader, "path"))?;
    Ok(Txn::CloseSession(paths.unwrap_or_default()))
}

fn multi(reader: &mut Reader, session: i64) -> Result<Txn, WireError> {
    const MIN_SIZE: usize = 8;
    let mut has_failed = false;
    let txns = reader.vector("transactions", MIN_SIZE, |reader| {
        let kind = reader.int("type")?;
        let bytes = reader.buffer("transaction")?.unwrap_or_default();
        if kind == ERROR {
            // A server that has applied a multi which failed marks its other parts as failures,
            // too, in memory and without a change to their bytes (`DataTree.processTxn`); so a
            // follower that it brings up to date logs them. What stands there does not matter.
            has_failed = true;
            return Ok(Txn::Nothing);
        }
        let limit = bytes.len();
        let mut part = Reader::new(bytes, limit);
        let txn = record(&mut part, kind, session, Place::InMulti)?;
        match part.left() {
            0 => Ok(txn),
            left => {
                let what = "a part of a multi";
                Err(WireError::Trailing { what, offset: part.offset(), left })
            }
        }
    })?;
    // Parts before the one that failed look like any others.
    Ok(if has_failed { Txn::Nothing } else { Txn::Multi(txns.unwrap_or_default()) })
}

/// A copy, so that no path or ACL keeps its whole transaction in memory.
fn text(reader: &mut Reader, what: &'static str) -> Result<Text, WireError> {
    Ok(Text::from(&*reader.text(what)?))
}

/// Bytes of a digest with its version.
const DIGEST_BYTES: usize = 12;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const SET_DATA: i32 = 5;
const SET_ACL: i32 = 7;
const CHECK: i32 = 13;
const MULTI: i32 = 14;
const CREATE2: i32 = 15;
const RECONFIG: i32 = 16;
const CREATE_CONTAINER: i32 = 19;
const DELETE_CONTAINER: i32 = 20;
const CREATE_TTL: i32 = 21;
const ERROR: i32 = -1;
const CREATE_SESSION: i32 = -10;
const CLOSE_SESSION: i32 = -11;
