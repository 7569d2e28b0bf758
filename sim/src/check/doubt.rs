//! C13. Who has the right state is never taken for another, and who knows that its own is wrong
//! shows it to nobody (`docs/repair.md`).

use std::collections::{BTreeMap, BTreeSet};

use zokor_core::id::ServerId;
use zokor_core::replica::Alarm;

use super::{Verdict, must};
use crate::world::queue::Micros;

const CHECK: &str = "states in doubt (C13)";

/// What is known of states that were made wrong on purpose.
#[derive(Debug, Default)]
pub struct Doubts {
    /// Whose state was made wrong once, and when last.
    struck: BTreeMap<ServerId, Micros>,
    /// Those of them that have not been seen with a right one since.
    rotten: BTreeSet<ServerId>,
    /// Of whose wrong states a snapshot was made, which may be what they start from next.
    pictured: BTreeSet<ServerId>,
    /// Who is in doubt, and says so.
    doubting: BTreeSet<ServerId>,
}

impl Doubts {
    /// The state of `server` is made wrong.
    pub fn struck(&mut self, server: ServerId, at: Micros) {
        self.struck.insert(server, at);
        self.rotten.insert(server);
    }

    /// When the state of `server` was made wrong last.
    pub fn struck_at(&self, server: ServerId) -> Option<Micros> {
        self.struck.get(&server).copied()
    }

    /// Whether its state may be wrong.
    pub fn is_rotten(&self, server: ServerId) -> bool {
        self.rotten.contains(&server)
    }

    /// Whether anyone's may be.
    pub fn any(&self) -> bool {
        !self.rotten.is_empty()
    }

    /// Its state is as it should be.
    pub fn is_right(&mut self, server: ServerId) {
        self.rotten.remove(&server);
    }

    /// A snapshot is made of the wrong state of `server`.
    pub fn pictured(&mut self, server: ServerId) {
        self.pictured.insert(server);
    }

    /// `server` starts, from a disk that says so or not. Its state may have become right meanwhile
    /// (a restore replaces all of it) and the snapshot on its disk be as it was.
    pub fn starts(&mut self, server: ServerId, is_distrusted: bool) {
        if self.pictured.contains(&server) {
            self.rotten.insert(server);
        }
        self.doubting.remove(&server);
        if is_distrusted {
            self.doubting.insert(server);
        }
    }

    /// Whether it is in doubt.
    pub fn doubts(&self, server: ServerId) -> bool {
        self.doubting.contains(&server)
    }

    /// `server` says that its state is wrong.
    ///
    /// # Errors
    /// If that never was so.
    pub fn distrusts(&mut self, server: ServerId) -> Verdict {
        self.doubting.insert(server);
        must(CHECK, self.struck.contains_key(&server), || {
            format!("server {server} doubts a state that is right")
        })
    }

    /// `server` says that its state is right again.
    pub fn trusts(&mut self, server: ServerId) {
        self.doubting.remove(&server);
    }

    /// `server` raises an alarm.
    ///
    /// # Errors
    /// If nothing is wrong.
    pub fn raises(&self, server: ServerId, alarm: &Alarm) -> Verdict {
        let has_cause = match alarm {
            Alarm::Odd { server, .. } => self.struck.contains_key(server),
            Alarm::Disputed { .. } | Alarm::Mended { .. } => !self.struck.is_empty(),
        };
        must(CHECK, has_cause, || format!("server {server} raises a false alarm: {alarm:?}"))
    }

    /// `server` tells a client something of its state.
    ///
    /// # Errors
    /// If it knows that its state is wrong.
    pub fn shows(&self, server: ServerId) -> Verdict {
        must(CHECK, !self.doubting.contains(&server), || {
            format!("server {server} serves a client with a state that it doubts")
        })
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::raft::{EntryId, Index, Term};

    use super::*;

    #[test]
    fn an_alarm_needs_a_cause_and_a_doubt_silence() {
        let (one, two) = (ServerId(1), ServerId(2));
        let at = EntryId { term: Term(1), index: Index(1) };
        let odd = |server| Alarm::Odd { server, at, digest: 1, agreed: 2 };
        let mut doubts = Doubts::default();
        assert!(doubts.raises(one, &odd(two)).is_err());
        assert!(doubts.raises(one, &Alarm::Disputed { at, digests: BTreeMap::new() }).is_err());
        assert!(Doubts::default().distrusts(one).is_err());
        doubts.struck(two, 5);
        assert!(doubts.raises(one, &odd(two)).is_ok());
        assert!(doubts.raises(two, &odd(one)).is_err());
        assert!(doubts.shows(two).is_ok(), "nobody knows yet");
        assert!(doubts.distrusts(two).is_ok());
        assert!(doubts.shows(two).is_err());
        doubts.trusts(two);
        assert!(doubts.shows(two).is_ok());
        doubts.starts(two, true);
        assert!(doubts.shows(two).is_err());
    }
}
