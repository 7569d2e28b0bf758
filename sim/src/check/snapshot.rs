//! A snapshot holds exactly the state at its zxid: znodes, stats and sessions as in the model. C11,
//! S1, T3.

use zokor_core::db::ImageNode;
use zokor_core::id::ServerId;
use zokor_core::replica::Snapshot;

use super::{Verdict, must};
use crate::model::{Model, State};

const CHECK: &str = "snapshots equal the model (C11)";

/// `server` made or sent this snapshot.
///
/// # Errors
/// If it is not the state of the model.
pub fn made(server: ServerId, snapshot: &Snapshot, model: &Model) -> Verdict {
    super::zxid::told(server, snapshot.meta.last.index, snapshot.zxid, model)?;
    let Some(step) = model.at(snapshot.zxid) else {
        return must(CHECK, false, || format!("server {server}: {} is unknown", snapshot.zxid));
    };
    let state = &step.state;
    let mut seen = 0;
    for node in snapshot.image.nodes() {
        seen += 1;
        znode(server, &node, state)?;
    }
    must(CHECK, seen == state.nodes.len(), || {
        format!("server {server}: {seen} znodes, {} in the model", state.nodes.len())
    })?;
    let mut seen = 0;
    for record in snapshot.image.sessions() {
        seen += 1;
        let known = state.sessions.get(&record.id);
        let same = known.is_some_and(|known| {
            known.password == record.password
                && known.timeout_ms == record.timeout_ms
                && known.token == record.token
                && known.sequence == record.sequence.0
        });
        must(CHECK, same, || format!("server {server}: {record:?}, in the model {known:?}"))?;
    }
    must(CHECK, seen == state.sessions.len(), || {
        format!("server {server}: {seen} sessions, {} in the model", state.sessions.len())
    })
}

fn znode(server: ServerId, node: &ImageNode, state: &State) -> Verdict {
    let path: &str = &node.path;
    let path = if path.is_empty() { "/" } else { path };
    let Some(known) = state.nodes.get(path) else {
        return must(CHECK, false, || format!("server {server}: {path} should not be there"));
    };
    // The model does not follow what the ensemble writes there about itself.
    if path == "/zookeeper/config" {
        return Ok(());
    }
    let (stat, expected) = (&node.stat, &known.stat);
    let same = node.data == known.data
        && stat.czxid == expected.czxid
        && stat.mzxid == expected.mzxid
        && stat.pzxid == expected.pzxid
        && stat.ctime == expected.ctime
        && stat.mtime == expected.mtime
        && stat.version == expected.version
        && stat.cversion == known.children_created
        && stat.ephemeral_owner == known.owner.map_or(0, |owner| owner.0);
    must(CHECK, same, || format!("server {server}: {node:?}, in the model {known:?}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::db::StoredStat;

    use super::*;

    fn root(czxid: i64) -> ImageNode {
        ImageNode {
            path: "/".into(),
            data: Some(Default::default()),
            acl: Arc::from([]),
            stat: StoredStat { czxid, ..StoredStat::default() },
        }
    }

    #[test]
    fn a_znode_as_in_the_model_is_right_and_another_is_found() {
        let state = State::fresh();
        assert!(znode(ServerId(1), &root(0), &state).is_ok());
        assert!(znode(ServerId(1), &root(1), &state).is_err());
        let stranger = ImageNode { path: "/x".into(), ..root(0) };
        assert!(znode(ServerId(1), &stranger, &state).is_err());
    }
}
