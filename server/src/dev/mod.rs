//! `zokor dev`: a whole ensemble in one process, for development.
//!
//! Invariant: its servers are the servers of production, with all their durability; only the
//! process is shared. It writes into no folder that it has not made.

mod folder;
mod watch;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use zokor_core::id::ServerId;

use crate::admin::Whitelist;
use crate::cli::DevArguments;
use crate::config::{HostPort, PeerAddress, PeerRole, ServerLine, ZooConfig};
use crate::launch::Running;
use crate::plan::Plan;
use crate::stop::StopSignals;
use crate::version::VERSION;
use folder::DevFolder;
use watch::{Seen, leader_of};

/// Runs the ensemble until it is told to stop. An `Err` is one sentence for stderr.
pub async fn run(
    arguments: &DevArguments,
    start: impl AsyncFn(Plan) -> Result<Box<dyn Running>, String>,
) -> Result<ExitCode, String> {
    let clients = client_addresses(arguments)?;
    let mut folder = DevFolder::open(&arguments.data_dir, arguments.servers)?;
    for (client, &address) in clients.iter().zip(&listen_addresses(&clients)?) {
        check_free(client, address)?;
    }
    let peer_ports = folder.peer_ports()?;
    let mut signals =
        StopSignals::new().map_err(|error| format!("cannot catch signals: {error}"))?;
    let mut servers = Vec::new();
    for mut plan in plans(&arguments.data_dir, &clients, &peer_ports) {
        plan.ensemble = folder.ensemble();
        let id = plan.replica.raft.id;
        servers.push(start(plan).await.map_err(|problem| format!("server {id}: {problem}"))?);
    }
    print_welcome(arguments, &clients);
    let ended = tokio::select! {
        biased;
        _ = signals.next() => None,
        ended = watch_over(&mut servers, &clients) => Some(ended),
    };
    say("stopping, once more Ctrl-C ends at once");
    for server in &servers {
        server.stop();
    }
    let stopped = async {
        // A server that has told its end once is not asked again.
        let told = ended.as_ref().map(|(index, _)| *index);
        for (index, server) in servers.iter_mut().enumerate() {
            if told != Some(index) {
                server.ended().await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    };
    match (signals.hurry(stopped).await, &ended) {
        (_, Some((_, problem))) => Err(problem.clone()),
        (Err(code), None) => Ok(code),
        (Ok(stopped), None) => stopped,
    }
}

/// Tells who leads, whenever that changes, until a server ends; says which, and why it did.
async fn watch_over(servers: &mut [Box<dyn Running>], clients: &[HostPort]) -> (usize, String) {
    let mut seen = Seen::default();
    loop {
        let stats: Vec<_> = servers.iter().map(|server| server.stats()).collect();
        if let Some(line) = seen.look(leader_of(&stats), clients) {
            say(&line);
        }
        // The look at each end is short: a future that has not ended yet is dropped and asked anew.
        for (index, server) in servers.iter_mut().enumerate() {
            let glance = tokio::time::timeout(Duration::ZERO, server.ended()).await;
            if let Ok(ended) = glance {
                let why = ended.err().unwrap_or_else(|| "it ended by itself".to_owned());
                return (index, format!("server {}: {why}", index + 1));
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// One client address for each server.
fn client_addresses(arguments: &DevArguments) -> Result<Vec<HostPort>, String> {
    let last = arguments.port.checked_add(arguments.servers - 1).ok_or_else(|| {
        format!(
            "{} servers from port {} on would need ports above 65535; choose a smaller --port",
            arguments.servers, arguments.port
        )
    })?;
    let ports = arguments.port..=last;
    Ok(ports.map(|port| HostPort { host: arguments.host.clone(), port }).collect())
}

fn listen_addresses(clients: &[HostPort]) -> Result<Vec<SocketAddr>, String> {
    let resolve = |client: &HostPort| {
        let host = if client.host == "localhost" { "127.0.0.1" } else { &client.host };
        let address = host.parse::<IpAddr>();
        address.map(|address| SocketAddr::new(address, client.port)).map_err(|_| {
            format!("{:?} is no IP address; write one of this machine after --host", client.host)
        })
    };
    clients.iter().map(resolve).collect()
}

/// An `Err` if nobody could listen on `address` now.
fn check_free(client: &HostPort, address: SocketAddr) -> Result<(), String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(format!(
            "port {} on {} is in use; stop what listens there, or choose another --port",
            client.port, client.host
        )),
        Err(error) => Err(format!("cannot serve clients on {client}: {error}")),
    }
}

/// The plan of each server, with the timers of a loopback network.
fn plans(data_dir: &Path, clients: &[HostPort], peer_ports: &[(u16, u16)]) -> Vec<Plan> {
    let ids = (1..).map(ServerId);
    let lines: Vec<ServerLine> = ids
        .zip(clients.iter().zip(peer_ports))
        .map(|(id, (client, &(quorum_port, election_port)))| ServerLine {
            id,
            addresses: vec![PeerAddress { host: LOOPBACK.to_owned(), quorum_port, election_port }],
            role: PeerRole::Participant,
            client: Some(client.clone()),
            secure_client: None,
        })
        .collect();
    let alone = lines.len() == 1;
    let plan = |line: &ServerLine| {
        let data_dir = folder::of_server(data_dir, line.id);
        let client = line.client.clone().expect("every line above has a client address");
        let mut config = ZooConfig::minimal(line.id, data_dir, client);
        if !alone {
            config.servers.clone_from(&lines);
        }
        let mut plan = Plan::new(&config);
        plan.whitelist = Whitelist::all();
        // Nothing gets lost on the way to oneself, so a missing leader is missed sooner.
        plan.replica.raft.election_timeout = ELECTION_TIMEOUT;
        plan.replica.raft.heartbeat_interval = ELECTION_TIMEOUT / 10;
        // All servers stop together: there is nobody to take over.
        plan.hand_over_timeout = Duration::ZERO;
        plan.farewell_timeout = FAREWELL_TIMEOUT;
        plan
    };
    lines.iter().map(plan).collect()
}

fn print_welcome(arguments: &DevArguments, clients: &[HostPort]) {
    let all: Vec<_> = clients.iter().map(HostPort::to_string).collect();
    let (all, first) = (all.join(","), &clients[0]);
    let n_servers = match clients.len() {
        1 => "1 server".to_owned(),
        more => format!("{more} servers"),
    };
    say(&format!(
        "zokor {VERSION}, {n_servers} in this process\n\n  \
         connect string  {all}\n  \
         data            {} (kept for the next start)\n\n  \
         try             zkCli.sh -server {first} ls /\n                  \
         zokor status {all}\n                  \
         python3 -c 'from kazoo.client import KazooClient as K; k = K(\"{all}\"); k.start(); \
         print(k.get_children(\"/\"))'\n\n\
         Ctrl-C stops",
        arguments.data_dir.display()
    ));
}

/// A line to stdout; a reader that has gone away is no reason to stop.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

const LOOPBACK: &str = "127.0.0.1";
const ELECTION_TIMEOUT: Duration = Duration::from_millis(500);
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(800);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
