//! What one server knows: term, vote, role, log, and what it has to say.
//!
//! Invariant: `delivered <= commit <= last`; the term never falls, and within a term the vote
//! changes from nobody to somebody at most once. No message leaves before the hard state that it
//! was written under is durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::config::Config;
use super::effect::{Effect, HardState, NotLeader, Persist, Recovered, Role, Ticket};
use super::entry::Command;
use super::log::Log;
use super::membership::{Membership, Memberships};
use super::message::{Body, Message};
use super::position::{EntryId, Index, Term};
use super::progress::Progress;
use super::read_index::Reads;
use super::relay::{self, Feed, Relays};
use super::repair::Repair;
use crate::id::{Seed, ServerId};
use crate::time::Instant;

/// Everything about one server; the leaves work on it.
#[derive(Clone, Debug)]
pub(super) struct State<C> {
    pub(super) config: Config,
    pub(super) rng: ChaCha8Rng,
    pub(super) term: Term,
    pub(super) vote: Option<ServerId>,
    pub(super) standing: Standing,
    /// The leader of `term`, as far as known.
    pub(super) leader: Option<ServerId>,
    pub(super) log: Log<C>,
    pub(super) memberships: Memberships,
    /// The log matches that of every leader of this term up to here: at least `commit`, since
    /// leaders have what is committed, and what this term's appends have shown.
    pub(super) matched: Index,
    /// Agreed up to here.
    pub(super) commit: Index,
    /// Given out as committed up to here.
    pub(super) delivered: Index,
    pub(super) outbox: Outbox<C>,
    pub(super) reads: Reads,
    /// Servers to which there is a connection.
    pub(super) connected: BTreeSet<ServerId>,
    /// When to start an election, unless a leader is heard from before.
    pub(super) election_deadline: Instant,
    /// When the leader was last heard from; for so long it is not voted against.
    pub(super) heard_leader_at: Option<Instant>,
    /// The connection to the leader broke, and since then this many elections were started.
    pub(super) hurry: Option<u32>,
    /// What the leader is to be told of this server's log.
    pub(super) ack: Ack,
    /// A snapshot is being installed: appends are ignored until then.
    pub(super) installing_until: Option<Instant>,
    /// As follower: the learners that it feeds.
    pub(super) relays: Relays,
    /// As learner: who feeds it.
    pub(super) feed: Feed,
    /// Elections that this server has won in its life.
    pub(super) elections_won: u64,
    /// Names this life of the server: drawn at random.
    pub(super) life: u64,
    /// As leader: who was last found to have lost what it had acknowledged, up to which entry.
    pub(super) forgetful: Option<(ServerId, Index)>,
    /// The disk has lost a part of the log: until it is whole again, this server takes no part.
    pub(super) repair: Option<Repair<C>>,
    /// Repairs that were finished in this life: 0 or 1.
    pub(super) repairs_done: u64,
}

/// The role, with what belongs to it alone.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    Follower,
    Candidate(Campaign),
    Leader(Leadership),
}

/// The two stages of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asking who would vote; the term has not risen.
    PreVote,
    /// Asking for votes in the present term.
    Vote,
}

/// An election that this server has started.
#[derive(Clone, Debug)]
pub(super) struct Campaign {
    pub(super) stage: Stage,
    /// The answers, and its own vote once that is durable.
    pub(super) votes: BTreeMap<ServerId, bool>,
    /// Its own vote is durable when this completes.
    pub(super) gate: Ticket,
}

/// A leadership of this server.
#[derive(Clone, Debug)]
pub(super) struct Leadership {
    /// The index of the entry that opened the term.
    pub(super) opened: Index,
    /// All servers but this; also those that the last membership has dropped, until it is
    /// committed.
    pub(super) peers: BTreeMap<ServerId, Progress>,
    /// The last heartbeat round.
    pub(super) round: u64,
    pub(super) next_beat: Instant,
    /// Until then a quorum was heard from recently enough.
    pub(super) quorum_until: Instant,
    pub(super) transfer: Option<Transfer>,
}

