//! Sessions that live on this server alone, and the lane by which their writes reach the log.
//!
//! Invariants: what is in the lane stays there until it is applied, whatever becomes of its client,
//! and goes to each new leader in the same order; so no write of a session's former connection
//! lands after one of the next. Ids come with the lane, so that none is ever given twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::db::{Action, Author, LANE_IDS, Lane, LocalWork};
use crate::id::{ConnId, Nonce, Sequence, ServerId, SessionId, Token};
use crate::session::Expiry;
use crate::time::Instant;

/// What this server alone knows of sessions.
#[derive(Debug)]
pub(super) struct Locals {
    server: ServerId,
    sessions: BTreeMap<SessionId, LocalSession>,
    pub(super) expiry: Expiry,
    /// Connections that wait for the lane, or for what their session's former one left in it.
    waiting: BTreeSet<ConnId>,
    phase: Phase,
    /// The last sequence given under the token.
    sequence: Sequence,
    line: VecDeque<Carried>,
    line_bytes: usize,
    /// How many of a session's are in the line.
    in_line: BTreeMap<SessionId, usize>,
    /// Counts attachments of local sessions.
    attachments: i64,
    /// The first of the ids that were taken with the lane, and how many of them are given.
    ids: (SessionId, i64),
    /// The first id given in read-only mode since that began, and the last.
    read_only_ids: Option<(SessionId, SessionId)>,
    /// Since when nobody is served, if clients were served before.
    unserved_since: Option<Instant>,
}

/// One session that only this server knows.
#[derive(Clone, Debug)]
pub(super) struct LocalSession {
    pub(super) password: [u8; 16],
    pub(super) timeout_ms: i32,
    /// Made in read-only mode, and gone with it.
    pub(super) read_only: bool,
}

/// How far the lane is.
#[derive(Debug)]
enum Phase {
    Closed,
    Asked { action: Action, nonce: Nonce, sent: Instant },
    Open(Token),
}

/// Something in the lane.
#[derive(Debug)]
struct Carried {
    conn: ConnId,
    action: Action,
    sent: Instant,
}

/// Something of the lane that is applied: which connection waits for it, and as which of its
/// writes.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) conn: ConnId,
    pub(super) sequence: Sequence,
}

/// What the lane holds, at most; beyond it a connection is cut. Far more than all connections
/// together have while the server reads from them.
const MAX_CARRIED: usize = 20_000;
const MAX_CARRIED_BYTES: usize = 256 << 20;

impl Locals {
    pub(super) fn new(server: ServerId) -> Self {
        Locals {
            server,
            sessions: BTreeMap::new(),
            expiry: Expiry::new(),
            waiting: BTreeSet::new(),
            phase: Phase::Closed,
            sequence: Sequence(0),
            line: VecDeque::new(),
            line_bytes: 0,
            in_line: BTreeMap::new(),
            attachments: 0,
            ids: (SessionId(0), LANE_IDS),
            read_only_ids: None,
            unserved_since: None,
        }
    }

    pub(super) fn get(&self, session: SessionId) -> Option<&LocalSession> {
        self.sessions.get(&session)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// All of them, ascending by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &LocalSession)> {
        self.sessions.iter().map(|(&id, session)| (id, session))
    }

    /// A session, new or with another timeout, was heard from.
    pub(super) fn put(&mut self, id: SessionId, session: LocalSession, now: Instant) {
        self.expiry.touch(id, session.timeout_ms, now);
        if session.read_only {
            let first = self.read_only_ids.map_or(id, |(first, _)| first);
            self.read_only_ids = Some((first, id.max(first)));
        }
        self.sessions.insert(id, session);
    }

    pub(super) fn touch(&mut self, id: SessionId, heard: Instant) {
        if let Some(session) = self.sessions.get(&id) {
            self.expiry.touch(id, session.timeout_ms, heard);
        }
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        self.expiry.remove(id);
        self.sessions.remove(&id);
    }

