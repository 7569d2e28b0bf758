//! The tree: what a znode's numbers, names and permissions are, and when it goes (ZooKeeper:
//! `DataTree`, `PrepRequestProcessor`, `ContainerManager`). T1-T5, a file each.

pub mod multi;
pub mod numbers;
pub mod permission;
pub mod reaping;
pub mod stat;
