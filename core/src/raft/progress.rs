//! What a leader knows of one follower, and what it may send to it.
//!
//! Invariant: `persisted <= received < next` outside of a snapshot transfer. `persisted` never
//! falls within a term: it alone counts for commit. `received` is the follower's memory, which a
//! crash takes back, so it may fall.
//!
//! What is sent anew is bounded: by what the follower has newly received, and by heartbeats. So a
//! reply that is old, or the tenth of its kind, cannot start the same conversation again.

use std::collections::VecDeque;
use std::time::Duration;

use super::position::Index;
use crate::id::ServerId;
use crate::time::Instant;

/// How a follower is being fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Where the logs match is not known: one append at a time, to find out.
    Probe,
    /// It follows: appends are sent without waiting for answers.
    Pipeline,
    /// It needs what is no longer in the tail: nothing is sent until a snapshot has arrived.
    Snapshot,
}

/// What the leader knows of one peer, for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Which peer.
    pub peer: ServerId,
    /// How it is fed.
    pub flow: Flow,
    /// Its log matches up to here in memory, as far as known.
    pub received: Index,
    /// Its log matches up to here on its disk, as far as known.
    pub persisted: Index,
    /// Whether there is a connection to it.
    pub is_connected: bool,
    /// A learner that waits for its turn to be brought into step.
    pub is_waiting: bool,
}

/// How far a learner has come since its connection stands, or since this leader leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It may lack anything.
    Out,
    /// It is being brought up to this index by entries of the log.
    Coming(Index),
    /// It had all that there was.
    In,
}

#[derive(Clone, Debug)]
pub(super) struct Progress {
    flow: Flow,
    /// The last index known to be in the follower's memory and to match.
    received: Index,
    /// The last index known to be durable there and to match.
    persisted: Index,
    /// The next index to send.
    next: Index,
    /// In `Probe`: an append is under way and unanswered.
    probing: bool,
    /// In `Pipeline`: the last index of each append under way.
    in_flight: VecDeque<Index>,
    /// How many may be under way. After something was lost or overtaken it begins with one, and
    /// grows with each that arrives.
    window: usize,
    /// Since the last heartbeat the pipeline was left because of a refusal, with this `received`.
    left_at: Option<Index>,
    /// In `Snapshot`: give it up then.
    snapshot_until: Instant,
    /// The commit index that it was last told.
    commit_told: Index,
    /// When it was last heard from in this term.
    heard_at: Instant,
    /// The latest heartbeat round that it answered.
    answered_round: u64,
    /// In `Pipeline`: what had been sent when a heartbeat round was sent.
    rounds: VecDeque<(u64, Index)>,
    step: Step,
    /// Its place among those that wait for their turn: lower ones are before it.
    place: Option<u64>,
    /// Until then another server feeds it.
    fed_until: Instant,
    /// It is to vote: whatever it says, it is fed from here, so that it is known how far it is.
    is_wanted: bool,
    /// How often, one time after the other, it has denied what it had acknowledged as durable.
    n_denials: u32,
    /// It has since the last heartbeat.
    has_denied: bool,
}

/// So many denials are believed: a single refusal may be an old one that comes late.
const DENIALS: u32 = 3;

impl Progress {
    /// A follower of which nothing is known; it gets what comes from `next` on.
    pub(super) fn new(next: Index, now: Instant) -> Self {
        Progress {
            flow: Flow::Probe,
            received: Index::ZERO,
            persisted: Index::ZERO,
            next,
            probing: false,
            in_flight: VecDeque::new(),
            window: usize::MAX,
            left_at: None,
            snapshot_until: now,
            commit_told: Index::ZERO,
            heard_at: now,
            answered_round: 0,
            rounds: VecDeque::new(),
            step: Step::Out,
            place: None,
            fed_until: Instant::ZERO,
            is_wanted: false,
            n_denials: 0,
            has_denied: false,
        }
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow
    }

    pub(super) fn received(&self) -> Index {
        self.received
    }

    pub(super) fn persisted(&self) -> Index {
        self.persisted
    }

    pub(super) fn next(&self) -> Index {
        self.next
    }

    pub(super) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    pub(super) fn answered_round(&self) -> u64 {
        self.answered_round
    }

    pub(super) fn commit_told(&self) -> Index {
        self.commit_told
    }

    pub(super) fn snapshot_until(&self) -> Option<Instant> {
        (self.flow == Flow::Snapshot).then_some(self.snapshot_until)
    }

    /// Another server feeds it until then, which may be now.
    pub(super) fn fed_by_other(&mut self, now: Instant, until: Instant) {
        if !self.is_fed_by_other(now) {
            // What is under way arrives or not; the answers go to the other.
            self.disconnected();
        }
        self.fed_until = until;
    }