/// A handing over of the leadership.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) to: ServerId,
    /// Given up then.
    pub(super) until: Instant,
    /// The word was given; it may have been lost.
    pub(super) is_said: bool,
}

/// What a follower has told its leader, and whether it has to speak.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ack {
    pub(super) is_due: bool,
    /// The leader has been told in this term that the logs match somewhere.
    pub(super) is_matched: bool,
    /// The last persisted index told in this term.
    pub(super) persisted: Index,
}

impl<C: Command> State<C> {
    pub(super) fn new(config: Config, seed: Seed, recovered: Recovered<C>) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed.0);
        let life = rng.next_u64();
        let base = recovered.snapshot.last;
        let is_in_question = may_be_wiped(&config, &recovered);
        let repair = recovered
            .damage
            .map(|damage| Repair::new(recovered.snapshot.clone(), &recovered.entries, damage))
            .or_else(|| is_in_question.then(|| Repair::of_blank(recovered.snapshot.clone(), life)));
        let (set_at, membership) = recovered
            .snapshot
            .membership
            .unwrap_or_else(|| (Index::ZERO, config.membership.clone()));
        let mut memberships = Memberships::new(set_at, membership);
        memberships.note_all(&recovered.entries);
        let log = Log::new(base, recovered.entries);
        let HardState { term, vote } = hard_state_after(recovered.hard_state, base.term);
        let is_known = repair.is_none();
        assert!(!is_known || term >= log.last().term, "the term is durable before its entries");
        let mut outbox = Outbox::new((Role::Follower, term, None));
        if term > recovered.hard_state.term {
            outbox.hard_state_changed();
        }
        State {
            config,
            rng,
            term,
            vote,
            standing: Standing::Follower,
            leader: None,
            log,
            memberships,
            matched: base.index,
            commit: base.index,
            delivered: base.index,
            outbox,
            reads: Reads::new(life),
            connected: BTreeSet::new(),
            election_deadline: Instant::ZERO,
            heard_leader_at: None,
            hurry: None,
            ack: Ack::default(),
            installing_until: None,
            relays: Relays::default(),
            feed: Feed::default(),
            elections_won: 0,
            life,
            forgetful: None,
            repair,
            repairs_done: 0,
        }
    }

    pub(super) fn id(&self) -> ServerId {
        self.config.id
    }

    pub(super) fn role(&self) -> Role {
        match self.standing {
            Standing::Follower => Role::Follower,
            Standing::Candidate(_) => Role::Candidate,
            Standing::Leader(_) => Role::Leader,
        }
    }

    /// The membership in force.
    pub(super) fn membership(&self) -> &Membership {
        if mutated!(VotersAtCommit) {
            return &self.memberships.at(self.commit).1;
        }
        &self.memberships.current().1
    }

    /// Whether this server may ask for votes: voters that have weight may. One that is being left
    /// out still may until that is committed: it may be the only one with the entries that the
    /// others lack (Raft thesis §4.2.2).
    pub(super) fn may_campaign(&self) -> bool {
        let (set_at, membership) = self.memberships.current();
        let before = &self.memberships.at(set_at.previous()).1;
        membership.may_lead(self.id()) || (*set_at > self.commit && before.may_lead(self.id()))
    }

    /// Queues a message of the present term.
    pub(super) fn send(&mut self, to: ServerId, body: Body<C>) {
        self.outbox.send(to, Message { term: self.term, body });
    }

    /// Becomes a follower of `term`, whose leader may be known. Whoever waits at this server for a
    /// read barrier is sent away.
    pub(super) fn follow(&mut self, now: Instant, term: Term, leader: Option<ServerId>) {
        assert!(term >= self.term, "the term never falls");
        let was_leader = self.role() == Role::Leader;
        if term > self.term || leader != self.leader {
            // Whoever feeds whom finds each other anew, in the leader's term.
            self.relays.clear();
            relay::leave(self);
        }
        if term > self.term {
            self.term = term;
            self.vote = if mutated!(VoteKeptInNewTerm) { self.vote } else { None };
            self.outbox.hard_state_changed();
            self.matched = self.commit;
            self.ack = Ack::default();
            self.installing_until = None;
        }
        for (reader, token) in self.reads.abandon() {
            if reader != self.id() {
                self.send(reader, Body::ReadIndexReply { token, index: None });
            }
        }
        self.standing = Standing::Follower;
        self.leader = leader;
        self.heard_leader_at = None;
        if was_leader {
            self.redraw_election(now);
        }
    }

    /// The leader of this term has been heard from.
    pub(super) fn heard_leader(&mut self, now: Instant) {
        assert!(self.leader.is_some(), "only a known leader is heard from");
        self.heard_leader_at = Some(now);
        self.hurry = None;
        self.redraw_election(now);
    }

    /// Whether a leader was heard from so recently that nobody else gets a vote (Raft thesis
    /// §4.2.3).
    pub(super) fn stands_by_leader(&self, now: Instant) -> bool {
        let until = self.heard_leader_at.map(|at| at + self.config.election_timeout);
        self.role() == Role::Leader || until.is_some_and(|until| now < until)
    }

    /// Draws a new election deadline: one to two timeouts from now. After a broken connection to
    /// the leader the timeout begins small and doubles with each attempt.
    pub(super) fn redraw_election(&mut self, now: Instant) {
        let full = self.config.election_timeout;
        let timeout = match self.hurry {
            Some(attempts) => {
                let factor = 1u32.checked_shl(attempts).unwrap_or(u32::MAX);
                self.config.broken_link_timeout.saturating_mul(factor).min(full)
            }
            None => full,
        };
        // Legal: clocks run as they like; the others may not vote for it.
        let least = if maybe!(EarlyElection) { timeout / 8 } else { timeout };
        self.election_deadline = now + least + self.draw_below(timeout);
    }

    /// A random duration below `limit`.
    pub(super) fn draw_below(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.rng.next_u64() % micros)
    }

    /// Whether `server` has to do with this one. A server that was asleep while the membership
    /// changed does not know everyone, so that leaders and candidates are heard in any case.
    pub(super) fn knows(&self, server: ServerId) -> bool {
        let membership = self.membership();
        membership.is_voter(server)
            || membership.learners.contains(&server)
            || self.leader == Some(server)
            || match &self.standing {
                Standing::Leader(leadership) => leadership.peers.contains_key(&server),
                Standing::Follower | Standing::Candidate(_) => false,
            }
    }

    /// `from` speaks as the leader of `term`. Whether it can be; then this server follows it.
    pub(super) fn hear_leader(&mut self, now: Instant, from: ServerId, term: Term) -> bool {
        // In one's own term there is nobody else, whatever a message says.
        let is_other = self.leader.is_some_and(|leader| leader != from);
        if term < self.term || (term == self.term && is_other) {
            return false;
        }
        if term > self.term || self.leader.is_none() {
            self.follow(now, term, Some(from));
        }
        assert!(self.role() == Role::Follower, "a leader does not hear itself");
        self.heard_leader(now);
        true
    }

    /// Whether this leader is handing over.
    pub(super) fn is_transferring(&self) -> bool {
        match &self.standing {
            Standing::Leader(leadership) => leadership.transfer.is_some(),
            Standing::Follower | Standing::Candidate(_) => false,
        }
    }

    /// An error unless this server leads and goes on doing so.
    pub(super) fn check_leads(&self) -> Result<(), NotLeader> {
        if self.role() != Role::Leader {
            return Err(NotLeader { leader: self.leader });
        }
        // Whoever leads next is not known yet; the caller asks again.
        if self.is_transferring() { Err(NotLeader { leader: None }) } else { Ok(()) }
    }

    /// When something has to be done though nothing comes in.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let config = &self.config;
        let (role_deadline, retry) = match &self.standing {
            _ if self.repair.is_some() => (self.repair.as_ref().and_then(Repair::deadline), None),
            Standing::Leader(leadership) => {
                let own = leadership.next_beat.min(leadership.quorum_until);
                let given_up = leadership.transfer.as_ref().map(|transfer| transfer.until);
                (Some(given_up.map_or(own, |until| own.min(until))), None)
            }
            Standing::Follower | Standing::Candidate(_) => {
                let waits = self.may_campaign() || self.leader.is_some();
                let retry = self.leader.map(|_| config.heartbeat_interval);
                (waits.then_some(self.election_deadline), retry)
            }
        };
        let read_deadline = self.reads.deadline(retry, config.election_timeout);
        role_deadline.into_iter().chain(read_deadline).min()
    }

    /// Hands to storage what it has not been given yet, all as one.
    pub(super) fn persist(&mut self, now: Instant) {
        if self.repair.as_ref().is_some_and(|repair| !repair.is_writing()) {
            return;
        }
        let is_hard_state_new = self.outbox.is_hard_state_unwritten();
        if !is_hard_state_new && !self.log.is_unwritten() {
            return;
        }
        let ticket = self.outbox.issue_ticket(now);
        let hard_state = HardState { term: self.term, vote: self.vote };
        let mut persist = Persist {
            ticket,
            hard_state: is_hard_state_new.then_some(hard_state),
            reset: None,
            truncate_after: None,
            append: Vec::new(),
        };
        self.log.write_to(&mut persist);
        self.outbox.effects.push_back(Effect::Persist(persist));
    }

    /// Gives out what is both committed and durable here.
    pub(super) fn give_out(&mut self) {
        let upto = self.commit.min(self.log.persisted());
        // Legal: that it is committed could have become known with the next input.
        if upto > self.delivered && !maybe!(ApplyLater) {
            let entries = self.log.range(self.delivered, upto);
            self.delivered = upto;
            self.outbox.effects.push_back(Effect::Committed(entries));
        }
        assert!(self.delivered <= self.commit, "only what is agreed is given out");
        assert!(self.commit <= self.last().index, "only what exists is agreed");
    }

    /// Tells role, term and leader if they differ from what was told last.
    pub(super) fn tell_role(&mut self) {
        let (role, term, leader) = (self.role(), self.term, self.leader);
        if self.outbox.told != (role, term, leader) {
            self.outbox.told = (role, term, leader);
            self.outbox.effects.push_back(Effect::Role { role, term, leader });
        }
    }

    /// Everything up to `commit` is agreed.
    pub(super) fn commit_up_to(&mut self, commit: Index) {
        assert!(commit <= self.log.last().index, "only what is here is committed");
        self.commit = self.commit.max(commit);
        self.matched = self.matched.max(self.commit);
    }

    /// How far the leader's commit index may be taken over.
    pub(super) fn shown_to_match(&self) -> Index {
        if mutated!(CommitBeyondMatch) { self.last().index } else { self.matched }
    }

    /// How far the log matches the leader's, in memory and on disk.
    pub(super) fn matching(&self) -> (Index, Index) {
        let is_early = mutated!(AckBeforeDurable);
        let durable = if is_early { self.matched } else { self.log.persisted() };
        (self.matched, self.matched.min(durable))
    }

    /// The last entry, as elections compare it.
    pub(super) fn last(&self) -> EntryId {
        self.log.last()
    }
}

