//! One state of the model: znodes by path, sessions by id, and what reads of it answer. Rules:
//! ZooKeeper's `DataTree` and `FinalRequestProcessor`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use zokor_core::id::{ServerId, SessionId, Token};
use zokor_core::proto::{
    Acl, AclList, ErrorCode, Id, OpResult, Permissions, Read, Response, SharedData, Stat, Zxid,
};

use super::acl::{self, ADMIN, READ};
use super::restore::Restores;

/// What a znode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stays.
    Persistent,
    /// Goes with its session.
    Ephemeral(SessionId),
    /// Goes when its last child has gone.
    Container,
    /// Goes when it is empty and was not set for so many milliseconds.
    Ttl(i64),
}

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its data.
    pub data: Option<Bytes>,
    /// What it is.
    pub kind: Kind,
    /// Who may do what.
    pub acl: AclList,
    /// How often children were created.
    pub children_created: i32,
    /// The stat's fields that are kept; the others are counted.
    pub stat: Stat,
}

impl Node {
    /// The session it goes with.
    pub fn owner(&self) -> Option<SessionId> {
        match self.kind {
            Kind::Ephemeral(session) => Some(session),
            Kind::Persistent | Kind::Container | Kind::Ttl(_) => None,
        }
    }
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What a client must show.
    pub password: [u8; 16],
    /// Of the last attach.
    pub timeout_ms: i32,
    /// The attachment in force.
    pub token: Token,
    /// The last write taken up.
    pub sequence: u64,
}

/// What happened to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: String,
    /// What.
    pub kind: ChangeKind,
    /// The znode's ACL: after its creation, before its deletion.
    pub acl: AclList,
    /// The ACL of its parent; its own if only its data was set.
    pub parent_acl: AclList,
}

/// What can happen to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// It was deleted.
    Deleted,
    /// Its data was set.
    DataChanged,
}

/// All znodes and sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// By path; the root is `/`.
    pub nodes: BTreeMap<Arc<str>, Arc<Node>>,
    /// By id.
    pub sessions: BTreeMap<SessionId, Session>,
    /// By server: when it took up its lane, and the last of it that was taken up.
    pub lanes: BTreeMap<ServerId, (Token, u64)>,
    /// By upper byte: the last id opened.
    pub last_ids: BTreeMap<u8, SessionId>,
    /// What is known of restores.
    pub restores: Restores,
}

impl State {
    /// The state of a new ensemble.
    pub fn fresh() -> Self {
        let anyone = |permissions| -> AclList {
            [Acl { permissions: Permissions(permissions), id: Id::new("world", "anyone") }].into()
        };
        let node = |aversion, permissions| {
            let stat = Stat { aversion, ..Stat::default() };
            let (data, kind, acl) = (Some(Bytes::new()), Kind::Persistent, anyone(permissions));
            Arc::new(Node { data, kind, acl, children_created: 0, stat })
        };
        let mut nodes = BTreeMap::new();
        for path in ["/", "/zookeeper", "/zookeeper/quota"] {
            nodes.insert(Arc::from(path), node(0, 31));
        }
        nodes.insert(Arc::from("/zookeeper/config"), node(-1, READ));
        let (sessions, lanes, last_ids) = Default::default();
        State { nodes, sessions, lanes, last_ids, restores: Restores::default() }
    }

    /// The znode at `path`; nothing stands for the root, too.
    pub fn node(&self, path: &str) -> Result<&Arc<Node>, ErrorCode> {
        self.nodes.get(or_root(path)).ok_or(ErrorCode::NoNode)
    }

    /// The names of the children of `path`, ascending.
    pub fn children(&self, path: &str) -> Vec<&str> {
        let prefix = prefix_of(path);
        let below = self.below(path).map(|path| &path[prefix.len()..]);
        below.filter(|name| !name.contains('/')).collect()
    }

    /// All paths below `path`, ascending.
    fn below(&self, path: &str) -> impl Iterator<Item = &str> {
        let prefix = prefix_of(path);
        let from: Arc<str> = Arc::from(prefix.as_str());
        let below = self.nodes.range(from..).map(|(path, _)| &**path);
        let skipped = prefix.len();
        below
            .take_while(move |path| path.starts_with(&prefix))
            .filter(move |path| path.len() > skipped)
    }

    /// What a client sees of `path`.
    pub fn stat(&self, path: &str) -> Option<Stat> {
        let path = or_root(path);
        let node = self.nodes.get(path)?;
        let children = self.children(path).len() as i32;
        Some(Stat {
            cversion: node.children_created.wrapping_mul(2).wrapping_sub(children),
            ephemeral_owner: node.owner().map_or(0, |owner| owner.0),
            data_length: node.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children: children,
            ..node.stat
        })
    }

