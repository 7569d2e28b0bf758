//! Sessions and their ephemerals: who is open, who owns what, and what ends when (ZooKeeper:
//! `SessionTrackerImpl`, `DataTree.killSession`). S1-S10, a file each.

pub mod after_end;
pub mod end;
pub mod expiry;
pub mod identity;
pub mod left_over;
pub mod local;
pub mod moved;
pub mod owner;
pub mod told;
