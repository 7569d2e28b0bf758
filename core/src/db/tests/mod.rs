//! The state machine from outside: every order of checks row by row, the rules of `Stat`, sessions,
//! and a naive model beside it.

mod checks;
mod model;
mod sessions;
mod stats;

use super::*;
use crate::proto::{Create, CreateKind, Identities, Stat};

/// A database with the zxids, times and sequences of a well-behaved ensemble.
struct Lone {
    db: Database,
    time: WallTime,
    /// The last `Applied::changes`.
    changes: Vec<(ChangeKind, String)>,
}

const ONE: SessionId = SessionId(0x0100_0000_0000_0001);
const TWO: SessionId = SessionId(0x0100_0000_0000_0002);

impl Lone {
    /// With sessions `ONE` and `TWO`, and TTL znodes allowed.
    fn new() -> Self {
        let db = Database::new(DbConfig { extended_types: true });
        let mut lone = Lone { db, time: WallTime(1_000), changes: Vec::new() };
        for session in [ONE, TWO] {
            let opened = lone.act(open(session));
            assert!(matches!(opened, Outcome::Attached { .. }));
        }
        lone
    }

    fn act(&mut self, action: Action) -> Outcome {
        let zxid = self.db.zxid().next();
        let Applied { outcome, changes } = self.db.apply(zxid, &Txn { time: self.time, action });
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
        self.db.query(&Reader { session, identities: &identities }, &read)
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
        acl: open_acl(),
        flags,
        ttl_ms: -1,
        kind: CreateKind::Create,
    }
}

fn create(path: &str, flags: i32) -> Write {
    Write::Create(creation(path, flags))
}

fn container(path: &str) -> Write {
    Write::Create(Create { kind: CreateKind::Container, ..creation(path, 4) })
}

fn ttl(path: &str, ttl_ms: i64) -> Write {
    Write::Create(Create { kind: CreateKind::Ttl, ttl_ms, ..creation(path, 5) })
}

fn delete(path: &str, version: i32) -> Write {
    Write::Delete { path: path.into(), version }
}

fn set(path: &str, version: i32) -> Write {
    Write::SetData { path: path.into(), data: Some(Bytes::from_static(b"longer data")), version }
}

fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> Write {
    Write::SetAcl { path: path.into(), acl, version }
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
