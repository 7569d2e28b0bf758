//! Snapshots may be packed: by gzip, or as a stream of snappy blocks.
//!
//! Invariant: a block is unpacked only if what it says of its length is within the format's bound.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// How a snapshot is packed; its name says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip: `.gz`.
    Gzip,
    /// Blocks as snappy's Java library writes them: `.snappy`.
    Snappy,
}

impl Packing {
    /// By the end of a file's name.
    pub fn of(path: &Path) -> Packing {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Packing::Gzip,
            Some("snappy") => Packing::Snappy,
            _ => Packing::Plain,
        }
    }
}

/// What is in a packed stream.
pub fn unpack<'a>(packed: impl BufRead + 'a, packing: Packing) -> Box<dyn BufRead + 'a> {
    match packing {
        Packing::Plain => Box::new(packed),
        Packing::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(packed))),
        Packing::Snappy => Box::new(BufReader::new(SnappyStream::new(packed))),
    }
}

/// `SnappyOutputStream`: a head of 16 bytes, then blocks, each behind its packed length.
struct SnappyStream<R> {
    packed: R,
    has_begun: bool,
    block: Vec<u8>,
    taken: usize,
}

impl<R: Read> SnappyStream<R> {
    fn new(packed: R) -> Self {
        SnappyStream { packed, has_begun: false, block: Vec::new(), taken: 0 }
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut head = [0; 16];
        self.packed.read_exact(&mut head)?;
        if head[..8] != MAGIC {
            return Err(wrong("it does not begin like a stream of snappy blocks"));
        }
        self.has_begun = true;
        Ok(())
    }

    /// Unpacks the next block; whether there was one.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut length = [0; 4];
        let mut n_read = 0;
        while n_read < length.len() {
            match self.packed.read(&mut length[n_read..])? {
                0 if n_read == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => n_read += n,
            }
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_BLOCK {
            return Err(wrong("a snappy block is too long"));
        }
        let mut packed = Vec::new();
        self.packed.by_ref().take(length as u64).read_to_end(&mut packed)?;
        if packed.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let says = snap::raw::decompress_len(&packed).map_err(|error| wrong(&error.to_string()))?;
        if says > MAX_BLOCK {
            return Err(wrong("a snappy block holds too much"));
        }
        let block = snap::raw::Decoder::new().decompress_vec(&packed);
        self.block = block.map_err(|error| wrong(&error.to_string()))?;
        self.taken = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyStream<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.has_begun {
            self.begin()?;
        }
        while self.taken == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let n = into.len().min(self.block.len() - self.taken);
        into[..n].copy_from_slice(&self.block[self.taken..self.taken + n]);
        self.taken += n;
        Ok(n)
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The Java library packs at most 32 KiB at a time unless it is told otherwise, which ZooKeeper
/// does not do.
const MAX_BLOCK: usize = 1 << 20;
