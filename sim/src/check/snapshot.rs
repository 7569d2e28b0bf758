//! C11, W7. A snapshot, and at the end every server's state, is exactly the model's at its zxid:
//! znodes, numbers, permissions, sessions and the last ids given (ZooKeeper: `SerializeUtils`).

use zokor_core::db::{Image, ImageNode, SessionRecord};
use zokor_core::id::{ServerId, SessionId, Token};
use zokor_core::replica::Snapshot;
use zokor_core::session::lane_of;

use super::session::owner;
use super::{Verdict, must};
use crate::model::{Kind, Model, State};

const CHECK: &str = "states equal the model (C11)";

/// `server` made or sent this snapshot.
///
/// # Errors
/// If it is not the state of the model.
pub fn made(server: ServerId, snapshot: &Snapshot, model: &Model) -> Verdict {
    super::zxid::told(server, snapshot.meta.last.index, snapshot.zxid, model)?;
    must(CHECK, snapshot.zxid == snapshot.image.zxid(), || {
        format!("server {server}: {} is of {}", snapshot.image.zxid(), snapshot.zxid)
    })?;
    state(server, &snapshot.image, model)
}

/// `server` has this state.
///
/// # Errors
/// If it is not that of the model.
pub fn state(server: ServerId, image: &Image, model: &Model) -> Verdict {
    let Some(step) = model.at(image.zxid()) else {
        return must(CHECK, false, || format!("server {server}: {} is unknown", image.zxid()));
    };
    let state = &step.state;
    let mut seen = 0;
    for node in image.nodes() {
        seen += 1;
        znode(server, &node, state)?;
        if let Some(owner) = state.node(&node.path).ok().and_then(|known| known.owner()) {
            let is_open = image.sessions().any(|session| session.id == owner);
            owner::kept(server, owner, is_open, || Some(node.path.to_string()))?;
        }
    }
    must(CHECK, seen == state.nodes.len(), || {
        format!("server {server}: {seen} znodes, {} in the model", state.nodes.len())
    })?;
    let lanes: Vec<(SessionId, (Token, u64))> =
        state.lanes.iter().filter_map(|(&of, &lane)| Some((lane_of(of)?, lane))).collect();
    let mut seen = 0;
    for record in image.sessions() {
        seen += 1;
        match lanes.iter().find(|(id, _)| *id == record.id) {
            None => session(server, &record, state)?,
            Some((_, lane)) => must(CHECK, *lane == (record.token, record.sequence.0), || {
                format!("server {server}: the lane {record:?}, in the model {lane:?}")
            })?,
        }
    }
    let known = state.sessions.len() + lanes.len();
    must(CHECK, seen == known, || {
        format!("server {server}: {seen} sessions and lanes, {known} in the model")
    })?;
    restores(server, image, state)?;
    must(CHECK, *image.last_session_ids() == state.last_ids, || {
        let (found, known) = (image.last_session_ids(), &state.last_ids);
        format!("server {server}: last ids {found:?}, in the model {known:?}")
    })
}

fn restores(server: ServerId, image: &Image, state: &State) -> Verdict {
    let (found, known) = (image.restores(), &state.restores);
    let come = (image.staged_nodes().count(), image.staged_sessions().count());
    let found = (found.begun, found.done, found.staged.map(|(number, _)| (number.0, come)));
    let staged = known.staged.as_ref();
    let staged = staged.map(|(number, it)| (*number, (it.n_znodes(), it.n_sessions())));
    let known = (known.begun, known.done, staged);
    must(CHECK, found == known, || {
        format!("server {server}: restores {found:?}, in the model {known:?}")
    })
}

fn session(server: ServerId, record: &SessionRecord, state: &State) -> Verdict {
    let known = state.sessions.get(&record.id);
    let same = known.is_some_and(|known| {
        known.password == record.password
            && known.timeout_ms == record.timeout_ms
            && known.token == record.token
            && known.sequence == record.sequence.0
    });
    must(CHECK, same, || format!("server {server}: {record:?}, in the model {known:?}"))
}

fn znode(server: ServerId, node: &ImageNode, state: &State) -> Verdict {
    let path = &node.path;
    let Ok(known) = state.node(path) else {
        return must(CHECK, false, || format!("server {server}: {path} should not be there"));
    };
    let (stat, expected) = (&node.stat, &known.stat);
    let owner = match known.kind {
        Kind::Persistent => 0,
        Kind::Ephemeral(session) => session.0,
        Kind::Container => i64::MIN,
        Kind::Ttl(ttl_ms) => (0xff << 56) | ttl_ms,
    };
    let same = node.data == known.data
        && node.acl == known.acl
        && stat.czxid == expected.czxid
        && stat.mzxid == expected.mzxid
        && stat.pzxid == expected.pzxid
        && stat.ctime == expected.ctime
        && stat.mtime == expected.mtime
        && stat.version == expected.version
        && stat.aversion == expected.aversion
        && stat.cversion == known.children_created
        && stat.ephemeral_owner == owner;
    must(CHECK, same, || format!("server {server}: {node:?}, in the model {known:?}"))
}

#[cfg(test)]
mod tests {
    use zokor_core::db::{Database, StoredStat};
    use zokor_core::id::{Nonce, Sequence, SessionId, Token};
    use zokor_core::proto::Zxid;

    use super::*;

    #[test]
    fn a_znode_as_in_the_model_is_right_and_another_is_found() {
        let state = State::fresh();
        let root = |czxid| ImageNode {
            path: "/".into(),
            data: Some(Default::default()),
            acl: state.nodes["/"].acl.clone(),
            stat: StoredStat { czxid, ..StoredStat::default() },
        };
        assert!(znode(ServerId(1), &root(0), &state).is_ok());
        assert!(znode(ServerId(1), &root(1), &state).is_err());
        let others = ImageNode { acl: [].into(), ..root(0) };
        assert!(znode(ServerId(1), &others, &state).is_err());
        let stranger = ImageNode { path: "/x".into(), ..root(0) };
        assert!(znode(ServerId(1), &stranger, &state).is_err());
    }

    #[test]
    fn a_session_that_is_not_in_the_model_is_found() {
        let record = SessionRecord {
            id: SessionId(5),
            password: [7; 16],
            timeout_ms: 1,
            token: Token(1),
            sequence: Sequence(0),
            nonce: Nonce(0),
        };
        let mut known = State::fresh();
        assert!(session(ServerId(1), &record, &known).is_err());
        let (password, token) = ([7; 16], Token(1));
        let kept = crate::model::Session { password, timeout_ms: 1, token, sequence: 0 };
        known.sessions.insert(SessionId(5), kept);
        assert!(session(ServerId(1), &record, &known).is_ok());
        let behind = SessionRecord { sequence: Sequence(1), ..record };
        assert!(session(ServerId(1), &behind, &known).is_err());
    }

    #[test]
    fn a_fresh_state_is_the_models_and_one_of_another_time_is_found() {
        let mut database = Database::new();
        assert_eq!(state(ServerId(1), &database.freeze(), &Model::new()), Ok(()));
        database.skip(Zxid(1));
        assert!(state(ServerId(1), &database.freeze(), &Model::new()).is_err());
    }
}
