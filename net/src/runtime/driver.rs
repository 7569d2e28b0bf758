//! The one place where a replica meets its connections, peers and storage.
//!
//! Invariants: inputs enter in the order in which they came about; outputs are carried out in the
//! order polled; no decision of protocol is taken here. After a failure of storage nothing is
//! polled any more, so nothing that was pending is ever acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use zokor_core::Input;
use zokor_core::id::{ConnId, ServerId, Xid};
use zokor_core::proto::Zxid;
use zokor_core::raft::Ticket;
use zokor_core::replica::{CloseReason, Output};
use zokor_core::time::{Instant, Now, WallTime};

use super::config::Limits;
use super::connection::{Connection, GREETING, Phase, Saying};
use super::counts::{LogQueue, Sent, ServiceCounts, in_ms};
use super::doubt_told::{self, DoubtTold};
use super::facts::{Auditor, DiskRoom, Throttling, Traffic};
use super::log_writer::{Done, LogJob, StorageTimes};
use super::machine::Machine;
use super::peers::Peers;
use super::queue::Queue;
use super::repair_told::RepairTold;
use super::restore::Restores;
use super::scrubber::{Grants, ScrubJob};
use super::snapshot_writer::SnapshotJob;
use super::throttle::Bucket;
use super::written::Encoded;
use crate::transport::{Complaints, TurnedAway};

/// The ways to storage's workers.
pub(super) struct StorageQueues {
    pub(super) log: UnboundedSender<LogJob>,
    pub(super) snapshots: UnboundedSender<SnapshotJob>,
    pub(super) scrub: UnboundedSender<ScrubJob>,
}

/// Everything of one server that changes.
pub(super) struct Driver {
    pub(super) id: ServerId,
    pub(super) machine: Box<dyn Machine>,
    pub(super) limits: Limits,
    pub(super) peers: Peers,
    pub(super) encoded: Encoded,
    pub(super) connections: BTreeMap<ConnId, Connection>,
    pub(super) traffic: Traffic,
    pub(super) counts: ServiceCounts,
    pub(super) step_times: StorageTimes,
    log_queue: LogQueue,
    pub(super) started: Now,
    /// Until when the timer sleeps; `None` if for ever.
    pub(super) armed: Option<Instant>,
    /// Who hears what clients do.
    pub(super) auditor: Option<Arc<dyn Auditor>>,
    /// The snapshot that is on its way to the disk.
    saving: Option<(Ticket, Zxid)>,
    /// The newest that was saved, and when.
    pub(super) last_snapshot: Option<(Zxid, WallTime)>,
    /// Why nothing may be said any more.
    pub(super) failure: Option<String>,
    /// The server stops: nothing more is read from clients.
    pub(super) draining: bool,
    /// `None` once the server, or one of storage's workers, has ended.
    pub(super) storage: Option<StorageQueues>,
    /// Something became durable since the log was marked last, and from when on it may be marked.
    mark_due: Option<Instant>,
    /// From when on the room on the disk may be measured.
    measure_due: Instant,
    /// What is known of it.
    pub(super) room: DiskRoom,
    /// The reading of what is at rest.
    pub(super) scrub: Grants,
    /// What was said of a repair, and when.
    repair_told: RepairTold,
    /// What was said of states that differ, and when.
    doubt_told: DoubtTold,
    last_conn: ConnId,
    per_address: BTreeMap<IpAddr, usize>,
    /// Connections for which the present pump has something.
    due: Vec<ConnId>,
    /// Connections from which nothing is read for the sake of the global limit, longest held first.
    flooded_out: VecDeque<ConnId>,
    complaints: Complaints,
    /// About those who say that they are a peer and do not show it.
    unproven: Complaints<(IpAddr, ServerId, &'static str)>,
    /// What connect requests take their tokens from.
    pub(super) bucket: Bucket,
    /// Operators that wait for the end of a restore.
    pub(super) restores: Restores,
    /// Requests that are not with the replica yet.
    pub(super) queue: Queue,
    /// Numbers that only grow; see [`Driver::throttling`] for all of them.
    pub(super) throttled: Throttling,
    /// What the large requests weigh that wait for their answer.
    pub(super) large_bytes: usize,
    /// What is kept for all connections to be told.
    kept_bytes: usize,
    /// Connections refused for a limit.
    pub(super) n_rejected: u64,
    /// Connections cut for a limit.
    pub(super) n_cut: u64,
    /// Connections closed for their credentials.
    pub(super) n_auth_failed: u64,
}

impl Driver {
    pub(super) fn new(
        (id, limits, peers): (ServerId, Limits, Peers),
        addresses: BTreeMap<ServerId, String>,
        machine: Box<dyn Machine>,
        storage: StorageQueues,
        step_times: StorageTimes,
        started: Now,
    ) -> Self {
        let bucket = Bucket::new(limits.connect_throttle.clone(), started.instant);
        Driver {
            id,
            machine,
            limits,
            peers,
            encoded: Encoded::default(),
            connections: BTreeMap::new(),
            traffic: Traffic::default(),
            counts: ServiceCounts::default(),
            step_times,
            log_queue: LogQueue::default(),
            started,
            armed: None,
            auditor: None,
            saving: None,
            last_snapshot: None,
            failure: None,
            draining: false,
            storage: Some(storage),
            mark_due: None,
            measure_due: started.instant,
            room: DiskRoom::default(),
            scrub: Grants::new(started.instant),
            repair_told: RepairTold::new(addresses),
            doubt_told: DoubtTold::default(),
            last_conn: ConnId(0),
            per_address: BTreeMap::new(),
            due: Vec::new(),
            flooded_out: VecDeque::new(),
            complaints: Complaints::default(),
            unproven: Complaints::new(1, UNPROVEN_PERIOD),
            bucket,
            restores: Restores::default(),
            queue: Queue::default(),
            throttled: Throttling::default(),
            large_bytes: 0,
            kept_bytes: 0,
            n_rejected: 0,
            n_cut: 0,
            n_auth_failed: 0,
        }
    }

