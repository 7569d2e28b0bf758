//! Sessions as all servers know them; the leader's deadlines are in [`Expiry`].
//!
//! Invariant: a session has one attachment in force, and the digest follows from the sessions and
//! the last ids. What belongs to one server alone (its connections) is not here.

mod expiry;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use xxhash_rust::xxh3::xxh3_64;

pub use expiry::Expiry;

use crate::id::{Nonce, Sequence, ServerId, SessionId, Token};
use crate::pages::Pages;

/// One session.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What a client must show to attach it.
    pub password: [u8; 16],
    /// The timeout of its last attach, in milliseconds.
    pub timeout_ms: i32,
    /// The attachment in force.
    pub token: Token,
    /// The last write applied under it; 0 if none.
    pub sequence: Sequence,
    /// The attempt that made the attachment.
    pub nonce: Nonce,
}

impl fmt::Debug for Session {
    /// Never shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("timeout_ms", &self.timeout_ms)
            .field("token", &self.token)
            .field("sequence", &self.sequence)
            .field("nonce", &self.nonce)
            .finish_non_exhaustive()
    }
}

impl Session {
    fn digest(&self) -> u64 {
        let mut bytes = [0; 52];
        bytes[..16].copy_from_slice(&self.password);
        bytes[16..24].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.timeout_ms.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.token.0.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.sequence.0.to_le_bytes());
        bytes[44..].copy_from_slice(&self.nonce.0.to_le_bytes());
        xxh3_64(&bytes)
    }
}

/// All sessions of the ensemble.
#[derive(Debug, Default)]
pub struct Sessions {
    records: Pages<Session>,
    slots: BTreeMap<SessionId, u32>,
    last_ids: BTreeMap<u8, SessionId>,
    digest: u64,
}

impl Sessions {
    /// The sessions of a frozen image.
    pub(crate) fn thaw(records: Pages<Session>, last_ids: BTreeMap<u8, SessionId>) -> Self {
        let mut sessions = Sessions { records, ..Sessions::default() };
        for (slot, session) in sessions.records.iter() {
            sessions.slots.insert(session.id, slot);
            sessions.digest = sessions.digest.wrapping_add(session.digest());
        }
        for (prefix, last) in last_ids {
            sessions.note_last(prefix, last);
        }
        sessions
    }

    /// All sessions as they are now; costs a pointer for each page.
    pub(crate) fn freeze(&self) -> Pages<Session> {
        self.records.clone()
    }

    /// The session of this id.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.records.get(*self.slots.get(&id)?)
    }

    /// Every session, ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        let slots = self.slots.values();
        slots.map(|&slot| self.records.get(slot).expect("the index names slots in use"))
    }

    /// Every session behind `after`, ascending by id.
    pub fn after(&self, after: Option<SessionId>) -> impl Iterator<Item = &Session> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.slots.range((from, Bound::Unbounded)).map(|(_, &slot)| slot);
        slots.map(|slot| self.records.get(slot).expect("the index names slots in use"))
    }

    /// How many of them are lanes: sessions of servers, not of clients.
    pub fn n_lanes(&self) -> usize {
        self.slots.range(FIRST_LANE..=LAST_LANE).count()
    }

    /// How many there are, lanes included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds a session.
    ///
    /// # Panics
    /// If it is there: callers have looked.
    pub fn insert(&mut self, session: Session) {
        self.digest = self.digest.wrapping_add(session.digest());
        let id = session.id;
        let slot = self.records.insert(session);
        let before = self.slots.insert(id, slot);
        assert!(before.is_none(), "session {id} is there already");
    }

    /// Changes a session.
    ///
    /// # Panics
    /// If it is not there, or its id is changed.
    pub fn update(&mut self, id: SessionId, update: impl FnOnce(&mut Session)) {
        let slot = *self.slots.get(&id).expect("callers look before they change");
        let session = self.records.get_mut(slot).expect("the index names slots in use");
        self.digest = self.digest.wrapping_sub(session.digest());
        update(session);
        assert_eq!(session.id, id, "ids never change");
        self.digest = self.digest.wrapping_add(session.digest());
    }

    /// Takes a session away.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove(&mut self, id: SessionId) {
        let slot = self.slots.remove(&id).expect("callers look before they remove");
        let session = self.records.remove(slot).expect("the index names slots in use");
        self.digest = self.digest.wrapping_sub(session.digest());
    }

    /// The largest id ever opened whose upper byte is `prefix`; without one, the id below the
    /// first.
    pub fn last_id(&self, prefix: u8) -> SessionId {
        let before_first = SessionId(((u64::from(prefix)) << 56) as i64);
        self.last_ids.get(&prefix).copied().unwrap_or(before_first)
    }

    /// By the upper byte of ids: the largest ever opened.
    pub fn last_ids(&self) -> &BTreeMap<u8, SessionId> {
        &self.last_ids
    }

    /// Notes the largest id opened of those whose upper byte is `prefix`.
    pub fn note_last(&mut self, prefix: u8, last: SessionId) {
        if let Some(before) = self.last_ids.insert(prefix, last) {
            self.digest = self.digest.wrapping_sub(digest_of_last(prefix, before));
        }
        self.digest = self.digest.wrapping_add(digest_of_last(prefix, last));
    }

    /// The wrapping sum of the hashes of all sessions and last ids.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

