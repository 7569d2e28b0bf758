//! Agrees on the order of commands (Ongaro and Ousterhout 2014; Ongaro's thesis).
//!
//! [`Raft`] is a function of its inputs: messages, completions of storage, connections and the time
//! come in through its methods; what it wants done comes out of [`Raft::poll`]. Every branch on
//! message and role is taken in this file; the leaves compute.
//!
//! Invariant: nothing is said that a power cut could make untrue. Messages wait for the hard state
//! that they were written under, and acknowledgements speak of durable entries.

mod config;
mod effect;
mod election;
mod entry;
mod feed;
mod install;
mod log;
mod membership;
mod message;
mod position;
mod progress;
mod quorum;
mod read_index;
mod relay;
mod repair;
mod replication;
mod state;
mod view;

pub use config::Config;
pub use effect::{
    ChangeError, Damage, Effect, HardState, NotLeader, Persist, Recovered, Role, SnapshotMeta,
    Ticket,
};
pub use entry::{Command, Entry, Payload, SharedEntry};
pub use membership::Membership;
pub use message::{Body, Message, ReadToken};
pub use position::{EntryId, Index, Term};
pub use progress::{Flow, PeerProgress};
pub use repair::{FirstStart, RepairStatus};

use crate::id::{Seed, ServerId};
use crate::time::Instant;
use quorum::Verdict;
use state::{Stage, Standing, State};

/// Terms and indices that are beyond what counting can reach are nonsense.
const BEYOND_REACH: u64 = 1 << 62;

/// One server's part in the agreement.
///
/// The driver gives inputs in order, then polls until `None`, carries the effects out in order, and
/// calls [`wake`](Raft::wake) when [`deadline`](Raft::deadline) has come. Messages may be lost,
/// doubled, delayed and reordered.
#[derive(Clone, Debug)]
pub struct Raft<C> {
    state: State<C>,
}

impl<C: Command> Raft<C> {
    /// A server that starts with what it found on its disk. `seed` gives the jitter of elections
    /// and the name of this life's read tokens. A server that is a quorum by itself stands for
    /// election at once.
    ///
    /// # Panics
    ///
    /// If `recovered` has a gap, or an entry of a later term than its hard state.
    pub fn new(now: Instant, config: Config, seed: Seed, recovered: Recovered<C>) -> Self {
        let mut raft = Raft { state: State::new(config, seed, recovered) };
        raft.state.redraw_election(now);
        raft.campaign_if_alone(now);
        raft
    }

    /// Appends a command to the log. It is committed when it comes out as [`Effect::Committed`]
    /// under the id given here, and lost when another entry comes out at its index.
    ///
    /// # Errors
    ///
    /// If this server does not lead, or is handing over its leadership: send it again, to the
    /// leader.
    pub fn propose(&mut self, now: Instant, command: C) -> Result<EntryId, NotLeader> {
        self.observe(now);
        self.state.check_leads()?;
        Ok(replication::append_own(&mut self.state, Payload::Command(command)))
    }

    /// A message has come. Whatever it says, it does no harm.
    pub fn step(&mut self, now: Instant, from: ServerId, message: Message<C>) {
        self.observe(now);
        let is_deaf = mutated!(LeaderDeafToTerms | LeaderForLife if self.role() == Role::Leader);
        let is_ignored = is_deaf && message.term > self.term();
        if from == self.id() || message.term.0 >= BEYOND_REACH || is_ignored {
            return;
        }
        let is_known = self.state.knows(from);
        if is_known {
            self.state.connected.insert(from);
        }
        let term = message.term;
        if message.body.is_about_repair() {
            let wants_term = repair::step(&mut self.state, now, (from, term), message.body);
            if wants_term && self.state.may_campaign() && !self.state.is_transferring() {
                // The others have nothing against it: they are asked by their own leader.
                self.campaign(now, Stage::Vote, true);
            }
            return;
        }
        if self.state.repair.is_some() {
            return;
        }
        match message.body {
            Body::PreVote { last } => election::pre_vote(&mut self.state, now, from, term, last),
            Body::PreVoteReply { granted } if is_known => {
                self.pre_vote_answered(now, from, term, granted);
            }
            Body::Vote { last, transfer } => self.vote_asked(now, from, term, last, transfer),
            Body::Append { previous, commit, entries } => {
                if !relay::hear_source(&mut self.state, now, from, term) {
                    if term < self.term() {
                        let (previous, hint) = (previous.index, EntryId::default());
                        self.state.send(from, Body::AppendReject { previous, hint });
                    }
                } else if self.state.installing_until.is_none_or(|until| until <= now)
                    && previous.index.0 < BEYOND_REACH
                {
                    if !entries.is_empty() {
                        relay::leader_feeds(&mut self.state, now, from);
                    }
                    replication::append(&mut self.state, from, previous, commit, entries);
                }
            }
            Body::Heartbeat { commit, round } => {
                if self.state.hear_leader(now, from, term) {
                    replication::heartbeat(&mut self.state, from, commit, round);
                    relay::look_after(&mut self.state, now, commit);
                } else if term < self.term() {
                    // The answer is of this term, in which the same server may lead again: the
                    // round of the former term must not pass for one of this.
                    let (round, received, persisted) = (0, Index::ZERO, Index::ZERO);
                    self.state.send(from, Body::HeartbeatReply { round, received, persisted });
                }
            }
            body if is_known => self.step_known(now, from, term, body),
            _ => {}
        }
    }

