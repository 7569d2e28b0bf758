//! A naive model beside the database: one map from paths to znodes, everything else looked up by
//! walking it. Random actions must have the same outcome, changes and content on both.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::proto::{Names, OpResult, SharedData, is_valid, name_of, parent_of};

#[derive(Clone, Debug, PartialEq)]
struct Node {
    data: Option<Bytes>,
    acl: Vec<Acl>,
    stat: StoredStat,
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    nodes: BTreeMap<String, Node>,
    sessions: BTreeMap<i64, (Token, Sequence)>,
    last: BTreeMap<u8, i64>,
    zxid: i64,
    time: i64,
    changes: Vec<(ChangeKind, String, Vec<Acl>)>,
}

const TTL_MARK: i64 = 0xff << 56;

impl Model {
    fn new() -> Self {
        let node = |acl, aversion| Node {
            data: Some(Bytes::new()),
            acl,
            stat: StoredStat { aversion, ..StoredStat::default() },
        };
        let nodes = [
            ("/", node(open_acl(), 0)),
            ("/zookeeper", node(open_acl(), 0)),
            ("/zookeeper/quota", node(open_acl(), 0)),
            ("/zookeeper/config", node(acl(1, "world", "anyone"), -1)),
        ];
        Model {
            nodes: nodes.map(|(path, node)| (path.to_owned(), node)).into(),
            sessions: BTreeMap::new(),
            last: BTreeMap::new(),
            zxid: 0,
            time: 0,
            changes: vec![],
        }
    }

    fn get(&self, path: &str) -> Result<&Node, ErrorCode> {
        self.nodes.get(if path.is_empty() { "/" } else { path }).ok_or(ErrorCode::NoNode)
    }

    fn edit(&mut self, path: &str) -> &mut StoredStat {
        let path = if path.is_empty() { "/" } else { path };
        &mut self.nodes.get_mut(path).unwrap().stat
    }

    fn children(&self, path: &str) -> Names {
        let path = if path == "/" { "" } else { path };
        let all = self.nodes.keys().filter(|key| *key != "/");
        let own = all.filter(|key| parent_of(key) == Some(path));
        own.map(|key| name_of(key)).collect()
    }

    fn shown(&self, path: &str) -> Stat {
        let node = self.get(path).unwrap();
        let n = self.children(path).len() as i32;
        let owner = node.stat.ephemeral_owner;
        Stat {
            czxid: node.stat.czxid,
            mzxid: node.stat.mzxid,
            ctime: node.stat.ctime,
            mtime: node.stat.mtime,
            version: node.stat.version,
            cversion: node.stat.cversion * 2 - n,
            aversion: node.stat.aversion,
            ephemeral_owner: if is_session(owner) { owner } else { 0 },
            data_length: node.data.clone().unwrap_or_default().len() as i32,
            num_children: n,
            pzxid: node.stat.pzxid,
        }
    }

    fn create(&mut self, own: &Own, create: &Create) -> Result<(Text, Stat), ErrorCode> {
        use ErrorCode::{BadArguments, InvalidAcl, NoChildrenForEphemerals, NodeExists};
        let is_ttl = create.flags == 5 || create.flags == 6;
        let fits = match create.kind {
            CreateKind::Create | CreateKind::Create2 => (0..=3).contains(&create.flags),
            CreateKind::Container => [0, 2, 4].contains(&create.flags),
            CreateKind::Ttl => is_ttl,
        };
        let ttl_fits = if is_ttl { create.ttl_ms > 0 } else { create.ttl_ms < 0 };
        if !fits || !ttl_fits || !create.path.contains('/') || create.path.contains('\0') {
            return Err(BadArguments);
        }
        let acl = own.fix_up(&create.acl).ok_or(InvalidAcl)?;
        let parent_path = parent_of(&create.path).unwrap().to_owned();
        let parent = self.get(&parent_path)?;
        own.require(parent, 4)?;
        let mut path = create.path.to_string();
        if [2, 3, 6].contains(&create.flags) {
            path += &format!("{:010}", parent.stat.cversion);
        }
        if is_valid(&path).is_err() {
            return Err(BadArguments);
        }
        if self.nodes.contains_key(&path) {
            return Err(NodeExists);
        }
        if is_session(parent.stat.ephemeral_owner) {
            return Err(NoChildrenForEphemerals);
        }
        let owner = match create.kind {
            CreateKind::Container => i64::MIN,
            CreateKind::Ttl => TTL_MARK | create.ttl_ms,
            CreateKind::Create | CreateKind::Create2 => (create.flags & 1) as i64 * own.session,
        };
        let stat = StoredStat {
            czxid: self.zxid,
            mzxid: self.zxid,
            pzxid: self.zxid,
            ctime: self.time,
            mtime: self.time,
            ephemeral_owner: owner,
            ..StoredStat::default()
        };
        let node = Node { data: create.data.clone(), acl: acl.clone(), stat };
        self.nodes.insert(path.clone(), node);
        let zxid = self.zxid;
        let parent = self.edit(&parent_path);
        parent.cversion += 1;
        parent.pzxid = zxid;
        self.changes.push((ChangeKind::Created, path.clone(), acl));
        let stat = self.shown(&path);
        Ok((path.into(), stat))
    }

