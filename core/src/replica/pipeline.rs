//! A connection's requests, first in, first out.
//!
//! Invariants: replies leave in the order of the requests. A write has left for the leader if, and
//! only if, no barrier and no upgrade of its session stands before it: so the write at the front is
//! always the next one to be answered, and no read ever sees a write that was asked for after it
//! (ZooKeeper, ATC 2010, FIFO client order).

use std::collections::VecDeque;

use crate::db::Action;
use crate::id::{Sequence, Token, Xid};
use crate::proto::{ErrorCode, Identities, Read, Reconfig, Rewatch, Text, Zxid};
use crate::time::Instant;

use super::output::CloseReason;

/// One request that waits for its answer.
#[derive(Debug)]
pub(super) enum Slot {
    /// Goes through the log.
    Write(PendingWrite),
    /// Waits for a read barrier (`sync`).
    Barrier(PendingBarrier),
    /// Waits for its session to be known to all servers; no request, and not answered.
    Upgrade {
        /// It is in the log's hands.
        started: bool,
        /// The connection's last write before it.
        after: Sequence,
    },
    /// Is answered here as soon as it is first in line.
    Local(PendingLocal),
}

/// A write on its way through the log.
#[derive(Debug)]
pub(super) struct PendingWrite {
    pub(super) xid: Xid,
    pub(super) sequence: Sequence,
    /// Kept whole, to be sent again to another leader.
    pub(super) action: Action,
    /// When it last left for the leader; `None` while a barrier or an upgrade stands before it.
    pub(super) sent: Option<Instant>,
}

/// A barrier that waits for its index.
#[derive(Debug)]
pub(super) struct PendingBarrier {
    pub(super) xid: Xid,
    pub(super) path: Text,
    /// This connection's own count of barriers.
    pub(super) ordinal: u64,
    pub(super) ready: bool,
}

/// A request that needs nothing but its turn.
#[derive(Debug)]
pub(super) struct PendingLocal {
    pub(super) xid: Xid,
    /// The identities of the connection when the request was read.
    pub(super) identities: Identities,
    pub(super) work: Local,
}

/// What is to be done when its turn has come.
#[derive(Debug)]
pub(super) enum Local {
    Read(Read),
    Ping,
    Rewatch(Rewatch),
    Reconfig(Reconfig),
    /// The end of a session that only this server knows.
    End,
    /// Answered with an error, after which the connection may have to end.
    Refuse {
        error: ErrorCode,
        zxid: Option<Zxid>,
        close: Option<CloseReason>,
    },
}

/// The requests of one connection that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    slots: VecDeque<Slot>,
    /// Barriers and upgrades in the line.
    n_holding: usize,
    barriers: u64,
    upgrading: bool,
}

/// What no barrier holds back any more.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// Writes, in order.
    pub(super) writes: Vec<Action>,
    /// The session is to be upgraded, after them; the sequence of the last write before.
    pub(super) upgrade: Option<Sequence>,
}

/// What the front of the line needs.
#[derive(Debug)]
pub(super) enum Step {
    /// The barrier is passed: say so. The writes behind it may leave now.
    Passed(PendingBarrier),
    /// Do this now.
    Run(PendingLocal),
    /// Nothing can be done before something else happens.
    Wait,
}

impl Pipeline {
    /// Requests that wait.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - usize::from(self.upgrading)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a write entered now would have to wait before it leaves.
    pub(super) fn holds_writes(&self) -> bool {
        self.n_holding > 0
    }

    /// Whether its session's upgrade is in the line.
    pub(super) fn is_upgrading(&self) -> bool {
        self.upgrading
    }

    pub(super) fn enter_write(&mut self, write: PendingWrite) {
        assert_eq!(
            write.sent.is_none(),
            self.holds_writes(),
            "a write leaves unless something holds it back"
        );
        self.slots.push_back(Slot::Write(write));
    }

    /// Takes its place in the line; the number names it to `barrier_ready`.
    pub(super) fn enter_barrier(&mut self, xid: Xid, path: Text) -> u64 {
        self.barriers += 1;
        self.n_holding += 1;
        let ordinal = self.barriers;
        self.slots.push_back(Slot::Barrier(PendingBarrier { xid, path, ordinal, ready: false }));
        ordinal
    }

