//! What the checks get to see of a server: what it asks its disk for, and the numbers it tells.
//!
//! Invariant: a server is looked at after each poll and before anything it wishes is carried out,
//! so that a violation is found before its consequences.

use std::time::Duration;

use zokor_core::db::{Action, Txn};
use zokor_core::id::{ServerId, SessionId};
use zokor_core::raft::{EntryId, Index, Payload, Persist, Role, Term};
use zokor_core::replica::Snapshot;

use super::disk::Disk;
use super::queue::Micros;
use super::serving::Conn;
use super::stepped::World;
use crate::check::chain::Chain;
use crate::check::commit::Claim;
use crate::check::session::left_over::Bound;
use crate::check::session::{expiry, owner};
use crate::check::tree::reaping;
use crate::check::write::kept::End;
use crate::check::{Verdict, bounds, leader_completeness, linearizability, must, snapshot};
use crate::client::Client;
use crate::model::Outcome;
use crate::rng::mix;
use crate::trace::{Kind, Lane};

impl World {
    /// A write is asked for: what the log will be.
    pub(super) fn noted(&mut self, server: u64, persist: &Persist<Txn>) -> Verdict {
        let id = ServerId(server);
        let time = self.time;
        let state = &mut self.servers[server as usize - 1];
        if let Some(hard_state) = persist.hard_state {
            if state.is_repairing && persist.reset.is_none() {
                self.checks.campaigns.skipped(hard_state.term);
            }
            state.progress.keeps(id, hard_state)?;
            self.checks.campaigns.kept(id, hard_state)?;
        }
        let log = &state.disk.asked().log;
        let mut previous = log.last();
        if let Some(meta) = &persist.reset {
            self.checks.committed.snapshot(id, meta.last)?;
            if !state.is_repairing {
                self.checks.committed.truncated(id, log, meta.last.index)?;
            }
            let durable = state.disk.snapshot().map(|snapshot| snapshot.meta.last);
            let durable = durable.unwrap_or_default();
            must("purged is in a snapshot (C8)", durable == meta.last, || {
                format!("server {server} resets its log to {:?}, durable is {durable:?}", meta.last)
            })?;
            previous = meta.last;
            self.probes.hit("snapshot installed");
            self.trace.note(time, Lane::Server(server), Kind::Note, || {
                format!("installs the snapshot {:?}", meta.last)
            });
        } else if let Some(index) = persist.truncate_after {
            self.checks.committed.truncated(id, log, index)?;
            let term = log.term_at(index).unwrap_or_default();
            previous = EntryId { term, index };
            self.probes.hit("log truncated");
            if let Some(first) = log.entry(index.next()).map(|entry| entry.id) {
                let holders = self.servers.iter().filter(|server| server.disk.holds(first));
                if holders.count() >= self.plan.quorum() {
                    self.probes.hit("entry on a quorum of disks replaced");
                }
            }
        }
        for entry in &persist.append {
            self.checks.logs.appended(id, previous, entry)?;
            previous = entry.id;
        }
        self.checks.members.noted(id, persist);
        self.servers[server as usize - 1].disk.note(persist);
        Ok(())
    }

    /// What a leader proposes to expire must be overdue (S5), and bear the time of its clock (T4).
    pub(super) fn expiries(&mut self, server: u64, persist: &Persist<Txn>) -> Verdict {
        let time = self.time;
        let state = &self.servers[server as usize - 1];
        let Some(replica) = &state.replica else {
            return Ok(());
        };
        let stats = replica.stats();
        let (leads, term) = (stats.role == Role::Leader, stats.term);
        let now = state.clock.now(time);
        // What is stamped or attached is seen at the poll, which may come a little after the input.
        let slack = Duration::from_micros(self.plan.process.poll_delay * 2);
        let taken_in = state.unpolled_since.unwrap_or(time);
        for entry in &persist.append {
            if !leads || entry.id.term != term {
                continue;
            }
            if let Payload::Command(txn) = &entry.payload
                && !self.plan.process.wall_jumps
            {
                let wait = Duration::from_micros(time - taken_in);
                reaping::stamped(ServerId(server), txn.time, now.wall, wait)?;
            }
            if let Payload::Command(Txn { action: Action::Expire { session, token }, .. }) =
                &entry.payload
            {
                // Its own view counts: what it has not applied yet will make the expiry void.
                let applied = stats.applied.0 as usize;
                let view = &self.checks.model.step(applied).state;
                let Some(record) = view.sessions.get(session) else {
                    continue;
                };
                // Attached anew in the same moment: the expiry is void.
                if record.token != *token {
                    continue;
                }
                let timeout = Duration::from_millis(record.timeout_ms.unsigned_abs().into());
                let ago = state.touched.ago(*session, now.instant) + slack;
                expiry::proposed(ServerId(server), *session, ago, timeout)?;
                self.probes.hit("session expired");
            }
        }
        Ok(())
    }

