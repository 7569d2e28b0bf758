//! Configuration files: read, checked once at the door, and turned into plain values.

mod admin;
mod auth;
mod ensemble;
mod flags;
mod jaas;
mod keys;
mod known;
mod limits;
mod log_writes;
mod member;
mod peer_auth;
mod peers;
mod properties;
mod times;
mod tree;
mod zoo;

pub use admin::{AdminConfig, AdminHttp, AuditLog};
pub use flags::Flags;
pub use known::{Kind, kind_of, known_keys};
pub use limits::ClientLimits;
pub use log_writes::LogWrites;
pub use member::{HostPort, PeerAddress, PeerRole, ServerLine, WILDCARD};
pub use peers::PeerSettings;
pub use properties::ConfigError;
pub use tree::TreeConfig;
pub use zoo::ZooConfig;
