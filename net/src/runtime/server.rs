//! A server's life: ports, tasks, the end.
//!
//! Invariants: ports are taken before anything else happens; a part that ends ends the server; the
//! orderly end says first what there is to say.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zokor_core::Replica;
use zokor_core::db;
use zokor_core::id::ServerId;
use zokor_core::replica::{RestoreEnd, Stats};

use super::client::Client;
use super::clock::Clock;
use super::config::Config;
use super::driver::{Driver, StorageQueues};
use super::error::Error;
use super::facts::{Admin, Detail, ServerFacts};
use super::log_writer::{Done, StoragePort};
use super::machine::Machine;
use super::part::{Part, pump};
use super::peers::Peers;
use super::shared::Shared;
use super::sockets::{Guest, Sockets};
use crate::transport::{Dialer, Identity, Inbox, SocketOptions, accept, bind, meet};

/// The open ports of a server.
#[derive(Debug)]
pub struct Listeners {
    clients: Vec<TcpListener>,
    peers: Vec<TcpListener>,
    /// Addresses for peers that could not be had.
    missing: Vec<String>,
}

impl Listeners {
    /// Opens all ports of `config`.
    ///
    /// # Errors
    /// If one cannot be had; the error names its address. Of several for peers one is enough.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let mut clients = Vec::new();
        for address in &config.client_addresses {
            clients.push(bind(*address, "clients", config.client_backlog).await?);
        }
        let (mut peers, mut failure) = (Vec::new(), None);
        let mut missing = config.late_peer_addresses.clone();
        for address in &config.peer_addresses {
            match bind(*address, "peers", None).await {
                Ok(listener) => peers.push(listener),
                Err(error) => {
                    missing.push(address.to_string());
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(error) if peers.is_empty() => return Err(error.into()),
            Some(error) => tracing::warn!(%error, "trying again; peers use another address"),
            None => {}
        }
        Ok(Listeners { clients, peers, missing })
    }

    /// The addresses, with the real ports.
    pub fn addresses(&self) -> Addresses {
        let clients = self.clients.iter().filter_map(|listener| listener.local_addr().ok());
        let peers = self.peers.iter().filter_map(|listener| listener.local_addr().ok());
        Addresses { clients: clients.collect(), peers: peers.collect() }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients, in the order of the configuration.
    pub clients: Vec<SocketAddr>,
    /// For peers, as far as they could be had at the start.
    pub peers: Vec<SocketAddr>,
}

/// What a server is made of.
pub struct Parts {
    /// The replica, made with this `clock`'s time.
    pub replica: Replica,
    /// Its storage; somebody runs the workers.
    pub storage: StoragePort,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Who answers operators.
    pub admin: Arc<dyn Admin>,
    /// What is set on new sockets.
    pub options: Arc<dyn SocketOptions>,
}

/// The parts around the replica.
pub(super) struct Outside {
    pub(super) storage: StoragePort,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) admin: Arc<dyn Admin>,
    pub(super) options: Arc<dyn SocketOptions>,
}

/// A server that has its ports and is not yet running.
pub struct Server {
    config: Config,
    listeners: Listeners,
    addresses: Addresses,
    done: UnboundedReceiver<Done>,
    admin: Arc<dyn Admin>,
    options: Arc<dyn SocketOptions>,
    shared: Arc<Shared>,
}

/// Asks things of a running server, from any thread.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    addresses: Addresses,
}

impl Handle {
    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What its replica says.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The facts, in this detail.
    pub fn facts(&self, detail: Detail) -> ServerFacts {
        self.shared.facts(detail)
    }

    /// Has this state take the place of the present one, on all servers, and waits for the end.
    pub async fn restore(&self, prepared: db::Prepared) -> RestoreEnd {
        if self.shared.is_poisoned() {
            return RestoreEnd::Unknown;
        }
        let ends = self.shared.input(|driver, now| driver.restore(now, prepared));
        ends.await.unwrap_or(RestoreEnd::Unknown)
    }

    /// Has it stop in good order; [`Server::run`] then returns.
    pub fn shutdown(&self) {
        self.shared.stop();
    }
}