    /// Looks at the numbers that a server tells.
    pub(super) fn observe(&mut self, server: u64) -> Verdict {
        let (id, time) = (ServerId(server), self.time);
        self.look_if_mended(server);
        let state = &mut self.servers[server as usize - 1];
        let Some(replica) = &state.replica else {
            return Ok(());
        };
        let stats = replica.stats().clone();
        let before = state.progress;
        state.progress.seen(id, stats.term, stats.commit, stats.applied)?;
        if state.role != stats.role {
            state.role = stats.role;
            let does = match stats.role {
                Role::Follower => "follows",
                Role::Candidate => "is a candidate",
                Role::Leader => "leads",
            };
            self.trace.note(time, Lane::Server(server), Kind::Role, || {
                format!("{does} in term {}", stats.term)
            });
        }
        if stats.applied > before.applied {
            owner::served(id, replica.database())?;
        }
        let chain = Chain::of(&state.disk, stats.applied, stats.commit);
        if replica.raft().repair().is_some() {
            chain.holds_in_repair(id)?;
        } else {
            chain.holds(id)?;
        }
        let (keep, every) = (state.config.raft.keep_entries, state.config.snapshot_entries);
        bounds::log(id, chain.last.0 - chain.purged.0, keep, every)?;
        if stats.role == Role::Leader {
            state.touched.lead(stats.term, state.clock.instant(time));
            let timeout = state.config.raft.election_timeout;
            let memberships = self.checks.members.since_last_look(id);
            self.checks.check_quorum.leads(id, stats.term, timeout, &memberships)?;
        }
        if stats.commit > before.commit {
            let claim = Claim {
                server: id,
                role: stats.role,
                term: stats.term,
                before: before.commit,
                commit: stats.commit,
                led: Some(before.term).filter(|&term| self.checks.elections.led(id, term)),
            };
            self.commit(claim)?;
        }
        if self.checks.elections.seen(id, stats.role, stats.term)? {
            self.wins(id, stats.term)?;
        }
        if stats.applied > before.applied {
            crate::check::zxid::told(id, stats.applied, stats.zxid, &self.checks.model)?;
            self.tells_state(id, stats.zxid, stats.digest)?;
            self.note_attached(server, before.applied.next(), stats.applied);
            let (applied, zxid) = (stats.applied, stats.zxid);
            self.trace.note(time, Lane::Server(server), Kind::Apply, || {
                format!("has applied {applied}, {zxid}")
            });
        }
        Ok(())
    }

    /// Sessions that come with these entries have been heard of when `server` takes them in.
    fn note_attached(&mut self, server: u64, first: Index, last: Index) {
        for index in first.0..=last.0 {
            let outcome = &self.checks.model.step(index as usize).outcome;
            if let Outcome::Upgraded(_) = outcome {
                self.probes.hit("local session upgraded");
            }
            if let Outcome::Opened(session)
            | Outcome::Upgraded(session)
            | Outcome::Attached(session) = *outcome
            {
                // It was taken in with what is polled now, however long the server stood still in
                // between.
                let state = &mut self.servers[server as usize - 1];
                state.touch(session, state.unpolled_since.unwrap_or(self.time));
            }
        }
    }

    /// A server has won an election.
    fn wins(&mut self, id: ServerId, term: Term) -> Verdict {
        let disk = &self.servers[id.0 as usize - 1].disk;
        let membership = self.checks.members.of(id);
        self.checks.campaigns.won(id, term, disk.durable().hard_state, membership)?;
        leader_completeness::elected(id, term, &disk.asked().log, &self.checks.committed)?;
        let disks = |voter: ServerId| {
            let disk = self.servers.get(voter.0 as usize - 1).map(|server| &server.disk);
            disk.map(|disk| disk.durable().hard_state).unwrap_or_default()
        };
        self.checks.members.elected(id, term, disks)?;
        self.elected(id.0);
        Ok(())
    }

    pub(super) fn elected(&mut self, server: u64) {
        self.checks.elected_at = self.time;
        let healthy = |winner: &u64| !self.outsiders.contains(winner);
        if !self.outsiders.is_empty() && self.last_winner.as_ref().is_some_and(healthy) {
            self.depositions += 1;
        }
        self.last_winner = Some(server);
        if self.leaders().len() > 1 {
            self.probes.hit("two leaders at once");
        }
        for conn in self.conns.values_mut() {
            conn.through_election |= conn.open && conn.testimony.order().has_write();
        }
    }

