//! Who waits on which path. Watches belong to a connection of this server and die with it.
//!
//! Invariant: a path stands here exactly as long as someone watches it, and a connection's list of
//! paths is the mirror of the paths' lists of connections. Rules: `DataTree`, `WatchManager`.
//!
//! ZooKeeper has two tables. Persistent watches stand in both, data and recursive ones in the data
//! table, child ones in the child table; so one set of modes for each path and connection says it
//! all.

mod rearm;
#[cfg(test)]
mod tests;
mod watchers;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

pub use rearm::rearm;

use crate::db::{Change, ChangeKind};
use crate::id::ConnId;
use crate::proto::{AclList, Event, EventKind, Text, WatcherType, parent_of};
use watchers::{Modes, Watchers};

/// The kinds of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// One shot: the znode is created, deleted or its data set. By exists and getData.
    Data,
    /// One shot: the znode is deleted or its children change. By getChildren.
    Child,
    /// Stays: all of both.
    Persistent,
    /// Stays: creation, deletion and data of the znode and of all below it.
    Recursive,
}

/// All watches of this server's connections.
#[derive(Debug, Default)]
pub struct Watches {
    paths: Vec<Watched>,
    /// Unused places of `paths`; the last is taken first.
    free: Vec<u32>,
    /// By the hash of the path. Never iterated.
    index: HashTable<u32>,
    conns: BTreeMap<ConnId, BTreeSet<u32>>,
    /// Pairs of path and connection, in the data table and in the child table.
    n_data: u64,
    n_child: u64,
    n_recursive: u64,
}

/// A path that someone watches; an unused place has no watchers.
#[derive(Debug)]
struct Watched {
    path: Box<str>,
    watchers: Watchers,
}

/// What `wchs` shows: of the data table only, as in ZooKeeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchSummary {
    /// Connections with a watch.
    pub n_connections: u64,
    /// Paths that are watched.
    pub n_paths: u64,
    /// Pairs of both.
    pub n_watches: u64,
}

impl Watches {
    /// No watches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a watch; nothing happens if it is set already. Any text is a path.
    pub fn set(&mut self, conn: ConnId, path: &str, kind: WatchKind) {
        let place = self.find(path).unwrap_or_else(|| self.intern(path));
        self.conns.entry(conn).or_default().insert(place);
        let watchers = &mut self.paths[place as usize].watchers;
        let before = watchers.modes(conn);
        let after = before | Modes::of(kind);
        watchers.set(conn, after);
        self.count_change(before, after);
    }

    /// Delivers the events of a change, and takes one-shot watches away as they fire.
    ///
    /// `may_read` says whether a connection's identities have READ under an ACL: an event that is
    /// filtered out is dropped and uses up its watch all the same. `deliver` is called table by
    /// table (the znode and its ancestors, the znode as a parent, its parent), connections
    /// ascending.
    pub fn fire(
        &mut self,
        change: &Change,
        mut may_read: impl FnMut(ConnId, &AclList) -> bool,
        mut deliver: impl FnMut(ConnId, Event),
    ) {
        let kind = match change.kind {
            ChangeKind::Created => EventKind::Created,
            ChangeKind::Deleted => EventKind::Deleted,
            ChangeKind::DataChanged => EventKind::DataChanged,
        };
        let mut notify = |conns: &[ConnId], kind, path: &Text, acl: &AclList| {
            for &conn in conns {
                if may_read(conn, acl) {
                    deliver(conn, Event { kind, path: path.clone() });
                }
            }
        };
        let told = self.trigger_data(&change.path);
        notify(&told, kind, &change.path, &change.acl);
        if change.kind == ChangeKind::DataChanged {
            return;
        }
        if change.kind == ChangeKind::Deleted && !mutated!(DeletionUnseenByChildWatch) {
            let mut conns = self.trigger_child(&change.path);
            conns.retain(|conn| told.binary_search(conn).is_err());
            notify(&conns, kind, &change.path, &change.acl);
        }
        let Some(parent) = parent_of(&change.path).map(or_root) else { return };
        let conns = self.trigger_child(parent);
        if !conns.is_empty() {
            let parent =
                if parent == "/" { Text::from_static("/") } else { change.path.slice_ref(parent) };
            notify(&conns, EventKind::ChildrenChanged, &parent, &change.parent_acl);
        }
    }

    /// Takes all watches of a connection away.
    pub fn forget(&mut self, conn: ConnId) {
        for place in self.conns.remove(&conn).unwrap_or_default() {
            let watchers = &mut self.paths[place as usize].watchers;
            let before = watchers.modes(conn);
            watchers.set(conn, Modes::NONE);
            self.count_change(before, Modes::NONE);
            self.free_if_unwatched(place);
        }
    }

    /// Whether a connection has a watch of this type on a path.
    pub fn check(&self, conn: ConnId, path: &str, kind: WatcherType) -> bool {
        let modes = self.find(path).map(|place| self.paths[place as usize].watchers.modes(conn));
        modes.is_some_and(|modes| modes.has_any(Modes::meant_by(kind)))
    }

    /// Takes a connection's watches of this type on a path away, and says whether there were any.
    pub fn remove(&mut self, conn: ConnId, path: &str, kind: WatcherType) -> bool {
        let Some(place) = self.find(path) else { return false };
        self.clear(place, conn, Modes::meant_by(kind)).has_any(Modes::meant_by(kind))
    }

    /// Pairs of path and connection in both tables: ZooKeeper's `watch_count`.
    pub fn count(&self) -> u64 {
        self.n_data + self.n_child
    }

