//! Frames: a four-byte big-endian length and as many bytes. Clients and peers cut the same way.
//!
//! Invariant: a length is checked before a byte behind it is waited for. The first four bytes of a
//! client may also be one of ZooKeeper's four-letter words; read as a length they all are far above
//! any limit, so the two cannot be mistaken for each other.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::WireError;

/// Takes the first whole frame off `buffer`, without its length and without a copy; `None` if more
/// bytes must come. `limit` is the longest frame accepted.
///
/// # Errors
/// If the length is negative or above the limit. The stream is lost then: the connection must end.
pub fn split_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, WireError> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_SIZE>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    let accepted = usize::try_from(length).ok().filter(|&size| size <= limit);
    let Some(size) = accepted else {
        let length = i64::from(length);
        return Err(WireError::Length { what: "frame", offset: 0, length, limit });
    };
    if buffer.len() - LENGTH_SIZE < size {
        return Ok(None);
    }
    buffer.advance(LENGTH_SIZE);
    Ok(Some(buffer.split_to(size).freeze()))
}

/// Appends a frame whose content `content` appends. Returns false, and leaves `out` as it was, if
/// the content is too long for any frame (2 GiB).
pub fn append_frame(out: &mut BytesMut, content: impl FnOnce(&mut BytesMut)) -> bool {
    append_frame_within(out, LONGEST, content)
}

/// As [`append_frame`], for contents of up to `limit` bytes.
pub(super) fn append_frame_within(
    out: &mut BytesMut,
    limit: usize,
    content: impl FnOnce(&mut BytesMut),
) -> bool {
    let start = out.len();
    out.put_i32(0);
    content(out);
    let size = out.len() - start - LENGTH_SIZE;
    let Some(length) = i32::try_from(size).ok().filter(|_| size <= limit) else {
        out.truncate(start);
        return false;
    };
    out[start..start + LENGTH_SIZE].copy_from_slice(&length.to_be_bytes());
    true
}

/// What the first four bytes of a connection say about who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A ZooKeeper client, or someone who is none of the others.
    Frame,
    /// An operator who asks with one of ZooKeeper's four-letter words.
    Word(Word),
    /// A browser or a health check that took this for an HTTP port.
    Http,
    /// A client that wants TLS.
    Tls,
    /// A telnet that was interrupted; ZooKeeper ignores it.
    Telnet,
}

impl Opening {
    /// Who opens a connection with these bytes.
    pub fn of(first: [u8; 4]) -> Opening {
        if let Some(word) = four_letter_word(first) {
            return Opening::Word(word);
        }
        match &first {
            b"GET " | b"HEAD" | b"POST" | b"PUT " | b"DELE" | b"OPTI" | b"CONN" | b"PATC"
            | b"TRAC" | b"PRI " => Opening::Http,
            // The record type "handshake", and the major version of SSL 3.0 and every TLS.
            [0x16, 0x03, ..] => Opening::Tls,
            [0xff, 0xf4, 0xff, 0xfd] => Opening::Telnet,
            _ => Opening::Frame,
        }
    }
}

/// ZooKeeper's four-letter words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// The configuration.
    Conf,
    /// Connections in full.
    Cons,
    /// Resets the statistics of connections.
    Crst,
    /// Sizes of the data folders.
    Dirs,
    /// Sessions and their ephemeral znodes.
    Dump,
    /// The environment.
    Envi,
    /// The trace mask.
    Gtmk,
    /// The history of digests.
    Hash,
    /// Whether the server is read-only.
    Isro,
    /// Metrics.
    Mntr,
    /// "Are you OK?"
    Ruok,
    /// Resets the server's statistics.
    Srst,
    /// The server in short.
    Srvr,
    /// The server and its connections in short.
    Stat,
    /// Sets the trace mask.
    Stmk,
    /// Watches by connection.
    Wchc,
    /// Watches by path.
    Wchp,
    /// Watches in numbers.
    Wchs,
}

impl Word {
    /// Every word, in the order of the alphabet.
    pub const ALL: [Word; 18] = [
        Word::Conf,
        Word::Cons,
        Word::Crst,
        Word::Dirs,
        Word::Dump,
        Word::Envi,
        Word::Gtmk,
        Word::Hash,
        Word::Isro,
        Word::Mntr,
        Word::Ruok,
        Word::Srst,
        Word::Srvr,
        Word::Stat,
        Word::Stmk,
        Word::Wchc,
        Word::Wchp,
        Word::Wchs,
    ];

