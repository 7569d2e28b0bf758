//! Reads: each equals the state at its zxid, zxids never go back in a session, and `sync` is a
//! barrier (ZooKeeper, ATC 2010, §2.3). R1-R6, a file each.

pub mod as_model;
pub mod committed;
pub mod only;
pub mod plain;
pub mod sync;
pub mod view;
