//! Tests of the runtime around a scripted replica, over real sockets and a clock set by hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zokor_core::Input;
use zokor_core::db::Txn;
use zokor_core::db::{Image, Quota};
use zokor_core::id::{ConnId, ServerId, SessionId, Xid};
use zokor_core::proto::{
    AclList, ConnectRequest, ConnectResponse, Event, EventKind, Request, Response, Text, Write,
    Zxid,
};
use zokor_core::raft::{Index, Persist, RepairStatus, Ticket};
use zokor_core::replica::{CloseReason, Counts, Deed, Message, Output, Sizes, Snapshot, Stats};
use zokor_core::time::{Instant, Now, WallTime};
use zokor_core::watch::WatchSummary;

use crate::runtime::machine::Machine;
use crate::runtime::server::Outside;
use crate::runtime::*;
use crate::storage::Written;
use crate::transport::PlainSockets;
use crate::wire::request::{encode_connect, encode_request};

/// A replica by script: answers pings at once and closes when durable, and keeps the rest.
#[derive(Default)]
pub(super) struct Script {
    pub(super) outputs: VecDeque<Output>,
    pub(super) stats: Stats,
    pub(super) outstanding: BTreeMap<ConnId, usize>,
    pub(super) pending: BTreeMap<u64, (ConnId, Xid)>,
    pub(super) seen: Arc<Mutex<Seen>>,
}

/// What the script can be asked and told from outside.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) requests: usize,
    pub(super) disconnects: usize,
    pub(super) wakes: usize,
    pub(super) polls: usize,
    /// Questions that walk over everything.
    pub(super) costly: usize,
    pub(super) mute: bool,
    /// Requests that came as throttled.
    pub(super) throttled: usize,
    /// Requests that wait beside those of the script.
    pub(super) flood: u64,
    pub(super) peers: Vec<String>,
    pub(super) deadline: Option<Instant>,
}

impl Script {
    pub(super) fn note(&self, line: String) {
        self.seen.lock().unwrap().peers.push(line);
    }

    pub(super) fn reply(&mut self, conn: ConnId, xid: Xid) {
        *self.outstanding.entry(conn).or_default() -= 1;
        self.stats.outstanding -= 1;
        let result = Ok(Response::Empty);
        self.outputs.push_back(Output::Reply { conn, xid, zxid: Zxid(1), result });
    }

    pub(super) fn request(&mut self, conn: ConnId, xid: Xid, request: Request) {
        self.seen.lock().unwrap().throttled += usize::from(request == Request::Throttled);
        *self.outstanding.entry(conn).or_default() += 1;
        self.stats.outstanding += 1;
        match request {
            _ if self.seen.lock().unwrap().mute => {}
            Request::Write(Write::CloseSession) => {
                let ticket = Ticket(self.pending.len() as u64 + 1);
                self.pending.insert(ticket.0, (conn, xid));
                self.outputs.push_back(Output::Persist(Persist {
                    ticket,
                    hard_state: None,
                    reset: None,
                    truncate_after: None,
                    append: Vec::new(),
                }));
            }
            Request::Sync(path) => {
                let event = Event { kind: EventKind::Created, path };
                for _ in 0..1000 {
                    let event = event.clone();
                    self.outputs.push_back(Output::Notify { conn, zxid: Zxid(1), event });
                }
            }
            _ => self.reply(conn, xid),
        }
    }
}

