//! Conversations of a few replicas over a network and disks that do at once what they are told.

mod sessions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::id::Xid;
use crate::proto::{
    Acl, ConnectRequest, Create, CreateKind, ErrorCode, EventKind, Id, OpResult, Permissions, Read,
    Request, Response, Write,
};
use crate::raft::{HardState, Persist};
use crate::time::WallTime;

/// What a server would find after a crash.
#[derive(Default)]
struct Durable {
    hard_state: HardState,
    snapshot: Option<Snapshot>,
    entries: BTreeMap<u64, SharedEntry<Txn>>,
}

impl Durable {
    fn persist(&mut self, persist: &Persist<Txn>) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if persist.reset.is_some() {
            self.entries.clear();
        }
        if let Some(after) = persist.truncate_after {
            self.entries.split_off(&(after.0 + 1));
        }
        for entry in &persist.append {
            self.entries.insert(entry.id.index.0, SharedEntry::clone(entry));
        }
    }

    fn recovered(&self) -> Recovered {
        let last = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.last.index.0);
        Recovered {
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
            entries: self.entries.range(last + 1..).map(|(_, entry)| entry.clone()).collect(),
        }
    }
}

struct Ensemble {
    now: Instant,
    config: Config,
    running: BTreeMap<ServerId, Replica>,
    disks: BTreeMap<ServerId, Durable>,
    /// Whose disk answers nothing, and what it was asked to keep meanwhile.
    stuck: BTreeMap<ServerId, Vec<Persist<Txn>>>,
    /// Who hears nobody and is heard by nobody.
    cut: BTreeSet<ServerId>,
    clients: BTreeMap<ConnId, (ServerId, Vec<Output>)>,
    next_conn: u64,
    next_xid: i32,
}

#[derive(Clone)]
struct Client {
    conn: ConnId,
    session: SessionId,
    password: [u8; 16],
}

impl Ensemble {
    fn new(servers: u64) -> Self {
        Ensemble::with(servers, |_| {})
    }

    fn with(servers: u64, adjust: impl Fn(&mut Config)) -> Self {
        let membership = Membership::of_voters((1..=servers).map(ServerId));
        let mut config = Config::new(raft::Config::new(ServerId(1), membership));
        adjust(&mut config);
        let mut ensemble = Ensemble {
            now: Instant::from_micros(1_000_000),
            config,
            running: BTreeMap::new(),
            disks: BTreeMap::new(),
            stuck: BTreeMap::new(),
            cut: BTreeSet::new(),
            clients: BTreeMap::new(),
            next_conn: 0,
            next_xid: 0,
        };
        (1..=servers).for_each(|id| ensemble.start(ServerId(id)));
        ensemble.run(Duration::from_secs(5));
        ensemble
    }

    fn now(&self) -> Now {
        let wall = WallTime(1_700_000_000_000 + self.now.as_micros() as i64 / 1000);
        Now { instant: self.now, wall }
    }

    fn start(&mut self, id: ServerId) {
        let mut config = self.config.clone();
        config.raft.id = id;
        let recovered = self.disks.entry(id).or_default().recovered();
        let seed = Seed([id.0 as u8 ^ self.now.as_micros() as u8; 32]);
        self.running.insert(id, Replica::new(self.now(), config, seed, recovered));
        self.peers(id, true);
    }

    fn crash(&mut self, id: ServerId) {
        self.running.remove(&id);
        self.stuck.remove(&id);
        self.clients.retain(|_, (server, _)| *server != id);
        self.peers(id, false);
    }

    /// The disk of `id` goes on, and keeps all it was asked to.
    fn unstick(&mut self, id: ServerId) {
        for persist in self.stuck.remove(&id).unwrap_or_default() {
            self.disks.entry(id).or_default().persist(&persist);
            self.input(id, Input::Persisted { ticket: persist.ticket });
        }
    }