    /// The deadline has come. Harmless when it has not.
    pub fn wake(&mut self, now: Instant) {
        self.observe(now);
        let patience = self.state.config.election_timeout;
        for token in self.state.reads.expired(now, patience) {
            self.state.outbox.effects.push_back(Effect::Unreadable { token });
        }
        if self.state.repair.is_some() {
            repair::wake(&mut self.state, now);
            return;
        }
        match self.role() {
            Role::Leader => replication::beat_if_due(&mut self.state, now),
            Role::Follower | Role::Candidate if self.state.election_deadline > now => {}
            Role::Follower | Role::Candidate if self.state.may_campaign() => {
                self.campaign(now, Stage::PreVote, false);
            }
            // Who has no vote can only note that there is no leader.
            Role::Follower | Role::Candidate => {
                let term = self.term();
                self.state.follow(now, term, None);
                self.state.redraw_election(now);
            }
        }
    }

    /// Everything that was handed to storage up to and with `ticket` would survive a power cut.
    ///
    /// # Panics
    ///
    /// If that ticket was never given out, or a later one has completed already.
    pub fn persisted(&mut self, now: Instant, ticket: Ticket) {
        self.observe(now);
        self.state.outbox.completed(ticket);
        self.state.log.completed(ticket);
        if repair::persisted(&mut self.state, now) {
            self.campaign_if_alone(now);
        }
        election::count_own_vote(&mut self.state);
        self.conclude_election(now);
        self.advance_commit(now);
    }

    /// There is a connection to `peer`.
    pub fn peer_up(&mut self, now: Instant, peer: ServerId) {
        self.observe(now);
        self.state.connected.insert(peer);
        repair::ask(&mut self.state, peer);
        // What was sent before there was a connection may be lost. A snapshot is on this one.
        let progress = replication::progress_of(&mut self.state, peer);
        if let Some(progress) = progress.filter(|progress| progress.flow() != Flow::Snapshot) {
            progress.disconnected();
        }
        self.state.relays.remove(peer);
    }

    /// The connection to `peer` broke: what was under way may be lost, and its process dead.
    pub fn peer_down(&mut self, now: Instant, peer: ServerId) {
        self.observe(now);
        self.state.connected.remove(&peer);
        repair::lost_peer(&mut self.state, peer);
        if self.state.leader == Some(peer) {
            self.state.installing_until = None;
            election::lost_leader(&mut self.state, now);
        }
        relay::lost_peer(&mut self.state, peer);
        if let Standing::Leader(leadership) = &mut self.state.standing {
            leadership.transfer.take_if(|transfer| transfer.to == peer);
        }
        if let Some(progress) = replication::progress_of(&mut self.state, peer) {
            progress.disconnected();
        }
    }

    /// Asks for a barrier: an index so late that whoever has applied it sees every write that was
    /// acknowledged to anyone before this call. [`Effect::Readable`] or [`Effect::Unreadable`]
    /// follows.
    pub fn read_index(&mut self, now: Instant) -> ReadToken {
        self.observe(now);
        self.state.reads.ask(now)
    }

    /// A leader hands over to the follower that is most advanced, if one is connected; others stay
    /// as they are. Called before a server stops in peace.
    pub fn hand_over(&mut self, now: Instant) {
        if let Some(to) = replication::best_successor(&self.state) {
            // Only a leader has a successor, so it is not refused.
            let _ = self.transfer(now, to);
        }
    }

