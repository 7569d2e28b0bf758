//! What is known of the tree without walking it: counts, digest, who owns what, what may be reaped.
//!
//! Invariant: everything here follows from the znodes alone. The tree takes a znode out before it
//! changes it and puts it back in afterwards, so undoing a change undoes the tally as well.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::znode::{Kind, Znode};
use crate::id::SessionId;
use crate::time::WallTime;

/// Sums and orders over all znodes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    extended_types: bool,
    /// The wrapping sum of all znodes' digests.
    pub(super) digest: u64,
    /// As ZooKeeper counts: data, and paths in UTF-16 units; the root stands in its table twice.
    pub(super) data_bytes: u64,
    pub(super) n_ephemerals: u64,
    ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    /// Empty containers and TTL znodes by the time after which they may go.
    due: BTreeSet<(i64, Arc<str>)>,
}

impl Tally {
    pub(super) fn new(extended_types: bool) -> Self {
        Tally { extended_types, ..Tally::default() }
    }

    pub(super) fn extended_types(&self) -> bool {
        self.extended_types
    }

    /// Counts a znode that came into the tree.
    pub(super) fn arrive(&mut self, znode: &Znode) {
        self.put(znode);
        if let Kind::Ephemeral(owner) = znode.kind(self.extended_types) {
            let new = self.ephemerals.entry(owner).or_default().insert(Arc::clone(&znode.path));
            assert!(new, "an ephemeral znode came twice");
            self.n_ephemerals += 1;
        }
    }

    /// Counts out a znode that leaves the tree.
    pub(super) fn leave(&mut self, znode: &Znode) {
        self.take(znode);
        if let Kind::Ephemeral(owner) = znode.kind(self.extended_types) {
            let paths = self.ephemerals.get_mut(&owner).expect("it was counted as it came");
            assert!(paths.remove(&*znode.path), "it was counted as it came");
            if paths.is_empty() {
                self.ephemerals.remove(&owner);
            }
            self.n_ephemerals -= 1;
        }
    }

    /// Puts a znode back in after a change. Its path and owner never change.
    pub(super) fn put(&mut self, znode: &Znode) {
        self.digest = self.digest.wrapping_add(znode.digest());
        self.data_bytes += size(znode);
        if let Some(due) = due(znode, self.extended_types) {
            self.due.insert((due, Arc::clone(&znode.path)));
        }
    }

    /// Takes a znode out before a change.
    pub(super) fn take(&mut self, znode: &Znode) {
        self.digest = self.digest.wrapping_sub(znode.digest());
        self.data_bytes -= size(znode);
        if let Some(due) = due(znode, self.extended_types) {
            self.due.remove(&(due, Arc::clone(&znode.path)));
        }
    }

    /// The ephemeral znodes of a session whose paths begin with `prefix`, ascending.
    pub(super) fn ephemerals<'a>(
        &'a self,
        owner: SessionId,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        let bounds = (Bound::Included(prefix), Bound::Unbounded);
        let paths = self.ephemerals.get(&owner).into_iter();
        let paths = paths.flat_map(move |paths| paths.range::<str, _>(bounds));
        paths.take_while(move |path| path.starts_with(prefix))
    }

    /// Every owner of ephemeral znodes, ascending.
    pub(super) fn owners(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// What may go at `now`, longest overdue first.
    pub(super) fn due(&self, now: WallTime) -> impl Iterator<Item = &Arc<str>> {
        self.due.iter().take_while(move |(due, _)| *due < now.0).map(|(_, path)| path)
    }
}

/// The last millisecond that an empty container or TTL znode has a right to; `None` for all others.
/// A container that never had a child stays (ZooKeeper 3.9: `ContainerManager.getCandidates`).
pub(super) fn due(znode: &Znode, extended_types: bool) -> Option<i64> {
    if znode.children.is_some() {
        return None;
    }
    match znode.kind(extended_types) {
        Kind::Container => (znode.stat.cversion != 0).then_some(i64::MIN),
        Kind::Ttl { ttl_ms } => Some(znode.stat.mtime.saturating_add(ttl_ms)),
        Kind::Persistent | Kind::Ephemeral(_) => None,
    }
}

fn size(znode: &Znode) -> u64 {
    let data = znode.data.as_ref().map_or(0, |data| data.len() as u64);
    if &*znode.path == "/" {
        // ZooKeeper keeps the root under "" and under "/".
        return 2 * data + 1;
    }
    let path: usize = znode.path.chars().map(char::len_utf16).sum();
    data + path as u64
}