    /// Carries out all that the replica wishes for, and wakes whom it concerns, each once.
    pub(super) fn pump(&mut self, now: Now) {
        loop {
            while self.failure.is_none()
                && self.storage.is_some()
                && let Some(output) = self.machine.poll()
            {
                self.carry_out(now, output);
            }
            if !self.let_in(now) {
                break;
            }
        }
        self.encoded.forget();
        self.tell_deeds(now);
        self.shed(now);
        for conn in std::mem::take(&mut self.due) {
            if let Some(connection) = self.connections.get_mut(&conn) {
                connection.due = false;
                connection.wake.notify_one();
            }
        }
        self.peers.wake();
        self.let_on();
        if self.repair_told.is_first_start() {
            self.tell_repair(now);
        }
    }

    /// Nothing has left the server yet that could show what is told here.
    fn tell_deeds(&mut self, now: Now) {
        if let Some(auditor) = &self.auditor {
            for deed in self.machine.take_deeds() {
                auditor.hear(now.wall, &deed);
            }
        }
    }

    /// Wakes as many of those that a flood holds up as there is room for, the longest held first.
    /// The others lose nothing: each has open requests, whose answers wake it as well.
    fn let_on(&mut self) {
        if self.flooded_out.is_empty() {
            return;
        }
        let n_outstanding = self.n_outstanding_total();
        let mut room = (self.limits.global_outstanding as u64).saturating_sub(n_outstanding);
        while room > 0
            && let Some(conn) = self.flooded_out.pop_front()
        {
            if let Some(connection) = self.connections.get_mut(&conn) {
                connection.flooded_out = false;
                connection.wake.notify_one();
                room -= 1;
            }
        }
    }

    /// Storage reports.
    pub(super) fn stored(&mut self, now: Now, done: Done) {
        match done {
            Done::Persisted(ticket) => {
                self.mark_due.get_or_insert(now.instant + MARK_INTERVAL);
                self.log_queue.leave(&mut self.counts, ticket, now.instant);
                self.machine.handle(now, Input::Persisted { ticket });
            }
            Done::Checkpointed(ticket) => {
                if let Some((_, zxid)) = self.saving.take_if(|(saving, _)| *saving == ticket) {
                    self.last_snapshot = Some((zxid, now.wall));
                }
                self.machine.handle(now, Input::Checkpointed { ticket });
            }
            Done::Distrusted(file) => doubt_told::kept(file.as_deref()),
            Done::Free(free_bytes) => self.measured(now, free_bytes),
            Done::Waits(why) => {
                tracing::error!(why, "storage waits for room; nothing acknowledged is lost");
                self.room.n_waits += 1;
            }
            Done::Scrubbed(scrubbed) => self.scrubbed(now, *scrubbed),
            Done::Failed(why) => self.fail(why),
        }
    }

