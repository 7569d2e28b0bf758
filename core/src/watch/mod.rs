//! Who waits on which path. Watches belong to a connection of this server and die with it.
//!
//! Invariant: a path stands here exactly as long as someone watches it, and a connection's list of
//! paths is the mirror of the paths' lists of connections. Rules: `DataTree`, `WatchManager`.
//!
//! ZooKeeper has two tables. Persistent watches stand in both, data and recursive ones in the data
//! table, child ones in the child table; so one set of modes for each path and connection says it
//! all.
//!
//! A server has to bear millions of watches. A path's text is stored once, many to an allocation;
//! paths and connections are small numbers; a watch is an entry of 8 bytes at its path, in the
//! order of the connections, and of 4 bytes at its connection. `docs/architecture.md` has figures.

mod conns;
#[cfg(test)]
mod model;
mod paths;
mod rearm;
#[cfg(test)]
mod tests;
mod texts;
mod walk;
mod watchers;

pub use rearm::rearm;

use crate::db::{Change, ChangeKind};
use crate::id::ConnId;
use crate::proto::{AclList, Event, EventKind, Text, WatcherType, parent_of};
use conns::Conns;
use paths::Paths;
use watchers::{Crowds, Modes, Watcher, Who};

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
    paths: Paths,
    /// Of the paths with more than one watcher, in the order of connections.
    crowds: Crowds,
    conns: Conns,
    /// Pairs of path and connection, in the data table and in the child table.
    n_data: u64,
    n_child: u64,
    n_recursive: u64,
    /// Of no meaning between calls: two lists that firing fills.
    scratch: [Vec<ConnId>; 2],
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
        let place = self.paths.intern(path);
        let slot = self.conns.intern(conn);
        let index = self.seek(place, conn);
        let before = index.map_or(Modes::NONE, |index| self.watchers(place)[index].modes());
        let after = before | Modes::of(kind);
        match index {
            Ok(index) => self.put(place, index, self.watchers(place)[index].with(after)),
            Err(index) => {
                let position = self.conns.link(slot, place);
                self.insert(place, index, Watcher::new(slot, after, position));
            }
        }
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
        if self.paths.len() == 0 {
            return;
        }
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
        let [mut told, mut conns] = std::mem::take(&mut self.scratch);
        self.trigger_data(&change.path, &mut told);
        notify(&told, kind, &change.path, &change.acl);
        if change.kind == ChangeKind::Deleted && !mutated!(DeletionUnseenByChildWatch) {
            self.trigger_child(&change.path, &mut conns);
            conns.retain(|conn| told.binary_search(conn).is_err());
            notify(&conns, kind, &change.path, &change.acl);
        }
        if let Some(parent_acl) = &change.parent_acl
            && let Some(parent) = parent_of(&change.path).map(or_root)
        {
            self.trigger_child(parent, &mut conns);
            if !conns.is_empty() {
                let parent = match parent {
                    "/" => Text::from_static("/"),
                    _ => change.path.slice_ref(parent),
                };
                notify(&conns, EventKind::ChildrenChanged, &parent, parent_acl);
            }
        }
        for list in [&mut told, &mut conns] {
            list.clear();
            list.shrink_to(KEPT_SCRATCH);
        }
        self.scratch = [told, conns];
    }

    /// Takes all watches of a connection away.
    pub fn forget(&mut self, conn: ConnId) {
        let Some((slot, places)) = self.conns.remove(conn) else { return };
        for place in places {
            let index = self.seek(place, conn).expect("the lists are mirrors");
            let before = self.take(place, index).modes();
            self.count_change(before, Modes::NONE);
        }
        self.conns.release(slot);
    }

    /// Whether a connection has a watch of this type on a path.
    pub fn check(&self, conn: ConnId, path: &str, kind: WatcherType) -> bool {
        let Some(place) = self.paths.find(path) else { return false };
        let modes = self.seek(place, conn).map(|index| self.watchers(place)[index].modes());
        modes.is_ok_and(|modes| modes.has_any(Modes::meant_by(kind)))
    }

    /// Takes a connection's watches of this type on a path away, and says whether there were any.
    pub fn remove(&mut self, conn: ConnId, path: &str, kind: WatcherType) -> bool {
        let Some(place) = self.paths.find(path) else { return false };
        let Ok(index) = self.seek(place, conn) else { return false };
        let watcher = self.watchers(place)[index];
        let (before, gone) = (watcher.modes(), Modes::meant_by(kind));
        let after = before.without(gone);
        if after == Modes::NONE {
            self.take(place, index);
            self.unlink(watcher);
        } else if after != before {
            self.put(place, index, watcher.with(after));
        }
        self.count_change(before, after);
        before.has_any(gone)
    }

    /// Pairs of path and connection in both tables: ZooKeeper's `watch_count`.
    pub fn count(&self) -> u64 {
        self.n_data + self.n_child
    }

    /// What `wchs` shows. Walks all watches.
    pub fn summary(&self) -> WatchSummary {
        let is_watched = |&place: &u32| self.in_data_table(place).next().is_some();
        let watches = |&(_, slot): &(ConnId, u32)| self.data_places(slot).next().is_some();
        WatchSummary {
            n_connections: self.conns.iter().filter(watches).count() as u64,
            n_paths: self.paths.iter().filter(is_watched).count() as u64,
            n_watches: self.n_data,
        }
    }

    /// Every path with a data watch of any kind, with its connections, ascending: what `wchp`
    /// shows. The order of the paths is of no meaning.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, Vec<ConnId>)> {
        self.paths.iter().filter_map(|place| {
            let conns: Vec<ConnId> = self.in_data_table(place).collect();
            (!conns.is_empty()).then(|| (self.paths.text(place), conns))
        })
    }

    /// Every connection with a data watch of any kind, ascending, with its paths: what `wchc`
    /// shows. The order of the paths is of no meaning.
    pub fn by_connection(&self) -> impl Iterator<Item = (ConnId, Vec<&str>)> {
        self.conns.iter().filter_map(|(conn, slot)| {
            let paths = self.data_places(slot).map(|place| self.paths.text(place));
            let paths: Vec<&str> = paths.collect();
            (!paths.is_empty()).then_some((conn, paths))
        })
    }

    /// Those who watch `path` itself or, recursively, an ancestor; ascending, each once.
    fn trigger_data(&mut self, path: &str, conns: &mut Vec<ConnId>) {
        conns.clear();
        if let Some(place) = self.paths.find(path) {
            self.trigger(place, Modes::is_in_data_table, Modes::DATA, conns);
        }
        if self.n_recursive == 0 {
            return;
        }
        let of_itself = conns.len();
        self.paths.ancestors(path, |place| {
            let watchers = self.watchers(place).iter();
            let matching = watchers.filter(|watcher| watcher.modes().has_any(Modes::RECURSIVE));
            conns.extend(matching.map(|watcher| self.conns.id(watcher.slot())));
        });
        if conns.len() > of_itself {
            conns.sort_unstable();
            conns.dedup();
        }
    }

    /// Those who watch the children of `path`, ascending.
    fn trigger_child(&mut self, path: &str, conns: &mut Vec<ConnId>) {
        conns.clear();
        if let Some(place) = self.paths.find(path) {
            self.trigger(place, Modes::is_in_child_table, Modes::CHILD, conns);
        }
    }

    /// Appends those who watch a path in this table, ascending, and takes their one-shot mode away.
    fn trigger(
        &mut self,
        place: u32,
        is_in_table: fn(Modes) -> bool,
        one_shot: Modes,
        conns: &mut Vec<ConnId>,
    ) {
        let mut fire = |watches: &mut Watches, watcher: &mut Watcher| {
            let before = watcher.modes();
            if !is_in_table(before) {
                return true;
            }
            conns.push(watches.conns.id(watcher.slot()));
            let after = before.without(one_shot);
            watches.count_change(before, after);
            if after == Modes::NONE {
                watches.unlink(*watcher);
                return false;
            }
            *watcher = watcher.with(after);
            true
        };
        match *self.paths.who(place) {
            Who::One(mut watcher) => {
                let stays = fire(self, &mut watcher);
                *self.paths.who_mut(place) = if stays { Who::One(watcher) } else { Who::NOBODY };
                if !stays {
                    self.paths.release(place);
                }
            }
            Who::Crowd(number) => {
                let mut crowd = std::mem::take(self.crowds.get_mut(number));
                crowd.retain_mut(|watcher| fire(self, watcher));
                *self.crowds.get_mut(number) = crowd;
                self.settle(place, number);
            }
        }
    }

    /// The connections with a data watch of any kind on a path, ascending.
    fn in_data_table(&self, place: u32) -> impl Iterator<Item = ConnId> {
        let watchers = self.watchers(place).iter();
        let matching = watchers.filter(|watcher| watcher.modes().is_in_data_table());
        matching.map(|watcher| self.conns.id(watcher.slot()))
    }

    /// The paths on which a slot has a data watch of any kind.
    fn data_places(&self, slot: u32) -> impl Iterator<Item = u32> {
        let conn = self.conns.id(slot);
        let places = self.conns.places(slot).iter().copied();
        places.filter(move |&place| {
            let index = self.seek(place, conn).expect("the lists are mirrors");
            self.watchers(place)[index].modes().is_in_data_table()
        })
    }

    fn watchers(&self, place: u32) -> &[Watcher] {
        match self.paths.who(place) {
            Who::One(watcher) => std::slice::from_ref(watcher),
            Who::Crowd(number) => self.crowds.get(*number),
        }
    }

    /// Where a connection stands among the watchers of a path, or where it would.
    fn seek(&self, place: u32, conn: ConnId) -> Result<usize, usize> {
        let watchers = self.watchers(place);
        watchers.binary_search_by_key(&conn, |watcher| self.conns.id(watcher.slot()))
    }

    /// Replaces one of the watchers of a path.
    fn put(&mut self, place: u32, index: usize, watcher: Watcher) {
        match self.paths.who_mut(place) {
            Who::One(one) => *one = watcher,
            Who::Crowd(number) => self.crowds.get_mut(*number)[index] = watcher,
        }
    }

    fn insert(&mut self, place: u32, index: usize, watcher: Watcher) {
        let who = self.paths.who_mut(place);
        match *who {
            Who::NOBODY => *who = Who::One(watcher),
            Who::One(one) => {
                let both = if index == 0 { [watcher, one] } else { [one, watcher] };
                *who = Who::Crowd(self.crowds.insert(Vec::from(both)));
            }
            Who::Crowd(number) => {
                let crowd = self.crowds.get_mut(number);
                make_room(crowd);
                crowd.insert(index, watcher);
            }
        }
    }

    /// Takes one of the watchers of a path out, and the path with the last one.
    fn take(&mut self, place: u32, index: usize) -> Watcher {
        let who = self.paths.who_mut(place);
        match *who {
            Who::One(watcher) => {
                *who = Who::NOBODY;
                self.paths.release(place);
                watcher
            }
            Who::Crowd(number) => {
                let watcher = self.crowds.get_mut(number).remove(index);
                self.settle(place, number);
                watcher
            }
        }
    }

    /// A crowd of a path has shrunk: one watcher needs no list, and nobody no path.
    fn settle(&mut self, place: u32, number: u32) {
        let crowd = self.crowds.get_mut(number);
        match crowd[..] {
            [] | [_] => {
                let last = self.crowds.remove(number).pop();
                *self.paths.who_mut(place) = last.map_or(Who::NOBODY, Who::One);
                if last.is_none() {
                    self.paths.release(place);
                }
            }
            _ if crowd.len() < crowd.capacity() / 4 => crowd.shrink_to(crowd.capacity() / 2),
            _ => {}
        }
    }

    /// Takes a watch out of its connection's list; the path that takes its position there is told.
    fn unlink(&mut self, watcher: Watcher) {
        let (slot, position) = (watcher.slot(), watcher.position);
        let conn = self.conns.id(slot);
        let Some(moved) = self.conns.unlink(slot, position) else { return };
        let index = self.seek(moved, conn).expect("the lists are mirrors");
        let watcher = self.watchers(moved)[index];
        self.put(moved, index, Watcher::new(slot, watcher.modes(), position));
    }

    fn count_change(&mut self, before: Modes, after: Modes) {
        let count = |n: &mut u64, is_in: fn(Modes) -> bool| {
            *n = *n + u64::from(is_in(after)) - u64::from(is_in(before));
        };
        count(&mut self.n_data, Modes::is_in_data_table);
        count(&mut self.n_child, Modes::is_in_child_table);
        count(&mut self.n_recursive, |modes| modes.has_any(Modes::RECURSIVE));
    }
}

/// The root's name as a parent is empty, as in a watch it is `/`.
fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// Appends to a list of which there are many, or a long one: it never has much more room than it
/// needs.
fn push<T>(list: &mut Vec<T>, item: T) {
    make_room(list);
    list.push(item);
}

fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(2));
    }
}

/// Connections that firing keeps room for.
const KEPT_SCRATCH: usize = 1024;
