//! Who wrote an entry.
//!
//! Invariant: what is remembered changes nothing but who shares memory with whom. The same bytes
//! stand for the same identities, whoever has read them before.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use zokor_core::db::Author;
use zokor_core::id::{Sequence, SessionId, Token};
use zokor_core::proto::{Id, Identities};

use super::super::WireError;
use super::super::compact::{Reader, put_count, put_fixed, put_signed, put_text, put_varint};

pub(super) fn put_author(out: &mut BytesMut, author: &Author) {
    put_fixed(out, author.session.0 as u64);
    put_signed(out, author.token.0);
    put_varint(out, author.sequence.0);
    put_count(out, author.identities.len());
    for id in author.identities.iter() {
        put_id(out, id);
    }
}

pub(super) fn take_author(reader: &mut Reader) -> Result<Author, WireError> {
    let session = SessionId(reader.fixed("session")? as i64);
    let token = Token(reader.signed("token")?);
    let sequence = Sequence(reader.varint("sequence")?);
    let identities = KNOWN.with_borrow_mut(|known| known.identities(session, reader))?;
    Ok(Author { session, token, sequence, identities })
}

pub(super) fn put_id(out: &mut BytesMut, id: &Id) {
    put_text(out, &id.scheme);
    put_text(out, &id.id);
}

pub(super) fn take_id(reader: &mut Reader) -> Result<Id, WireError> {
    Ok(Id { scheme: reader.text("scheme")?, id: reader.text("id")? })
}

fn take_identities(reader: &mut Reader) -> Result<Identities, WireError> {
    const MIN_SIZE: usize = 2;
    let count = reader.count("identities", MIN_SIZE)?;
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(take_id(reader)?);
    }
    Ok(ids.into())
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// The identities that were read last. A session has the same ones in nearly every entry; read
/// once, its entries share them, and none of them keeps the frame in memory that it came in.
#[derive(Debug, Default)]
struct Known {
    /// By what a session's id leaves over; empty before the first.
    slots: Vec<Option<(Bytes, Identities)>>,
}

impl Known {
    /// What `reader` reads next: the identities of `session`, probably as before.
    fn identities(
        &mut self,
        session: SessionId,
        reader: &mut Reader,
    ) -> Result<Identities, WireError> {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        let slot = &mut self.slots[session.0 as u64 as usize % SLOTS];
        if let Some((bytes, identities)) = slot
            && reader.skip(bytes)
        {
            return Ok(identities.clone());
        }
        let start = reader.offset();
        let identities = take_identities(reader)?;
        let bytes = reader.at(start..reader.offset());
        if bytes.len() > MAX_BYTES {
            return Ok(identities);
        }
        // A copy of their own.
        let bytes = Bytes::copy_from_slice(bytes);
        let identities = take_identities(&mut Reader::new(bytes.clone()))?;
        *slot = Some((bytes, identities.clone()));
        Ok(identities)
    }
}

const SLOTS: usize = 256;
/// Longer ones are read each time: what is remembered has to stay small.
const MAX_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn bytes_of(session: i64, ids: &[(&str, &str)]) -> Bytes {
        let mut out = BytesMut::new();
        let (session, token, sequence) = (SessionId(session), Token(3), Sequence(4));
        let identities = ids.iter().map(|(scheme, id)| Id::new(scheme, id)).collect();
        put_author(&mut out, &Author { session, token, sequence, identities });
        out.freeze()
    }

    fn taken(bytes: &Bytes) -> Author {
        let mut reader = Reader::new(bytes.clone());
        let author = take_author(&mut reader).unwrap();
        reader.finish("author").unwrap();
        author
    }

    #[test]
    fn what_was_read_before_is_shared_and_what_differs_is_read_anew() {
        let ip = ("ip", "10.0.0.1");
        let long = "x".repeat(MAX_BYTES);
        let lists: [&[(&str, &str)]; 6] =
            [&[ip], &[], &[ip, ("digest", "a:b")], &[("ip", "10.0.0.11")], &[ip], &[("ip", &long)]];
        // The same session, one that falls into its slot, and one that does not.
        for session in [7, 7 + SLOTS as i64, -7] {
            for ids in lists {
                let bytes = bytes_of(session, ids);
                let (first, second) = (taken(&bytes), taken(&bytes));
                let found: Vec<_> =
                    first.identities.iter().map(|id| (&*id.scheme, &*id.id)).collect();
                assert_eq!(found, ids);
                assert_eq!(first, second);
                let is_long = ids.iter().any(|(_, id)| id.len() >= MAX_BYTES);
                assert_eq!(Arc::ptr_eq(&first.identities, &second.identities), !is_long);
            }
        }
    }

    #[test]
    fn what_is_remembered_keeps_no_frame_in_memory() {
        let bytes = bytes_of(90, &[("ip", "10.0.0.9")]);
        let author = taken(&bytes);
        let range = bytes.as_ptr_range();
        assert!(!range.contains(&author.identities[0].id.as_bytes().as_ptr()));
    }

    #[test]
    fn a_list_that_is_cut_is_refused_whether_one_like_it_is_known_or_not() {
        let bytes = bytes_of(91, &[("ip", "10.0.0.9")]);
        for _ in 0..2 {
            for end in 0..bytes.len() {
                assert!(take_author(&mut Reader::new(bytes.slice(..end))).is_err(), "{end}");
            }
            taken(&bytes);
        }
    }
}
