//! Sessions: opening, attaching, the order of writes, and the end.

use super::*;
use crate::proto::OpResult;

fn attach(session: SessionId, password: [u8; 16], replaces: Token) -> Action {
    Action::Attach { session, password, timeout_ms: 9_000, replaces, nonce: Nonce(8) }
}

fn author(session: SessionId, token: Token, sequence: u64) -> Author {
    Author { session, token, sequence: Sequence(sequence), identities: [ip()].into() }
}

#[test]
fn an_id_is_opened_once_and_only_above_the_last() {
    let mut lone = Lone::new();
    assert_eq!(lone.db.last_session_id(1), TWO);
    let refused = Outcome::Refused(Refusal::IdTaken);
    for id in [TWO.0, ONE.0, TWO.0 - 1, 0, 0x0100_0000_0000_0000, i64::MIN, 0xff << 56 | 5] {
        assert_eq!(lone.act(open(SessionId(id))), refused, "{id:x}");
    }
    for id in [1, TWO.0 + 1, i64::MIN + 1] {
        let opened = lone.act(open(SessionId(id)));
        let token = Token(lone.db.zxid().0);
        assert_eq!(opened, Outcome::Attached { token }, "{id:x}");
        assert_eq!(lone.db.session(SessionId(id)).unwrap().token, token);
    }
    lone.write_as(TWO, &[], Write::CloseSession).unwrap();
    assert_eq!(lone.act(open(TWO)), refused, "not even after its end");
    let ids: Vec<i64> = lone.db.sessions().map(|session| session.id.0).collect();
    assert_eq!(ids, [i64::MIN + 1, 1, ONE.0, TWO.0 + 1]);
    assert_eq!(lone.db.session_count(), 4);
}

#[test]
fn an_attach_is_a_compare_and_swap_on_the_token() {
    let mut lone = Lone::new();
    lone.make("/a", 0);
    let first = lone.db.session(ONE).unwrap().token;
    let rows = [
        (attach(SessionId(9), [1; 16], first), Refusal::Unknown),
        (attach(ONE, [2; 16], Token(0)), Refusal::WrongPassword),
        (attach(ONE, [1; 16], Token(0)), Refusal::Overtaken { token: first }),
    ];
    for (action, refusal) in rows {
        assert_eq!(lone.act(action), Outcome::Refused(refusal));
    }
    assert!(matches!(lone.act(attach(ONE, [1; 16], first)), Outcome::Attached { .. }));
    let session = lone.db.session(ONE).unwrap().clone();
    assert_eq!(session.token, Token(lone.db.zxid().0));
    assert_eq!((session.sequence, session.timeout_ms), (Sequence(0), 9_000));
    assert_eq!((session.nonce, session.password), (Nonce(8), [1; 16]));
    let late = lone.act(attach(ONE, [1; 16], first));
    assert_eq!(late, Outcome::Refused(Refusal::Overtaken { token: session.token }));
}

#[test]
fn a_write_is_applied_in_its_turn_and_once() {
    let mut lone = Lone::new();
    let token = lone.db.session(ONE).unwrap().token;
    let mut write = |author, write| {
        let content = lone.db.tree.digest();
        let outcome = lone.act(Action::Write { author, write });
        (outcome, lone.db.tree.digest() != content)
    };
    let ended = write(author(SessionId(9), token, 1), create("/a", 0));
    assert_eq!(ended, (Outcome::Ended, false));
    let moved = write(author(ONE, Token(token.0 - 1), 1), create("/a", 0));
    assert_eq!(moved, (Outcome::Moved, false));
    assert_eq!(write(author(ONE, token, 2), create("/a", 0)), (Outcome::Gap, false));
    assert_eq!(write(author(ONE, token, 0), create("/a", 0)), (Outcome::Copy, false));
    let path = Outcome::Answered(Ok(Response::Path("/a".into())));
    assert_eq!(write(author(ONE, token, 1), create("/a", 0)), (path, true));
    assert_eq!(write(author(ONE, token, 1), create("/b", 0)), (Outcome::Copy, false));
    let failed = Outcome::Answered(Err(ErrorCode::NodeExists));
    assert_eq!(write(author(ONE, token, 2), create("/a", 0)), (failed, false));
    assert_eq!(write(author(ONE, token, 2), create("/b", 0)), (Outcome::Copy, false));
    assert_eq!(write(author(ONE, token, u64::MAX), create("/b", 0)), (Outcome::Gap, false));
    assert_eq!(lone.db.session(ONE).unwrap().sequence, Sequence(2));
}

