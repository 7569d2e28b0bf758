//! W6. A write takes effect once or never: of one session, token and sequence the log has one
//! effect, and after a gap none (design: sequences of writes; W5: nothing follows what was lost).

use std::collections::BTreeMap;

use zokor_core::db::Author;
use zokor_core::id::{SessionId, Token};
use zokor_core::proto::Zxid;

use crate::check::{Verdict, must};

/// The last write of every attachment that took effect.
#[derive(Debug, Default)]
pub struct Sequences(BTreeMap<(SessionId, Token), u64>);

impl Sequences {
    /// Writes under `token` count on from `last`.
    pub fn goes_on(&mut self, session: SessionId, token: Token, last: u64) {
        self.0.insert((session, token), last);
    }

    /// A write of `author` takes effect at `zxid`.
    ///
    /// # Errors
    /// If it has before, or one before it has not.
    pub fn took_effect(&mut self, author: &Author, zxid: Zxid) -> Verdict {
        let last = self.0.entry((author.session, author.token)).or_default();
        let sequence = author.sequence.0;
        must("no write takes effect twice (W6)", sequence > *last, || {
            format!("write {sequence} of {author:?} takes effect at {zxid}, after write {last}")
        })?;
        must("nothing follows a lost write (W5)", sequence == *last + 1, || {
            format!("write {sequence} of {author:?} takes effect at {zxid}, after write {last}")
        })?;
        *last = sequence;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::write::invoked::tests::author;

    #[test]
    fn each_write_once_in_order_is_right() {
        let mut sequences = Sequences::default();
        for (token, sequence) in [(1, 1), (1, 2), (2, 1), (1, 3)] {
            assert!(sequences.took_effect(&author(5, token, sequence), Zxid(1)).is_ok());
        }
    }

    #[test]
    fn a_copy_and_a_gap_are_found() {
        let mut sequences = Sequences::default();
        sequences.took_effect(&author(5, 1, 1), Zxid(1)).unwrap();
        let copy = sequences.took_effect(&author(5, 1, 1), Zxid(2)).unwrap_err();
        assert!(copy.check.contains("(W6)"));
        let gap = sequences.took_effect(&author(5, 1, 3), Zxid(2)).unwrap_err();
        assert!(gap.check.contains("(W5)"));
    }
}
