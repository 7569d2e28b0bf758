//! One member of the ensemble; the face of the core.
//!
//! Invariant: whatever a client hears has been applied here, and whatever was applied is committed
//! and durable. The branching on inputs and on Raft's effects is in this file; `routes` holds what
//! is done on each way, the leaves hold the state of one thing each.

mod checkpoint;
mod config;
mod connection;
mod counts;
mod deeds;
mod doubt;
mod input;
mod local;
mod message;
#[cfg(feature = "mutants")]
mod mutants;
mod namespaces;
mod output;

mod pipeline;
mod queue;
mod read;
mod rebuild;
mod reconfig;
mod reconfig_request;
mod restoring;
mod room;
mod routes;
mod stats;
mod summary;
mod upkeep;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::db::{Action, Database, QuotaEvents, Txn};
use crate::id::{ConnId, Seed, Sequence, ServerId, SessionId, Token};
use crate::proto::Zxid;
use crate::raft::{
    self, Effect, EntryId, Index, Membership, Raft, Role, SharedEntry, SnapshotMeta, Term,
};
use crate::session::Expiry;
use crate::time::{Instant, Now};
use crate::watch::Watches;

use checkpoint::{Checkpoints, Durable};
use connection::Connections;
use deeds::Deeds;
use doubt::{Comparing, Doubt};
use local::Locals;
use queue::Queue;
use read::Barriers;
use reconfig::Change;
use restoring::Restoring;
use room::Room;
use upkeep::Upkeep;
use write::Admission;

pub use config::{Config, ReconfigRules};
pub use counts::Counts;
pub use deeds::Deed;
pub use doubt::{Alarm, Comparison};
pub use input::{Input, Recovered};
pub use message::{Message, Snapshot};
pub use namespaces::{Namespace, Namespaces};
pub use output::{ChangeProgress, ChangeRefusal, CloseReason, Output};
pub use rebuild::{Rebuilt, zxid_after};
pub use restoring::RestoreEnd;
pub use stats::{Mode, Sizes, Stats};
pub use summary::{Spread, Summary};

/// One member of the ensemble: takes an input, picks the route.
#[derive(Debug)]
pub struct Replica {
    config: Config,
    /// The time of the last input.
    now: Now,
    random: ChaCha8Rng,

    raft: Raft<Txn>,
    db: Database,
    /// The last entry in `db`.
    applied: EntryId,
    /// The membership at `applied`, if an entry ever set one.
    membership: Option<(Index, Membership)>,
    checkpoints: Checkpoints,

    connections: Connections,
    watches: Watches,
    barriers: Barriers,
    locals: Locals,
    /// Without a leader, reads are served to clients that can do with that.
    read_only: bool,
    /// The end of the log when this process began. As long as less is applied, whatever it would
    /// answer by itself might be a state of long ago.
    known_at_start: Index,
    /// The last session id that was given out here.
    last_session_id: SessionId,

    /// Peers to which a connection stands: those that can hear this server.
    links: BTreeSet<ServerId>,
    /// Since it was noted last whether the leader hears this server.
    links_changed: bool,
    /// On their way to the leader, with the next poll.
    forwards: Vec<Action>,
    /// Sessions whose connections have ended since the last upkeep, and that were heard from
    /// before.
    departed: Vec<SessionId>,
    /// Of use while this server leads.
    admission: Admission,
    /// Of use while this server leads.
    expiry: Expiry,
    upkeep: Upkeep,
    room: Room,
    /// Begun here as leader, and not ended.
    change: Option<Change>,
    /// Asked for here, and not ended.
    restoring: Option<Restoring>,
    /// On the leader: how far a restore is that is under way, and since when.
    silent_since: Option<((Token, Sequence), Instant)>,

    outputs: Queue,
    /// On a leader.
    leads_since: Option<Instant>,
    proposal_bytes: Sizes,
    quota_events: QuotaEvents,
    counts: Counts,
    /// Digests of some states of the past, oldest first.
    digests: VecDeque<(Zxid, u64)>,
    /// Whether this server's state is the one that the others have.
    comparing: Comparing,
    deeds: Deeds,
}

