//! Carrying out faults: crashes, cuts, pauses, and the connections between servers.
//!
//! Invariant: every fault has ended when its server heals. A server learns of a connection's
//! beginning and end in that order, and never of an end that came before the beginning.

use zokor_core::Input;
use zokor_core::id::ServerId;

use super::event::Event;
use super::network::Link;
use super::queue::Micros;
use super::stepped::World;
use crate::check::Verdict;
use crate::fault::{CrashPoint, Fault};
use crate::rng::{Concern, Stream, mix};
use crate::trace::{Kind, Lane, Trouble};

/// Faults outside the healthy quorum last no longer than this, so that they change.
const LONGEST_OUTSIDE: Micros = 3_000_000;

impl World {
    /// The fault of this number strikes. Behind those of the list come the faults of what stays
    /// broken, again and again.
    pub(super) fn next_fault(&mut self, number: usize) -> Verdict {
        if let Some(timed) = self.timed.get(number) {
            let fault = timed.fault.clone();
            return if self.faulty { self.strike(fault) } else { Ok(()) };
        }
        let outside = &self.recovery.outside;
        if self.restless.is_empty() || outside.is_empty() {
            return Ok(());
        }
        let (fault, gap) = outside[(number - self.timed.len()) % outside.len()].clone();
        self.queue.push(self.time + gap, Event::Fault { number: number + 1 });
        let leader = self.leaders().last().map(|leader| leader.0);
        if let Some(fault) = fault.only(&self.restless, leader) {
            self.probes.hit("fault while only a quorum has healed");
            self.strike(fault)?;
        }
        Ok(())
    }

    fn strike(&mut self, fault: Fault) -> Verdict {
        self.faults += 1;
        self.trace.note(self.time, Lane::World, Kind::Fault, || format!("{fault:?}"));
        let left = self.plan.fault_time.saturating_sub(self.time);
        let most = if self.faulty { left } else { LONGEST_OUTSIDE };
        let end = |duration: Micros| duration.min(most);
        match fault {
            Fault::Crash(servers) => {
                for (server, point, restart) in servers {
                    self.arm(server, point, restart);
                }
            }
            Fault::CrashLeader(point, restart) => {
                if let Some(leader) = self.leaders().last().copied() {
                    self.arm(leader.0, point, restart);
                }
            }
            Fault::Cut(links, duration) => self.cut(links, end(duration)),
            Fault::CutLeader(one_way, duration) => {
                let Some(leader) = self.leaders().last().copied() else {
                    return Ok(());
                };
                let others = (1..=self.plan.servers).filter(|&server| server != leader.0);
                let links = others.flat_map(|server| {
                    let out = (leader.0, server);
                    if one_way { vec![out] } else { vec![out, (server, leader.0)] }
                });
                self.cut(links.collect(), end(duration));
            }
            Fault::Clog(links, duration) => {
                let until = self.time + end(duration);
                for link in links {
                    self.network.clog(link, until);
                    self.trace.trouble(Trouble::Cut(link), self.time, until);
                }
            }
            Fault::Break(link, duration) => self.break_off(link, end(duration), 200),
            Fault::HalfOpen(link, duration) => self.half_open(link, end(duration)),
            Fault::Pause(server, duration, clock_too) => {
                self.pause(server, end(duration), clock_too);
            }
            Fault::Stall(server, duration) => {
                let until = self.time + end(duration);
                self.server(server).stalled_until = until;
                self.trace.trouble(Trouble::Stall(server), self.time, until);
            }
            Fault::WallJump(server, by_ms) => self.server(server).clock.jump_wall(by_ms),
            Fault::CutClient(client, server, duration) => {
                let until = self.time + end(duration);
                self.client_cuts.insert((client, server), until);
                self.trace.trouble(Trouble::ClientCut(client, server), self.time, until);
                self.probes.hit("client cut off from its server");
            }
            Fault::Retune(server, draw) => self.server(server).retune(draw),
            Fault::ChangeMembership(reform) => self.reform(&reform)?,
            Fault::Restore(server, entries_ago) => self.restore(server, entries_ago)?,
            Fault::TreeRot(server, variety) => self.rot(server, variety),
            Fault::DiskError(..) | Fault::DiskFull(..) | Fault::DiskDamage(..) => {
                self.strike_disk(fault, self.time + most);
            }
            Fault::When(_, CrashPoint::Now, then) => self.strike(*then)?,
            Fault::When(who, point, then) => self.awaited.push((who, point, *then)),
        }
        Ok(())
    }

    /// What waits for this server to reach this point strikes.
    pub(super) fn awaited_at(&mut self, server: u64, here: CrashPoint) -> Verdict {
        let mut due = Vec::new();
        for (who, mut point, then) in std::mem::take(&mut self.awaited) {
            if who.is_none_or(|who| who == server) && point.is_met(here) {
                due.push(then);
            } else {
                self.awaited.push((who, point, then));
            }
        }
        for then in due {
            self.probes.hit("fault at an awaited point");
            self.strike(then)?;
        }
        Ok(())
    }

    fn pause(&mut self, server: u64, duration: Micros, clock_too: bool) {
        let until = self.time + duration;
        let time = self.time;
        let state = self.server(server);
        if state.replica.is_none() || state.paused_until >= until {
            return;
        }
        if clock_too {
            state.clock.freeze(until - state.paused_until.max(time));
        }
        state.paused_until = until;
        self.queue.push(until, Event::Resume { server });
        self.trace.trouble(Trouble::Pause(server), time, until);
    }

