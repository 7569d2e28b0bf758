//! One txn at work: its stamp, its author, and what it has done to the tree so far.
//!
//! Invariant: while a journal is kept, everything done to the tree stands in it, and rolling back
//! leaves the tree as it was, down to the digest.

use super::change::{Change, ChangeKind};
use super::quota::{QuotaEvents, data_bytes};
use super::rules::Rules;
use super::txn::Txn;
use crate::cell::Cell;
use crate::id::SessionId;
use crate::proto::{AclList, ErrorCode, Id, Permissions, Text, Zxid, parent_of};
use crate::time::WallTime;
use crate::tree::{NewZnode, Spot, StoredStat, Tree, Znode};

/// What the verbs work with.
pub(super) struct Work<'a> {
    tree: &'a mut Tree,
    pub(super) quota_events: &'a mut QuotaEvents,
    /// How many znodes were walked over to count what is below a path.
    pub(super) walked: usize,
    pub(super) zxid: Zxid,
    pub(super) time: WallTime,
    pub(super) rules: Rules,
    pub(super) session: SessionId,
    pub(super) identities: &'a [Id],
    /// The session is known to its own server alone: it can own no ephemeral znode.
    pub(super) is_local: bool,
    /// What was done, in order.
    changes: &'a mut Vec<Change>,
    /// How to undo what was done, in the order of doing; `None` for what cannot fail half-way.
    journal: Option<Vec<Undo>>,
}

/// On whose behalf a txn is at work.
pub(super) struct Doer<'a> {
    pub(super) session: SessionId,
    pub(super) identities: &'a [Id],
}

enum Undo {
    /// A znode was made; the numbers of its parent were these.
    Made { path: Text, parent: StoredStat },
    /// This znode was taken away; the numbers of its parent were these.
    Taken { znode: Znode, parent: StoredStat },
    /// Of the znode with this path, data and numbers were these.
    Set { cell: Cell, stat: StoredStat },
}

impl<'a> Work<'a> {
    pub(super) fn new(
        tree: &'a mut Tree,
        quota_events: &'a mut QuotaEvents,
        changes: &'a mut Vec<Change>,
        zxid: Zxid,
        txn: &Txn,
        doer: Doer<'a>,
    ) -> Self {
        Work {
            tree,
            quota_events,
            walked: 0,
            zxid,
            time: txn.time,
            rules: txn.rules,
            session: doer.session,
            identities: doer.identities,
            is_local: false,
            changes,
            journal: None,
        }
    }

    /// The same for a local session.
    pub(super) fn local(self) -> Self {
        Work { is_local: true, ..self }
    }

    /// Nobody hears of what was done.
    pub(super) fn hush(&mut self) {
        self.changes.clear();
    }

    /// Whether anything may be stored: not while the disks of the ensemble are full. The client
    /// hears what it would at a quota, for want of a word of ZooKeeper's: its servers end.
    pub(super) fn needs_room(&self) -> Result<(), ErrorCode> {
        if self.rules.no_room { Err(ErrorCode::QuotaExceeded) } else { Ok(()) }
    }

    /// The tree, to look at.
    pub(super) fn tree(&self) -> &Tree {
        self.tree
    }

    /// Where the znode at `path` is.
    pub(super) fn find(&self, path: &str) -> Result<Spot, ErrorCode> {
        self.tree.find(path).ok_or(ErrorCode::NoNode)
    }

    /// The znode that was found there, and not taken away since.
    pub(super) fn at(&self, spot: Spot) -> &Znode {
        self.tree.at(spot)
    }

