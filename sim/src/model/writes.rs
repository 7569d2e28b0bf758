//! What writes do to a state of the model. Rules and the order of checks: ZooKeeper's
//! `PrepRequestProcessor`.
//!
//! Invariant: whatever fails has changed nothing.

use std::sync::Arc;

use bytes::Bytes;
use zokor_core::db::Rules;
use zokor_core::id::SessionId;
use zokor_core::proto::{
    Acl, AclList, Create, CreateKind, Ensemble, ErrorCode, Id, OpResult, Response, Stat, Write,
    Zxid,
};
use zokor_core::time::WallTime;

use super::acl::{self, ADMIN, CREATE, DELETE, READ, WRITE};
use super::state::{Change, ChangeKind, Kind, Node, State, parent};

/// When, and by whom.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The entry's.
    pub zxid: Zxid,
    /// The leader's stamp.
    pub time: WallTime,
    /// The leader's rules.
    pub rules: Rules,
    /// Who.
    pub session: SessionId,
    /// As whom.
    pub identities: &'a [Id],
    /// The session is known to its server alone.
    pub is_local: bool,
}

impl Moment<'_> {
    fn has_room(&self) -> Result<(), ErrorCode> {
        if self.rules.no_room { Err(ErrorCode::QuotaExceeded) } else { Ok(()) }
    }
}

/// Where the ensemble is described.
pub(super) const CONFIG: &str = "/zookeeper/config";

const LONGEST_TTL_MS: i64 = (1 << 40) - 1;

impl State {
    /// Takes up a write.
    pub fn write(
        &mut self,
        at: Moment<'_>,
        write: &Write,
        changes: &mut Vec<Change>,
    ) -> Result<Response, ErrorCode> {
        match write {
            Write::CloseSession if at.is_local => Err(ErrorCode::Unimplemented),
            Write::CloseSession => {
                self.end(at.zxid, at.session, changes);
                Ok(Response::Empty)
            }
            Write::Multi(writes) => self.multi(at, writes, changes).map(Response::Multi),
            Write::SetAcl { path, acl, version } => {
                self.set_acl(at, path, acl, *version).map(Response::Stat)
            }
            Write::Check { .. } => Err(ErrorCode::Unimplemented),
            single => self.single(at, single, changes).map(|result| match result {
                OpResult::Create(path) => Response::Path(path),
                OpResult::Create2(path, stat) => Response::PathStat(path, stat),
                OpResult::SetData(stat) => Response::Stat(stat),
                _ => Response::Empty,
            }),
        }
    }

    /// Takes away a container or TTL znode, if it is due.
    pub fn reap(
        &mut self,
        zxid: Zxid,
        time: WallTime,
        (path, unused_ms): (&str, i64),
        changes: &mut Vec<Change>,
    ) {
        if self.is_due(path, time, unused_ms) {
            self.remove(zxid, path, changes);
        }
    }

    /// Whether a container or TTL znode may go at `time`; for the third number, see
    /// [`Outcome::Reaped`](super::Outcome::Reaped).
    pub fn is_due(&self, path: &str, time: WallTime, unused_ms: i64) -> bool {
        let Ok(node) = self.node(path) else { return false };
        let old = |than: i64| i128::from(time.0) - i128::from(node.stat.mtime) > i128::from(than);
        self.children(path).is_empty()
            && match node.kind {
                Kind::Container if node.children_created == 0 => unused_ms > 0 && old(unused_ms),
                Kind::Container => true,
                Kind::Ttl(ttl_ms) => old(ttl_ms),
                Kind::Persistent | Kind::Ephemeral(_) => false,
            }
    }

    /// Shows the ensemble, unless it is shown already.
    pub fn describe(
        &mut self,
        zxid: Zxid,
        time: WallTime,
        ensemble: &Ensemble,
        changes: &mut Vec<Change>,
    ) {
        let Some(node) = self.node_mut(CONFIG) else { return };
        let shown = node.data.clone().unwrap_or_default();
        if shown == ensemble.to_text(node.stat.mzxid).into_bytes() {
            return;
        }
        let text = ensemble.to_text(zxid.0);
        let more = text.len() as i64 - shown.len() as i64;
        node.data = Some(Bytes::from(text));
        node.stat.version = -1;
        (node.stat.mzxid, node.stat.mtime) = (zxid.0, time.0);
        let acl = node.acl.clone();
        changes.push(data_changed(CONFIG, acl));
        self.count(CONFIG, (0, more));
    }

