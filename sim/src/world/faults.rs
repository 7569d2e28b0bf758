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
use crate::fault::{self, CrashPoint, Fault};

impl World {
    /// Draws and carries out the next fault.
    pub(super) fn next_fault(&mut self) {
        if !self.faulty && self.outsiders.is_empty() {
            return;
        }
        let (mut fault, gap) = fault::next(&self.plan, &mut self.fault_stream);
        if !self.faulty {
            let leader = self.leaders().last().map(|leader| leader.0);
            fault = fault.and_then(|fault| fault.only(&self.outsiders, leader));
        }
        self.queue.push(self.time + gap, Event::Fault);
        if let Some(fault) = fault {
            self.faults += 1;
            if !self.faulty {
                self.probes.hit("fault while only a quorum has healed");
            }
            self.trace.note(self.time, None, || format!("FAULT {fault:?}"));
            self.strike(fault);
        }
    }

    fn strike(&mut self, fault: Fault) {
        let last = if self.faulty { self.plan.fault_time } else { self.outsiders_until };
        let left = last.saturating_sub(self.time);
        let until = self.time + left;
        let end = |duration: Micros| duration.min(left);
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
                    return;
                };
                let others = (1..=self.plan.servers).filter(|&server| server != leader.0);
                let links = others.flat_map(|server| {
                    let out = (leader.0, server);
                    if one_way { vec![out] } else { vec![out, (server, leader.0)] }
                });
                self.cut(links.collect(), end(duration));
            }
            Fault::Break(link, duration) => self.break_off(link, end(duration), 200),
            Fault::Pause(server, duration, clock_too) => {
                let duration = end(duration);
                let until = self.time + duration;
                let state = self.server(server);
                if state.replica.is_some() && state.paused_until < until {
                    if clock_too {
                        state.clock.freeze(until - state.paused_until.max(until - duration));
                    }
                    state.paused_until = until;
                    self.queue.push(until, Event::Resume { server });
                }
            }
            Fault::Stall(server, duration) => {
                let time = self.time;
                let state = self.server(server);
                state.stalled_until = (time + duration).min(until);
            }
            Fault::WallJump(server, by_ms) => self.server(server).clock.jump_wall(by_ms),
        }
    }

    fn arm(&mut self, server: u64, point: CrashPoint, restart: Micros) {
        if point == CrashPoint::Now {
            self.crash(server, restart);
        } else if self.server(server).replica.is_some() {
            self.server(server).armed = Some((point, restart));
        }
    }

    /// A server crashes, and starts again after `restart`.
    pub(super) fn crash(&mut self, server: u64, restart: Micros) {
        if self.server(server).replica.is_none() {
            return;
        }
        self.trace.note(self.time, Some(server), || "CRASHES".to_owned());
        if self.leaders().contains(&ServerId(server)) && self.has_writes_in_flight(server) {
            self.probes.hit("leader crashed with writes in flight");
        }
        let state = self.server(server);
        if state.disk.pending() > 0 {
            self.probes.hit("crash with a write under way");
        }
        if self.server(server).disk.is_checkpointing() {
            self.probes.hit("crash with a checkpoint under way");
        }
        self.server(server).crash();
        self.conformance.crashed(ServerId(server), &self.servers[server as usize - 1].disk);
        self.drop_conns(server);
        for peer in (1..=self.plan.servers).filter(|&peer| peer != server) {
            let delay = self.fault_stream.log_between(100, 400_000);
            self.lose_link((server, peer), delay);
        }
        self.queue.push(self.time + restart, Event::Start { server });
    }

    fn cut(&mut self, links: Vec<Link>, duration: Micros) {
        for &link in &links {
            self.network.cut(link);
            // The ends notice at times that nothing comes any more.
            if link.0 < link.1 && self.fault_stream.coin() {
                let delay = self.fault_stream.log_between(1_000, 1_000_000);
                self.break_off(link, duration, delay);
            }
        }
        self.queue.push(self.time + duration, Event::CutEnds { links });
    }

    fn break_off(&mut self, link: Link, duration: Micros, delay: Micros) {
        self.lose_link(link, delay);
        self.queue.push(self.time + duration, Event::Reconnect { link });
    }

    /// The connection of two servers is gone; both hear of it within `delay`.
    fn lose_link(&mut self, (a, b): Link, delay: Micros) {
        let epoch = self.network.epoch((a, b));
        if !self.network.break_off((a, b)) {
            return;
        }
        for (server, peer) in [(a, b), (b, a)] {
            let at = self.time + 1 + self.fault_stream.below(delay);
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
            self.input(server, Input::PeerDown { peer: ServerId(peer) })?;
        }
        self.server(server).peers.insert(peer, epoch);
        self.input(server, Input::PeerUp { peer: ServerId(peer) })
    }

    pub(super) fn peer_down(&mut self, server: u64, peer: u64, epoch: u64) -> Verdict {
        if self.server(server).peers.get(&peer) != Some(&epoch) {
            return Ok(());
        }
        self.server(server).peers.remove(&peer);
        self.trace.note(self.time, Some(server), || format!("loses peer {peer}"));
        self.input(server, Input::PeerDown { peer: ServerId(peer) })
    }
}
