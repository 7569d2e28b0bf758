//! The power goes out for all at once.

use zokor_tests::load::Load;
use zokor_tests::records::mode;
use zokor_tests::{Ensemble, eventually};

#[test]
fn every_acknowledged_write_is_there_after_all_died_at_once() {
    let mut ensemble = Ensemble::trio();
    let load = Load::start(&ensemble.addresses(), 6);
    for _ in 0..3 {
        load.progress(300);
        ensemble.kill_all();
        for index in 0..3 {
            ensemble.restart(index);
        }
        ensemble.wait_until_serving();
    }
    load.progress(100);
    let promises = load.stop();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        promises.iter().for_each(|promise| promise.check(&mut client));
    }
}

#[test]
fn a_session_with_its_ephemeral_outlives_a_restart_of_all() {
    let mut ensemble = Ensemble::trio();
    let mut owner = ensemble.client(0);
    owner.create("/e", b"x", mode::EPHEMERAL).expect("create");
    ensemble.kill_all();
    for index in 0..3 {
        ensemble.restart(index);
    }
    ensemble.wait_until_serving();
    let mut again = eventually("the session goes on", || owner.resume(ensemble.address(1)).ok());
    assert_eq!(again.get("/e"), Ok(b"x".to_vec()));
    assert_eq!(again.ephemerals("/"), Ok(vec!["/e".into()]));
}
