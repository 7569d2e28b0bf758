//! Stand-in: cuts frames.
use bytes::{Buf, Bytes, BytesMut};

use super::WireError;

/// The next whole frame's payload, if it is there.
pub fn split_frame(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, WireError> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*head);
    let size = usize::try_from(length)
        .ok()
        .filter(|size| *size <= max)
        .ok_or_else(|| WireError(format!("a frame of {length} bytes, the limit is {max}")))?;
    if buffer.len() < 4 + size {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(size).freeze()))
}
