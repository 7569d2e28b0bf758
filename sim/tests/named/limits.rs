//! Sizes at which others broke, tried on one replica driven by hand and on the formats of log and
//! peers: these faults live where bytes are counted, not between servers.

use std::net::{IpAddr, Ipv4Addr};

use bytes::{Bytes, BytesMut};
use zokor_core::db::{Action, Author, Rules, Txn};
use zokor_core::id::{ConnId, Seed, Sequence, ServerId, SessionId, Token, Xid};
use zokor_core::proto::{
    Acl, ConnectRequest, Create, CreateKind, ErrorCode, EventKind, Id, Permissions, Request,
    Response, Rewatch, Text, Write,
};
use zokor_core::raft::{self, Entry, EntryId, Index, Membership, Payload, Role, Term};
use zokor_core::time::{Instant, Now, WallTime};
use zokor_core::{Config, Input, Output, Replica};
use zokor_net::wire::entry::{decode_entry, encode_entry};
use zokor_net::wire::request::decode_request;
use zokor_sim::world::disk::Disk;

/// ZooKeeper's `jute.maxbuffer`.
const MAX_BUFFER: usize = 0xf_ffff;

/// A server alone, with a disk that is always done at once.
struct Lone {
    replica: Replica,
    disk: Disk,
    now: Now,
    said: Vec<Output>,
    xid: i32,
}

impl Lone {
    fn start(mut disk: Disk, micros: u64) -> Self {
        let voters = Membership::of_voters([ServerId(1)]);
        let config = Config::new(raft::Config::new(ServerId(1), voters));
        let now = Now { instant: Instant::from_micros(micros), wall: WallTime(1_000_000) };
        let replica = Replica::new(now, config, Seed([7; 32]), disk.recover());
        let mut lone = Lone { replica, disk, now, said: Vec::new(), xid: 0 };
        lone.settle();
        for _ in 0..100 {
            if lone.replica.stats().role == Role::Leader {
                break;
            }
            let deadline = lone.replica.deadline().expect("it is to stand for election");
            lone.now.instant = lone.now.instant.max(deadline);
            lone.handle(Input::Wake);
        }
        assert_eq!(lone.replica.stats().role, Role::Leader);
        lone
    }

    /// The power is cut, and comes back.
    fn again(self) -> Self {
        Lone::start(self.disk, self.now.instant.as_micros() + 1)
    }

    fn handle(&mut self, input: Input) {
        self.replica.handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            while let Some(output) = self.replica.poll() {
                match output {
                    Output::Persist(persist) => {
                        self.disk.note(&persist);
                        self.disk.persist(persist);
                    }
                    Output::Checkpoint { ticket, snapshot } => {
                        self.disk.checkpoint(ticket, snapshot);
                    }
                    Output::Purge { through } => self.disk.purge(through),
                    said => self.said.push(said),
                }
            }
            if let Some(ticket) = self.disk.complete() {
                self.replica.handle(self.now, Input::Persisted { ticket });
            } else if let Some(ticket) = self.disk.complete_checkpoint() {
                self.replica.handle(self.now, Input::Checkpointed { ticket });
            } else {
                return;
            }
        }
    }

    fn connect(&mut self, conn: u64) -> SessionId {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session: SessionId(0),
            password: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
        };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.said.clear();
        self.handle(Input::Connect { conn: ConnId(conn), address, request });
        match &self.said[..] {
            [Output::Connected { response, .. }] => response.session,
            said => panic!("{said:?}"),
        }
    }

    /// Asks, and returns the answer; what else was said stays in `said`.
    fn ask(&mut self, conn: u64, request: Request) -> Result<Response, ErrorCode> {
        self.xid += 1;
        self.said.clear();
        self.handle(Input::Request { conn: ConnId(conn), xid: Xid(self.xid), request });
        let own =
            |output: &Output| matches!(output, Output::Reply { xid, .. } if xid.0 == self.xid);
        let at = self.said.iter().position(own).expect("it is answered at once");
        match self.said.remove(at) {
            Output::Reply { result, .. } => result,
            _ => unreachable!("just seen"),
        }
    }
}