/// Effects ready to be polled, and messages that wait for the hard state behind them.
#[derive(Clone, Debug)]
pub(super) struct Outbox<C> {
    pub(super) effects: VecDeque<Effect<C>>,
    /// Messages and the tickets that they wait for, which ascend.
    gated: VecDeque<(Ticket, ServerId, Message<C>)>,
    /// The last ticket given out.
    last_ticket: Ticket,
    /// All tickets up to this one have completed.
    completed: Ticket,
    /// The ticket that makes the present hard state durable; the one to be given out next if the
    /// hard state has not been handed to storage yet.
    hard_gate: Ticket,
    /// Tickets under way and when they were given out.
    under_way: VecDeque<(Ticket, Instant)>,
    /// The last role, term and leader told.
    told: (Role, Term, Option<ServerId>),
}

/// Whether nothing says that this server has ever taken part, and there are others who could know
/// better. Who takes part has a term of its own before.
fn may_be_wiped<C>(config: &Config, recovered: &Recovered<C>) -> bool {
    let is_alone = config.membership.is_quorum(|server| server == config.id);
    config.may_be_wiped
        && !mutated!(WipedVotesAtOnce)
        && !is_alone
        && recovered.damage.is_none()
        && recovered.hard_state == HardState::default()
        && recovered.entries.is_empty()
}

