//! A list of names in one piece of memory.
//!
//! Invariant: for each name there are four bytes, its length in big-endian order, and then its own
//! bytes, which are UTF-8. That is ZooKeeper's encoding of a list of texts without the count in
//! front of it, so that to send one is a copy. Only what was a text is ever put in: who reads names
//! from elsewhere pushes them one by one.

use std::fmt;

use triomphe::ThinArc;

/// Names of children, or paths, in the order in which they were put in. A clone is the same piece
/// of memory.
#[derive(Clone, Default)]
pub struct Names(
    /// `None` if there is no name.
    Option<ThinArc<Head, u8>>,
);

/// What is counted of a list as it is made.
#[derive(Clone, Copy, Default)]
struct Head {
    n_names: usize,
    n_units: usize,
}

impl Names {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.head().n_names
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All names, one behind the other, each behind the four bytes of its length: ZooKeeper's
    /// encoding of the list, but for the count.
    pub fn encoded(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |list| &list.slice)
    }

    /// How long all names are together in UTF-16 units, by which Java counts.
    pub fn utf16_len(&self) -> usize {
        self.head().n_units
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

    fn head(&self) -> Head {
        self.0.as_ref().map_or_else(Head::default, |list| list.header.header)
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.encoded() == other.encoded()
    }
}

impl Eq for Names {}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Names {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        let mut builder = NamesBuilder::default();
        names.into_iter().for_each(|name| builder.push(name.as_ref()));
        builder.take()
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

/// Goes over the names of a list. Each is looked at as a text when its turn comes: servers never do
/// that.
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

/// Where names are put one behind the other. It serves for one list after another, in the same
/// memory.
#[derive(Debug, Default)]
pub struct NamesBuilder {
    bytes: Vec<u8>,
    n_names: usize,
}

/// More memory than this is given back with each list.
const KEPT_BYTES: usize = 64 << 10;
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

    /// The list of all that were put in since the last one.
    pub fn take(&mut self) -> Names {
        let n_names = std::mem::take(&mut self.n_names);
        let bytes = &self.bytes[..];
        let head = || Head { n_names, n_units: utf16_len(bytes, n_names) };
        let list = (n_names > 0).then(|| ThinArc::from_header_and_slice(head(), bytes));
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        Names(list)
    }
}

/// How long so many names are together in UTF-16 units. As a rule nothing among them, lengths
/// included, is beyond ASCII, which is quickly seen.
fn utf16_len(names: &[u8], n_names: usize) -> usize {
    if names.is_ascii() {
        return names.len() - n_names * LENGTH_BYTES;
    }
    let (mut left, mut n_units) = (names, 0);
    while let Some((name, rest)) = split_first(left) {
        // The first byte of each character, and of those beyond the first plane twice.
        let units = |byte: u8| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0);
        n_units += name.iter().map(|&byte| units(byte)).sum::<usize>();
        left = rest;
    }
    n_units
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
    fn an_empty_list_is_no_memory_and_a_list_of_the_empty_name_is_one() {
        let none = Names::from([""; 0]);
        assert!(none.is_empty() && none.0.is_none() && none.encoded().is_empty());
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

    #[test]
    fn a_builder_makes_one_list_after_another_and_keeps_little_memory() {
        let mut builder = NamesBuilder::default();
        builder.push(&"x".repeat(10 * KEPT_BYTES));
        let long = builder.take();
        assert!(builder.bytes.capacity() <= KEPT_BYTES);
        builder.push("y");
        assert_eq!((long.len(), builder.take()), (1, Names::from(["y"])));
        assert_eq!(builder.take(), Names::default());
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
