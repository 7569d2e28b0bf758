//! The servers, what is under way between them, and what must hold after every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::damage::Lost;
use crate::disk::{Disk, Word};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use zokor_core::id::{Seed, ServerId};
use zokor_core::raft::*;
use zokor_core::time::Instant;

pub(crate) struct Server {
    pub(crate) raft: Option<Raft<Word>>,
    pub(crate) disk: Disk,
    pub(crate) lost: Option<Lost>,
    pub(crate) writing: VecDeque<Persist<Word>>,
    pub(crate) installing: Option<SnapshotMeta>,
    pub(crate) delivered: Index,
    pub(crate) life: u64,
    pub(crate) paused_until: u64,
    pub(crate) reads: BTreeMap<ReadToken, Index>,
}

pub(crate) enum Event {
    Message { to: ServerId, from: ServerId, message: Message<Word> },
    Snapshot { to: ServerId, from: ServerId, term: Term, meta: SnapshotMeta },
    Written { server: ServerId, life: u64, ticket: Ticket },
    Installed { server: ServerId, life: u64 },
    Broken { at: ServerId, peer: ServerId },
}

/// How bad the luck is; all zero in the second half of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Luck {
    pub(crate) loss_percent: u64,
    pub(crate) copy_percent: u64,
    pub(crate) slow_percent: u64,
    pub(crate) faults_per_mille: u64,
    pub(crate) disk_micros: u64,
    pub(crate) changes: bool,
    pub(crate) damage: bool,
}

pub(crate) struct Network {
    pub(crate) seed: u64,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) now: u64,
    pub(crate) sequence: u64,
    pub(crate) events: BTreeMap<(u64, u64), Event>,
    pub(crate) servers: BTreeMap<ServerId, Server>,
    pub(crate) cut: BTreeSet<(ServerId, ServerId)>,
    pub(crate) luck: Luck,
    pub(crate) next_word: u64,
    pub(crate) keep_entries: u64,
    pub(crate) initial: Membership,
    // What must hold.
    pub(crate) leaders: BTreeMap<Term, ServerId>,
    pub(crate) entries: BTreeMap<EntryId, (EntryId, Payload<Word>)>,
    pub(crate) committed: BTreeMap<Index, EntryId>,
    /// The term in which an index was committed.
    pub(crate) committed_in: BTreeMap<Index, Term>,
    pub(crate) n_readable: u64,
    pub(crate) n_snapshots: u64,
    pub(crate) n_changes: u64,
    pub(crate) n_damaged: u64,
    pub(crate) n_repaired: u64,
}