/// The upper byte of an id: the server that gave it.
pub fn prefix_of(id: SessionId) -> u8 {
    (id.0 as u64 >> 56) as u8
}

/// The id under which the lane of `server` is kept among the sessions; `None` if its number is too
/// large for one. No client's session has such an id: those hold a server and a time, and this
/// would be the last minute of server 255's clock.
pub fn lane_of(server: ServerId) -> Option<SessionId> {
    let id = SessionId(LAST_LANE.0.checked_sub_unsigned(server.0)?);
    is_lane(id).then_some(id)
}

/// Whether the id is one of a lane.
pub fn is_lane(id: SessionId) -> bool {
    (FIRST_LANE..=LAST_LANE).contains(&id)
}

const FIRST_LANE: SessionId = SessionId(-0x1_0000);
const LAST_LANE: SessionId = SessionId(-1);

fn digest_of_last(prefix: u8, last: SessionId) -> u64 {
    let mut bytes = [prefix; 9];
    bytes[1..].copy_from_slice(&last.0.to_le_bytes());
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: i64) -> Session {
        Session {
            id: SessionId(id),
            password: [7; 16],
            timeout_ms: 4_000,
            token: Token(9),
            sequence: Sequence(0),
            nonce: Nonce(1),
        }
    }

    #[test]
    fn every_field_counts_in_the_digest() {
        let changes: [fn(&mut Session); 5] = [
            |session| session.password[15] ^= 1,
            |session| session.timeout_ms += 1,
            |session| session.token.0 += 1,
            |session| session.sequence.0 += 1,
            |session| session.nonce.0 += 1,
        ];
        for change in changes {
            let mut sessions = Sessions::default();
            sessions.insert(session(5));
            let before = sessions.digest();
            sessions.update(SessionId(5), change);
            assert_ne!(sessions.digest(), before);
            sessions.remove(SessionId(5));
            assert_eq!(sessions.digest(), 0);
        }
    }

    #[test]
    fn last_ids_are_kept_by_their_upper_byte() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.last_id(0xfe).0 as u64, 0xfe00_0000_0000_0000);
        sessions.note_last(1, SessionId(0x0100_0000_0000_0007));
        assert_eq!(sessions.last_id(1), SessionId(0x0100_0000_0000_0007));
        assert_eq!(sessions.last_id(0), SessionId(0));
        assert_eq!(prefix_of(SessionId(-1)), 0xff);
    }

    #[test]
    fn lanes_have_ids_of_their_own() {
        assert_eq!(lane_of(ServerId(0)), Some(SessionId(-1)));
        assert_eq!(lane_of(ServerId(255)), Some(SessionId(-256)));
        assert_eq!(lane_of(ServerId(0xffff)), Some(SessionId(-0x1_0000)));
        for server in [0x1_0000, i64::MAX as u64, u64::MAX] {
            assert_eq!(lane_of(ServerId(server)), None);
        }
        let mut sessions = Sessions::default();
        for id in [5, -1, -0x1_0000, -0x1_0001, i64::MIN, 1 << 56] {
            sessions.insert(session(id));
        }
        assert_eq!((sessions.n_lanes(), sessions.len()), (2, 6));
        assert!(!is_lane(SessionId(0)));
    }

    #[test]
    fn a_session_s_debug_text_hides_the_password() {
        assert!(!format!("{:?}", session(1)).contains("password"));
    }
}
