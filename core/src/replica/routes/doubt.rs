//! States are compared, and who turns out to have another one than a quorum gets a leader's.
//!
//! Invariant: from the moment at which this server is in doubt about its state until a leader's is
//! in force, it tells no client and no server anything of it. Its log is not in doubt: it follows,
//! votes and acknowledges as before (`docs/repair.md`).

use std::collections::{BTreeMap, BTreeSet};

use crate::db::Database;
use crate::id::ServerId;
use crate::raft::{EntryId, Index, Role, SnapshotMeta, Term};
use crate::replica::doubt::{
    DISPUTE_PAUSE, Doubt, OFFER_INTERVAL, PATIENCE_INTERVALS, RULE, Round, digest_of,
};
use crate::replica::{Alarm, CloseReason, Comparison, Message, Output, Rebuilt, Replica, Snapshot};

/// Comparing.
impl Replica {
    /// A server says something about its state.
    pub(in crate::replica) fn compared(&mut self, from: ServerId, word: Comparison) {
        let is_leader = self.raft.leader() == Some(from);
        match word {
            Comparison::Ask { rule, at } if is_leader && rule == RULE => self.asked(from, at),
            Comparison::Told { rule, at, digest } if rule == RULE => {
                if self.raft.membership().servers().contains(&from) {
                    self.told(from, at, digest);
                }
            }
            Comparison::Differs { rule, at, agreed } if is_leader && rule == RULE => {
                self.differs(at, agreed);
            }
            Comparison::WantState => self.state_wanted(from),
            // Of a release with another rule, or of one that leads no more.
            Comparison::Ask { .. } | Comparison::Told { .. } | Comparison::Differs { .. } => {}
        }
    }

    /// Whether this server takes part in comparisons now.
    fn is_comparing(&self) -> bool {
        let is_sure = self.comparing.doubt.is_none() && self.raft.repair().is_none();
        self.config.compares_states && is_sure && !mutated!(StatesNotCompared)
    }

    /// `who`, which leads, wants to know the digest after an entry.
    fn asked(&mut self, who: ServerId, at: EntryId) {
        if self.is_comparing() {
            self.comparing.asked = Some((who, at));
            self.tell_digest();
        }
    }

    /// If what was asked for has just been applied: tells the digest.
    pub(in crate::replica) fn tell_digest(&mut self) {
        let Some((who, at)) = self.comparing.asked else { return };
        if self.applied.index < at.index {
            return;
        }
        self.comparing.asked = None;
        // What is beyond it, or was put in its place, has nothing to say about it.
        if self.applied != at || self.raft.leader() != Some(who) || !self.is_comparing() {
            return;
        }
        let digest = self.state_digest();
        self.comparing.told = Some((at, digest));
        if who == self.config.raft.id {
            self.told(who, at, digest);
        } else {
            let message = Message::Compare(Comparison::Told { rule: RULE, at, digest });
            self.outputs.push_back(Output::Send { to: who, message });
        }
    }

    fn state_digest(&self) -> u64 {
        self.db.digest().wrapping_add(digest_of(self.membership.as_ref()))
    }

    /// As leader, at intervals: closes a comparison and begins the next.
    pub(in crate::replica) fn compare_states(&mut self) {
        let now = self.now.instant;
        let is_alone = self.raft.membership().servers().len() < 2;
        if self.raft.role() != Role::Leader || is_alone || !self.is_comparing() {
            self.comparing.round = None;
            return;
        }
        if let Some(round) = &self.comparing.round {
            let servers = self.raft.membership().servers().into_iter();
            let own = self.config.raft.id;
            if !round.is_over(now, servers.filter(|it| *it == own || self.links.contains(it))) {
                return;
            }
            self.close_round();
        }
        if self.comparing.next.is_some_and(|next| now < next) {
            return;
        }
        let at = self.raft.last();
        let until = now + self.config.upkeep_interval * PATIENCE_INTERVALS;
        self.comparing.round = Some(Round::new(at, until));
        self.comparing.has_joined = false;
        for to in self.others() {
            let message = Message::Compare(Comparison::Ask { rule: RULE, at });
            self.outputs.push_back(Output::Send { to, message });
        }
        self.asked(self.config.raft.id, at);
    }

    /// The other members that can hear this server.
    fn others(&self) -> Vec<ServerId> {
        let own = self.config.raft.id;
        let servers = self.raft.membership().servers().into_iter();
        servers.filter(|server| *server != own && self.links.contains(server)).collect()
    }