    fn delete(&mut self, own: &Own, path: &str, version: i32) -> Result<(), ErrorCode> {
        let reserved = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
        if !path.contains('/') || path.contains('\0') || reserved.contains(&path) {
            return Err(ErrorCode::BadArguments);
        }
        own.require(self.get(parent_of(path).unwrap())?, 8)?;
        let node = self.get(path)?;
        if version != -1 && version != node.stat.version {
            return Err(ErrorCode::BadVersion);
        }
        if !self.children(path).is_empty() {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(path);
        Ok(())
    }

    fn remove(&mut self, path: &str) {
        let node = self.nodes.remove(path).unwrap();
        let zxid = self.zxid;
        self.edit(parent_of(path).unwrap()).pzxid = zxid;
        self.changes.push((ChangeKind::Deleted, path.to_owned(), node.acl));
    }

    fn looked_up(
        &self,
        own: &Own,
        path: &str,
        wanted: i32,
        version: i32,
    ) -> Result<Node, ErrorCode> {
        if is_valid(path).is_err() {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.get(path)?;
        own.require(node, wanted)?;
        if version != -1 && version != node.stat.version {
            return Err(ErrorCode::BadVersion);
        }
        Ok(node.clone())
    }

    fn one(&mut self, own: &Own, write: &Write) -> Result<OpResult, ErrorCode> {
        match write {
            Write::Create(create) => {
                let (path, stat) = self.create(own, create)?;
                Ok(match create.kind {
                    CreateKind::Create => OpResult::Create(path),
                    _ => OpResult::Create2(path, stat),
                })
            }
            Write::Delete { path, version } => {
                self.delete(own, path, *version).map(|()| OpResult::Delete)
            }
            Write::SetData { path, data, version } => {
                let mut node = self.looked_up(own, path, 2, *version)?;
                node.data = data.clone();
                node.stat.version += 1;
                node.stat.mzxid = self.zxid;
                node.stat.mtime = self.time;
                self.changes.push((ChangeKind::DataChanged, path.to_string(), node.acl.clone()));
                self.nodes.insert(path.to_string(), node);
                Ok(OpResult::SetData(self.shown(path)))
            }
            Write::Check { path, version } => {
                self.looked_up(own, path, 1, *version).map(|_| OpResult::Check)
            }
            other => panic!("{other:?} is never in a multi"),
        }
    }

    fn multi(&mut self, own: &Own, writes: &[Write]) -> Vec<OpResult> {
        let before = self.clone();
        let mut results = vec![];
        for (at, write) in writes.iter().enumerate() {
            match self.one(own, write) {
                Ok(result) => results.push(result),
                Err(code) => {
                    *self = before;
                    let error = |other: usize| match other.cmp(&at) {
                        std::cmp::Ordering::Less => None,
                        std::cmp::Ordering::Equal => Some(code),
                        std::cmp::Ordering::Greater => Some(ErrorCode::RuntimeInconsistency),
                    };
                    return (0..writes.len()).map(|at| OpResult::Error(error(at))).collect();
                }
            }
        }
        results
    }

    fn end(&mut self, session: i64) {
        let owned = self.nodes.iter().filter(|(_, node)| node.stat.ephemeral_owner == session);
        let owned: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
        for path in owned {
            self.remove(&path);
        }
        self.sessions.remove(&session);
    }

    fn write(&mut self, author: &Author, write: &Write) -> Outcome {
        let id = author.session.0;
        let Some((token, last)) = self.sessions.get(&id).copied() else { return Outcome::Ended };
        if token != author.token {
            return Outcome::Moved;
        }
        if author.sequence <= last {
            return Outcome::Copy;
        }
        if author.sequence.0 != last.0 + 1 {
            return Outcome::Gap;
        }
        self.sessions.insert(id, (token, author.sequence));
        let own = Own { session: id, ids: author.identities.to_vec() };
        Outcome::Answered(match write {
            Write::Multi(writes) => Ok(Response::Multi(self.multi(&own, writes))),
            Write::CloseSession => {
                self.end(id);
                Ok(Response::Empty)
            }
            Write::SetAcl { path, acl, version } => self.set_acl(&own, path, acl, *version),
            Write::Check { .. } => Err(ErrorCode::Unimplemented),
            single => self.one(&own, single).map(|result| match result {
                OpResult::Create(path) => Response::Path(path),
                OpResult::Create2(path, stat) => Response::PathStat(path, stat),
                OpResult::SetData(stat) => Response::Stat(stat),
                _ => Response::Empty,
            }),
        })
    }

    fn set_acl(
        &mut self,
        own: &Own,
        path: &str,
        acl: &[Acl],
        version: i32,
    ) -> Result<Response, ErrorCode> {
        if is_valid(path).is_err() {
            return Err(ErrorCode::BadArguments);
        }
        let acl = own.fix_up(acl).ok_or(ErrorCode::InvalidAcl)?;
        let mut node = self.get(path)?.clone();
        own.require(&node, 16)?;
        if version != -1 && version != node.stat.aversion {
            return Err(ErrorCode::BadVersion);
        }
        node.acl = acl;
        node.stat.aversion += 1;
        self.nodes.insert(path.to_owned(), node);
        Ok(Response::Stat(self.shown(path)))
    }

    fn may_go(&self, path: &str, unused_ms: i64) -> bool {
        let Ok(node) = self.get(path) else { return false };
        let owner = node.stat.ephemeral_owner;
        let is_due = if owner == i64::MIN {
            let is_old = unused_ms > 0 && self.time - node.stat.mtime > unused_ms;
            node.stat.cversion > 0 || is_old
        } else {
            owner & TTL_MARK == TTL_MARK && self.time - node.stat.mtime > owner & !TTL_MARK
        };
        is_due && self.children(path).is_empty()
    }

    fn apply(&mut self, zxid: Zxid, txn: &Txn) -> Outcome {
        self.zxid = zxid.0;
        self.time = txn.time.0;
        self.changes.clear();
        match &txn.action {
            Action::Write { author, write } => self.write(author, write),
            Action::Open { session, .. } => {
                let prefix = (session.0 >> 56) as u8;
                if session.0 <= *self.last.get(&prefix).unwrap_or(&0) {
                    return Outcome::Refused(Refusal::IdTaken);
                }
                self.last.insert(prefix, session.0);
                self.sessions.insert(session.0, (Token(zxid.0), Sequence(0)));
                Outcome::Attached { token: Token(zxid.0) }
            }
            Action::Attach { session, replaces, .. } => match self.sessions.get(&session.0) {
                None => Outcome::Refused(Refusal::Unknown),
                Some((token, _)) if token != replaces => {
                    Outcome::Refused(Refusal::Overtaken { token: *token })
                }
                Some(_) => {
                    self.sessions.insert(session.0, (Token(zxid.0), Sequence(0)));
                    Outcome::Attached { token: Token(zxid.0) }
                }
            },
            Action::Expire { session, token } => {
                if self.sessions.get(&session.0).is_none_or(|(own, _)| own != token) {
                    return Outcome::Settled;
                }
                self.end(session.0);
                Outcome::Expired(*session)
            }
            Action::Reap { path, unused_ms } => {
                if self.may_go(path, *unused_ms) {
                    self.remove(path);
                }
                Outcome::Settled
            }
            Action::Describe { .. } => panic!("the model knows no ensemble"),
            Action::Enroll { .. } | Action::Local { .. } => panic!("the model knows no lanes"),
            Action::BeginRestore { .. }
            | Action::Restore { .. }
            | Action::AbandonRestore { .. } => {
                panic!("the model restores nothing")
            }
        }
    }
}

/// The author, by the rules of two schemes alone.
struct Own {
    session: i64,
    ids: Vec<Id>,
}

impl Own {
    fn require(&self, node: &Node, wanted: i32) -> Result<(), ErrorCode> {
        let is_mine = |id: &Id| id.scheme == "world" || self.ids.contains(id);
        let mut entries = node.acl.iter();
        let may = entries.any(|entry| entry.permissions.0 & wanted != 0 && is_mine(&entry.id));
        if may { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn fix_up(&self, acl: &[Acl]) -> Option<Vec<Acl>> {
        let mut fixed: Vec<Acl> = vec![];
        for entry in acl {
            match &*entry.id.scheme {
                "world" | "digest" => fixed.push(entry.clone()),
                "auth" => {
                    let own = self.ids.iter().filter(|id| id.scheme == "digest");
                    let own = own.map(|id| Acl { id: id.clone(), ..entry.clone() });
                    let before = fixed.len();
                    fixed.extend(own);
                    if fixed.len() == before {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        (!fixed.is_empty()).then_some(fixed)
    }
}

fn is_session(owner: i64) -> bool {
    owner != 0 && owner != i64::MIN && owner & TTL_MARK != TTL_MARK
}

/// One step of a run; sessions, tokens and sequences are filled in as it is taken.
#[derive(Clone, Debug)]
enum Step {
    /// By session, with a token that is right or not, a sequence this far from the next.
    Write {
        session: i64,
        stale: bool,
        off: i64,
        authenticated: bool,
        write: Write,
    },
    Open(i64),
    Attach(i64, bool),
    Expire(i64, bool),
    Reap(Text, i64),
    Wait(i64),
    Skip,
    Freeze,
    Thaw,
}

fn path() -> impl Strategy<Value = Text> {
    let name = prop_oneof![30 => "[ab]", 1 => Just("zookeeper".to_owned()), 1 => "[.\0é]{0,2}"];
    let depth = prop_oneof![4 => Just(1), 2 => Just(2), 1 => Just(3)];
    let deep = depth
        .prop_flat_map(move |depth| vec(name.clone(), depth))
        .prop_map(|names| Text::from(format!("/{}", names.join("/"))));
    const ODD: [&str; 7] = ["", "/", "a", "//", "/zookeeper/quota", "/zookeeper/config", "/a/"];
    prop_oneof![20 => deep, 1 => prop::sample::select(&ODD[..]).prop_map(Text::from)]
}

fn any_acl() -> impl Strategy<Value = Vec<Acl>> {
    prop_oneof![
        25 => Just(open_acl()),
        1 => (0..32).prop_map(|bits| acl(bits, "world", "anyone")),
        2 => (0..32).prop_map(|bits| acl(bits, "digest", "bob:hash")),
        1 => (0..32).prop_map(|bits| acl(bits, "auth", "")),
        1 => Just([acl(1, "world", "anyone"), acl(31, "auth", "x")].concat()),
        1 => Just(vec![]),
        1 => Just(acl(31, "nonsense", "bob")),
    ]
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(vec(any::<u8>(), 0..20).prop_map(Bytes::from))
}

fn create_any() -> impl Strategy<Value = Write> {
    let kind_flags_ttl = prop_oneof![
        6 => (0..4).prop_map(|flags| (CreateKind::Create, flags, -1)),
        3 => (0..4).prop_map(|flags| (CreateKind::Create2, flags, -1)),
        3 => Just((CreateKind::Container, 4, -1)),
        3 => (5..7, 1..9i64).prop_map(|(flags, ttl)| (CreateKind::Ttl, flags, ttl)),
        1 => (-1..8, -1..2i64).prop_map(|(flags, ttl)| (CreateKind::Ttl, flags, ttl)),
        1 => (-1..8).prop_map(|flags| (CreateKind::Container, flags, -1)),
        1 => (-1..8).prop_map(|flags| (CreateKind::Create, flags, -1)),
    ];
    (path(), data(), any_acl(), kind_flags_ttl).prop_map(
        |(path, data, acl, (kind, flags, ttl_ms))| {
            let acl = acl.into();
            Write::Create(Create { path, data, acl, flags, ttl_ms, kind })
        },
    )
}

fn version() -> impl Strategy<Value = i32> {
    prop_oneof![3 => Just(-1), 2 => 0..3]
}

fn op() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => create_any(),
        3 => (path(), version()).prop_map(|(path, version)| Write::Delete { path, version }),
        3 => (path(), data(), version())
            .prop_map(|(path, data, version)| Write::SetData { path, data, version }),
        1 => (path(), version()).prop_map(|(path, version)| Write::Check { path, version }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        30 => op(),
        2 => (path(), any_acl(), version())
            .prop_map(|(path, acl, version)| Write::SetAcl { path, acl: acl.into(), version }),
        15 => vec(op(), 0..4).prop_map(Write::multi),
        1 => Just(Write::CloseSession),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let off = prop_oneof![40 => Just(0), 1 => -1..2i64];
    let written = (1..4i64, prop::bool::weighted(0.03), off, any::<bool>(), write());
    prop_oneof![
        40 => written.prop_map(|(session, stale, off, authenticated, write)| {
            Step::Write { session, stale, off, authenticated, write }
        }),
        1 => (1..4i64).prop_map(Step::Open),
        1 => (1..4i64, any::<bool>()).prop_map(|(id, stale)| Step::Attach(id, stale)),
        1 => (1..4i64, any::<bool>()).prop_map(|(id, stale)| Step::Expire(id, stale)),
        4 => (path(), 0..4i64).prop_map(|(path, unused_ms)| Step::Reap(path, unused_ms)),
        2 => (0..4i64).prop_map(Step::Wait),
        1 => Just(Step::Skip),
        1 => Just(Step::Freeze),
        1 => Just(Step::Thaw),
    ]
}

/// A database and a model that have seen the same.
struct Pair {
    db: Database,
    model: Model,
    time: i64,
    /// The sessions that steps call 1, 2 and 3: the last one opened under each number.
    opened: i64,
    ids: BTreeMap<i64, i64>,
    frozen: Vec<(Image, Model)>,
}

impl Pair {
    fn new() -> Self {
        let (db, model) = (Database::new(), Model::new());
        let mut pair = Pair { db, model, time: 0, opened: 0, ids: BTreeMap::new(), frozen: vec![] };
        (1..4).for_each(|id| pair.take(&Step::Open(id)));
        pair
    }

    fn take(&mut self, step: &Step) {
        if let Step::Write { session, off: 0, .. } = step {
            // Most writes should be of a session that lives.
            if !self.ids.get(session).is_some_and(|id| self.model.sessions.contains_key(id)) {
                self.take(&Step::Open(*session));
            }
        }
        let of = |session: &i64| SessionId(*self.ids.get(session).unwrap_or(session));
        let token = |id: SessionId, stale: bool| {
            let token = self.model.sessions.get(&id.0).map_or(Token(0), |(token, _)| *token);
            Token(token.0 - i64::from(stale))
        };
        match step {
            Step::Write { session, stale, off, authenticated, write } => {
                let session = of(session);
                let last = self.model.sessions.get(&session.0).map_or(0, |(_, last)| last.0);
                let identities: Identities =
                    if *authenticated { [ip(), bob()].into() } else { [ip()].into() };
                let author = Author {
                    session,
                    token: token(session, *stale),
                    sequence: Sequence((last + 1).saturating_add_signed(*off)),
                    identities,
                };
                self.act(Action::Write { author, write: write.clone() });
            }
            Step::Open(session) => {
                self.opened += 1;
                self.ids.insert(*session, self.opened);
                self.act(open(SessionId(self.opened)));
                self.act(open(SessionId(self.opened / 2)));
            }
            Step::Attach(session, stale) => {
                let session = of(session);
                let replaces = token(session, *stale);
                let (password, nonce) = ([1; 16], Nonce(self.db.zxid().0 as u64));
                let timeout_ms = 5_000;
                self.act(Action::Attach { session, password, timeout_ms, replaces, nonce });
            }
            Step::Expire(session, stale) => {
                let session = of(session);
                let token = token(session, *stale);
                self.act(Action::Expire { session, token });
            }
            Step::Reap(path, unused_ms) => {
                self.act(Action::Reap { path: path.clone(), unused_ms: *unused_ms });
            }
            Step::Wait(time) => self.time += time,
            Step::Skip => {
                let zxid = self.db.zxid().open_epoch(0);
                self.db.skip(zxid);
                self.model.zxid = zxid.0;
            }
            Step::Freeze => self.frozen.push((self.db.freeze(), self.model.clone())),
            Step::Thaw => self.db = Database::thaw(self.db.freeze()),
        }
    }

    fn act(&mut self, action: Action) {
        let zxid = self.db.zxid().next();
        let rules = Rules { extended_types: true, ..Rules::default() };
        let txn = Txn { time: WallTime(self.time), rules, action };
        let expected = self.model.apply(zxid, &txn);
        let applied = self.db.apply(zxid, &txn);
        assert_eq!(applied.outcome, expected, "{txn:?}");
        let changes = applied.changes.iter();
        let changes = changes.map(|c| (c.kind, c.path.to_string(), c.acl.to_vec()));
        assert_eq!(changes.collect::<Vec<_>>(), self.model.changes, "{txn:?}");
    }

    fn compare(&self) {
        assert_same(&self.db.freeze(), &self.model);
        assert_eq!(self.db.digest(), self.db.freeze().digest());
        let is_owned = |node: &&Node| is_session(node.stat.ephemeral_owner);
        let n_owned = self.model.nodes.values().filter(is_owned).count();
        assert_eq!(self.db.ephemeral_count(), n_owned as u64);
        for unused_ms in [0, 1, 3] {
            let due = self.model.nodes.keys().filter(|path| self.model.may_go(path, unused_ms));
            let mut reapable = self.db.reapable(WallTime(self.model.time), unused_ms, usize::MAX);
            reapable.sort();
            assert_eq!(reapable, due.collect::<Vec<_>>());
        }
        let identities: Identities = [Id::new("super", "")].into();
        let reader = Reader { session: ONE, identities: &identities, skip_acl: false };
        let mut size = 0;
        for (path, node) in &self.model.nodes {
            let all =
                Read::GetChildren { path: path.as_str().into(), watch: false, with_stat: true };
            let expected = Response::NamesStat(self.model.children(path), self.model.shown(path));
            assert_eq!(self.db.query(&reader, &all), Ok(expected), "{path}");
            let read = self.db.query(&reader, &get(path));
            let data = node.data.clone().map(SharedData::from);
            assert_eq!(read, Ok(Response::Data(data, self.model.shown(path))));
            let own_size = node.data.as_ref().map_or(0, |data| data.len());
            size += if path == "/" { 2 * own_size + 1 } else { own_size + path.chars().count() };
        }
        assert_eq!(self.db.data_bytes(), size as u64);
    }
}

/// An image holds what the model holds, in order, and what it gives away makes an equal image.
fn assert_same(image: &Image, model: &Model) {
    let mut builder = ImageBuilder::new();
    let mut seen = BTreeMap::new();
    for node in image.nodes() {
        builder.node(node.clone()).unwrap();
        let value = Node { data: node.data, acl: node.acl.to_vec(), stat: node.stat };
        seen.insert(node.path.to_string(), value);
    }
    assert_eq!(seen, model.nodes);
    assert_eq!(image.node_count(), model.nodes.len());
    let mut sessions = vec![];
    for session in image.sessions() {
        sessions.push((session.id.0, (session.token, session.sequence)));
        builder.session(session).unwrap();
    }
    assert_eq!(sessions, model.sessions.clone().into_iter().collect::<Vec<_>>());
    for (prefix, last) in image.last_session_ids() {
        assert_eq!(model.last[prefix], last.0);
        builder.last_session_id(*prefix, *last);
    }
    assert_eq!(image.zxid().0, model.zxid);
    let again = builder.finish(image.zxid(), image.digest()).expect("the digest is recomputable");
    assert!(again.nodes().eq(image.nodes()));
    assert_eq!(Database::thaw(again).digest(), image.digest());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_database_does_what_the_model_does(steps in vec(step(), 1..120)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
        }
        pair.compare();
        for (image, model) in &pair.frozen {
            assert_same(image, model);
        }
    }
}