#[test]
fn ephemerals_go_with_their_session_in_the_order_of_their_paths() {
    let mut lone = Lone::new();
    lone.make("/p", 0);
    for path in ["/p/c", "/b", "/p/a", "/p.x"] {
        lone.make(path, 1);
    }
    lone.write_as(TWO, &[], create("/p/b", 1)).unwrap();
    let before = lone.stat("/p");
    assert_eq!(lone.write(Write::CloseSession), Ok(Response::Empty));
    let deleted = ["/b", "/p.x", "/p/a", "/p/c"].map(|path| (ChangeKind::Deleted, path.to_owned()));
    assert_eq!(lone.changes, deleted);
    assert_eq!(lone.db.session(ONE), None);
    assert_eq!(lone.db.ephemeral_count(), 1);
    let after =
        Stat { num_children: 1, cversion: before.cversion + 2, pzxid: lone.db.zxid().0, ..before };
    assert_eq!(lone.stat("/p"), after);
    let author = author(ONE, Token(0), 1);
    let outcome = lone.act(Action::Write { author, write: create("/x", 1) });
    assert_eq!(outcome, Outcome::Ended);
}

#[test]
fn expiry_ends_the_attachment_that_was_overdue_and_no_later_one() {
    let mut lone = Lone::new();
    lone.make("/e", 1);
    let overdue = lone.db.session(ONE).unwrap().token;
    lone.act(attach(ONE, [1; 16], overdue));
    let expire = |token| Action::Expire { session: ONE, token };
    assert_eq!(lone.act(expire(overdue)), Outcome::Settled);
    assert_eq!(lone.stat("/e").ephemeral_owner, ONE.0);
    let now = lone.db.session(ONE).unwrap().token;
    assert_eq!(lone.act(expire(now)), Outcome::Expired(ONE));
    assert_eq!(lone.changes, [(ChangeKind::Deleted, "/e".to_owned())]);
    assert_eq!(lone.act(expire(now)), Outcome::Settled);
}

#[test]
fn a_session_lists_its_own_ephemerals_by_prefix() {
    let mut lone = Lone::new();
    for path in ["/b", "/ab", "/a"] {
        lone.make(path, 1);
    }
    lone.write_as(TWO, &[], create("/ac", 1)).unwrap();
    let rows: [(&str, &[&str]); 9] = [
        ("", &["/a", "/ab", "/b"]),
        ("  ", &["/a", "/ab", "/b"]),
        ("/", &["/a", "/ab", "/b"]),
        ("/ ", &["/a", "/ab", "/b"]),
        (" \0/\t", &["/a", "/ab", "/b"]),
        ("\u{2003}/", &[]),
        ("/a", &["/a", "/ab"]),
        ("/ac", &[]),
        ("b", &[]),
    ];
    for (prefix, expected) in rows {
        let answer = lone.read(Read::GetEphemerals { prefix: prefix.into() });
        let expected = expected.iter().collect();
        assert_eq!(answer, Ok(Response::Names(expected)), "{prefix:?}");
    }
    let all: Vec<(SessionId, Vec<&str>)> =
        lone.db.ephemerals().map(|(owner, paths)| (owner, paths.collect())).collect();
    assert_eq!(all, [(ONE, vec!["/a", "/ab", "/b"]), (TWO, vec!["/ac"])]);
}

#[test]
#[should_panic(expected = "comes after")]
fn zxids_only_grow() {
    let mut lone = Lone::new();
    let zxid = lone.db.zxid();
    lone.db.skip(zxid);
}

#[test]
fn a_skipped_entry_moves_the_zxid_alone() {
    let mut lone = Lone::new();
    let (content, digest) = (lone.db.tree.digest(), lone.db.digest());
    lone.db.skip(Zxid(9 << 32));
    assert_eq!(lone.db.zxid(), Zxid(9 << 32));
    assert_eq!(lone.db.tree.digest(), content);
    assert_ne!(lone.db.digest(), digest);
}

const THREE: ServerId = ServerId(3);

/// Takes ids that are above those of before.
fn enroll(replaces: Token) -> Action {
    let first = SessionId(0x0300_0000_0000_0001 + replaces.0 * LANE_IDS);
    Action::Enroll { server: THREE, first, replaces, nonce: Nonce(4) }
}