    /// What a read of this state answers to `identities` of `session`. `None` for what is about
    /// watches.
    pub fn read(
        &self,
        (session, identities): (SessionId, &[Id]),
        read: &Read,
    ) -> Option<Result<Response, ErrorCode>> {
        let readable = |path: &str| {
            let node = self.node(path)?;
            acl::need(&node.acl, READ, identities)?;
            Ok((node, self.stat(path).expect("it is there")))
        };
        let names = |path: &str| self.children(or_root(path)).into_iter();
        Some(match read {
            Read::Exists { path, .. } if path.contains('\0') => Err(ErrorCode::BadArguments),
            Read::Exists { path, .. } => readable(path).map(|(_, stat)| Response::Stat(stat)),
            Read::GetData { path, .. } => readable(path)
                .map(|(node, stat)| Response::Data(node.data.clone().map(SharedData::from), stat)),
            Read::GetChildren { path, with_stat: true, .. } => {
                readable(path).map(|(_, stat)| Response::NamesStat(names(path).collect(), stat))
            }
            Read::GetChildren { path, .. } => {
                readable(path).map(|_| Response::Names(names(path).collect()))
            }
            Read::GetAcl { path } => self.acl(path, identities),
            Read::GetEphemerals { prefix } => {
                let core = prefix.trim_matches(|c| c <= ' ');
                let prefix = if core.is_empty() || core == "/" { "" } else { prefix };
                let own = self.nodes.iter().filter(|(_, node)| node.owner() == Some(session));
                let own = own.filter(|(path, _)| path.starts_with(prefix));
                Ok(Response::Names(own.map(|(path, _)| path).collect()))
            }
            Read::CountDescendants { path } => {
                let count = self.below(or_root(path)).count();
                readable(path).map(|_| Response::Count(count as i32))
            }
            Read::Multi(reads) => {
                let one = |read: &Read| match read {
                    Read::GetData { path, .. } => Some(match readable(path) {
                        Ok((node, stat)) => {
                            OpResult::Data(node.data.clone().map(SharedData::from), stat)
                        }
                        Err(code) => OpResult::Error(Some(code)),
                    }),
                    Read::GetChildren { path, .. } => Some(match readable(path) {
                        Ok(_) => OpResult::Names(names(path).collect()),
                        Err(code) => OpResult::Error(Some(code)),
                    }),
                    _ => None,
                };
                let results: Option<Vec<OpResult>> = reads.iter().map(one).collect();
                results.map(Response::Multi).ok_or(ErrorCode::MarshallingError)
            }
            Read::WhoAmI => Ok(Response::Identities(acl::shown(identities))),
            Read::AddWatch { .. } | Read::CheckWatches { .. } | Read::RemoveWatches { .. } => {
                return None;
            }
        })
    }

    fn acl(&self, path: &str, identities: &[Id]) -> Result<Response, ErrorCode> {
        let node = self.node(path)?;
        acl::need(&node.acl, READ | ADMIN, identities)?;
        let list = if acl::may(&node.acl, ADMIN, identities) {
            node.acl.to_vec()
        } else {
            acl::masked(&node.acl)
        };
        Ok(Response::Acl(list, self.stat(path).expect("it is there")))
    }

    /// Ends a session: its ephemerals go with it, all in the same zxid.
    pub fn end(&mut self, zxid: Zxid, session: SessionId, changes: &mut Vec<Change>) {
        let own = self.nodes.iter().filter(|(_, node)| node.owner() == Some(session));
        let own: Vec<Arc<str>> = own.map(|(path, _)| path.clone()).collect();
        for path in own {
            self.remove(zxid, &path, changes);
        }
        self.sessions.remove(&session);
    }

    /// Takes away a znode that is there and has no children.
    pub(super) fn remove(&mut self, zxid: Zxid, path: &str, changes: &mut Vec<Change>) {
        let node = self.nodes.remove(path).expect("only what is there is removed");
        let bytes = node.data.as_ref().map_or(0, |data| data.len() as i64);
        self.count(path, (-1, -bytes));
        let parent = self.node_mut(parent(path)).expect("a znode has a parent");
        parent.stat.pzxid = zxid.0;
        changes.push(Change {
            path: path.to_owned(),
            kind: ChangeKind::Deleted,
            acl: node.acl.clone(),
            parent_acl: parent.acl.clone(),
        });
    }

    pub(super) fn node_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(or_root(path)).map(Arc::make_mut)
    }
}

/// What the paths of all children begin with.
fn prefix_of(path: &str) -> String {
    if path == "/" { "/".to_owned() } else { format!("{path}/") }
}

fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// The path of the parent: what stands before the last slash, or the root.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}
