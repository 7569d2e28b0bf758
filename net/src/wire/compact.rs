//! The primitives of our own formats: short numbers, text and buffers behind a short length.
//!
//! - A *varint* is an unsigned number in groups of seven bits, the lowest first, one a byte; the
//!   top bit says that another byte follows (LEB128). At most ten bytes.
//! - A *signed* number is a varint of its zigzag form: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
//! - *fixed* numbers, for what is random anyway, are eight bytes, big-endian.
//! - A *text* is a varint length in bytes and UTF-8. An *optional buffer* is a varint that is 0 for
//!   null and else the length plus one, and the bytes.
//! - A *blob* is a four-byte big-endian length and as many bytes, for what is written before its
//!   length is known.
//!
//! Invariant: a value has one encoding. The decoder refuses varints that are longer than need be,
//! so that decoding and encoding again gives the same bytes.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use zokor_core::proto::Text;

use super::WireError;

/// Reads one value after another. Text and buffers are slices of what is read.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    offset: usize,
}

impl Reader {
    /// Reads `bytes` from the start.
    pub fn new(bytes: Bytes) -> Self {
        Reader { bytes, offset: 0 }
    }

    /// How many bytes were read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Whether these bytes come next; if so, they are behind it afterwards.
    pub fn skip(&mut self, bytes: &[u8]) -> bool {
        let comes = self.bytes[self.offset..].starts_with(bytes);
        if comes {
            self.offset += bytes.len();
        }
        comes
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// One byte.
    ///
    /// # Errors
    /// If nothing is left.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(self.array::<1>(what)?[0])
    }