    /// Hands the leadership over to `to`, as soon as that has the whole log. Until it leads, or an
    /// election timeout has passed, proposals are refused. Nothing happens if it is no other voter
    /// that has weight.
    ///
    /// # Errors
    ///
    /// If this server does not lead.
    pub fn transfer(&mut self, now: Instant, to: ServerId) -> Result<(), NotLeader> {
        self.observe(now);
        if self.role() != Role::Leader {
            return Err(NotLeader { leader: self.leader() });
        }
        if to != self.id() && self.membership().may_lead_on(to) {
            replication::transfer_to(&mut self.state, now, to);
        }
        Ok(())
    }

    /// Changes the membership to `next`, which is not joint (Raft §6). If the voters differ, or how
    /// they decide, this is done in two steps, the second of which follows by itself. Gives the
    /// index of the first step's entry.
    ///
    /// New voters have been learners until they caught up, or they would hold up commits (Raft
    /// thesis §4.2.1); and a quorum of the new voters is in step, or nothing would be decided any
    /// more.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub fn change(&mut self, now: Instant, next: Membership) -> Result<Index, ChangeError> {
        self.observe(now);
        self.state.check_leads().map_err(ChangeError::NotLeader)?;
        let index = replication::change(&mut self.state, next)?;
        replication::meet_peers(&mut self.state, now);
        Ok(index)
    }

    /// A snapshot of this server's own, up to `meta.last`, is durable: the tail behind it may go,
    /// but for what followers are likely to need.
    ///
    /// # Panics
    ///
    /// If it holds more than what came out as committed.
    pub fn compact(&mut self, meta: SnapshotMeta) {
        install::compact(&mut self.state, &meta);
    }

    /// What a snapshot of the state after `index` has to say of the log; `None` if that entry is
    /// neither in the tail nor just before it.
    pub fn snapshot_meta(&self, index: Index) -> Option<SnapshotMeta> {
        install::meta(&self.state, index)
    }

    /// `from`, leader of `term`, offers a snapshot. If this says yes, the replica makes it durable
    /// and puts it in force, then calls [`installed`](Raft::installed); meanwhile appends are
    /// ignored. If it says no, the snapshot is not needed, and the leader is told where to go on.
    pub fn accepts_snapshot(
        &mut self,
        now: Instant,
        from: ServerId,
        term: Term,
        meta: &SnapshotMeta,
    ) -> bool {
        self.observe(now);
        if self.state.repair.is_some() {
            let is_nonsense = meta.last.index.0 >= BEYOND_REACH || term.0 >= BEYOND_REACH;
            return !is_nonsense && repair::accepts(&mut self.state, from, term, meta);
        }
        let is_nonsense = term.0 >= BEYOND_REACH
            || meta.last.index.0 >= BEYOND_REACH
            || meta.last.term > term
            || from == self.id();
        if is_nonsense {
            return false;
        }
        if !relay::hear_source(&mut self.state, now, from, term) {
            if term < self.term() {
                let (received, persisted) = (Index::ZERO, Index::ZERO);
                self.state.send(from, Body::AppendReply { received, persisted });
            }
            return false;
        }
        install::offered(&mut self.state, now, from, meta.last)
    }

    /// The snapshot is durable. If `meta.last.index` was not above what came out as committed, the
    /// replica has not put it in force, which is as well.
    pub fn installed(&mut self, now: Instant, meta: SnapshotMeta) {
        self.observe(now);
        if self.state.repair.is_some() {
            repair::installed(&mut self.state, now, meta);
            return;
        }
        install::installed(&mut self.state, meta);
    }

    /// The replica has sent a snapshot up to `last` to `to`, or a part of it. The follower is left
    /// alone for the snapshot timeout from now, or until it answers or its connection breaks.
    pub fn snapshot_sent(&mut self, now: Instant, to: ServerId, last: Index) {
        self.observe(now);
        assert!(last <= self.commit(), "a snapshot holds committed entries only");
        install::sent(&mut self.state, now, to);
    }

    /// The next thing to do, if there is one. All entries that came in since the last poll make one
    /// [`Effect::Persist`], and one append for each follower.
    pub fn poll(&mut self, now: Instant) -> Option<Effect<C>> {
        self.observe(now);
        if self.state.outbox.effects.is_empty() {
            self.flush(now);
        }
        self.state.outbox.effects.pop_front()
    }

    /// When to call [`wake`](Raft::wake), at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.deadline()
    }
}

