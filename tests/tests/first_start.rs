//! A server that an operator keeps from beginning with nothing.

use std::fs;
use std::path::PathBuf;

use zokor_tests::records::mode;
use zokor_tests::{Ensemble, Program, eventually};

fn data(ensemble: &Ensemble, index: usize) -> PathBuf {
    ensemble.server(index).folder().join("data")
}

/// Starts this server, which is to end by itself, saying so.
fn is_refused(ensemble: &mut Ensemble, index: usize, words: &str) {
    ensemble.restart(index);
    eventually(words, || ensemble.server(index).log().contains(words).then_some(()));
    ensemble.kill(index);
}

#[test]
fn a_server_without_its_database_does_not_join_unless_it_is_told_to_begin_anew() {
    if !Program::promises("that a server without a database does not start") {
        return;
    }
    let builder = Ensemble::of(3).line("db.autocreate=false").file("data/initialize", "");
    let mut ensemble = builder.start();
    for index in 0..3 {
        assert!(!data(&ensemble, index).join("initialize").exists(), "it holds for one start");
    }
    ensemble.client(0).create("/kept", b"1", mode::PERSISTENT).expect("create");
    // A restart with what it had needs no permission.
    ensemble.kill(2);
    ensemble.restart(2);
    ensemble.wait_until_serving();

    ensemble.kill(2);
    let folder = data(&ensemble, 2);
    fs::remove_dir_all(&folder).expect("it was there");
    fs::create_dir(&folder).expect("it was removed");
    fs::write(folder.join("myid"), "3\n").expect("it is ours");
    is_refused(&mut ensemble, 2, "holds no database, and db.autocreate=false");
    let left: Vec<_> = fs::read_dir(&folder).expect("it is there").flatten().collect();
    assert_eq!(left.len(), 1, "nothing was made: {left:?}");
    ensemble.client(0).create("/meanwhile", b"2", mode::PERSISTENT).expect("create");

    fs::write(folder.join("initialize"), "").expect("it is ours");
    ensemble.kill_all();
    (0..3).for_each(|index| ensemble.restart(index));
    ensemble.wait_until_serving();
    let mut client = ensemble.client(2);
    client.sync("/").expect("sync");
    assert_eq!(client.get("/kept"), Ok(b"1".to_vec()));
    assert_eq!(client.get("/meanwhile"), Ok(b"2".to_vec()));
    assert!(!folder.join("initialize").exists());
}

#[test]
fn a_missing_folder_or_one_that_nobody_prepared_is_refused_where_none_is_to_be_made() {
    if !Program::promises("that an empty folder is refused") {
        return;
    }
    let builder = Ensemble::of(1).line("datadir.autocreate=false").file("data/initialize", "");
    let mut ensemble = builder.start();
    ensemble.client(0).create("/kept", b"", mode::PERSISTENT).expect("create");
    ensemble.kill(0);
    let folder = data(&ensemble, 0);
    let away = folder.with_extension("away");
    fs::rename(&folder, &away).expect("it is ours");
    is_refused(&mut ensemble, 0, "is not there, and datadir.autocreate=false");
    assert!(!folder.exists(), "nothing was made");
    fs::create_dir(&folder).expect("it was moved");
    is_refused(&mut ensemble, 0, "holds nothing at all, and datadir.autocreate=false");
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0, "nothing was made");

    fs::remove_dir(&folder).expect("it is empty");
    fs::rename(&away, &folder).expect("it is ours");
    ensemble.restart(0);
    ensemble.wait_until_serving();
    assert_eq!(ensemble.client(0).get("/kept"), Ok(vec![]));
}