    /// The word spelled `text`.
    pub fn parse(text: &str) -> Option<Word> {
        Word::ALL.into_iter().find(|word| word.as_str() == text)
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Conf => "conf",
            Word::Cons => "cons",
            Word::Crst => "crst",
            Word::Dirs => "dirs",
            Word::Dump => "dump",
            Word::Envi => "envi",
            Word::Gtmk => "gtmk",
            Word::Hash => "hash",
            Word::Isro => "isro",
            Word::Mntr => "mntr",
            Word::Ruok => "ruok",
            Word::Srst => "srst",
            Word::Srvr => "srvr",
            Word::Stat => "stat",
            Word::Stmk => "stmk",
            Word::Wchc => "wchc",
            Word::Wchp => "wchp",
            Word::Wchs => "wchs",
        }
    }
}

/// The word that `first` spells, if it is one.
pub fn four_letter_word(first: [u8; 4]) -> Option<Word> {
    Word::ALL.into_iter().find(|word| word.as_str().as_bytes() == first)
}

/// The longest content that a frame can say it has.
pub(super) const LONGEST: usize = i32::MAX as usize;

const LENGTH_SIZE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8], limit: usize) -> Result<Option<Bytes>, WireError> {
        split_frame(&mut BytesMut::from(bytes), limit)
    }

    #[test]
    fn a_frame_comes_when_its_last_byte_is_there() {
        let mut buffer = BytesMut::new();
        for &byte in b"\0\0\0\x02h" {
            buffer.put_u8(byte);
            assert_eq!(split_frame(&mut buffer, 10), Ok(None));
        }
        buffer.put_slice(b"i\0\0\0\0\0");
        assert_eq!(split_frame(&mut buffer, 10), Ok(Some(Bytes::from_static(b"hi"))));
        assert_eq!(split_frame(&mut buffer, 10), Ok(Some(Bytes::new())));
        assert_eq!(split_frame(&mut buffer, 10), Ok(None));
        assert_eq!(&buffer[..], b"\0");
    }

    #[test]
    fn a_frame_of_exactly_the_limit_is_the_longest() {
        assert_eq!(split(b"\0\0\0\x01a", 2), Ok(Some(Bytes::from_static(b"a"))));
        assert_eq!(split(b"\0\0\0\x02ab", 2), Ok(Some(Bytes::from_static(b"ab"))));
        let error = |length| WireError::Length { what: "frame", offset: 0, length, limit: 2 };
        assert_eq!(split(b"\0\0\0\x03abc", 2), Err(error(3)));
        assert_eq!(split(b"\0\0\0\x03", 2), Err(error(3)), "nothing is waited for");
        assert_eq!(split(b"\xff\xff\xff\xff", 2), Err(error(-1)));
        assert_eq!(split(b"\x80\0\0\0", 2), Err(error(i64::from(i32::MIN))));
    }

    #[test]
    fn what_is_appended_is_split_again() {
        let mut buffer = BytesMut::new();
        assert!(append_frame(&mut buffer, |out| out.put_slice(b"hello")));
        assert_eq!(&buffer[..], b"\0\0\0\x05hello");
        assert_eq!(split_frame(&mut buffer, 5), Ok(Some(Bytes::from_static(b"hello"))));
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let mut out = BytesMut::from(&b"before"[..]);
        assert!(!append_frame_within(&mut out, 2, |out| out.put_slice(b"abc")));
        assert_eq!(&out[..], b"before");
        assert!(append_frame_within(&mut out, 2, |out| out.put_slice(b"ab")));
        assert_eq!(&out[..], b"before\0\0\0\x02ab");
    }

    #[test]
    fn each_word_is_recognised_and_no_length_is_one() {
        for word in Word::ALL {
            let first = word.as_str().as_bytes().try_into().expect("four letters");
            assert_eq!(Opening::of(first), Opening::Word(word));
            assert!(i32::from_be_bytes(first) > 1 << 30, "{word:?} could be a length");
        }
        assert_eq!(four_letter_word(*b"RUOK"), None);
        assert_eq!(four_letter_word(*b"kill"), None);
    }

    #[test]
    fn strangers_are_known_by_their_first_bytes() {
        assert_eq!(Opening::of(*b"GET "), Opening::Http);
        assert_eq!(Opening::of(*b"POST"), Opening::Http);
        assert_eq!(Opening::of([0x16, 0x03, 0x01, 0x02]), Opening::Tls);
        assert_eq!(Opening::of([0x16, 0x02, 0x01, 0x02]), Opening::Frame);
        assert_eq!(Opening::of([0xff, 0xf4, 0xff, 0xfd]), Opening::Telnet);
        assert_eq!(Opening::of([0, 0, 0, 45]), Opening::Frame);
    }
}
