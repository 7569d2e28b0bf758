//! From the facts of the event loop to those that four-letter words show.
//!
//! Invariant: what is not counted is left out, never made up.

use std::time::Duration;

use zokor_net::runtime;

use crate::admin::facts::{ConnectionFacts, ConnectionSession, Latency};
use crate::admin::{Admin, ServerFacts, Settings, Whitelist, file_descriptors};

/// Answers four-letter words for the event loop.
#[derive(Debug)]
pub(crate) struct Words(Admin);

impl Words {
    /// Answers by these settings, and only what `whitelist` allows.
    pub(crate) fn new(settings: Settings, whitelist: Whitelist) -> Self {
        Words(Admin::new(settings, whitelist))
    }
}

impl runtime::Admin for Words {
    fn answer(&self, word: &str, server: &runtime::ServerFacts) -> Vec<u8> {
        let answer = self.0.answer(word, &gather(server));
        answer.map_or_else(Vec::new, |answer| answer.text.into_bytes())
    }
}

fn gather(server: &runtime::ServerFacts) -> ServerFacts {
    ServerFacts {
        stats: server.stats.clone(),
        now: zokor_core::time::WallTime(server.since.0 + millis(server.uptime)),
        uptime: server.uptime,
        latency: latency(&server.traffic.latency),
        packets_received: server.traffic.received,
        packets_sent: server.traffic.sent,
        connections: server.connections.iter().map(connection).collect(),
        file_descriptors: file_descriptors(),
        ..ServerFacts::default()
    }
}

fn connection(facts: &runtime::ConnectionFacts) -> ConnectionFacts {
    let traffic = &facts.traffic;
    ConnectionFacts {
        address: facts.address,
        reading: facts.reading,
        writing: facts.writing,
        queued: facts.queued as u64,
        received: traffic.received,
        sent: traffic.sent,
        established: facts.since,
        expires: None,
        session: facts.session.map(|id| ConnectionSession {
            id,
            last_operation: match traffic.last_operation {
                "" => "NA",
                operation => operation,
            },
            timeout_ms: i32::try_from(facts.timeout.as_millis()).unwrap_or(i32::MAX),
            last_xid: traffic.last_xid.map_or(-1, |xid| xid.0),
            last_zxid: traffic.last_zxid.unwrap_or(zokor_core::proto::Zxid(-1)),
            last_response_ms: traffic.last_reply.map_or(0, |at| millis(at).unsigned_abs()),
            last_latency_us: micros(traffic.latency.last),
            latency: latency(&traffic.latency),
        }),
    }
}

fn latency(latency: &runtime::Latency) -> Latency {
    Latency {
        count: latency.count,
        total_us: micros(latency.total),
        min_us: micros(latency.least),
        max_us: micros(latency.longest),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
