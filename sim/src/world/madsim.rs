//! The whole server in a simulated world: the sources of `net`, unchanged, on madsim's sockets and
//! time, over disks that forget.
//!
//! Invariant: only disk, network, clocks and seeds are replaced. A server that ends is taken away
//! with all its tasks, as a process is; what it had not synced is lost as the seed has it.

mod disks;
mod networks;
mod watch;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::madsim::runtime::{Handle as Simulation, NodeHandle};
use ::madsim::task::NodeId;
use tokio::net::{Door, Net, TcpStream, Weather};
use zokor_core::id::{Seed, ServerId};
use zokor_core::replica::{Mode, Stats};
use zokor_core::time::{Instant, Now};
use zokor_core::{Config, Replica};
use zokor_net::runtime::{
    self, Admin, Answer, Detail, Handle, Limits, Listeners, Parts, Reset, ServerFacts, Workers,
    storage_workers,
};
use zokor_net::storage::{self, Options};
use zokor_net::transport::{Credentials, SocketOptions};

use super::clock::Clock;
use super::limits;
use super::pace::Pace;
use super::proofs;
use super::queue::Micros;
use crate::disk::atlas::Atlas;
use crate::disk::{Fault, SectorDisk};
use crate::plan::Plan;
use crate::probe::Probes;
use crate::rng::{Concern, Stream, mix};
use crate::whole::client::client_address;
use crate::whole::ledger::{Finding, Ledger, Noted};
use disks::{End, Trouble, repairs, segment_bytes};
use networks::{peer_addresses, sockets};

pub use watch::Watch;

/// A server's own clocks over the true time.
struct OwnClock {
    watch: Watch,
    clock: Mutex<Clock>,
}

impl OwnClock {
    fn lock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().expect("nobody panics with a clock")
    }
}

impl runtime::Clock for OwnClock {
    fn now(&self) -> Now {
        self.lock().now(self.watch.micros())
    }

    fn until(&self, deadline: Instant) -> Duration {
        let at = self.lock().when(deadline);
        Duration::from_micros(at.saturating_sub(self.watch.micros()))
    }
}

/// What a life of a server leaves to be seen.
#[derive(Default)]
struct Life {
    handle: Option<Handle>,
    /// What it found on its disk, until somebody has looked.
    found: Option<Finding>,
    /// How it ended, if it has.
    ended: Option<Result<(), String>>,
}

/// Nobody asks four-letter words here.
struct Mute;

impl Admin for Mute {
    fn detail(&self, _: &str) -> Detail {
        Detail::Plain
    }

    fn answer(&self, _: &str, _: &ServerFacts) -> Answer {
        Answer { text: String::new(), reset: Reset::Nothing }
    }
}

/// The options of real sockets, as far as there are such here.
struct ProbedSockets;

impl SocketOptions for ProbedSockets {
    fn client(&self, _: &TcpStream) {}

    fn peer(&self, stream: &TcpStream, gone_after: Duration) {
        stream.set_user_timeout(gone_after);
    }
}

/// What one life of a server is made of.
struct Body {
    config: Config,
    peers: Vec<u64>,
    limits: Limits,
    segment_bytes: u64,
    snapshots_kept: usize,
    disk: SectorDisk,
    clock: Arc<OwnClock>,
    pace: Arc<Pace>,
    ledger: Ledger,
    is_damaged: bool,
    repairs: bool,
    has_second: bool,
    passwords: Option<Arc<Credentials>>,
    seed: [u8; 32],
    fresh_id: [u8; 16],
}

