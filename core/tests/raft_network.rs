//! Raft servers on a bad network with bad luck: loss, copies, delays, cuts, pauses and crashes that
//! take back what was not durable. After every step the promises of Raft (figure 3) are checked
//! against the disks, not against what the servers say of themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use zokor_core::id::{Seed, ServerId};
use zokor_core::raft::{
    Body, Command, Config, Effect, Entry, EntryId, HardState, Index, Membership, Message, Payload,
    Persist, Raft, ReadToken, Recovered, Role, SharedEntry, SnapshotMeta, Term, Ticket,
};
use zokor_core::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word(u64);

impl Command for Word {
    fn size_bytes(&self) -> usize {
        8
    }
}

/// What would survive a power cut of one server.
#[derive(Clone, Debug, Default)]
struct Disk {
    hard_state: HardState,
    snapshot: SnapshotMeta,
    /// Ascending without a gap, from anywhere at or below the snapshot.
    entries: Vec<SharedEntry<Word>>,
}

impl Disk {
    fn apply(&mut self, persist: &Persist<Word>) {
        if let Some(hard_state) = persist.hard_state {
            assert!(hard_state.term >= self.hard_state.term, "C2: the term fell");
            if hard_state.term == self.hard_state.term && self.hard_state.vote.is_some() {
                assert_eq!(hard_state.vote, self.hard_state.vote, "C2: the vote changed");
            }
            self.hard_state = hard_state;
        }
        if let Some(meta) = &persist.reset {
            assert!(self.snapshot.last.index >= meta.last.index, "reset to what is not durable");
            self.entries.clear();
        }
        if let Some(index) = persist.truncate_after {
            self.entries.retain(|entry| entry.id.index <= index);
        }
        for entry in &persist.append {
            let last = self.entries.last().map(|entry| entry.id.index);
            let fits = match last {
                Some(last) => entry.id.index == last.next(),
                None => entry.id.index <= self.snapshot.last.index.next(),
            };
            assert!(fits, "gap in the durable log: {last:?} then {:?}", entry.id);
            self.entries.push(entry.clone());
        }
    }

    fn recover(&self) -> Recovered<Word> {
        let last = self.snapshot.last;
        let in_log = self.entries.iter().find(|entry| entry.id.index == last.index);
        let first = self.entries.first().map(|entry| entry.id.index);
        let joins =
            in_log.is_some_and(|entry| entry.id == last) || first == Some(last.index.next());
        let mut entries = self.entries.clone();
        entries.retain(|entry| joins && entry.id.index > last.index);
        Recovered { hard_state: self.hard_state, snapshot: self.snapshot.clone(), entries }
    }

    fn has(&self, id: EntryId) -> bool {
        self.snapshot.last.index >= id.index || self.entries.iter().any(|entry| entry.id == id)
    }

    fn last(&self) -> Index {
        let last = self.entries.last().map_or(Index::ZERO, |entry| entry.id.index);
        last.max(self.snapshot.last.index)
    }
}

struct Server {
    raft: Option<Raft<Word>>,
    disk: Disk,
    writing: VecDeque<Persist<Word>>,
    installing: Option<SnapshotMeta>,
    delivered: Index,
    life: u64,
    paused_until: u64,
    reads: BTreeMap<ReadToken, Index>,
}

enum Event {
    Message { to: ServerId, from: ServerId, message: Message<Word> },
    Snapshot { to: ServerId, from: ServerId, term: Term, meta: SnapshotMeta },
    Written { server: ServerId, life: u64, ticket: Ticket },
    Installed { server: ServerId, life: u64 },
    Broken { at: ServerId, peer: ServerId },
}

/// How bad the luck is; all zero in the second half of a run.
#[derive(Clone, Debug, Default)]
struct Luck {
    loss_percent: u64,
    copy_percent: u64,
    slow_percent: u64,
    faults_per_mille: u64,
    disk_micros: u64,
    changes: bool,
}

