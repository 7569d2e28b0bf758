//! What the model clients ask for.
//!
//! Invariant: a request depends on the client's own stream and on what it has heard, and on nothing
//! else.

use bytes::Bytes;
use zokor_core::proto::{Acl, Create, CreateKind, Id, Permissions, Read, Request, Write};

use crate::plan::ClientPlan;
use crate::rng::Stream;

/// Draws requests.
#[derive(Debug)]
pub struct Workload {
    plan: ClientPlan,
    /// Makes data unique.
    client: u64,
    made: u64,
    /// Paths that replies named, to be deleted again.
    known: Vec<String>,
}

impl Workload {
    /// The workload of one client.
    pub fn new(plan: ClientPlan, client: u64) -> Self {
        Workload { plan, client, made: 0, known: Vec::new() }
    }

    /// The next request.
    pub fn next(&mut self, stream: &mut Stream) -> Request {
        let s = stream;
        match s.below(100) {
            0..20 => Request::Write(self.create(s)),
            20..38 => Request::Write(self.set_data(s)),
            38..50 => Request::Write(self.delete(s)),
            50..58 if self.plan.multis => {
                let parts = (0..s.between(0, 4)).map(|_| self.part(s)).collect();
                Request::Write(Write::Multi(parts))
            }
            58..64 if self.plan.syncs => Request::Sync(self.path(s).into()),
            64..66 if self.plan.closes => Request::Write(Write::CloseSession),
            _ => Request::Read(self.read(s)),
        }
    }

    /// A fresh write that cannot fail for want of anything.
    pub fn fresh(&mut self) -> Request {
        let path = format!("/fresh-{}-", self.client);
        Request::Write(Write::Create(self.znode(path, 2)))
    }

    /// A reply named `path`.
    pub fn learn(&mut self, path: &str) {
        if self.known.len() < 64 {
            self.known.push(path.to_owned());
        }
    }

    fn part(&mut self, s: &mut Stream) -> Write {
        match s.below(4) {
            0 => self.create(s),
            1 => self.set_data(s),
            2 => self.delete(s),
            _ => Write::Check { path: self.path(s).into(), version: version(s) },
        }
    }

    fn create(&mut self, s: &mut Stream) -> Write {
        let mut path = self.path(s);
        let flags = *s.pick(&[0, 0, 0, 1, 1, 2, 3]);
        if flags & 2 != 0 {
            path.push_str(if s.coin() { "/s-" } else { "-" });
        }
        Write::Create(Create {
            kind: if s.coin() { CreateKind::Create } else { CreateKind::Create2 },
            ..self.znode(path, flags)
        })
    }

    fn set_data(&mut self, s: &mut Stream) -> Write {
        Write::SetData { path: self.path(s).into(), data: self.data(), version: version(s) }
    }

    fn delete(&mut self, s: &mut Stream) -> Write {
        let path = match self.known.is_empty() || s.coin() {
            true => self.path(s),
            false => self.known.swap_remove(s.below(self.known.len() as u64) as usize),
        };
        Write::Delete { path: path.into(), version: version(s) }
    }

    fn read(&mut self, s: &mut Stream) -> Read {
        let watch = self.plan.watches && s.coin();
        let path = if s.below(8) == 0 { "/".to_owned() } else { self.path(s) };
        match s.below(4) {
            0 => Read::Exists { path: path.into(), watch },
            1 => Read::GetData { path: path.into(), watch },
            _ => Read::GetChildren { path: path.into(), watch, with_stat: s.coin() },
        }
    }

    /// `/0`, `/0/1` and so on, of few different ones, so that clients meet.
    fn path(&self, s: &mut Stream) -> String {
        let top = s.below(self.plan.paths);
        match s.below(3) {
            0 => format!("/n{top}/c{}", s.below(3)),
            _ => format!("/n{top}"),
        }
    }

    fn znode(&mut self, path: String, flags: i32) -> Create {
        let acl = vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }];
        let data = self.data();
        Create { path: path.into(), data, acl, flags, ttl_ms: -1, kind: CreateKind::Create }
    }

    fn data(&mut self) -> Option<Bytes> {
        self.made += 1;
        match self.made % 16 {
            0 => None,
            1 => Some(Bytes::new()),
            _ => Some(Bytes::from(format!("{}-{}", self.client, self.made))),
        }
    }
}

fn version(s: &mut Stream) -> i32 {
    *s.pick(&[-1, -1, -1, 0, 1])
}
