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
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// The wrapping sum of all znodes' digests.
    pub(super) digest: u64,
    /// As ZooKeeper counts: data, and paths in UTF-16 units; the root stands in its table twice.
    pub(super) data_bytes: u64,
    pub(super) n_ephemerals: u64,
    ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    /// Empty containers and TTL znodes by the time after which they may go.
    due: BTreeSet<(i64, Arc<str>)>,
    /// Containers that never had a child, by the time at which they were made or last set.
    unused: BTreeSet<(i64, Arc<str>)>,
}

impl Tally {
    /// Counts a znode that came into the tree; `path_hash` is the hash of its path, here and below.
    pub(super) fn arrive(&mut self, znode: &Znode, path_hash: u64) {
        self.put(znode, path_hash);
        self.data_bytes += path_size(znode);
        if let Kind::Ephemeral(owner) = znode.kind() {
            let new = self.ephemerals.entry(owner).or_default().insert(znode.path().into());
            assert!(new, "an ephemeral znode came twice");
            self.n_ephemerals += 1;
        }
    }

    /// Counts out a znode that leaves the tree.
    pub(super) fn leave(&mut self, znode: &Znode, path_hash: u64) {
        self.take(znode, path_hash);
        self.data_bytes -= path_size(znode);
        if let Kind::Ephemeral(owner) = znode.kind() {
            let paths = self.ephemerals.get_mut(&owner).expect("it was counted as it came");
            assert!(paths.remove(znode.path()), "it was counted as it came");
            if paths.is_empty() {
                self.ephemerals.remove(&owner);
            }
            self.n_ephemerals -= 1;
        }
    }

    /// Puts a znode back in after a change. Its path and owner never change.
    pub(super) fn put(&mut self, znode: &Znode, path_hash: u64) {
        self.digest = self.digest.wrapping_add(znode.digest(path_hash));
        self.data_bytes += data_size(znode);
        self.put_due(znode);
    }

    /// Takes a znode out before a change.
    pub(super) fn take(&mut self, znode: &Znode, path_hash: u64) {
        self.digest = self.digest.wrapping_sub(znode.digest(path_hash));
        self.data_bytes -= data_size(znode);
        self.take_due(znode);
    }

    /// [`put`](Self::put), if no more than the list of children was changed.
    pub(super) fn put_due(&mut self, znode: &Znode) {
        match empty(znode) {
            Some(Empty::Since(set)) => self.unused.insert((set, znode.path().into())),
            Some(Empty::Until(due)) => self.due.insert((due, znode.path().into())),
            None => false,
        };
    }

    /// [`take`](Self::take), if no more than the list of children will be changed.
    pub(super) fn take_due(&mut self, znode: &Znode) {
        match empty(znode) {
            Some(Empty::Since(set)) => self.unused.remove(&(set, znode.path().into())),
            Some(Empty::Until(due)) => self.due.remove(&(due, znode.path().into())),
            None => false,
        };
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

    /// All ephemeral znodes by owner and path, ascending, behind `after`.
    pub(super) fn ephemerals_after<'a>(
        &'a self,
        after: Option<(SessionId, &'a str)>,
    ) -> impl Iterator<Item = (SessionId, &'a Arc<str>)> {
        let first = after.map_or(Bound::Unbounded, |(owner, _)| Bound::Included(owner));
        self.ephemerals.range((first, Bound::Unbounded)).flat_map(move |(&owner, paths)| {
            let known = after.filter(|(last, _)| *last == owner);
            let from = known.map_or(Bound::Unbounded, |(_, path)| Bound::Excluded(path));
            paths.range::<str, _>((from, Bound::Unbounded)).map(move |path| (owner, path))
        })
    }

    /// Every owner of ephemeral znodes, ascending.
    pub(super) fn owners(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// What may go at `now`, longest overdue first; then containers that never had a child, if they
    /// have stayed for longer than `unused_ms`, which is 0 if they may stay for ever.
    pub(super) fn due(&self, now: WallTime, unused_ms: i64) -> impl Iterator<Item = &Arc<str>> {
        let due = self.due.iter().take_while(move |(due, _)| *due < now.0);
        let unused = self.unused.iter();
        let unused = unused.take_while(move |(set, _)| is_left_over(*set, now, unused_ms));
        due.chain(unused).map(|(_, path)| path)
    }
}

/// Whether `znode` is a container or TTL znode that may go at `now`; `unused_ms` as for
/// `Tally::due`. Rules: ZooKeeper 3.9, `ContainerManager.getCandidates`.
pub fn is_due(znode: &Znode, now: WallTime, unused_ms: i64) -> bool {
    match empty(znode) {
        Some(Empty::Until(due)) => due < now.0,
        Some(Empty::Since(set)) => is_left_over(set, now, unused_ms),
        None => false,
    }
}

/// What the time of an empty container or TTL znode is counted by.
enum Empty {
    /// It may go after this time.
    Until(i64),
    /// A container that was made or last set at this time, and never had a child.
    Since(i64),
}

/// `None` for all that is neither a container nor a TTL znode, or has children.
fn empty(znode: &Znode) -> Option<Empty> {
    let kind = znode.kind();
    if matches!(kind, Kind::Persistent | Kind::Ephemeral(_)) || znode.n_children() > 0 {
        return None;
    }
    let stat = znode.stat();
    match kind {
        Kind::Container if stat.cversion == 0 => Some(Empty::Since(stat.mtime)),
        Kind::Container => Some(Empty::Until(i64::MIN)),
        Kind::Ttl { ttl_ms } => Some(Empty::Until(stat.mtime.saturating_add(ttl_ms))),
        Kind::Persistent | Kind::Ephemeral(_) => None,
    }
}

fn is_left_over(set: i64, now: WallTime, unused_ms: i64) -> bool {
    unused_ms > 0 && set.saturating_add(unused_ms) < now.0
}

/// ZooKeeper keeps the root under "" and under "/".
fn data_size(znode: &Znode) -> u64 {
    let data = znode.data().map_or(0, |data| data.len() as u64);
    if znode.path_bytes() == b"/" { 2 * data } else { data }
}

/// In UTF-16 units; that of the other name of the root is empty.
fn path_size(znode: &Znode) -> u64 {
    let path = znode.path_bytes();
    if path.is_ascii() {
        path.len() as u64
    } else {
        znode.path().chars().map(char::len_utf16).sum::<usize>() as u64
    }
}
