//! The connections that watch one path, and in which modes.
//!
//! Invariant: no connection is kept without a mode. Most paths have one watcher, so one costs no
//! allocation.

use std::collections::BTreeMap;
use std::ops::BitOr;

use super::WatchKind;
use crate::id::ConnId;
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

/// Connections with their modes.
#[derive(Debug, Default)]
pub(super) enum Watchers {
    #[default]
    Nobody,
    One(ConnId, Modes),
    /// Boxed to keep the common cases small.
    Many(Box<BTreeMap<ConnId, Modes>>),
}

impl Watchers {
    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The modes of a connection; none if it does not watch.
    pub(super) fn modes(&self, conn: ConnId) -> Modes {
        match self {
            Watchers::Nobody => Modes::NONE,
            Watchers::One(one, modes) => {
                if *one == conn {
                    *modes
                } else {
                    Modes::NONE
                }
            }
            Watchers::Many(many) => many.get(&conn).copied().unwrap_or(Modes::NONE),
        }
    }

    /// Sets the modes of a connection; without any, it goes.
    pub(super) fn set(&mut self, conn: ConnId, modes: Modes) {
        match self {
            Watchers::Nobody => {
                if modes != Modes::NONE {
                    *self = Watchers::One(conn, modes);
                }
            }
            Watchers::One(one, own) => {
                if *one != conn {
                    if modes != Modes::NONE {
                        let both = BTreeMap::from([(*one, *own), (conn, modes)]);
                        *self = Watchers::Many(Box::new(both));
                    }
                } else if modes == Modes::NONE {
                    *self = Watchers::Nobody;
                } else {
                    *own = modes;
                }
            }
            Watchers::Many(many) => {
                if modes != Modes::NONE {
                    many.insert(conn, modes);
                } else {
                    many.remove(&conn);
                    if many.is_empty() {
                        *self = Watchers::Nobody;
                    }
                }
            }
        }
    }

    /// Every connection, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, Modes)> {
        let (one, many) = match self {
            Watchers::Nobody => (None, None),
            Watchers::One(one, modes) => (Some((*one, *modes)), None),
            Watchers::Many(many) => (None, Some(many)),
        };
        let many = many.into_iter().flat_map(|many| many.iter());
        one.into_iter().chain(many.map(|(&conn, &modes)| (conn, modes)))
    }
}
