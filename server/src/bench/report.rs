//! The table, and the same as JSON.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::cost::Cost;
use super::meter::Measured;
use super::mix::{Kind, Mix};
use super::options::BenchArguments;

/// What a run was and what it brought.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) arguments: &'a BenchArguments,
    pub(super) measured: &'a Measured,
    /// What was left behind, if anything was.
    pub(super) left_behind: Option<&'a str>,
}

impl Report<'_> {
    fn mix(&self) -> &Mix {
        &self.arguments.mix
    }

    fn n_done(&self) -> u64 {
        self.of_all().len()
    }

    fn of_all(&self) -> Histogram<u64> {
        self.measured.tally.of_all(|kind: Kind| kind.is_counted_with(self.mix()))
    }

    fn per_s(&self, n: u64) -> f64 {
        n as f64 / self.measured.elapsed.as_secs_f64().max(1e-9)
    }

    /// For reading.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.headline());
        let head = ["", "done", "per s", "p50 ms", "p90", "p99", "p99.9", "max", "mean"];
        let mut lines = vec![head.map(str::to_owned)];
        let rows = self.measured.tally.by_kind();
        lines.extend(rows.iter().map(|(kind, h)| self.line(kind.as_str(), h)));
        if rows.iter().filter(|(kind, _)| kind.is_counted_with(self.mix())).count() > 1 {
            lines.push(self.line("all", &self.of_all()));
        }
        text.push_str(&aligned(&lines));
        let ms = |ns: u64| ns as f64 / 1e6;
        let tally = &self.measured.tally;
        let _ = writeln!(
            text,
            "\nlongest time without an answer: {:.1} ms",
            ms(tally.pause.longest_ns())
        );
        if rows.iter().any(|(kind, _)| kind.is_write()) {
            let pause = ms(tally.write_pause.longest_ns());
            let _ = writeln!(text, "longest time without a write:   {pause:.1} ms");
        }
        for (n, cost) in self.measured.costs.iter().enumerate() {
            let who =
                if n == 0 { "this program".to_owned() } else { format!("process {}", cost.pid) };
            let _ = writeln!(text, "{who}: {}", self.cost_words(cost));
        }
        match tally.n_errors() {
            0 => text.push_str("no operation failed\n"),
            1 => text.push_str("1 operation failed:\n"),
            n => {
                let _ = writeln!(text, "{n} operations failed:");
            }
        }
        for (kind, why, n) in tally.errors() {
            let _ = writeln!(text, "  {n} x {kind}: {why}");
        }
        if let Some(left) = self.left_behind {
            let _ = writeln!(text, "left behind: {left}");
        }
        text
    }

    fn headline(&self) -> String {
        let a = self.arguments;
        let crowd = if a.mix.has(Kind::Watch) {
            format!("{} watchers", a.watchers)
        } else if a.mix.has(Kind::Session) {
            format!("{} connections", a.connections)
        } else {
            format!("{} connections x {} outstanding", a.connections, a.outstanding)
        };
        let pace = match a.rate {
            Some(rate) => format!("{rate} per s offered"),
            None => "closed loop".to_owned(),
        };
        format!(
            "{} at {}: {crowd}, {} bytes, {pace}, {:.1} s",
            a.mix,
            a.hosts.join(","),
            a.size,
            self.measured.elapsed.as_secs_f64(),
        )
    }

    fn line(&self, name: &str, h: &Histogram<u64>) -> [String; 9] {
        let ms = |ns: f64| format!("{:.3}", ns / 1e6);
        let at = |q| ms(h.value_at_quantile(q) as f64);
        [
            name.to_owned(),
            h.len().to_string(),
            format!("{:.0}", self.per_s(h.len())),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            ms(h.max() as f64),
            ms(h.mean()),
        ]
    }

    fn cost_words(&self, cost: &Cost) -> String {
        let n = self.n_done().max(1) as f64;
        format!(
            "{:.2} us of CPU and {:.2} context switches per operation, {:.1} MB resident",
            cost.cpu_ns() as f64 / 1e3 / n,
            cost.n_switches as f64 / n,
            cost.resident as f64 / 1e6,
        )
    }

    /// For programs. Times are in nanoseconds.
    pub(super) fn json(&self) -> Value {
        let a = self.arguments;
        let tally = &self.measured.tally;
        let rows: Vec<Value> =
            tally.by_kind().iter().map(|(kind, h)| self.row_json(kind.as_str(), h)).collect();
        let errors = tally
            .errors()
            .map(|(kind, why, n)| json!({"kind": kind.as_str(), "why": why, "count": n}));
        let cost = |cost: &Cost| {
            json!({
                "pid": cost.pid,
                "cpu_ns": cost.cpu_ns(),
                "switches": cost.n_switches,
                "preemptions": cost.n_preemptions,
                "resident_bytes": cost.resident,
            })
        };
        json!({
            "hosts": a.hosts,
            "mix": a.mix.to_string(),
            "connections": a.connections,
            "outstanding": a.outstanding,
            "size": a.size,
            "rate": a.rate,
            "elapsed_ns": self.measured.elapsed.as_nanos() as u64,
            "all": self.row_json("all", &self.of_all()),
            "kinds": rows,
            "errors": errors.collect::<Vec<_>>(),
            "n_errors": tally.n_errors(),
            "longest_pause_ns": tally.pause.longest_ns(),
            "longest_write_pause_ns": tally.write_pause.longest_ns(),
            "generator": self.measured.costs.first().map(cost),
            "processes": self.measured.costs.iter().skip(1).map(cost).collect::<Vec<_>>(),
            "left_behind": self.left_behind,
        })
    }

    fn row_json(&self, name: &str, h: &Histogram<u64>) -> Value {
        json!({
            "kind": name,
            "done": h.len(),
            "per_s": self.per_s(h.len()),
            "mean_ns": h.mean(),
            "p50_ns": h.value_at_quantile(0.5),
            "p90_ns": h.value_at_quantile(0.9),
            "p99_ns": h.value_at_quantile(0.99),
            "p999_ns": h.value_at_quantile(0.999),
            "max_ns": h.max(),
        })
    }
}

