//! What a server can tell an operator about itself: the ground of ZooKeeper's four-letter words and
//! of metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use zokor_core::db::Quota;
use zokor_core::id::{ServerId, SessionId, Xid};
use zokor_core::proto::{Read, Request, Text, Write, Zxid};
use zokor_core::replica::{Counts, Deed, Stats};
use zokor_core::time::WallTime;
use zokor_core::watch::WatchSummary;

use super::counts::ServiceCounts;
use super::throttle::Share;
use crate::storage::ScrubCounts;

/// Answers operators' questions. Given by whoever knows how they are printed.
pub trait Admin: Send + Sync {
    /// What the answer to a four-letter word needs to know beside the plain facts.
    fn detail(&self, word: &str) -> Detail;

    /// How many bytes after a four-letter word belong to it: the answer waits for them. None unless
    /// this says more.
    fn argument_bytes(&self, _word: &str) -> usize {
        0
    }

    /// What came after a four-letter word, if it was to have an argument; before its answer.
    fn argument(&self, _word: &str, _bytes: &[u8]) {}

    /// The whole answer to a four-letter word, after which the connection is closed. What
    /// [`detail`](Admin::detail) asked for is there.
    fn answer(&self, word: &str, server: &ServerFacts) -> Answer;

    /// Who is to hear what clients do; asked once, before the server serves. Nobody unless this
    /// says more.
    fn auditor(&self) -> Option<Arc<dyn Auditor>> {
        None
    }
}

/// Hears what clients of the server do, if its replica [notes](zokor_core::Config::notes_deeds) it.
pub trait Auditor: Send + Sync {
    /// Something was done or refused, at this time. Called in order, before anybody hears of it, by
    /// the loop: must be quick.
    fn hear(&self, now: WallTime, deed: &Deed);
}

/// Facts that cost more the more there is of them, and so are gathered only if asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// None.
    Plain,
    /// Each connection.
    Connections,
    /// Each connection, each session, and each ephemeral znode.
    Sessions,
    /// How many watches there are.
    WatchSummary,
    /// Each watch.
    Watches,
    /// Digests of past states.
    Digests,
    /// All that was counted, and each quota.
    Counts,
    /// The ensemble as it describes itself.
    Membership,
    /// On a leader: the servers that observe.
    Observers,
}

/// What the asker gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Written before the connection is closed.
    pub text: String,
    /// Which counters are set back.
    pub reset: Reset,
}

/// Which counters start anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// None.
    Nothing,
    /// Those of each connection.
    Connections,
    /// Those of the server: frames, latencies, sizes, and all that is counted for metrics.
    Server,
}

/// A server at one moment. Counters begin with the server, or with the last [`Reset::Server`].
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    /// Which server.
    pub id: ServerId,
    /// What its replica says.
    pub stats: Stats,
    /// How many connections it has; the asking one is among them.
    pub n_connections: usize,
    /// What its connections did together, those that have gone included.
    pub traffic: Traffic,
    /// What it counted; zeros unless asked for, but for what was sent.
    pub service: ServiceCounts,
    /// What its replica counted; zeros unless asked for.
    pub counts: Counts,
    /// Digests of past states by their zxids, ascending; empty unless asked for.
    pub digests: Vec<(Zxid, u64)>,
    /// How long it has been running.
    pub uptime: Duration,
    /// How long it has led; `None` unless it leads.
    pub leader_uptime: Option<Duration>,
    /// Connections refused for a limit.
    pub connections_rejected: u64,
    /// Connections cut for a limit.
    pub connections_cut: u64,
    /// Connections closed since their credentials were not accepted; never set back.
    pub auth_failures: u64,
    /// What limits of connecting and of requests did.
    pub throttling: Throttling,
    /// What room the disk has.
    pub room: DiskRoom,
    /// How the reading of what is at rest stands.
    pub scrub: ScrubFacts,
    /// All quotas, ascending by path; empty unless all counters are asked for.
    pub quotas: Vec<Quota>,
    /// The newest snapshot that this server has made durable since it started, and when; `None` if
    /// there was none.
    pub last_snapshot: Option<(Zxid, WallTime)>,
    /// On a leader: the observers that are connected; empty unless asked for.
    pub observers: Vec<PeerFacts>,
    /// The data of `/zookeeper/config`; empty unless asked for, or if standalone.
    pub membership: String,
    /// Its connections, ascending by age; empty unless asked for.
    pub connections: Vec<ConnectionFacts>,
    /// All sessions; empty unless asked for.
    pub sessions: SessionTable,
    /// How many watches there are; zeros unless asked for.
    pub watch_summary: WatchSummary,
    /// The paths that each session watches for data here; empty unless asked for.
    pub watches: BTreeMap<SessionId, BTreeSet<Text>>,
}