fn create(path: &str, flags: i32, data: Bytes) -> Write {
    let acl = vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }];
    let (path, data) = (Text::from(path), Some(data));
    Write::Create(Create {
        path,
        data,
        acl: acl.into(),
        flags,
        ttl_ms: -1,
        kind: CreateKind::Create,
    })
}

fn n_bytes(entry: &Entry<Txn>) -> usize {
    let mut out = BytesMut::new();
    encode_entry(entry, &mut out);
    out.len()
}

/// ZOOKEEPER-706. A client with so many watches that setting them again took more than a frame
/// could never reconnect. Clients send them in parts since; here are 100,000 of them. If it were
/// broken, a part would not be answered, a watch would be lost or fire twice, or some would stay
/// behind when the connection ends.
#[test]
fn a_hundred_thousand_watches_are_set_again_in_parts() {
    const N: usize = 100_000;
    let mut lone = Lone::start(Disk::default(), 1);
    lone.connect(1);
    let paths: Vec<Text> =
        (0..N).map(|n| Text::from(format!("/services/of-a-kind/{n:06}"))).collect();
    assert!(paths.iter().map(|path| path.len()).sum::<usize>() > 2 * MAX_BUFFER);
    for part in paths.chunks(4_000) {
        let rewatch = Rewatch { exist: part.to_vec(), ..Rewatch::default() };
        let answer = lone.ask(1, Request::SetWatches(rewatch));
        assert_eq!(answer, Ok(Response::Empty));
        assert!(lone.said.is_empty(), "nothing has changed: {:?}", lone.said);
    }
    assert_eq!(lone.replica.stats().watches, N as u64);

    lone.connect(2);
    for parent in ["/services", "/services/of-a-kind"] {
        lone.ask(2, Request::Write(create(parent, 0, Bytes::new()))).expect("created");
    }
    for path in [&paths[0], &paths[N / 2], &paths[N - 1]] {
        lone.ask(2, Request::Write(create(path, 0, Bytes::new()))).expect("created");
        let [Output::Notify { conn: ConnId(1), event, .. }] = &lone.said[..] else {
            panic!("one event: {:?}", lone.said);
        };
        assert_eq!((event.kind, &event.path), (EventKind::Created, path));
    }
    assert_eq!(lone.replica.stats().watches, N as u64 - 3);
    lone.handle(Input::Disconnect { conn: ConnId(1) });
    assert_eq!(lone.replica.stats().watches, 0);
}

/// ZOOKEEPER-3496, 4306. The end of a session was logged as the list of its ephemeral znodes; with
/// very many of them it was larger than `jute.maxbuffer`, and nobody could read the log again.
/// Here their paths are twice that. If it were broken, the entry of the close would grow with
/// them, or not be read back.
#[test]
fn the_end_of_a_session_weighs_the_same_however_much_goes_with_it() {
    const N: usize = 5_000;
    let mut lone = Lone::start(Disk::default(), 1);
    lone.connect(1);
    let name = "x".repeat(400);
    for n in 0..N {
        let path = format!("/{name}-{n}");
        lone.ask(1, Request::Write(create(&path, 1, Bytes::new()))).expect("created");
    }
    assert_eq!(lone.replica.stats().ephemerals, N as u64);
    lone.ask(1, Request::Write(Write::CloseSession)).expect("closed");
    assert_eq!(lone.replica.stats().ephemerals, 0);

    let log = lone.disk.durable();
    let last = log.log.entries().last().expect("the close");
    assert!(matches!(
        &last.payload,
        Payload::Command(Txn { action: Action::Write { write: Write::CloseSession, .. }, .. })
    ));
    assert!(n_bytes(last) < 200, "{} bytes", n_bytes(last));
    let lone = lone.again();
    assert_eq!(lone.replica.stats().ephemerals, 0);
    assert_eq!(lone.replica.stats().sessions, 0);
}