/// Of a session that only server 3 knows.
const LOCAL: SessionId = SessionId(0x0300_0000_0000_0001);

fn local(token: Token, sequence: u64, work: LocalWork) -> Action {
    let lane = Lane { server: THREE, token, sequence: Sequence(sequence) };
    Action::Local { lane, author: author(LOCAL, Token(1), sequence), work }
}

fn local_write(token: Token, sequence: u64, write: Write) -> Action {
    local(token, sequence, LocalWork::Write(write))
}

fn upgrade(token: Token, sequence: u64) -> Action {
    local(token, sequence, LocalWork::Upgrade { password: [5; 16], timeout_ms: 6_000 })
}

/// With a lane, and its token.
fn with_lane() -> (Lone, Token) {
    let mut lone = Lone::new();
    let Outcome::Attached { token } = lone.act(enroll(Token(0))) else { panic!("not enrolled") };
    (lone, token)
}

#[test]
fn a_lane_is_taken_up_by_a_compare_and_swap_and_is_no_session() {
    let (mut lone, first) = with_lane();
    assert_eq!(first, Token(lone.db.zxid().0));
    let overtaken = |token| Outcome::Refused(Refusal::Overtaken { token });
    assert_eq!(lone.act(enroll(Token(0))), overtaken(first), "a late copy");
    lone.act(local_write(first, 1, create("/a", 0)));
    let Outcome::Attached { token } = lone.act(enroll(first)) else { panic!("not enrolled") };
    assert_eq!(lone.act(enroll(first)), overtaken(token));
    let late = lone.act(local_write(first, 2, create("/b", 0)));
    assert_eq!(late, Outcome::Moved, "of a former process");
    let lane = lone.db.lane(THREE).expect("it is there").clone();
    assert_eq!((lane.token, lane.sequence), (token, Sequence(0)));
    assert_eq!(lone.db.session_count(), 2);
    assert!(lone.db.sessions().all(|session| session.id != lane.id));
    assert_eq!(lone.db.session(lane.id), None);
    assert_eq!(lone.act(open(lane.id)), Outcome::Refused(Refusal::IdTaken));
    let stolen = lone.act(attach(lane.id, [0; 16], token));
    assert_eq!(stolen, Outcome::Refused(Refusal::Unknown));
    assert_eq!(lone.act(Action::Expire { session: lane.id, token }), Outcome::Settled);
    let taken = lone.db.last_session_id(3);
    for (server, first) in
        [(u64::MAX, taken.0 + 1), (4, taken.0), (4, i64::MAX), (4, -LANE_IDS), (4, -1)]
    {
        let (server, first) = (ServerId(server), SessionId(first));
        let bad = Action::Enroll { server, first, replaces: Token(0), nonce: Nonce(1) };
        assert_eq!(lone.act(bad), Outcome::Refused(Refusal::IdTaken), "{first}");
    }
    assert_eq!(lone.db.last_session_id(3), taken);
}

#[test]
fn what_is_in_a_lane_is_done_in_its_turn_and_once() {
    let (mut lone, token) = with_lane();
    let mut act = |sequence, path: &str| lone.act(local_write(token, sequence, create(path, 0)));
    assert_eq!(act(2, "/b"), Outcome::Gap);
    assert!(matches!(act(1, "/a"), Outcome::Answered(Ok(_))));
    assert_eq!(act(1, "/a"), Outcome::Copy);
    assert!(matches!(act(2, "/a"), Outcome::Answered(Err(ErrorCode::NodeExists))));
    assert_eq!(act(2, "/b"), Outcome::Copy, "a write that failed was had");
    assert_eq!(lone.db.session(LOCAL), None);
    assert_eq!(lone.stat("/a").ephemeral_owner, 0);
    let mut other = Lone::new();
    assert_eq!(other.act(local_write(token, 1, create("/a", 0))), Outcome::Ended);
}

