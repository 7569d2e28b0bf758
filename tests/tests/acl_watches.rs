//! Permissions on the ways that lead to data other than by asking for it: events, multi operations,
//! lists of ephemerals, and lists that change.

use zokor_tests::client::Part;
use zokor_tests::records::{mode, op, perms};
use zokor_tests::{Acl, Client, ErrorCode, Event, EventKind, Program, Shared};

// `digest:alice:` and the base64 of SHA-1 over `alice:secret`, by `sha1sum`, not by our own code.
const ALICE: &str = "alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E=";
const PERSISTENT: i32 = 0;
const RECURSIVE: i32 = 1;

fn alice(shared: &Shared, index: usize) -> Client {
    let mut client = shared.client(index);
    client.authenticate("digest", b"alice:secret").expect("a digest is always accepted");
    client.sync("/").expect("sync");
    client
}

fn closed() -> [Acl; 1] {
    [Acl::new(perms::ALL, "digest", ALICE)]
}

fn event(kind: EventKind, path: &str) -> Event {
    Event { kind, path: path.to_owned() }
}

/// The events up to now: `client` has seen all that was acknowledged to anybody.
fn events(client: &mut Client) -> Vec<Event> {
    client.sync("/").expect("sync");
    client.events()
}

#[test]
fn events_of_what_one_may_not_read_are_kept_back_whatever_the_watch() {
    if !Program::promises("events need permission to read") {
        return;
    }
    let shared = Shared::join();
    let root = shared.root.clone();
    let (secret, open) = (shared.at("/secret"), shared.at("/open"));
    for index in 0..3 {
        let mut owner = alice(&shared, 0);
        let mut spies = [shared.client(index), shared.client(index)];
        spies[0].add_watch(&root, RECURSIVE).expect("anyone may watch");
        spies[1].add_watch(&secret, PERSISTENT).expect("anyone may watch");
        let mut friend = alice(&shared, index);
        friend.add_watch(&root, RECURSIVE).expect("anyone may watch");
        owner.create_with_acl(&secret, &closed()).expect("create");
        owner.create_with_acl(&format!("{secret}/a"), &closed()).expect("create");
        owner.set_data(&secret, b"x", -1).expect("set");
        owner.create(&open, b"", 0).expect("create");
        owner.delete(&format!("{secret}/a"), -1).expect("delete");
        owner.delete(&secret, -1).expect("delete");
        owner.delete(&open, -1).expect("delete");
        let visible = [event(EventKind::Created, &open), event(EventKind::Deleted, &open)];
        assert_eq!(events(&mut spies[0]), visible);
        assert_eq!(events(&mut spies[1]), []);
        assert_eq!(events(&mut friend).len(), 7);
    }
}

#[test]
fn a_list_that_changes_opens_and_closes_the_view_of_watches() {
    if !Program::promises("events need permission to read") {
        return;
    }
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut owner = alice(&shared, 1);
    owner.create_with_acl(&path, &closed()).expect("create");
    let mut watcher = shared.client(2);
    watcher.sync("/").expect("sync");
    watcher.add_watch(&path, PERSISTENT).expect("anyone may watch");
    let mut recursive = shared.client(0);
    recursive.add_watch(&shared.root, RECURSIVE).expect("anyone may watch");
    let changed = [event(EventKind::DataChanged, &path)];
    let readable = [closed()[0].clone(), Acl::new(perms::READ, "world", "anyone")];
    for (list, seen) in [(&readable[..], true), (&closed()[..], false), (&readable[..], true)] {
        owner.set_acl(&path, list, -1).expect("set");
        owner.set_data(&path, b"x", -1).expect("set");
        let expected = if seen { &changed[..] } else { &[] };
        assert_eq!(events(&mut watcher), expected);
        assert_eq!(events(&mut recursive), expected);
    }
}

#[test]
fn a_one_shot_watch_is_used_up_by_an_event_that_is_kept_back() {
    if !Program::promises("events need permission to read") {
        return;
    }
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut owner = alice(&shared, 0);
    owner.create(&path, b"", 0).expect("create");
    let mut watcher = shared.client(1);
    watcher.sync("/").expect("sync");
    watcher.get_data(&path, true).expect("readable");
    watcher.children(&path, true).expect("readable");
    owner.set_acl(&path, &closed(), -1).expect("set");
    owner.set_data(&path, b"x", -1).expect("set");
    owner.create(&format!("{path}/b"), b"", 0).expect("create");
    assert_eq!(events(&mut watcher), []);
    owner.set_acl(&path, &Acl::open(), -1).expect("set");
    owner.set_data(&path, b"y", -1).expect("set");
    owner.create(&format!("{path}/c"), b"", 0).expect("create");
    assert_eq!(events(&mut watcher), [], "both were used up");
}

