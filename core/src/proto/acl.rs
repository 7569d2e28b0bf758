//! Who may do what: identities, permissions and lists of both.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Text;

/// An identity: a scheme such as `world`, `ip` or `digest`, and a name within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    /// The authentication scheme.
    pub scheme: Text,
    /// The name within the scheme.
    pub id: Text,
}

impl Id {
    /// The identity `id` of `scheme`.
    pub fn new(scheme: &str, id: &str) -> Self {
        Id { scheme: scheme.into(), id: id.into() }
    }
}

/// What an entry of an ACL permits, as ZooKeeper's bits. Unknown bits are kept as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Permissions(pub i32);

impl Permissions {
    /// Read data and children.
    pub const READ: Permissions = Permissions(1);
    /// Set data.
    pub const WRITE: Permissions = Permissions(2);
    /// Create a child.
    pub const CREATE: Permissions = Permissions(4);
    /// Delete a child.
    pub const DELETE: Permissions = Permissions(8);
    /// Set the ACL.
    pub const ADMIN: Permissions = Permissions(16);
    /// All of these.
    pub const ALL: Permissions = Permissions(31);

    /// Whether any of the bits of `wanted` is set.
    pub fn allows_any(self, wanted: Permissions) -> bool {
        self.0 & wanted.0 != 0
    }
}

/// One entry of an ACL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Acl {
    /// What is permitted.
    pub permissions: Permissions,
    /// To whom.
    pub id: Id,
}

/// The ACL of a znode, shared by all znodes that have the same.
pub type AclList = Arc<[Acl]>;

/// A list by which everybody may do everything, as nearly all are.
pub fn open_acl() -> AclList {
    Arc::new([Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }])
}

/// The identities of a connection, `ip:...` first; shared by all its requests.
pub type Identities = Arc<[Id]>;
