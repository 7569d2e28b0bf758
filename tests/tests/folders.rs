//! Backups, restores and looks at folders, by the commands that an operator has.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zokor_tests::ensemble::mode;
use zokor_tests::load::Load;
use zokor_tests::program::zokor;
use zokor_tests::records::mode as made;
use zokor_tests::{Ensemble, Program, eventually};

fn run(arguments: &[&dyn AsRef<OsStr>]) -> Output {
    let arguments = arguments.iter().map(|argument| argument.as_ref());
    Command::new(zokor()).args(arguments).output().expect("the command runs")
}

/// What a command says that is to succeed.
fn done(arguments: &[&dyn AsRef<OsStr>]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// What a command says that is to fail.
fn refused(arguments: &[&dyn AsRef<OsStr>]) -> String {
    let output = run(arguments);
    assert!(!output.status.success(), "{output:?}");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).expect("it prints text")
}

fn data(ensemble: &Ensemble, index: usize) -> PathBuf {
    ensemble.server(index).folder().join("data")
}

/// Gives a server that is stopped the content of another folder.
fn replace(ensemble: &Ensemble, index: usize, folder: &Path) {
    let data = data(ensemble, index);
    fs::remove_dir_all(&data).expect("it was there");
    fs::rename(folder, &data).expect("both are in the temporary folder");
}

#[test]
fn a_backup_of_a_server_at_work_holds_all_that_it_had_acknowledged() {
    if !Program::promises("backups") {
        return;
    }
    // Snapshots come often, so that files come and go under the backup.
    let mut ensemble = Ensemble::of(3).line("snapCount=300").start();
    let load = Load::start(&ensemble.addresses(), 6);
    load.progress(1_000);
    let mut client = ensemble.client(1);
    client.create("/before", b"1", made::PERSISTENT).expect("create");
    client.create("/mine", b"2", made::EPHEMERAL).expect("create");
    let backup = ensemble.server(0).folder().join("backup");
    let address = ensemble.address(1).to_string();
    done(&[&"backup", &"--from", &data(&ensemble, 1), &"--server", &address, &"--to", &backup]);
    client.create("/after", b"3", made::PERSISTENT).expect("create");
    load.progress(100);
    drop(load.stop());
    let again =
        refused(&[&"backup", &"--from", &data(&ensemble, 1), &"--stopped", &"--to", &backup]);
    assert!(again.contains("is there already"), "{again}");
    ensemble.kill_all();

    let target = ensemble.server(0).folder().join("restored");
    done(&[&"restore", &"--from", &backup, &"--servers", &"1,2,3", &"--to", &target]);
    for index in 0..3 {
        replace(&ensemble, index, &target.join(format!("{}", index + 1)));
        ensemble.restart(index);
    }
    ensemble.wait_until_serving();
    let mut reader = ensemble.client(2);
    reader.sync("/").expect("sync");
    assert_eq!(reader.get("/before"), Ok(b"1".to_vec()));
    assert!(reader.get("/after").is_err(), "it was written after the backup");
    // Its client has seen later numbers than the new ensemble has, unless a new epoch is above.
    let mut owner = eventually("the session goes on", || client.resume(ensemble.address(0)).ok());
    assert_eq!(owner.ephemerals("/"), Ok(vec!["/mine".into()]));
}

#[test]
fn members_of_the_old_ensemble_do_not_mix_with_restored_ones() {
    if !Program::promises("restores") {
        return;
    }
    let mut ensemble = Ensemble::trio();
    ensemble.client(0).create("/old", b"", made::PERSISTENT).expect("create");
    ensemble.client(2).sync("/").expect("sync");
    ensemble.kill_all();
    let backup = ensemble.server(0).folder().join("backup");
    done(&[&"backup", &"--from", &data(&ensemble, 2), &"--stopped", &"--to", &backup]);
    let target = ensemble.server(0).folder().join("restored");
    done(&[&"restore", &"--from", &backup, &"--servers", &"1,2,3", &"--to", &target]);
    for index in 0..2 {
        replace(&ensemble, index, &target.join(format!("{}", index + 1)));
    }
    for index in 0..3 {
        ensemble.restart(index);
    }
    eventually("the two restored ones serve", || {
        let modes = [0, 1].map(|index| mode(ensemble.address(index)));
        modes.iter().flatten().any(|mode| mode == "leader").then_some(())
    });
    ensemble.client(0).create("/new", b"", made::PERSISTENT).expect("create");
    eventually("the old one is told why", || {
        ensemble.server(2).log().contains("belongs to another ensemble").then_some(())
    });
    assert_eq!(mode(ensemble.address(2)), None, "it has no quorum");
    // With an empty folder that is told where it belongs it receives everything.
    let said = done(&[&"inspect", &target.join("3")]);
    let number = said.lines().find_map(|line| line.strip_prefix("ensemble     "));
    let joining = ensemble.server(0).folder().join("joining");
    done(&[&"join", &"--ensemble", &number.expect("it is shown"), &"--to", &joining]);
    fs::write(joining.join("myid"), "3").expect("it is ours");
    ensemble.kill(2);
    replace(&ensemble, 2, &joining);
    ensemble.restart(2);
    ensemble.wait_until_serving();
    let mut client = ensemble.client(2);
    client.sync("/").expect("sync");
    assert_eq!(client.get("/new"), Ok(vec![]));
    assert_eq!(client.get("/old"), Ok(vec![]));
}