    /// Whether another server feeds it.
    pub(super) fn is_fed_by_other(&self, now: Instant) -> bool {
        now < self.fed_until && !self.is_wanted
    }

    /// It is to vote.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Whether entries may be sent to it without a turn.
    pub(super) fn has_turn(&self) -> bool {
        self.step != Step::Out
    }

    /// Whether it is being brought into step by entries of the log. One that has shown no sign of
    /// life for `patience` holds nobody up.
    pub(super) fn is_coming(&self, now: Instant, patience: Duration) -> bool {
        matches!(self.step, Step::Coming(_)) && now < self.heard_at + patience
    }

    /// Its place among those that wait for their turn; the last, which is `next`, if it had none.
    pub(super) fn queue(&mut self, next: u64) -> u64 {
        *self.place.get_or_insert(next)
    }

    /// Its place among those that wait for their turn, if it waits.
    pub(super) fn place(&self) -> Option<u64> {
        self.place
    }

    /// Its turn has come: it is brought up to `target` by entries of the log.
    pub(super) fn begin(&mut self, target: Index) {
        self.step = Step::Coming(target);
        self.place = None;
    }

    /// It has the log up to `received`, which ends with `last`.
    pub(super) fn came(&mut self, received: Index, last: Index) {
        let target = if let Step::Coming(target) = self.step { target.min(last) } else { last };
        if received >= target {
            self.step = Step::In;
            self.place = None;
        }
    }