impl Machine for Script {
    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Connect { conn, request, .. } => {
                let response = ConnectResponse {
                    timeout_ms: request.timeout_ms,
                    session: SessionId(7),
                    password: [1; 16],
                    read_only: Some(false),
                };
                self.outputs.push_back(Output::Connected { conn, response });
            }
            Input::Request { conn, xid, request } => {
                self.seen.lock().unwrap().requests += 1;
                self.request(conn, xid, request);
            }
            Input::Disconnect { .. } => self.seen.lock().unwrap().disconnects += 1,
            Input::Persisted { ticket } => {
                let done: Vec<_> = self.pending.extract_if(..=ticket.0, |_, _| true).collect();
                for (_, (conn, xid)) in done {
                    self.reply(conn, xid);
                    let reason = CloseReason::SessionClosed;
                    self.outputs.push_back(Output::Close { conn, reason });
                }
            }
            Input::Wake => {
                let mut seen = self.seen.lock().unwrap();
                assert!(seen.deadline.unwrap() <= now.instant);
                seen.wakes += 1;
                seen.deadline = None;
            }
            Input::PeerUp { peer } => {
                self.note(format!("up {peer}"));
                let message = Message::Heard(vec![SessionId(1)]);
                self.outputs.push_back(Output::Send { to: peer, message });
            }
            Input::PeerDown { peer } => self.note(format!("down {peer}")),
            Input::Message { from, message } => self.note(format!("from {from}: {message:?}")),
            Input::SnapshotWanted { above } => self.note(format!("a snapshot above {above}")),
            Input::Room { is_short } => self.note(format!("short of room: {is_short}")),
            Input::Checkpointed { .. } => panic!("the script takes no snapshots"),
            Input::ChangeMembership { .. } => panic!("the script has no members"),
            Input::Restore { .. } => panic!("the script restores nothing"),
        }
    }

    fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.seen.lock().unwrap().polls += 1;
        }
        output
    }

    fn deadline(&self) -> Option<Instant> {
        self.seen.lock().unwrap().deadline
    }

    fn leads(&self) -> bool {
        false
    }

    fn outstanding_total(&self) -> u64 {
        self.stats.outstanding + self.seen.lock().unwrap().flood
    }

    fn reset_stats(&mut self) {
        self.stats.proposal_bytes = Sizes::default();
    }

    fn repair(&self) -> Option<RepairStatus> {
        None
    }

    fn forgetful(&self) -> Option<(ServerId, Index)> {
        None
    }

    fn in_doubt(&self) -> bool {
        false
    }

    fn stats(&self) -> Stats {
        self.seen.lock().unwrap().costly += 1;
        self.stats.clone()
    }

    fn zxid(&self) -> Zxid {
        Zxid(1)
    }

    fn counts(&self) -> Counts {
        self.seen.lock().unwrap().costly += 1;
        Counts::default()
    }

    fn quotas(&self) -> Vec<Quota> {
        self.seen.lock().unwrap().costly += 1;
        Vec::new()
    }

    fn membership(&self) -> String {
        self.seen.lock().unwrap().costly += 1;
        String::new()
    }

    fn past_digests(&self) -> Vec<(Zxid, u64)> {
        self.seen.lock().unwrap().costly += 1;
        vec![(Zxid(128), 9)]
    }

    fn sessions(&self, _: Now) -> SessionTable {
        self.seen.lock().unwrap().costly += 1;
        let id = SessionId(7);
        let session = SessionFacts { id, timeout_ms: 10_000, expires: None };
        SessionTable { sessions: vec![session], ..SessionTable::default() }
    }

    fn take_deeds(&mut self) -> Vec<Deed> {
        Vec::new()
    }

    fn freeze(&self) -> Image {
        zokor_core::db::Database::new().freeze()
    }

    fn root_acl(&self) -> AclList {
        AclList::from([])
    }

    fn observers(&self) -> Vec<ServerId> {
        Vec::new()
    }

    fn sessions_after(&self, _: Now, _: Option<SessionId>, _: usize) -> Vec<SessionFacts> {
        Vec::new()
    }

    fn ephemerals_after(&self, _: Option<(SessionId, &str)>, _: usize) -> Vec<(SessionId, Text)> {
        Vec::new()
    }

    fn next_watching(&self, _: Option<ConnId>) -> Option<ConnId> {
        None
    }

    fn watched_by(&self, _: ConnId, _: usize, _: usize) -> (Vec<Text>, usize) {
        (Vec::new(), 0)
    }

    fn watches_by_path(&self, _: u32, _: usize) -> (Vec<(Text, Vec<ConnId>)>, Option<u32>) {
        (Vec::new(), None)
    }

    fn watch_summary(&self) -> WatchSummary {
        self.seen.lock().unwrap().costly += 1;
        WatchSummary { n_connections: 1, n_paths: 1, n_watches: 1 }
    }

    fn watches(&self) -> BTreeMap<ConnId, BTreeSet<Text>> {
        self.seen.lock().unwrap().costly += 1;
        let conns = self.outstanding.keys().chain(&[ConnId(99)]);
        conns.map(|&conn| (conn, ["/w".into()].into())).collect()
    }

    fn outstanding(&self, conn: ConnId) -> usize {
        self.outstanding.get(&conn).copied().unwrap_or(0)
    }

    fn hand_over(&mut self, _: Now) {}
}

/// A clock that stands still unless it is moved.
pub(super) struct HandClock(pub(super) AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Now {
        let instant = Instant::from_micros(self.0.load(Ordering::Relaxed));
        Now { instant, wall: WallTime(1) }
    }
}

pub(super) struct Words;

impl Admin for Words {
    fn detail(&self, word: &str) -> Detail {
        match word {
            "dump" => Detail::Sessions,
            "wchs" => Detail::WatchSummary,
            "wchc" => Detail::Watches,
            "cons" => Detail::Connections,
            _ => Detail::Plain,
        }
    }

    fn answer(&self, word: &str, server: &ServerFacts) -> Answer {
        let reset = match word {
            "crst" => Reset::Connections,
            "srst" => Reset::Server,
            _ => Reset::Nothing,
        };
        let gathered = [
            !server.connections.is_empty(),
            server.sessions != SessionTable::default(),
            server.watch_summary != WatchSummary::default(),
            !server.watches.is_empty(),
        ];
        let gathered = gathered.map(u8::from);
        Answer {
            text: format!("{word}: {} connections, {gathered:?}", server.n_connections),
            reset,
        }
    }
}

pub(super) struct Disk {
    pub(super) fails: bool,
    pub(super) free_bytes: Arc<AtomicU64>,
}