impl Replica {
    /// A replica that starts from what was on its disk.
    ///
    /// # Panics
    /// If the entries do not continue the snapshot: storage checks that.
    pub fn new(now: Now, config: Config, seed: Seed, recovered: Recovered) -> Self {
        let mut random = ChaCha8Rng::from_seed(seed.0);
        let mut raft_seed = Seed([0; 32]);
        random.fill_bytes(&mut raft_seed.0);

        let (db, meta) = match recovered.snapshot {
            Some(snapshot) => (Database::thaw(snapshot.image), snapshot.meta),
            None => (Database::new(), SnapshotMeta::default()),
        };
        let raft = Raft::new(
            now.instant,
            config.raft.clone(),
            raft_seed,
            raft::Recovered {
                hard_state: recovered.hard_state,
                snapshot: meta.clone(),
                entries: recovered.entries,
                damage: recovered.damage,
            },
        );
        let doubt = recovered.is_distrusted.then(|| Doubt::new(meta.last.index, BTreeSet::new()));
        let comparing = Comparing { doubt, ..Comparing::default() };
        Replica {
            upkeep: Upkeep::new(now.instant, config.upkeep_interval),
            outputs: Queue::new(config.max_events),
            locals: Locals::new(config.raft.id),
            deeds: Deeds::new(config.notes_deeds),
            read_only: false,
            known_at_start: raft.last().index,
            config,
            now,
            random,
            raft,
            db,
            applied: meta.last,
            checkpoints: Checkpoints::new(meta.last.index),
            membership: meta.membership,
            connections: Connections::default(),
            watches: Watches::default(),
            barriers: Barriers::default(),
            last_session_id: SessionId(0),
            links: BTreeSet::new(),
            links_changed: false,
            forwards: Vec::new(),
            departed: Vec::new(),
            admission: Admission::default(),
            expiry: Expiry::new(),
            room: Room::default(),
            change: None,
            restoring: None,
            silent_since: None,
            leads_since: None,
            proposal_bytes: Sizes::default(),
            quota_events: QuotaEvents::default(),
            counts: Counts::new(now.instant),
            digests: VecDeque::new(),
            comparing,
        }
    }

    /// Takes one input. The driver polls after the inputs of one wake-up.
    pub fn handle(&mut self, now: Now, input: Input) {
        assert!(now.instant >= self.now.instant, "time runs backwards");
        self.now = now;
        match input {
            Input::Connect { conn, address, request } => self.connect(conn, address, request),
            Input::Request { conn, xid, request } => self.request(conn, xid, request),
            Input::Disconnect { conn } => self.forget(conn),
            Input::PeerUp { peer } => {
                self.links.insert(peer);
                // Its word may end a dispute.
                self.comparing.next = None;
                self.comparing.has_joined = true;
                self.raft.peer_up(now.instant, peer);
                if self.raft.role() == Role::Leader {
                    self.counts.sync_begins(peer);
                }
                self.links_changed = true;
                if self.raft.leader() == Some(peer) {
                    self.resend_all();
                }
            }
            Input::PeerDown { peer } => {
                self.links.remove(&peer);
                self.raft.peer_down(now.instant, peer);
                self.state_lost_with(peer);
                self.counts.sync_broken(peer);
                self.links_changed = true;
            }
            Input::Message { from, message } => self.message(from, message),
            Input::Persisted { ticket } => self.raft.persisted(now.instant, ticket),
            Input::Checkpointed { ticket } => match self.checkpoints.durable(ticket) {
                Durable::Own { meta, purge } => {
                    self.raft.compact(meta);
                    if self.comparing.doubt.is_none() {
                        self.outputs.push_back(Output::Purge { through: purge });
                    }
                }
                Durable::Install { snapshot, purge } => {
                    self.install(snapshot);
                    self.outputs.push_back(Output::Purge { through: purge });
                }
            },
            Input::Room { is_short } => self.room_changed(is_short),
            Input::SnapshotWanted { above } => self.checkpoints.want(above),
            Input::ChangeMembership { id, wanted } => self.change_membership(id, wanted),
            Input::Restore { id, prepared } => self.begin_restore(id, prepared),
            Input::Wake => {
                self.raft.wake(now.instant);
                if let Some(stood_still) = self.upkeep.due(now.instant) {
                    self.do_upkeep(stood_still);
                }
            }
        }
    }

