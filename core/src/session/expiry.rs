//! The leader's deadlines: when which session is overdue.
//!
//! Invariant: each session stands in the queue exactly once, at or before its deadline. A touch
//! moves the deadline and leaves the queue alone, unless the deadline comes closer; the queue
//! catches up when the entry comes up. So a touch costs one look-up, and an entry is moved once a
//! timeout.

use std::collections::BTreeSet;
use std::time::Duration;

use hashbrown::HashTable;

use crate::id::SessionId;
use crate::time::Instant;

/// Deadlines by session. On the leader only; everyone else holds an empty one.
#[derive(Debug, Default)]
pub struct Expiry {
    /// By the hash of the id. Never iterated.
    watched: HashTable<Watched>,
    queue: BTreeSet<(Instant, SessionId)>,
    /// All instants inside are earlier than the clock by this much: how long the clock was running
    /// while the leader was not.
    paused: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    session: SessionId,
    /// Never moves back, in whatever order the news comes in.
    heard: Instant,
    deadline: Instant,
    /// Its place in the queue, never after the deadline.
    queued: Instant,
}

/// A session that was reported overdue is reported again after this long: the close may have been
/// lost.
const RETRY: Duration = Duration::from_secs(5);

impl Expiry {
    /// No sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new leader gives each session its full timeout.
    pub fn start(&mut self, now: Instant, sessions: impl Iterator<Item = (SessionId, i32)>) {
        self.clear();
        for (session, timeout_ms) in sessions {
            self.touch(session, timeout_ms, now);
        }
    }

    /// A session, known or new, was heard from. Call it for sessions that exist, and
    /// [`remove`](Self::remove) when they end.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32, now: Instant) {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        let heard = self.inside(now);
        let is_it = |watched: &Watched| watched.session == session;
        let Some(watched) = self.watched.find_mut(hash(session), is_it) else {
            let deadline = heard + timeout;
            let watched = Watched { session, heard, deadline, queued: deadline };
            self.watched.insert_unique(hash(session), watched, |watched| hash(watched.session));
            self.queue.insert((deadline, session));
            return;
        };
        watched.heard = watched.heard.max(heard);
        let deadline = watched.heard + timeout;
        watched.deadline = deadline;
        if deadline < watched.queued {
            let was_there = self.queue.remove(&(watched.queued, session));
            assert!(was_there, "session {session} is watched and not in the queue");
            watched.queued = deadline;
            self.queue.insert((deadline, session));
        }
    }

    /// A session has ended.
    pub fn remove(&mut self, session: SessionId) {
        let is_it = |watched: &Watched| watched.session == session;
        if let Ok(entry) = self.watched.find_entry(hash(session), is_it) {
            let (watched, _) = entry.remove();
            let was_there = self.queue.remove(&(watched.queued, session));
            assert!(was_there, "session {session} is watched and not in the queue");
        }
    }

    /// At most `limit` sessions whose deadline has passed, longest overdue first. Each is reported
    /// once, and again only after a while or after a new deadline.
    pub fn overdue(&mut self, now: Instant, limit: usize) -> Vec<SessionId> {
        let now = self.inside(now);
        let mut overdue = Vec::new();
        while overdue.len() < limit {
            let Some(&(queued, session)) = self.queue.first() else { break };
            if queued > now {
                break;
            }
            self.queue.pop_first();
            let is_it = |watched: &Watched| watched.session == session;
            let watched = self.watched.find_mut(hash(session), is_it);
            let watched = watched.expect("the queue holds watched sessions only");
            if watched.deadline <= now {
                overdue.push(session);
                watched.deadline = now + RETRY;
            }
            watched.queued = watched.deadline;
            self.queue.insert((watched.queued, session));
        }
        overdue
    }

    /// The leader itself was not running for `by`: nobody could reach it, so everyone gets that
    /// long.
    pub fn shift(&mut self, by: Duration) {
        self.paused = self.paused.saturating_add(by);
    }

    /// When `session` is overdue, unless it is heard from before; `None` if it is not watched.
    pub fn deadline_of(&self, session: SessionId) -> Option<Instant> {
        let watched = self.watched.find(hash(session), |watched| watched.session == session)?;
        Some(watched.deadline + self.paused)
    }

    /// When to ask for overdue sessions: never after the first deadline, perhaps before it.
    pub fn deadline(&self) -> Option<Instant> {
        self.queue.first().map(|&(queued, _)| queued + self.paused)
    }

    /// The leader is one no more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn inside(&self, now: Instant) -> Instant {
        Instant::from_micros(now.since(Instant::ZERO + self.paused).as_micros() as u64)
    }
}

