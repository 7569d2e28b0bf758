//! The end of the faults, and how all is after it.
//!
//! Invariant: first a random quorum heals and has to get on while the others keep their faults;
//! then all heal, no fault begins any more, and the world gets well.

use zokor_core::id::{ServerId, SessionId};
use zokor_core::raft::{self, Role};

use super::event::Event;
use super::network::Link;
use super::queue::Micros;
use super::server::Server;
use super::stepped::World;
use crate::check::liveness::Health;
use crate::check::{Verdict, must};
use crate::client::{Client, Mood};
use crate::rng::mix;
use crate::scenario::Fate;
use crate::trace::{Kind, Lane, Trouble};

/// How often a healthy leader may lose its office, at most, while only others have faults.
const MOST_DEPOSITIONS: usize = 3;

impl World {
    /// A quorum heals. The others stay broken, each in its way.
    pub(super) fn heal(&mut self) {
        self.faulty = false;
        self.awaited.clear();
        self.healed_at = self.time;
        self.network.heal();
        self.client_cuts.clear();
        let mut order = self.recovery.order.clone();
        // Of the damaged nobody knows whether they start again.
        order.sort_by_key(|&server| self.atlas.is_damaged(server));
        let core = self.core_of(&order);
        self.trace.note(self.time, Lane::World, Kind::Heal, || format!("{core:?} heal"));
        for &server in &core {
            self.make_whole(server, 0);
        }
        for &server in &order[core.len()..] {
            let fates = &self.recovery.fates;
            match fates.iter().find(|(named, _)| *named == server).map(|&(_, fate)| fate) {
                Some(fate) => self.meet(server, fate),
                None if self.atlas.is_damaged(server) => drop(self.outsiders.insert(server)),
                None => self.make_whole(server, 0),
            }
        }
        for client in 1..=self.plan.clients.count {
            let dies = self.recovery.dead.contains(&client);
            self.become_(client, if dies { Mood::Dead } else { Mood::Settling });
        }
        self.uncover_damage();
        if self.outsiders.is_empty() {
            self.heal_all();
            return;
        }
        let number = self.timed.len();
        self.queue.push(self.time, Event::Fault { number });
        self.queue.push(self.time + 100_000, Event::QuorumCheck);
    }

    /// A server stays broken for as long as the others need to get on.
    fn meet(&mut self, server: u64, fate: Fate) {
        self.outsiders.insert(server);
        self.trace.note(self.time, Lane::World, Kind::Fault, || format!("{server} stays {fate:?}"));
        let others = (1..=self.plan.servers).filter(|&other| other != server);
        match fate {
            Fate::Down => {
                self.probes.hit("a server stays down while the others get on");
                self.crash(server, None);
                self.server(server).stays_down = true;
            }
            Fate::Cut { deaf, mute } => {
                self.probes.hit("a server stays cut off while the others get on");
                for other in others {
                    let links = [((other, server), deaf), ((server, other), mute)];
                    for (link, _) in links.into_iter().filter(|&(_, is_cut)| is_cut) {
                        self.network.cut(link);
                        self.trace.trouble(Trouble::Cut(link), self.time, Micros::MAX);
                    }
                    // What is not answered for long enough is noticed.
                    self.break_off((server, other), 1, 1_000_000);
                }
            }
            Fate::Restless => {
                self.restless.insert(server);
            }
        }
    }

    /// Ends what is wrong with a server, and starts it after a while if it is down.
    fn make_whole(&mut self, server: u64, after: Micros) {
        let state = self.server(server);
        state.armed = None;
        state.armed_at_start = None;
        state.stays_down = false;
        self.queue.push(self.time + after, Event::Start { server });
    }

    fn become_(&mut self, client: u64, mood: Mood) {
        let wishes = self.clients[client as usize - 1].become_(self.time, mood);
        self.grant(client, wishes);
    }

    /// Whether the quorum gets on without the others; if so, they heal too.
    pub(super) fn check_quorum(&mut self) -> Verdict {
        let health = self.health();
        let most = MOST_DEPOSITIONS + self.terms_for_repair;
        must("liveness", self.depositions <= most, || {
            format!(
                "{} healthy leaders were deposed although only {:?} have faults",
                self.depositions, self.outsiders
            )
        })?;
        match health.is_well() {
            Ok(()) => {
                self.heal_all();
                Ok(())
            }
            Err(_) if self.needs_outsiders() => {
                self.heal_all();
                Ok(())
            }
            Err(ailment) if self.time >= self.healed_at + self.patience() => Err(ailment),
            Err(_) => {
                self.queue.push(self.time + 100_000, Event::QuorumCheck);
                Ok(())
            }
        }
    }