/// What is known of another server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerFacts {
    /// Which.
    pub id: ServerId,
    /// Where its own connection came from, and when; `None` before the first.
    pub met: Option<(SocketAddr, WallTime)>,
    /// Messages that wait to be sent to it, and their bytes.
    pub queued: (usize, usize),
    /// Messages from it since they were set back.
    pub received: u64,
    /// Messages to it since they were set back.
    pub sent: u64,
    /// Requests of clients that it handed on since they were set back.
    pub requests: u64,
    /// What this server had applied when it last had something to say to it.
    pub last_zxid: Option<Zxid>,
}

/// The room on the disk where the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskRoom {
    /// Bytes that are free; `None` before the first look, or if the disk does not say.
    pub free_bytes: Option<u64>,
    /// Whether these are fewer than `disk_reserve_bytes`.
    pub is_short: bool,
    /// How often storage had to wait for room.
    pub n_waits: u64,
}

/// How the reading of what is at rest stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubFacts {
    /// What it has counted since the start.
    pub counts: ScrubCounts,
    /// How long ago the last round ended; `None` before that.
    pub since_last_round: Option<Duration>,
}

/// What the limits of connecting and of requests did, with ZooKeeper's names of these numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// `connection_request_count`: connect requests that were let in.
    pub connect_requests: u64,
    /// `connection_token_deficit`: tokens missing from the bucket at this moment.
    pub token_deficit: u64,
    /// `connection_drop_probability`: the share of connect requests that chance turns away.
    pub drop_probability: Share,
    /// Requests that wait to be handed to the replica at this moment.
    pub waiting: u64,
    /// `request_throttle_wait_count`: requests that had to wait.
    pub waits: u64,
    /// `throttled_ops`: requests answered with `ThrottledOp`.
    pub throttled_ops: u64,
    /// `stale_requests`: requests handed over though their connection had ended.
    pub stale_requests: u64,
    /// `stale_requests_dropped`.
    pub stale_requests_dropped: u64,
    /// `stale_replies`: answers to connections that had ended.
    pub stale_replies: u64,
    /// `large_requests_rejected`.
    pub large_requests_rejected: u64,
    /// What the large requests weigh that wait for their answer at this moment.
    pub large_request_bytes: u64,
}

/// One connection at one moment.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Where the client is.
    pub address: SocketAddr,
    /// Its session, once there is one.
    pub session: Option<SessionId>,
    /// The negotiated session timeout; zero before.
    pub timeout: Duration,
    /// Requests that wait for their answer.
    pub queued: usize,
    /// Whether the server reads from it at the moment.
    pub reading: bool,
    /// Whether something waits to be written.
    pub writing: bool,
    /// When it came.
    pub since: WallTime,
    /// When it is cut unless something comes first.
    pub expires: WallTime,
    /// What it did since it came, or since the last [`Reset::Connections`].
    pub traffic: Traffic,
}