    /// What `wchs` shows. Walks all watches.
    pub fn summary(&self) -> WatchSummary {
        WatchSummary {
            n_connections: self.by_connection().count() as u64,
            n_paths: self.by_path().count() as u64,
            n_watches: self.n_data,
        }
    }

    /// Every path with a data watch of any kind, with its connections, ascending: what `wchp`
    /// shows. The order of the paths is of no meaning.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, Vec<ConnId>)> {
        self.paths.iter().filter_map(|watched| {
            let conns = watched.watchers.iter().filter(|(_, modes)| modes.is_in_data_table());
            let conns: Vec<ConnId> = conns.map(|(conn, _)| conn).collect();
            (!conns.is_empty()).then_some((&*watched.path, conns))
        })
    }

    /// Every connection with a data watch of any kind, ascending, with its paths: what `wchc`
    /// shows. The order of the paths is of no meaning.
    pub fn by_connection(&self) -> impl Iterator<Item = (ConnId, Vec<&str>)> {
        self.conns.iter().filter_map(|(&conn, places)| {
            let watched = places.iter().map(|&place| &self.paths[place as usize]);
            let in_data = watched.filter(|watched| watched.watchers.modes(conn).is_in_data_table());
            let paths: Vec<&str> = in_data.map(|watched| &*watched.path).collect();
            (!paths.is_empty()).then_some((conn, paths))
        })
    }

    /// Those who watch `path` itself or, recursively, an ancestor; ascending, each once.
    fn trigger_data(&mut self, path: &str) -> Vec<ConnId> {
        let mut conns = Vec::new();
        if let Some(place) = self.find(path) {
            let watchers = self.paths[place as usize].watchers.iter();
            let matching = watchers.filter(|(_, modes)| modes.is_in_data_table());
            conns.extend(matching.map(|(conn, _)| conn));
            self.clear_fired(place, &conns, Modes::DATA);
        }
        if self.n_recursive > 0 {
            let of_itself = conns.len();
            let mut below = path;
            while below != "/" {
                let Some(above) = parent_of(below).map(or_root) else { break };
                if let Some(place) = self.find(above) {
                    let watchers = self.paths[place as usize].watchers.iter();
                    let matching = watchers.filter(|(_, modes)| modes.has_any(Modes::RECURSIVE));
                    conns.extend(matching.map(|(conn, _)| conn));
                }
                below = above;
            }
            if conns.len() > of_itself {
                conns.sort_unstable();
                conns.dedup();
            }
        }
        conns
    }

    /// Those who watch the children of `path`, ascending.
    fn trigger_child(&mut self, path: &str) -> Vec<ConnId> {
        let Some(place) = self.find(path) else { return Vec::new() };
        let watchers = self.paths[place as usize].watchers.iter();
        let matching = watchers.filter(|(_, modes)| modes.is_in_child_table());
        let conns: Vec<ConnId> = matching.map(|(conn, _)| conn).collect();
        self.clear_fired(place, &conns, Modes::CHILD);
        conns
    }

    fn clear_fired(&mut self, place: u32, conns: &[ConnId], one_shot: Modes) {
        for &conn in conns {
            self.clear(place, conn, one_shot);
        }
    }

    /// Takes `gone` from a connection's modes on a path, and says what they were.
    fn clear(&mut self, place: u32, conn: ConnId, gone: Modes) -> Modes {
        let watchers = &mut self.paths[place as usize].watchers;
        let before = watchers.modes(conn);
        let after = before.without(gone);
        if after == before {
            return before;
        }
        watchers.set(conn, after);
        self.count_change(before, after);
        if after == Modes::NONE {
            let places = self.conns.get_mut(&conn).expect("a watcher is a connection with watches");
            places.remove(&place);
            if places.is_empty() {
                self.conns.remove(&conn);
            }
            self.free_if_unwatched(place);
        }
        before
    }

    fn count_change(&mut self, before: Modes, after: Modes) {
        let count = |n: &mut u64, is_in: fn(Modes) -> bool| {
            *n = *n + u64::from(is_in(after)) - u64::from(is_in(before));
        };
        count(&mut self.n_data, Modes::is_in_data_table);
        count(&mut self.n_child, Modes::is_in_child_table);
        count(&mut self.n_recursive, |modes| modes.has_any(Modes::RECURSIVE));
    }

    fn find(&self, path: &str) -> Option<u32> {
        let is_it = |&place: &u32| &*self.paths[place as usize].path == path;
        self.index.find(hash(path), is_it).copied()
    }

    /// A place for a path that has none. It is to get a watcher at once.
    fn intern(&mut self, path: &str) -> u32 {
        let watched = Watched { path: path.into(), watchers: Watchers::default() };
        let place = if let Some(place) = self.free.pop() {
            self.paths[place as usize] = watched;
            place
        } else {
            self.paths.push(watched);
            u32::try_from(self.paths.len() - 1).expect("memory ends before 2^32 watches do")
        };
        let paths = &self.paths;
        let rehash = |&place: &u32| hash(&paths[place as usize].path);
        self.index.insert_unique(hash(path), place, rehash);
        place
    }

    fn free_if_unwatched(&mut self, place: u32) {
        let watched = &mut self.paths[place as usize];
        if !watched.watchers.is_empty() {
            return;
        }
        let path = std::mem::take(&mut watched.path);
        let entry = self.index.find_entry(hash(&path), |&other| other == place);
        entry.expect("a watched path is in the index").remove();
        self.free.push(place);
    }
}

/// The root's name as a parent is empty, as in a watch it is `/`.
fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

fn hash(path: &str) -> u64 {
    xxh3_64(path.as_bytes())
}
