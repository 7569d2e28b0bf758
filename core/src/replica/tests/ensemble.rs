//! A few replicas over a network and disks that do at once what they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;

use crate::id::{ChangeId, RestoreId, Xid};
use crate::proto::{
    ConnectRequest, Create, CreateKind, ErrorCode, Read, Request, Response, Write, open_acl,
};
use crate::raft::{HardState, Persist};
use crate::replica::*;
use crate::time::WallTime;

/// What a server would find after a crash.
#[derive(Default)]
pub(super) struct Durable {
    pub(super) hard_state: HardState,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) entries: BTreeMap<u64, SharedEntry<Txn>>,
    pub(super) is_distrusted: bool,
}

impl Durable {
    pub(super) fn persist(&mut self, persist: &Persist<Txn>) {
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

    pub(super) fn recovered(&self) -> Recovered {
        let last = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.last.index.0);
        Recovered {
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
            entries: self.entries.range(last + 1..).map(|(_, entry)| entry.clone()).collect(),
            damage: None,
            is_distrusted: self.is_distrusted,
        }
    }
}

pub(super) struct Ensemble {
    pub(super) now: Instant,
    pub(super) config: Config,
    pub(super) running: BTreeMap<ServerId, Replica>,
    pub(super) disks: BTreeMap<ServerId, Durable>,
    /// Whose disk answers nothing, and what it was asked to keep meanwhile.
    pub(super) stuck: BTreeMap<ServerId, Vec<Persist<Txn>>>,
    /// Who hears nobody and is heard by nobody.
    pub(super) cut: BTreeSet<ServerId>,
    /// After so many messages more, all are lost; `None` for never.
    pub(super) messages_left: Option<usize>,
    /// Who is heard by nobody.
    pub(super) mute: BTreeSet<ServerId>,
    pub(super) clients: BTreeMap<ConnId, (ServerId, Vec<Output>)>,
    pub(super) next_conn: u64,
    pub(super) next_xid: i32,
    /// What operators heard.
    pub(super) changes: Vec<(ChangeId, ChangeProgress)>,
    pub(super) restored: Vec<(RestoreId, RestoreEnd)>,
    /// What people heard of comparisons of states, and from whom.
    pub(super) alarms: Vec<(ServerId, Alarm)>,
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) conn: ConnId,
    pub(super) session: SessionId,
    pub(super) password: [u8; 16],
}

impl Ensemble {
    pub(super) fn new(servers: u64) -> Self {
        Ensemble::with(servers, |_| {})
    }

