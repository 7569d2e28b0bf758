//! Carrying out what servers wish: writes, messages and snapshots, and crashes in between.
//!
//! Invariant: wishes are carried out in their order, and a server that crashes on one has carried
//! out none of those behind it.

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{self, Persist, Ticket};
use zokor_core::replica::{Message, Snapshot};
use zokor_core::{Input, Output};

use super::disk;
use super::disk_faults::{RETRY, Written};
use super::event::Event;
use super::network::Link;
use super::stepped::World;
use crate::check::{Verdict, Violation, chain, durability, must};
use crate::fault::{CrashPoint, Word};
use crate::trace::{EventId, Kind, Lane};

impl World {
    /// Carries out one wish; false if the server crashed on it.
    pub(super) fn carry_out(&mut self, server: u64, output: Output) -> Result<bool, Violation> {
        if self.reaches(server, CrashPoint::Start(1))? {
            return Ok(false);
        }
        let point = match output {
            Output::Persist(persist) => {
                let cuts = persist.truncate_after.is_some();
                self.persist(server, persist);
                if cuts && self.reaches(server, CrashPoint::Truncate)? {
                    return Ok(false);
                }
                CrashPoint::Persist(1)
            }
            Output::Checkpoint { ticket, snapshot } => {
                self.checkpoint(server, ticket, snapshot)?;
                CrashPoint::Checkpoint
            }
            Output::Purge { through } => return self.purge(server, through),
            Output::Send { to, message } => {
                let word = Word::of(&message);
                self.send(server, to.0, message)?;
                if let Some(word) = word
                    && self.reaches(server, CrashPoint::Say(word, 1))?
                {
                    return Ok(false);
                }
                CrashPoint::Send(1)
            }
            Output::Distrust { at, evidence, .. } => self.distrusts(server, at, evidence)?,
            Output::Trust { from } => self.trusts(server, from),
            Output::Alarm(alarm) => {
                self.alarmed(server, &alarm)?;
                return Ok(true);
            }
            Output::Connected { conn, response } => {
                self.answer_connect(server, conn, response)?;
                return Ok(true);
            }
            Output::Reply { conn, xid, zxid, result } => {
                self.answer(server, conn, xid, (zxid, result))?;
                CrashPoint::Reply
            }
            Output::Notify { conn, zxid, event } => {
                self.notify(server, conn, zxid, event)?;
                return Ok(true);
            }
            Output::Change { id, progress } => {
                self.reformed(id, progress)?;
                return Ok(true);
            }
            Output::Restored { id, end } => {
                self.restored(server, id, end)?;
                return Ok(true);
            }
            Output::Close { conn, reason } => {
                self.close(server, conn, reason)?;
                return Ok(true);
            }
        };
        Ok(!self.reaches(server, point)?)
    }

    /// False if the server crashed before that.
    fn purge(&mut self, server: u64, through: raft::Index) -> Result<bool, Violation> {
        if self.reaches(server, CrashPoint::BeforePurge)? {
            return Ok(false);
        }
        let disk = &mut self.servers[server as usize - 1].disk;
        let kept = disk.snapshot().map(|s| s.meta.last.index).unwrap_or_default();
        chain::purges(ServerId(server), through, kept)?;
        disk.purge(through);
        self.purge_sectors(server, through);
        Ok(true)
    }

    fn checkpoint(&mut self, server: u64, ticket: Ticket, snapshot: Snapshot) -> Verdict {
        let time = self.time;
        let asked = self.trace.note(time, Lane::Server(server), Kind::Persist, || {
            format!("asks to checkpoint {ticket:?}: {:?}", snapshot.meta.last)
        });
        self.server(server).asked.insert(ticket, asked);
        self.pictured(server, &snapshot)?;
        let (least, spread) = (self.plan.disk.latency_min, self.plan.disk.latency_spread * 10);
        let state = self.server(server);
        state.disk.checkpoint(ticket, snapshot);
        let latency = least + state.disk_stream.below(spread);
        let at = (time + latency).max(state.stalled_until);
        let life = state.life;
        self.queue.push(at, Event::CheckpointDone { server, life });
        Ok(())
    }

    pub(super) fn persist(&mut self, server: u64, persist: Persist<Txn>) {
        let time = self.time;
        let plan = self.plan.disk.clone();
        let faulty = self.faulty || self.outsiders.contains(&server);
        let asked = self.trace.note(time, Lane::Server(server), Kind::Persist, || asks(&persist));
        let state = self.server(server);
        state.asked.insert(persist.ticket, asked);
        state.disk.persist(persist);
        let mut latency = plan.latency_min + state.disk_stream.below(plan.latency_spread);
        if faulty && plan.heavy_tail && state.disk_stream.below(100) == 0 {
            latency *= state.disk_stream.between(2, 50);
        }
        let from = time.max(state.disk.busy_until).max(state.stalled_until);
        state.disk.busy_until = from + latency;
        let life = state.life;
        self.queue.push(from + latency, Event::DiskDone { server, life });
    }

