//! A server whose disk has lost a part of its log gets it back (`docs/repair.md`; Alagappan et al.,
//! FAST 2018).
//!
//! Invariant: until the log is whole again, durably, this server neither votes nor stands nor
//! acknowledges, and it changes nothing on its disk but by a snapshot. An entry is taken over only
//! if it is shown to be a predecessor of one that this log has (log matching, Raft §5.3), or if a
//! leader of a later term, elected without this server, gives its own state in the log's place.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Damage, Effect, SnapshotMeta};
use super::entry::{Command, SharedEntry};
use super::log::Log;
use super::membership::{Membership, Memberships};
use super::message::{Body, Message};
use super::position::{EntryId, Index, Term};
use super::state::State;
use super::{BEYOND_REACH, quorum, replication};
use crate::id::ServerId;
use crate::time::Instant;

mod answer;
mod first_start;
mod pieces;

pub use first_start::FirstStart;

use answer::{asked, state_asked};
use first_start::Asking;
use pieces::Pieces;

/// What servers say to each other when the disk of one has lost something. Whether this server has
/// to open a term for it.
pub(super) fn step<C: Command>(
    state: &mut State<C>,
    now: Instant,
    (from, term): (ServerId, Term),
    body: Body<C>,
) -> bool {
    if body.indices_of_repair().any(|index| index.0 >= BEYOND_REACH) {
        return false;
    }
    match body {
        Body::Seek { after, names } => asked(state, now, from, after, &names),
        Body::Found { after, name, matched, entries } => {
            found(state, now, (from, term), (after, name, matched), entries);
        }
        Body::NotFound { has_snapshot, leads } => {
            not_found(state, now, (from, term), has_snapshot, leads);
        }
        Body::SeekState { after, wants_leader } => {
            return state_asked(state, from, term, after, wants_leader);
        }
        Body::AskIfNew { round } => first_start::asked(state, from, round),
        Body::IfNew { round, blank } => {
            first_start::answered(state, now, (from, term), round, blank);
        }
        _ => unreachable!("branched off by whoever calls"),
    }
    false
}

/// What is to be known of a repair under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairStatus {
    /// Entries that are lost or in doubt, as ranges, ascending; the first few.
    pub lost: Vec<(Index, Index)>,
    /// How many entries are lost or in doubt.
    pub n_lost: u64,
    /// Entries after the last known one may have been lost, too.
    pub is_end_lost: bool,
    /// Term and vote are not known.
    pub is_vote_lost: bool,
    /// Servers of the ensemble that have not answered the present question.
    pub waits_for: Vec<ServerId>,
    /// All servers have answered, and nobody had what is lost.
    pub is_nowhere: bool,
    /// Nothing was ever written on this server's disk: it does not know whether it is new.
    pub first_start: Option<FirstStart>,
}

/// A repair under way.
#[derive(Clone, Debug)]
pub(super) struct Repair<C> {
    pieces: Pieces<C>,
    is_end_lost: bool,
    is_vote_lost: bool,
    /// What others said to the present question, and could not help.
    answers: BTreeMap<ServerId, Answer>,
    /// The first term heard of each, since this life began; 0 of one that does not know its own.
    terms: BTreeMap<ServerId, Term>,
    next_ask: Instant,
    /// Whom a snapshot was asked for, and how long it may take.
    state_from: Option<StateFrom>,
    /// A leader's own state that was accepted: its last entry, of that leader's term; and the
    /// leader, if it is to have the vote of that term.
    authority: Option<(EntryId, Option<ServerId>)>,
    /// A snapshot was accepted and is on its way to the disk; no other is meanwhile, and the log is
    /// not written: the state would be of one snapshot and the log of another.
    is_installing: bool,
    /// Nothing was ever written on the disk: what the others say of that.
    asking: Option<Asking>,
    /// All is whole and on its way to the disk.
    is_writing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    term: Term,
    has_snapshot: bool,
    leads: bool,
}

/// Who was asked for a state.
#[derive(Clone, Copy, Debug)]
struct StateFrom {
    server: ServerId,
    /// The term that it was in.
    term: Term,
    /// How long that may take.
    until: Instant,
}