    /// A message of this term has come from it.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = self.heard_at.max(now);
    }

    /// Whether an append may be sent now.
    pub(super) fn may_send(&self, max_in_flight: usize) -> bool {
        match self.flow {
            Flow::Probe => !self.probing || mutated!(WindowPerRefusal),
            Flow::Pipeline => self.in_flight.len() < max_in_flight.min(self.window),
            Flow::Snapshot => false,
        }
    }

    /// An append that ends with `last` and tells `commit` is on its way.
    pub(super) fn sent(&mut self, last: Index, commit: Index) {
        assert!(last.next() >= self.next, "appends go forward");
        self.commit_told = commit;
        match self.flow {
            // `next` stays, so that the answer can be told from one to an earlier probe.
            Flow::Probe => self.probing = true,
            Flow::Pipeline => {
                if last >= self.next {
                    self.in_flight.push_back(last);
                    self.next = last.next();
                }
            }
            Flow::Snapshot => unreachable!("nothing is sent during a snapshot"),
        }
    }

    /// It says that the logs match so far. The caller has checked that the leader's log goes as
    /// far.
    pub(super) fn acknowledged(&mut self, received: Index, persisted: Index) {
        assert!(persisted <= received, "what is durable was received");
        if received >= self.persisted {
            self.n_denials = 0;
        }
        self.persisted = self.persisted.max(persisted);
        self.received = self.received.max(received);
        while self.in_flight.pop_front_if(|last| *last <= received).is_some() {
            self.window = self.window.saturating_add(1);
        }
        match self.flow {
            Flow::Probe => {
                if received.next() >= self.next {
                    self.flow = Flow::Pipeline;
                    self.next = received.next();
                    self.probing = false;
                }
            }
            Flow::Pipeline => self.next = self.next.max(received.next()),
            Flow::Snapshot => {}
        }
    }

    /// It does not have the entry at `previous`; `retry` may be the last that matches. Whether that
    /// was news.
    pub(super) fn rejected(&mut self, previous: Index, retry: Index) -> bool {
        let is_current = match self.flow {
            // At most one probe is under way: any other refusal is an old one.
            Flow::Probe => previous == self.next.previous(),
            Flow::Pipeline => previous < self.next && self.may_leave(retry),
            Flow::Snapshot => false,
        };
        let is_news = is_current || mutated!(AppendPerRefusal | WindowPerRefusal);
        if !is_news || previous <= self.persisted {
            return false;
        }
        if self.flow == Flow::Pipeline {
            self.left_at = Some(self.received);
            self.window = if mutated!(WindowPerRefusal) { self.window } else { 1 };
        }
        self.probe_from(retry.min(previous.previous()).next());
        true
    }

    /// It does not have the entry at `previous`. Whether it had acknowledged that as durable, and
    /// has denied it so often since that it is to be believed: its disk has lost it.
    pub(super) fn denied(&mut self, previous: Index) -> bool {
        let is_answer = self.flow == Flow::Probe && previous == self.next.previous();
        if !is_answer || previous > self.persisted || self.has_denied {
            return false;
        }
        self.has_denied = true;
        self.n_denials += 1;
        self.n_denials >= DENIALS
    }

    /// Whether a refusal is a reason to leave the pipeline. One lost or overtaken append makes the
    /// follower refuse all that were behind it, long after they have been sent anew: only the first
    /// counts, until the follower has received more or a heartbeat has passed.
    fn may_leave(&self, retry: Index) -> bool {
        self.left_at.is_none_or(|left_at| left_at < self.received && self.received <= retry)
    }

    /// Round `round` goes out.
    pub(super) fn round_sent(&mut self, round: u64, commit: Index) {
        const MAX_ROUNDS: usize = 64;
        self.commit_told = self.commit_told.max(commit);
        if self.flow == Flow::Pipeline {
            self.rounds.push_back((round, self.next.previous()));
        }
        if self.rounds.len() > MAX_ROUNDS {
            self.rounds.pop_front();
        }
    }

    /// It has answered `round`. What had been sent before that round and has not arrived is lost,
    /// or overtaken, which costs one append more.
    pub(super) fn round_answered(&mut self, round: u64, received: Index, persisted: Index) {
        self.answered_round = self.answered_round.max(round);
        let mut sent = None;
        while let Some((_, last)) = self.rounds.pop_front_if(|(sent, _)| *sent <= round) {
            sent = Some(last);
        }
        self.acknowledged(received, persisted);
        let is_unseen = mutated!(FullQueueDropsUnseen);
        if self.flow == Flow::Pipeline && sent.is_some_and(|last| last > received) && !is_unseen {
            self.window = 1;
            self.probe_from(received.next());
        }
    }

    /// Looks again for where the logs match, beginning with the entry before `next`.
    pub(super) fn probe_from(&mut self, next: Index) {
        self.next = next.max(self.persisted.next());
        self.received = self.received.min(self.next.previous()).max(self.persisted);
        self.flow = Flow::Probe;
        self.probing = false;
        self.in_flight.clear();
        self.rounds.clear();
    }

    /// A heartbeat interval has passed: a probe that got no answer for so long may be sent again,
    /// and a refusal counts again.
    pub(super) fn retry(&mut self) {
        self.probing = false;
        self.left_at = None;
        self.has_denied = false;
    }

    /// It needs a snapshot, or has been sent one: nothing else goes out until `until`.
    pub(super) fn await_snapshot(&mut self, until: Instant) {
        self.flow = Flow::Snapshot;
        // With the snapshot its turn is over: what has come in meanwhile is for everyone.
        self.step = Step::In;
        self.place = None;
        self.snapshot_until = until;
        self.probing = false;
        self.in_flight.clear();
        self.rounds.clear();
    }

    /// The connection broke: what was under way may be lost.
    pub(super) fn disconnected(&mut self) {
        self.window = usize::MAX;
        self.step = Step::Out;
        self.place = None;
        // Where a search was is as good a place to go on as any: that nothing is known of what it
        // has is no reason to take it for empty, and to send a snapshot to one that needs none.
        let next = match self.flow {
            Flow::Pipeline => self.received.next(),
            Flow::Probe | Flow::Snapshot => self.next.max(self.received.next()),
        };
        self.probe_from(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(received: u64) -> Progress {
        let mut progress = Progress::new(Index(received + 1), Instant::ZERO);
        progress.sent(Index(received), Index::ZERO);
        progress.acknowledged(Index(received), Index(received));
        assert_eq!(progress.flow(), Flow::Pipeline);
        progress
    }

    #[test]
    fn probe_sends_one_append_at_a_time() {
        let mut progress = Progress::new(Index(5), Instant::ZERO);
        assert!(progress.may_send(8));
        progress.sent(Index(7), Index::ZERO);
        assert!(!progress.may_send(8));
        progress.retry();
        assert!(progress.may_send(8));
    }

    #[test]
    fn who_is_lost_before_it_has_said_anything_is_asked_at_the_same_place_again() {
        let mut progress = Progress::new(Index(10), Instant::ZERO);
        progress.sent(Index(9), Index::ZERO);
        progress.disconnected();
        assert_eq!((progress.next(), progress.may_send(8)), (Index(10), true));
        // What it has not acknowledged may be lost.
        let mut progress = pipeline(5);
        progress.sent(Index(9), Index::ZERO);
        progress.disconnected();
        assert_eq!((progress.flow(), progress.next()), (Flow::Probe, Index(6)));
    }

    #[test]
    fn refusal_of_an_earlier_probe_is_ignored() {
        let mut progress = Progress::new(Index(10), Instant::ZERO);
        progress.sent(Index(9), Index::ZERO);
        assert!(progress.rejected(Index(9), Index(4)));
        assert_eq!(progress.next(), Index(5));
        progress.sent(Index(9), Index::ZERO);
        assert!(!progress.rejected(Index(9), Index(4)));
        assert!(!progress.may_send(8), "the second probe is still under way");
    }

    #[test]
    fn refusal_never_leads_below_what_is_durable() {
        let mut progress = pipeline(5);
        progress.sent(Index(9), Index::ZERO);
        assert!(progress.rejected(Index(9), Index(2)));
        assert_eq!(progress.next(), Index(6));
        assert!(!pipeline(5).rejected(Index(5), Index(2)));
    }

    #[test]
    fn who_denies_again_and_again_what_it_had_made_durable_is_believed() {
        let mut progress = pipeline(5);
        progress.disconnected();
        for n in 1..=DENIALS {
            assert!(!progress.denied(Index(4)), "of another probe");
            assert_eq!(progress.denied(Index(5)), n == DENIALS);
            assert!(!progress.denied(Index(5)), "the same once more");
            progress.acknowledged(Index(0), Index(0));
            progress.retry();
        }
        progress.acknowledged(Index(5), Index(5));
        progress.disconnected();
        assert!(!progress.denied(Index(5)), "it had it after all");
    }

    #[test]
    fn window_limits_the_appends_under_way() {
        let mut progress = pipeline(1);
        progress.sent(Index(2), Index::ZERO);
        progress.sent(Index(3), Index::ZERO);
        assert!(!progress.may_send(2));
        progress.acknowledged(Index(2), Index(1));
        assert!(progress.may_send(2));
    }

    #[test]
    fn answer_to_a_round_shows_what_was_lost_before_it() {
        let mut progress = pipeline(3);
        progress.round_sent(1, Index::ZERO);
        progress.sent(Index(6), Index::ZERO);
        progress.round_sent(2, Index::ZERO);
        progress.round_answered(1, Index(3), Index(3));
        assert_eq!(progress.flow(), Flow::Pipeline, "entries 4 to 6 were sent after round 1");
        progress.round_answered(2, Index(3), Index(3));
        assert_eq!(progress.flow(), Flow::Probe);
        assert_eq!(progress.next(), Index(4));
    }

    #[test]
    fn what_is_sent_anew_begins_with_one_append_and_grows() {
        let mut progress = pipeline(3);
        (4..=20).for_each(|last| progress.sent(Index(last), Index::ZERO));
        assert!(progress.rejected(Index(5), Index(3)));
        progress.sent(Index(4), Index::ZERO);
        progress.acknowledged(Index(4), Index(3));
        assert!(progress.may_send(64));
        progress.sent(Index(5), Index::ZERO);
        assert!(!progress.may_send(64));
        progress.acknowledged(Index(5), Index(3));
        progress.sent(Index(6), Index::ZERO);
        assert!(progress.may_send(64));
        progress.sent(Index(7), Index::ZERO);
        assert!(!progress.may_send(64));
    }

    #[test]
    fn refusals_of_what_was_behind_a_loss_count_once() {
        let mut progress = pipeline(3);
        (4..=20).for_each(|last| progress.sent(Index(last), Index::ZERO));
        assert!(progress.rejected(Index(5), Index(3)));
        progress.sent(Index(3), Index::ZERO);
        // An old acknowledgement is taken for the probe's answer.
        progress.acknowledged(Index(3), Index(3));
        assert_eq!(progress.flow(), Flow::Pipeline);
        progress.sent(Index(4), Index::ZERO);
        for previous in 6..20 {
            assert!(!progress.rejected(Index(previous), Index(3)), "nothing more was received");
        }
        progress.acknowledged(Index(8), Index(3));
        (9..=20).for_each(|last| progress.sent(Index(last), Index::ZERO));
        for previous in 6..20 {
            assert!(!progress.rejected(Index(previous), Index(3)), "it speaks of earlier");
        }
        assert!(progress.rejected(Index(10), Index(8)), "another loss, after progress");
    }

    #[test]
    fn refusals_count_again_after_a_heartbeat() {
        let mut progress = pipeline(3);
        (4..=6).for_each(|last| progress.sent(Index(last), Index::ZERO));
        assert!(progress.rejected(Index(5), Index(3)));
        progress.sent(Index(3), Index::ZERO);
        progress.acknowledged(Index(3), Index(3));
        progress.sent(Index(5), Index::ZERO);
        assert!(!progress.rejected(Index(5), Index(3)));
        progress.retry();
        assert!(progress.rejected(Index(5), Index(3)));
    }

    #[test]
    fn memory_that_a_crash_took_back_does_not_stop_the_search() {
        let mut progress = pipeline(3);
        progress.sent(Index(9), Index::ZERO);
        progress.acknowledged(Index(9), Index(3));
        assert!(progress.rejected(Index(9), Index(3)));
        assert_eq!((progress.next(), progress.received()), (Index(4), Index(3)));
    }
}