    /// As leader: this is the digest of `who` after an entry.
    fn told(&mut self, who: ServerId, at: EntryId, digest: u64) {
        if self.raft.role() != Role::Leader {
            return;
        }
        let Some(round) = self.comparing.round.as_mut().filter(|round| round.at == at) else {
            return;
        };
        round.answers.insert(who, digest);
        let Some(agreed) = round.agreed(self.raft.membership()) else { return };
        let (sure, mut own) = (round.those_with(agreed), None);
        for (server, digest) in round.name_odd(agreed) {
            self.counts.digest_mismatches += 1;
            let alarm = Alarm::Odd { server, at, digest, agreed };
            self.outputs.push_back(Output::Alarm(alarm));
            if server == self.config.raft.id {
                own = Some(digest);
                continue;
            }
            let word = Comparison::Differs { rule: RULE, at, agreed: Some(agreed) };
            self.outputs.push_back(Output::Send { to: server, message: Message::Compare(word) });
        }
        if let Some(digest) = own {
            self.fall_into_doubt(at, (digest, agreed), sure);
        }
    }

    /// A comparison is over. If no quorum has the same state, nobody is taken out by guess, and
    /// everybody says so.
    fn close_round(&mut self) {
        let Some(round) = self.comparing.round.take() else { return };
        if round.agreed(self.raft.membership()).is_some() {
            self.counts.digests_agreed += 1;
            return;
        }
        if !round.differs() {
            return;
        }
        let pause = self.now.instant + DISPUTE_PAUSE;
        self.comparing.next = (!self.comparing.has_joined).then_some(pause);
        self.counts.digest_mismatches += 1;
        for to in self.others() {
            let word = Comparison::Differs { rule: RULE, at: round.at, agreed: None };
            self.outputs.push_back(Output::Send { to, message: Message::Compare(word) });
        }
        let alarm = Alarm::Disputed { at: round.at, digests: round.answers };
        self.outputs.push_back(Output::Alarm(alarm));
    }

    /// The leader says that this server's digest after an entry is another than a quorum's, or that
    /// no quorum has the same.
    fn differs(&mut self, at: EntryId, agreed: Option<u64>) {
        // What it says of an answer of long ago, before the state was mended, is done with.
        let Some((_, own)) = self.comparing.told.filter(|(told, _)| *told == at) else { return };
        match agreed {
            Some(agreed) if agreed != own && self.comparing.doubt.is_none() => {
                self.counts.digest_mismatches += 1;
                self.fall_into_doubt(at, (own, agreed), BTreeSet::new());
            }
            Some(_) => {}
            None => {
                self.counts.digest_mismatches += 1;
                let digests = BTreeMap::from([(self.config.raft.id, own)]);
                self.outputs.push_back(Output::Alarm(Alarm::Disputed { at, digests }));
            }
        }
    }
}

/// Being in doubt.
impl Replica {
    /// Whether this server's state is another than a quorum's, so that it serves nobody.
    pub fn in_doubt(&self) -> bool {
        self.comparing.doubt.is_some()
    }

    /// Whether this server is in doubt about its state.
    pub(in crate::replica) fn is_in_doubt(&self) -> bool {
        self.comparing.doubt.is_some() && !mutated!(DoubtfulServes)
    }

    /// This server's state is another than a quorum's. It is kept as evidence, and nobody sees it
    /// any more.
    fn fall_into_doubt(
        &mut self,
        at: EntryId,
        (digest, agreed): (u64, u64),
        sure: BTreeSet<ServerId>,
    ) {
        let now = self.now.instant;
        self.comparing.doubt = Some(Doubt::new(self.applied.index, sure));
        self.comparing.round = None;
        let evidence = self.snapshot();
        self.outputs.push_back(Output::Distrust { at, digest, agreed, evidence });
        if self.is_in_doubt() {
            self.locals.pause(now);
            self.close_all(CloseReason::StateInDoubt);
        }
        self.look_after_doubt();
    }

    /// At intervals, and when something has changed: lets another lead, or asks for a state.
    pub(in crate::replica) fn look_after_doubt(&mut self) {
        let now = self.now.instant;
        let leads = self.raft.role() == Role::Leader;
        if let Some(doubt) = self.comparing.doubt.as_mut().filter(|_| !leads) {
            doubt.unsure.clear();
        }
        let successor = if leads { self.surest() } else { None };
        let Some(doubt) = &mut self.comparing.doubt else { return };
        if leads {
            let is_due = doubt.offered.is_none_or(|at| at + OFFER_INTERVAL <= now);
            if let Some(to) = successor.filter(|_| is_due) {
                doubt.offered = Some(now);
                self.raft.transfer(now, to).expect("it leads");
            }
            return;
        }
        let Some(leader) = self.raft.leader().filter(|leader| self.links.contains(leader)) else {
            return;
        };
        let is_coming = self.checkpoints.is_installing();
        if !is_coming && doubt.asks(leader, now, self.config.raft.snapshot_timeout) {
            let message = Message::Compare(Comparison::WantState);
            self.outputs.push_back(Output::Send { to: leader, message });
        }
    }

