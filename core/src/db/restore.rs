//! A restore: the state of a snapshot takes the place of the present one, at one entry of the log.
//!
//! It comes in pieces, so that no entry is large. Invariants: what has come is a part of the state
//! like everything else, and so a snapshot may be taken or sent in the midst of a restore; nobody
//! sees anything of it before its end, or after it is given up. There is one restore at a time, it
//! is known by the zxid of its beginning, and its pieces are counted, as the writes of a session
//! are: a copy is skipped, a gap is refused.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::change::{Outcome, Refusal};
use super::image::{ImageError, ImageNode, Parts};
use super::replaced::Replaced;
use super::{CONFIG_PATH, Database};
use crate::id::{Nonce, Sequence, SessionId, Token};
use crate::pages::Pages;
use crate::proto::{Acl, Text, Zxid};
use crate::session::{Session, Sessions, is_lane, prefix_of};
use crate::tree::{Kind, StoredStat, Tree, Znode};

/// What all pieces of a restore may weigh: the state is in memory twice until it ends.
pub const MAX_RESTORE_BYTES: u64 = 1 << 30;

/// A piece ends before the znode that would bring it beyond this.
pub const MAX_PIECE_BYTES: usize = 512 << 10;

/// A znode that weighs more could not be sent from server to server.
const MAX_ZNODE_BYTES: usize = 64 << 20;

/// A session of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredSession {
    /// Its id.
    pub id: SessionId,
    /// What a client must show, unless the session is known: then it keeps its own.
    pub password: [u8; 16],
    /// Its timeout in milliseconds, unless it is known, likewise.
    pub timeout_ms: i32,
}

/// One step of a restore, after its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreStep {
    /// A part of the state. Of all znodes of all pieces the root comes first, and parents before
    /// children.
    Piece {
        /// Sessions.
        sessions: Vec<RestoredSession>,
        /// Znodes.
        znodes: Vec<ImageNode>,
    },
    /// All has come: it is the state from now on.
    End {
        /// How many sessions came.
        n_sessions: u64,
        /// How many znodes.
        n_znodes: u64,
        /// The digest of both.
        digest: u64,
    },
}

/// Why a restore comes to nothing. The state is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// What came makes no tree.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A session that could not be one of a client.
    #[error("{0} is no id of a client's session")]
    Session(SessionId),
    /// One of the znodes that are always there is not.
    #[error("the znode {0} is not there, or can come to an end")]
    Reserved(&'static str),
    /// An ephemeral znode without its session would stay for ever.
    #[error("an ephemeral znode belongs to session {0}, which is not there")]
    Ownerless(SessionId),
    /// It weighs more than may be in memory beside the present state.
    #[error("it is too large: a restore takes {MAX_RESTORE_BYTES} bytes at most")]
    TooLarge,
    /// A znode is too large for an entry of the log.
    #[error("the znode {0:?} is too large to be sent between servers")]
    LargeZnode(Text),
    /// The end does not fit what came.
    #[error("what came is not what was sent")]
    Different,
    /// No quorum has room on its disks.
    #[error("the disks of the ensemble are short of room")]
    NoRoom,
    /// Nothing came for too long.
    #[error("it was given up, since nothing more of it came")]
    Abandoned,
}

/// A whole state, checked and cut into the steps by which it is restored.
#[derive(Clone, Debug)]
pub struct Prepared {
    steps: Arc<[RestoreStep]>,
    n_znodes: u64,
    n_sessions: u64,
}

impl Prepared {
    /// Of these znodes, the root first and parents before children, and these sessions. They are
    /// put together as every server will do it, so that what would come to nothing is not begun.
    ///
    /// # Errors
    /// If it would come to nothing.
    pub fn new(
        znodes: impl IntoIterator<Item = ImageNode>,
        sessions: impl IntoIterator<Item = RestoredSession>,
    ) -> Result<Self, RestoreError> {
        let mut cutter = Cutter::default();
        for session in sessions {
            cutter.make_room(RestoredSession::SIZE_BYTES)?;
            cutter.sessions.push(session);
        }
        for znode in znodes {
            let size = znode.size_bytes();
            if size > MAX_ZNODE_BYTES {
                return Err(RestoreError::LargeZnode(znode.path));
            }
            cutter.make_room(size)?;
            cutter.znodes.push(znode);
        }
        cutter.finish()
    }