impl Body {
    /// Serves until it is asked to stop, or fails.
    async fn serve(self, life: Arc<Mutex<Life>>) -> Result<(), String> {
        let id = self.config.raft.id;
        let mut config = runtime::Config::new(id, client_address(id.0));
        if !self.peers.is_empty() {
            config.peer_addresses = peer_addresses(id.0, self.has_second);
        }
        for &peer in &self.peers {
            let addresses = peer_addresses(peer, self.has_second);
            let texts = addresses.iter().map(SocketAddr::to_string).collect();
            config.peers.insert(ServerId(peer), texts);
        }
        if self.has_second {
            config.dial.gone_after = 2 * config.dial.address_timeout;
        }
        config.limits = self.limits;
        config.credentials = self.passwords;
        let listeners = Listeners::bind(&config).await.map_err(|error| error.to_string())?;
        let clock = self.clock;
        let now = runtime::Clock::now(&*clock);
        let options = Options {
            segment_bytes: self.segment_bytes,
            snapshots_kept: self.snapshots_kept,
            scrub_interval: SCRUB_INTERVAL,
            has_peers: self.repairs,
            ..Options::new(id, self.fresh_id, now.wall)
        };
        let disk = self.disk.clone();
        let opened = storage::open(disk, &options).map_err(|error| error.to_string())?;
        let found = self.ledger.recovered(id, &opened, self.is_damaged);
        life.lock().expect("nobody panics with a life").found = Some(found);
        let replica = Replica::new(now, self.config, Seed(self.seed), opened.recovered);
        let log = Noted { server: id, wal: opened.wal, disk: self.disk, ledger: self.ledger };
        let (storage, workers) = storage_workers(log, opened.snapshots, opened.scrub);
        let Workers { log, snapshots, scrub } = workers;
        let pace = self.pace.clone();
        drop(tokio::spawn(log.run_paced(move || tokio::time::sleep(pace.draw()))));
        let pace = self.pace;
        drop(tokio::spawn(snapshots.run_paced(move || tokio::time::sleep(pace.draw() * 5))));
        drop(tokio::spawn(scrub.run_paced(|| tokio::time::sleep(SCRUB_PAUSE))));
        let (admin, options) = (Arc::new(Mute), Arc::new(ProbedSockets));
        let parts = Parts { replica, storage, clock, admin, options };
        let server = runtime::Server::new(config, listeners, parts);
        life.lock().expect("nobody panics with a life").handle = Some(server.handle());
        server.run().await.map_err(|error| error.to_string())
    }
}

/// How long one step of reading what is at rest takes.
const SCRUB_PAUSE: Duration = Duration::from_millis(3);
/// How often all that is at rest is read.
const SCRUB_INTERVAL: Duration = Duration::from_secs(2);

/// For the draw of what a server keeps free of its disk, which has a number of its own so that no
/// other draw depends on it.
const RESERVE: u64 = 0x0007_2e5e_5e7e;

/// The host of a server.
pub fn server_ip(server: u64) -> IpAddr {
    client_address(server).ip()
}

/// Where servers take each other's connections.
pub const PEER_PORT: u16 = 2888;

/// One seat of the ensemble: what stays when its server dies.
struct Seat {
    config: Config,
    node: NodeHandle,
    disk: SectorDisk,
    trouble: Trouble,
    clock: Arc<OwnClock>,
    pace: Arc<Pace>,
    stream: Stream,
    limits: Limits,
    segment_bytes: u64,
    snapshots_kept: usize,
    /// The present life, if it runs.
    life: Option<Arc<Mutex<Life>>>,
    /// Its end is part of the plan.
    doomed: bool,
    /// It has lost what others have to give back.
    is_repairing: bool,
    /// It does not start, and an operator is to put another disk in the place of its own.
    waits_for_disk: bool,
    /// If it ends by a failure, its peers do not hear of it.
    dark_end: Arc<AtomicBool>,
    paused: bool,
}

/// All servers, and what can be done to them.
pub struct Ensemble {
    seed: u64,
    simulation: Simulation,
    network: Arc<Net>,
    seats: Vec<Seat>,
    clients: BTreeMap<u64, (NodeId, IpAddr)>,
    ledger: Ledger,
    watch: Watch,
    atlas: Atlas,
    /// What is damaged comes back.
    repairs: bool,
    has_second: bool,
}