/// Ranges that a status names.
const MAX_RANGES: usize = 8;
/// Names of one question.
const MAX_NAMES: usize = 64;

impl<C: Command> Repair<C> {
    /// What storage found: `entries` behind `meta`, and behind those the damage.
    pub(super) fn new(meta: SnapshotMeta, entries: &[SharedEntry<C>], damage: Damage<C>) -> Self {
        let (is_end_lost, is_vote_lost) = (damage.is_end_lost, damage.is_vote_lost);
        Repair {
            pieces: Pieces::new(meta, entries, damage),
            is_end_lost,
            is_vote_lost,
            answers: BTreeMap::new(),
            terms: BTreeMap::new(),
            next_ask: Instant::ZERO,
            state_from: None,
            authority: None,
            is_installing: false,
            asking: None,
            is_writing: false,
        }
    }

    /// Of a server that may have lost its whole disk. `round` names its questions.
    pub(super) fn of_blank(meta: SnapshotMeta, round: u64) -> Self {
        Repair {
            pieces: Pieces::only(meta),
            is_end_lost: true,
            is_vote_lost: true,
            answers: BTreeMap::new(),
            terms: BTreeMap::new(),
            next_ask: Instant::ZERO,
            state_from: None,
            authority: None,
            is_installing: false,
            asking: Some(Asking::new(round)),
            is_writing: false,
        }
    }

    /// Whether the whole log is on its way to the disk.
    pub(super) fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// When to ask again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.is_writing).then_some(self.next_ask)
    }

    /// Whether only a leader's state helps, whatever else is whole.
    fn needs_leader(&self) -> bool {
        self.is_end_lost || self.is_vote_lost
    }

    fn is_ready(&self) -> bool {
        self.pieces.is_whole() && !self.needs_leader() && !self.is_installing
    }
}

/// The time has come to ask, if it has.
pub(super) fn wake<C: Command>(state: &mut State<C>, now: Instant) {
    let Some(repair) = &state.repair else { return };
    if repair.is_writing || now < repair.next_ask {
        return;
    }
    if repair.is_ready() {
        // What storage doubted, the terms of the entries around it have decided.
        return finish(state, now);
    }
    ask_for_state(state, now, true);
    let pause = state.config.election_timeout / 2;
    let Some(repair) = &mut state.repair else { return };
    repair.next_ask = now + pause;
    repair.answers.clear();
    let peers: Vec<ServerId> = state.connected.iter().copied().collect();
    peers.into_iter().for_each(|peer| ask(state, peer));
}

/// Asks `peer` for what comes first of what is lost.
pub(super) fn ask<C: Command>(state: &mut State<C>, peer: ServerId) {
    let Some(repair) = &state.repair else { return };
    if repair.is_writing || peer == state.id() {
        return;
    }
    let (after, names) = (repair.pieces.whole(), repair.pieces.names(MAX_NAMES));
    send(state, peer, Body::Seek { after, names });
    first_start::ask(state, peer);
}

/// `from` has entries.
pub(super) fn found<C: Command>(
    state: &mut State<C>,
    now: Instant,
    (from, term): (ServerId, Term),
    (after, name, matched): (EntryId, EntryId, Option<EntryId>),
    entries: Vec<SharedEntry<C>>,
) {
    hear_term(state, from, term);
    let Some(repair) = &mut state.repair else { return };
    if repair.is_writing || !repair.pieces.take(after, name, matched, entries) {
        return;
    }
    repair.answers.clear();
    repair.state_from = None;
    if repair.is_ready() {
        finish(state, now);
    } else {
        ask(state, from);
    }
}

/// `from` could not help with entries.
pub(super) fn not_found<C: Command>(
    state: &mut State<C>,
    now: Instant,
    (from, term): (ServerId, Term),
    has_snapshot: bool,
    leads: bool,
) {
    hear_term(state, from, term);
    let Some(repair) = &mut state.repair else { return };
    // It was asked to open a new term, and has: its state is of use now.
    repair.state_from.take_if(|asked| leads && asked.server == from && asked.term < term);
    repair.answers.insert(from, Answer { term, has_snapshot, leads });
    ask_for_state(state, now, false);
}