/// The branches.
impl<C: Command> Raft<C> {
    /// Time has passed: a leader that has heard from no quorum for too long steps down, before it
    /// says anything that it might not be entitled to say.
    fn observe(&mut self, now: Instant) {
        let Standing::Leader(leadership) = &self.state.standing else { return };
        if now < leadership.quorum_until {
            return;
        }
        if replication::heard_quorum_until(&mut self.state) <= now {
            let term = self.term();
            self.state.follow(now, term, None);
        }
    }

    fn vote_asked(
        &mut self,
        now: Instant,
        from: ServerId,
        term: Term,
        last: EntryId,
        transfer: bool,
    ) {
        if term < self.term() {
            self.state.send(from, Body::VoteReply { granted: false });
            return;
        }
        if !transfer && self.state.stands_by_leader(now) {
            return;
        }
        if term > self.term() {
            self.state.follow(now, term, None);
        }
        election::vote(&mut self.state, now, from, last);
    }

    fn pre_vote_answered(&mut self, now: Instant, from: ServerId, term: Term, granted: bool) {
        if granted {
            if term == self.term().next() {
                election::answered(&mut self.state, Stage::PreVote, from, true);
            }
        } else if term > self.term() {
            self.state.follow(now, term, None);
        } else if term == self.term() {
            election::answered(&mut self.state, Stage::PreVote, from, false);
        }
        self.conclude_election(now);
    }

    /// The messages that only servers of the membership may send.
    fn step_known(&mut self, now: Instant, from: ServerId, term: Term, body: Body<C>) {
        if term > self.term() {
            self.state.follow(now, term, None);
        }
        let is_old_vote = mutated!(OldVotesCounted if matches!(body, Body::VoteReply { .. }));
        let is_of_this_term = term == self.term() || is_old_vote;
        let progress = replication::progress_of(&mut self.state, from);
        if let Some(progress) = progress.filter(|_| is_of_this_term) {
            progress.heard(now);
        }
        match body {
            Body::ReadIndex { token } => self.read_asked(from, token),
            Body::ReadIndexReply { token, index: Some(index) } => self.readable(token, index),
            // The server asked does not lead. By the next try it may be known who does.
            Body::ReadIndexReply { token: _, index: None } => {}
            _ if !is_of_this_term => {}
            Body::VoteReply { granted } => {
                election::answered(&mut self.state, Stage::Vote, from, granted);
                self.conclude_election(now);
            }
            Body::AppendReply { received, persisted } => {
                relay::acknowledged(&mut self.state, from, received, persisted);
                replication::acknowledged(&mut self.state, from, received, persisted);
                self.advance_commit(now);
            }
            Body::AppendReject { previous, hint } => {
                relay::rejected(&mut self.state, from, previous, hint);
                if replication::rejected(&mut self.state, from, previous, hint) {
                    self.search_anew(now, from);
                }
            }
            Body::HeartbeatReply { round, received, persisted } => {
                let matching = (received, persisted);
                replication::round_answered(&mut self.state, from, round, matching);
                self.advance_commit(now);
                self.answer_reads();
            }
            Body::SnapshotReply { index } => {
                relay::acknowledged(&mut self.state, from, index, index);
                replication::acknowledged(&mut self.state, from, index, index);
                self.advance_commit(now);
            }
            Body::FeedMe { .. } | Body::Feeding { .. } | Body::FedByOther { .. } => {
                relay::step(&mut self.state, now, from, body);
            }
            Body::TimeoutNow => {
                if self.leader() == Some(from) && self.state.may_campaign() {
                    self.campaign(now, Stage::Vote, true);
                }
            }
            _ => unreachable!("branched off in `step`"),
        }
    }

    fn campaign_if_alone(&mut self, now: Instant) {
        if self.state.repair.is_none() && repair::is_alone(&self.state) {
            self.campaign(now, Stage::PreVote, false);
        }
    }

    /// `peer` has lost what it had acknowledged in this term: what is known of it is wrong. The
    /// leader of a new term finds out from the beginning what it has.
    fn search_anew(&mut self, now: Instant, peer: ServerId) {
        if !self.state.membership().is_voter(peer) {
            replication::forget_progress(&mut self.state, now, peer);
        } else if self.state.may_campaign() && !self.state.is_transferring() {
            // The others have nothing against it: they are asked by their own leader.
            self.campaign(now, Stage::Vote, true);
        }
    }

    fn campaign(&mut self, now: Instant, stage: Stage, transfer: bool) {
        election::campaign(&mut self.state, now, stage, transfer);
        self.conclude_election(now);
    }

