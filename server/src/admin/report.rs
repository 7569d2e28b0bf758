//! The texts of `srvr`, `stat`, `cons`, `conf` and the three words about watches.
//!
//! Invariant: line by line what ZooKeeper 3.9 prints, since scripts match it by pattern.
//! Source: `zookeeper: ServerStats.toString`, `ServerCnxn.dumpConnectionInfo`, `ConfCommand`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::SocketAddr;

use zokor_core::id::SessionId;
use zokor_core::proto::Text;
use zokor_core::replica::Mode;

use super::facts::{ConnectionFacts, Latency, ServerFacts, Sizes};
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
        if let Some(session) = &connection.session {
            put(&mut text, format_args!(",sid={}", session.id));
            put(&mut text, format_args!(",lop={}", session.last_operation));
            put(&mut text, format_args!(",est={}", connection.established.0));
            put(&mut text, format_args!(",to={}", session.timeout_ms));
            if session.last_xid >= 0 {
                put(&mut text, format_args!(",lcxid=0x{:x}", session.last_xid));
            }
            put(&mut text, format_args!(",lzxid={}", session.last_zxid));
            put(&mut text, format_args!(",lresp={}", session.last_response_ms));
            put(&mut text, format_args!(",llat={}", ms(session.last_latency_us)));
            put(&mut text, format_args!(",minlat={}", ms(session.latency.min_us)));
            put(&mut text, format_args!(",avglat={}", ms(average_us(&session.latency))));
            put(&mut text, format_args!(",maxlat={}", ms(session.latency.max_us)));
        }
        text.push_str(")\n");
    }
    text.push('\n');
    text
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
        conf_of_member(&mut text, member, facts.config_version);
    }
    text
}

fn conf_of_member(text: &mut String, member: &MemberSettings, version: i64) {
    put(text, format_args!("initLimit={}\n", member.init_limit_ticks));
    put(text, format_args!("syncLimit={}\n", member.sync_limit_ticks));
    put(text, format_args!("electionAlg=3\n"));
    put(text, format_args!("electionPort={}\n", member.election_port));
    put(text, format_args!("quorumPort={}\n", member.quorum_port));
    put(text, format_args!("peerType={}\n", u8::from(member.is_observer)));
    put(text, format_args!("membership: \n{}\n", member.ensemble.to_text(version)));
}

/// `wchs`: how many watches.
pub(super) fn wchs(facts: &ServerFacts) -> String {
    let Some(watches) = &facts.watches else {
        return unavailable("wchs");
    };
    let paths: BTreeSet<&Text> = watches.values().flatten().collect();
    format!(
        "{} connections watching {} paths\nTotal watches:{}\n",
        watches.len(),
        paths.len(),
        facts.stats.watches
    )
}

/// `wchc`: the watches by session.
pub(super) fn wchc(facts: &ServerFacts) -> String {
    let Some(watches) = &facts.watches else {
        return unavailable("wchc");
    };
    let mut text = String::new();
    for (session, paths) in watches {
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
    let Some(watches) = &facts.watches else {
        return unavailable("wchp");
    };
    let mut by_path: BTreeMap<&Text, Vec<SessionId>> = BTreeMap::new();
    for (session, paths) in watches {
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

/// What is said where the facts are not at hand.
pub(super) fn unavailable(word: &str) -> String {
    format!("{word} is not executed because this server does not keep what it shows.\n")
}

/// The average in milliseconds with up to four places, as Java prints it: `0.0`, `1.5`, `1.2345`.
pub(super) fn average_ms(latency: &Latency) -> String {
    // In ten-thousandths of a millisecond, rounded half up.
    let (total, count) = (u128::from(latency.total_us), u128::from(latency.count.max(1)));
    let scaled = (total * 20 + count) / (count * 2);
    let places = format!("{:04}", scaled % 10_000);
    let places = places.trim_end_matches('0');
    format!("{}.{}", scaled / 10_000, if places.is_empty() { "0" } else { places })
}

/// Whole milliseconds.
pub(super) fn ms(us: u64) -> u64 {
    us / 1_000
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

fn average_us(latency: &Latency) -> u64 {
    latency.total_us / latency.count.max(1)
}

fn head(facts: &ServerFacts) -> String {
    let mut text = format!("Zookeeper version: {ZOOKEEPER_VERSION}\n");
    if facts.read_only {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    text
}

fn tail(facts: &ServerFacts) -> String {
    let stats = &facts.stats;
    let latency = &facts.latency;
    let mode = if facts.read_only { "read-only" } else { stats.mode.as_str() };
    let mut text = format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\n\
         Outstanding: {}\nZxid: {}\nMode: {mode}\nNode count: {}\n",
        ms(latency.min_us),
        average_ms(latency),
        ms(latency.max_us),
        facts.packets_received,
        facts.packets_sent,
        facts.connections.len(),
        stats.outstanding,
        stats.zxid,
        stats.znodes
    );
    if stats.mode == Mode::Leader {
        let Sizes { last, min, max } = facts.proposal_bytes.unwrap_or_default();
        let (last, min, max) = (size(last), size(min), size(max));
        put(&mut text, format_args!("Proposal sizes last/min/max: {last}/{min}/{max}\n"));
    }
    text
}

/// The part of a connection's line that `stat` and `cons` share, without the closing bracket.
fn brief(connection: &ConnectionFacts) -> String {
    let interest = u8::from(connection.reading) + 4 * u8::from(connection.writing);
    format!(
        " {}[{interest}](queued={},recved={},sent={}",
        address(&connection.address),
        connection.queued,
        connection.received,
        connection.sent
    )
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes all text");
}
