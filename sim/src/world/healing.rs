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

impl World {
    /// A random quorum heals. The faults of the others go on for a while, if there are any.
    pub(super) fn heal(&mut self) {
        self.faulty = false;
        self.healed_at = self.time;
        self.network.heal();
        // Of the damaged nobody knows whether they start again.
        let (damaged, mut order): (Vec<u64>, Vec<u64>) =
            (1..=self.plan.servers).partition(|&server| self.atlas.is_damaged(server));
        for place in 0..self.plan.quorum() {
            let other = place + self.fault_stream.below((order.len() - place) as u64) as usize;
            order.swap(place, other);
            self.queue.push(self.time, Event::Start { server: order[place] });
        }
        self.trace.note(self.time, None, || format!("HEAL {:?}", &order[..self.plan.quorum()]));
        for server in &mut self.servers {
            server.armed = None;
        }
        for client in 1..=self.plan.clients.count {
            let dies = self.plan.clients.deaths && self.fault_stream.coin();
            let mood = if dies { Mood::Dead } else { Mood::Settling };
            let wishes = self.clients[client as usize - 1].become_(self.time, mood);
            self.grant(client, wishes);
        }
        self.uncover_damage();
        if self.plan.calm {
            self.heal_all();
            return;
        }
        self.outsiders = order.split_off(self.plan.quorum()).into_iter().chain(damaged).collect();
        self.outsiders_until = self.time + self.fault_stream.log_between(100_000, 6_000_000);
        self.committed_before = self.committed();
        self.cut_outsiders();
        self.queue.push(self.outsiders_until, Event::QuorumCheck);
    }

    /// Perhaps cuts the others off from the quorum until all heals: both ways, or so that they hear
    /// nobody, or so that nobody hears them.
    fn cut_outsiders(&mut self) {
        let network = &self.plan.network;
        let pattern = self.fault_stream.below(4);
        let (deaf, mute) = match pattern {
            0 if network.partitions => (true, true),
            1 if network.one_way => (true, false),
            2 if network.one_way => (false, true),
            _ => return,
        };
        for outsider in self.outsiders.clone() {
            for other in (1..=self.plan.servers).filter(|&other| other != outsider) {
                if deaf {
                    self.network.cut((other, outsider));
                }
                if mute {
                    self.network.cut((outsider, other));
                }
            }
        }
        self.probes.hit("outsiders cut off until the quorum has got on");
    }

    /// Whether the quorum gets on without the others; if so, they heal too.
    pub(super) fn check_quorum(&mut self) -> Verdict {
        let is_asked = self.clients.iter().any(|client| !client.is_dead());
        let gets_on =
            !self.leaders().is_empty() && (!is_asked || self.committed() > self.committed_before);
        if gets_on {
            self.heal_all();
            return Ok(());
        }
        must("liveness", self.time < self.healed_at + self.patience(), || {
            format!("nothing is committed while only {:?} have faults", self.outsiders)
        })?;
        self.queue.push(self.time + 100_000, Event::QuorumCheck);
        Ok(())
    }

    /// The faults are over, everywhere.
    fn heal_all(&mut self) {
        self.trace.note(self.time, None, || "HEAL all".to_owned());
        self.healed_at = self.time;
        self.network.heal();
        for server in std::mem::take(&mut self.outsiders) {
            self.server(server).armed = None;
            let after = self.fault_stream.below(4_000_000);
            self.queue.push(self.time + after, Event::Start { server });
        }
        self.queue.push(self.time + 100_000, Event::CheckUp);
    }

    /// Whether what passes a link may be lost, doubled or late.
    pub(super) fn is_faulty(&self, link: Link) -> bool {
        self.faulty || self.outsiders.contains(&link.0) || self.outsiders.contains(&link.1)
    }

    pub(super) fn health(&self) -> Health {
        let servers = self.servers.iter().filter(|server| !self.atlas.is_out(server.id.0));
        let applied = servers.map(|server| {
            let stats = server.replica.as_ref().map(|replica| replica.stats());
            let none = (server.id, raft::Index::ZERO, 0);
            stats.map_or(none, |stats| (server.id, stats.applied, stats.digest))
        });
        let unsettled = (1u64..).zip(&self.clients);
        let unsettled = unsettled.filter(|(_, client)| !client.is_dead() && !client.is_settled());
        let alive: Vec<SessionId> = self.clients.iter().filter_map(Client::session).collect();
        let dead: Vec<SessionId> =
            self.clients.iter().filter(|c| c.is_dead()).filter_map(Client::session).collect();
        let open = self.checks.model.newest().state.sessions.keys();
        let left_over =
            open.filter(|id| dead.contains(id) || !alive.contains(id)).copied().collect();
        Health {
            leaders: self.leaders(),
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
        20 * election + 5 * session + 10_000_000
    }
}
