//! Sessions that one server alone knows: `localSessionsEnabled`.

use std::collections::BTreeMap;
use std::time::Duration;

use zokor_tests::ensemble::mode as mode_of;
use zokor_tests::raw::{Hello, four_letter};
use zokor_tests::records::mode;
use zokor_tests::{Client, Ensemble, ErrorCode, EventKind, wait};

fn local() -> Ensemble {
    Ensemble::of(3).line("localSessionsEnabled=true").start()
}

fn upgrading() -> Ensemble {
    let builder = Ensemble::of(3).line("localSessionsEnabled=true");
    builder.line("localSessionsUpgradingEnabled=true").start()
}

/// The zxid of the server, by a look that costs no session.
fn zxid(ensemble: &Ensemble, index: usize) -> String {
    let answer = four_letter(ensemble.address(index), "srvr").expect("an answer");
    let line = answer.lines().find_map(|line| line.strip_prefix("Zxid: ")).expect("a zxid");
    line.to_owned()
}

fn monitored(ensemble: &Ensemble, index: usize) -> BTreeMap<String, String> {
    let answer = four_letter(ensemble.address(index), "mntr").expect("an answer");
    let pairs = answer.lines().filter_map(|line| line.split_once('\t'));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn opening_and_closing_local_sessions_costs_the_log_nothing() {
    let ensemble = local();
    for index in 0..3 {
        // The first one of a server makes a place for all that come after it.
        ensemble.client(index).sync("/").expect("sync");
        let before = zxid(&ensemble, index);
        for _ in 0..5 {
            let mut client = ensemble.client(index);
            client.sync("/").expect("sync");
            client.close();
        }
        assert_eq!(zxid(&ensemble, index), before);
        let found = monitored(&ensemble, index);
        assert_eq!(found["zk_global_sessions"], "0");
        assert_eq!(found["zk_local_sessions"], "1", "the one that left without a word");
    }
}

#[test]
fn a_local_session_writes_reads_and_watches_through_every_server() {
    let ensemble = local();
    let mut clients: Vec<Client> = (0..3).map(|index| ensemble.client(index)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let path = client.create(&format!("/p{n}-"), b"x", mode::SEQUENTIAL).expect("create");
        assert_eq!(client.get(&path), Ok(b"x".to_vec()));
        client.set_data(&path, b"y", 0).expect("set");
        assert_eq!(client.exists(&path, true).map(|stat| stat.ephemeral_owner), Ok(0));
        client.delete(&path, 1).expect("delete");
        let event = client.next_event().expect("the watch fires");
        assert_eq!((event.kind, event.path), (EventKind::Deleted, path));
    }
}

#[test]
fn an_ephemeral_in_a_local_session_is_error_120() {
    let ensemble = local();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        for flags in [mode::EPHEMERAL, mode::EPHEMERAL_SEQUENTIAL] {
            let refused = client.create("/e", b"", flags);
            assert_eq!(refused, Err(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION));
        }
        assert_eq!(client.exists("/e", false).map(drop), Err(ErrorCode::NO_NODE));
        assert_eq!(client.sync("/"), Ok("/".into()), "the session lives on");
    }
}

#[test]
fn a_local_session_goes_on_at_its_server_and_is_refused_by_others() {
    let ensemble = local();
    let mut client = ensemble.client(1);
    client.create("/a", b"", mode::PERSISTENT).expect("create");
    for index in [0, 2] {
        let refused = client.resume(ensemble.address(index)).map(drop);
        assert_eq!(refused, Err(ErrorCode::SESSION_EXPIRED));
    }
    let wrong = Hello { password: Some(vec![1; 16]), ..client.hello_again() };
    let refused = Client::open(ensemble.address(1), &wrong).map(drop);
    assert_eq!(refused, Err(ErrorCode::SESSION_EXPIRED));
    assert_eq!(client.sync("/"), Ok("/".into()), "a wrong password disturbs nobody");
    let mut again = client.resume(ensemble.address(1)).expect("the session goes on");
    assert_eq!(again.granted.session, client.granted.session);
    assert!(client.connection().is_closed_by_server());
    again.create("/b", b"", mode::PERSISTENT).expect("create");
}

#[test]
fn a_local_session_does_not_survive_its_server() {
    let mut ensemble = local();
    let client = ensemble.client(2);
    ensemble.kill(2);
    ensemble.restart(2);
    ensemble.wait_until_serving();
    let refused = client.resume(ensemble.address(2)).map(drop);
    assert_eq!(refused, Err(ErrorCode::SESSION_EXPIRED));
}

#[test]
fn an_election_cuts_no_local_session() {
    let mut ensemble = local();
    let leader = ensemble.wait_for_leader();
    let mut client = ensemble.client((leader + 1) % 3);
    client.create("/q", b"", mode::PERSISTENT).expect("create");
    ensemble.kill(leader);
    for _ in 0..5 {
        client.create("/q/n-", b"", mode::SEQUENTIAL).expect("over the election");
    }
    assert_eq!(client.children("/q", false).map(|names| names.len()), Ok(5));
}

#[test]
fn a_closed_local_session_is_refused() {
    let ensemble = local();
    let client = ensemble.client(0);
    let hello = client.hello_again();
    client.close();
    let refused = Client::open(ensemble.address(0), &hello).map(drop);
    assert_eq!(refused, Err(ErrorCode::SESSION_EXPIRED));
}