    pub(super) fn with(servers: u64, adjust: impl Fn(&mut Config)) -> Self {
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
            messages_left: None,
            mute: BTreeSet::new(),
            clients: BTreeMap::new(),
            next_conn: 0,
            next_xid: 0,
            changes: Vec::new(),
            restored: Vec::new(),
            alarms: Vec::new(),
        };
        (1..=servers).for_each(|id| ensemble.start(ServerId(id)));
        ensemble.run(Duration::from_secs(5));
        ensemble
    }

    pub(super) fn now(&self) -> Now {
        let wall = WallTime(1_700_000_000_000 + self.now.as_micros() as i64 / 1000);
        Now { instant: self.now, wall }
    }

    pub(super) fn start(&mut self, id: ServerId) {
        let mut config = self.config.clone();
        config.raft.id = id;
        let recovered = self.disks.entry(id).or_default().recovered();
        let seed = Seed([id.0 as u8 ^ self.now.as_micros() as u8; 32]);
        self.running.insert(id, Replica::new(self.now(), config, seed, recovered));
        self.peers(id, true);
    }

    pub(super) fn crash(&mut self, id: ServerId) {
        self.running.remove(&id);
        self.stuck.remove(&id);
        self.clients.retain(|_, (server, _)| *server != id);
        self.peers(id, false);
    }

    /// The disk of `id` goes on, and keeps all it was asked to.
    pub(super) fn unstick(&mut self, id: ServerId) {
        for persist in self.stuck.remove(&id).unwrap_or_default() {
            self.disks.entry(id).or_default().persist(&persist);
            self.input(id, Input::Persisted { ticket: persist.ticket });
        }
    }

    /// The connections between `id` and the others come up or break.
    pub(super) fn peers(&mut self, id: ServerId, up: bool) {
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
    pub(super) fn settle(&mut self) {
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
                        Output::Distrust { .. } => {
                            self.disks.entry(id).or_default().is_distrusted = true
                        }
                        Output::Trust { .. } => {
                            self.disks.entry(id).or_default().is_distrusted = false
                        }
                        Output::Alarm(alarm) => self.alarms.push((id, alarm)),
                        Output::Change { id, progress } => self.changes.push((id, progress)),
                        Output::Restored { id, end } => self.restored.push((id, end)),
                        Output::Send { to, message } => {
                            let is_lost = self.mute.contains(&id)
                                || self.cut.contains(&id)
                                || self.cut.contains(&to)
                                || self.messages_left == Some(0);
                            self.messages_left =
                                self.messages_left.map(|left| left.saturating_sub(1));
                            if !is_lost {
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
            let Some((id, input)) = inputs.pop_front() else { break };
            if let Some(replica) = self.running.get_mut(&id) {
                replica.handle(now, input);
            }
        }
        for replica in self.running.values() {
            let each = self.clients.keys().map(|&conn| replica.outstanding(conn) as u64);
            assert_eq!(replica.outstanding_total(), each.sum::<u64>());
        }
    }

    pub(super) fn run(&mut self, duration: Duration) {
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

    pub(super) fn leader(&self) -> ServerId {
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

    pub(super) fn follower(&self) -> ServerId {
        let leader = self.leader();
        *self.running.keys().find(|&&id| id != leader).expect("there are several servers")
    }

    pub(super) fn connect(&mut self, server: ServerId, request: ConnectRequest) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.clients.insert(conn, (server, Vec::new()));
        let input = Input::Connect { conn, address: IpAddr::V4(Ipv4Addr::LOCALHOST), request };
        self.input(server, input);
        conn
    }

    pub(super) fn input(&mut self, server: ServerId, input: Input) {
        let now = self.now();
        self.running.get_mut(&server).expect("it runs").handle(now, input);
        self.settle();
    }

    pub(super) fn open(&mut self, server: ServerId) -> Client {
        let conn = self.connect(server, hello(SessionId(0), &[0; 16], 0));
        match &self.heard(conn)[..] {
            [Output::Connected { response, .. }] => {
                Client { conn, session: response.session, password: response.password }
            }
            other => panic!("not connected: {other:?}"),
        }
    }

    pub(super) fn resume(&mut self, server: ServerId, client: &Client) -> ConnId {
        self.connect(server, hello(client.session, &client.password, 0))
    }

    /// What the connection heard since it was last asked.
    pub(super) fn heard(&mut self, conn: ConnId) -> Vec<Output> {
        self.clients.get_mut(&conn).map(|(_, heard)| std::mem::take(heard)).unwrap_or_default()
    }

    pub(super) fn ask(&mut self, conn: ConnId, request: Request) -> Xid {
        self.next_xid += 1;
        let xid = Xid(self.next_xid);
        let server = self.clients[&conn].0;
        self.input(server, Input::Request { conn, xid, request });
        xid
    }

    pub(super) fn call(&mut self, conn: ConnId, request: Request) -> Result<Response, ErrorCode> {
        let asked = self.ask(conn, request);
        match self.heard(conn).pop() {
            Some(Output::Reply { xid, result, .. }) if xid == asked => result,
            other => panic!("no reply: {other:?}"),
        }
    }

    pub(super) fn children(&mut self, conn: ConnId, path: &str) -> Vec<String> {
        let read = Read::GetChildren { path: path.into(), watch: false, with_stat: false };
        match self.call(conn, Request::Read(read)) {
            Ok(Response::Names(names)) => names.iter().map(|name| name.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn digests(&self) -> BTreeSet<(u64, u64)> {
        let digest = |replica: &Replica| (replica.stats().applied.0, replica.database().digest());
        self.running.values().map(digest).collect()
    }
}

pub(super) fn hello(session: SessionId, password: &[u8], last_zxid_seen: i64) -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen,
        timeout_ms: 10_000,
        session,
        password: Bytes::copy_from_slice(password),
        read_only: Some(false),
    }
}

pub(super) fn create(path: &str, flags: i32) -> Request {
    Request::Write(Write::Create(Create {
        path: path.into(),
        data: Some(Bytes::from_static(b"x")),
        acl: open_acl(),
        flags,
        ttl_ms: -1,
        kind: CreateKind::Create,
    }))
}

pub(super) fn set(path: &str, data: &'static str, version: i32) -> Request {
    let data = Some(Bytes::from_static(data.as_bytes()));
    Request::Write(Write::SetData { path: path.into(), data, version })
}

pub(super) fn get(path: &str, watch: bool) -> Request {
    Request::Read(Read::GetData { path: path.into(), watch })
}

pub(super) fn exists(path: &str) -> Request {
    Request::Read(Read::Exists { path: path.into(), watch: false })
}

pub(super) fn data_of(result: Result<Response, ErrorCode>) -> String {
    match result {
        Ok(Response::Data(Some(data), _)) => String::from_utf8(data.to_vec()).expect("text"),
        other => panic!("{other:?}"),
    }
}

pub(super) fn replies(heard: &[Output]) -> Vec<(Xid, bool)> {
    heard
        .iter()
        .filter_map(|output| match output {
            Output::Reply { xid, result, .. } => Some((*xid, result.is_ok())),
            _ => None,
        })
        .collect()
}

pub(super) fn close_reason(heard: &[Output]) -> Option<CloseReason> {
    match heard.last() {
        Some(Output::Close { reason, .. }) => Some(*reason),
        _ => None,
    }
}
