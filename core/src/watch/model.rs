//! The watches against a model that keeps nothing twice: any mix of calls gives the same answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::assert_consistent;
use super::*;

/// Modes by path and connection, and nothing else. Written from ZooKeeper's table of events.
#[derive(Default)]
struct Model(BTreeMap<(String, ConnId), [bool; 4]>);

const DATA: usize = 0;
const CHILD: usize = 1;
const PERSISTENT: usize = 2;
const RECURSIVE: usize = 3;

impl Model {
    fn set(&mut self, conn: ConnId, path: &str, kind: WatchKind) {
        let mode = match kind {
            WatchKind::Data => DATA,
            WatchKind::Child => CHILD,
            WatchKind::Persistent => PERSISTENT,
            WatchKind::Recursive => RECURSIVE,
        };
        self.0.entry((path.to_owned(), conn)).or_default()[mode] = true;
    }

    fn has(&self, conn: ConnId, path: &str, kind: WatcherType) -> bool {
        let modes = self.0.get(&(path.to_owned(), conn)).copied().unwrap_or_default();
        meant(kind).into_iter().any(|mode| modes[mode])
    }

    fn remove(&mut self, conn: ConnId, path: &str, kind: WatcherType) -> bool {
        let had = self.has(conn, path, kind);
        if let Some(modes) = self.0.get_mut(&(path.to_owned(), conn)) {
            meant(kind).into_iter().for_each(|mode| modes[mode] = false);
        }
        self.0.retain(|_, modes| modes.contains(&true));
        had
    }

    fn trigger(&mut self, path: &str, modes: [usize; 2], once: usize) -> Vec<ConnId> {
        let mut told = Vec::new();
        for ((own, conn), has) in &mut self.0 {
            if own == path && modes.iter().any(|&mode| has[mode]) {
                told.push(*conn);
                has[once] = false;
            }
        }
        self.0.retain(|_, modes| modes.contains(&true));
        told
    }

    fn fire(&mut self, path: &str, change: ChangeKind) -> Vec<(ConnId, EventKind, String)> {
        let above = |own: &str| own == "/" || path == own || path.starts_with(&format!("{own}/"));
        let recursive = |((own, conn), has): (&(String, ConnId), &[bool; 4])| {
            (has[RECURSIVE] && above(own)).then_some(*conn)
        };
        let mut data: Vec<ConnId> = self.0.iter().filter_map(recursive).collect();
        data.extend(self.trigger(path, [DATA, PERSISTENT], DATA));
        data.sort_unstable();
        data.dedup();
        let kind = match change {
            ChangeKind::Created => EventKind::Created,
            ChangeKind::Deleted => EventKind::Deleted,
            ChangeKind::DataChanged => EventKind::DataChanged,
        };
        let mut told: Vec<_> = data.iter().map(|&conn| (conn, kind, path.to_owned())).collect();
        if change == ChangeKind::Deleted {
            let child = self.trigger(path, [CHILD, PERSISTENT], CHILD);
            let new = child.into_iter().filter(|conn| !data.contains(conn));
            told.extend(new.map(|conn| (conn, kind, path.to_owned())));
        }
        if change != ChangeKind::DataChanged && path != "/" {
            let parent = &path[..path.rfind('/').expect("it is absolute").max(1)];
            let conns = self.trigger(parent, [CHILD, PERSISTENT], CHILD);
            let kind = EventKind::ChildrenChanged;
            told.extend(conns.into_iter().map(|conn| (conn, kind, parent.to_owned())));
        }
        told
    }

    fn count(&self) -> u64 {
        let tables = self.0.values().map(|has| {
            let data = has[DATA] || has[PERSISTENT] || has[RECURSIVE];
            u64::from(data) + u64::from(has[CHILD] || has[PERSISTENT])
        });
        tables.sum()
    }
}

fn meant(kind: WatcherType) -> Vec<usize> {
    match kind {
        WatcherType::Children => vec![CHILD],
        WatcherType::Data => vec![DATA],
        WatcherType::Persistent => vec![PERSISTENT],
        WatcherType::Recursive => vec![RECURSIVE],
        WatcherType::Any => vec![DATA, CHILD, PERSISTENT, RECURSIVE],
    }
}

#[derive(Clone, Debug)]
enum Call {
    Set(ConnId, String, WatchKind),
    Remove(ConnId, String, WatcherType),
    Check(ConnId, String, WatcherType),
    Fire(String, ChangeKind),
    Forget(ConnId),
}

fn call() -> impl Strategy<Value = Call> {
    let conn = || (0..6u64).prop_map(ConnId);
    let name = prop::sample::select(vec!["a", "b", "longer-name"]);
    let path = || {
        prop::collection::vec(name.clone(), 0..4).prop_map(|names| format!("/{}", names.join("/")))
    };
    let kind = prop::sample::select(vec![
        WatchKind::Data,
        WatchKind::Child,
        WatchKind::Persistent,
        WatchKind::Recursive,
    ]);
    let of_type = || {
        prop::sample::select(vec![
            WatcherType::Children,
            WatcherType::Data,
            WatcherType::Any,
            WatcherType::Persistent,
            WatcherType::Recursive,
        ])
    };
    let change = prop::sample::select(vec![
        ChangeKind::Created,
        ChangeKind::Deleted,
        ChangeKind::DataChanged,
    ]);
    prop_oneof![
        8 => (conn(), path(), kind).prop_map(|(conn, path, kind)| Call::Set(conn, path, kind)),
        2 => (conn(), path(), of_type()).prop_map(|(c, path, kind)| Call::Remove(c, path, kind)),
        1 => (conn(), path(), of_type()).prop_map(|(c, path, kind)| Call::Check(c, path, kind)),
        6 => (path(), change).prop_map(|(path, change)| Call::Fire(path, change)),
        1 => conn().prop_map(Call::Forget),
    ]
}

proptest! {
    #[test]
    fn any_mix_of_calls_is_answered_as_the_model_does(
        calls in prop::collection::vec(call(), 0..120),
    ) {
        let (mut watches, mut model) = (Watches::new(), Model::default());
        for call in calls {
            match call {
                Call::Set(conn, path, kind) => {
                    watches.set(conn, &path, kind);
                    model.set(conn, &path, kind);
                }
                Call::Remove(conn, path, kind) => prop_assert_eq!(
                    watches.remove(conn, &path, kind),
                    model.remove(conn, &path, kind)
                ),
                Call::Check(conn, path, kind) => prop_assert_eq!(
                    watches.check(conn, &path, kind),
                    model.has(conn, &path, kind)
                ),
                Call::Fire(path, kind) => {
                    // The root is there for ever.
                    let kind = if path == "/" { ChangeKind::DataChanged } else { kind };
                    let acl: AclList = Arc::new([]);
                    let parent_acl = (kind != ChangeKind::DataChanged).then(|| Arc::clone(&acl));
                    let at = path.as_str().into();
                    let change = Change { path: at, kind, n_bytes: 0, acl, parent_acl };
                    let mut told = Vec::new();
                    watches.fire(&change, |_, _| true, |conn, event| {
                        told.push((conn, event.kind, event.path.to_string()));
                    });
                    prop_assert_eq!(told, model.fire(&path, kind));
                }
                Call::Forget(conn) => {
                    watches.forget(conn);
                    model.0.retain(|(_, own), _| *own != conn);
                }
            }
            assert_consistent(&watches);
            prop_assert_eq!(watches.count(), model.count());
        }
    }
}
