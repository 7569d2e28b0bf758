//! What the model must get right by itself, with answers copied from ZooKeeper's documents.

use std::sync::Arc;

use zokor_core::id::{Nonce, Sequence};
use zokor_core::proto::{Create, CreateKind, OpResult, Read};
use zokor_core::raft::{EntryId, Index, Term};
use zokor_core::time::WallTime;

use super::*;

const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

struct Log {
    model: Model,
    sequence: u64,
}

impl Log {
    fn opened() -> Self {
        let mut log = Log { model: Model::new(), sequence: 0 };
        log.push(Payload::Blank);
        let open =
            Action::Open { session: SESSION, password: [7; 16], timeout_ms: 1000, nonce: Nonce(1) };
        log.push(Payload::Command(Txn { time: WallTime(5), action: open }));
        log
    }

    fn push(&mut self, payload: Payload<Txn>) {
        let id = EntryId { term: Term(1), index: Index(self.model.last() as u64 + 1) };
        self.model.append(&Entry { id, payload });
    }

    fn write(&mut self, write: Write) -> Result<Response, ErrorCode> {
        self.sequence += 1;
        self.push(Payload::Command(self.txn(write, self.sequence)));
        match &self.model.newest().outcome {
            Outcome::Answered { result, .. } => result.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn txn(&self, write: Write, sequence: u64) -> Txn {
        let author = Author {
            session: SESSION,
            token: Token((1 << 32) | 1),
            sequence: Sequence(sequence),
            identities: Arc::from([]),
        };
        Txn { time: WallTime(9), action: Action::Write { author, write } }
    }
}

fn create(path: &str, flags: i32) -> Write {
    let kind = CreateKind::Create;
    Write::Create(Create {
        path: path.into(),
        data: None,
        acl: Vec::new(),
        flags,
        ttl_ms: -1,
        kind,
    })
}

#[test]
fn a_fresh_root_has_cversion_minus_one() {
    assert_eq!(State::fresh().stat("/").unwrap().cversion, -1);
    assert_eq!(State::fresh().stat("/zookeeper").unwrap().cversion, -2);
}

#[test]
fn a_copy_of_a_write_changes_nothing() {
    let mut log = Log::opened();
    log.write(create("/a", 0)).unwrap();
    let before = log.model.newest().state.clone();
    log.push(Payload::Command(log.txn(create("/b", 0), 1)));
    assert_eq!(log.model.newest().outcome, Outcome::Nothing);
    assert_eq!(log.model.newest().state, before);
}

#[test]
fn sequence_numbers_count_all_children_ever_created() {
    let mut log = Log::opened();
    log.write(create("/p", 0)).unwrap();
    log.write(create("/p/x", 0)).unwrap();
    log.write(Write::Delete { path: "/p/x".into(), version: -1 }).unwrap();
    let path = log.write(create("/p/s-", 2));
    assert_eq!(path, Ok(Response::Path("/p/s-0000000001".into())));
    assert_eq!(log.model.newest().state.stat("/p").unwrap().cversion, 3);
}

#[test]
fn a_failed_multi_changes_nothing_and_names_the_first_error() {
    let mut log = Log::opened();
    let parts = vec![create("/a", 0), create("/no/b", 0), create("/c", 0)];
    let result = log.write(Write::Multi(parts));
    let codes =
        [None, Some(ErrorCode::NoNode), Some(ErrorCode::RuntimeInconsistency)].map(OpResult::Error);
    assert_eq!(result, Ok(Response::Multi(codes.to_vec())));
    assert!(log.model.newest().changes.is_empty());
    assert_eq!(log.model.newest().state.stat("/a"), None);
}

#[test]
fn ephemerals_vanish_with_their_session() {
    let mut log = Log::opened();
    log.write(create("/e", 1)).unwrap();
    let refused = log.write(create("/e/child", 0));
    assert_eq!(refused, Err(ErrorCode::NoChildrenForEphemerals));
    log.write(Write::CloseSession).unwrap();
    let step = log.model.newest();
    let gone = Change { path: "/e".to_owned(), kind: ChangeKind::Deleted };
    assert_eq!(step.changes, [gone]);
    assert_eq!(log.model.ended(SESSION), Some(step.zxid));
    assert_eq!(step.state.stat("/").unwrap().pzxid, step.zxid.0);
}

#[test]
fn an_old_state_can_still_be_read() {
    let mut log = Log::opened();
    log.write(create("/a", 0)).unwrap();
    let then = log.model.newest().zxid;
    log.write(Write::Delete { path: "/a".into(), version: -1 }).unwrap();
    let read = Read::Exists { path: "/a".into(), watch: false };
    assert!(log.model.at(then).unwrap().state.read(&read).unwrap().is_ok());
    assert_eq!(log.model.newest().state.read(&read), Some(Err(ErrorCode::NoNode)));
}