    /// The connections between `id` and the others come up or break.
    fn peers(&mut self, id: ServerId, up: bool) {
        let now = self.now();
        let others: Vec<_> = self.running.keys().copied().filter(|&it| it != id).collect();
        for other in others {
            for (server, peer) in [(id, other), (other, id)] {
                if let Some(replica) = self.running.get_mut(&server) {
                    let input = if up { Input::PeerUp { peer } } else { Input::PeerDown { peer } };
                    replica.handle(now, input);
                }
            }
        }
    }

    /// Lets everything happen that can happen without time going by.
    fn settle(&mut self) {
        let now = self.now();
        let mut inputs: VecDeque<(ServerId, Input)> = VecDeque::new();
        loop {
            for (&id, replica) in &mut self.running {
                while let Some(output) = replica.poll() {
                    match output {
                        Output::Persist(persist) => {
                            if let Some(held) = self.stuck.get_mut(&id) {
                                held.push(persist);
                            } else {
                                self.disks.entry(id).or_default().persist(&persist);
                                let ticket = persist.ticket;
                                inputs.push_back((id, Input::Persisted { ticket }));
                            }
                        }
                        Output::Checkpoint { ticket, snapshot } => {
                            self.disks.entry(id).or_default().snapshot = Some(snapshot);
                            inputs.push_back((id, Input::Checkpointed { ticket }));
                        }
                        Output::Purge { .. } => {}
                        Output::Send { to, message } => {
                            if !self.cut.contains(&id) && !self.cut.contains(&to) {
                                inputs.push_back((to, Input::Message { from: id, message }));
                            }
                        }
                        Output::Connected { conn, .. }
                        | Output::Reply { conn, .. }
                        | Output::Notify { conn, .. }
                        | Output::Close { conn, .. } => {
                            if let Some((_, heard)) = self.clients.get_mut(&conn) {
                                heard.push(output);
                            }
                        }
                    }
                }
            }
            let Some((id, input)) = inputs.pop_front() else { return };
            if let Some(replica) = self.running.get_mut(&id) {
                replica.handle(now, input);
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        loop {
            let next = self.running.values().filter_map(Replica::deadline).min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
            let now = self.now();
            for replica in self.running.values_mut() {
                if replica.deadline().is_some_and(|deadline| deadline <= now.instant) {
                    replica.handle(now, Input::Wake);
                }
            }
            self.settle();
        }
        self.now = end;
    }

    fn leader(&self) -> ServerId {
        let leads = |replica: &Replica| replica.raft().role() == Role::Leader;
        let leaders: Vec<_> = self
            .running
            .iter()
            .filter(|(id, replica)| leads(replica) && !self.cut.contains(id))
            .map(|(&id, _)| id)
            .collect();
        assert_eq!(leaders.len(), 1, "leaders: {leaders:?}");
        leaders[0]
    }

    fn follower(&self) -> ServerId {
        let leader = self.leader();
        *self.running.keys().find(|&&id| id != leader).expect("there are several servers")
    }

    fn connect(&mut self, server: ServerId, request: ConnectRequest) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.clients.insert(conn, (server, Vec::new()));
        let input = Input::Connect { conn, address: IpAddr::V4(Ipv4Addr::LOCALHOST), request };
        self.input(server, input);
        conn
    }

    fn input(&mut self, server: ServerId, input: Input) {
        let now = self.now();
        self.running.get_mut(&server).expect("it runs").handle(now, input);
        self.settle();
    }

    fn open(&mut self, server: ServerId) -> Client {
        let conn = self.connect(server, hello(SessionId(0), &[0; 16], 0));
        match &self.heard(conn)[..] {
            [Output::Connected { response, .. }] => {
                Client { conn, session: response.session, password: response.password }
            }
            other => panic!("not connected: {other:?}"),
        }
    }

    fn resume(&mut self, server: ServerId, client: &Client) -> ConnId {
        self.connect(server, hello(client.session, &client.password, 0))
    }

    /// What the connection heard since it was last asked.
    fn heard(&mut self, conn: ConnId) -> Vec<Output> {
        self.clients.get_mut(&conn).map(|(_, heard)| std::mem::take(heard)).unwrap_or_default()
    }

    fn ask(&mut self, conn: ConnId, request: Request) -> Xid {
        self.next_xid += 1;
        let xid = Xid(self.next_xid);
        let server = self.clients[&conn].0;
        self.input(server, Input::Request { conn, xid, request });
        xid
    }

    fn call(&mut self, conn: ConnId, request: Request) -> Result<Response, ErrorCode> {
        let asked = self.ask(conn, request);
        match self.heard(conn).pop() {
            Some(Output::Reply { xid, result, .. }) if xid == asked => result,
            other => panic!("no reply: {other:?}"),
        }
    }

    fn children(&mut self, conn: ConnId, path: &str) -> Vec<String> {
        let read = Read::GetChildren { path: path.into(), watch: false, with_stat: false };
        match self.call(conn, Request::Read(read)) {
            Ok(Response::Names(names)) => names.iter().map(|name| name.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn digests(&self) -> BTreeSet<(u64, u64)> {
        let digest = |replica: &Replica| (replica.stats().applied.0, replica.database().digest());
        self.running.values().map(digest).collect()
    }
}

fn hello(session: SessionId, password: &[u8], last_zxid_seen: i64) -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen,
        timeout_ms: 10_000,
        session,
        password: Bytes::copy_from_slice(password),
        read_only: Some(false),
    }
}

fn create(path: &str, flags: i32) -> Request {
    Request::Write(Write::Create(Create {
        path: path.into(),
        data: Some(Bytes::from_static(b"x")),
        acl: vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }],
        flags,
        ttl_ms: -1,
        kind: CreateKind::Create,
    }))
}