    /// The faults are over, everywhere.
    fn heal_all(&mut self) {
        self.trace.note(self.time, Lane::World, Kind::Heal, || "all heal".to_owned());
        self.trace.ends(self.time, |_| true);
        self.healed_at = self.time;
        self.network.heal();
        self.client_cuts.clear();
        self.restless.clear();
        self.awaited.clear();
        for server in std::mem::take(&mut self.outsiders) {
            let after = mix(&[self.plan.seed, server]) % 4_000_000;
            self.make_whole(server, after);
        }
        for client in 1..=self.plan.clients.count {
            if !self.clients[client as usize - 1].is_dead() {
                self.become_(client, Mood::Settling);
            }
        }
        self.queue.push(self.time + 100_000, Event::CheckUp);
    }

    /// Whether nothing excuses that a client is not answered on the connection that it has. It
    /// holds on then, instead of trying its luck elsewhere, and [`Health`] tells if it is in vain.
    pub(super) fn is_to_be_served(&self, client: u64) -> bool {
        let conn = self.clients[client as usize - 1].conn();
        let state = conn.and_then(|conn| self.conns.get(&conn));
        let is_healed = self.healed_at > 0 && !self.faulty;
        is_healed && state.is_some_and(|it| it.open && !self.outsiders.contains(&it.server))
    }

    /// Whether what passes a link may be lost, doubled or late.
    pub(super) fn is_faulty(&self, link: Link) -> bool {
        self.faulty || self.outsiders.contains(&link.0) || self.outsiders.contains(&link.1)
    }

    pub(super) fn health(&self) -> Health {
        let healthy = |id: &ServerId| !self.outsiders.contains(&id.0);
        let members = self.members();
        let counts =
            |id: &ServerId| healthy(id) && members.contains(id) && !self.atlas.is_out(id.0);
        let servers = self.servers.iter().filter(|server| counts(&server.id));
        let applied = servers.map(|server| {
            let stats = server.replica.as_ref().map(|replica| replica.stats());
            let none = (server.id, raft::Index::ZERO, 0);
            // With too few others nobody can tell whose state is wrong.
            let is_open = self.checks.doubts.any() && !self.outsiders.is_empty();
            let digest = |digest| if is_open { 0 } else { digest };
            stats.map_or(none, |stats| (server.id, stats.applied, digest(stats.digest)))
        });
        // One of the others may go on to lead if its faults allow it.
        let (inside, outside): (Vec<_>, Vec<_>) = self.leaders().into_iter().partition(healthy);
        let leaders = if inside.is_empty() { outside } else { inside };
        let unsettled = (1u64..).zip(&self.clients);
        let unsettled = unsettled.filter(|(_, client)| !client.is_dead() && !client.is_settled());
        let alive: Vec<SessionId> = self.clients.iter().filter_map(Client::session).collect();
        let dead: Vec<SessionId> =
            self.clients.iter().filter(|c| c.is_dead()).filter_map(Client::session).collect();
        let open = self.checks.model.newest().state.sessions.keys();
        let replicas = self.servers.iter().filter(|server| counts(&server.id));
        let replicas = replicas.filter_map(|server| server.replica.as_ref());
        let local = replicas.flat_map(|replica| replica.local_sessions().map(|(id, _)| id));
        let open = open.copied().chain(local);
        let left_over = open.filter(|id| dead.contains(id) || !alive.contains(id)).collect();
        Health {
            leaders,
            applied: applied.collect(),
            unsettled: unsettled.map(|(number, _)| number).collect(),
            left_over,
        }
    }

    /// The servers that say that they lead.
    pub(super) fn leaders(&self) -> Vec<ServerId> {
        let leads = |server: &&Server| {
            server.replica.as_ref().is_some_and(|r| r.stats().role == Role::Leader)
        };
        self.servers.iter().filter(leads).map(|server| server.id).collect()
    }

    /// How long healing may take: elections, patience of clients, ends of dead sessions.
    pub(super) fn patience(&self) -> Micros {
        let core = &self.plan.core;
        let election = core.election_timeout.as_micros() as u64;
        let session = core.max_session_timeout_ms as u64 * 1000;
        30 * election + 5 * session + 10_000_000
    }
}
