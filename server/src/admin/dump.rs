//! `dump`: sessions, their ephemeral znodes, and connections.
//!
//! Source: `zookeeper: DumpCommand`, `ExpiryQueue.dump`, `LearnerSessionTracker.dumpSessions`.

use std::collections::BTreeMap;
use std::fmt::{Arguments, Write};

use zokor_core::replica::Mode;
use zokor_core::time::WallTime;
use zokor_net::runtime::{ServerFacts, SessionFacts};

use super::date::java_date;
use super::report::{address, tick_of};

/// The whole answer. Deadlines are shown by the tick, as ZooKeeper keeps them.
pub(super) fn report(facts: &ServerFacts, tick_time_ms: u32) -> String {
    let connections = facts.connections.iter().map(|connection| {
        let session = connection.session.unwrap_or_default();
        let line = format!("ip: {} sessionId: {session}", address(&connection.address));
        (connection.expires, line)
    });
    let ephemerals = &facts.sessions.ephemerals;
    let mut text = String::from("SessionTracker dump:\n");
    put_sessions(&mut text, facts, tick_time_ms);
    text.push_str("ephemeral nodes dump:\n");
    put(&mut text, format_args!("Sessions with Ephemerals ({}):\n", ephemerals.len()));
    for (session, paths) in ephemerals {
        put(&mut text, format_args!("{session}:\n"));
        for path in paths {
            put(&mut text, format_args!("\t{path}\n"));
        }
    }
    text.push_str("Connections dump:\n");
    put_sets(&mut text, "Connections Sets", connections, tick_time_ms);
    text
}

/// A leader knows the deadlines; another server knows only that there are sessions.
fn put_sessions(text: &mut String, facts: &ServerFacts, tick_time_ms: u32) {
    let sessions = facts.sessions.sessions.iter();
    let due = |session: &SessionFacts| Some((session.expires?, session.id.to_string()));
    let leads = matches!(facts.stats.mode, Mode::Leader | Mode::Standalone);
    let title = if facts.sessions.local.is_some() { "Global Session Sets" } else { "Session Sets" };
    if let Some(local) = &facts.sessions.local {
        put_sets(text, "Local Session Sets", local.iter().filter_map(due), tick_time_ms);
    }
    if leads {
        put_sets(text, title, sessions.filter_map(due), tick_time_ms);
    } else {
        put(text, format_args!("Global Sessions({}):\n", sessions.len()));
        for session in sessions {
            put(text, format_args!("{}\t{}ms\n", session.id, session.timeout_ms));
        }
    }
}

/// Lines under the tick in which each is due.
fn put_sets(
    text: &mut String,
    title: &str,
    lines: impl Iterator<Item = (WallTime, String)>,
    tick_time_ms: u32,
) {
    let mut sets: BTreeMap<WallTime, Vec<String>> = BTreeMap::new();
    for (due, line) in lines {
        sets.entry(tick_of(due, tick_time_ms)).or_default().push(line);
    }
    let n_lines: usize = sets.values().map(Vec::len).sum();
    put(text, format_args!("{title} ({})/({n_lines}):\n", sets.len()));
    for (due, lines) in sets {
        put(text, format_args!("{} expire at {}:\n", lines.len(), java_date(due)));
        for line in lines {
            put(text, format_args!("\t{line}\n"));
        }
    }
}

fn put(text: &mut String, what: Arguments<'_>) {
    text.write_fmt(what).expect("a string takes all text");
}
