//! The seam to `net`: one function turns a plan into a server under way.
//!
//! Invariant: no other file of this crate knows how a server is run. Everything of one server is on
//! threads of its own; this side only asks and waits.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;
use tracing::info;
use zokor_core::Replica;
use zokor_core::id::Seed;
use zokor_core::replica::Stats;
use zokor_net::runtime::{
    self, Clock, Config, ConnectThrottle, Handle, Limits, Parts, Prepared, SystemClock,
    storage_workers,
};
use zokor_net::storage::{self, Options, ReadingDisk, RealDisk, Snapshots, Wal};
use zokor_net::transport::{RealSockets, room_for_clients};

use crate::admin::{Start, Words};
use crate::config::HostPort;
use crate::first_start::FirstStart;
use crate::plan::Plan;

/// A server under way. Dropping it is a crash; a clean end begins with `stop`.
pub trait Running {
    /// Where clients are served, with the port that was bound.
    fn client_address(&self) -> SocketAddr;

    /// What it is and has done at this moment.
    fn stats(&self) -> Stats;

    /// For what an operator asks of it.
    fn handle(&self) -> Option<&Handle>;

    /// Asks it to end. May be called more than once.
    fn stop(&self);

    /// Waits for its end. An `Err` is one sentence: why it could not go on.
    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), String>> + '_>>;
}

/// Starts a server: recovers what is on disk and binds its ports. An `Err` is one sentence.
pub async fn start(plan: Plan) -> Result<Box<dyn Running>, String> {
    let config = net_config(&plan).await?;
    let (tell_start, started) = oneshot::channel();
    let (tell_end, ended) = oneshot::channel();
    let body = move || {
        let server = match runtime::start(config, move || prepare(&plan)) {
            Ok(server) => server,
            Err(error) => {
                // Whoever asked may have lost interest.
                let _ = tell_start.send(Err(error.to_string()));
                return;
            }
        };
        let _ = tell_start.send(Ok(server.handle().clone()));
        let _ = tell_end.send(server.wait().map_err(|error| error.to_string()));
    };
    thread::Builder::new()
        .name("zokor-wait".to_owned())
        .spawn(body)
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let handle = started.await.map_err(|_| BROKEN.to_owned())??;
    Ok(Box::new(Launched { handle, ended }))
}

struct Launched {
    handle: Handle,
    ended: oneshot::Receiver<Result<(), String>>,
}

impl Running for Launched {
    fn client_address(&self) -> SocketAddr {
        self.handle.addresses().clients[0]
    }

    fn stats(&self) -> Stats {
        self.handle.stats()
    }

    fn handle(&self) -> Option<&Handle> {
        Some(&self.handle)
    }

    fn stop(&self) {
        self.handle.shutdown();
    }

    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), String>> + '_>> {
        Box::pin(async { (&mut self.ended).await.unwrap_or_else(|_| Err(BROKEN.to_owned())) })
    }
}

/// What `net` needs to know of the plan.
async fn net_config(plan: &Plan) -> Result<Config, String> {
    let mut config = Config::new(plan.replica.raft.id, resolve(&plan.client).await?);
    config.client_backlog = plan.client_backlog;
    config.ensemble = ensemble(plan)?;
    config.hand_over_timeout = plan.hand_over_timeout;
    config.farewell_timeout = plan.farewell_timeout;
    if let Some(listen) = plan.peer_listen.first() {
        config.peer_address = Some(resolve(listen).await?);
    }
    // A peer's name is looked up at each attempt to reach it, since its address may change.
    let reach = |addresses: &Vec<HostPort>| addresses.first().map(HostPort::to_string);
    let peers = plan.peers.iter();
    config.peers = peers.filter_map(|(&id, them)| Some((id, reach(them)?))).collect();
    let room = room_for_clients();
    config.peer_queue_bytes = plan.peer_queue_bytes;
    let seed = u64::from_le_bytes(random()?);
    config.limits = Limits {
        max_frame_bytes: plan.limits.max_frame_bytes,
        handshake_timeout: plan.limits.handshake_timeout,
        large_request_threshold: plan.limits.large_request_threshold,
        large_request_max_bytes: plan.limits.large_request_max_bytes,
        disk_reserve_bytes: plan.limits.disk_reserve_bytes,
        connect_throttle: ConnectThrottle { seed, ..plan.limits.connect.clone() },
        request_throttle: plan.limits.requests.clone(),
        max_connections: match plan.max_connections as usize {
            0 => room,
            wanted => wanted.min(room),
        },
        max_connections_per_address: plan.max_connections_per_address as usize,
        ..Limits::default()
    };
    if let Some(limit) = plan.outstanding_limit {
        config.limits.global_outstanding = limit;
    }
    Ok(config)
}

/// The number of the ensemble: that of the folder, if it began with an import or a backup. It never
/// changes, so it may be read before the folder is claimed.
fn ensemble(plan: &Plan) -> Result<u64, String> {
    match ReadingDisk::new(&plan.data_dir) {
        Ok(disk) => storage::ensemble_of(&disk).map_err(|error| error.to_string()),
        // It is made later, or why it cannot be is told then.
        Err(_) => Ok(plan.ensemble),
    }
}

/// The first address of a name.
async fn resolve(name: &HostPort) -> Result<SocketAddr, String> {
    let failed = |why: String| format!("cannot find the address of {name}: {why}");
    let mut addresses = tokio::net::lookup_host((name.host.as_str(), name.port))
        .await
        .map_err(|error| failed(error.to_string()))?;
    addresses.next().ok_or_else(|| failed("it has none".to_owned()))
}

type Store = Prepared<Wal<RealDisk>, Snapshots<RealDisk>>;

/// Opens the folders and makes the replica. The ports are ours already.
fn prepare(plan: &Plan) -> Result<Store, Box<dyn std::error::Error + Send + Sync>> {
    let clock = SystemClock::new();
    let since = clock.now().instant;
    let mut options = Options::new(plan.replica.raft.id, random()?, clock.now().wall);
    options.snapshots_kept = plan.snapshots_kept as usize;
    options.has_peers = !plan.peers.is_empty();
    plan.first_start.permit(&plan.data_dir, plan.log_dir.as_deref())?;
    let data = open_folder(&plan.data_dir)?;
    let opened = match &plan.log_dir {
        Some(log) => storage::open_apart(data, open_folder(log)?, &options)?,
        None => storage::open(data, &options)?,
    };
    info!("{}: {}", plan.data_dir.display(), opened.report);
    FirstStart::use_up(&plan.data_dir, plan.log_dir.as_deref())?;
    let n_entries = opened.recovered.entries.len() as u64;
    let seed = Seed(random()?);
    let replica = Replica::new(clock.now(), plan.replica.clone(), seed, opened.recovered);
    let (storage, log, snapshots) = storage_workers(opened.wal, opened.snapshots);
    let words = Words::new(plan.settings.clone(), plan.whitelist.clone());
    let admin = Arc::new(words.with_start(Start {
        load_ms: u64::try_from(clock.now().instant.since(since).as_millis())?,
        n_entries,
    }));
    let (clock, options) = (Arc::new(clock), Arc::new(RealSockets));
    Ok(Prepared { parts: Parts { replica, storage, clock, admin, options }, log, snapshots })
}

fn open_folder(path: &Path) -> Result<RealDisk, String> {
    RealDisk::new(path).map_err(|error| format!("cannot open {}: {error}", path.display()))
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}

const BROKEN: &str = "the server's thread has failed; the log above shows where";