    fn multi(
        &mut self,
        at: Moment<'_>,
        writes: &[Write],
        changes: &mut Vec<Change>,
    ) -> Result<Vec<OpResult>, ErrorCode> {
        let never = |write: &Write| {
            matches!(write, Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession)
        };
        if writes.iter().any(never) {
            return Err(ErrorCode::MarshallingError);
        }
        let mut attempt = self.clone();
        let mut own_changes = Vec::new();
        let mut results = Vec::new();
        for write in writes {
            match attempt.single(at, write, &mut own_changes) {
                Ok(result) => results.push(result),
                Err(code) => {
                    let failed = results.len();
                    let errors = (0..writes.len()).map(|n| match n.cmp(&failed) {
                        std::cmp::Ordering::Less => None,
                        std::cmp::Ordering::Equal => Some(code),
                        std::cmp::Ordering::Greater => Some(ErrorCode::RuntimeInconsistency),
                    });
                    return Ok(errors.map(OpResult::Error).collect());
                }
            }
        }
        *self = attempt;
        changes.append(&mut own_changes);
        Ok(results)
    }

    /// What may stand in a multi, too.
    fn single(
        &mut self,
        at: Moment<'_>,
        write: &Write,
        changes: &mut Vec<Change>,
    ) -> Result<OpResult, ErrorCode> {
        match write {
            Write::Create(create) => self.create(at, create, changes),
            Write::Delete { path, version } => {
                const NEVER: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", CONFIG];
                if !path.contains('/') || path.contains('\0') || NEVER.contains(&&**path) {
                    return Err(ErrorCode::BadArguments);
                }
                let above = self.node(parent_text(path))?;
                at.need(&above.acl, DELETE)?;
                fits(*version, self.node(path)?.stat.version)?;
                if !self.children(path).is_empty() {
                    return Err(ErrorCode::NotEmpty);
                }
                self.remove(at.zxid, path, changes);
                Ok(OpResult::Delete)
            }
            Write::SetData { path, data, version } => {
                at.has_room()?;
                valid(path)?;
                let node = self.node(path)?;
                at.need(&node.acl, WRITE)?;
                let more = length(data.as_ref()) - length(node.data.as_ref());
                self.within_quota(at, path, (0, more))?;
                fits(*version, node.stat.version)?;
                let node = self.node_mut(path).expect("it was just there");
                node.data = data.clone();
                node.stat.version = next(node.stat.version);
                (node.stat.mzxid, node.stat.mtime) = (at.zxid.0, at.time.0);
                let acl = node.acl.clone();
                changes.push(data_changed(path, acl));
                self.count(path, (0, more));
                Ok(OpResult::SetData(self.stat(path).expect("it was just set")))
            }
            Write::Check { path, version } => {
                valid(path)?;
                let node = self.node(path)?;
                at.need(&node.acl, READ)?;
                fits(*version, node.stat.version).map(|()| OpResult::Check)
            }
            Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession => {
                Err(ErrorCode::MarshallingError)
            }
        }
    }

    fn set_acl(
        &mut self,
        at: Moment<'_>,
        path: &str,
        acl: &[Acl],
        version: i32,
    ) -> Result<Stat, ErrorCode> {
        at.has_room()?;
        valid(path)?;
        let list = acl::fixed_up(acl, at.identities)?;
        let node = self.node(path)?;
        at.need(&node.acl, ADMIN)?;
        fits(version, node.stat.aversion)?;
        let node = self.node_mut(path).expect("it was just there");
        node.acl = list.into();
        node.stat.aversion = next(node.stat.aversion);
        Ok(self.stat(path).expect("it was just set"))
    }

