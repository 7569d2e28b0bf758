//! T4. Containers and TTL znodes vanish only by an entry of the log: a client's delete, or the
//! leader's wish when they are empty, and due on its clock (ZooKeeper: `ContainerManager`).

use std::time::Duration;

use zokor_core::id::ServerId;
use zokor_core::proto::Write;
use zokor_core::time::WallTime;

use crate::check::{Verdict, must};
use crate::model::{ChangeKind, Kind, Outcome, State, Step};

const CHECK: &str = "containers go when they are due (T4)";

/// An entry that the leader stamped `time` has become `step`; `before` is what it found.
///
/// # Errors
/// If a container or TTL znode is gone that should not be.
pub fn took_effect(before: &State, time: WallTime, step: &Step) -> Verdict {
    for change in step.changes.iter().filter(|change| change.kind == ChangeKind::Deleted) {
        let path = change.path.as_str();
        // What the same entry has made is not there before.
        let Some(node) = before.nodes.get(path) else { continue };
        let holds = match (&step.outcome, node.kind) {
            (Outcome::Reaped(reaped, unused_ms), kind) => {
                let empty = before.children(path).is_empty();
                let age_ms = time.0.saturating_sub(node.stat.mtime);
                let due = match kind {
                    Kind::Container if *unused_ms > 0 && age_ms > *unused_ms => true,
                    Kind::Container => node.children_created != 0,
                    Kind::Ttl(ttl_ms) => age_ms > ttl_ms,
                    Kind::Persistent | Kind::Ephemeral(_) => false,
                };
                reaped == path && empty && due
            }
            (_, Kind::Persistent | Kind::Ephemeral(_)) => true,
            (Outcome::Answered { write, .. }, Kind::Container | Kind::Ttl(_)) => {
                deletes(write, path)
            }
            (_, Kind::Container | Kind::Ttl(_)) => false,
        };
        must(CHECK, holds, || {
            format!("{} takes {path} at {time:?}: {node:?}, by {:?}", step.zxid, step.outcome)
        })?;
    }
    Ok(())
}

fn deletes(write: &Write, wanted: &str) -> bool {
    match write {
        Write::Delete { path, .. } => &**path == wanted,
        Write::Multi(writes) => writes.iter().any(|write| deletes(write, wanted)),
        _ => false,
    }
}

/// `server` leads and stamps an entry with `stamp` when its own clock shows `wall`; it may have
/// taken up what it stamps `slack` ago.
///
/// # Errors
/// If that is another time.
pub fn stamped(server: ServerId, stamp: WallTime, wall: WallTime, slack: Duration) -> Verdict {
    let late = wall.0 - stamp.0;
    let holds = late >= 0 && late <= slack.as_millis() as i64 + 1;
    must("stamps are of the leader's clock (T4)", holds, || {
        format!("server {server} stamps {stamp:?} when its clock shows {wall:?}")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::proto::{Response, Zxid};

    use super::*;
    use crate::check::write::invoked::tests::author;
    use crate::model::{Change, Node};

    /// `/c`, made and set at time 0, with so many children ever.
    fn before(kind: Kind, children_created: i32) -> State {
        let mut state = State::fresh();
        let node = (*state.nodes["/zookeeper/quota"]).clone();
        state.nodes.insert("/c".into(), Arc::new(Node { kind, children_created, ..node }));
        state
    }

    fn judge(before: &State, time: i64, outcome: Outcome) -> Verdict {
        let acl = before.nodes["/"].acl.clone();
        let (path, kind, parent_acl) = ("/c".to_owned(), ChangeKind::Deleted, acl.clone());
        let changes = vec![Change { path, kind, acl, parent_acl }];
        let state = Arc::new(before.clone());
        took_effect(before, WallTime(time), &Step { zxid: Zxid(9), outcome, changes, state })
    }

    fn reaped() -> Outcome {
        Outcome::Reaped("/c".to_owned(), 0)
    }

    #[test]
    fn an_empty_container_goes_and_a_fresh_or_full_one_is_found() {
        assert!(judge(&before(Kind::Container, 1), 5, reaped()).is_ok());
        assert!(judge(&before(Kind::Container, 0), 5, reaped()).is_err());
        let mut full = before(Kind::Container, 1);
        full.nodes.insert("/c/x".into(), full.nodes["/"].clone());
        assert!(judge(&full, 5, reaped()).is_err());
        assert!(
            judge(&before(Kind::Container, 1), 5, Outcome::Reaped("/d".to_owned(), 0)).is_err()
        );
    }

    #[test]
    fn a_ttl_znode_that_goes_too_early_is_found() {
        assert!(judge(&before(Kind::Ttl(100), 0), 101, reaped()).is_ok());
        assert!(judge(&before(Kind::Ttl(100), 0), 100, reaped()).is_err());
        assert!(judge(&before(Kind::Persistent, 1), 500, reaped()).is_err());
    }

    #[test]
    fn only_a_delete_or_the_leader_takes_them() {
        let by = |path: &str| Outcome::Answered {
            author: Box::new(author(5, 1, 1)),
            write: Box::new(Write::multi(vec![Write::Delete { path: path.into(), version: -1 }])),
            result: Ok(Response::Empty),
        };
        let state = before(Kind::Container, 1);
        assert!(judge(&state, 5, by("/c")).is_ok());
        assert!(judge(&state, 5, by("/d")).is_err());
        assert!(judge(&state, 5, Outcome::Expired(author(5, 1, 1).session)).is_err());
    }

    #[test]
    fn a_stamp_of_another_time_is_found() {
        let slack = Duration::from_millis(10);
        let judge = |stamp| stamped(ServerId(1), WallTime(stamp), WallTime(1_000), slack);
        assert!(judge(1_000).is_ok());
        assert!(judge(989).is_ok());
        assert!(judge(1_001).is_err());
        assert!(judge(900).is_err());
    }
}
