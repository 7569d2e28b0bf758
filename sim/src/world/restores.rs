//! Restores: what operators ask of a server, and what they are told.
//!
//! Invariant: whoever is told that a restore is done finds the state that was asked for; whoever is
//! told anything else finds either.

use zokor_core::Input;
use zokor_core::db::{ImageNode, Prepared, RestoredSession, StoredStat};
use zokor_core::id::{RestoreId, ServerId};
use zokor_core::replica::RestoreEnd;

use super::stepped::World;
use crate::check::{Verdict, must};
use crate::model::{Kind, Outcome, State};
use crate::rng::mix;

const CHECK: &str = "an acknowledged restore is the state";

impl World {
    /// An operator asks `server` to restore the state of so many entries ago.
    pub(super) fn restore(&mut self, server: u64, entries_ago: u64) -> Verdict {
        let state = &self.servers[server as usize - 1];
        if state.replica.is_none() || state.paused_until > self.time {
            return Ok(());
        }
        let model = &self.checks.model;
        let index = model.last().saturating_sub(usize::try_from(entries_ago).unwrap_or(usize::MAX));
        let Some(prepared) = prepared(&model.step(index).state) else { return Ok(()) };
        let id = RestoreId(self.restores.len() as u64);
        self.restores.push(index);
        self.input(server, Input::Restore { id, prepared })
    }

    /// An operator hears how its restore has ended.
    pub(super) fn restored(&mut self, server: u64, id: RestoreId, end: RestoreEnd) -> Verdict {
        self.hash = mix(&[self.hash, id.0]);
        let zxid = match end {
            RestoreEnd::Done { zxid } => zxid,
            RestoreEnd::Failed(_) => {
                self.probes.hit("restore failed");
                return Ok(());
            }
            RestoreEnd::Busy => {
                self.probes.hit("restore refused beside another");
                return Ok(());
            }
            RestoreEnd::Unknown => {
                self.probes.hit("restore with an unknown end");
                return Ok(());
            }
        };
        self.probes.hit("restore done");
        let model = &self.checks.model;
        let asked = &model.step(self.restores[id.0 as usize]).state;
        let found = model.at(zxid);
        let is_it = found.is_some_and(|step| {
            matches!(step.outcome, Outcome::Restored { .. }) && is_same(&step.state, asked)
        });
        must(CHECK, is_it, || {
            let server = ServerId(server);
            format!("server {server}: restore {id:?} is told to be done at {zxid}, and is not")
        })
    }
}

/// Whether both have the same znodes, but for the description of the ensemble, and the same
/// sessions.
fn is_same(one: &State, other: &State) -> bool {
    let znodes = |state: &State| {
        let own = state.nodes.iter().filter(|(path, _)| &***path != "/zookeeper/config");
        own.map(|(path, node)| (path.clone(), node.clone())).collect::<Vec<_>>()
    };
    znodes(one) == znodes(other) && one.sessions.keys().eq(other.sessions.keys())
}

/// A state as a snapshot; `None` if it is none that could be restored.
fn prepared(state: &State) -> Option<Prepared> {
    let sessions = state.sessions.iter().map(|(&id, session)| RestoredSession {
        id,
        password: session.password,
        timeout_ms: session.timeout_ms,
    });
    let mut znodes: Vec<ImageNode> = state
        .nodes
        .iter()
        .map(|(path, node)| {
            let owner = match node.kind {
                Kind::Persistent => 0,
                Kind::Ephemeral(session) => session.0,
                Kind::Container => i64::MIN,
                Kind::Ttl(ttl_ms) => (0xff << 56) | ttl_ms,
            };
            let stat = StoredStat {
                czxid: node.stat.czxid,
                mzxid: node.stat.mzxid,
                ctime: node.stat.ctime,
                mtime: node.stat.mtime,
                version: node.stat.version,
                cversion: node.children_created,
                aversion: node.stat.aversion,
                ephemeral_owner: owner,
                pzxid: node.stat.pzxid,
            };
            ImageNode {
                path: (**path).into(),
                data: node.data.clone(),
                acl: node.acl.clone(),
                stat,
            }
        })
        .collect();
    znodes.sort_by(|a, b| a.path.cmp(&b.path));
    Prepared::new(znodes, sessions).ok()
}
