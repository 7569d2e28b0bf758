//! The bytes of the entries that one wake-up is about: as they came from the leader, or as they
//! were made for whoever needed them first.
//!
//! Invariant: nothing outlives the wake-up, so that no bytes are kept in memory by it.

use zokor_core::db::Txn;
use zokor_core::raft::{self, Body, SharedEntry};
use zokor_core::replica::Message;

use crate::transport::Written;

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    heard: Vec<Written>,
    made: Vec<Written>,
}

impl Encoded {
    /// These came in messages.
    pub(super) fn hear(&mut self, written: Vec<Written>) {
        self.heard.extend(written);
    }

    /// The bytes of these entries, which may stand in several parts.
    pub(super) fn parts(&mut self, entries: &[SharedEntry<Txn>]) -> Vec<Written> {
        match Written::parts_of(&self.heard, entries) {
            [] => self.whole(entries).into_iter().collect(),
            parts => parts.to_vec(),
        }
    }

    /// The bytes of a message's entries, if it brings any.
    pub(super) fn of(&mut self, message: &Message) -> Option<Written> {
        match message {
            Message::Raft(raft::Message { body: Body::Append { entries, .. }, .. }) => {
                self.whole(entries)
            }
            _ => None,
        }
    }

    /// The bytes of these entries in one piece; `None` if there are no entries.
    pub(super) fn whole(&mut self, entries: &[SharedEntry<Txn>]) -> Option<Written> {
        let known = self.heard.iter().chain(&self.made).find(|written| written.holds(entries));
        if let Some(written) = known {
            return Some(written.clone());
        }
        let made = Written::encode(entries)?;
        if self.made.len() == MOST {
            self.made.remove(0);
        }
        self.made.push(made.clone());
        Some(made)
    }

    /// The wake-up has come to its end.
    pub(super) fn forget(&mut self) {
        self.heard.clear();
        self.made.clear();
    }
}

/// Peers that are in step all get what goes into the log; others get something else each.
const MOST: usize = 4;

#[cfg(test)]
mod tests {
    use zokor_core::raft::{Entry, EntryId, Index, Payload, Term};

    use super::*;

    fn entries(indexes: std::ops::RangeInclusive<u64>) -> Vec<SharedEntry<Txn>> {
        let id = |index| EntryId { term: Term(1), index: Index(index) };
        let entry = |index| Entry { id: id(index), payload: Payload::Blank };
        indexes.map(|index| SharedEntry::new(entry(index))).collect()
    }

    fn place(written: &Written) -> *const u8 {
        written.entries().next().unwrap().as_ptr()
    }

    #[test]
    fn what_goes_to_the_log_and_to_two_peers_is_encoded_once() {
        let mut encoded = Encoded::default();
        let [parts, ..] = &encoded.parts(&entries(5..=7))[..] else { panic!("one part") };
        let to_peer = encoded.whole(&entries(5..=7)).unwrap();
        assert_eq!(place(parts), place(&to_peer));
        let behind: Vec<_> = (1..=4).map(|n| encoded.whole(&entries(n..=7)).unwrap()).collect();
        assert_ne!(place(&behind[0]), place(&behind[1]));
        assert_ne!(place(&encoded.whole(&entries(5..=7)).unwrap()), place(&to_peer), "forgotten");
        encoded.forget();
        assert!(encoded.made.is_empty() && encoded.parts(&[]).is_empty());
    }

    #[test]
    fn what_came_from_the_leader_is_written_as_it_came() {
        let mut encoded = Encoded::default();
        let heard = [entries(5..=7), entries(8..=8)].map(|part| Written::encode(&part).unwrap());
        encoded.hear(heard.to_vec());
        let parts = encoded.parts(&entries(5..=8));
        assert!(parts.iter().map(place).eq(heard.iter().map(place)));
        assert_eq!(place(&encoded.whole(&entries(8..=8)).unwrap()), place(&heard[1]));
        assert_eq!(encoded.parts(&entries(6..=8)).len(), 1, "in part known to its log before");
    }
}
