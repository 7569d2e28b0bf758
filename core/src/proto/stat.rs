//! What a client learns of a znode besides its data.

use serde::{Deserialize, Serialize};

/// The eleven fields of ZooKeeper's `Stat` record, in the order of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// The zxid that created the znode.
    pub czxid: i64,
    /// The zxid that last set its data.
    pub mzxid: i64,
    /// When it was created, in milliseconds since the Unix epoch by the leader's clock.
    pub ctime: i64,
    /// When its data was last set, likewise.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How often children were created and deleted.
    pub cversion: i32,
    /// How often its ACL was set.
    pub aversion: i32,
    /// The owning session of an ephemeral znode, else 0.
    pub ephemeral_owner: i64,
    /// Bytes of data; 0 for null.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// The zxid that last created or deleted a child.
    pub pzxid: i64,
}
