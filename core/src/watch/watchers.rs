//! The connections that watch one path, and in which modes.
//!
//! Invariant: no connection is kept without a mode. Most paths have one watcher, who stands in the
//! path's own record; several stand in a list of their own.

use std::num::NonZeroU32;
use std::ops::BitOr;

use super::WatchKind;
use crate::proto::WatcherType;

/// A set of [`WatchKind`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes(u8);

impl Modes {
    pub(super) const NONE: Modes = Modes(0);
    pub(super) const DATA: Modes = Modes(1);
    pub(super) const CHILD: Modes = Modes(2);
    pub(super) const PERSISTENT: Modes = Modes(4);
    pub(super) const RECURSIVE: Modes = Modes(8);

    pub(super) fn of(kind: WatchKind) -> Modes {
        match kind {
            WatchKind::Data => Modes::DATA,
            WatchKind::Child => Modes::CHILD,
            WatchKind::Persistent => Modes::PERSISTENT,
            WatchKind::Recursive => Modes::RECURSIVE,
        }
    }

    /// The modes that checkWatches and removeWatches mean (ZooKeeper 3.9).
    pub(super) fn meant_by(kind: WatcherType) -> Modes {
        match kind {
            WatcherType::Children => Modes::CHILD,
            WatcherType::Data => Modes::DATA,
            WatcherType::Any => Modes(0xf),
            WatcherType::Persistent => Modes::PERSISTENT,
            WatcherType::Recursive => Modes::RECURSIVE,
        }
    }

    pub(super) fn has_any(self, wanted: Modes) -> bool {
        self.0 & wanted.0 != 0
    }

    pub(super) fn without(self, gone: Modes) -> Modes {
        Modes(self.0 & !gone.0)
    }

    pub(super) fn is_in_data_table(self) -> bool {
        self.has_any(Modes::DATA | Modes::PERSISTENT | Modes::RECURSIVE)
    }

    pub(super) fn is_in_child_table(self) -> bool {
        self.has_any(Modes::CHILD | Modes::PERSISTENT)
    }
}

impl BitOr for Modes {
    type Output = Modes;

    fn bitor(self, other: Modes) -> Modes {
        Modes(self.0 | other.0)
    }
}

/// A connection that watches a path: 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watcher {
    /// The connection's slot, and below it its modes, which are not empty.
    slot_and_modes: NonZeroU32,
    /// Where the path stands in the connection's list.
    pub(super) position: u32,
}

/// The connections that watch a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// One.
    One(Watcher),
    /// Those in the list of this number.
    Crowd(u32),
}

/// Lists of watchers, by small numbers.
#[derive(Debug)]
pub(super) struct Crowds {
    /// The first one is empty for ever.
    lists: Vec<Vec<Watcher>>,
    free: Vec<u32>,
}

impl Watcher {
    /// # Panics
    /// If there are no modes.
    pub(super) fn new(slot: u32, modes: Modes, position: u32) -> Watcher {
        assert!(slot < MAX_SLOTS, "there are few connections");
        let slot_and_modes = NonZeroU32::new(slot << 4 | u32::from(modes.0));
        assert!(modes != Modes::NONE, "a watcher has a mode");
        Watcher { slot_and_modes: slot_and_modes.expect("it has a mode"), position }
    }

    pub(super) fn slot(self) -> u32 {
        self.slot_and_modes.get() >> 4
    }

    pub(super) fn modes(self) -> Modes {
        Modes((self.slot_and_modes.get() & 0xf) as u8)
    }

    /// The same with other modes.
    pub(super) fn with(self, modes: Modes) -> Watcher {
        Watcher::new(self.slot(), modes, self.position)
    }
}

impl Who {
    pub(super) const NOBODY: Who = Who::Crowd(0);
}

impl Crowds {
    pub(super) fn get(&self, number: u32) -> &[Watcher] {
        &self.lists[number as usize]
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut Vec<Watcher> {
        assert!(number != 0, "the first list stays empty");
        &mut self.lists[number as usize]
    }

    /// Keeps a list.
    pub(super) fn insert(&mut self, list: Vec<Watcher>) -> u32 {
        if let Some(number) = self.free.pop() {
            self.lists[number as usize] = list;
            return number;
        }
        self.lists.push(list);
        u32::try_from(self.lists.len() - 1).expect("there are at most 2^32 paths")
    }

    /// Takes a list away.
    pub(super) fn remove(&mut self, number: u32) -> Vec<Watcher> {
        let list = std::mem::take(self.get_mut(number));
        self.free.push(number);
        if self.free.len() + 1 == self.lists.len() {
            *self = Crowds::default();
        }
        list
    }
}

impl Default for Crowds {
    fn default() -> Self {
        Crowds { lists: vec![Vec::new()], free: Vec::new() }
    }
}

/// Slots are below this.
pub(super) const MAX_SLOTS: u32 = 1 << 28;