/// The connection to `peer` broke: what it was to send will not come.
pub(super) fn lost_peer<C: Command>(state: &mut State<C>, peer: ServerId) {
    if let Some(repair) = &mut state.repair {
        repair.answers.remove(&peer);
        repair.state_from.take_if(|asked| asked.server == peer);
        if let Some(asking) = &mut repair.asking {
            asking.lost(peer);
        }
    }
}

/// Notes the first term that is heard of `from`: later ones may be of the election that this
/// server asks for.
fn hear_term<C: Command>(state: &mut State<C>, from: ServerId, term: Term) {
    if let Some(repair) = &mut state.repair {
        let heard = repair.terms.entry(from).or_insert(term);
        // It has repaired itself meanwhile.
        *heard = if *heard == Term(0) { term } else { *heard };
    }
}

/// When entries are not to be had: a snapshot of anyone that covers the gap, or the state of a
/// leader. `is_late`: who has not answered by now is not waited for.
fn ask_for_state<C: Command>(state: &mut State<C>, now: Instant, is_late: bool) {
    let own = state.id();
    let Some(repair) = &state.repair else { return };
    let is_asked = repair.state_from.is_some_and(|asked| now < asked.until);
    let is_waiting = is_asked || repair.is_installing;
    let is_answered = |peer: &ServerId| *peer == own || repair.answers.contains_key(peer);
    if repair.is_writing || is_waiting || !(is_late || state.connected.iter().all(is_answered)) {
        return;
    }
    let leader = repair.answers.iter().find(|(_, answer)| answer.leads).map(|(peer, _)| *peer);
    let any = repair.answers.iter().find(|(_, answer)| answer.has_snapshot).map(|(peer, _)| *peer);
    let is_covered = !repair.needs_leader() && any.is_some();
    // Who leads has what is agreed, and the newest of it.
    let leader_has = leader.filter(|peer| repair.answers[peer].has_snapshot);
    let to = if is_covered { leader_has.or(any) } else { leader };
    let Some(to) = to else { return };
    let after = repair.pieces.whole();
    let patience = state.config.snapshot_timeout.min(4 * state.config.election_timeout);
    let is_sure = !repair.is_vote_lost || threshold(state, None).is_some();
    // Until the terms of all voters are known, a leader answers those that have no vote alone.
    let until = now + if is_sure { patience } else { state.config.election_timeout / 2 };
    let term = repair.answers[&to].term;
    if let Some(repair) = &mut state.repair {
        repair.state_from = Some(StateFrom { server: to, term, until });
    }
    send(state, to, Body::SeekState { after, wants_leader: !is_covered });
}

/// The term that a leader must be beyond to have been elected without this server; `None` if that
/// is not known yet. `meta` may name further voters.
///
/// Whoever got a vote of this server has stood in that term itself, durably, and is a voter that
/// has weight. So the terms of all others of that kind, asked in this life, are not below any in
/// which it voted for one that remembers. One that does not remember either stands no more; if it
/// was elected in that term, then by a quorum, and one of that is among those that remember, if
/// these are a quorum.
fn threshold<C: Command>(state: &State<C>, meta: Option<&SnapshotMeta>) -> Option<Term> {
    let repair = state.repair.as_ref()?;
    if !repair.is_vote_lost {
        return Some(state.term);
    }
    let own = state.id();
    let set = meta.and_then(|meta| meta.membership.as_ref()).map(|(_, membership)| membership);
    let memberships = [Some(&state.config.membership), Some(state.membership()), set];
    let memberships: Vec<&Membership> = memberships.into_iter().flatten().collect();
    let voters: BTreeSet<ServerId> = memberships
        .iter()
        .flat_map(|it| it.voters.iter().chain(&it.outgoing).filter(|id| it.may_lead(**id)))
        .filter(|server| **server != own)
        .copied()
        .collect();
    let remembers = |server| repair.terms.get(&server).is_some_and(|term| *term > Term(0));
    let is_quorum = memberships.iter().all(|it| quorum::is_quorum(it, remembers));
    let terms: Option<Vec<Term>> =
        voters.iter().map(|voter| repair.terms.get(voter).copied()).collect();
    let terms = terms.filter(|_| is_quorum)?;
    Some(terms.into_iter().fold(state.term, Term::max))
}

