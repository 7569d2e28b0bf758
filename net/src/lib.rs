//! Bytes and devices: everything between zokor's core and the world.
//!
//! [`wire`] turns bytes into types and back. [`storage`] keeps what must survive a crash.
//! [`transport`] holds sockets. [`runtime`] is the one loop that drives a replica.

pub mod runtime;
pub mod storage;
pub mod transport;
pub mod wire;