fn set(path: &str, data: &'static str, version: i32) -> Request {
    let data = Some(Bytes::from_static(data.as_bytes()));
    Request::Write(Write::SetData { path: path.into(), data, version })
}

fn get(path: &str, watch: bool) -> Request {
    Request::Read(Read::GetData { path: path.into(), watch })
}

fn exists(path: &str) -> Request {
    Request::Read(Read::Exists { path: path.into(), watch: false })
}

fn data_of(result: Result<Response, ErrorCode>) -> String {
    match result {
        Ok(Response::Data(Some(data), _)) => String::from_utf8(data.to_vec()).expect("text"),
        other => panic!("{other:?}"),
    }
}

fn replies(heard: &[Output]) -> Vec<(Xid, bool)> {
    heard
        .iter()
        .filter_map(|output| match output {
            Output::Reply { xid, result, .. } => Some((*xid, result.is_ok())),
            _ => None,
        })
        .collect()
}

fn close_reason(heard: &[Output]) -> Option<CloseReason> {
    match heard.last() {
        Some(Output::Close { reason, .. }) => Some(*reason),
        _ => None,
    }
}

#[test]
fn a_standalone_server_serves() {
    let mut e = Ensemble::new(1);
    let a = e.open(ServerId(1));
    assert_eq!(e.call(a.conn, create("/a", 0)), Ok(Response::Path("/a".into())));
    assert_eq!(data_of(e.call(a.conn, get("/a", false))), "x");
    assert_eq!(e.running[&ServerId(1)].stats().mode, Mode::Standalone);
}

