//! C12. Work, messages under way, log and memory have bounds (design: every queue has a limit; a
//! message storm and a leak are defects even if every answer is right).

use std::collections::BTreeMap;

use zokor_core::id::ServerId;
use zokor_core::raft::{Body, Message, Term};

use super::{Verdict, must};

/// Events in one simulated second, at most: beyond it something runs in a circle.
const EVENTS_PER_SECOND: u64 = 150_000;

/// Messages between servers under way at one moment, at most. Far above the windows of all leaders
/// together; slow links and heavy tails hold many back.
const IN_FLIGHT: u64 = 5_000;

/// How many entries may come while a snapshot is written, or waits for its disk, at most.
const ENTRIES_MEANWHILE: u64 = 5_000;

/// There were `events` in second `second` so far.
///
/// # Errors
/// If that is too much.
pub fn events(second: u64, events: u64) -> Verdict {
    must("bounded work (C12)", events <= EVENTS_PER_SECOND, || {
        format!("more than {EVENTS_PER_SECOND} events in second {second}")
    })
}

/// What a server may wish for at one poll, at most: far more than all watches of all clients.
const WISHES: usize = 200_000;

/// A server has wished for `count` things in one poll so far.
///
/// # Errors
/// If that is too much: it wishes in a circle.
pub fn wishes(server: ServerId, count: usize) -> Verdict {
    must("bounded work (C12)", count <= WISHES, || {
        format!("server {server} wishes for more than {WISHES} things at once")
    })
}

/// Messages between servers that were sent and have not arrived, nor were lost.
#[derive(Debug, Default)]
pub struct Flight {
    under_way: u64,
    most: u64,
}

impl Flight {
    /// So many copies of a message are on their way.
    ///
    /// # Errors
    /// If there are too many by now.
    pub fn sent(&mut self, copies: usize) -> Verdict {
        self.under_way += copies as u64;
        self.most = self.most.max(self.under_way);
        must("bounded messages in flight (C12)", self.under_way <= IN_FLIGHT, || {
            format!("{} messages are under way", self.under_way)
        })
    }

    /// One has arrived.
    pub fn arrived(&mut self) {
        self.under_way = self.under_way.checked_sub(1).expect("it was sent");
    }

    /// The most at one moment.
    pub fn most(&self) -> u64 {
        self.most
    }
}

/// How leaders feed their followers: what goes out without an answer.
///
/// Without a word from its follower, a leader sends one window of appends; and one more with each
/// heartbeat and each new connection, to find out where the logs match. A follower that is left out
/// of the membership and comes back is a new one, with a window of its own.
#[derive(Debug, Default)]
pub struct Feeds {
    /// By leader and follower.
    unanswered: BTreeMap<(ServerId, ServerId), Feed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Feed {
    term: Term,
    appends: u64,
    allowed: u64,
}

impl Feeds {
    /// A server whose window is so large says something to another.
    ///
    /// # Errors
    /// If it has sent too much since it last heard from it.
    pub fn said<C>(
        &mut self,
        from: ServerId,
        to: ServerId,
        message: &Message<C>,
        window: usize,
    ) -> Verdict {
        let feed = self.unanswered.entry((from, to)).or_default();
        if feed.term != message.term {
            *feed = Feed { term: message.term, ..Feed::default() };
        }
        match &message.body {
            Body::Heartbeat { .. } | Body::Feeding { .. } => feed.allowed += 1,
            Body::Append { entries, .. } if !entries.is_empty() => feed.appends += 1,
            _ => {}
        }
        let Feed { appends, allowed, .. } = *feed;
        must("bounded feeding (C12)", appends <= 2 * (window as u64 + 1) + allowed, || {
            format!(
                "server {from} has sent {appends} appends to server {to} without a word from it, \
                 with a window of {window} and {allowed} more for heartbeats and connections"
            )
        })
    }

    /// A word from `from` has come to `to`.
    pub fn came(&mut self, from: ServerId, to: ServerId) {
        self.unanswered.remove(&(to, from));
    }

