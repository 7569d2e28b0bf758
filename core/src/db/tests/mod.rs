//! The state machine from outside: every order of checks row by row, the rules of `Stat`, sessions,
//! and a naive model beside it.

mod checks;
mod model;
mod quotas;
mod restores;
mod rules;
mod sessions;
mod stats;

use bytes::Bytes;

use super::*;
use crate::proto::{Create, CreateKind, Identities, Stat};

/// A database with the zxids, times and sequences of a well-behaved ensemble.
struct Lone {
    db: Database,
    time: WallTime,
    rules: Rules,
    /// The last `Applied::changes`.
    changes: Vec<(ChangeKind, String)>,
}

const ONE: SessionId = SessionId(0x0100_0000_0000_0001);
const TWO: SessionId = SessionId(0x0100_0000_0000_0002);

impl Lone {
    /// With sessions `ONE` and `TWO`, and TTL znodes allowed.
    fn new() -> Self {
        let mut lone = Lone { time: WallTime(1_000), ..Lone::fresh() };
        for session in [ONE, TWO] {
            let opened = lone.act(open(session));
            assert!(matches!(opened, Outcome::Attached { .. }));
        }
        lone
    }

    /// With nobody, at time 0.
    fn fresh() -> Self {
        let rules = Rules { extended_types: true, ..Rules::default() };
        Lone { db: Database::new(), time: WallTime(0), rules, changes: Vec::new() }
    }

    fn act(&mut self, action: Action) -> Outcome {
        let zxid = self.db.zxid().next();
        let txn = Txn { time: self.time, rules: self.rules, action };
        let Applied { outcome, changes } = self.db.apply(zxid, &txn);
        self.changes = changes.iter().map(|c| (c.kind, c.path.to_string())).collect();
        outcome
    }

    fn write_as(
        &mut self,
        session: SessionId,
        ids: &[Id],
        write: Write,
    ) -> Result<Response, ErrorCode> {
        let known = self.db.session(session).expect("tests write with live sessions");
        let author = Author {
            session,
            token: known.token,
            sequence: Sequence(known.sequence.0 + 1),
            identities: ids.into(),
        };
        match self.act(Action::Write { author, write }) {
            Outcome::Answered(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, write: Write) -> Result<Response, ErrorCode> {
        self.write_as(ONE, &[ip()], write)
    }

    /// Creates a znode that no rule forbids, and says its final path.
    fn make(&mut self, path: &str, flags: i32) -> String {
        match self.write(create(path, flags)) {
            Ok(Response::Path(path)) => path.to_string(),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn read(&self, read: Read) -> Result<Response, ErrorCode> {
        self.read_as(ONE, &[ip()], read)
    }

    fn read_as(&self, session: SessionId, ids: &[Id], read: Read) -> Result<Response, ErrorCode> {
        let identities: Identities = ids.into();
        self.db.query(&Reader { session, identities: &identities, skip_acl: false }, &read)
    }

    fn stat(&self, path: &str) -> Stat {
        match self.read_as(ONE, &[Id::new("super", "")], exists(path)) {
            Ok(Response::Stat(stat)) => stat,
            other => panic!("{path}: {other:?}"),
        }
    }
}

fn ip() -> Id {
    Id::new("ip", "127.0.0.1")
}

fn bob() -> Id {
    Id::new("digest", "bob:hash")
}

fn acl(bits: i32, scheme: &str, id: &str) -> Vec<Acl> {
    vec![Acl { permissions: Permissions(bits), id: Id::new(scheme, id) }]
}

fn open_acl() -> Vec<Acl> {
    acl(31, "world", "anyone")
}

fn open(session: SessionId) -> Action {
    Action::Open { session, password: [1; 16], timeout_ms: 4_000, nonce: Nonce(7) }
}

fn creation(path: &str, flags: i32) -> Create {
    Create {
        path: path.into(),
        data: Some(Bytes::from_static(b"data")),
        acl: open_acl().into(),
        flags,
        ttl_ms: -1,
        kind: CreateKind::Create,
    }
}

fn create(path: &str, flags: i32) -> Write {
    Write::Create(creation(path, flags))
}

fn reap(path: &str, unused_ms: i64) -> Action {
    Action::Reap { path: path.into(), unused_ms }
}

fn container(path: &str) -> Write {
    Write::Create(Create { kind: CreateKind::Container, ..creation(path, 4) })
}

fn ttl(path: &str, ttl_ms: i64) -> Write {
    Write::Create(Create { kind: CreateKind::Ttl, ttl_ms, ..creation(path, 5) })
}

fn limits(path: &str, text: &str) -> Write {
    let data = Some(Bytes::copy_from_slice(text.as_bytes()));
    let path = format!("/zookeeper/quota{path}/zookeeper_limits");
    Write::Create(Create { data, ..creation(&path, 0) })
}

fn stats(path: &str) -> Write {
    let data = Some(Bytes::from_static(b"count=0,bytes=0"));
    let path = format!("/zookeeper/quota{path}/zookeeper_stats");
    Write::Create(Create { data, ..creation(&path, 0) })
}

fn delete(path: &str, version: i32) -> Write {
    Write::Delete { path: path.into(), version }
}

fn set(path: &str, version: i32) -> Write {
    Write::SetData { path: path.into(), data: Some(Bytes::from_static(b"longer data")), version }
}

fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> Write {
    Write::SetAcl { path: path.into(), acl: acl.into(), version }
}

fn check(path: &str, version: i32) -> Write {
    Write::Check { path: path.into(), version }
}

fn exists(path: &str) -> Read {
    Read::Exists { path: path.into(), watch: false }
}

fn get(path: &str) -> Read {
    Read::GetData { path: path.into(), watch: false }
}

fn children(path: &str) -> Read {
    Read::GetChildren { path: path.into(), watch: false, with_stat: false }
}
