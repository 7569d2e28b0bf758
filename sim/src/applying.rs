//! Transactions as bytes, for fuzzers: whatever the bytes are, they are a log, and the state
//! machine does with it what the model does.
//!
//! Invariant: the bytes are the draws by which a seed becomes a log, one decision after the other.
//! Half of the paths lead to where the servers themselves write: the quotas.

use bytes::Bytes;
use zokor_core::db::{
    self, Action, Author, ChangeKind, Database, ImageBuilder, ImageNode, Prepared, Reader,
    RestoreStep, RestoredSession, Rules, Txn,
};
use zokor_core::id::{Nonce, Sequence, ServerId, SessionId, Token};
use zokor_core::proto::{
    Acl, Create, CreateKind, Ensemble, Id, Identities, Member, Permissions, Read, Text, Write,
};
use zokor_core::raft::{Entry, EntryId, Index, Payload, Term};
use zokor_core::time::WallTime;

use crate::check::snapshot;
use crate::model::{self, Model};
use crate::rng::{Concern, Stream};

/// A log no longer than this: the model keeps all its states.
const LONGEST: usize = 400;

/// Applies the log that `bytes` say to the state machine and to the model.
///
/// # Panics
/// If they differ in what is answered, changed, or kept, or in what can be read of it.
pub fn agree(bytes: &[u8]) {
    let steps = (bytes.len() / 8).clamp(1, LONGEST);
    Pair::new(Stream::of_bytes(bytes)).run(steps);
}

/// The bytes that say a log of so many entries, drawn from `seed`.
pub fn of_seed(seed: u64, steps: usize) -> Vec<u8> {
    let mut pair = Pair::new(Stream::new(seed, Concern::Rules).noted());
    pair.run(steps);
    pair.draws.into_drawn()
}

/// A state machine and a model that have seen the same.
struct Pair {
    draws: Stream,
    database: Database,
    model: Model,
    time: i64,
    opened: i64,
    /// How often a quota stood in the way.
    refused: u64,
    /// What is restored next.
    snapshot: Vec<RestoreStep>,
    /// How often a state was restored.
    restored: u64,
}

impl Pair {
    fn new(draws: Stream) -> Self {
        let (database, model) = (Database::new(), Model::new());
        let (snapshot, restored) = (Vec::new(), 0);
        Pair { draws, database, model, time: 1, opened: 0, refused: 0, snapshot, restored }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..3 {
            let open = self.open();
            self.apply(open, Rules::default());
        }
        for _ in 0..steps {
            self.time += self.draws.below(8) as i64;
            let rules = Rules::from_bits(*self.draws.pick(&[0, 1, 4, 5, 5, 7])).expect("rules");
            let action = self.action();
            self.apply(action, rules);
            match self.draws.below(64) {
                0 => self.rebuild(),
                1 => self.compare(),
                2 | 3 => self.take_snapshot(),
                _ => {}
            }
        }
        self.compare();
    }

