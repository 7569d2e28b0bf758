//! What a restore changed, path by path, for those who watch.
//!
//! Invariant: a znode that was there before and is there after is the same one if it was created at
//! the same zxid for the same owner; else the one was deleted and the other created. Deletions come
//! first, children before parents, then all else, parents before children: each could be an entry
//! of its own.

use std::sync::Arc;

use super::Database;
use super::change::{Change, ChangeKind};
use super::quota::data_bytes;
use crate::cell::Cell;
use crate::proto::parent_of;
use crate::tree::{Tree, Znode};

/// The tree that another one has taken the place of.
#[derive(Debug)]
pub struct Replaced {
    former: Tree,
}

/// What differs, in the order in which watches are to fire: 16 bytes each.
#[derive(Debug)]
pub struct Differences(Vec<(Cell, ChangeKind)>);

impl Replaced {
    pub(super) fn new(former: Tree) -> Self {
        Replaced { former }
    }

    /// Compares every znode of the former state with those of the present one.
    pub fn differences(&self, now: &Database) -> Differences {
        let mut all = Vec::new();
        for znode in self.former.walk() {
            if !now.tree.get(znode.path()).is_some_and(|other| is_same(znode, other)) {
                all.push((znode.cell().clone(), ChangeKind::Deleted));
            }
        }
        all.reverse();
        for znode in now.tree.walk() {
            let before = self.former.get(znode.path()).filter(|before| is_same(before, znode));
            let kind = match before {
                None => ChangeKind::Created,
                Some(before) if has_other_data(before, znode) => ChangeKind::DataChanged,
                Some(_) => continue,
            };
            all.push((znode.cell().clone(), kind));
        }
        Differences(all)
    }

    /// One difference as a change.
    ///
    /// # Panics
    /// If there are not so many of them.
    pub fn change(&self, differences: &Differences, n: usize, now: &Database) -> Change {
        let (cell, kind) = &differences.0[n];
        let (path, kind) = (cell.path(), *kind);
        let is_gone = kind == ChangeKind::Deleted;
        let tree = if is_gone { &self.former } else { &now.tree };
        let znode = tree.get(path).expect("what differs is in one of the two");
        let parent = parent_of(path).filter(|_| path != "/");
        let parent =
            parent.and_then(|parent| now.tree.get(parent).or_else(|| self.former.get(parent)));
        let parent_acl = match kind {
            ChangeKind::Created | ChangeKind::Deleted => {
                Some(Arc::clone(parent.unwrap_or(znode).acl()))
            }
            ChangeKind::DataChanged => None,
        };
        let n_bytes = if is_gone { 0 } else { data_bytes(znode.data()).unsigned_abs() };
        Change { path: path.into(), kind, n_bytes, acl: Arc::clone(znode.acl()), parent_acl }
    }
}

impl Differences {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether both states look alike to whoever watches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_same(one: &Znode, other: &Znode) -> bool {
    // The root was there before everything else.
    let (a, b) = (one.stat(), other.stat());
    one.path() == "/" || (a.czxid == b.czxid && a.ephemeral_owner == b.ephemeral_owner)
}

fn has_other_data(one: &Znode, other: &Znode) -> bool {
    let (a, b) = (one.stat(), other.stat());
    a.mzxid != b.mzxid || a.version != b.version || one.data() != other.data()
}
