//! The replicated state machine: what a committed txn does.
//!
//! Invariant: the state after an entry follows from the state before it and the entry alone, so
//! every server has the same. Applying is total: whatever a client manages to store or to ask, the
//! worst that comes of it is an error code.

mod change;
mod close;
mod create;
mod delete;
mod eager;
mod image;
mod multi;
mod query;
mod quota;
mod replaced;
mod restore;
mod rules;
#[cfg(test)]
mod tests;
mod txn;
mod update;
mod work;

pub use change::{Applied, Change, ChangeKind, Outcome, Refusal};
pub use image::{
    Image, ImageBuilder, ImageError, ImageNode, NewZnode, Session, SessionRecord, StoredStat,
};
pub use query::Reader;
pub use quota::{Limits, Quota, QuotaEvents, Usage};
pub use replaced::{Differences, Replaced};
pub use restore::{
    MAX_PIECE_BYTES, MAX_RESTORE_BYTES, Prepared, RestoreError, RestoreFacts, RestoreStep,
    RestoredSession,
};
pub use rules::Rules;
pub use txn::{Action, Author, LANE_IDS, Lane, LocalWork, Txn};

use crate::id::{Nonce, Sequence, ServerId, SessionId, Token};
use crate::proto::{
    Acl, AclList, Ensemble, ErrorCode, Id, Identities, Permissions, Read, Response, Text, Write,
    Zxid,
};
use crate::session::{Sessions, is_lane, lane_of, prefix_of};
use crate::time::WallTime;
use crate::tree::{Kind, Tree, Znode};
use restore::Restores;
use work::{Doer, Work};

/// Znodes and sessions after one entry of the log.
#[derive(Debug)]
pub struct Database {
    zxid: Zxid,
    tree: Tree,
    sessions: Sessions,
    restores: Restores,
    /// No part of the state: the former one, if the last entry was the end of a restore.
    replaced: Option<Replaced>,
    /// No part of the state: what this server saw since it was last asked.
    quota_events: QuotaEvents,
    /// No part of the state: where the next entry notes its changes; empty.
    spare: Vec<Change>,
}

/// What `setWatches` compares with what the client has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// The zxid that last set the data, or that of the last restore.
    pub mzxid: i64,
    /// The zxid that last created or deleted a child, or that of the last restore.
    pub pzxid: i64,
}