    fn apply(&mut self, action: Action, rules: Rules) {
        let zxid = self.database.zxid().next();
        let txn = Txn { time: WallTime(self.time), rules, action };
        let id = EntryId { term: Term(1), index: Index(self.model.last() as u64 + 1) };
        self.model.append(&Entry { id, payload: Payload::Command(txn.clone()) });
        let applied = self.database.apply(zxid, &txn);
        self.refused += self.database.take_quota_events().refused;
        let step = self.model.newest();
        assert_eq!(step.zxid, zxid);
        let as_told = match (&applied.outcome, &step.outcome) {
            (db::Outcome::Answered(found), model::Outcome::Answered { result, .. }) => {
                found == result
            }
            (db::Outcome::Attached { token }, model::Outcome::Opened(_))
            | (db::Outcome::Attached { token }, model::Outcome::Attached(_)) => token.0 == zxid.0,
            (db::Outcome::Expired(one), model::Outcome::Expired(other)) => one == other,
            (
                db::Outcome::Copy
                | db::Outcome::Gap
                | db::Outcome::Moved
                | db::Outcome::Ended
                | db::Outcome::Refused(_)
                | db::Outcome::Settled,
                model::Outcome::Nothing,
            )
            | (db::Outcome::Settled, model::Outcome::Reaped(..))
            | (db::Outcome::RestoreFailed(_), model::Outcome::Nothing)
            | (db::Outcome::Restored, model::Outcome::Restored { .. }) => true,
            (db::Outcome::Attached { token }, model::Outcome::Nothing) => {
                *token == step.state.restores.begun && token.0 == zxid.0
            }
            _ => false,
        };
        assert!(as_told, "{txn:?}: {:?}, in the model {:?}", applied.outcome, step.outcome);
        let mut changed = applied.changes.clone();
        if let Some(replaced) = self.database.take_replaced() {
            self.restored += 1;
            let differences = replaced.differences(&self.database);
            let all = 0..differences.len();
            changed.extend(all.map(|n| replaced.change(&differences, n, &self.database)));
        }
        let changes = changed.iter().map(|it| (it.path.to_string(), kind(it.kind), &it.acl));
        let expected = step.changes.iter().map(|it| (it.path.clone(), it.kind, &it.acl));
        assert!(changes.eq(expected), "{txn:?}: {changed:?}");
    }

    /// The state goes on from what a snapshot of it would hold.
    fn rebuild(&mut self) {
        let image = self.database.freeze();
        let mut builder = ImageBuilder::new();
        image.nodes().for_each(|node| builder.node(node).expect("it has its place"));
        image.sessions().for_each(|it| builder.session(it).expect("it comes once"));
        image.last_session_ids().iter().for_each(|(&byte, &id)| builder.last_session_id(byte, id));
        if image.restores().begun != Token(0) {
            builder.restores(image.restores()).expect("one was begun");
            image.staged_nodes().for_each(|it| builder.staged_node(it).expect("it has its place"));
            image
                .staged_sessions()
                .for_each(|it| builder.staged_session(it).expect("it comes once"));
        }
        let again = builder.finish(image.zxid(), image.digest()).expect("the digest is right");
        self.database = Database::thaw(again);
        assert_eq!(self.database.digest(), image.digest());
    }

    fn compare(&self) {
        let image = self.database.freeze();
        snapshot::state(ServerId(1), &image, &self.model).unwrap_or_else(|wrong| panic!("{wrong}"));
        let identities: Identities = [bob()].into();
        let session = SessionId(self.opened);
        let reader = Reader { session, identities: &identities, skip_acl: false };
        let state = &self.model.newest().state;
        for path in state.nodes.keys().map(|path| Text::from(&**path)) {
            for read in [
                Read::GetData { path: path.clone(), watch: false },
                Read::GetChildren { path: path.clone(), watch: false, with_stat: true },
                Read::CountDescendants { path: path.clone() },
                Read::GetAcl { path: path.clone() },
                Read::GetEphemerals { prefix: path },
            ] {
                let found = self.database.query(&reader, &read);
                assert_eq!(Some(found), state.read((session, &identities), &read), "{read:?}");
            }
        }
        for unused_ms in [0, 1, 9] {
            let now = WallTime(self.time);
            let due = state.nodes.keys().filter(|path| state.is_due(path, now, unused_ms));
            let mut found = self.database.reapable(now, unused_ms, usize::MAX);
            found.sort();
            assert!(found.iter().map(|path| &**path).eq(due.map(|path| &**path)), "{found:?}");
        }
    }
}

