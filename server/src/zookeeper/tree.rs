//! ZooKeeper's tree, as its own server builds it from a snapshot and the transactions after it.
//!
//! Invariant: the tree is closed under parents and the digest follows from the znodes. Applying is
//! total: a transaction that does not fit the tree is one that a fuzzy snapshot has seen the future
//! of, and does what it does in ZooKeeper (`DataTree.processTxn`), which may be nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use zokor_core::id::SessionId;
use zokor_core::proto::{Acl, AclList, Id, Permissions, name_of, parent_of};
use zokor_core::tree::{Kind, StoredStat};

use super::checksum::node_digest;
use super::txn::{Header, Made, Txn};

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its data; null and empty are different.
    pub data: Option<Bytes>,
    /// Its ACL.
    pub acl: AclList,
    /// Its numbers, as they are stored.
    pub stat: StoredStat,
}

/// All znodes by their paths; the root is `/`. Parents stand before their children.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<Arc<str>, Node>,
    ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    digest: u64,
}

impl Tree {
    /// Not even a root.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of a server that never had a snapshot.
    pub fn fresh() -> Self {
        let mut tree = Tree::new();
        tree.add_reserved();
        tree
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many znodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The znode at `path`.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Every znode, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.nodes.iter()
    }

    /// ZooKeeper's digest of the tree, of version 2.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The sessions that own ephemeral znodes.
    pub fn owners(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// The ephemeral znodes of a session.
    pub fn ephemerals(&self, owner: SessionId) -> impl Iterator<Item = &Arc<str>> {
        self.ephemerals.get(&owner).into_iter().flatten()
    }

    /// Takes in a znode of a snapshot. An `Err` says why it cannot be.
    pub(super) fn load(&mut self, path: &str, node: Node) -> Result<(), String> {
        let has_place = match parent_key(path) {
            None => path == "/" && self.nodes.is_empty(),
            Some(parent) => self.nodes.contains_key(parent) && !self.nodes.contains_key(path),
        };
        if !has_place {
            return Err(format!("the znode {path:?} has no parent before it, or comes twice"));
        }
        self.insert(path, node);
        Ok(())
    }

    /// Does what a transaction did.
    pub fn apply(&mut self, header: &Header, txn: &Txn) {
        match txn {
            Txn::Create(made) => self.create(header, made),
            Txn::Delete(path) => self.delete(path, header.zxid),
            Txn::SetData { path, data, version } => self.change(path, |node| {
                node.data.clone_from(data);
                node.stat.version = *version;
                node.stat.mzxid = header.zxid;
                node.stat.mtime = header.time;
            }),
            Txn::SetAcl { path, acl, version } => self.change(path, |node| {
                node.acl = Arc::clone(acl);
                node.stat.aversion = *version;
            }),
            Txn::CloseSession(paths) => {
                for path in paths {
                    self.delete(path, header.zxid);
                }
                self.end_session(SessionId(header.session), header.zxid);
            }
            Txn::Multi(txns) => txns.iter().for_each(|txn| self.apply(header, txn)),
            Txn::CreateSession { .. } | Txn::Nothing => {}
        }
    }

    /// Takes away what a session still owns, as at `zxid`.
    pub fn end_session(&mut self, session: SessionId, zxid: i64) {
        let own: Vec<_> = self.ephemerals(session).cloned().collect();
        for path in own {
            self.delete(&path, zxid);
        }
    }

    /// Makes what is reserved and not there: snapshots of 3.4 have no `/zookeeper/config`.
    pub fn add_reserved(&mut self) {
        for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
            if self.nodes.contains_key(path) {
                continue;
            }
            let is_config = path == "/zookeeper/config";
            let permissions = if is_config { Permissions::READ } else { Permissions::ALL };
            let acl = AclList::from([Acl { permissions, id: Id::new("world", "anyone") }]);
            // The ACL is set at "version -1", which is stored.
            let aversion = if is_config { -1 } else { 0 };
            let stat = StoredStat { aversion, ..StoredStat::default() };
            self.insert(path, Node { data: Some(Bytes::new()), acl, stat });
        }
    }

    /// Counts anew what quotas are about: servers change that without transactions.
    pub fn count_quotas(&mut self) {
        let limits: Vec<String> = below(&self.nodes, QUOTA)
            .filter_map(|(path, _)| path.strip_suffix(LIMITS)?.strip_prefix(QUOTA))
            .filter(|prefix| !prefix.is_empty())
            .map(str::to_owned)
            .collect();
        for prefix in limits {
            let own = self.nodes.get_key_value(&*prefix);
            let counted = own.into_iter().chain(below(&self.nodes, &prefix));
            let (mut n_znodes, mut n_bytes) = (0u64, 0u64);
            for (_, node) in counted {
                n_znodes += 1;
                n_bytes += node.data.as_ref().map_or(0, |data| data.len() as u64);
            }
            let text = format!("count={n_znodes},bytes={n_bytes}");
            self.change(&format!("{QUOTA}{prefix}{STATS}"), |node| node.data = Some(text.into()));
        }
    }

