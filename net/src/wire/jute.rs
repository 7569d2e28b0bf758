//! Jute, ZooKeeper's encoding: big-endian numbers, and strings, buffers and vectors behind a
//! four-byte length of which -1 means null (`BinaryInputArchive`, `BinaryOutputArchive`).
//!
//! Invariant: a length is believed only after it was compared with the bytes that are left, so that
//! nothing is allocated which the sender has not paid for.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use zokor_core::proto::{Acl, AclList, Id, Names, NamesBuilder, Permissions, Stat, Text};

use super::{WireError, shared_open_acl};

/// Reads one record after another from a frame. Buffers and strings are slices of the frame, which
/// lives as long as any of them.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    offset: usize,
    limit: usize,
}

impl Reader {
    /// Reads `bytes`; no string or buffer in it may be longer than `limit` bytes.
    pub fn new(bytes: Bytes, limit: usize) -> Self {
        Reader { bytes, offset: 0, limit }
    }

    /// How many bytes were read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// What was not read.
    pub fn into_rest(self) -> Bytes {
        self.bytes.slice(self.offset..)
    }

    /// A byte that is zero for false and anything else for true.
    ///
    /// # Errors
    /// If nothing is left, as with all that follow.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, WireError> {
        Ok(self.array::<1>(what)?[0] != 0)
    }

    /// A four-byte number.
    ///
    /// # Errors
    /// If it is cut.
    pub fn int(&mut self, what: &'static str) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    /// An eight-byte number.
    ///
    /// # Errors
    /// If it is cut.
    pub fn long(&mut self, what: &'static str) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    /// A buffer; null and empty are different.
    ///
    /// # Errors
    /// If its length is below -1 or above the limit, or it is cut.
    pub fn buffer(&mut self, what: &'static str) -> Result<Option<Bytes>, WireError> {
        Ok(self.span(what)?.map(|span| self.bytes.slice(span)))
    }

    /// Where a buffer is.
    fn span(&mut self, what: &'static str) -> Result<Option<Range<usize>>, WireError> {
        let offset = self.offset;
        let length = self.int(what)?;
        if length == -1 {
            return Ok(None);
        }
        let needed = usize::try_from(length).ok().filter(|&needed| needed <= self.limit);
        let Some(needed) = needed else {
            let length = i64::from(length);
            return Err(WireError::Length { what, offset, length, limit: self.limit });
        };
        self.check(what, needed)?;
        let start = self.offset;
        self.offset += needed;
        Ok(Some(start..self.offset))
    }

    /// A string; null and empty are different. What is not UTF-8 becomes U+FFFD, as in Java.
    ///
    /// # Errors
    /// As for a buffer.
    pub fn string(&mut self, what: &'static str) -> Result<Option<Text>, WireError> {
        Ok(self.buffer(what)?.map(to_text))
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// As for a buffer, or if it is null.
    pub fn text(&mut self, what: &'static str) -> Result<Text, WireError> {
        let offset = self.offset;
        self.string(what)?.ok_or(WireError::Null { what, offset })
    }

    /// A vector of records, each of which takes at least `min_size` bytes (at least 1); null and
    /// empty are different.
    ///
    /// # Errors
    /// If its length is below -1 or more than the bytes left can hold, or a record does not decode.
    pub fn vector<T>(
        &mut self,
        what: &'static str,
        min_size: usize,
        mut record: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let offset = self.offset;
        let length = self.int(what)?;
        if length == -1 {
            return Ok(None);
        }
        let limit = self.left() / min_size;
        let count = usize::try_from(length).ok().filter(|&count| count <= limit);
        let Some(count) = count else {
            return Err(WireError::Length { what, offset, length: i64::from(length), limit });
        };
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            records.push(record(self)?);
        }
        Ok(Some(records))
    }

    /// A vector of strings, none of them null.
    ///
    /// # Errors
    /// As for a vector and its strings, or if it is null.
    pub fn texts(&mut self, what: &'static str) -> Result<Vec<Text>, WireError> {
        let offset = self.offset;
        let texts = self.vector(what, 4, |reader| reader.text(what))?;
        texts.ok_or(WireError::Null { what, offset })
    }

    /// A vector of strings, none of them null, in one piece of memory.
    ///
    /// # Errors
    /// As for [`texts`](Self::texts).
    pub fn names(&mut self, what: &'static str) -> Result<Names, WireError> {
        let offset = self.offset;
        let mut names = NamesBuilder::default();
        let all = self.vector(what, 4, |reader| {
            let offset = reader.offset;
            let name = reader.span(what)?.ok_or(WireError::Null { what, offset })?;
            names.push(&String::from_utf8_lossy(&reader.bytes[name]));
            Ok(())
        })?;
        all.map(|_| names.finish()).ok_or(WireError::Null { what, offset })
    }

    /// An ACL; null and empty are different. A null scheme or id becomes empty, which no scheme
    /// accepts either.
    ///
    /// # Errors
    /// As for a vector and its strings.
    pub fn acl(&mut self) -> Result<Option<Vec<Acl>>, WireError> {
        const MIN_SIZE: usize = 12;
        self.vector("acl", MIN_SIZE, |reader| {
            let permissions = Permissions(reader.int("acl permissions")?);
            Ok(Acl { permissions, id: reader.id()? })
        })
    }

    /// An ACL that is kept. That of nearly all creates is recognised by its bytes, and costs no
    /// more than a look at them.
    ///
    /// # Errors
    /// As for [`acl`](Self::acl).
    pub fn shared_acl(&mut self) -> Result<Option<AclList>, WireError> {
        const OPEN: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";
        if self.bytes[self.offset..].starts_with(OPEN) {
            self.offset += OPEN.len();
            return Ok(Some(shared_open_acl()));
        }
        Ok(self.acl()?.map(AclList::from))
    }

    /// An identity, with empty text for null.
    ///
    /// # Errors
    /// As for a string.
    pub fn id(&mut self) -> Result<Id, WireError> {
        let scheme = self.string("scheme")?.unwrap_or_default();
        let id = self.string("id")?.unwrap_or_default();
        Ok(Id { scheme, id })
    }

    /// A `Stat`.
    ///
    /// # Errors
    /// If it is cut.
    pub fn stat(&mut self) -> Result<Stat, WireError> {
        Ok(Stat {
            czxid: self.long("czxid")?,
            mzxid: self.long("mzxid")?,
            ctime: self.long("ctime")?,
            mtime: self.long("mtime")?,
            version: self.int("version")?,
            cversion: self.int("cversion")?,
            aversion: self.int("aversion")?,
            ephemeral_owner: self.long("ephemeral owner")?,
            data_length: self.int("data length")?,
            num_children: self.int("number of children")?,
            pzxid: self.long("pzxid")?,
        })
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        self.check(what, N)?;
        let start = self.offset;
        self.offset += N;
        let bytes = &self.bytes[start..self.offset];
        Ok(bytes.try_into().expect("the slice has N bytes"))
    }

    fn check(&self, what: &'static str, needed: usize) -> Result<(), WireError> {
        let left = self.left();
        if needed > left {
            return Err(WireError::Short { what, offset: self.offset, needed, left });
        }
        Ok(())
    }
}

/// Appends records to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Writer { out }
    }

    /// A byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.out.put_u8(u8::from(value));
    }

    /// A four-byte number.
    pub fn int(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    /// An eight-byte number.
    pub fn long(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    /// A buffer, or null.
    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.length(bytes.len());
                self.out.put_slice(bytes);
            }
        }
    }

    /// A string.
    pub fn text(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// The length of a buffer, string or vector; what it counts follows.
    pub fn length(&mut self, length: usize) {
        self.int(i32::try_from(length).expect("no single value in memory is as long as 2 GiB"));
    }

    /// A vector of strings.
    pub fn texts(&mut self, texts: &[Text]) {
        self.length(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    /// A vector of strings that are in one piece of memory.
    pub fn names(&mut self, names: &Names) {
        self.length(names.len());
        self.out.put_slice(names.encoded());
    }

    /// An ACL.
    pub fn acl(&mut self, acl: &[Acl]) {
        self.length(acl.len());
        for entry in acl {
            self.int(entry.permissions.0);
            self.id(&entry.id);
        }
    }

    /// An identity.
    pub fn id(&mut self, id: &Id) {
        self.text(&id.scheme);
        self.text(&id.id);
    }

    /// A `Stat`.
    pub fn stat(&mut self, stat: &Stat) {
        self.long(stat.czxid);
        self.long(stat.mzxid);
        self.long(stat.ctime);
        self.long(stat.mtime);
        self.int(stat.version);
        self.int(stat.cversion);
        self.int(stat.aversion);
        self.long(stat.ephemeral_owner);
        self.int(stat.data_length);
        self.int(stat.num_children);
        self.long(stat.pzxid);
    }
}

/// The bytes as text, without a copy if they are UTF-8.
fn to_text(bytes: Bytes) -> Text {
    Text::try_from(bytes.clone())
        .unwrap_or_else(|_| Text::from(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes), 4)
    }

    #[test]
    fn null_and_empty_differ_for_buffers_strings_and_vectors() {
        let bytes = b"\xff\xff\xff\xff\0\0\0\0";
        let mut buffers = reader(bytes);
        assert_eq!(buffers.buffer("x"), Ok(None));
        assert_eq!(buffers.buffer("x"), Ok(Some(Bytes::new())));
        let mut strings = reader(bytes);
        assert_eq!(strings.string("x"), Ok(None));
        assert_eq!(strings.string("x"), Ok(Some(Text::new())));
        let mut vectors = reader(bytes);
        assert_eq!(vectors.vector("x", 4, |r| r.int("y")), Ok(None));
        assert_eq!(vectors.vector("x", 4, |r| r.int("y")), Ok(Some(Vec::new())));
    }

    #[test]
    fn a_null_where_a_value_must_be_is_an_error() {
        assert_eq!(
            reader(b"\xff\xff\xff\xff").text("x"),
            Err(WireError::Null { what: "x", offset: 0 })
        );
        assert_eq!(
            reader(b"\xff\xff\xff\xff").texts("x"),
            Err(WireError::Null { what: "x", offset: 0 })
        );
    }

    #[test]
    fn a_list_of_names_is_read_and_written_as_a_vector_of_strings() {
        let bytes = b"\0\0\0\x03\0\0\0\x02ab\0\0\0\0\0\0\0\x03\xe2\x82\xac";
        let names = reader(bytes).names("x").expect("whole");
        assert_eq!(names, Names::from(["ab", "", "\u{20ac}"]));
        let mut out = BytesMut::new();
        Writer::new(&mut out).names(&names);
        assert_eq!(out[..], bytes[..]);
        assert_eq!(reader(b"\0\0\0\0").names("x"), Ok(Names::default()));
        let malformed = reader(b"\0\0\0\x01\0\0\0\x03a\xffb").names("x");
        assert_eq!(malformed, Ok(Names::from(["a\u{fffd}b"])), "as in every text");
    }

    #[test]
    fn a_damaged_list_of_names_is_an_error() {
        let damaged = |bytes: &'static [u8]| reader(bytes).names("x").expect_err("damaged");
        assert_eq!(damaged(b"\xff\xff\xff\xff"), WireError::Null { what: "x", offset: 0 });
        let null_inside = b"\0\0\0\x02\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(damaged(null_inside), WireError::Null { what: "x", offset: 9 });
        for count in [b"\x7f\xff\xff\xff\0\0\0\0", b"\0\0\0\x02\0\0\0\0", b"\x80\0\0\0\0\0\0\0"] {
            let is_refused = matches!(damaged(count), WireError::Length { offset: 0, .. });
            assert!(is_refused, "more names than there are bytes for: {count:?}");
        }
        for name in [b"\0\0\0\x01\0\0\0\x05abcde", b"\0\0\0\x01\xff\xff\xff\xfeabcde"] {
            assert!(matches!(damaged(name), WireError::Length { offset: 4, .. }), "{name:?}");
        }
        let cut = b"\0\0\0\x01\0\0\0\x03ab";
        assert_eq!(damaged(cut), WireError::Short { what: "x", offset: 8, needed: 3, left: 2 });
    }

    #[test]
    fn a_length_is_compared_with_the_limit_and_with_what_is_left() {
        assert_eq!(reader(b"\0\0\0\x03abc").buffer("x"), Ok(Some(Bytes::from_static(b"abc"))));
        assert_eq!(reader(b"\0\0\0\x04abcd").buffer("x"), Ok(Some(Bytes::from_static(b"abcd"))));
        assert_eq!(
            reader(b"\0\0\0\x05abcde").buffer("x"),
            Err(WireError::Length { what: "x", offset: 0, length: 5, limit: 4 })
        );
        assert_eq!(
            reader(b"\0\0\0\x04abc").buffer("x"),
            Err(WireError::Short { what: "x", offset: 4, needed: 4, left: 3 })
        );
        for lying in [b"\xff\xff\xff\xfe", b"\x80\0\0\0", b"\x7f\xff\xff\xff"] {
            assert!(matches!(reader(lying).buffer("x"), Err(WireError::Length { .. })));
        }
    }

    #[test]
    fn a_vector_may_not_promise_more_than_is_left() {
        assert_eq!(
            reader(b"\0\0\0\x01\0\0\0\x07").vector("x", 4, |r| r.int("y")),
            Ok(Some(vec![7]))
        );
        assert_eq!(
            reader(b"\0\0\0\x02\0\0\0\x07\0\0\0").vector("x", 4, |r| r.int("y")),
            Err(WireError::Length { what: "x", offset: 0, length: 2, limit: 1 })
        );
        for lying in [b"\xff\xff\xff\xfe", b"\x80\0\0\0", b"\x7f\xff\xff\xff"] {
            let vector = reader(lying).vector("x", 4, |r| r.int("y"));
            assert!(matches!(vector, Err(WireError::Length { .. })));
        }
    }

    #[test]
    fn malformed_text_is_replaced_and_never_refused() {
        assert_eq!(reader(b"\0\0\0\x03a\xffb").text("x"), Ok(Text::from("a\u{fffd}b")));
        assert_eq!(reader(b"\0\0\0\x04\xf0\x9f\x98\x80").text("x"), Ok(Text::from("\u{1f600}")));
        let surrogates = Bytes::from_static(b"\0\0\0\x06\xed\xa0\xbd\xed\xb8\x80");
        let text = Reader::new(surrogates, 6).text("x").expect("it is replaced");
        assert!(text.chars().all(|c| c == '\u{fffd}'), "{text:?}");
    }

    #[test]
    fn strings_and_buffers_are_slices_of_the_frame() {
        let frame = Bytes::from(b"\0\0\0\x04/abc\0\0\0\x02hi".to_vec());
        let mut reader = Reader::new(frame.clone(), 100);
        let text = reader.text("x").expect("whole");
        let data = reader.buffer("x").expect("whole").expect("not null");
        assert_eq!(text.as_ptr(), frame[4..].as_ptr());
        assert_eq!(data.as_ptr(), frame[12..].as_ptr());
    }

    #[test]
    fn any_byte_but_zero_is_true() {
        let mut reader = reader(b"\0\x01\xff");
        assert_eq!(reader.bool("x"), Ok(false));
        assert_eq!(reader.bool("x"), Ok(true));
        assert_eq!(reader.bool("x"), Ok(true));
        assert!(matches!(reader.bool("x"), Err(WireError::Short { .. })));
    }
}