impl Disk {
    pub(super) fn new(fails: bool) -> Self {
        Disk { fails, free_bytes: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

impl LogStore for Disk {
    fn persist(&mut self, _: &[Persist<Txn>], _: &[Vec<Written>]) -> Result<(), Refusal> {
        let failed = || Refusal::Failed("the disk is gone".to_owned());
        if self.fails { Err(failed()) } else { Ok(()) }
    }

    fn free_bytes(&mut self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed))
    }

    fn purge(&mut self, _: Index) -> Result<(), String> {
        Ok(())
    }

    fn mark(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn mend(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn idle(&mut self) -> Result<bool, String> {
        Ok(false)
    }
}

impl SnapshotStore for Disk {
    fn save(&mut self, _: &Snapshot) -> Result<(), Refusal> {
        Ok(())
    }

    fn distrust(&mut self, _: &str, _: &Snapshot) -> Result<Option<String>, Refusal> {
        Ok(None)
    }

    fn trust(&mut self, _: Index) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A server around a script.
pub(super) struct Stage {
    pub(super) handle: Handle,
    pub(super) clock: Arc<HandClock>,
    pub(super) seen: Arc<Mutex<Seen>>,
    /// What the disk says is free.
    pub(super) free_bytes: Arc<AtomicU64>,
    pub(super) run: JoinHandle<Result<(), Error>>,
}

impl Stage {
    pub(super) async fn new(limits: Limits) -> Stage {
        Stage::with_disk(limits, false).await
    }

    pub(super) async fn with_disk(limits: Limits, fails: bool) -> Stage {
        let mut config = Config::new(ServerId(1), "127.0.0.1:0".parse().unwrap());
        config.limits = limits;
        Stage::with_config(config, fails).await
    }

    pub(super) async fn with_config(mut config: Config, fails: bool) -> Stage {
        config.limits.sweep_interval = Duration::from_millis(2);
        config.limits.linger = Duration::ZERO;
        let listeners = Listeners::bind(&config).await.unwrap();
        let disk = Disk::new(fails);
        let free_bytes = disk.free_bytes.clone();
        let (storage, workers) = storage_workers(disk, Disk::new(fails), ());
        let Workers { log, snapshots, scrub } = workers;
        tokio::spawn(log.run_paced(|| sleep(Duration::from_millis(5))));
        tokio::spawn(snapshots.run_paced(|| sleep(Duration::ZERO)));
        tokio::spawn(scrub.run_paced(|| sleep(Duration::ZERO)));
        let script = Script::default();
        let (seen, clock) = (script.seen.clone(), Arc::new(HandClock(AtomicU64::new(1_000_000))));
        let outside = Outside {
            storage,
            clock: clock.clone(),
            admin: Arc::new(Words),
            options: Arc::new(PlainSockets),
        };
        let server = Server::around(config, listeners, Box::new(script), outside);
        let handle = server.handle();
        Stage { handle, clock, seen, free_bytes, run: tokio::spawn(server.run()) }
    }

    pub(super) fn advance(&self, by: Duration) {
        self.clock.0.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.handle.addresses().clients[0]).await.unwrap()
    }

    /// The answer to a four-letter word.
    pub(super) async fn ask(&self, word: &str) -> String {
        let mut operator = self.socket().await;
        operator.write_all(word.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, operator.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    /// A client with a session whose timeout is 10 s.
    pub(super) async fn client(&self) -> TcpStream {
        let mut stream = self.socket().await;
        stream.write_all(&connect_frame()).await.unwrap();
        let answer = frame(&mut stream).await.unwrap();
        assert_eq!(answer.len(), 37);
        stream
    }

    pub(super) fn seen<T>(&self, ask: impl Fn(&mut Seen) -> T) -> T {
        ask(&mut self.seen.lock().unwrap())
    }

    pub(super) async fn until(&self, condition: impl Fn(&mut Seen) -> bool) {
        let waiting = async {
            while !self.seen(&condition) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("the condition comes true");
    }
}

pub(super) fn connect_frame() -> BytesMut {
    let mut out = BytesMut::new();
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 10_000,
        session: SessionId(0),
        password: Bytes::from_static(&[0; 16]),
        read_only: Some(false),
    };
    encode_connect(&mut out, &request);
    out
}

pub(super) fn requests(request: &Request, xids: impl Iterator<Item = i32>) -> BytesMut {
    let mut out = BytesMut::new();
    for xid in xids {
        encode_request(&mut out, Xid(xid), request);
    }
    out
}

/// The next frame, or `None` at the end of the connection.
pub(super) async fn frame(stream: &mut TcpStream) -> Option<Bytes> {
    let read = async {
        let length = stream.read_u32().await.ok()?;
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        Some(Bytes::from(payload))
    };
    timeout(PATIENCE, read).await.expect("a frame or the end comes")
}

pub(super) async fn next_xid(stream: &mut TcpStream) -> Option<i32> {
    frame(stream).await.map(|mut payload| payload.get_i32())
}

pub(super) const PATIENCE: Duration = Duration::from_secs(10);
