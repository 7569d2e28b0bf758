//! What a watch tells a client.

use super::Text;

/// The kind of a watch event, with ZooKeeper's numbers (`Watcher.Event.EventType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventKind {
    /// The znode came into being.
    Created = 1,
    /// The znode is gone.
    Deleted = 2,
    /// Its data was set.
    DataChanged = 3,
    /// A child was created or deleted.
    ChildrenChanged = 4,
}

/// One notification: the path as it was registered or, for a recursive watch, the path that
/// changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Where.
    pub path: Text,
}
