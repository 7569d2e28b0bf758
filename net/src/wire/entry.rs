//! An entry of the log as bytes.

use bytes::{BufMut, Bytes, BytesMut};
use zokor_core::db::Txn;
use zokor_core::raft::Entry;

use super::WireError;

/// Appends `entry` to `out`.
pub fn encode_entry(entry: &Entry<Txn>, out: &mut BytesMut) {
    bincode::serialize_into(out.writer(), entry).expect("memory takes every write");
}

/// The entry that `bytes` are.
///
/// # Errors
/// If they are none.
pub fn decode_entry(bytes: Bytes) -> Result<Entry<Txn>, WireError> {
    bincode::deserialize(&bytes).map_err(|error| WireError(error.to_string()))
}