    fn arm(&mut self, server: u64, point: CrashPoint, restart: Micros) {
        match point {
            CrashPoint::Now => self.crash(server, Some(restart)),
            CrashPoint::Start(_) => {
                self.crash(server, Some(restart));
                self.server(server).armed_at_start = Some((point, restart));
            }
            _ if self.server(server).replica.is_some() => {
                self.server(server).armed = Some((point, restart));
            }
            _ => {}
        }
    }

    /// The small print of a fault at this moment.
    pub(super) fn small_print(&self, what: u64) -> Stream {
        Stream::new(self.plan.seed, Concern::Fault(mix(&[self.time, what])))
    }

    /// A server crashes, and starts again after `restart`, if at all.
    pub(super) fn crash(&mut self, server: u64, restart: Option<Micros>) {
        if self.server(server).replica.is_none() {
            return;
        }
        self.trace.note(self.time, Lane::Server(server), Kind::Crash, || "crashes".to_owned());
        if self.leaders().contains(&ServerId(server)) && self.has_writes_in_flight(server) {
            self.probes.hit("leader crashed with writes in flight");
        }
        if self.is_joint(server) && self.leaders().contains(&ServerId(server)) {
            self.probes.hit("joint membership interrupted by a crash");
        }
        let state = self.server(server);
        if state.disk.pending() > 0 {
            self.probes.hit("crash with a write under way");
        }
        if self.server(server).disk.is_checkpointing() {
            self.probes.hit("crash with a checkpoint under way");
        }
        self.server(server).crash();
        self.trace.ends(self.time, |trouble| trouble == Trouble::Pause(server));
        let state = &self.servers[server as usize - 1];
        // What a disk of sectors has kept comes out when it is opened.
        if state.sectors.is_none() {
            self.conformance.crashed(state.id, &state.disk);
        }
        self.drop_conns(server);
        let mut luck = self.small_print(server);
        for peer in (1..=self.plan.servers).filter(|&peer| peer != server) {
            let delay = luck.log_between(100, 400_000);
            self.lose_link((server, peer), delay);
        }
        if let Some(restart) = restart {
            self.queue.push(self.time + restart, Event::Start { server });
        }
    }

    pub(super) fn cut(&mut self, links: Vec<Link>, duration: Micros) {
        let mut luck = self.small_print(0);
        let until = self.time + duration;
        let mut heals = 0;
        for &link in &links {
            heals = self.network.cut(link);
            self.trace.trouble(Trouble::Cut(link), self.time, until);
            // The ends notice at times that nothing comes any more.
            let notices = luck.coin();
            let delay = luck.log_between(1_000, 1_000_000);
            if (link.0 < link.1 || !links.contains(&(link.1, link.0))) && notices {
                self.break_off(link, duration, delay);
            }
        }
        self.queue.push(until, Event::CutEnds { links, heals });
    }

    /// One end hears soon that the connection is gone, the other one late.
    fn half_open(&mut self, (a, b): Link, duration: Micros) {
        let epoch = self.network.epoch((a, b));
        if !self.network.break_off((a, b)) {
            return;
        }
        self.probes.hit("half-open connection");
        self.queue.push(self.time + 1, Event::PeerDown { server: a, peer: b, epoch });
        self.queue.push(self.time + duration, Event::PeerDown { server: b, peer: a, epoch });
        self.queue.push(self.time + duration, Event::Reconnect { link: (a, b) });
    }

    pub(super) fn break_off(&mut self, link: Link, duration: Micros, delay: Micros) {
        self.lose_link(link, delay);
        self.queue.push(self.time + duration, Event::Reconnect { link });
    }

    /// The connection of two servers is gone; both hear of it within `delay`.
    fn lose_link(&mut self, (a, b): Link, delay: Micros) {
        let epoch = self.network.epoch((a, b));
        if !self.network.break_off((a, b)) {
            return;
        }
        let mut luck = self.small_print(mix(&[a, b]));
        for (server, peer) in [(a, b), (b, a)] {
            let at = self.time + 1 + luck.below(delay);
            self.queue.push(at, Event::PeerDown { server, peer, epoch });
        }
    }

    /// Two servers make a connection, or try again later.
    pub(super) fn reconnect(&mut self, link: Link) {
        if self.network.is_up(link) {
            return;
        }
        let (a, b) = link;
        if self.server(a).replica.is_none() || self.server(b).replica.is_none() {
            // The one that is down will try when it starts.
            return;
        }
        if self.network.is_cut(link) {
            self.queue.push(self.time + 50_000, Event::Reconnect { link });
            return;
        }
        let epoch = self.network.connect(link);
        for (server, peer) in [(a, b), (b, a)] {
            self.queue.push(self.time + 50 + server, Event::PeerUp { server, peer, epoch });
        }
    }

    pub(super) fn peer_up(&mut self, server: u64, peer: u64, epoch: u64) -> Verdict {
        if epoch != self.network.epoch((server, peer)) || self.server(server).replica.is_none() {
            return Ok(());
        }
        if self.server(server).peers.remove(&peer).is_some() {
            self.checks.feeds.connected(ServerId(server), ServerId(peer));
            self.input(server, Input::PeerDown { peer: ServerId(peer) })?;
        }
        self.server(server).peers.insert(peer, epoch);
        self.checks.feeds.connected(ServerId(server), ServerId(peer));
        self.input(server, Input::PeerUp { peer: ServerId(peer) })
    }

    pub(super) fn peer_down(&mut self, server: u64, peer: u64, epoch: u64) -> Verdict {
        if self.server(server).peers.get(&peer) != Some(&epoch) {
            return Ok(());
        }
        self.server(server).peers.remove(&peer);
        self.checks.feeds.connected(ServerId(server), ServerId(peer));
        self.trace.note(self.time, Lane::Server(server), Kind::Note, || format!("loses {peer}"));
        self.input(server, Input::PeerDown { peer: ServerId(peer) })
    }
}