impl Ensemble {
    /// The servers of `plan`, none of which runs. Inside a simulation only.
    pub fn new(plan: &Plan, configs: Vec<Config>, watch: &Watch) -> Self {
        let sector_bytes = plan.disk.sectors.as_ref().map_or(512, |disk| disk.sector_bytes);
        let (simulation, network) = (Simulation::current(), Net::current());
        network.set_usual_sockets(sockets(plan));
        let seats = configs.into_iter().map(|mut config| {
            config.raft.may_be_wiped = repairs(plan);
            let id = config.raft.id.0;
            let mut stream = Stream::new(plan.seed, Concern::Server(id));
            let rate =
                if plan.process.skew { stream.between(900_000, 1_100_000) } else { 1_000_000 };
            let wall = 1_700_000_000_000 + stream.below(10_000) as i64;
            let clock = Clock::new(stream.below(1 << 40), rate, wall);
            let pace = Pace {
                stream: Mutex::new(Stream::new(plan.seed, Concern::Disk(id))),
                least: plan.disk.latency_min,
                spread: plan.disk.latency_spread,
                heavy_tail: plan.disk.heavy_tail,
                slow: AtomicBool::new(false),
            };
            let name = format!("server-{id}");
            Seat {
                config,
                disk: SectorDisk::new(Stream::new(plan.seed, Concern::Platter(id)), sector_bytes),
                trouble: Trouble::default(),
                node: network.add_host(name, client_address(id).ip()),
                clock: Arc::new(OwnClock { watch: watch.clone(), clock: Mutex::new(clock) }),
                pace: Arc::new(pace),
                limits: Limits {
                    disk_reserve_bytes: mix(&[plan.seed, id, RESERVE]) % 40_000,
                    ..limits::draw(plan, id, &mut stream)
                },
                segment_bytes: segment_bytes(plan, 4096 * stream.log_between(2, 256)),
                snapshots_kept: stream.between(1, 3) as usize,
                stream,
                life: None,
                doomed: false,
                is_repairing: false,
                waits_for_disk: false,
                dark_end: Arc::default(),
                paused: false,
            }
        });
        let seats = seats.collect();
        Ensemble {
            seed: plan.seed,
            simulation,
            network,
            seats,
            clients: BTreeMap::new(),
            ledger: Ledger::default(),
            watch: watch.clone(),
            atlas: Atlas::new(plan.membership()),
            repairs: repairs(plan),
            has_second: false,
        }
    }

    /// How many servers it has, running or not.
    pub fn size(&self) -> u64 {
        self.seats.len() as u64
    }

    /// The log of them all.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Starts a server that does not run, unless it is out for good.
    pub fn start(&mut self, server: u64) {
        if self.is_out(server) {
            return;
        }
        let peers = (1..=self.size()).filter(|&peer| peer != server).collect();
        let (is_damaged, repairs) = (self.atlas.was_damaged(server), self.repairs);
        let (ledger, network) = (self.ledger.clone(), self.network.clone());
        let (run, has_second) = (self.seed, self.has_second);
        let seat = self.seat(server);
        if seat.life.is_some() {
            return;
        }
        network.set_power(server_ip(server), true);
        let mut fresh_id = [0; 16];
        fresh_id.copy_from_slice(&seat.stream.seed()[..16]);
        let seed = seat.stream.seed();
        let body = Body {
            config: seat.config.clone(),
            peers,
            limits: seat.limits.clone(),
            segment_bytes: seat.segment_bytes,
            snapshots_kept: seat.snapshots_kept,
            disk: seat.disk.clone(),
            clock: seat.clock.clone(),
            pace: seat.pace.clone(),
            ledger,
            is_damaged,
            repairs,
            has_second,
            passwords: proofs::draw(run, &seed),
            seed,
            fresh_id,
        };
        let life: Arc<Mutex<Life>> = Arc::default();
        let dark_end = seat.dark_end.clone();
        dark_end.store(false, Ordering::Relaxed);
        seat.life = Some(life.clone());
        (seat.doomed, seat.waits_for_disk) = (false, false);
        seat.trouble.forget();
        let id = seat.node.id();
        self.simulation.restart(id);
        let node = self.simulation.get_node(id).expect("it was made with the ensemble");
        drop(node.spawn(async move {
            let ended = body.serve(life.clone()).await;
            if ended.is_err() && dark_end.load(Ordering::Relaxed) {
                Net::current().set_power(server_ip(server), false);
            }
            life.lock().expect("nobody panics with a life").ended = Some(ended);
            // A process takes all its tasks with it.
            Simulation::current().kill(id);
        }));
    }