/// Draws.
impl Pair {
    fn action(&mut self) -> Action {
        match self.draws.below(32) {
            0 => self.open(),
            1 => {
                let (session, replaces) = self.attachment();
                let password = [self.draws.below(2) as u8; 16];
                Action::Attach { session, password, timeout_ms: 5, replaces, nonce: Nonce(1) }
            }
            2 => {
                let (session, token) = self.attachment();
                Action::Expire { session, token }
            }
            3 | 4 => Action::Reap { path: self.path(), unused_ms: self.draws.below(4) as i64 },
            5 => {
                let line = String::from_utf8_lossy(&self.text()).into_owned().into();
                let members = vec![Member { id: ServerId(self.draws.below(3)), line }];
                let ensemble = Ensemble { members, ..Ensemble::default() };
                Action::Describe { ensemble }
            }
            6 | 7 => self.restore(),
            _ => self.write(),
        }
    }

    /// The state as it is, or nearly, is to be restored some time, a few znodes at a time.
    fn take_snapshot(&mut self) {
        if self.database.is_restoring() {
            return;
        }
        let mut znodes: Vec<ImageNode> = self.database.freeze().nodes().collect();
        match self.draws.below(8) {
            0 => drop(znodes.pop()),
            1 => {
                let any = self.draws.below(znodes.len() as u64) as usize;
                znodes[any].stat.ephemeral_owner = self.draws.below(4) as i64;
            }
            _ => {}
        }
        let sessions = self.database.sessions().map(|session| RestoredSession {
            id: session.id,
            password: [1; 16],
            timeout_ms: session.timeout_ms,
        });
        let sessions: Vec<_> = sessions.collect();
        let Ok(prepared) = Prepared::new(znodes.clone(), sessions.clone()) else {
            // It comes to nothing: where, is the same for both.
            let end = RestoreStep::End { n_sessions: 0, n_znodes: 0, digest: 0 };
            self.snapshot = vec![RestoreStep::Piece { sessions, znodes }, end];
            return;
        };
        let end = prepared.steps().last().cloned();
        let pieces = znodes
            .chunks(3)
            .map(|znodes| RestoreStep::Piece { sessions: Vec::new(), znodes: znodes.to_vec() });
        let first = RestoreStep::Piece { sessions, znodes: Vec::new() };
        self.snapshot = [first].into_iter().chain(pieces).chain(end).collect();
    }

    /// The next step of a restore, or something like it.
    fn restore(&mut self) -> Action {
        let facts = self.database.restores();
        let replaces = Token(facts.begun.0 - i64::from(self.draws.below(8) == 0));
        let begin = Action::BeginRestore { replaces, nonce: Nonce(1) };
        let Some((last, _)) = facts.staged else { return begin };
        let token = replaces;
        match self.draws.below(64) {
            0 => begin,
            1 => Action::AbandonRestore { token, number: last },
            n => {
                let next = usize::try_from(last.0).unwrap_or(usize::MAX);
                let off = u64::from(n == 2) * self.draws.below(3);
                let number = Sequence(last.0 + 1 + off);
                match self.snapshot.get(next).cloned() {
                    Some(step) => Action::Restore { token, number, step },
                    None => Action::AbandonRestore { token, number: last },
                }
            }
        }
    }

    fn open(&mut self) -> Action {
        // At times one that was given before.
        self.opened += self.draws.below(8).min(1) as i64;
        let session = SessionId(self.opened.max(1));
        Action::Open { session, password: [1; 16], timeout_ms: 4, nonce: Nonce(0) }
    }

    /// A session, and the token of its attachment or another one.
    fn attachment(&mut self) -> (SessionId, Token) {
        let session = SessionId((self.opened - self.draws.below(3) as i64).max(1));
        let known = self.database.session(session).map_or(Token(0), |known| known.token);
        (session, Token(known.0 - self.draws.below(8).saturating_sub(6) as i64))
    }

