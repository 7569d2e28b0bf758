//! A list of names in one piece of memory.
//!
//! Invariant: for each name there are four bytes, its length in big-endian order, and then its own
//! bytes, which are UTF-8. That is ZooKeeper's encoding of a list of texts without the count in
//! front of it, so that to send one is a copy. Only what was a text is ever put in: who reads names
//! from elsewhere pushes them one by one.

use std::fmt;

use bytes::Bytes;

/// Names of children, or paths, in the order in which they were put in. A clone is the same piece
/// of memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Names {
    bytes: Bytes,
    n_names: usize,
}

impl Names {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.n_names
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.n_names == 0
    }

    /// All names, one behind the other, each behind the four bytes of its length: ZooKeeper's
    /// encoding of the list, but for the count.
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// How long all names are together in UTF-16 units, by which Java counts. Goes over all of
    /// them.
    pub fn utf16_len(&self) -> usize {
        // As a rule nothing, lengths included, is beyond ASCII, which is quickly seen.
        if self.bytes.is_ascii() {
            return self.bytes.len() - self.n_names * LENGTH_BYTES;
        }
        // The first byte of each character, and of those beyond the first plane twice.
        let units = |byte: u8| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0);
        self.iter().flat_map(str::bytes).map(units).sum()
    }

    /// The names, in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { left: self.encoded(), n_left: self.len() }
    }

    /// The same names, ascending.
    #[must_use]
    pub fn sorted(&self) -> Names {
        let mut all: Vec<&str> = self.iter().collect();
        all.sort_unstable();
        all.into_iter().collect()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Names {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        let mut builder = NamesBuilder::default();
        names.into_iter().for_each(|name| builder.push(name.as_ref()));
        builder.finish()
    }
}

impl<T: AsRef<str>, const N: usize> From<[T; N]> for Names {
    fn from(names: [T; N]) -> Self {
        names.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Names {
    type Item = &'a str;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Goes over the names of a list. Each is looked at as a text when its turn comes.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    left: &'a [u8],
    n_left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (name, left) = split_first(self.left)?;
        (self.left, self.n_left) = (left, self.n_left - 1);
        Some(std::str::from_utf8(name).expect("it was put in as a text"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.n_left, Some(self.n_left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Where names are put one behind the other.
#[derive(Debug, Default)]
pub struct NamesBuilder {
    bytes: Vec<u8>,
    n_names: usize,
}

/// Most names are shorter.
const USUAL_BYTES: usize = 20;

impl NamesBuilder {
    /// There will be so many more names: room is made for them, if they are of the usual length.
    /// The number must have been counted, never read.
    pub fn reserve(&mut self, n_names: usize) {
        self.bytes.reserve(n_names.saturating_mul(LENGTH_BYTES + USUAL_BYTES));
    }

    /// Puts a name behind the others.
    ///
    /// # Panics
    /// If it has 2 GiB or more: no frame has.
    pub fn push(&mut self, name: &str) {
        self.push_bytes(name.as_bytes());
    }

    /// The same of a text whose bytes are at hand.
    pub(crate) fn push_bytes(&mut self, name: &[u8]) {
        let length = i32::try_from(name.len()).expect("a name is shorter than a frame");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(name);
        self.n_names += 1;
    }

    /// The list of all that were put in.
    pub fn finish(self) -> Names {
        Names { bytes: self.bytes.into(), n_names: self.n_names }
    }
}

/// The first of the encoded names, and those behind it.
fn split_first(names: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = names.split_first_chunk::<LENGTH_BYTES>()?;
    Some(rest.split_at(u32::from_be_bytes(*length) as usize))
}

/// Before each name.
const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_list_and_a_list_of_the_empty_name_are_two_things() {
        let none = Names::from([""; 0]);
        assert!(none.is_empty() && none.encoded().is_empty());
        assert_eq!((none.len(), none.iter().next(), none.sorted()), (0, None, Names::default()));
        let one = Names::from([""]);
        assert!(!one.is_empty() && one != none);
        assert_eq!((one.len(), one.encoded(), one.iter().next()), (1, &[0; 4][..], Some("")));
    }

    #[test]
    fn a_list_is_shown_as_its_texts() {
        assert_eq!(format!("{:?}", Names::from(["b", "\u{e4}\n"])), r#"["b", "ä\n"]"#);
        assert_eq!(format!("{:?}", Names::default()), "[]");
    }

    #[test]
    fn a_long_name_has_a_long_length() {
        let long = "x".repeat(70_000);
        let names = Names::from([&long, "y"]);
        assert_eq!(names.encoded()[..5], [0, 1, 0x11, 0x70, b'x']);
        assert_eq!(names.encoded()[70_004..], [0, 0, 0, 1, b'y']);
        assert_eq!(names.iter().collect::<Vec<_>>(), [long.as_str(), "y"]);
        assert_eq!(names.utf16_len(), 70_001);
        // The length itself is beyond ASCII.
        assert_eq!(Names::from(["x".repeat(0xc3), "\u{1f600}".into()]).utf16_len(), 0xc3 + 2);
    }

    #[test]
    fn lists_with_the_same_bytes_of_names_differ_where_names_end() {
        assert_ne!(Names::from(["ab", "c"]), Names::from(["a", "bc"]));
        assert_ne!(Names::from(["a", "b"]), Names::from(["b", "a"]));
        assert_eq!(Names::from(["b", "a"]).sorted(), Names::from(["a", "b"]));
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(texts: Vec<String>) {
            let names: Names = texts.iter().collect();
            prop_assert_eq!(names.iter().collect::<Vec<_>>(), texts.clone());
            prop_assert_eq!((names.len(), names.iter().len()), (texts.len(), texts.len()));
            prop_assert_eq!(names.is_empty(), texts.is_empty());
            let units = texts.iter().map(|text| text.encode_utf16().count()).sum::<usize>();
            prop_assert_eq!(names.utf16_len(), units);
            let (mut expected, sorted) = (texts, names.sorted());
            expected.sort();
            prop_assert_eq!(sorted.iter().collect::<Vec<_>>(), expected);
        }
    }
}
