//! The seam to `net`: one function turns a plan into a server under way.
//!
//! Invariant: no other file of this crate knows how a server is run. Everything of one server is on
//! threads of its own; this side only asks and waits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};
use zokor_core::Replica;
use zokor_core::id::Seed;
use zokor_core::replica::Stats;
use zokor_core::time::WallTime;
use zokor_net::runtime::{
    self, Auditor, Clock, Config, ConnectThrottle, Handle, Limits, Parts, Prepared, SystemClock,
    storage_workers,
};
use zokor_net::storage::{self, Options, ReadingDisk, RealDisk, Scrub, Snapshots, Wal};
use zokor_net::transport::{self, Credentials, RealSockets, room_for_clients};

use crate::admin::http::{self, Metrics, RequestBody, Restorer};
use crate::admin::{Start, Words, environment_properties};
use crate::audit::Audit;
use crate::config::{HostPort, LogWrites};
use crate::first_start::FirstStart;
use crate::plan::Plan;
use crate::restore;

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
    let audit = plan.admin.audit.as_ref().map(Audit::open).transpose()?;
    let started = start_audited(plan, audit.clone()).await;
    if let Some(audit) = audit {
        audit.started(started.is_ok());
        audit.flush();
    }
    started
}

async fn start_audited(plan: Plan, audit: Option<Audit>) -> Result<Box<dyn Running>, String> {
    let mut config = net_config(&plan).await?;
    learn_ensemble(&plan, &mut config).await?;
    let metrics = match &plan.admin.metrics {
        Some((at, exposition)) => Some(Metrics::open(at, *exposition).await?),
        None => None,
    };
    let auditor = audit.clone().map(|audit| Arc::new(audit) as Arc<dyn Auditor>);
    let words = Words::new(plan.settings.clone(), plan.whitelist.clone()).with_auditor(auditor);
    let words = Arc::new(words);
    let (plans, told) = (plans_of_operators(&plan), words.clone());
    let (tell_start, started) = oneshot::channel();
    let (tell_end, ended) = oneshot::channel();
    let last_words = audit.clone();
    let body = move || {
        let server = match runtime::start(config, move || prepare(&plan, told)) {
            Ok(server) => server,
            Err(error) => {
                // Whoever asked may have lost interest.
                let _ = tell_start.send(Err(error.to_string()));
                return;
            }
        };
        let _ = tell_start.send(Ok(server.handle().clone()));
        let ended = server.wait().map_err(|error| error.to_string());
        if let Some(audit) = last_words {
            audit.flush();
        }
        let _ = tell_end.send(ended);
    };
    thread::Builder::new()
        .name("zokor-wait".to_owned())
        .spawn(body)
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let handle = started.await.map_err(|_| BROKEN.to_owned())??;
    let plans = http::Plans { restorer: Some(restorer(handle.clone())), ..plans };
    let ports = http::serve(plans, metrics, handle.clone(), words).await;
    Ok(Box::new(Launched { handle, ended, audit, _ports: ports }))
}

/// What the admin server needs to know of the plan.
fn plans_of_operators(plan: &Plan) -> http::Plans {
    let properties = environment_properties().chain(plan.machine_properties.clone());
    let properties: BTreeMap<String, String> = properties.collect();
    http::Plans {
        admin: plan.admin.http.clone(),
        auth: plan.replica.auth.clone(),
        skips_acl: plan.replica.rules.skip_acl,
        file_text: plan.file_text.clone(),
        properties: properties.into_iter().collect(),
        restorer: None,
    }
}

/// Restores what comes over HTTP.
fn restorer(handle: Handle) -> Restorer {
    Arc::new(move |mut body: RequestBody| {
        let handle = handle.clone();
        Box::pin(async move {
            let (sender, reader) = restore::parts();
            let feed = async move {
                while let Some(part) = body.next().await.transpose() {
                    if sender.send(part).await.is_err() {
                        // Nobody reads on: what came was wrong.
                        break;
                    }
                }
            };
            tokio::join!(feed, restore::restore(&handle, reader)).1
        })
    })
}