    /// So much is free on the disk.
    fn measured(&mut self, now: Now, free_bytes: u64) {
        self.room.free_bytes = Some(free_bytes);
        let reserve = self.limits.disk_reserve_bytes;
        // It takes a little more to be well again, so that it does not change with every segment.
        let least = if self.room.is_short { reserve + reserve / 4 } else { reserve };
        let is_short = free_bytes < least;
        if is_short == self.room.is_short {
            return;
        }
        self.room.is_short = is_short;
        if is_short {
            tracing::error!(
                free_bytes,
                reserve,
                "the disk is short of room: another server leads if one has room, and while no \
                 quorum has, writes that store anything are refused; make room"
            );
        } else {
            tracing::warn!(free_bytes, "the disk has room again");
        }
        self.machine.handle(now, Input::Room { is_short });
    }

    /// The timer has come.
    pub(super) fn wake(&mut self, now: Now) {
        if self.machine.deadline().is_some_and(|deadline| deadline <= now.instant) {
            self.machine.handle(now, Input::Wake);
        }
    }

    /// Nothing more is said to anyone.
    pub(super) fn fail(&mut self, why: String) {
        // The first failure is the cause of those that follow it.
        if self.failure.is_none() {
            tracing::error!(why, "storage has failed: the server stops, nothing is acknowledged");
            self.failure = Some(why);
        }
    }

    /// A new client connection; `None` if a limit refuses it.
    pub(super) fn admit(&mut self, now: Now, address: SocketAddr) -> Option<(ConnId, Arc<Notify>)> {
        let n_same = self.per_address.get(&address.ip()).copied().unwrap_or(0);
        let (most, most_same) =
            (self.limits.max_connections, self.limits.max_connections_per_address);
        let refusal = if most != 0 && self.connections.len() >= most {
            Some(
                "refused: the server has as many connections as it may have (maxCnxns, or what \
                 the limit of open files leaves)",
            )
        } else if most_same != 0 && n_same >= most_same {
            Some("refused: its address has as many connections as it may have (maxClientCnxns)")
        } else {
            None
        };
        if let Some(why) = refusal {
            self.n_rejected += 1;
            self.complain(now, "client port", address, why);
            return None;
        }
        *self.per_address.entry(address.ip()).or_insert(0) += 1;
        self.last_conn.0 += 1;
        let connection = Connection::new(address, now);
        let wake = connection.wake.clone();
        self.connections.insert(self.last_conn, connection);
        Some((self.last_conn, wake))
    }

    /// A connection's socket is gone.
    pub(super) fn forget(&mut self, now: Now, conn: ConnId) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        self.kept_bytes -= connection.kept_bytes();
        let large = connection.unanswered().filter(|asked| self.is_large(asked.bytes));
        self.large_bytes -= large.map(|asked| asked.bytes).sum::<usize>();
        self.let_in_last(now, conn, &connection);
        let is_ours = matches!(connection.phase, Phase::Finishing | Phase::Cut);
        self.counts.connections_dropped += u64::from(!is_ours);
        if connection.known {
            self.machine.handle(now, Input::Disconnect { conn });
        }
        let ip = connection.address.ip();
        let n_same = self.per_address.get_mut(&ip).expect("every connection is counted");
        *n_same -= 1;
        if *n_same == 0 {
            self.per_address.remove(&ip);
        }
    }

    /// Tells people how a repair or a first start stands, if it is time to.
    pub(super) fn tell_repair(&mut self, now: Now) {
        self.repair_told.tell(now.instant, self.machine.repair());
        self.repair_told.tell_forgetful(self.machine.forgetful());
    }

    /// Looks for connections that have been silent, or have not read, for too long, and has the log
    /// marked at times.
    pub(super) fn sweep(&mut self, now: Now) {
        if self.mark_due.take_if(|due| *due <= now.instant).is_some() {
            self.write_log(LogJob::Mark);
        }
        if self.measure_due <= now.instant {
            self.measure_due = now.instant + MEASURE_INTERVAL;
            self.write_log(LogJob::Measure);
        }
        self.grant_scrub(now);
        self.tell_repair(now);
        self.doubt_told.remind(now.instant, self.machine.in_doubt());
        self.peers.leave_dead_ways(now.instant);
        self.peers.forget_parts(now.instant);
        self.drop_stale(now);
        let mut overdue = Vec::new();
        for (conn, connection) in &self.connections {
            if let Some(why) = connection.overdue(now.instant, &self.limits) {
                let is_greeting = connection.phase == Phase::Greeting;
                self.counts.greetings_expired += u64::from(is_greeting);
                overdue.push((*conn, why));
            }
        }
        for (conn, why) in overdue {
            self.cut(now, conn, why);
        }
    }