    /// The steps, in order; the last is the end.
    pub fn steps(&self) -> &[RestoreStep] {
        &self.steps
    }

    /// How many znodes there are.
    pub fn n_znodes(&self) -> u64 {
        self.n_znodes
    }

    /// How many sessions there are.
    pub fn n_sessions(&self) -> u64 {
        self.n_sessions
    }
}

/// Cuts a state into pieces.
#[derive(Default)]
struct Cutter {
    steps: Vec<RestoreStep>,
    staged: Staged,
    sessions: Vec<RestoredSession>,
    znodes: Vec<ImageNode>,
    n_bytes: usize,
}

impl Cutter {
    /// Begins another piece if `size` more would be too much for this one.
    fn make_room(&mut self, size: usize) -> Result<(), RestoreError> {
        // Legal: a piece may hold as little as one likes.
        let most = if maybe!(SmallPiece) { 256 } else { MAX_PIECE_BYTES };
        if self.n_bytes + size > most {
            self.cut()?;
        }
        self.n_bytes += size;
        Ok(())
    }

    fn cut(&mut self) -> Result<(), RestoreError> {
        self.n_bytes = 0;
        let sessions = std::mem::take(&mut self.sessions);
        let znodes = std::mem::take(&mut self.znodes);
        if sessions.is_empty() && znodes.is_empty() {
            return Ok(());
        }
        let piece = RestoreStep::Piece { sessions, znodes };
        self.staged.take(&piece)?;
        self.steps.push(piece);
        Ok(())
    }

    fn finish(mut self) -> Result<Prepared, RestoreError> {
        self.cut()?;
        let Parts { tree, sessions, .. } = &self.staged.parts;
        let (n_sessions, n_znodes) = (sessions.len() as u64, tree.len() as u64);
        let end = RestoreStep::End { n_sessions, n_znodes, digest: self.staged.parts.digest() };
        self.staged.take(&end)?;
        self.steps.push(end);
        Ok(Prepared { steps: self.steps.into(), n_znodes, n_sessions })
    }
}

impl RestoredSession {
    const SIZE_BYTES: usize = 32;
}

impl ImageNode {
    /// Never less than its bytes in the log.
    fn size_bytes(&self) -> usize {
        // Ten numbers, three of them short, and the lengths of what has one.
        const OVERHEAD: usize = 96;
        let data = self.data.as_ref().map_or(0, Bytes::len);
        let acl = self.acl.iter().map(|it: &Acl| 16 + it.id.scheme.len() + it.id.id.len());
        OVERHEAD + self.path.len() + data + acl.sum::<usize>()
    }
}

impl RestoreStep {
    /// Never less than its bytes in the log.
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            RestoreStep::Piece { sessions, znodes } => {
                let znodes = znodes.iter().map(ImageNode::size_bytes);
                sessions.len() * RestoredSession::SIZE_BYTES + znodes.sum::<usize>()
            }
            RestoreStep::End { .. } => 32,
        }
    }
}

/// What the state knows of restores.
#[derive(Debug, Default)]
pub(super) struct Restores {
    /// The last one that was begun, known by its zxid; 0 if none ever was.
    pub(super) begun: Token,
    /// When a state took another's place last; 0 if never.
    pub(super) done: Zxid,
    /// What has come of the last one, if it is under way.
    pub(super) staged: Option<Staged>,
}

/// What has come of a restore that is under way.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// The last step taken.
    pub(super) number: Sequence,
    /// What its pieces weigh.
    pub(super) n_bytes: u64,
    pub(super) parts: Parts,
}

/// What an image knows of restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreFacts {
    /// The last one that was begun, known by its zxid; 0 if none ever was.
    pub begun: Token,
    /// When a state took another's place last; 0 if never.
    pub done: Zxid,
    /// Of one that is under way: the last step taken, and what its pieces weigh.
    pub staged: Option<(Sequence, u64)>,
}