impl Server {
    /// Puts a server together.
    pub fn new(config: Config, listeners: Listeners, parts: Parts) -> Self {
        let Parts { replica, storage, clock, admin, options } = parts;
        let outside = Outside { storage, clock, admin, options };
        Self::around(config, listeners, Box::new(replica), outside)
    }

    /// The same around anything that behaves like a replica.
    pub(super) fn around(
        config: Config,
        listeners: Listeners,
        machine: Box<dyn Machine>,
        outside: Outside,
    ) -> Self {
        let Outside { storage, clock, admin, options } = outside;
        let StoragePort { log, snapshots, scrub, done, times } = storage;
        let queues = StorageQueues { log, snapshots, scrub };
        let several = config.peers.iter().filter(|(_, addresses)| addresses.len() > 1);
        let peers = Peers::new(config.peers.keys().copied(), config.peer_queue_bytes)
            .with_ways(several.map(|(peer, _)| *peer), config.dial.gone_after);
        let server = (config.id, config.limits.clone(), peers);
        let told = config.peers.iter().map(|(peer, addresses)| (*peer, addresses.join(" or ")));
        let addresses = told.collect();
        let mut driver = Driver::new(server, addresses, machine, queues, times, clock.now());
        driver.auditor = admin.auditor();
        Server {
            addresses: listeners.addresses(),
            config,
            listeners,
            done,
            admin,
            options,
            shared: Arc::new(Shared::new(driver, clock)),
        }
    }

