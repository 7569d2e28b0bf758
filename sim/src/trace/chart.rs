//! The end of a trace as text: one column a server, time downwards.
//!
//! Invariant: every line below the head is one event, in the order of time; the columns show what
//! each server was at that time.

use std::fmt::Write;

use super::{Event, EventId, Kind, Lane, Standing, Trace, Trouble};

impl Trace {
    /// The last `lines` events up to the violation (or the end) over columns for the `servers`,
    /// after as many weighty ones of the violation's causal past that are older than these.
    pub fn chart(&self, servers: u64, lines: usize) -> String {
        let end = self.violation().map_or(self.events.len(), |id| id as usize);
        let from = end.saturating_sub(lines);
        let older = self.older(end, from, lines);
        let mut chart = Chart::new(self, servers);
        chart.out.push_str(LEGEND);
        if !older.is_empty() {
            let n = older.len();
            let _ = writeln!(chart.out, "\nof what led to it, before these lines ({n} events):");
        }
        chart.head();
        for (n, event) in self.events[..end].iter().enumerate() {
            if n == from && !older.is_empty() {
                let _ = writeln!(chart.out, "\nthe last {} events:", end - from);
                chart.head();
            }
            chart.take(event);
            if n >= from || older.binary_search(&event.id).is_ok() {
                chart.line(event);
            }
        }
        chart.out
    }

    /// The last event that must not have happened.
    pub fn violation(&self) -> Option<EventId> {
        let violates = |event: &&Event| event.kind == Kind::Violation;
        self.events.iter().rev().find(violates).map(|event| event.id)
    }

    /// What of the violation's past came before the event after `from`, without the daily bread.
    fn older(&self, end: usize, from: usize, limit: usize) -> Vec<EventId> {
        if self.violation().is_none() {
            return Vec::new();
        }
        let weighty = |id: &EventId| self.event(*id).is_some_and(|event| is_weighty(event.kind));
        let past = self.past(end as EventId);
        let older = past.range(..=from as EventId).rev().copied().filter(weighty);
        let mut older: Vec<EventId> = older.take(limit).collect();
        older.reverse();
        older
    }
}

/// A chart that is being drawn.
struct Chart<'t> {
    trace: &'t Trace,
    standings: Vec<Standing>,
    out: String,
}

impl<'t> Chart<'t> {
    fn new(trace: &'t Trace, servers: u64) -> Self {
        let standings = vec![Standing::default(); servers as usize];
        Chart { trace, standings, out: String::new() }
    }

    fn head(&mut self) {
        let _ = write!(self.out, "{:>7} {:>11}  ", "event", "time");
        for server in 1..=self.standings.len() {
            let _ = write!(self.out, "{:<WIDTH$}", format!("S{server}"));
        }
        self.out.push_str("what\n");
    }

    /// Takes note of what the event's server is now.
    fn take(&mut self, event: &Event) {
        if let Some(standing) = Standing::after(event)
            && let Some(column) = self.column(event.lane)
        {
            self.standings[column] = standing;
        }
    }

    fn line(&mut self, event: &Event) {
        let mut cells = self.cells(event);
        self.draw_arrow(&mut cells, event);
        let cells: String = cells.into_iter().collect();
        let who = match event.lane {
            Lane::World => String::new(),
            Lane::Server(server) => format!("S{server} "),
            Lane::Client(client) => format!("C{client} "),
        };
        let (id, seconds) = (event.id, event.time as f64 / 1e6);
        let text = event.text.replace('\n', " ");
        let _ = write!(self.out, "{id:>7} {seconds:>11.6}  {cells}{who}{text}");
        if let Some(sent) = self.sent(event) {
            let took = (event.time - sent.time) as f64 / 1e3;
            let _ = write!(self.out, " (sent {took:.3} ms before, {})", sent.id);
        }
        self.out.push('\n');
    }