/// The same, frozen with all that is staged.
#[derive(Clone, Debug, Default)]
pub(super) struct FrozenRestores {
    pub(super) facts: RestoreFacts,
    pub(super) znodes: Pages<Znode>,
    pub(super) sessions: Pages<Session>,
}

impl Restores {
    pub(super) fn facts(&self) -> RestoreFacts {
        let staged = self.staged.as_ref().map(|staged| (staged.number, staged.n_bytes));
        RestoreFacts { begun: self.begun, done: self.done, staged }
    }

    pub(super) fn freeze(&self) -> FrozenRestores {
        let parts = self.staged.as_ref().map(|staged| &staged.parts);
        FrozenRestores {
            facts: self.facts(),
            znodes: parts.map(|parts| parts.tree.freeze()).unwrap_or_default(),
            sessions: parts.map(|parts| parts.sessions.freeze()).unwrap_or_default(),
        }
    }

    pub(super) fn thaw(frozen: &FrozenRestores) -> Self {
        let RestoreFacts { begun, done, staged } = frozen.facts;
        let staged = staged.map(|(number, n_bytes)| {
            let tree = Tree::thaw(frozen.znodes.clone());
            let sessions = Sessions::thaw(frozen.sessions.clone(), Default::default());
            Staged { number, n_bytes, parts: Parts { tree, sessions, ..Parts::default() } }
        });
        Restores { begun, done, staged }
    }

    /// Its part in the digest of the state: nothing before the first restore.
    pub(super) fn digest(&self) -> u64 {
        if self.begun == Token(0) {
            return 0;
        }
        let RestoreFacts { begun, done, staged } = self.facts();
        let (number, n_bytes) = staged.unwrap_or_default();
        let mut bytes = [0; 33];
        bytes[..8].copy_from_slice(&begun.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&done.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&number.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&n_bytes.to_le_bytes());
        bytes[32] = u8::from(staged.is_some());
        let parts = self.staged.as_ref().map_or(0, |staged| staged.parts.digest());
        // Turned, so that no znode can move between what is staged and what is in force unseen.
        xxh3_64(&bytes).wrapping_add(parts.rotate_left(1))
    }
}

impl Staged {
    /// Takes the next step; after the end all of it is checked.
    fn take(&mut self, step: &RestoreStep) -> Result<(), RestoreError> {
        match step {
            RestoreStep::Piece { sessions, znodes } => {
                self.n_bytes += step.size_bytes() as u64;
                if self.n_bytes > MAX_RESTORE_BYTES {
                    return Err(RestoreError::TooLarge);
                }
                for session in sessions {
                    self.session(session)?;
                }
                for znode in znodes {
                    self.parts.put(&znode.path, znode.as_new())?;
                }
                Ok(())
            }
            RestoreStep::End { n_sessions, n_znodes, digest } => {
                self.check(*n_sessions, *n_znodes, *digest)
            }
        }
    }

    fn session(&mut self, restored: &RestoredSession) -> Result<(), RestoreError> {
        let &RestoredSession { id, password, timeout_ms } = restored;
        if id == SessionId(0) || is_lane(id) || Kind::of(id.0) != Kind::Ephemeral(id) {
            return Err(RestoreError::Session(id));
        }
        let (token, sequence, nonce) = (Token(0), Sequence(0), Nonce(0));
        let session = Session { id, password, timeout_ms, token, sequence, nonce };
        Ok(self.parts.session(session)?)
    }

    fn check(&self, n_sessions: u64, n_znodes: u64, digest: u64) -> Result<(), RestoreError> {
        let Parts { tree, sessions, .. } = &self.parts;
        let found = (sessions.len() as u64, tree.len() as u64, self.parts.digest());
        if found != (n_sessions, n_znodes, digest) {
            return Err(RestoreError::Different);
        }
        for path in ["/", "/zookeeper", "/zookeeper/quota", CONFIG_PATH] {
            let is_plain = |znode: &Znode| znode.kind() == Kind::Persistent;
            if !tree.get(path).is_some_and(is_plain) {
                return Err(RestoreError::Reserved(path));
            }
        }
        match tree.owners().find(|owner| sessions.get(*owner).is_none()) {
            Some(owner) => Err(RestoreError::Ownerless(owner)),
            None => Ok(()),
        }
    }
}

