//! The end of a trace as text: one column a server, time downwards.
//!
//! Invariant: every line of it is one event, in the order of time.

use std::fmt::Write;

use super::{Event, Kind, Lane, Trace};

impl Trace {
    /// The last `lines` events over `servers` columns.
    pub fn chart(&self, servers: u64, lines: usize) -> String {
        let mut chart = String::from("      time ");
        for server in 1..=servers {
            let _ = write!(chart, "{server:^4}");
        }
        chart.push_str(" what\n");
        let from = self.events.len().saturating_sub(lines);
        for event in &self.events[from..] {
            line(&mut chart, servers, event);
        }
        chart
    }
}

fn line(chart: &mut String, servers: u64, event: &Event) {
    let _ = write!(chart, "{:>10.6} ", event.time as f64 / 1e6);
    for server in 1..=servers {
        let mark = if event.lane == Lane::Server(server) { mark(event.kind) } else { '.' };
        let _ = write!(chart, " {mark}  ");
    }
    let who = match event.lane {
        Lane::World => "    ".to_owned(),
        Lane::Server(server) => format!("S{server}: "),
        Lane::Client(client) => format!("C{client}: "),
    };
    let _ = writeln!(chart, " {who}{}", event.text);
}

fn mark(kind: Kind) -> char {
    match kind {
        Kind::Start => '+',
        Kind::Crash => 'X',
        Kind::Role => 'L',
        Kind::Commit => 'C',
        Kind::Apply => 'a',
        Kind::Persist => 'd',
        Kind::Persisted => 'D',
        Kind::Send => '>',
        Kind::Receive => '<',
        Kind::Lose => '?',
        Kind::Violation => '!',
        Kind::Fault | Kind::Heal | Kind::Note => '*',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_shows_the_last_events() {
        let mut trace = Trace::full();
        for n in 0..3 {
            trace.note(n, Lane::Server(1), Kind::Commit, || format!("event {n}"));
        }
        let chart = trace.chart(2, 2);
        assert!(!chart.contains("event 0") && chart.contains("event 1"));
        assert!(chart.contains(" C   .   S1: event 2"));
    }
}