    /// The session is to be upgraded before what comes next. Whether that can begin at once.
    pub(super) fn enter_upgrade(&mut self, after: Sequence) -> bool {
        assert!(!self.upgrading, "a session is upgraded once");
        let started = !self.holds_writes();
        self.upgrading = true;
        self.n_holding += 1;
        self.slots.push_back(Slot::Upgrade { started, after });
        started
    }

    pub(super) fn enter_local(&mut self, local: PendingLocal) {
        self.slots.push_back(Slot::Local(local));
    }

    /// The barrier's index is applied here.
    pub(super) fn barrier_ready(&mut self, ordinal: u64) {
        for slot in &mut self.slots {
            if let Slot::Barrier(barrier) = slot
                && barrier.ordinal == ordinal
            {
                barrier.ready = true;
                return;
            }
        }
    }

    /// Takes what can be done at the front.
    pub(super) fn step(&mut self) -> Step {
        match self.slots.front() {
            Some(Slot::Barrier(barrier)) if barrier.ready => {}
            Some(Slot::Local(_)) => {}
            Some(Slot::Barrier(_) | Slot::Write(_) | Slot::Upgrade { .. }) | None => {
                return Step::Wait;
            }
        }
        match self.slots.pop_front() {
            Some(Slot::Barrier(barrier)) => {
                self.n_holding -= 1;
                Step::Passed(barrier)
            }
            Some(Slot::Local(local)) => Step::Run(local),
            Some(Slot::Write(_) | Slot::Upgrade { .. }) | None => {
                unreachable!("the front was looked at just now")
            }
        }
    }

    /// The write with this sequence was applied: takes it from the front of the line.
    pub(super) fn finish_write(&mut self, sequence: Sequence) -> Xid {
        match self.slots.pop_front() {
            Some(Slot::Write(PendingWrite { xid, sequence: first, sent: Some(_), .. }))
                if first == sequence =>
            {
                xid
            }
            other => panic!("write {sequence:?} was applied while {other:?} was first in line"),
        }
    }

    /// The session is known to all: takes the upgrade from the front of the line. What waits
    /// behind it goes under `token`.
    pub(super) fn finish_upgrade(&mut self, token: Token) {
        match self.slots.pop_front() {
            Some(Slot::Upgrade { started: true, .. }) => {}
            other => panic!("a session was upgraded while {other:?} was first in line"),
        }
        self.n_holding -= 1;
        self.upgrading = false;
        for slot in &mut self.slots {
            if let Slot::Write(PendingWrite { action: Action::Write { author, .. }, .. }) = slot {
                author.token = token;
            }
        }
    }

    /// What nothing holds back any more; marks it as sent.
    pub(super) fn release(&mut self, now: Instant) -> Released {
        let mut released = Released::default();
        for slot in &mut self.slots {
            match slot {
                Slot::Barrier(_) | Slot::Upgrade { started: true, .. } => break,
                Slot::Upgrade { started, after } => {
                    *started = true;
                    released.upgrade = Some(*after);
                    break;
                }
                Slot::Write(write) if write.sent.is_none() => {
                    write.sent = Some(now);
                    released.writes.push(write.action.clone());
                }
                Slot::Write(_) | Slot::Local(_) => {}
            }
        }
        released
    }

    /// Everything that has left and is not applied, in order, if the first of it left before
    /// `before`; marks it as sent `now`. Ends when `room` bytes are used up: the rest keeps its
    /// time, and so its turn comes when what was before it is applied.
    pub(super) fn resend(
        &mut self,
        before: Instant,
        now: Instant,
        room: &mut usize,
    ) -> Vec<Action> {
        let mut again = Vec::new();
        for slot in &mut self.slots {
            if let Slot::Write(write) = slot
                && let Some(sent) = write.sent
            {
                if *room == 0 || (again.is_empty() && sent > before) {
                    break;
                }
                *room = room.saturating_sub(write.action.size_bytes());
                write.sent = Some(now);
                again.push(write.action.clone());
            }
        }
        again
    }
}
