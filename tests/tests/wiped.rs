//! Servers whose folders are gone: none of them votes as if it were new, and nobody waits for ever.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use zokor_tests::ensemble::mode;
use zokor_tests::load::Load;
use zokor_tests::program::zokor;
use zokor_tests::raw::{Hello, four_letter};
use zokor_tests::records::mode as made;
use zokor_tests::{Client, Ensemble, Program, eventually};

fn data(ensemble: &Ensemble, index: usize) -> PathBuf {
    ensemble.server(index).folder().join("data")
}

/// Ends a server at once, and leaves of its folder what a new disk has: the name of the server.
fn wipe(ensemble: &mut Ensemble, index: usize) {
    ensemble.kill(index);
    let data = data(ensemble, index);
    fs::remove_dir_all(&data).expect("it was there");
    fs::create_dir(&data).expect("it is gone");
    fs::write(data.join("myid"), format!("{}\n", index + 1)).expect("it is ours");
}

fn number(ensemble: &Ensemble, index: usize, key: &str) -> Option<u64> {
    let answer = four_letter(ensemble.address(index), "mntr").ok()?;
    let line = answer.lines().find_map(|line| line.strip_prefix(&format!("zk_{key}\t")))?;
    line.parse().ok()
}

/// Waits until a server's log holds `text`.
fn says(ensemble: &Ensemble, index: usize, text: &str) {
    eventually("it says so", || ensemble.server(index).log().contains(text).then_some(()));
}

fn is_ours() -> bool {
    Program::promises("a wiped server does not vote as if it were new")
}

#[test]
fn one_disk_after_the_other_is_replaced_while_clients_write_and_keep_their_sessions() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::of(3).line("snapCount=200").start();
    let load = Load::start(&ensemble.addresses(), 5);
    load.progress(400);
    let mut owners: Vec<Client> = (0..3).map(|index| ensemble.client(index)).collect();
    for (index, owner) in owners.iter_mut().enumerate() {
        owner.create(&format!("/owned-{index}"), b"", made::EPHEMERAL).expect("create");
    }
    for (victim, owner) in owners.iter_mut().enumerate() {
        wipe(&mut ensemble, victim);
        load.progress(100);
        *owner = eventually("its client goes on at another server", || {
            owner.resume(ensemble.address((victim + 1) % 3)).ok()
        });
        ensemble.restart(victim);
        says(&ensemble, victim, "has no vote until a leader that was elected without it");
        ensemble.wait_until_serving();
        says(&ensemble, victim, "this server has begun and takes part");
        assert_eq!(number(&ensemble, victim, "log_repairing"), Some(0));
        assert_eq!(number(&ensemble, victim, "log_repaired"), Some(1));
        load.progress(100);
        *owner =
            eventually("its client comes back", || owner.resume(ensemble.address(victim)).ok());
    }
    let promises = load.stop();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        promises.iter().for_each(|promise| promise.check(&mut client));
        for (owner, session) in owners.iter().map(Client::session).enumerate() {
            let stat = client.exists(&format!("/owned-{owner}"), false).expect("it lives");
            assert_eq!(stat.ephemeral_owner, session);
        }
    }
}

/// The others would be a quorum: one that has forgotten and one that has never known.
#[test]
fn a_wiped_server_elects_nobody_who_lacks_what_was_acknowledged() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::trio();
    let leader = ensemble.wait_for_leader();
    let (wiped, away) = ((leader + 1) % 3, (leader + 2) % 3);
    ensemble.kill(away);
    let load = Load::start(&[ensemble.address(leader)], 2);
    load.progress(200);
    let promises = load.stop();
    ensemble.kill(leader);
    wipe(&mut ensemble, wiped);
    ensemble.restart(wiped);
    ensemble.restart(away);
    says(&ensemble, wiped, "nothing was ever written in this server's folder, and there is");
    // It says so every ten seconds, in which many an election could be won.
    eventually("it says so again", || {
        assert!(ensemble.leader().is_none(), "nothing is served without what was acknowledged");
        assert!(Client::open(ensemble.address(away), &Hello::fresh(10_000)).is_err());
        let told = ensemble.server(wiped).log();
        (told.matches("nothing was ever written in this server's folder").count() > 1).then_some(())
    });
    assert_eq!(number(&ensemble, wiped, "log_repairing"), Some(1));
    let log = ensemble.server(wiped).log();
    let holder = format!("something at server {} (127.0.0.1:", away + 1);
    let missing = format!("waiting for server {} (127.0.0.1:", leader + 1);
    assert!(log.contains(&holder) && log.contains(&missing), "{log}");
    ensemble.restart(leader);
    ensemble.wait_until_serving();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        promises.iter().for_each(|promise| promise.check(&mut client));
    }
}