/// Sessions at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTable {
    /// All sessions of the ensemble, ascending.
    pub sessions: Vec<SessionFacts>,
    /// Those that this server alone knows, ascending; `None` if it was not to have any.
    pub local: Option<Vec<SessionFacts>>,
    /// The ephemeral znodes of each session that has any.
    pub ephemerals: BTreeMap<SessionId, BTreeSet<Text>>,
}

/// One session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// The session.
    pub id: SessionId,
    /// Its timeout, in milliseconds.
    pub timeout_ms: i32,
    /// When it ends unless something is heard from it; known on a leader only, or if the session
    /// is this server's own.
    pub expires: Option<WallTime>,
}

/// What one connection, or all of them, did.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Frames received, four-letter words included.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// The kind of the last request, in ZooKeeper's four letters; empty before the first.
    pub last_operation: &'static str,
    /// The last request's number.
    pub last_xid: Option<Xid>,
    /// The zxid in the last reply.
    pub last_zxid: Option<Zxid>,
    /// How long after the server's start the last reply was given.
    pub last_reply: Option<Duration>,
    /// From a request's decoding to its reply.
    pub latency: Latency,
}

/// Durations of requests, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// All together.
    pub total: Duration,
    /// The shortest; zero if there was none.
    pub least: Duration,
    /// The longest.
    pub longest: Duration,
    /// The last.
    pub last: Duration,
}

impl Latency {
    /// Takes one more into account.
    pub fn note(&mut self, latency: Duration) {
        self.least = if self.count == 0 { latency } else { self.least.min(latency) };
        self.longest = self.longest.max(latency);
        self.last = latency;
        self.count += 1;
        self.total = self.total.saturating_add(latency);
    }
}

/// ZooKeeper's four letters for a kind of request (zookeeper: Request.op2String, ServerCnxn).
pub(super) fn operation(request: &Request) -> &'static str {
    match request {
        Request::Write(write) => match write {
            Write::Create(_) => "CREA",
            Write::Delete { .. } => "DELE",
            Write::SetData { .. } => "SETD",
            Write::SetAcl { .. } => "SETA",
            Write::Check { .. } => "CHEC",
            Write::Multi(_) => "MULT",
            Write::CloseSession => "CLOS",
        },
        Request::Read(read) => match read {
            Read::Exists { .. } => "EXIS",
            Read::GetData { .. } => "GETD",
            Read::GetAcl { .. } => "GETA",
            Read::GetChildren { .. } => "GETC",
            Read::GetEphemerals { .. } => "GETE",
            Read::CountDescendants { .. } => "GETACN",
            Read::Multi(_) => "MLTR",
            Read::AddWatch { .. } => "ADDW",
            Read::CheckWatches { .. } => "CHKW",
            Read::RemoveWatches { .. } => "REMW",
            Read::WhoAmI => "HOMI",
        },
        Request::Sync(_) => "SYNC",
        Request::Ping => "PING",
        Request::SetWatches(_) => "SETW",
        Request::Reconfig(_) => "RECO",
        Request::Auth(_)
        | Request::Sasl(_)
        | Request::Unknown(_)
        | Request::Throttled
        | Request::Malformed => "NA",
    }
}

/// How many lists the answer to a request may hold beyond what the request itself weighs; `most`
/// stands for more than can be told.
pub(super) fn yields(request: &Request, most: usize) -> usize {
    match request {
        Request::Read(Read::GetChildren { .. } | Read::GetEphemerals { .. }) => 1,
        Request::Read(Read::Multi(_)) | Request::SetWatches(_) => most,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_sum_up() {
        let mut latency = Latency::default();
        for ms in [4, 2, 9] {
            latency.note(Duration::from_millis(ms));
        }
        assert_eq!((latency.count, latency.total), (3, Duration::from_millis(15)));
        assert_eq!(latency.least, Duration::from_millis(2));
        assert_eq!(latency.longest, Duration::from_millis(9));
        assert_eq!(latency.last, Duration::from_millis(9));
    }
}
