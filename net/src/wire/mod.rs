//! Bytes to types and back; no IO.

pub mod entry;
pub mod image;

/// Bytes that do not make the value they should.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WireError(pub(crate) String);
