//! S1. At every zxid, the owner of each ephemeral znode is an open session: in the model, in every
//! server's state and in every snapshot (ZooKeeper: `DataTree.killSession`; M22, M35).

use zokor_core::db::Database;
use zokor_core::id::{ServerId, SessionId};

use crate::check::{Verdict, must};
use crate::model::{ChangeKind, Outcome, State, Step};

const CHECK: &str = "owners of ephemerals are open (S1)";

/// An entry has become `step`. What it did not touch was judged before, unless it ends a session.
///
/// # Errors
/// If an ephemeral of the state has an owner that is not open.
pub fn at(step: &Step) -> Verdict {
    for change in step.changes.iter().filter(|change| change.kind == ChangeKind::Created) {
        if step.state.nodes.contains_key(change.path.as_str()) {
            of_path(&step.state, &change.path)?;
        }
    }
    match step.outcome {
        Outcome::Expired(_) | Outcome::Restored { .. } => everywhere(&step.state),
        Outcome::Answered { ref write, .. }
            if **write == zokor_core::proto::Write::CloseSession =>
        {
            everywhere(&step.state)
        }
        _ => Ok(()),
    }
}

/// All of a state.
///
/// # Errors
/// If an ephemeral has an owner that is not open.
pub fn everywhere(state: &State) -> Verdict {
    state.nodes.keys().try_for_each(|path| of_path(state, path))
}

fn of_path(state: &State, path: &str) -> Verdict {
    let owner = state.nodes.get(path).and_then(|node| node.owner());
    let is_open = owner.is_none_or(|owner| state.sessions.contains_key(&owner));
    must(CHECK, is_open, || format!("{path} belongs to {owner:?}, which is not open"))
}

/// `server` has this state.
///
/// # Errors
/// If an ephemeral has an owner that is not open.
pub fn served(server: ServerId, database: &Database) -> Verdict {
    for (owner, mut paths) in database.ephemerals() {
        let is_open = database.session(owner).is_some();
        kept(server, owner, is_open, || paths.next().map(str::to_owned))?;
    }
    Ok(())
}

/// `server` keeps an ephemeral of `owner`, for it or in a snapshot.
///
/// # Errors
/// If that is not open.
pub fn kept(
    server: ServerId,
    owner: SessionId,
    is_open: bool,
    path: impl FnOnce() -> Option<String>,
) -> Verdict {
    must(CHECK, is_open, || {
        format!("server {server} has {:?} of session {owner}, which is not open", path())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::proto::Zxid;

    use super::*;
    use crate::model::{Change, Kind};

    fn state(owner: i64) -> State {
        let mut state = State::fresh();
        let mut node = (*state.nodes["/"]).clone();
        node.kind = Kind::Ephemeral(SessionId(owner));
        state.nodes.insert("/e".into(), Arc::new(node));
        state
    }

    fn step(state: State, outcome: Outcome) -> Step {
        let acl = state.nodes["/"].acl.clone();
        let parent_acl = acl.clone();
        let created = Change { path: "/e".to_owned(), kind: ChangeKind::Created, acl, parent_acl };
        Step { zxid: Zxid(1), outcome, changes: vec![created], state: Arc::new(state) }
    }

    #[test]
    fn an_ephemeral_without_an_owner_is_found_at_its_creation() {
        assert!(at(&step(state(5), Outcome::Nothing)).is_err());
        assert!(at(&step(State::fresh(), Outcome::Nothing)).is_ok());
    }

    #[test]
    fn an_ephemeral_left_over_is_found_when_a_session_ends() {
        let ended = Outcome::Expired(SessionId(5));
        let mut step = step(state(5), ended);
        step.changes.clear();
        assert!(at(&step).is_err());
    }

    #[test]
    fn a_server_with_a_stranger_is_found() {
        assert!(served(ServerId(1), &Database::new()).is_ok());
        assert!(kept(ServerId(1), SessionId(5), true, || None).is_ok());
        assert!(kept(ServerId(1), SessionId(5), false, || Some("/e".to_owned())).is_err());
    }
}
