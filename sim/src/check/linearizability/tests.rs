//! Small histories of one znode that an order explains, or none does.

use std::sync::Arc;

use zokor_core::id::Xid;
use zokor_core::proto::{Create, Stat};

use super::*;

const SESSION: SessionId = SessionId(5);
const OTHER: SessionId = SessionId(6);

type Answer = Result<Response, ErrorCode>;

#[derive(Default)]
struct Story {
    history: History,
}

impl Story {
    fn asked(call: Micros, request: Request) -> Asked {
        Asked { time: call, ..Asked::new(Xid(1), Arc::new(request)) }
    }

    fn write(mut self, (call, back): (Micros, Micros), write: Write, answer: Answer) -> Self {
        self.history.opened(SESSION, 0);
        let asked = Story::asked(call, Request::Write(write));
        self.history.replied(SESSION, &asked, None, (back, &answer));
        self
    }

    fn open(mut self, call: Micros, write: Write) -> Self {
        self.history.opened(SESSION, 0);
        self.history.unanswered(SESSION, &Story::asked(call, Request::Write(write)));
        self
    }

    /// A read behind a `sync` that was called at `call`.
    fn read(mut self, (call, back): (Micros, Micros), answer: Answer) -> Self {
        let read = Read::GetData { path: "/a".into(), watch: false };
        let asked = Story::asked(back, Request::Read(read));
        self.history.replied(OTHER, &asked, Some(call), (back, &answer));
        self
    }

    fn is_explained(&self) -> bool {
        self.history.judge().is_ok()
    }
}

fn create(data: &'static str, flags: i32) -> Write {
    Write::Create(Create {
        path: "/a".into(),
        data: Some(data.into()),
        acl: [].into(),
        flags,
        ttl_ms: -1,
        kind: CreateKind::Create,
    })
}

fn set(data: &'static str, version: i32) -> Write {
    Write::SetData { path: "/a".into(), data: Some(data.into()), version }
}

fn delete(version: i32) -> Write {
    Write::Delete { path: "/a".into(), version }
}

fn made() -> Answer {
    Ok(Response::Path("/a".into()))
}

fn version(version: i32) -> Answer {
    Ok(Response::Stat(Stat { version, ..Stat::default() }))
}

fn shows(data: &'static str, version: i32) -> Answer {
    Ok(Response::Data(Some(data.into()), Stat { version, ..Stat::default() }))
}

fn story() -> Story {
    Story::default().write((1, 2), create("x", 0), made())
}

#[test]
fn one_after_the_other_is_explained_in_that_order_alone() {
    let set_once = || story().write((3, 4), set("y", -1), version(1));
    assert!(set_once().read((5, 6), shows("y", 1)).is_explained());
    assert!(!set_once().read((5, 6), shows("x", 0)).is_explained());
    assert!(!set_once().read((5, 6), shows("y", 2)).is_explained());
    assert!(!set_once().read((5, 6), Err(ErrorCode::NoNode)).is_explained());
}

#[test]
fn what_overlaps_may_have_happened_in_any_order_but_one_for_all() {
    let overlapping = || story().write((3, 9), set("y", -1), version(1));
    assert!(overlapping().read((5, 6), shows("x", 0)).is_explained());
    assert!(overlapping().read((5, 6), shows("y", 1)).is_explained());
    let forth = overlapping().read((4, 5), shows("x", 0)).read((6, 7), shows("y", 1));
    assert!(forth.is_explained());
    let and_back = overlapping().read((4, 5), shows("y", 1)).read((6, 7), shows("x", 0));
    assert!(!and_back.is_explained());
}

#[test]
fn two_that_swap_the_same_version_are_not_both_right() {
    let first = || story().write((3, 6), set("y", 0), version(1));
    let refused = Err(ErrorCode::BadVersion);
    assert!(first().write((4, 7), set("z", 0), refused.clone()).is_explained());
    assert!(!first().write((4, 7), set("z", 0), version(1)).is_explained());
    let both = story().write((3, 6), set("y", 0), refused.clone());
    assert!(!both.write((4, 7), set("z", 0), refused).is_explained());
}

