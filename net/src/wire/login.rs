//! What is said between two hellos where a server proves who it is, as frames.
//!
//! After its length (see [`frame`](super::frame)) a frame is:
//!
//! | Offset | Size | What |
//! |---|---|---|
//! | 0 | 4 | magic, `zkpl` |
//! | 4 | 2 | version, big-endian: 1 |
//! | 6 | 1 | kind: 1 challenge, 2 answer, 3 proof in return, 4 refusal |
//! | 7 | up to 4,096 | a token of DIGEST-MD5 (RFC 2831); of a refusal one byte: why |
//! | rest | 4 | CRC-32C of all before, big-endian |
//!
//! Invariant: a frame has one encoding, and none is longer than [`LOGIN_LIMIT`].

use bytes::{BufMut, Bytes, BytesMut};

use super::WireError;
use super::compact::Reader;
use super::frame::append_frame;

/// The longest frame of this kind.
pub const LOGIN_LIMIT: usize = TOKEN_LIMIT + AROUND_TOKEN;

/// The longest token, as in Java.
pub const TOKEN_LIMIT: usize = 4096;

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Who was called: prove who you are.
    Challenge(Bytes),
    /// Who calls: here is the proof.
    Answer(Bytes),
    /// Who was called: it is right, and here is mine. A hello follows.
    Proven(Bytes),
    /// Either: there will be nothing more, and why.
    Refused(Refusal),
}

impl std::fmt::Debug for Login {
    /// Never shows a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Login::Challenge(_) => f.write_str("Challenge"),
            Login::Answer(_) => f.write_str("Answer"),
            Login::Proven(_) => f.write_str("Proven"),
            Login::Refused(why) => write!(f, "Refused({why:?})"),
        }
    }
}

/// Why there will be no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Servers are not authenticated where this was said.
    NotOffered,
    /// What was said is no right answer. Why not, is not told.
    Wrong,
}

/// Appends `login` as one frame.
///
/// # Panics
/// If a token is longer than [`TOKEN_LIMIT`].
pub fn encode_login(login: &Login, out: &mut BytesMut) {
    let fits = append_frame(out, |out| {
        let start = out.len();
        out.put_u32(MAGIC);
        out.put_u16(VERSION);
        let (kind, token): (u8, &[u8]) = match login {
            Login::Challenge(token) => (CHALLENGE, token),
            Login::Answer(token) => (ANSWER, token),
            Login::Proven(token) => (PROVEN, token),
            Login::Refused(Refusal::NotOffered) => (REFUSED, &[NOT_OFFERED]),
            Login::Refused(Refusal::Wrong) => (REFUSED, &[WRONG]),
        };
        assert!(token.len() <= TOKEN_LIMIT, "the mechanism bounds its tokens");
        out.put_u8(kind);
        out.put_slice(token);
        let checksum = crc32c::crc32c(&out[start..]);
        out.put_u32(checksum);
    });
    assert!(fits, "a token is short");
}

/// Whether `frame` begins as one of these.
pub fn is_login(frame: &[u8]) -> bool {
    frame.starts_with(&MAGIC.to_be_bytes())
}

/// What stands in `frame`.
///
/// # Errors
/// If it is none of these frames, of another version, or the bytes have changed.
pub fn decode_login(frame: &Bytes) -> Result<Login, WireError> {
    let mut reader = Reader::new(frame.clone());
    let found = u32::from_be_bytes(reader.array("magic")?);
    if found != MAGIC {
        return Err(WireError::Magic { found });
    }
    let version = u16::from_be_bytes(reader.array("version")?);
    if version != VERSION {
        let (found, known) = (u32::from(version), u32::from(VERSION));
        return Err(WireError::Version { what: "login", found, known });
    }
    let kind = reader.byte("kind")?;
    let start = reader.offset();
    let (needed, left) = (CHECKSUM, reader.left());
    let length = left.checked_sub(needed).ok_or(WireError::Short {
        what: "checksum",
        offset: start,
        needed,
        left,
    })?;
    if length > TOKEN_LIMIT {
        let (length, limit) = (length as i64, TOKEN_LIMIT);
        return Err(WireError::Length { what: "token", offset: start, length, limit });
    }
    let (body, sum) = frame.split_at(start + length);
    let found = crc32c::crc32c(body);
    let expected = u32::from_be_bytes(sum.try_into().expect("four bytes are left"));
    if found != expected {
        return Err(WireError::Checksum { found, expected });
    }
    let token = frame.slice(start..start + length);
    let unknown = |found| WireError::Value { what: "kind", offset: start - 1, found };
    Ok(match kind {
        CHALLENGE => Login::Challenge(token),
        ANSWER => Login::Answer(token),
        PROVEN => Login::Proven(token),
        REFUSED => Login::Refused(match token[..] {
            [NOT_OFFERED] => Refusal::NotOffered,
            [WRONG] => Refusal::Wrong,
            _ => return Err(WireError::Misplaced { what: "refusal" }),
        }),
        other => return Err(unknown(i64::from(other))),
    })
}

