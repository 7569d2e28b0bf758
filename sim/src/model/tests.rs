//! What the model must get right by itself, with answers copied from ZooKeeper's documents.

use std::sync::Arc;

use zokor_core::db::Rules;
use zokor_core::id::{Nonce, Sequence};
use zokor_core::proto::{
    Acl, AuthPacket, Create, CreateKind, Id, Identities, Names, OpResult, Permissions, Read, Text,
    open_acl,
};
use zokor_core::raft::{EntryId, Index, Term};
use zokor_core::time::WallTime;

use super::*;

const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

const NOBODY: (SessionId, &[Id]) = (SESSION, &[]);

const RULES: Rules =
    Rules { extended_types: true, skip_acl: false, enforce_quota: true, no_room: false };

struct Log {
    model: Model,
    sequence: u64,
    identities: Identities,
    time: i64,
}

impl Log {
    fn opened() -> Self {
        let mut log = Log { model: Model::new(), sequence: 0, identities: Arc::from([]), time: 9 };
        log.push(Payload::Blank);
        let open =
            Action::Open { session: SESSION, password: [7; 16], timeout_ms: 1000, nonce: Nonce(1) };
        log.push(Payload::Command(Txn { time: WallTime(5), rules: RULES, action: open }));
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
            identities: self.identities.clone(),
        };
        Txn { time: WallTime(self.time), rules: RULES, action: Action::Write { author, write } }
    }
}

