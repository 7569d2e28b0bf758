//! create, create2, createContainer and createTTL.
//!
//! Invariant: nothing is touched before every check has passed. The order of the checks is
//! ZooKeeper's (`PrepRequestProcessor.pRequest2TxnCreate`).

use std::sync::Arc;

use super::change::ChangeKind;
use super::quota::{self, Growth, data_bytes};
use super::work::Work;
use crate::proto::{
    Create, CreateKind, CreateMode, ErrorCode, OpResult, Permissions, Response, Stat, Text,
    is_valid, parent_of,
};
use crate::tree::acl::fix_up;
use crate::tree::{Kind, NewZnode, StoredStat};

/// Makes a znode, and answers with its path and stat.
pub(super) fn create(work: &mut Work<'_>, create: &Create) -> Result<(Text, Stat), ErrorCode> {
    work.needs_room()?;
    let (kind, sequential) = kind_of(work, create)?;
    if create.path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    let parent_path = parent_of(&create.path).ok_or(ErrorCode::BadArguments)?;
    let acl = fix_up(&create.acl, work.identities)?;
    let below = work.find(parent_path)?;
    let parent = work.at(below);
    work.require(parent, Permissions::CREATE)?;
    let path = if sequential {
        // The sign counts as one of the ten; beyond 2^31 there are eleven.
        let is_wrong = mutated!(SequenceIsChildCount);
        let n = if is_wrong { parent.n_children() as i32 } else { parent.stat().cversion };
        Text::from(format!("{}{n:010}", create.path))
    } else {
        create.path.clone()
    };
    is_valid(&path).map_err(|_| ErrorCode::BadArguments)?;
    if work.tree().contains(&path) {
        return Err(ErrorCode::NodeExists);
    }
    if let Kind::Ephemeral(_) = parent.kind() {
        return Err(ErrorCode::NoChildrenForEphemerals);
    }
    let parent_acl = Arc::clone(parent.acl());
    let n_bytes = data_bytes(create.data.as_deref());
    quota::admits(work, &path, Growth { n_znodes: 1, n_bytes })?;

    let zxid = work.zxid;
    let stat = StoredStat::created(zxid, work.time, kind.to_owner());
    let new = NewZnode { data: create.data.as_deref(), acl: &acl, stat: &stat };
    let spot = work.insert(below, &path, new, |stat| {
        stat.cversion = stat.cversion.wrapping_add(1);
        stat.pzxid = zxid.0;
    });
    let znode = work.at(spot);
    let (acl, stat) = (Arc::clone(znode.acl()), znode.to_stat());
    work.changed(&path, (ChangeKind::Created, n_bytes), acl, Some(parent_acl));
    quota::created(work, &path, spot, n_bytes);
    Ok((path, stat))
}

/// The answer to a create by itself.
pub(super) fn response(kind: CreateKind, path: Text, stat: Stat) -> Response {
    match kind {
        CreateKind::Create => Response::Path(path),
        CreateKind::Create2 | CreateKind::Container | CreateKind::Ttl => {
            Response::PathStat(path, stat)
        }
    }
}

/// The answer to a create within a multi.
pub(super) fn op_result(kind: CreateKind, path: Text, stat: Stat) -> OpResult {
    match kind {
        CreateKind::Create => OpResult::Create(path),
        CreateKind::Create2 | CreateKind::Container | CreateKind::Ttl => {
            OpResult::Create2(path, stat)
        }
    }
}

/// What is to be made, and whether its name gets a number. Flags and operation must agree, where
/// ZooKeeper would make a persistent znode of a container or stop altogether.
fn kind_of(work: &Work<'_>, create: &Create) -> Result<(Kind, bool), ErrorCode> {
    let mode = CreateMode::from_flags(create.flags).ok_or(ErrorCode::BadArguments)?;
    let is_ttl = matches!(mode, CreateMode::Ttl { .. });
    if is_ttl && !work.rules.extended_types {
        return Err(ErrorCode::Unimplemented);
    }
    let ttl_fits =
        if is_ttl { (1..=Kind::MAX_TTL_MS).contains(&create.ttl_ms) } else { create.ttl_ms < 0 };
    if !ttl_fits {
        return Err(ErrorCode::BadArguments);
    }
    let kind = match (create.kind, mode) {
        (CreateKind::Create | CreateKind::Create2, CreateMode::Persistent { .. }) => {
            Kind::Persistent
        }
        (CreateKind::Create | CreateKind::Create2, CreateMode::Ephemeral { .. })
            if work.is_local =>
        {
            return Err(ErrorCode::EphemeralOnLocalSession);
        }
        (CreateKind::Create | CreateKind::Create2, CreateMode::Ephemeral { .. }) => {
            Kind::Ephemeral(work.session)
        }
        // The operation alone makes the container.
        (CreateKind::Container, CreateMode::Container | CreateMode::Persistent { .. }) => {
            Kind::Container
        }
        (CreateKind::Ttl, CreateMode::Ttl { .. }) => Kind::Ttl { ttl_ms: create.ttl_ms },
        (
            CreateKind::Create | CreateKind::Create2,
            CreateMode::Container | CreateMode::Ttl { .. },
        )
        | (CreateKind::Container, CreateMode::Ephemeral { .. } | CreateMode::Ttl { .. })
        | (
            CreateKind::Ttl,
            CreateMode::Persistent { .. } | CreateMode::Ephemeral { .. } | CreateMode::Container,
        ) => return Err(ErrorCode::BadArguments),
    };
    Ok((kind, mode.is_sequential()))
}
