//! Ephemeral znodes live as long as their session, not as long as its connection.

use zokor_tests::raw::Hello;
use zokor_tests::records::mode;
use zokor_tests::{Client, Ensemble, ErrorCode, Event, EventKind, Shared, eventually};

#[test]
fn an_ephemeral_goes_when_its_session_is_closed() {
    let shared = Shared::join();
    let (mut owner, mut other) = (shared.client(0), shared.client(1));
    let path = shared.at("/e");
    owner.create(&path, b"", mode::EPHEMERAL).expect("create");
    other.sync("/").expect("sync");
    let stat = other.exists(&path, true).expect("it is there");
    assert_eq!(stat.ephemeral_owner, owner.granted.session);
    owner.close();
    assert_eq!(other.next_event(), Ok(Event::new(EventKind::Deleted, &path)));
    assert_eq!(other.exists(&path, false), Err(ErrorCode::NO_NODE));
}

#[test]
fn all_of_a_sessions_ephemerals_go_in_one_step() {
    let shared = Shared::join();
    let (mut owner, mut other) = (shared.client(0), shared.client(2));
    for _ in 0..20 {
        owner.create(&shared.at("/e-"), b"", mode::EPHEMERAL_SEQUENTIAL).expect("create");
    }
    let before = owner.exists(&shared.root, false).expect("it is there");
    owner.close();
    other.sync("/").expect("sync");
    let (names, after) = other.children2(&shared.root, false).expect("it is there");
    assert_eq!(names, Vec::<String>::new());
    assert_eq!((after.cversion, after.num_children), (before.cversion + 20, 0));
    assert!(after.pzxid > before.pzxid);
}

#[test]
fn an_ephemeral_goes_when_its_session_expires() {
    let ensemble = Ensemble::of(3).tick_ms(200).start();
    let mut other = ensemble.client(1);
    let mut owner = Client::open(ensemble.address(0), &Hello::fresh(400)).expect("a session");
    owner.create("/e", b"", mode::EPHEMERAL).expect("create");
    drop(owner);
    eventually("the ephemeral goes", || {
        (other.exists("/e", false) == Err(ErrorCode::NO_NODE)).then_some(())
    });
}

#[test]
fn an_ephemeral_outlives_the_connection() {
    let shared = Shared::join();
    let mut owner = shared.client(0);
    let path = shared.at("/e");
    owner.create(&path, b"", mode::EPHEMERAL).expect("create");
    let mut again = owner.resume(shared.address(1)).expect("the session goes on");
    let owner_id = again.exists(&path, false).expect("it is there").ephemeral_owner;
    assert_eq!(owner_id, owner.session());
    assert_eq!(again.ephemerals("/"), Ok(vec![path]));
}

#[test]
fn anyone_may_delete_an_ephemeral_and_its_owner_may_make_it_again() {
    let shared = Shared::join();
    let (mut owner, mut other) = (shared.client(0), shared.client(0));
    let path = shared.at("/e");
    owner.create(&path, b"", mode::EPHEMERAL).expect("create");
    other.delete(&path, -1).expect("delete");
    assert_eq!(owner.ephemerals("/"), Ok(vec![]));
    owner.create(&path, b"", mode::EPHEMERAL).expect("create");
    owner.close();
    assert_eq!(other.exists(&path, false), Err(ErrorCode::NO_NODE));
}

#[test]
fn a_persistent_znode_takes_the_place_of_a_deleted_ephemeral_for_good() {
    let shared = Shared::join();
    let (mut owner, mut other) = (shared.client(1), shared.client(1));
    let path = shared.at("/e");
    owner.create(&path, b"", mode::EPHEMERAL).expect("create");
    other.delete(&path, -1).expect("delete");
    other.create(&path, b"stays", mode::PERSISTENT).expect("create");
    owner.close();
    assert_eq!(other.get(&path), Ok(b"stays".to_vec()));
}

#[test]
fn ephemerals_survive_a_restart_within_the_timeout() {
    let mut ensemble = Ensemble::standalone();
    let mut owner = Client::open(ensemble.address(0), &Hello::fresh(10_000)).expect("a session");
    owner.create("/e", b"", mode::EPHEMERAL).expect("create");
    ensemble.kill(0);
    ensemble.restart(0);
    ensemble.wait_until_serving();
    let mut again = owner.resume(ensemble.address(0)).expect("the session goes on");
    assert_eq!(again.ephemerals("/"), Ok(vec!["/e".into()]));
    again.close();
    assert_eq!(ensemble.client(0).exists("/e", false), Err(ErrorCode::NO_NODE));
}
