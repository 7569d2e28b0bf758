//! setData, setACL, check, and the ensemble's description.
//!
//! Invariant: what is only looked at is never touched. The order of the checks is ZooKeeper's
//! (`PrepRequestProcessor.pRequest2Txn`).

use std::sync::Arc;

use super::change::ChangeKind;
use super::quota::{self, Growth, data_bytes};
use super::work::{Work, check_version};
use crate::proto::{AclList, Ensemble, ErrorCode, Permissions, Stat, Text, is_valid};
use crate::tree::acl::fix_up;
use crate::tree::{Spot, next_version};

/// Where the znode at `path` is, which must be valid first of all. That of a znode whose data was
/// set once is not judged again; the empty text, which finds the root, is always.
fn find_valid(work: &Work<'_>, path: &Text) -> Result<Spot, ErrorCode> {
    let found = work.find(path);
    let is_known = |spot| work.at(spot).cell().is_valid() && !path.is_empty();
    if !found.is_ok_and(is_known) {
        is_valid(path).map_err(|_| ErrorCode::BadArguments)?;
    }
    found
}

/// Sets a znode's data, and answers with its stat.
pub(super) fn set_data(
    work: &mut Work<'_>,
    path: &Text,
    data: Option<&[u8]>,
    version: i32,
) -> Result<Stat, ErrorCode> {
    work.needs_room()?;
    let spot = find_valid(work, path)?;
    let znode = work.at(spot);
    work.require(znode, Permissions::WRITE)?;
    let found = znode.stat().version;
    let n_bytes = data_bytes(data) - data_bytes(znode.data());
    quota::admits(work, path, Growth { n_znodes: 0, n_bytes })?;
    check_version(version, found)?;
    let next = next_version(found);
    Ok(put_data(work, (path, spot), data, next))
}

/// Sets a znode's ACL, and answers with its stat. mzxid and mtime stay.
pub(super) fn set_acl(
    work: &mut Work<'_>,
    path: &Text,
    acl: &AclList,
    version: i32,
) -> Result<Stat, ErrorCode> {
    work.needs_room()?;
    is_valid(path).map_err(|_| ErrorCode::BadArguments)?;
    let acl = fix_up(acl, work.identities)?;
    let spot = work.find(path)?;
    let znode = work.at(spot);
    work.require(znode, Permissions::ADMIN)?;
    check_version(version, znode.stat().aversion)?;
    let next = next_version(znode.stat().aversion);
    work.set_acl(spot, &acl, next);
    Ok(work.at(spot).to_stat())
}

/// Whether a znode has this version.
pub(super) fn check(work: &Work<'_>, path: &Text, version: i32) -> Result<(), ErrorCode> {
    let znode = work.at(find_valid(work, path)?);
    work.require(znode, Permissions::READ)?;
    check_version(version, znode.stat().version)
}

/// Shows `ensemble` at `path`, unless it is shown already. The znode's version becomes -1 and the
/// description's version its mzxid, as in ZooKeeper.
pub(super) fn describe(work: &mut Work<'_>, path: &str, ensemble: &Ensemble) {
    let Ok(spot) = work.find(path) else { return };
    let znode = work.at(spot);
    let shown = znode.data().unwrap_or_default();
    if shown != ensemble.to_text(znode.stat().mzxid).as_bytes() {
        let text = ensemble.to_text(work.zxid.0);
        put_data(work, (&path.into(), spot), Some(text.as_bytes()), -1);
    }
}

fn put_data(
    work: &mut Work<'_>,
    (path, spot): (&Text, Spot),
    data: Option<&[u8]>,
    version: i32,
) -> Stat {
    let (zxid, time) = (work.zxid, work.time);
    let after = data_bytes(data);
    let before = work.set_data(spot, data, |stat| {
        stat.mzxid = zxid.0;
        stat.mtime = time.0;
        stat.version = version;
    });
    let znode = work.at(spot);
    let (acl, stat) = (Arc::clone(znode.acl()), znode.to_stat());
    work.changed(path, (ChangeKind::DataChanged, after), acl, None);
    let n_bytes = after - before;
    quota::changed(work, path, Growth { n_znodes: 0, n_bytes });
    stat
}
