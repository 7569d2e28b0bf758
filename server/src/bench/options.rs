//! The arguments of `zokor bench`.

use std::time::Duration;

use clap::Args;

use super::mix::{Kind, Mix};

/// The arguments of `zokor bench`.
#[derive(Args, Clone, Debug)]
#[command(after_help = WORDS)]
pub struct BenchArguments {
    /// The servers; connections go round them
    #[arg(long, value_name = "HOST:PORT,...", default_value = "127.0.0.1:2181")]
    #[arg(value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// What to do, with weights
    #[arg(long, value_name = "KIND=WEIGHT,...", default_value = "get=90,set=10")]
    pub mix: Mix,
    /// How many connections, each with a session of its own
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub connections: u32,
    /// How many operations a connection may have sent without an answer
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub outstanding: u32,
    /// Bytes of data in a znode
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub size: u32,
    /// How many znodes are read and set
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub nodes: u32,
    /// How many setData a multi has
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub parts: u32,
    /// How many names getChildren returns
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub names: u32,
    /// How many sessions watch the znode of `watch`, beside the one that changes it
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub watchers: u32,
    /// How long to measure: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Ends after so many operations (for watch: changes) instead of after a time
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// How long to do the same before measuring
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub warm_up: Duration,
    /// Offers so many operations a second (for watch: changes); else each answer brings the next
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// The session timeout asked for
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// All happens below this znode; without --reuse it must be new [default: /zokor-bench-RANDOM]
    #[arg(long, value_name = "PATH", value_parser = root)]
    pub root: Option<String>,
    /// Leaves the znodes there at the end
    #[arg(long)]
    pub keep: bool,
    /// Works on what an earlier run with the same arguments left at --root, and leaves it there
    #[arg(long, requires = "root")]
    pub reuse: bool,
    /// Which znodes and kinds come in which order
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Processes of servers on this machine: tells what they cost
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Prints one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

impl BenchArguments {
    /// Whether the arguments fit each other, where clap cannot tell.
    pub(super) fn check(&self) -> Result<(), String> {
        // Their names would be those of the earlier run.
        if self.reuse && [Kind::Create, Kind::Delete].iter().any(|&kind| self.mix.has(kind)) {
            return Err("create and delete need a root of their own, without --reuse".into());
        }
        Ok(())
    }

    /// Whether what is below the root stays: it was asked for, or an earlier run made it.
    pub(super) fn keeps(&self) -> bool {
        self.keep || self.reuse
    }

    /// How many connections there are.
    pub(super) fn n_connections(&self) -> u32 {
        if self.mix.has(Kind::Watch) { self.watchers + 1 } else { self.connections }
    }
}

/// A number and a unit; without one, seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("the unit {unit:?} is none of ms, s, m, h")),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * seconds_per_unit);
    let seconds = seconds.filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
    let seconds = seconds.ok_or("a time is a number with a unit, such as 500ms, 10s or 2m")?;
    Ok(Duration::from_secs_f64(seconds))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=1e7).contains(rate));
    rate.ok_or_else(|| "a rate is a number from 0.001 to 10000000".to_owned())
}

fn root(text: &str) -> Result<String, String> {
    zokor_core::proto::is_valid(text).map_err(|error| error.to_string())?;
    if text == "/" {
        return Err("all below it is deleted at the end: name a znode that is not there".into());
    }
    Ok(text.to_owned())
}

/// Ten days.
const MAX_SECONDS: f64 = 864_000.0;

const WORDS: &str = "\
Kinds of work:
  get exists set  one of --nodes znodes of --size bytes
  create          a znode that stays
  delete          the oldest that create has made on the same connection; if there is none, one is
                  created, which counts as create
  ephemeral       creates an ephemeral znode, and deletes it with the next operation
  sequential      a sequential znode; all connections share the parent
  multi           --parts setData at once
  children        getChildren with --names names
  sync            sync
  watch           by itself: one session changes a znode, --watchers others hear of it, and watch
                  again when all have heard; `last` is when the last has
  session         by itself: every connection opens a session and closes it, again and again

Latencies count from when an operation was sent; with --rate from when it should have been, so that
a server that stalls is not excused. Everything happens below a znode of its own, which is deleted
at the end. The exit code is 1 if any operation failed or anything is left behind.

Examples:
  zokor bench --hosts a:2181,b:2181,c:2181 --connections 64 --outstanding 1
  zokor bench --mix set --rate 500 --duration 1m
  zokor bench --mix watch --watchers 1000 --count 20 --json
  zokor bench --root /big --nodes 1000000 --keep      and again, without making the znodes:
  zokor bench --root /big --nodes 1000000 --reuse --mix set";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in [("500ms", 500), ("2s", 2_000), ("3", 3_000), ("1.5m", 90_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1e9h", "x", "NaN"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_and_roots_are_checked_at_the_door() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "x"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(root("/a/b"), Ok("/a/b".to_owned()));
        for text in ["", "/", "a", "/a/", "//"] {
            assert!(root(text).is_err(), "{text:?}");
        }
    }
}
