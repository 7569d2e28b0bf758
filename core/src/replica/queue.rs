//! What the replica wishes for and has not been asked for yet.
//!
//! Invariant: wishes come out in the order in which they went in. An event that many connections
//! are to hear stands here once, with the list of them, so that a multi over a znode that thousands
//! watch does not weigh what its events weigh together.

use std::collections::VecDeque;

use super::Output;
use crate::id::ConnId;
use crate::proto::{Event, Zxid};

/// Outputs, first in, first out.
#[derive(Debug)]
pub(super) struct Queue {
    wishes: VecDeque<Wish>,
    /// Events, counted for each connection that is to hear them; never above `max_events`.
    n_events: usize,
    max_events: usize,
}

#[derive(Debug)]
enum Wish {
    One(Output),
    Notify {
        zxid: Zxid,
        event: Event,
        conns: Vec<ConnId>,
        /// Those before this one have been told.
        next: usize,
    },
}

impl Queue {
    /// An empty one, with room for so many events.
    pub(super) fn new(max_events: usize) -> Self {
        Queue { wishes: VecDeque::new(), n_events: 0, max_events }
    }

    pub(super) fn push_back(&mut self, output: Output) {
        self.wishes.push_back(Wish::One(output));
    }

    /// Queues an event; the same one for one connection after the other costs little. `false` if
    /// there is no room: then it is not queued, and nor must be any later event for the connection.
    #[must_use]
    pub(super) fn notify(&mut self, conn: ConnId, zxid: Zxid, event: Event) -> bool {
        if self.n_events >= self.max_events {
            return false;
        }
        self.n_events += 1;
        match self.wishes.back_mut() {
            Some(Wish::Notify { zxid: own, event: same, conns, .. })
                if *own == zxid && *same == event =>
            {
                conns.push(conn);
            }
            Some(last @ Wish::One(Output::Notify { .. })) => {
                let Wish::One(Output::Notify { conn: first, zxid: own, event: same }) = &*last
                else {
                    unreachable!("just matched")
                };
                if *own == zxid && *same == event {
                    *last = Wish::Notify { zxid, event, conns: vec![*first, conn], next: 0 };
                } else {
                    self.push_back(Output::Notify { conn, zxid, event });
                }
            }
            _ => self.push_back(Output::Notify { conn, zxid, event }),
        }
        true
    }

    pub(super) fn pop_front(&mut self) -> Option<Output> {
        if let Some(Wish::Notify { zxid, event, conns, next }) = self.wishes.front_mut() {
            if let Some(&conn) = conns.get(*next) {
                *next += 1;
                self.n_events -= 1;
                return Some(Output::Notify { conn, zxid: *zxid, event: event.clone() });
            }
            self.wishes.pop_front();
            return self.pop_front();
        }
        match self.wishes.pop_front()? {
            Wish::One(output) => {
                self.n_events -= usize::from(matches!(output, Output::Notify { .. }));
                Some(output)
            }
            Wish::Notify { .. } => unreachable!("it was looked at just now"),
        }
    }

    /// The last wish comes first: what no server does that is not to be caught at it.
    pub(super) fn hurry_last(&mut self) {
        self.wishes.rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::EventKind;

    fn event(path: &str) -> Event {
        Event { kind: EventKind::Created, path: path.into() }
    }

    #[test]
    fn events_for_many_come_out_one_by_one_and_in_order() {
        let mut queue = Queue::new(6);
        let told = [(1, 5, "/a"), (2, 5, "/a"), (3, 5, "/a"), (2, 5, "/b"), (2, 6, "/b")];
        for (conn, zxid, path) in told {
            assert!(queue.notify(ConnId(conn), Zxid(zxid), event(path)));
        }
        assert_eq!(queue.wishes.len(), 3, "three events");
        let pop = |queue: &mut Queue| match queue.pop_front() {
            Some(Output::Notify { conn, zxid, event }) => Some((conn, zxid, event)),
            None => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(pop(&mut queue), Some((ConnId(1), Zxid(5), event("/a"))));
        // What comes while some have been told goes behind those who have not.
        assert!(queue.notify(ConnId(9), Zxid(6), event("/b")));
        for (conn, zxid, path) in [told[1], told[2], told[3], told[4], (9, 6, "/b")] {
            assert_eq!(pop(&mut queue), Some((ConnId(conn), Zxid(zxid), event(path))));
        }
        assert_eq!(pop(&mut queue), None);
    }

    #[test]
    fn there_is_room_for_so_many_events_and_it_comes_back() {
        let mut queue = Queue::new(3);
        for _ in 0..2 {
            let admitted = [1, 2, 3, 4].map(|n| queue.notify(ConnId(n), Zxid(1), event("/a")));
            assert_eq!(admitted, [true, true, true, false]);
            queue.push_back(Output::Purge { through: crate::raft::Index(1) });
            let n_events = std::iter::from_fn(|| queue.pop_front())
                .filter(|output| matches!(output, Output::Notify { .. }))
                .count();
            assert_eq!((n_events, queue.n_events), (3, 0));
        }
    }
}