#[test]
fn a_silent_local_session_expires_at_its_server() {
    let ensemble = Ensemble::of(3).tick_ms(200).line("localSessionsEnabled=true").start();
    for index in 0..3 {
        let address = ensemble.address(index);
        let mut alive = Client::open(address, &Hello::fresh(30_000)).expect("a session");
        let client = Client::open(address, &Hello::fresh(400)).expect("a session");
        let hello = client.hello_again();
        drop(client);
        wait::eventually("the silent session is gone", || {
            (monitored(&ensemble, index)["zk_local_sessions"] == "1").then_some(())
        });
        let refused = Client::open(address, &hello).map(drop);
        assert_eq!(refused, Err(ErrorCode::SESSION_EXPIRED));
        assert_eq!(alive.sync("/"), Ok("/".into()));
    }
}

#[test]
fn an_ephemeral_upgrades_its_session_once_and_then_it_moves() {
    let ensemble = upgrading();
    let mut client = ensemble.client(0);
    client.create("/p", b"", mode::PERSISTENT).expect("create");
    let before = zxid(&ensemble, 0);
    client.create("/e", b"", mode::EPHEMERAL).expect("create");
    client.create("/f", b"", mode::EPHEMERAL).expect("create");
    let number = |zxid: &str| i64::from_str_radix(zxid.trim_start_matches("0x"), 16).expect("hex");
    assert_eq!(number(&zxid(&ensemble, 0)), number(&before) + 3, "two creates and one upgrade");
    let owner = client.exists("/e", false).expect("it is there").ephemeral_owner;
    assert_eq!(owner, client.granted.session);
    let mut moved = client.resume(ensemble.address(1)).expect("the session goes on");
    assert_eq!(moved.granted.password, client.granted.password);
    assert_eq!(moved.ephemerals("/"), Ok(vec!["/e".into(), "/f".into()]));
    moved.close();
    let mut other = ensemble.client(2);
    other.sync("/").expect("sync");
    assert_eq!(other.exists("/e", false).map(drop), Err(ErrorCode::NO_NODE));
}

#[test]
fn an_upgraded_session_survives_its_server_and_all_restarts() {
    let mut ensemble = upgrading();
    let mut client = ensemble.client(0);
    client.create("/e", b"", mode::EPHEMERAL).expect("create");
    ensemble.kill_all();
    (0..3).for_each(|index| ensemble.restart(index));
    ensemble.wait_until_serving();
    let mut again = client.resume(ensemble.address(2)).expect("the session goes on");
    assert_eq!(again.ephemerals("/"), Ok(vec!["/e".into()]));
}

#[test]
fn an_observer_has_local_sessions_and_upgrades_them() {
    let builder = Ensemble::of(3).observers(1).line("localSessionsEnabled=true");
    let mut ensemble = builder.line("localSessionsUpgradingEnabled=true").start();
    let observer = 2;
    assert_eq!(mode_of(ensemble.address(observer)).as_deref(), Some("observer"));
    ensemble.client(observer).sync("/").expect("sync");
    let before = zxid(&ensemble, observer);
    let mut client = ensemble.client(observer);
    client.sync("/").expect("sync");
    assert_eq!(zxid(&ensemble, observer), before, "a session of the observer costs nothing");
    let refused = client.resume(ensemble.address(0)).map(drop);
    assert_eq!(refused, Err(ErrorCode::SESSION_EXPIRED), "nobody else knows it");
    client.create("/p", b"", mode::PERSISTENT).expect("create");
    client.create("/e", b"", mode::EPHEMERAL).expect("it is upgraded");
    let owner = client.exists("/e", false).expect("it is there").ephemeral_owner;
    assert_eq!(owner, client.granted.session);
    ensemble.kill(observer);
    let mut moved = client.resume(ensemble.address(0)).expect("it goes on at a voter");
    assert_eq!(moved.ephemerals("/"), Ok(vec!["/e".into()]));
    ensemble.restart(observer);
    ensemble.wait_until_serving();
    let mut back = moved.resume(ensemble.address(observer)).expect("and comes back");
    back.create("/f", b"", mode::EPHEMERAL).expect("create");
    back.close();
    let mut other = ensemble.client(1);
    other.sync("/").expect("sync");
    for path in ["/e", "/f"] {
        assert_eq!(other.exists(path, false).map(drop), Err(ErrorCode::NO_NODE));
    }
}

#[test]
fn dump_shows_local_sessions_apart() {
    let ensemble = upgrading();
    let leader = ensemble.wait_for_leader();
    for index in 0..3 {
        let client = ensemble.client(index);
        let mut global = ensemble.client(index);
        global.create("/e-", b"", mode::EPHEMERAL_SEQUENTIAL).expect("create");
        let answer = four_letter(ensemble.address(index), "dump").expect("an answer");
        let (head, tail) = answer.split_once("Global Session").expect("two kinds of sessions");
        assert!(
            head.starts_with("SessionTracker dump:\nLocal Session Sets (1)/(1):\n"),
            "{answer}"
        );
        assert!(head.contains(&format!("\t0x{:x}\n", client.session())), "{answer}");
        assert_eq!(tail.starts_with(" Sets ("), index == leader, "{answer}");
        assert!(tail.contains(&format!("0x{:x}", global.session())), "{answer}");
        global.close();
        client.close();
    }
}

#[test]
fn one_server_alone_has_no_local_sessions() {
    let ensemble = Ensemble::of(1).line("localSessionsEnabled=true").start();
    assert_eq!(mode_of(ensemble.address(0)).as_deref(), Some("standalone"));
    let mut client = ensemble.client(0);
    client.create("/e", b"", mode::EPHEMERAL).expect("as in ZooKeeper, it is global");
    assert_eq!(monitored(&ensemble, 0)["zk_local_sessions"], "0");
    client.set_patience(Duration::from_secs(30));
    client.close();
}