    /// Every connection is closed once it has taken what waits for it; the replica's last answers
    /// are among that.
    pub(super) fn finish_all(&mut self, now: Now) {
        self.pump(now);
        for connection in self.connections.values_mut() {
            if connection.phase != Phase::Cut {
                connection.phase = Phase::Finishing;
            }
            connection.wake.notify_one();
        }
    }

    /// The server has ended: nothing is said any more, and storage's workers may end too.
    pub(super) fn end(&mut self) {
        if self.mark_due.take().is_some() {
            self.write_log(LogJob::Mark);
        }
        self.storage = None;
        self.restores.forget();
        self.peers.end();
        for connection in self.connections.values_mut() {
            self.kept_bytes -= connection.kept_bytes();
            connection.phase = Phase::Cut;
            connection.wake.notify_one();
        }
    }

    /// Whether so many requests wait that nothing is read from connections that have any.
    pub(super) fn is_flooded(&self) -> bool {
        self.n_outstanding_total() > self.limits.global_outstanding as u64
    }

    /// Whether `conn` is held up, so that nothing is to be read from it now. It is woken when not.
    pub(super) fn holds_up(&mut self, now: Now, conn: ConnId) -> bool {
        let n_outstanding = self.n_outstanding(conn);
        let flooded = n_outstanding > 0 && self.is_flooded();
        let Some(connection) = self.connections.get_mut(&conn) else { return true };
        let held_up = self.draining
            || flooded
            || n_outstanding >= self.limits.connection_outstanding
            || connection.has_asked_enough(&self.limits)
            || connection.is_behind(&self.limits);
        // The other two end by the connection's own answers and writes, which wake it.
        if flooded && !connection.flooded_out {
            connection.flooded_out = true;
            self.flooded_out.push_back(conn);
        }
        if connection.held_up {
            connection.last_heard = now.instant;
        }
        connection.held_up = held_up;
        held_up
    }

    /// One line about whoever is at one of our ports, unless there were too many about its address.
    pub(super) fn complain(&mut self, now: Now, port: &str, address: SocketAddr, why: &str) {
        if let Some(held_back) = self.complaints.admit(now.instant, address.ip()) {
            tracing::warn!(%address, held_back, "{port}: {why}");
        }
    }

    /// One line about who was turned away at the peers' port. A peer that is set up wrongly tries
    /// again for ever: of each thing that is wrong with it there is a line a minute.
    pub(super) fn turned_away(&mut self, now: Now, address: SocketAddr, turned_away: &TurnedAway) {
        let TurnedAway::Unproven { peer, why } = turned_away else {
            return self.complain(now, "peer port", address, &turned_away.to_string());
        };
        let source = (address.ip(), *peer, *why);
        if let Some(held_back) = self.unproven.admit(now.instant, source) {
            tracing::warn!(%address, held_back, "peer port: {turned_away}");
        }
    }

    fn carry_out(&mut self, now: Now, output: Output) {
        match output {
            Output::Persist(batch) => {
                self.log_queue.enter(&mut self.counts, batch.ticket, now.instant);
                let written = self.encoded.parts(&batch.append);
                self.write_log(LogJob::Persist(Box::new(batch), written));
            }
            Output::Purge { through } => self.write_log(LogJob::Purge(through)),
            Output::Checkpoint { ticket, snapshot } => {
                self.saving = Some((ticket, snapshot.zxid));
                self.keep(SnapshotJob::Save { ticket, snapshot });
            }
            Output::Distrust { at, digest, agreed, evidence } => {
                let why = self.doubt_told.distrusts(now, at, digest, agreed);
                self.keep(SnapshotJob::Distrust { why, evidence });
            }
            Output::Trust { from } => self.keep(SnapshotJob::Trust { from }),
            Output::Alarm(alarm) => doubt_told::tell(&alarm),
            Output::Send { to, message } => {
                let zxid = self.machine.zxid();
                let written = self.encoded.of(&message);
                self.peers.send(now.instant, to, message, zxid, written.as_ref());
            }
            Output::Connected { conn, response } => {
                if let Some(connection) = self.connections.get_mut(&conn)
                    && connection.phase == Phase::Connecting
                    // Else it is refused, and a `Close` follows.
                    && let Ok(timeout_ms @ 1..) = u64::try_from(response.timeout_ms)
                {
                    connection.timeout = Duration::from_millis(timeout_ms);
                    connection.session = Some(response.session);
                    connection.last_heard = now.instant;
                    connection.phase = Phase::Established;
                    // ZooKeeper counts the opening of a session as a request with the number 0.
                    connection.traffic.last_xid = Some(Xid(0));
                    connection.traffic.last_zxid = Some(self.machine.zxid());
                    self.answered(now, conn, GREETING);
                }
                self.say(now, conn, Saying::Connected(response));
            }
            Output::Reply { conn, xid, zxid, result } => {
                self.answered(now, conn, xid);
                self.say(now, conn, Saying::Reply { xid, zxid, result });
            }
            Output::Notify { conn, zxid, event } => {
                self.say(now, conn, Saying::Notify { zxid, event });
            }
            Output::Close { conn, reason } => self.finish(now, conn, reason),
            Output::Change { id, progress } => {
                tracing::info!(change = id.0, ?progress, "a change of the membership");
            }
            Output::Restored { id, end } => self.restores.ended(id, end),
        }
    }

