//! What a server can tell an operator about itself: the ground of ZooKeeper's four-letter words and
//! of metrics.

use std::net::SocketAddr;
use std::time::Duration;

use zokor_core::id::{ServerId, SessionId, Xid};
use zokor_core::proto::{Read, Request, Write, Zxid};
use zokor_core::replica::Stats;
use zokor_core::time::WallTime;

/// Answers operators' questions. Given by whoever knows how they are printed.
pub trait Admin: Send + Sync {
    /// The whole answer to a four-letter word, after which the connection is closed.
    fn answer(&self, word: &str, server: &ServerFacts) -> Vec<u8>;
}

/// A server at one moment.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Which server.
    pub id: ServerId,
    /// What its replica says.
    pub stats: Stats,
    /// Its connections, ascending by age; the asking one is among them.
    pub connections: Vec<ConnectionFacts>,
    /// What its connections did together, those that have gone included.
    pub traffic: Traffic,
    /// How long it has been running.
    pub uptime: Duration,
    /// Since when it has been running.
    pub since: WallTime,
    /// Connections refused for a limit since it started.
    pub connections_rejected: u64,
    /// Connections cut for a limit since it started.
    pub connections_cut: u64,
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
    /// What it did.
    pub traffic: Traffic,
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

    /// The mean in milliseconds; 0 if there was none.
    pub fn mean_ms(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.total.as_secs_f64() * 1000.0 / self.count as f64 }
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
        Request::Auth(_) | Request::Unbuilt(_) | Request::Unknown(_) | Request::Malformed => "NA",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_sum_up() {
        let mut latency = Latency::default();
        assert_eq!(latency.mean_ms(), 0.0);
        for ms in [4, 2, 9] {
            latency.note(Duration::from_millis(ms));
        }
        assert_eq!(latency.mean_ms(), 5.0);
        assert_eq!(latency.least, Duration::from_millis(2));
        assert_eq!(latency.longest, Duration::from_millis(9));
        assert_eq!(latency.last, Duration::from_millis(9));
    }
}