    /// The next thing to be done, or `None` when all is said.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if !self.forwards.is_empty() {
                self.flush_forwards();
            } else if let Some(effect) = self.raft.poll(self.now.instant) {
                self.effect(effect);
            } else if std::mem::take(&mut self.links_changed) {
                // Not before: within one wake-up a leader may be lost and found, of which no effect
                // tells.
                self.note_leader(self.raft.leader());
            } else if !self.begin_checkpoint() {
                return None;
            }
        }
    }

    /// When `Input::Wake` is due.
    pub fn deadline(&self) -> Option<Instant> {
        let upkeep = self.upkeep.deadline();
        Some(self.raft.deadline().map_or(upkeep, |raft| raft.min(upkeep)))
    }

    /// Requests of `conn` that wait for their answer: the driver stops reading above its limit.
    pub fn outstanding(&self, conn: ConnId) -> usize {
        self.connections.get(conn).map_or(0, |connection| connection.pipeline().len())
    }

    /// Requests of all connections that wait for their answer. Costs nothing.
    pub fn outstanding_total(&self) -> u64 {
        self.connections.n_outstanding()
    }

    /// On the leader: when `session` is overdue, unless it is heard from before.
    pub fn session_deadline(&self, session: SessionId) -> Option<Instant> {
        self.expiry.deadline_of(session)
    }

    /// Whether it is to have sessions that only this server knows.
    pub fn may_have_local_sessions(&self) -> bool {
        self.config.local_sessions
    }

    /// The sessions that only this server knows, ascending, each with its timeout in milliseconds.
    pub fn local_sessions(&self) -> impl Iterator<Item = (SessionId, i32)> {
        self.locals.iter().map(|(id, session)| (id, session.timeout_ms))
    }

    /// When a session that only this server knows is overdue, unless it is heard from before.
    pub fn local_session_deadline(&self, session: SessionId) -> Option<Instant> {
        self.locals.expiry.deadline_of(session)
    }

    /// Begins anew to count what people may set back: sizes of proposals, and all of
    /// [`counts`](Self::counts).
    pub fn reset_stats(&mut self) {
        self.proposal_bytes = Sizes::default();
        self.counts.reset();
    }

    /// What it has counted since it started, or since [`reset_stats`](Self::reset_stats).
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Digests of the state at every 128th zxid since this server started, the last 1,024 of them,
    /// oldest first: equal on all servers that have applied the same entries.
    // zookeeper: DataTree.logZxidDigest
    pub fn past_digests(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.digests.iter().copied()
    }

    /// What clients of this server did, and what went with sessions, since this was last asked;
    /// nothing unless [`Config::notes_deeds`] is set. To be asked after each round of `poll`.
    pub fn take_deeds(&mut self) -> Vec<Deed> {
        self.deeds.take()
    }

    /// If this server leads, it hands over to the best follower: called before it stops in peace.
    pub fn hand_over(&mut self, now: Now) {
        self.now = now;
        self.raft.hand_over(now.instant);
    }

    /// The consensus part, to look at.
    pub fn raft(&self) -> &Raft<Txn> {
        &self.raft
    }

    /// The state machine, to look at.
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// The state machine, to be changed as no entry did. Whether the znode is there.
    #[cfg(any(test, feature = "mutants"))]
    pub fn rot(&mut self, path: &str, data: &'static str) -> bool {
        self.db.rot(path, data)
    }

    /// The watches of this server's connections, to look at.
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    fn message(&mut self, from: ServerId, message: Message) {
        match message {
            Message::Raft(message) => {
                self.raft.step(self.now.instant, from, message);
                if self.counts.is_syncing(from) {
                    self.note_sync(from);
                }
            }
            Message::Snapshot { term, snapshot } => {
                let now = self.now.instant;
                if self.raft.accepts_snapshot(now, from, term, &snapshot.meta)
                    || self.wants_state(from, term, &snapshot.meta)
                {
                    self.checkpoints.install(snapshot);
                }
            }
            Message::Forward(actions) => {
                if self.raft.role() == Role::Leader {
                    for action in actions {
                        let resumes = matches!(action, Action::Attach { .. });
                        self.counts.resumptions_elsewhere += u64::from(resumes);
                        self.admit(action);
                    }
                }
            }
            Message::ShortOfRoom => self.peer_is_short(from),
            Message::Compare(word) => self.compared(from, word),
            Message::Heard(sessions) => {
                if self.raft.role() == Role::Leader {
                    for session in sessions {
                        self.touch(session, self.now.instant);
                    }
                }
            }
        }
    }

    fn effect(&mut self, effect: Effect<Txn>) {
        match effect {
            Effect::Persist(persist) => {
                if self.raft.role() != Role::Leader {
                    self.counts.received(self.now.wall, &persist.append);
                }
                self.outputs.push_back(Output::Persist(persist));
            }
            Effect::Send { to, message } => {
                self.outputs.push_back(Output::Send { to, message: Message::Raft(message) });
            }
            // Who is in doubt about its state gives it to nobody; it is asked for again.
            Effect::SendSnapshot { .. } | Effect::SendState { .. } if self.is_in_doubt() => {}
            Effect::SendSnapshot { to } => self.send_snapshot(to),
            Effect::SendState { to, term } => {
                let snapshot = self.snapshot();
                let message = Message::Snapshot { term, snapshot };
                self.outputs.push_back(Output::Send { to, message });
            }
            Effect::Committed(entries) => self.committed(&entries),
            Effect::Readable { token, index } => {
                let passed = self.barriers.readable(token, index, self.applied.index);
                if let Some(place) = passed {
                    self.pass_barrier(place);
                }
            }
            Effect::Unreadable { token } => self.barriers.unreadable(token),
            Effect::Role { role, term, leader } => self.role_changed(role, term, leader),
        }
    }

    fn committed(&mut self, entries: &[SharedEntry<Txn>]) {
        let leads = self.raft.role() == Role::Leader;
        self.counts.committed(self.now.wall, leads, entries);
        for entry in entries {
            self.apply(entry);
            for place in self.barriers.applied(self.applied.index) {
                self.pass_barrier(place);
            }
        }
        self.go_on_with_change();
    }

    fn role_changed(&mut self, role: Role, _term: Term, leader: Option<ServerId>) {
        self.counts.leader_known(self.now.instant, leader.is_some());
        if role == Role::Leader {
            self.begin_leadership();
        } else {
            self.change_lost_leader();
            self.leads_since = None;
            self.counts.forget_syncs();
            if !mutated!(DeposedLeaderExpires | InheritedDeadlines) {
                self.expiry.clear();
            }
        }
        self.note_leader(leader);
        if let Some(leader) = leader {
            // In another term it leads anew, and may not know.
            self.state_lost_with(leader);
        }
        self.look_after_doubt();
        if leader.is_some() {
            self.resend_all();
            self.ask_barriers_again();
        }
    }

    /// A leader that does not hear this server is none to its clients: their sessions would expire
    /// however often they ping.
    fn note_leader(&mut self, leader: Option<ServerId>) {
        let own = self.config.raft.id;
        let hears = leader.is_some_and(|leader| leader == own || self.links.contains(&leader));
        self.counts.leader_hears(self.now.instant, hears, leader == Some(own));
        if hears {
            self.end_read_only();
            let served = self.upkeep.is_serving();
            self.upkeep.has_leader();
            self.note_serving(served);
        } else {
            self.upkeep.has_no_leader(self.now.instant);
        }
    }
}
