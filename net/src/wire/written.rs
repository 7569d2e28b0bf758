//! Entries as they stand in a message and in the log: an entry is encoded once, by the leader, and
//! the same bytes go to every peer and to every disk.
//!
//! Invariant: the bytes are those that [`encode_entry`] makes of the same entries. Whoever reads
//! an entry refuses any other encoding of it, and two entries of one term and index are equal
//! (Raft §5.3), so that the first and the last name all of them.

use bytes::{Buf, Bytes, BytesMut};
use zokor_core::db::Txn;
use zokor_core::raft::{EntryId, SharedEntry};

use super::compact::put_blob;
use super::entry::encode_entry;

/// The bytes of entries that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    first: EntryId,
    last: EntryId,
    /// Blobs, one after the other.
    blobs: Bytes,
}

impl Written {
    /// Encodes `entries`; `None` if there are none.
    pub fn encode(entries: &[SharedEntry<Txn>]) -> Option<Self> {
        let mut out = BytesMut::new();
        for (n, entry) in entries.iter().enumerate() {
            put_blob(&mut out, |out| encode_entry(entry, out));
            // Those that come together are much alike, and to grow again and again costs.
            if n == 0 {
                let alike = (entries.len() - 1).saturating_mul(out.len() + out.len() / 8);
                out.reserve(alike.min(MOST_AHEAD));
            }
        }
        Self::read(entries, out.freeze())
    }

    /// `entries` were read from `blobs`, which holds nothing else; `None` if there are none.
    pub(super) fn read(entries: &[SharedEntry<Txn>], blobs: Bytes) -> Option<Self> {
        let (first, last) = (entries.first()?.id, entries.last()?.id);
        Some(Written { first, last, blobs })
    }

    /// Whether it holds these entries.
    pub fn holds(&self, entries: &[SharedEntry<Txn>]) -> bool {
        entries.first().is_some_and(|first| first.id == self.first)
            && entries.last().is_some_and(|last| last.id == self.last)
    }

    /// The first `n` of `parts` that together hold these entries; none if there are no such ones.
    pub fn parts_of<'a>(parts: &'a [Written], entries: &[SharedEntry<Txn>]) -> &'a [Written] {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return &[] };
        let Some(from) = parts.iter().position(|part| part.first == first.id) else { return &[] };
        let parts = &parts[from..];
        let mut end = 0;
        while let Some(part) = parts.get(end) {
            let follows = |former: &Written| former.last.index.next() == part.first.index;
            if end > 0 && !follows(&parts[end - 1]) {
                return &[];
            }
            end += 1;
            if part.last == last.id {
                return &parts[..end];
            }
        }
        &[]
    }

    /// All of them as they stand in a message.
    pub(super) fn blobs(&self) -> &[u8] {
        &self.blobs
    }

    /// Each by itself, as it stands in the log.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.blobs[..];
        std::iter::from_fn(move || {
            let length = rest.try_get_u32().ok()? as usize;
            let (entry, others) = rest.split_at(length);
            rest = others;
            Some(entry)
        })
    }
}

/// The most bytes that are asked for before it is known that they are needed.
const MOST_AHEAD: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use zokor_core::raft::{Entry, Index, Payload, Term};

    use super::*;
    use crate::wire::samples::bytes_of;

    fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<SharedEntry<Txn>> {
        let id = |index| EntryId { term: Term(term), index: Index(index) };
        let entry = |index| Entry { id: id(index), payload: Payload::Blank };
        indexes.map(|index| SharedEntry::new(entry(index))).collect()
    }

    #[test]
    fn each_entry_stands_there_as_it_is_encoded_by_itself() {
        let all = entries(3, 126..=130);
        let written = Written::encode(&all).unwrap();
        let expected: Vec<_> = all.iter().map(|e| bytes_of(|out| encode_entry(e, out))).collect();
        assert!(written.entries().eq(expected.iter().map(|bytes| &bytes[..])));
        assert!(written.holds(&all) && !written.holds(&all[1..]) && !written.holds(&all[..4]));
        assert!(!written.holds(&[]) && !written.holds(&entries(4, 126..=130)));
        assert_eq!(Written::encode(&[]), None);
    }

    #[test]
    fn parts_hold_what_they_have_from_the_first_to_the_last_without_a_gap() {
        let parts: Vec<_> = [entries(1, 1..=2), entries(1, 3..=3), entries(2, 4..=6)]
            .iter()
            .filter_map(|part| Written::encode(part))
            .collect();
        let found = |wanted: &[SharedEntry<Txn>]| Written::parts_of(&parts, wanted);
        assert_eq!(found(&[entries(1, 1..=3), entries(2, 4..=6)].concat()), parts);
        assert_eq!(found(&entries(1, 1..=3)), &parts[..2]);
        assert_eq!(found(&[entries(1, 3..=3), entries(2, 4..=6)].concat()), &parts[1..]);
        for wanted in [entries(1, 1..=1), entries(1, 2..=3), entries(2, 4..=5), entries(3, 1..=2)] {
            assert_eq!(found(&wanted), []);
        }
        assert_eq!(found(&[]), []);
        let gap = [parts[0].clone(), parts[2].clone()];
        let wanted = [entries(1, 1..=3), entries(2, 4..=6)].concat();
        assert_eq!(Written::parts_of(&gap, &wanted), []);
    }
}