    fn create(
        &mut self,
        at: Moment<'_>,
        create: &Create,
        changes: &mut Vec<Change>,
    ) -> Result<OpResult, ErrorCode> {
        at.has_room()?;
        let (kind, sequential) = kind_of(at, create)?;
        if !create.path.contains('/') || create.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let list = acl::fixed_up(&create.acl, at.identities)?;
        let above = parent_text(&create.path);
        let parent = self.node(above)?;
        at.need(&parent.acl, CREATE)?;
        let mut path = create.path.to_string();
        if sequential {
            path.push_str(&format!("{:010}", parent.children_created));
        }
        valid(&path)?;
        if self.nodes.contains_key(path.as_str()) {
            return Err(ErrorCode::NodeExists);
        }
        if parent.owner().is_some() {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let bytes = length(create.data.as_ref());
        self.within_quota(at, &path, (1, bytes))?;
        let parent = self.node_mut(above).expect("the parent is there");
        parent.children_created = parent.children_created.wrapping_add(1);
        parent.stat.pzxid = at.zxid.0;
        let (zxid, time) = (at.zxid.0, at.time.0);
        let stat = Stat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ..Stat::default()
        };
        let acl: AclList = list.into();
        let change =
            Change { path, kind: ChangeKind::Created, acl, parent_acl: parent.acl.clone() };
        let (path, acl) = (change.path.clone(), change.acl.clone());
        let node = Node { data: create.data.clone(), kind, acl, children_created: 0, stat };
        self.nodes.insert(Arc::from(path.as_str()), Arc::new(node));
        changes.push(change);
        let shown = self.stat(&path).expect("it was just created");
        self.count_new(&path, bytes);
        Ok(match create.kind {
            CreateKind::Create => OpResult::Create(path.into()),
            CreateKind::Create2 | CreateKind::Container | CreateKind::Ttl => {
                OpResult::Create2(path.into(), shown)
            }
        })
    }
}

impl Moment<'_> {
    fn need(&self, acl: &[Acl], wanted: i32) -> Result<(), ErrorCode> {
        if self.rules.skip_acl { Ok(()) } else { acl::need(acl, wanted, self.identities) }
    }
}

/// What flags and operation ask for together, and whether the name gets a number.
fn kind_of(at: Moment<'_>, create: &Create) -> Result<(Kind, bool), ErrorCode> {
    let is_ttl = matches!(create.flags, 5 | 6);
    if !(0..=6).contains(&create.flags) {
        return Err(ErrorCode::BadArguments);
    }
    if is_ttl && !at.rules.extended_types {
        return Err(ErrorCode::Unimplemented);
    }
    let ttl_fits = match is_ttl {
        true => create.ttl_ms > 0 && create.ttl_ms <= LONGEST_TTL_MS,
        false => create.ttl_ms < 0,
    };
    if !ttl_fits {
        return Err(ErrorCode::BadArguments);
    }
    let plain = matches!(create.kind, CreateKind::Create | CreateKind::Create2);
    let kind = match create.flags {
        0 | 2 if plain => Kind::Persistent,
        1 | 3 if plain && at.is_local => return Err(ErrorCode::EphemeralOnLocalSession),
        1 | 3 if plain => Kind::Ephemeral(at.session),
        0 | 2 | 4 if create.kind == CreateKind::Container => Kind::Container,
        5 | 6 if create.kind == CreateKind::Ttl => Kind::Ttl(create.ttl_ms),
        // ZooKeeper makes something else of some of these, or stops altogether.
        _ => return Err(ErrorCode::BadArguments),
    };
    Ok((kind, matches!(create.flags, 2 | 3 | 6)))
}

fn length(data: Option<&Bytes>) -> i64 {
    data.map_or(0, |data| data.len() as i64)
}

fn data_changed(path: &str, acl: AclList) -> Change {
    let parent_acl = acl.clone();
    Change { path: path.to_owned(), kind: ChangeKind::DataChanged, acl, parent_acl }
}

/// What stands before the last slash, which need not be the name of anything.
fn parent_text(path: &str) -> &str {
    debug_assert!(!parent(path).is_empty());
    path.rfind('/').map_or("", |at| &path[..at])
}

fn fits(wanted: i32, found: i32) -> Result<(), ErrorCode> {
    if wanted == -1 || wanted == found { Ok(()) } else { Err(ErrorCode::BadVersion) }
}

/// -1 is left out, since it asks for no check.
fn next(version: i32) -> i32 {
    let next = version.wrapping_add(1);
    if next == -1 { 0 } else { next }
}

/// `PathUtils.validatePath`.
fn valid(path: &str) -> Result<(), ErrorCode> {
    let allowed = |c: char| {
        let c = c as u32;
        (0x20..0x7f).contains(&c) || (0xa0..0xd800).contains(&c) || (0xf900..0xfff0).contains(&c)
    };
    let mut names = path.split('/');
    let begins = names.next() == Some("") && path.contains('/');
    let named = path == "/" || names.all(|name| !matches!(name, "" | "." | ".."));
    let holds = begins && named && path.chars().all(allowed);
    if holds { Ok(()) } else { Err(ErrorCode::BadArguments) }
}
