//! What is read and written below each znode of the first level, for whoever shares an ensemble
//! with others.
//!
//! Invariant: no more than [`MOST`] are told apart, whatever clients make. When there is no room,
//! one whose znode is gone makes it; while there is none, newcomers are not counted.
//! Source: `zookeeper: DataTree.updateReadStat`, `updateWriteStat`, `ZooKeeperServer.checkQuota`.

use super::summary::Summary;
use crate::db::{Action, Change, ChangeKind, LocalWork, Outcome, Txn};
use crate::proto::{ErrorCode, OpResult, Read, Response, Write};

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Bytes of each read that succeeded: of the path, the stat, and data or names of children.
    pub reads: Summary,
    /// Bytes of each change: of the path, and of the data that was set.
    pub writes: Summary,
    /// Writes refused at a hard quota.
    pub refused: u64,
    /// Its znode was deleted, and not made again.
    is_gone: bool,
}

/// All of them, by the name of their znode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Ascending by name.
    all: Vec<(Box<str>, Namespace)>,
    /// Where the last one was found: the next one is the same as a rule.
    last: usize,
    /// How many of them are gone: whether it is worth to look for one.
    n_gone: usize,
}

impl Namespaces {
    /// Ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        self.all.iter().map(|(name, namespace)| (&**name, namespace))
    }

    /// `read` has succeeded with this response.
    pub(super) fn read(&mut self, read: &Read, response: &Response) {
        match (read, response) {
            (Read::Exists { path, .. }, _) => self.note_read(path, 0),
            (Read::GetData { path, .. }, Response::Data(data, _)) => {
                self.note_read(path, data.as_ref().map_or(0, |data| data.len()));
            }
            (
                Read::GetChildren { path, .. },
                Response::Names(names) | Response::NamesStat(names, _),
            ) => self.note_read(path, names.utf16_len()),
            (Read::Multi(reads), Response::Multi(results)) => {
                for (read, result) in reads.iter().zip(results) {
                    match (read, result) {
                        (Read::GetData { path, .. }, OpResult::Data(data, _)) => {
                            self.note_read(path, data.as_ref().map_or(0, |data| data.len()));
                        }
                        (Read::GetChildren { path, .. }, OpResult::Names(names)) => {
                            self.note_read(path, names.utf16_len());
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// A change was applied.
    pub(super) fn written(&mut self, change: &Change) {
        let path = &change.path;
        let Some(namespace) = self.of(path) else { return };
        namespace.writes.note(length(path) as u64 + change.n_bytes);
        // What was set is there, as it was before.
        if change.kind != ChangeKind::DataChanged
            && top_of(path).is_some_and(|name| name.len() + 1 == path.len())
        {
            let was_gone = namespace.is_gone;
            namespace.is_gone = change.kind == ChangeKind::Deleted;
            let is_gone = namespace.is_gone;
            self.n_gone = self.n_gone + usize::from(is_gone) - usize::from(was_gone);
        }
    }

    /// Another state has taken the place of the former one: which of them have a znode there.
    pub(super) fn restored(&mut self, is_there: impl Fn(&str) -> bool) {
        for (name, namespace) in &mut self.all {
            namespace.is_gone = !is_there(name);
        }
        self.n_gone = self.all.iter().filter(|(_, namespace)| namespace.is_gone).count();
    }

    /// A txn had this outcome. One that is refused for want of room is no matter of quotas.
    pub(super) fn refused(&mut self, txn: &Txn, outcome: &Outcome) {
        let (
            Action::Write { write, .. } | Action::Local { work: LocalWork::Write(write), .. },
            Outcome::Answered(result),
        ) = (&txn.action, outcome)
        else {
            return;
        };
        if txn.rules.no_room {
            return;
        }
        let path = match (write, result) {
            (Write::Multi(parts), Ok(Response::Multi(results))) => {
                let refused = OpResult::Error(Some(ErrorCode::QuotaExceeded));
                let part = results.iter().position(|result| *result == refused);
                part.and_then(|part| path_of(&parts[part]))
            }
            (write, Err(ErrorCode::QuotaExceeded)) => path_of(write),
            _ => None,
        };
        if let Some(namespace) = path.and_then(|path| self.of(path)) {
            namespace.refused += 1;
        }
    }

    fn note_read(&mut self, path: &str, n_bytes: usize) {
        if let Some(namespace) = self.of(path) {
            namespace.reads.note((length(path) + n_bytes + STAT_BYTES) as u64);
        }
    }

    /// The one that `path` is in; the root is in none.
    fn of(&mut self, path: &str) -> Option<&mut Namespace> {
        if self.all.get(self.last).is_some_and(|(name, _)| is_in(path, name)) {
            return Some(&mut self.all[self.last].1);
        }
        let name = top_of(path)?;
        let find = |all: &[(Box<str>, Namespace)]| all.binary_search_by(|(it, _)| (**it).cmp(name));
        let at = match find(&self.all) {
            Ok(at) => at,
            Err(_) => {
                if self.all.len() >= MOST {
                    // Every read of one that is not counted comes here.
                    if self.n_gone == 0 {
                        return None;
                    }
                    let gone = self.all.iter().position(|(_, namespace)| namespace.is_gone)?;
                    self.all.remove(gone);
                    self.n_gone -= 1;
                }
                let at = find(&self.all).unwrap_or_else(|at| at);
                self.all.insert(at, (name.into(), Namespace::default()));
                at
            }
        };
        self.last = at;
        Some(&mut self.all[at].1)
    }
}

/// Whether `path` is the znode of the first level with this name, or below it.
fn is_in(path: &str, name: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(name));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The name of the znode of the first level that `path` is in; `None` for the root.
fn top_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?;
    let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

fn path_of(write: &Write) -> Option<&str> {
    match write {
        Write::Create(create) => Some(&create.path),
        Write::SetData { path, .. } => Some(path),
        Write::Delete { .. }
        | Write::SetAcl { .. }
        | Write::Check { .. }
        | Write::Multi(_)
        | Write::CloseSession => None,
    }
}

/// As Java counts a text.
fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// A stat: six numbers of eight bytes, five of four.
const STAT_BYTES: usize = 6 * 8 + 5 * 4;

/// Names of the first level are few where an ensemble is shared; each is eleven lines of `mntr`.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn change(path: &str, kind: ChangeKind, n_bytes: u64) -> Change {
        Change { path: path.into(), kind, n_bytes, acl: Arc::new([]), parent_acl: None }
    }

    #[test]
    fn each_namespace_is_counted_by_itself_and_the_root_is_in_none() {
        let mut namespaces = Namespaces::default();
        for path in ["/", "", "//x"] {
            namespaces.written(&change(path, ChangeKind::DataChanged, 5));
        }
        assert_eq!(namespaces, Namespaces::default());
        namespaces.written(&change("/a", ChangeKind::Created, 5));
        namespaces.written(&change("/a/b\u{e4}", ChangeKind::Created, 0));
        let data = Response::Data(Some(vec![0; 7].into()), crate::proto::Stat::default());
        namespaces.read(&Read::GetData { path: "/b/c".into(), watch: false }, &data);
        let found: Vec<_> =
            namespaces.iter().map(|(name, it)| (name, it.reads.sum, it.writes.sum)).collect();
        assert_eq!(found, [("a", 0, 2 + 5 + 5), ("b", 4 + 7 + 68, 0)]);
    }

    #[test]
    fn those_that_are_gone_make_room_and_no_others() {
        let mut namespaces = Namespaces::default();
        for n in 0..MOST {
            namespaces.written(&change(&format!("/{n:03}"), ChangeKind::Created, 0));
        }
        namespaces.written(&change("/new", ChangeKind::Created, 0));
        assert!(namespaces.iter().all(|(name, _)| name != "new"), "there is no room");
        namespaces.written(&change("/007/x", ChangeKind::Deleted, 0));
        namespaces.written(&change("/new", ChangeKind::Created, 0));
        assert!(namespaces.iter().all(|(name, _)| name != "new"), "a child is not its parent");
        namespaces.written(&change("/007", ChangeKind::Deleted, 0));
        namespaces.written(&change("/new", ChangeKind::Created, 0));
        assert!(namespaces.iter().any(|(name, _)| name == "new"));
        assert!(namespaces.iter().all(|(name, _)| name != "007"));
        assert_eq!(namespaces.iter().count(), MOST);
    }
}