struct Network {
    seed: u64,
    rng: ChaCha8Rng,
    now: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    servers: BTreeMap<ServerId, Server>,
    cut: BTreeSet<(ServerId, ServerId)>,
    luck: Luck,
    next_word: u64,
    keep_entries: u64,
    initial: Membership,
    // What must hold.
    leaders: BTreeMap<Term, ServerId>,
    entries: BTreeMap<EntryId, (EntryId, Payload<Word>)>,
    committed: BTreeMap<Index, EntryId>,
    /// The term in which an index was committed.
    committed_in: BTreeMap<Index, Term>,
    n_readable: u64,
    n_snapshots: u64,
    n_changes: u64,
}

const MILLI: u64 = 1000;

impl Network {
    fn new(seed: u64) -> Self {
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
        };
        for id in (1..=n_servers).map(ServerId) {
            let server = Server {
                raft: None,
                disk: Disk::default(),
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

    fn chance(&mut self, percent: u64) -> bool {
        self.rng.next_u64() % 100 < percent
    }

    fn ids(&self) -> Vec<ServerId> {
        self.servers.keys().copied().collect()
    }

    fn any(&mut self) -> ServerId {
        let ids = self.ids();
        ids[pick(&mut self.rng, ids.len())]
    }

    fn later(&mut self, micros: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + micros, self.sequence), event);
        assert!(self.events.len() < 20_000, "C12: too much under way");
    }

    /// Each server's clock has an origin of its own.
    fn clock(&self, id: ServerId) -> Instant {
        Instant::from_micros(self.now + id.0 * 3_600_000_000)
    }

    fn start(&mut self, id: ServerId) {
        let mut config = Config::new(id, self.initial.clone());
        config.keep_entries = self.keep_entries;
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
        server.raft = Some(Raft::new(now, config, Seed(seed), recovered));
        self.link(id, true);
        self.drain(id);
    }