/// The hard state to start with. A snapshot that came from a later term may be durable before that
/// term is; a vote in it would have been durable before it was told, so there was none.
fn hard_state_after(durable: HardState, snapshot: Term) -> HardState {
    if durable.term < snapshot { HardState { term: snapshot, vote: None } } else { durable }
}

impl<C: Command> Outbox<C> {
    pub(super) fn new(told: (Role, Term, Option<ServerId>)) -> Self {
        Outbox {
            effects: VecDeque::new(),
            gated: VecDeque::new(),
            last_ticket: Ticket(0),
            completed: Ticket(0),
            hard_gate: Ticket(0),
            under_way: VecDeque::new(),
            told,
        }
    }

    /// Term or vote are new: the next ticket makes them durable.
    pub(super) fn hard_state_changed(&mut self) {
        self.hard_gate = Ticket(self.last_ticket.0 + 1);
    }

    /// Whether storage has not been given the present hard state yet.
    pub(super) fn is_hard_state_unwritten(&self) -> bool {
        self.hard_gate > self.last_ticket
    }

    /// The ticket that makes the present hard state durable.
    pub(super) fn hard_gate(&self) -> Ticket {
        self.hard_gate
    }

    pub(super) fn is_completed(&self, ticket: Ticket) -> bool {
        ticket <= self.completed
    }

