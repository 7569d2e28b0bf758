//! Which watches a connection has, and what a change owes it. Rules: ZooKeeper's `WatchManager` and
//! `DataTree`, as of 3.9: one-shot watches for data and for children, persistent ones for both, and
//! recursive ones for everything below but children.
//!
//! Invariant: it is written from the rules and shares nothing with the code that it judges.

use std::collections::BTreeSet;

use zokor_core::proto::{EventKind, WatchMode, WatcherType};

use crate::model::{Change, ChangeKind, parent};

/// The watches of one connection, by path.
#[derive(Debug, Default)]
pub struct Table {
    data: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

/// An event that a change owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<'a> {
    /// What it says.
    pub kind: EventKind,
    /// Of which path.
    pub path: &'a str,
    /// Whether a watch that stays is among its causes.
    pub stays: bool,
    /// Whether reading the parent is what it takes, and not the znode.
    pub of_parent: bool,
}

impl Table {
    /// Sets a one-shot watch of `exists` or `getData`.
    pub fn watch_data(&mut self, path: &str) {
        self.data.insert(path.to_owned());
    }

    /// Sets a one-shot watch of `getChildren`.
    pub fn watch_children(&mut self, path: &str) {
        self.child.insert(path.to_owned());
    }

    /// Sets a watch of `addWatch`.
    pub fn add(&mut self, path: &str, mode: WatchMode) {
        match mode {
            WatchMode::Persistent => self.persistent.insert(path.to_owned()),
            WatchMode::Recursive => self.recursive.insert(path.to_owned()),
        };
    }

    /// Whether there is a watch of this type.
    pub fn has(&self, path: &str, kind: WatcherType) -> bool {
        match kind {
            WatcherType::Children => self.child.contains(path),
            WatcherType::Data => self.data.contains(path),
            WatcherType::Persistent => self.persistent.contains(path),
            WatcherType::Recursive => self.recursive.contains(path),
            WatcherType::Any => {
                let all = [&self.child, &self.data, &self.persistent, &self.recursive];
                all.iter().any(|set| set.contains(path))
            }
        }
    }

    /// Takes the watches of this type away; returns whether there were any.
    pub fn remove(&mut self, path: &str, kind: WatcherType) -> bool {
        let had = self.has(path, kind);
        let is_any = kind == WatcherType::Any;
        for (set, own) in [
            (&mut self.child, WatcherType::Children),
            (&mut self.data, WatcherType::Data),
            (&mut self.persistent, WatcherType::Persistent),
            (&mut self.recursive, WatcherType::Recursive),
        ] {
            if is_any || kind == own {
                set.remove(path);
            }
        }
        had
    }

    /// How many pairs of path and connection the server counts, in its two tables together.
    pub fn count(&self) -> usize {
        let union = |sets: &[&BTreeSet<String>]| {
            sets.iter().flat_map(|set| set.iter()).collect::<BTreeSet<_>>().len()
        };
        union(&[&self.data, &self.persistent, &self.recursive])
            + union(&[&self.child, &self.persistent])
    }