/// Says something in this server's own term, or in none if it does not know it.
fn send<C: Command>(state: &mut State<C>, to: ServerId, body: Body<C>) {
    let is_lost = state.repair.as_ref().is_some_and(|repair| repair.is_vote_lost);
    let term = match &body {
        // Beyond which a leader is to be believed.
        Body::SeekState { .. } => threshold(state, None).unwrap_or_default(),
        _ if is_lost => Term(0),
        _ => state.term,
    };
    state.outbox.effects.push_back(Effect::Send { to, message: Message { term, body } });
}

/// A snapshot up to `meta.last` has come from a server that leads `term`, or that does not say so
/// (0). Whether it is of use.
pub(super) fn accepts<C: Command>(
    state: &mut State<C>,
    from: ServerId,
    term: Term,
    meta: &SnapshotMeta,
) -> bool {
    let is_later = threshold(state, Some(meta)).is_some_and(|threshold| term > threshold);
    let membership = meta.membership.as_ref().map(|(_, membership)| membership);
    let is_beyond = is_later || first_start::shows_no_vote(state, term, membership);
    let Some(repair) = &mut state.repair else { return false };
    // A state that is in force does not go back: one without a vote may be sent an old one.
    let is_older = meta.last.index < repair.pieces.base().index;
    if repair.is_writing || repair.is_installing || is_older {
        return false;
    }
    // It ends with an entry that this leader has committed in its own term: its log has all that
    // this server ever helped to commit.
    let is_authority = is_beyond && meta.last.term == term;
    let covers = meta.last.index > repair.pieces.whole().index && !repair.pieces.is_whole();
    if is_authority {
        repair.authority = Some((meta.last, (!is_later).then_some(from)));
    }
    repair.is_installing = is_authority || (covers && !repair.needs_leader());
    repair.is_installing
}

/// A snapshot that was accepted is durable and in force.
pub(super) fn installed<C: Command>(state: &mut State<C>, now: Instant, meta: SnapshotMeta) {
    let Some(repair) = &mut state.repair else { return };
    if repair.is_writing {
        return;
    }
    repair.is_installing = false;
    let last = meta.last;
    let authority = repair.authority.filter(|(authority, _)| *authority == last);
    let was_vote_lost = repair.is_vote_lost;
    if authority.is_some() {
        // The leader's term is one in which this server has not voted.
        repair.pieces = Pieces::only(meta);
        (repair.is_end_lost, repair.is_vote_lost) = (false, false);
    } else {
        repair.pieces.rebase(meta);
    }
    repair.state_from = None;
    repair.answers.clear();
    repair.next_ask = now;
    if last.term > state.term {
        (state.term, state.vote) = (last.term, None);
    }
    if let Some((_, Some(leader))) = authority.filter(|_| was_vote_lost) {
        // It leads a term that this server may have been in: nobody else gets its vote there.
        state.vote = Some(leader);
    }
    if state.repair.as_ref().is_some_and(Repair::is_ready) {
        finish(state, now);
    }
}

/// All is whole: makes it the log, and durable.
fn finish<C: Command>(state: &mut State<C>, now: Instant) {
    let Some(repair) = &mut state.repair else { return };
    assert!(repair.is_ready(), "nothing is missing");
    repair.is_writing = true;
    let (meta, entries) = repair.pieces.hand_over();
    let base = meta.last.index;
    let (set_at, membership) =
        meta.membership.clone().unwrap_or_else(|| (Index::ZERO, state.config.membership.clone()));
    state.memberships = Memberships::new(set_at, membership);
    state.memberships.note_all(&entries);
    state.log = Log::rewritten(meta, entries);
    let last = state.log.last();
    if last.term > state.term {
        (state.term, state.vote) = (last.term, None);
    }
    (state.matched, state.commit, state.delivered) = (base, base, base);
    state.outbox.hard_state_changed();
    state.redraw_election(now);
}