    /// Wins or loses the election that this server stands in, if it is decided.
    fn conclude_election(&mut self, now: Instant) {
        match election::verdict(&self.state) {
            None | Some((_, Verdict::Open)) => {}
            Some((_, Verdict::Lost)) => {
                let term = self.term();
                self.state.follow(now, term, None);
            }
            Some((Stage::PreVote, Verdict::Won)) => self.campaign(now, Stage::Vote, false),
            Some((Stage::Vote, Verdict::Won)) => replication::lead(&mut self.state, now),
        }
    }

    /// Commits what a quorum has, and does what becomes due by that: the second step of a change of
    /// the membership, and the parting from those that it left out.
    fn advance_commit(&mut self, now: Instant) {
        if !replication::advance_commit(&mut self.state) {
            return;
        }
        let (set_at, present) = self.state.memberships.current();
        if *set_at > self.state.commit {
            return;
        }
        if present.is_joint() {
            let next = present.settled();
            replication::append_own(&mut self.state, Payload::Membership(next));
            return;
        }
        let stays = present.may_lead(self.id());
        replication::part_with_removed(&mut self.state);
        if !stays {
            if let Some(to) = replication::best_successor(&self.state) {
                self.state.send(to, Body::TimeoutNow);
            }
            let term = self.term();
            self.state.follow(now, term, None);
        }
    }

    fn read_asked(&mut self, from: ServerId, token: ReadToken) {
        if self.role() == Role::Leader {
            self.state.reads.enter(from, token);
        } else {
            self.state.send(from, Body::ReadIndexReply { token, index: None });
        }
    }

    fn readable(&mut self, token: ReadToken, index: Index) {
        for token in self.state.reads.answered(token) {
            self.state.outbox.effects.push_back(Effect::Readable { token, index });
        }
    }

    /// Answers the reads whose round a quorum has answered.
    fn answer_reads(&mut self) {
        // Legal: the answer that is the last needed could be on its way still.
        if maybe!(BarrierLater) {
            return;
        }
        let own = self.id();
        let confirmed = replication::confirmed_round(&self.state);
        while let Some((index, readers)) = self.state.reads.confirmed(confirmed) {
            for (reader, token) in readers {
                if reader == own {
                    self.readable(token, index);
                } else {
                    self.state.send(reader, Body::ReadIndexReply { token, index: Some(index) });
                }
            }
        }
    }

    /// Forms what everything that came in since the last time asks for.
    fn flush(&mut self, now: Instant) {
        self.put_reads(now);
        match self.role() {
            Role::Leader => {
                replication::say_transfer(&mut self.state);
                replication::send_appends(&mut self.state, now);
            }
            Role::Follower | Role::Candidate => {
                replication::send_ack(&mut self.state);
                relay::send_appends(&mut self.state, now);
            }
        }
        self.state.persist(now);
        self.state.tell_role();
        self.state.give_out();
    }

    /// Brings this server's reads to the leader, and begins a round for those that have arrived.
    fn put_reads(&mut self, now: Instant) {
        let retry = self.state.config.heartbeat_interval;
        let Some(leader) = self.leader() else { return };
        if let Some(token) = self.state.reads.due(now, retry) {
            self.state.reads.put(token, now);
            if leader == self.id() {
                self.state.reads.enter(leader, token);
            } else {
                self.state.send(leader, Body::ReadIndex { token });
            }
        }
        // etcd #7331: before its first own commit a leader does not know what is committed.
        if self.state.reads.wants_round() && replication::has_own_commit(&self.state) {
            let round = replication::begin_round(&mut self.state, now);
            self.state.reads.begin(round, self.state.commit);
            self.answer_reads();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_a_former_term_is_not_answered_as_one_of_this() {
        let (old_leader, own) = (ServerId(1), ServerId(2));
        let membership = Membership::of_voters([1, 2, 3].map(ServerId));
        let hard_state = HardState { term: Term(2), vote: Some(old_leader) };
        let recovered = Recovered::<u64> { hard_state, ..Recovered::default() };
        let now = Instant::ZERO;
        let mut raft = Raft::new(now, Config::new(own, membership), Seed([0; 32]), recovered);
        let body = Body::Heartbeat { commit: Index::ZERO, round: 5 };
        raft.step(now, old_leader, Message { term: Term(1), body });
        let answer = std::iter::from_fn(|| raft.poll(now)).find_map(|effect| match effect {
            Effect::Send { to, message } => Some((to, message)),
            _ => None,
        });
        let (received, persisted) = (Index::ZERO, Index::ZERO);
        let body = Body::HeartbeatReply { round: 0, received, persisted };
        assert_eq!(answer, Some((old_leader, Message { term: Term(2), body })));
    }
}