#[test]
fn a_write_through_a_follower_is_read_there_and_everywhere() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let b = e.open(leader);
    assert_eq!(e.call(a.conn, create("/a", 0)), Ok(Response::Path("/a".into())));
    assert_eq!(data_of(e.call(a.conn, get("/a", false))), "x");
    assert_eq!(data_of(e.call(b.conn, get("/a", false))), "x");
    e.run(Duration::from_secs(1));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn an_election_cuts_no_client_and_loses_doubles_and_reorders_no_write() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/q", 0)).expect("created");
    // The leader hears nobody any more, and it dies with writes under way to it.
    e.cut.insert(leader);
    let asked: Vec<_> = (0..5).map(|_| e.ask(a.conn, create("/q/n-", 2))).collect();
    e.crash(leader);
    e.cut.clear();
    e.run(Duration::from_secs(5));
    let heard = e.heard(a.conn);
    assert_eq!(replies(&heard), asked.iter().map(|&xid| (xid, true)).collect::<Vec<_>>());
    assert_eq!(heard.len(), asked.len(), "nothing but replies: {heard:?}");
    assert_eq!(e.children(a.conn, "/q").len(), 5);
}

#[test]
fn a_write_that_the_old_leader_had_logged_is_not_applied_twice() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/q", 0)).expect("created");
    // The write reaches every log, and one disk: it is not committed when the leader dies.
    e.stuck.extend([(leader, Vec::new()), (follower, Vec::new())]);
    let xid = e.ask(a.conn, create("/q/n-", 2));
    assert!(e.heard(a.conn).is_empty());
    e.crash(leader);
    e.unstick(follower);
    // The next leader has it in its log, and hears of it once more from the client's server.
    e.run(Duration::from_secs(5));
    assert_eq!(replies(&e.heard(a.conn)), [(xid, true)]);
    assert_eq!(e.children(a.conn, "/q").len(), 1);
    e.start(leader);
    e.run(Duration::from_secs(5));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_session_moves_and_its_former_connection_is_closed() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/e", 1)).expect("created");
    let moved = e.resume(leader, &a);
    match &e.heard(moved)[..] {
        [Output::Connected { response, .. }] => assert_eq!(response.session, a.session),
        other => panic!("{other:?}"),
    }
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionMoved));
    assert_eq!(data_of(e.call(moved, get("/e", false))), "x");
}

#[test]
fn a_late_write_of_the_former_connection_changes_nothing() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    let token = e.running[&leader].database().session(a.session).expect("open").token;
    // The follower is cut off with the client's write; the client goes to the leader meanwhile.
    e.cut.insert(follower);
    e.ask(a.conn, set("/a", "late", -1));
    let moved = e.resume(leader, &a);
    assert!(matches!(e.heard(moved)[..], [Output::Connected { .. }]));
    assert!(e.running[&leader].database().session(a.session).expect("open").token > token);
    e.cut.clear();
    e.run(Duration::from_secs(5));
    assert_eq!(data_of(e.call(moved, get("/a", false))), "x");
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionMoved));
}

#[test]
fn two_clients_of_one_session_end_with_one_attached() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    let first = e.resume(follower, &a);
    let second = e.resume(leader, &a);
    e.run(Duration::from_secs(1));
    let closed: Vec<_> =
        [a.conn, first, second].map(|conn| close_reason(&e.heard(conn)).is_some()).into();
    assert_eq!(closed, [true, true, false]);
}

#[test]
fn a_wrong_password_and_an_unknown_session_are_refused() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    for (session, password) in [(a.session, vec![7; 16]), (a.session, vec![7; 3])] {
        let conn = e.connect(follower, hello(session, &password, 0));
        match &e.heard(conn)[..] {
            [Output::Connected { response, .. }, Output::Close { .. }] => {
                assert_eq!(response.timeout_ms, 0);
            }
            other => panic!("{other:?}"),
        }
    }
    let conn = e.connect(follower, hello(SessionId(99), &[7; 16], 0));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::SessionEnded));
    // The session itself is not harmed.
    assert!(e.call(a.conn, exists("/")).is_ok());
}

#[test]
fn a_client_that_has_seen_more_is_sent_away() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let conn = e.connect(follower, hello(SessionId(0), &[], i64::MAX));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::ClientAhead));
}

