//! The requests of a mixed load.
//!
//! Invariant: what one connection makes no other deletes, so that none of its requests fails if the
//! server does what it was asked.

use std::collections::VecDeque;

use bytes::Bytes;
use zokor_core::proto::{Create, CreateKind, Read, Request, Text, Write, open_acl};

use super::mix::{Draws, Kind};
use super::options::BenchArguments;

/// Where things are below the root, and what is written.
#[derive(Clone, Debug)]
pub(super) struct Places {
    root: String,
    nodes: Vec<Text>,
    list: Text,
    data: Bytes,
    n_parts: usize,
}

/// What one connection has made and not yet deleted.
#[derive(Debug, Default)]
pub(super) struct Made {
    n: u64,
    stays: VecDeque<Text>,
    ephemeral: Option<Text>,
}

impl Places {
    /// Below `root`, as the arguments say.
    pub(super) fn new(root: &str, arguments: &BenchArguments) -> Self {
        let nodes = (0..arguments.nodes).map(|n| format!("{root}/nodes/{n:08}").into());
        Places {
            root: root.to_owned(),
            nodes: nodes.collect(),
            list: format!("{root}/list").into(),
            data: data(arguments.size, arguments.seed),
            n_parts: arguments.parts as usize,
        }
    }

    /// All that must be there before a load that has these kinds, parents first.
    pub(super) fn prepared(&self, arguments: &BenchArguments) -> Vec<Request> {
        let has = |kinds: &[Kind]| kinds.iter().any(|&kind| arguments.mix.has(kind));
        let mut requests = vec![folder(&self.root)];
        if has(&[Kind::Get, Kind::Exists, Kind::Set, Kind::Multi]) {
            requests.push(folder(&format!("{}/nodes", self.root)));
            requests.extend(self.nodes.iter().map(|path| self.node(path.clone(), 0)));
        }
        if has(&[Kind::Create, Kind::Delete]) {
            requests.push(folder(&format!("{}/made", self.root)));
            let links = 0..arguments.connections;
            requests.extend(links.map(|link| folder(&format!("{}/made/{link}", self.root))));
        }
        if has(&[Kind::Ephemeral]) {
            requests.push(folder(&format!("{}/ephemeral", self.root)));
        }
        if has(&[Kind::Sequential]) {
            requests.push(folder(&format!("{}/sequential", self.root)));
        }
        if has(&[Kind::Children]) {
            requests.push(folder(&self.list));
            let names = 0..arguments.names;
            requests.extend(names.map(|n| folder(&format!("{}/name-{n:08}", self.list))));
        }
        if has(&[Kind::Watch]) {
            requests.push(self.node(self.watched(), 0));
        }
        requests
    }

    /// The znode of `watch`.
    pub(super) fn watched(&self) -> Text {
        format!("{}/watched", self.root).into()
    }

    /// Reads the znode of `watch` and watches it.
    pub(super) fn watch(&self) -> Request {
        Request::Read(Read::GetData { path: self.watched(), watch: true })
    }

    /// A new value.
    pub(super) fn set(&self, path: Text) -> Request {
        Request::Write(self.set_data(path))
    }

    /// A request of this kind, by connection `link`. What is sent may be of another kind: nothing
    /// can be deleted before it is created.
    pub(super) fn request(
        &self,
        kind: Kind,
        link: usize,
        made: &mut Made,
        draws: &mut Draws,
    ) -> (Kind, Request) {
        let mut node = || self.nodes[draws.below(self.nodes.len())].clone();
        let request = match kind {
            Kind::Get => Request::Read(Read::GetData { path: node(), watch: false }),
            Kind::Exists => Request::Read(Read::Exists { path: node(), watch: false }),
            Kind::Set => self.set(node()),
            Kind::Multi => {
                let parts = (0..self.n_parts).map(|_| self.set_data(node()));
                Request::Write(Write::Multi(parts.collect()))
            }
            Kind::Delete => match made.stays.pop_front() {
                Some(path) => delete(path),
                None => return (Kind::Create, self.create(link, made, true)),
            },
            Kind::Create => self.create(link, made, true),
            Kind::Ephemeral => match made.ephemeral.take() {
                Some(path) => delete(path),
                None => self.create(link, made, false),
            },
            Kind::Sequential => {
                self.node(format!("{}/sequential/n-", self.root).into(), SEQUENTIAL)
            }
            Kind::Children => Request::Read(Read::GetChildren {
                path: self.list.clone(),
                watch: false,
                with_stat: false,
            }),
            Kind::Sync => Request::Sync(self.root.clone().into()),
            Kind::Watch | Kind::Last | Kind::Session => unreachable!("{kind} is no part of a mix"),
        };
        (kind, request)
    }

    fn create(&self, link: usize, made: &mut Made, stays: bool) -> Request {
        made.n += 1;
        let n = made.n;
        if stays {
            let path = Text::from(format!("{}/made/{link}/{n:08}", self.root));
            made.stays.push_back(path.clone());
            self.node(path, 0)
        } else {
            let path = Text::from(format!("{}/ephemeral/{link}-{n}", self.root));
            made.ephemeral = Some(path.clone());
            self.node(path, EPHEMERAL)
        }
    }

    fn set_data(&self, path: Text) -> Write {
        Write::SetData { path, data: Some(self.data.clone()), version: -1 }
    }

    fn node(&self, path: Text, flags: i32) -> Request {
        create(path, self.data.clone(), flags)
    }
}

impl Made {
    /// The connection was lost: nobody knows what became of the last operations.
    pub(super) fn forget(&mut self) {
        self.ephemeral = None;
    }
}

/// Asks for the last of the children that `prepared` makes below each parent: if they are there, so
/// is the rest. Whatever server is asked, it is up to date by then.
pub(super) fn ends(root: &str, prepared: &[Request]) -> Vec<Request> {
    let path = |request: &Request| match request {
        Request::Write(Write::Create(create)) => create.path.clone(),
        other => unreachable!("{other:?} makes no znode"),
    };
    let paths: Vec<Text> = prepared.iter().map(path).collect();
    let parent = |path: &Text| path.rfind('/').map(|at| path[..at].to_owned());
    let exists = |family: &[Text]| {
        let path = family.last().expect("no chunk is empty").clone();
        Request::Read(Read::Exists { path, watch: false })
    };
    let families = paths.chunk_by(|one, next| parent(one) == parent(next));
    [Request::Sync(root.into())].into_iter().chain(families.map(exists)).collect()
}

/// A znode without data.
fn folder(path: &str) -> Request {
    create(path.into(), Bytes::new(), 0)
}

fn create(path: Text, data: Bytes, flags: i32) -> Request {
    let acl = open_acl();
    let kind = CreateKind::Create;
    Request::Write(Write::Create(Create { path, data: Some(data), acl, flags, ttl_ms: -1, kind }))
}

/// Deletes a znode, whatever its version.
pub(super) fn delete(path: Text) -> Request {
    Request::Write(Write::Delete { path, version: -1 })
}

/// Bytes that no device can make smaller.
fn data(size: u32, seed: u64) -> Bytes {
    let mut draws = Draws::new(seed ^ 0x64_61_74_61);
    (0..size).map(|_| draws.next() as u8).collect()
}

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;
