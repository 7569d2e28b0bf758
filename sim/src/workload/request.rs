//! From steps to requests.
//!
//! Invariant: a request depends on its step, on how many requests the client made before, and on
//! what replies have named; on nothing else.

use bytes::Bytes;
use zokor_core::proto::{
    Acl, AuthPacket, Create, CreateKind, Id, Permissions, Read, Request, Text, WatchMode,
    WatcherType, Write,
};

use super::{Access, Op, Place, Znode, ZnodeKind};

/// Makes the requests of one client.
#[derive(Debug)]
pub struct Maker {
    /// Makes data unique.
    client: u64,
    made: u64,
    /// Paths that replies named.
    learnt: Vec<String>,
}

impl Maker {
    /// For the client of this number.
    pub fn new(client: u64) -> Self {
        Maker { client, made: 0, learnt: Vec::new() }
    }

    /// A reply named `path`.
    pub fn learn(&mut self, path: &str) {
        if self.learnt.len() < 64 {
            self.learnt.push(path.to_owned());
        }
    }

    /// A fresh write that cannot fail for want of anything; of a znode that goes with its session,
    /// or stays.
    pub fn fresh(&mut self, goes: bool) -> Request {
        let znode = Znode {
            path: format!("/fresh-{}-", self.client),
            kind: if goes { ZnodeKind::EphemeralSequential } else { ZnodeKind::Sequential },
            stat: false,
            size: Some(0),
            text: None,
            access: Access::Open,
        };
        Request::Write(Write::Create(self.create(&znode)))
    }

    /// What `op` asks for; `None` if it is about the connection.
    pub fn request(&mut self, op: &Op) -> Option<Request> {
        if let Some(write) = self.write(op) {
            return Some(Request::Write(write));
        }
        if let Some(read) = self.read(op) {
            return Some(Request::Read(read));
        }
        match op {
            Op::Auth(name) => Some(auth(name)),
            Op::Sync(place) => Some(Request::Sync(self.path(place))),
            _ => None,
        }
    }

    fn write(&mut self, op: &Op) -> Option<Write> {
        Some(match op {
            Op::Create(znode) => Write::Create(self.create(znode)),
            Op::Set(place, version, size) => {
                let (path, version) = (self.path(place), *version);
                Write::SetData { path, data: self.data(*size), version }
            }
            Op::SetText(place, text) => {
                let (path, data) = (self.path(place), Some(Bytes::from(text.clone())));
                Write::SetData { path, data, version: -1 }
            }
            Op::Delete(place, version) => {
                Write::Delete { path: self.path(place), version: *version }
            }
            Op::Check(place, version) => Write::Check { path: self.path(place), version: *version },
            Op::SetAcl(place, access, version) => Write::SetAcl {
                path: self.path(place),
                acl: acl(*access).into(),
                version: *version,
            },
            Op::Multi(ops) => Write::Multi(ops.iter().filter_map(|op| self.write(op)).collect()),
            Op::Close => Write::CloseSession,
            _ => return None,
        })
    }

    fn read(&self, op: &Op) -> Option<Read> {
        Some(match op {
            Op::Get(place, watch) => Read::GetData { path: self.path(place), watch: *watch },
            Op::Exists(place, watch) => Read::Exists { path: self.path(place), watch: *watch },
            Op::List(place, watch, with_stat) => {
                Read::GetChildren { path: self.path(place), watch: *watch, with_stat: *with_stat }
            }
            Op::GetAcl(place) => Read::GetAcl { path: self.path(place) },
            Op::AddWatch(place, below) => {
                let mode = if *below { WatchMode::Recursive } else { WatchMode::Persistent };
                Read::AddWatch { path: self.path(place), mode }
            }
            Op::RemoveWatches(place, kind) => {
                Read::RemoveWatches { path: self.path(place), kind: watcher_type(*kind) }
            }
            Op::CheckWatches(place, kind) => {
                Read::CheckWatches { path: self.path(place), kind: watcher_type(*kind) }
            }
            Op::CountDescendants(place) => Read::CountDescendants { path: self.path(place) },
            Op::Ephemerals(prefix) => Read::GetEphemerals { prefix: prefix.as_str().into() },
            Op::MultiRead(ops) => Read::Multi(ops.iter().filter_map(|op| self.read(op)).collect()),
            Op::WhoAmI => Read::WhoAmI,
            _ => return None,
        })
    }

