//! `zokor serve`: one server, until it is told to stop.

use std::path::Path;
use std::process::ExitCode;

use tracing::{info, warn};

use crate::cli::ServeArguments;
use crate::config::{Flags, ZooConfig};
use crate::launch::Running;
use crate::plan::Plan;
use crate::stop::StopSignals;
use crate::version::VERSION;

/// Runs the server. An `Err` is one sentence for stderr.
pub async fn run(
    arguments: &ServeArguments,
    start: impl AsyncFnOnce(Plan) -> Result<Box<dyn Running>, String>,
) -> Result<ExitCode, String> {
    let config = read(arguments)?;
    info!("zokor {VERSION}, server {}", config.id);
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let plan = Plan::new(&config);
    tell_plan(&config, &plan);
    let mut signals =
        StopSignals::new().map_err(|error| format!("cannot catch signals: {error}"))?;
    let mut server = tokio::select! {
        biased;
        started = start(plan) => started?,
        signal = signals.next() => {
            info!("{signal} during the start, stopping");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let stats = server.stats();
    info!(
        "the state begins at zxid {} with {} znodes and {} sessions; the rest of the log is \
         applied once a quorum confirms it",
        stats.zxid, stats.znodes, stats.sessions
    );
    info!("serving clients on {}", server.client_address());
    let signal = tokio::select! {
        biased;
        signal = signals.next() => signal,
        ended = server.ended() => {
            return Err(ended.err().unwrap_or_else(|| "the server ended by itself".to_owned()));
        }
    };
    info!("{signal}, stopping; a second signal ends at once");
    server.stop();
    match signals.hurry(server.ended()).await {
        Ok(ended) => ended.map(|()| {
            info!("stopped");
            ExitCode::SUCCESS
        }),
        Err(code) => Ok(code),
    }
}

/// A file, or ZooKeeper's other form: the port and the folder of a standalone server.
fn read(arguments: &ServeArguments) -> Result<ZooConfig, String> {
    let flags = Flags::from_environment();
    let config = match (&arguments.config, &arguments.standalone[..]) {
        (Some(file), _) => ZooConfig::read(file, &flags),
        (None, [file]) => ZooConfig::read(Path::new(file), &flags),
        (None, standalone) => ZooConfig::from_arguments(standalone, &flags),
    };
    config.map_err(|error| error.to_string())
}

fn tell_plan(config: &ZooConfig, plan: &Plan) {
    if config.is_standalone() {
        info!("standalone: no server lines, so nobody else has a copy of the data");
    }
    for line in &config.servers {
        info!("ensemble: server.{}={}", line.id, line.canonical());
    }
    for line in config.groups.to_lines().lines() {
        info!("ensemble: {line}");
    }
    for address in &plan.peer_listen {
        info!("listening for peers on {address} (election ports are not used)");
    }
    info!(
        "data in {}, log in {}, {} snapshots kept",
        plan.data_dir.display(),
        plan.log_dir.as_ref().unwrap_or(&plan.data_dir).display(),
        plan.snapshots_kept
    );
    if let Some(sasl) = &plan.replica.auth.sasl {
        info!("SASL: {} users may log in by DIGEST-MD5", sasl.users.len());
    }
    if let Some(auth) = &plan.peer_auth {
        let own = match (auth.asks, auth.demands) {
            (_, true) => "nobody is let in, and no peer is spoken to, without it",
            (true, false) => "no peer is spoken to without it, and whoever comes is let in",
            (false, false) => "it is there for those who wish it, and whoever comes is let in",
        };
        info!(
            "SASL between servers: by DIGEST-MD5, here as {:?}; {} users are known; {own}",
            auth.user,
            auth.users.len()
        );
    }
    let exposed = |host: &str| {
        host != "localhost"
            && !host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    if exposed(&plan.client.host) {
        warn!(
            "clients are served without encryption on {}; clientPortAddress can narrow that",
            plan.client
        );
    }
    if plan.admin.http.as_ref().is_some_and(|admin| exposed(&admin.address.host)) {
        warn!(
            "the admin server answers whoever reaches its port; admin.serverAddress can narrow \
             that, or admin.enableServer=false"
        );
    }
    if plan.peer_listen.iter().any(|address| exposed(&address.host)) {
        let lacks = match &plan.peer_auth {
            Some(auth) if auth.demands => "connections between servers are not encrypted",
            _ => "connections between servers are neither encrypted nor all authenticated",
        };
        warn!("{lacks}; keep their port in a closed network");
    }
}