/// Storage has done something. Whether the repair is over by that.
pub(super) fn persisted<C: Command>(state: &mut State<C>, now: Instant) -> bool {
    let gate = state.outbox.hard_gate();
    let is_over =
        state.repair.as_ref().is_some_and(|it| it.is_writing) && state.outbox.is_completed(gate);
    if is_over {
        let is_first_start = state.log.last() == EntryId::default();
        state.repairs_done += u64::from(!is_first_start);
        state.repair = None;
        state.redraw_election(now);
    }
    is_over
}

/// What is to be known of it.
pub(super) fn status<C: Command>(state: &State<C>) -> Option<RepairStatus> {
    let repair = state.repair.as_ref()?;
    let own = state.id();
    let servers = state.membership().servers();
    let is_silent = |server: &ServerId| !repair.answers.contains_key(server) && *server != own;
    let (lost, n_lost) = repair.pieces.lost(MAX_RANGES);
    let waits_for: Vec<ServerId> = servers.into_iter().filter(is_silent).collect();
    let has_hope = repair.answers.values().any(|it| it.has_snapshot || it.leads);
    Some(RepairStatus {
        lost,
        n_lost,
        is_end_lost: repair.is_end_lost,
        is_vote_lost: repair.is_vote_lost,
        is_nowhere: waits_for.is_empty() && !has_hope && !repair.is_writing,
        waits_for,
        first_start: first_start::status(state),
    })
}

/// Whether a server by itself is a quorum.
pub(super) fn is_alone<C: Command>(state: &State<C>) -> bool {
    quorum::is_quorum(state.membership(), |server| server == state.id())
}

