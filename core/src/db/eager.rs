//! The look at a write's permission before it goes to the log, where an operator wants one.
//!
//! Invariant: it only ever refuses by what the tree says now, and lets pass whatever it cannot
//! tell: the log decides. Rules: ZooKeeper's `ZooKeeperServer.authWriteRequest`.

use crate::proto::{ErrorCode, Id, Permissions, Write, parent_of};
use crate::tree::Tree;
use crate::tree::acl::{fix_up, require};

/// What a write's client hears at once; `None` if it is to go on. Neither containers nor TTL znodes
/// are looked at, nor what is in a multi.
pub(super) fn refusal(tree: &Tree, identities: &[Id], write: &Write) -> Option<ErrorCode> {
    use crate::proto::CreateKind::{Create, Create2};
    let (path, wanted, acl) = match write {
        Write::Create(create) if matches!(create.kind, Create | Create2) => {
            (parent_of(&create.path)?, Permissions::CREATE, Some(&create.acl))
        }
        Write::Delete { path, .. } => (parent_of(path)?, Permissions::DELETE, None),
        Write::SetData { path, .. } => (&**path, Permissions::WRITE, None),
        Write::SetAcl { path, acl, .. } => (&**path, Permissions::ADMIN, Some(acl)),
        Write::Create(_) | Write::Check { .. } | Write::Multi(_) | Write::CloseSession => {
            return None;
        }
    };
    if let Some(acl) = acl
        && let Err(code) = fix_up(acl, identities)
    {
        return Some(code);
    }
    require(tree.get(path)?.acl(), wanted, identities).err()
}
