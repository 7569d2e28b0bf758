//! A server alone, with a disk that needs no time and one client: what is left are the costs of the
//! core.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use zokor_core::id::{ConnId, Seed, ServerId, SessionId, Xid};
use zokor_core::proto::{ConnectRequest, Create, CreateKind, Read, Request, Text, Write, open_acl};
use zokor_core::raft::{self, Membership};
use zokor_core::replica::Recovered;
use zokor_core::time::Now;
use zokor_core::{Config, Input, Output, Replica};

/// A server alone, with a disk that needs no time and one client.
pub(crate) struct Lone {
    replica: Replica,
    now: Now,
    next_xid: i32,
}

const CLIENT: ConnId = ConnId(1);

impl Lone {
    /// It leads, and the client has a session.
    pub(crate) fn new() -> Lone {
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
    pub(crate) fn settle(&mut self) -> usize {
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

    pub(crate) fn ask(&mut self, request: Request) {
        let xid = Xid(self.next_xid);
        self.next_xid += 1;
        self.handle(Input::Request { conn: CLIENT, xid, request });
        self.now.instant += Duration::from_micros(1);
    }

    /// One by one, each with a wake-up of its own.
    pub(crate) fn one_by_one(&mut self, requests: Vec<Request>) {
        for request in requests {
            self.ask(request);
            assert_eq!(self.settle(), 1);
        }
    }

    /// All in one wake-up.
    pub(crate) fn together(&mut self, requests: Vec<Request>) {
        let n = requests.len();
        for request in requests {
            self.ask(request);
        }
        assert_eq!(self.settle(), n);
    }
}

pub(crate) fn path(n: usize) -> Text {
    format!("/services/node-{n:07}").into()
}

pub(crate) fn create(path: Text, data: Bytes) -> Request {
    let acl = open_acl();
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

pub(crate) fn creates(n: usize) -> Vec<Request> {
    (0..n).map(|n| create(path(n), Bytes::from(vec![7; 100]))).collect()
}

pub(crate) fn sets(n: usize) -> Vec<Request> {
    let set = |n| Write::SetData {
        path: path(n % N_ZNODES),
        data: Some(Bytes::from(vec![8; 100])),
        version: -1,
    };
    (0..n).map(set).map(Request::Write).collect()
}

/// Multis of ten sets each.
pub(crate) fn multis(n: usize) -> Vec<Request> {
    let ten = |_| {
        let writes = sets(10).into_iter().map(|request| match request {
            Request::Write(write) => write,
            other => panic!("{other:?} is no write"),
        });
        Request::Write(Write::Multi(writes.collect()))
    };
    (0..n).map(ten).collect()
}

pub(crate) fn gets(n: usize) -> Vec<Request> {
    let get = |n| Read::GetData { path: path(n % N_ZNODES), watch: false };
    (0..n).map(get).map(Request::Read).collect()
}

/// With znodes to read and set, and everything that grows grown.
pub(crate) fn prepared() -> Lone {
    let mut lone = Lone::new();
    lone.together(vec![create("/services".into(), Bytes::new())]);
    lone.together(creates(N_ZNODES));
    lone.together(sets(WARM));
    lone.together(gets(WARM));
    lone
}

/// Znodes that are read and set.
pub(crate) const N_ZNODES: usize = 1_000;
const WARM: usize = 4_000;