    fn create(&mut self, znode: &Znode) -> Create {
        let (kind, flags, ttl_ms) = match znode.kind {
            ZnodeKind::Persistent => (plain(znode.stat), 0, -1),
            ZnodeKind::Ephemeral => (plain(znode.stat), 1, -1),
            ZnodeKind::Sequential => (plain(znode.stat), 2, -1),
            ZnodeKind::EphemeralSequential => (plain(znode.stat), 3, -1),
            ZnodeKind::Container => (CreateKind::Container, 4, -1),
            ZnodeKind::Ttl(ms) => (CreateKind::Ttl, 5, i64::from(ms)),
        };
        let (path, acl) = (znode.path.as_str().into(), acl(znode.access));
        let data = match &znode.text {
            Some(text) => Some(Bytes::from(text.clone())),
            None => self.data(znode.size),
        };
        Create { path, data, acl: acl.into(), flags, ttl_ms, kind }
    }

    fn path(&self, place: &Place) -> Text {
        match place {
            Place::At(path) => path.as_str().into(),
            Place::Learnt(n) if !self.learnt.is_empty() => {
                self.learnt[*n as usize % self.learnt.len()].as_str().into()
            }
            Place::Learnt(_) => "/none".into(),
        }
    }

    /// Unique data of about `size` bytes.
    fn data(&mut self, size: Option<u32>) -> Option<Bytes> {
        self.made += 1;
        let size = size? as usize;
        let mut data = format!("{}-{}", self.client, self.made).into_bytes();
        if size > data.len() {
            data.resize(size, b'.');
        }
        Some(Bytes::from(data))
    }
}

/// The request that adds the identity `name`; the password is the name.
pub fn auth(name: &str) -> Request {
    let auth = Some(Bytes::from(format!("{name}:{name}")));
    Request::Auth(AuthPacket { scheme: "digest".into(), auth })
}

fn plain(stat: bool) -> CreateKind {
    if stat { CreateKind::Create2 } else { CreateKind::Create }
}

fn watcher_type(kind: u8) -> WatcherType {
    match kind {
        1 => WatcherType::Children,
        2 => WatcherType::Data,
        4 => WatcherType::Persistent,
        5 => WatcherType::Recursive,
        _ => WatcherType::Any,
    }
}

/// SHA-1 and base64 of `ann:ann`, as ZooKeeper's `DigestAuthenticationProvider` makes it.
const ANN: &str = "ann:NBxn6wU5X1dBYfxVeNvNbrkF8EE=";

fn acl(access: Access) -> Vec<Acl> {
    let entry = |permissions, scheme: &str, id: &str| Acl { permissions, id: Id::new(scheme, id) };
    match access {
        Access::Open => vec![entry(Permissions::ALL, "world", "anyone")],
        Access::ReadOnly => vec![entry(Permissions::READ, "world", "anyone")],
        Access::Creator => vec![entry(Permissions::ALL, "auth", "")],
        Access::Ann => vec![
            entry(Permissions::ALL, "digest", ANN),
            entry(Permissions::READ, "world", "anyone"),
        ],
        Access::Hidden => {
            let all_but_read = Permissions(Permissions::ALL.0 & !Permissions::READ.0);
            vec![entry(Permissions::ALL, "digest", ANN), entry(all_but_read, "world", "anyone")]
        }
        Access::Empty => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_unique_and_of_its_size() {
        let mut maker = Maker::new(3);
        let first = maker.data(Some(100)).unwrap();
        let second = maker.data(Some(0)).unwrap();
        assert_eq!(first.len(), 100);
        assert!(first.starts_with(b"3-1.") && second == "3-2");
        assert_eq!(maker.data(None), None);
    }

    #[test]
    fn a_learnt_place_is_what_a_reply_named() {
        let mut maker = Maker::new(1);
        assert_eq!(&*maker.path(&Place::Learnt(7)), "/none");
        maker.learn("/a-0000000001");
        assert_eq!(&*maker.path(&Place::Learnt(7)), "/a-0000000001");
    }

    #[test]
    fn what_is_about_the_connection_is_no_request() {
        for op in [Op::Leave(true), Op::Move, Op::Forget, Op::MoveTo(1)] {
            assert!(Maker::new(1).request(&op).is_none(), "{op:?}");
        }
    }
}
