//! What the checks get to see of a server: what it asks its disk for, and the numbers it tells.
//!
//! Invariant: a server is looked at after each poll and before anything it wishes is carried out,
//! so that a violation is found before its consequences.

use std::time::Duration;

use zokor_core::db::{Action, Txn};
use zokor_core::id::{ServerId, SessionId};
use zokor_core::raft::{self, EntryId, Payload, Persist, Role};

use super::disk::Disk;
use super::stepped::World;
use crate::check::commit::Claim;
use crate::check::{Verdict, leader_completeness, must, session};
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
            state.progress.keeps(id, hard_state)?;
        }
        let log = &state.disk.asked().log;
        let mut previous = log.last();
        if let Some(meta) = &persist.reset {
            self.checks.committed.snapshot(id, meta.last)?;
            let durable = state.disk.snapshot().map(|snapshot| snapshot.meta.last);
            must("purged is in a snapshot (C8)", durable == Some(meta.last), || {
                format!("server {server} resets its log to {:?}, durable is {durable:?}", meta.last)
            })?;
            previous = meta.last;
            self.probes.hit("snapshot installed");
            self.trace.note(time, Lane::Server(server), Kind::Note, || {
                format!("installs the snapshot {:?}", meta.last)
            });
        } else if let Some(index) = persist.truncate_after {
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
        self.servers[server as usize - 1].disk.note(persist);
        Ok(())
    }

    /// What a leader proposes to expire must be overdue (S5).
    pub(super) fn expiries(&mut self, server: u64, persist: &Persist<Txn>) -> Verdict {
        let time = self.time;
        let state = &self.servers[server as usize - 1];
        let Some(replica) = &state.replica else {
            return Ok(());
        };
        let stats = replica.stats();
        let (leads, term) = (stats.role == Role::Leader, stats.term);
        let now = state.clock.instant(time);
        for entry in &persist.append {
            if !leads || entry.id.term != term {
                continue;
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
                // An attach is seen at the poll, which may come a little after the input.
                let slack = Duration::from_micros(self.plan.process.poll_delay * 2);
                let ago = state.touched.ago(*session, now) + slack;
                session::expires(ServerId(server), *session, ago, timeout)?;
                self.probes.hit("session expired");
            }
        }
        Ok(())
    }

    /// Looks at the numbers that a server tells.
    pub(super) fn observe(&mut self, server: u64) -> Verdict {
        let id = ServerId(server);
        let time = self.time;
        let state = &mut self.servers[server as usize - 1];
        let Some(replica) = &state.replica else {
            return Ok(());
        };
        let stats = replica.stats().clone();
        let before = state.progress;
        state.progress.seen(id, stats.term, stats.commit, stats.applied)?;
        if stats.role == Role::Leader {
            state.touched.lead(stats.term, state.clock.instant(time));
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
            let log = &self.servers[server as usize - 1].disk.asked().log;
            leader_completeness::elected(id, stats.term, log, &self.checks.committed)?;
            self.elected(server, stats.term.0);
        }
        if stats.applied > before.applied {
            crate::check::zxid::told(id, stats.applied, stats.zxid, &self.checks.model)?;
            self.checks.machines.seen(id, stats.zxid, stats.digest)?;
            for index in before.applied.0 + 1..=stats.applied.0 {
                if let Outcome::Attached(session) = self.checks.model.step(index as usize).outcome {
                    self.servers[server as usize - 1].touch(session, time);
                }
            }
            let (applied, zxid) = (stats.applied, stats.zxid);
            self.trace.note(time, Lane::Server(server), Kind::Apply, || {
                format!("has applied {applied}, {zxid}")
            });
        }
        Ok(())
    }

    pub(super) fn elected(&mut self, server: u64, term: u64) {
        self.trace
            .note(self.time, Lane::Server(server), Kind::Role, || format!("leads in term {term}"));
        let healthy = |winner: &u64| !self.outsiders.contains(winner);
        if !self.outsiders.is_empty() && self.last_winner.as_ref().is_some_and(healthy) {
            self.depositions += 1;
        }
        self.last_winner = Some(server);
        if self.leaders().len() > 1 {
            self.probes.hit("two leaders at once");
        }
        for conn in self.conns.values_mut() {
            conn.through_election |= conn.open && conn.order.has_write();
        }
    }

    /// A commit index has moved: the model follows.
    pub(super) fn commit(&mut self, claim: Claim) -> Verdict {
        let log = &self.servers[claim.server.0 as usize - 1].disk.asked().log;
        let disks = self.servers.iter().map(|server| &server.disk);
        let disks: Vec<&Disk> = disks.collect();
        let quorum = self.plan.quorum();
        let new = self.checks.committed.advanced(claim, log, disks.iter().copied(), quorum)?;
        for _ in 0..new {
            let index = raft::Index(self.checks.model.last() as u64 + 1);
            let entry = self.checks.committed.entry(index).expect("it was just committed").clone();
            self.checks.model.append(&entry);
            crate::check::zxid::grows(&self.checks.model)?;
            let step = self.checks.model.newest();
            self.checks.writes.took_effect(&step.outcome, step.zxid)?;
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
        if self.plan.calm && alive { session::expires_in_calm(ended) } else { Ok(()) }
    }
}
