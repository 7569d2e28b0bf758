//! One direction of a connection: what was written at one end and not yet read at the other.
//!
//! Invariants: first in, first out, whatever single packets take; behind a packet that is held back
//! everything is; a writer never has more under way than the buffers on both sides take.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;

use super::Time;
use super::dice::Dice;

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Bytes(Bytes),
    /// Nothing comes after it.
    End,
    /// The connection is over. What came before it and was not read may be lost with it.
    Reset {
        purges: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// When it is there; `None` while it is held back.
    pub(super) at: Option<Time>,
    pub(super) load: Load,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) packets: VecDeque<Packet>,
    /// Bytes that take room in the buffers.
    pub(super) outstanding: usize,
    /// Bytes read, whose acknowledgement does not get through: they take room still.
    pub(super) unacknowledged: usize,
    /// Room in the buffers of both sides together.
    pub(super) capacity: usize,
    /// Since when something sent does not arrive.
    pub(super) stuck_since: Option<Time>,
    /// After so many more bytes the connection breaks.
    pub(super) fuse: Option<usize>,
    /// No packet arrives before it.
    pub(super) last_arrival: Time,
    /// A reset is on its way: another would say nothing new.
    pub(super) over: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) dice: Dice,
}

impl Pipe {
    pub(super) fn new(capacity: usize, dice: Dice) -> Self {
        assert!(capacity > 0, "a pipe takes at least a byte");
        Pipe {
            packets: VecDeque::new(),
            outstanding: 0,
            unacknowledged: 0,
            capacity,
            stuck_since: None,
            fuse: None,
            last_arrival: Time::ZERO,
            over: false,
            reader: None,
            writer: None,
            dice,
        }
    }

    /// Room for bytes.
    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.outstanding)
    }

    /// Whether its last packet waits for a link.
    pub(super) fn is_held(&self) -> bool {
        self.packets.back().is_some_and(|packet| packet.at.is_none())
    }

    /// Puts a packet behind all others.
    pub(super) fn push(&mut self, at: Option<Time>, load: Load) {
        if self.over {
            return;
        }
        self.over = matches!(load, Load::Reset { .. });
        let at = if self.is_held() { None } else { at };
        let at = at.map(|at| at.max(self.last_arrival));
        self.last_arrival = at.unwrap_or(self.last_arrival);
        self.packets.push_back(Packet { at, load });
    }

    /// When a reset is there, if one is on its way and not held back.
    pub(super) fn reset_at(&self) -> Option<(Time, bool)> {
        let last = self.packets.back()?;
        match last.load {
            Load::Reset { purges } => Some((last.at?, purges)),
            Load::Bytes(_) | Load::End => None,
        }
    }

    /// Whether bytes are there that nobody has read.
    pub(super) fn has_unread(&self, now: Time) -> bool {
        let there = |packet: &Packet| packet.at.is_some_and(|at| at <= now);
        self.packets.iter().any(|packet| there(packet) && matches!(packet.load, Load::Bytes(_)))
    }

    /// When the first bytes arrive that are under way.
    pub(super) fn first_arrival(&self) -> Option<Time> {
        let bytes = |packet: &&Packet| matches!(packet.load, Load::Bytes(_));
        self.packets.iter().find(bytes).and_then(|packet| packet.at)
    }

    /// Takes at most `n` bytes off the first packet, which is there.
    pub(super) fn take(&mut self, n: usize) -> Bytes {
        let Some(Packet { load: Load::Bytes(bytes), .. }) = self.packets.front_mut() else {
            unreachable!("only bytes are taken")
        };
        let taken = bytes.split_to(n.min(bytes.len()));
        if bytes.is_empty() {
            self.packets.pop_front();
        }
        taken
    }

    /// The reader's side has room for `n` more bytes, and the writer hears of it or not.
    pub(super) fn acknowledge(&mut self, n: usize, heard: bool) {
        self.unacknowledged += n;
        if heard {
            let n = std::mem::take(&mut self.unacknowledged);
            assert!(n <= self.outstanding, "{n} bytes read of {} written", self.outstanding);
            self.outstanding -= n;
        }
    }
}