    /// A commit index has moved: the model follows.
    pub(super) fn commit(&mut self, claim: Claim) -> Verdict {
        let log = &self.servers[claim.server.0 as usize - 1].disk.asked().log;
        let disks = self.servers.iter().map(|server| (server.id, &server.disk));
        let disks: Vec<(ServerId, &Disk)> = disks.collect();
        let present = self.checks.members.since_last_look(claim.server);
        let new = self.checks.committed.advanced(claim, log, &disks, &present)?;
        for _ in 0..new {
            let index = Index(self.checks.model.last() as u64 + 1);
            let entry = self.checks.committed.entry(index).expect("it was just committed").clone();
            self.checks.model.append(&entry);
            if matches!(&entry.payload, Payload::Command(txn) if txn.rules.no_room) {
                self.probes.hit("write refused for want of room");
            }
            self.members_changed(claim.server.0, &entry);
            crate::check::zxid::grows(&self.checks.model)?;
            let step = self.checks.model.newest();
            let at = self.checks.model.last();
            self.checks.judge.committed(&entry, at, &self.checks.model)?;
            self.hash = mix(&[self.hash, step.zxid.0 as u64]);
            if let Outcome::Expired(session) = step.outcome {
                self.expired(session)?;
            }
        }
        let (server, commit) = (claim.server.0, claim.commit);
        if new > 0 {
            self.trace.note(self.time, Lane::Server(server), Kind::Commit, || {
                format!("commits up to {commit}")
            });
        }
        Ok(())
    }

    pub(super) fn expired(&mut self, ended: SessionId) -> Verdict {
        let alive = self.clients.iter().any(|c| c.session() == Some(ended) && c.is_connected());
        expiry::happened(ended, self.plan.calm && alive)
    }

    /// A server has made a snapshot, or sends one.
    pub(super) fn pictured(&mut self, server: u64, picture: &Snapshot) -> Verdict {
        let id = ServerId(server);
        self.checks.committed.snapshot(id, picture.meta.last)?;
        if self.checks.doubts.is_rotten(id) {
            self.checks.doubts.pictured(id);
            return Ok(());
        }
        snapshot::made(id, picture, &self.checks.model)?;
        self.checks.machines.seen(id, picture.zxid, picture.image.digest())
    }

    /// While all is healed, sessions without clients go in time (S7).
    pub(super) fn dead_leave_nothing(&mut self) -> Verdict {
        if self.leaders().len() != 1 {
            return Ok(());
        }
        let alive: Vec<SessionId> =
            self.clients.iter().filter(|c| !c.is_dead()).filter_map(Client::session).collect();
        let sessions = &self.checks.model.newest().state.sessions;
        let open: Vec<_> = sessions
            .iter()
            .filter(|(id, _)| !alive.contains(id))
            .map(|(&id, session)| (id, session.token, session.timeout_ms))
            .collect();
        let upkeep = self.plan.core.upkeep_interval.as_micros() as u64 * 2;
        let bound = Bound {
            well_since: self.healed_at.max(self.checks.elected_at),
            upkeep: upkeep + SLOW_COMMIT,
            slowest_per_mille: 900,
        };
        self.checks.left_over.seen(self.time, &open, bound)
    }

    /// All is well again, and the run ends: nothing may be missing.
    pub(super) fn finish(&mut self) -> Verdict {
        let members = self.members();
        for server in self.servers.iter().filter(|server| members.contains(&server.id)) {
            let Some(replica) = &server.replica else { continue };
            let stats = replica.stats();
            snapshot::state(server.id, &replica.database().freeze(), &self.checks.model)?;
            let end = End { server: server.id, applied: stats.applied, disk: &server.disk };
            for zxid in self.checks.judge.writes.acknowledged() {
                let index = self.checks.model.index_of(zxid).unwrap_or(usize::MAX);
                let id = self.checks.committed.id(Index(index as u64));
                end.has(id.expect("only committed writes are answered"))?;
            }
            let mut expected = bounds::Memory { requests: 0, watches: 0 };
            let of_server = |conn: &&mut Conn| conn.open && ServerId(conn.server) == server.id;
            for conn in self.conns.values_mut().filter(of_server) {
                let applied = stats.applied.0 as usize;
                conn.testimony.watching().finished(applied, &self.checks.model)?;
                expected.requests += conn.testimony.order().waiting().count() as u64;
                expected.watches += conn.testimony.watches() as u64;
            }
            // What it has just done for someone may not be told yet.
            if !server.poll_due {
                let found = bounds::Memory { requests: stats.outstanding, watches: stats.watches };
                bounds::memory(server.id, found, expected)?;
            }
        }
        self.cross_check()
    }

    /// Judges the whole history without zxids.
    fn cross_check(&mut self) -> Verdict {
        if self.clients.len() > linearizability::MOST_CLIENTS {
            return Ok(());
        }
        for conn in self.conns.values() {
            conn.testimony.finished(&mut self.checks.judge);
        }
        // It knows nothing of states that were taken back.
        if self.checks.model.newest().state.restores.done.0 != 0 {
            return Ok(());
        }
        let judged = self.checks.judge.history.judge()?;
        (0..judged).for_each(|_| self.probes.hit("znode whose history one order explains"));
        Ok(())
    }
}

/// What the commit of an end may take besides, on the slowest disks.
const SLOW_COMMIT: Micros = 4_000_000;