/// Changes that room is kept for.
const KEPT_CHANGES: usize = 256;
/// Where the description of the ensemble is kept.
const CONFIG_PATH: &str = "/zookeeper/config";

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Database {
    /// The state before the first entry: the reserved znodes and no sessions.
    pub fn new() -> Self {
        let anyone = |permissions| Acl { permissions, id: Id::new("world", "anyone") };
        let open = [anyone(Permissions::ALL)];
        let read = [anyone(Permissions::READ)];
        let stat = StoredStat::default();
        let mut tree = Tree::empty();
        for path in ["/", "/zookeeper", "/zookeeper/quota"] {
            tree.insert(path, NewZnode { data: Some(&[]), acl: &open, stat: &stat }, |_| ());
        }
        // ZooKeeper sets its ACL at "version -1", and stores that.
        let stat = StoredStat { aversion: -1, ..stat };
        tree.insert(CONFIG_PATH, NewZnode { data: Some(&[]), acl: &read, stat: &stat }, |_| ());
        Database::of(Zxid::ZERO, tree, Sessions::default(), Restores::default())
    }

    /// The state of an image.
    pub fn thaw(image: Image) -> Self {
        let zxid = image.zxid();
        let (tree, sessions, restores) = image.thaw();
        Database::of(zxid, tree, sessions, restores)
    }

    fn of(zxid: Zxid, tree: Tree, sessions: Sessions, restores: Restores) -> Self {
        let quota_events = QuotaEvents::default();
        let (replaced, spare) = (None, Vec::new());
        Database { zxid, tree, sessions, restores, replaced, quota_events, spare }
    }

    /// The state as it is now, for a snapshot. Costs a pointer for every 64 znodes; what is changed
    /// afterwards is copied first.
    pub fn freeze(&self) -> Image {
        Image::freeze(self.zxid, &self.tree, &self.sessions, &self.restores)
    }

    /// Does what the entry at `zxid` says.
    ///
    /// # Panics
    /// If `zxid` is not above the last one.
    pub fn apply(&mut self, zxid: Zxid, txn: &Txn) -> Applied {
        self.advance(zxid);
        self.replaced = None;
        let mut changes = std::mem::take(&mut self.spare);
        let has_room = !txn.rules.no_room;
        let outcome = match &txn.action {
            Action::Write { author, write } => self.write(txn, author, write, &mut changes),
            Action::Open { session, password, timeout_ms, nonce } => self.open(Session {
                id: *session,
                password: *password,
                timeout_ms: *timeout_ms,
                token: Token(zxid.0),
                sequence: Sequence(0),
                nonce: *nonce,
            }),
            Action::Attach { session, password, timeout_ms, replaces, nonce } => {
                match self.attach(*session, password, *replaces) {
                    Ok(()) => self.attached(*session, *timeout_ms, *nonce),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            Action::Expire { session, token } => {
                if self.session(*session).is_some_and(|known| known.token == *token) {
                    self.end(txn, *session, &mut changes);
                    Outcome::Expired(*session)
                } else {
                    Outcome::Settled
                }
            }
            Action::Reap { path, unused_ms } => {
                let mut work = self.work(txn, SessionId(0), &[], &mut changes);
                delete::reap(&mut work, path, *unused_ms);
                Outcome::Settled
            }
            Action::Describe { ensemble } => {
                let mut work = self.work(txn, SessionId(0), &[], &mut changes);
                update::describe(&mut work, CONFIG_PATH, ensemble);
                Outcome::Settled
            }
            Action::Enroll { server, first, replaces, nonce } => {
                self.enroll(*server, *first, *replaces, *nonce)
            }
            Action::Local { lane, author, work } => {
                self.local(txn, *lane, author, work, &mut changes)
            }
            Action::BeginRestore { replaces, .. } => self.begin_restore(*replaces, has_room),
            Action::Restore { token, number, step } => {
                self.restore(*token, *number, step, has_room)
            }
            Action::AbandonRestore { token, number } => self.abandon_restore(*token, *number),
        };
        Applied { outcome, changes }
    }

    /// Takes back the list of changes that an entry came with, so that the next one needs no memory
    /// for its own.
    pub fn take_back(&mut self, mut changes: Vec<Change>) {
        changes.clear();
        changes.shrink_to(KEPT_CHANGES);
        self.spare = changes;
    }

    /// Passes an entry that holds no txn.
    ///
    /// # Panics
    /// If `zxid` is not above the last one.
    pub fn skip(&mut self, zxid: Zxid) {
        self.advance(zxid);
    }

    /// The last entry applied or skipped.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Answers a read. Watches are not its business: what only sets or removes them is refused, and
    /// who asks for one with a read sets it when the answer allows.
    ///
    /// # Errors
    /// What the client is to hear.
    pub fn query(&self, reader: &Reader<'_>, read: &Read) -> Result<Response, ErrorCode> {
        query::query(&self.tree, reader, read)
    }

    /// What `setWatches` needs to know of a znode; `None` if it is not there. A restore may have
    /// changed any of them, and left numbers that are older than what a client has seen.
    pub fn stat(&self, path: &str) -> Option<NodeFacts> {
        let stat = self.tree.get(path)?.stat();
        let restored = self.restores.done.0;
        Some(NodeFacts { mzxid: stat.mzxid.max(restored), pzxid: stat.pzxid.max(restored) })
    }

    /// A session, if it has not ended.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(id).filter(|_| !is_lane(id))
    }

    /// Every session, ascending by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(|session| !is_lane(session.id))
    }

    /// The lane of `server`, if it ever had one: whose turn it is of what it puts into the log for
    /// its local sessions.
    pub fn lane(&self, server: ServerId) -> Option<&Session> {
        self.sessions.get(lane_of(server)?)
    }

    /// The attachment in force of a session, or of a lane by its id, and the last write under it.
    pub fn turn(&self, id: SessionId) -> Option<(Token, Sequence)> {
        self.sessions.get(id).map(|known| (known.token, known.sequence))
    }

    /// The largest session id ever opened whose upper byte is `prefix`: the next one is above it.
    pub fn last_session_id(&self, prefix: u8) -> SessionId {
        self.sessions.last_id(prefix)
    }

    /// The same on all servers that have applied the same entries.
    pub fn digest(&self) -> u64 {
        image::digest(self.zxid, &self.tree, &self.sessions, &self.restores)
    }

    /// How many znodes there are, as ZooKeeper counts: the root twice.
    pub fn node_count(&self) -> u64 {
        self.tree.len() as u64 + 1
    }

    /// How many ephemeral znodes there are.
    pub fn ephemeral_count(&self) -> u64 {
        self.tree.n_ephemerals()
    }

    /// Bytes of data, and of paths in UTF-16 units, as ZooKeeper counts: the root's twice.
    pub fn data_bytes(&self) -> u64 {
        self.tree.data_bytes()
    }

    /// The ensemble as it is described at `/zookeeper/config`; empty before that.
    pub fn ensemble(&self) -> Ensemble {
        Ensemble::from_text(&self.config_text())
    }

    /// The data of `/zookeeper/config`; empty before they are set, and if standalone.
    pub fn config_text(&self) -> String {
        let data = self.tree.get(CONFIG_PATH).and_then(Znode::data);
        String::from_utf8_lossy(data.unwrap_or_default()).into_owned()
    }

    /// Whether these identities may change the membership: by the ACL of `/zookeeper/config`.
    ///
    /// # Errors
    /// `NoAuth`; `NoNode` if there is no such znode, as in a snapshot from elsewhere.
    pub fn may_reconfigure(&self, identities: &Identities) -> Result<(), ErrorCode> {
        let znode = self.tree.get(CONFIG_PATH).ok_or(ErrorCode::NoNode)?;
        if znode.permits(Permissions::WRITE, identities) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// The znode `/zookeeper/config` as an answer.
    ///
    /// # Errors
    /// `NoNode`, as above.
    pub fn described(&self) -> Result<Response, ErrorCode> {
        let znode = self.tree.get(CONFIG_PATH).ok_or(ErrorCode::NoNode)?;
        Ok(Response::Data(znode.shared_data(), znode.to_stat()))
    }

    /// The version in the ensemble's description at `/zookeeper/config`; 0 before there is one.
    pub fn config_version(&self) -> i64 {
        self.tree.get(CONFIG_PATH).map_or(0, |znode| znode.stat().mzxid)
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> u64 {
        (self.sessions.len() - self.sessions.n_lanes()) as u64
    }

    /// Every session that owns ephemeral znodes, with their paths; both ascending.
    pub fn ephemerals(&self) -> impl Iterator<Item = (SessionId, impl Iterator<Item = &str>)> {
        let paths = |owner| self.tree.ephemerals(owner, "").map(|path| &**path);
        self.tree.owners().map(move |owner| (owner, paths(owner)))
    }

    /// All ephemeral znodes by owner and path, ascending, behind `after`.
    pub fn ephemerals_after<'a>(
        &'a self,
        after: Option<(SessionId, &'a str)>,
    ) -> impl Iterator<Item = (SessionId, &'a str)> {
        self.tree.ephemerals_after(after).map(|(owner, path)| (owner, &**path))
    }

    /// Every session behind `after`, ascending by id.
    pub fn sessions_after(&self, after: Option<SessionId>) -> impl Iterator<Item = &Session> {
        self.sessions.after(after).filter(|session| !is_lane(session.id))
    }

    /// What the root lets whom do.
    pub fn root_acl(&self) -> AclList {
        self.tree.get("/").map(|root| AclList::clone(root.acl())).unwrap_or_default()
    }

    /// At most `limit` containers and TTL znodes that may go at `now`, for the leader to propose;
    /// those containers too that never had a child for longer than `unused_ms`, unless that is 0.
    pub fn reapable(&self, now: WallTime, unused_ms: i64, limit: usize) -> Vec<Text> {
        self.tree.due(now, unused_ms).take(limit).map(|path| Text::from(&**path)).collect()
    }

    /// All quotas, ascending by path, with their limits and what is counted of them.
    pub fn quotas(&self) -> Vec<Quota> {
        quota::all(&self.tree)
    }

    /// How often a quota was exceeded, or stood in the way, since this was last asked.
    pub fn take_quota_events(&mut self) -> QuotaEvents {
        std::mem::take(&mut self.quota_events)
    }

    /// What a client hears whose write would be refused by the tree as it is now, for want of a
    /// permission or a valid ACL. `None` says nothing: the log decides.
    pub fn refusal(&self, identities: &[Id], write: &Write) -> Option<ErrorCode> {
        eager::refusal(&self.tree, identities, write)
    }

    /// Another ACL for `/zookeeper/config`, without a txn.
    #[cfg(test)]
    pub(crate) fn set_config_acl(&mut self, acl: &[Acl]) {
        let config = self.tree.find(CONFIG_PATH).expect("it is never removed");
        self.tree.set_acl(config, acl);
    }

    /// Another data for a znode, without a txn: as if this server had done something wrong. Whether
    /// the znode is there.
    #[cfg(any(test, feature = "mutants"))]
    pub fn rot(&mut self, path: &str, data: &'static str) -> bool {
        let spot = self.tree.find(path);
        if let Some(spot) = spot {
            self.tree.set_data(spot, Some(data.as_bytes()), |_| ());
        }
        spot.is_some()
    }

    fn advance(&mut self, zxid: Zxid) {
        assert!(zxid > self.zxid, "entry {zxid} comes after {}", self.zxid);
        self.zxid = zxid;
    }

    fn work<'a>(
        &'a mut self,
        txn: &Txn,
        session: SessionId,
        identities: &'a [Id],
        changes: &'a mut Vec<Change>,
    ) -> Work<'a> {
        let doer = Doer { session, identities };
        Work::new(&mut self.tree, &mut self.quota_events, changes, self.zxid, txn, doer)
    }

    /// A client's write: first whether it is this write's turn, then what it does.
    fn write(
        &mut self,
        txn: &Txn,
        author: &Author,
        write: &Write,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let Some(session) = self.session(author.session) else { return Outcome::Ended };
        if let Some(outcome) = untimely(session, author.token, author.sequence) {
            return outcome;
        }
        // The session is noted first, for the write may end it.
        self.sessions.update(author.session, |session| session.sequence = author.sequence);
        if *write == Write::CloseSession {
            self.end(txn, author.session, changes);
            return Outcome::Answered(Ok(Response::Empty));
        }
        let mut work = self.work(txn, author.session, &author.identities, changes);
        Outcome::Answered(do_write(&mut work, write))
    }

    /// Something of a local session: first whether it is its server's turn.
    fn local(
        &mut self,
        txn: &Txn,
        lane: Lane,
        author: &Author,
        work: &LocalWork,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let Lane { server, token, sequence } = lane;
        let Some(known) = self.lane(server) else { return Outcome::Ended };
        if let Some(outcome) = untimely(known, token, sequence) {
            return outcome;
        }
        let id = known.id;
        self.sessions.update(id, |known| known.sequence = sequence);
        match work {
            LocalWork::Write(write) => {
                let work = self.work(txn, author.session, &author.identities, changes);
                Outcome::Answered(do_write(&mut work.local(), write))
            }
            &LocalWork::Upgrade { password, timeout_ms } => self.upgrade(Session {
                id: author.session,
                password,
                timeout_ms,
                token: Token(self.zxid.0),
                sequence: author.sequence,
                nonce: Nonce(0),
            }),
        }
    }

    /// A server takes up its lane, or takes it over from a former process.
    fn enroll(
        &mut self,
        server: ServerId,
        first: SessionId,
        replaces: Token,
        nonce: Nonce,
    ) -> Outcome {
        let Some(id) = lane_of(server) else { return Outcome::Refused(Refusal::IdTaken) };
        let known = self.sessions.get(id).map_or(Token(0), |lane| lane.token);
        if known != replaces {
            return Outcome::Refused(Refusal::Overtaken { token: known });
        }
        let prefix = prefix_of(first);
        let last = first.0.checked_add(LANE_IDS - 1).map(SessionId);
        let Some(last) = last.filter(|last| prefix_of(*last) == prefix && !is_lane(*last)) else {
            return Outcome::Refused(Refusal::IdTaken);
        };
        if first <= self.sessions.last_id(prefix) {
            return Outcome::Refused(Refusal::IdTaken);
        }
        self.sessions.note_last(prefix, last);
        let token = Token(self.zxid.0);
        let (password, sequence) = ([0; 16], Sequence(0));
        let lane = Session { id, password, timeout_ms: 0, token, sequence, nonce };
        match self.sessions.get(id) {
            Some(_) => self.sessions.update(id, |known| *known = lane),
            None => self.sessions.insert(lane),
        }
        Outcome::Attached { token }
    }

    /// A local session becomes one that all know. Its server gives ids once, and in order within
    /// its lane; what is asked twice is told by the lane.
    fn upgrade(&mut self, session: Session) -> Outcome {
        let Session { id, token, .. } = session;
        if self.sessions.get(id).is_some() || !self.may_be_owner(id) {
            return Outcome::Refused(Refusal::IdTaken);
        }
        self.sessions.insert(session);
        let prefix = prefix_of(id);
        self.sessions.note_last(prefix, id.max(self.sessions.last_id(prefix)));
        Outcome::Attached { token }
    }

    /// Whether the id can be that of a client's session: one that reads like the mark of a
    /// container or TTL znode could own no ephemeral.
    fn may_be_owner(&self, id: SessionId) -> bool {
        !is_lane(id) && Kind::of(id.0) == Kind::Ephemeral(id)
    }

    fn open(&mut self, session: Session) -> Outcome {
        let Session { id, token, .. } = session;
        let prefix = prefix_of(id);
        if id <= self.sessions.last_id(prefix) || !self.may_be_owner(id) {
            return Outcome::Refused(Refusal::IdTaken);
        }
        assert!(self.sessions.get(id).is_none(), "session {id} is above the last one opened");
        self.sessions.insert(session);
        self.sessions.note_last(prefix, id);
        Outcome::Attached { token }
    }

    /// Whether the session may be attached; a compare-and-swap on the attachment in force.
    fn attach(&self, id: SessionId, password: &[u8; 16], replaces: Token) -> Result<(), Refusal> {
        let session = self.session(id).ok_or(Refusal::Unknown)?;
        if session.password != *password {
            Err(Refusal::WrongPassword)
        } else if session.token != replaces {
            Err(Refusal::Overtaken { token: session.token })
        } else {
            Ok(())
        }
    }

    fn attached(&mut self, id: SessionId, timeout_ms: i32, nonce: Nonce) -> Outcome {
        let token = Token(self.zxid.0);
        self.sessions.update(id, |session| {
            *session = Session {
                id,
                password: session.password,
                timeout_ms,
                token,
                sequence: Sequence(0),
                nonce,
            };
        });
        Outcome::Attached { token }
    }

    /// Ends a session, and its ephemeral znodes with it.
    fn end(&mut self, txn: &Txn, id: SessionId, changes: &mut Vec<Change>) {
        let mut work = self.work(txn, id, &[], changes);
        if !mutated!(EphemeralsOutliveClose) {
            close::delete_ephemerals(&mut work);
        }
        if !mutated!(SessionOutlivesClose) {
            self.sessions.remove(id);
        }
    }
}

