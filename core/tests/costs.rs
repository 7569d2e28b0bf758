//! What requests and znodes cost, in numbers that are the same on every machine: allocations and
//! bytes. A change that makes them grow has to say so here.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use zokor_core::db::{Action, Author, Database, Rules, Txn};
use zokor_core::id::{ConnId, Nonce, Seed, Sequence, ServerId, SessionId, Token, Xid};
use zokor_core::proto::{
    Acl, ConnectRequest, Create, CreateKind, Id, Permissions, Read, Request, Text, Write, Zxid,
};
use zokor_core::raft::{self, Membership};
use zokor_core::replica::Recovered;
use zokor_core::time::{Now, WallTime};
use zokor_core::{Config, Input, Output, Replica};

/// A server alone, with a disk that needs no time and one client.
struct Lone {
    replica: Replica,
    now: Now,
    next_xid: i32,
}

const CLIENT: ConnId = ConnId(1);

impl Lone {
    /// It leads, and the client has a session.
    fn new() -> Lone {
        let now = Now::default();
        let membership = Membership::of_voters([ServerId(1)]);
        let mut config = Config::new(raft::Config::new(ServerId(1), membership));
        config.snapshot_entries = u64::MAX;
        config.snapshot_bytes = u64::MAX;
        let replica = Replica::new(now, config, Seed([7; 32]), Recovered::default());
        let mut lone = Lone { replica, now, next_xid: 1 };
        for _ in 0..10 {
            let deadline = lone.replica.deadline().expect("there is always one");
            lone.now.instant = lone.now.instant.max(deadline);
            lone.handle(Input::Wake);
            lone.settle();
        }
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session: SessionId(0),
            password: Bytes::from_static(&[0; 16]),
            read_only: None,
        };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        lone.handle(Input::Connect { conn: CLIENT, address, request });
        lone.settle();
        lone
    }

    fn handle(&mut self, input: Input) {
        self.replica.handle(self.now, input);
    }

    /// Carries out all outputs; how many replies there were. Each must be good.
    fn settle(&mut self) -> usize {
        let mut n_replies = 0;
        while let Some(output) = self.replica.poll() {
            match output {
                Output::Persist(persist) => {
                    let ticket = persist.ticket;
                    self.handle(Input::Persisted { ticket });
                }
                Output::Reply { result, .. } => {
                    assert!(result.is_ok(), "{result:?}");
                    n_replies += 1;
                }
                _ => {}
            }
        }
        n_replies
    }

    fn ask(&mut self, request: Request) {
        let xid = Xid(self.next_xid);
        self.next_xid += 1;
        self.handle(Input::Request { conn: CLIENT, xid, request });
        self.now.instant += Duration::from_micros(1);
    }

    /// One by one, each with a wake-up of its own.
    fn one_by_one(&mut self, requests: Vec<Request>) -> AllocationInfo {
        measure(|| {
            for request in requests {
                self.ask(request);
                assert_eq!(self.settle(), 1);
            }
        })
    }

    /// All in one wake-up.
    fn together(&mut self, requests: Vec<Request>) -> AllocationInfo {
        let n = requests.len();
        measure(|| {
            for request in requests {
                self.ask(request);
            }
            assert_eq!(self.settle(), n);
        })
    }
}

fn path(n: usize) -> Text {
    format!("/services/node-{n:07}").into()
}

fn create(path: Text, data: Bytes) -> Request {
    let acl = vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }];
    let kind = CreateKind::Create;
    Request::Write(Write::Create(Create {
        path,
        data: Some(data),
        acl,
        flags: 0,
        ttl_ms: -1,
        kind,
    }))
}

fn creates(n: usize) -> Vec<Request> {
    (0..n).map(|n| create(path(n), Bytes::from(vec![7; 100]))).collect()
}

fn sets(n: usize) -> Vec<Request> {
    let set = |n| Write::SetData {
        path: path(n % N_ZNODES),
        data: Some(Bytes::from(vec![8; 100])),
        version: -1,
    };
    (0..n).map(set).map(Request::Write).collect()
}

fn gets(n: usize) -> Vec<Request> {
    let get = |n| Read::GetData { path: path(n % N_ZNODES), watch: false };
    (0..n).map(get).map(Request::Read).collect()
}

/// With znodes to read and set, and everything that grows grown.
fn prepared() -> Lone {
    let mut lone = Lone::new();
    lone.together(vec![create("/services".into(), Bytes::new())]);
    lone.together(creates(N_ZNODES));
    lone.together(sets(WARM));
    lone.together(gets(WARM));
    lone
}

const N_ZNODES: usize = 1_000;
const WARM: usize = 4_000;

/// A thousand of them, so that what grows now and then counts by its share.
const N: usize = 1_000;

#[test]
fn a_read_allocates_nothing() {
    let mut lone = prepared();
    let requests = gets(N);
    let single = lone.one_by_one(requests);
    let requests = gets(N);
    let many = lone.together(requests);
    assert_eq!((single.count_total, many.count_total), (0, 0));
}

#[test]
fn a_write_allocates_little() {
    let mut lone = prepared();
    let requests = sets(N);
    let single = lone.one_by_one(requests);
    let requests = sets(N);
    let many = lone.together(requests);
    // Five for the write itself; alone, it has a `Persist` and a commit of its own besides.
    assert!(single.count_total <= 10 * N as u64, "{single:?}");
    assert!(many.count_total <= 5 * N as u64 + 8, "{many:?}");
}

#[test]
fn a_znode_takes_little_memory() {
    const N: usize = 100_000;
    let mut db = Database::new();
    let (session, password) = (SessionId(1), [0; 16]);
    let open = Action::Open { session, password, timeout_ms: 30_000, nonce: Nonce(1) };
    db.apply(Zxid(1), &txn(open));
    let author = |sequence| Author {
        session,
        token: Token(1),
        sequence: Sequence(sequence),
        identities: [].into(),
    };
    let memory = measure(|| {
        // Made one by one here, so that what is given back was taken here.
        let paths = [Text::from("/services")].into_iter().chain((0..N).map(path));
        let requests = paths.map(|path| create(path, Bytes::from(vec![7; 100])));
        for (n, request) in (1..).zip(requests) {
            let Request::Write(write) = request else { panic!("a create is a write") };
            db.apply(Zxid(n + 1), &txn(Action::Write { author: author(n as u64), write }));
        }
    });
    assert_eq!(db.node_count(), N as u64 + 6);
    // A path of 22 bytes and 100 of data are part of it.
    assert!(memory.bytes_current <= 302 * N as i64, "{memory:?}");
    assert!(memory.count_current <= 2 * N as i64 + 4_000, "{memory:?}");
}

fn txn(action: Action) -> Txn {
    Txn { time: WallTime(0), rules: Rules::default(), action }
}
