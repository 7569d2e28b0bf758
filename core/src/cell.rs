//! The path and the data of one znode, in one piece of memory, and data on their way to a client.
//!
//! Invariant: a cell never changes. It is shared by the tree, frozen images and answers, and a
//! znode that is given other data is given another cell.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use triomphe::ThinArc;

/// A path with its data; a clone is the same piece of memory.
#[derive(Clone)]
pub(crate) struct Cell(ThinArc<Head, u8>);

/// What is before the path; the data are behind it.
#[derive(Clone, Copy)]
struct Head {
    path_len: u32,
    has_data: bool,
    /// Whether the path is known to be valid by ZooKeeper's rules. If not, it may be valid as well.
    is_valid: bool,
}

/// What a path and data are put together in. More than this is given back at once.
const SCRATCH_BYTES: usize = 64 << 10;

impl Cell {
    /// `scratch` is empty between calls, and kept so that the two are put together in the same
    /// memory each time.
    ///
    /// # Panics
    /// If the path is longer than 4 GiB: no frame is.
    pub(crate) fn new(scratch: &mut Vec<u8>, path: &str, data: Option<&[u8]>) -> Self {
        Self::of_bytes(scratch, path.as_bytes(), false, data)
    }

    /// The same path with other data. Who sets data has judged the path.
    pub(crate) fn with_data(&self, scratch: &mut Vec<u8>, data: Option<&[u8]>) -> Self {
        Self::of_bytes(scratch, self.path_bytes(), true, data)
    }

    fn of_bytes(scratch: &mut Vec<u8>, path: &[u8], is_valid: bool, data: Option<&[u8]>) -> Self {
        let path_len = u32::try_from(path.len()).expect("a path is shorter than a frame");
        scratch.extend_from_slice(path);
        scratch.extend_from_slice(data.unwrap_or_default());
        let head = Head { path_len, has_data: data.is_some(), is_valid };
        let cell = Cell(ThinArc::from_header_and_slice(head, scratch));
        scratch.clear();
        scratch.shrink_to(SCRATCH_BYTES);
        cell
    }

    fn split(&self) -> (&[u8], &[u8]) {
        self.0.slice.split_at(self.0.header.header.path_len as usize)
    }

    /// The path.
    pub(crate) fn path(&self) -> &str {
        std::str::from_utf8(self.path_bytes()).expect("it was made of a text")
    }

    /// Whether the path is known to be valid.
    pub(crate) fn is_valid(&self) -> bool {
        self.0.header.header.is_valid
    }

    /// The path, for comparisons: nothing looks at what the bytes mean.
    pub(crate) fn path_bytes(&self) -> &[u8] {
        self.split().0
    }

    /// The data; null and empty are different.
    pub(crate) fn data(&self) -> Option<&[u8]> {
        self.0.header.header.has_data.then(|| self.split().1)
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("path", &self.path()).field("data", &self.data()).finish()
    }
}

/// The data of a znode. A clone shares them.
#[derive(Clone)]
pub struct SharedData(Place);

#[derive(Clone)]
enum Place {
    /// Of a request, or of a client's.
    Apart(Bytes),
    /// Of a znode, with its path.
    InCell(Cell),
}

impl SharedData {
    /// The data in `cell`, if it has any.
    pub(crate) fn of(cell: &Cell) -> Option<Self> {
        cell.data().is_some().then(|| SharedData(Place::InCell(cell.clone())))
    }
}

impl Deref for SharedData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Apart(bytes) => bytes,
            Place::InCell(cell) => cell.data().unwrap_or_default(),
        }
    }
}

impl From<Bytes> for SharedData {
    fn from(bytes: Bytes) -> Self {
        SharedData(Place::Apart(bytes))
    }
}

impl From<Vec<u8>> for SharedData {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for SharedData {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for SharedData {
    fn from(text: &'static str) -> Self {
        Bytes::from(text).into()
    }
}

impl From<SharedData> for Bytes {
    /// Copies, unless they are large.
    fn from(data: SharedData) -> Bytes {
        match data.0 {
            Place::Apart(bytes) => bytes,
            Place::InCell(cell) => {
                let data = cell.data().unwrap_or_default();
                if data.len() <= SCRATCH_BYTES {
                    return Bytes::copy_from_slice(data);
                }
                let path_len = cell.path_bytes().len();
                Bytes::from_owner(Whole(cell)).slice(path_len..)
            }
        }
    }
}

/// A cell as an owner of bytes.
struct Whole(Cell);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0.0.slice
    }
}

impl PartialEq for SharedData {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedData {}

impl fmt::Debug for SharedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes::copy_from_slice(self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(path: &str, data: Option<&[u8]>) -> Cell {
        let mut scratch = Vec::new();
        let cell = Cell::new(&mut scratch, path, data);
        assert!(scratch.is_empty());
        cell
    }

    #[test]
    fn a_cell_is_its_path_and_its_data() {
        for (path, data) in [
            ("/", None),
            ("/a", Some(&b""[..])),
            ("/täst/ü", Some(&b"\0\xff"[..])),
            ("", Some(&[7; 100_000])),
        ] {
            let cell = cell(path, data);
            assert_eq!((cell.path(), cell.data()), (path, data));
            let shared = SharedData::of(&cell);
            assert_eq!(shared.as_deref(), data);
            let bytes = shared.map(Bytes::from);
            assert_eq!(bytes.as_deref(), data);
            assert_eq!(bytes.map(SharedData::from), SharedData::of(&cell));
        }
    }

    #[test]
    fn a_handle_to_a_cell_is_one_word() {
        assert_eq!(size_of::<Option<Cell>>(), 8);
    }

    #[test]
    fn much_scratch_is_not_kept() {
        let mut scratch = Vec::new();
        Cell::new(&mut scratch, "/a", Some(&vec![0; 1 << 20]));
        assert!(scratch.capacity() <= SCRATCH_BYTES);
    }
}
