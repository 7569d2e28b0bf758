//! One txn at work: its stamp, its author, and what it has done to the tree so far.
//!
//! Invariant: while a journal is kept, everything done to the tree stands in it, and rolling back
//! leaves the tree as it was, down to the digest.

use std::sync::Arc;

use super::change::{Change, ChangeKind};
use super::quota::{QuotaEvents, data_bytes};
use super::rules::Rules;
use super::txn::Txn;
use crate::id::SessionId;
use crate::proto::{AclList, ErrorCode, Id, Permissions, SharedData, Text, Zxid, parent_of};
use crate::time::WallTime;
use crate::tree::acl::require;
use crate::tree::{Content, NewZnode, StoredStat, Tree, Znode};

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
    changes: Vec<Change>,
    /// How to undo what was done, in the order of doing; `None` for what cannot fail half-way.
    journal: Option<Vec<Undo>>,
}

/// On whose behalf a txn is at work.
pub(super) struct Doer<'a> {
    pub(super) session: SessionId,
    pub(super) identities: &'a [Id],
}

enum Undo {
    Remove(Text),
    Insert(Text, Content),
    SetData(Text, Option<SharedData>, StoredStat),
    SetStat(Text, StoredStat),
}

impl<'a> Work<'a> {
    pub(super) fn new(
        tree: &'a mut Tree,
        quota_events: &'a mut QuotaEvents,
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
            changes: Vec::new(),
            journal: None,
        }
    }

    /// The same for a local session.
    pub(super) fn local(self) -> Self {
        Work { is_local: true, ..self }
    }

    /// What was done, in order.
    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes
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

    /// The znode at `path`.
    pub(super) fn znode(&self, path: &str) -> Result<&Znode, ErrorCode> {
        self.tree.get(path).ok_or(ErrorCode::NoNode)
    }

    /// The author must have one of these permissions under `acl`, unless nobody is asked.
    pub(super) fn require(&self, acl: &AclList, wanted: Permissions) -> Result<(), ErrorCode> {
        if self.rules.skip_acl {
            return Ok(());
        }
        require(acl, wanted, self.identities)
    }

    /// From now on, everything can be undone.
    pub(super) fn keep_journal(&mut self) {
        assert!(self.journal.is_none() && self.changes.is_empty(), "a journal starts at the start");
        self.journal = Some(Vec::new());
    }

    /// Undoes everything.
    pub(super) fn roll_back(&mut self) {
        let journal = self.journal.take().expect("only what keeps a journal is rolled back");
        for undo in journal.into_iter().rev() {
            match undo {
                Undo::Remove(path) => {
                    self.tree.remove(&path, |_| ());
                }
                Undo::Insert(path, content) => {
                    self.tree.insert(&path, content.as_new(), |_| ());
                }
                Undo::SetData(path, data, stat) => {
                    self.tree.set_data(&path, data.as_deref(), |now| *now = stat);
                }
                Undo::SetStat(path, stat) => {
                    self.tree.update_stat(&path, |now| *now = stat);
                }
            }
        }
        self.changes.clear();
    }

    /// Adds a znode, and changes the numbers of its parent by `update`.
    pub(super) fn insert(
        &mut self,
        path: &Text,
        new: NewZnode<'_>,
        update: impl FnOnce(&mut StoredStat),
    ) {
        let before = self.tree.insert(path, new, update);
        if let Some(journal) = &mut self.journal {
            journal.push(Undo::Remove(path.clone()));
            journal.push(Undo::SetStat(parent_of(path).unwrap_or_default().into(), before));
        }
    }

    /// Takes a znode away, and changes the numbers of its parent by `update`. Says how many bytes
    /// of data were removed.
    pub(super) fn remove(&mut self, path: &Text, update: impl FnOnce(&mut StoredStat)) -> i64 {
        let (content, before) = self.tree.remove(path, update);
        let n_bytes = data_bytes(content.data.as_deref());
        if let Some(journal) = &mut self.journal {
            journal.push(Undo::Insert(path.clone(), content));
            journal.push(Undo::SetStat(parent_of(path).unwrap_or_default().into(), before));
        }
        n_bytes
    }

    /// Sets a znode's data, and changes its numbers by `update`. Says how many bytes of data there
    /// were before.
    pub(super) fn set_data(
        &mut self,
        path: &Text,
        data: Option<&[u8]>,
        update: impl FnOnce(&mut StoredStat),
    ) -> i64 {
        let (before, stat) = self.tree.set_data(path, data, update);
        let n_bytes = data_bytes(before.as_deref());
        if let Some(journal) = &mut self.journal {
            journal.push(Undo::SetData(path.clone(), before, stat));
        }
        n_bytes
    }

    /// Sets a znode's ACL and the ACL's version. Not for a multi: none holds one.
    pub(super) fn set_acl(&mut self, path: &Text, acl: &[crate::proto::Acl], version: i32) {
        assert!(self.journal.is_none(), "a multi never sets an ACL");
        self.tree.set_acl(path, acl);
        self.tree.update_stat(path, |stat| stat.aversion = version);
    }

    /// Notes a change that left so many bytes of data, for the watches.
    pub(super) fn changed(
        &mut self,
        path: &Text,
        (kind, n_bytes): (ChangeKind, i64),
        acl: AclList,
        parent_acl: Option<AclList>,
    ) {
        let parent_acl = parent_acl.unwrap_or_else(|| Arc::clone(&acl));
        let (path, n_bytes) = (path.clone(), n_bytes.unsigned_abs());
        self.changes.push(Change { path, kind, n_bytes, acl, parent_acl });
    }
}

/// The version asked for, -1 for any, must be the version there.
pub(super) fn check_version(wanted: i32, found: i32) -> Result<(), ErrorCode> {
    if wanted == -1 || wanted == found { Ok(()) } else { Err(ErrorCode::BadVersion) }
}
