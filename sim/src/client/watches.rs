//! The watches that a client believes to have, as ZooKeeper's `ZKWatchManager` keeps them.
//!
//! Invariant: they change by what the client hears, in the order in which it hears it.

use std::collections::BTreeSet;

use zokor_core::proto::{
    ErrorCode, Event, EventKind, Read, Response, Rewatch, Text, WatchMode, WatcherType, Zxid,
};

/// Watches by kind.
#[derive(Debug, Default)]
pub(super) struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Watches {
    /// A read was answered.
    pub(super) fn set(&mut self, read: &Read, result: &Result<Response, ErrorCode>) {
        let found = result.is_ok();
        match read {
            Read::Exists { path, watch: true } if !found => {
                self.data.remove(&**path);
                self.exist.insert(path.to_string());
            }
            Read::Exists { path, watch: true } | Read::GetData { path, watch: true } if found => {
                self.exist.remove(&**path);
                self.data.insert(path.to_string());
            }
            Read::GetChildren { path, watch: true, .. } if found => {
                self.child.insert(path.to_string());
            }
            Read::AddWatch { path, mode } if found => self.add(path, *mode),
            Read::RemoveWatches { path, kind } if found => self.remove(path, *kind),
            _ => {}
        }
    }

    fn add(&mut self, path: &Text, mode: WatchMode) {
        let to = match mode {
            WatchMode::Persistent => &mut self.persistent,
            WatchMode::Recursive => &mut self.recursive,
        };
        to.insert(path.to_string());
    }

    fn remove(&mut self, path: &str, kind: WatcherType) {
        let any = kind == WatcherType::Any;
        if any || kind == WatcherType::Data {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if any || kind == WatcherType::Children {
            self.child.remove(path);
        }
        if any || kind == WatcherType::Persistent {
            self.persistent.remove(path);
        }
        if any || kind == WatcherType::Recursive {
            self.recursive.remove(path);
        }
    }

    /// A watch has fired: those of one shot are gone.
    pub(super) fn fired(&mut self, event: &Event) {
        let path: &str = &event.path;
        if event.kind != EventKind::ChildrenChanged {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if matches!(event.kind, EventKind::ChildrenChanged | EventKind::Deleted) {
            self.child.remove(path);
        }
    }

    /// What to ask for on a new connection, if anything.
    pub(super) fn rewatch(&self, seen: Zxid) -> Option<Rewatch> {
        let list = |set: &BTreeSet<String>| -> Vec<Text> {
            set.iter().map(|path| path.as_str().into()).collect()
        };
        let rewatch = Rewatch {
            relative_zxid: seen.0,
            data: list(&self.data),
            exist: list(&self.exist),
            child: list(&self.child),
            persistent: list(&self.persistent),
            recursive: list(&self.recursive),
        };
        let nothing = Rewatch { relative_zxid: seen.0, ..Rewatch::default() };
        (rewatch != nothing).then_some(rewatch)
    }
}
