//! delete, and the leader's wish to reap.
//!
//! Invariant: the reserved znodes are never deleted. The order of the checks is ZooKeeper's
//! (`PrepRequestProcessor.pRequest2Txn`).

use std::sync::Arc;

use super::change::ChangeKind;
use super::quota::{self, Growth};
use super::work::{Work, check_version};
use crate::proto::{ErrorCode, Permissions, Text, parent_of};
use crate::tree::{Spot, is_due};

/// Deletes a znode without children.
pub(super) fn delete(work: &mut Work<'_>, path: &Text, version: i32) -> Result<(), ErrorCode> {
    const RESERVED: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
    if path.contains('\0') || RESERVED.contains(&&**path) {
        return Err(ErrorCode::BadArguments);
    }
    let parent = parent_of(path).ok_or(ErrorCode::BadArguments)?;
    let parent = work.find(parent)?;
    work.require(work.at(parent), Permissions::DELETE)?;
    let spot = work.find(path)?;
    let znode = work.at(spot);
    check_version(version, znode.stat().version)?;
    if znode.n_children() > 0 {
        return Err(ErrorCode::NotEmpty);
    }
    remove_below(work, parent, path, spot);
    Ok(())
}

/// Deletes a container or TTL znode if it still may go: it may have got a child, or new data.
/// `unused_ms` is how long a container may stay that never had a child, 0 for ever.
pub(super) fn reap(work: &mut Work<'_>, path: &Text, unused_ms: i64) {
    let Some(znode) = work.tree().get(path) else { return };
    if is_due(znode, work.time, unused_ms) {
        remove(work, path);
    }
}

/// Deletes a znode that is there and has no children.
pub(super) fn remove(work: &mut Work<'_>, path: &Text) {
    let parent = parent_of(path).expect("a znode has a path, and the root is never removed");
    let parent = work.find(parent).expect("a tree is closed under parents");
    let spot = work.find(path).expect("callers have looked");
    remove_below(work, parent, path, spot);
}

fn remove_below(work: &mut Work<'_>, parent: Spot, path: &Text, spot: Spot) {
    let acl = Arc::clone(work.at(spot).acl());
    let parent_acl = Arc::clone(work.at(parent).acl());
    let zxid = work.zxid;
    let n_bytes = -work.remove(spot, parent, |stat| stat.pzxid = zxid.0);
    work.changed(path, (ChangeKind::Deleted, 0), acl, Some(parent_acl));
    quota::changed(work, path, Growth { n_znodes: -1, n_bytes });
}
