//! One state of the model: znodes by path, sessions by id. Rules: ZooKeeper's
//! `PrepRequestProcessor` and `DataTree`, for the operations that the workload makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use zokor_core::id::{SessionId, Token};
use zokor_core::proto::{
    Create, CreateKind, ErrorCode, OpResult, Read, Response, Stat, Text, Write, Zxid,
};
use zokor_core::time::WallTime;

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its data.
    pub data: Option<Bytes>,
    /// The session it goes with.
    pub owner: Option<SessionId>,
    /// How often children were created.
    pub children_created: i32,
    /// The stat's fields that are kept; the others are counted.
    pub stat: Stat,
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
    /// By upper byte: the last id opened.
    pub last_ids: BTreeMap<u8, SessionId>,
}

impl State {
    /// The state of a new ensemble.
    pub fn fresh() -> Self {
        let node = |aversion| {
            let stat = Stat { aversion, ..Stat::default() };
            Arc::new(Node { data: Some(Bytes::new()), owner: None, children_created: 0, stat })
        };
        let mut nodes = BTreeMap::new();
        for path in ["/", "/zookeeper", "/zookeeper/quota"] {
            nodes.insert(Arc::from(path), node(0));
        }
        nodes.insert(Arc::from("/zookeeper/config"), node(-1));
        State { nodes, sessions: BTreeMap::new(), last_ids: BTreeMap::new() }
    }

