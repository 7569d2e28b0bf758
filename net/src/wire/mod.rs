//! Bytes to types and back; no IO.
//!
//! Invariant: every decoder is total. Whatever the bytes are, it answers with a value or a
//! [`WireError`]; it never panics, never allocates by a length that it has not checked against the
//! bytes that are there, and never recurses by the depth of its input.
//!
//! Two families share this room. What clients speak is ZooKeeper's: [`jute`] records in [`frame`]s,
//! [`request`] and [`response`]. What only our own servers read, on disk and from each other, is
//! our own: [`entry`] and [`image`], written with the primitives of [`compact`], and the frames of
//! [`peer`] and [`login`]. Decoders of the first are as lenient as ZooKeeper's; those of the second
//! are strict, so that a value has one encoding.

pub mod compact;
pub mod entry;
pub mod error;
pub mod frame;
mod groups;
pub mod image;
pub mod jute;
pub mod login;
pub mod opcode;
pub mod peer;
pub mod request;
pub mod response;
#[cfg(test)]
pub(crate) mod samples;
pub mod written;

use std::sync::{Arc, LazyLock};

use zokor_core::proto::{AclList, open_acl};

pub use error::WireError;

/// The list that nearly all znodes have, once for all requests and entries that bring it.
fn shared_open_acl() -> AclList {
    static OPEN: LazyLock<AclList> = LazyLock::new(open_acl);
    Arc::clone(&OPEN)
}
