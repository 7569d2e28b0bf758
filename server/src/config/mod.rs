//! Configuration files: read, checked once at the door, and turned into plain values.

mod auth;
mod ensemble;
mod flags;
mod jaas;
mod keys;
mod known;
mod member;
mod properties;
mod zoo;

pub use flags::Flags;
pub use member::{HostPort, PeerAddress, PeerRole, ServerLine, WILDCARD};
pub use properties::ConfigError;
pub use zoo::ZooConfig;
