//! A connection's watches over small histories, each right or wrong in one place.

use std::sync::Arc;

use zokor_core::db::{Action, Author, Rules, Txn};
use zokor_core::id::{Nonce, Sequence, SessionId, Token, Xid};
use zokor_core::proto::{
    Acl, Create, CreateKind, Id, Permissions, Rewatch, WatchMode, WatcherType, Write,
};
use zokor_core::raft::{Entry, EntryId, Index, Payload, Term};
use zokor_core::time::WallTime;

use super::*;

pub(super) fn owed(zxid: i64, path: &str) -> Owed {
    let (kind, path) = (EventKind::Created, path.to_owned());
    Owed { zxid: Zxid(zxid), kind, path, stays: false, certain: true }
}

const OPEN: (&str, &str) = ("world", "anyone");

fn create(path: &str, (scheme, id): (&str, &str)) -> Write {
    Write::Create(Create {
        path: path.into(),
        data: None,
        acl: vec![Acl { permissions: Permissions::ALL, id: Id::new(scheme, id) }].into(),
        flags: 0,
        ttl_ms: -1,
        kind: CreateKind::Create,
    })
}

/// A blank, a session, and then these writes from zxid 2 on.
fn model(writes: Vec<Write>) -> Model {
    let session = SessionId(1 << 56);
    let open = Action::Open { session, password: [0; 16], timeout_ms: 1, nonce: Nonce(0) };
    let writes = writes.into_iter().zip(1..).map(|(write, sequence)| {
        let (token, sequence) = (Token((1 << 32) | 1), Sequence(sequence));
        let author = Author { session, token, sequence, identities: Arc::from([]) };
        Action::Write { author, write }
    });
    let command =
        |action| Payload::Command(Txn { time: WallTime(0), rules: Rules::default(), action });
    let commands = [open].into_iter().chain(writes).map(command);
    let mut model = Model::new();
    for (n, payload) in [Payload::Blank].into_iter().chain(commands).enumerate() {
        let id = EntryId { term: Term(1), index: Index(n as u64 + 1) };
        model.append(&Entry { id, payload });
    }
    model
}

/// `/a` and then `/b` are created.
fn two() -> Model {
    model(vec![create("/a", OPEN), create("/b", OPEN)])
}

fn zxid(counter: i64) -> Zxid {
    Zxid((1 << 32) | counter)
}

fn asked(request: Request) -> Asked {
    Asked::new(Xid(1), Arc::new(request))
}

fn fresh() -> Watching {
    Watching::new(ConnId(1), Arc::from([]))
}

/// A connection that watched `path` when it was missing.
fn watching(path: &str, model: &Model) -> Watching {
    let mut watching = fresh();
    let request = asked(Request::Read(Read::Exists { path: path.into(), watch: true }));
    watching.replied(&request, zxid(1), &Err(ErrorCode::NoNode), model).unwrap();
    watching
}

fn read(watching: &mut Watching, at: i64, read: Read, model: &Model) -> Verdict {
    let result = match &read {
        Read::AddWatch { .. } => Ok(Response::WatchAdded),
        _ => Ok(Response::Empty),
    };
    watching.replied(&asked(Request::Read(read)), zxid(at), &result, model)
}

fn created(path: &str) -> Event {
    Event { kind: EventKind::Created, path: path.into() }
}

fn pong(watching: &mut Watching, at: i64, model: &Model) -> Verdict {
    watching.replied(&asked(Request::Ping), zxid(at), &Ok(Response::Empty), model)
}

fn check(verdict: Verdict) -> &'static str {
    verdict.expect_err("it is wrong").check
}

#[test]
fn an_event_before_the_reply_is_right() {
    let model = two();
    let mut watching = watching("/a", &model);
    assert_eq!(watching.count(), 1);
    assert!(watching.notified(zxid(2), &created("/a"), &model).is_ok());
    assert!(pong(&mut watching, 3, &model).is_ok());
    assert!(watching.finished(3, &model).is_ok());
    assert_eq!(watching.count(), 0);
}

#[test]
fn a_reply_before_its_event_is_found() {
    let model = two();
    assert!(check(pong(&mut watching("/a", &model), 2, &model)).contains("(V2)"));
}

#[test]
fn an_event_twice_or_without_a_cause_is_found() {
    let model = two();
    let mut other = watching("/b", &model);
    assert!(check(other.notified(zxid(3), &created("/a"), &model)).contains("(V4)"));
    let mut twice = watching("/a", &model);
    twice.notified(zxid(2), &created("/a"), &model).unwrap();
    assert!(check(twice.notified(zxid(2), &created("/a"), &model)).contains("(V1)"));
    let mut unknown = watching("/a", &model);
    assert!(check(unknown.notified(zxid(9), &created("/a"), &model)).contains("(V4)"));
}