    /// `N` bytes as they are.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        self.check(what, N)?;
        let start = self.offset;
        self.offset += N;
        let bytes = &self.bytes[start..self.offset];
        Ok(bytes.try_into().expect("the slice has N bytes"))
    }

    /// A fixed number.
    ///
    /// # Errors
    /// If it is cut.
    pub fn fixed(&mut self, what: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// A varint.
    ///
    /// # Errors
    /// If it is cut, does not fit 64 bits, or is longer than need be.
    pub fn varint(&mut self, what: &'static str) -> Result<u64, WireError> {
        let start = self.offset;
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte(what)?;
            let group = u64::from(byte & 0x7f);
            let fits = shift < LAST_SHIFT || group <= 1;
            let is_short = byte != 0 || shift == 0;
            if !fits || !is_short {
                let found = i64::from(byte);
                return Err(WireError::Value { what, offset: start, found });
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Value { what, offset: start, found: -1 })
    }

    /// A signed number.
    ///
    /// # Errors
    /// As for a varint.
    pub fn signed(&mut self, what: &'static str) -> Result<i64, WireError> {
        let zigzag = self.varint(what)?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// A signed number of 32 bits.
    ///
    /// # Errors
    /// As for a varint, or if it needs more bits.
    pub fn signed32(&mut self, what: &'static str) -> Result<i32, WireError> {
        let offset = self.offset;
        let found = self.signed(what)?;
        i32::try_from(found).map_err(|_| WireError::Value { what, offset, found })
    }

    /// The number of records that follow, each of which takes at least `min_size` bytes; that is
    /// at least 1.
    ///
    /// # Errors
    /// As for a varint, or if there are more than the bytes left can hold.
    pub fn count(&mut self, what: &'static str, min_size: usize) -> Result<usize, WireError> {
        let offset = self.offset;
        let count = self.varint(what)?;
        let limit = self.left() / min_size;
        match usize::try_from(count) {
            Ok(count) if count <= limit => Ok(count),
            _ => Err(WireError::Length { what, offset, length: saturated(count), limit }),
        }
    }

    /// A varint length and as many bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn buffer(&mut self, what: &'static str) -> Result<Bytes, WireError> {
        let span = self.span(what)?;
        Ok(self.bytes.slice(span))
    }

    /// The same, where it stands: for [`at`](Self::at), without a share in what is read.
    ///
    /// # Errors
    /// As for [`buffer`](Self::buffer).
    pub fn span(&mut self, what: &'static str) -> Result<Range<usize>, WireError> {
        let length = self.count(what, 1)?;
        Ok(self.take(length))
    }

    /// An optional buffer.
    ///
    /// # Errors
    /// If fewer bytes are left than it says.
    pub fn optional_buffer(&mut self, what: &'static str) -> Result<Option<Bytes>, WireError> {
        let span = self.optional_span(what)?;
        Ok(span.map(|span| self.bytes.slice(span)))
    }

    /// The same, where it stands.
    ///
    /// # Errors
    /// As for [`optional_buffer`](Self::optional_buffer).
    pub fn optional_span(&mut self, what: &'static str) -> Result<Option<Range<usize>>, WireError> {
        let offset = self.offset;
        let Some(length) = self.varint(what)?.checked_sub(1) else {
            return Ok(None);
        };
        let limit = self.left();
        match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(Some(self.take(length))),
            _ => Err(WireError::Length { what, offset, length: saturated(length), limit }),
        }
    }

    /// A blob.
    ///
    /// # Errors
    /// If it is cut.
    pub fn blob(&mut self, what: &'static str) -> Result<Bytes, WireError> {
        let offset = self.offset;
        let length = u32::from_be_bytes(self.array(what)?);
        let limit = self.left();
        match usize::try_from(length) {
            Ok(length) if length <= limit => {
                let span = self.take(length);
                Ok(self.bytes.slice(span))
            }
            _ => Err(WireError::Length { what, offset, length: i64::from(length), limit }),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// If it is cut or not UTF-8.
    pub fn text(&mut self, what: &'static str) -> Result<Text, WireError> {
        let offset = self.offset;
        let bytes = self.buffer(what)?;
        Text::try_from(bytes).map_err(|_| WireError::Text { what, offset })
    }

    /// What was not read.
    pub fn into_rest(self) -> Bytes {
        self.bytes.slice(self.offset..)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// If something is.
    pub fn finish(self, what: &'static str) -> Result<(), WireError> {
        match self.left() {
            0 => Ok(()),
            left => Err(WireError::Trailing { what, offset: self.offset, left }),
        }
    }

    /// The bytes at a place that was read.
    pub fn at(&self, span: Range<usize>) -> &[u8] {
        &self.bytes[span]
    }

    /// A share in them.
    pub fn slice(&self, span: Range<usize>) -> Bytes {
        self.bytes.slice(span)
    }

    fn take(&mut self, length: usize) -> Range<usize> {
        let start = self.offset;
        self.offset += length;
        start..self.offset
    }

    fn check(&self, what: &'static str, needed: usize) -> Result<(), WireError> {
        let left = self.left();
        if needed > left {
            return Err(WireError::Short { what, offset: self.offset, needed, left });
        }
        Ok(())
    }
}

/// Appends a varint.
pub fn put_varint(out: &mut BytesMut, mut value: u64) {
    if value < 0x80 {
        out.put_u8(value as u8);
        return;
    }
    // Put together first: each `put` asks for room.
    let mut groups = [0; MAX_VARINT_BYTES];
    let mut n = 0;
    while value >= 0x80 {
        groups[n] = value as u8 | 0x80;
        value >>= 7;
        n += 1;
    }
    groups[n] = value as u8;
    out.put_slice(&groups[..=n]);
}

/// Appends a signed number.
pub fn put_signed(out: &mut BytesMut, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a fixed number.
pub fn put_fixed(out: &mut BytesMut, value: u64) {
    out.put_u64(value);
}

/// Appends a count or length.
pub fn put_count(out: &mut BytesMut, count: usize) {
    put_varint(out, count as u64);
}

/// Appends a length and the bytes.
pub fn put_buffer(out: &mut BytesMut, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

/// Appends an optional buffer.
pub fn put_optional_buffer(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => out.put_u8(0),
        Some(bytes) => {
            put_varint(out, bytes.len() as u64 + 1);
            out.put_slice(bytes);
        }
    }
}

/// Appends a blob whose bytes `content` appends.
pub fn put_blob(out: &mut BytesMut, content: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    content(out);
    let length = u32::try_from(out.len() - start - 4).expect("one blob is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends text.
pub fn put_text(out: &mut BytesMut, text: &str) {
    put_buffer(out, text.as_bytes());
}

fn saturated(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

const MAX_VARINT_BYTES: usize = 10;
/// Where the tenth byte of a varint goes: one bit is left for it.
const LAST_SHIFT: u32 = 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn varint(bytes: &'static [u8]) -> Result<u64, WireError> {
        Reader::new(Bytes::from_static(bytes)).varint("x")
    }

    #[test]
    fn a_varint_takes_a_byte_for_seven_bits() {
        let table: [(u64, &'static [u8]); 6] = [
            (0, b"\0"),
            (0x7f, b"\x7f"),
            (0x80, b"\x80\x01"),
            (0x3fff, b"\xff\x7f"),
            (0x4000, b"\x80\x80\x01"),
            (u64::MAX, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ];
        for (value, bytes) in table {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(&out[..], bytes);
            assert_eq!(varint(bytes), Ok(value));
        }
    }

    #[test]
    fn a_varint_has_one_form() {
        let value = |found| Err(WireError::Value { what: "x", offset: 0, found });
        assert_eq!(varint(b"\x80\0"), value(0), "longer than need be");
        assert_eq!(varint(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), value(2), "65 bits");
        assert_eq!(varint(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\0"), value(-1));
        assert!(matches!(varint(b"\x80"), Err(WireError::Short { .. })));
        assert!(matches!(varint(b""), Err(WireError::Short { .. })));
    }

    #[test]
    fn lengths_are_compared_with_what_is_left() {
        let reader = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes));
        assert_eq!(reader(b"\x02ab").buffer("x"), Ok(Bytes::from_static(b"ab")));
        assert_eq!(
            reader(b"\x03ab").buffer("x"),
            Err(WireError::Length { what: "x", offset: 0, length: 3, limit: 2 })
        );
        assert_eq!(reader(b"\0").optional_buffer("x"), Ok(None));
        assert_eq!(reader(b"\x01").optional_buffer("x"), Ok(Some(Bytes::new())));
        assert_eq!(
            reader(b"\x02").optional_buffer("x"),
            Err(WireError::Length { what: "x", offset: 0, length: 1, limit: 0 })
        );
        assert_eq!(reader(b"\x02abcd").count("x", 2), Ok(2));
        assert_eq!(
            reader(b"\x02abc").count("x", 2),
            Err(WireError::Length { what: "x", offset: 0, length: 2, limit: 1 })
        );
        let huge = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert!(matches!(reader(huge).buffer("x"), Err(WireError::Length { .. })));
        assert!(matches!(reader(huge).optional_buffer("x"), Err(WireError::Length { .. })));
        assert_eq!(reader(b"\x01\xff").text("x"), Err(WireError::Text { what: "x", offset: 0 }));
    }

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i64, small: i32) {
            let mut out = BytesMut::new();
            put_varint(&mut out, unsigned);
            put_signed(&mut out, signed);
            put_signed(&mut out, i64::from(small));
            put_fixed(&mut out, unsigned);
            let mut reader = Reader::new(out.freeze());
            prop_assert_eq!(reader.varint("x"), Ok(unsigned));
            prop_assert_eq!(reader.signed("x"), Ok(signed));
            prop_assert_eq!(reader.signed32("x"), Ok(small));
            prop_assert_eq!(reader.fixed("x"), Ok(unsigned));
            prop_assert_eq!(reader.finish("x"), Ok(()));
        }

        #[test]
        fn what_decodes_has_its_only_form(bytes: Vec<u8>) {
            let mut reader = Reader::new(Bytes::from(bytes.clone()));
            if let Ok(value) = reader.varint("x") {
                let mut out = BytesMut::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..reader.offset()]);
            }
        }
    }
}