    /// Gives TTL znodes of 3.5.3 the mark of later releases; how many there were. It wrote them
    /// with the mark of a container and the time to live below it, which elsewhere is a session's
    /// id.
    pub fn mark_ttl_of_353(&mut self) -> usize {
        let owners: Vec<_> = self.owners().filter(|owner| is_ttl_of_353(*owner)).collect();
        let mut n_marked = 0;
        for owner in owners {
            let paths = self.ephemerals.remove(&owner).unwrap_or_default();
            let mark = Kind::Ttl { ttl_ms: owner.0 & Kind::MAX_TTL_MS }.to_owner();
            for path in &paths {
                self.change(path, |node| node.stat.ephemeral_owner = mark);
            }
            n_marked += paths.len();
        }
        n_marked
    }

    fn create(&mut self, header: &Header, made: &Made) {
        let path = &*made.path;
        let Some(parent) = parent_key(path) else { return };
        let Some(found) = self.nodes.get(parent) else { return };
        let known = found.stat.cversion;
        let counted = made.parent_cversion.unwrap_or_else(|| known.wrapping_add(1));
        if counted > known {
            self.change(parent, |node| {
                node.stat.cversion = counted;
                node.stat.pzxid = header.zxid;
            });
        }
        if self.nodes.contains_key(path) {
            self.change(path, |node| node.acl = Arc::clone(&made.acl));
            return;
        }
        let stat = StoredStat {
            czxid: header.zxid,
            mzxid: header.zxid,
            pzxid: header.zxid,
            ctime: header.time,
            mtime: header.time,
            ephemeral_owner: made.owner,
            ..StoredStat::default()
        };
        let (data, acl) = (made.data.clone(), Arc::clone(&made.acl));
        self.insert(path, Node { data, acl, stat });
    }

    /// Takes away a znode with all that is below it: what a fuzzy snapshot knows of there belongs
    /// to a later znode of the same name, and will be made again with that.
    fn delete(&mut self, path: &str, zxid: i64) {
        let Some(parent) = parent_key(path) else { return };
        if !self.nodes.contains_key(parent) {
            return;
        }
        self.change(parent, |node| node.stat.pzxid = node.stat.pzxid.max(zxid));
        let own = self.nodes.get_key_value(path).into_iter();
        let gone: Vec<_> =
            own.chain(below(&self.nodes, path)).map(|(path, _)| Arc::clone(path)).collect();
        for path in gone {
            self.remove(&path);
        }
    }

    fn insert(&mut self, path: &str, node: Node) {
        let path: Arc<str> = path.into();
        self.digest =
            self.digest.wrapping_add(node_digest(&path, node.data.as_deref(), &node.stat));
        if let Kind::Ephemeral(owner) = Kind::of(node.stat.ephemeral_owner) {
            self.ephemerals.entry(owner).or_default().insert(Arc::clone(&path));
        }
        self.nodes.insert(path, node);
    }

    fn remove(&mut self, path: &str) {
        let Some(node) = self.nodes.remove(path) else { return };
        self.digest = self.digest.wrapping_sub(node_digest(path, node.data.as_deref(), &node.stat));
        if let Kind::Ephemeral(owner) = Kind::of(node.stat.ephemeral_owner)
            && let Some(paths) = self.ephemerals.get_mut(&owner)
        {
            paths.remove(path);
            if paths.is_empty() {
                self.ephemerals.remove(&owner);
            }
        }
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Node)) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        let before = node_digest(path, node.data.as_deref(), &node.stat);
        change(node);
        let after = node_digest(path, node.data.as_deref(), &node.stat);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }
}

/// What is below `path`, itself not included.
fn below<'a>(
    nodes: &'a BTreeMap<Arc<str>, Node>,
    path: &str,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Node)> + use<'a> {
    let prefix = format!("{path}/");
    let bounds = (Bound::Excluded(prefix.as_str()), Bound::Unbounded);
    let found = nodes.range::<str, _>(bounds);
    found.take_while(move |(path, _)| path.starts_with(&prefix))
}

/// Under which path the parent stands; `None` for the root, and for what is no path.
fn parent_key(path: &str) -> Option<&str> {
    let is_path = path.starts_with('/') && !name_of(path).is_empty() && !path.contains("//");
    let parent = parent_of(path).filter(|_| is_path)?;
    Some(if parent.is_empty() { "/" } else { parent })
}

/// Whether an owner without a session may be a TTL znode's mark of 3.5.3.
pub(super) fn is_ttl_of_353(owner: SessionId) -> bool {
    let owner = owner.0 as u64;
    owner >> 40 == 0x80_0000 && owner & 0xff_ffff_ffff != 0
}

const QUOTA: &str = "/zookeeper/quota";
const LIMITS: &str = "/zookeeper_limits";
const STATS: &str = "/zookeeper_stats";