/// Whether this leader has applied an entry that it has committed in its own term.
fn has_own_applied<C: Command>(state: &State<C>) -> bool {
    replication::has_own_commit(state) && state.log.term_at(state.delivered) == Some(state.term)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Config, Entry, HardState, Payload, Raft, Recovered, Role};
    use super::*;
    use crate::id::Seed;

    const NOW: Instant = Instant::ZERO;
    const LEADER: ServerId = ServerId(1);
    const OTHER: ServerId = ServerId(3);

    fn id(term: u64, index: u64) -> EntryId {
        EntryId { term: Term(term), index: Index(index) }
    }

    fn snapshot(term: u64, index: u64) -> SnapshotMeta {
        let mut membership = Membership::of_voters([LEADER, OTHER]);
        membership.learners = [ServerId(2)].into();
        SnapshotMeta { last: id(term, index), membership: Some((Index(1), membership)) }
    }

    fn entry(term: u64, index: u64) -> SharedEntry<u64> {
        Arc::new(Entry { id: id(term, index), payload: Payload::Command(index) })
    }

    /// A log that ends with `last`, of which `behind` is whole and only names are left of `named`.
    fn hole(behind: Vec<SharedEntry<u64>>, named: Vec<EntryId>, last: EntryId) -> Damage<u64> {
        let (seams, is_end_lost, is_vote_lost) = (BTreeSet::new(), false, false);
        Damage { behind, named, seams, last, is_end_lost, is_vote_lost }
    }

    fn server(recovered: Recovered<u64>) -> Raft<u64> {
        let mut config = Config::new(ServerId(2), Membership::of_voters([1, 2, 3].map(ServerId)));
        config.may_be_wiped = true;
        let mut raft = Raft::new(NOW, config, Seed([0; 32]), recovered);
        raft.peer_up(NOW, LEADER);
        raft.peer_up(NOW, OTHER);
        raft
    }

    fn hear(raft: &mut Raft<u64>, from: ServerId, term: u64, body: Body<u64>) {
        raft.step(NOW, from, Message { term: Term(term), body });
    }

    /// Everything that storage is asked for becomes durable. What came out as committed.
    fn write_all(raft: &mut Raft<u64>) -> Vec<Index> {
        let mut committed = Vec::new();
        while let Some(effect) = raft.poll(NOW) {
            match effect {
                Effect::Persist(persist) => raft.persisted(NOW, persist.ticket),
                Effect::Committed(entries) => {
                    committed.extend(entries.iter().map(|it| it.id.index))
                }
                _ => {}
            }
        }
        committed
    }

    #[test]
    fn a_leader_that_sends_its_state_twice_ends_the_repair_with_the_first_that_is_durable() {
        let mut wiped = server(Recovered::default());
        for (from, term, leads) in [(OTHER, 3, false), (LEADER, 4, true)] {
            hear(&mut wiped, from, term, Body::NotFound { has_snapshot: true, leads });
        }
        assert!(wiped.accepts_snapshot(NOW, LEADER, Term(4), &snapshot(4, 446)), "as to a learner");
        // The one that it had asked for comes while the first is on its way to the disk.
        assert!(!wiped.accepts_snapshot(NOW, LEADER, Term(4), &snapshot(4, 447)));
        wiped.installed(NOW, snapshot(4, 446));
        write_all(&mut wiped);
        assert_eq!(wiped.repair(), None);
        assert_eq!((wiped.commit(), wiped.last()), (Index(446), id(4, 446)));
    }

    #[test]
    fn a_learner_under_repair_takes_no_state_that_is_older_than_its_own() {
        let damage = hole(vec![entry(4, 9)], vec![id(4, 8)], id(4, 9));
        let hard_state = HardState { term: Term(4), vote: None };
        let recovered = Recovered { hard_state, snapshot: snapshot(4, 7), ..Recovered::default() };
        let mut damaged = server(Recovered { damage: Some(damage), ..recovered });
        for (from, leads) in [(OTHER, false), (LEADER, true)] {
            hear(&mut damaged, from, 4, Body::NotFound { has_snapshot: true, leads });
        }
        assert!(!damaged.accepts_snapshot(NOW, LEADER, Term(4), &snapshot(4, 5)));
        assert!(damaged.accepts_snapshot(NOW, LEADER, Term(4), &snapshot(4, 8)));
    }

    #[test]
    fn a_seam_that_the_terms_around_it_close_needs_nobody() {
        let seams = [Index(2)].into();
        let behind = vec![entry(1, 2), entry(1, 3)];
        let damage = Damage { seams, ..hole(behind, Vec::new(), id(1, 3)) };
        let hard_state = HardState { term: Term(1), vote: None };
        let entries = vec![entry(1, 1)];
        let mut damaged =
            server(Recovered { hard_state, entries, damage: Some(damage), ..Recovered::default() });
        damaged.wake(NOW);
        write_all(&mut damaged);
        assert_eq!((damaged.repair(), damaged.last()), (None, id(1, 3)));
    }

    #[test]
    fn entries_that_fill_a_hole_wait_for_the_snapshot_that_is_on_its_way() {
        let damage = hole(vec![entry(1, 3)], vec![id(1, 2)], id(1, 3));
        let hard_state = HardState { term: Term(1), vote: None };
        let entries = vec![entry(1, 1)];
        let mut damaged =
            server(Recovered { hard_state, entries, damage: Some(damage), ..Recovered::default() });
        hear(&mut damaged, OTHER, 1, Body::NotFound { has_snapshot: true, leads: false });
        assert!(damaged.accepts_snapshot(NOW, OTHER, Term(0), &snapshot(1, 2)));
        let (after, name) = (id(1, 1), id(1, 3));
        let entries = vec![entry(1, 2)];
        hear(&mut damaged, LEADER, 1, Body::Found { after, name, matched: Some(after), entries });
        write_all(&mut damaged);
        assert!(damaged.repair().is_some(), "the state is about to become that of the snapshot");
        damaged.installed(NOW, snapshot(1, 2));
        assert_eq!(write_all(&mut damaged), []);
        assert_eq!((damaged.repair(), damaged.commit()), (None, Index(2)));
        assert_eq!((damaged.role(), damaged.last()), (Role::Follower, id(1, 3)));
        hear(&mut damaged, LEADER, 1, Body::Heartbeat { commit: Index(3), round: 1 });
        let (previous, commit, entries) = (id(1, 3), Index(3), Vec::new());
        hear(&mut damaged, LEADER, 1, Body::Append { previous, commit, entries });
        assert_eq!(write_all(&mut damaged), [Index(3)], "nothing that the snapshot holds");
    }
}