    /// Ends a server without a word. Its machine loses power as well, or goes on.
    pub fn kill(&mut self, server: u64, loses_power: bool) {
        if loses_power {
            self.network.set_power(server_ip(server), false);
        }
        self.remove(server, loses_power);
    }

    /// Takes a process away, and what its disk has not synced.
    fn remove(&mut self, server: u64, loses_power: bool) {
        self.resume(server);
        self.network.untrip(server_ip(server));
        let simulation = self.simulation.clone();
        let seat = self.seat(server);
        simulation.kill(seat.node.id());
        seat.life = None;
        if loses_power {
            seat.disk.cut_power();
        } else {
            seat.disk.kill();
        }
    }

    /// Stops a server's machine at the `n`th change of its disk from now, in the middle of it.
    pub fn fail_disk(&mut self, server: u64, n: u64) {
        let seat = self.seat(server);
        seat.doomed = true;
        // The power goes, or only the disk.
        let dark = seat.stream.coin();
        seat.dark_end.store(dark, Ordering::Relaxed);
        seat.disk.arm(n, Fault::Stop);
    }

    /// Asks a server to stop in good order.
    pub fn stop(&mut self, server: u64) {
        let seat = self.seat(server);
        if let Some(handle) = seat.handle() {
            seat.doomed = true;
            handle.shutdown();
        }
    }

    /// Takes away the servers that have ended by themselves, and names those that start again.
    ///
    /// # Errors
    /// If one had no reason to end, or had one and goes on.
    pub fn reap(&mut self, probes: &mut Probes) -> Result<Vec<u64>, String> {
        let now = self.watch.micros();
        let mut ended = Vec::new();
        for server in 1..=self.size() {
            self.look_at_disk(server, probes);
            let is_damaged = self.atlas.was_damaged(server);
            let seat = self.seat(server);
            seat.look(now, probes);
            let life = seat.life.as_ref();
            let end =
                life.and_then(|life| life.lock().expect("nobody panics with a life").ended.clone());
            let Some(end) = end else {
                if seat.is_overdue(now) {
                    return Err(format!("server {server} goes on though its disk has failed"));
                }
                continue;
            };
            let excuse = end.as_ref().err().and_then(|why| seat.excuse(why, is_damaged));
            let is_out = match excuse {
                Some((end, probe)) => {
                    probes.hit(probe);
                    matches!(end, End::Out)
                }
                None if seat.doomed => false,
                None => return Err(format!("server {server} ended by itself: {end:?}")),
            };
            let loses_power = seat.doomed || seat.stream.coin();
            self.remove(server, loses_power);
            if is_out {
                self.is_left_out(server);
            } else {
                ended.push(server);
            }
        }
        Ok(ended)
    }

    /// Lets a server stand still.
    pub fn pause(&mut self, server: u64) {
        let simulation = self.simulation.clone();
        let seat = self.seat(server);
        simulation.pause(seat.node.id());
        seat.paused = true;
    }

    /// Lets it go on.
    pub fn resume(&mut self, server: u64) {
        let simulation = self.simulation.clone();
        let seat = self.seat(server);
        if std::mem::take(&mut seat.paused) {
            simulation.resume(seat.node.id());
        }
    }

    /// Makes a server's disk very slow, or as it was.
    pub fn slow_disk(&mut self, server: u64, slow: bool) {
        self.seat(server).pace.slow.store(slow, Ordering::Relaxed);
    }

    /// Lets a server's wall clock jump.
    pub fn jump_wall(&mut self, server: u64, by_ms: i64) {
        self.seat(server).clock.lock().jump_wall(by_ms);
    }

    /// Holds back all that one server sends to another, or lets it go. What was held back arrives
    /// late, and nothing is lost.
    pub fn clog(&mut self, from: u64, to: u64, clogged: bool) {
        self.network.clog(server_ip(from), server_ip(to), clogged);
    }

