//! One run: servers and clients start, the scene is played, everything heals, and all is judged.
//!
//! Invariant: while faults last nothing false may be seen; afterwards everything must heal within a
//! bound.

mod damaged;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::madsim::runtime::{Handle as Simulation, NodeHandle};
use tokio::net::{Facts, Net, Weather};
use tokio::time::sleep;
use zokor_core::db::{Action, Txn};
use zokor_core::id::{ConnId, ServerId, SessionId};
use zokor_core::raft::{Index, Payload, SharedEntry};
use zokor_core::replica::Stats;
use zokor_net::runtime::Limits;
use zokor_net::transport::PEER_GONE_AFTER;

use super::audit::{self, audit};
use super::client::{ODD, Running, address_of};
use super::history::{self, Deed, History, Moment, judge};
use super::storm::{Storm, fair_weather};
use super::{Scene, bulk, odd, scene};
use crate::check::liveness::Health;
use crate::check::{Verdict, Violation, must};
use crate::client::{Character, Client, Heard, Mood};
use crate::model::Model;
use crate::plan::Plan;
use crate::probe::Probes;
use crate::rng::{Concern, Stream};
use crate::scenario::Scenario;
use crate::world::madsim::{Ensemble, PEER_PORT, Watch, server_ip};
use crate::world::queue::Micros;

/// What came of a run.
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) probes: Probes,
    pub(super) time: Micros,
    pub(super) faults: u64,
    pub(super) entries: u64,
}

/// A run under way.
pub(super) struct Run {
    scene: Scene,
    scenario: Scenario,
    watch: Watch,
    history: History,
    ensemble: Ensemble,
    clients: Vec<Running>,
    probes: Probes,
    faults: u64,
    entries: u64,
    copies: u64,
    /// Who had applied how much when a majority was lost.
    ruined: Option<(Index, u64)>,
}

impl Run {
    /// Inside a simulation only.
    pub(super) fn new(scene: Scene, scenario: Scenario, history: History) -> Self {
        let scenario = scene::playable(scenario);
        let plan = &scenario.plan;
        let watch = Watch::start();
        let configs = (1..=plan.servers).map(|server| plan.config(server)).collect();
        let ensemble = Ensemble::new(plan, configs, &watch);
        Run {
            scene,
            scenario,
            watch,
            history,
            ensemble,
            clients: Vec::new(),
            probes: Probes::default(),
            faults: 0,
            entries: 0,
            copies: 0,
            ruined: None,
        }
    }

    pub(super) async fn play(mut self) -> Outcome {
        fair_weather(&self.scenario.plan, &self.ensemble);
        if self.scene == Scene::NetworksInTurn {
            self.ensemble.add_second_network();
        }
        for server in 1..=self.scenario.plan.servers {
            self.ensemble.start(server);
        }
        for number in 1..=self.scenario.plan.clients.count {
            self.spawn_client(number);
        }
        let mut verdict = self.act().await;
        if verdict.is_ok() && self.scene != Scene::Ruin {
            verdict = self.end().await;
        }
        let time = self.watch.micros();
        for _ in 0..self.ensemble.ledger().resets() {
            self.probes.hit("snapshot in the place of a log");
        }
        for _ in 0..self.copies {
            self.probes.hit("write that came twice");
        }
        for (what, n) in self.ensemble.network().seen() {
            (0..n).for_each(|_| self.probes.hit(what));
        }
        self.take_down().await;
        let Run { probes, faults, entries, .. } = self;
        Outcome { verdict, probes, time, faults, entries }
    }

    fn spawn_client(&mut self, number: u64) {
        let Plan { seed, servers, core, clients, .. } = &self.scenario.plan;
        let character = Character {
            number,
            seed: *seed,
            servers: *servers,
            timeouts_ms: (core.min_session_timeout_ms, core.max_session_timeout_ms),
            window: clients.window,
            reads_only: false,
            upgrades: false,
        };
        let steps = self.scenario.clients.get(number as usize - 1).cloned();
        let client = Client::new(character, steps.unwrap_or_default());
        let (running, life) = Running::new(client, self.watch.clone(), self.history.clone());
        drop(self.ensemble.add_client(number).spawn(life));
        self.clients.push(running);
    }

