//! One znode: its numbers as they are stored and as clients see them, and the kinds of znodes.
//!
//! Invariant: the kind of a znode is read off its stored owner (`EphemeralType` in ZooKeeper), so
//! that it needs no field of its own, and off nothing else: no setting makes another kind of it.
//! Rules of the numbers: `DataTree`, `DataNode.copyStat`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::acl::SharedAcl;
use super::children::Children;
use crate::cell::{Cell, SharedData};
use crate::id::SessionId;
use crate::proto::{AclList, Id, Permissions, Stat, Zxid};
use crate::time::WallTime;

/// A znode's numbers as they are stored, not as clients see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStat {
    /// The zxid that created the znode.
    pub czxid: i64,
    /// The zxid that last set its data.
    pub mzxid: i64,
    /// When it was created, in milliseconds since the Unix epoch.
    pub ctime: i64,
    /// When its data was last set, likewise.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How often children were created; clients see twice this, less the number of children.
    pub cversion: i32,
    /// How often its ACL was set.
    pub aversion: i32,
    /// The owner in ZooKeeper's encoding: 0, a session, or a container's or TTL znode's mark.
    pub ephemeral_owner: i64,
    /// The zxid that last created or deleted a child.
    pub pzxid: i64,
}

impl StoredStat {
    /// The numbers of a znode created at `zxid`.
    pub fn created(zxid: Zxid, time: WallTime, owner: i64) -> Self {
        StoredStat {
            czxid: zxid.0,
            mzxid: zxid.0,
            pzxid: zxid.0,
            ctime: time.0,
            mtime: time.0,
            ephemeral_owner: owner,
            ..StoredStat::default()
        }
    }
}

/// What a znode is, by its stored owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stays until deleted.
    Persistent,
    /// Goes with its session; never has children.
    Ephemeral(SessionId),
    /// Goes once its last child has gone.
    Container,
    /// Goes when it has no children and its data was not set for this long.
    Ttl {
        /// From 1 to [`Kind::MAX_TTL_MS`].
        ttl_ms: i64,
    },
}

impl Kind {
    /// The longest time to live, about 34.8 years: forty bits of the stored owner hold it.
    pub const MAX_TTL_MS: i64 = 0xff_ffff_ffff;
    const CONTAINER: i64 = i64::MIN;
    const TTL_MARK: i64 = 0xff << 56;

    /// The kind behind a stored owner. A TTL znode has its mark in the uppermost byte, sixteen bits
    /// of zeros, and a time to live; all other owners that begin like a mark are sessions of a
    /// server whose id ends in 255.
    pub fn of(owner: i64) -> Kind {
        let ttl_ms = owner & Self::MAX_TTL_MS;
        if owner == 0 {
            Kind::Persistent
        } else if owner == Self::CONTAINER {
            Kind::Container
        } else if ttl_ms != 0 && owner == Self::TTL_MARK | ttl_ms {
            Kind::Ttl { ttl_ms }
        } else {
            Kind::Ephemeral(SessionId(owner))
        }
    }

    /// The owner to be stored for a znode of this kind.
    pub fn to_owner(self) -> i64 {
        match self {
            Kind::Persistent => 0,
            Kind::Ephemeral(session) => session.0,
            Kind::Container => Self::CONTAINER,
            Kind::Ttl { ttl_ms } => {
                assert!((1..=Self::MAX_TTL_MS).contains(&ttl_ms), "ttl {ttl_ms} is checked before");
                Self::TTL_MARK | ttl_ms
            }
        }
    }
}

/// One znode of the tree.
///
/// Most are made once and never changed: what they need is here, and in one piece of memory for
/// path and data.
#[derive(Clone, Debug)]
pub struct Znode {
    cell: Cell,
    acl: Arc<SharedAcl>,
    czxid: i64,
    ctime: i64,
    /// `None` of one that was never set, has no owner and never had a child.
    more: Option<triomphe::Arc<More>>,
}

/// What not every znode has.
#[derive(Clone, Debug, Default)]
struct More {
    mzxid: i64,
    mtime: i64,
    pzxid: i64,
    ephemeral_owner: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    /// The hash of path, data and ACL, so that a change of the numbers need not read the data
    /// again.
    body: u64,
    /// `None` if it has none.
    children: Option<Arc<Children>>,
}