#[test]
fn a_first_start_waits_for_the_last_server_and_says_so() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::of(3).stopped();
    ensemble.restart(0);
    ensemble.restart(1);
    let address = ensemble.peer_addresses()[4];
    let waits = format!("this is the first start: waiting for server 3 ({address});");
    for index in 0..2 {
        says(&ensemble, index, &waits);
        eventually("it is counted", || {
            (number(&ensemble, index, "first_start_waits_for") == Some(1)).then_some(())
        });
        assert_eq!(mode(ensemble.address(index)), None);
    }
    ensemble.restart(2);
    ensemble.wait_until_serving();
    for index in 0..3 {
        says(&ensemble, index, "this server has begun and takes part");
        assert_eq!(number(&ensemble, index, "first_start_waits_for"), Some(0));
        assert_eq!(number(&ensemble, index, "log_repaired"), Some(0), "nothing was lost");
    }
    // From now on a quorum is enough.
    ensemble.kill_all();
    ensemble.restart(0);
    ensemble.restart(2);
    ensemble.wait_until_serving();
    ensemble.client(0).create("/served", b"", made::PERSISTENT).expect("create");
}

#[test]
fn an_operator_may_begin_without_a_server_that_gets_everything_when_it_comes() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::of(3).line("zokor.firstStart=quorum").stopped();
    ensemble.restart(0);
    ensemble.restart(1);
    ensemble.wait_until_serving();
    says(&ensemble, 0, "zokor.firstStart is quorum");
    ensemble.client(0).create("/served", b"1", made::PERSISTENT).expect("create");
    ensemble.restart(2);
    ensemble.wait_until_serving();
    let mut client = ensemble.client(2);
    client.sync("/").expect("sync");
    assert_eq!(client.get("/served"), Ok(b"1".to_vec()));
}

#[test]
fn servers_that_are_all_wiped_are_a_new_ensemble() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::trio();
    ensemble.client(0).create("/former", b"", made::PERSISTENT).expect("create");
    ensemble.kill_all();
    (0..3).for_each(|index| wipe(&mut ensemble, index));
    (0..3).for_each(|index| ensemble.restart(index));
    ensemble.wait_until_serving();
    let mut client = ensemble.client(1);
    client.create("/new", b"", made::PERSISTENT).expect("create");
    assert_eq!(client.get("/former"), Err(zokor_tests::ErrorCode::NO_NODE));
}

#[test]
fn an_observer_whose_folder_is_gone_comes_back_though_a_voter_is_away() {
    if !is_ours() {
        return;
    }
    let mut ensemble = Ensemble::of(4).observers(1).start();
    ensemble.client(0).create("/kept", b"", made::PERSISTENT).expect("create");
    ensemble.kill((ensemble.wait_for_leader() + 1) % 3);
    wipe(&mut ensemble, 3);
    ensemble.restart(3);
    ensemble.wait_until_serving();
    let mut client = ensemble.client(3);
    client.sync("/").expect("sync");
    assert_eq!(client.get("/kept"), Ok(vec![]));
    client.create("/more", b"", made::PERSISTENT).expect("create");
}

/// An ensemble that began with a backup has a number, which a new disk does not know. It could be
/// refused for ever, or begin elsewhere by mistake.
#[test]
fn a_wiped_server_of_a_restored_ensemble_learns_its_number_from_the_others() {
    if !(is_ours() && Program::promises("restores")) {
        return;
    }
    let mut ensemble = Ensemble::trio();
    ensemble.client(0).create("/kept", b"1", made::PERSISTENT).expect("create");
    ensemble.kill_all();
    let root = ensemble.server(0).folder().to_owned();
    let (backup, target) = (root.join("backup"), root.join("restored"));
    let from = data(&ensemble, 0);
    run(&[&"backup", &"--from", &from, &"--stopped", &"--to", &backup]);
    let said = run(&[&"restore", &"--from", &backup, &"--servers", &"1,2,3", &"--to", &target]);
    let number = said.lines().find_map(|line| line.strip_prefix("ensemble     "));
    let number = number.expect("it is shown").to_owned();
    for index in 0..3 {
        let data = data(&ensemble, index);
        fs::remove_dir_all(&data).expect("it was there");
        fs::rename(target.join(format!("{}", index + 1)), &data).expect("it is ours");
        ensemble.restart(index);
    }
    ensemble.wait_until_serving();

    wipe(&mut ensemble, 2);
    ensemble.restart(2);
    ensemble.wait_until_serving();
    says(&ensemble, 2, &format!("the others belong to the ensemble {number}; so does it"));
    let mut client = ensemble.client(2);
    client.sync("/").expect("sync");
    assert_eq!(client.get("/kept"), Ok(b"1".to_vec()));
    // From now on it knows by itself, and could begin nowhere else.
    ensemble.kill_all();
    let inspected = run(&[&"inspect", &data(&ensemble, 2)]);
    assert!(inspected.contains(&format!("ensemble     {number}")), "{inspected}");
    (0..3).for_each(|index| ensemble.restart(index));
    ensemble.wait_until_serving();
}

/// What a command says that is to succeed.
fn run(arguments: &[&dyn AsRef<OsStr>]) -> String {
    let arguments = arguments.iter().map(|argument| argument.as_ref());
    let output = Command::new(zokor()).args(arguments).output().expect("the command runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}