    /// Clients that no client library would have: each sort in half of the storms.
    fn spawn_odd_clients(&self) -> Vec<NodeHandle> {
        let mut stream = Stream::new(self.scenario.plan.seed, Concern::Client(ODD));
        let mut nodes = Vec::new();
        for (n, habit) in odd::Habit::ALL.into_iter().enumerate() {
            let own = Stream::new(self.scenario.plan.seed, Concern::Client(ODD + 1 + n as u64));
            if self.scenario.plan.calm || stream.coin() {
                continue;
            }
            let number = ODD + n as u64;
            let node = extra_node(&format!("{habit:?}"), number);
            let odd = odd::Odd {
                number,
                servers: self.scenario.plan.servers,
                stream: own,
                watch: self.watch.clone(),
                history: self.history.clone(),
            };
            drop(node.spawn(odd.live(habit)));
            nodes.push(node);
        }
        nodes
    }

    /// The first half.
    async fn act(&mut self) -> Verdict {
        if self.scene == Scene::Storm {
            let mut stream = Stream::new(self.scenario.plan.seed, Concern::Client(0));
            let bulk = stream.coin().then(|| extra_node("bulk", bulk::NUMBER));
            if let Some(node) = &bulk {
                let (watch, history) = (self.watch.clone(), self.history.clone());
                let filling = bulk::fill(self.scenario.plan.servers, stream, watch, history);
                drop(node.spawn(filling));
            }
            let odd = self.spawn_odd_clients();
            let tools = (&self.watch, &self.history, &mut self.probes);
            let mut storm = Storm::new(&self.scenario, &mut self.ensemble, tools);
            let verdict = storm.rage().await;
            self.faults = storm.faults;
            for node in bulk.into_iter().chain(odd) {
                Simulation::current().kill(node.id());
            }
            return verdict;
        }
        sleep(Duration::from_secs(3)).await;
        let leader = self.ensemble.leader();
        must("a leader is found", leader.is_some(), || "nobody leads after 3 s".to_owned())?;
        let leader = leader.expect("just seen");
        self.note(format!("the leader is server {leader}"));
        self.faults = 1;
        match self.scene {
            Scene::Storm => unreachable!("played above"),
            Scene::LeaderDies => self.leader_dies(leader).await,
            Scene::LeaderCutOff => self.leader_cut_off(leader, (true, true)).await,
            Scene::LeaderUnheard => self.leader_cut_off(leader, (false, true)).await,
            Scene::PowerCut => self.power_cut().await,
            Scene::Bridge => self.bridge().await,
            Scene::Ruin => self.ruin(leader).await,
            Scene::LinksSwallowed => self.links_swallowed(leader).await,
            Scene::NetworksInTurn => self.networks_in_turn().await,
            Scene::DisksInTurn => self.disks_in_turn().await,
        }
    }