impl Znode {
    /// One without children.
    pub(super) fn new(cell: Cell, acl: Arc<SharedAcl>, stat: &StoredStat) -> Self {
        let StoredStat { czxid, ctime, .. } = *stat;
        let mut znode = Znode { cell, acl, czxid, ctime, more: None };
        if *stat != StoredStat::created(Zxid(czxid), WallTime(ctime), 0) {
            znode.set_stat(stat);
        }
        znode
    }

    /// Where; the root is `/`.
    pub fn path(&self) -> &str {
        self.cell.path()
    }

    /// The path, for comparisons.
    pub(super) fn path_bytes(&self) -> &[u8] {
        self.cell.path_bytes()
    }

    /// Path and data.
    pub(crate) fn cell(&self) -> &Cell {
        &self.cell
    }

    /// Null and empty are different.
    pub fn data(&self) -> Option<&[u8]> {
        self.cell.data()
    }

    /// The same, to be kept.
    pub fn shared_data(&self) -> Option<SharedData> {
        SharedData::of(&self.cell)
    }

    /// Shared with every znode that has the same.
    pub fn acl(&self) -> &AclList {
        &self.acl.list
    }

    /// Whether `identities` may do any of `wanted` under its ACL: see [`permits`](super::permits).
    pub fn permits(&self, wanted: Permissions, identities: &[Id]) -> bool {
        self.acl.permits(wanted, identities)
    }

    /// The same as it is shared.
    pub(super) fn shared_acl(&self) -> &Arc<SharedAcl> {
        &self.acl
    }

    /// Its numbers.
    pub fn stat(&self) -> StoredStat {
        let (zxid, time) = (Zxid(self.czxid), WallTime(self.ctime));
        let created = StoredStat::created(zxid, time, 0);
        let Some(more) = &self.more else { return created };
        let More { mzxid, mtime, pzxid, ephemeral_owner, version, cversion, aversion, .. } = **more;
        StoredStat { mzxid, mtime, pzxid, ephemeral_owner, version, cversion, aversion, ..created }
    }

    pub(super) fn set_stat(&mut self, stat: &StoredStat) {
        let StoredStat { czxid, mzxid, ctime, mtime, pzxid, ephemeral_owner, .. } = *stat;
        (self.czxid, self.ctime) = (czxid, ctime);
        let StoredStat { version, cversion, aversion, .. } = *stat;
        let more = self.more_mut();
        (more.mzxid, more.mtime, more.pzxid) = (mzxid, mtime, pzxid);
        (more.version, more.cversion, more.aversion) = (version, cversion, aversion);
        more.ephemeral_owner = ephemeral_owner;
    }

    /// Gives it other data, by a cell with the same path, whose hash is `path_hash`; says what it
    /// was.
    pub(super) fn set_cell(&mut self, cell: Cell, path_hash: u64) -> Cell {
        let before = std::mem::replace(&mut self.cell, cell);
        self.renew_body(path_hash);
        before
    }

    pub(super) fn set_acl(&mut self, acl: Arc<SharedAcl>, path_hash: u64) -> Arc<SharedAcl> {
        let before = std::mem::replace(&mut self.acl, acl);
        self.renew_body(path_hash);
        before
    }

    fn renew_body(&mut self, path_hash: u64) {
        if self.more.is_some() {
            let body = self.hash_body(path_hash);
            self.more_mut().body = body;
        }
    }

    /// What it has beyond the rest, to be changed.
    fn more_mut(&mut self) -> &mut More {
        if self.more.is_none() {
            let StoredStat { mzxid, mtime, pzxid, .. } = self.stat();
            let body = self.hash_body(hash_path(self.path_bytes()));
            self.more =
                Some(triomphe::Arc::new(More { mzxid, mtime, pzxid, body, ..More::default() }));
        }
        triomphe::Arc::make_mut(self.more.as_mut().expect("it was made if there was none"))
    }

    /// Its children; `None` if it has none.
    pub(super) fn children(&self) -> Option<&Children> {
        self.more.as_ref()?.children.as_deref()
    }

    /// Its list of children, to be changed and given back by [`set_children`](Self::set_children).
    pub(super) fn take_children(&mut self) -> Arc<Children> {
        self.more_mut().children.take().unwrap_or_default()
    }

