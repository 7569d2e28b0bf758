//! The end of the faults, and how all is after it.
//!
//! Invariant: once the faults are over no new one begins, and a world with a quorum gets well.

use zokor_core::id::{ServerId, SessionId};
use zokor_core::raft::{self, Role};

use super::event::Event;
use super::queue::Micros;
use super::server::Server;
use super::stepped::World;
use crate::check::Verdict;
use crate::check::liveness::Health;
use crate::client::{Client, Mood};

impl World {
    /// The faults are over: everything is to heal, a random quorum first.
    pub(super) fn heal(&mut self) -> Verdict {
        self.trace.note(self.time, None, || "HEAL".to_owned());
        self.faulty = false;
        self.healed_at = self.time;
        self.network.heal();
        let mut order: Vec<u64> = (1..=self.plan.servers).collect();
        for place in 0..self.plan.quorum() {
            let other = place + self.fault_stream.below((order.len() - place) as u64) as usize;
            order.swap(place, other);
            self.queue.push(self.time, Event::Start { server: order[place] });
        }
        for &server in &order[self.plan.quorum()..] {
            let after = self.fault_stream.below(4_000_000);
            self.queue.push(self.time + after, Event::Start { server });
        }
        for server in &mut self.servers {
            server.armed = None;
        }
        for client in 1..=self.plan.clients.count {
            let dies = self.plan.clients.deaths && self.fault_stream.coin();
            let mood = if dies { Mood::Dead } else { Mood::Settling };
            let wishes = self.clients[client as usize - 1].become_(self.time, mood);
            self.grant(client, wishes);
        }
        self.queue.push(self.time + 100_000, Event::CheckUp);
        Ok(())
    }

    pub(super) fn health(&self) -> Health {
        let applied = self.servers.iter().map(|server| {
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