/// `zkpl`.
const MAGIC: u32 = 0x7a6b_706c;
const VERSION: u16 = 1;

const CHALLENGE: u8 = 1;
const ANSWER: u8 = 2;
const PROVEN: u8 = 3;
const REFUSED: u8 = 4;

const NOT_OFFERED: u8 = 1;
const WRONG: u8 = 2;

const CHECKSUM: usize = 4;
/// Magic, version, kind and checksum.
const AROUND_TOKEN: usize = 4 + 2 + 1 + CHECKSUM;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{bytes_of, hex};

    fn frame_of(login: &Login) -> Bytes {
        bytes_of(|out| encode_login(login, out)).slice(4..)
    }

    fn all() -> [Login; 5] {
        let token = Bytes::from_static(b"a=b");
        [
            Login::Challenge(token.clone()),
            Login::Answer(token.clone()),
            Login::Proven(token),
            Login::Refused(Refusal::NotOffered),
            Login::Refused(Refusal::Wrong),
        ]
    }

    #[test]
    fn the_bytes_of_a_login_are_fixed() {
        let bodies = ["01 613d62", "02 613d62", "03 613d62", "04 01", "04 02"];
        for (login, body) in all().iter().zip(bodies) {
            let content = hex(&format!("7a6b706c 0001 {body}"));
            let checksum = crc32c::crc32c(&content).to_be_bytes();
            let expected = [&content[..], &checksum].concat();
            assert_eq!(frame_of(login), expected, "{login:?}");
            assert_eq!(decode_login(&frame_of(login)).as_ref(), Ok(login));
            assert!(is_login(&expected) && !format!("{login:?}").contains("97"));
        }
    }

    #[test]
    fn a_login_that_is_cut_changed_or_too_long_is_refused() {
        for login in all() {
            let whole = frame_of(&login);
            for length in 0..whole.len() {
                assert!(decode_login(&whole.slice(..length)).is_err(), "at {length}");
            }
            for at in 0..whole.len() {
                let mut bytes = whole.to_vec();
                bytes[at] ^= 0x40;
                assert!(decode_login(&Bytes::from(bytes)).is_err(), "at {at}");
            }
        }
        let longest = Login::Answer(Bytes::from(vec![7; TOKEN_LIMIT]));
        let frame = frame_of(&longest);
        assert_eq!(frame.len(), LOGIN_LIMIT);
        assert_eq!(decode_login(&frame), Ok(longest));
        let longer = [&frame[..7], &[7; TOKEN_LIMIT + 1], &frame[frame.len() - 4..]].concat();
        let error = decode_login(&Bytes::from(longer)).unwrap_err();
        assert!(matches!(error, WireError::Length { what: "token", .. }), "{error}");
    }

    #[test]
    fn what_a_later_version_might_say_is_refused_in_plain_words() {
        let sealed = |text: &str| {
            let content = hex(text);
            let checksum = crc32c::crc32c(&content).to_be_bytes();
            decode_login(&Bytes::from([&content[..], &checksum].concat())).unwrap_err().to_string()
        };
        let table = [
            ("7a6b706c 0002 01 00", "login has the version 2; this server knows 1"),
            ("7a6b706c 0001 05 00", "kind at byte 6 cannot be 5"),
            ("7a6b706c 0001 04 03", "refusal is out of place"),
            ("7a6b706c 0001 04", "refusal is out of place"),
            ("7a6b7072 0001 01 00", "the first bytes are 7a6b7072, which no server of ours sends"),
        ];
        for (text, error) in table {
            assert_eq!(sealed(text), error);
        }
    }
}
