//! S2. The entry that ends a session deletes all its ephemerals in that same zxid, and nothing else
//! (ZooKeeper: `DataTree.killSession`, `PrepRequestProcessor` for closeSession; M34).

use std::collections::BTreeSet;
use std::sync::Arc;

use zokor_core::id::SessionId;

use crate::check::{Verdict, must};
use crate::model::{ChangeKind, Node, State, Step, parent};

/// The entry of `step` ended `session`; `before` is the state that it found.
///
/// # Errors
/// If anything but the session and its ephemerals is gone, or one of these is not.
pub fn ended(session: SessionId, before: &State, step: &Step) -> Verdict {
    const CHECK: &str = "a session's end takes its ephemerals, at once (S2)";
    let zxid = step.zxid;
    let after = &step.state;
    let own = before.nodes.iter().filter(|(_, node)| node.owner() == Some(session));
    let own: BTreeSet<&str> = own.map(|(path, _)| &**path).collect();
    let told: BTreeSet<&str> = step.changes.iter().map(|change| &*change.path).collect();
    let only_deletions = step.changes.iter().all(|change| change.kind == ChangeKind::Deleted);
    must(CHECK, told == own && only_deletions && told.len() == step.changes.len(), || {
        format!("{zxid} ends {session}, which owns {own:?}, and does {:?}", step.changes)
    })?;
    let parents: BTreeSet<&str> = own.iter().map(|path| parent(path)).collect();
    for (path, node) in &before.nodes {
        let left = after.nodes.get(path);
        let holds = match left {
            None => own.contains(&**path),
            Some(left) => {
                !own.contains(&**path) && same(path, node, left, parents.contains(&**path))
            }
        };
        must(CHECK, holds, || {
            format!("{zxid} ends {session} and makes {left:?} of {path}: {node:?}")
        })?;
    }
    must(CHECK, after.nodes.len() + own.len() == before.nodes.len(), || {
        format!("{zxid} ends {session} and leaves {} znodes", after.nodes.len())
    })?;
    let left = after.sessions.len() + usize::from(before.sessions.contains_key(&session));
    let gone = !after.sessions.contains_key(&session) && left == before.sessions.len();
    must(CHECK, gone, || {
        format!("{zxid} ends {session}: {:?}, then {:?}", before.sessions, after.sessions)
    })
}

/// Only the pzxid of a parent moves, and what a quota counts, which the model judges (C11).
fn same(path: &str, before: &Arc<Node>, after: &Arc<Node>, is_parent: bool) -> bool {
    let mut expected = Node::clone(before);
    if path.starts_with("/zookeeper/quota/") && path.ends_with("/zookeeper_stats") {
        expected.data.clone_from(&after.data);
    }
    if is_parent {
        expected.stat.pzxid = after.stat.pzxid;
    }
    expected == **after && is_parent == (before.stat.pzxid != after.stat.pzxid)
}

#[cfg(test)]
mod tests {
    use zokor_core::id::Token;
    use zokor_core::proto::Zxid;

    use super::*;
    use crate::model::{Change, Kind, Outcome, Session};

    const SESSION: SessionId = SessionId(5);

    /// `/a`, `/e1` and `/e2`, of which the last two go with the session.
    fn before() -> State {
        let mut state = State::fresh();
        let node = (*state.nodes["/zookeeper"]).clone();
        for (path, kind) in [
            ("/a", Kind::Persistent),
            ("/e1", Kind::Ephemeral(SESSION)),
            ("/e2", Kind::Ephemeral(SESSION)),
        ] {
            state.nodes.insert(path.into(), Arc::new(Node { kind, ..node.clone() }));
        }
        let (password, token) = ([0; 16], Token(1));
        state.sessions.insert(SESSION, Session { password, timeout_ms: 1, token, sequence: 0 });
        state
    }

    fn step(also: impl FnOnce(&mut State, &mut Vec<Change>)) -> Step {
        let (mut state, mut changes) = (before(), Vec::new());
        state.end(Zxid(9), SESSION, &mut changes);
        also(&mut state, &mut changes);
        let outcome = Outcome::Expired(SESSION);
        Step { zxid: Zxid(9), outcome, changes, state: Arc::new(state) }
    }

    fn judge(also: impl FnOnce(&mut State, &mut Vec<Change>)) -> Verdict {
        ended(SESSION, &before(), &step(also))
    }

    #[test]
    fn an_end_that_takes_all_that_it_should_is_right() {
        assert_eq!(judge(|_, _| {}), Ok(()));
    }

    #[test]
    fn an_ephemeral_that_stays_or_is_not_told_is_found() {
        let kept = before().nodes["/e2"].clone();
        assert!(judge(|state, _| drop(state.nodes.insert("/e2".into(), kept))).is_err());
        assert!(judge(|_, changes| drop(changes.pop())).is_err());
    }

    #[test]
    fn anything_else_that_goes_or_changes_is_found() {
        assert!(judge(|state, _| drop(state.nodes.remove("/a"))).is_err());
        let made = before().nodes["/a"].clone();
        assert!(judge(|state, _| drop(state.nodes.insert("/b".into(), made))).is_err());
        let change = |state: &mut State, _: &mut Vec<Change>| {
            Arc::make_mut(state.nodes.get_mut("/a").unwrap()).stat.version = 7;
        };
        assert!(judge(change).is_err());
        let text = |state: &mut State, _: &mut Vec<Change>| {
            Arc::make_mut(state.nodes.get_mut("/a").unwrap()).data = None;
        };
        assert!(judge(text).is_err(), "only usage may be counted");
        let twice = |_: &mut State, changes: &mut Vec<Change>| changes.push(changes[0].clone());
        assert!(judge(twice).is_err());
    }

    #[test]
    fn a_session_that_stays_open_is_found() {
        let session = before().sessions[&SESSION].clone();
        let stays = |state: &mut State, _: &mut Vec<Change>| {
            state.sessions.insert(SESSION, session);
        };
        assert!(judge(stays).is_err());
    }
}