impl Database {
    /// Whether a restore is under way.
    pub fn is_restoring(&self) -> bool {
        self.restores.staged.is_some()
    }

    /// What is known of restores.
    pub fn restores(&self) -> RestoreFacts {
        self.restores.facts()
    }

    /// The former state, if the last entry was the end of a restore; asked for once.
    pub fn take_replaced(&mut self) -> Option<Replaced> {
        self.replaced.take()
    }

    /// A compare-and-swap on the last restore that was begun, so that a late copy of an old
    /// beginning begins nothing.
    pub(super) fn begin_restore(&mut self, replaces: Token, has_room: bool) -> Outcome {
        let begun = self.restores.begun;
        if self.is_restoring() {
            return Outcome::Refused(Refusal::Restoring);
        }
        if begun != replaces {
            return Outcome::Refused(Refusal::Overtaken { token: begun });
        }
        if !has_room {
            return Outcome::RestoreFailed(RestoreError::NoRoom);
        }
        let token = Token(self.zxid.0);
        self.restores.begun = token;
        self.restores.staged = Some(Staged::default());
        Outcome::Attached { token }
    }

    pub(super) fn restore(
        &mut self,
        token: Token,
        number: Sequence,
        step: &RestoreStep,
        has_room: bool,
    ) -> Outcome {
        let begun = self.restores.begun;
        let Some(staged) = &mut self.restores.staged else { return Outcome::Ended };
        if token != begun {
            return Outcome::Moved;
        } else if number <= staged.number {
            return Outcome::Copy;
        } else if number.0 > staged.number.0 + 1 {
            return Outcome::Gap;
        }
        staged.number = number;
        let taken = if has_room { staged.take(step) } else { Err(RestoreError::NoRoom) };
        match (taken, step) {
            (Ok(()), RestoreStep::Piece { .. }) => Outcome::Settled,
            (Ok(()), RestoreStep::End { .. }) => {
                if let Some(staged) = self.restores.staged.take() {
                    self.replace(staged.parts);
                }
                Outcome::Restored
            }
            (Err(error), _) => {
                self.restores.staged = None;
                Outcome::RestoreFailed(error)
            }
        }
    }

    /// Gives a restore up, unless it has gone on since.
    pub(super) fn abandon_restore(&mut self, token: Token, number: Sequence) -> Outcome {
        let is_it = |staged: &Staged| staged.number == number;
        if self.restores.begun != token || !self.restores.staged.as_ref().is_some_and(is_it) {
            return Outcome::Settled;
        }
        self.restores.staged = None;
        Outcome::RestoreFailed(RestoreError::Abandoned)
    }

    /// Another state takes the place of this one. The zxid goes on, ids of sessions are never given
    /// twice, and lanes are those of servers, which go on as well; sessions that are in both stay
    /// attached as they are. What describes the ensemble is not the former one's.
    fn replace(&mut self, parts: Parts) {
        let Parts { mut tree, sessions, .. } = parts;
        if let Some(config) = self.tree.get(CONFIG_PATH) {
            let kept = config.stat();
            let spot = tree.find(CONFIG_PATH).expect("it was looked for at the end of the restore");
            tree.set_acl(spot, config.acl());
            tree.set_data(spot, config.data(), |stat| {
                let StoredStat { cversion, pzxid, .. } = *stat;
                *stat = StoredStat { cversion, pzxid, ephemeral_owner: 0, ..kept };
            });
        }
        let is_gone = |id: &SessionId| !is_lane(*id) && sessions.get(*id).is_none();
        let known = self.sessions.iter().map(|session| session.id);
        let gone: Vec<SessionId> = known.filter(is_gone).collect();
        gone.into_iter().for_each(|id| self.sessions.remove(id));
        for session in sessions.iter() {
            let (id, prefix) = (session.id, prefix_of(session.id));
            if self.sessions.get(id).is_none() {
                self.sessions.insert(Session { token: Token(self.zxid.0), ..session.clone() });
            }
            self.sessions.note_last(prefix, id.max(self.sessions.last_id(prefix)));
        }
        self.restores.done = self.zxid;
        let former = std::mem::replace(&mut self.tree, tree);
        self.replaced = Some(Replaced::new(former));
    }
}
