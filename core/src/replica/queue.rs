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
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Wish>);

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
    pub(super) fn push_back(&mut self, output: Output) {
        self.0.push_back(Wish::One(output));
    }

    /// Queues an event; the same one for one connection after the other costs little.
    pub(super) fn notify(&mut self, conn: ConnId, zxid: Zxid, event: Event) {
        match self.0.back_mut() {
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
    }

    pub(super) fn pop_front(&mut self) -> Option<Output> {
        if let Some(Wish::Notify { zxid, event, conns, next }) = self.0.front_mut() {
            if let Some(&conn) = conns.get(*next) {
                *next += 1;
                return Some(Output::Notify { conn, zxid: *zxid, event: event.clone() });
            }
            self.0.pop_front();
            return self.pop_front();
        }
        match self.0.pop_front()? {
            Wish::One(output) => Some(output),
            Wish::Notify { .. } => unreachable!("it was looked at just now"),
        }
    }

    /// The last wish comes first: what no server does that is not to be caught at it.
    pub(super) fn hurry_last(&mut self) {
        self.0.rotate_right(1);
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
        let mut queue = Queue::default();
        let told = [(1, 5, "/a"), (2, 5, "/a"), (3, 5, "/a"), (2, 5, "/b"), (2, 6, "/b")];
        for (conn, zxid, path) in told {
            queue.notify(ConnId(conn), Zxid(zxid), event(path));
        }
        assert_eq!(queue.0.len(), 3, "three events");
        let pop = |queue: &mut Queue| match queue.pop_front() {
            Some(Output::Notify { conn, zxid, event }) => Some((conn, zxid, event)),
            None => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(pop(&mut queue), Some((ConnId(1), Zxid(5), event("/a"))));
        // What comes while some have been told goes behind those who have not.
        queue.notify(ConnId(9), Zxid(6), event("/b"));
        for (conn, zxid, path) in [told[1], told[2], told[3], told[4], (9, 6, "/b")] {
            assert_eq!(pop(&mut queue), Some((ConnId(conn), Zxid(zxid), event(path))));
        }
        assert_eq!(pop(&mut queue), None);
    }
}