#[test]
fn nothing_is_restored_over_anything() {
    if !Program::promises("restores") {
        return;
    }
    let mut ensemble = Ensemble::standalone();
    ensemble.client(0).create("/kept", b"", made::PERSISTENT).expect("create");
    let folder = data(&ensemble, 0);
    let backup = ensemble.server(0).folder().join("backup");
    // The address of nobody, and the folder of nobody.
    let nobody = "127.0.0.1:1";
    let nobody = refused(&[&"backup", &"--from", &folder, &"--server", &nobody, &"--to", &backup]);
    assert!(nobody.contains("127.0.0.1:1"), "{nobody}");
    let other = ensemble.server(0).folder().to_owned();
    let other = refused(&[&"backup", &"--from", &other, &"--stopped", &"--to", &backup]);
    assert!(other.contains("no folder of a zokor server"), "{other}");
    assert!(!backup.exists());
    ensemble.kill_all();
    done(&[&"backup", &"--from", &folder, &"--stopped", &"--to", &backup]);
    let over = refused(&[&"restore", &"--from", &backup, &"--to", &folder]);
    assert!(over.contains("nothing is ever written over"), "{over}");
    // A backup that is no more what it was.
    let mut bytes = fs::read(&backup).expect("it was made");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&backup, bytes).expect("it is ours");
    let target = ensemble.server(0).folder().join("restored");
    let broken = refused(&[&"restore", &"--from", &backup, &"--to", &target]);
    assert!(broken.contains("damaged"), "{broken}");
    assert!(!target.exists());
    ensemble.restart(0);
    ensemble.wait_until_serving();
    assert_eq!(ensemble.client(0).get("/kept"), Ok(vec![]));
}

#[test]
fn a_look_lists_the_log_and_finds_damage_by_file_and_offset() {
    if !Program::promises("zokor inspect") {
        return;
    }
    let mut ensemble = Ensemble::trio();
    let mut client = ensemble.client(0);
    client.create("/seen \"here\"", b"", made::PERSISTENT).expect("create");
    let session = format!("0x{:x}", client.session());
    client.sync("/").expect("sync");
    ensemble.kill_all();
    let folder = data(&ensemble, 0);
    let listed = done(&[&"inspect", &folder, &"--entries"]);
    let line = listed.lines().find(|line| line.contains("seen")).expect("the create is listed");
    assert!(line.contains(&session) && line.contains(" create "), "{line}");
    assert!(line.contains("\"/seen \\\"here\\\"\"") && line.contains(" 0x"), "{line}");
    let json = done(&[&"inspect", &folder, &"--entries", &"--json"]);
    for expected in ["\"damage\":[]", "\"kind\":\"create\"", "\"kind\":\"blank\"", &session] {
        assert!(json.contains(expected), "{expected} in {json}");
    }
    let log = fs::read_dir(&folder).expect("it is there").flatten().map(|entry| entry.path());
    let log = log.filter(|path| path.to_string_lossy().contains("/log-0")).min();
    let log = log.expect("there is a log");
    let mut bytes = fs::read(&log).expect("it is readable");
    bytes[4096 + 10] ^= 1;
    fs::write(&log, bytes).expect("it is ours");
    let found = refused(&[&"inspect", &folder]);
    let name = log.file_name().expect("it has one").to_string_lossy();
    assert!(found.contains(&format!("DAMAGE       {name}")), "{found}");
    assert!(found.contains("is damaged at offset 4096"), "{found}");
    let json = refused(&[&"inspect", &folder, &"--json"]);
    assert!(json.contains("\"offset\":4096"), "{json}");
}

#[test]
fn two_folders_are_compared_entry_by_entry_and_by_the_digest() {
    if !Program::promises("zokor inspect") {
        return;
    }
    let mut ensemble = Ensemble::of(3).line("snapCount=50").start();
    let load = Load::start(&ensemble.addresses(), 3);
    load.progress(300);
    drop(load.stop());
    ensemble.kill_all();
    let (one, two) = (data(&ensemble, 0), data(&ensemble, 1));
    let same = done(&[&"inspect", &one, &"--against", &two]);
    assert!(same.contains("entries that both have") && same.contains("of the states"), "{same}");
    assert!(!same.contains("DIFFERENT"), "{same}");

    let mut others = [Ensemble::standalone(), Ensemble::standalone()];
    for (number, other) in others.iter_mut().enumerate() {
        let mut client = other.client(0);
        client.create("/x", format!("{number}").as_bytes(), made::PERSISTENT).expect("create");
        other.kill_all();
    }
    let (one, two) = (data(&others[0], 0), data(&others[1], 0));
    let differ = refused(&[&"inspect", &one, &"--against", &two, &"--json"]);
    assert!(differ.contains("\"first_difference\":2"), "{differ}");
    assert!(differ.contains("\"same\":false"), "{differ}");
}