    pub(super) fn disk_done(&mut self, server: u64, life: u64) -> Verdict {
        let merge = self.plan.disk.merge;
        let state = self.server(server);
        if state.life != life || state.replica.is_none() {
            return Ok(());
        }
        let mut n = state.disk.pending().min(1);
        if n > 0 && merge && state.disk_stream.coin() {
            n = state.disk.pending();
        }
        match self.write_sectors(server, n) {
            Written::Done => {}
            Written::Waits => {
                self.queue.push(self.time + RETRY, Event::DiskDone { server, life });
                return Ok(());
            }
            Written::Failed => return Ok(()),
        }
        let state = self.server(server);
        let Some(ticket) = (0..n).filter_map(|_| state.disk.complete()).last() else {
            return Ok(());
        };
        state.progress.kept(state.disk.durable().hard_state);
        if state.disk.pending() > 0 && self.reaches(server, CrashPoint::BetweenTickets(1))? {
            return Ok(());
        }
        self.disk_answers(server, ticket, "persisted");
        self.input(server, Input::Persisted { ticket })
    }

    pub(super) fn checkpoint_done(&mut self, server: u64, life: u64) -> Verdict {
        let state = self.server(server);
        if state.life != life || state.replica.is_none() {
            return Ok(());
        }
        match self.save_to_sectors(server) {
            Written::Done => {}
            Written::Waits => {
                self.queue.push(self.time + RETRY, Event::CheckpointDone { server, life });
                return Ok(());
            }
            Written::Failed => return Ok(()),
        }
        let state = self.server(server);
        let Some(ticket) = state.disk.complete_checkpoint() else {
            return Ok(());
        };
        let applied = state.progress.applied;
        let is_foreign = state.disk.snapshot().is_some_and(|s| s.meta.last.index > applied);
        if is_foreign && self.reaches(server, CrashPoint::Install)? {
            return Ok(());
        }
        self.disk_answers(server, ticket, "checkpointed");
        self.judge_disk(server);
        if self.server(server).replica.is_none() {
            return Ok(());
        }
        self.input(server, Input::Checkpointed { ticket })
    }

    fn disk_answers(&mut self, server: u64, ticket: Ticket, what: &str) {
        let asked = self.server(server).asked.remove(&ticket).unwrap_or(0);
        self.trace.caused(self.time, Lane::Server(server), Kind::Persisted, asked, || {
            format!("has {what} {ticket:?}")
        });
    }

    pub(super) fn send(&mut self, from: u64, to: u64, message: Message) -> Verdict {
        let cause = self.trace.note(self.time, Lane::Server(from), Kind::Send, || {
            format!("-> {to}: {}", brief(&message))
        });
        match &message {
            Message::Raft(message) => {
                let disk = &self.servers[from as usize - 1].disk;
                durability::said(ServerId(from), ServerId(to), message, disk)?;
                let (from, to) = (ServerId(from), ServerId(to));
                self.checks.campaigns.said(from, to, message);
                let memberships = self.checks.members.since_last_look(from);
                self.checks.barriers.said(from, to, message, &memberships)?;
                let window = self.servers[from.0 as usize - 1].window;
                self.checks.feeds.said(from, to, message, window)?;
                match message.body {
                    raft::Body::Feeding { round: Some(_), .. } => {
                        self.probes.hit("observer fed by a follower");
                    }
                    raft::Body::FedByOther { is_fed: false } => {
                        self.probes.hit("observer left by, or leaving, its feeder");
                    }
                    _ => {}
                }
            }
            Message::Snapshot { snapshot, .. } => {
                self.pictured(from, snapshot)?;
                self.probes.hit("snapshot sent");
            }
            Message::Forward(_)
            | Message::Heard(_)
            | Message::ShortOfRoom
            | Message::Compare(_) => {}
        }
        if to == from || to == 0 || to > self.plan.servers {
            return must("messages have a receiver", false, || format!("{from} sends to {to}"));
        }
        let link = (from, to);
        let fate = self.network.send(&self.plan.network, self.is_faulty(link), self.time, link);
        if !self.network.is_up(link) || fate.is_empty() {
            self.trace.caused(self.time, Lane::Server(to), Kind::Lose, cause, || {
                format!("never hears {}", brief(&message))
            });
            return Ok(());
        }
        let epoch = self.network.epoch(link);
        self.checks.flight.sent(fate.len())?;
        for arrival in fate {
            let message = Box::new(message.clone());
            self.queue.push(arrival, Event::Message { link, epoch, message, cause });
        }
        Ok(())
    }