    /// Makes a node for client `number` and lets it be cut off.
    pub fn add_client(&mut self, number: u64) -> NodeHandle {
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 1, number as u8));
        let name = format!("client-{number}");
        let node = self.network.add_host(name, ip);
        self.clients.insert(number, (node.id(), ip));
        node
    }

    /// Holds back all that passes between a client and a server, or lets it go.
    pub fn clog_client(&mut self, client: u64, server: u64, clogged: bool) {
        let Some(&(_, client)) = self.clients.get(&client) else { return };
        let server = server_ip(server);
        for (from, to) in [(server, client), (client, server)] {
            self.network.clog(from, to, clogged);
        }
    }

    /// Ends all servers and clients.
    pub fn end(&mut self) {
        for server in 1..=self.size() {
            self.kill(server, false);
        }
        for &(client, _) in self.clients.values() {
            self.simulation.kill(client);
        }
    }

    /// The same for all that a server sends to, or hears from, anybody.
    pub fn clog_all(&mut self, server: u64, ways: (bool, bool), clogged: bool) {
        self.network.clog_host(server_ip(server), ways, clogged);
    }

    /// Sets what all links are like that nothing else is said of.
    pub fn weather(&self, weather: Weather) {
        self.network.set_weather(weather);
    }

    /// Sets what becomes of attempts to connect to a server.
    pub fn door(&self, server: u64, door: Door) {
        self.network.set_door(server_ip(server), door);
    }

    /// The network itself, for all that is done to it alone.
    pub fn network(&self) -> &Net {
        &self.network
    }

    /// Ends a server right after the `n`th write from now on that it does on a connection with
    /// `port`; only a part of it leaves, if `partly`.
    pub fn crash_at_send(&mut self, server: u64, port: u16, (n, partly): (u64, bool)) {
        let (simulation, network) = (self.simulation.clone(), self.network.clone());
        let seat = self.seat(server);
        let Some(life) = seat.life.clone() else { return };
        seat.doomed = true;
        let (id, ip, disk) = (seat.node.id(), server_ip(server), seat.disk.clone());
        let loses_power = seat.stream.coin();
        let spring = move || {
            let net = Net::current();
            net.see("crash right after bytes were sent");
            net.set_power(ip, !loses_power);
            simulation.kill(id);
            if loses_power {
                disk.cut_power();
            } else {
                disk.kill();
            }
            life.lock().expect("nobody panics with a life").ended = Some(Ok(()));
        };
        network.trip(ip, port, (n, partly), spring);
    }

    /// Everything works again: links, disks, processes.
    pub fn heal(&mut self) {
        self.heal_disks();
        for server in 1..=self.size() {
            for other in (1..=self.size()).filter(|&other| other != server) {
                self.clog(server, other, false);
            }
            self.clog_all(server, (true, true), false);
            self.door(server, Door::Open);
            let clients: Vec<u64> = self.clients.keys().copied().collect();
            clients.into_iter().for_each(|client| self.clog_client(client, server, false));
            self.slow_disk(server, false);
            self.resume(server);
            if self.seat(server).doomed {
                self.kill(server, true);
            }
            self.start(server);
        }
        self.network.clear_links();
    }

    /// Whether a server runs.
    pub fn is_up(&self, server: u64) -> bool {
        self.seats[server as usize - 1].life.is_some()
    }

    /// What a running server says of itself.
    pub fn stats(&self, server: u64) -> Option<Stats> {
        self.seats[server as usize - 1].handle().map(|handle| handle.stats())
    }

    /// How many connections of clients a server has.
    pub fn n_connections(&self, server: u64) -> usize {
        let handle = self.seats[server as usize - 1].handle();
        handle.map_or(0, |handle| handle.facts(Detail::Plain).n_connections)
    }

    /// Who leads, by its own word; the one of the latest term, if several do.
    pub fn leader(&self) -> Option<u64> {
        let all = (1..=self.size()).filter_map(|server| Some((server, self.stats(server)?)));
        let leads = |stats: &Stats| matches!(stats.mode, Mode::Leader | Mode::Standalone);
        let leaders = all.filter(|(_, stats)| leads(stats));
        leaders.max_by_key(|(_, stats)| stats.term).map(|(server, _)| server)
    }

    fn seat(&mut self, server: u64) -> &mut Seat {
        &mut self.seats[server as usize - 1]
    }
}

impl Seat {
    fn handle(&self) -> Option<Handle> {
        let life = self.life.as_ref()?;
        life.lock().expect("nobody panics with a life").handle.clone()
    }
}