#[test]
fn creations_and_deletions_alternate() {
    assert!(!story().write((3, 4), create("y", 0), made()).is_explained());
    let exists = Err(ErrorCode::NodeExists);
    assert!(story().write((3, 4), create("y", 0), exists.clone()).is_explained());
    let deleted = || story().write((3, 4), delete(-1), Ok(Response::Empty));
    assert!(deleted().write((5, 6), create("y", 0), made()).is_explained());
    assert!(!deleted().write((5, 6), create("y", 0), exists).is_explained());
    assert!(!deleted().write((5, 6), delete(-1), Ok(Response::Empty)).is_explained());
    assert!(deleted().write((5, 6), delete(-1), Err(ErrorCode::NoNode)).is_explained());
    assert!(!deleted().write((5, 6), delete(-1), Err(ErrorCode::NotEmpty)).is_explained());
}

#[test]
fn what_was_never_answered_may_have_happened_or_not_but_not_before_its_call() {
    let open = || story().open(5, set("y", -1));
    assert!(open().read((6, 7), shows("y", 1)).is_explained());
    assert!(open().read((6, 7), shows("x", 0)).is_explained());
    assert!(!open().read((3, 4), shows("y", 1)).is_explained());
    let twice = open().read((6, 7), shows("y", 1)).read((8, 9), shows("y", 2));
    assert!(!twice.is_explained());
}

#[test]
fn an_ephemeral_goes_with_its_session_and_no_other_znode_does() {
    let made = |flags| Story::default().write((1, 2), create("x", flags), made());
    let missing = || Err(ErrorCode::NoNode);
    assert!(made(1).read((3, 4), missing()).is_explained());
    assert!(!made(0).read((3, 4), missing()).is_explained());
    let closed = |flags| made(flags).write((3, 4), Write::CloseSession, Ok(Response::Empty));
    assert!(closed(1).read((5, 6), missing()).is_explained());
    assert!(!closed(1).read((5, 6), shows("x", 0)).is_explained());
    assert!(closed(0).read((5, 6), shows("x", 0)).is_explained());
}

#[test]
fn the_parts_of_a_multi_happen_and_those_of_a_failed_one_do_not() {
    let multi = || Write::multi(vec![set("y", -1), Write::Check { path: "/a".into(), version: 1 }]);
    let done = || {
        let stat = Stat { version: 1, ..Stat::default() };
        Ok(Response::Multi(vec![OpResult::SetData(stat), OpResult::Check]))
    };
    assert!(story().write((3, 4), multi(), done()).read((5, 6), shows("y", 1)).is_explained());
    assert!(!story().write((3, 4), multi(), done()).read((5, 6), shows("x", 0)).is_explained());
    let failed = || {
        let errors = [None, Some(ErrorCode::BadVersion)].map(OpResult::Error);
        Ok(Response::Multi(errors.to_vec()))
    };
    assert!(story().write((3, 4), multi(), failed()).read((5, 6), shows("x", 0)).is_explained());
    assert!(!story().write((3, 4), multi(), failed()).read((5, 6), shows("y", 1)).is_explained());
}

#[test]
fn a_sequential_znode_whose_name_nobody_was_told_may_be_there() {
    let name = "/a0000000001";
    let read = |story: Story, answer: Answer| {
        let mut story = story;
        let read = Read::Exists { path: name.into(), watch: false };
        let asked = Story::asked(7, Request::Read(read));
        story.history.replied(OTHER, &asked, Some(6), (8, &answer));
        story.is_explained()
    };
    assert!(read(story().open(5, create("s", 2)), version(0)));
    assert!(read(story().open(5, create("s", 2)), Err(ErrorCode::NoNode)));
    assert!(!read(story(), version(0)));
}

#[test]
fn a_long_history_of_many_at_once_is_explained_without_trying_everything() {
    let mut story = story();
    for round in 0..36_u64 {
        let begun = 10 + round * 10;
        for n in 0..8 {
            let told = version((round * 8 + n) as i32 + 1);
            story = story.write((begun, begun + 9 - n % 2), set("y", -1), told);
        }
    }
    assert_eq!(story.history.judge(), Ok(1));
}