    fn write(&mut self) -> Action {
        let (session, token) = self.attachment();
        let last = self.database.session(session).map_or(0, |known| known.sequence.0);
        let off = self.draws.below(32);
        let sequence = Sequence(if off < 2 { last + 2 * off } else { last + 1 });
        let identities: Identities = match self.draws.below(8) {
            0 => [Id::new("super", "")].into(),
            1..4 => [Id::new("ip", "::1"), bob()].into(),
            _ => [Id::new("ip", "::1")].into(),
        };
        let write = match self.draws.below(16) {
            0 => {
                let (path, version) = (self.path(), self.version());
                Write::SetAcl { path, acl: self.acl().into(), version }
            }
            1 | 2 => self.quota(),
            3..6 => {
                let parts = self.draws.below(5);
                Write::Multi((0..parts).map(|_| self.part()).collect())
            }
            6 if self.draws.below(8) == 0 => Write::CloseSession,
            _ => self.part(),
        };
        Action::Write { author: Author { session, token, sequence, identities }, write }
    }

    /// A folder, limits and usage at once, as clients make them.
    fn quota(&mut self) -> Write {
        let top = *self.draws.pick(&TOPS);
        let folder = format!("/zookeeper/quota{top}");
        let paths = ["", "/zookeeper_limits", "/zookeeper_stats"];
        let limits = *self.draws.pick(&["countHardLimit=2", "=;byteHardLimit=9;countHardLimit=4"]);
        let is_plain = self.draws.coin();
        let parts = paths.map(|rest| {
            let data =
                Some(if is_plain { Bytes::from_static(limits.as_bytes()) } else { self.text() });
            let path = format!("{folder}{rest}").into();
            let (acl, kind) = (vec![anyone(31)], CreateKind::Create);
            Write::Create(Create { path, data, acl: acl.into(), flags: 0, ttl_ms: -1, kind })
        });
        Write::Multi(parts.into())
    }

    fn part(&mut self) -> Write {
        match self.draws.below(8) {
            0..4 => self.create(),
            4 => Write::Delete { path: self.path(), version: self.version() },
            5 => Write::Check { path: self.path(), version: self.version() },
            _ => {
                let (path, version) = (self.path(), self.version());
                Write::SetData { path, data: self.data(), version }
            }
        }
    }

    fn create(&mut self) -> Write {
        let (kind, flags, ttl_ms) = match self.draws.below(16) {
            0..8 => (CreateKind::Create, self.draws.below(4) as i32, -1),
            8..11 => (CreateKind::Create2, self.draws.below(4) as i32, -1),
            11 | 12 => (CreateKind::Container, 4, -1),
            13 | 14 => {
                (CreateKind::Ttl, 5 + self.draws.below(2) as i32, self.draws.below(9) as i64)
            }
            _ => {
                let kinds = [CreateKind::Create, CreateKind::Container, CreateKind::Ttl];
                let kind = *self.draws.pick(&kinds);
                (kind, self.draws.below(9) as i32 - 1, self.draws.below(3) as i64 - 1)
            }
        };
        let (path, data, acl) = (self.path(), self.data(), self.acl());
        Write::Create(Create { path, data, acl: acl.into(), flags, ttl_ms, kind })
    }

    fn path(&mut self) -> Text {
        const ODD: [&str; 8] =
            ["", "/", "a", "//", "/a/", "/zookeeper", "/zookeeper/config", "/a\u{0}"];
        let name = |draws: &mut Stream| *draws.pick(&["a", "b", "zookeeper_limits"]);
        let top = *self.draws.pick(&TOPS);
        let path = match self.draws.below(16) {
            0 => (*self.draws.pick(&ODD)).to_owned(),
            1 => format!("/zookeeper/quota{top}"),
            2..4 => format!("/zookeeper/quota{top}/zookeeper_limits"),
            4..6 => format!("/zookeeper/quota{top}/zookeeper_stats"),
            6 => format!("/zookeeper/quota{top}/zookeeper_limits/{}", name(&mut self.draws)),
            7..12 => format!("{top}/{}", name(&mut self.draws)),
            _ => top.to_owned(),
        };
        path.into()
    }