/// What a client's write does, whoever answers for its session.
fn do_write(work: &mut Work<'_>, write: &Write) -> Result<Response, ErrorCode> {
    let result = match write {
        Write::Create(create) => create::create(work, create)
            .map(|(path, stat)| create::response(create.kind, path, stat)),
        Write::Delete { path, version } => {
            delete::delete(work, path, *version).map(|()| Response::Empty)
        }
        Write::SetData { path, data, version } => {
            update::set_data(work, path, data.as_deref(), *version).map(Response::Stat)
        }
        Write::SetAcl { path, acl, version } => {
            update::set_acl(work, path, acl, *version).map(Response::Stat)
        }
        Write::Multi(writes) => multi::multi(work, writes).map(Response::Multi),
        // The end of a local session is its server's affair, and in no log.
        Write::Check { .. } | Write::CloseSession => Err(ErrorCode::Unimplemented),
    };
    if mutated!(MultiFiresNothing if matches!(write, Write::Multi(_))) {
        work.hush();
    }
    result
}

/// What becomes of a write whose turn it is not.
fn untimely(session: &Session, token: Token, sequence: Sequence) -> Option<Outcome> {
    let next = Sequence(session.sequence.0 + 1);
    let is_former = token != session.token;
    if mutated!(FormerConnectionGoesOn | FormerWriteDone if is_former) {
        None
    } else if is_former && !mutated!(FormerConnectionWrites) {
        Some(Outcome::Moved)
    } else if sequence < next && !mutated!(CopyApplied | CopyAdmittedAndApplied) {
        Some(Outcome::Copy)
    } else if sequence > next && !mutated!(GapsAdmittedAndApplied) {
        Some(Outcome::Gap)
    } else {
        None
    }
}