    /// The author must have one of these permissions at `znode`, unless nobody is asked.
    pub(super) fn require(&self, znode: &Znode, wanted: Permissions) -> Result<(), ErrorCode> {
        if self.rules.skip_acl || znode.permits(wanted, self.identities) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    /// From now on, everything can be undone. There will be about so many changes.
    pub(super) fn keep_journal(&mut self, n_changes: usize) {
        assert!(self.journal.is_none() && self.changes.is_empty(), "a journal starts at the start");
        self.journal = Some(Vec::with_capacity(n_changes));
        self.changes.reserve(n_changes);
    }

    /// Undoes everything.
    pub(super) fn roll_back(&mut self) {
        let journal = self.journal.take().expect("only what keeps a journal is rolled back");
        for undo in journal.into_iter().rev() {
            match undo {
                Undo::Made { path, parent: before } => {
                    let spot = self.find(&path).expect("it was made");
                    let parent = self.find(parent_of(&path).unwrap_or_default());
                    let parent = parent.expect("a tree is closed under parents");
                    self.tree.remove(spot, parent, |now| *now = before);
                }
                Undo::Taken { znode, parent: before } => {
                    let (data, acl, stat) = (znode.data(), znode.acl(), &znode.stat());
                    let new = NewZnode { data, acl, stat };
                    self.tree.insert(znode.path(), new, |now| *now = before);
                }
                Undo::Set { cell, stat } => {
                    let spot = self.find(cell.path()).expect("it was set");
                    self.tree.set_cell(spot, cell, |now| *now = stat);
                }
            }
        }
        self.hush();
    }

    /// Adds a znode below `parent`, and changes the numbers of that by `update`.
    pub(super) fn insert(
        &mut self,
        parent: Spot,
        path: &Text,
        new: NewZnode<'_>,
        update: impl FnOnce(&mut StoredStat),
    ) -> Spot {
        let (spot, before) = self.tree.insert_below(parent, path, new, update);
        if let Some(journal) = &mut self.journal {
            journal.push(Undo::Made { path: path.clone(), parent: before });
        }
        spot
    }

    /// Takes a znode away, and changes the numbers of its parent by `update`. Says how many bytes
    /// of data were removed.
    pub(super) fn remove(
        &mut self,
        spot: Spot,
        parent: Spot,
        update: impl FnOnce(&mut StoredStat),
    ) -> i64 {
        let (znode, before) = self.tree.remove(spot, parent, update);
        let n_bytes = data_bytes(znode.data());
        if let Some(journal) = &mut self.journal {
            journal.push(Undo::Taken { znode, parent: before });
        }
        n_bytes
    }

    /// Sets a znode's data, and changes its numbers by `update`. Says how many bytes of data there
    /// were before.
    pub(super) fn set_data(
        &mut self,
        spot: Spot,
        data: Option<&[u8]>,
        update: impl FnOnce(&mut StoredStat),
    ) -> i64 {
        let (cell, stat) = self.tree.set_data(spot, data, update);
        let n_bytes = data_bytes(cell.data());
        if let Some(journal) = &mut self.journal {
            journal.push(Undo::Set { cell, stat });
        }
        n_bytes
    }

    /// Sets a znode's ACL and the ACL's version. Not for a multi: none holds one.
    pub(super) fn set_acl(&mut self, spot: Spot, acl: &[crate::proto::Acl], version: i32) {
        assert!(self.journal.is_none(), "a multi never sets an ACL");
        self.tree.set_acl(spot, acl);
        self.tree.update_stat(spot, |stat| stat.aversion = version);
    }

    /// Notes a change that left so many bytes of data, for the watches.
    pub(super) fn changed(
        &mut self,
        path: &Text,
        (kind, n_bytes): (ChangeKind, i64),
        acl: AclList,
        parent_acl: Option<AclList>,
    ) {
        let (path, n_bytes) = (path.clone(), n_bytes.unsigned_abs());
        self.changes.push(Change { path, kind, n_bytes, acl, parent_acl });
    }
}

/// The version asked for, -1 for any, must be the version there.
pub(super) fn check_version(wanted: i32, found: i32) -> Result<(), ErrorCode> {
    if wanted == -1 || wanted == found { Ok(()) } else { Err(ErrorCode::BadVersion) }
}