    /// Each server's line, between signs of what is out of order there.
    fn cells(&self, event: &Event) -> Vec<char> {
        let mut cells = Vec::with_capacity(self.standings.len() * WIDTH);
        for (column, &standing) in self.standings.iter().enumerate() {
            let server = column as u64 + 1;
            let line = match standing {
                Standing::Down => ' ',
                Standing::Follower => '│',
                Standing::Candidate => '┆',
                Standing::Leader => '║',
            };
            let own = event.lane == Lane::Server(server);
            let mark = if own { mark(event.kind).unwrap_or(line) } else { line };
            cells.extend([mark, self.trouble(server, event.time), ' ', ' ', ' ']);
        }
        cells
    }

    fn trouble(&self, server: u64, time: u64) -> char {
        let spans = self.trace.spans.iter();
        let now = spans.filter(|span| span.from <= time && time < span.until);
        let signs = now.filter_map(|span| match span.trouble {
            Trouble::Pause(at) => (at == server).then_some('z'),
            Trouble::Stall(at) => (at == server).then_some('~'),
            Trouble::Cut((from, to)) => (from == server || to == server).then_some(':'),
            Trouble::ClientCut(..) => None,
        });
        // The gravest comes last in the alphabet of signs: z, then ~, then :.
        signs.max_by_key(|sign| "~:z".find(*sign).map_or(0, |n| n + 1)).unwrap_or(' ')
    }

    /// Draws a message's way, if the event is its end, from column to column; clients are beyond
    /// the right edge.
    fn draw_arrow(&self, cells: &mut [char], event: &Event) {
        let Some(sent) = self.sent(event) else { return };
        let edge = cells.len() - 1;
        let at = |lane| self.column(lane).map_or(edge, |column| column * WIDTH);
        let (from, to) = (at(sent.lane), at(event.lane));
        if from == to {
            return;
        }
        let lost = event.kind == Kind::Lose;
        let (low, high) = (from.min(to), from.max(to));
        for (n, cell) in cells.iter_mut().enumerate().take(high).skip(low + 1) {
            let crossed = n % WIDTH == 0 && *cell != ' ';
            *cell = if crossed { '┼' } else { '─' };
        }
        let head = if to > from { '>' } else { '<' };
        cells[to] = if lost { '×' } else { head };
        if from == edge {
            cells[edge] = '─';
        } else {
            cells[from] = 'o';
        }
    }

    /// The sending, if the event is the end of a message.
    fn sent(&self, event: &Event) -> Option<&'t Event> {
        let ends = matches!(event.kind, Kind::Receive | Kind::Lose);
        let cause = self.trace.event(event.cause).filter(|_| ends)?;
        (cause.kind == Kind::Send).then_some(cause)
    }

    fn column(&self, lane: Lane) -> Option<usize> {
        let Lane::Server(server) = lane else { return None };
        let column = usize::try_from(server.checked_sub(1)?).ok()?;
        (column < self.standings.len()).then_some(column)
    }
}

/// Whether a reader wants to see an event however old it is.
fn is_weighty(kind: Kind) -> bool {
    match kind {
        Kind::Start | Kind::Crash | Kind::Fault | Kind::Heal => true,
        Kind::Role | Kind::Commit | Kind::Violation => true,
        Kind::Apply | Kind::Persist | Kind::Persisted | Kind::Note => false,
        Kind::Send | Kind::Receive | Kind::Lose => false,
    }
}

/// What an event in a server's column looks like; `None` for what leaves its line as it is.
fn mark(kind: Kind) -> Option<char> {
    match kind {
        Kind::Start => Some('+'),
        Kind::Crash => Some('X'),
        Kind::Role => Some('R'),
        Kind::Commit => Some('C'),
        Kind::Apply => Some('a'),
        Kind::Persist => Some('d'),
        Kind::Persisted => Some('D'),
        Kind::Send => Some('o'),
        Kind::Receive => Some('<'),
        Kind::Lose => Some('×'),
        Kind::Violation => Some('!'),
        Kind::Fault | Kind::Heal | Kind::Note => Some('*'),
    }
}

/// How many characters a column has.
const WIDTH: usize = 5;