/// Session ids differ in few bits; the table needs them spread.
fn hash(session: SessionId) -> u64 {
    let mixed = (session.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    #[test]
    fn a_session_is_overdue_at_its_deadline_and_not_before() {
        let mut expiry = Expiry::new();
        expiry.touch(A, 1_000, at(0));
        assert_eq!(expiry.deadline(), Some(at(1_000)));
        assert_eq!(expiry.overdue(at(999), 10), []);
        assert_eq!(expiry.overdue(at(1_000), 10), [A]);
    }

    #[test]
    fn a_touch_gives_a_full_timeout() {
        let mut expiry = Expiry::new();
        expiry.touch(A, 1_000, at(0));
        expiry.touch(A, 1_000, at(900));
        assert_eq!(expiry.overdue(at(1_899), 10), []);
        assert_eq!(expiry.deadline(), Some(at(1_900)));
        assert_eq!(expiry.overdue(at(1_900), 10), [A]);
    }

    #[test]
    fn old_news_takes_nothing_away() {
        let mut expiry = Expiry::new();
        expiry.start(at(1_000), [(A, 1_000)].into_iter());
        expiry.touch(A, 1_000, at(400));
        assert_eq!(expiry.overdue(at(1_999), 10), []);
        assert_eq!(expiry.overdue(at(2_000), 10), [A]);
    }

    #[test]
    fn a_deadline_is_told_by_the_clock_of_the_world() {
        let mut expiry = Expiry::new();
        assert_eq!(expiry.deadline_of(A), None);
        expiry.touch(A, 1_000, at(0));
        expiry.touch(A, 1_000, at(300));
        assert_eq!(expiry.deadline_of(A), Some(at(1_300)));
        expiry.shift(Duration::from_millis(50));
        assert_eq!(expiry.deadline_of(A), Some(at(1_350)));
        assert_eq!(expiry.overdue(at(1_350), 10), [A]);
    }

    #[test]
    fn a_shorter_timeout_takes_effect() {
        let mut expiry = Expiry::new();
        expiry.touch(A, 10_000, at(0));
        expiry.touch(A, 1_000, at(0));
        assert_eq!(expiry.deadline(), Some(at(1_000)));
        assert_eq!(expiry.overdue(at(1_000), 10), [A]);
    }

    #[test]
    fn a_report_is_repeated_after_a_while_unless_touched() {
        let mut expiry = Expiry::new();
        expiry.touch(A, 1_000, at(0));
        expiry.touch(B, 1_000, at(0));
        assert_eq!(expiry.overdue(at(1_000), 10), [A, B]);
        assert_eq!(expiry.overdue(at(1_001), 10), []);
        expiry.touch(B, 60_000, at(2_000));
        assert_eq!(expiry.overdue(at(5_999), 10), []);
        assert_eq!(expiry.overdue(at(6_000), 10), [A]);
        expiry.remove(A);
        assert_eq!(expiry.overdue(at(61_999), 10), []);
        assert_eq!(expiry.overdue(at(62_000), 10), [B]);
    }

    #[test]
    fn a_limit_leaves_the_rest_for_the_next_call() {
        let mut expiry = Expiry::new();
        expiry.touch(B, 1_000, at(0));
        expiry.touch(A, 2_000, at(0));
        assert_eq!(expiry.overdue(at(9_000), 1), [B]);
        assert_eq!(expiry.overdue(at(9_000), 1), [A]);
        assert_eq!(expiry.overdue(at(9_000), 1), []);
    }

    #[test]
    fn a_removed_session_is_never_overdue() {
        let mut expiry = Expiry::new();
        expiry.touch(A, 1_000, at(0));
        expiry.remove(A);
        expiry.remove(B);
        assert_eq!(expiry.deadline(), None);
        assert_eq!(expiry.overdue(at(9_000), 10), []);
    }

    #[test]
    fn a_pause_of_the_leader_is_given_to_everyone() {
        let mut expiry = Expiry::new();
        expiry.touch(A, 1_000, at(100));
        expiry.shift(Duration::from_millis(500));
        assert_eq!(expiry.deadline(), Some(at(1_600)));
        assert_eq!(expiry.overdue(at(1_599), 10), []);
        expiry.touch(B, 1_000, at(1_599));
        assert_eq!(expiry.overdue(at(1_600), 10), [A]);
        assert_eq!(expiry.overdue(at(2_598), 10), []);
        assert_eq!(expiry.overdue(at(2_599), 10), [B]);
    }

    #[test]
    fn a_new_leader_gives_full_timeouts_and_forgets_the_former_ones() {
        let mut expiry = Expiry::new();
        expiry.touch(SessionId(3), 1, at(0));
        expiry.shift(Duration::from_millis(7));
        expiry.start(at(5_000), [(A, 1_000), (B, 2_000)].into_iter());
        assert_eq!(expiry.overdue(at(5_999), 10), []);
        assert_eq!(expiry.overdue(at(7_000), 10), [A, B]);
        expiry.clear();
        assert_eq!(expiry.deadline(), None);
    }
}
