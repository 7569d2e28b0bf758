//! ZooKeeper's encoding, written a second time on purpose: a mistake in the server's own codec must
//! not be mirrored by the tests.

/// Appends values to a byte vector.
#[derive(Clone, Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// An empty one.
    pub fn new() -> Self {
        Writer::default()
    }

    /// One byte, 0 or 1.
    pub fn bool(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }

    /// Four bytes.
    pub fn int(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Eight bytes.
    pub fn long(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A length and bytes.
    pub fn buffer(mut self, value: &[u8]) -> Self {
        self = self.int(value.len() as i32);
        self.0.extend(value);
        self
    }

    /// A length of -1: no buffer, string or vector at all.
    pub fn null(self) -> Self {
        self.int(-1)
    }

    /// A length and UTF-8.
    pub fn string(self, value: &str) -> Self {
        self.buffer(value.as_bytes())
    }

    /// A count and strings.
    pub fn strings<S: AsRef<str>>(mut self, values: &[S]) -> Self {
        self = self.int(values.len() as i32);
        for value in values {
            self = self.string(value.as_ref());
        }
        self
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

/// Takes values from the front; panics with a plain word where the server sent too little.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Vec<u8>,
    // Never above the length.
    position: usize,
}

impl Reader {
    /// Starts at the front.
    pub fn new(bytes: Vec<u8>) -> Self {
        Reader { bytes, position: 0 }
    }

    /// What is left.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.position..]
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> &[u8] {
        let end = self.position + n;
        assert!(end <= self.bytes.len(), "the server's record ends too early: {:?}", self.bytes);
        let start = std::mem::replace(&mut self.position, end);
        &self.bytes[start..end]
    }

    /// One byte, 0 or 1 and nothing else.
    pub fn bool(&mut self) -> bool {
        match self.take(1)[0] {
            0 => false,
            1 => true,
            other => panic!("the server sent {other} for a boolean"),
        }
    }

    /// Four bytes.
    pub fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four bytes were taken"))
    }

    /// Eight bytes.
    pub fn long(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().expect("eight bytes were taken"))
    }

    /// A buffer, or `None` for null.
    pub fn buffer(&mut self) -> Option<Vec<u8>> {
        match self.int() {
            -1 => None,
            n => Some(self.take(usize::try_from(n).expect("a length is not negative")).to_vec()),
        }
    }

    /// A string that is not null.
    pub fn string(&mut self) -> String {
        let bytes = self.buffer().expect("the server sent null for a string");
        String::from_utf8(bytes).expect("the server's strings are UTF-8")
    }

    /// A vector of what `item` reads.
    pub fn vector<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let n = self.int();
        assert!(n >= 0, "the server sent a vector of {n}");
        (0..n).map(|_| item(self)).collect()
    }

    /// Asserts that nothing is left over.
    pub fn finish(self) {
        assert!(self.rest().is_empty(), "too much in the server's record: {:?}", self.rest());
    }
}