    /// Read-only mode has ended, and its sessions with it.
    pub(super) fn end_read_only(&mut self) {
        let ended: Vec<SessionId> =
            self.iter().filter(|(_, session)| session.read_only).map(|(id, _)| id).collect();
        ended.into_iter().for_each(|id| self.remove(id));
        self.read_only_ids = None;
    }

    /// Whether the id was given in read-only mode, and not before that began.
    pub(super) fn is_of_read_only(&self, id: SessionId) -> bool {
        self.read_only_ids.is_some_and(|(first, last)| (first..=last).contains(&id))
    }

    /// Nobody is served any more.
    pub(super) fn pause(&mut self, now: Instant) {
        self.unserved_since.get_or_insert(now);
    }

    /// Clients are served again: the time in which nobody was counts against no one. More they do
    /// not get, or a server that loses its leader again and again would keep the sessions of the
    /// dead for ever.
    pub(super) fn go_on(&mut self, now: Instant) {
        if let Some(since) = self.unserved_since.take() {
            self.expiry.shift(now - since);
        }
    }

    /// A token that no attachment of a local session had: below every zxid of a served ensemble,
    /// which are beyond the first epoch.
    pub(super) fn next_token(&mut self) -> Token {
        self.attachments += 1;
        Token(self.attachments)
    }

    pub(super) fn wait(&mut self, conn: ConnId) {
        self.waiting.insert(conn);
    }

    pub(super) fn wait_no_longer(&mut self, conn: ConnId) {
        self.waiting.remove(&conn);
    }

    pub(super) fn waiting(&self) -> Vec<ConnId> {
        self.waiting.iter().copied().collect()
    }
}

/// The lane.
impl Locals {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether `token` is that of the lane, or it is not taken up.
    pub(super) fn is_of(&self, token: Token) -> bool {
        !matches!(self.phase, Phase::Open(own) if own != token)
    }

    /// Whether this process has taken the lane up under this token.
    pub(super) fn holds(&self, token: Token) -> bool {
        matches!(self.phase, Phase::Open(own) if own == token)
    }

    /// Whether nobody has asked for it.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Asks for the lane: the action to be sent.
    pub(super) fn enroll(
        &mut self,
        first: SessionId,
        replaces: Token,
        nonce: Nonce,
        now: Instant,
    ) -> Action {
        let action = Action::Enroll { server: self.server, first, replaces, nonce };
        self.phase = Phase::Asked { action: action.clone(), nonce, sent: now };
        action
    }

    /// An id that no session ever had, of those that came with the lane; `None` if all are given.
    pub(super) fn next_id(&mut self) -> Option<SessionId> {
        let (first, given) = &mut self.ids;
        *given += 1;
        (*given <= LANE_IDS).then(|| SessionId(first.0 + *given - 1))
    }

    /// Somebody took up this server's lane by the attempt `nonce`. Whether it was another process:
    /// then the lane is lost, and what was in it.
    pub(super) fn enrolled(&mut self, nonce: Nonce, token: Token) -> bool {
        match &self.phase {
            Phase::Asked { action: Action::Enroll { first, .. }, nonce: own, .. }
                if *own == nonce =>
            {
                self.ids = (*first, 0);
                self.phase = Phase::Open(token);
                self.sequence = Sequence(0);
                false
            }
            Phase::Open(_) => true,
            // The attempt under way is overtaken, and will be told so.
            Phase::Closed | Phase::Asked { .. } => false,
        }
    }

    /// An attempt was overtaken: whether it was the one under way.
    pub(super) fn overtaken(&mut self, nonce: Nonce) -> bool {
        let is_own = matches!(&self.phase, Phase::Asked { nonce: own, .. } if *own == nonce);
        if is_own {
            self.phase = Phase::Closed;
        }
        is_own
    }

    /// The lane is lost, and what was in it; the sessions, too.
    pub(super) fn lose(&mut self) {
        let fresh = Locals::new(self.server);
        let (attachments, waiting) = (self.attachments, std::mem::take(&mut self.waiting));
        *self = Locals { attachments, waiting, ..fresh };
    }

    /// Whether no more fits in.
    pub(super) fn is_full(&self) -> bool {
        self.line.len() >= MAX_CARRIED || self.line_bytes >= MAX_CARRIED_BYTES
    }