#[test]
fn events_out_of_order_are_found() {
    let model = two();
    let mut watching = watching("/a", &model);
    let both = Read::Exists { path: "/b".into(), watch: true };
    watching
        .replied(&asked(Request::Read(both)), zxid(1), &Err(ErrorCode::NoNode), &model)
        .unwrap();
    assert!(check(watching.notified(zxid(3), &created("/b"), &model)).contains("(V3)"));
}

#[test]
fn a_watch_set_again_must_fire_for_what_it_missed() {
    let model = two();
    let rewatch = Rewatch { exist: vec!["/a".into()], ..Rewatch::default() };
    let request = asked(Request::SetWatches(rewatch));
    let answer = Ok(Response::Empty);
    let silent = fresh().replied(&request, zxid(2), &answer, &model);
    assert!(check(silent).contains("(V6)"));
    let mut right = fresh();
    right.notified(Zxid(-1), &created("/a"), &model).unwrap();
    assert!(right.replied(&request, zxid(2), &answer, &model).is_ok());
    let mut unasked = fresh();
    unasked.notified(Zxid(-1), &created("/a"), &model).unwrap();
    assert!(check(pong(&mut unasked, 2, &model)).contains("(V4)"));
}

#[test]
fn a_recursive_watch_is_told_of_every_descendant_once() {
    let model = model(vec![create("/a", OPEN), create("/a/b", OPEN)]);
    let add = || Read::AddWatch { path: "/".into(), mode: WatchMode::Recursive };
    let mut right = fresh();
    read(&mut right, 1, add(), &model).unwrap();
    assert!(right.notified(zxid(2), &created("/a"), &model).is_ok());
    assert!(right.notified(zxid(3), &created("/a/b"), &model).is_ok());
    assert!(check(right.notified(zxid(3), &created("/a/b"), &model)).contains("(V5)"));
    let mut missing = fresh();
    read(&mut missing, 1, add(), &model).unwrap();
    missing.notified(zxid(2), &created("/a"), &model).unwrap();
    assert!(check(pong(&mut missing, 3, &model)).contains("(V5)"));
}

#[test]
fn a_watch_taken_away_tells_nothing() {
    let model = two();
    let mut watching = watching("/a", &model);
    let remove = || Read::RemoveWatches { path: "/a".into(), kind: WatcherType::Data };
    assert!(read(&mut watching, 1, remove(), &model).is_ok());
    assert!(check(read(&mut watching, 1, remove(), &model)).contains("(V7)"));
    let look = || Read::CheckWatches { path: "/a".into(), kind: WatcherType::Any };
    assert!(check(read(&mut watching, 1, look(), &model)).contains("(V7)"));
    assert!(check(watching.notified(zxid(2), &created("/a"), &model)).contains("(V7)"));
    assert!(pong(&mut watching, 3, &model).is_ok());
}

#[test]
fn a_closed_session_hears_nothing_and_is_owed_nothing_of_its_end() {
    let model = two();
    let mut watching = watching("/b", &model);
    let close = asked(Request::Write(Write::CloseSession));
    assert!(watching.replied(&close, zxid(3), &Ok(Response::Empty), &model).is_ok());
    assert!(check(watching.notified(zxid(3), &created("/b"), &model)).contains("(V7)"));
    let mut earlier = self::watching("/a", &model);
    let verdict = earlier.replied(&close, zxid(3), &Ok(Response::Empty), &model);
    assert!(check(verdict).contains("(V2)"));
}

#[test]
fn an_event_missing_at_the_end_is_found() {
    let model = two();
    let mut watching = watching("/a", &model);
    assert!(watching.finished(1, &model).is_ok());
    assert!(check(watching.finished(3, &model)).contains("(V8)"));
}

#[test]
fn what_may_not_be_read_is_not_told_until_the_reader_has_proven_who_it_is() {
    let bob: Identities = Arc::from([Id::new("digest", "bob:h")]);
    let hidden = || create("/a", ("digest", "bob:h"));
    let model = model(vec![hidden(), create("/b", OPEN)]);
    let stranger = || watching("/a", &model);
    assert!(check(stranger().notified(zxid(2), &created("/a"), &model)).contains("(V4)"));
    assert!(pong(&mut stranger(), 3, &model).is_ok());
    // Whether the change or the proof came first is not to be seen.
    let mut late = stranger();
    late.proved(bob.clone());
    assert!(pong(&mut late, 3, &model).is_ok());
    let mut early = stranger();
    early.proved(bob.clone());
    assert!(early.notified(zxid(2), &created("/a"), &model).is_ok());
    // After an answer it is.
    let mut known = stranger();
    known.proved(bob);
    pong(&mut known, 1, &model).unwrap();
    assert!(check(pong(&mut known, 3, &model)).contains("(V2)"));
}
