//! Stand-in for the wire room, replaced at merge.
pub mod frame;
pub mod peer;
pub mod request;
pub mod response;

use thiserror::Error;

/// Why bytes are not what they should be.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct WireError(pub String);