    /// The names of the children of `path`, ascending.
    pub fn children(&self, path: &str) -> Vec<&str> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let from: Arc<str> = Arc::from(prefix.as_str());
        let below = self.nodes.range(from..).map(|(path, _)| path);
        below
            .take_while(|path| path.starts_with(&prefix))
            .map(|path| &path[prefix.len()..])
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .collect()
    }

    /// What a client sees of `path`.
    pub fn stat(&self, path: &str) -> Option<Stat> {
        let node = self.nodes.get(path)?;
        let children = self.children(path).len() as i32;
        Some(Stat {
            cversion: node.children_created.wrapping_mul(2).wrapping_sub(children),
            ephemeral_owner: node.owner.map_or(0, |owner| owner.0),
            data_length: node.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children: children,
            ..node.stat
        })
    }

    /// What a read of this state answers. `None` for what the workload does not ask.
    pub fn read(&self, read: &Read) -> Option<Result<Response, ErrorCode>> {
        let missing = Err(ErrorCode::NoNode);
        let answer = match read {
            Read::Exists { path, .. } => self.stat(path).map(Response::Stat),
            Read::GetData { path, .. } => self
                .stat(path)
                .map(|stat| Response::Data(self.nodes[path.as_ref() as &str].data.clone(), stat)),
            Read::GetChildren { path, with_stat, .. } => self.stat(path).map(|stat| {
                let names = self.children(path).into_iter().map(Text::from).collect();
                if *with_stat { Response::NamesStat(names, stat) } else { Response::Names(names) }
            }),
            _ => return None,
        };
        Some(answer.map_or(missing, Ok))
    }

    /// Takes up a write of `session`.
    pub fn write(
        &mut self,
        zxid: Zxid,
        time: WallTime,
        session: SessionId,
        write: &Write,
        changes: &mut Vec<Change>,
    ) -> Result<Response, ErrorCode> {
        let moment = Moment { zxid, time, session };
        match write {
            Write::CloseSession => {
                self.end(zxid, session, changes);
                Ok(Response::Empty)
            }
            Write::Multi(writes) => Ok(Response::Multi(self.multi(moment, writes, changes))),
            single => self.single(moment, single, changes).map(|result| match result {
                OpResult::Create(path) => Response::Path(path),
                OpResult::Create2(path, stat) => Response::PathStat(path, stat),
                OpResult::SetData(stat) => Response::Stat(stat),
                _ => Response::Empty,
            }),
        }
    }

    /// Ends a session: its ephemerals go with it, all in the same zxid.
    pub fn end(&mut self, zxid: Zxid, session: SessionId, changes: &mut Vec<Change>) {
        let own: Vec<Arc<str>> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.owner == Some(session))
            .map(|(path, _)| path.clone())
            .collect();
        for path in own {
            self.remove(zxid, &path, changes);
        }
        self.sessions.remove(&session);
    }

    fn multi(&mut self, at: Moment, writes: &[Write], changes: &mut Vec<Change>) -> Vec<OpResult> {
        let mut attempt = self.clone();
        let mut own_changes = Vec::new();
        let mut results = Vec::new();
        for write in writes {
            match attempt.single(at, write, &mut own_changes) {
                Ok(result) => results.push(result),
                Err(code) => {
                    let failed = results.len();
                    return (0..writes.len())
                        .map(|n| match n.cmp(&failed) {
                            std::cmp::Ordering::Less => OpResult::Error(None),
                            std::cmp::Ordering::Equal => OpResult::Error(Some(code)),
                            std::cmp::Ordering::Greater => {
                                OpResult::Error(Some(ErrorCode::RuntimeInconsistency))
                            }
                        })
                        .collect();
                }
            }
        }
        *self = attempt;
        changes.append(&mut own_changes);
        results
    }

    fn single(
        &mut self,
        at: Moment,
        write: &Write,
        changes: &mut Vec<Change>,
    ) -> Result<OpResult, ErrorCode> {
        match write {
            Write::Create(create) => self.create(at, create, changes),
            Write::Delete { path, version } => {
                if &**path == "/" || path.starts_with("/zookeeper") {
                    return Err(ErrorCode::BadArguments);
                }
                let stat = self.stat(path).ok_or(ErrorCode::NoNode)?;
                if *version != -1 && *version != stat.version {
                    return Err(ErrorCode::BadVersion);
                }
                if stat.num_children > 0 {
                    return Err(ErrorCode::NotEmpty);
                }
                self.remove(at.zxid, path, changes);
                Ok(OpResult::Delete)
            }
            Write::SetData { path, data, version } => {
                let node = self.node_mut(path).ok_or(ErrorCode::NoNode)?;
                if *version != -1 && *version != node.stat.version {
                    return Err(ErrorCode::BadVersion);
                }
                node.data = data.clone();
                node.stat.version += 1;
                node.stat.mzxid = at.zxid.0;
                node.stat.mtime = at.time.0;
                changes.push(Change { path: path.to_string(), kind: ChangeKind::DataChanged });
                Ok(OpResult::SetData(self.stat(path).expect("it was just set")))
            }
            Write::Check { path, version } => {
                let stat = self.stat(path).ok_or(ErrorCode::NoNode)?;
                if *version != -1 && *version != stat.version {
                    return Err(ErrorCode::BadVersion);
                }
                Ok(OpResult::Check)
            }
            Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession => {
                panic!("the workload makes no {write:?} here")
            }
        }
    }

    fn create(
        &mut self,
        at: Moment,
        create: &Create,
        changes: &mut Vec<Change>,
    ) -> Result<OpResult, ErrorCode> {
        let parent = parent(&create.path);
        let created = self.nodes.get(parent).ok_or(ErrorCode::NoNode)?.children_created;
        let mut path = create.path.to_string();
        if create.flags & 2 != 0 {
            path.push_str(&format!("{created:010}"));
        }
        if self.nodes.contains_key(path.as_str()) {
            return Err(ErrorCode::NodeExists);
        }
        if self.nodes[parent].owner.is_some() {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let node = self.node_mut(parent).expect("the parent is there");
        node.children_created += 1;
        node.stat.pzxid = at.zxid.0;
        let stat = Stat {
            czxid: at.zxid.0,
            mzxid: at.zxid.0,
            pzxid: at.zxid.0,
            ctime: at.time.0,
            mtime: at.time.0,
            ..Stat::default()
        };
        let owner = (create.flags & 1 != 0).then_some(at.session);
        let node = Node { data: create.data.clone(), owner, children_created: 0, stat };
        self.nodes.insert(Arc::from(path.as_str()), Arc::new(node));
        changes.push(Change { path: path.clone(), kind: ChangeKind::Created });
        Ok(match create.kind {
            CreateKind::Create => OpResult::Create(path.into()),
            CreateKind::Create2 | CreateKind::Container | CreateKind::Ttl => {
                let stat = self.stat(&path).expect("it was just created");
                OpResult::Create2(path.into(), stat)
            }
        })
    }

    fn remove(&mut self, zxid: Zxid, path: &str, changes: &mut Vec<Change>) {
        self.nodes.remove(path).expect("only what is there is removed");
        self.node_mut(parent(path)).expect("a znode has a parent").stat.pzxid = zxid.0;
        changes.push(Change { path: path.to_owned(), kind: ChangeKind::Deleted });
    }

    fn node_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(path).map(Arc::make_mut)
    }
}

/// When, and by whom.
#[derive(Clone, Copy)]
struct Moment {
    zxid: Zxid,
    time: WallTime,
    session: SessionId,
}

/// The path of the parent.
pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}
