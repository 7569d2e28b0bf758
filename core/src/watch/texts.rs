//! The text of watched paths, many to an allocation.
//!
//! Invariant: at least a quarter of every chunk is in use, but for the one that is being filled, so
//! what lies idle is bounded by what is watched. A chunk that falls below a half is emptied by its
//! owner, who moves what is left: at most half a chunk of bytes for as many bytes that went.

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    chunk: u32,
    start: u32,
}

/// Texts in chunks, each behind its length.
#[derive(Debug, Default)]
pub(super) struct Texts {
    chunks: Vec<Chunk>,
    /// Numbers of chunks that hold nothing and have no memory.
    unused: Vec<u32>,
    /// The chunk that is being filled.
    open: Option<u32>,
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Bytes of texts that are in use, with their lengths.
    n_used: usize,
}

/// A chunk whose texts are to be put elsewhere.
#[derive(Debug)]
pub(super) struct Emptied {
    number: u32,
    bytes: Vec<u8>,
    next: usize,
}

impl At {
    /// A place that no text has; `start` is the caller's to use.
    pub(super) const fn nowhere(start: u32) -> At {
        At { chunk: u32::MAX, start }
    }

    /// What the caller put there, if it is no place of a text.
    pub(super) fn if_nowhere(self) -> Option<u32> {
        (self.chunk == u32::MAX).then_some(self.start)
    }
}

impl Texts {
    /// Keeps a text.
    pub(super) fn put(&mut self, text: &[u8]) -> At {
        let (header, n_header) = header(text.len());
        let n_bytes = n_header + text.len();
        let number = if n_bytes > LONG { self.unused_chunk() } else { self.chunk_for(n_bytes) };
        let chunk = &mut self.chunks[number as usize];
        if n_bytes > LONG {
            chunk.bytes.reserve_exact(n_bytes);
        }
        let start = u32::try_from(chunk.bytes.len()).expect("a chunk is short, or has one text");
        chunk.bytes.extend_from_slice(&header[..n_header]);
        chunk.bytes.extend_from_slice(text);
        chunk.n_used += n_bytes;
        At { chunk: number, start }
    }

    /// A text that is kept.
    pub(super) fn get(&self, at: At) -> &[u8] {
        let (text, _) = parse(&self.chunks[at.chunk as usize].bytes[at.start as usize..]);
        text
    }

    /// Drops a text. If a chunk comes back, what is still in use of it has to be put anew.
    #[must_use]
    pub(super) fn remove(&mut self, at: At) -> Option<Emptied> {
        let chunk = &mut self.chunks[at.chunk as usize];
        let (_, n_bytes) = parse(&chunk.bytes[at.start as usize..]);
        chunk.n_used -= n_bytes;
        let is_open = self.open == Some(at.chunk);
        if chunk.n_used == 0 {
            if is_open {
                chunk.bytes.clear();
            } else {
                chunk.bytes = Vec::new();
                self.unused.push(at.chunk);
            }
            return None;
        }
        let n_written = chunk.bytes.len();
        if n_written < CHUNK / 2 || chunk.n_used * 2 >= n_written {
            return None;
        }
        if is_open {
            self.open = None;
        }
        let Chunk { bytes, .. } = std::mem::take(chunk);
        Some(Emptied { number: at.chunk, bytes, next: 0 })
    }

    /// All that was in use of it has been put anew.
    pub(super) fn emptied(&mut self, chunk: Emptied) {
        self.unused.push(chunk.number);
    }

    /// The chunk that is filled next, with room for so much.
    fn chunk_for(&mut self, n_bytes: usize) -> u32 {
        if let Some(open) = self.open {
            if self.chunks[open as usize].bytes.len() + n_bytes <= CHUNK {
                return open;
            }
            self.chunks[open as usize].bytes.shrink_to_fit();
        }
        let number = self.unused_chunk();
        self.chunks[number as usize].bytes.reserve_exact(CHUNK);
        self.open = Some(number);
        number
    }

    fn unused_chunk(&mut self) -> u32 {
        self.unused.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            u32::try_from(self.chunks.len() - 1).expect("memory ends before 2^32 chunks do")
        })
    }
}

impl Emptied {
    /// The next text, in use or not, and where it stood.
    pub(super) fn next(&mut self) -> Option<(At, &[u8])> {
        if self.next == self.bytes.len() {
            return None;
        }
        let start = self.next;
        let (text, n_bytes) = parse(&self.bytes[start..]);
        self.next += n_bytes;
        Some((At { chunk: self.number, start: start as u32 }, text))
    }
}

/// A length as bytes, seven bits each, the least first; all but the last have the upper bit.
fn header(mut len: usize) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut n = 0;
    while len >= 0x80 {
        bytes[n] = len as u8 | 0x80;
        len >>= 7;
        n += 1;
    }
    bytes[n] = len as u8;
    (bytes, n + 1)
}

/// The text behind a length, and how many bytes both have.
fn parse(bytes: &[u8]) -> (&[u8], usize) {
    let (mut len, mut n) = (0, 0);
    loop {
        len |= usize::from(bytes[n] & 0x7f) << (7 * n);
        n += 1;
        if bytes[n - 1] & 0x80 == 0 {
            return (&bytes[n..n + len], n + len);
        }
    }
}

/// Bytes of a chunk.
const CHUNK: usize = 16 << 10;
/// A text that is longer has a chunk for itself, so that none is closed before it is well filled.
const LONG: usize = CHUNK / 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_lengths_come_back() {
        let mut texts = Texts::default();
        let lengths = [0, 1, 127, 128, 129, LONG - 2, LONG, CHUNK, 16_383, 16_384, 3_000_000];
        let all: Vec<(Vec<u8>, At)> = lengths
            .iter()
            .enumerate()
            .map(|(n, &len)| {
                let text = vec![n as u8; len];
                let at = texts.put(&text);
                (text, at)
            })
            .collect();
        for (text, at) in &all {
            assert_eq!(texts.get(*at), text);
        }
        for (text, at) in &all {
            assert_eq!(texts.get(*at), text);
            if let Some(mut chunk) = texts.remove(*at) {
                while chunk.next().is_some() {}
                panic!("nothing of these has to move: {chunk:?}");
            }
        }
        let n_left: usize = texts.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        assert_eq!(n_left, 0);
    }

    #[test]
    fn a_chunk_that_is_hardly_used_is_emptied() {
        let mut texts = Texts::default();
        let all: Vec<At> = (0..1_000u32).map(|n| texts.put(&n.to_be_bytes())).collect();
        assert_eq!(texts.chunks.len(), 1, "5,000 bytes");
        for at in &all[..900] {
            assert!(texts.remove(*at).is_none(), "what is short may lie idle");
        }
        let more: Vec<At> = (1_000..2_000u32).map(|n| texts.put(&n.to_be_bytes())).collect();
        let mut emptied = None;
        for at in more {
            emptied = texts.remove(at);
            if emptied.is_some() {
                break;
            }
        }
        let mut chunk = emptied.expect("most of it is gone");
        let mut n_texts = 0;
        while let Some((at, text)) = chunk.next() {
            if all[900..].contains(&at) {
                assert_eq!(texts.put(text).chunk, 1);
            }
            n_texts += 1;
        }
        assert_eq!(n_texts, 2_000);
        texts.emptied(chunk);
        assert_eq!(texts.unused, [0]);
        assert_eq!(texts.chunks[1].n_used, 500);
    }
}