/// Columns as wide as their widest cell: the first to the left, numbers to the right.
fn aligned(lines: &[[String; 9]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: [usize; 9] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines {
        let _ = write!(text, "{:1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::bench::tally::Tally;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: BenchArguments,
    }

    fn arguments(line: &str) -> BenchArguments {
        Line::parse_from(line.split_whitespace()).arguments
    }

    fn measured() -> Measured {
        let mut tally = Tally::new(0);
        for ms in 1..=10 {
            tally.done(Kind::Get, 0, ms * 1_000_000);
        }
        tally.done(Kind::Set, 0, 20_000_000);
        tally.failed(Kind::Set, "NoNode");
        tally.turn_over(|_| true);
        let costs = vec![Cost::default()];
        Measured { tally, elapsed: Duration::from_secs(2), costs }
    }

    #[test]
    fn the_table_has_a_row_a_kind_and_one_for_all() {
        let (arguments, measured) = (arguments("bench --mix get,set"), measured());
        let left_behind = Some("/zokor-bench-1");
        let text = Report { arguments: &arguments, measured: &measured, left_behind }.table();
        let words = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start)).expect(start);
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words("get ")[..3], ["get", "10", "5"]);
        assert_eq!(words("set ")[..3], ["set", "1", "0"]);
        assert_eq!(words("all ")[..3], ["all", "11", "6"]);
        assert!(text.contains("get=1,set=1 at 127.0.0.1:2181: 16 connections x 16"), "{text}");
        assert!(text.contains("1 operation failed:\n  1 x set: NoNode\n"), "{text}");
        assert!(text.contains("left behind: /zokor-bench-1\n"), "{text}");
        let rows: Vec<&str> =
            text.lines().filter(|line| line.contains("  ") && !line.starts_with("  1")).collect();
        assert!(rows[..4].iter().all(|row| row.len() == rows[0].len()), "{text}");
    }

    #[test]
    fn what_the_operations_of_watch_wait_for_is_not_counted_with_them() {
        let arguments = arguments("bench --mix watch");
        let mut measured = measured();
        measured.tally.done(Kind::Watch, 0, 1);
        measured.tally.done(Kind::Last, 0, 1);
        measured.tally.turn_over(|_| true);
        let report = Report { arguments: &arguments, measured: &measured, left_behind: None };
        // Ten gets, which no such run has, and the notification.
        assert_eq!(report.n_done(), 11);
        assert!(!report.table().contains("left behind"));
    }

    #[test]
    fn the_json_says_the_same_as_the_table() {
        let (arguments, measured) = (arguments("bench --rate 50"), measured());
        let report = Report { arguments: &arguments, measured: &measured, left_behind: None };
        let json = report.json();
        assert_eq!(json["all"]["done"], 11);
        assert_eq!(json["kinds"][0]["kind"], "get");
        assert_eq!(json["kinds"][0]["per_s"], 5.0);
        assert_eq!(json["errors"][0]["why"], "NoNode");
        assert_eq!(json["n_errors"], 1);
        assert_eq!(json["rate"], 50.0);
        assert_eq!(json["left_behind"], Value::Null);
    }
}