    /// Whether something of `session` is in the line.
    pub(super) fn carries(&self, session: SessionId) -> bool {
        self.in_line.contains_key(&session)
    }

    /// Puts something of a local session into the lane: the action to be sent.
    ///
    /// # Panics
    /// If the lane is not open: sessions are made when it is.
    pub(super) fn carry(
        &mut self,
        conn: ConnId,
        author: Author,
        work: LocalWork,
        now: Instant,
    ) -> Action {
        let Phase::Open(token) = self.phase else {
            panic!("a local session writes without a lane")
        };
        self.sequence = Sequence(self.sequence.0 + 1);
        *self.in_line.entry(author.session).or_default() += 1;
        let lane = Lane { server: self.server, token, sequence: self.sequence };
        let action = Action::Local { lane, author, work };
        self.line_bytes += action.size_bytes();
        self.line.push_back(Carried { conn, action: action.clone(), sent: now });
        action
    }

    /// What stands at this place in the lane is applied: takes it off the line. `None` if it is of
    /// another process.
    pub(super) fn deliver(&mut self, lane: Lane) -> Option<Delivered> {
        let Phase::Open(token) = self.phase else { return None };
        if lane.server != self.server || lane.token != token {
            return None;
        }
        let front = self.line.front().map(|carried| carried.lane().sequence);
        assert_eq!(front, Some(lane.sequence), "what is applied is first in the lane");
        self.take_first()
    }

    /// The state has jumped to one in which this much of the lane is applied. The sessions of
    /// which something was, and whether that was an upgrade.
    pub(super) fn jump(&mut self, token: Token, sequence: Sequence) -> Vec<(SessionId, bool)> {
        let mut passed = Vec::new();
        while let Some(first) = self.line.front()
            && first.lane().token == token
            && first.lane().sequence <= sequence
        {
            let Action::Local { author, work, .. } = &first.action else { unreachable!() };
            passed.push((author.session, matches!(work, LocalWork::Upgrade { .. })));
            self.take_first();
        }
        passed
    }

    /// Everything that is not applied, in order, if the first of it left before `before`; marks it
    /// as sent `now`. Ends when `room` bytes are used up, as for a connection's own line.
    pub(super) fn resend(
        &mut self,
        before: Instant,
        now: Instant,
        room: &mut usize,
    ) -> Vec<Action> {
        let mut again = Vec::new();
        if let Phase::Asked { action, sent, .. } = &mut self.phase
            && *sent <= before
        {
            *sent = now;
            again.push(action.clone());
        }
        for (n, carried) in self.line.iter_mut().enumerate() {
            if *room == 0 || (n == 0 && carried.sent > before) {
                break;
            }
            *room = room.saturating_sub(carried.action.size_bytes());
            carried.sent = now;
            again.push(carried.action.clone());
        }
        if mutated!(CarriedAnew if self.number_anew()) {
            again = self.line.iter().map(|carried| carried.action.clone()).collect();
        }
        again
    }

    fn take_first(&mut self) -> Option<Delivered> {
        let Carried { conn, action, .. } = self.line.pop_front()?;
        self.line_bytes -= action.size_bytes();
        let Action::Local { author, .. } = action else { return None };
        let session = author.session;
        let left = self.in_line.get_mut(&session).expect("what is in the line is counted");
        *left -= 1;
        if *left == 0 {
            self.in_line.remove(&session);
        }
        Some(Delivered { conn, sequence: author.sequence })
    }

    /// What a mutant does: gives new numbers to what may have been let in already.
    #[cfg(feature = "mutants")]
    fn number_anew(&mut self) -> bool {
        for carried in &mut self.line {
            self.sequence = Sequence(self.sequence.0 + 1);
            if let Action::Local { lane, .. } = &mut carried.action {
                lane.sequence = self.sequence;
            }
        }
        !self.line.is_empty()
    }
}

impl Carried {
    fn lane(&self) -> Lane {
        let Action::Local { lane, .. } = &self.action else {
            unreachable!("nothing but what is local is carried")
        };
        *lane
    }
}