    /// A connection from `from` to `to` was made, or has ended.
    pub fn connected(&mut self, from: ServerId, to: ServerId) {
        if let Some(feed) = self.unanswered.get_mut(&(from, to)) {
            feed.allowed += 1;
        }
    }
}

/// `server` keeps `entries` in its log, besides those that its snapshot may still leave there, and
/// a snapshot is due after `interval`.
///
/// # Errors
/// If a snapshot should long have taken their place.
pub fn log(server: ServerId, entries: u64, keep: u64, interval: u64) -> Verdict {
    let most = keep + 2 * interval + ENTRIES_MEANWHILE;
    must("bounded log (C12)", entries <= most, || {
        format!("the log of server {server} has {entries} entries, {most} at most should be there")
    })
}

/// What a server keeps for its clients, and what they are known to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Requests that wait.
    pub requests: u64,
    /// Pairs of path and connection that are watched.
    pub watches: u64,
}

/// At rest `server` keeps `found` for the clients that are connected to it, who have `expected`.
///
/// # Errors
/// If it keeps anything else: what nobody waits for is never let go.
pub fn memory(server: ServerId, found: Memory, expected: Memory) -> Verdict {
    must("bounded memory (C12)", found == expected, || {
        format!("server {server} keeps {found:?}, its clients have {expected:?}")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::raft::{Entry, EntryId, Index, Payload};

    use super::*;

    #[test]
    fn a_server_that_wishes_in_a_circle_is_found() {
        assert!(wishes(ServerId(1), WISHES).is_ok());
        assert!(wishes(ServerId(1), WISHES + 1).is_err());
    }

    #[test]
    fn too_many_events_are_found() {
        assert!(events(1, EVENTS_PER_SECOND).is_ok());
        assert!(events(1, EVENTS_PER_SECOND + 1).is_err());
    }

    #[test]
    fn too_many_messages_under_way_are_found() {
        let mut flight = Flight::default();
        for _ in 0..3 * IN_FLIGHT {
            assert!(flight.sent(1).is_ok());
            flight.arrived();
        }
        assert!(flight.sent(IN_FLIGHT as usize).is_ok());
        assert!(flight.sent(1).is_err());
        assert_eq!(flight.most(), IN_FLIGHT + 1);
    }

    #[test]
    fn an_append_for_every_refusal_that_never_came_is_found() {
        let (from, to, term) = (ServerId(1), ServerId(2), Term(3));
        let append = || {
            let id = EntryId { term, index: Index(1) };
            let entries = vec![Arc::new(Entry::<()> { id, payload: Payload::Blank })];
            Body::Append { previous: EntryId::default(), commit: Index(0), entries }
        };
        let mut feeds = Feeds::default();
        let send =
            |feeds: &mut Feeds, body| feeds.said(from, to, &Message { term, body }, 1).is_ok();
        assert!((0..4).all(|_| send(&mut feeds, append())));
        assert!(send(&mut feeds, Body::Heartbeat { commit: Index(0), round: 1 }));
        assert!(send(&mut feeds, append()), "a heartbeat allows one");
        feeds.connected(from, to);
        assert!(send(&mut feeds, append()), "a connection allows one");
        assert!(!send(&mut feeds, append()));
        feeds.came(to, from);
        assert!((0..4).all(|_| send(&mut feeds, append())));
    }

    #[test]
    fn a_log_that_is_never_cut_is_found() {
        assert!(log(ServerId(1), 5_120, 100, 10).is_ok());
        assert!(log(ServerId(1), 5_121, 100, 10).is_err());
    }

    #[test]
    fn what_nobody_waits_for_is_found() {
        let memory = |requests, watches| {
            let expected = Memory { requests: 1, watches: 2 };
            memory(ServerId(1), Memory { requests, watches }, expected)
        };
        assert!(memory(1, 2).is_ok());
        assert!(memory(2, 2).is_err());
        assert!(memory(1, 3).is_err());
    }
}
