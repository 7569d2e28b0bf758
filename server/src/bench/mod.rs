//! `zokor bench`: loads servers and measures them, ours or any that speak ZooKeeper's protocol.
//!
//! Invariant: one thread does the work, so that what is measured are the servers; and nothing of a
//! run is left behind without a word.

mod churn;
mod clerk;
mod cost;
mod fanout;
mod farewell;
mod files;
mod hosts;
mod link;
mod links;
mod meter;
mod mix;
mod mixed;
mod operations;
mod options;
mod readiness;
mod report;
mod schedule;
mod tally;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use options::BenchArguments;

use zokor_core::proto::Request;

use crate::stop::StopSignals;
use churn::Churn;
use clerk::Clerk;
use fanout::Fanout;
use farewell::Farewell;
use links::{Links, Load, Manner};
use meter::{Measured, Meter};
use mix::Kind;
use mixed::Mixed;
use operations::{Places, ends};
use report::Report;

/// Runs a load as the arguments say and prints what it brought. The first signal ends it early, and
/// what was measured until then is told; the second ends it at once.
pub async fn run(arguments: &BenchArguments) -> Result<ExitCode, String> {
    let mut signals =
        StopSignals::new().map_err(|error| format!("cannot catch signals: {error}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let (arguments, asked) = (arguments.clone(), stop.clone());
    let mut work = tokio::task::spawn_blocking(move || run_here(&arguments, asked));
    let done = tokio::select! {
        biased;
        done = &mut work => done,
        _ = signals.next() => {
            stop.store(true, Ordering::Relaxed);
            tokio::select! {
                biased;
                done = &mut work => done,
                _ = signals.next() => std::process::exit(130),
            }
        }
    };
    done.unwrap_or_else(|error| Err(format!("the run broke off: {error}")))
}

fn run_here(arguments: &BenchArguments, stop: Arc<AtomicBool>) -> Result<ExitCode, String> {
    arguments.check()?;
    files::make_room(arguments.n_connections())?;
    let hosts = hosts::addresses(&arguments.hosts)?;
    let root = match &arguments.root {
        Some(root) => root.clone(),
        None => random_root()?,
    };
    let places = Places::new(&root, arguments);
    prepare(arguments, &hosts, &places, &root, &stop)?;
    let meter = Meter::new(arguments, stop);
    let measured = measure(arguments, &hosts, places, meter);
    let left_behind = tidy(arguments, &hosts, &root);
    if let (Err(_), Some(left)) = (&measured, &left_behind) {
        eprintln!("zokor: left behind: {left}");
    }
    let measured = measured?;
    let report = Report { arguments, measured: &measured, left_behind: left_behind.as_deref() };
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    let good = measured.tally.n_errors() == 0 && (left_behind.is_none() || arguments.keeps());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn prepare(
    arguments: &BenchArguments,
    hosts: &[SocketAddr],
    places: &Places,
    root: &str,
    stop: &AtomicBool,
) -> Result<(), String> {
    let mut clerk = Clerk::open(hosts, arguments.timeout)?;
    let requests = places.prepared(arguments);
    if arguments.reuse {
        let found = clerk.make(&ends(root, &requests));
        clerk.close();
        return found.map_err(|problem| {
            format!("{problem}: --reuse needs what a run with the same arguments and --keep made")
        });
    }
    // The root by itself: if it is there, nothing below it is ours.
    clerk.make(&requests[..1])?;
    let made = make_all(arguments, &mut clerk, &requests[1..], stop);
    clerk.close();
    made.map_err(|problem| match tidy(arguments, hosts, root) {
        Some(left) => format!("{problem}; left behind: {left}"),
        None => problem,
    })
}

/// In parts, so that it can be told how far it is, and ended.
fn make_all(
    arguments: &BenchArguments,
    clerk: &mut Clerk,
    requests: &[Request],
    stop: &AtomicBool,
) -> Result<(), String> {
    let (mut told, mut n_made) = (Instant::now(), 0);
    for part in requests.chunks(PART) {
        if stop.load(Ordering::Relaxed) {
            return Err("ended before all znodes were made".into());
        }
        clerk.make(part)?;
        n_made += part.len();
        if !arguments.quiet && told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            eprintln!("{n_made} of {} znodes made", requests.len());
        }
    }
    Ok(())
}

/// Deletes all that the run has made. Returns what is left.
fn tidy(arguments: &BenchArguments, hosts: &[SocketAddr], root: &str) -> Option<String> {
    if arguments.keeps() {
        return Some(format!("{root}, as asked"));
    }
    let cleared = Clerk::open(hosts, arguments.timeout).and_then(|mut clerk| {
        let cleared = clerk.clear(root);
        clerk.close();
        cleared
    });
    let problem = cleared.err()?;
    Some(format!("{root} and what is below it, delete it by hand: {problem}"))
}

fn measure(
    arguments: &BenchArguments,
    hosts: &[SocketAddr],
    places: Places,
    meter: Meter,
) -> Result<Measured, String> {
    let is_fanout = arguments.mix.has(Kind::Watch);
    let is_churn = arguments.mix.has(Kind::Session);
    let manner = Manner {
        n: arguments.n_connections() as usize,
        timeout: arguments.timeout,
        exact: arguments.rate.is_some(),
        syncs_first: !is_churn,
    };
    let cannot = |error: std::io::Error| format!("cannot wait for connections: {error}");
    let mut links = Links::new(manner, hosts).map_err(cannot)?;
    let measured = if is_fanout {
        let mut load = Fanout::new(places, arguments.watchers, arguments.rate, meter);
        drive(&mut links, &mut load).and_then(|now_ns| load.meter.finish(now_ns))
    } else if is_churn {
        let mut load = Churn::new(arguments.connections, arguments.rate, meter);
        drive(&mut links, &mut load).and_then(|now_ns| load.meter.finish(now_ns))
    } else {
        let mut load = Mixed::new(arguments, places, meter);
        drive(&mut links, &mut load).and_then(|now_ns| load.meter.finish(now_ns))
    };
    if !is_churn {
        links.run(&mut Farewell::default()).map_err(cannot)?;
    }
    measured
}

/// Runs `load` to its end; returns when that was.
fn drive(links: &mut Links, load: &mut dyn Load) -> Result<u64, String> {
    links.run(load).map_err(|error| format!("cannot wait for connections: {error}"))?;
    Ok(links.now_ns())
}

fn random_root() -> Result<String, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
    Ok(format!("/zokor-bench-{:016x}", u64::from_be_bytes(bytes)))
}

/// Znodes that are made between two looks at the clock.
const PART: usize = 1_000;
