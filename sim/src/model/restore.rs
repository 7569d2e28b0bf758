//! What restores do to a state of the model.
//!
//! Invariant: what has come of one is seen by nobody before its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zokor_core::db::{ImageNode, RestoreStep, RestoredSession};
use zokor_core::id::{Sequence, SessionId, Token};
use zokor_core::proto::{Stat, Zxid};

use super::Outcome;
use super::state::{Change, ChangeKind, Kind, Node, Session, State, parent};
use super::writes::CONFIG;

/// What a state knows of restores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restores {
    /// When the last one began.
    pub begun: Token,
    /// When a state took another's place last.
    pub done: Zxid,
    /// What has come of the last one, if it is under way: the last step, and all else.
    pub staged: Option<(u64, Staged)>,
}

/// Znodes and sessions that have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    sessions: BTreeMap<SessionId, ([u8; 16], i32)>,
}

impl State {
    /// A restore is to begin.
    pub(super) fn begin_restore(&mut self, zxid: Zxid, replaces: Token, has_room: bool) {
        if self.restores.staged.is_none() && self.restores.begun == replaces && has_room {
            self.restores.begun = Token(zxid.0);
            self.restores.staged = Some((0, Staged::default()));
        }
    }

    /// The leader gives one up.
    pub(super) fn abandon_restore(&mut self, token: Token, number: Sequence) {
        let last = self.restores.staged.as_ref().map(|(last, _)| *last);
        if self.restores.begun == token && last == Some(number.0) {
            self.restores.staged = None;
        }
    }

    /// A step of one.
    pub(super) fn restore(
        &mut self,
        zxid: Zxid,
        (token, number): (Token, Sequence),
        step: &RestoreStep,
        has_room: bool,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let begun = self.restores.begun;
        let Some((last, staged)) = &mut self.restores.staged else { return Outcome::Nothing };
        if token != begun || number.0 != *last + 1 {
            return Outcome::Nothing;
        }
        *last = number.0;
        let is_good = has_room
            && match step {
                RestoreStep::Piece { sessions, znodes } => {
                    sessions.iter().all(|session| staged.session(session))
                        && znodes.iter().all(|znode| staged.znode(znode))
                }
                RestoreStep::End { n_sessions, n_znodes, .. } => {
                    staged.sessions.len() as u64 == *n_sessions
                        && staged.nodes.len() as u64 == *n_znodes
                        && staged.is_whole()
                }
            };
        if !is_good {
            self.restores.staged = None;
            return Outcome::Nothing;
        }
        if matches!(step, RestoreStep::Piece { .. }) {
            return Outcome::Nothing;
        }
        let (_, staged) = self.restores.staged.take().expect("just seen");
        self.replace(zxid, staged, changes)
    }

    fn replace(&mut self, zxid: Zxid, staged: Staged, changes: &mut Vec<Change>) -> Outcome {
        let Staged { mut nodes, sessions } = staged;
        let config: Arc<str> = Arc::from(CONFIG);
        if let Some(kept) = self.nodes.get(&config) {
            let there = &nodes[&config];
            let mut node = Node::clone(kept);
            node.children_created = there.children_created;
            node.stat.pzxid = there.stat.pzxid;
            nodes.insert(config, Arc::new(node));
        }
        let ended: Vec<SessionId> =
            self.sessions.keys().filter(|id| !sessions.contains_key(id)).copied().collect();
        for id in &ended {
            self.sessions.remove(id);
        }
        let mut revived = Vec::new();
        for (id, (password, timeout_ms)) in sessions {
            let last = self.last_ids.entry((id.0 >> 56) as u8).or_insert(id);
            *last = id.max(*last);
            self.sessions.entry(id).or_insert_with(|| {
                revived.push(id);
                Session { password, timeout_ms, token: Token(zxid.0), sequence: 0 }
            });
        }
        let before = std::mem::replace(&mut self.nodes, nodes);
        self.restores.done = zxid;
        differ(&before, &self.nodes, changes);
        Outcome::Restored { ended, revived }
    }
}

impl Staged {
    /// How many znodes have come.
    pub fn n_znodes(&self) -> usize {
        self.nodes.len()
    }

    /// How many sessions have come.
    pub fn n_sessions(&self) -> usize {
        self.sessions.len()
    }

