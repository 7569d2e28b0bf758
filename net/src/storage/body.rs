//! The one place where storage meets the wire's encodings.

use bytes::{Bytes, BytesMut};
use zokor_core::db::{Image, Txn};
use zokor_core::raft::{Entry, SharedEntry};

use crate::wire;
use crate::wire::image::{ImageDecoder, ImageEncoder};
pub use crate::wire::written::Written;

/// No count of anything ever comes so far. What says so is none of ours, whatever its checksum
/// says, and one more can be added to everything that is below.
pub(super) const BEYOND_REACH: u64 = 1 << 62;

/// The bytes of each of `entries` if these are what `parts` hold; else of none.
pub(super) fn entries<'a>(
    parts: &'a [Written],
    entries: &[SharedEntry<Txn>],
) -> impl Iterator<Item = &'a [u8]> {
    Written::parts_of(parts, entries).iter().flat_map(Written::entries)
}

/// Appends the bytes of `entry`: `bytes`, if they are known.
pub(super) fn put_entry(entry: &Entry<Txn>, bytes: Option<&[u8]>, out: &mut BytesMut) {
    let Some(bytes) = bytes else { return wire::entry::encode_entry(entry, out) };
    if cfg!(debug_assertions) {
        let mut expected = BytesMut::new();
        wire::entry::encode_entry(entry, &mut expected);
        assert_eq!(expected, bytes, "an entry has one encoding");
    }
    out.extend_from_slice(bytes);
}

/// The entry that `bytes` are. They are copied, so that no entry keeps a whole segment in memory.
pub(super) fn decode_entry(bytes: &[u8]) -> Result<Entry<Txn>, String> {
    let bytes = Bytes::copy_from_slice(bytes);
    wire::entry::decode_entry(bytes).map_err(|error| error.to_string())
}

/// An image, chunk by chunk.
pub(super) fn image_chunks(image: &Image) -> impl Iterator<Item = Bytes> {
    ImageEncoder::new(image)
}

/// Puts an image together again.
pub(super) struct ImageReader(ImageDecoder);

impl ImageReader {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        ImageReader(ImageDecoder::new())
    }

    /// The next chunk.
    pub(super) fn feed(&mut self, chunk: Bytes) -> Result<(), String> {
        self.0.chunk(chunk).map_err(|error| error.to_string())
    }

    /// The image, when all chunks were fed.
    pub(super) fn finish(self) -> Result<Image, String> {
        self.0.finish().map_err(|error| error.to_string())
    }
}
