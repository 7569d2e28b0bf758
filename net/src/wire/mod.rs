//! Stand-in for the wire room, replaced at merge.
pub mod error;
pub mod frame;
pub mod jute;
pub mod opcode;
pub mod peer;
pub mod request;
pub mod response;

pub use error::WireError;