#[test]
fn a_silent_session_expires_with_its_ephemerals_and_a_pinging_one_does_not() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let silent = e.open(follower);
    let alive = e.open(follower);
    let watcher = e.open(leader);
    for (client, path) in [(&silent, "/silent"), (&alive, "/alive")] {
        e.call(client.conn, create(path, 1)).expect("created");
    }
    for _ in 0..8 {
        e.run(Duration::from_secs(3));
        e.call(alive.conn, exists("/")).expect("alive");
        e.call(watcher.conn, exists("/")).expect("alive");
    }
    assert_eq!(close_reason(&e.heard(silent.conn)), Some(CloseReason::SessionEnded));
    assert_eq!(e.call(watcher.conn, exists("/silent")), Err(ErrorCode::NoNode));
    assert!(e.call(watcher.conn, exists("/alive")).is_ok());
    let again = e.resume(follower, &silent);
    assert_eq!(close_reason(&e.heard(again)), Some(CloseReason::SessionEnded));
}

#[test]
fn a_new_leader_gives_every_session_its_full_timeout() {
    let mut e = Ensemble::new(3);
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(follower);
    e.run(Duration::from_secs(8));
    e.crash(leader);
    e.run(Duration::from_secs(8));
    assert!(e.heard(a.conn).is_empty(), "16 s of silence, but only 8 of them under this leader");
    e.run(Duration::from_secs(8));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::SessionEnded));
}

#[test]
fn a_pause_of_the_leader_expires_nobody() {
    let mut e = Ensemble::new(1);
    let a = e.open(ServerId(1));
    // Nothing runs for a minute; then the timers of the server come all at once.
    e.now += Duration::from_secs(60);
    e.run(Duration::from_secs(2));
    assert!(e.call(a.conn, exists("/")).is_ok());
}

#[test]
fn sync_is_not_answered_without_a_quorum() {
    let mut e = Ensemble::new(3);
    let leader = e.leader();
    let a = e.open(leader);
    let others: Vec<_> = e.running.keys().copied().filter(|&id| id != leader).collect();
    e.cut.extend(others);
    e.ask(a.conn, Request::Sync("/".into()));
    e.run(Duration::from_millis(500));
    assert!(e.heard(a.conn).is_empty());
    e.cut.clear();
    e.run(Duration::from_secs(4));
    assert_eq!(replies(&e.heard(a.conn)).len(), 1);
}

