//! Why a server does not start, or does not go on.

use thiserror::Error;

use crate::transport::BindError;

/// Why a server does not start, or does not go on.
#[derive(Debug, Error)]
pub enum Error {
    /// A port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What was to be prepared before the server runs could not be.
    #[error("{0}")]
    Prepare(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing can be made durable any more, so nothing may be acknowledged.
    #[error("storage has failed, the server stops: {0}")]
    Storage(String),
    /// The operating system gives no thread or event queue.
    #[error("cannot start the server's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A part of the server has ended that never should: an assertion failed, which the log shows.
    #[error("{0} has failed, the server stops")]
    Broken(&'static str),
}
