//! The texts of `srvr`, `stat`, `cons`, `conf` and the three words about watches.
//!
//! Invariant: line by line what ZooKeeper 3.9 prints, since scripts match it by pattern.
//! Source: `zookeeper: ServerStats.toString`, `ServerCnxn.dumpConnectionInfo`, `ConfCommand`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use zokor_core::id::SessionId;
use zokor_core::proto::{Text, Zxid};
use zokor_core::replica::{Mode, Sizes};
use zokor_core::time::WallTime;
use zokor_net::runtime::{ConnectionFacts, Latency, ServerFacts};

use super::four_letter::{MemberSettings, Settings, folder_bytes};
use crate::version::ZOOKEEPER_VERSION;

/// `srvr`: the server in a few lines.
pub(super) fn srvr(facts: &ServerFacts) -> String {
    format!("{}{}", head(facts), tail(facts))
}

/// `stat`: as `srvr`, with a line for each connection.
pub(super) fn stat(facts: &ServerFacts) -> String {
    let mut text = head(facts) + "Clients:\n";
    for connection in &facts.connections {
        text.push_str(&brief(connection));
        text.push_str(")\n");
    }
    text.push('\n');
    text + &tail(facts)
}

/// `cons`: all there is to know of each connection.
pub(super) fn cons(facts: &ServerFacts) -> String {
    let mut text = String::new();
    for connection in &facts.connections {
        text.push_str(&brief(connection));
        if let Some(session) = connection.session {
            put_session(&mut text, session, connection);
        }
        text.push_str(")\n");
    }
    text.push('\n');
    text
}

fn put_session(text: &mut String, session: SessionId, connection: &ConnectionFacts) {
    let traffic = &connection.traffic;
    let operation = if traffic.last_operation.is_empty() { "NA" } else { traffic.last_operation };
    put(text, format_args!(",sid={session},lop={operation},est={}", connection.since.0));
    put(text, format_args!(",to={}", connection.timeout.as_millis()));
    if let Some(xid) = traffic.last_xid.filter(|xid| xid.0 >= 0) {
        put(text, format_args!(",lcxid=0x{:x}", xid.0));
    }
    put(text, format_args!(",lzxid={}", traffic.last_zxid.unwrap_or(Zxid(-1))));
    put(text, format_args!(",lresp={}", traffic.last_reply.unwrap_or_default().as_millis()));
    let latency = &traffic.latency;
    let mean = latency.total.div_f64(latency.count.max(1) as f64);
    let (last, least, longest) = (latency.last, latency.least, latency.longest);
    for (key, time) in [("llat", last), ("minlat", least), ("avglat", mean), ("maxlat", longest)] {
        put(text, format_args!(",{key}={}", time.as_millis()));
    }
}

/// `conf`: the configuration in force.
pub(super) fn conf(settings: &Settings, facts: &ServerFacts) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        put(&mut text, format_args!("{key}={value}\n"));
    };
    line("clientPort", &settings.client_port);
    line("secureClientPort", &-1);
    line("dataDir", &settings.data_dir.display());
    line("dataDirSize", &folder_bytes(&settings.data_dir));
    line("dataLogDir", &settings.log_dir.display());
    line("dataLogSize", &folder_bytes(&settings.log_dir));
    line("tickTime", &settings.tick_time_ms);
    line("maxClientCnxns", &settings.max_connections_per_address);
    line("minSessionTimeout", &settings.min_session_timeout_ms);
    line("maxSessionTimeout", &settings.max_session_timeout_ms);
    match settings.client_backlog {
        Some(backlog) => line("clientPortListenBacklog", &backlog),
        None => line("clientPortListenBacklog", &-1),
    }
    // ZooKeeper's standalone server calls itself 0.
    line("serverId", &settings.member.as_ref().map_or(0, |member| member.id.0));
    if let Some(member) = &settings.member {
        conf_of_member(&mut text, member, &facts.membership);
    }
    text
}

fn conf_of_member(text: &mut String, member: &MemberSettings, membership: &str) {
    put(text, format_args!("initLimit={}\n", member.init_limit_ticks));
    put(text, format_args!("syncLimit={}\n", member.sync_limit_ticks));
    put(text, format_args!("electionAlg=3\n"));
    put(text, format_args!("electionPort={}\n", member.election_port));
    put(text, format_args!("quorumPort={}\n", member.quorum_port));
    put(text, format_args!("peerType={}\n", u8::from(member.is_observer)));
    // Without a line end, as the znode's data are.
    if membership.is_empty() {
        put(text, format_args!("membership: \n{}", member.ensemble.to_text(0)));
    } else {
        put(text, format_args!("membership: \n{membership}"));
    }
}