fn create(path: &str, flags: i32) -> Write {
    let kind = CreateKind::Create;
    Write::Create(Create {
        path: path.into(),
        data: None,
        acl: open_acl(),
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
    let result = log.write(Write::multi(parts));
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
    let [gone] = &step.changes[..] else { panic!("{:?}", step.changes) };
    assert_eq!((gone.path.as_str(), gone.kind), ("/e", ChangeKind::Deleted));
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
    assert!(log.model.at(then).unwrap().state.read(NOBODY, &read).unwrap().is_ok());
    assert_eq!(log.model.newest().state.read(NOBODY, &read), Some(Err(ErrorCode::NoNode)));
}

fn of_kind(path: &str, flags: i32, ttl_ms: i64, kind: CreateKind) -> Write {
    let Write::Create(create) = create(path, flags) else { unreachable!("it makes one") };
    Write::Create(Create { ttl_ms, kind, ..create })
}

fn digest(user: &str) -> Identities {
    let auth = Some(bytes::Bytes::from(format!("{user}:secret")));
    acl::joined(&Arc::from([]), &AuthPacket { scheme: "digest".into(), auth }).unwrap()
}

fn reap(log: &mut Log, path: &str) {
    let action = Action::Reap { path: path.into(), unused_ms: 0 };
    log.push(Payload::Command(Txn { time: WallTime(log.time), rules: RULES, action }));
}

#[test]
fn permissions_are_asked_of_the_parent_or_of_the_znode() {
    let mut log = Log::opened();
    log.identities = digest("bob");
    let auth = |bits| vec![Acl { permissions: Permissions(bits), id: Id::new("auth", "") }];
    log.write(create("/b", 0)).unwrap();
    log.write(create("/b/c", 0)).unwrap();
    let set = |bits, version| Write::SetAcl { path: "/b".into(), acl: auth(bits).into(), version };
    assert!(log.write(set(31, 1)).is_err());
    assert!(log.write(set(31, 0)).is_ok());
    let stat = log.model.newest().state.stat("/b").unwrap();
    assert_eq!((stat.aversion, stat.version), (1, 0));
    let state = log.model.newest().state.clone();
    let get = Read::GetAcl { path: "/b".into() };
    assert_eq!(state.read(NOBODY, &get), Some(Err(ErrorCode::NoAuth)));
    let bob = digest("bob");
    let Some(Ok(Response::Acl(list, _))) = state.read((SESSION, &bob), &get) else { panic!() };
    assert_eq!(list[0].id, bob[0]);
    log.identities = digest("eve");
    for (write, allowed) in [
        (create("/b/x", 0), false),
        (Write::Delete { path: "/b/c".into(), version: -1 }, false),
        (Write::SetData { path: "/b".into(), data: None, version: -1 }, false),
        (set(31, -1), false),
        (Write::SetData { path: "/b/c".into(), data: None, version: -1 }, true),
    ] {
        let result = log.write(write.clone());
        assert_eq!(result == Err(ErrorCode::NoAuth), !allowed, "{write:?}: {result:?}");
    }
}

#[test]
fn an_acl_without_the_right_to_change_it_is_shown_without_hashes() {
    let mut log = Log::opened();
    log.identities = digest("bob");
    let acl = vec![Acl { permissions: Permissions::READ, id: Id::new("auth", "") }];
    log.write(create("/b", 0)).unwrap();
    log.write(Write::SetAcl { path: "/b".into(), acl: acl.into(), version: -1 }).unwrap();
    let get = Read::GetAcl { path: "/b".into() };
    let read = log.model.newest().state.read((SESSION, &log.identities), &get);
    let Some(Ok(Response::Acl(list, _))) = read else { panic!("{read:?}") };
    assert_eq!(list[0].id, Id::new("digest", "bob:x"));
}

#[test]
fn a_container_goes_after_its_last_child_and_not_before_its_first() {
    let mut log = Log::opened();
    log.write(of_kind("/c", 4, -1, CreateKind::Container)).unwrap();
    reap(&mut log, "/c");
    assert!(log.model.newest().state.node("/c").is_ok());
    log.write(create("/c/x", 0)).unwrap();
    reap(&mut log, "/c");
    assert!(log.model.newest().state.node("/c").is_ok());
    log.write(Write::Delete { path: "/c/x".into(), version: -1 }).unwrap();
    reap(&mut log, "/c");
    assert_eq!(log.model.newest().changes.len(), 1);
    assert!(log.model.newest().state.node("/c").is_err());
}

#[test]
fn a_ttl_znode_goes_when_it_was_not_set_for_long_enough() {
    let mut log = Log::opened();
    log.write(of_kind("/t", 5, 100, CreateKind::Ttl)).unwrap();
    log.time = 60;
    log.write(Write::SetData { path: "/t".into(), data: None, version: -1 }).unwrap();
    log.time = 160;
    reap(&mut log, "/t");
    assert!(log.model.newest().state.node("/t").is_ok());
    log.time = 161;
    reap(&mut log, "/t");
    assert!(log.model.newest().state.node("/t").is_err());
}

#[test]
fn flags_operation_and_paths_must_be_valid() {
    let mut log = Log::opened();
    for (write, code) in [
        (create("/a", 7), ErrorCode::BadArguments),
        (of_kind("/a", 5, 0, CreateKind::Ttl), ErrorCode::BadArguments),
        (of_kind("/a", 0, 5, CreateKind::Create), ErrorCode::BadArguments),
        (of_kind("/a", 4, -1, CreateKind::Create), ErrorCode::BadArguments),
        (create("/", 0), ErrorCode::NodeExists),
        (create("foo", 0), ErrorCode::BadArguments),
        (create("", 0), ErrorCode::BadArguments),
        (create("/zz/", 0), ErrorCode::NoNode),
        (create("//a", 0), ErrorCode::BadArguments),
        (create("/a//b", 0), ErrorCode::NoNode),
        (create("/.", 0), ErrorCode::BadArguments),
        (Write::Delete { path: "/a/".into(), version: -1 }, ErrorCode::NoNode),
        (Write::Delete { path: "/zookeeper/quota".into(), version: -1 }, ErrorCode::BadArguments),
        (Write::SetData { path: "a".into(), data: None, version: -1 }, ErrorCode::BadArguments),
        (Write::Check { path: "/a".into(), version: -1 }, ErrorCode::Unimplemented),
        (Write::multi(vec![Write::CloseSession]), ErrorCode::MarshallingError),
    ] {
        assert_eq!(log.write(write.clone()), Err(code), "{write:?}");
    }
    let name: Text = "/0000000000".into();
    assert_eq!(log.write(create("/", 2)), Ok(Response::Path(name)));
}

#[test]
fn reads_of_all_kinds_see_the_same_state() {
    let mut log = Log::opened();
    log.write(create("/a", 0)).unwrap();
    log.write(create("/a/e", 1)).unwrap();
    let state = &log.model.newest().state;
    let read = |read: Read| state.read(NOBODY, &read).unwrap();
    let count = |path: &str| read(Read::CountDescendants { path: path.into() });
    assert_eq!(count("/"), Ok(Response::Count(5)));
    assert_eq!(count("/a"), Ok(Response::Count(1)));
    assert_eq!(count("/x"), Err(ErrorCode::NoNode));
    let own = |prefix: &str| read(Read::GetEphemerals { prefix: prefix.into() });
    assert_eq!(own("/"), Ok(Response::Names(["/a/e"].into())));
    assert_eq!(own("/b"), Ok(Response::Names(Names::default())));
    let both = read(Read::Multi(vec![
        Read::GetChildren { path: "/a".into(), watch: false, with_stat: false },
        Read::GetData { path: "/x".into(), watch: false },
    ]));
    let parts = [OpResult::Names(["e"].into()), OpResult::Error(Some(ErrorCode::NoNode))];
    assert_eq!(both, Ok(Response::Multi(parts.to_vec())));
}

fn stored(path: &str, text: &'static str) -> Write {
    let Write::Create(plain) = create(path, 0) else { unreachable!("it makes one") };
    Write::Create(Create { data: Some(bytes::Bytes::from_static(text.as_bytes())), ..plain })
}

#[test]
fn a_quota_counts_in_place_and_its_hard_limits_are_kept() {
    let mut log = Log::opened();
    log.write(stored("/q", "1234")).unwrap();
    log.write(create("/zookeeper/quota/q", 0)).unwrap();
    log.write(stored("/zookeeper/quota/q/zookeeper_limits", "=;countHardLimit=2")).unwrap();
    log.write(stored("/zookeeper/quota/q/zookeeper_stats", "count=0,bytes=0")).unwrap();
    let shown = |log: &Log| {
        let node = log.model.newest().state.node("/zookeeper/quota/q/zookeeper_stats").cloned();
        let node = node.unwrap();
        (node.data.clone().unwrap(), node.stat.version, node.stat.mzxid)
    };
    let (text, version, mzxid) = shown(&log);
    assert_eq!((&text[..], version), (&b"count=1,bytes=4"[..], 0));
    log.write(stored("/q/a", "12")).unwrap();
    assert_eq!(shown(&log), ("count=2,bytes=6".into(), version, mzxid));
    assert_eq!(log.write(stored("/q/b", "")), Err(ErrorCode::QuotaExceeded));
    log.write(Write::Delete { path: "/q/a".into(), version: -1 }).unwrap();
    assert_eq!(shown(&log).0, "count=1,bytes=4");
}

#[test]
fn a_container_without_children_goes_when_it_may_stay_no_longer() {
    let mut log = Log::opened();
    log.write(of_kind("/c", 4, -1, CreateKind::Container)).unwrap();
    for (time, is_gone) in [(19, false), (20, true)] {
        let action = Action::Reap { path: "/c".into(), unused_ms: 10 };
        log.push(Payload::Command(Txn { time: WallTime(time), rules: RULES, action }));
        assert_eq!(log.model.newest().state.node("/c").is_err(), is_gone, "{time}");
    }
}