/// ZOOKEEPER-2101. A txn that grew on its way into the log passed the limit at the door and not
/// that of the reader: no server could start. Here the largest request that a frame can hold, by
/// an author with many identities, goes into the log's format and back. If it were broken, it
/// would not come back.
#[test]
fn what_the_door_lets_in_can_be_read_back_from_the_log() {
    let data = Bytes::from(vec![b'd'; MAX_BUFFER - 100]);
    let mut frame = BytesMut::new();
    let mut put = |bytes: &[u8]| frame.extend_from_slice(bytes);
    put(&7i32.to_be_bytes());
    put(&5i32.to_be_bytes());
    put(&2i32.to_be_bytes());
    put(b"/a");
    put(&(data.len() as i32).to_be_bytes());
    put(&data);
    put(&(-1i32).to_be_bytes());
    assert!(frame.len() <= MAX_BUFFER && frame.len() > MAX_BUFFER - 100);
    let (_, request) = decode_request(frame.freeze(), MAX_BUFFER).expect("a header");
    let Request::Write(write) = request else { panic!("a write: {request:?}") };

    let identities = (0..1_000).map(|n| Id::new("digest", &format!("user-{n}:{}", "h".repeat(28))));
    let author = Author {
        session: SessionId(5),
        token: Token(i64::MAX),
        sequence: Sequence(u64::MAX),
        identities: identities.collect(),
    };
    let id = EntryId { term: Term(u64::MAX), index: Index(u64::MAX) };
    let action = Action::Write { author, write };
    let entry = Entry {
        id,
        payload: Payload::Command(Txn {
            time: WallTime(i64::MAX),
            rules: Rules::default(),
            action,
        }),
    };
    assert!(n_bytes(&entry) > MAX_BUFFER, "it has grown beyond what a client may send");
    let mut out = BytesMut::new();
    encode_entry(&entry, &mut out);
    assert_eq!(decode_entry(out.freeze()).as_ref(), Ok(&entry));
}

/// CVE-2026-100300. Garbage below `/zookeeper/quota`, where anyone may write, threw when it was
/// applied, and again at every start. Quotas are not built: what stands there is data like any
/// other. If it were broken, a write below the path that the garbage names would panic, now or
/// after a restart.
#[test]
fn garbage_where_quotas_would_be_stops_no_server() {
    let mut lone = Lone::start(Disk::default(), 1);
    lone.connect(1);
    let garbage =
        ["", "count=", "count=x,bytes=-", "=,=,=", "\u{0}\u{ffff}", "count=99999999999999"];
    for (n, text) in garbage.into_iter().enumerate() {
        let data = Bytes::copy_from_slice(text.as_bytes());
        for path in [
            format!("/zookeeper/quota/q{n}"),
            format!("/zookeeper/quota/q{n}/zookeeper_limits"),
            format!("/zookeeper/quota/q{n}/zookeeper_stats"),
        ] {
            // Whether it is refused does not matter here.
            let _ = lone.ask(1, Request::Write(create(&path, 0, data.clone())));
        }
    }
    let write = |lone: &mut Lone, n: usize| {
        let data = Bytes::from_static(b"12345");
        lone.ask(1, Request::Write(create(&format!("/q{n}"), 0, data.clone()))).expect("created");
        lone.ask(1, Request::Write(create(&format!("/q{n}/a"), 0, data))).expect("created");
    };
    (0..3).for_each(|n| write(&mut lone, n));
    let znodes = lone.replica.stats().znodes;
    let mut lone = lone.again();
    assert_eq!(lone.replica.stats().znodes, znodes);
    lone.connect(1);
    (3..garbage.len()).for_each(|n| write(&mut lone, n));
}