#[test]
fn news_of_children_need_permission_to_read_the_parent() {
    if !Program::promises("events need permission to read") {
        return;
    }
    let shared = Shared::join();
    let (open, secret) = (shared.at("/open"), shared.at("/secret"));
    let mut owner = alice(&shared, 2);
    owner.create(&open, b"", 0).expect("create");
    owner.create_with_acl(&secret, &closed()).expect("create");
    let mut watcher = shared.client(0);
    watcher.sync("/").expect("sync");
    watcher.add_watch(&open, PERSISTENT).expect("anyone may watch");
    watcher.add_watch(&secret, PERSISTENT).expect("anyone may watch");
    owner.create_with_acl(&format!("{open}/a"), &closed()).expect("create");
    owner.create(&format!("{secret}/a"), b"", 0).expect("create");
    assert_eq!(events(&mut watcher), [event(EventKind::ChildrenChanged, &open)]);
}

#[test]
fn a_refused_exists_tells_nothing_and_sets_no_watch() {
    if !Program::promises("exists needs permission to read") {
        return;
    }
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut owner = alice(&shared, 0);
    owner.create_with_acl(&path, &closed()).expect("create");
    let mut stranger = shared.client(0);
    assert_eq!(stranger.exists(&path, true), Err(ErrorCode::NO_AUTH));
    assert_eq!(stranger.check_watches(&path, 3), Err(ErrorCode::NO_WATCHER));
    assert!(alice(&shared, 0).exists(&path, true).is_ok());
}

#[test]
fn a_multi_asks_for_the_permissions_of_its_parts() {
    let shared = Shared::join();
    let (open, secret) = (shared.at("/open"), shared.at("/secret"));
    let mut owner = alice(&shared, 0);
    owner.create(&open, b"", 0).expect("create");
    owner.create_with_acl(&secret, &closed()).expect("create");
    owner.create(&format!("{secret}/a"), b"", 0).expect("create");
    let mut stranger = shared.client(1);
    stranger.sync("/").expect("sync");
    let set = Part::SetData(open.clone(), b"x".to_vec(), -1);
    let parts = [
        Part::Create(op::CREATE, format!("{secret}/b"), vec![], mode::PERSISTENT),
        Part::Delete(format!("{secret}/a"), -1),
        Part::SetData(secret.clone(), vec![], -1),
        Part::Check(secret.clone(), -1),
    ];
    let failed = [Part::Failed(ErrorCode(0)), Part::Failed(ErrorCode::NO_AUTH)];
    for part in parts {
        let answer = stranger.multi(&[set.clone(), part.clone()]);
        assert_eq!(answer, Ok(failed.to_vec()), "{part:?}");
        assert!(owner.multi(&[set.clone(), part]).is_ok());
    }
    assert_eq!(stranger.get(&open), Ok(b"x".to_vec()), "by the owner alone");
}

#[test]
fn a_multi_read_tells_no_more_than_its_parts_would() {
    if !Program::promises("multiRead as 3.9 has it") {
        return;
    }
    let shared = Shared::join();
    let (open, secret) = (shared.at("/open"), shared.at("/secret"));
    let mut owner = alice(&shared, 2);
    owner.create(&open, b"x", 0).expect("create");
    owner.create_with_acl(&secret, &closed()).expect("create");
    let mut stranger = shared.client(2);
    let parts = [Part::GetData(secret.clone()), Part::GetChildren(secret), Part::GetData(open)];
    let answer = stranger.multi_read(&parts).expect("an answer");
    let no = Part::Failed(ErrorCode::NO_AUTH);
    assert_eq!(answer[..2], [no.clone(), no]);
    assert!(matches!(&answer[2], Part::Data(Some(data), _) if data == b"x"), "{answer:?}");
}

#[test]
fn ephemerals_are_told_to_their_session_alone() {
    let shared = Shared::join();
    let path = shared.at("/e");
    let mut owner = alice(&shared, 0);
    owner.create(&path, b"", mode::EPHEMERAL).expect("create");
    owner.set_acl(&path, &[Acl::new(perms::ADMIN, "digest", ALICE)], -1).expect("set");
    if Program::promises("getEphemerals") {
        assert_eq!(owner.ephemerals(&shared.root), Ok(vec![path]), "its own, readable or not");
        assert_eq!(alice(&shared, 0).ephemerals(&shared.root), Ok(vec![]), "the same user");
    }
}

#[test]
fn counting_what_is_below_asks_for_the_top_alone() {
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut owner = alice(&shared, 1);
    owner.create(&path, b"", 0).expect("create");
    owner.create_with_acl(&format!("{path}/b"), &closed()).expect("create");
    owner.create(&format!("{path}/b/c"), b"", 0).expect("create");
    let mut stranger = shared.client(1);
    assert_eq!(stranger.count_descendants(&path), Ok(2));
    assert_eq!(stranger.count_descendants(&format!("{path}/b")), Err(ErrorCode::NO_AUTH));
}

#[test]
fn who_may_only_administer_sees_the_list_whole_and_nothing_else() {
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut client = shared.client(0);
    let admin = Acl::new(perms::ADMIN, "world", "anyone");
    let list = [admin, Acl::new(perms::ALL, "digest", ALICE)];
    client.create_with_acl(&path, &list).expect("create");
    assert_eq!(client.acl(&path).map(|(acl, _)| acl), Ok(list.to_vec()));
    assert_eq!(client.get(&path), Err(ErrorCode::NO_AUTH));
    client.set_acl(&path, &closed(), -1).expect("set");
    assert_eq!(client.acl(&path), Err(ErrorCode::NO_AUTH), "neither READ nor ADMIN");
}