    /// A request of a connection has its answer.
    fn answered(&mut self, now: Now, conn: ConnId, xid: Xid) {
        let since_start = now.instant.since(self.started.instant);
        let Some(connection) = self.connections.get_mut(&conn) else {
            self.throttled.stale_replies += 1;
            return;
        };
        let Some(asked) = connection.answered(now, since_start, xid) else { return };
        let latency = now.instant.since(asked.at);
        self.traffic.latency.note(latency);
        let counts = &mut self.counts;
        let spread = if asked.is_update { &mut counts.update_ms } else { &mut counts.read_ms };
        spread.note(in_ms(latency));
        self.large_bytes -= if self.is_large(asked.bytes) { asked.bytes } else { 0 };
    }

    fn say(&mut self, now: Now, conn: ConnId, saying: Saying) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        self.traffic.sent += 1;
        self.kept_bytes -= connection.kept_bytes();
        let fits = connection.say(now.instant, saying, &self.limits, &mut self.counts.sent);
        self.kept_bytes += connection.kept_bytes();
        connection.put_on(conn, &mut self.due);
        if !fits {
            self.cut(now, conn, "it does not read what it is sent: too much waits for it");
        }
    }

    fn finish(&mut self, now: Now, conn: ConnId, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let (address, session) = (connection.address, connection.session);
        tracing::debug!(%address, ?session, ?reason, "client connection is closed");
        connection.known = false;
        self.n_auth_failed += u64::from(reason == CloseReason::AuthFailed);
        if connection.phase != Phase::Cut {
            connection.phase = Phase::Finishing;
        }
        connection.put_on(conn, &mut self.due);
        if reason == CloseReason::TooManyEvents {
            let why = "more events wait for all clients together than may, and it was to hear more";
            self.complain(now, "client port", address, why);
        }
    }

    /// Ends a connection without another word.
    pub(super) fn cut(&mut self, now: Now, conn: ConnId, why: &str) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.phase == Phase::Cut {
            return;
        }
        let address = connection.address;
        self.end_without_a_word(conn);
        self.n_cut += 1;
        self.complain(now, "client port", address, why);
    }

    /// The same, and nobody is told.
    pub(super) fn end_without_a_word(&mut self, conn: ConnId) {
        self.change(conn, |connection, _, _| {
            connection.phase = Phase::Cut;
            connection.fall_silent();
            connection.wake.notify_one();
        });
    }

    /// Changes what is kept for a connection to be told; `None` if it is gone.
    pub(super) fn change<T>(
        &mut self,
        conn: ConnId,
        change: impl FnOnce(&mut Connection, &Limits, &mut Sent) -> T,
    ) -> Option<T> {
        let connection = self.connections.get_mut(&conn)?;
        self.kept_bytes -= connection.kept_bytes();
        let result = change(connection, &self.limits, &mut self.counts.sent);
        self.kept_bytes += connection.kept_bytes();
        Some(result)
    }

    /// Cuts those for which most waits while too much waits for all of them together.
    fn shed(&mut self, now: Now) {
        while self.kept_bytes > self.limits.unsent_total_bytes {
            let kept = |(_, connection): &(&ConnId, &Connection)| connection.kept_bytes();
            let largest = self.connections.iter().max_by_key(kept).map(|(conn, _)| *conn);
            let Some(conn) = largest else { return };
            self.cut(now, conn, "too much waits for all clients together, and most of it for this");
        }
    }
}

/// The log is marked so long after something became durable: each mark is one more sync. Until then
/// what follows in the log vouches for what comes before it, and only its last batch has no second
/// witness.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// The room on the disk is measured so often.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

/// How often the same thing is said about a peer that does not show who it is.
const UNPROVEN_PERIOD: Duration = Duration::from_secs(60);