    async fn leader_dies(&mut self, leader: u64) -> Verdict {
        let before = self.open_connections(|server| server != leader);
        must("the scene is set", !before.is_empty(), || format!("connections: {before:?}"))?;
        let written = self.acknowledged();
        self.ensemble.kill(leader, true);
        self.note(format!("server {leader} dies"));
        self.wait_for_leader(Duration::from_secs(1), |next| next != leader).await?;
        sleep(Duration::from_secs(3)).await;
        let after = self.open_connections(|server| server != leader);
        let lost: Vec<ConnId> = before.difference(&after).copied().collect();
        must("connections outlive the leader", lost.is_empty(), || {
            format!("{lost:?} of {before:?} ended with server {leader}, where they were not")
        })?;
        let now = self.acknowledged();
        must("writing goes on", now > written + 20, || format!("{written} writes, then {now}"))?;
        self.ensemble.start(leader);
        sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Between the leader and its peers nothing passes; clients reach everybody.
    async fn leader_cut_off(&mut self, leader: u64, (inward, outward): (bool, bool)) -> Verdict {
        for peer in (1..=self.scenario.plan.servers).filter(|&peer| peer != leader) {
            self.ensemble.clog(leader, peer, outward);
            self.ensemble.clog(peer, leader, inward);
        }
        self.note(format!("server {leader} is cut off"));
        self.wait_for_leader(Duration::from_secs(5), |next| next != leader).await?;
        sleep(Duration::from_secs(3)).await;
        let stats = self.ensemble.stats(leader);
        let deposed = stats.as_ref().is_some_and(|stats| stats.leader != Some(ServerId(leader)));
        must("a leader without a quorum steps down", deposed, || format!("{stats:?}"))?;
        let written = self.acknowledged();
        sleep(Duration::from_secs(5)).await;
        let now = self.acknowledged();
        must("writing goes on", now > written + 20, || format!("{written} writes, then {now}"))
    }

    /// A firewall has forgotten the leader's connections, and nobody hears of it.
    async fn links_swallowed(&mut self, leader: u64) -> Verdict {
        let (ip, network) = (server_ip(leader), self.ensemble.network());
        let is_link = |facts: &Facts| {
            let [near, far] = facts.ends;
            far.port() == PEER_PORT && (near.ip() == ip || far.ip() == ip)
        };
        let links: Vec<Facts> = network.connections().into_iter().filter(is_link).collect();
        must("the scene is set", links.len() == 4, || format!("links: {links:?}"))?;
        links.iter().for_each(|link| network.swallow(link.number));
        self.note(format!("the links of server {leader} swallow everything"));
        sleep(PEER_GONE_AFTER * 2).await;
        let written = self.acknowledged();
        sleep(Duration::from_secs(3)).await;
        let now = self.acknowledged();
        must("writing goes on", now > written + 20, || format!("{written} writes, then {now}"))?;
        let all = (1..=self.scenario.plan.servers).filter_map(|server| self.ensemble.stats(server));
        let leaders: BTreeSet<Option<ServerId>> = all.map(|stats| stats.leader).collect();
        must("all hear of one leader again", leaders.len() == 1, || format!("{leaders:?}"))
    }

    /// Of two networks one swallows everything, then the other; nobody loses a session.
    async fn networks_in_turn(&mut self) -> Verdict {
        for is_second in [false, true, false] {
            let sessions = self.sessions();
            self.ensemble.clog_network(is_second, true);
            self.note(format!("a network fails, the second: {is_second}"));
            sleep(Duration::from_secs(6)).await;
            let written = self.acknowledged();
            sleep(Duration::from_secs(2)).await;
            let now = self.acknowledged();
            must("writing goes on", now > written + 20, || {
                format!("{written} writes, then {now}")
            })?;
            let later = self.sessions();
            must("no session is lost", later >= sessions && later > 0, || {
                format!("{sessions} sessions, then {later}")
            })?;
            self.ensemble.clog_network(is_second, false);
            sleep(Duration::from_secs(3)).await;
        }
        Ok(())
    }

    fn sessions(&self) -> u64 {
        let leader = self.ensemble.leader().and_then(|leader| self.ensemble.stats(leader));
        leader.map_or(0, |stats| stats.sessions)
    }

    async fn power_cut(&mut self) -> Verdict {
        for server in 1..=self.scenario.plan.servers {
            self.ensemble.kill(server, true);
        }
        self.note("all servers lose power".to_owned());
        sleep(Duration::from_millis(500)).await;
        for server in 1..=self.scenario.plan.servers {
            self.ensemble.start(server);
        }
        self.wait_for_leader(Duration::from_secs(3), |_| true).await?;
        sleep(Duration::from_secs(3)).await;
        Ok(())
    }

    /// Servers 1 and 2 on one side, 4 and 5 on the other; server 3 sees all.
    async fn bridge(&mut self) -> Verdict {
        for (one, other) in [(1, 4), (1, 5), (2, 4), (2, 5)] {
            self.ensemble.clog(one, other, true);
            self.ensemble.clog(other, one, true);
        }
        self.note("only server 3 sees both sides".to_owned());
        sleep(Duration::from_secs(5)).await;
        let written = self.acknowledged();
        let term = self.term();
        sleep(Duration::from_secs(10)).await;
        let now = self.acknowledged();
        must("writing goes on", now > written + 20, || format!("{written} writes, then {now}"))?;
        let later = self.term();
        must("a bridge does not unsettle", later <= term + 1, || {
            format!("term {term} became {later} in 10 s")
        })
    }

    /// The leader and others, a majority, lose power, and bytes of their logs are not what they
    /// were. No damage may make them, or those that are left, say anything wrong.
    async fn ruin(&mut self, leader: u64) -> Verdict {
        self.ruined = Some(self.furthest());
        self.ensemble.lift_limit();
        let others = (1..=self.scenario.plan.servers).filter(|&server| server != leader);
        let lost: Vec<u64> =
            [leader].into_iter().chain(others).take(self.scenario.plan.quorum()).collect();
        for &server in &lost {
            let damaged = self.ensemble.spoil_log(server);
            must("the scene is set", damaged, || format!("the log of {server} is empty"))?;
        }
        self.note(format!("the logs of servers {lost:?} are damaged"));
        for &server in &lost {
            self.ensemble.start(server);
        }
        sleep(Duration::from_secs(2)).await;
        self.reap()?;
        let present = self.ensemble.present();
        must(
            "a damaged server refuses to start",
            !present.iter().any(|s| lost.contains(s)),
            || format!("of {lost:?} some start; {present:?} are there"),
        )?;
        let written = self.acknowledged();
        sleep(Duration::from_secs(10)).await;
        self.reap()?;
        let (now, leader) = (self.acknowledged(), self.ensemble.leader());
        must("a minority serves nobody", leader.is_none() && now == written, || {
            format!("{leader:?} leads; {written} answers, then {now}")
        })?;
        self.judge()
    }

    /// Who has applied most, and how much.
    fn furthest(&self) -> (Index, u64) {
        let applied = self.ensemble.present().into_iter().map(|server| {
            let stats = self.ensemble.stats(server);
            (stats.map(|stats| stats.applied).unwrap_or_default(), server)
        });
        applied.max().unwrap_or_default()
    }

    /// The second half: everything heals, then everything is read and judged.
    async fn end(&mut self) -> Verdict {
        zokor_chance::rest();
        self.ensemble.heal();
        self.note("everything heals".to_owned());
        self.ensemble.weather(Weather::default());
        let dead = &self.scenario.recovery.dead;
        for (number, client) in (1..).zip(&self.clients) {
            client.order(if dead.contains(&number) { Mood::Dead } else { Mood::Settling });
        }
        let healthy = self.wait_for_health().await;
        if healthy.is_err() {
            // A wrong answer is the graver fault, and often the cause.
            self.judge()?;
            return healthy;
        }
        self.note("all is well".to_owned());
        let node = extra_node("auditor", audit::FIRST_NUMBER);
        for server in self.ensemble.present() {
            let reading = node.spawn(audit(server, self.watch.clone(), self.history.clone()));
            reading.await.expect("a reader that panics ends the run")?;
        }
        self.wait_for_live_sessions().await?;
        self.judge()
    }

    /// An attempt to connect may open a session long after its client gave it up, if a clogged link
    /// held it back. Such a session ends by its timeout. Meanwhile a client that reads nothing for
    /// a while may lose its connection and need time for another one: all must be well at once.
    async fn wait_for_live_sessions(&mut self) -> Verdict {
        let deadline = self.watch.micros() + self.bound();
        loop {
            sleep(Duration::from_secs(1)).await;
            self.reap()?;
            let live: BTreeSet<SessionId> =
                self.clients.iter().filter_map(Running::live_session).collect();
            let (_, model) = self.model()?;
            let open: BTreeSet<SessionId> = model.newest().state.sessions.keys().copied().collect();
            let well = must("sessions end without clients", open == live, || {
                format!("sessions {open:?} are open, {live:?} have clients")
            })
            .and_then(|()| self.health());
            if well.is_ok() {
                break;
            }
            if self.watch.micros() >= deadline {
                return well;
            }
        }
        self.wait_for_live_connections().await
    }

    /// No server keeps a connection for which there is no client, however it came to that.
    async fn wait_for_live_connections(&mut self) -> Verdict {
        let stalled = Limits::default().write_timeout;
        let deadline = self.watch.micros() + self.bound() + stalled.as_micros() as Micros;
        loop {
            let connected = |client: &&Running| client.look().is_connected();
            let live = self.clients.iter().filter(connected).count();
            let servers = 1..=self.scenario.plan.servers;
            let kept: Vec<usize> =
                servers.map(|server| self.ensemble.n_connections(server)).collect();
            let well =
                must("connections end without clients", kept.iter().sum::<usize>() == live, || {
                    format!("servers have {kept:?} connections, {live} clients have one")
                })
                .and_then(|()| self.health());
            if well.is_ok() || self.watch.micros() >= deadline {
                return well;
            }
            sleep(Duration::from_secs(1)).await;
            self.reap()?;
        }
    }

    /// Judges everything seen so far.
    fn judge(&mut self) -> Verdict {
        let (log, model) = self.model()?;
        judge(&self.history.moments(), (&log, &model), &mut self.probes)
    }

    /// The longest log that is applied anywhere, and what it says.
    fn model(&mut self) -> Result<(Vec<SharedEntry<Txn>>, Model), Violation> {
        let (applied, server) = self.ruined.unwrap_or_else(|| self.furthest());
        let log = self.ensemble.ledger().log(ServerId(server), applied)?;
        self.entries = log.len() as u64;
        let fresh = Model::new().counting(self.scenario.plan.core.counter_bits);
        let model = history::model(fresh, &log)?;
        self.copies = copies(&log, &model);
        Ok((log, model))
    }

    async fn wait_for_health(&mut self) -> Verdict {
        let deadline = self.watch.micros() + self.bound();
        loop {
            sleep(Duration::from_millis(100)).await;
            self.reap()?;
            let verdict = self.health();
            if verdict.is_ok() || self.watch.micros() > deadline {
                return verdict;
            }
        }
    }

    /// How long healing may take.
    fn bound(&self) -> Micros {
        let core = &self.scenario.plan.core;
        let sessions = Duration::from_millis(core.max_session_timeout_ms as u64) * 2;
        (HELD_BACK * 3 + core.election_timeout * 20 + sessions).as_micros() as Micros
    }

    fn health(&self) -> Verdict {
        let all: BTreeMap<u64, Stats> = (1..=self.scenario.plan.servers)
            .filter_map(|server| Some((server, self.ensemble.stats(server)?)))
            .collect();
        let unsettled = self.clients.iter().enumerate().filter(|(_, client)| {
            let client = client.look();
            !(client.is_dead() || (client.is_settled() && client.is_connected()))
        });
        let leads = |(&server, stats): (&u64, &Stats)| {
            (stats.leader == Some(ServerId(server))).then_some(ServerId(server))
        };
        let health = Health {
            leaders: all.iter().filter_map(leads).collect(),
            applied: all
                .iter()
                .map(|(&server, stats)| (ServerId(server), stats.applied, stats.digest))
                .collect(),
            unsettled: unsettled.map(|(n, _)| n as u64 + 1).collect(),
            left_over: Vec::new(),
        };
        health.is_well()?;
        must("liveness", all.values().all(|stats| stats.repair.is_none()), || {
            "a server has not got back what it had lost".to_owned()
        })?;
        must("states in doubt (C13)", all.values().all(|stats| !stats.in_doubt), || {
            "a server doubts a state that is right".to_owned()
        })?;
        let present = self.ensemble.present().len();
        must("liveness", all.len() == present, || "servers are down".to_owned())?;
        let live = self.clients.iter().filter_map(Running::live_session).count() as u64;
        let counts: Vec<u64> = all.values().map(|stats| stats.sessions).collect();
        must("liveness", counts.iter().all(|&n| n == live), || {
            format!("servers have {counts:?} sessions, {live} have clients")
        })
    }

    async fn wait_for_leader(&mut self, bound: Duration, fits: impl Fn(u64) -> bool) -> Verdict {
        let deadline = self.watch.micros() + bound.as_micros() as Micros;
        loop {
            sleep(Duration::from_millis(10)).await;
            self.reap()?;
            let leader = self.ensemble.leader();
            if let Some(leader) = leader
                && fits(leader)
            {
                self.note(format!("server {leader} leads"));
                return Ok(());
            }
            must("a leader is found", self.watch.micros() < deadline, || {
                format!("after {bound:?} the leader is {leader:?}")
            })?;
        }
    }

    fn reap(&mut self) -> Verdict {
        let reaped = self.ensemble.reap(&mut self.probes);
        must("no server ends by itself", reaped == Ok(Vec::new()), || format!("{reaped:?}"))
    }

    /// The connections that stand, as their clients see it, to servers that `fit`.
    fn open_connections(&self, fits: impl Fn(u64) -> bool) -> BTreeSet<ConnId> {
        let mut servers = BTreeMap::new();
        let mut open = BTreeSet::new();
        for Moment { deed, .. } in self.history.moments() {
            match deed {
                Deed::Connects(conn, server, _) => drop(servers.insert(conn, server)),
                Deed::Hears(conn, Heard::Connected(_)) if fits(servers[&conn]) => {
                    open.insert(conn);
                }
                Deed::Hears(conn, Heard::Closed) | Deed::Leaves(conn) => {
                    open.remove(&conn);
                }
                Deed::Hears(..) | Deed::Asks(..) | Deed::World(_) => {}
            }
        }
        open
    }

    /// How many requests were answered with a zxid of their own, or of a read.
    fn acknowledged(&self) -> usize {
        let mut zxids = BTreeSet::new();
        for Moment { deed, .. } in self.history.moments() {
            if let Deed::Hears(_, Heard::Reply(_, zxid, _)) = deed {
                zxids.insert(zxid);
            }
        }
        zxids.len()
    }

    fn term(&self) -> u64 {
        let all = (1..=self.scenario.plan.servers).filter_map(|server| self.ensemble.stats(server));
        all.map(|stats| stats.term.0).max().unwrap_or_default()
    }

    fn note(&self, what: String) {
        self.history.note(self.watch.micros(), Deed::World(what));
    }

    /// Ends all tasks while there is a simulation around them.
    async fn take_down(&mut self) {
        self.ensemble.end();
        sleep(Duration::from_secs(1)).await;
    }
}

/// How many writes came to the log a second time.
fn copies(log: &[SharedEntry<Txn>], model: &Model) -> u64 {
    let before = (0..model.last()).map(|index| &model.step(index).state);
    let copies = log.iter().zip(before).filter(|(entry, before)| {
        let Payload::Command(txn) = &entry.payload else { return false };
        let Action::Write { author, .. } = &txn.action else { return false };
        let session = before.sessions.get(&author.session);
        session.is_some_and(|session| {
            session.token == author.token && author.sequence.0 <= session.sequence
        })
    });
    copies.count() as u64
}

/// A node for a client that is not of the plan.
fn extra_node(name: &str, number: u64) -> NodeHandle {
    Net::current().add_host(name, address_of(ConnId(number << 32)))
}

/// What a clogged link held back may come this much later than its end.
const HELD_BACK: Duration = Duration::from_secs(10);