struct Launched {
    handle: Handle,
    ended: oneshot::Receiver<Result<(), String>>,
    audit: Option<Audit>,
    /// The ports of operators close with the server.
    _ports: http::Ports,
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
        if let Some(audit) = &self.audit {
            audit.stopping();
        }
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
    (config.peer_addresses, config.late_peer_addresses) = own_addresses(&plan.peer_listen).await?;
    // A peer's name is looked up at each attempt to reach it, since its address may change.
    let reach = |addresses: &Vec<HostPort>| addresses.iter().map(HostPort::to_string).collect();
    config.peers = plan.peers.iter().map(|(&id, addresses)| (id, reach(addresses))).collect();
    (config.dial.address_timeout, config.dial.gone_after) = (plan.address_timeout, plan.gone_after);
    config.credentials = match &plan.peer_auth {
        Some(auth) => Some(Arc::new(Credentials::new(auth.clone(), Seed(random()?)))),
        None => None,
    };
    config.dial.snapshot_rate = plan.snapshot_rate;
    config.io_threads = plan.limits.io_threads;
    let room = room_for_clients();
    config.peer_queue_bytes = plan.peer_queue_bytes;
    let seed = u64::from_le_bytes(random()?);
    config.limits = Limits {
        max_frame_bytes: plan.limits.max_frame_bytes,
        handshake_timeout: plan.limits.handshake_timeout,
        large_request_threshold: plan.limits.large_request_threshold,
        large_request_max_bytes: plan.limits.large_request_max_bytes,
        disk_reserve_bytes: plan.limits.disk_reserve_bytes,
        scrub_bytes_per_second: plan.limits.scrub_bytes_per_second,
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

/// A member whose folder holds nothing learns the number of its ensemble from the others, if they
/// have one, as if an operator had told it (`zokor join`), before it has anything that could be
/// another's. Where servers have to show who they are nobody is believed before that.
async fn learn_ensemble(plan: &Plan, config: &mut Config) -> Result<(), String> {
    let is_unproven = plan.peer_auth.as_ref().is_some_and(|auth| auth.asks);
    let is_known = config.ensemble != 0 || config.peers.is_empty();
    // Who would vote at once must not get in with nothing to know its votes by.
    let is_to_be_told = is_unproven || !plan.replica.raft.may_be_wiped;
    if is_known || is_to_be_told || holds_something(&plan.data_dir)? {
        return Ok(());
    }
    let Some(number) = transport::learn_ensemble(config.id, &config.peers).await else {
        return Ok(());
    };
    plan.first_start.permit(&plan.data_dir, plan.log_dir.as_deref())?;
    storage::join_ensemble(&open_folder(&plan.data_dir)?, number)
        .map_err(|error| error.to_string())?;
    let folder = plan.data_dir.display();
    info!("{folder}: it is empty, and the others belong to the ensemble {number:016x}; so does it");
    config.ensemble = number;
    Ok(())
}

fn holds_something(folder: &Path) -> Result<bool, String> {
    match ReadingDisk::new(folder) {
        Ok(disk) => storage::is_in_use(&disk).map_err(|error| error.to_string()),
        // It is made later, or why it cannot be is told then.
        Err(_) => Ok(false),
    }
}

/// Where this server is to listen, and which names are to be looked up again: of several one that
/// has an address is enough to begin with.
async fn own_addresses(names: &[HostPort]) -> Result<(Vec<SocketAddr>, Vec<String>), String> {
    let (mut found, mut late, mut failure) = (Vec::new(), Vec::new(), None);
    for name in names {
        let error = match timeout(LOOK_UP_TIMEOUT, resolve(name)).await {
            Ok(Ok(address)) => {
                found.push(address);
                continue;
            }
            Ok(Err(error)) => error,
            Err(_) => format!("cannot find the address of {name}: nobody answers"),
        };
        if names.len() > 1 {
            warn!("{error}; trying again, peers use another address");
        }
        late.push(name.to_string());
        failure.get_or_insert(error);
    }
    found.sort();
    found.dedup();
    match failure {
        Some(error) if found.is_empty() => Err(error),
        Some(_) | None => Ok((found, late)),
    }
}

/// The first address of a name.
pub(crate) async fn resolve(name: &HostPort) -> Result<SocketAddr, String> {
    let failed = |why: String| format!("cannot find the address of {name}: {why}");
    let mut addresses = tokio::net::lookup_host((name.host.as_str(), name.port))
        .await
        .map_err(|error| failed(error.to_string()))?;
    addresses.next().ok_or_else(|| failed("it has none".to_owned()))
}

type Store = Prepared<Wal<RealDisk>, Snapshots<RealDisk>, Scrub<RealDisk>>;

/// Opens the folders and makes the replica. The ports are ours already.
fn prepare(
    plan: &Plan,
    words: Arc<Words>,
) -> Result<Store, Box<dyn std::error::Error + Send + Sync>> {
    let clock = SystemClock::new();
    let since = clock.now().instant;
    let mut options = Options::new(plan.replica.raft.id, random()?, clock.now().wall);
    options.snapshots_kept = plan.snapshots_kept as usize;
    options.retained_bytes = plan.limits.retained_bytes;
    options.has_peers = !plan.peers.is_empty();
    options.scrub_interval = plan.limits.scrub_interval;
    plan.first_start.permit(&plan.data_dir, plan.log_dir.as_deref())?;
    let data = open_folder(&plan.data_dir)?;
    let opened = match &plan.log_dir {
        Some(log) => storage::open_apart(data, for_log(open_folder(log)?, plan, &clock), &options)?,
        None => storage::open(for_log(data, plan, &clock), &options)?,
    };
    info!("{}: {}", plan.data_dir.display(), opened.report);
    FirstStart::use_up(&plan.data_dir, plan.log_dir.as_deref())?;
    let n_entries = opened.recovered.entries.len() as u64;
    let found = opened.recovered.snapshot.as_ref();
    let found = found.map(|snapshot| (snapshot.zxid, newest_file(&plan.data_dir)));
    let seed = Seed(random()?);
    let replica = Replica::new(clock.now(), plan.replica.clone(), seed, opened.recovered);
    let (storage, workers) = storage_workers(opened.wal, opened.snapshots, opened.scrub);
    let load_ms = u64::try_from(clock.now().instant.since(since).as_millis())?;
    words.started(Start { load_ms, n_entries }, found);
    let admin = words;
    let (clock, options) = (Arc::new(clock), Arc::new(RealSockets));
    Ok(Prepared { parts: Parts { replica, storage, clock, admin, options }, workers })
}

fn open_folder(path: &Path) -> Result<RealDisk, String> {
    RealDisk::new(path).map_err(|error| format!("cannot open {}: {error}", path.display()))
}

/// The folder of the log, written to in the way that the plan asks for. The choice is logged.
fn for_log(folder: RealDisk, plan: &Plan, clock: &SystemClock) -> RealDisk {
    let (folder, why) = match plan.log_writes {
        LogWrites::Cached => return folder,
        LogWrites::Direct => (folder.direct(), "as zokor.logWrites says".to_owned()),
        LogWrites::Measured => {
            let began = clock.now().instant;
            let (folder, measured) = folder.faster(|| clock.now().instant.since(began));
            let of = |took: Option<Duration>| match took {
                Some(took) => format!("{} us", took.as_micros()),
                None => "not possible".to_owned(),
            };
            let (cached, direct) = (of(measured.cached), of(measured.direct));
            let why = format!("a durable write through it: {cached}, past it: {direct}");
            if !measured.is_direct() {
                info!("the log is written through the page cache ({why})");
                return folder;
            }
            (folder, why)
        }
    };
    info!("the log is written past the page cache ({why})");
    folder
}

/// When the newest snapshot in a folder was written; the epoch if nobody knows.
fn newest_file(folder: &Path) -> WallTime {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let snapshots = entries.filter(|it| it.file_name().to_string_lossy().starts_with("snapshot"));
    let times = snapshots.filter_map(|it| it.metadata().ok()?.modified().ok());
    let since = times.max().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    WallTime(since.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default())
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}

/// A name of this server's own that takes longer is looked up again later.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);
const BROKEN: &str = "the server's thread has failed; the log above shows where";
