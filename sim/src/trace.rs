//! What happened, for people: one column a server, time downwards.
//!
//! Invariant: tracing changes nothing in the run; a run that is not traced formats nothing.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::world::queue::Micros;

/// One line of the chart.
#[derive(Clone, Debug)]
struct Line {
    time: Micros,
    /// The server, or `None` for what concerns clients or the world.
    server: Option<u64>,
    text: String,
}

/// The last lines of a run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    limit: usize,
    lines: VecDeque<Line>,
}

impl Trace {
    /// A trace of the last `limit` lines; 0 for none.
    pub fn new(limit: usize) -> Self {
        Trace { limit, lines: VecDeque::new() }
    }

    /// Notes what `text` says.
    pub fn note(&mut self, time: Micros, server: Option<u64>, text: impl FnOnce() -> String) {
        if self.limit == 0 {
            return;
        }
        if self.lines.len() == self.limit {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { time, server, text: text() });
    }

    /// The chart of `servers` columns.
    pub fn chart(&self, servers: u64) -> String {
        let mut chart = String::from("      time ");
        for server in 1..=servers {
            let _ = write!(chart, "{server:^4}");
        }
        chart.push_str(" what\n");
        for line in &self.lines {
            let _ = write!(chart, "{:>10.6} ", line.time as f64 / 1e6);
            for server in 1..=servers {
                let mark = if line.server == Some(server) { " *  " } else { " .  " };
                chart.push_str(mark);
            }
            let who = line.server.map_or("    ".to_owned(), |server| format!("S{server}: "));
            let _ = writeln!(chart, " {who}{}", line.text);
        }
        chart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_keeps_the_last_lines() {
        let mut trace = Trace::new(2);
        for n in 0..3 {
            trace.note(n, Some(1), || format!("line {n}"));
        }
        let chart = trace.chart(2);
        assert!(!chart.contains("line 0") && chart.contains("line 1") && chart.contains("line 2"));
    }
}