#[test]
fn a_local_session_makes_no_ephemeral_and_has_no_end_in_the_log() {
    let (mut lone, token) = with_lane();
    let refused = Outcome::Answered(Err(ErrorCode::EphemeralOnLocalSession));
    assert_eq!(lone.act(local_write(token, 1, create("/e", 1))), refused);
    assert_eq!(lone.act(local_write(token, 2, create("no path", 3))), refused, "as in ZooKeeper");
    let flags = lone.act(local_write(token, 3, create("/e", 9)));
    assert_eq!(flags, Outcome::Answered(Err(ErrorCode::BadArguments)), "flags come first");
    let multi = Write::multi(vec![create("/a", 0), create("/e", 1), create("/b", 0)]);
    let results = vec![
        OpResult::Error(None),
        OpResult::Error(Some(ErrorCode::EphemeralOnLocalSession)),
        OpResult::Error(Some(ErrorCode::RuntimeInconsistency)),
    ];
    let failed = Outcome::Answered(Ok(Response::Multi(results)));
    assert_eq!(lone.act(local_write(token, 4, multi)), failed);
    let close = lone.act(local_write(token, 5, Write::CloseSession));
    assert_eq!(close, Outcome::Answered(Err(ErrorCode::Unimplemented)));
    assert_eq!(lone.read(exists("/a")), Err(ErrorCode::NoNode));
}

#[test]
fn an_upgraded_session_is_one_like_any_other() {
    let (mut lone, lane) = with_lane();
    lone.act(local_write(lane, 1, create("/a", 0)));
    let before = lone.db.digest();
    let upgraded = lone.act(upgrade(lane, 2));
    let token = Token(lone.db.zxid().0);
    assert_eq!(upgraded, Outcome::Attached { token });
    assert_ne!(lone.db.digest(), before);
    let session = lone.db.session(LOCAL).expect("all know it").clone();
    assert_eq!((session.password, session.timeout_ms), ([5; 16], 6_000));
    assert_eq!((session.token, session.sequence), (token, Sequence(2)), "it counts on");
    let taken = SessionId(LOCAL.0 + LANE_IDS - 1);
    assert_eq!(lone.db.last_session_id(3), taken);
    assert_eq!(lone.act(upgrade(lane, 2)), Outcome::Copy);
    assert_eq!(lone.act(upgrade(lane, 3)), Outcome::Refused(Refusal::IdTaken));
    lone.write_as(LOCAL, &[ip()], create("/e", 1)).expect("it may own ephemerals");
    assert_eq!(lone.stat("/e").ephemeral_owner, LOCAL.0);
    lone.write_as(LOCAL, &[ip()], Write::CloseSession).expect("closed");
    assert_eq!(lone.read(exists("/e")), Err(ErrorCode::NoNode));
    // Those that came with the lane are upgraded in any order.
    let another = SessionId(LOCAL.0 + 1);
    let work = LocalWork::Upgrade { password: [5; 16], timeout_ms: 6_000 };
    let place = Lane { server: THREE, token: lane, sequence: Sequence(4) };
    let action = Action::Local { lane: place, author: author(another, Token(1), 0), work };
    assert!(matches!(lone.act(action), Outcome::Attached { .. }));
    assert_eq!(lone.db.last_session_id(3), taken);
}

#[test]
fn lanes_are_part_of_an_image() {
    let (mut lone, token) = with_lane();
    lone.act(local_write(token, 1, create("/a", 0)));
    let image = lone.db.freeze();
    let thawed = Database::thaw(image);
    assert_eq!(thawed.digest(), lone.db.digest());
    assert_eq!(thawed.lane(THREE), lone.db.lane(THREE));
    assert_eq!(thawed.session_count(), 2);
}

#[test]
fn sessions_and_what_they_own_can_be_had_part_by_part() {
    let mut lone = Lone::new();
    for (owner, path) in [(ONE, "/a"), (ONE, "/c"), (TWO, "/b")] {
        lone.write_as(owner, &[], create(path, 1)).unwrap();
    }
    let all = [(ONE, "/a"), (ONE, "/c"), (TWO, "/b")];
    for n in 0..=all.len() {
        let after = n.checked_sub(1).map(|last| all[last]);
        let rest: Vec<(SessionId, &str)> = lone.db.ephemerals_after(after).collect();
        assert_eq!(rest, all[n..]);
    }
    assert_eq!(lone.db.ephemerals_after(Some((ONE, "/b"))).next(), Some((ONE, "/c")));
    let ids = |after| lone.db.sessions_after(after).map(|it| it.id).collect::<Vec<_>>();
    assert_eq!(ids(None), [ONE, TWO]);
    assert_eq!(ids(Some(ONE)), [TWO]);
    assert_eq!(ids(Some(TWO)), []);
}