    /// Queues a message behind the present hard state. Beyond a limit it is lost, as on any
    /// network.
    pub(super) fn send(&mut self, to: ServerId, message: Message<C>) {
        const MAX_GATED: usize = 4096;
        let is_early =
            mutated!(VoteBeforeDurable if matches!(message.body, Body::VoteReply { .. }));
        if self.is_completed(self.hard_gate) || is_early {
            assert!(is_early || self.gated.is_empty(), "what waited for less is gone already");
            self.effects.push_back(Effect::Send { to, message });
        } else if self.gated.len() < MAX_GATED {
            self.gated.push_back((self.hard_gate, to, message));
        }
    }

    /// A new ticket.
    pub(super) fn issue_ticket(&mut self, now: Instant) -> Ticket {
        self.last_ticket = Ticket(self.last_ticket.0 + 1);
        self.under_way.push_back((self.last_ticket, now));
        self.last_ticket
    }

    /// All tickets up to `ticket` have completed; what waited for them may leave.
    pub(super) fn completed(&mut self, ticket: Ticket) {
        assert!(ticket <= self.last_ticket, "only given tickets complete");
        assert!(ticket >= self.completed, "tickets complete in order");
        self.completed = ticket;
        while self.under_way.pop_front_if(|(first, _)| *first <= ticket).is_some() {}
        while let Some((_, to, message)) = self.gated.pop_front_if(|(gate, ..)| *gate <= ticket) {
            self.effects.push_back(Effect::Send { to, message });
        }
    }

    /// When the oldest ticket under way was given out.
    pub(super) fn oldest_ticket_at(&self) -> Option<Instant> {
        self.under_way.front().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_a_later_term_raises_the_term_without_a_vote() {
        let durable = HardState { term: Term(2), vote: Some(ServerId(1)) };
        assert_eq!(hard_state_after(durable, Term(2)), durable);
        let raised = HardState { term: Term(3), vote: None };
        assert_eq!(hard_state_after(durable, Term(3)), raised);
    }
}