pub(crate) const MILLI: u64 = 1000;

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n_servers = 1 + seed % 7;
        let mut initial = Membership::of_voters((1..=n_servers).map(ServerId));
        if n_servers > 3 && seed.is_multiple_of(3) {
            initial.voters.remove(&ServerId(n_servers));
            initial.learners.insert(ServerId(n_servers));
        }
        let luck = Luck {
            loss_percent: [0, 2, 20][pick(&mut rng, 3)],
            copy_percent: [0, 10][pick(&mut rng, 2)],
            slow_percent: [0, 10, 30][pick(&mut rng, 3)],
            faults_per_mille: [10, 50, 150][pick(&mut rng, 3)],
            disk_micros: [100, 5 * MILLI, 200 * MILLI][pick(&mut rng, 3)],
            changes: pick(&mut rng, 2) == 0,
            damage: n_servers > 2 && seed.is_multiple_of(2),
        };
        let keep_entries = [0, 3, 1000][pick(&mut rng, 3)];
        let mut network = Network {
            seed,
            rng,
            now: 0,
            sequence: 0,
            events: BTreeMap::new(),
            servers: BTreeMap::new(),
            cut: BTreeSet::new(),
            luck,
            next_word: 0,
            keep_entries,
            initial,
            leaders: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: BTreeMap::new(),
            committed_in: BTreeMap::new(),
            n_readable: 0,
            n_snapshots: 0,
            n_changes: 0,
            n_damaged: 0,
            n_repaired: 0,
        };
        for id in (1..=n_servers).map(ServerId) {
            let server = Server {
                raft: None,
                disk: Disk::default(),
                lost: None,
                writing: VecDeque::new(),
                installing: None,
                delivered: Index::ZERO,
                life: 0,
                paused_until: 0,
                reads: BTreeMap::new(),
            };
            network.servers.insert(id, server);
            network.start(id);
        }
        network
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.rng.next_u64() % 100 < percent
    }

    pub(crate) fn ids(&self) -> Vec<ServerId> {
        self.servers.keys().copied().collect()
    }

    pub(crate) fn any(&mut self) -> ServerId {
        let ids = self.ids();
        ids[pick(&mut self.rng, ids.len())]
    }

    pub(crate) fn later(&mut self, micros: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + micros, self.sequence), event);
        assert!(self.events.len() < 20_000, "C12: too much under way");
    }

    /// Each server's clock has an origin of its own.
    pub(crate) fn clock(&self, id: ServerId) -> Instant {
        Instant::from_micros(self.now + id.0 * 3_600_000_000)
    }

    pub(crate) fn start(&mut self, id: ServerId) {
        let mut config = Config::new(id, self.initial.clone());
        config.keep_entries = self.keep_entries;
        config.relays = self.seed.is_multiple_of(3);
        config.max_append_bytes = [60, 1000][pick(&mut self.rng, 2)];
        config.max_appends_in_flight = [1, 4, 64][pick(&mut self.rng, 3)];
        config.election_timeout = Duration::from_millis(300);
        config.snapshot_timeout = Duration::from_secs(6);
        config.heartbeat_interval = Duration::from_millis(50);
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let now = self.clock(id);
        let server = self.servers.get_mut(&id).expect("known");
        let recovered = server.disk.recover();
        server.life += 1;
        server.delivered = recovered.snapshot.last.index;
        server.disk.entries.retain(|entry| recovered.entries.contains(entry));
        let recovered = match &server.lost {
            Some(lost) => lost.strike(recovered),
            None => recovered,
        };
        if recovered.damage.is_none() {
            server.lost = None;
        }
        server.raft = Some(Raft::new(now, config, Seed(seed), recovered));
        self.link(id, true);
        self.drain(id);
    }

    pub(crate) fn crash(&mut self, id: ServerId) {
        let kept = self.rng.next_u64();
        let server = self.servers.get_mut(&id).expect("known");
        server.raft = None;
        // A prefix of what was being written is there; the last of it perhaps in part.
        let n_kept = kept as usize % (server.writing.len() + 1);
        for (at, mut persist) in server.writing.drain(..).enumerate() {
            if at > n_kept {
                break;
            }
            if at == n_kept {
                persist.append.truncate((kept >> 32) as usize % (persist.append.len() + 1));
                if (kept >> 16) & 1 == 0 {
                    break;
                }
            }
            // A whole log takes the place of a damaged one at one stroke.
            if server.lost.is_some() && at == n_kept {
                break;
            }
            server.disk.apply(&persist);
            server.lost = None;
        }
        server.installing = None;
        server.reads.clear();
        self.link(id, false);
    }

    /// Tells `id` and its peers that their connections came up, or broke.
    pub(crate) fn link(&mut self, id: ServerId, up: bool) {
        for peer in self.ids() {
            if peer != id && self.servers[&peer].raft.is_some() {
                self.link_one(peer, id, up);
                self.link_one(id, peer, up);
            }
        }
    }

    pub(crate) fn link_one(&mut self, at: ServerId, peer: ServerId, up: bool) {
        let now = self.clock(at);
        if let Some(raft) = &mut self.servers.get_mut(&at).expect("known").raft {
            if up {
                raft.peer_up(now, peer);
            } else {
                raft.peer_down(now, peer);
            }
            self.drain(at);
        }
    }

    pub(crate) fn raft(&mut self, id: ServerId) -> Option<&mut Raft<Word>> {
        self.servers.get_mut(&id).expect("known").raft.as_mut()
    }

    /// Polls one server until it has nothing more to say.
    pub(crate) fn drain(&mut self, id: ServerId) {
        let now = self.clock(id);
        while let Some(effect) = self.raft(id).and_then(|raft| raft.poll(now)) {
            self.carry_out(id, effect);
        }
        self.check_commit(id);
    }

    pub(crate) fn carry_out(&mut self, id: ServerId, effect: Effect<Word>) {
        match effect {
            Effect::Persist(persist) => self.persist(id, persist),
            Effect::Send { to, message } => self.send(id, to, message),
            Effect::SendSnapshot { to } => self.send_snapshot(id, to),
            Effect::SendState { to, term } => {
                let server = self.servers.get_mut(&id).expect("known");
                let raft = server.raft.as_ref().expect("alive");
                let meta = raft.snapshot_meta(server.delivered).expect("given out");
                if !self.cut.contains(&(id, to)) && !self.chance(self.luck.loss_percent) {
                    let micros = self.rng.next_u64() % (50 * MILLI);
                    self.later(micros, Event::Snapshot { to, from: id, term, meta });
                }
            }
            Effect::Committed(entries) => {
                for entry in entries {
                    let server = self.servers.get_mut(&id).expect("known");
                    assert_eq!(entry.id.index, server.delivered.next(), "each index once");
                    server.delivered = entry.id.index;
                    assert!(server.disk.has(entry.id), "given out before it is durable here");
                    self.commit(id, entry.id);
                }
            }
            Effect::Readable { token, index } => {
                let server = self.servers.get_mut(&id).expect("known");
                let least = server.reads.remove(&token).expect("asked for, answered once");
                assert!(index >= least, "R4: barrier {index} is below {least}");
                self.n_readable += 1;
            }
            Effect::Unreadable { token } => {
                let server = self.servers.get_mut(&id).expect("known");
                server.reads.remove(&token).expect("asked for, answered once");
            }
            Effect::Role { role, term, leader } => {
                if role == Role::Leader {
                    assert_eq!(leader, Some(id));
                    let other = self.leaders.insert(term, id);
                    assert!(other.is_none_or(|other| other == id), "C1: two leaders in {term}");
                    let raft = self.servers[&id].raft.as_ref().expect("alive");
                    for (index, committed) in &self.committed {
                        let own = raft.entry(*index).map(|entry| entry.id);
                        let gone = *index < raft.first_index();
                        let later = self.committed_in[index] >= term;
                        assert!(
                            gone || later || own == Some(*committed),
                            "C5: the leader lacks {index}"
                        );
                    }
                }
            }
        }
    }

    pub(crate) fn persist(&mut self, id: ServerId, persist: Persist<Word>) {
        let raft = self.servers[&id].raft.as_ref().expect("alive");
        for entry in &persist.append {
            let before = entry.id.index.previous();
            let Some(term) = raft.term_at(before) else { continue };
            let before = EntryId { term, index: before };
            let copy = (before, entry.payload.clone());
            let known = self.entries.entry(entry.id).or_insert_with(|| copy.clone());
            assert_eq!(*known, copy, "C3: the logs differ at {:?}", entry.id);
        }
        let ticket = persist.ticket;
        let server = self.servers.get_mut(&id).expect("known");
        server.writing.push_back(persist);
        let life = server.life;
        let micros = self.rng.next_u64() % self.luck.disk_micros.max(100);
        self.later(micros, Event::Written { server: id, life, ticket });
    }

    pub(crate) fn send(&mut self, from: ServerId, to: ServerId, message: Message<Word>) {
        let disk = &self.servers[&from].disk;
        let durable = disk.hard_state;
        match &message.body {
            body if body.is_about_repair() => {}
            Body::PreVote { .. } | Body::PreVoteReply { granted: true } => {}
            Body::VoteReply { granted: true } => {
                let is_durable = durable.term > message.term || durable.vote == Some(to);
                assert!(durable.term >= message.term && is_durable, "C7: vote not durable");
            }
            Body::AppendReply { persisted, .. } | Body::HeartbeatReply { persisted, .. } => {
                assert!(durable.term >= message.term, "C7: term not durable");
                assert!(disk.last() >= *persisted, "C7: entries not durable");
            }
            _ => assert!(durable.term >= message.term, "C7: term not durable"),
        }
        if self.cut.contains(&(from, to)) || self.chance(self.luck.loss_percent) {
            return;
        }
        let copies = if self.chance(self.luck.copy_percent) { 2 } else { 1 };
        for _ in 0..copies {
            let slow = self.chance(self.luck.slow_percent);
            let micros = 200 + self.rng.next_u64() % if slow { 400 * MILLI } else { 300 };
            self.later(micros, Event::Message { to, from, message: message.clone() });
        }
    }

    pub(crate) fn send_snapshot(&mut self, from: ServerId, to: ServerId) {
        let now = self.clock(from);
        let server = self.servers.get_mut(&from).expect("known");
        let delivered = server.delivered;
        let raft = server.raft.as_mut().expect("alive");
        let meta = raft.snapshot_meta(delivered).expect("what was given out is in the tail");
        raft.snapshot_sent(now, to, meta.last.index);
        let term = raft.term();
        self.n_snapshots += 1;
        if self.cut.contains(&(from, to)) || self.chance(self.luck.loss_percent) {
            // Snapshots go over a connection, which is lost with them.
            return self.later(5 * MILLI, Event::Broken { at: from, peer: to });
        }
        let micros = self.rng.next_u64() % (50 * MILLI);
        self.later(micros, Event::Snapshot { to, from, term, meta });
    }

    pub(crate) fn commit(&mut self, server: ServerId, id: EntryId) {
        let term = self.raft(server).expect("alive").term();
        self.committed_in.entry(id.index).or_insert(term);
        let known = self.committed.entry(id.index).or_insert(id);
        assert_eq!(*known, id, "C4: what was committed has changed");
    }

    /// Whatever a leader calls committed is durable on a quorum.
    pub(crate) fn check_commit(&mut self, id: ServerId) {
        let Some(raft) = &self.servers[&id].raft else { return };
        if raft.role() != Role::Leader {
            return;
        }
        let (commit, membership) = (raft.commit(), raft.membership().clone());
        let highest = self.committed.keys().next_back().copied().unwrap_or_default();
        let fresh: Vec<EntryId> = (highest.0 + 1..=commit.0)
            .map(|index| raft.entry(Index(index)).expect("committed entries are there").id)
            .collect();
        if let Some(last) = fresh.last() {
            assert_eq!(last.term, raft.term(), "an old entry was committed by counting");
            for set in [&membership.voters, &membership.outgoing] {
                let n_durable = set.iter().filter(|v| self.servers[v].disk.has(*last)).count();
                let is_quorum = set.is_empty() || n_durable > set.len() / 2;
                assert!(is_quorum, "C6: {last:?} is not durable on a quorum of {set:?}");
            }
        }
        for entry in fresh {
            self.commit(id, entry);
        }
    }

    /// The next thing that happens, at `limit` at the latest. Whether there was one.
    pub(crate) fn step(&mut self, limit: u64) -> bool {
        let mut wake = None;
        for id in self.ids() {
            let server = &self.servers[&id];
            let deadline = server.raft.as_ref().and_then(Raft::deadline);
            if let Some(deadline) = deadline {
                let at = deadline.as_micros().saturating_sub(id.0 * 3_600_000_000);
                let at = at.max(server.paused_until).max(self.now);
                if wake.is_none_or(|(earliest, _)| at < earliest) {
                    wake = Some((at, id));
                }
            }
        }
        let event_at = self.events.keys().next().map(|(at, _)| *at);
        let (wake_at, sleeper) = wake.unwrap_or((u64::MAX, ServerId(0)));
        if wake_at.min(event_at.unwrap_or(u64::MAX)) > limit {
            self.now = limit;
            return false;
        }
        if event_at.is_some_and(|at| at <= wake_at) {
            let ((at, _), event) = self.events.pop_first().expect("there is one");
            self.now = self.now.max(at);
            self.happen(event);
        } else {
            self.now = wake_at;
            let now = self.clock(sleeper);
            self.raft(sleeper).expect("only the living have deadlines").wake(now);
            self.drain(sleeper);
            let deadline = self.servers[&sleeper].raft.as_ref().and_then(Raft::deadline);
            assert!(deadline.is_none_or(|deadline| deadline > now), "waking changed nothing");
        }
        true
    }

    pub(crate) fn happen(&mut self, event: Event) {
        let id = match &event {
            Event::Message { to, .. } | Event::Snapshot { to, .. } => *to,
            Event::Written { server, .. } | Event::Installed { server, .. } => *server,
            Event::Broken { at, .. } => *at,
        };
        let now = self.clock(id);
        let server = self.servers.get_mut(&id).expect("known");
        if server.paused_until > self.now {
            let micros = server.paused_until - self.now;
            return self.later(micros, event);
        }
        let Some(raft) = &mut server.raft else { return };
        match event {
            Event::Message { from, message, .. } => raft.step(now, from, message),
            Event::Snapshot { from, term, meta, .. } => {
                if raft.accepts_snapshot(now, from, term, &meta) {
                    server.installing = Some(meta);
                    let life = server.life;
                    self.later(20 * MILLI, Event::Installed { server: id, life });
                }
            }
            Event::Written { life, ticket, .. } if life == server.life => {
                while server.writing.front().is_some_and(|persist| persist.ticket <= ticket) {
                    let persist = server.writing.pop_front().expect("there is one");
                    server.disk.apply(&persist);
                    if persist.reset.is_some() && server.lost.take().is_some() {
                        self.n_repaired += 1;
                    }
                    raft.persisted(now, persist.ticket);
                }
            }
            Event::Installed { life, .. } if life == server.life => {
                if let Some(meta) = server.installing.take() {
                    if meta.last.index > server.delivered {
                        server.disk.snapshot = meta.clone();
                        server.delivered = meta.last.index;
                    }
                    raft.installed(now, meta);
                }
            }
            Event::Broken { at, peer } => {
                self.link_one(at, peer, false);
                self.link_one(at, peer, true);
            }
            Event::Written { .. } | Event::Installed { .. } => {}
        }
        self.drain(id);
    }

    pub(crate) fn run(&mut self, millis: u64, stirring: bool) {
        let end = self.now + millis * MILLI;
        let mut n_steps = 0u64;
        while self.now < end {
            let next = (self.now + 10 * MILLI).min(end);
            while self.step(next) {
                n_steps += 1;
                assert!(n_steps < 400 * millis, "C12: too much happens");
            }
            if stirring {
                self.stir();
            }
        }
    }

    /// All faults end; everything must come right again.
    pub(crate) fn heal(&mut self) {
        self.luck = Luck::default();
        self.cut.clear();
        for id in self.ids() {
            self.servers.get_mut(&id).expect("known").paused_until = 0;
            if self.servers[&id].raft.is_none() {
                self.start(id);
            } else {
                self.link(id, false);
                self.link(id, true);
            }
        }
        self.run(8_000, false);
        let leaders: Vec<ServerId> = self.ids().into_iter().filter(|id| self.leads(*id)).collect();
        let rafts = self.servers.values().filter_map(|server| server.raft.as_ref());
        let repairs: Vec<RepairStatus> = rafts.filter_map(Raft::repair).collect();
        assert_eq!(leaders.len(), 1, "one leader; {repairs:?}");
        let leader = leaders[0];
        let now = self.clock(leader);
        let raft = self.raft(leader).expect("alive");
        let id = raft.propose(now, Word(u64::MAX)).expect("it leads");
        self.drain(leader);
        self.run(2_000, false);
        assert!(self.committed.get(&id.index) == Some(&id), "the last write is committed");
        let members = self.raft(leader).expect("alive").membership().servers();
        for member in members {
            let server = &self.servers[&member];
            let repair = server.raft.as_ref().and_then(Raft::repair);
            assert_eq!(server.delivered, id.index, "server {member} caught up: {repair:?}");
        }
    }

    pub(crate) fn leads(&self, id: ServerId) -> bool {
        self.servers[&id].raft.as_ref().is_some_and(|raft| raft.role() == Role::Leader)
    }
}

pub(crate) fn pick(rng: &mut ChaCha8Rng, n: usize) -> usize {
    (rng.next_u64() % n as u64) as usize
}