    /// What `change` owes, in order; one-shot watches go.
    pub fn fire<'a>(&mut self, change: &'a Change) -> Vec<Due<'a>> {
        let path = change.path.as_str();
        let kind = match change.kind {
            ChangeKind::Created => EventKind::Created,
            ChangeKind::Deleted => EventKind::Deleted,
            ChangeKind::DataChanged => EventKind::DataChanged,
        };
        let mut due = Vec::new();
        let once = self.data.remove(path);
        let stays = self.persistent.contains(path) || self.is_below_recursive(path);
        if once || stays {
            due.push(Due { kind, path, stays, of_parent: false });
        }
        if change.kind == ChangeKind::DataChanged {
            return due;
        }
        // A deletion is told once, even to a connection that watches data and children.
        let by_child = change.kind == ChangeKind::Deleted && self.child.remove(path);
        if by_child && due.is_empty() {
            due.push(Due { kind, path, stays: false, of_parent: false });
        }
        let above = parent(path);
        let once = self.child.remove(above);
        let stays = self.persistent.contains(above);
        if once || stays {
            let kind = EventKind::ChildrenChanged;
            due.push(Due { kind, path: above, stays, of_parent: true });
        }
        due
    }

    fn is_below_recursive(&self, path: &str) -> bool {
        if self.recursive.is_empty() {
            return false;
        }
        let mut at = path;
        loop {
            if self.recursive.contains(at) {
                return true;
            }
            if at == "/" {
                return false;
            }
            at = parent(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::State;

    fn change(path: &str, kind: ChangeKind) -> Change {
        let acl = State::fresh().nodes["/"].acl.clone();
        Change { path: path.to_owned(), kind, parent_acl: acl.clone(), acl }
    }

    fn fired(table: &mut Table, path: &str, kind: ChangeKind) -> Vec<(EventKind, String)> {
        let change = change(path, kind);
        table.fire(&change).into_iter().map(|due| (due.kind, due.path.to_owned())).collect()
    }

    #[test]
    fn one_shot_watches_fire_once() {
        let mut table = Table::default();
        table.watch_data("/a");
        table.watch_children("/a");
        assert_eq!(table.count(), 2);
        let told = fired(&mut table, "/a/b", ChangeKind::Created);
        assert_eq!(told, [(EventKind::ChildrenChanged, "/a".to_owned())]);
        assert_eq!(fired(&mut table, "/a/b", ChangeKind::Deleted), []);
        let told = fired(&mut table, "/a", ChangeKind::Deleted);
        assert_eq!(told, [(EventKind::Deleted, "/a".to_owned())]);
        assert_eq!(fired(&mut table, "/a", ChangeKind::Created), []);
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn a_deletion_is_told_once_to_who_watches_data_and_children() {
        let mut table = Table::default();
        table.watch_data("/a");
        table.watch_children("/a");
        assert_eq!(fired(&mut table, "/a", ChangeKind::Deleted).len(), 1);
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn persistent_watches_stay_and_hear_of_children() {
        let mut table = Table::default();
        table.add("/a", WatchMode::Persistent);
        for _ in 0..2 {
            let told = fired(&mut table, "/a/b", ChangeKind::Created);
            assert_eq!(told, [(EventKind::ChildrenChanged, "/a".to_owned())]);
            let told = fired(&mut table, "/a", ChangeKind::DataChanged);
            assert_eq!(told, [(EventKind::DataChanged, "/a".to_owned())]);
        }
        assert_eq!(fired(&mut table, "/a/b", ChangeKind::DataChanged), []);
        assert_eq!(table.count(), 2);
    }

    #[test]
    fn recursive_watches_hear_of_all_below_but_not_of_children() {
        let mut table = Table::default();
        table.add("/a", WatchMode::Recursive);
        for path in ["/a", "/a/b", "/a/b/c"] {
            let told = fired(&mut table, path, ChangeKind::Created);
            assert_eq!(told, [(EventKind::Created, path.to_owned())]);
        }
        assert_eq!(fired(&mut table, "/ab", ChangeKind::Created), []);
        table.add("/", WatchMode::Recursive);
        assert_eq!(fired(&mut table, "/ab", ChangeKind::Created).len(), 1);
        assert_eq!(fired(&mut table, "/a/b", ChangeKind::Created).len(), 1);
    }

    #[test]
    fn what_is_removed_is_of_the_type_asked_for() {
        let mut table = Table::default();
        table.watch_data("/a");
        table.add("/a", WatchMode::Persistent);
        assert!(!table.remove("/a", WatcherType::Children));
        assert!(table.remove("/a", WatcherType::Data));
        assert!(!table.has("/a", WatcherType::Data) && table.has("/a", WatcherType::Any));
        assert!(table.remove("/a", WatcherType::Any));
        assert!(!table.remove("/a", WatcherType::Any));
        assert_eq!(table.count(), 0);
    }
}