    pub(super) fn deliver(
        &mut self,
        link: Link,
        epoch: u64,
        message: Message,
        cause: EventId,
    ) -> Verdict {
        self.checks.flight.arrived();
        let (from, to) = link;
        let stale = epoch != self.network.epoch(link) || !self.network.is_up(link);
        let lost = stale && !(self.is_faulty(link) && self.plan.network.late);
        let kind = if lost { Kind::Lose } else { Kind::Receive };
        self.trace.caused(self.time, Lane::Server(to), kind, cause, || {
            format!("<- {from}: {}", brief(&message))
        });
        if lost {
            return Ok(());
        }
        let word = Word::of(&message).filter(|_| self.server(to).replica.is_some());
        if let Some(word) = word
            && self.reaches(to, CrashPoint::Hear(word, 1))?
        {
            return Ok(());
        }
        self.checks.feeds.came(ServerId(from), ServerId(to));
        let message = match message {
            Message::Snapshot { term, snapshot } => {
                Message::Snapshot { term, snapshot: disk::copy(&snapshot) }
            }
            Message::Heard(sessions) => {
                let time = self.time;
                let state = self.server(to);
                sessions.iter().for_each(|&session| state.touch(session, time));
                Message::Heard(sessions)
            }
            Message::Raft(message) => {
                self.checks.barriers.came(ServerId(to), &message);
                Message::Raft(message)
            }
            Message::Forward(_) | Message::ShortOfRoom | Message::Compare(_) => message,
        };
        self.input(to, Input::Message { from: ServerId(from), message })
    }

    /// A server is at this point: what was to happen there happens. Whether it is down now.
    ///
    /// # Errors
    /// If what strikes there shows a violation.
    pub(super) fn reaches(&mut self, server: u64, point: CrashPoint) -> Result<bool, Violation> {
        let armed = self.server(server).armed.as_mut();
        let restart = armed.and_then(|(armed, restart)| armed.is_met(point).then_some(*restart));
        if let Some(restart) = restart {
            self.probes.hit("crash at an effect");
            self.crash(server, Some(restart));
            return Ok(true);
        }
        if !self.awaited.is_empty() {
            self.awaited_at(server, point)?;
        }
        Ok(self.server(server).replica.is_none())
    }

    /// Somebody leads, or leads no more; whether the server is down after that.
    pub(super) fn changes_role(&mut self, server: u64) -> Result<bool, Violation> {
        let state = self.server(server);
        let leads = state.replica.as_ref().is_some_and(|r| r.stats().role == raft::Role::Leader);
        let led = std::mem::replace(&mut state.leads, leads);
        if led && !leads {
            self.probes.hit("leader stepped down");
        }
        match (led, leads) {
            (false, true) => self.reaches(server, CrashPoint::Lead),
            (true, false) => self.reaches(server, CrashPoint::StepDown),
            (true, true) | (false, false) => Ok(false),
        }
    }
}

fn asks(persist: &Persist<Txn>) -> String {
    let mut text = format!("asks to persist {:?}:", persist.ticket);
    if let Some(hard_state) = persist.hard_state {
        text.push_str(&format!(" t{} vote {:?}", hard_state.term, hard_state.vote));
    }
    if let Some(meta) = &persist.reset {
        text.push_str(&format!(" reset to {:?}", meta.last));
    }
    if let Some(index) = persist.truncate_after {
        text.push_str(&format!(" cut after {index}"));
    }
    if let (Some(first), Some(last)) = (persist.append.first(), persist.append.last()) {
        text.push_str(&format!(
            " append {}..={}, t{}",
            first.id.index, last.id.index, last.id.term
        ));
    }
    text
}

fn brief(message: &Message) -> String {
    match message {
        Message::Raft(message) => {
            let text = match &message.body {
                raft::Body::Append { previous, commit, entries } => format!(
                    "Append {{ previous: {}/{}, commit: {commit}, entries: {} }}",
                    previous.term,
                    previous.index,
                    entries.len()
                ),
                body => format!("{body:?}"),
            };
            format!("t{} {text}", message.term)
        }
        Message::Snapshot { term, snapshot } => {
            format!("t{term} Snapshot {:?}", snapshot.meta.last)
        }
        Message::Forward(actions) => format!("Forward {}", actions.len()),
        Message::Heard(sessions) => format!("Heard {}", sessions.len()),
        Message::ShortOfRoom => "ShortOfRoom".to_owned(),
        Message::Compare(word) => format!("{word:?}"),
    }
}