    fn session(&mut self, session: &RestoredSession) -> bool {
        let &RestoredSession { id, password, timeout_ms } = session;
        let is_lane = (-0x1_0000..0).contains(&id.0);
        let is_mark = !matches!(kind_of(id.0), Kind::Ephemeral(_));
        !is_lane && !is_mark && self.sessions.insert(id, (password, timeout_ms)).is_none()
    }

    fn znode(&mut self, znode: &ImageNode) -> bool {
        let path = &*znode.path;
        let has_place = if self.nodes.is_empty() {
            path == "/"
        } else {
            let is_path = path.starts_with('/') && path.len() > 1 && !path.ends_with('/');
            let above = self.nodes.get(parent(path));
            is_path && above.is_some_and(|above| above.owner().is_none()) && !path.contains("//")
        };
        let stat = &znode.stat;
        let node = Node {
            data: znode.data.clone(),
            kind: kind_of(stat.ephemeral_owner),
            acl: znode.acl.clone(),
            children_created: stat.cversion,
            stat: Stat {
                czxid: stat.czxid,
                mzxid: stat.mzxid,
                pzxid: stat.pzxid,
                ctime: stat.ctime,
                mtime: stat.mtime,
                version: stat.version,
                aversion: stat.aversion,
                ..Stat::default()
            },
        };
        has_place && self.nodes.insert(Arc::from(path), Arc::new(node)).is_none()
    }

    fn is_whole(&self) -> bool {
        let reserved = ["/", "/zookeeper", "/zookeeper/quota", CONFIG];
        let is_there =
            |path: &&str| self.nodes.get(*path).is_some_and(|it| it.kind == Kind::Persistent);
        let owners: BTreeSet<SessionId> =
            self.nodes.values().filter_map(|node| node.owner()).collect();
        reserved.iter().all(is_there) && owners.iter().all(|it| self.sessions.contains_key(it))
    }
}

fn kind_of(owner: i64) -> Kind {
    let low = owner & ((1 << 40) - 1);
    match owner {
        0 => Kind::Persistent,
        i64::MIN => Kind::Container,
        _ if low != 0 && owner == (0xff << 56) | low => Kind::Ttl(low),
        _ => Kind::Ephemeral(SessionId(owner)),
    }
}

/// What whoever watches is to hear, in order.
fn differ(
    before: &BTreeMap<Arc<str>, Arc<Node>>,
    after: &BTreeMap<Arc<str>, Arc<Node>>,
    changes: &mut Vec<Change>,
) {
    let is_same = |path: &str, one: &Node, other: &Node| {
        path == "/" || (one.stat.czxid == other.stat.czxid && one.kind == other.kind)
    };
    let is_changed = |one: &Node, other: &Node| {
        let (a, b) = (&one.stat, &other.stat);
        (a.mzxid, a.version) != (b.mzxid, b.version) || one.data != other.data
    };
    let mut note = |path: &str, kind, node: &Node| {
        let above = parent(path);
        let above = after.get(above).or_else(|| before.get(above)).filter(|_| path != "/");
        let parent_acl = above.map_or_else(|| node.acl.clone(), |above| above.acl.clone());
        changes.push(Change { path: path.to_owned(), kind, acl: node.acl.clone(), parent_acl });
    };
    for (path, node) in walk(before).into_iter().rev() {
        if !after.get(path).is_some_and(|other| is_same(path, node, other)) {
            note(path, ChangeKind::Deleted, node);
        }
    }
    for (path, node) in walk(after) {
        match before.get(path).filter(|former| is_same(path, former, node)) {
            None => note(path, ChangeKind::Created, node),
            Some(former) if is_changed(former, node) => note(path, ChangeKind::DataChanged, node),
            Some(_) => {}
        }
    }
}

/// Parents before children, and children with all that is below them by name.
fn walk(nodes: &BTreeMap<Arc<str>, Arc<Node>>) -> Vec<(&str, &Node)> {
    let mut all: Vec<(&str, &Node)> = nodes.iter().map(|(path, node)| (&**path, &**node)).collect();
    let names = |path: &str| -> Vec<String> {
        path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    all.sort_by_cached_key(|(path, _)| names(path));
    all
}