    pub(super) fn set_children(&mut self, children: Arc<Children>) {
        self.more_mut().children = (children.len() > 0).then_some(children);
    }

    /// How many direct children it has.
    pub fn n_children(&self) -> usize {
        self.children().map_or(0, Children::len)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        Kind::of(self.more.as_ref().map_or(0, |more| more.ephemeral_owner))
    }

    /// What clients see.
    pub fn to_stat(&self) -> Stat {
        let n_children = i32::try_from(self.n_children()).unwrap_or(i32::MAX);
        let stored = self.stat();
        Stat {
            czxid: stored.czxid,
            mzxid: stored.mzxid,
            ctime: stored.ctime,
            mtime: stored.mtime,
            version: stored.version,
            // Creations and deletions: each child that is still there was created only.
            cversion: stored.cversion.wrapping_mul(2).wrapping_sub(n_children),
            aversion: stored.aversion,
            ephemeral_owner: match self.kind() {
                Kind::Ephemeral(session) => session.0,
                Kind::Persistent | Kind::Container | Kind::Ttl { .. } => 0,
            },
            data_length: self
                .data()
                .map_or(0, |data| i32::try_from(data.len()).unwrap_or(i32::MAX)),
            num_children: n_children,
            pzxid: stored.pzxid,
        }
    }

    /// Its part of the tree's digest: everything but the children, which are znodes themselves.
    /// `path_hash` is the hash of its path, which all have who ask.
    pub(super) fn digest(&self, path_hash: u64) -> u64 {
        let stat = self.stat();
        let longs = [
            self.more.as_ref().map_or_else(|| self.hash_body(path_hash), |more| more.body),
            stat.czxid as u64,
            stat.mzxid as u64,
            stat.ctime as u64,
            stat.mtime as u64,
            stat.pzxid as u64,
            stat.ephemeral_owner as u64,
            u64::from(stat.version as u32) << 32 | u64::from(stat.cversion as u32),
            u64::from(stat.aversion as u32),
        ];
        let mut bytes = [0; 72];
        for (place, long) in bytes.chunks_exact_mut(8).zip(longs) {
            place.copy_from_slice(&long.to_le_bytes());
        }
        xxh3_64(&bytes)
    }

    /// A hash of path, data and ACL.
    fn hash_body(&self, path_hash: u64) -> u64 {
        let data = self.data();
        let parts = [path_hash, u64::from(data.is_some()), data.map_or(0, xxh3_64), self.acl.hash];
        let mut bytes = [0; 32];
        for (place, part) in bytes.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        xxh3_64(&bytes)
    }
}

/// The hash of a path: finds the znode, and has its part in the digest.
pub(super) fn hash_path(path: &[u8]) -> u64 {
    xxh3_64(path)
}

/// The version after `version`: it wraps, and leaves out -1, which asks for no check.
pub fn next_version(version: i32) -> i32 {
    match version.wrapping_add(1) {
        -1 => 0,
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_encoding() {
        let kinds = [
            Kind::Persistent,
            Kind::Ephemeral(SessionId(0x0100_0000_0000_0001)),
            Kind::Ephemeral(SessionId(i64::MIN + 1)),
            Kind::Container,
            Kind::Ttl { ttl_ms: 1 },
            Kind::Ttl { ttl_ms: Kind::MAX_TTL_MS },
        ];
        for kind in kinds {
            assert_eq!(Kind::of(kind.to_owner()), kind);
        }
        assert_eq!(Kind::Container.to_owner() as u64, 0x8000_0000_0000_0000);
        assert_eq!(Kind::Ttl { ttl_ms: 5 }.to_owner() as u64, 0xff00_0000_0000_0005);
    }

    #[test]
    fn a_session_of_server_255_is_no_ttl_znode() {
        for owner in [0xff99_0000_0000_0005_u64, 0xff00_0000_0000_0000, 0xff00_0100_0000_0000] {
            let owner = owner as i64;
            assert_eq!(Kind::of(owner), Kind::Ephemeral(SessionId(owner)), "{owner:x}");
        }
    }

    #[test]
    fn versions_wrap_and_leave_out_minus_one() {
        for (version, next) in [(0, 1), (i32::MAX, i32::MIN), (-2, 0), (-1, 0), (-3, -2)] {
            assert_eq!(next_version(version), next);
        }
    }
}