const LEGEND: &str = "\
║ leads  │ follows  ┆ asks for votes  (nothing) down │ z paused  : cut off from one  ~ disk stalls
+ starts  X crashes  R role  C commits  a applies  d asks its disk  D disk has done it  * other
o sends  o───> arrives  o───× lost  ! violation; clients are beyond the right edge
";

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chart: &str) -> Vec<&str> {
        chart.lines().skip(LEGEND.lines().count()).collect()
    }

    #[test]
    fn the_chart_shows_the_last_events() {
        let mut trace = Trace::full();
        for n in 0..3 {
            trace.note(n, Lane::Server(1), Kind::Commit, || format!("event {n}"));
        }
        let chart = trace.chart(2, 2);
        let lines = lines(&chart);
        assert_eq!(lines.len(), 3, "{chart}");
        assert!(lines[1].ends_with("S1 event 1") && lines[2].ends_with("S1 event 2"), "{chart}");
    }

    #[test]
    fn columns_show_who_leads_and_who_is_down_paused_or_cut() {
        let mut trace = Trace::full();
        for server in 1..=3 {
            trace.note(1, Lane::Server(server), Kind::Start, || "starts".to_owned());
        }
        trace.note(2, Lane::Server(2), Kind::Role, || "LEADS in term 1".to_owned());
        trace.note(3, Lane::Server(3), Kind::Crash, || "CRASHES".to_owned());
        trace.trouble(Trouble::Pause(1), 3, 5);
        trace.trouble(Trouble::Cut((1, 2)), 3, 5);
        trace.note(4, Lane::World, Kind::Note, || "now".to_owned());
        trace.note(5, Lane::World, Kind::Note, || "then".to_owned());
        let chart = trace.chart(3, 2);
        let lines = lines(&chart);
        assert!(lines[1].ends_with("0.000004  │z   ║:        now"), "{chart}");
        assert!(lines[2].ends_with("0.000005  │    ║         then"), "{chart}");
    }

    #[test]
    fn messages_are_arrows_from_column_to_column() {
        let mut trace = Trace::full();
        for server in 1..=3 {
            trace.note(1, Lane::Server(server), Kind::Start, || "starts".to_owned());
        }
        let sent = trace.note(1000, Lane::Server(1), Kind::Send, || "-> 3".to_owned());
        trace.caused(3000, Lane::Server(3), Kind::Receive, sent, || "<- 1".to_owned());
        trace.caused(3000, Lane::Server(2), Kind::Lose, sent, || "lost".to_owned());
        trace.caused(4000, Lane::Client(1), Kind::Receive, sent, || "reply".to_owned());
        let chart = trace.chart(3, 3);
        let lines = lines(&chart);
        assert!(lines[1].contains("o────┼────>    S3 <- 1 (sent 2.000 ms before, 4)"), "{chart}");
        assert!(lines[2].contains("o────×    │    S2 lost"), "{chart}");
        assert!(lines[3].contains("o────┼────┼───>C1 reply"), "{chart}");
    }

    #[test]
    fn what_led_to_a_violation_long_ago_stands_above() {
        let mut trace = Trace::full();
        trace.note(1, Lane::Server(1), Kind::Role, || "LEADS in term 1".to_owned());
        trace.note(2, Lane::Server(2), Kind::Role, || "LEADS in term 2".to_owned());
        trace.note(3, Lane::Server(1), Kind::Apply, || "applies".to_owned());
        trace.note(4, Lane::Server(1), Kind::Violation, || "WRONG".to_owned());
        trace.note(5, Lane::Server(1), Kind::Note, || "afterwards".to_owned());
        let chart = trace.chart(2, 1);
        let events: Vec<&str> =
            lines(&chart).iter().filter_map(|line| Some(line.split_once("S1 ")?.1)).collect();
        let events: Vec<&str> = events.into_iter().filter(|text| !text.ends_with("what")).collect();
        assert_eq!(events, ["LEADS in term 1", "WRONG"], "{chart}");
    }
}