    fn data(&mut self) -> Option<Bytes> {
        match self.draws.below(4) {
            0 => None,
            1 => Some(self.text()),
            _ => Some(vec![b'x'; self.draws.below(20) as usize].into()),
        }
    }

    /// What might be a quota.
    fn text(&mut self) -> Bytes {
        const KEYS: [&str; 5] = ["count", "bytes", "countHardLimit", "byteHardLimit", "odd"];
        const VALUES: [&str; 9] = ["0", "1", "3", "20", "-1", "", "x", "+2", "9223372036854775807"];
        const SIGNS: [&str; 6] = [",", ";", "=;", "", "=", ",;,"];
        let mut text = String::new();
        for _ in 0..self.draws.below(4) {
            let (key, value) = (*self.draws.pick(&KEYS), *self.draws.pick(&VALUES));
            text += &format!("{key}={value}{}", self.draws.pick(&SIGNS));
        }
        match self.draws.below(32) {
            0 => Bytes::from_static(b"count=\xff"),
            1 => Bytes::from(text + &"x".repeat(1_030)),
            _ => Bytes::from(text),
        }
    }

    fn version(&mut self) -> i32 {
        *self.draws.pick(&[-1, -1, -1, 0, 1])
    }

    fn acl(&mut self) -> Vec<Acl> {
        let bits = self.draws.below(32) as i32;
        let entry = |scheme: &str, id: &str| Acl {
            permissions: Permissions(bits),
            id: Id::new(scheme, id),
        };
        match self.draws.below(16) {
            0 => vec![],
            1 => vec![anyone(bits)],
            2 => vec![entry("auth", "")],
            3 => vec![entry("ip", "::1/64"), entry("digest", "bob:hash")],
            4 => vec![entry("nonsense", "bob")],
            _ => vec![anyone(31)],
        }
    }
}

/// Few, so that steps meet.
const TOPS: [&str; 6] = ["/a", "/a/b", "/a/zookeeper_limits", "/b", "", "/zookeeper"];

fn anyone(bits: i32) -> Acl {
    Acl { permissions: Permissions(bits), id: Id::new("world", "anyone") }
}

fn bob() -> Id {
    Id::new("digest", "bob:hash")
}

fn kind(kind: ChangeKind) -> model::ChangeKind {
    match kind {
        ChangeKind::Created => model::ChangeKind::Created,
        ChangeKind::Deleted => model::ChangeKind::Deleted,
        ChangeKind::DataChanged => model::ChangeKind::DataChanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_and_model_agree_on_the_corpus() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/apply");
        let files = std::fs::read_dir(folder).expect("the corpus is in the tree");
        let seeds: Vec<_> =
            files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(seeds.len() >= 8, "{} seeds", seeds.len());
        seeds.iter().for_each(|bytes| agree(bytes));
    }

    #[test]
    fn database_and_model_agree_on_many_logs() {
        for seed in 0..100 {
            let bytes = of_seed(seed, 100);
            agree(&bytes);
            agree(&bytes[..bytes.len() / 2]);
        }
    }

    /// Else the two above would judge none.
    #[test]
    fn drawn_logs_restore_states() {
        let restored = |seed: u64| {
            let mut pair = Pair::new(Stream::new(seed, Concern::Rules));
            pair.run(1_000);
            pair.restored
        };
        let n_restored: u64 = (0..20).map(restored).sum();
        assert!(n_restored >= 20, "only {n_restored} in 20 logs");
    }

    /// Else the two above would judge next to nothing.
    #[test]
    fn drawn_logs_make_quotas_that_stand_in_the_way() {
        let refused = |seed: u64| {
            let mut pair = Pair::new(Stream::new(seed, Concern::Rules));
            pair.run(4_000);
            pair.refused > 0
        };
        let n_refused = (0..20).filter(|&seed| refused(seed)).count();
        assert!(n_refused >= 10, "only {n_refused} of 20");
    }
}