    /// The voter that may lead and whose log is most advanced; one that is known to have the right
    /// state before any other.
    fn surest(&self) -> Option<ServerId> {
        let Doubt { sure, unsure, .. } = self.comparing.doubt.as_ref()?;
        let membership = self.raft.membership();
        self.raft
            .progress()
            .into_iter()
            .filter(|peer| peer.is_connected && membership.may_lead(peer.peer))
            .filter(|peer| !unsure.contains(&peer.peer))
            // Of equals the one with the lowest id, so that the choice is the same each time.
            .max_by_key(|peer| {
                let is_sure = sure.contains(&peer.peer);
                (is_sure, peer.persisted, peer.received, std::cmp::Reverse(peer.peer))
            })
            .map(|peer| peer.peer)
    }

    /// A connection has ended, and what was to come on it will not.
    pub(in crate::replica) fn state_lost_with(&mut self, peer: ServerId) {
        if let Some(doubt) = &mut self.comparing.doubt {
            doubt.asks_again(peer);
        }
    }

    /// A server in doubt asks for this leader's state.
    fn state_wanted(&mut self, from: ServerId) {
        let is_known = self.raft.membership().servers().contains(&from);
        if self.raft.role() != Role::Leader || !is_known {
            return;
        }
        if let Some(doubt) = &mut self.comparing.doubt {
            doubt.unsure.insert(from);
            return;
        }
        let (term, snapshot) = (self.raft.term(), self.snapshot());
        let message = Message::Snapshot { term, snapshot };
        self.outputs.push_back(Output::Send { to: from, message });
    }

    /// Whether a state that Raft has no need of is wanted all the same: this server has all the
    /// entries, and made another state of them.
    pub(in crate::replica) fn wants_state(
        &mut self,
        from: ServerId,
        term: Term,
        meta: &SnapshotMeta,
    ) -> bool {
        let Some(doubt) = &mut self.comparing.doubt else { return false };
        if self.raft.leader() != Some(from) || self.raft.term() != term {
            return false;
        }
        let EntryId { term: last_term, index } = meta.last;
        let is_of_log = self.raft.term_at(index) == Some(last_term) && index <= self.raft.commit();
        if index < doubt.applied || !is_of_log || self.raft.repair().is_some() {
            // It is not as far yet.
            doubt.asks_again(from);
            return false;
        }
        true
    }

    /// A state is durable that ends before what is applied here: puts it in force, with the entries
    /// since, if this server is in doubt about its own; whether it does. Of these entries nobody
    /// hears again.
    #[must_use]
    pub(in crate::replica) fn mend(&mut self, snapshot: &Snapshot) -> bool {
        let from = snapshot.meta.last.index;
        let is_fit =
            |doubt: &Doubt| from >= doubt.applied && self.raft.first_index() <= from.next();
        if !self.comparing.doubt.as_ref().is_some_and(is_fit) {
            return false;
        }
        let mut rebuilt = Rebuilt::new(Some(snapshot.clone()));
        for index in from.0 + 1..=self.applied.index.0 {
            let entry = self.raft.entry(Index(index)).expect("what is behind the snapshot is here");
            rebuilt.apply(entry);
        }
        let (db, meta) = rebuilt.into_parts();
        assert_eq!(meta.last, self.applied, "the same entries");
        self.jump_to(db, meta);
        true
    }

    /// Another state is in force, as it is after `meta.last`.
    pub(in crate::replica) fn jump_to(&mut self, db: Database, meta: SnapshotMeta) {
        // Clients come back with their watches, and are told what has changed.
        self.close_all(CloseReason::Resynchronized);
        self.db = db;
        self.applied = meta.last;
        self.membership = meta.membership;
        self.change_out_of_sight();
        self.locals_jumped();
        let db = &self.db;
        self.deeds.jumped(|session| db.session(session).map(|known| known.token));
        self.restoring_jumped();
        self.digests.clear();
        self.comparing.told = None;
    }

    /// A leader's state is in force, whose last entry is `from`: what this server shows is right
    /// again, and what it has kept of before is not to be trusted.
    pub(in crate::replica) fn is_mended(&mut self, from: EntryId) {
        let Some(doubt) = self.comparing.doubt.take_if(|doubt| from.index >= doubt.applied) else {
            return;
        };
        drop(doubt);
        self.outputs.push_back(Output::Trust { from: from.index });
        let alarm = Alarm::Mended { from, applied: self.applied.index };
        self.outputs.push_back(Output::Alarm(alarm));
        if self.upkeep.is_serving() {
            self.locals.go_on(self.now.instant);
        }
    }
}