/// `hash`: digests of past states.
pub(super) fn hash(facts: &ServerFacts) -> String {
    let mut text = String::new();
    for (zxid, digest) in &facts.digests {
        put(&mut text, format_args!("{:x}: {}\n", zxid.0, digest.cast_signed()));
    }
    text
}

/// `wchs`: how many watches.
pub(super) fn wchs(facts: &ServerFacts) -> String {
    let summary = &facts.watch_summary;
    format!(
        "{} connections watching {} paths\nTotal watches:{}\n",
        summary.n_connections, summary.n_paths, summary.n_watches
    )
}

/// `wchc`: the watches by session.
pub(super) fn wchc(facts: &ServerFacts) -> String {
    let mut text = String::new();
    for (session, paths) in &facts.watches {
        put(&mut text, format_args!("{session}\n"));
        for path in paths {
            put(&mut text, format_args!("\t{path}\n"));
        }
    }
    text.push('\n');
    text
}

/// `wchp`: the watches by path.
pub(super) fn wchp(facts: &ServerFacts) -> String {
    let mut by_path: BTreeMap<&Text, Vec<SessionId>> = BTreeMap::new();
    for (session, paths) in &facts.watches {
        for path in paths {
            by_path.entry(path).or_default().push(*session);
        }
    }
    let mut text = String::new();
    for (path, sessions) in by_path {
        put(&mut text, format_args!("{path}\n"));
        for session in sessions {
            put(&mut text, format_args!("\t{session}\n"));
        }
    }
    text.push('\n');
    text
}

/// The average in milliseconds with up to four places, as Java prints it: `0.0`, `1.5`, `1.2345`.
pub(super) fn average_ms(latency: &Latency) -> String {
    tenthousandths(latency.total.as_micros() * 10, latency.count)
}

/// The same of whole numbers.
pub(super) fn average(sum: u128, count: u64) -> String {
    tenthousandths(sum * 10_000, count)
}

/// `sum` ten-thousandths divided by `count`, rounded half up.
fn tenthousandths(sum: u128, count: u64) -> String {
    let count = u128::from(count.max(1));
    let scaled = (sum * 2 + count) / (count * 2);
    let places = format!("{:04}", scaled % 10_000);
    let places = places.trim_end_matches('0');
    format!("{}.{}", scaled / 10_000, if places.is_empty() { "0" } else { places })
}

/// `size` as a number, -1 before the first.
pub(super) fn size(size: Option<u64>) -> i64 {
    size.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Java's form of a socket address without a name.
pub(super) fn address(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => format!("/{v4}"),
        SocketAddr::V6(v6) => {
            let segments: Vec<_> = v6.ip().segments().iter().map(|s| format!("{s:x}")).collect();
            format!("/[{}]:{}", segments.join(":"), v6.port())
        }
    }
}

fn head(facts: &ServerFacts) -> String {
    let mut text = format!("Zookeeper version: {ZOOKEEPER_VERSION}\n");
    if facts.stats.mode == Mode::ReadOnly {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    text
}

fn tail(facts: &ServerFacts) -> String {
    let stats = &facts.stats;
    let (latency, mode) = (&facts.traffic.latency, stats.mode.as_str());
    let mut text = format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\n\
         Outstanding: {}\nZxid: {}\nMode: {mode}\nNode count: {}\n",
        latency.least.as_millis(),
        average_ms(latency),
        latency.longest.as_millis(),
        facts.traffic.received,
        facts.traffic.sent,
        facts.n_connections,
        stats.outstanding,
        stats.zxid,
        stats.znodes
    );
    if stats.mode == Mode::Leader {
        let Sizes { last, min, max } = stats.proposal_bytes;
        let (last, min, max) = (size(last), size(min), size(max));
        put(&mut text, format_args!("Proposal sizes last/min/max: {last}/{min}/{max}\n"));
    }
    text
}

/// What the server would hear of: 1 bytes that come, 4 room for those that go.
pub(super) fn interest(connection: &ConnectionFacts) -> u8 {
    u8::from(connection.reading) + 4 * u8::from(connection.writing)
}

/// The tick in which something is due, as ZooKeeper keeps deadlines.
pub(super) fn tick_of(due: WallTime, tick_time_ms: u32) -> WallTime {
    let tick = i64::from(tick_time_ms.max(1));
    WallTime(due.0.div_euclid(tick).saturating_add(1).saturating_mul(tick))
}

/// The part of a connection's line that `stat` and `cons` share, without the closing bracket.
fn brief(connection: &ConnectionFacts) -> String {
    let interest = interest(connection);
    format!(
        " {}[{interest}](queued={},recved={},sent={}",
        address(&connection.address),
        connection.queued,
        connection.traffic.received,
        connection.traffic.sent
    )
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes all text");
}