    /// For questions and for the order to stop.
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone(), addresses: self.addresses.clone() }
    }

    /// Serves until [`Handle::shutdown`].
    ///
    /// # Errors
    /// If storage fails, or a part of the server does. Nothing pending is acknowledged then.
    pub async fn run(self) -> Result<(), Error> {
        let Server { config, listeners, done, admin, options, shared, .. } = self;
        let config = Arc::new(config);
        let mut tasks = Tasks::default();
        let part = |name| Part { shared: shared.clone(), name };
        tasks.spawn(pump(part("the pump"), shared.pump.clone()));
        tasks.spawn(timer(part("the timer")));
        tasks.spawn(sweeper(part("the sweeper"), config.limits.sweep_interval));
        tasks.spawn(storage_reports(part("the ear for storage"), done));
        for (peer, addresses) in &config.peers {
            let Some(outbox) = shared.lock().peers.outbox(*peer) else { continue };
            let dialer = Dialer {
                local: Identity { id: config.id, ensemble: config.ensemble },
                peer: *peer,
                addresses: addresses.clone(),
                credentials: config.credentials.clone(),
                limits: config.dial,
                outbox,
                port: shared.clone(),
                options: options.clone(),
            };
            let part = part("a link to a peer");
            tasks.spawn(async move {
                let _part = part;
                dialer.run().await;
            });
        }
        let door = Arc::new(PeerDoor::new(shared.clone(), config.clone(), options.clone()));
        let found = listeners.peers.into_iter().map(Ok);
        for place in found.chain(listeners.missing.into_iter().map(Err)) {
            let (door, part) = (door.clone(), part("the port for peers"));
            tasks.spawn(async move {
                let _part = part;
                let listener = match place {
                    Ok(listener) => listener,
                    Err(address) => bind_at_last(&address).await,
                };
                accept(listener, "peers", move |stream, address| door.admit(stream, address)).await;
            });
        }
        let sockets = Sockets::new(&shared, config.io_threads).inspect_err(|_| shared.end());
        let sockets = Arc::new(sockets?);
        let door = Arc::new(ClientDoor { shared: shared.clone(), admin, options, config, sockets });
        let doors = door.open(listeners.clients);
        // What was put into the replica before there was a pump.
        shared.pump.notify_one();
        shared.ending.notified().await;
        if shared.failure().is_none() {
            drop(doors);
            part_from_all(&shared, &door.config).await;
        }
        let failure = shared.failure();
        shared.end();
        match failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// The orderly end: another leads, and every client has heard what it was owed.
async fn part_from_all(shared: &Shared, config: &Config) {
    tracing::info!(id = %config.id, "stopping");
    if shared.leads() && !config.hand_over_timeout.is_zero() {
        shared.input(|driver, now| driver.machine.hand_over(now));
        let handed_over = async {
            while shared.leads() {
                sleep(POLL_INTERVAL).await;
            }
        };
        if timeout(config.hand_over_timeout, handed_over).await.is_err() {
            tracing::info!("nobody took the leadership over in time");
        }
    }
    shared.lock().draining = true;
    let gone = async {
        while shared.lock().n_outstanding_total() > 0 {
            sleep(POLL_INTERVAL).await;
        }
        shared.input(Driver::finish_all);
        while !shared.lock().connections.is_empty() {
            sleep(POLL_INTERVAL).await;
        }
    };
    if timeout(config.farewell_timeout, gone).await.is_err() {
        tracing::info!("some clients did not hear all that they were owed in time");
    }
}

/// Wakes the replica at its deadline. A deadline that moves away is noticed when the old one comes,
/// so that most of them cost nothing.
async fn timer(part: Part) {
    let shared = &part.shared;
    loop {
        let deadline = {
            let mut driver = shared.lock();
            driver.armed = driver.machine.deadline();
            driver.armed
        };
        let Some(deadline) = deadline else {
            shared.rearm.notified().await;
            continue;
        };
        // At least a moment, so that a deadline that does not move cannot starve everything else.
        let pause = shared.until(deadline).max(LEAST_SLEEP);
        tokio::select! {
            biased;
            () = shared.rearm.notified() => {}
            () = sleep(pause) => {
                shared.input(|driver, now| driver.wake(now));
                // The pump has the first word on what the wake brought.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Closes connections that have been silent, or have not read, for too long.
async fn sweeper(part: Part, interval: Duration) {
    part.shared.with(Driver::tell_repair);
    loop {
        sleep(interval).await;
        part.shared.with(Driver::sweep);
    }
}

/// Hands on what storage reports, all that is there at once.
async fn storage_reports(part: Part, mut done: UnboundedReceiver<Done>) {
    let mut reports = Vec::new();
    while done.recv_many(&mut reports, MAX_REPORTS).await > 0 {
        part.shared.input(|driver, now| {
            for report in reports.drain(..) {
                driver.stored(now, report);
            }
        });
    }
}

/// Tries again until this address for peers can be had: its name, or its interface, may come later.
async fn bind_at_last(name: &str) -> TcpListener {
    loop {
        sleep(BIND_INTERVAL).await;
        let Ok(mut found) = lookup_host(name).await else { continue };
        let Some(address) = found.next() else { continue };
        if let Ok(listener) = bind(address, "peers", None).await {
            tracing::info!(name, "peers can come in by this address now");
            return listener;
        }
    }
}

/// Takes clients in.
struct ClientDoor {
    shared: Arc<Shared>,
    admin: Arc<dyn Admin>,
    options: Arc<dyn SocketOptions>,
    config: Arc<Config>,
    sockets: Arc<Sockets>,
}

impl ClientDoor {
    /// Lets in who comes to any of these ports, while what is returned is kept.
    fn open(self: &Arc<Self>, listeners: Vec<TcpListener>) -> Tasks {
        let mut doors = Tasks::default();
        for listener in listeners {
            let part = Part { shared: self.shared.clone(), name: "the port for clients" };
            let door = self.clone();
            doors.spawn(async move {
                let _part = part;
                let take = move |stream, address| door.admit(stream, address);
                accept(listener, "clients", take).await;
            });
        }
        doors
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let admitted = self.shared.with(|driver, now| driver.admit(now, address));
        let Some((conn, wake)) = admitted else { return };
        self.options.client(&stream);
        let (shared, admin) = (self.shared.clone(), self.admin.clone());
        let client = Client { bell: shared.pump.clone(), shared, admin, conn, written: 0 };
        let inbox = Inbox::new(self.config.limits.max_frame_bytes);
        let linger = self.config.limits.linger;
        // It ends by itself when it is cut.
        self.sockets.take(Guest { stream, client, inbox, wake, linger });
    }
}

/// Takes peers in.
struct PeerDoor {
    shared: Arc<Shared>,
    config: Arc<Config>,
    options: Arc<dyn SocketOptions>,
    peers: Arc<BTreeSet<ServerId>>,
    strangers: Arc<Strangers>,
}

impl PeerDoor {
    fn new(shared: Arc<Shared>, config: Arc<Config>, options: Arc<dyn SocketOptions>) -> Self {
        let peers = Arc::new(config.peers.keys().copied().collect());
        PeerDoor { shared, config, options, peers, strangers: Arc::default() }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        self.options.peer(&stream, self.config.dial.gone_after);
        let (shared, peers) = (self.shared.clone(), self.peers.clone());
        let local = Identity { id: self.config.id, ensemble: self.config.ensemble };
        let (limits, credentials) = (self.config.receive, self.config.credentials.clone());
        let strangers = self.strangers.clone();
        let (number, pushed_out) = strangers.enter(address.ip(), self.config.max_strangers);
        drop(tokio::spawn(async move {
            let is_peer = |peer| peers.contains(&peer);
            let met = tokio::select! {
                biased;
                met = meet(stream, local, credentials.as_deref(), is_peer, limits) => met,
                _ = pushed_out => {
                    let why = "too many others came before it said, or showed, who it is";
                    Err(why.to_owned().into())
                }
            };
            strangers.leave(number);
            match met {
                Ok(visitor) => {
                    shared.met(visitor.peer(), address);
                    visitor.listen(shared).await;
                }
                Err(why) => shared.turned_away(address, &why),
            }
        }));
    }
}

/// Connections to the port for peers that have not said, or shown, who they are. Of those of the
/// address that has most, the oldest gives way to the newest: a peer says it at once, so those who
/// say nothing never keep one out, and one that needs a moment to show it is not pushed out by what
/// comes from elsewhere.
#[derive(Default)]
struct Strangers(Mutex<(u64, BTreeMap<u64, Stranger>)>);

/// From where, and the sender whose end pushes him out.
type Stranger = (IpAddr, oneshot::Sender<()>);

impl Strangers {
    /// One more from `address`, where there may be `most`: its number, and what resolves when it
    /// has to go.
    fn enter(&self, address: IpAddr, most: usize) -> (u64, oneshot::Receiver<()>) {
        let mut strangers = self.lock();
        let (last, present) = &mut *strangers;
        while present.len() >= most.max(1) {
            let mut of_address: BTreeMap<IpAddr, usize> = BTreeMap::new();
            for (from, _) in present.values() {
                *of_address.entry(*from).or_default() += 1;
            }
            let most_of_one = of_address.values().copied().max().unwrap_or_default();
            let has_most = |(from, _): &Stranger| of_address[from] == most_of_one;
            let oldest = present.iter().find(|(_, it)| has_most(it)).map(|(number, _)| *number);
            let Some(oldest) = oldest else { break };
            present.remove(&oldest);
        }
        *last += 1;
        let (stays, pushed_out) = oneshot::channel();
        present.insert(*last, (address, stays));
        (*last, pushed_out)
    }

    fn leave(&self, number: u64) {
        self.lock().1.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Stranger>)> {
        self.0.lock().expect("no code that can panic runs under this lock")
    }
}

/// Tasks that end with their owner.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// How often the orderly end looks whether it may go on.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The timer sleeps at least this long.
const LEAST_SLEEP: Duration = Duration::from_millis(1);
/// How often an address is tried that could not be had.
const BIND_INTERVAL: Duration = Duration::from_secs(1);
/// Reports of storage taken at once.
const MAX_REPORTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_in_crowds_pushes_out_his_own() {
        let strangers = Strangers::default();
        let [crowd, peer] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let enter = |address| strangers.enter(address, 3);
        let (_, mut first) = enter(crowd);
        let (_, mut of_peer) = enter(peer);
        let (_, mut second) = enter(crowd);
        let is_out = |pushed_out: &mut oneshot::Receiver<()>| {
            pushed_out.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        };
        assert!(!is_out(&mut first), "there is room for three");
        let mut last = enter(crowd).1;
        assert!(is_out(&mut first) && !is_out(&mut second));
        for _ in 0..100 {
            let next = enter(crowd).1;
            assert!(!is_out(&mut of_peer));
            last = next;
        }
        assert!(is_out(&mut second) && !is_out(&mut last));
        let (number, mut again) = enter(peer);
        assert!(!is_out(&mut of_peer) && !is_out(&mut again), "the crowd is larger");
        strangers.leave(number);
        assert_eq!(strangers.lock().1.len(), 2);
    }
}