#[test]
fn a_read_behind_a_sync_sees_no_write_that_was_asked_for_after_it() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    let now = e.now();
    let conn = a.conn;
    let replica = e.running.get_mut(&follower).expect("it runs");
    let requests = [Request::Sync("/a".into()), get("/a", false), set("/a", "y", -1)];
    for (request, xid) in requests.into_iter().zip([101, 102, 103]) {
        replica.handle(now, Input::Request { conn, xid: Xid(xid), request });
    }
    e.settle();
    e.run(Duration::from_millis(200));
    let heard = e.heard(conn);
    let order: Vec<_> = replies(&heard).iter().map(|(xid, _)| xid.0).collect();
    assert_eq!(order, [101, 102, 103]);
    match &heard[1] {
        Output::Reply { result, .. } => assert_eq!(data_of(result.clone()), "x"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_comes_before_the_reply_that_shows_the_change() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/a", 0)).expect("created");
    e.call(a.conn, get("/a", true)).expect("read");
    e.ask(a.conn, set("/a", "y", 0));
    match &e.heard(a.conn)[..] {
        [Output::Notify { zxid, event, .. }, Output::Reply { zxid: of_reply, .. }] => {
            assert_eq!(event.kind, EventKind::DataChanged);
            assert_eq!(zxid, of_reply);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_multi_is_all_or_nothing() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    let Request::Write(make) = create("/m", 0) else { unreachable!() };
    let bad = Write::Check { path: "/m".into(), version: 9 };
    let result = e.call(a.conn, Request::Write(Write::Multi(vec![make, bad])));
    let expected = vec![OpResult::Error(None), OpResult::Error(Some(ErrorCode::BadVersion))];
    assert_eq!(result, Ok(Response::Multi(expected)));
    assert_eq!(e.call(a.conn, exists("/m")), Err(ErrorCode::NoNode));
}

#[test]
fn closing_a_session_answers_and_then_closes_the_connection() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.call(a.conn, create("/e", 1)).expect("created");
    e.ask(a.conn, Request::Write(Write::CloseSession));
    match &e.heard(a.conn)[..] {
        [Output::Reply { result: Ok(Response::Empty), .. }, Output::Close { reason, .. }] => {
            assert_eq!(*reason, CloseReason::SessionClosed);
        }
        other => panic!("{other:?}"),
    }
    let b = e.open(follower);
    assert_eq!(e.call(b.conn, exists("/e")), Err(ErrorCode::NoNode));
}

#[test]
fn a_server_that_is_far_behind_gets_a_snapshot_and_serves_again() {
    let mut e = Ensemble::with(3, |config| {
        config.snapshot_entries = 10;
        config.raft.keep_entries = 2;
    });
    let (leader, follower) = (e.leader(), e.follower());
    let a = e.open(leader);
    e.call(a.conn, create("/q", 0)).expect("created");
    e.crash(follower);
    for _ in 0..60 {
        e.call(a.conn, create("/q/n-", 2)).expect("created");
    }
    e.start(follower);
    e.run(Duration::from_secs(5));
    let b = e.open(follower);
    assert_eq!(e.children(b.conn, "/q").len(), 60);
    assert_eq!(e.digests().len(), 1);
    // What it installed is durable: it comes back with it, and the ensemble goes on.
    e.crash(follower);
    e.start(follower);
    e.call(a.conn, create("/q/n-", 2)).expect("created");
    e.run(Duration::from_secs(3));
    assert_eq!(e.digests().len(), 1);
}

#[test]
fn a_server_without_a_leader_lets_its_clients_go_and_takes_none() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let a = e.open(follower);
    e.cut.insert(follower);
    e.run(Duration::from_secs(8));
    assert_eq!(close_reason(&e.heard(a.conn)), Some(CloseReason::NoLeader));
    let conn = e.connect(follower, hello(SessionId(0), &[], 0));
    assert_eq!(close_reason(&e.heard(conn)), Some(CloseReason::NoLeader));
}

#[test]
fn everything_acknowledged_is_there_after_all_servers_restart() {
    let mut e = Ensemble::new(3);
    let server = e.follower();
    let a = e.open(server);
    e.call(a.conn, create("/q", 0)).expect("created");
    for _ in 0..20 {
        e.call(a.conn, create("/q/n-", 2)).expect("created");
    }
    let all: Vec<_> = e.running.keys().copied().collect();
    all.iter().for_each(|&id| e.crash(id));
    all.iter().for_each(|&id| e.start(id));
    e.run(Duration::from_secs(5));
    let follower = e.follower();
    let conn = e.resume(follower, &a);
    assert!(matches!(e.heard(conn)[..], [Output::Connected { .. }]), "the session lives on");
    assert_eq!(e.children(conn, "/q").len(), 20);
}

#[test]
fn an_ensemble_of_four_survives_one_loss_and_not_two() {
    let mut e = Ensemble::new(4);
    let leader = e.leader();
    e.crash(leader);
    e.run(Duration::from_secs(5));
    let second = e.leader();
    let a = e.open(e.follower());
    e.call(a.conn, create("/a", 0)).expect("three of four decide");
    e.crash(second);
    e.run(Duration::from_secs(5));
    let leads = |replica: &Replica| replica.raft().role() == Role::Leader;
    assert!(!e.running.values().any(leads), "two of four are no quorum");
}

#[test]
fn session_ids_of_a_server_only_grow() {
    let mut e = Ensemble::new(3);
    let follower = e.follower();
    let ids: Vec<_> = (0..5).map(|_| e.open(follower).session).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert!(ids.iter().all(|id| (id.0 >> 56) as u64 == follower.0));
}