    fn crash(&mut self, id: ServerId) {
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
            server.disk.apply(&persist);
        }
        server.installing = None;
        server.reads.clear();
        self.link(id, false);
    }

    /// Tells `id` and its peers that their connections came up, or broke.
    fn link(&mut self, id: ServerId, up: bool) {
        for peer in self.ids() {
            if peer != id && self.servers[&peer].raft.is_some() {
                self.link_one(peer, id, up);
                self.link_one(id, peer, up);
            }
        }
    }

    fn link_one(&mut self, at: ServerId, peer: ServerId, up: bool) {
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

    fn raft(&mut self, id: ServerId) -> Option<&mut Raft<Word>> {
        self.servers.get_mut(&id).expect("known").raft.as_mut()
    }

    /// Polls one server until it has nothing more to say.
    fn drain(&mut self, id: ServerId) {
        let now = self.clock(id);
        while let Some(effect) = self.raft(id).and_then(|raft| raft.poll(now)) {
            self.carry_out(id, effect);
        }
        self.check_commit(id);
    }

    fn carry_out(&mut self, id: ServerId, effect: Effect<Word>) {
        match effect {
            Effect::Persist(persist) => self.persist(id, persist),
            Effect::Send { to, message } => self.send(id, to, message),
            Effect::SendSnapshot { to } => self.send_snapshot(id, to),
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

    fn persist(&mut self, id: ServerId, persist: Persist<Word>) {
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

    fn send(&mut self, from: ServerId, to: ServerId, message: Message<Word>) {
        let disk = &self.servers[&from].disk;
        let durable = disk.hard_state;
        match &message.body {
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

    fn send_snapshot(&mut self, from: ServerId, to: ServerId) {
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

    fn commit(&mut self, server: ServerId, id: EntryId) {
        let term = self.raft(server).expect("alive").term();
        self.committed_in.entry(id.index).or_insert(term);
        let known = self.committed.entry(id.index).or_insert(id);
        assert_eq!(*known, id, "C4: what was committed has changed");
    }

    /// Whatever a leader calls committed is durable on a quorum.
    fn check_commit(&mut self, id: ServerId) {
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
    fn step(&mut self, limit: u64) -> bool {
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

    fn happen(&mut self, event: Event) {
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

    /// Something that a client, an operator or fate does.
    fn stir(&mut self) {
        let id = self.any();
        let now = self.clock(id);
        let other = self.any();
        if self.servers[&id].paused_until <= self.now {
            let highest = self.committed.keys().next_back().copied().unwrap_or_default();
            let word = Word(self.next_word + 1);
            let server = self.servers.get_mut(&id).expect("known");
            if let Some(raft) = &mut server.raft {
                if raft.propose(now, word).is_ok() {
                    self.next_word += 1;
                }
                let token = raft.read_index(now);
                server.reads.insert(token, highest);
            }
            self.drain(id);
        }
        if self.rng.next_u64() % 1000 >= self.luck.faults_per_mille {
            return;
        }
        match self.rng.next_u64() % 11 {
            0 | 1 if self.servers[&id].raft.is_some() => self.crash(id),
            0..=2 => {
                if self.servers[&id].raft.is_none() {
                    self.start(id);
                }
            }
            3 => {
                self.cut.insert((id, other));
                if self.chance(50) {
                    self.cut.insert((other, id));
                }
            }
            4 => self.cut.clear(),
            5 => {
                let until = self.now + self.rng.next_u64() % (900 * MILLI);
                self.servers.get_mut(&id).expect("known").paused_until = until;
            }
            6 => self.snapshot(id),
            7 => self.isolate_leader(),
            _ => {
                let leader = self.ids().into_iter().find(|id| self.leads(*id));
                self.operate(leader.unwrap_or(id), other);
            }
        }
    }

    /// Nothing gets to the leader or from it any more. Its followers see their connections break,
    /// it does not: they elect another while it still believes that it leads.
    fn isolate_leader(&mut self) {
        let ids = self.ids();
        let Some(leader) = ids.iter().copied().find(|id| self.leads(*id)) else { return };
        for peer in ids.into_iter().filter(|id| *id != leader) {
            self.cut.insert((leader, peer));
            self.cut.insert((peer, leader));
            self.link_one(peer, leader, false);
        }
    }

    fn snapshot(&mut self, id: ServerId) {
        let server = self.servers.get_mut(&id).expect("known");
        let Some(raft) = &mut server.raft else { return };
        if server.installing.is_none() && server.delivered > server.disk.snapshot.last.index {
            let meta = raft.snapshot_meta(server.delivered).expect("it is in the tail");
            server.disk.snapshot = meta.clone();
            raft.compact(meta);
        }
    }

    fn operate(&mut self, id: ServerId, other: ServerId) {
        let bits = self.rng.next_u64();
        let changes = self.luck.changes;
        let ids = self.ids();
        let now = self.clock(id);
        let Some(raft) = self.raft(id) else { return };
        if bits & 1 == 0 || !changes {
            let _ = raft.transfer(now, other);
        } else {
            let (voters, learners) = ids.iter().partition(|id| bits >> (8 + id.0) & 3 != 0);
            let is_begun = raft.change(now, voters, learners).is_ok();
            self.n_changes += u64::from(is_begun);
        }
        self.drain(id);
    }

    fn run(&mut self, millis: u64, stirring: bool) {
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
    fn heal(&mut self) {
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
        assert_eq!(leaders.len(), 1, "one leader");
        let leader = leaders[0];
        let now = self.clock(leader);
        let raft = self.raft(leader).expect("alive");
        let id = raft.propose(now, Word(u64::MAX)).expect("it leads");
        self.drain(leader);
        self.run(2_000, false);
        assert!(self.committed.get(&id.index) == Some(&id), "the last write is committed");
        let members = self.raft(leader).expect("alive").membership().servers();
        for member in members {
            assert_eq!(self.servers[&member].delivered, id.index, "server {member} caught up");
        }
    }

    fn leads(&self, id: ServerId) -> bool {
        self.servers[&id].raft.as_ref().is_some_and(|raft| raft.role() == Role::Leader)
    }
}

fn pick(rng: &mut ChaCha8Rng, n: usize) -> usize {
    (rng.next_u64() % n as u64) as usize
}

/// Names the seed if the run panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {}: replay with RAFT_SEED={} cargo test --test raft_network",
                self.0, self.0
            );
        }
    }
}

#[test]
fn promises_hold_on_a_bad_network_and_all_heals() {
    let only = std::env::var("RAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let n_seeds = std::env::var("RAFT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(350);
    let seeds = only.map_or(0..n_seeds, |seed: u64| seed..seed + 1);
    let (mut n_committed, mut n_readable, mut n_snapshots, mut n_terms) = (0, 0, 0, 0);
    let mut n_changes = 0;
    for seed in seeds {
        let named = Named(seed);
        let mut network = Network::new(seed);
        assert_eq!(network.seed, seed);
        network.run(5_000, true);
        network.heal();
        n_committed += network.committed.len();
        n_readable += network.n_readable;
        n_snapshots += network.n_snapshots;
        n_changes += network.n_changes;
        n_terms += network.leaders.len();
        drop(named);
    }
    println!("{n_committed} commits, {n_readable} reads, {n_snapshots} snapshots");
    println!("{n_terms} terms, {n_changes} changes");
    if only.is_none() && n_seeds >= 350 {
        assert!(n_committed > 10_000 && n_readable > 10_000, "the runs do something");
        assert!(n_snapshots > 50 && n_terms > 500 && n_changes > 100, "the runs are eventful");
    }
}

#[test]
fn nonsense_is_survived() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for round in 0..300u64 {
        let config = Config::new(ServerId(1), Membership::of_voters((1..=3).map(ServerId)));
        let mut raft: Raft<Word> =
            Raft::new(Instant::ZERO, config, Seed([round as u8; 32]), Recovered::default());
        let mut now = Instant::ZERO;
        for _ in 0..60 {
            now += Duration::from_millis(rng.next_u64() % 400);
            raft.wake(now);
            let from = ServerId(rng.next_u64() % 5);
            let message = nonsense(&mut rng);
            raft.step(now, from, message);
            while let Some(effect) = raft.poll(now) {
                if let Effect::Persist(persist) = effect {
                    raft.persisted(now, persist.ticket);
                }
            }
        }
        assert!(raft.commit() <= raft.last().index);
    }
}

fn nonsense(rng: &mut ChaCha8Rng) -> Message<Word> {
    let number = |rng: &mut ChaCha8Rng| match rng.next_u64() % 8 {
        0 => u64::MAX,
        1 => u64::MAX - 1,
        2 => 1 << 61,
        _ => rng.next_u64() % 6,
    };
    let id = |rng: &mut ChaCha8Rng| EntryId { term: Term(number(rng)), index: Index(number(rng)) };
    let index = |rng: &mut ChaCha8Rng| Index(number(rng));
    let body = match rng.next_u64() % 13 {
        0 => Body::PreVote { last: id(rng) },
        1 => Body::PreVoteReply { granted: rng.next_u64().is_multiple_of(2) },
        2 => Body::Vote { last: id(rng), transfer: rng.next_u64().is_multiple_of(2) },
        3 => Body::VoteReply { granted: rng.next_u64().is_multiple_of(2) },
        4 | 5 => {
            let mut entries = Vec::new();
            let mut at = id(rng);
            let previous = at;
            for _ in 0..rng.next_u64() % 4 {
                at.index.0 = at.index.0.wrapping_add(1 + rng.next_u64() % 10 / 9);
                let payload = match rng.next_u64() % 3 {
                    0 => Payload::Blank,
                    1 => Payload::Command(Word(number(rng))),
                    _ => Payload::Membership(Membership::default()),
                };
                entries.push(Arc::new(Entry { id: at, payload }));
            }
            Body::Append { previous, commit: index(rng), entries }
        }
        6 => Body::AppendReply { received: index(rng), persisted: index(rng) },
        7 => Body::AppendReject { previous: index(rng), hint: id(rng) },
        8 => Body::Heartbeat { commit: index(rng), round: number(rng) },
        9 => {
            Body::HeartbeatReply { round: number(rng), received: index(rng), persisted: index(rng) }
        }
        10 => Body::ReadIndex { token: ReadToken { life: number(rng), number: number(rng) } },
        11 => Body::TimeoutNow,
        _ => Body::SnapshotReply { index: index(rng) },
    };
    let term =
        Term(if rng.next_u64().is_multiple_of(20) { number(rng) } else { rng.next_u64() % 12 });
    Message { term, body }
}
