//! The barrier behind `sync`: a read waits for what was committed when it was asked for.
//!
//! Invariant: an index is given out only when a quorum has answered a heartbeat round of this term
//! that began after the read was asked for, and after this leader's first own commit (Raft thesis
//! §6.4; etcd #7331, #20418). A server's later barrier is at least as strong as its earlier ones,
//! so an answer to one token also answers that server's lower ones.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::message::ReadToken;
use super::position::Index;
use crate::id::ServerId;
use crate::time::Instant;

/// The newest token of each server that waits for the same answer.
pub(super) type Readers = BTreeMap<ServerId, ReadToken>;

#[derive(Clone, Debug)]
pub(super) struct Reads {
    life: u64,
    /// The number of the last token given out.
    last: u64,
    /// This server's own reads without an answer, ascending by number.
    asked: VecDeque<(ReadToken, Instant)>,
    /// The highest number put to the present leader, and when.
    put: Option<(u64, Instant)>,
    /// At the leader: who waits for a round to begin.
    waiting: Readers,
    /// At the leader: rounds under way, the commit index at their begin, and who waits for them.
    rounds: VecDeque<(u64, Index, Readers)>,
}

impl Reads {
    /// `life` is drawn at random, so that no two lives of a server share tokens.
    pub(super) fn new(life: u64) -> Self {
        Reads {
            life,
            last: 0,
            asked: VecDeque::new(),
            put: None,
            waiting: Readers::new(),
            rounds: VecDeque::new(),
        }
    }

    /// This server wants a barrier.
    pub(super) fn ask(&mut self, now: Instant) -> ReadToken {
        self.last += 1;
        let token = ReadToken { life: self.life, number: self.last };
        self.asked.push_back((token, now));
        token
    }

    /// What to put to the leader: the newest read that was not put to it yet, or was `retry` ago.
    pub(super) fn due(&self, now: Instant, retry: Duration) -> Option<ReadToken> {
        let (newest, _) = self.asked.back()?;
        match self.put {
            Some((number, at)) if newest.number <= number && now < at + retry => None,
            Some(_) | None => Some(*newest),
        }
    }

    /// The read `token` has been put to the leader.
    pub(super) fn put(&mut self, token: ReadToken, now: Instant) {
        self.put = Some((token.number, now));
    }

    /// The leader changed, or refused: everything has to be put anew.
    pub(super) fn put_again(&mut self) {
        self.put = None;
    }

    /// The own reads that the answer to `token` answers.
    pub(super) fn answered(&mut self, token: ReadToken) -> Vec<ReadToken> {
        let mut answered = Vec::new();
        if token.life != self.life || token.number > self.last {
            return answered;
        }
        while let Some((own, _)) = self.asked.pop_front_if(|(own, _)| own.number <= token.number) {
            answered.push(own);
        }
        answered
    }

    /// The own reads that have waited for `patience`, which are given up.
    pub(super) fn expired(&mut self, now: Instant, patience: Duration) -> Vec<ReadToken> {
        let mut expired = Vec::new();
        while let Some((own, _)) = self.asked.pop_front_if(|(_, at)| *at + patience <= now) {
            expired.push(own);
        }
        expired
    }

    /// When an own read is to be put again, or given up.
    pub(super) fn deadline(&self, retry: Option<Duration>, patience: Duration) -> Option<Instant> {
        let (_, oldest) = self.asked.front()?;
        let give_up = *oldest + patience;
        let again = self.put.zip(retry).map(|((_, at), retry)| at + retry);
        Some(again.map_or(give_up, |again| again.min(give_up)))
    }

    /// At the leader: `reader` waits for the next round.
    pub(super) fn enter(&mut self, reader: ServerId, token: ReadToken) {
        let newest = self.waiting.entry(reader).or_insert(token);
        if newest.life != token.life || newest.number < token.number {
            *newest = token;
        }
    }

    /// At the leader: those who wait, for a round to begin or to be answered.
    pub(super) fn readers(&self) -> impl Iterator<Item = ServerId> {
        let under_way = self.rounds.iter().flat_map(|(.., readers)| readers.keys());
        self.waiting.keys().chain(under_way).copied()
    }

    /// At the leader: whether someone waits for a round, and one more may begin.
    pub(super) fn wants_round(&self) -> bool {
        const MAX_ROUNDS: usize = 64;
        !self.waiting.is_empty() && self.rounds.len() < MAX_ROUNDS
    }

    /// At the leader: `round` begins while `commit` is the commit index.
    pub(super) fn begin(&mut self, round: u64, commit: Index) {
        let newest = self.rounds.back();
        assert!(newest.is_none_or(|(last, ..)| *last < round), "rounds are never reused");
        assert!(newest.is_none_or(|(_, last, _)| *last <= commit), "commit never falls");
        self.rounds.push_back((round, commit, std::mem::take(&mut self.waiting)));
    }

    /// At the leader: a quorum has answered `round` or a later one. The next answer that this
    /// gives.
    pub(super) fn confirmed(&mut self, round: u64) -> Option<(Index, Readers)> {
        let (_, index, readers) = self.rounds.pop_front_if(|(begun, ..)| *begun <= round)?;
        Some((index, readers))
    }

    /// This server leads no more: everyone who waits, to be told so.
    pub(super) fn abandon(&mut self) -> Readers {
        let mut readers = std::mem::take(&mut self.waiting);
        for (.., waiting) in self.rounds.drain(..) {
            readers.extend(waiting);
        }
        self.put = None;
        readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_millis(1000);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn answer_to_a_token_answers_the_lower_ones_only() {
        let mut reads = Reads::new(7);
        let first = reads.ask(at(0));
        let second = reads.ask(at(0));
        let third = reads.ask(at(0));
        assert_eq!(reads.answered(second), vec![first, second]);
        assert_eq!(reads.answered(second), vec![]);
        assert_eq!(reads.answered(third), vec![third]);
    }

    #[test]
    fn answer_meant_for_another_life_is_ignored() {
        let mut reads = Reads::new(7);
        let own = reads.ask(at(0));
        assert_eq!(reads.answered(ReadToken { life: 6, ..own }), vec![]);
        assert_eq!(reads.answered(ReadToken { number: own.number + 1, ..own }), vec![]);
    }

    #[test]
    fn read_is_put_once_and_again_after_a_while() {
        let mut reads = Reads::new(7);
        assert_eq!(reads.due(at(0), RETRY), None);
        let own = reads.ask(at(0));
        assert_eq!(reads.due(at(0), RETRY), Some(own));
        reads.put(own, at(0));
        assert_eq!(reads.due(at(99), RETRY), None);
        assert_eq!(reads.due(at(100), RETRY), Some(own));
        assert_eq!(reads.expired(at(999), PATIENCE), vec![]);
        assert_eq!(reads.expired(at(1000), PATIENCE), vec![own]);
    }

    #[test]
    fn later_round_confirms_the_earlier_ones() {
        let mut reads = Reads::new(7);
        let token = |number| ReadToken { life: 1, number };
        reads.enter(ServerId(2), token(1));
        reads.begin(4, Index(10));
        reads.enter(ServerId(2), token(2));
        reads.begin(6, Index(12));
        assert_eq!(reads.confirmed(3), None);
        let (index, readers) = reads.confirmed(6).expect("round 4 is confirmed");
        assert_eq!((index, readers[&ServerId(2)]), (Index(10), token(1)));
        assert_eq!(reads.confirmed(5), None);
        assert_eq!(reads.confirmed(6).map(|(index, _)| index), Some(Index(12)));
    }
}
